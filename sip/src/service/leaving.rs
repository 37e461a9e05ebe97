//! Phones that leave by themselves: their time runs out (RFC 3261 section 10.3), or their WebSocket is gone (RFC 7118 section
//! 5.5). Those that can be woken stay known (RFC 8599).

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::binding::Binding;
use super::reg_event::Gone;
use super::{Core, Job, Timer, Waiting};

impl Core {
    /// What is kept of an account: its bindings behind those that have ended, of phones that can be woken.
    pub(super) fn kept(&self, account: &str) -> Vec<Arc<Binding>> {
        let entry = self.registrar.accounts.get(account);
        entry.map_or(Vec::new(), |entry| {
            entry.asleep.iter().chain(&entry.bindings).cloned().collect()
        })
    }

    /// Takes what is kept of an account; gives its bindings.
    pub(super) fn take(&mut self, account: &str, kept: Vec<Arc<Binding>>, now: Instant) {
        let time = self.unix_time(now);
        let (bindings, ended): (Vec<_>, Vec<_>) =
            kept.into_iter().partition(|binding| binding.expires_at > time);
        let asleep: Vec<_> =
            ended.into_iter().filter(|binding| self.may_be_woken(binding, time)).collect();
        if let Some(entry) = self.registrar.accounts.get_mut(account) {
            (entry.bindings, entry.asleep) = (bindings, asleep);
        }
    }

    /// Sets the timer of an account, unless one is set that comes early enough: that one sets the next.
    pub(super) fn arm_registration(&mut self, account: &str, now: Instant) {
        let time = self.unix_time(now);
        let next = |binding: &Arc<Binding>| {
            self.reminder(binding).filter(|at| *at > time).unwrap_or(binding.expires_at)
        };
        let Some(first) = self.bindings(account).iter().map(next).min() else { return };
        let Some(entry) = self.registrar.accounts.get_mut(account) else { return };
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
        if entry.bindings.iter().all(|binding| binding.expires_at > time) {
            self.remind_phones(account, now);
            return self.arm_registration(account, now);
        }
        let kept = self.kept(account);
        self.leave(account, kept, Gone::Expired, now);
    }

    /// A WebSocket is gone: nobody connects to a browser, so its phones are not there any more (RFC 7118 section 5.5).
    pub(super) fn socket_lost(&mut self, socket: u64, now: Instant) {
        for account in self.registrar.sockets.remove(&socket).unwrap_or_default() {
            // While a REGISTER is in work it comes after that.
            if self.registrar.accounts.get(&account).is_some_and(|entry| !entry.is_busy) {
                self.lose(&account, now);
            }
        }
    }

    /// Phones whose WebSocket is gone leave; false: there are none.
    pub(super) fn lose(&mut self, account: &str, now: Instant) -> bool {
        let is_lost =
            |binding: &Binding| binding.is_bound_to_socket() && self.usable(binding.flow).is_none();
        if !self.bindings(account).iter().any(|binding| is_lost(binding)) {
            return false;
        }
        let time = self.unix_time(now);
        let ended = |binding: Arc<Binding>| match is_lost(&binding) {
            true => {
                let expires_at = binding.expires_at.min(time);
                Arc::new(Binding { expires_at, ..Binding::clone(&binding) })
            }
            false => binding,
        };
        let kept = self.kept(account).into_iter().map(ended).collect();
        self.leave(account, kept, Gone::Lost, now);
        true
    }

    /// What is left of an account when phones have gone by themselves.
    fn leave(&mut self, account: &str, kept: Vec<Arc<Binding>>, gone: Gone, now: Instant) {
        let before = self.bindings(account).to_vec();
        if let Some(entry) = self.registrar.accounts.get_mut(account) {
            entry.is_busy = true;
        }
        self.take(account, kept, now);
        let bindings = self.bindings(account).to_vec();
        self.gruus.changed(
            before.iter().map(|binding| &**binding),
            bindings.iter().map(|binding| &**binding),
        );
        self.tell_phones(account.to_owned());
        self.tell_registrations(account, &before, gone, now);
        let job = Job::Save { account: account.to_owned(), bindings: self.kept(account) };
        self.job(Waiting::Expired(account.to_owned()), job);
    }
}
