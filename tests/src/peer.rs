//! Peers that are driven by lines of JSON: the drivers of `tests/peers`, each round a program that we did not write.
//!
//! A command goes out, events come back; a test waits for events, never for time. What a peer said is printed when a
//! test fails.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// Longest wait for an event. Far above what a loaded machine needs.
const PATIENCE: Duration = Duration::from_secs(45);
/// How long a tone is listened to, in seconds.
const LISTEN: u32 = 2;

/// Who said what and when, in order, of all peers that share it.
#[derive(Debug, Clone)]
pub struct Transcript(Arc<(Instant, Mutex<Vec<String>>)>);

impl Default for Transcript {
    fn default() -> Self {
        Self(Arc::new((Instant::now(), Mutex::default())))
    }
}

impl Transcript {
    /// Adds a line with the seconds since the beginning.
    pub fn line(&self, text: String) {
        let (begun, lines) = &*self.0;
        let seconds = begun.elapsed().as_secs_f64();
        let line = format!("{seconds:8.3}  {text}");
        lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    /// All of it.
    pub fn text(&self) -> String {
        self.0.1.lock().unwrap_or_else(PoisonError::into_inner).join("\n") + "\n"
    }
}

/// One driven program.
pub struct Peer {
    name: String,
    process: Child,
    input: Option<ChildStdin>,
    events: Receiver<Value>,
    waiting: Vec<Value>,
    transcript: Transcript,
    _dir: tempfile::TempDir,
}

impl Peer {
    /// Starts a driver of `tests/peers`: `.py` by the Python of the peers, `.mjs` by Node.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn start(name: &str, script: &str, transcript: &Transcript) -> Result<Self> {
        let peers =
            std::env::var_os("TANDEM_PEERS").context("TANDEM_PEERS is not set; use `make test`")?;
        let path = crate::root().join("tests/peers").join(script);
        ensure!(path.exists(), "{} is missing", path.display());
        let mut command = if script.ends_with(".mjs") {
            Command::new("node")
        } else {
            let mut python = Command::new(Path::new(&peers).join("venv/bin/python"));
            python.args(["-W", "ignore"]);
            python
        };
        // What it writes goes with it, however it ends.
        let dir = tempfile::Builder::new().prefix("peer-").tempdir()?;
        let mut process = command
            .arg(path)
            .env("TMPDIR", dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {script}"))?;
        let output = process.stdout.take().context("no output")?;
        let (sender, events) = channel();
        let (log, who) = (transcript.clone(), name.to_owned());
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                log.line(format!("{who}: {line}"));
                if let Ok(event) = serde_json::from_str(&line)
                    && sender.send(event).is_err()
                {
                    return;
                }
            }
        });
        let input = process.stdin.take();
        let (name, transcript, waiting) = (name.to_owned(), transcript.clone(), Vec::new());
        Ok(Self { name, process, input, events, waiting, transcript, _dir: dir })
    }

    /// The driver's process; the program it drives is a child of it.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Gives a command and waits until it is done.
    ///
    /// # Panics
    ///
    /// When it fails, or is not done in time.
    pub fn tell(&mut self, command: Value) {
        let name = command["cmd"].as_str().unwrap_or_default().to_owned();
        self.transcript.line(format!("{} <- {command}", self.name));
        let sent = self.input.as_mut().map(|input| writeln!(input, "{command}"));
        assert!(matches!(sent, Some(Ok(()))), "{} is gone\n{}", self.name, self.transcript.text());
        let done = self.first(|e| {
            (e["event"] == "done" || e["event"] == "error") && e["cmd"] == name.as_str()
        });
        let done = done.unwrap_or_else(|| self.fail(&format!("`{name}` is not done")));
        if done["event"] == "error" {
            self.fail(&format!("`{name}` failed: {}", done["text"]));
        }
    }

    /// Waits for an event whose fields hold these texts, and takes it.
    ///
    /// # Panics
    ///
    /// When it does not come.
    pub fn want(&mut self, event: &str, fields: &[(&str, &str)]) -> Value {
        let found = self.first(|e| is(e, event, fields));
        found.unwrap_or_else(|| self.fail(&format!("no `{event}` with {fields:?}")))
    }

    /// Takes such an event if it has come so far.
    pub fn has(&mut self, event: &str, fields: &[(&str, &str)]) -> Option<Value> {
        self.waiting.extend(self.events.try_iter());
        let at = self.waiting.iter().position(|e| is(e, event, fields))?;
        Some(self.waiting.remove(at))
    }

    /// Checks that no such event has come so far.
    ///
    /// # Panics
    ///
    /// When one has.
    pub fn never(&mut self, event: &str, fields: &[(&str, &str)]) {
        self.waiting.extend(self.events.try_iter());
        if self.waiting.iter().any(|e| is(e, event, fields)) {
            self.fail(&format!("an unwanted `{event}` with {fields:?}"));
        }
    }

    /// Listens and checks that the tone of this pitch is what is heard; sound may need a moment to arrive.
    ///
    /// # Panics
    ///
    /// When something else is heard, or nothing.
    pub fn hears(&mut self, hertz: u32) {
        let mut last = Value::Null;
        for _ in 0..4 {
            self.tell(json!({"cmd": "hear", "seconds": LISTEN}));
            last = self.want("heard", &[]);
            let pitch = last["hz"].as_f64().unwrap_or_default();
            let purity = last["purity"].as_f64().unwrap_or_default();
            if (pitch - f64::from(hertz)).abs() < 12.0 && purity > 0.6 {
                self.transcript.line(format!("-- {} hears {hertz} Hz", self.name));
                return;
            }
        }
        self.fail(&format!("{hertz} Hz expected, heard {last}"));
    }

    /// Listens and checks that nothing is heard any more.
    ///
    /// # Panics
    ///
    /// When there is still sound.
    pub fn hears_nothing(&mut self) {
        let mut last = Value::Null;
        for _ in 0..4 {
            self.tell(json!({"cmd": "hear", "seconds": LISTEN}));
            last = self.want("heard", &[]);
            if last["level"].as_f64().is_none_or(|level| level < 0.01) {
                self.transcript.line(format!("-- {} hears nothing", self.name));
                return;
            }
        }
        self.fail(&format!("silence expected, heard {last}"));
    }

    fn first(&mut self, wanted: impl Fn(&Value) -> bool) -> Option<Value> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.waiting.iter().position(&wanted) {
                return Some(self.waiting.remove(at));
            }
            let left = until.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(event) => self.waiting.push(event),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    #[allow(clippy::panic)] // a test that fails
    fn fail(&self, why: &str) -> ! {
        panic!("{}: {why}\n{}", self.name, self.transcript.text());
    }
}

impl Drop for Peer {
    /// The end of its input ends a driver and its program; one that does not listen is killed.
    fn drop(&mut self) {
        drop(self.input.take());
        let until = Instant::now() + Duration::from_secs(8);
        while Instant::now() < until {
            if matches!(self.process.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Makes two accounts see each other (RFC 6121 section 3), each by an app of its own.
///
/// # Panics
///
/// When a request or a grant does not arrive.
pub fn befriend(one: &mut Peer, other: &mut Peer, jids: [&str; 2]) {
    for (asks, grants, jid, asker) in [(0, 1, jids[1], jids[0]), (1, 0, jids[0], jids[1])] {
        let peers = [&mut *one, &mut *other];
        peers[asks].tell(json!({"cmd": "presence", "type": "subscribe", "to": jid}));
        peers[grants].want("presence", &[("from", asker), ("type", "subscribe")]);
        peers[grants].tell(json!({"cmd": "presence", "type": "subscribed", "to": asker}));
        peers[asks].want("presence", &[("from", jid), ("type", "subscribed")]);
    }
}

fn is(event: &Value, name: &str, fields: &[(&str, &str)]) -> bool {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    event["event"] == name && fields.iter().all(|(key, part)| holds(&text(&event[*key]), part))
}

/// Whether a text holds another from the start of a word on: `unavailable` does not hold `available`.
fn holds(text: &str, part: &str) -> bool {
    let is_word = part.starts_with(char::is_alphanumeric);
    text.match_indices(part).any(|(at, _)| !is_word || !text[..at].ends_with(char::is_alphanumeric))
}
