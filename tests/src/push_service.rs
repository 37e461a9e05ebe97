//! A push service as phones name one (RFC 8599): what is posted to it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// Takes pushes when it is asked for them.
pub struct PushService(TcpListener);

impl PushService {
    /// One on a free port.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        Ok(Self(listener))
    }

    /// The `[sip]` section of a server that wakes phones by it, with these lines more. Phones call it `acme`.
    ///
    /// # Errors
    ///
    /// When its address cannot be told.
    pub fn section(&self, more: &str) -> Result<String> {
        let address = self.0.local_addr()?;
        Ok(format!(
            "[sip]\nsecurity = \"optional\"\npush = {{ acme = \"http://{address}/acme\" }}\n{more}\n"
        ))
    }

    /// Waits for the next push and takes it.
    ///
    /// # Errors
    ///
    /// When none comes, or it is none.
    pub fn next(&self) -> Result<Value> {
        let mut stream = self.accepted()?;
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

    fn accepted(&self) -> Result<TcpStream> {
        for _ in 0..200 {
            if let Ok((stream, _)) = self.0.accept() {
                stream.set_nonblocking(false)?;
                stream.set_read_timeout(Some(Duration::from_secs(5)))?;
                return Ok(stream);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("no push comes")
    }
}
