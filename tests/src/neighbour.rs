//! XMPP servers that we did not write, as neighbours: Debian's Prosody and ejabberd, in folders and on ports of their own,
//! with the names of the test.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::free_ports;
use crate::names::{Authority, Names};

/// How other servers are to prove themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// By their certificates (SASL EXTERNAL).
    Certificate,
    /// By dialback.
    Dialback,
}

/// A running neighbour. Killed when dropped.
pub struct Neighbour {
    process: Child,
    dir: tempfile::TempDir,
    /// For clients, with STARTTLS.
    pub c2s: u16,
    /// For servers.
    pub s2s: u16,
}

impl Neighbour {
    /// Prosody for `domain` with rooms at `conference.<domain>` and archives of both. Accounts are registered in band.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn prosody(
        domain: &str,
        names: &Names,
        authority: &Authority,
        proof: Proof,
    ) -> Result<Self> {
        let [c2s, s2s] = free_ports()?;
        let rooms = format!("conference.{domain}");
        let (certificate, key) = authority.issue(&[domain, &rooms])?;
        let dir = tempfile::tempdir()?;
        let disabled = match proof {
            Proof::Certificate => "\"dialback\"",
            // Without its own view of certificates nothing but dialback is left.
            Proof::Dialback => "\"s2s_auth_certs\"",
        };
        let config = format!(
            "run_as_root = true\ndaemonize = false\npidfile = \"{dir}/prosody.pid\"\n\
             data_path = \"{dir}/data\"\nlog = {{ {{ levels = {{ min = \"debug\" }}, to = \"file\", \
             filename = \"{dir}/log\" }} }}\n\
             interfaces = {{ \"127.0.0.1\" }}\nlocal_interfaces = {{ \"127.0.0.1\" }}\n\
             c2s_ports = {{ {c2s} }}\ns2s_ports = {{ {s2s} }}\nc2s_direct_tls_ports = {{ }}\n\
             s2s_direct_tls_ports = {{ }}\ncomponent_ports = {{ }}\nhttp_ports = {{ }}\nhttps_ports = {{ }}\n\
             modules_enabled = {{ \"roster\"; \"saslauth\"; \"tls\"; \"disco\"; \"ping\"; \"register\"; \
             \"dialback\"; \"carbons\"; \"mam\"; \"offline\"; \"presence\"; \"message\"; \"iq\" }}\n\
             modules_disabled = {{ {disabled}; \"s2s_bidi\"; \"admin_shell\" }}\n\
             allow_registration = true\nstorage = \"internal\"\nauthentication = \"internal_hashed\"\n\
             s2s_secure_auth = {secure}\ns2s_require_encryption = true\n\
             ssl = {{ certificate = \"{certificate}\"; key = \"{key}\"; cafile = \"{root}\" }}\n\
             VirtualHost \"{domain}\"\nComponent \"{rooms}\" \"muc\"\n  modules_enabled = {{ \"muc_mam\" }}\n  \
             modules_disabled = {{ {disabled}; \"s2s_bidi\" }}\n  \
             restrict_room_creation = false\n  muc_room_locking = false\n",
            dir = dir.path().display(),
            secure = proof == Proof::Certificate,
            certificate = certificate.display(),
            key = key.display(),
            root = authority.root().display(),
        );
        std::fs::create_dir(dir.path().join("data"))?;
        let path = dir.path().join("prosody.cfg.lua");
        std::fs::write(&path, config)?;
        let command = format!("exec prosody --config {} -F", path.display());
        Self::launch(dir, names, &command, c2s, s2s)
    }

    /// As [`Neighbour::prosody`], with ejabberd.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn ejabberd(
        domain: &str,
        names: &Names,
        authority: &Authority,
        proof: Proof,
    ) -> Result<Self> {
        let [c2s, s2s] = free_ports()?;
        let rooms = format!("conference.{domain}");
        let (certificate, key) = authority.issue(&[domain, &rooms])?;
        let dir = tempfile::tempdir()?;
        let both = std::fs::read_to_string(certificate)? + &std::fs::read_to_string(key)?;
        std::fs::write(dir.path().join("both.pem"), both)?;
        let config = format!(
            "hosts: [\"{domain}\"]\nloglevel: debug\ncertfiles: [\"{dir}/both.pem\"]\n{trusted}\
             auth_method: internal\nregistration_timeout: infinity\ns2s_use_starttls: {tls}\n\
             access_rules:\n  all_local: {{allow: all}}\n\
             listen:\n  - {{port: {c2s}, ip: \"127.0.0.1\", module: ejabberd_c2s, starttls: true}}\n  \
             - {{port: {s2s}, ip: \"127.0.0.1\", module: ejabberd_s2s_in}}\n\
             modules:\n  mod_roster: {{}}\n  mod_disco: {{}}\n  mod_ping: {{}}\n  mod_s2s_dialback: {{}}\n  \
             mod_offline: {{}}\n  mod_mam: {{default: always, db_type: mnesia}}\n  \
             mod_register: {{access: all_local, ip_access: all, access_from: all, welcome_message: {{}}}}\n  \
             mod_muc: {{host: \"conference.@HOST@\", access: all, access_create: all, \
             default_room_options: {{mam: true, persistent: true}}}}\n",
            dir = dir.path().display(),
            trusted = match proof {
                Proof::Certificate => format!("ca_file: \"{}\"\n", authority.root().display()),
                Proof::Dialback => String::new(),
            },
            tls = match proof {
                Proof::Certificate => "required_trusted",
                Proof::Dialback => "required",
            },
        );
        let path = dir.path().join("ejabberd.yml");
        std::fs::write(&path, config)?;
        let listed = Command::new("dpkg").args(["-L", "ejabberd"]).output()?;
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        let beam = listed.lines().find(|l| l.ends_with("ebin/ejabberd.beam"));
        let ebin =
            Path::new(beam.context("ejabberd is not installed")?).parent().context("no folder")?;
        let command = format!(
            "export HOME={dir}; cd {dir}; exec erl -noinput -noshell -pa {ebin} +S 1 \
             -env ERL_CRASH_DUMP {dir}/crash -env EJABBERD_LOG_PATH {dir}/log \
             -env EJABBERD_CONFIG_PATH {path} -mnesia dir '\"{dir}/db\"' -s ejabberd",
            dir = dir.path().display(),
            ebin = ebin.display(),
            path = path.display(),
        );
        std::fs::create_dir(dir.path().join("db"))?;
        Self::launch(dir, names, &command, c2s, s2s)
    }

    /// Runs a server in a mount namespace where the test's DNS server is the only one.
    fn launch(
        dir: tempfile::TempDir,
        names: &Names,
        command: &str,
        c2s: u16,
        s2s: u16,
    ) -> Result<Self> {
        let resolv = dir.path().join("resolv.conf");
        std::fs::write(&resolv, format!("nameserver {}\n", names.address.ip()))?;
        let output = std::fs::File::create(dir.path().join("output"))?;
        let script = format!(
            "mount --bind {} \"$(readlink -f /etc/resolv.conf)\" && {command}",
            resolv.display()
        );
        let mut process = Command::new("unshare")
            .args(["-m", "sh", "-c", &script])
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()?;
        for _ in 0..600 {
            if TcpStream::connect(("127.0.0.1", c2s)).is_ok()
                && TcpStream::connect(("127.0.0.1", s2s)).is_ok()
            {
                return Ok(Self { process, dir, c2s, s2s });
            }
            if process.try_wait()?.is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let _ = process.kill();
        let _ = process.wait();
        let said = std::fs::read_to_string(dir.path().join("output")).unwrap_or_default();
        bail!("a neighbour does not come up: {said}")
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Its folder.
    pub fn dir(&self) -> PathBuf {
        self.dir.path().to_owned()
    }
}

impl Drop for Neighbour {
    /// Ends it; a test that fails shows the end of what it has to say.
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            let log = self.log();
            let from = log.char_indices().rev().nth(30_000).map_or(0, |(at, _)| at);
            println!("the neighbour's log:\n{}", &log[from..]);
        }
    }
}

/// Whether these programs are there; a test that needs them fails with what to install.
///
/// # Errors
///
/// When one is missing.
pub fn installed(programs: &[&str]) -> Result<()> {
    for program in programs {
        let found = Command::new("which").arg(program).stdout(Stdio::null()).status()?;
        ensure!(found.success(), "{program} is not installed; run tests/peers/setup.sh");
    }
    Ok(())
}
