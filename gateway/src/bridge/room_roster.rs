//! Rosters of rooms for phones (RFC 4575, RFC 7702 section 5.3): what phones inside see of the occupants, told to those
//! of their accounts that subscribed.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tandem_sip::SipHandle;
use tandem_sip::ports::{Subscription, SubscriptionId, SubscriptionState};
use tandem_sip::service::conference::{Attendee, document};
use tandem_xmpp::jid::Jid;
use tandem_xmpp::stanza::{Kind, Stanza};
use tandem_xmpp::xml::ns;

use super::identity;
use super::room_phone::codes;

const MUC_USER: &str = "http://jabber.org/protocol/muc#user";
/// Subscriptions at once.
const MAX_WATCHERS: usize = 10_000;

/// The rosters of all rooms that phones are in.
pub struct RoomRosters {
    sip: SipHandle,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    views: HashMap<(Jid, Jid), View>,
    watchers: HashMap<SubscriptionId, (Jid, Jid)>,
}

/// What one phone sees of one room.
#[derive(Default)]
struct View {
    /// Nickname and role.
    people: BTreeMap<String, String>,
    subject: Option<String>,
    /// Everybody was there before oneself: the roster is complete.
    is_complete: bool,
}

impl RoomRosters {
    /// Rosters that nobody watches.
    pub fn new(sip: SipHandle) -> Self {
        Self { sip, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something from a room for a phone inside.
    pub fn seen(&self, device: &Jid, stanza: &Stanza) {
        let Some(from) = stanza.from() else { return };
        let (room, nick) = (from.bare(), from.resource());
        let key = (device.clone(), room.clone());
        let mut state = self.state();
        match (stanza.kind(), stanza.type_()) {
            (Kind::Presence, None) => {
                let Some(nick) = nick else { return };
                let view = state.views.entry(key).or_default();
                view.people.insert(nick.to_owned(), role(stanza));
                view.is_complete |= codes(stanza).contains(&110);
            }
            (Kind::Presence, Some("unavailable")) => {
                let codes = codes(stanza);
                if codes.contains(&110) && !codes.contains(&303) {
                    state.views.remove(&key);
                } else if let (Some(view), Some(nick)) = (state.views.get_mut(&key), nick) {
                    view.people.remove(nick);
                }
            }
            (Kind::Message, Some("groupchat")) if !stanza.has("body", ns::CLIENT) => {
                let Some(subject) = stanza.child("subject", ns::CLIENT) else { return };
                let Some(view) = state.views.get_mut(&key) else { return };
                view.subject = Some(subject.text()).filter(|s| !s.is_empty());
            }
            _ => return,
        }
        self.tell(&mut state, &device.bare(), &room);
    }

    /// Phones that are gone see nothing any more.
    pub fn forget(&self, device: &Jid) {
        let mut state = self.state();
        let rooms: Vec<Jid> =
            state.views.keys().filter(|(d, _)| d == device).map(|(_, room)| room.clone()).collect();
        for room in rooms {
            state.views.remove(&(device.clone(), room.clone()));
            self.tell(&mut state, &device.bare(), &room);
        }
    }

    /// A phone wants to know who is in a room: it is told while its account has a phone inside.
    ///
    /// # Errors
    ///
    /// The status of the refusal.
    pub fn subscribed(&self, subscription: &Subscription) -> Result<(), u16> {
        let room = identity::sip_to_jid(&subscription.target).map_err(|_| 404_u16)?.bare();
        let account = crate::bridge::account(&subscription.watcher).map_err(|_| 403_u16)?;
        let mut state = self.state();
        if !state.views.keys().any(|(device, known)| device.bare() == account && *known == room) {
            return Err(403);
        }
        if state.watchers.len() >= MAX_WATCHERS {
            return Err(503);
        }
        state.watchers.insert(subscription.id, (account.clone(), room.clone()));
        self.tell(&mut state, &account, &room);
        Ok(())
    }

    /// A subscription is over.
    pub fn ended(&self, id: SubscriptionId) {
        self.state().watchers.remove(&id);
    }

    fn tell(&self, state: &mut State, account: &Jid, room: &Jid) {
        let mine: Vec<SubscriptionId> = state
            .watchers
            .iter()
            .filter(|(_, (who, what))| who == account && what == room)
            .map(|(id, _)| *id)
            .collect();
        let mut views = state.views.iter().filter(|((d, r), _)| d.bare() == *account && r == room);
        let view = views.next().map(|(_, view)| view);
        for id in mine {
            match view {
                Some(view) if view.is_complete => {
                    let document = roster(room, view);
                    self.sip.notify(id, SubscriptionState::Active, document);
                }
                // The first NOTIFY waits for everybody (RFC 7702 section 5.4).
                Some(_) => {}
                None => {
                    let gone = SubscriptionState::Terminated("noresource".into());
                    self.sip.notify(id, gone, None);
                }
            }
        }
    }
}

fn roster(room: &Jid, view: &View) -> Option<tandem_sip::ports::Document> {
    let entity = identity::jid_to_sip(room).ok()?.to_string();
    let attendee = |(nick, role): (&String, &String)| {
        let entity = identity::jid_to_sip(&room.with_resource(nick).ok()?).ok()?.to_string();
        Some(Attendee { entity, name: nick.clone(), role: role.clone() })
    };
    let people: Vec<Attendee> = view.people.iter().filter_map(attendee).collect();
    Some(document(&entity, view.subject.as_deref(), &people))
}

fn role(stanza: &Stanza) -> String {
    let x = stanza.child("x", MUC_USER);
    let item = x.as_ref().and_then(|x| x.elements().find(|e| e.name() == "item"));
    let role = item.and_then(|item| item.attr("role")).unwrap_or("participant");
    // A visitor listens, which is what RFC 4575 calls an observer in its examples.
    if role == "visitor" { "observer".into() } else { role.to_owned() }
}
