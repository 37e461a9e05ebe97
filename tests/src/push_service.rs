//! A push service as phones name one (RFC 8599): what is posted to it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Takes every push.
pub struct PushService {
    address: SocketAddr,
    pushes: Receiver<Result<Value>>,
}

impl PushService {
    /// One on a free port.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let (taken, pushes) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let push = stream.context("no connection").and_then(take);
                if taken.send(push).is_err() {
                    return;
                }
            }
        });
        Ok(Self { address, pushes })
    }

    /// The `[sip]` section of a server that wakes phones by it, with these lines more. Phones call it `acme`.
    pub fn section(&self, more: &str) -> String {
        let address = self.address;
        format!(
            "[sip]\nsecurity = \"optional\"\npush = {{ acme = \"http://{address}/acme\" }}\n{more}\n"
        )
    }

    /// The next push.
    ///
    /// # Errors
    ///
    /// When none comes, or it is none.
    pub fn next(&self) -> Result<Value> {
        self.pushes.recv_timeout(Duration::from_secs(15)).context("no push comes")?
    }
}

fn take(mut stream: TcpStream) -> Result<Value> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut heard = Vec::new();
    while !heard.ends_with(b"}") {
        let mut buffer = [0; 1024];
        let read = stream.read(&mut buffer)?;
        ensure!(read > 0, "the push broke off");
        heard.extend(buffer.iter().take(read));
    }
    stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n")?;
    let text = String::from_utf8(heard)?;
    let (head, body) = text.split_once("\r\n\r\n").context("no head")?;
    ensure!(head.starts_with("POST /acme HTTP/1.1\r\n"), "{head}");
    Ok(serde_json::from_str(body)?)
}
