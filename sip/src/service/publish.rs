//! PUBLISH (RFC 3903): phones that tell their own state, which stays until its time is over.
//!
//! The machine keeps the entity-tags and the times; the state itself goes to the gateway, which puts what several
//! devices say together. One PUBLISH of an account is in work at a time, others wait in order, so each is atomic
//! (section 6).

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::events::Package;
use super::{Core, Job, Output, Timer, Waiting};
use crate::msg::header::{ContentType, Event, Expires, SipEtag, SipIfMatch};
use crate::msg::{Name, Request};
use crate::ports::{Publication, PublicationId};
use crate::transaction::TxId;
use crate::transport::Flow;

/// States of one account at a time.
const MAX_PUBLICATIONS: usize = 20;
/// PUBLISHes of one account that wait for their turn.
const MAX_WAITING: usize = 16;

/// What is published, by account.
#[derive(Default)]
pub(super) struct Publications {
    accounts: HashMap<String, Account>,
    next: u64,
}

impl Publications {
    /// Whether nothing is published.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }
}

#[derive(Default)]
struct Account {
    states: Vec<State>,
    /// The gateway thinks about one.
    is_busy: bool,
    waiting: VecDeque<(TxId, Box<Request>, Flow)>,
}

struct State {
    id: PublicationId,
    tag: String,
    expires_at: Instant,
}

/// A PUBLISH whose state the gateway looks at.
pub(super) struct Publishing {
    tx: TxId,
    request: Box<Request>,
    account: String,
    id: PublicationId,
    expires: Duration,
}

/// Why a PUBLISH is refused: status and a header field that explains it.
type Refused = (u16, Option<(&'static str, String)>);

impl Core {
    /// A PUBLISH of the account that proved itself.
    pub(super) fn publish(
        &mut self,
        tx: TxId,
        request: Box<Request>,
        flow: Flow,
        account: String,
        now: Instant,
    ) {
        let entry = self.publications.accounts.entry(account.clone()).or_default();
        if !entry.is_busy {
            return self.take_state(tx, request, flow, account, now);
        }
        if entry.waiting.len() < MAX_WAITING {
            entry.waiting.push_back((tx, request, flow));
            return;
        }
        self.refuse_state(tx, &request, (503, Some(("Retry-After", "5".to_owned()))), now);
    }

    /// The steps of section 6.
    fn take_state(
        &mut self,
        tx: TxId,
        request: Box<Request>,
        flow: Flow,
        account: String,
        now: Instant,
    ) {
        let judged = self.judge_state(&request, flow, &account);
        let (known, expires) = match judged {
            Ok(judged) => judged,
            Err(refused) => {
                self.refuse_state(tx, &request, refused, now);
                return self.next_state(&account, now);
            }
        };
        if expires.is_zero() || request.body.is_empty() {
            self.keep_state(tx, &request, &account, known, expires, now);
            return self.next_state(&account, now);
        }
        let id = known.unwrap_or_else(|| {
            self.publications.next += 1;
            PublicationId(self.publications.next)
        });
        let media = request.headers.typed::<ContentType>().map(|kind| kind.media);
        let publication = Publication {
            id,
            account: account.clone(),
            device: self.binding_of(&account, flow),
            media: media.unwrap_or_default(),
            body: request.body.clone(),
        };
        if let Some(entry) = self.publications.accounts.get_mut(&account) {
            entry.is_busy = true;
        }
        let publishing = Publishing { tx, request, account, id, expires };
        self.job(Waiting::Publish(publishing), Job::Publish(Box::new(publication)));
    }

    /// Steps 1 to 5: the state this is about, if it is known, and for how long it stays.
    fn judge_state(
        &self,
        request: &Request,
        flow: Flow,
        account: &str,
    ) -> Result<(Option<PublicationId>, Duration), Refused> {
        let headers = &request.headers;
        if self.domain_of(&request.uri.host, flow.local).is_none() {
            return Err((404, None));
        }
        let owner = account.rsplit_once('@').map(|(user, _)| user);
        if request.uri.user_decoded().as_deref() != owner {
            return Err((403, None));
        }
        let event: Option<Event> = headers.optional().ok().flatten();
        if event.is_none_or(|event| event.package != Package::Presence.name()) {
            return Err((489, Some(("Allow-Events", Package::Presence.name().to_owned()))));
        }
        let states = self.publications.accounts.get(account).map(|entry| &entry.states);
        let known = match (headers.get_all(Name::SipIfMatch).count(), headers.optional()) {
            (0, _) => None,
            (1, Ok(Some(SipIfMatch(tag)))) => {
                let known = states.and_then(|all| all.iter().find(|state| state.tag == tag));
                Some(known.ok_or((412, None))?.id)
            }
            _ => return Err((400, None)),
        };
        let expires: Option<Expires> = headers.optional().map_err(|_| (400, None))?;
        let asked = expires.map_or(Package::Presence.default_expires(), |field| field.0);
        let least = self.config.min_subscription_secs;
        if asked != 0 && asked < least {
            return Err((423, Some(("Min-Expires", least.to_string()))));
        }
        if request.body.is_empty() {
            // A first state without state (step 5).
            return match known {
                Some(_) => Ok((known, self.granted_secs(asked))),
                None => Err((400, None)),
            };
        }
        let media = headers.typed::<ContentType>().map_err(|_| (415, takes()))?;
        if !media.is(Package::Presence.media()) {
            return Err((415, takes()));
        }
        if known.is_none() && states.is_some_and(|all| all.len() >= MAX_PUBLICATIONS) {
            return Err((503, Some(("Retry-After", "60".to_owned()))));
        }
        Ok((known, self.granted_secs(asked)))
    }

    fn granted_secs(&self, asked: u32) -> Duration {
        Duration::from_secs(u64::from(asked.min(self.config.max_subscription_secs)))
    }

    /// The gateway has taken the state, or refuses it.
    pub(super) fn state_judged(
        &mut self,
        publishing: Publishing,
        result: Result<(), u16>,
        now: Instant,
    ) {
        let Publishing { tx, request, account, id, expires } = publishing;
        if let Some(entry) = self.publications.accounts.get_mut(&account) {
            entry.is_busy = false;
        }
        match result {
            Ok(()) => self.keep_state(tx, &request, &account, Some(id), expires, now),
            Err(415) => self.refuse_state(tx, &request, (415, takes()), now),
            Err(status) => self.refuse_state(tx, &request, (status, None), now),
        }
        self.next_state(&account, now);
    }

    /// Step 6: a fresh entity-tag for what stays, the end of what does not.
    fn keep_state(
        &mut self,
        tx: TxId,
        request: &Request,
        account: &str,
        id: Option<PublicationId>,
        expires: Duration,
        now: Instant,
    ) {
        let tag = self.ids.token();
        let Some(entry) = self.publications.accounts.get_mut(account) else { return };
        let at = id.and_then(|id| entry.states.iter().position(|state| state.id == id));
        match (id, at) {
            (Some(id), Some(at)) if expires.is_zero() => {
                entry.states.remove(at);
                self.outputs.push_back(Output::Unpublished(id));
            }
            (Some(id), at) if !expires.is_zero() => {
                let state = State { id, tag: tag.clone(), expires_at: now + expires };
                match at.and_then(|at| entry.states.get_mut(at)) {
                    Some(known) => *known = state,
                    None => entry.states.push(state),
                }
                self.timers.push(now, now + expires, Timer::Publication(account.to_owned()));
            }
            _ => {}
        }
        let mut response = self.response(request, 200);
        response.headers.push_typed(&Expires(u32::try_from(expires.as_secs()).unwrap_or(u32::MAX)));
        response.headers.push_typed(&SipEtag(tag));
        self.respond(tx, response, now);
    }

    fn refuse_state(&mut self, tx: TxId, request: &Request, refused: Refused, now: Instant) {
        let (status, header) = refused;
        let mut response = self.response(request, status);
        if let Some((name, value)) = header {
            response.headers.set(name, value);
        }
        self.respond(tx, response, now);
    }

    /// The next PUBLISH of an account that waited.
    fn next_state(&mut self, account: &str, now: Instant) {
        let Some(entry) = self.publications.accounts.get_mut(account) else { return };
        if entry.is_busy {
            return;
        }
        if let Some((tx, request, flow)) = entry.waiting.pop_front() {
            return self.take_state(tx, request, flow, account.to_owned(), now);
        }
        if entry.states.is_empty() {
            self.publications.accounts.remove(account);
        }
    }

    /// Some state of an account may be over.
    pub(super) fn publications_due(&mut self, account: &str, now: Instant) {
        let Some(entry) = self.publications.accounts.get_mut(account) else { return };
        // A state that is being renewed at this moment stays until that is done.
        if entry.is_busy {
            let soon = now + Duration::from_secs(1);
            return self.timers.push(now, soon, Timer::Publication(account.to_owned()));
        }
        let (over, left) = std::mem::take(&mut entry.states)
            .into_iter()
            .partition(|state| state.expires_at <= now);
        entry.states = left;
        let over: Vec<State> = over;
        self.outputs.extend(over.into_iter().map(|state| Output::Unpublished(state.id)));
        self.next_state(account, now);
    }
}

/// What can be published, for a 415.
fn takes() -> Option<(&'static str, String)> {
    Some(("Accept", Package::Presence.media().to_owned()))
}
