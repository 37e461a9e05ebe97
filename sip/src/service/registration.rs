//! Our own registrations (RFC 3261 section 10.2): a trunk that has to be told where we are.
//!
//! A registration is renewed when half of its time is over. What fails is tried again after 30 seconds, then after twice that
//! each time, up to 15 minutes (RFC 5626 section 4.5).

use std::time::{Duration, Instant};

use super::locate::Wish;
use super::{Core, Output, Owner, Timer, trunk};
use crate::msg::header::{Expires, MinExpires};
use crate::msg::{Method, NameAddr, Request, Response, Uri};
use crate::ports::{Login, Target};
use crate::transport::{Flow, Hop};

/// Seconds that are asked for.
const ASKED: u32 = 600;
/// The pauses after failures.
const FIRST_PAUSE: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_secs(900);

/// A registration of ours.
pub(super) struct Registration {
    trunk: String,
    registrar: Uri,
    login: Login,
    call_id: String,
    tag: String,
    /// CSeq of the last REGISTER.
    number: u32,
    expires: u32,
    /// The REGISTER that waits for its answer.
    sent: Option<Box<Request>>,
    failures: u32,
    is_up: Option<bool>,
}

impl Core {
    /// At the start: all trunks that want it are told where we are.
    pub(super) fn begin_registrations(&mut self, now: Instant) {
        for trunk in self.config.trunks.clone() {
            let Some(login) = trunk.login.filter(|_| trunk.registers) else { continue };
            let Ok(registrar) = Uri::parse(&trunk.uri) else { continue };
            let registrar = Uri { user: None, ..registrar };
            self.registrations.push(Registration {
                trunk: trunk.name,
                registrar,
                login,
                call_id: self.ids.token(),
                tag: self.ids.token(),
                number: 0,
                expires: ASKED,
                sent: None,
                failures: 0,
                is_up: None,
            });
            let at = self.registrations.len() - 1;
            self.timers.push(now, now, Timer::Trunk(at));
        }
    }

    /// It is time for a REGISTER.
    pub(super) fn register_due(&mut self, at: usize, now: Instant) {
        let Some(registration) = self.registrations.get(at) else { return };
        let target = Target::Uri(registration.registrar.clone());
        match self.search(&target) {
            Some(search) => self.look_up(Wish::Trunk(at), search),
            None => self.send_register(at, &target, None, now),
        }
    }

    /// The registrar was found, or not.
    pub(super) fn registrar_found(&mut self, at: usize, hops: Vec<Hop>, now: Instant) {
        let Some(registration) = self.registrations.get(at) else { return };
        let target = Target::Hops(registration.registrar.clone(), hops);
        self.send_register(at, &target, None, now);
    }

    /// `proof`: the header field that answers a challenge to the last REGISTER.
    fn send_register(
        &mut self,
        at: usize,
        target: &Target,
        proof: Option<(&'static str, String)>,
        now: Instant,
    ) {
        let Some((way, _)) = self.route(target, now) else { return self.not_registered(at, now) };
        let Some(registration) = self.registrations.get_mut(at) else { return };
        registration.number = registration.number.wrapping_add(1);
        let (number, expires) = (registration.number, registration.expires);
        let user = registration.login.username.clone();
        let own = Uri { params: Default::default(), port: None, ..registration.registrar.clone() };
        let own = Uri { user: Uri::sip(Some(&user), own.host.clone()).user, ..own };
        let from = NameAddr::new(own.clone()).with_tag(&registration.tag);
        let call_id = registration.call_id.clone();
        let uri = registration.registrar.clone();
        let mut request = self.outside(Method::REGISTER, uri, from, own, call_id, number);
        request.headers.push_typed(&self.contact(&user, way.flow));
        request.headers.push_typed(&Expires(expires));
        if let Some((field, proof)) = proof {
            request.headers.set(field, proof);
        }
        way.lead(&mut request);
        if let Some(registration) = self.registrations.get_mut(at) {
            registration.sent = Some(Box::new(request.clone()));
        }
        self.request(request, way.flow, Owner::Trunk(at, way.flow), now);
    }

    /// An answer to a REGISTER of ours.
    pub(super) fn register_answered(
        &mut self,
        at: usize,
        flow: Flow,
        response: &Response,
        now: Instant,
    ) {
        let cnonce = self.ids.token();
        let Some(registration) = self.registrations.get_mut(at) else { return };
        let number = response.headers.cseq().map_or(0, |cseq| cseq.number);
        // What comes late, or twice, is about a REGISTER that has been answered.
        let is_last = response.status == 408 || number == registration.number;
        if response.status < 200 || !is_last {
            return;
        }
        let Some(request) = registration.sent.take() else { return };
        if let 200..=299 = response.status {
            let granted = granted(&registration.login.username, response);
            let seconds = granted.unwrap_or(registration.expires).max(10);
            registration.failures = 0;
            self.timers.push(
                now,
                now + Duration::from_secs(u64::from(seconds) / 2),
                Timer::Trunk(at),
            );
            return self.say_of_trunk(at, true);
        }
        let least = response.headers.typed::<MinExpires>().ok().map(|field| field.0);
        let is_longer = least.is_some_and(|least| least > registration.expires);
        // The same place once more.
        let name = registration.registrar.host.to_string();
        let hop = Hop { protocol: flow.protocol, address: flow.peer, name };
        let target = Target::Hops(registration.registrar.clone(), vec![hop]);
        if response.status == 423 && is_longer {
            registration.expires = least.unwrap_or(ASKED);
            return self.send_register(at, &target, None, now);
        }
        match trunk::proof(&registration.login, response, &request, &cnonce) {
            Some(proof) => self.send_register(at, &target, Some(proof), now),
            None => self.not_registered(at, now),
        }
    }

    fn not_registered(&mut self, at: usize, now: Instant) {
        let spread = self.ids.below(5);
        let Some(registration) = self.registrations.get_mut(at) else { return };
        let pause = FIRST_PAUSE * 2_u32.saturating_pow(registration.failures.min(10));
        registration.failures = registration.failures.saturating_add(1);
        let pause = pause.min(LONGEST_PAUSE) + Duration::from_secs(spread);
        self.timers.push(now, now + pause, Timer::Trunk(at));
        self.say_of_trunk(at, false);
    }

    /// Says a change.
    fn say_of_trunk(&mut self, at: usize, is_up: bool) {
        let Some(registration) = self.registrations.get_mut(at) else { return };
        if registration.is_up.replace(is_up) != Some(is_up) {
            self.outputs.push_back(Output::Trunk(registration.trunk.clone(), is_up));
        }
    }
}

/// The seconds that our contact was given.
fn granted(user: &str, response: &Response) -> Option<u32> {
    let contacts = match response.headers.contacts().ok()? {
        crate::msg::header::Contacts::List(list) => list,
        crate::msg::header::Contacts::All => return None,
    };
    let ours = contacts.iter().find(|c| c.uri.user_decoded().is_some_and(|found| found == user));
    let whole = response.headers.optional::<Expires>().ok().flatten().map(|field| field.0);
    ours.and_then(crate::msg::header::Contact::expires).or(whole).filter(|seconds| *seconds > 0)
}
