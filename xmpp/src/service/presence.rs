//! Presence (RFC 6121 section 4): announced, shown to who may see it, directed, probed, taken back.

use bytes::Bytes;

use super::sessions::{Announced, Resource, Show};
use super::{Outcome, Server};
use crate::jid::Jid;
use crate::router::Place;
use crate::stanza::{Condition, Stanza, StanzaError};
use crate::xml::{Element, ns};

/// Most addressees of directed presence of one session.
const MAX_DIRECTED: usize = 1_000;

impl Server {
    pub(super) async fn handle_presence(&self, stanza: Stanza) -> Outcome {
        let Some(from) = stanza.from().cloned() else { return Outcome::Ignored };
        let mut stanza = stanza;
        match stanza.to() {
            Some(to) if !self.is_local(&from) => {
                let to = to.clone();
                self.note_elsewhere(&from, &to, &stanza).await;
            }
            _ if stanza.type_().is_none() => stanza = self.with_avatar(stanza).await,
            _ => {}
        }
        if stanza.to().is_some_and(|to| self.place(to) == Place::Rooms) {
            return self.room_presence(stanza).await;
        }
        match (stanza.type_().map(str::to_owned).as_deref(), stanza.to().cloned()) {
            (None, None) => self.announce(&from, &stanza).await,
            (Some("unavailable"), None) => self.retire(&from, &stanza).await,
            (None | Some("unavailable"), Some(to)) => {
                if let Some(refused) = self.direct(&from, &to, &stanza) {
                    return self.bounce(&stanza, refused);
                }
            }
            (
                Some(kind @ ("subscribe" | "subscribed" | "unsubscribe" | "unsubscribed")),
                Some(to),
            ) => match self.subscription(&from.bare(), &to.bare(), kind, &stanza).await {
                Ok(None) => {}
                Ok(Some(refused)) => return self.bounce(&stanza, refused),
                Err(error) => return self.store_failed(&stanza, &error),
            },
            (Some("probe"), Some(to)) => self.probe(&from, &to).await,
            (Some("error"), Some(to)) => self.pass_presence_error(&to, &stanza),
            (Some("error"), None) => {}
            _ => return self.bounce(&stanza, StanzaError::new(Condition::BadRequest)),
        }
        Outcome::Ignored
    }

    /// Available presence without addressee (section 4.2).
    async fn announce(&self, from: &Jid, stanza: &Stanza) {
        let show = stanza.child("show", ns::CLIENT).and_then(|e| Show::from_name(e.text().trim()));
        let status = stanza.child("status", ns::CLIENT).map(|e| e.text());
        let priority = stanza.child("priority", ns::CLIENT);
        let priority = priority.and_then(|e| e.text().trim().parse().ok()).unwrap_or(0);
        let announced = Announced { stanza: stanza.bytes(), show, status, priority };
        let (initial, woke, outbox, read) = {
            let mut sessions = self.sessions();
            let Some(resource) = sessions.get_mut(from) else { return };
            let before = resource.presence.replace(announced).map(|p| p.priority);
            let woke = priority >= 0 && before.is_none_or(|p| p < 0);
            (before.is_none(), woke, resource.outbox.clone(), resource.archive_read)
        };
        self.broadcast_presence(from).await;
        if initial {
            self.welcome(from).await;
        }
        self.note_claim(from, stanza, initial).await;
        if let (true, Some(outbox)) = (woke, outbox) {
            if let Some(read) = read {
                self.forget_waiting(&from.bare(), read).await;
            }
            self.flush_offline(from.bare(), outbox).await;
        }
    }

    /// What a device that came online must learn: its contacts' presence and unanswered requests.
    async fn welcome(&self, jid: &Jid) {
        let account = jid.bare();
        let Ok(roster) = self.roster(&account).await else { return };
        for item in roster.items.iter().filter(|i| i.to) {
            match self.place(&item.jid) {
                Place::Account => self.show_account(&item.jid, jid),
                Place::Elsewhere => self.send_probe(jid, &item.jid),
                Place::Host | Place::Rooms | Place::Uploads => {}
            }
        }
        self.show_account(&account, jid);
        self.show_requests(&account, jid, &roster.pending_in).await;
    }

    /// Sends every available presence of `account` to one device.
    pub(super) fn show_account(&self, account: &Jid, to: &Jid) {
        if self.blocks_now(account, to) || self.blocks_now(&to.bare(), account) {
            return;
        }
        let shown: Vec<(Jid, Bytes)> = self
            .sessions()
            .of(account)
            .iter()
            .filter(|r| r.jid != *to)
            .filter_map(|r| Some((r.jid.clone(), r.presence.as_ref()?.stanza.clone())))
            .collect();
        for (jid, stanza) in shown {
            self.emit(&jid, to, &addressed(&stanza, to));
        }
    }

    /// Tells everybody who may see it what this resource last announced.
    pub(super) async fn broadcast_presence(&self, from: &Jid) {
        let stanza =
            self.sessions().get(from).and_then(|r| Some(r.presence.as_ref()?.stanza.clone()));
        if let Some(stanza) = stanza {
            self.broadcast(from, &stanza).await;
        }
        self.0.ports.watch.presence_changed(&from.bare());
    }

    /// As [`Server::broadcast_presence`], of what is said in this moment only.
    pub(super) async fn broadcast(&self, from: &Jid, stanza: &Bytes) {
        let account = from.bare();
        let Ok(roster) = self.roster(&account).await else { return };
        let blocked = self.blocks_of(&account).await.unwrap_or_default();
        let seers = roster.items.iter().filter(|i| i.from);
        let seers = seers.filter(|i| !blocked.holds(&i.jid));
        for contact in seers.map(|i| &i.jid).chain([&account]) {
            self.send_presence(contact, from, stanza);
        }
    }

    /// To the available streams of an account, who sent it being one of them (section 4.2.2); once to the server of one
    /// elsewhere.
    pub(super) fn send_presence(&self, account: &Jid, from: &Jid, stanza: &Bytes) {
        if self.place(account) == Place::Elsewhere {
            self.emit(from, account, &addressed(stanza, account));
            return;
        }
        if self.blocks_now(account, from) {
            return;
        }
        let receivers: Vec<_> = self
            .sessions()
            .of(account)
            .iter()
            .filter(|r| r.presence.is_some())
            .filter_map(|r| Some((r.jid.clone(), r.outbox.clone()?)))
            .collect();
        for (jid, outbox) in receivers {
            outbox.send(addressed(stanza, &jid));
        }
    }

    async fn retire(&self, from: &Jid, stanza: &Stanza) {
        self.leave_rooms(from, Some(stanza));
        let (announced, directed) = {
            let mut sessions = self.sessions();
            let Some(resource) = sessions.get_mut(from) else { return };
            (resource.presence.take().is_some(), std::mem::take(&mut resource.directed))
        };
        self.say_goodbye(from, announced, directed, &stanza.bytes()).await;
    }

    /// A resource has gone without a word, or with `last`.
    pub(super) async fn became_unavailable(
        &self,
        jid: &Jid,
        resource: Resource,
        last: Option<Bytes>,
    ) {
        self.leave_rooms(jid, None);
        let goodbye = last.unwrap_or_else(|| {
            Element::new("presence", ns::CLIENT)
                .with_attr("from", jid.as_str())
                .with_attr("type", "unavailable")
                .to_bytes()
        });
        self.say_goodbye(jid, resource.presence.is_some(), resource.directed, &goodbye).await;
    }

    /// Nobody sees go what it has not seen come.
    pub(super) async fn say_goodbye(
        &self,
        from: &Jid,
        announced: bool,
        directed: Vec<Jid>,
        goodbye: &Bytes,
    ) {
        if announced {
            self.broadcast(from, goodbye).await;
        }
        for to in directed {
            if to.resource().is_some() {
                self.emit(from, &to, &addressed(goodbye, &to));
            } else {
                self.send_presence(&to, from, goodbye);
            }
        }
        if announced {
            self.0.ports.watch.presence_changed(&from.bare());
        }
    }

    /// Presence for one addressee only (section 4.6).
    fn direct(&self, from: &Jid, to: &Jid, stanza: &Stanza) -> Option<StanzaError> {
        if !matches!(self.place(to), Place::Account | Place::Elsewhere) {
            return None;
        }
        // Who is elsewhere has a server that remembers.
        if self.place(from) == Place::Account {
            let mut sessions = self.sessions();
            let resource = sessions.get_mut(from)?;
            resource.directed.retain(|j| j != to);
            if stanza.type_().is_none() {
                if resource.directed.len() >= MAX_DIRECTED {
                    // It could not be taken back when the session ends.
                    let error = StanzaError::new(Condition::PolicyViolation);
                    return Some(error.with_text("too much directed presence"));
                }
                resource.directed.push(to.clone());
            }
        }
        if to.resource().is_some() || self.place(to) == Place::Elsewhere {
            self.emit(from, to, &stanza.bytes());
        } else {
            self.send_presence(to, from, &stanza.bytes());
        }
        None
    }

    /// Asks the server of a contact elsewhere how it is (section 4.3.1).
    fn send_probe(&self, from: &Jid, contact: &Jid) {
        let probe = Element::new("presence", ns::CLIENT)
            .with_attr("from", from.as_str())
            .with_attr("to", contact.as_str())
            .with_attr("type", "probe")
            .to_bytes();
        self.emit(from, contact, &probe);
    }

    /// Answers a probe (section 4.3.2): who may see gets each resource, or that there is none; who may not is told so
    /// by another server alone, and the same whether there is an account or not.
    async fn probe(&self, from: &Jid, to: &Jid) {
        if self.place(to) != Place::Account {
            return;
        }
        let account = to.bare();
        let Ok(may_see) = self.may_see(from, &account).await else { return };
        let is_elsewhere = self.place(from) == Place::Elsewhere;
        let kind = if !may_see {
            "unsubscribed"
        } else if self.presences(&account).is_empty() {
            "unavailable"
        } else {
            return self.show_account(&account, from);
        };
        if is_elsewhere {
            let answer = Element::new("presence", ns::CLIENT)
                .with_attr("from", account.as_str())
                .with_attr("to", from.as_bare_str())
                .with_attr("type", kind)
                .to_bytes();
            self.emit(&account, &from.bare(), &answer);
        }
    }

    /// Presence that could not be delivered comes back to the device that sent it; who it was for need not be told
    /// when that device goes.
    fn pass_presence_error(&self, to: &Jid, stanza: &Stanza) {
        let Some(from) = stanza.from() else { return };
        if self.place(to) != Place::Account || to.resource().is_none() {
            return;
        }
        if let Some(resource) = self.sessions().get_mut(to) {
            resource.directed.retain(|j| j != from);
        }
        self.send_bytes(to, &stanza.bytes());
    }
}

/// The same presence with this addressee.
pub(super) fn addressed(stanza: &Bytes, to: &Jid) -> Bytes {
    match Stanza::parse(stanza.clone()) {
        Ok(mut stanza) => {
            stanza.set_to(to.clone());
            stanza.bytes()
        }
        Err(_) => stanza.clone(),
    }
}
