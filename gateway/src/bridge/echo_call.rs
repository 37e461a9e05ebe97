//! Calls to the echo address (XEP-0166, XEP-0353): answered at once, and whoever calls hears what they say.
//!
//! The smallest whole call: a Jingle session, an ICE and DTLS-SRTP leg of the media engine, and nothing on its other
//! side. It is how a newcomer finds out whether sound gets through.

use std::collections::HashMap;
use std::time::Duration;

use tandem_media::{CallId, LegId, MediaEvent, MediaHandle};
use tandem_xmpp::jid::Jid;
use tandem_xmpp::stanza::jingle::{Action, Jingle, Reason};
use tandem_xmpp::stanza::jmi::{Jmi, JmiAction};
use tandem_xmpp::stanza::{Condition, Kind, Stanza};
use tandem_xmpp::xml::{Element, ns};

use super::jingle_leg::{Event, JingleLeg, refusal};
use super::sdp_jingle;

/// What a device that can be called says of itself (`interop.md` 6.1).
pub const FEATURES: [&str; 9] = [
    "urn:ietf:rfc:3264",
    "urn:ietf:rfc:5888",
    "urn:xmpp:jingle-message:0",
    "urn:xmpp:jingle:1",
    "urn:xmpp:jingle:apps:dtls:0",
    "urn:xmpp:jingle:apps:rtp:1",
    "urn:xmpp:jingle:apps:rtp:audio",
    "urn:xmpp:jingle:dtmf:0",
    "urn:xmpp:jingle:transports:ice-udp:1",
];
const JINGLE: &str = "urn:xmpp:jingle:1";
/// Calls at once; more are told that we are busy.
const MAX_CALLS: usize = 200;

struct EchoCall {
    session: JingleLeg,
    call: CallId,
    media: LegId,
}

/// All calls of the echo service.
pub struct EchoCalls {
    media: MediaHandle,
    calls: HashMap<(Jid, String), EchoCall>,
}

impl EchoCalls {
    /// None yet.
    pub fn new(media: MediaHandle) -> Self {
        Self { media, calls: HashMap::new() }
    }

    /// Takes a stanza for the service at `us`; gives what to send. `random` is fresh.
    pub fn handle(&mut self, us: &Jid, stanza: &Stanza, random: [u8; 32]) -> Vec<Element> {
        let Some(from) = stanza.from() else { return Vec::new() };
        match (stanza.kind(), stanza.type_()) {
            (Kind::Message, kind) if kind != Some("error") => proposed(us, from, stanza),
            (Kind::Iq, Some("set")) => self.handle_set(us, from, stanza, random),
            (Kind::Iq, Some("error")) => self.handle_error(from, stanza.id().unwrap_or_default()),
            _ => Vec::new(),
        }
    }

    /// A leg of ours failed or fell silent: its caller is told.
    pub fn handle_media(&mut self, event: &MediaEvent) -> Vec<Element> {
        let leg = match event {
            MediaEvent::Failed { leg, .. } | MediaEvent::Silent { leg, .. } => *leg,
            MediaEvent::Connected { .. } | MediaEvent::Closed { .. } => return Vec::new(),
        };
        let key = self.calls.iter().find(|(_, c)| c.media == leg).map(|(key, _)| key.clone());
        let Some(mut call) = key.and_then(|key| self.calls.remove(&key)) else { return Vec::new() };
        tracing::info!(?event, "echo call ended by its media");
        self.media.close_call(call.call);
        call.session.terminate(Reason::ConnectivityError);
        drain(&mut call.session)
    }

    /// Ends all calls, for a node that stops.
    pub fn stop(&mut self) -> Vec<Element> {
        let media = self.media.clone();
        self.calls
            .drain()
            .flat_map(|(_, mut call)| {
                media.close_call(call.call);
                call.session.terminate(Reason::Gone);
                drain(&mut call.session)
            })
            .collect()
    }

    /// A client refuses what we said in its session: without our accept there is no call.
    fn handle_error(&mut self, from: &Jid, id: &str) -> Vec<Element> {
        let Some((sid, _)) = id.rsplit_once('-') else { return Vec::new() };
        let key = (from.clone(), sid.to_owned());
        let Some(call) = self.calls.get_mut(&key) else { return Vec::new() };
        call.session.handle_reply(id, true);
        if let Some(Event::Terminated(_)) = call.session.poll_event()
            && let Some(call) = self.calls.remove(&key)
        {
            self.media.close_call(call.call);
        }
        Vec::new()
    }

    fn handle_set(
        &mut self,
        us: &Jid,
        from: &Jid,
        stanza: &Stanza,
        random: [u8; 32],
    ) -> Vec<Element> {
        let id = stanza.id().unwrap_or_default();
        let Some(element) = stanza.child("jingle", JINGLE) else {
            return vec![refusal(us, from, id, Condition::ServiceUnavailable, None)];
        };
        let Ok(jingle) = Jingle::from_element(&element) else {
            return vec![refusal(us, from, id, Condition::BadRequest, None)];
        };
        let key = (from.clone(), jingle.sid.clone());
        if jingle.action == Action::SessionInitiate && !self.calls.contains_key(&key) {
            return self.initiated(us, from, id, &jingle, random);
        }
        let Some(call) = self.calls.get_mut(&key) else {
            let mut nobody = JingleLeg::unknown(us.clone(), from.clone(), &jingle.sid);
            nobody.refuse_unknown(id);
            return drain(&mut nobody);
        };
        call.session.handle_set(id, jingle);
        let mut over = false;
        while let Some(event) = call.session.poll_event() {
            match event {
                Event::Candidates(content) => {
                    for candidate in sdp_jingle::candidates(&content) {
                        self.media.add_candidate(call.media, candidate);
                    }
                }
                Event::Digit { id, event, duration_ms } => {
                    let is_heard = self.media.hears_keys(call.media);
                    if is_heard {
                        let duration = Duration::from_millis(duration_ms.into());
                        self.media.press(call.media, event, duration);
                    }
                    call.session.answer_key(&id, is_heard);
                }
                Event::Hold(held) => self.media.hold(call.media, !held, true),
                Event::Terminated(_) => over = true,
                // We never begin a session.
                Event::Ringing | Event::Accepted(_) | Event::Transfer { .. } => {}
            }
        }
        let said = drain(&mut call.session);
        if over && let Some(call) = self.calls.remove(&key) {
            self.media.close_call(call.call);
        }
        said
    }

    fn initiated(
        &mut self,
        us: &Jid,
        from: &Jid,
        id: &str,
        jingle: &Jingle,
        random: [u8; 32],
    ) -> Vec<Element> {
        let mut session = JingleLeg::incoming(us.clone(), from.clone(), jingle);
        session.acknowledge(id);
        if self.calls.len() >= MAX_CALLS {
            session.terminate(Reason::Busy);
            return drain(&mut session);
        }
        match self.answer(jingle, random) {
            Ok((call, media, answer)) => {
                session.accept(answer);
                let said = drain(&mut session);
                let key = (from.clone(), jingle.sid.clone());
                self.calls.insert(key, EchoCall { session, call, media });
                tracing::info!(calls = self.calls.len(), "echo call");
                said
            }
            Err(reason) => {
                session.terminate(reason);
                drain(&mut session)
            }
        }
    }

    fn answer(
        &self,
        jingle: &Jingle,
        random: [u8; 32],
    ) -> Result<(CallId, LegId, tandem_xmpp::stanza::jingle::Content), Reason> {
        let audio = jingle.contents.iter().find(|c| c.is_audio());
        let offer = audio.ok_or(Reason::UnsupportedApplications)?;
        let remote = sdp_jingle::remote_transport(offer).map_err(sdp_jingle::Unusable::reason)?;
        let call = self.media.open_call();
        let opened = self.media.open_webrtc(call, false, random);
        let (leg, local) = opened.map_err(|_| Reason::GeneralError)?;
        match sdp_jingle::answer(offer, &local, &[]) {
            Ok((answer, codecs)) => {
                self.media.set_codecs(leg, codecs);
                self.media.echo(leg);
                self.media.set_webrtc_remote(leg, remote);
                Ok((call, leg, answer))
            }
            Err(unusable) => {
                self.media.close_call(call);
                Err(unusable.reason())
            }
        }
    }
}

/// A proposal is taken at once; the session follows under the same id.
fn proposed(us: &Jid, from: &Jid, stanza: &Stanza) -> Vec<Element> {
    let said = stanza.element().ok().and_then(|e| Jmi::from_message(&e)).and_then(Result::ok);
    let Some(jmi) = said else { return Vec::new() };
    let answer = match &jmi.action {
        JmiAction::Propose { .. } if jmi.wants_audio() => JmiAction::Proceed,
        JmiAction::Propose { .. } => JmiAction::Reject { reason: None, tie_break: false },
        _ => return Vec::new(),
    };
    let message = Element::new("message", ns::CLIENT)
        .with_attr("type", "chat")
        .with_attr("from", us.as_str())
        .with_attr("to", from.as_str())
        .with_child(Jmi::new(&jmi.id, answer).to_element())
        .with_child(Element::new("store", "urn:xmpp:hints"));
    vec![message]
}

fn drain(session: &mut JingleLeg) -> Vec<Element> {
    std::iter::from_fn(|| session.poll_stanza()).collect()
}
