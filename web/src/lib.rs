//! HTTP: discovery (XEP-0156), XMPP and SIP over WebSocket (RFC 7395, RFC 7118) and BOSH (XEP-0124), files (XEP-0363), health, metrics, a page that says how to connect.
//!
//! [`router`] is a value that can be called without a socket; the gateway serves it.

pub mod files;
pub mod invite;
pub mod picture;
pub mod ports;

mod bosh;
mod cors;
mod pages;
mod upload;
mod websocket;

use std::sync::Arc;

use axum::Router;
use axum::routing::{any, get};

pub use self::files::Files;
pub use self::ports::{BoxFuture, Ends, Health, Streams};

/// What the pages say and the ports they ask.
#[derive(Clone)]
pub struct Site {
    /// Domains served here, the first one first.
    pub domains: Vec<String>,
    /// Whether the node is ready.
    pub health: Arc<dyn Health>,
    /// Who serves WebSocket streams.
    pub streams: Arc<dyn Streams>,
    /// Bytes of one WebSocket message; the XMPP server's bound on a stanza.
    pub max_frame_bytes: usize,
    /// Bytes of one WebSocket message of a phone; the SIP server's bound on a message.
    pub max_sip_bytes: usize,
    /// Files of users, where they are kept.
    pub files: Option<Arc<dyn Files>>,
    /// Pages of these origins are served; `*` is any.
    pub origins: Arc<[String]>,
}

/// The public router, for HTTPS.
pub fn router(site: Site) -> Router {
    Router::new()
        .route("/", get(pages::index))
        .route("/.well-known/host-meta", get(pages::host_meta))
        .route("/.well-known/host-meta.json", get(pages::host_meta_json))
        .route("/xmpp-websocket", get(websocket::xmpp))
        .route("/sip-websocket", get(websocket::sip))
        .route("/http-bind", any(bosh::bind))
        .route("/upload/{id}/{name}", any(upload::file))
        .route("/thumbnail/{id}/{name}", any(upload::thumbnail))
        .route("/health/live", get(pages::live))
        .route("/health/ready", get(pages::ready))
        .with_state(site)
}

/// The router for this machine only: health and metrics.
pub fn metrics_router(site: Site, render: Arc<dyn Fn() -> String + Send + Sync>) -> Router {
    Router::new()
        .route("/health/live", get(pages::live))
        .route("/health/ready", get(pages::ready))
        .with_state(site)
        .route("/metrics", get(move || async move { render() }))
}

#[cfg(test)]
mod tests;
