//! The router, called without a socket.

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
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
}

async fn get(ready: bool, path: &str, host: &str) -> (StatusCode, String) {
    let node = Arc::new(Node(ready));
    let site = Site {
        domains: vec!["example.org".into()],
        health: node.clone(),
        streams: node,
        max_frame_bytes: 1000,
        files: None,
        origins: Arc::new(["*".to_owned()]),
    };
    let request = Request::get(path).header("host", host).body(Body::empty()).unwrap();
    let response = router(site).oneshot(request).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), 100_000).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn discovery_leads_to_the_websocket_of_the_host_that_was_asked() {
    let (status, body) = get(true, "/.well-known/host-meta", "h.example:8443").await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.contains("href='wss://h.example:8443/xmpp-websocket'"), "{body}");
    let (_, body) = get(true, "/.well-known/host-meta.json", "h.example").await;
    let json: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(json["links"][0]["href"], "wss://h.example/xmpp-websocket");
    let (_, body) = get(true, "/.well-known/host-meta", "<script>").await;
    assert!(body.contains("wss://example.org/"), "{body}");
}

#[tokio::test]
async fn health_says_what_is_missing() {
    assert_eq!(get(true, "/health/live", "h").await.0, StatusCode::OK);
    assert_eq!(get(true, "/health/ready", "h").await.0, StatusCode::OK);
    let (status, body) = get(false, "/health/ready", "h").await;
    assert_eq!((status, body.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "no database\n"));
}
