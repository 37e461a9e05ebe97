//! What wakes phones that sleep (RFC 8599): an HTTP POST to whoever speaks with the push service of their app.
//!
//! The operator names a place for each service; it is sent `{"provider", "prid", "param"}` as the phone registered them and
//! answers 2xx where it takes care of that. It learns neither who calls nor who is called.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Uri;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tandem_sip::ports::{BoxFuture, Push, Waker};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;

/// How long a place may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pushes on their way at once; others wait within their time.
const MAX_AT_ONCE: usize = 64;
/// Bytes of an answer's first line.
const MAX_LINE: u64 = 512;

/// The places that wake phones.
pub struct PushPlaces {
    places: HashMap<String, Uri>,
    tls: TlsConnector,
    turns: Semaphore,
}

impl PushPlaces {
    /// Those of the configuration, which has been checked.
    pub fn new<'a>(
        places: impl IntoIterator<Item = (&'a String, &'a String)>,
        tls: Arc<ClientConfig>,
    ) -> Self {
        let read = |(name, place): (&String, &String)| Some((name.clone(), this_place(place)?));
        Self {
            places: places.into_iter().filter_map(read).collect(),
            tls: tls.into(),
            turns: Semaphore::new(MAX_AT_ONCE),
        }
    }

    async fn post(&self, place: &Uri, body: &[u8]) -> io::Result<u16> {
        let _turn = self.turns.acquire().await.map_err(io::Error::other)?;
        let host = place.host().ok_or(io::ErrorKind::InvalidInput)?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let is_secure = place.scheme_str() == Some("https");
        let port = place.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        let authority = place.authority().map_or(host, |authority| authority.as_str());
        let path = place.path_and_query().map_or("/", |path| path.as_str());
        let mut request = format!(
            "POST {path} HTTP/1.1\r\nHost: {authority}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        let stream = TcpStream::connect((bare, port)).await?;
        if !is_secure {
            return ask(stream, &request).await;
        }
        let name = ServerName::try_from(bare.to_owned()).map_err(io::Error::other)?;
        ask(self.tls.connect(name, stream).await?, &request).await
    }
}

impl Waker for PushPlaces {
    fn wake<'a>(&'a self, push: &'a Push) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let provider = push.provider.to_ascii_lowercase();
            let Some(place) = self.places.get(&provider) else { return false };
            let body = serde_json::json!({
                "provider": provider, "prid": push.device, "param": push.param,
            });
            let body = body.to_string();
            let asked = self.post(place, body.as_bytes());
            let problem = match tokio::time::timeout(PATIENCE, asked).await {
                Ok(Ok(200..=299)) => {
                    metrics::counter!("tandem_pushes_total", "result" => "taken").increment(1);
                    return true;
                }
                Ok(Ok(status)) => format!("status {status}"),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer".to_owned(),
            };
            metrics::counter!("tandem_pushes_total", "result" => "failed").increment(1);
            tracing::warn!(provider, problem, "a push was not taken");
            false
        })
    }
}

/// An address that can be posted to.
pub fn this_place(text: &str) -> Option<Uri> {
    let uri: Uri = text.parse().ok()?;
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    let has_user = uri.authority().is_none_or(|authority| authority.as_str().contains('@'));
    (is_http && !has_user && uri.host().is_some_and(|host| !host.is_empty())).then_some(uri)
}

/// Sends a request and reads the status of its answer.
async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &[u8]) -> io::Result<u16> {
    stream.write_all(request).await?;
    stream.flush().await?;
    let mut line = Vec::new();
    let mut first = stream.take(MAX_LINE);
    // A status line begins with `HTTP/1.1 200`.
    while line.len() < 12 && first.read_buf(&mut line).await? > 0 {}
    status(&line).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn status(line: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(line.get(..12)?).ok()?;
    let rest = text.strip_prefix("HTTP/1.").filter(|_| text.as_bytes().get(8) == Some(&b' '))?;
    rest.get(2..)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn only_addresses_that_can_be_posted_to_are_places() {
        for good in ["http://127.0.0.1:80/a?b=c", "https://push.example.org", "http://[::1]:8/"] {
            assert!(this_place(good).is_some(), "{good}");
        }
        for bad in
            ["", "push.example.org", "/a", "ftp://a/", "http://u@h/", "https://", "http:///a"]
        {
            assert!(this_place(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_status_is_read_from_its_line_alone() {
        assert_eq!(status(b"HTTP/1.1 204 No Content\r\n"), Some(204));
        assert_eq!(status(b"HTTP/1.0 500"), Some(500));
        for bad in [
            &b"HTTP/1.1"[..],
            b"HTTP/1.1x200",
            b"HTTP/2 200 OK.",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            assert_eq!(status(bad), None, "{bad:?}");
        }
    }

    async fn answered(answer: &'static [u8]) -> (bool, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let place = format!("http://{address}/push?app=1");
        let tls =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth();
        let places = PushPlaces::new([(&"acme".to_owned(), &place)], Arc::new(tls));
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut heard = vec![0; 4096];
            let mut len = 0;
            while !heard[..len].ends_with(b"}") {
                len += stream.read(&mut heard[len..]).await.unwrap();
            }
            stream.write_all(answer).await.unwrap();
            String::from_utf8(heard[..len].to_vec()).unwrap()
        });
        let push = Push { provider: "Acme".into(), device: "a\"\r\n".into(), param: None };
        (places.wake(&push).await, served.await.unwrap())
    }

    #[tokio::test]
    async fn a_push_is_posted_as_it_was_registered_and_counts_when_it_is_taken() {
        let (is_taken, request) = answered(b"HTTP/1.1 202 Accepted\r\n\r\n").await;
        assert!(is_taken);
        assert!(request.starts_with("POST /push?app=1 HTTP/1.1\r\nHost: 127.0.0.1:"), "{request}");
        let (_, body) = request.split_once("\r\n\r\n").unwrap();
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body, serde_json::json!({"provider": "acme", "prid": "a\"\r\n", "param": null}));
        for refusal in [&b"HTTP/1.1 410 Gone\r\n\r\n"[..], b"nonsense\r\n\r\nmore nonsense", b""] {
            assert!(!answered(refusal).await.0);
        }
    }
}
