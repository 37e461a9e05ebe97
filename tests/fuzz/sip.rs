//! What is fuzzed of SIP (RFC 3261): messages, URIs, typed header fields, streams, bodies of several parts, transactions.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tandem_sip::msg::header::*;
use tandem_sip::msg::stream::{Frame, Framer};
use tandem_sip::msg::{
    Header, Headers, Limits, ListHeader, Message, Method, Multipart, Request, Uri, check_request,
    parse_datagram,
};
use tandem_sip::transaction::{Event as Told, Layer, TxId};
use tandem_sip::transport::{Flow, Protocol};

/// Small, so that the limits are met.
const LIMITS: Limits = Limits { message: 4_096, line: 512, headers: 40 };

/// A message that is let in goes out as one that reads the same; whatever is wrong with others has an answer or none.
pub fn sip_message(data: &[u8]) {
    match parse_datagram(data.to_vec(), &LIMITS) {
        Ok(message) => {
            let printed = message.to_bytes();
            let again =
                parse_datagram(printed.clone(), &Limits::default()).expect("what goes out is SIP");
            assert_eq!(again.to_bytes(), printed, "printed twice");
            if let Message::Request(request) = &message {
                let _ = check_request(request);
                let _ = request.response(200, Some("tag")).to_bytes();
            }
            fields(message.headers());
        }
        Err(error) => {
            if let Some(response) = error.response("tag") {
                let printed = response.to_bytes();
                assert!(printed.starts_with(b"SIP/2.0 ") && printed.ends_with(b"\r\n\r\n"));
            }
        }
    }
}

/// A URI reads as it was printed, and is the same as itself.
pub fn sip_uri(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(uri) = Uri::parse(text) else { return };
    let again = Uri::parse(&uri.to_string());
    assert_eq!(again.as_ref(), Ok(&uri), "{text:?}");
    assert!(uri.is_same(&uri), "{text:?}");
    let _ = uri.user_decoded();
}

/// Every field of the head of a message, by its type: what was read prints to what reads the same.
pub fn sip_headers(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut headers = Headers::new();
    for line in text.lines() {
        if let Some((name, value)) = line.split_once(':') {
            headers.push(name.trim(), value);
        }
    }
    fields(&headers);
}

/// The same messages come out of a stream, or it is refused, however the bytes come in.
pub fn sip_stream(data: &[u8]) {
    let Some((step, data)) = data.split_first() else { return };
    let whole = frames(data, data.len());
    assert_eq!(whole, frames(data, 1), "byte by byte");
    assert_eq!(whole, frames(data, usize::from(*step).max(1)), "in pieces of {step}");
}

/// The messages, and whether the stream was refused: of two limits, which one is met first depends on the pieces. How line ends between messages are cut depends on when they come.
fn frames(data: &[u8], step: usize) -> (Vec<Frame>, bool) {
    let mut framer = Framer::new(LIMITS);
    let mut messages = Vec::new();
    for piece in data.chunks(step.max(1)) {
        framer.push(piece);
        loop {
            match framer.poll() {
                Ok(Some(message @ Frame::Message(_))) => messages.push(message),
                Ok(Some(Frame::Ping | Frame::Pong)) => {}
                Ok(None) => break,
                Err(_) => return (messages, true),
            }
        }
    }
    (messages, false)
}

/// Parts that were read print to parts that read the same.
pub fn sip_multipart(data: &[u8]) {
    let Some(at) = data.iter().position(|byte| *byte == b'\n') else { return };
    let Ok(kind) = std::str::from_utf8(&data[..at]) else { return };
    let Ok(kind) = ContentType::parse(kind) else { return };
    let body = Bytes::copy_from_slice(&data[at + 1..]);
    let _ = Multipart::find(&kind, &body, &|kind| kind.is("application/sdp"));
    let Ok(parts) = Multipart::parse(&kind, &body) else { return };
    let (printed, boundary) = parts.to_bytes("edge");
    let kind = ContentType::parse(&Multipart::content_type("mixed", &boundary)).expect("ours");
    let again = Multipart::parse(&kind, &printed).expect("what goes out is read");
    assert_eq!(again.parts.len(), parts.parts.len());
    for (one, other) in again.parts.iter().zip(&parts.parts) {
        assert_eq!(one.body, other.body);
    }
}

/// A story for the transaction layer, steps parted by `\n--`: a message that comes (`m`), a request of ours (`c`), an answer
/// of ours to what came last (`r`), time (`t`), a connection that is lost (`l`). Whatever the story, when all is answered and
/// all timers have run out, nothing is left, and no request of ours has ended twice.
#[allow(clippy::disallowed_methods)] // an origin for virtual time
pub fn sip_transactions(data: &[u8]) {
    let (udp, tcp) = (flow(Protocol::Udp, 1), flow(Protocol::Tcp, 2));
    let mut now = Instant::now();
    let mut layer = Layer::default();
    let (mut open, mut ours) = (Vec::new(), Vec::new());
    let text = String::from_utf8_lossy(data);
    for (n, step) in text.split("\n--").take(64).enumerate() {
        let Some((op, rest)) = step.split_at_checked(1) else { continue };
        let flow = if rest.starts_with('s') { tcp } else { udp };
        let message = || {
            let (_, message) = rest.split_once('\n')?;
            parse_datagram(message.replace('\n', "\r\n").into_bytes(), &LIMITS).ok()
        };
        let number: u64 = rest.trim().parse().unwrap_or(0);
        match (op, message()) {
            ("m", Some(message)) => layer.handle_message(message, flow, now),
            ("c", Some(Message::Request(mut request))) if request.method != Method::ACK => {
                let branch = format!("z9hG4bKours{n}");
                request.headers.set("Via", format!("SIP/2.0/UDP 192.0.2.1:5070;branch={branch}"));
                ours.push(layer.request(request, &branch, flow, now));
            }
            ("r", _) => {
                answer(&mut layer, &mut open, u16::try_from(number % 700).unwrap_or(0), now)
            }
            ("t", _) => {
                now += Duration::from_millis(number % 40_000);
                layer.handle_timeout(now);
            }
            ("l", _) => layer.flow_lost(2),
            _ => {}
        }
        heard(&mut layer, &mut open, &mut ours);
    }
    while !open.is_empty() {
        answer(&mut layer, &mut open, 500, now);
        heard(&mut layer, &mut open, &mut ours);
    }
    while let Some(at) = layer.next_timeout() {
        assert!(layer.next_timeout() >= Some(at));
        now = now.max(at);
        layer.handle_timeout(now);
        heard(&mut layer, &mut open, &mut ours);
        while !open.is_empty() {
            answer(&mut layer, &mut open, 500, now);
        }
    }
    // A call of ours that rings has no timer of its own (RFC 3261 section 17.1.1.2): who makes it gives it up.
    ours.into_iter().for_each(|tx| layer.forget(tx));
    assert!(layer.is_empty(), "{} transactions are left", layer.len());
}

fn flow(protocol: Protocol, socket: u64) -> Flow {
    let address = |port| std::net::SocketAddr::from(([192, 0, 2, 1], port));
    Flow { protocol, socket, peer: address(5060), local: address(5070) }
}

/// Takes what the layer says: requests that wait for an answer, and which of ours have ended, once each.
fn heard(layer: &mut Layer, open: &mut Vec<(TxId, Request)>, ours: &mut Vec<TxId>) {
    while layer.poll_send().is_some() {}
    while let Some(event) = layer.poll_event() {
        match event {
            Told::Request { tx, request, .. } => open.push((tx, *request)),
            Told::Done { tx } => {
                let at = ours.iter().position(|one| *one == tx).expect("it ends once");
                ours.remove(at);
            }
            Told::Ack { .. } | Told::Response { .. } | Told::Failed { .. } => {}
        }
    }
}

fn answer(layer: &mut Layer, open: &mut Vec<(TxId, Request)>, status: u16, now: Instant) {
    let Some((tx, request)) = open.pop() else { return };
    layer.respond(tx, request.response(status.max(100), Some("tag")), now);
    if status < 200 {
        open.push((tx, request));
    }
}

fn fields(headers: &Headers) {
    fn list<T: ListHeader>(headers: &Headers) {
        let Ok(found) = headers.list::<T>() else { return };
        for field in found {
            let printed = field.to_string();
            let again = T::parse(&printed).expect("what goes out is read");
            assert_eq!(again.to_string(), printed);
        }
    }
    fn single<T: Header>(headers: &Headers) {
        let Ok(field) = headers.typed::<T>() else { return };
        let printed = field.to_string();
        let again = T::parse(&printed).expect("what goes out is read");
        assert_eq!(again.to_string(), printed);
    }
    let _ = headers.contacts();
    list::<Via>(headers);
    list::<Contact>(headers);
    list::<Route>(headers);
    list::<RecordRoute>(headers);
    list::<Path>(headers);
    list::<Supported>(headers);
    list::<Accept>(headers);
    list::<PAssertedIdentity>(headers);
    list::<Diversion>(headers);
    list::<HistoryInfo>(headers);
    list::<CallInfo>(headers);
    list::<Warning>(headers);
    list::<Reason>(headers);
    single::<From>(headers);
    single::<To>(headers);
    single::<CSeq>(headers);
    single::<CallId>(headers);
    single::<ContentType>(headers);
    single::<ContentDisposition>(headers);
    single::<Event>(headers);
    single::<SubscriptionState>(headers);
    single::<Replaces>(headers);
    single::<ReferTo>(headers);
    single::<SessionExpires>(headers);
    single::<RAck>(headers);
    single::<Date>(headers);
    single::<Privacy>(headers);
    single::<SessionId>(headers);
    if let Ok(refer) = headers.typed::<ReferTo>() {
        let _ = refer.replaces();
    }
    if let Ok(Contacts::List(contacts)) = headers.contacts() {
        for contact in contacts {
            let _ = (contact.q(), contact.expires(), contact.instance(), contact.push());
        }
    }
}
