//! The router, called without a socket.

mod bosh;
mod upload;

use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Request, StatusCode};
use bytes::Bytes;
use tokio::sync::mpsc;
use tower::ServiceExt;

use super::*;
use crate::ports::BoxFuture;

struct Node(bool);

impl Health for Node {
    fn ready(&self) -> BoxFuture<'_, Result<(), String>> {
        let ready = if self.0 { Ok(()) } else { Err("no database".to_owned()) };
        Box::pin(std::future::ready(ready))
    }
}

impl Streams for Node {
    fn xmpp(
        &self,
        _: mpsc::Receiver<Bytes>,
        _: mpsc::Sender<Bytes>,
        _: std::net::SocketAddr,
    ) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }

    fn sip(
        &self,
        _: mpsc::Receiver<Bytes>,
        _: mpsc::Sender<Bytes>,
        _: Ends,
    ) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }

    /// Says what it was told; of `full`, that there is no room.
    fn bosh(&self, content: Bytes, _: std::net::SocketAddr) -> BoxFuture<'static, Option<Bytes>> {
        let answer = (content != "full").then_some(content);
        Box::pin(std::future::ready(answer))
    }
}

fn site() -> Site {
    let node = Arc::new(Node(true));
    Site {
        domains: vec!["example.org".into()],
        health: node.clone(),
        streams: node,
        max_frame_bytes: 1000,
        max_sip_bytes: 1000,
        files: None,
        origins: Arc::new(["*".to_owned()]),
    }
}

/// What the router answers to a request from somewhere.
async fn answer(site: Site, mut request: Request<Body>) -> (StatusCode, HeaderMap, Vec<u8>) {
    let peer: std::net::SocketAddr = "192.0.2.1:5".parse().unwrap();
    request.extensions_mut().insert(ConnectInfo(peer));
    request.extensions_mut().insert(Ends { peer, local: peer, is_secure: true });
    let response = router(site).oneshot(request).await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let body = to_bytes(response.into_body(), 100_000).await.unwrap();
    (status, headers, body.to_vec())
}

async fn get(ready: bool, path: &str, host: &str) -> (StatusCode, String) {
    let site = Site { health: Arc::new(Node(ready)), ..site() };
    let request = Request::get(path).header("host", host).body(Body::empty()).unwrap();
    let (status, _, body) = answer(site, request).await;
    (status, String::from_utf8(body).unwrap())
}

/// XEP-0156 section 3.
#[tokio::test]
async fn discovery_leads_to_websocket_and_bosh_at_the_host_that_was_asked() {
    let (status, body) = get(true, "/.well-known/host-meta", "h.example:8443").await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.contains("href='wss://h.example:8443/xmpp-websocket'"), "{body}");
    assert!(body.contains("rel='urn:xmpp:alt-connections:xbosh'"), "{body}");
    assert!(body.contains("href='https://h.example:8443/http-bind'"), "{body}");
    let (_, body) = get(true, "/.well-known/host-meta.json", "h.example").await;
    let json: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(json["links"][0]["rel"], "urn:xmpp:alt-connections:websocket");
    assert_eq!(json["links"][0]["href"], "wss://h.example/xmpp-websocket");
    assert_eq!(json["links"][1]["rel"], "urn:xmpp:alt-connections:xbosh");
    assert_eq!(json["links"][1]["href"], "https://h.example/http-bind");
    let (_, body) = get(true, "/.well-known/host-meta", "<script>").await;
    assert!(body.contains("wss://example.org/"), "{body}");
}

/// XEP-0156 section 3.3: pages of any origin read the documents.
#[tokio::test]
async fn discovery_is_open_to_pages_everywhere() {
    for path in ["/.well-known/host-meta", "/.well-known/host-meta.json"] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let (_, headers, _) = answer(site(), request).await;
        assert_eq!(headers["access-control-allow-origin"], "*");
    }
}

#[tokio::test]
async fn health_says_what_is_missing() {
    assert_eq!(get(true, "/health/live", "h").await.0, StatusCode::OK);
    assert_eq!(get(true, "/health/ready", "h").await.0, StatusCode::OK);
    let (status, body) = get(false, "/health/ready", "h").await;
    assert_eq!((status, body.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "no database\n"));
}

/// RFC 7395 section 3.9, RFC 7118 section 10.1: the origin model.
#[tokio::test]
async fn a_page_of_another_origin_opens_no_websocket() {
    let site = Site { origins: Arc::new(["https://app.example".to_owned()]), ..site() };
    let paths = [("/xmpp-websocket", "xmpp"), ("/sip-websocket", "sip")];
    let origins = [
        ("https://evil.example", StatusCode::FORBIDDEN),
        // Welcome, and no upgrade without a connection.
        ("https://app.example", StatusCode::UPGRADE_REQUIRED),
    ];
    for ((path, protocol), (origin, expected)) in
        paths.into_iter().flat_map(|path| origins.map(|origin| (path, origin)))
    {
        let request = Request::get(path)
            .header("origin", origin)
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("sec-websocket-protocol", protocol)
            .body(Body::empty())
            .unwrap();
        let (status, _, _) = answer(site.clone(), request).await;
        assert_eq!(status, expected, "{path} {origin}");
    }
}
