//! Worlds to test in: the real program on loopback, and peers that we did not write.

use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

mod capture;
mod dice;
#[allow(clippy::disallowed_methods)]
pub mod names;
#[allow(clippy::disallowed_methods)]
pub mod neighbour;
#[allow(clippy::disallowed_methods)] // waits for programs that live in real time
mod peer;
#[allow(clippy::disallowed_methods)] // a load reads the clock
pub mod phones;
pub mod provider;
mod push_service;

pub use capture::{Capture, Captured, udp_ports};
pub use dice::Dice;
pub use peer::{Peer, Transcript, befriend};
pub use push_service::PushService;

/// The checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_owned)
}

/// The program under test: `TANDEM_BIN`, set by `make test`, which builds it first.
pub fn program() -> Result<PathBuf> {
    let path = std::env::var_os("TANDEM_BIN").context("TANDEM_BIN is not set; use `make test`")?;
    Ok(PathBuf::from(path))
}

/// Where `tests/peers/setup.sh` has put the Python peers.
fn python() -> Result<PathBuf> {
    let dir =
        std::env::var_os("TANDEM_PEERS").context("TANDEM_PEERS is not set; use `make test`")?;
    let python = Path::new(&dir).join("venv/bin/python");
    ensure!(python.exists(), "slixmpp is not installed; run tests/peers/setup.sh");
    Ok(python)
}

/// What runs a story: Node for `.mjs`, else Python.
fn interpreter(script: &str) -> Result<Vec<std::ffi::OsString>> {
    Ok(match script.ends_with(".mjs") {
        true => vec!["node".into()],
        false => vec![python()?.into(), "-W".into(), "ignore".into()],
    })
}

/// What the program has logged.
type Log = Arc<Mutex<Vec<String>>>;

/// A running server in a private folder on free ports. Killed when dropped.
pub struct Server {
    process: Child,
    log: Log,
    dir: tempfile::TempDir,
    /// XMPP with STARTTLS.
    pub xmpp: u16,
    /// XMPP over TLS.
    pub xmpps: u16,
    /// HTTPS.
    pub https: u16,
    /// Metrics.
    pub metrics: u16,
    /// SIP over UDP and TCP.
    pub sip: u16,
    /// SIP over TLS.
    pub sips: u16,
    /// Other servers, with STARTTLS.
    pub s2s: u16,
    /// Other servers over TLS.
    pub s2s_tls: u16,
    domain: String,
}

impl Server {
    /// Starts a server with these accounts, whose password is `secret-<name>`.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn start(domain: &str, accounts: &[&str]) -> Result<Self> {
        Self::start_with(domain, accounts, "")
    }

    /// As [`Server::start`], with these sections more in the configuration.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn start_with(domain: &str, accounts: &[&str], sections: &str) -> Result<Self> {
        Self::start_listening(domain, accounts, "", sections)
    }

    /// As [`Server::start_with`], with these lines more in `[listen]`.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn start_listening(
        domain: &str,
        accounts: &[&str],
        listen: &str,
        sections: &str,
    ) -> Result<Self> {
        Self::start_all(domain, accounts, [listen, "", sections])
    }

    /// As [`Server::start_with`], with these lines more in `[xmpp]`.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn start_set(domain: &str, accounts: &[&str], xmpp: &str, sections: &str) -> Result<Self> {
        Self::start_all(domain, accounts, ["", xmpp, sections])
    }

    fn start_all(
        domain: &str,
        accounts: &[&str],
        [listen, set, sections]: [&str; 3],
    ) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let [xmpp, xmpps, https, metrics, sip, sips, s2s, s2s_tls, msrp, msrps] = free_ports()?;
        // Two tables may not say the same.
        let neighbours = if listen.contains("s2s") {
            String::new()
        } else {
            format!("s2s = [\"127.0.0.1:{s2s}\"]\ns2s_tls = [\"127.0.0.1:{s2s_tls}\"]")
        };
        let relay = if listen.contains("turn") { "" } else { "turn = []\nturns = []" };
        // Most peers talk in the clear, so that what they say can be read; a test of the default says so.
        let security =
            if sections.contains("[sip]") { "" } else { "[sip]\nsecurity = \"optional\"" };
        let config = format!(
            "domains = [\"{domain}\"]\ndata_dir = \"{}\"\nlog = \"info,tandem_gateway=debug,tandem_media=debug\"\n[listen]\n\
             xmpp = [\"127.0.0.1:{xmpp}\"]\nxmpps = [\"127.0.0.1:{xmpps}\"]\n\
             https = [\"127.0.0.1:{https}\"]\nmetrics = [\"127.0.0.1:{metrics}\"]\n\
             sip = [\"127.0.0.1:{sip}\"]\nsips = [\"127.0.0.1:{sips}\"]\nmsrp = [\"127.0.0.1:{msrp}\"]\nmsrps = [\"127.0.0.1:{msrps}\"]\n\
             {neighbours}\n{relay}\n{listen}\n\
             [xmpp]\nscram_iterations = 4096\n{set}\n\
             [media]\nwebrtc = \"127.0.0.1:0\"\nrtp = \"127.0.0.1\"\n{security}\n{sections}\n",
            dir.path().join("data").display()
        );
        std::fs::write(dir.path().join("tandem.toml"), config)?;
        for name in accounts {
            let account = format!("{name}@{domain}");
            let password = format!("secret-{name}");
            let status = Command::new(program()?)
                .args(["user", "add", &account, "--password", &password, "--config"])
                .arg(dir.path().join("tandem.toml"))
                .stdout(Stdio::null())
                .status()?;
            ensure!(status.success(), "cannot add {account}");
        }
        let log = Log::default();
        let process = launch(dir.path(), &log, &[])?;
        let domain = domain.to_owned();
        Ok(Self { process, log, dir, xmpp, xmpps, https, metrics, sip, sips, s2s, s2s_tls, domain })
    }

    /// What the program prints for an operator who types this.
    ///
    /// # Errors
    ///
    /// When it fails.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        let config = self.dir.path().join("tandem.toml");
        let output =
            Command::new(program()?).args(arguments).arg("--config").arg(config).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Where the server keeps its data.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// What it has logged so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The rows of a query on the server's database, which is read beside it.
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    pub fn select(&self, sql: &str) -> Result<Value> {
        // Python comes with SQLite; the tests need no driver of their own.
        let script = "import json, sqlite3, sys\n\
            rows = sqlite3.connect(sys.argv[1]).execute(sys.argv[2])\n\
            print(json.dumps([list(row) for row in rows]))";
        let output = Command::new("python3")
            .args(["-c", script])
            .arg(self.data().join("tandem.db"))
            .arg(sql)
            .output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// The call records, the oldest first: caller, callee, result and the devices with their codecs.
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    pub fn calls(&self) -> Result<Vec<(String, String, String, Value)>> {
        let sql = "SELECT caller, callee, result, legs FROM calls ORDER BY id";
        let rows: Vec<(String, String, String, String)> =
            serde_json::from_value(self.select(sql)?)?;
        rows.into_iter()
            .map(|(caller, callee, result, legs)| {
                Ok((caller, callee, result, serde_json::from_str(&legs)?))
            })
            .collect()
    }

    /// The call records once there are this many, as [`Server::calls`]: a call is over for its parties before its
    /// record is on disk.
    ///
    /// # Errors
    ///
    /// When the database cannot be read, or they do not come.
    pub fn recorded(&self, count: usize) -> Result<Vec<(String, String, String, Value)>> {
        for _ in 0..200 {
            let calls = self.calls()?;
            if calls.len() >= count {
                return Ok(calls);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("{count} call records are missing: {:?}", self.calls()?)
    }

    /// A baresip phone of an account, registered. `more` are further fields of its `start`.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn phone(&self, name: &str, user: &str, more: Value, log: &Transcript) -> Result<Peer> {
        let mut phone = Peer::start(name, "baresip.py", log)?;
        let tls = more["transport"] == "tls";
        let mut start = json!({
            "cmd": "start", "user": user, "password": format!("secret-{user}"), "domain": self.domain,
            "port": if tls { self.sips } else { self.sip },
        });
        if let (Some(start), Some(more)) = (start.as_object_mut(), more.as_object()) {
            start.extend(more.clone());
        }
        phone.tell(start);
        phone.want("registered", &[]);
        Ok(phone)
    }

    /// A softphone of slixmpp and aiortc, logged in.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn softphone(&self, name: &str, user: &str, log: &Transcript) -> Result<Peer> {
        let mut soft = Peer::start(name, "softphone.py", log)?;
        soft.tell(json!({
            "cmd": "login", "jid": format!("{user}@{}", self.domain),
            "password": format!("secret-{user}"), "port": self.xmpp,
        }));
        ready(&mut soft);
        Ok(soft)
    }

    /// A stanza.js client over WebSocket, logged in: `stanza.mjs` without a browser, `chromium.mjs` in one.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn web(&self, name: &str, script: &str, user: &str, log: &Transcript) -> Result<Peer> {
        let mut web = Peer::start(name, script, log)?;
        web.tell(json!({
            "cmd": "login", "url": format!("wss://localhost:{}/xmpp-websocket", self.https),
            "jid": format!("{user}@{}", self.domain), "password": format!("secret-{user}"),
        }));
        ready(&mut web);
        Ok(web)
    }

    /// Kills the process the hard way and starts it again on the same folder.
    ///
    /// # Errors
    ///
    /// When it does not come up again.
    pub fn crash_and_restart(&mut self) -> Result<()> {
        self.crash_and_restart_with(&[])
    }

    /// As [`Server::crash_and_restart`], with these variables in its environment from now on.
    ///
    /// # Errors
    ///
    /// When it does not come up again.
    pub fn crash_and_restart_with(&mut self, variables: &[(&str, &str)]) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        self.process = launch(self.dir.path(), &self.log, variables)?;
        Ok(())
    }

    /// Kills the process and starts it again on what was synced of its database: on the copy that
    /// `tests/peers/synced.c`, which `variables` preload, keeps in `synced`. The first time that copy is made.
    ///
    /// # Errors
    ///
    /// When files cannot be copied, or it does not come up again.
    pub fn lose_power(&mut self, synced: &Path, variables: &[(&str, &str)]) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        let data = self.data();
        let is_database = |path: &Path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name.starts_with("tandem.db") && !name.ends_with("-shm")
        };
        let (from, to) =
            if synced.exists() { (synced, data.as_path()) } else { (data.as_path(), synced) };
        std::fs::create_dir_all(to)?;
        for file in std::fs::read_dir(&data)? {
            let path = file?.path();
            if to == data && path.to_string_lossy().contains("tandem.db") {
                std::fs::remove_file(path)?;
            }
        }
        for file in std::fs::read_dir(from)? {
            let path = file?.path();
            if is_database(&path) {
                std::fs::copy(&path, to.join(path.file_name().unwrap_or_default()))?;
            }
        }
        self.process = launch(self.dir.path(), &self.log, variables)?;
        Ok(())
    }

    /// Asks the process to stop; gives whether it stopped in good order.
    ///
    /// # Errors
    ///
    /// When it cannot be asked.
    pub fn stop(mut self) -> Result<bool> {
        self.terminate()
    }

    /// As [`Server::stop`], where its log and its data are looked at afterwards.
    ///
    /// # Errors
    ///
    /// When it cannot be asked.
    pub fn terminate(&mut self) -> Result<bool> {
        let pid = self.process.id().to_string();
        ensure!(Command::new("kill").args(["-TERM", &pid]).status()?.success(), "kill failed");
        Ok(self.process.wait()?.success())
    }

    /// Runs a story of `tests/peers` against this server and gives what it printed.
    ///
    /// # Errors
    ///
    /// With its output when the story fails.
    pub fn story(&self, script: &str, arguments: &[&str]) -> Result<String> {
        self.story_with(script, arguments, &[])
    }

    /// As [`Server::story`], with these variables more in its environment.
    ///
    /// # Errors
    ///
    /// With its output when the story fails.
    pub fn story_with(
        &self,
        script: &str,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Result<String> {
        let output = Command::new("timeout")
            .arg("120")
            .args(interpreter(script)?)
            .arg(root().join("tests/peers").join(script))
            .args(arguments)
            .env("XMPP_PORT", self.xmpp.to_string())
            .env("XMPPS_PORT", self.xmpps.to_string())
            .env("HTTPS_PORT", self.https.to_string())
            .envs(variables.iter().copied())
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            bail!("{script} {arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(text)
    }

    /// One plain HTTP request to the metrics listener.
    ///
    /// # Errors
    ///
    /// When it is not answered.
    pub fn http(&self, path: &str) -> Result<String> {
        use std::io::Write;
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.metrics))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

/// Waits until a client that logs in is there for others: what it tells itself comes back after its presence.
fn ready(client: &mut Peer) {
    let jid = client.want("online", &[])["jid"].clone();
    client.tell(json!({"cmd": "chat_state", "to": jid, "state": "active"}));
    client.want("chat_state", &[("state", "active")]);
}

impl Drop for Server {
    /// Ends the process; a test that fails shows what the server has to say about it.
    fn drop(&mut self) {
        let counters = std::thread::panicking().then(|| self.http("/metrics"));
        let _ = self.process.kill();
        let _ = self.process.wait();
        if let Some(counters) = counters {
            let log = self.log.lock().unwrap_or_else(PoisonError::into_inner).join("\n");
            println!("the server's log:\n{log}\nits calls: {:?}", self.calls());
            println!("its counters:\n{}", counters.unwrap_or_default());
        }
    }
}

/// Starts the program and waits for the line that says it runs.
fn launch(dir: &Path, log: &Log, variables: &[(&str, &str)]) -> Result<Child> {
    let mut process = Command::new(program()?)
        .args(["run", "--config"])
        .arg(dir.join("tandem.toml"))
        .envs(variables.iter().copied())
        .stderr(Stdio::piped())
        .spawn()?;
    let output = process.stderr.take().context("no log")?;
    let mut lines = BufReader::new(output).lines().map_while(Result::ok);
    let keep = |line: String, log: &Log| {
        log.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    };
    while let Some(line) = lines.next() {
        let runs = line.contains("tandem runs");
        keep(line, log);
        if runs {
            // The log must be read on, or the process would block.
            let log = log.clone();
            std::thread::spawn(move || lines.for_each(|line| keep(line, &log)));
            return Ok(process);
        }
    }
    let _ = process.wait();
    bail!("the server does not start: {log:?}")
}

/// Ports that are free for TCP and for UDP. They are below those that the system gives to whoever asks for any, so
/// nobody takes one before it is used, or while a server starts again; nor does another test of this process. The
/// three after each are left to it: sipp wants them for its media.
///
/// # Errors
///
/// When there are none.
pub fn free_ports<const N: usize>() -> Result<[u16; N]> {
    static NEXT: OnceLock<AtomicU32> = OnceLock::new();
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 10_000;
    let next = NEXT.get_or_init(|| AtomicU32::new(Dice.number(COUNT)));
    let mut ports = [0; N];
    for port in &mut ports {
        *port = (0..COUNT)
            .find_map(|_| {
                let drawn = FIRST + next.fetch_add(4, Ordering::Relaxed) % COUNT;
                let port = u16::try_from(drawn).ok()?;
                // SIP has both on one port.
                let is_free = TcpListener::bind(("127.0.0.1", port)).is_ok()
                    && UdpSocket::bind(("127.0.0.1", port)).is_ok();
                is_free.then_some(port)
            })
            .context("no free port")?;
    }
    Ok(ports)
}
