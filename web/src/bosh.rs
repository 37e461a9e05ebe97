//! XMPP over HTTP requests (XEP-0124, XEP-0206): the POSTs, and which pages may make them.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, State};
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::{Site, cors};

const METHODS: &str = "OPTIONS, GET, POST";
/// Bytes of the wrapper round the largest stanza.
const WRAPPER: usize = 4 * 1024;
/// Time for a request to come in whole.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn bind(
    State(site): State<Site>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    method: Method,
    headers: HeaderMap,
    body: Body,
) -> Response {
    if !cors::is_welcome(&site, &headers) {
        return (StatusCode::FORBIDDEN, "pages of this origin are not served\n").into_response();
    }
    let mut response = match method {
        Method::POST => answer(&site, body, peer).await,
        Method::OPTIONS => StatusCode::NO_CONTENT.into_response(),
        // For people who try the address in a browser.
        Method::GET => {
            "XMPP over BOSH is served here; clients POST to this address.\n".into_response()
        }
        _ => (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, METHODS)]).into_response(),
    };
    cors::allow(&site, &headers, response.headers_mut(), METHODS);
    response
}

async fn answer(site: &Site, body: Body, peer: SocketAddr) -> Response {
    // XMLHttpRequest of old clients sends text/plain, so the type is not looked at.
    let content = to_bytes(body, site.max_frame_bytes + WRAPPER);
    let content = match tokio::time::timeout(PATIENCE, content).await {
        Ok(Ok(content)) => content,
        Ok(Err(_)) => return StatusCode::PAYLOAD_TOO_LARGE.into_response(),
        Err(_) => return StatusCode::REQUEST_TIMEOUT.into_response(),
    };
    match site.streams.bosh(content, peer).await {
        Some(answer) => {
            let head = [(CONTENT_TYPE, "text/xml; charset=utf-8"), (CACHE_CONTROL, "no-store")];
            (head, answer).into_response()
        }
        None => (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "5")]).into_response(),
    }
}
