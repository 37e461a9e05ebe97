//! XMPP and SIP over WebSocket (RFC 7395, RFC 7118): one message is one frame; the subprotocol is required and echoed.

use std::net::SocketAddr;

use axum::Extension;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio::sync::mpsc;

use crate::ports::{BoxFuture, Ends};
use crate::{Site, cors};

/// Frames that wait in either direction.
const QUEUE: usize = 16;

type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

pub(crate) async fn xmpp(
    State(site): State<Site>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    upgrade: Upgrade,
) -> Response {
    match negotiate(&site, &headers, upgrade, "xmpp", site.max_frame_bytes) {
        Ok(upgrade) => upgrade.on_upgrade(move |socket| async move {
            let (to_stream, incoming) = mpsc::channel(QUEUE);
            let (outgoing, from_stream) = mpsc::channel(QUEUE);
            let stream = site.streams.xmpp(incoming, outgoing, peer);
            // RFC 7395 section 3.2: text frames alone.
            pump(socket, to_stream, from_stream, stream, Kind::Text).await;
        }),
        Err(refusal) => *refusal,
    }
}

pub(crate) async fn sip(
    State(site): State<Site>,
    Extension(ends): Extension<Ends>,
    headers: HeaderMap,
    upgrade: Upgrade,
) -> Response {
    match negotiate(&site, &headers, upgrade, "sip", site.max_sip_bytes) {
        Ok(upgrade) => upgrade.on_upgrade(move |socket| async move {
            let (to_stream, incoming) = mpsc::channel(QUEUE);
            let (outgoing, from_stream) = mpsc::channel(QUEUE);
            let stream = site.streams.sip(incoming, outgoing, ends);
            // RFC 7118 section 5.1: either kind has to be taken.
            pump(socket, to_stream, from_stream, stream, Kind::Any).await;
        }),
        Err(refusal) => *refusal,
    }
}

/// Whether this page may connect (RFC 7395 section 3.9 and RFC 7118 section 10.1 leave it to the origin model), and speaks
/// the right language.
fn negotiate(
    site: &Site,
    headers: &HeaderMap,
    upgrade: Upgrade,
    protocol: &'static str,
    max_bytes: usize,
) -> Result<WebSocketUpgrade, Box<Response>> {
    let refuse =
        |status: StatusCode, text: &str| Box::new((status, format!("{text}\n")).into_response());
    if !cors::is_welcome(site, headers) {
        return Err(refuse(StatusCode::FORBIDDEN, "pages of this origin are not served"));
    }
    let upgrade = upgrade.map_err(|rejection| Box::new(rejection.into_response()))?;
    let upgrade =
        upgrade.protocols([protocol]).max_frame_size(max_bytes).max_message_size(max_bytes);
    if upgrade.selected_protocol().is_none() {
        let text = format!("the subprotocol {protocol} is required");
        return Err(refuse(StatusCode::BAD_REQUEST, &text));
    }
    Ok(upgrade)
}

/// Which frames carry messages.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Text,
    Any,
}

/// Carries frames both ways until the stream or the socket ends. What is not UTF-8 leaves as a binary frame.
async fn pump(
    mut socket: WebSocket,
    to_stream: mpsc::Sender<Bytes>,
    mut from_stream: mpsc::Receiver<Bytes>,
    stream: BoxFuture<'static, ()>,
    kind: Kind,
) {
    let pump = async {
        loop {
            tokio::select! {
                frame = from_stream.recv() => {
                    let Some(frame) = frame else { break };
                    let message = match String::from_utf8(frame.to_vec()) {
                        Ok(text) => Message::Text(text.into()),
                        Err(_) if kind == Kind::Any => Message::Binary(frame),
                        Err(_) => break,
                    };
                    if socket.send(message).await.is_err() {
                        break;
                    }
                }
                message = socket.recv() => {
                    let frame = match message {
                        Some(Ok(Message::Text(text))) => Bytes::from(text),
                        Some(Ok(Message::Binary(bytes))) if kind == Kind::Any => bytes,
                        // Pings answer themselves.
                        Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                        _ => break,
                    };
                    if to_stream.send(frame).await.is_err() {
                        break;
                    }
                }
            }
        }
        let _ = socket.send(Message::Close(None)).await;
        drop((to_stream, from_stream));
    };
    tokio::join!(stream, pump);
}
