//! The certificate of the listeners while the program runs: when its files change, new connections see the new one and
//! old ones go on.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::client::ResolvesClientCert;
use rustls::crypto::ring::{Ticketer, default_provider, sign};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SignatureScheme};
use tandem_xmpp::net::Tls;

use crate::certificate::{Certificate, CertificateError};
use crate::config::Config;

/// Between two looks at the files.
const ROUND: Duration = Duration::from_secs(2);

/// What was last seen of the files: when each was changed, and how long it was.
type Seen = Vec<Option<(SystemTime, u64)>>;

/// TLS of one listener, always with the newest certificate.
#[derive(Clone)]
pub struct Front(Arc<FrontInner>);

struct FrontInner {
    alpn: Vec<String>,
    tls: RwLock<Tls>,
}

impl Front {
    /// For a connection that begins now.
    pub fn tls(&self) -> Tls {
        self.0.tls.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The certificate and all who show it. Cheap to clone.
#[derive(Clone)]
pub struct LiveCertificate(Arc<Inner>);

struct Inner {
    config: Config,
    files: [PathBuf; 2],
    seen: Mutex<Seen>,
    shown: Arc<Shown>,
    fronts: Mutex<Vec<Front>>,
}

/// What a handshake shows that has no listener of ours before it; where we open the stream too.
#[derive(Debug)]
pub(crate) struct Shown(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl ResolvesClientCert for Shown {
    /// The only one there is, whomever the other side trusts.
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl LiveCertificate {
    /// Reads the configured files, or the self-made ones, or makes those.
    ///
    /// # Errors
    ///
    /// [`CertificateError`] names the file.
    pub fn load(config: &Config) -> Result<Self, CertificateError> {
        let certificate = Certificate::load(config)?;
        let files = Certificate::files(config);
        let shown = Arc::new(Shown(RwLock::new(certified(&certificate)?)));
        let seen = Mutex::new(look(&files));
        let fronts = Mutex::default();
        Ok(Self(Arc::new(Inner { config: config.clone(), files, seen, shown, fronts })))
    }

    /// The fingerprint of the certificate that is shown, as SDP writes it (RFC 8122 section 5).
    pub fn fingerprint(&self) -> String {
        use sha2::{Digest, Sha256};
        let shown = self.0.shown.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        let hash = shown.cert.first().map(Sha256::digest).unwrap_or_default();
        let pairs: Vec<String> = hash.iter().map(|b| format!("{b:02X}")).collect();
        format!("sha-256 {}", pairs.join(":"))
    }

    /// TLS of a listener that offers these application protocols (ALPN).
    ///
    /// # Errors
    ///
    /// [`CertificateError::Unusable`] when key and chain do not fit.
    pub fn front(&self, alpn: &[&str]) -> Result<Front, CertificateError> {
        let certificate = Certificate::load(&self.0.config)?;
        let alpn: Vec<String> = alpn.iter().map(|p| (*p).to_owned()).collect();
        let tls = RwLock::new(certificate.tls(&alpn)?);
        let front = Front(Arc::new(FrontInner { alpn, tls }));
        self.0.fronts.lock().unwrap_or_else(PoisonError::into_inner).push(front.clone());
        Ok(front)
    }

    /// TLS settings for a server that keeps them as long as it runs.
    ///
    /// # Errors
    ///
    /// [`CertificateError::Unusable`] when the TLS library does not work.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, CertificateError> {
        let unusable = |e: rustls::Error| CertificateError::Unusable(e.to_string());
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_no_client_auth()
            .with_cert_resolver(self.0.shown.clone());
        config.ticketer = Ticketer::new().map_err(unusable)?;
        Ok(Arc::new(config))
    }

    /// What is shown now, at each handshake.
    pub(crate) fn shown(&self) -> Arc<Shown> {
        self.0.shown.clone()
    }

    /// Looks at the files every two seconds. Never resolves.
    pub async fn watch(self) {
        let mut rounds = tokio::time::interval(ROUND);
        loop {
            rounds.tick().await;
            let live = self.clone();
            let _ = tokio::task::spawn_blocking(move || live.renew()).await;
        }
    }

    /// Takes the files when they have changed. One that cannot be used leaves the old certificate in place: it may be
    /// half written, and the next change is looked at again.
    pub(crate) fn renew(&self) {
        let now = look(&self.0.files);
        {
            let mut seen = self.0.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if *seen == now {
                return;
            }
            *seen = now;
        }
        match self.take() {
            Ok(()) => tracing::info!("the certificate has changed and is shown from now on"),
            Err(error) => tracing::warn!(%error, "the old certificate is still shown"),
        }
    }

    fn take(&self) -> Result<(), CertificateError> {
        let certificate = Certificate::load(&self.0.config)?;
        let shown = certified(&certificate)?;
        let fronts = self.0.fronts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // All or none: the listeners never show different ones.
        let new: Result<Vec<Tls>, _> =
            fronts.iter().map(|front| certificate.tls(&front.0.alpn)).collect();
        for (front, tls) in fronts.iter().zip(new?) {
            *front.0.tls.write().unwrap_or_else(PoisonError::into_inner) = tls;
        }
        *self.0.shown.0.write().unwrap_or_else(PoisonError::into_inner) = shown;
        Ok(())
    }
}

/// A chain with a key that fits it.
fn certified(certificate: &Certificate) -> Result<Arc<CertifiedKey>, CertificateError> {
    let unusable = |e: rustls::Error| CertificateError::Unusable(e.to_string());
    let (chain, key) = certificate.parts();
    let key = sign::any_supported_type(&key).map_err(unusable)?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        // Not every kind of key can tell; those that can must.
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
            Ok(Arc::new(certified))
        }
        Err(error) => Err(unusable(error)),
    }
}

fn look(files: &[PathBuf]) -> Seen {
    let seen = |path: &PathBuf| {
        let about = std::fs::metadata(path).ok()?;
        Some((about.modified().ok()?, about.len()))
    };
    files.iter().map(seen).collect()
}

#[cfg(test)]
mod tests {
    use rustls::ClientConfig;
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
    use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

    use super::*;

    /// Takes every certificate: the tests look at it themselves.
    #[derive(Debug)]
    struct Anything;

    impl ServerCertVerifier for Anything {
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
            _: &rustls::DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            default_provider().signature_verification_algorithms.supported_schemes()
        }
    }

    type Ends = (client::TlsStream<DuplexStream>, server::TlsStream<DuplexStream>);

    async fn shake(
        config: Arc<ServerConfig>,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> std::io::Result<Ends> {
        let client = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anything))
            .with_no_client_auth();
        let (near, far) = tokio::io::duplex(64 * 1024);
        let name = ServerName::try_from("localhost").unwrap();
        let connector = TlsConnector::from(Arc::new(client));
        tokio::try_join!(connector.connect(name, near), TlsAcceptor::from(config).accept(far))
    }

    fn shown(ends: &Ends) -> Vec<u8> {
        ends.0.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    }

    fn setting(dir: &std::path::Path) -> Config {
        Config { data_dir: dir.to_owned(), ..Config::default() }
    }

    #[tokio::test]
    async fn a_new_certificate_is_shown_to_new_connections_and_old_ones_go_on() {
        let dir = tempfile::tempdir().unwrap();
        let live = LiveCertificate::load(&setting(dir.path())).unwrap();
        let (front, fixed) = (live.front(&[]).unwrap(), live.server_config().unwrap());
        let mut old = shake(front.tls().config, rustls::ALL_VERSIONS).await.unwrap();
        let binding = front.tls().end_point;
        live.renew();
        let same = shake(front.tls().config, rustls::ALL_VERSIONS).await.unwrap();
        assert_eq!(shown(&old), shown(&same), "nothing has changed");

        // Half of a change is none.
        std::fs::write(dir.path().join("key.pem"), "half").unwrap();
        live.renew();
        let same = shake(front.tls().config, rustls::ALL_VERSIONS).await.unwrap();
        assert_eq!(shown(&old), shown(&same));

        for file in ["key.pem", "certificate.pem"] {
            std::fs::remove_file(dir.path().join(file)).unwrap();
        }
        Certificate::load(&setting(dir.path())).unwrap();
        live.renew();
        for config in [front.tls().config, fixed] {
            let new = shake(config, rustls::ALL_VERSIONS).await.unwrap();
            assert_ne!(shown(&old), shown(&new));
        }
        assert_ne!(front.tls().end_point, binding, "bound to what is shown");
        old.0.write_all(b"still here").await.unwrap();
        old.0.flush().await.unwrap();
        let mut heard = [0; 10];
        old.1.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"still here");
    }

    /// A key that belongs to another certificate is not taken.
    #[tokio::test]
    async fn a_key_that_does_not_fit_changes_nothing() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let live = LiveCertificate::load(&setting(one.path())).unwrap();
        let front = live.front(&[]).unwrap();
        let old = shake(front.tls().config, rustls::ALL_VERSIONS).await.unwrap();
        Certificate::load(&setting(two.path())).unwrap();
        std::fs::copy(two.path().join("key.pem"), one.path().join("key.pem")).unwrap();
        assert!(live.take().is_err());
        let same = shake(front.tls().config, rustls::ALL_VERSIONS).await.unwrap();
        assert_eq!(shown(&old), shown(&same));
    }

    /// RFC 7590 section 3.1: 1.2 and 1.3 are spoken; the library knows nothing older.
    #[tokio::test]
    async fn tls_1_2_and_1_3_are_spoken_and_nothing_older() {
        let dir = tempfile::tempdir().unwrap();
        let live = LiveCertificate::load(&setting(dir.path())).unwrap();
        let config = live.front(&[]).unwrap().tls().config;
        for (version, expected) in [
            (&rustls::version::TLS12, rustls::ProtocolVersion::TLSv1_2),
            (&rustls::version::TLS13, rustls::ProtocolVersion::TLSv1_3),
        ] {
            let ends = shake(config.clone(), &[version]).await.unwrap();
            assert_eq!(ends.1.get_ref().1.protocol_version(), Some(expected));
        }
        // A hello of TLS 1.1: record and handshake version 3.2, one cipher suite.
        let hello: &[u8] = &[
            22, 3, 2, 0, 45, 1, 0, 0, 41, 3, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
            16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 0, 0, 2, 0, 47, 1,
            0,
        ];
        let (mut near, far) = tokio::io::duplex(1024);
        near.write_all(hello).await.unwrap();
        let refused = TlsAcceptor::from(config).accept(far).await;
        assert!(refused.is_err());
    }
}
