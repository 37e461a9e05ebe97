//! Phones that know only single messages, in rooms (XEP-0045, RFC 3428; `interop.md` 5.3, after the idea of RFC 5365).
//!
//! A phone is an occupant while it is registered and its owner belongs to the room and has not left. What is said there
//! comes to it as MESSAGE from the room's address, one on its way at a time; what it writes to that address is said there,
//! and is answered when the room has taken it. Coming back, it hears what was said since the last message that it took.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tandem_sip::msg::NameAddr;
use tandem_sip::msg::header::Date;
use tandem_sip::ports::{Binding, IncomingMessage, MessageReply, OutgoingMessage, Target};
use tandem_xmpp::jid::Jid;
use tandem_xmpp::ports::{Affiliation, StoreError};
use tandem_xmpp::router::{Place, place};
use tandem_xmpp::stanza::{Kind, Stanza};
use tandem_xmpp::xml::{Element, ns};
use tandem_xmpp::{Outcome, Server};
use tokio::sync::{mpsc, oneshot};

use super::body::{self, Part};
use super::contacts::Contacts;
use super::cpim::Cpim;
use super::message::Chat;
use super::message::from_phone::{stanza_id, unsupported};
use super::message::to_phone::is_away;
use super::room_roster::RoomRosters;
use super::room_text::{Line, Said, line};
use super::room_visit::{QUEUE, Visit, Waiting};
use super::{identity, reason, text};
use crate::config;
use crate::store::{PhoneRoom, Store};

const MUC: &str = "http://jabber.org/protocol/muc";
const MUC_USER: &str = "http://jabber.org/protocol/muc#user";
const DELAY: &str = "urn:xmpp:delay";
const OOB: &str = "jabber:x:oob";
/// Says which room a message comes from, so that none comes back to one.
const ORIGIN: &str = "X-Origin-Room";
/// How long entering a room may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The rooms of phones. Cheap to clone.
#[derive(Clone)]
pub struct RoomPhones(Arc<Inner>);

struct Inner {
    xmpp: Server,
    contacts: Contacts,
    chat: Chat,
    store: Store,
    settings: config::Chat,
    state: Mutex<HashMap<Key, Visit>>,
    /// Message sessions that enter.
    entries: Mutex<HashMap<Key, oneshot::Sender<u16>>>,
    rosters: RoomRosters,
    /// What was decided last of an account in a room, which the store may not have yet.
    decided: Mutex<HashMap<Key, PhoneRoom>>,
    /// On their way to the store, in order.
    saves: mpsc::UnboundedSender<(Key, PhoneRoom)>,
}

/// A phone and a room.
type Key = (Jid, Jid);

impl RoomPhones {
    /// Phones in rooms of this server.
    pub fn new(
        xmpp: Server,
        contacts: Contacts,
        chat: Chat,
        store: Store,
        settings: config::Chat,
        rosters: RoomRosters,
    ) -> Self {
        let (saves, queue) = mpsc::unbounded_channel();
        tokio::spawn(save_all(store.clone(), queue));
        let inner = Inner {
            xmpp,
            contacts,
            chat,
            store,
            settings,
            state: Mutex::default(),
            entries: Mutex::default(),
            rosters,
            decided: Mutex::default(),
            saves,
        };
        Self(Arc::new(inner))
    }

    fn state(&self) -> MutexGuard<'_, HashMap<Key, Visit>> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who is in the rooms of phones.
    pub fn rosters(&self) -> &RoomRosters {
        &self.0.rosters
    }

    /// The room that an address leads to, by its own name or a number.
    pub fn room_of(&self, to: &Jid) -> Option<Jid> {
        let to = to.bare();
        if let Some(room) = self.0.settings.room_numbers.get(to.as_str()) {
            return Jid::parse(room).ok();
        }
        let is_room = place(&self.0.xmpp.config().domains, &to) == Place::Rooms;
        (is_room && to.node().is_some()).then_some(to)
    }

    /// How an entry ends that is about to begin.
    pub(super) fn await_entry(&self, device: &Jid, room: &Jid) -> oneshot::Receiver<u16> {
        let (entered, entry) = oneshot::channel();
        let mut entries = self.0.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.insert((device.clone(), room.clone()), entered);
        entry
    }

    /// An entry has ended so.
    pub(super) fn entered(&self, device: &Jid, room: &Jid, status: u16) {
        let mut entries = self.0.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entered) = entries.remove(&(device.clone(), room.clone())) {
            let _ = entered.send(status);
        }
    }

    /// A phone is there: it goes to the rooms that its owner belongs to.
    pub async fn registered(&self, device: &Jid) {
        if let Err(error) = self.enter_all(device).await {
            tracing::error!(%error, "the rooms of a phone cannot be read");
        }
    }

    async fn enter_all(&self, device: &Jid) -> Result<(), StoreError> {
        let account = device.bare();
        let known = self.known(&account).await?;
        let mut rooms: HashSet<Jid> = known.keys().cloned().collect();
        rooms.extend(self.0.xmpp.ports().rooms.of(&account).await?);
        for room in rooms {
            let kept = known.get(&room).copied();
            if kept.is_some_and(|kept| kept.is_left) {
                continue;
            }
            let Some(about) = self.0.xmpp.room_about(&room, &account).await? else { continue };
            if about.affiliation < Affiliation::Member && kept.is_none() {
                continue;
            }
            let status = self.enter(device, &room, about.name, kept.unwrap_or_default()).await;
            if status >= 300 {
                tracing::debug!(status, "a phone does not come into a room");
            }
        }
        Ok(())
    }

    /// Phones that are gone are in no room.
    pub fn unregistered(&self) {
        let contacts = &self.0.contacts;
        let mut gone = Vec::new();
        self.state().retain(|(device, _), _| {
            let is_there = contacts.binding(device).is_some();
            if !is_there {
                gone.push(device.clone());
            }
            is_there
        });
        for device in gone {
            self.0.rosters.forget(&device);
        }
    }

    /// Enters a room, if the phone is not inside. The status of the entry.
    async fn enter(&self, device: &Jid, room: &Jid, name: String, kept: PhoneRoom) -> u16 {
        let nick = device.node().unwrap_or("phone").to_owned();
        for nick in [nick.clone(), format!("{nick} (phone)")] {
            let (entered, entry) = oneshot::channel();
            {
                let mut state = self.state();
                let visit = state.entry((device.clone(), room.clone())).or_default();
                if visit.is_inside {
                    return 200;
                }
                (visit.name, visit.nick, visit.kept) = (name.clone(), nick.clone(), kept);
                visit.entering.push(entered);
            }
            let Ok(occupant) = room.with_resource(&nick) else { return 404 };
            let mut history = Element::new("history", MUC);
            match chrono::DateTime::from_timestamp_millis(kept.heard + 1) {
                Some(heard) if kept.heard > 0 => {
                    let since = heard.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
                    history.set_attr("since", since);
                    history.set_attr("maxstanzas", QUEUE.to_string());
                }
                _ => history.set_attr("maxstanzas", "0"),
            }
            let presence = Element::new("presence", ns::CLIENT)
                .with_attr("from", device.as_str())
                .with_attr("to", occupant.as_str())
                .with_child(Element::new("x", MUC).with_child(history));
            self.0.xmpp.inject(presence).await;
            let status = match tokio::time::timeout(PATIENCE, entry).await {
                Ok(Ok(status)) => status,
                _ => 504,
            };
            // Another person has the name: 409 is never sent to a phone.
            if status != 409 {
                return status;
            }
        }
        480
    }

    /// Something from a room for a phone.
    pub fn deliver(&self, device: &Jid, stanza: &Stanza) {
        let Some(from) = stanza.from() else { return };
        let key = (device.clone(), from.bare());
        match stanza.kind() {
            Kind::Presence => self.presence(&key, stanza),
            Kind::Message => self.heard(&key, stanza),
            Kind::Iq => {}
        }
    }

    fn presence(&self, key: &Key, stanza: &Stanza) {
        let mut state = self.state();
        let Some(visit) = state.get_mut(key) else { return };
        let nick = stanza.from().and_then(Jid::resource).unwrap_or_default().to_owned();
        let codes = codes(stanza);
        match stanza.type_() {
            Some("error") => {
                let status = entry_refused(stanza);
                visit.entered(status);
                if !visit.is_inside && status != 409 {
                    state.remove(key);
                }
            }
            Some("unavailable") if codes.contains(&110) || nick == visit.nick => {
                let gone = match codes.iter().find(|c| matches!(c, 301 | 307 | 321 | 322 | 332)) {
                    Some(301) => "You are banned from here.",
                    Some(307) => "You were asked to leave. Write here to come back.",
                    Some(332) | None if !stanza.has("x", MUC_USER) => "",
                    Some(_) => "You are no longer in this room.",
                    None => "",
                };
                visit.is_inside = false;
                if codes.contains(&307) || codes.contains(&301) {
                    visit.kept.is_left = true;
                    self.keep(key, visit.kept);
                }
                if !gone.is_empty() {
                    visit.push(Line::of_room(gone), 0, false);
                    self.wake(key, visit);
                }
            }
            Some("unavailable")
                if visit.people.remove(&nick)
                    && self.0.settings.room_events
                    && visit.is_settled =>
            {
                visit.push(Line::of_room(format!("* {nick} left")), 0, false);
                self.wake(key, visit);
            }
            None => {
                let is_new = visit.people.insert(nick.clone());
                if codes.contains(&110) {
                    (visit.is_inside, visit.nick) = (true, nick);
                    visit.entered(200);
                } else if is_new && self.0.settings.room_events && visit.is_settled {
                    visit.push(Line::of_room(format!("* {nick} joined")), 0, false);
                    self.wake(key, visit);
                }
            }
            _ => {}
        }
    }

    fn heard(&self, key: &Key, stanza: &Stanza) {
        if stanza.type_() == Some("error") {
            return;
        }
        let mut state = self.state();
        let Some(visit) = state.get_mut(key) else { return };
        let is_subject = stanza.has("subject", ns::CLIENT) && !stanza.has("body", ns::CLIENT);
        if is_subject && !std::mem::replace(&mut visit.is_settled, true) {
            return;
        }
        if stanza.id().is_some_and(|id| visit.own.iter().any(|own| own == id)) {
            return;
        }
        let quoted = stanza.child("reactions", "urn:xmpp:reactions:0");
        let quoted = quoted.and_then(|r| r.attr("id").map(str::to_owned));
        let original = visit.texts.iter().find(|(id, _)| Some(id) == quoted.as_ref());
        let line = line(stanza, visit.people.len(), original.map(|(_, text)| &**text));
        let Some(line) = line else { return };
        visit.remember(stanza);
        let delay = stanza.child("delay", DELAY);
        let stamp = delay
            .as_ref()
            .and_then(|d| chrono::DateTime::parse_from_rfc3339(d.attr("stamp")?).ok());
        let at = stamp.map_or_else(now, |stamp| stamp.timestamp_millis());
        if now() < visit.kept.mute {
            return;
        }
        visit.push(line, at, stamp.is_some());
        self.wake(key, visit);
    }

    /// Sends what is queued for a phone, unless that is being done.
    fn wake(&self, key: &Key, visit: &mut Visit) {
        if !std::mem::replace(&mut visit.is_sending, true) {
            tokio::spawn(self.clone().send_all(key.clone()));
        }
    }

    async fn send_all(self, key: Key) {
        while let Some((waiting, name, kept)) = self.next(&key) {
            let Some(binding) = self.0.contacts.binding(&key.0) else {
                return drop(self.state().remove(&key));
            };
            let make = |text: &str| self.request(&key, &binding, &waiting, &name, text);
            let text = waiting.line.text.as_str();
            let owners = [Some(key.0.bare()), None];
            let (status, _) = self.0.chat.send_or_link(owners, text, make).await;
            let mut state = self.state();
            let visit = state.get_mut(&key);
            if is_away(status) {
                // It is tried again with the next line, or when the phone registers.
                if let Some(visit) = visit {
                    visit.is_sending = false;
                    visit.put_back(waiting);
                }
                return;
            }
            // A phone may leave while it takes a line: what it took is not told again when it comes back.
            let left = &mut self.last_kept(&key).unwrap_or(kept);
            let kept = visit.map_or(left, |visit| &mut visit.kept);
            if waiting.at > kept.heard {
                kept.heard = waiting.at;
                self.keep(&key, *kept);
            }
        }
    }

    /// The next line, what the room is called, and what is kept of the phone there.
    fn next(&self, key: &Key) -> Option<(Waiting, String, PhoneRoom)> {
        let mut state = self.state();
        let visit = state.get_mut(key)?;
        let (name, kept) = (visit.name.clone(), visit.kept);
        if visit.skipped > 0 {
            let line =
                Line::of_room(format!("({} messages skipped)", std::mem::take(&mut visit.skipped)));
            return Some((Waiting { line, at: 0, is_old: false }, name, kept));
        }
        let next = visit.queue.pop_front();
        visit.is_sending = next.is_some();
        next.map(|waiting| (waiting, name, kept))
    }

    fn request(
        &self,
        (device, room): &Key,
        binding: &Binding,
        waiting: &Waiting,
        name: &str,
        text: &str,
    ) -> Option<OutgoingMessage> {
        let uri = identity::jid_to_sip(room).ok()?;
        let line = Line { text: text.to_owned(), ..waiting.line.clone() };
        let display =
            line.nick.as_ref().map_or_else(|| name.to_owned(), |nick| format!("{nick} ({name})"));
        let mut headers = vec![(ORIGIN.to_owned(), room.to_string())];
        if waiting.is_old
            && let Ok(seconds) = u64::try_from(waiting.at / 1000)
        {
            headers.push(("Date".into(), Date(seconds).to_string()));
        }
        let (content_type, body) = match &line.nick {
            Some(nick) if self.0.chat.speaks_cpim(binding) => {
                let from = identity::jid_to_sip(&room.with_resource(nick).ok()?).ok()?;
                let to = identity::jid_to_sip(&device.bare()).ok()?;
                let at = chrono::DateTime::from_timestamp_millis(waiting.at)?;
                let stamp = at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
                let named = format!("\"{}\" <{from}>", nick.replace(['"', '\\'], ""));
                let cpim = Cpim::plain(&named, &format!("<{to}>"), &stamp, &line.text);
                ("message/cpim", cpim.print())
            }
            _ => ("text/plain;charset=utf-8", line.with_name().into()),
        };
        let display: String = display.chars().filter(|c| !c.is_control()).take(80).collect();
        Some(OutgoingMessage {
            target: Target::Binding(Arc::new(binding.clone())),
            from: NameAddr::new(uri).with_display(Some(&display)),
            to: binding.account_uri()?,
            call_id: None,
            cseq: None,
            login: None,
            headers,
            content_type: content_type.to_owned(),
            body,
        })
    }

    /// A phone's MESSAGE to a room.
    pub async fn from_phone(
        &self,
        message: &IncomingMessage,
        account: &Jid,
        device: Option<Jid>,
        room: &Jid,
    ) -> MessageReply {
        if message.headers.has(ORIGIN) {
            return MessageReply::new(482);
        }
        // An occupant is a device: one that is not registered could hear nothing of what is answered.
        let others = || self.0.contacts.of(account).into_iter().next().map(|(device, _)| device);
        let Some(device) = device.or_else(others) else { return MessageReply::new(403) };
        let reply = self.read(message, &(device, room.clone())).await;
        reply.unwrap_or_else(|reply| reply)
    }

    async fn read(
        &self,
        message: &IncomingMessage,
        key: &Key,
    ) -> Result<MessageReply, MessageReply> {
        let kind = message.content_type.as_deref();
        let cpim = match text::media_type(kind).as_str() {
            "message/cpim" => Some(Cpim::parse(&message.body).map_err(|_| unsupported())?),
            _ => None,
        };
        let disposition = message.headers.get("Content-Disposition");
        let parts = match &cpim {
            Some(cpim) => body::read(
                Some(cpim.content_type()),
                cpim.mime("Content-Disposition"),
                &cpim.content,
            ),
            None => body::read(kind, disposition, &message.body),
        };
        let id = stanza_id(message, cpim.as_ref());
        let mut reply = MessageReply::new(200);
        for (n, part) in parts.map_err(|_| unsupported())?.into_iter().enumerate() {
            let id = if n == 0 { id.clone() } else { format!("{id}-{n}") };
            match part {
                Part::Text(text) => {
                    let said = Said::read(&text, self.0.settings.room_private);
                    reply = self.obey(key, said, &id).await?;
                }
                Part::File(file) => {
                    let link = self.0.chat.keep_file(&key.0.bare(), file).await?;
                    let url = Element::new("url", OOB).with_text(&link);
                    let more = Element::new("x", OOB).with_child(url);
                    reply = self.say(key, &link, &id, Some(more)).await?;
                }
                // Rooms get neither typing nor markers from phones.
                Part::Notification(_) | Part::Typing(_) => {}
            }
        }
        Ok(reply)
    }

    async fn obey(
        &self,
        key: &Key,
        said: Said<'_>,
        id: &str,
    ) -> Result<MessageReply, MessageReply> {
        match said {
            Said::Text(text) => self.say(key, text, id, None).await,
            Said::Private(nick, text) => self.whisper(key, nick, text, id).await,
            Said::Leave => {
                self.leave(key).await;
                Ok(MessageReply::new(200))
            }
            said => {
                self.be_inside(key).await?;
                let mut state = self.state();
                let visit = state.get_mut(key).ok_or_else(|| MessageReply::new(480))?;
                let answer = match said {
                    Said::Who => visit.who(),
                    Said::Mute(time) => {
                        let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
                        visit.kept.mute = now().saturating_add(millis);
                        format!("You are told nothing for {}.", spoken(time))
                    }
                    Said::Unmute => {
                        visit.kept.mute = 0;
                        "You are told everything again.".into()
                    }
                    _ => format!("You are in {}.", visit.name),
                };
                self.keep(key, visit.kept);
                visit.push(Line::of_room(answer), 0, false);
                self.wake(key, visit);
                Ok(MessageReply::new(200))
            }
        }
    }

    /// Enters the room if the phone is not inside; writing to a room is coming back to it.
    async fn be_inside(&self, key: &Key) -> Result<(), MessageReply> {
        if self.state().get(key).is_some_and(|visit| visit.is_inside) {
            return Ok(());
        }
        let (device, room) = key;
        let refused = |status| Err(MessageReply::new(status));
        let about = match self.0.xmpp.room_about(room, device).await {
            Ok(Some(about)) => about,
            Ok(None) => return refused(404),
            Err(_) => return refused(500),
        };
        let known = self.known(&device.bare()).await;
        let known = known.map_err(|_| MessageReply::new(500))?;
        let kept = known.get(room).copied();
        // Who had left hears nothing of the time between.
        let kept = match kept {
            Some(kept) if kept.is_left => PhoneRoom { is_left: false, heard: 0, ..kept },
            kept => kept.unwrap_or_default(),
        };
        match self.enter(device, room, about.name, kept).await {
            200 => {
                self.keep(key, kept);
                Ok(())
            }
            status => refused(status),
        }
    }

    async fn say(
        &self,
        key: &Key,
        text: &str,
        id: &str,
        more: Option<Element>,
    ) -> Result<MessageReply, MessageReply> {
        self.be_inside(key).await?;
        if let Some(visit) = self.state().get_mut(key) {
            visit.said(id);
        }
        let (device, room) = key;
        let message = said_by(device, room, "groupchat", id, text).with_children(more);
        if let Ok(stanza) = Stanza::from_element(&message)
            && let Some(visit) = self.state().get_mut(key)
        {
            visit.remember(&stanza);
        }
        Ok(MessageReply::new(outcome(&self.0.xmpp.inject(message).await)))
    }

    async fn whisper(
        &self,
        key: &Key,
        nick: &str,
        text: &str,
        id: &str,
    ) -> Result<MessageReply, MessageReply> {
        self.be_inside(key).await?;
        let (device, room) = key;
        let to = room.with_resource(nick).map_err(|_| MessageReply::new(404))?;
        let message =
            said_by(device, &to, "chat", id, text).with_child(Element::new("x", MUC_USER));
        Ok(MessageReply::new(outcome(&self.0.xmpp.inject(message).await)))
    }

    async fn leave(&self, key: &Key) {
        let (occupant, kept) = {
            let mut state = self.state();
            let visit = state.entry(key.clone()).or_default();
            visit.kept.is_left = true;
            (key.1.with_resource(&visit.nick), visit.kept)
        };
        self.keep(key, kept);
        // All phones of the account leave.
        let phones = self.0.contacts.of(&key.0.bare());
        for (device, _) in phones {
            let visit = self.state().remove(&(device.clone(), key.1.clone()));
            let nick = visit.map(|visit| visit.nick).filter(|nick| !nick.is_empty());
            let own = nick.and_then(|nick| key.1.with_resource(&nick).ok());
            let Some(to) = own.or_else(|| occupant.clone().ok()) else { continue };
            let presence = Element::new("presence", ns::CLIENT)
                .with_attr("from", device.as_str())
                .with_attr("to", to.as_str())
                .with_attr("type", "unavailable");
            self.0.xmpp.inject(presence).await;
        }
    }

    fn keep(&self, (device, room): &Key, kept: PhoneRoom) {
        let key = (device.bare(), room.clone());
        self.decided().insert(key.clone(), kept);
        let _ = self.0.saves.send((key, kept));
    }

    fn last_kept(&self, (device, room): &Key) -> Option<PhoneRoom> {
        self.decided().get(&(device.bare(), room.clone())).copied()
    }

    fn decided(&self) -> MutexGuard<'_, HashMap<Key, PhoneRoom>> {
        self.0.decided.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rooms that an account's phones are known in, as was decided last.
    async fn known(&self, account: &Jid) -> Result<HashMap<Jid, PhoneRoom>, StoreError> {
        let mut known: HashMap<Jid, PhoneRoom> =
            self.0.store.phone_rooms(account).await?.into_iter().collect();
        let decided = self.decided();
        let own = decided.iter().filter(|((owner, _), _)| owner == account);
        known.extend(own.map(|((_, room), kept)| (room.clone(), *kept)));
        Ok(known)
    }
}

pub(super) fn said_by(from: &Jid, to: &Jid, kind: &str, id: &str, text: &str) -> Element {
    Element::new("message", ns::CLIENT)
        .with_attr("type", kind)
        .with_attr("from", from.as_str())
        .with_attr("to", to.as_str())
        .with_attr("id", id)
        .with_child(Element::new("body", ns::CLIENT).with_text(text))
}

/// What a phone is told of what it said (`interop.md` 5.3).
fn outcome(outcome: &Outcome) -> u16 {
    match outcome {
        Outcome::Refused(error) => match reason::error_to_status(error, true) {
            401 | 405 | 406 | 407 => 403,
            status => status,
        },
        _ => 200,
    }
}

pub(super) fn codes(stanza: &Stanza) -> Vec<u16> {
    let x = stanza.child("x", MUC_USER);
    let statuses = x.iter().flat_map(Element::elements).filter(|e| e.name() == "status");
    statuses.filter_map(|e| e.attr("code")?.parse().ok()).collect()
}

/// Why a phone does not come in (`interop.md` 5.2).
pub(super) fn entry_refused(stanza: &Stanza) -> u16 {
    let error = stanza.child("error", ns::CLIENT);
    let condition = error.as_ref().and_then(|e| e.elements().next()).map(|e| e.name().to_owned());
    match condition.as_deref() {
        Some("item-not-found") => 404,
        Some("service-unavailable" | "resource-constraint") => 486,
        Some("conflict") => 409,
        Some("remote-server-not-found" | "remote-server-timeout") => 480,
        _ => 403,
    }
}

fn spoken(time: Duration) -> String {
    let minutes = time.as_secs() / 60;
    match (minutes / 60, minutes % 60) {
        (0, minutes) => format!("{minutes} minutes"),
        (hours, 0) => format!("{hours} hours"),
        (hours, minutes) => format!("{hours} hours and {minutes} minutes"),
    }
}

fn now() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

/// Keeps what is decided, one after the other.
async fn save_all(store: Store, mut queue: mpsc::UnboundedReceiver<(Key, PhoneRoom)>) {
    while let Some(((account, room), kept)) = queue.recv().await {
        if let Err(error) = store.keep_phone_room(&account, &room, kept).await {
            tracing::error!(%error, "what a phone does in a room is not kept");
        }
    }
}
