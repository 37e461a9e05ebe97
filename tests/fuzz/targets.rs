//! What is fuzzed of XMPP (RFC 6120, RFC 7622), MSRP (RFC 4975), CPIM (RFC 3862), session descriptions (RFC 8866), and, in `sip`, of SIP: each function takes any bytes and
//! panics when a promise is broken.
//!
//! libFuzzer drives them from `tests/fuzz` (a workspace of its own, since it wants a nightly compiler); `make test` replays
//! the committed corpora, and what a seeded generator makes of them.

#[path = "sip.rs"]
pub mod sip;

use bytes::Bytes;
use tandem_gateway::bridge::cpim::Cpim;
use tandem_gateway::bridge::{body, iscomposing, msrp_sdp, sdp_webrtc};
use tandem_media::codec::Codec;
use tandem_media::sdp::{LocalAudio, Negotiator, Session, offer_formats};
use tandem_sip::msrp::frame::{self, Part};
use tandem_xmpp::jid::Jid;
use tandem_xmpp::stanza::jingle::Jingle;
use tandem_xmpp::stanza::jmi::Jmi;
use tandem_xmpp::stanza::{Stanza, chat_states, delay, hints, markers, receipts};
use tandem_xmpp::xml::Element;
use tandem_xmpp::xml::frame::{Frame, Framer};

/// A target by its name, which is the name of its corpus too.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const ALL: [Target; 13] = [
    ("stream", stream),
    ("jid", jid),
    ("stanza", stanza),
    ("payloads", payloads),
    ("sip_message", sip::sip_message),
    ("sip_uri", sip::sip_uri),
    ("sip_headers", sip::sip_headers),
    ("sip_stream", sip::sip_stream),
    ("sip_multipart", sip::sip_multipart),
    ("sip_transactions", sip::sip_transactions),
    ("sdp", sdp),
    ("msrp", msrp),
    ("cpim", cpim),
];

/// Bytes of one part; small, so that the limit is met.
const MAX_BYTES: usize = 4_096;

/// The framer cuts the same parts out of a stream, or refuses it for the same reason, however the bytes come in.
pub fn stream(data: &[u8]) {
    let Some((step, data)) = data.split_first() else { return };
    let whole = frames(data, data.len());
    assert_eq!(whole, frames(data, 1), "byte by byte");
    assert_eq!(whole, frames(data, usize::from(*step).max(1)), "in pieces of {step}");
}

/// The parts, and the condition the stream ended with.
fn frames(data: &[u8], step: usize) -> (Vec<Frame>, Option<&'static str>) {
    let mut framer = Framer::new(MAX_BYTES);
    let mut parts = Vec::new();
    for piece in data.chunks(step.max(1)) {
        framer.push(piece);
        loop {
            match framer.poll() {
                Ok(Some(part)) => parts.push(part),
                Ok(None) => break,
                Err(error) => return (parts, Some(error.condition())),
            }
        }
    }
    (parts, None)
}

/// An accepted address is its own prepared form, and its parts make it again.
pub fn jid(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(jid) = Jid::parse(text) else { return };
    assert_eq!(Jid::parse(jid.as_str()).as_ref(), Ok(&jid), "{text:?}");
    let again = Jid::new(jid.node(), jid.domain(), jid.resource());
    assert_eq!(again.as_ref(), Ok(&jid), "{text:?}");
    assert!(jid.bare().is_bare() && jid.bare().bare() == jid.bare());
    assert!(jid.as_str().len() <= 3 * 1_023 + 2);
}

/// A stanza that is let in goes out well-formed, with the same children.
pub fn stanza(data: &[u8]) {
    let Ok(stanza) = Stanza::parse(Bytes::copy_from_slice(data)) else { return };
    let out = stanza.bytes();
    let again = Stanza::parse(out.clone()).expect("what goes out is a stanza");
    let children = |s: &Stanza| -> Vec<(String, String)> {
        s.children().map(|(name, ns)| (name.to_owned(), ns.to_owned())).collect()
    };
    assert_eq!(children(&stanza), children(&again));
    assert_eq!((stanza.from(), stanza.to(), stanza.id()), (again.from(), again.to(), again.id()));
    assert_eq!(again.bytes(), out, "printed twice");
    stanza.element().expect("what was proven well-formed is a tree");
}

/// Whatever a payload says, reading it ends; what was read can be said again.
pub fn payloads(data: &[u8]) {
    let Ok(element) = Element::parse(data) else { return };
    let printed = element.to_bytes();
    assert_eq!(Element::parse(&printed).as_ref(), Ok(&element), "printed and read");
    for e in std::iter::once(&element).chain(element.elements()) {
        let _ = chat_states::ChatState::from_element(e);
        let _ = delay::Delay::from_element(e);
        let _ = hints::Hint::from_element(e);
        let _ = markers::Marker::from_element(e);
        let _ = receipts::Receipt::from_element(e);
        if let Ok(jmi) = Jmi::from_element(e) {
            assert_eq!(Jmi::from_element(&jmi.to_element()).as_ref(), Ok(&jmi));
        }
        if let Ok(jingle) = Jingle::from_element(e) {
            assert!(Jingle::from_element(&jingle.to_element()).is_ok());
        }
    }
}

/// The same heads, bodies and ends come out of an MSRP stream however its bytes come in, and a head is printed as it was
/// understood.
pub fn msrp(data: &[u8]) {
    let Some((step, data)) = data.split_first() else { return };
    let whole = msrp_parts(data, data.len());
    assert_eq!(whole, msrp_parts(data, 1), "byte by byte");
    assert_eq!(whole, msrp_parts(data, usize::from(*step).max(1)), "in pieces of {step}");
    for part in &whole.0 {
        if let Part::Head(head, true) = part {
            let again = msrp_parts(&head.print(Some(b"x"), frame::Flag::Complete), 1_000);
            assert!(
                matches!(again.0.first(), Some(Part::Head(read, true)) if read.to == head.to && read.id == head.id)
            );
        }
    }
}

fn msrp_parts(data: &[u8], step: usize) -> (Vec<Part>, bool) {
    let mut framer = frame::Framer::default();
    let mut parts: Vec<Part> = Vec::new();
    for piece in data.chunks(step.max(1)) {
        framer.push(piece);
        loop {
            match framer.poll() {
                Ok(Some(Part::Body(more))) => match parts.last_mut() {
                    Some(Part::Body(body)) => *body = [&body[..], &more[..]].concat().into(),
                    _ => parts.push(Part::Body(more)),
                },
                Ok(Some(part)) => parts.push(part),
                Ok(None) => break,
                Err(_) => return (parts, true),
            }
        }
    }
    // A body that has not ended is there as far as it has come, which depends on the pieces.
    if matches!(parts.last(), Some(Part::Body(_))) {
        parts.pop();
    }
    (parts, false)
}

/// A description that is taken prints to one that reads the same; it is answered or refused, and what we answer and offer can
/// be read. An answer to an offer of ours is taken or refused.
pub fn sdp(data: &[u8]) {
    let Ok(session) = Session::parse(data) else { return };
    let printed = session.to_bytes();
    let again = Session::parse(&printed).expect("what goes out is read");
    assert_eq!(again.to_bytes(), printed, "printed twice");
    let _ = sdp_webrtc::wants_web(&session);
    for media in &session.media {
        let _ = (media.audio_formats(), media.packet_time(), media.profile());
        let _ = (session.connection_of(media), session.direction_of(media));
        let _ = (session.setup_of(media), session.fingerprints_of(media));
    }
    let formats = offer_formats(&[Codec::Opus, Codec::G722, Codec::Pcma, Codec::Pcmu]);
    let local = LocalAudio::new(([192, 0, 2, 1], 4_000).into(), formats);
    let mut negotiator = Negotiator::new(1);
    if let Ok((answer, _)) = negotiator.answer(&session, &local) {
        let answer = Session::parse(&answer).expect("our answer is read");
        assert_eq!(answer.media.len(), session.media.len(), "RFC 3264 section 6");
    }
    let mut negotiator = Negotiator::new(1);
    let offer = negotiator.offer(&local);
    Session::parse(&offer).expect("our offer is read");
    let _ = negotiator.accept_answer(&session);
}

/// What is taken as CPIM is understood the same when it is printed; bodies of any type, typing indications and session
/// descriptions are read or refused.
pub fn cpim(data: &[u8]) {
    if let Ok(cpim) = Cpim::parse(data) {
        let again = Cpim::parse(&cpim.print());
        assert_eq!(again.map(|c| c.content), Ok(cpim.content.clone()));
        let _ =
            body::read(Some(cpim.content_type()), cpim.mime("Content-Disposition"), &cpim.content);
    }
    let bytes = Bytes::copy_from_slice(data);
    let _ = body::read(Some("multipart/mixed; boundary=b"), None, &bytes);
    let _ = iscomposing::IsComposing::parse(data);
    let _ = msrp_sdp::read(data);
}
