//! Phones that watch presence (RFC 6665, RFC 3856): the notifier's side of the `presence` package.
//!
//! One NOTIFY of a subscription is on its way at a time; what comes meanwhile replaces what waits, as state is sent
//! whole.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Core, Job, Output, Owner, Timer, Waiting};
use crate::dialog::Dialog;
use crate::msg::header::{self, Accept, Event, Expires};
use crate::msg::{Method, Name, Request, Response};
use crate::ports::{Subscription, SubscriptionEnd, SubscriptionId, SubscriptionState};
use crate::transaction::TxId;
use crate::transaction::timers::GIVE_UP;
use crate::transport::Flow;

const PACKAGE: &str = "presence";
/// Subscriptions of one account at a time; a phone with more contacts than this polls the rest later.
pub(super) const MAX_WATCHES: usize = 500;
const PIDF: &str = "application/pidf+xml";

/// State with its body, as it waits to be sent.
type Notice = (SubscriptionState, Option<(String, Bytes)>);

/// One subscription.
pub(super) struct Watch {
    dialog: Dialog,
    /// The `id` of the Event field, where the phone set one.
    event: Event,
    subscription: Subscription,
    expires_at: Instant,
    /// The timer that counts; others are of times before a refresh.
    due: Option<Instant>,
    /// The 200 to the SUBSCRIBE has left: NOTIFYs may follow.
    is_confirmed: bool,
    is_sending: bool,
    next: Option<Notice>,
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
        let Some(event) = event.filter(|event| event.package == PACKAGE) else {
            let mut response = self.response(&request, 489);
            response.headers.set("Allow-Events", PACKAGE);
            self.respond(tx, response, now);
            return;
        };
        let Ok(accepts) = headers.list::<Accept>() else {
            return self.answer(tx, &request, 400, now);
        };
        if !accepts.is_empty() && !accepts.iter().any(|accept| accept.takes(PIDF)) {
            return self.answer(tx, &request, 406, now);
        }
        let Some(expires) = self.watch_time(tx, &request, now) else { return };
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
            watcher: account,
            target: self.canonical(&request.uri, flow.local),
            expires,
            accepts: accepts.into_iter().map(|accept| accept.media).collect(),
            initial: true,
        };
        self.watch_of_dialog.insert(dialog.id.clone(), id);
        let watch = Watch {
            dialog,
            event: Event { params: event.params, package: PACKAGE.to_owned() },
            subscription: subscription.clone(),
            // A look without a subscription has its one NOTIFY soon, or never.
            expires_at: now + if expires.is_zero() { GIVE_UP } else { expires },
            due: None,
            is_confirmed: false,
            is_sending: false,
            next: None,
            why: None,
            contact_user: request.uri.user_decoded().unwrap_or_default(),
        };
        self.watches.insert(id, watch);
        let subscribing = Subscribing { tx, request, to_tag, id };
        self.job(Waiting::Subscribe(subscribing), Job::Subscribe(Box::new(subscription)));
    }

    /// The time granted; `None`: the request was answered 423 or 400.
    fn watch_time(&mut self, tx: TxId, request: &Request, now: Instant) -> Option<Duration> {
        let Ok(expires) = request.headers.optional::<Expires>() else {
            self.answer(tx, request, 400, now);
            return None;
        };
        let max = self.config.max_subscription_secs;
        let asked = expires.map_or(max, |field| field.0);
        if asked != 0 && asked < self.config.min_subscription_secs {
            let mut response = self.response(request, 423);
            response.headers.set("Min-Expires", self.config.min_subscription_secs.to_string());
            self.respond(tx, response, now);
            return None;
        }
        Some(Duration::from_secs(u64::from(asked.min(max))))
    }

    pub(super) fn refresh_watch(
        &mut self,
        id: SubscriptionId,
        tx: TxId,
        request: &Request,
        flow: Flow,
        now: Instant,
    ) {
        let Some(expires) = self.watch_time(tx, request, now) else { return };
        let Some(watch) = self.watches.get_mut(&id) else { return };
        let number = request.headers.cseq().map_or(0, |cseq| cseq.number);
        if !watch.dialog.accept_seq(number) {
            return self.answer(tx, request, 500, now);
        }
        watch.dialog.refresh_target(&request.headers);
        watch.dialog.flow = flow;
        watch.expires_at = now + expires;
        watch.subscription.expires = expires;
        watch.subscription.initial = false;
        let subscription = watch.subscription.clone();
        if expires.is_zero() {
            self.confirm_watch(id, tx, request, None, now);
            return self.end_watch(id, "timeout", SubscriptionEnd::Unsubscribed, now);
        }
        let request = Box::new(request.clone());
        let subscribing = Subscribing { tx, request, to_tag: String::new(), id };
        self.job(Waiting::Subscribe(subscribing), Job::Subscribe(Box::new(subscription)));
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
                self.confirm_watch(id, tx, &request, tag.as_deref(), now);
                self.arm_watch(id, now);
                self.send_next(id, now);
            }
            Err(status) => {
                self.forget_watch(id);
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
        self.respond(tx, response, now);
    }

    /// Tells a watcher. `Terminated` ends the subscription.
    pub fn notify(
        &mut self,
        id: SubscriptionId,
        state: SubscriptionState,
        body: Option<(String, Bytes)>,
        now: Instant,
    ) {
        let Some(watch) = self.watches.get_mut(&id) else { return };
        watch.next = Some((state, body));
        self.send_next(id, now);
        self.run_events(now);
    }

    fn send_next(&mut self, id: SubscriptionId, now: Instant) {
        let Some(watch) = self.watches.get_mut(&id) else { return };
        if watch.is_sending || !watch.is_confirmed {
            return;
        }
        let Some((state, body)) = watch.next.take() else { return };
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
        let mut request = watch.dialog.request(Method::NOTIFY);
        request.headers.push_typed(&watch.event);
        request.headers.push_typed(&field);
        let (user, flow) = (watch.contact_user.clone(), watch.dialog.flow);
        let next_hop = watch.dialog.next_hop().clone();
        let contact = self.contact(&user, flow);
        request.headers.push_typed(&contact);
        let request = match body {
            Some((media, body)) => request.with_body(&media, body),
            None => request,
        };
        // A connection that is gone is opened again to the phone's contact.
        match self.reconnect(flow, &next_hop) {
            Some(flow) => {
                if let Some(watch) = self.watches.get_mut(&id) {
                    watch.dialog.flow = flow;
                }
                self.request(request, flow, Owner::Notify(id), now);
            }
            None => {
                self.forget_watch(id);
                let why = SubscriptionEnd::NotifyFailed;
                return self.outputs.push_back(Output::SubscriptionEnded(id, why));
            }
        }
        if ends {
            let why = self.watches.get(&id).and_then(|watch| watch.why);
            let usual =
                if is_fetch { SubscriptionEnd::Expired } else { SubscriptionEnd::Terminated };
            self.forget_watch(id);
            self.outputs.push_back(Output::SubscriptionEnded(id, why.unwrap_or(usual)));
        }
    }

    pub(super) fn notify_answered(
        &mut self,
        id: SubscriptionId,
        response: &Response,
        now: Instant,
    ) {
        if response.status < 200 || !self.watches.contains_key(&id) {
            return;
        }
        if response.status >= 300 {
            // Whatever the refusal: this watcher does not follow any more (RFC 6665 section 4.2.2).
            self.forget_watch(id);
            let why = SubscriptionEnd::NotifyFailed;
            return self.outputs.push_back(Output::SubscriptionEnded(id, why));
        }
        if let Some(watch) = self.watches.get_mut(&id) {
            watch.is_sending = false;
        }
        self.send_next(id, now);
    }

    /// Sets the timer, unless one is set that comes early enough: that one sets the next.
    fn arm_watch(&mut self, id: SubscriptionId, now: Instant) {
        let Some(watch) = self.watches.get_mut(&id) else { return };
        let at = watch.expires_at;
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
        if watch.expires_at > now {
            return self.arm_watch(id, now);
        }
        self.end_watch(id, "timeout", SubscriptionEnd::Expired, now);
    }

    /// The last NOTIFY, also when one is on its way.
    fn end_watch(&mut self, id: SubscriptionId, reason: &str, why: SubscriptionEnd, now: Instant) {
        if let Some(watch) = self.watches.get_mut(&id) {
            watch.is_sending = false;
            watch.next = Some((SubscriptionState::Terminated(reason.to_owned()), None));
            watch.why = Some(why);
        }
        self.send_next(id, now);
    }

    fn forget_watch(&mut self, id: SubscriptionId) {
        if let Some(watch) = self.watches.remove(&id) {
            self.watch_of_dialog.remove(&watch.dialog.id);
            let watcher = watch.subscription.watcher;
            if let Some(count) = self.watch_counts.get_mut(&watcher) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.watch_counts.remove(&watcher);
                }
            }
        }
    }
}
