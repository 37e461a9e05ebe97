//! Phones that watch (RFC 6665): the notifier's side of every event package.
//!
//! One NOTIFY of a subscription is on its way at a time; what comes meanwhile replaces what waits, as state is sent
//! whole. Changes of state keep the distance that the package asks for; what answers a SUBSCRIBE, and what gives or
//! takes permission, leaves at once.

use std::time::{Duration, Instant};

use super::events::{ALLOW_EVENTS, Document, Package};
use super::resource_list::{EVENT_LIST, RELATED, RLMI};
use super::{Core, Output, Owner, Timer};
use crate::dialog::Dialog;
use crate::msg::header::{self, Accept, Event, Expires, Supported};
use crate::msg::{Method, Name, Request, Response, Uri};
use crate::ports::{Subscription, SubscriptionEnd, SubscriptionId, SubscriptionState};
use crate::transaction::TxId;
use crate::transaction::timers::GIVE_UP;
use crate::transport::Flow;

/// Subscriptions of one account at a time; a phone with more contacts than this polls the rest later.
pub(super) const MAX_WATCHES: usize = 500;
/// A subscription of an hour is never too short, whatever the least is (RFC 6665 section 4.2.1.1).
const AN_HOUR: u32 = 3_600;
/// Refusals of a NOTIFY that end its subscription (RFC 6665 section 4.2.2). Others are about that NOTIFY alone.
const ENDING: [u16; 15] =
    [404, 405, 408, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 503, 604];

/// State with its document, as it waits to be sent.
type Notice = (SubscriptionState, Option<Document>);

/// One subscription.
pub(super) struct Watch {
    dialog: Dialog,
    /// As the phone wrote it, with the `id` where it set one.
    event: Event,
    subscription: Subscription,
    expires_at: Instant,
    /// The timer that counts; others are of times before a refresh.
    pub(super) due: Option<Instant>,
    /// The 200 to the SUBSCRIBE has left: NOTIFYs may follow.
    is_confirmed: bool,
    /// A SUBSCRIBE was answered and its NOTIFY has not left yet.
    is_owed: bool,
    is_sending: bool,
    next: Option<Notice>,
    last_sent: Option<Instant>,
    last_active: bool,
    /// Documents sent.
    version: u32,
    /// Why it ends, where that is not the gateway's wish.
    why: Option<SubscriptionEnd>,
    contact_user: String,
}

/// A SUBSCRIBE that waits for the gateway's word.
pub(super) struct Subscribing {
    tx: TxId,
    request: Box<Request>,
    to_tag: String,
    id: SubscriptionId,
}

impl Watch {
    /// With whom.
    pub(super) fn dialog(&self) -> &Dialog {
        &self.dialog
    }

    /// When what waits may leave.
    fn may_send_at(&self, now: Instant) -> Option<Instant> {
        let (state, _) = self.next.as_ref()?;
        let is_change = matches!(state, SubscriptionState::Terminated(_))
            || (*state == SubscriptionState::Active) != self.last_active;
        let spaced = self.last_sent.map(|at| at + self.subscription.package.spacing());
        Some(spaced.filter(|_| !is_change && !self.is_owed).map_or(now, |at| at.max(now)))
    }
}

impl Core {
    pub(super) fn subscribe(
        &mut self,
        tx: TxId,
        request: Box<Request>,
        flow: Flow,
        account: String,
        now: Instant,
    ) {
        let headers = &request.headers;
        let event: Option<Event> = headers.optional().ok().flatten();
        let Some((event, package)) =
            event.and_then(|event| Package::from_name(&event.package).map(|p| (event, p)))
        else {
            return self.bad_event(tx, &request, now);
        };
        let Ok(accepts) = headers.list::<Accept>() else {
            return self.answer(tx, &request, 400, now);
        };
        let takes = |media: &str| accepts.iter().any(|accept| accept.takes(media));
        if !accepts.is_empty() && !takes(package.media()) {
            return self.answer(tx, &request, 406, now);
        }
        let target = self.canonical(&request.uri, flow.local);
        let is_list = self.is_list(&target, flow);
        if is_list {
            let knows = headers.list::<Supported>().unwrap_or_default();
            if !knows.iter().any(|tag| tag.0.eq_ignore_ascii_case(EVENT_LIST)) {
                let mut response = self.response(&request, 421);
                response.headers.set(Name::Require, EVENT_LIST);
                self.respond(tx, response, now);
                return;
            }
            if !takes(RLMI) || !takes(RELATED) {
                return self.answer(tx, &request, 406, now);
            }
        }
        let Some(expires) = self.watch_time(tx, &request, package, now) else { return };
        let to_tag = self.ids.token();
        let Some(dialog) = Dialog::of_incoming(&request, &to_tag, flow) else {
            return self.answer(tx, &request, 400, now);
        };
        if self.watch_counts.get(&account).is_some_and(|count| *count >= MAX_WATCHES) {
            let mut response = self.response(&request, 480);
            response.headers.set("Retry-After", "60");
            self.respond(tx, response, now);
            return;
        }
        *self.watch_counts.entry(account.clone()).or_default() += 1;
        self.next_watch += 1;
        let id = SubscriptionId(self.next_watch);
        let subscription = Subscription {
            id,
            package,
            watcher: account,
            target,
            is_list,
            expires,
            accepts: accepts.into_iter().map(|accept| accept.media).collect(),
            initial: true,
        };
        self.watch_of_dialog.insert(dialog.id.clone(), id);
        let watch = Watch {
            dialog,
            event,
            subscription: subscription.clone(),
            // A look without a subscription has its one NOTIFY soon, or never.
            expires_at: now + if expires.is_zero() { GIVE_UP } else { expires },
            due: None,
            is_confirmed: false,
            is_owed: true,
            is_sending: false,
            next: None,
            last_sent: None,
            last_active: false,
            version: 0,
            why: None,
            contact_user: request.uri.user_decoded().unwrap_or_default(),
        };
        self.watches.insert(id, watch);
        let subscribing = Subscribing { tx, request, to_tag, id };
        self.judge(subscribing, subscription, now);
    }

    /// Whether somebody asks for its list of contacts.
    fn is_list(&self, target: &Uri, flow: Flow) -> bool {
        let is_ours = self.domain_of(&target.host, flow.local).is_some();
        is_ours && target.user_decoded().as_deref() == Some(self.config.list_user.as_str())
    }

    /// A package that nobody serves here (RFC 6665 section 4.2.1.1).
    pub(super) fn bad_event(&mut self, tx: TxId, request: &Request, now: Instant) {
        let mut response = self.response(request, 489);
        response.headers.set(Name::AllowEvents, ALLOW_EVENTS);
        self.respond(tx, response, now);
    }

    /// The time granted; `None`: the request was answered 423 or 400.
    fn watch_time(
        &mut self,
        tx: TxId,
        request: &Request,
        package: Package,
        now: Instant,
    ) -> Option<Duration> {
        let Ok(expires) = request.headers.optional::<Expires>() else {
            self.answer(tx, request, 400, now);
            return None;
        };
        let asked = expires.map_or(package.default_expires(), |field| field.0);
        let least = self.config.min_subscription_secs.min(AN_HOUR);
        if asked != 0 && asked < least {
            let mut response = self.response(request, 423);
            response.headers.set(Name::MinExpires, least.to_string());
            self.respond(tx, response, now);
            return None;
        }
        Some(Duration::from_secs(u64::from(asked.min(self.config.max_subscription_secs))))
    }

    pub(super) fn refresh_watch(
        &mut self,
        id: SubscriptionId,
        tx: TxId,
        request: &Request,
        flow: Flow,
        now: Instant,
    ) {
        let Some(watch) = self.watches.get(&id) else { return };
        let package = watch.subscription.package;
        let event: Option<Event> = request.headers.optional().ok().flatten();
        let Some(event) = event.filter(|event| Package::from_name(&event.package).is_some()) else {
            return self.bad_event(tx, request, now);
        };
        if event.package != package.name() || event.id() != watch.event.id() {
            // One dialog, one subscription (RFC 6665 section 4.5.2).
            return self.answer(tx, request, 481, now);
        }
        let Some(expires) = self.watch_time(tx, request, package, now) else { return };
        let Some(watch) = self.watches.get_mut(&id) else { return };
        let number = request.headers.cseq().map_or(0, |cseq| cseq.number);
        if !watch.dialog.accept_seq(number) {
            return self.answer(tx, request, 500, now);
        }
        watch.dialog.refresh_target(&request.headers);
        watch.dialog.flow = flow;
        // Who leaves has one more NOTIFY.
        watch.expires_at = now + if expires.is_zero() { GIVE_UP } else { expires };
        watch.why = expires.is_zero().then_some(SubscriptionEnd::Unsubscribed);
        watch.subscription.expires = expires;
        watch.subscription.initial = false;
        let subscription = watch.subscription.clone();
        let request = Box::new(request.clone());
        let subscribing = Subscribing { tx, request, to_tag: String::new(), id };
        self.judge(subscribing, subscription, now);
    }

    pub(super) fn subscribe_answered(
        &mut self,
        subscribing: Subscribing,
        result: Result<(), u16>,
        now: Instant,
    ) {
        let Subscribing { tx, request, to_tag, id } = subscribing;
        match result {
            Ok(()) => {
                let tag = Some(to_tag).filter(|tag| !tag.is_empty());
                let Some(watch) = self.watches.get_mut(&id) else {
                    // Ended while the gateway thought about its refresh.
                    return self.answer(tx, &request, 481, now);
                };
                watch.is_confirmed = true;
                watch.is_owed = true;
                self.confirm_watch(id, tx, &request, tag.as_deref(), now);
                self.arm_watch(id, now);
                self.send_next(id, now);
            }
            Err(status) => {
                self.forget_watch(id);
                if status == 489 {
                    return self.bad_event(tx, &request, now);
                }
                self.answer(tx, &request, status, now);
            }
        }
    }

    fn confirm_watch(
        &mut self,
        id: SubscriptionId,
        tx: TxId,
        request: &Request,
        to_tag: Option<&str>,
        now: Instant,
    ) {
        let Some(watch) = self.watches.get(&id) else { return };
        let mut response = request.response(200, to_tag);
        response.headers.copy_from(&request.headers, Name::RecordRoute);
        let seconds = u32::try_from(watch.subscription.expires.as_secs()).unwrap_or(u32::MAX);
        response.headers.push_typed(&Expires(seconds));
        response.headers.push_typed(&self.contact(&watch.contact_user, watch.dialog.flow));
        response.headers.set(Name::AllowEvents, ALLOW_EVENTS);
        if watch.subscription.is_list {
            response.headers.push(Name::Require, EVENT_LIST);
        }
        self.respond(tx, response, now);
    }

    /// Tells a watcher. `Terminated` ends the subscription.
    pub fn notify(
        &mut self,
        id: SubscriptionId,
        state: SubscriptionState,
        document: Option<Document>,
        now: Instant,
    ) {
        let Some(watch) = self.watches.get_mut(&id) else { return };
        watch.next = Some((state, document));
        self.send_next(id, now);
        self.run_events(now);
    }

    fn send_next(&mut self, id: SubscriptionId, now: Instant) {
        let Some(watch) = self.watches.get_mut(&id) else { return };
        if watch.is_sending || !watch.is_confirmed {
            return;
        }
        match watch.may_send_at(now) {
            Some(at) if at > now => return self.arm_watch(id, now),
            Some(_) => {}
            None => return,
        }
        let Some((state, document)) = watch.next.take() else { return };
        let left = watch.expires_at.saturating_duration_since(now).as_secs();
        let left = u32::try_from(left).unwrap_or(u32::MAX);
        // One look without a subscription (RFC 6665 section 4.4.3).
        let is_fetch = watch.subscription.expires.is_zero();
        let (field, ends) = match &state {
            SubscriptionState::Terminated(reason) => {
                (header::SubscriptionState::terminated(reason), true)
            }
            _ if is_fetch => (header::SubscriptionState::terminated("timeout"), true),
            SubscriptionState::Active => (header::SubscriptionState::active(left), false),
            SubscriptionState::Pending => (header::SubscriptionState::pending(left), false),
        };
        watch.is_sending = true;
        watch.is_owed = false;
        watch.last_sent = Some(now);
        watch.last_active = state == SubscriptionState::Active;
        let mut request = watch.dialog.request(Method::NOTIFY);
        request.headers.push_typed(&watch.event);
        request.headers.push_typed(&field);
        if watch.subscription.is_list {
            request.headers.push(Name::Require, EVENT_LIST);
        }
        if let Some(document) = document {
            let body = document.numbered(watch.version);
            watch.version = watch.version.wrapping_add(1);
            request = request.with_body(&document.media, body);
        }
        if ends {
            let usual =
                if is_fetch { SubscriptionEnd::Expired } else { SubscriptionEnd::Terminated };
            let why = watch.why.unwrap_or(usual);
            self.send_notify(id, request, now);
            if self.forget_watch(id) {
                self.outputs.push_back(Output::SubscriptionEnded(id, why));
            }
        } else {
            self.send_notify(id, request, now);
        }
    }

    fn send_notify(&mut self, id: SubscriptionId, mut request: Request, now: Instant) {
        let Some(watch) = self.watches.get(&id) else { return };
        let (user, flow) = (watch.contact_user.clone(), watch.dialog.flow);
        let next_hop = watch.dialog.next_hop().clone();
        request.headers.push_typed(&self.contact(&user, flow));
        // A connection that is gone is opened again to the phone's contact.
        let Some(flow) = self.reconnect(flow, &next_hop) else {
            return self.lose_watch(id);
        };
        if let Some(watch) = self.watches.get_mut(&id) {
            watch.dialog.flow = flow;
        }
        self.request(request, flow, Owner::Notify(id), now);
    }

    pub(super) fn notify_answered(
        &mut self,
        id: SubscriptionId,
        response: &Response,
        now: Instant,
    ) {
        if response.status < 200 {
            return;
        }
        if ENDING.contains(&response.status) {
            return self.lose_watch(id);
        }
        if let Some(watch) = self.watches.get_mut(&id) {
            watch.is_sending = false;
        }
        self.send_next(id, now);
    }

    /// Its watcher does not follow any more.
    fn lose_watch(&mut self, id: SubscriptionId) {
        if self.forget_watch(id) {
            let why = SubscriptionEnd::NotifyFailed;
            self.outputs.push_back(Output::SubscriptionEnded(id, why));
        }
    }

    /// Sets the timer, unless one is set that comes early enough: that one sets the next.
    fn arm_watch(&mut self, id: SubscriptionId, now: Instant) {
        let Some(watch) = self.watches.get_mut(&id) else { return };
        let paced = watch.may_send_at(now).filter(|_| !watch.is_sending);
        let at = paced.map_or(watch.expires_at, |at| at.min(watch.expires_at));
        if watch.due.is_none_or(|due| at < due) {
            watch.due = Some(at);
            self.timers.push(now, at, Timer::Watch(id));
        }
    }

    pub(super) fn watch_due(&mut self, id: SubscriptionId, at: Instant, now: Instant) {
        let Some(watch) = self.watches.get_mut(&id).filter(|watch| watch.due == Some(at)) else {
            return;
        };
        watch.due = None;
        if watch.expires_at <= now {
            return self.end_watch(id, "timeout", SubscriptionEnd::Expired, now);
        }
        self.send_next(id, now);
        self.arm_watch(id, now);
    }

    /// The last NOTIFY, also when one is on its way.
    fn end_watch(&mut self, id: SubscriptionId, reason: &str, why: SubscriptionEnd, now: Instant) {
        if let Some(watch) = self.watches.get_mut(&id) {
            watch.is_sending = false;
            watch.next = Some((SubscriptionState::Terminated(reason.to_owned()), None));
            watch.why.get_or_insert(why);
        }
        self.send_next(id, now);
    }

    /// False: it was forgotten before.
    fn forget_watch(&mut self, id: SubscriptionId) -> bool {
        let Some(watch) = self.watches.remove(&id) else { return false };
        self.watch_of_dialog.remove(&watch.dialog.id);
        let watcher = watch.subscription.watcher;
        if let Some(count) = self.watch_counts.get_mut(&watcher) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.watch_counts.remove(&watcher);
            }
        }
        true
    }
}
