//! XMPP over WebSocket (RFC 7395): one message is one frame; the subprotocol is required and echoed.

use std::net::SocketAddr;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio::sync::mpsc;

use crate::{Site, cors};

/// Frames that wait in either direction.
const QUEUE: usize = 16;

pub(crate) async fn xmpp(
    State(site): State<Site>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    // RFC 7395 section 3.9 leaves to the origin model which pages may connect.
    if !cors::is_welcome(&site, &headers) {
        return (StatusCode::FORBIDDEN, "pages of this origin are not served\n").into_response();
    }
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejection.into_response(),
    };
    let upgrade = upgrade
        .protocols(["xmpp"])
        .max_frame_size(site.max_frame_bytes)
        .max_message_size(site.max_frame_bytes);
    if upgrade.selected_protocol().is_none() {
        return (StatusCode::BAD_REQUEST, "the subprotocol xmpp is required\n").into_response();
    }
    upgrade.on_upgrade(move |socket| async move { serve(site, socket, peer).await })
}

async fn serve(site: Site, mut socket: WebSocket, peer: SocketAddr) {
    let (to_stream, incoming) = mpsc::channel(QUEUE);
    let (outgoing, mut from_stream) = mpsc::channel::<Bytes>(QUEUE);
    let stream = site.streams.xmpp(incoming, outgoing, peer);
    let pump = async {
        loop {
            tokio::select! {
                frame = from_stream.recv() => {
                    let Some(frame) = frame else { break };
                    let Ok(text) = String::from_utf8(frame.to_vec()) else { break };
                    if socket.send(Message::Text(text.into())).await.is_err() {
                        break;
                    }
                }
                message = socket.recv() => match message {
                    Some(Ok(Message::Text(text))) => {
                        if to_stream.send(Bytes::copy_from_slice(text.as_bytes())).await.is_err() {
                            break;
                        }
                    }
                    // Binary frames are not allowed (RFC 7395 section 3.2); pings answer themselves.
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    _ => break,
                },
            }
        }
        let _ = socket.send(Message::Close(None)).await;
        drop((to_stream, from_stream));
    };
    tokio::join!(stream, pump);
}
