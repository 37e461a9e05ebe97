//! The hub: what the XMPP router and the SIP server hand to the bridge, put on the bus.
//!
//! It implements the ports of both crates. Nothing here decides or waits: each kind of thing goes to the task that owns
//! it, the calls, the chat, the presence desk, the phones' registrations or the echo service.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use tandem_media::MediaEvent;
use tandem_sip::ports::{
    Binding, Bindings, BoxFuture, Calls, Events, IncomingMessage, LegEvent, LegId, MessageReply,
    Messages, Package, Publication, PublicationId, StoreError, Subscription, SubscriptionEnd,
    SubscriptionId, WatchEvent, WatchId,
};
use tandem_xmpp::jid::Jid;
use tandem_xmpp::ports::{CallTaken, CallWishes, Foreign, Watch};
use tandem_xmpp::stanza::{Kind, Stanza};

use super::call_desk::{CallDesk, Wrong};
use super::contacts::{Change, Contacts};
use super::held::Whose;
use super::message::Chat;
use super::msrp::MsrpDesk;
use super::numbers::Plan;
use super::pidf_read::Document as Pidf;
use super::room_phone::RoomPhones;
use super::{echo, exchange, identity, presence};
use crate::audit::Audit;
use crate::cluster::{Bus, Envelope};
use crate::store::{Store, sip_fault};

const JMI: &str = "urn:xmpp:jingle-message:0";

/// The phones of an account are these now.
pub type Registration = (Jid, Change);

/// What the ports lead to. One per node, shared.
pub struct Hub {
    /// Where bindings are kept.
    pub store: Store,
    /// The registered phones.
    pub contacts: Contacts,
    /// What accounts want done with calls to them.
    pub calls: CallDesk,
    /// The numbers of the node.
    pub plan: Arc<Plan>,
    /// The way to whoever owns a call, a watcher, a phone.
    pub bus: Arc<dyn Bus>,
    /// The chat; it needs the SIP server, which needs this.
    pub chat: OnceLock<Chat>,
    /// The rooms of phones, which need the chat.
    pub rooms: OnceLock<RoomPhones>,
    /// The message sessions of phones.
    pub sessions: OnceLock<MsrpDesk>,
    audit: Audit<&'static str>,
}

impl Hub {
    /// A hub over these, without a chat yet.
    pub fn new(
        store: Store,
        contacts: Contacts,
        (bus, calls, plan): (Arc<dyn Bus>, CallDesk, Arc<Plan>),
    ) -> Self {
        Self {
            store,
            contacts,
            calls,
            plan,
            bus,
            chat: OnceLock::new(),
            rooms: OnceLock::new(),
            sessions: OnceLock::new(),
            audit: Audit::default(),
        }
    }

    /// Tells the presence desk. Where it is behind so far that it takes nothing, one line a second says what that means.
    fn tell_desk(&self, event: presence::Event, loss: &'static str) {
        if self.bus.send(Envelope::Presence(event)).is_err() {
            metrics::counter!("tandem_presence_lost_total").increment(1);
            if let Some(more) = self.audit.may_say(loss, 1, Instant::now()) {
                tracing::error!(more, "the presence desk is behind: {loss}");
            }
        }
    }

    /// A media event, for whoever owns the leg.
    pub fn media(&self, event: &MediaEvent) {
        // A full queue loses an event, not a call: consent is checked again, silence told again.
        let _ = self.bus.send(Envelope::Echo(echo::Event::Media(event.clone())));
        let _ = self.bus.send(Envelope::Leg(exchange::Event::Media(event.clone())));
    }
}

/// Whether a stanza belongs to a call.
pub fn is_call(stanza: &Stanza) -> bool {
    match stanza.kind() {
        Kind::Iq => true,
        Kind::Message => stanza.has_ns(JMI),
        Kind::Presence => false,
    }
}

impl Foreign for Hub {
    fn deliver(&self, account: &Jid, resources: &[String], stanza: &Stanza) -> bool {
        if account.node() == Some(echo::NAME) {
            if let Some(chat) = self.chat.get() {
                chat.taken(stanza);
            }
            let event = echo::Event::Stanza(Box::new(stanza.clone()));
            return self.bus.send(Envelope::Echo(event)).is_ok();
        }
        // What rooms say is for those inside; invitations are for everybody.
        let is_invitation =
            stanza.kind() == Kind::Message && stanza.from().is_some_and(Jid::is_bare);
        if let Some(rooms) = self.rooms.get()
            && stanza.kind() != Kind::Iq
            && !(is_invitation && stanza.type_() != Some("groupchat"))
            && stanza.from().is_some_and(|from| rooms.room_of(from).is_some())
        {
            for resource in resources {
                let Ok(device) = account.with_resource(resource) else { continue };
                rooms.rosters().seen(&device, stanza);
                if !self.sessions.get().is_some_and(|s| s.deliver(&device, stanza)) {
                    rooms.deliver(&device, stanza);
                }
            }
            return true;
        }
        if is_call(stanza) {
            let call = exchange::Call {
                account: account.clone(),
                resources: resources.to_vec(),
                stanza: stanza.clone(),
                is_taken: false,
            };
            return self.bus.send(Envelope::Call(call)).is_ok();
        }
        self.chat.get().is_none_or(|chat| chat.deliver(account, resources, stanza))
    }

    fn call_wishes(&self, account: &Jid) -> Option<CallWishes> {
        let known = self.store.call_settings(account);
        let known = known.map(|known| (*known).clone()).unwrap_or_default();
        let text = |to: Option<Jid>| to.map(|to| to.to_string()).unwrap_or_default();
        Some(CallWishes {
            undisturbed: known.undisturbed,
            always: text(known.always),
            busy: text(known.busy),
            no_answer: text(known.no_answer),
            seconds: known.seconds.to_string(),
            one_call: known.one_call,
            answers: known.answers.iter().map(ToString::to_string).collect(),
        })
    }

    fn set_call_wishes<'a>(
        &'a self,
        account: &'a Jid,
        wishes: &'a CallWishes,
    ) -> BoxFuture<'a, Result<Result<(), String>, tandem_xmpp::ports::StoreError>> {
        let words = [
            format!("dnd={}", if wishes.undisturbed { "on" } else { "off" }),
            format!("always={}", wishes.always),
            format!("busy={}", wishes.busy),
            format!("no-answer={}", wishes.no_answer),
            format!("seconds={}", wishes.seconds),
            format!("second-calls={}", if wishes.one_call { "busy" } else { "ring" }),
            format!("auto-answer={}", wishes.answers.join(",")),
        ];
        Box::pin(async move {
            match self.calls.change(account, &words).await {
                Ok(_) => Ok(Ok(())),
                Err(Wrong::Asked(why)) => Ok(Err(why)),
                Err(Wrong::Store(error)) => Err(error),
            }
        })
    }

    fn takes_call(&self, stanza: &Stanza, is_attached: bool) -> CallTaken {
        let (Some(from), Some(to)) = (stanza.from(), stanza.to()) else { return CallTaken::No };
        if is_attached && stanza.kind() == Kind::Iq {
            return CallTaken::No;
        }
        let held = &self.calls.held;
        let is_begun = match held.whose(stanza) {
            Whose::Own => return CallTaken::No,
            Whose::Trace if stanza.has("propose", JMI) => return CallTaken::Kept,
            Whose::Trace => return CallTaken::No,
            Whose::Held => false,
            Whose::Uninvited(sid) if from.bare() != to.bare() && self.calls.of(to).is_some() => {
                held.hold(&sid, from);
                true
            }
            Whose::Nobodys if stanza.has("propose", JMI) => match self.calls.of(to) {
                // What the exchange says itself: a call that rings.
                Some(wishes) if is_attached || self.plan.is_number_domain(from) => {
                    return if wishes.is_silent() { CallTaken::Kept } else { CallTaken::No };
                }
                Some(_) => true,
                None => return CallTaken::No,
            },
            Whose::Uninvited(_) | Whose::Nobodys => return CallTaken::No,
        };
        let resources = to.resource().map(str::to_owned).into_iter().collect();
        let (account, stanza) = (to.bare(), stanza.clone());
        let call = exchange::Call { account, resources, stanza, is_taken: is_begun };
        // Full: whoever said it tries again, or hears nothing, but rings nobody who does not want it.
        let _ = self.bus.send(Envelope::Call(call));
        CallTaken::Handled
    }

    fn observed(&self, stanza: &Stanza) {
        self.calls.held.agreed(stanza);
        // Full: the phones stop ringing by their own time.
        let _ = self.bus.send(Envelope::Call(exchange::Call::observed(stanza)));
    }
}

impl Watch for Hub {
    fn presence_changed(&self, account: &Jid) {
        let event = presence::Event::Changed(account.clone());
        self.tell_desk(event, "a change is told with the next one");
    }

    fn permission_changed(&self, owner: &Jid, contact: &Jid, may_see: bool) {
        let (owner, contact) = (owner.clone(), contact.clone());
        let event = presence::Event::Permission { owner, contact, may_see };
        self.tell_desk(event, "a permission waits for a refresh");
    }

    fn requests_changed(&self, owner: &Jid) {
        // Full: the next change of this list, or a refresh, tells it.
        let _ = self.bus.send(Envelope::Presence(presence::Event::Requests(owner.clone())));
    }

    fn waiting_changed(&self, account: &Jid) {
        if let Some(chat) = self.chat.get() {
            chat.wake_phones(account);
        }
        let _ = self.bus.send(Envelope::Presence(presence::Event::Waiting(account.clone())));
    }
}

impl Bindings for Hub {
    fn key(&self) -> BoxFuture<'_, Result<[u8; 32], StoreError>> {
        Box::pin(async { self.store.secret("sip gruu").await.map_err(|error| sip_fault(&error)) })
    }

    fn load(&self) -> BoxFuture<'_, Result<Vec<Binding>, StoreError>> {
        Box::pin(self.store.bindings())
    }

    fn save<'a>(
        &'a self,
        account: &'a str,
        bindings: &'a [Arc<Binding>],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.store.save_bindings(account, bindings))
    }

    fn refreshed(&self, account: &str, bindings: &[Arc<Binding>]) {
        self.store.save_bindings_later(account, bindings);
    }

    fn changed(&self, account: &str, bindings: &[Arc<Binding>], asleep: &[Arc<Binding>]) {
        if let Ok(account) = super::account(account) {
            // At once: whoever has its 200 can be called.
            let change = self.contacts.replace(&account, bindings);
            self.contacts.set_asleep(&account, asleep);
            let _ = self.bus.send(Envelope::Registration((account, change)));
        }
    }
}

impl Calls for Hub {
    fn event(&self, leg: LegId, event: LegEvent) {
        let event = match self.sessions.get() {
            Some(sessions) => sessions.take(leg, event),
            None => Some(event),
        };
        let Some(event) = event else { return };
        let _ = self.bus.send(Envelope::Leg(exchange::Event::Sip(leg, event)));
    }
}

impl Messages for Hub {
    fn message(&self, message: IncomingMessage) -> BoxFuture<'_, MessageReply> {
        Box::pin(async move {
            match self.chat.get() {
                Some(chat) => chat.from_phone(message).await,
                None => MessageReply::new(503),
            }
        })
    }
}

impl Events for Hub {
    fn subscribed(&self, subscription: Subscription) -> BoxFuture<'_, Result<(), u16>> {
        if subscription.package == Package::Conference {
            let rooms = self.rooms.get().ok_or(489);
            let taken = rooms.and_then(|rooms| rooms.rosters().subscribed(&subscription));
            return Box::pin(std::future::ready(taken));
        }
        if let Err(status) = may_watch(&subscription) {
            return Box::pin(std::future::ready(Err(status)));
        }
        let event = presence::Event::Subscribed(subscription);
        let sent = self.bus.send(Envelope::Presence(event));
        Box::pin(async move { sent.map_err(|_| 503) })
    }

    fn published(&self, publication: Publication) -> BoxFuture<'_, Result<(), u16>> {
        let taken = match Pidf::parse(&publication.body) {
            Some(document) => {
                let event = presence::Event::Published(Box::new((publication, document)));
                self.bus.send(Envelope::Presence(event)).map_err(|_| 503)
            }
            None => Err(400),
        };
        Box::pin(std::future::ready(taken))
    }

    fn unpublished(&self, id: PublicationId) {
        let event = presence::Event::Unpublished(id);
        self.tell_desk(event, "a phone shows what it said before");
    }

    fn watched(&self, id: WatchId, event: WatchEvent) {
        let event = presence::Event::Watched(id, event);
        self.tell_desk(event, "a contact is shown as it was");
    }

    fn ended(&self, id: SubscriptionId, _: SubscriptionEnd) {
        if let Some(rooms) = self.rooms.get() {
            rooms.rosters().ended(id);
        }
        let event = presence::Event::Ended(id);
        self.tell_desk(event, "a watcher is forgotten when its NOTIFY fails");
    }
}

/// What only concerns an account itself is shown to nobody else (RFC 3857 section 4.6, RFC 3842 section 3.6), and is no
/// matter of its contacts.
fn may_watch(subscription: &Subscription) -> Result<(), u16> {
    if !matches!(subscription.package, Package::PresenceWinfo | Package::MessageSummary) {
        return Ok(());
    }
    if subscription.is_list {
        return Err(489);
    }
    let target = identity::sip_to_jid(&subscription.target).map_err(|_| 404_u16)?;
    let watcher = super::account(&subscription.watcher).map_err(|_| 403_u16)?;
    if target.bare() == watcher.bare() { Ok(()) } else { Err(403) }
}

/// The ports of the SIP server, all but the accounts, the names and what wakes phones.
pub fn ports(
    hub: &Arc<Hub>,
    accounts: Arc<dyn tandem_sip::ports::Accounts>,
    names: Arc<dyn tandem_sip::ports::Names>,
    waker: Arc<dyn tandem_sip::ports::Waker>,
) -> tandem_sip::ports::Ports {
    tandem_sip::ports::Ports {
        accounts,
        bindings: hub.clone(),
        calls: hub.clone(),
        messages: hub.clone(),
        events: hub.clone(),
        names,
        waker,
    }
}
