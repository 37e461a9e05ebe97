//! Watching others (RFC 6665): the subscriber's side of every event package.
//!
//! One watching is one SUBSCRIBE to a target and the dialogs that grow out of it: each NOTIFY with a new From tag makes
//! one (section 4.4.1), as forks of the SUBSCRIBE do. It refreshes itself and ends once; whether and when it begins
//! anew is the gateway's business.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::events::Package;
use super::locate::Wish;
use super::{Core, Output, Owner, Timer};
use crate::dialog::{Dialog, DialogId};
use crate::msg::header::{self, ContentType, Event, Expires, MinExpires, SubscriptionStateValue};
use crate::msg::{Method, Name, Request, Response};
use crate::ports::{
    OutgoingSubscription, SubscriptionState, Target, WatchEvent, WatchId, WatchedState, WatchingEnd,
};
use crate::transaction::TxId;
use crate::transaction::timers::GIVE_UP;
use crate::transport::{Flow, Hop};

/// Dialogs of one watching; further forks get a 481.
const MAX_FORKS: usize = 8;
/// The least time between two tries to refresh.
const LEAST_PAUSE: Duration = Duration::from_secs(30);
/// A refresh is due after half of the time, in thousandths, and somewhat more, so that not all come at once.
const HALF: u64 = 500;
const SPREAD: u64 = 300;
/// Refusals of a refresh that end its dialog (RFC 6665 section 4.1.2.2, RFC 5057).
const ENDING: [u16; 17] =
    [403, 404, 405, 410, 416, 423, 480, 481, 482, 483, 484, 485, 489, 501, 603, 604, 606];

/// All watchings.
#[derive(Default)]
pub(super) struct Watchings {
    all: HashMap<WatchId, Watching>,
    by_dialog: HashMap<DialogId, WatchId>,
    /// By Call-ID and our tag, which every dialog of a watching has in common.
    by_call: HashMap<(String, String), WatchId>,
}

impl Watchings {
    /// Whom we watch.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether this one goes on.
    pub(super) fn knows(&self, id: WatchId) -> bool {
        self.all.contains_key(&id)
    }

    /// Whether nobody is watched.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty() && self.by_dialog.is_empty() && self.by_call.is_empty()
    }

    /// Whether a request belongs to one, by a dialog or as the NOTIFY that makes one.
    pub(super) fn find(&self, dialog: &DialogId) -> Option<WatchId> {
        let call = || self.by_call.get(&(dialog.call_id.clone(), dialog.local_tag.clone()));
        self.by_dialog.get(dialog).or_else(call).copied()
    }
}

struct Watching {
    wish: OutgoingSubscription,
    call: (String, String),
    number: u32,
    /// The first SUBSCRIBE; further dialogs may appear until this time (timer N).
    open_until: Instant,
    is_retried: bool,
    is_closing: bool,
    dialogs: Vec<Usage>,
}

/// One dialog of a watching.
struct Usage {
    dialog: Dialog,
    expires_at: Instant,
    refresh_at: Instant,
}

impl Core {
    /// Begins to watch. What comes of it is told by [`Output::Watched`], whose last is an `Ended`.
    pub fn watch(&mut self, id: WatchId, wish: OutgoingSubscription, now: Instant) {
        let call = (self.ids.token(), self.ids.token());
        let open_until = now + GIVE_UP;
        self.watchings.by_call.insert(call.clone(), id);
        let watching = Watching {
            wish,
            call,
            number: 0,
            open_until,
            is_retried: false,
            is_closing: false,
            dialogs: Vec::new(),
        };
        self.watchings.all.insert(id, watching);
        self.ask_to_watch(id, now);
        self.run_events(now);
    }

    /// Where the host of a target is.
    pub(super) fn watched_host_found(&mut self, id: WatchId, hops: Vec<Hop>, now: Instant) {
        let Some(watching) = self.watchings.all.get_mut(&id) else { return };
        if let Target::Uri(uri) = &watching.wish.target {
            watching.wish.target = Target::Hops(uri.clone(), hops);
        }
        self.ask_to_watch(id, now);
    }

    /// The SUBSCRIBE that makes dialogs.
    fn ask_to_watch(&mut self, id: WatchId, now: Instant) {
        let Some(watching) = self.watchings.all.get(&id) else { return };
        let target = watching.wish.target.clone();
        if let Some(search) = self.search(&target) {
            return self.look_up(Wish::Watch(id), search);
        }
        let Some(watching) = self.watchings.all.get_mut(&id) else { return };
        watching.number += 1;
        watching.open_until = now + GIVE_UP;
        let (number, wish) = (watching.number, watching.wish.clone());
        let (call_id, tag) = watching.call.clone();
        let Some((way, _)) = self.route(&wish.target, now) else {
            return self.end_watching(id, WatchingEnd::Refused { status: 430, retry_after: None });
        };
        let from = wish.from.with_tag(&tag);
        let user = from.uri.user_decoded().unwrap_or_default();
        let uri = way.uri.clone();
        let mut request = self.outside(Method::SUBSCRIBE, uri, from, wish.to, call_id, number);
        request.headers.push_typed(&Event::new(wish.package.name()));
        request.headers.push(Name::Accept, wish.package.media());
        request.headers.push_typed(&Expires(secs(wish.expires)));
        request.headers.push_typed(&self.contact(&user, way.flow));
        way.lead(&mut request);
        self.timers.push(now, now + GIVE_UP, Timer::Watching(id));
        self.request(request, way.flow, Owner::Subscribe(id, None), now);
    }

    /// Ends a watching by asking for no more; the last NOTIFY ends it, or silence.
    pub fn unwatch(&mut self, id: WatchId, now: Instant) {
        let Some(watching) = self.watchings.all.get_mut(&id) else { return };
        if watching.is_closing {
            return;
        }
        watching.is_closing = true;
        watching.open_until = watching.open_until.max(now + GIVE_UP);
        let dialogs: Vec<DialogId> =
            watching.dialogs.iter().map(|usage| usage.dialog.id.clone()).collect();
        self.timers.push(now, now + GIVE_UP, Timer::Watching(id));
        for dialog in dialogs {
            self.renew(id, &dialog, Duration::ZERO, now);
        }
        self.run_events(now);
    }

    /// A SUBSCRIBE inside a dialog.
    fn renew(&mut self, id: WatchId, dialog: &DialogId, expires: Duration, now: Instant) {
        let Some(watching) = self.watchings.all.get_mut(&id) else { return };
        let package = watching.wish.package;
        let user = watching.wish.from.uri.user_decoded().unwrap_or_default();
        let Some(usage) = watching.dialogs.iter_mut().find(|usage| usage.dialog.id == *dialog)
        else {
            return;
        };
        // Not again before this try had its answer.
        usage.refresh_at = now + GIVE_UP.max(LEAST_PAUSE);
        let mut request = usage.dialog.request(Method::SUBSCRIBE);
        let known = usage.dialog.clone();
        request.headers.push_typed(&Event::new(package.name()));
        request.headers.push(Name::Accept, package.media());
        request.headers.push_typed(&Expires(secs(expires)));
        let flow = self.flow_of(&known);
        request.headers.push_typed(&self.contact(&user, flow));
        self.request(request, flow, Owner::Subscribe(id, Some(dialog.clone())), now);
    }

    /// An answer to a SUBSCRIBE of ours.
    pub(super) fn watch_answered(
        &mut self,
        id: WatchId,
        dialog: Option<&DialogId>,
        response: &Response,
        now: Instant,
    ) {
        let status = response.status;
        let Some(watching) = self.watchings.all.get_mut(&id).filter(|_| status >= 200) else {
            return;
        };
        let granted = response.headers.typed::<Expires>().ok().map(|field| field.0);
        let least = response.headers.typed::<MinExpires>().ok().map(|field| field.0);
        match (dialog, status) {
            // 202 is an older 200 (RFC 6665 section 8.3.1). State and dialog come with the NOTIFY.
            (None, 200..=299) => {}
            (Some(dialog), 200..=299) => {
                let usage = watching.dialogs.iter_mut().find(|usage| usage.dialog.id == *dialog);
                if let (Some(usage), Some(seconds)) = (usage, granted.filter(|s| *s > 0)) {
                    let left = Duration::from_secs(u64::from(seconds));
                    usage.last(left, self.ids.below(SPREAD), now);
                    self.arm_watching(id, now);
                }
            }
            (None, 423) if !watching.is_retried && least.is_some() => {
                watching.is_retried = true;
                let least = Duration::from_secs(u64::from(least.unwrap_or_default()));
                watching.wish.expires = watching.wish.expires.max(least);
                self.ask_to_watch(id, now);
            }
            (None, _) if watching.dialogs.is_empty() => {
                let retry_after = response.headers.typed::<header::RetryAfter>().ok();
                let retry_after = retry_after.map(|field| Duration::from_secs(field.0.into()));
                self.end_watching(id, WatchingEnd::Refused { status, retry_after });
            }
            (None, _) => {}
            (Some(dialog), _) if ENDING.contains(&status) || watching.is_closing => {
                let dialog = dialog.clone();
                self.drop_usage(id, &dialog, WatchingEnd::RefreshRefused(status), now);
            }
            // What was agreed still holds; it is tried again before that is over.
            (Some(_), _) => self.arm_watching(id, now),
        }
    }

    /// A NOTIFY for a watching of ours.
    pub(super) fn notified(
        &mut self,
        id: WatchId,
        tx: TxId,
        request: &Request,
        flow: Flow,
        now: Instant,
    ) {
        let headers = &request.headers;
        let Some(watching) = self.watchings.all.get(&id) else { return };
        let package = watching.wish.package;
        let event: Option<Event> = headers.optional().ok().flatten();
        match event {
            Some(event) if event.package == package.name() => {}
            Some(event) if Package::from_name(&event.package).is_some() => {
                return self.answer(tx, request, 481, now);
            }
            _ => return self.bad_event(tx, request, now),
        }
        let Ok(state) = headers.typed::<header::SubscriptionState>() else {
            return self.answer(tx, request, 400, now);
        };
        let media = headers.typed::<ContentType>().ok().map(|kind| kind.media);
        let is_known = media.as_deref().is_none_or(|media| media == package.media());
        if !request.body.is_empty() && !is_known {
            let mut response = self.response(request, 415);
            response.headers.set(Name::Accept, package.media());
            self.respond(tx, response, now);
            return;
        }
        let Some(dialog) = DialogId::of_request(request) else { return };
        let number = headers.cseq().map_or(0, |cseq| cseq.number);
        match self.usage_of(id, &dialog, request, flow, now) {
            Some(usage) if usage.dialog.remote_seq == Some(number) => {}
            Some(usage) => {
                if !usage.dialog.accept_seq(number) {
                    return self.answer(tx, request, 500, now);
                }
                usage.dialog.refresh_target(headers);
                usage.dialog.flow = flow;
            }
            None => return self.answer(tx, request, 481, now),
        }
        let response = request.response(200, None);
        self.respond(tx, response, now);
        self.told(id, &dialog, &state, request.body.clone(), now);
    }

    /// The dialog of a NOTIFY, made by it where it may (section 4.4.1): its route set is that of the NOTIFY.
    fn usage_of(
        &mut self,
        id: WatchId,
        dialog: &DialogId,
        request: &Request,
        flow: Flow,
        now: Instant,
    ) -> Option<&mut Usage> {
        let watching = self.watchings.all.get_mut(&id)?;
        let at = watching.dialogs.iter().position(|usage| usage.dialog.id == *dialog);
        let at = match at {
            Some(at) => at,
            None if now > watching.open_until || watching.dialogs.len() >= MAX_FORKS => {
                return None;
            }
            None => {
                let mut made = Dialog::of_incoming(request, &dialog.local_tag, flow)?;
                made.local_seq = watching.number;
                let expires_at = now + watching.wish.expires;
                watching.dialogs.push(Usage { dialog: made, expires_at, refresh_at: expires_at });
                self.watchings.by_dialog.insert(dialog.clone(), id);
                watching.dialogs.len() - 1
            }
        };
        watching.dialogs.get_mut(at)
    }

    fn told(
        &mut self,
        id: WatchId,
        dialog: &DialogId,
        state: &header::SubscriptionState,
        body: Bytes,
        now: Instant,
    ) {
        let retry_after = state.params.get("retry-after").and_then(|text| text.parse().ok());
        if state.state == SubscriptionStateValue::Terminated {
            let end = WatchingEnd::Terminated {
                reason: state.reason().map(str::to_ascii_lowercase),
                retry_after: retry_after.map(Duration::from_secs),
            };
            // The last look may bring a state.
            if !body.is_empty() {
                self.tell_watched(id, dialog, SubscriptionState::Active, body);
            }
            return self.drop_usage(id, dialog, end, now);
        }
        let is_active = state.state == SubscriptionStateValue::Active;
        let share = self.ids.below(SPREAD);
        let Some(watching) = self.watchings.all.get_mut(&id) else { return };
        let is_closing = watching.is_closing;
        let is_new = self.usage_mut(id, dialog).is_some_and(|usage| {
            let left = usage.expires_at.saturating_duration_since(now);
            let said = state.expires().map(|secs| Duration::from_secs(u64::from(secs)));
            let is_new = usage.refresh_at == usage.expires_at;
            if is_new || said.is_some_and(|said| said < left) {
                usage.last(said.unwrap_or(left).min(left), share, now);
            }
            is_new
        });
        if is_closing {
            if is_new {
                self.renew(id, dialog, Duration::ZERO, now);
            }
            return;
        }
        self.arm_watching(id, now);
        let word = if is_active { SubscriptionState::Active } else { SubscriptionState::Pending };
        self.tell_watched(id, dialog, word, body);
    }

    fn usage_mut(&mut self, id: WatchId, dialog: &DialogId) -> Option<&mut Usage> {
        let watching = self.watchings.all.get_mut(&id)?;
        watching.dialogs.iter_mut().find(|usage| usage.dialog.id == *dialog)
    }

    fn tell_watched(
        &mut self,
        id: WatchId,
        dialog: &DialogId,
        state: SubscriptionState,
        body: Bytes,
    ) {
        let body = Some(body).filter(|body| !body.is_empty());
        let state = WatchedState { fork: dialog.remote_tag.clone(), state, body };
        self.outputs.push_back(Output::Watched(id, WatchEvent::Told(state)));
    }

    /// A dialog is over; with the last one, and none to come, the watching is.
    fn drop_usage(&mut self, id: WatchId, dialog: &DialogId, why: WatchingEnd, now: Instant) {
        let Some(watching) = self.watchings.all.get_mut(&id) else { return };
        watching.dialogs.retain(|usage| usage.dialog.id != *dialog);
        let is_last = watching.dialogs.is_empty();
        self.watchings.by_dialog.remove(dialog);
        if is_last {
            return self.end_watching(id, why);
        }
        let event = WatchEvent::ForkEnded(dialog.remote_tag.clone());
        self.outputs.push_back(Output::Watched(id, event));
        self.arm_watching(id, now);
    }

    fn end_watching(&mut self, id: WatchId, why: WatchingEnd) {
        let Some(watching) = self.watchings.all.remove(&id) else { return };
        self.watchings.by_call.remove(&watching.call);
        for usage in &watching.dialogs {
            self.watchings.by_dialog.remove(&usage.dialog.id);
        }
        let why = if watching.is_closing { WatchingEnd::Unsubscribed } else { why };
        self.outputs.push_back(Output::Watched(id, WatchEvent::Ended(why)));
    }

    fn arm_watching(&mut self, id: WatchId, now: Instant) {
        let Some(watching) = self.watchings.all.get(&id) else { return };
        let soonest = watching.dialogs.iter().map(|usage| usage.refresh_at.min(usage.expires_at));
        if let Some(at) = soonest.min() {
            self.timers.push(now, at.max(now), Timer::Watching(id));
        }
    }

    /// Timer N, a refresh, or the end of what was not refreshed.
    pub(super) fn watching_due(&mut self, id: WatchId, now: Instant) {
        let Some(watching) = self.watchings.all.get(&id) else { return };
        if now >= watching.open_until && (watching.dialogs.is_empty() || watching.is_closing) {
            return self.end_watching(id, WatchingEnd::NoNotify);
        }
        if watching.is_closing {
            return;
        }
        let expires = watching.wish.expires;
        let over = watching.dialogs.iter().filter(|usage| usage.expires_at <= now);
        let over: Vec<DialogId> = over.map(|usage| usage.dialog.id.clone()).collect();
        let due = watching
            .dialogs
            .iter()
            .filter(|usage| usage.expires_at > now && usage.refresh_at <= now);
        let due: Vec<DialogId> = due.map(|usage| usage.dialog.id.clone()).collect();
        for dialog in &due {
            self.renew(id, dialog, expires, now);
        }
        for dialog in &over {
            self.drop_usage(id, dialog, WatchingEnd::Expired, now);
        }
        self.arm_watching(id, now);
    }
}

impl Usage {
    /// It lasts that long from now, and is refreshed after 50 to 80 % of it.
    fn last(&mut self, left: Duration, share: u64, now: Instant) {
        self.expires_at = now + left;
        let share = u32::try_from(HALF + share).unwrap_or_default();
        self.refresh_at = now + left * share / 1_000;
    }
}

fn secs(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}
