//! A small XMPP client for load: STARTTLS, PLAIN, bind, presence, messages. It parses no more than it must.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tandem_tests::phones::{account, password};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::scram;
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
        Self::login_as(server, n, "r").await
    }

    /// As [`Client::login`], under this resource.
    pub(crate) async fn login_as(server: &Running, n: usize, resource: &str) -> Result<Self> {
        let mut client = Self::secure(server.port, n).await?;
        let plain = format!("\0{}\0{}", account(n), password(n));
        let plain = BASE64.encode(plain);
        client.send(&header()).await?;
        client.expect("</stream:features>").await?;
        client
            .send(&format!(
                "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>"
            ))
            .await?;
        client.expect("<success").await?;
        client.bind(resource).await?;
        client.send("<presence/>").await?;
        Ok(client)
    }

    /// Connects and starts TLS.
    async fn secure(port: u16, n: usize) -> Result<Self> {
        let mut tcp = TcpStream::connect(("127.0.0.1", port)).await?;
        tcp.set_nodelay(true)?;
        tcp.write_all(header().as_bytes()).await?;
        let mut buffer = Vec::new();
        until(&mut tcp, &mut buffer, "</stream:features>").await?;
        tcp.write_all(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").await?;
        until(&mut tcp, &mut buffer, "<proceed").await?;
        let name = ServerName::try_from(DOMAIN)?;
        let stream = TlsConnector::from(tls()).connect(name, tcp).await?;
        let jid = format!("{}@{DOMAIN}/r", account(n));
        Ok(Self { stream, buffer: Vec::new(), jid })
    }

    /// Takes a resource.
    async fn bind(&mut self, resource: &str) -> Result<()> {
        self.send(&header()).await?;
        self.expect("</stream:features>").await?;
        self.send(&format!(
            "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
             <resource>{resource}</resource></bind></iq>"
        ))
        .await?;
        self.expect("</iq>").await
    }

    /// Logs in as account number `n` by SCRAM-SHA-1, with a TLS handshake that resumes nothing.
    pub(crate) async fn login_with_scram(port: u16, n: usize) -> Result<Self> {
        let mut client = Self::secure(port, n).await?;
        client.send(&header()).await?;
        client.expect("</stream:features>").await?;
        let first = scram::first(&account(n));
        let auth = BASE64.encode(format!("n,,{first}"));
        client
            .send(&format!(
                "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'>{auth}</auth>"
            ))
            .await?;
        client.expect("<challenge").await?;
        let challenge = client.between(">", "<").await?;
        let challenge = String::from_utf8(BASE64.decode(challenge)?)?;
        let last = BASE64.encode(scram::last(&first, &challenge, &password(n))?);
        client
            .send(&format!("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{last}</response>"))
            .await?;
        client.expect("<success").await?;
        client.bind("r").await?;
        Ok(client)
    }

    /// Asks the server for a sign of life.
    pub(crate) async fn ping(&mut self) -> Result<()> {
        self.send("<iq type='get' id='alive'><ping xmlns='urn:xmpp:ping'/></iq>").await?;
        self.expect("alive").await
    }

    /// Ends the stream.
    pub(crate) async fn leave(mut self) -> Result<()> {
        self.send("</stream:stream>").await?;
        self.expect("</stream:stream>").await
    }

    /// Enters a room; who makes it opens it to everybody.
    pub(crate) async fn join(&mut self, number: usize, makes: bool) -> Result<()> {
        let room = room(number);
        let nick = self.jid.split('@').next().unwrap_or_default().to_owned();
        self.send(&format!(
            "<presence to='{room}/{nick}'><x xmlns='http://jabber.org/protocol/muc'>\
             <history maxstanzas='0'/></x></presence>"
        ))
        .await?;
        self.expect("110").await?;
        if makes {
            let field = |name: &str, value: &str| {
                format!("<field var='{name}'><value>{value}</value></field>")
            };
            self.send(&format!(
                "<iq to='{room}' id='conf' type='set'><query xmlns='http://jabber.org/protocol/muc#owner'>\
                 <x xmlns='jabber:x:data' type='submit'>{}{}</x></query></iq>",
                field("FORM_TYPE", "http://jabber.org/protocol/muc#roomconfig"),
                field("muc#roomconfig_membersonly", "0")
            ))
            .await?;
            // Each server quotes in its own way.
            self.expect("conf").await?;
        }
        Ok(())
    }

    /// Apart.
    pub(crate) fn split(self) -> (ReadHalf<TlsStream<TcpStream>>, WriteHalf<TlsStream<TcpStream>>) {
        tokio::io::split(self.stream)
    }

    /// Its address.
    pub(crate) fn jid(&self) -> &str {
        &self.jid
    }

    /// Reads the next text between these two.
    pub(crate) async fn between(&mut self, from: &str, to: &str) -> Result<String> {
        read_to(&mut self.stream, &mut self.buffer, from).await?;
        let mut text = read_to(&mut self.stream, &mut self.buffer, to).await?;
        text.truncate(text.len() - to.len());
        Ok(String::from_utf8(text)?)
    }

    pub(crate) async fn send(&mut self, text: &str) -> Result<()> {
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

pub(crate) async fn send_until<W: AsyncWriteExt + Unpin>(
    mut stream: W,
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

pub(crate) async fn receive_until<R: AsyncReadExt + Unpin>(
    mut stream: R,
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
    let look = read_to(stream, buffer, text);
    tokio::time::timeout(Duration::from_secs(30), look).await.context(text.to_owned())?.map(|_| ())
}

/// Everything up to the end of this text.
async fn read_to<S: AsyncReadExt + Unpin>(
    stream: &mut S,
    buffer: &mut Vec<u8>,
    text: &str,
) -> Result<Vec<u8>> {
    loop {
        if let Some(at) = memchr::memmem::find(buffer, text.as_bytes()) {
            return Ok(buffer.drain(..at + text.len()).collect());
        }
        if stream.read_buf(buffer).await? == 0 {
            bail!("closed while waiting for {text}: {}", String::from_utf8_lossy(buffer));
        }
    }
}

/// A room's address.
pub(crate) fn room(number: usize) -> String {
    format!("room{number}@rooms.{DOMAIN}")
}

pub(crate) fn header() -> String {
    format!(
        "<?xml version='1.0'?><stream:stream to='{DOMAIN}' version='1.0' xmlns='jabber:client' \
         xmlns:stream='http://etherx.jabber.org/streams'>"
    )
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
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has the default versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(schemes)))
        .with_no_client_auth();
    // Every handshake is a whole one: who logs in for the first time is measured.
    config.resumption = rustls::client::Resumption::disabled();
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
