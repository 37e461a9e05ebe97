//! Message sessions with rooms (RFC 7702, RFC 7701): the phone of a session is an occupant of its own.

use std::time::Duration;

use tandem_sip::msrp::Incoming;
use tandem_xmpp::Outcome;
use tandem_xmpp::jid::Jid;
use tandem_xmpp::ports::Affiliation;
use tandem_xmpp::stanza::{Kind as StanzaKind, Stanza};
use tandem_xmpp::xml::{Element, ns};

use super::cpim::Cpim;
use super::msrp::{MsrpDesk, Talk};
use super::room_phone::{codes, entry_refused, said_by};
use super::room_text::line;
use super::{contacts, identity, text};

const MUC: &str = "http://jabber.org/protocol/muc";
const MUC_USER: &str = "http://jabber.org/protocol/muc#user";
const DELAY: &str = "urn:xmpp:delay";
/// How long entering a room may take.
const PATIENCE: Duration = Duration::from_secs(5);

impl MsrpDesk {
    /// Enters the room of a session under the account's name. `Err` is the status of the refusal.
    pub(super) async fn enter(&self, name: &str, talk: &Talk) -> Result<(), u16> {
        let parts = &self.0.parts;
        let about = parts.xmpp.room_about(&talk.peer, &talk.account).await.map_err(|_| 500_u16)?;
        if about.ok_or(404_u16)?.affiliation == Affiliation::Outcast {
            return Err(403);
        }
        parts.xmpp.attach(&talk.device, contacts::guest()).await;
        let own = talk.device.node().unwrap_or("phone").to_owned();
        for nick in [own.clone(), format!("{own} (phone)")] {
            match self.go_by(name, talk, &nick).await {
                200 => return Ok(()),
                425 => {}
                status => {
                    parts.xmpp.detach(&talk.device).await;
                    return Err(status);
                }
            }
        }
        parts.xmpp.detach(&talk.device).await;
        Err(480)
    }

    /// Enters, or changes the name: 200 when the room calls it so, 425 when somebody else is.
    async fn go_by(&self, name: &str, talk: &Talk, nick: &str) -> u16 {
        let parts = &self.0.parts;
        let Ok(occupant) = talk.peer.with_resource(nick) else { return 424 };
        let entry = parts.rooms.await_entry(&talk.device, &talk.peer);
        let history =
            Element::new("history", MUC).with_attr("maxstanzas", parts.history.to_string());
        let presence = Element::new("presence", ns::CLIENT)
            .with_attr("from", talk.device.as_str())
            .with_attr("to", occupant.as_str())
            .with_child(Element::new("x", MUC).with_child(history));
        parts.xmpp.inject(presence).await;
        tracing::debug!(session = name, "a session enters a room");
        match tokio::time::timeout(PATIENCE, entry).await {
            Ok(Ok(409)) => 425,
            Ok(Ok(status)) => status,
            _ => 504,
        }
    }

    /// NICKNAME (RFC 7701 section 7.1): the status of its answer.
    pub(super) async fn renamed(&self, name: &str, nickname: &str) -> u16 {
        let device = |talk: &Talk| talk.device.clone();
        let talk = self.talk(name).filter(|talk| self.in_room(&device(talk)).is_some());
        let Some(talk) = talk else { return 403 };
        if nickname.trim().is_empty() {
            return 424;
        }
        self.go_by(name, &talk, nickname.trim()).await
    }

    /// A SEND to the room or to one in it (RFC 7701 section 6): the status.
    pub(super) async fn said_in_room(&self, talk: &Talk, message: &Incoming) -> u16 {
        let Ok(cpim) = Cpim::parse(&message.body) else { return 400 };
        let Ok(said) = text::from_phone(Some(cpim.content_type()), &cpim.content) else {
            return 415;
        };
        let address = |name: &str| {
            let uri = tandem_sip::msg::Uri::parse(cpim.address(name)?).ok()?;
            identity::sip_to_jid(&uri).ok()
        };
        // One speaks for oneself: as one's account, or by the name that one has in the room.
        let from = address("From");
        if from.is_some_and(|from| from.bare() != talk.account && from.bare() != talk.peer) {
            return 403;
        }
        let to = address("To").unwrap_or_else(|| talk.peer.clone());
        let kind = if to.is_bare() { "groupchat" } else { "chat" };
        if to.bare() != talk.peer {
            return 404;
        }
        let mut stanza = said_by(&talk.device, &to, kind, &message.id, &said);
        if kind == "chat" {
            stanza.push(Element::new("x", MUC_USER));
        }
        match self.0.parts.xmpp.inject(stanza).await {
            Outcome::Refused(error) => match super::reason::error_to_status(&error, true) {
                404 => 404,
                _ => 403,
            },
            _ => 200,
        }
    }

    /// Something from a room for the occupant of a session; false when there is no such session.
    pub fn deliver(&self, device: &Jid, stanza: &Stanza) -> bool {
        let Some((name, talk)) = self.in_room(device) else { return false };
        match stanza.kind() {
            StanzaKind::Presence => self.seen(&talk, stanza),
            StanzaKind::Message if stanza.type_() != Some("error") => {
                self.heard(name, &talk, stanza);
            }
            _ => {}
        }
        true
    }

    fn seen(&self, talk: &Talk, stanza: &Stanza) {
        let parts = &self.0.parts;
        let codes = codes(stanza);
        match stanza.type_() {
            Some("error") => parts.rooms.entered(&talk.device, &talk.peer, entry_refused(stanza)),
            None if codes.contains(&110) => parts.rooms.entered(&talk.device, &talk.peer, 200),
            // Out against one's will; a changed name (303) is none.
            Some("unavailable") if codes.contains(&110) && !codes.contains(&303) => {
                let reason = "SIP;cause=403;text=\"kicked\"".to_owned();
                parts.sip.hang_up(talk.leg, Some(reason));
            }
            _ => {}
        }
    }

    fn heard(&self, name: String, talk: &Talk, stanza: &Stanza) {
        let Some(from) = stanza.from() else { return };
        let Some(line) = line(stanza, 0, None) else { return };
        let is_private = stanza.type_() != Some("groupchat");
        let uri = |jid: &Jid| identity::jid_to_sip(jid).ok().map(|uri| uri.to_string());
        let to = if is_private { &talk.account } else { &talk.peer };
        let (Some(sender), Some(to)) = (uri(from), uri(to)) else { return };
        let display = from.resource().unwrap_or_default().replace(['"', '\\'], "");
        let delay = stanza.child("delay", DELAY).and_then(|d| d.attr("stamp").map(str::to_owned));
        let stamp = delay.unwrap_or_else(super::message::stamp);
        let said = match (stanza.body(), is_private) {
            // Who speaks, and to whom, is in the wrapping.
            (Some(body), true) => body,
            _ => line.text,
        };
        let cpim =
            Cpim::plain(&format!("\"{display}\" <{sender}>"), &format!("<{to}>"), &stamp, &said);
        self.0.parts.msrp.tell(self.one_way(&name, "message/cpim", cpim.print()));
    }

    /// The session is over: its occupant leaves.
    pub(super) async fn leave(&self, talk: &Talk) {
        self.0.parts.xmpp.detach(&talk.device).await;
        self.0.parts.rooms.rosters().forget(&talk.device);
    }
}
