//! One Jingle session with one client (XEP-0166, XEP-0167), seen from our side.
//!
//! A machine without I/O: stanzas in, stanzas and events out. It acknowledges every IQ at once, before any human time
//! passes, refuses what is out of order with the errors of XEP-0166 section 10, and leaves media to the exchange.

use std::collections::VecDeque;

use tandem_xmpp::jid::Jid;
use tandem_xmpp::stanza::jingle::{
    Action, Content, Group, Info, Jingle, JingleCondition, Reason, ReasonElement,
};
use tandem_xmpp::stanza::{Condition, ErrorType, StanzaError};
use tandem_xmpp::xml::Element;

const CLIENT: &str = "jabber:client";

/// What the other side did.
#[derive(Debug)]
pub enum Event {
    /// It rings there.
    Ringing,
    /// It accepted our offer.
    Accepted(Box<Content>),
    /// More candidates for our ICE agent.
    Candidates(Box<Content>),
    /// It put us on hold, or took us off it.
    Hold(bool),
    /// A key was pressed there and told by the session (XEP-0181). Answer with [`JingleLeg::answer_key`].
    Digit {
        /// Its request.
        id: String,
        /// Event code of RFC 4733 section 3.2.
        event: u8,
        /// How long.
        duration_ms: u32,
    },
    /// We are to talk to somebody else for it (XEP-0251): in its session `sid` with them, if there is one.
    Transfer {
        /// Whom.
        to: String,
        /// Its session with them.
        sid: Option<String>,
    },
    /// It is over, for this reason if one was given; `None` also when it was refused at the door (an IQ error).
    Terminated(Option<Reason>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// `session-initiate` is out or in, no accept yet.
    Pending,
    Active,
    Ended,
    /// The same, by the peer's word.
    EndedByPeer,
}

/// The event code of a key (RFC 4733 section 3.2).
fn dtmf_event(key: char) -> Option<u8> {
    "0123456789*#ABCD".find(key).and_then(|at| u8::try_from(at).ok())
}

/// One session. Feed [`JingleLeg::handle_set`] and [`JingleLeg::handle_reply`]; drain the two queues after each call.
#[derive(Debug)]
pub struct JingleLeg {
    us: Jid,
    peer: Jid,
    sid: String,
    we_initiated: bool,
    state: State,
    next_id: u32,
    /// Our request that nothing goes on without: the initiate, or the accept.
    vital_id: Option<String>,
    /// How the offer groups its contents (XEP-0338).
    groups: Vec<Group>,
    stanzas: VecDeque<Element>,
    events: VecDeque<Event>,
}

impl JingleLeg {
    /// A session that `peer` initiates with us by `offer`.
    pub fn incoming(us: Jid, peer: Jid, offer: &Jingle) -> Self {
        let groups = offer.groups.clone();
        Self { groups, ..Self::new(us, peer, &offer.sid, false) }
    }

    /// A session that does not exist, to refuse what is said in it.
    pub fn unknown(us: Jid, peer: Jid, sid: &str) -> Self {
        Self::new(us, peer, sid, false)
    }

    /// A session that we initiate; the offer is on its way out.
    pub fn outgoing(us: Jid, peer: Jid, sid: &str, offer: Content) -> Self {
        let mut leg = Self::new(us, peer, sid, true);
        let mut jingle = leg.jingle(Action::SessionInitiate);
        jingle.initiator = Some(leg.us.to_string());
        jingle.contents = vec![offer];
        leg.vital_id = Some(leg.send(&jingle));
        leg
    }

    fn new(us: Jid, peer: Jid, sid: &str, we_initiated: bool) -> Self {
        Self {
            us,
            peer,
            sid: sid.to_owned(),
            we_initiated,
            state: State::Pending,
            next_id: 0,
            vital_id: None,
            groups: Vec::new(),
            stanzas: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Who we are in it.
    pub fn us(&self) -> &Jid {
        &self.us
    }

    /// The client.
    pub fn peer(&self) -> &Jid {
        &self.peer
    }

    /// The session's id.
    pub fn sid(&self) -> &str {
        &self.sid
    }

    /// Whether the peer ended it.
    pub fn is_ended_by_peer(&self) -> bool {
        self.state == State::EndedByPeer
    }

    fn is_over(&self) -> bool {
        matches!(self.state, State::Ended | State::EndedByPeer)
    }

    /// The next stanza to send.
    pub fn poll_stanza(&mut self) -> Option<Element> {
        self.stanzas.pop_front()
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Takes a request of the session (an IQ set by the peer) other than its first `session-initiate`.
    pub fn handle_set(&mut self, id: &str, jingle: Jingle) {
        if self.is_over() {
            return self.refuse(id, Condition::ItemNotFound, Some(JingleCondition::UnknownSession));
        }
        match jingle.action {
            Action::SessionAccept => self.handle_accept(id, jingle),
            Action::SessionTerminate => {
                self.acknowledge(id);
                self.state = State::EndedByPeer;
                self.events.push_back(Event::Terminated(jingle.reason.map(|r| r.reason)));
            }
            Action::TransportInfo => {
                self.acknowledge(id);
                self.events
                    .extend(jingle.contents.into_iter().map(|c| Event::Candidates(Box::new(c))));
            }
            Action::SessionInfo => self.handle_info(id, &jingle),
            Action::DescriptionInfo => self.acknowledge(id),
            Action::ContentAdd => {
                // Audio only: the request is understood and turned down (XEP-0166 section 7.2.2).
                self.acknowledge(id);
                let mut reject = self.jingle(Action::ContentReject);
                reject.contents = jingle.contents.into_iter().map(Content::bare).collect();
                self.send(&reject);
            }
            Action::ContentModify => self.handle_modify(id, &jingle),
            Action::SessionInitiate => {
                self.refuse(id, Condition::UnexpectedRequest, Some(JingleCondition::OutOfOrder));
            }
            _ => self.refuse(id, Condition::FeatureNotImplemented, None),
        }
    }

    /// Takes the reply to one of our requests.
    pub fn handle_reply(&mut self, id: &str, is_error: bool) {
        if is_error && self.vital_id.as_deref() == Some(id) && !self.is_over() {
            self.state = State::EndedByPeer;
            self.events.push_back(Event::Terminated(None));
        }
    }

    /// Answers a request for a session that does not exist.
    pub fn refuse_unknown(&mut self, id: &str) {
        self.refuse(id, Condition::ItemNotFound, Some(JingleCondition::UnknownSession));
    }

    /// Accepts the peer's offer.
    pub fn accept(&mut self, answer: Content) {
        if self.state != State::Pending || self.we_initiated {
            return;
        }
        self.state = State::Active;
        let mut jingle = self.jingle(Action::SessionAccept);
        jingle.responder = Some(self.us.to_string());
        // A client that bundles its contents by necessity refuses an answer that does not (RFC 9143 section 7.3).
        let kept = |group: &Group| {
            let contents: Vec<String> =
                group.contents.iter().filter(|name| **name == answer.name).cloned().collect();
            let group = Group { contents, ..group.clone() };
            (!group.contents.is_empty()).then_some(group)
        };
        jingle.groups = self.groups.iter().filter_map(kept).collect();
        jingle.contents = vec![answer];
        self.vital_id = Some(self.send(&jingle));
    }

    /// Ends the session. Harmless when it has ended already.
    pub fn terminate(&mut self, reason: impl Into<ReasonElement>) {
        if self.is_over() {
            return;
        }
        self.state = State::Ended;
        let mut jingle = self.jingle(Action::SessionTerminate);
        jingle.reason = Some(reason.into());
        self.send(&jingle);
    }

    /// Tells the peer that the other side rings, or holds (XEP-0167 section 8).
    pub fn inform(&mut self, info: Info) {
        if self.is_over() {
            return;
        }
        let mut jingle = self.jingle(Action::SessionInfo);
        jingle.info = Some(info);
        self.send(&jingle);
    }

    /// Acknowledges the IQ `id`.
    pub fn acknowledge(&mut self, id: &str) {
        let reply = Element::new("iq", CLIENT)
            .with_attr("type", "result")
            .with_attr("id", id)
            .with_attr("from", self.us.as_str())
            .with_attr("to", self.peer.as_str());
        self.stanzas.push_back(reply);
    }

    /// Whether a key was heard on the other side; one that was not is refused (XEP-0181 section 2).
    pub fn answer_key(&mut self, id: &str, is_heard: bool) {
        match is_heard {
            true => self.acknowledge(id),
            false => self.refuse(id, Condition::NotAcceptable, None),
        }
    }

    fn handle_accept(&mut self, id: &str, jingle: Jingle) {
        if self.state != State::Pending || !self.we_initiated {
            let more = Some(JingleCondition::OutOfOrder);
            return self.refuse(id, Condition::UnexpectedRequest, more);
        }
        let Some(content) = jingle.contents.into_iter().next() else {
            return self.refuse(id, Condition::BadRequest, None);
        };
        self.acknowledge(id);
        self.state = State::Active;
        self.events.push_back(Event::Accepted(Box::new(content)));
    }

    fn handle_info(&mut self, id: &str, jingle: &Jingle) {
        match &jingle.info {
            Some(Info::Ringing) => self.events.push_back(Event::Ringing),
            Some(Info::Hold) => self.events.push_back(Event::Hold(true)),
            Some(Info::Unhold | Info::Active) => self.events.push_back(Event::Hold(false)),
            Some(Info::Transfer { to, sid }) => {
                let (to, sid) = (to.clone(), sid.clone());
                self.events.push_back(Event::Transfer { to, sid });
            }
            Some(Info::Dtmf { code, duration_ms }) => {
                // XEP-0181 section 1: 100 ms where the client does not say.
                let duration_ms = duration_ms.unwrap_or(100);
                match dtmf_event(*code) {
                    Some(event) => {
                        let id = id.to_owned();
                        return self.events.push_back(Event::Digit { id, event, duration_ms });
                    }
                    None => return self.refuse(id, Condition::BadRequest, None),
                }
            }
            // Muting is shown by clients to each other; a phone has no such display.
            Some(_) => {}
            None if jingle.is_ping() => {}
            None => {
                return self.refuse(
                    id,
                    Condition::FeatureNotImplemented,
                    Some(JingleCondition::UnsupportedInfo),
                );
            }
        }
        self.acknowledge(id);
    }

    /// Whoever takes nothing any more holds (XEP-0166 section 7.2.3, `interop.md` 6.9).
    fn handle_modify(&mut self, id: &str, jingle: &Jingle) {
        self.acknowledge(id);
        if let Some(content) = jingle.contents.first() {
            let (_, takes) = super::sdp_jingle::direction(content.senders, !self.we_initiated);
            self.events.push_back(Event::Hold(!takes));
        }
    }

    fn refuse(&mut self, id: &str, condition: Condition, more: Option<JingleCondition>) {
        self.stanzas.push_back(refusal(&self.us, &self.peer, id, condition, more));
    }

    fn jingle(&self, action: Action) -> Jingle {
        Jingle::new(action, &self.sid)
    }

    fn send(&mut self, jingle: &Jingle) -> String {
        self.next_id += 1;
        let id = format!("{}-{}", self.sid, self.next_id);
        let iq = Element::new("iq", CLIENT)
            .with_attr("type", "set")
            .with_attr("id", &id)
            .with_attr("from", self.us.as_str())
            .with_attr("to", self.peer.as_str())
            .with_child(jingle.to_element());
        self.stanzas.push_back(iq);
        id
    }
}

/// The error reply to a Jingle request (XEP-0166 section 10).
pub fn refusal(
    us: &Jid,
    peer: &Jid,
    id: &str,
    condition: Condition,
    more: Option<JingleCondition>,
) -> Element {
    let error = StanzaError::new(condition).with_kind(ErrorType::Cancel);
    let mut error = error.to_element();
    if let Some(more) = more {
        error.push(more.to_element());
    }
    Element::new("iq", CLIENT)
        .with_attr("type", "error")
        .with_attr("id", id)
        .with_attr("from", us.as_str())
        .with_attr("to", peer.as_str())
        .with_child(error)
}

#[cfg(test)]
#[path = "jingle_leg_tests.rs"]
mod tests;
