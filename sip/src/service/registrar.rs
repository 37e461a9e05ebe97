//! The registrar (RFC 3261 section 10.3): where the phones of an account are.
//!
//! A REGISTER is worked out into a new list of bindings, the list is kept by the port, and only then the 200 leaves. One
//! REGISTER of an account is in work at a time, others wait in order, so each is atomic. One that only lengthens the time of
//! what is kept already is confirmed at once: a crash cannot take more than that time, and the phone is back before.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::bind::{Refused, Terms, Update};
use super::binding::Binding;
use super::reg_event::Gone;
use super::{Core, Job, Output, Waiting};
use crate::msg::header::{Contact, Date};
use crate::msg::{NameAddr, Params, Request, Response, Uri};
use crate::ports::StoreError;
use crate::transaction::TxId;
use crate::transport::Flow;

/// REGISTERs of one account that wait for their turn.
const MAX_WAITING: usize = 16;

#[derive(Default)]
pub(super) struct Registrar {
    pub(super) accounts: HashMap<String, Account>,
    /// Accounts by the WebSockets that their phones have registered over.
    pub(super) sockets: HashMap<u64, Vec<String>>,
}

impl Registrar {
    /// Accounts with a phone.
    pub(super) fn len(&self) -> usize {
        self.accounts.len()
    }

    /// Whether nobody is registered.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }
}

#[derive(Default)]
pub(super) struct Account {
    /// The most recent last.
    pub(super) bindings: Vec<Arc<Binding>>,
    /// Those that have ended, of phones that can be woken (RFC 8599).
    pub(super) asleep: Vec<Arc<Binding>>,
    /// A save is on its way.
    pub(super) is_busy: bool,
    /// The timer that counts; others are of bindings that were refreshed.
    pub(super) due: Option<Instant>,
    waiting: VecDeque<(TxId, Box<Request>, Flow)>,
}

/// A REGISTER whose new bindings are being kept.
pub(super) struct Registering {
    tx: TxId,
    request: Box<Request>,
    account: String,
    terms: Terms,
    /// Those of phones that sleep among them.
    bindings: Vec<Arc<Binding>>,
}

impl Core {
    /// The bindings of an account.
    pub fn bindings(&self, account: &str) -> &[Arc<Binding>] {
        self.registrar.accounts.get(account).map_or(&[], |found| found.bindings.as_slice())
    }

    /// The phones of an account, each by the best of its bindings.
    pub fn phones(&self, account: &str) -> Vec<Arc<Binding>> {
        let bindings = self.bindings(account);
        let mut phones: Vec<Arc<Binding>> = Vec::with_capacity(bindings.len());
        for binding in bindings {
            if !phones.iter().any(|known| known.id == binding.id) {
                phones.extend(self.ways(binding).into_iter().next());
            }
        }
        phones
    }

    pub(super) fn tell_phones(&mut self, account: String) {
        let phones = self.phones(&account);
        let entry = self.registrar.accounts.get(&account);
        let asleep = entry.map(|entry| entry.asleep.clone()).unwrap_or_default();
        self.outputs.push_back(Output::Bindings { account, phones, asleep });
    }

    /// The phone of an account that a request came from: the one that registered from the same address.
    pub(super) fn binding_of(&self, account: &str, flow: Flow) -> Option<String> {
        let same = |binding: &&Arc<Binding>| {
            binding.flow.peer == flow.peer && binding.flow.protocol == flow.protocol
        };
        self.bindings(account).iter().find(same).map(|binding| binding.id.clone())
    }

    /// At the start: what was kept, but for what has expired meanwhile.
    pub(super) fn load_bindings(&mut self, bindings: Vec<Binding>, now: Instant) {
        let time = self.unix_time(now);
        let latest = time + u64::from(self.config.max_expires_secs);
        for mut binding in bindings {
            if binding.is_bound_to_socket() {
                // Sockets do not outlive us.
                binding.expires_at = binding.expires_at.min(time);
            }
            if binding.expires_at <= time && !self.may_be_woken(&binding, time) {
                continue;
            }
            binding.expires_at = binding.expires_at.min(latest);
            if binding.expires_at > time {
                self.gruus.changed(std::iter::empty(), std::iter::once(&binding));
            }
            let account = self.registrar.accounts.entry(binding.account.clone()).or_default();
            match binding.expires_at > time {
                true => account.bindings.push(Arc::new(binding)),
                false => account.asleep.push(Arc::new(binding)),
            }
        }
        let accounts: Vec<String> = self.registrar.accounts.keys().cloned().collect();
        for account in accounts {
            if let Some(entry) = self.registrar.accounts.get_mut(&account) {
                entry.bindings.sort_by_key(|binding| binding.registered_at);
            }
            self.arm_registration(&account, now);
            self.tell_phones(account);
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
        let worked_out = Terms::of(&request)
            .and_then(|terms| Ok((self.update(&request, &terms, flow, &account, now)?, terms)));
        match worked_out {
            Err(refused) => {
                self.refuse_registration(tx, &request, refused, now);
                self.next_registration(&account, now);
            }
            Ok((Update::None, terms)) => {
                let bindings = self.bindings(&account).to_vec();
                self.confirm(tx, &request, &terms, &bindings, now);
                self.next_registration(&account, now);
            }
            Ok((Update::Bindings(bindings), terms))
                if self.is_refresh(&account, &bindings, now) =>
            {
                self.refreshed(tx, &request, &terms, account, bindings, now);
            }
            Ok((Update::Bindings(bindings), terms)) => {
                if let Some(entry) = self.registrar.accounts.get_mut(&account) {
                    entry.is_busy = true;
                }
                let job = Job::Save { account: account.clone(), bindings: bindings.clone() };
                let registering = Registering { tx, request, account, terms, bindings };
                self.job(Waiting::Register(Box::new(registering)), job);
            }
        }
    }

    /// Whether these are the account's bindings, but for the time of some.
    fn is_refresh(&self, account: &str, bindings: &[Arc<Binding>], now: Instant) -> bool {
        let time = self.unix_time(now);
        let known = self.kept(account);
        known.len() == bindings.len()
            && bindings.iter().all(|binding| {
                let stays = |old: &Arc<Binding>| {
                    let is_alive = old.expires_at > time;
                    Arc::ptr_eq(old, binding) || is_alive && binding.is_refresh_of(old)
                };
                known.iter().any(stays)
            })
    }

    /// Confirms what need not be kept before.
    fn refreshed(
        &mut self,
        tx: TxId,
        request: &Request,
        terms: &Terms,
        account: String,
        bindings: Vec<Arc<Binding>>,
        now: Instant,
    ) {
        let before = self.bindings(&account).to_vec();
        self.take(&account, bindings.clone(), now);
        let registered = self.bindings(&account).to_vec();
        self.confirm(tx, request, terms, &registered, now);
        self.tell_registrations(&account, &before, Gone::Unregistered, now);
        self.awoken(&account, now);
        self.next_registration(&account, now);
        self.outputs.push_back(Output::Refreshed(account, bindings));
    }

    fn refuse_registration(
        &mut self,
        tx: TxId,
        request: &Request,
        (status, header): Refused,
        now: Instant,
    ) {
        let mut response = self.response(request, status);
        if let Some((name, value)) = header {
            response.headers.set(name, value);
        }
        self.respond(tx, response, now);
    }

    /// The bindings were kept, or not.
    pub(super) fn registered(
        &mut self,
        registering: Registering,
        result: Result<(), StoreError>,
        now: Instant,
    ) {
        let Registering { tx, request, account, terms, bindings } = registering;
        if result.is_err() {
            // What was not kept is not promised.
            self.answer(tx, &request, 500, now);
        } else {
            let before = self.bindings(&account).to_vec();
            self.take(&account, bindings, now);
            let bindings = self.bindings(&account).to_vec();
            self.gruus.changed(
                before.iter().map(|binding| &**binding),
                bindings.iter().map(|binding| &**binding),
            );
            self.confirm(tx, &request, &terms, &bindings, now);
            for binding in bindings.iter().filter(|binding| binding.is_bound_to_socket()) {
                let accounts = self.registrar.sockets.entry(binding.flow.socket).or_default();
                if !accounts.contains(&account) {
                    accounts.push(account.clone());
                }
            }
            self.tell_phones(account.clone());
            self.tell_registrations(&account, &before, Gone::Unregistered, now);
            self.awoken(&account, now);
        }
        self.next_registration(&account, now);
    }

    /// The 200 with all bindings and the seconds each has left (section 10.3 step 8).
    fn confirm(
        &mut self,
        tx: TxId,
        request: &Request,
        terms: &Terms,
        bindings: &[Arc<Binding>],
        now: Instant,
    ) {
        let time = self.unix_time(now);
        let mut response: Response = self.response(request, 200);
        for binding in bindings {
            if let Some(contact) = self.contact_of(binding, terms, time) {
                response.headers.push_typed(&contact);
            }
        }
        if bindings.iter().any(|binding| terms.made(binding, request)) {
            response.headers.push("Require", "outbound");
            if terms.is_first_hop {
                response.headers.push("Flow-Timer", self.config.flow_timer_secs.to_string());
            }
        }
        for term in self.push_terms(request) {
            response.headers.push("Feature-Caps", term);
        }
        for hop in &terms.path {
            response.headers.push_typed(hop);
        }
        response.headers.push("Supported", "path, outbound");
        response.headers.push_typed(&Date(time));
        self.respond(tx, response, now);
    }

    /// A binding as the 200 tells it.
    fn contact_of(&mut self, binding: &Binding, terms: &Terms, time: u64) -> Option<Contact> {
        let mut contact = Contact(NameAddr::new(binding.uri()?));
        let params = &mut contact.0.params;
        *params = binding.features.as_deref().and_then(Params::parse).unwrap_or_default();
        if binding.q < 1000 {
            params.set("q", Some(&format!("0.{:03}", binding.q)));
        }
        params.set("expires", Some(&binding.expires_at.saturating_sub(time).to_string()));
        if let Some(instance) = &binding.instance {
            params.set("+sip.instance", Some(&format!("\"<{instance}>\"")));
        }
        if let Some(reg_id) = binding.reg_id {
            params.set("reg-id", Some(&reg_id.to_string()));
        }
        if terms.knows_gruu && binding.has_gruu {
            let quoted = |uri: Uri| format!("\"{uri}\"");
            let (public, temporary) = (Self::public_gruu(binding), self.temporary_gruu(binding));
            params.set("pub-gruu", public.map(quoted).as_deref());
            params.set("temp-gruu", temporary.map(quoted).as_deref());
        }
        Some(contact)
    }

    /// Takes the next REGISTER of the account, or forgets an account without phones.
    pub(super) fn next_registration(&mut self, account: &str, now: Instant) {
        let Some(entry) = self.registrar.accounts.get_mut(account) else { return };
        entry.is_busy = false;
        if self.lose(account, now) {
            return;
        }
        let Some(entry) = self.registrar.accounts.get_mut(account) else { return };
        if let Some((tx, request, flow)) = entry.waiting.pop_front() {
            return self.work_out(tx, request, flow, account.to_owned(), now);
        }
        if entry.bindings.is_empty() && entry.asleep.is_empty() {
            self.registrar.accounts.remove(account);
        } else {
            self.arm_registration(account, now);
        }
    }
}
