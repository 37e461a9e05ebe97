//! Kamailio as a provider of the telephone network: it asks who calls, and carries numbers to phones and to us.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::free_ports;

/// The provider's domain and the name and password that we have there.
pub const DOMAIN: &str = "pstn.test";
/// What it asks us for.
pub const LOGIN: (&str, &str) = ("care", "secret-care");

/// A running Kamailio. Killed when dropped.
pub struct Provider {
    /// Where it listens.
    pub port: u16,
    process: Child,
    _dir: tempfile::TempDir,
}

impl Provider {
    /// Starts one on this port, whose customer is at `customer`. Phones register there without a password; what comes from
    /// the customer has to prove the name, also inside calls; calls to a number that no phone has go to the customer.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn start(port: u16, customer: u16) -> Result<Self> {
        let (name, password) = LOGIN;
        let prove = |condition: &str| {
            format!(
                "if ({condition}) {{\n\
                 if (!pv_proxy_authenticate(\"{DOMAIN}\", \"{password}\", \"0\")) {{ \
                 proxy_challenge(\"{DOMAIN}\", \"1\"); exit; }}\n\
                 if ($au != \"{name}\") {{ proxy_challenge(\"{DOMAIN}\", \"1\"); exit; }}\n\
                 consume_credentials(); }}\n"
            )
        };
        let inside = prove(&format!("is_method(\"INVITE|UPDATE|BYE\") && $sp == {customer}"));
        let outside = prove(&format!("$sp == {customer}"));
        Self::serve(DOMAIN, port, customer, (&inside, &outside))
    }

    /// Starts a domain of its own on this port, beside another at `neighbour`. Phones register there without a password; what
    /// is for nobody of it goes to the neighbour.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn domain(domain: &str, port: u16, neighbour: u16) -> Result<Self> {
        Self::serve(domain, port, neighbour, ("", ""))
    }

    /// `inside` is done for each request in a dialog, `outside` for each other, before anybody is looked for.
    fn serve(domain: &str, port: u16, other: u16, (inside, outside): (&str, &str)) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let files = Command::new("dpkg").args(["-L", "kamailio"]).output()?;
        let files = String::from_utf8_lossy(&files.stdout).into_owned();
        let module = files.lines().find(|line| line.ends_with("/tm.so"));
        let module = module.context("the Debian package kamailio is missing")?;
        let modules = Path::new(module).parent().context("no folder")?.display();
        let names = "kex tm tmx sl rr pv maxfwd usrloc registrar textops siputils auth";
        let load: String =
            names.split(' ').map(|name| format!("loadmodule \"{name}.so\"\n")).collect();
        let config = format!(
            "#!KAMAILIO\ndebug=1\nlog_stderror=yes\nfork=yes\nchildren=2\nauto_aliases=no\nalias=\"{domain}\"\n\
             listen=udp:127.0.0.1:{port}\nlisten=tcp:127.0.0.1:{port}\nmpath=\"{modules}/\"\n{load}\
             modparam(\"usrloc\", \"db_mode\", 0)\nmodparam(\"auth\", \"qop\", \"auth\")\n\
             request_route {{\n\
             if (!mf_process_maxfwd_header(\"70\")) {{ sl_send_reply(\"483\", \"Too Many Hops\"); exit; }}\n\
             if (is_method(\"CANCEL\")) {{ if (t_check_trans()) t_relay(); exit; }}\n\
             if (!is_method(\"ACK\")) {{ if (t_precheck_trans()) {{ t_check_trans(); exit; }} t_check_trans(); }}\n\
             if (has_totag()) {{\n\
             {inside}\
             if (loose_route()) {{ t_relay(); exit; }}\n\
             if (is_method(\"ACK\")) {{ if (t_check_trans()) t_relay(); exit; }}\n\
             sl_send_reply(\"404\", \"Not here\"); exit; }}\n\
             if (is_method(\"REGISTER\")) {{ if (!save(\"location\")) sl_reply_error(); exit; }}\n\
             {outside}\
             record_route();\n\
             if (lookup(\"location\")) {{ if (!t_relay()) sl_reply_error(); exit; }}\n\
             if ($sp == {other}) {{ sl_send_reply(\"404\", \"Nobody\"); exit; }}\n\
             $du = \"sip:127.0.0.1:{other}\";\n\
             if (!t_relay()) sl_reply_error();\n}}\n"
        );
        let path = dir.path().join("kamailio.cfg");
        std::fs::write(&path, config)?;
        let mut process = Command::new("kamailio")
            .args(["-DD", "-E", "-m", "64", "-M", "8", "-f"])
            .arg(&path)
            .arg("-P")
            .arg(dir.path().join("pid"))
            .arg("-Y")
            .arg(dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("the Debian package kamailio is missing")?;
        for _ in 0..200 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Ok(Self { port, process, _dir: dir });
            }
            if let Some(status) = process.try_wait()? {
                bail!("kamailio ended: {status}");
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        let _ = process.kill();
        bail!("kamailio does not listen")
    }

    /// A free port for one.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn port() -> Result<u16> {
        let [port] = free_ports()?;
        Ok(port)
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        // It ends its workers when it is asked to, and not when it is killed.
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
    }
}
