//! A small XMPP client for load: STARTTLS, PLAIN, bind, presence, messages. It parses no more than it must.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::servers::{DOMAIN, Running};

/// A logged-in session.
pub(crate) struct Client {
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
    jid: String,
}

impl Client {
    /// Logs in as account number `n`.
    pub(crate) async fn login(server: &Running, n: usize) -> Result<Self> {
        let mut tcp = TcpStream::connect(("127.0.0.1", server.port)).await?;
        tcp.set_nodelay(true)?;
        tcp.write_all(header().as_bytes()).await?;
        let mut buffer = Vec::new();
        until(&mut tcp, &mut buffer, "</stream:features>").await?;
        tcp.write_all(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").await?;
        until(&mut tcp, &mut buffer, "<proceed").await?;
        let name = ServerName::try_from(DOMAIN)?;
        let stream = TlsConnector::from(tls()).connect(name, tcp).await?;
        let jid = format!("{}@{DOMAIN}/r", account(n));
        let mut client = Self { stream, buffer: Vec::new(), jid };
        let plain = format!("\0{}\0{}", account(n), password(n));
        let plain = base64::engine::general_purpose::STANDARD.encode(plain);
        client.send(&header()).await?;
        client.expect("</stream:features>").await?;
        client
            .send(&format!(
                "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>"
            ))
            .await?;
        client.expect("<success").await?;
        client.send(&header()).await?;
        client.expect("</stream:features>").await?;
        client
            .send(
                "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
                 <resource>r</resource></bind></iq>",
            )
            .await?;
        client.expect("</iq>").await?;
        client.send("<presence/>").await?;
        Ok(client)
    }

    async fn send(&mut self, text: &str) -> Result<()> {
        self.stream.write_all(text.as_bytes()).await?;
        Ok(self.stream.flush().await?)
    }

    /// Proposes a call to account number `n` (XEP-0353).
    pub(crate) async fn propose(&mut self, n: usize, call: usize) -> Result<()> {
        self.send(&format!(
            "<message type='chat' to='{}@{DOMAIN}'><propose xmlns='urn:xmpp:jingle-message:0' id='ring{call}'>\
             <description xmlns='urn:xmpp:jingle:apps:rtp:1' media='audio'/></propose></message>",
            account(n)
        ))
        .await
    }

    /// Reads until this text has come.
    pub(crate) async fn expect(&mut self, text: &str) -> Result<()> {
        until(&mut self.stream, &mut self.buffer, text).await
    }
}

/// Every pair's first sends to its second, with so many messages on their way.
pub(crate) struct Load {
    pub(crate) window: usize,
    pub(crate) time: Duration,
}

impl Load {
    /// Gives how many messages arrived in the time.
    pub(crate) async fn run(&self, pairs: Vec<(Client, Client)>) -> Result<u64> {
        let delivered = Arc::new(AtomicU64::new(0));
        let end = Instant::now() + self.time;
        let mut tasks = tokio::task::JoinSet::new();
        for (from, to) in pairs {
            let window = Arc::new(Semaphore::new(self.window));
            let message = format!(
                "<message to='{}' type='chat' id='x'><body>{}</body></message>",
                to.jid,
                "b".repeat(100)
            );
            tasks.spawn(send_until(from.stream, message, window.clone(), end));
            tasks.spawn(receive_until(to.stream, window, delivered.clone(), end));
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        Ok(delivered.load(Ordering::Relaxed))
    }
}

async fn send_until(
    mut stream: TlsStream<TcpStream>,
    message: String,
    window: Arc<Semaphore>,
    end: Instant,
) -> Result<()> {
    loop {
        let Ok(permit) = tokio::time::timeout_at(end.into(), window.acquire()).await else {
            return Ok(());
        };
        permit?.forget();
        stream.write_all(message.as_bytes()).await?;
        stream.flush().await?;
    }
}

async fn receive_until(
    mut stream: TlsStream<TcpStream>,
    window: Arc<Semaphore>,
    delivered: Arc<AtomicU64>,
    end: Instant,
) -> Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    let mut tail: Vec<u8> = Vec::new();
    loop {
        let read = tokio::time::timeout_at(end.into(), stream.read(&mut buffer)).await;
        let Ok(count) = read else { return Ok(()) };
        let count = count?;
        if count == 0 {
            bail!("the server closed a session");
        }
        tail.extend_from_slice(buffer.get(..count).unwrap_or_default());
        let arrived = memchr::memmem::find_iter(&tail, b"</message>").count();
        if let Some(last) = memchr::memmem::rfind(&tail, b"</message>") {
            tail.drain(..last + 10);
        }
        delivered.fetch_add(arrived as u64, Ordering::Relaxed);
        window.add_permits(arrived);
    }
}

async fn until<S: AsyncReadExt + Unpin>(
    stream: &mut S,
    buffer: &mut Vec<u8>,
    text: &str,
) -> Result<()> {
    let look = async {
        loop {
            if let Some(at) = memchr::memmem::find(buffer, text.as_bytes()) {
                buffer.drain(..at + text.len());
                return Ok(());
            }
            if stream.read_buf(buffer).await? == 0 {
                bail!("closed while waiting for {text}: {}", String::from_utf8_lossy(buffer));
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), look).await.context(text.to_owned())?
}

pub(crate) fn header() -> String {
    format!(
        "<?xml version='1.0'?><stream:stream to='{DOMAIN}' version='1.0' xmlns='jabber:client' \
         xmlns:stream='http://etherx.jabber.org/streams'>"
    )
}

pub(crate) fn account(n: usize) -> String {
    format!("user{n}")
}

pub(crate) fn password(n: usize) -> String {
    format!("secret{n}")
}

/// Registers an account in band (XEP-0077), for the peers.
pub(crate) async fn register(port: u16, n: usize) -> Result<()> {
    let mut tcp = TcpStream::connect(("127.0.0.1", port)).await?;
    let mut buffer = Vec::new();
    tcp.write_all(header().as_bytes()).await?;
    until(&mut tcp, &mut buffer, "</stream:features>").await?;
    tcp.write_all(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").await?;
    until(&mut tcp, &mut buffer, "<proceed").await?;
    let mut stream = TlsConnector::from(tls()).connect(ServerName::try_from(DOMAIN)?, tcp).await?;
    let mut buffer = Vec::new();
    stream.write_all(header().as_bytes()).await?;
    until(&mut stream, &mut buffer, "</stream:features>").await?;
    let iq = format!(
        "<iq type='set' id='r'><query xmlns='jabber:iq:register'><username>{}</username>\
         <password>{}</password></query></iq>",
        account(n),
        password(n)
    );
    stream.write_all(iq.as_bytes()).await?;
    until(&mut stream, &mut buffer, "type='result'").await
}

/// TLS without a look at the certificate: the servers of a bench sign their own.
fn tls() -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let schemes = provider.signature_verification_algorithms.supported_schemes();
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has the default versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(schemes)))
        .with_no_client_auth();
    Arc::new(config)
}

#[derive(Debug)]
struct AnyCertificate(Vec<SignatureScheme>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}
