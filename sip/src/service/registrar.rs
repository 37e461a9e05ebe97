//! The registrar (RFC 3261 section 10.3): where the phones of an account are.
//!
//! A REGISTER is worked out into a new list of bindings, the list is kept by the port, and only then the 200 leaves. One
//! REGISTER of an account is in work at a time, others wait in order, so each is atomic.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::binding::Binding;
use super::{Core, Job, Output, Timer, Waiting, ids};
use crate::msg::header::{Contact, Contacts, Date, Expires};
use crate::msg::{Name, Request, Response, Uri};
use crate::ports::StoreError;
use crate::transaction::TxId;
use crate::transport::Flow;

/// REGISTERs of one account that wait for their turn.
const MAX_WAITING: usize = 16;

#[derive(Default)]
pub(super) struct Registrar {
    accounts: HashMap<String, Account>,
}

impl Registrar {
    /// Whether nobody is registered.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }
}

#[derive(Default)]
struct Account {
    bindings: Vec<Binding>,
    /// A save is on its way.
    is_busy: bool,
    /// The timer that counts; others are of bindings that were refreshed.
    due: Option<Instant>,
    waiting: VecDeque<(TxId, Box<Request>, Flow)>,
}

/// A REGISTER whose new bindings are being kept.
pub(super) struct Registering {
    tx: TxId,
    request: Box<Request>,
    account: String,
    bindings: Vec<Binding>,
}

/// The answer a REGISTER gets at once: status and a header field that explains it.
type Refused = (u16, Option<(&'static str, String)>);
/// What a REGISTER asks for.
type Update = Result<Option<Vec<Binding>>, Refused>;

impl Core {
    /// The bindings of an account.
    pub fn bindings(&self, account: &str) -> &[Binding] {
        self.registrar.accounts.get(account).map_or(&[], |found| found.bindings.as_slice())
    }

    /// The phone of an account that a request came from: the one that registered from the same address.
    pub(super) fn binding_of(&self, account: &str, flow: Flow) -> Option<String> {
        let same = |binding: &&Binding| {
            binding.flow.peer == flow.peer && binding.flow.protocol == flow.protocol
        };
        self.bindings(account).iter().find(same).map(|binding| binding.id.clone())
    }

    /// At the start: what was kept, but for what has expired meanwhile.
    pub(super) fn load_bindings(&mut self, bindings: Vec<Binding>, now: Instant) {
        let time = self.unix_time(now);
        let latest = time + u64::from(self.config.max_expires_secs);
        for mut binding in bindings.into_iter().filter(|binding| binding.expires_at > time) {
            binding.expires_at = binding.expires_at.min(latest);
            let account = self.registrar.accounts.entry(binding.account.clone()).or_default();
            account.bindings.push(binding);
        }
        let accounts: Vec<String> = self.registrar.accounts.keys().cloned().collect();
        for account in accounts {
            self.arm_registration(&account, now);
            let bindings = self.bindings(&account).to_vec();
            self.outputs.push_back(Output::Bindings(account, bindings));
        }
    }

    /// A REGISTER of the account it is for.
    pub(super) fn register(
        &mut self,
        tx: TxId,
        request: Box<Request>,
        flow: Flow,
        account: String,
        now: Instant,
    ) {
        let entry = self.registrar.accounts.entry(account.clone()).or_default();
        if !entry.is_busy {
            return self.work_out(tx, request, flow, account, now);
        }
        if entry.waiting.len() < MAX_WAITING {
            entry.waiting.push_back((tx, request, flow));
            return;
        }
        let mut response = self.response(&request, 503);
        response.headers.set("Retry-After", "5");
        self.respond(tx, response, now);
    }

    fn work_out(
        &mut self,
        tx: TxId,
        request: Box<Request>,
        flow: Flow,
        account: String,
        now: Instant,
    ) {
        match self.update(&request, flow, &account, now) {
            Err((status, header)) => {
                let mut response = self.response(&request, status);
                if let Some((name, value)) = header {
                    response.headers.set(name, value);
                }
                self.respond(tx, response, now);
                self.next_registration(&account, now);
            }
            Ok(None) => {
                let bindings = self.bindings(&account).to_vec();
                self.confirm(tx, &request, &bindings, now);
                self.next_registration(&account, now);
            }
            Ok(Some(bindings)) => {
                if let Some(entry) = self.registrar.accounts.get_mut(&account) {
                    entry.is_busy = true;
                }
                let job = Job::Save { account: account.clone(), bindings: bindings.clone() };
                let registering = Registering { tx, request, account, bindings };
                self.job(Waiting::Register(registering), job);
            }
        }
    }

    /// Steps 6 and 7 of section 10.3. `None`: a question only.
    fn update(&self, request: &Request, flow: Flow, account: &str, now: Instant) -> Update {
        let bad = |_| (400, None);
        let expires: Option<Expires> = request.headers.optional().map_err(bad)?;
        let call_id = request.headers.call_id().map_err(bad)?.0;
        let cseq = request.headers.cseq().map_err(bad)?.number;
        let time = self.unix_time(now);
        let mut bindings: Vec<Binding> = self
            .bindings(account)
            .iter()
            .filter(|known| known.expires_at > time)
            .cloned()
            .collect();
        // The same phone may not go back in time; an older REGISTER that comes late changes nothing.
        let is_late = |known: &Binding| known.call_id == call_id && known.cseq >= cseq;
        let contacts = match request.headers.contacts().map_err(bad)? {
            Contacts::All if expires != Some(Expires(0)) => return Err((400, None)),
            Contacts::All if bindings.iter().any(is_late) => return Err((500, None)),
            Contacts::All => return Ok(Some(Vec::new())),
            Contacts::List(list) if list.is_empty() => return Ok(None),
            Contacts::List(list) => list,
        };
        let mut new: Vec<Binding> = Vec::new();
        for contact in contacts {
            let seconds = self.granted(&contact, expires)?;
            // The last word about a contact counts, also within one request.
            new.retain(|binding| !is_same_phone(binding, &contact));
            let known = bindings.iter().position(|known| is_same_phone(known, &contact));
            let old = known.map(|at| bindings.remove(at));
            if old.as_ref().is_some_and(is_late) {
                return Err((500, None));
            }
            if seconds == 0 {
                continue;
            }
            if !is_reachable(&contact.uri) {
                return Err((400, None));
            }
            if bindings.len() + new.len() >= self.config.max_contacts {
                return Err((403, Some(("Warning", "399 tandem \"too many phones\"".to_owned()))));
            }
            let instance = contact.instance().filter(|instance| instance.len() <= 256);
            let name = instance.clone().unwrap_or_else(|| contact.uri.to_string());
            let id = old
                .map_or_else(|| format!("phone-{}", ids::stable(&[account, &name])), |old| old.id);
            new.push(Binding {
                id,
                account: account.to_owned(),
                contact: contact.uri.to_string(),
                instance,
                q: contact.q().unwrap_or(1000),
                call_id: call_id.clone(),
                cseq,
                expires_at: time + u64::from(seconds),
                flow,
                user_agent: request
                    .headers
                    .get(Name::UserAgent)
                    .map(|agent| agent.chars().take(120).collect()),
            });
        }
        bindings.append(&mut new);
        Ok(Some(bindings))
    }

    /// The seconds a contact gets; too few is a 423.
    fn granted(&self, contact: &Contact, expires: Option<Expires>) -> Result<u32, Refused> {
        let asked = contact.expires().or(expires.map(|field| field.0));
        let asked = asked.unwrap_or(self.config.default_expires_secs);
        if asked != 0 && asked < self.config.min_expires_secs {
            return Err((423, Some(("Min-Expires", self.config.min_expires_secs.to_string()))));
        }
        Ok(asked.min(self.config.max_expires_secs))
    }

    /// The bindings were kept, or not.
    pub(super) fn registered(
        &mut self,
        registering: Registering,
        result: Result<(), StoreError>,
        now: Instant,
    ) {
        let Registering { tx, request, account, bindings } = registering;
        if result.is_err() {
            // What was not kept is not promised.
            self.answer(tx, &request, 500, now);
        } else {
            self.confirm(tx, &request, &bindings, now);
            if let Some(entry) = self.registrar.accounts.get_mut(&account) {
                entry.bindings.clone_from(&bindings);
            }
            self.outputs.push_back(Output::Bindings(account.clone(), bindings));
        }
        self.next_registration(&account, now);
    }

    /// The 200 with all bindings and the seconds each has left (section 10.3 step 8).
    fn confirm(&mut self, tx: TxId, request: &Request, bindings: &[Binding], now: Instant) {
        let time = self.unix_time(now);
        let mut response: Response = self.response(request, 200);
        for binding in bindings {
            let Some(uri) = binding.uri() else { continue };
            let mut contact = Contact(crate::msg::NameAddr::new(uri));
            let left = binding.expires_at.saturating_sub(time).to_string();
            contact.0.params.set("expires", Some(&left));
            if let Some(instance) = &binding.instance {
                contact.0.params.set("+sip.instance", Some(&format!("\"<{instance}>\"")));
            }
            response.headers.push_typed(&contact);
        }
        response.headers.push_typed(&Date(time));
        self.respond(tx, response, now);
    }

    /// Takes the next REGISTER of the account, or forgets an account without phones.
    pub(super) fn next_registration(&mut self, account: &str, now: Instant) {
        let Some(entry) = self.registrar.accounts.get_mut(account) else { return };
        entry.is_busy = false;
        if let Some((tx, request, flow)) = entry.waiting.pop_front() {
            return self.work_out(tx, request, flow, account.to_owned(), now);
        }
        if entry.bindings.is_empty() {
            self.registrar.accounts.remove(account);
        } else {
            self.arm_registration(account, now);
        }
    }

    /// Sets the timer of an account, unless one is set that comes early enough: that one sets the next.
    fn arm_registration(&mut self, account: &str, now: Instant) {
        let time = self.unix_time(now);
        let Some(entry) = self.registrar.accounts.get_mut(account) else { return };
        let Some(first) = entry.bindings.iter().map(|binding| binding.expires_at).min() else {
            return;
        };
        // A second's grace, as wall time is kept in whole seconds.
        let at = now + Duration::from_secs(first.saturating_sub(time) + 1);
        if entry.due.is_none_or(|due| at < due) {
            entry.due = Some(at);
            self.timers.push(now, at, Timer::Registration(account.to_owned()));
        }
    }

    /// Phones whose time has run out leave.
    pub(super) fn registration_due(&mut self, account: &str, at: Instant, now: Instant) {
        let time = self.unix_time(now);
        let Some(entry) = self.registrar.accounts.get_mut(account) else { return };
        if entry.due != Some(at) {
            return;
        }
        entry.due = None;
        if entry.is_busy {
            // The timer is set again after the save.
            return;
        }
        let count = entry.bindings.len();
        entry.bindings.retain(|binding| binding.expires_at > time);
        if entry.bindings.len() == count {
            return self.arm_registration(account, now);
        }
        entry.is_busy = true;
        let bindings = entry.bindings.clone();
        self.outputs.push_back(Output::Bindings(account.to_owned(), bindings.clone()));
        let job = Job::Save { account: account.to_owned(), bindings };
        self.job(Waiting::Expired(account.to_owned()), job);
    }
}

/// A device is known by its instance id, else by its contact address (section 19.1.4): also when it learns or forgets its
/// id, as an update may teach it.
fn is_same_phone(known: &Binding, contact: &Contact) -> bool {
    match (&known.instance, contact.instance()) {
        (Some(known), Some(instance)) => *known == instance,
        _ => known.uri().is_some_and(|uri| uri.is_same(&contact.uri)),
    }
}

/// A contact has to be a SIP address without a stranger's header fields in it.
fn is_reachable(uri: &Uri) -> bool {
    uri.is_sip() && uri.headers.is_none()
}
