//! The servers of a bench: ours, Prosody, ejabberd, each in a private folder on free ports, with the same certificate type.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tandem_tests::phones::{Target, account, password};

use crate::client::register;

/// The domain of every server.
pub(crate) const DOMAIN: &str = "bench.example";

/// A running server. Killed when dropped.
pub(crate) struct Running {
    pub(crate) name: &'static str,
    pub(crate) pid: u32,
    pub(crate) port: u16,
    /// SIP over UDP; 0 where it has none.
    pub(crate) sip: u16,
    process: Child,
    _dir: tempfile::TempDir,
}

impl Running {
    /// As phones know it.
    pub(crate) fn phones(&self) -> Target {
        Target { name: self.name, sip: self.sip, domain: DOMAIN }
    }
}

impl Drop for Running {
    /// A server of several processes ends them when it is asked to; one that does not is made to.
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.pid.to_string()).status();
        for _ in 0..50 {
            if matches!(self.process.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        for child in children(self.pid) {
            let _ = Command::new("kill").args(["-9", &child.to_string()]).status();
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts a server with so many accounts.
pub(crate) type Start = fn(usize) -> Started;
pub(crate) type Started = std::pin::Pin<Box<dyn Future<Output = Result<Running>>>>;

/// Our release build.
pub(crate) fn tandem(accounts: usize) -> Started {
    Box::pin(start_tandem(accounts, Setup::default()))
}

/// What a figure's server has beyond the usual; ports are 0 for none.
#[derive(Default)]
pub(crate) struct Setup {
    /// Messages in the archive of the first account.
    pub(crate) history: u32,
    pub(crate) https: u16,
    pub(crate) components: u16,
    pub(crate) metrics: u16,
    /// The relay, over UDP and TCP.
    pub(crate) turn: u16,
    /// Further sections of the configuration.
    pub(crate) sections: String,
}

/// Ours, where the first account has so many messages in its archive, spread over a year and twenty people.
pub(crate) fn tandem_with_history(messages: u32) -> Started {
    Box::pin(start_tandem(1, Setup { history: messages, ..Setup::default() }))
}

/// Fills the archive of the first account. Python comes with SQLite; a bench needs no driver of its own.
fn write_history(data: &Path, messages: u32) -> Result<()> {
    let script = "import sqlite3, sys, time\n\
        c = sqlite3.connect(sys.argv[1]); n = int(sys.argv[2]); domain = sys.argv[3]\n\
        me = f'user0@{domain}'; people = [f'p{k}@{domain}' for k in range(20)]\n\
        c.executemany('INSERT INTO addresses (jid) VALUES (?)', [(j,) for j in [me] + people])\n\
        ids = dict(c.execute('SELECT jid, id FROM addresses')); now = int(time.time() * 1e6)\n\
        step = 365 * 86400 * 1000000 // n\n\
        def rows():\n\
        \x20   for k in range(n):\n\
        \x20       yield now - (n - k) * step, people[k % 20], k\n\
        body = lambda p, k: f\"<message from='{p}/x' to='{me}' type='chat' id='m{k}'><body>{'b' * 100}</body></message>\"\n\
        c.executemany('INSERT INTO bodies (seq, stanza) VALUES (?, ?)', ((s, body(p, k).encode()) for s, p, k in rows()))\n\
        c.executemany('INSERT INTO archive (owner, seq, peer, resource, name, groupchat) VALUES (?, ?, ?, ?, ?, 0)',\n\
        \x20   ((ids[me], s, ids[p], 'x', k) for s, p, k in rows()))\n\
        c.commit()";
    let done = Command::new("python3")
        .args(["-c", script])
        .arg(data.join("tandem.db"))
        .args([&messages.to_string(), DOMAIN])
        .status()?;
    ensure!(done.success(), "cannot fill the archive");
    Ok(())
}

/// Our release build, set up so.
pub(crate) async fn start_tandem(accounts: usize, setup: Setup) -> Result<Running> {
    let dir = tempfile::tempdir()?;
    let (port, sip) = (free_port()?, free_port()?);
    let config = dir.path().join("tandem.toml");
    let at = |port: u16| match port {
        0 => String::new(),
        port => format!("\"127.0.0.1:{port}\""),
    };
    let text = format!(
        "domains = [\"{DOMAIN}\"]\ndata_dir = \"{}\"\nlog = \"warn\"\n[listen]\n\
             xmpp = [\"127.0.0.1:{port}\"]\nxmpps = []\ns2s = []\ns2s_tls = []\n\
             https = [{}]\nmetrics = [{}]\ncomponents = [{}]\n\
             sip = [\"127.0.0.1:{sip}\"]\nsips = []\nmsrp = []\nmsrps = []\nturn = [{}]\nturns = []\n[xmpp]\nscram_iterations = 4096\n\
             [sip]\nsecurity = \"optional\"\nmax_strangers_per_second = 1000000\nmax_messages_per_second = 1000000\nmax_contacts = 100\n\
             [media]\nwebrtc = \"127.0.0.1:0\"\nrtp = \"127.0.0.1\"\n{}",
        dir.path().join("data").display(),
        at(setup.https),
        at(setup.metrics),
        at(setup.components),
        at(setup.turn),
        setup.sections
    );
    std::fs::write(&config, text)?;
    let program = tandem_tests::program()?;
    for n in 0..accounts {
        let done = Command::new(&program)
            .args(["user", "add", &format!("{}@{DOMAIN}", account(n))])
            .args(["--password", &password(n), "--config"])
            .arg(&config)
            .stdout(Stdio::null())
            .status()?;
        ensure!(done.success(), "cannot add an account");
    }
    if setup.history > 0 {
        write_history(&dir.path().join("data"), setup.history)?;
    }
    let process = Command::new(&program).args(["run", "--config"]).arg(&config).spawn()?;
    let mut server = running("tandem", process, port, dir).await?;
    server.sip = sip;
    Ok(server)
}

/// Debian's Prosody with what chat needs.
pub(crate) fn prosody(accounts: usize) -> Started {
    Box::pin(async move {
        let dir = tempfile::tempdir()?;
        certificate(dir.path())?;
        let port = free_port()?;
        let d = dir.path().display();
        let config = format!(
            "run_as_root = true\ndaemonize = false\npidfile = \"{d}/pid\"\ndata_path = \"{d}\"\n\
             log = {{ {{ levels = {{ min = \"warn\" }}, to = \"file\", filename = \"{d}/log\" }} }}\n\
             interfaces = {{ \"127.0.0.1\" }}\nc2s_ports = {{ {port} }}\ns2s_ports = {{}}\nhttp_ports = {{}}\nhttps_ports = {{}}\n\
             modules_enabled = {{ \"roster\"; \"saslauth\"; \"tls\"; \"disco\"; \"register\"; \"mam\" }}\n\
             storage = {{ archive = \"sql\"; muc_log = \"sql\" }}\nsql = {{ driver = \"SQLite3\", database = \"{d}/archive.db\" }}\n\
             modules_disabled = {{ \"s2s\" }}\nallow_registration = true\nauthentication = \"internal_hashed\"\n\
             c2s_require_encryption = true\ncertificates = \"{d}\"\n\
             VirtualHost \"{DOMAIN}\"\n\
             Component \"rooms.{DOMAIN}\" \"muc\"\nmodules_enabled = {{ \"muc_mam\" }}\n"
        );
        let path = dir.path().join("prosody.cfg.lua");
        std::fs::write(&path, config)?;
        let process = Command::new("prosody")
            .arg("--config")
            .arg(&path)
            .arg("-F")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("the Debian package prosody is missing")?;
        let server = running("Prosody", process, port, dir).await?;
        for n in 0..accounts {
            register(port, n).await?;
        }
        Ok(server)
    })
}

/// Debian's ejabberd with what chat needs, straight under the Erlang runtime.
pub(crate) fn ejabberd(accounts: usize) -> Started {
    Box::pin(async move {
        let dir = tempfile::tempdir()?;
        certificate(dir.path())?;
        let port = free_port()?;
        let d = dir.path().display();
        let config = format!(
            "hosts: [\"{DOMAIN}\"]\nloglevel: warning\ncertfiles: [\"{d}/both.pem\"]\nauth_method: internal\n\
             auth_password_format: scram\naccess_rules:\n  c2s: {{allow: all}}\n  register: {{allow: all}}\n\
             registration_timeout: infinity\nlisten:\n\
             \x20 - {{port: {port}, ip: \"127.0.0.1\", module: ejabberd_c2s, max_stanza_size: 262144, shaper: none, \
             access: c2s, starttls: true, starttls_required: true}}\n\
             modules:\n  mod_roster: {{}}\n  mod_disco: {{}}\n  mod_register: {{access: register, ip_access: all, access_from: all}}\n\
             \x20 mod_mam: {{default: always, db_type: mnesia}}\n\
             \x20 mod_muc: {{host: \"rooms.{DOMAIN}\", access: all, access_create: all, default_room_options: {{mam: true, persistent: true}}, \
             max_users: 500, history_size: 0, min_message_interval: 0, min_presence_interval: 0}}\n"
        );
        std::fs::write(dir.path().join("ejabberd.yml"), config)?;
        let files = Command::new("dpkg").args(["-L", "ejabberd"]).output()?;
        let files = String::from_utf8_lossy(&files.stdout).into_owned();
        let beam = files
            .lines()
            .find(|l| l.ends_with("ebin/ejabberd.beam"))
            .context("the Debian package ejabberd is missing")?;
        let ebin = Path::new(beam).parent().context("no folder")?;
        let process = Command::new("erl")
            .args(["-noinput", "-noshell", "-pa"])
            .arg(ebin)
            .args([
                "+K",
                "true",
                "+S",
                "2",
                "+sbwt",
                "none",
                "+sbwtdcpu",
                "none",
                "+sbwtdio",
                "none",
            ])
            .args(["-env", "EJABBERD_CONFIG_PATH"])
            .arg(dir.path().join("ejabberd.yml"))
            .args(["-env", "EJABBERD_LOG_PATH"])
            .arg(dir.path().join("ejabberd.log"))
            .args(["-mnesia", "dir", &format!("\"{d}\""), "-s", "ejabberd"])
            .env("HOME", dir.path())
            .current_dir(dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("the Erlang runtime is missing")?;
        let server = running("ejabberd", process, port, dir).await?;
        for n in 0..accounts {
            register(port, n).await?;
        }
        Ok(server)
    })
}

/// Debian's Kamailio as its package starts it, with an allocator that checks itself.
pub(crate) fn kamailio(accounts: usize) -> Started {
    Box::pin(start_kamailio("Kamailio", &[], accounts))
}

/// The same with the fast allocator, as one sets it up for load.
pub(crate) fn kamailio_fast(accounts: usize) -> Started {
    Box::pin(start_kamailio("Kam. -x fm", &["-x", "fm"], accounts))
}

/// A registrar in memory and a record-routing proxy, digest with MD5 for all.
async fn start_kamailio(
    name: &'static str,
    allocator: &[&str],
    accounts: usize,
) -> Result<Running> {
    let dir = tempfile::tempdir()?;
    let port = free_port()?;
    let files = Command::new("dpkg").args(["-L", "kamailio"]).output()?;
    let files = String::from_utf8_lossy(&files.stdout).into_owned();
    let module = files.lines().find(|line| line.ends_with("/tm.so"));
    let module = module.context("the Debian package kamailio is missing")?;
    let modules = Path::new(module).parent().context("no folder")?.display();
    let load: String = [
        "kex",
        "tm",
        "tmx",
        "sl",
        "rr",
        "pv",
        "maxfwd",
        "usrloc",
        "registrar",
        "textops",
        "siputils",
        "auth",
        "htable",
    ]
    .map(|name| format!("loadmodule \"{name}.so\"\n"))
    .concat();
    // Each account has a password of its own, kept in a table in memory.
    let passwords: String = (0..accounts)
        .map(|n| format!("  $sht(pw=>{}) = \"{}\";\n", account(n), password(n)))
        .collect();
    let config = format!(
        "#!KAMAILIO\ndebug=1\nlog_stderror=yes\nfork=yes\nchildren=2\nauto_aliases=no\nalias=\"{DOMAIN}\"\n\
             listen=udp:127.0.0.1:{port}\nlisten=tcp:127.0.0.1:{port}\nmpath=\"{modules}/\"\n{load}\
             modparam(\"usrloc\", \"db_mode\", 0)\nmodparam(\"auth\", \"nonce_expire\", 300)\n\
             modparam(\"auth\", \"qop\", \"auth\")\nmodparam(\"htable\", \"htable\", \"pw=>size=8;\")\n\
             event_route[htable:mod-init] {{\n{passwords}}}\n\
             request_route {{\n\
             if (!mf_process_maxfwd_header(\"70\")) {{ sl_send_reply(\"483\", \"Too Many Hops\"); exit; }}\n\
             if (is_method(\"CANCEL\")) {{ if (t_check_trans()) t_relay(); exit; }}\n\
             if (!is_method(\"ACK\")) {{ if (t_precheck_trans()) {{ t_check_trans(); exit; }} t_check_trans(); }}\n\
             if (has_totag()) {{\n\
             if (loose_route()) {{ t_relay(); exit; }}\n\
             if (is_method(\"ACK\")) {{ if (t_check_trans()) t_relay(); exit; }}\n\
             sl_send_reply(\"404\", \"Not here\"); exit; }}\n\
             if (is_method(\"REGISTER\")) {{\n\
             if (!pv_www_authenticate(\"$td\", \"$sht(pw=>$tU)\", \"0\")) {{ www_challenge(\"$td\", \"1\"); exit; }}\n\
             if (!save(\"location\")) sl_reply_error(); exit; }}\n\
             if (!pv_proxy_authenticate(\"$fd\", \"$sht(pw=>$fU)\", \"0\")) {{ proxy_challenge(\"$fd\", \"1\"); exit; }}\n\
             consume_credentials();\nrecord_route();\n\
             if (!lookup(\"location\")) {{ sl_send_reply(\"404\", \"Not Found\"); exit; }}\n\
             if (!t_relay()) sl_reply_error();\n}}\n"
    );
    let path = dir.path().join("kamailio.cfg");
    std::fs::write(&path, config)?;
    let process = Command::new("kamailio")
        .args(["-DD", "-E", "-m", "4096", "-M", "16", "-f"])
        .arg(&path)
        .args(allocator)
        .arg("-P")
        .arg(dir.path().join("pid"))
        .arg("-Y")
        .arg(dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("the Debian package kamailio is missing")?;
    let mut server = running(name, process, port, dir).await?;
    server.sip = port;
    Ok(server)
}

pub(crate) async fn running(
    name: &'static str,
    mut process: Child,
    port: u16,
    dir: tempfile::TempDir,
) -> Result<Running> {
    for _ in 0..600 {
        if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            return Ok(Running { name, pid: process.id(), port, sip: 0, process, _dir: dir });
        }
        if let Some(status) = process.try_wait()? {
            bail!("{name} ended: {status}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let _ = process.kill();
    bail!("{name} does not listen")
}

fn certificate(dir: &Path) -> Result<()> {
    let pair = rcgen::KeyPair::generate()?;
    let mut params = rcgen::CertificateParams::new(vec![DOMAIN.to_owned()])?;
    // ejabberd does not take the far dates that are rcgen's defaults.
    params.not_before = rcgen::date_time_ymd(2024, 1, 1);
    params.not_after = rcgen::date_time_ymd(2044, 1, 1);
    params.distinguished_name.push(rcgen::DnType::CommonName, DOMAIN);
    let made = params.self_signed(&pair)?;
    // Prosody finds its files by the domain's name.
    std::fs::write(dir.join(format!("{DOMAIN}.crt")), made.pem())?;
    std::fs::write(dir.join(format!("{DOMAIN}.key")), pair.serialize_pem())?;
    std::fs::write(dir.join("both.pem"), pair.serialize_pem() + &made.pem())?;
    Ok(())
}

pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// CPU time of a process and its children so far.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> =
        stat.rsplit_once(") ").context("odd stat line")?.1.split_whitespace().collect();
    let ticks: u64 = fields
        .get(11..15)
        .context("short stat line")?
        .iter()
        .filter_map(|f| f.parse::<u64>().ok())
        .sum();
    // Linux counts in hundredths here, whatever the kernel's own rate.
    let mut total = ticks as f64 / 100.0;
    for child in children(pid) {
        total += cpu_seconds(child).unwrap_or(0.0);
    }
    Ok(total)
}

/// Resident memory of a process and its children.
pub(crate) fn resident_kib(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).context("no VmRSS")?;
    let mut total: f64 = line.split_whitespace().nth(1).context("no value")?.parse()?;
    for child in children(pid) {
        total += resident_kib(child).unwrap_or(0.0);
    }
    Ok(total)
}

fn children(pid: u32) -> Vec<u32> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    list.unwrap_or_default().split_whitespace().filter_map(|c| c.parse().ok()).collect()
}
