//! Phones over WebSockets (RFC 7118): frames in, frames out, and what a lost socket costs.

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::tests::{SHORT, Wire, config, register, server, text};
use super::*;
use crate::config::Config;
use crate::msg::{Message, NameAddr, Uri};
use crate::ports::{OutgoingMessage, Target};

/// A WebSocket to the server, as whoever serves HTTP hands it in.
fn open(handle: &SipHandle) -> Wire {
    let (to_server, incoming) = mpsc::channel(16);
    let (outgoing, from_server) = mpsc::channel(16);
    let ends = WebSocketEnds {
        peer: ([192, 0, 2, 7], 49_152).into(),
        local: ([192, 0, 2, 1], 443).into(),
        is_secure: true,
    };
    let handle = handle.clone();
    tokio::spawn(async move { handle.websocket(incoming, outgoing, ends).await });
    Wire::Web(to_server, from_server)
}

const CONTACT: &str = "sip:c0ffee@df7jal23ls0d.invalid;transport=ws";

fn message(
    handle_binding: std::sync::Arc<crate::ports::Binding>,
    body: &'static [u8],
) -> OutgoingMessage {
    OutgoingMessage {
        target: Target::Binding(handle_binding),
        from: NameAddr::new(Uri::parse("sip:carl@example.org").unwrap()),
        to: Uri::parse("sip:ana@example.org").unwrap(),
        call_id: None,
        cseq: None,
        login: None,
        headers: Vec::new(),
        content_type: "text/plain".into(),
        body: Bytes::from_static(body),
    }
}

/// Sections 5 and 7: the answer leaves by the socket whatever the Via says, and a request reaches the phone by it.
#[tokio::test]
async fn a_phone_registers_and_is_reached_over_its_socket() {
    let (handle, _, _) = server(config()).await;
    let mut phone = open(&handle);
    assert_eq!(register(&mut phone, 1, CONTACT).await, 200);
    let binding = handle.bindings("ana@example.org").await.remove(0);
    assert_eq!((binding.flow.protocol, binding.is_secure()), (Protocol::Wss, true));
    // Not UTF-8: the frame has to be a binary one, and is a message all the same.
    let sent = handle.message(message(binding, b"\xff\xfe"));
    let heard = async {
        let Some(Message::Request(request)) = phone.next().await else { panic!("no request") };
        assert_eq!(request.uri.to_string(), CONTACT);
        let via = request.headers.top_via().unwrap();
        assert_eq!((via.transport.as_str(), via.port), ("WSS", Some(443)));
        phone.send(&request.response(200, Some("t")).to_bytes()).await;
    };
    let (result, ()) = timeout(SHORT, async { tokio::join!(sent, heard) }).await.unwrap();
    assert_eq!(result.unwrap().status, 200);
}

/// Section 5.2: the frame bounds the message, so a missing Content-Length is no fault, and a second message is not looked at.
#[tokio::test]
async fn a_frame_is_one_message() {
    let (handle, _, _) = server(config()).await;
    let mut phone = open(&handle);
    let two =
        text("OPTIONS", 1, "SIP/2.0", "l: 0\r\n", "") + &text("OPTIONS", 2, "SIP/2.0", "", "");
    phone.send(two.as_bytes()).await;
    phone.send(text("OPTIONS", 3, "SIP/2.0", "", "").as_bytes()).await;
    for id in ["id1", "id3"] {
        let answer = phone.answer().await.unwrap();
        assert_eq!((answer.status, answer.headers.get("i")), (200, Some(id)));
    }
    phone.send(text("OPTIONS", 4, "SIP/7.0", "", "").as_bytes()).await;
    assert_eq!(phone.answer().await.unwrap().status, 505);
}

/// Section 6 and RFC 5626 section 4.4.1.
#[tokio::test]
async fn two_line_ends_are_answered_with_one() {
    let (handle, _, _) = server(config()).await;
    let Wire::Web(frames, mut answers) = open(&handle) else { unreachable!() };
    for ping in ["\r\n", "\r\n\r\n"] {
        frames.send(Bytes::from_static(ping.as_bytes())).await.unwrap();
    }
    assert_eq!(timeout(SHORT, answers.recv()).await.unwrap().unwrap(), "\r\n");
    frames.send(text("OPTIONS", 1, "SIP/2.0", "", "").into()).await.unwrap();
    let next = timeout(SHORT, answers.recv()).await.unwrap().unwrap();
    assert!(next.starts_with(b"SIP/2.0 200"), "a lone line end asks for nothing");
}

/// Section 5.5: such a phone cannot be called back. What is sent to it fails at once.
#[tokio::test]
async fn a_phone_whose_socket_is_gone_is_not_reached() {
    let (handle, _, _) = server(config()).await;
    let mut phone = open(&handle);
    assert_eq!(register(&mut phone, 1, CONTACT).await, 200);
    let binding = handle.bindings("ana@example.org").await.remove(0);
    drop(phone);
    let fails = async {
        // Until the server has seen the end.
        while handle.message(message(binding.clone(), b"hello")).await.unwrap().status == 408 {}
    };
    timeout(SHORT, fails).await.unwrap();
    assert!(handle.bindings("ana@example.org").await.is_empty(), "nothing waits for it");
}

#[tokio::test]
async fn sockets_count_as_connections() {
    let (handle, _, _) = server(Config { max_connections_per_peer: 1, ..config() }).await;
    let mut first = open(&handle);
    first.send(text("OPTIONS", 1, "SIP/2.0", "", "").as_bytes()).await;
    assert!(first.next().await.is_some());
    let mut second = open(&handle);
    second.send(text("OPTIONS", 2, "SIP/2.0", "", "").as_bytes()).await;
    assert!(second.next().await.is_none(), "turned away");
}
