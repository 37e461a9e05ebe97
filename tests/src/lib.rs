//! Worlds to test in: the real program on loopback, and peers that we did not write.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

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

/// A running server in a private folder on free ports. Killed when dropped.
pub struct Server {
    process: Child,
    dir: tempfile::TempDir,
    /// XMPP with STARTTLS.
    pub xmpp: u16,
    /// XMPP over TLS.
    pub xmpps: u16,
    /// HTTPS.
    pub https: u16,
    /// Metrics.
    pub metrics: u16,
}

impl Server {
    /// Starts a server with these accounts, whose password is `secret-<name>`.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn start(domain: &str, accounts: &[&str]) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let [xmpp, xmpps, https, metrics] = free_ports()?;
        let config = format!(
            "domains = [\"{domain}\"]\ndata_dir = \"{}\"\n[listen]\n\
             xmpp = [\"127.0.0.1:{xmpp}\"]\nxmpps = [\"127.0.0.1:{xmpps}\"]\n\
             https = [\"127.0.0.1:{https}\"]\nmetrics = [\"127.0.0.1:{metrics}\"]\n\
             [xmpp]\nscram_iterations = 4096\n[media]\nwebrtc = \"127.0.0.1:0\"\n",
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
        let process = launch(dir.path())?;
        Ok(Self { process, dir, xmpp, xmpps, https, metrics })
    }

    /// Kills the process the hard way and starts it again on the same folder.
    ///
    /// # Errors
    ///
    /// When it does not come up again.
    pub fn crash_and_restart(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        self.process = launch(self.dir.path())?;
        Ok(())
    }

    /// Asks the process to stop; gives whether it stopped in good order.
    ///
    /// # Errors
    ///
    /// When it cannot be asked.
    pub fn stop(mut self) -> Result<bool> {
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
        let output = Command::new("timeout")
            .arg("60")
            .arg(python()?)
            .args(["-W", "ignore"])
            .arg(root().join("tests/peers").join(script))
            .args(arguments)
            .env("XMPP_PORT", self.xmpp.to_string())
            .env("XMPPS_PORT", self.xmpps.to_string())
            .env("HTTPS_PORT", self.https.to_string())
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

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts the program and waits for the line that says it runs.
fn launch(dir: &Path) -> Result<Child> {
    let mut process = Command::new(program()?)
        .args(["run", "--config"])
        .arg(dir.join("tandem.toml"))
        .stderr(Stdio::piped())
        .spawn()?;
    let log = process.stderr.take().context("no log")?;
    let mut lines = BufReader::new(log).lines();
    let mut seen = String::new();
    for line in lines.by_ref() {
        let line = line?;
        if line.contains("tandem runs") {
            // The log must be read on, or the process would block.
            std::thread::spawn(move || lines.for_each(drop));
            return Ok(process);
        }
        seen.push_str(&line);
    }
    let _ = process.wait();
    bail!("the server does not start: {seen}")
}

/// Ports that are free now.
fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut listeners = Vec::new();
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        *port = listener.local_addr()?.port();
        listeners.push(listener);
    }
    Ok(ports)
}
