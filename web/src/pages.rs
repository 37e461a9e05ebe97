//! Discovery documents (XEP-0156, RFC 6415), health, and the page for people.

use axum::extract::State;
use axum::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_TYPE, HOST};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse};

use crate::Site;

const WEBSOCKET: &str = "urn:xmpp:alt-connections:websocket";
const BOSH: &str = "urn:xmpp:alt-connections:xbosh";

/// Where clients connect, by relation. The address that the client used to find us leads there too. What is no host
/// name is not repeated.
fn links(headers: &HeaderMap, site: &Site) -> [(&'static str, String); 2] {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    let host = headers.get(HOST).and_then(|h| h.to_str().ok()).filter(|h| h.chars().all(safe));
    let host = host.or(site.domains.first().map(String::as_str)).unwrap_or("localhost");
    [
        (WEBSOCKET, format!("wss://{host}/xmpp-websocket")),
        (BOSH, format!("https://{host}/http-bind")),
    ]
}

pub(crate) async fn host_meta(State(site): State<Site>, headers: HeaderMap) -> impl IntoResponse {
    let links: String = links(&headers, &site)
        .iter()
        .map(|(relation, url)| format!("<Link rel='{relation}' href='{url}'/>"))
        .collect();
    let body = format!(
        "<?xml version='1.0' encoding='utf-8'?>\
         <XRD xmlns='http://docs.oasis-open.org/ns/xri/xrd-1.0'>{links}</XRD>"
    );
    ([(CONTENT_TYPE, "application/xrd+xml"), (ACCESS_CONTROL_ALLOW_ORIGIN, "*")], body)
}

pub(crate) async fn host_meta_json(
    State(site): State<Site>,
    headers: HeaderMap,
) -> impl IntoResponse {
    let links: Vec<_> = links(&headers, &site)
        .iter()
        .map(|(relation, url)| serde_json::json!({ "rel": relation, "href": url }))
        .collect();
    let body = serde_json::json!({ "links": links });
    ([(ACCESS_CONTROL_ALLOW_ORIGIN, "*")], axum::Json(body))
}

pub(crate) async fn live() -> &'static str {
    "alive\n"
}

pub(crate) async fn ready(State(site): State<Site>) -> (StatusCode, String) {
    match site.health.ready().await {
        Ok(()) => (StatusCode::OK, "ready\n".into()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

pub(crate) async fn index(State(site): State<Site>) -> Html<String> {
    // Domains are checked by the configuration: letters, digits, dots and hyphens.
    let domain = site.domains.first().map(String::as_str).unwrap_or("localhost");
    Html(format!(
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Tandem</title>\
         <meta name='viewport' content='width=device-width'><main><h1>Tandem</h1>\
         <p>This is the server of <strong>{domain}</strong>. Log in with any XMPP app as \
         <code>name@{domain}</code>.</p>\
         <p>Web clients find it by <a href='/.well-known/host-meta'>host-meta</a>.</p></main></html>"
    ))
}
