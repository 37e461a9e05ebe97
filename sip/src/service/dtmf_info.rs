//! Keys told by INFO: `application/dtmf-relay` and `application/dtmf`, which phones send from before RFC 6086, and what else
//! an INFO carries (RFC 6086 section 4.2.2). There is no standard of the two bodies: the first is `Signal=` and `Duration=`
//! lines, the second the key alone.

use std::time::Instant;

use super::{Core, Output};
use crate::msg::header::{ContentType, Warning};
use crate::msg::{Name, Request};
use crate::ports::{LegEvent, LegId};
use crate::transaction::TxId;

/// Keys that wait for an answer in one call; more are too many.
const MAX_KEYS: usize = 16;
const TAKES: &str = "application/dtmf-relay, application/dtmf";
/// Longer ones tell no key.
const MAX_BODY: usize = 256;
/// Where a phone does not say how long.
const USUAL_MS: u32 = 160;

impl Core {
    /// An INFO in a call that is up. Whether a key was heard is for who hears it to say.
    pub(super) fn informed(&mut self, leg: LegId, tx: TxId, request: Box<Request>, now: Instant) {
        let Some((event, duration_ms)) = self.key_of(tx, &request, now) else { return };
        let Some(session) = self.session(leg) else { return };
        if session.keys.len() >= MAX_KEYS {
            return self.answer(tx, &request, 503, now);
        }
        session.keys.push_back((tx, request));
        self.outputs.push_back(Output::Leg(leg, LegEvent::Digit { event, duration_ms }));
    }

    /// An INFO before the call is answered: nobody is there who could hear a key, and none is kept for later.
    pub(super) fn informed_early(&mut self, tx: TxId, request: &Request, now: Instant) {
        if self.key_of(tx, request, now).is_some() {
            self.unheard(tx, request, 480, now);
        }
    }

    /// Answers the oldest key of a call that waits for it: 200 where it was heard, else why not.
    pub fn answer_digit(&mut self, leg: LegId, status: u16, now: Instant) {
        let Some((tx, request)) = self.session(leg).and_then(|s| s.keys.pop_front()) else {
            return;
        };
        match status {
            200..=299 => self.answer(tx, &request, status, now),
            _ => self.unheard(tx, &request, status, now),
        }
    }

    /// A key went nowhere, which somebody at a door has to know.
    fn unheard(&mut self, tx: TxId, request: &Request, status: u16, now: Instant) {
        let mut response = self.response(request, status);
        let text = match status {
            480 => "nobody has answered: the key was not heard",
            _ => "the other side hears no keys",
        };
        let (agent, text) = ("tandem".to_owned(), text.to_owned());
        response.headers.set_typed(&Warning { code: 399, agent, text });
        self.respond(tx, response, now);
    }

    /// The key that an INFO tells; anything else is answered.
    fn key_of(&mut self, tx: TxId, request: &Request, now: Instant) -> Option<(u8, u32)> {
        if request.headers.get("Info-Package").is_some() {
            let mut response = self.response(request, 469);
            // We take none.
            response.headers.set("Recv-Info", "");
            self.respond(tx, response, now);
            return None;
        }
        if request.body.is_empty() {
            // A sign of life.
            self.answer(tx, request, 200, now);
            return None;
        }
        let media = request.headers.typed::<ContentType>().map(|kind| kind.media);
        let key = match media.as_deref() {
            Ok("application/dtmf-relay") => relayed(&request.body),
            Ok("application/dtmf") => text(&request.body).and_then(event).map(|e| (e, USUAL_MS)),
            _ => {
                let mut response = self.response(request, 415);
                response.headers.set(Name::Accept, TAKES);
                self.respond(tx, response, now);
                return None;
            }
        };
        if key.is_none() {
            self.answer(tx, request, 400, now);
        }
        key
    }
}

fn text(body: &[u8]) -> Option<&str> {
    std::str::from_utf8(body).ok().filter(|text| text.len() <= MAX_BODY).map(str::trim)
}

/// Key and milliseconds of a `dtmf-relay`.
fn relayed(body: &[u8]) -> Option<(u8, u32)> {
    let (mut signal, mut duration) = (None, USUAL_MS);
    for line in text(body)?.lines() {
        let Some((name, value)) = line.split_once('=') else { continue };
        let (name, value) = (name.trim(), value.trim());
        if name.eq_ignore_ascii_case("signal") {
            signal = Some(event(value)?);
        } else if name.eq_ignore_ascii_case("duration") {
            duration = value.parse().ok()?;
        }
    }
    Some((signal?, duration))
}

/// The event code of RFC 4733 section 3.2; some phones write the code itself.
fn event(key: &str) -> Option<u8> {
    match key {
        "*" => Some(10),
        "#" => Some(11),
        "!" => Some(16),
        _ => match key.as_bytes() {
            [letter @ (b'A'..=b'D' | b'a'..=b'd')] => {
                Some(12 + (letter.to_ascii_uppercase() - b'A'))
            }
            [b'0'..=b'9'] | [b'1', b'0'..=b'6'] => key.parse().ok(),
            _ => None,
        },
    }
}
