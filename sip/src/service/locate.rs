//! Hosts that nobody registered from (RFC 3263): looked up outside, tried in turn.

use std::time::Instant;

use super::outbound::Other;
use super::{Core, Job, Ticket, Waiting};
use crate::msg::Uri;
use crate::ports::{LegId, Names, OutgoingInvite, OutgoingMessage, Target, WatchId};
use crate::transport::{Flow, Found, Hop, Protocol, Question, Search};

/// What we can open ourselves, the preferred first.
const PREFERENCE: [Protocol; 3] = [Protocol::Tls, Protocol::Tcp, Protocol::Udp];

/// What waits for a host to be found.
pub(super) enum Wish {
    Invite(LegId, Box<OutgoingInvite>),
    Message(Ticket, Box<OutgoingMessage>),
    Watch(WatchId),
    Trunk(usize),
    Supervision(usize),
}

impl Core {
    /// The search for a target that has to be looked up.
    pub(super) fn search(&mut self, target: &Target) -> Option<Box<Search>> {
        let search = match target {
            Target::Uri(uri) => self.begin_search(uri, false)?,
            Target::Secure(uri) => self.begin_search(uri, true)?,
            Target::Binding(_) | Target::Hops(..) => return None,
        };
        search.question().is_some().then(|| Box::new(search))
    }

    pub(super) fn begin_search(&mut self, uri: &Uri, is_secure: bool) -> Option<Search> {
        let has = |protocol: &Protocol| {
            (!is_secure || protocol.is_secure())
                && self.listeners.iter().any(|one| one.protocol == *protocol)
        };
        let can: Vec<Protocol> = PREFERENCE.into_iter().filter(has).collect();
        Search::new(uri, &can, self.ids.number())
    }

    /// What waits goes on when the places are found.
    pub(super) fn look_up(&mut self, wish: Wish, search: Box<Search>) {
        self.job(Waiting::Locate(wish), Job::Locate(search));
    }

    pub(super) fn located(&mut self, wish: Wish, hops: Vec<Hop>, now: Instant) {
        let known = |target: Target, hops| match target {
            Target::Uri(uri) | Target::Secure(uri) => Target::Hops(uri, hops),
            other => other,
        };
        match wish {
            Wish::Watch(id) => self.watched_host_found(id, hops, now),
            Wish::Trunk(at) => self.registrar_found(at, hops, now),
            Wish::Supervision(at) => self.trunk_found(at, hops, now),
            Wish::Invite(leg, mut call) => {
                call.target = known(call.target, hops);
                self.invite(leg, *call, now);
            }
            Wish::Message(ticket, mut message) => {
                message.target = known(message.target, hops);
                self.send_message(ticket, *message, now);
            }
        }
    }

    /// A call that is given up while its host is looked up ends.
    pub(super) fn stop_search(&mut self, leg: LegId, now: Instant) {
        let is_it = |waiting: &Waiting| matches!(waiting, Waiting::Locate(Wish::Invite(waits, _)) if *waits == leg);
        let found = self.jobs.iter().find(|(_, waiting)| is_it(waiting)).map(|(id, _)| *id);
        if found.is_some_and(|id| self.jobs.remove(&id).is_some()) {
            self.called_off(leg, now);
        }
    }

    /// The places of a URI that needs no lookup, or whose lookup is done; those that failed lately come last.
    pub(super) fn places(&mut self, target: &Target, now: Instant) -> Vec<Other> {
        let (uri, mut hops) = match target {
            Target::Hops(uri, hops) => (uri, hops.clone()),
            Target::Uri(uri) => (uri, self.plain_places(uri, false)),
            Target::Secure(uri) => (uri, self.plain_places(uri, true)),
            Target::Binding(_) => return Vec::new(),
        };
        self.avoided.sort(&mut hops, now);
        hops.into_iter().map(|hop| Other::Hop(uri.clone(), hop)).collect()
    }

    fn plain_places(&mut self, uri: &Uri, is_secure: bool) -> Vec<Hop> {
        self.begin_search(uri, is_secure).map(Search::hops).unwrap_or_default()
    }

    /// A flow to a place: the connection that is open to it, or a new one.
    pub(super) fn flow_by(&mut self, hop: &Hop) -> Option<Flow> {
        let name = (hop.protocol == Protocol::Tls).then(|| hop.name.clone());
        self.flow_at(hop.protocol, hop.address, name)
    }
}

/// Looks up whatever a search asks.
pub async fn find(names: &dyn Names, mut search: Search) -> Vec<Hop> {
    while let Some(question) = search.question() {
        search.answer(match question {
            Question::Naptr(name) => Found::Naptr(names.naptr(&name).await),
            Question::Srv(name) => Found::Srv(names.srv(&name).await),
            Question::Addresses(name) => Found::Addresses(names.addresses(&name).await),
        });
    }
    search.hops()
}
