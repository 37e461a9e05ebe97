//! Whether trunks are there (RFC 3261 section 11): each is asked by OPTIONS, and any answer but a 408 or 503 will do.
//!
//! One that asks who we are is told (section 22.2): some answer strangers for a while only. A trunk that did not answer twice in a row is down, and is asked more often until it is back.

use std::time::{Duration, Instant};

use super::locate::Wish;
use super::{Core, Output, Owner, Timer, trunk};
use crate::msg::header::CSeq;
use crate::msg::{Method, NameAddr, Request, Response, Uri};
use crate::ports::{Login, Target};
use crate::transport::{Flow, Hop};

/// Between questions to a trunk that answers.
const CALM: Duration = Duration::from_secs(30);
/// Between questions to one that did not.
const ALARM: Duration = Duration::from_secs(5);
/// Questions without an answer after which it is down.
const MISSES: u32 = 2;

/// A trunk that is asked.
pub(super) struct Supervised {
    trunk: String,
    uri: Uri,
    /// Who we are there.
    login: Option<Login>,
    /// The last question as it left.
    sent: Option<(Box<Request>, Flow)>,
    /// The last question has no answer yet.
    waits: bool,
    missed: u32,
    is_down: bool,
}

impl Core {
    /// At the start.
    pub(super) fn begin_supervision(&mut self, now: Instant) {
        for trunk in self.config.trunks.clone().into_iter().filter(|trunk| trunk.supervised) {
            let Ok(uri) = Uri::parse(&trunk.uri) else { continue };
            let uri = Uri { user: None, ..uri };
            self.supervised.push(Supervised {
                trunk: trunk.name,
                uri,
                login: trunk.login,
                sent: None,
                waits: false,
                missed: 0,
                is_down: false,
            });
            self.timers.push(now, now, Timer::Supervision(self.supervised.len() - 1));
        }
    }

    /// It is time for a question.
    pub(super) fn supervision_due(&mut self, at: usize, now: Instant) {
        let Some(supervised) = self.supervised.get_mut(at) else { return };
        if supervised.waits {
            self.not_there(at);
        }
        let Some(supervised) = self.supervised.get_mut(at) else { return };
        supervised.waits = true;
        let pause = if supervised.missed > 0 { ALARM } else { CALM };
        let target = Target::Uri(supervised.uri.clone());
        self.timers.push(now, now + pause, Timer::Supervision(at));
        match self.search(&target) {
            Some(search) => self.look_up(Wish::Supervision(at), search),
            None => self.ask_trunk(at, &target, now),
        }
    }

    /// The trunk was found, or not.
    pub(super) fn trunk_found(&mut self, at: usize, hops: Vec<Hop>, now: Instant) {
        let Some(supervised) = self.supervised.get(at) else { return };
        let target = Target::Hops(supervised.uri.clone(), hops);
        self.ask_trunk(at, &target, now);
    }

    fn ask_trunk(&mut self, at: usize, target: &Target, now: Instant) {
        let Some((way, _)) = self.route(target, now) else { return };
        let Some(supervised) = self.supervised.get(at) else { return };
        let uri = supervised.uri.clone();
        let to = Uri { params: Default::default(), port: None, ..uri.clone() };
        let from = NameAddr::new(to.clone()).with_tag(&self.ids.token());
        let call_id = self.ids.token();
        let mut request = self.outside(Method::OPTIONS, uri, from, to, call_id, 1);
        way.lead(&mut request);
        self.question(at, request, way.flow, now);
    }

    fn question(&mut self, at: usize, request: Request, flow: Flow, now: Instant) {
        if let Some(supervised) = self.supervised.get_mut(at) {
            supervised.sent = Some((Box::new(request.clone()), flow));
        }
        self.request(request, flow, Owner::Supervision(at), now);
    }

    /// A trunk answered.
    pub(super) fn trunk_answered(&mut self, at: usize, response: &Response, now: Instant) {
        match response.status {
            0..=199 => {}
            401 | 407 if self.prove_question(at, response, now) => {}
            // Silence and failure are counted when the next question is due.
            408 | 503 => {}
            _ => {
                let Some(supervised) = self.supervised.get_mut(at) else { return };
                (supervised.waits, supervised.missed) = (false, 0);
                if std::mem::take(&mut supervised.is_down) {
                    self.outputs.push_back(Output::TrunkThere(supervised.trunk.clone(), true));
                }
            }
        }
    }

    /// Answers a challenge to a question; false: there is nothing to answer with, or it was answered.
    fn prove_question(&mut self, at: usize, response: &Response, now: Instant) -> bool {
        let cnonce = self.ids.token();
        let Some(Supervised { login: Some(login), sent: Some((request, flow)), .. }) =
            self.supervised.get_mut(at)
        else {
            return false;
        };
        let Some((field, proof)) = trunk::proof(login, response, request, &cnonce) else {
            return false;
        };
        let (mut request, flow) = ((**request).clone(), *flow);
        request.headers.set(field, proof);
        let number = request.headers.cseq().map_or(1, |cseq| cseq.number);
        request.headers.set_typed(&CSeq::new(number.wrapping_add(1), Method::OPTIONS));
        self.question(at, request, flow, now);
        true
    }

    fn not_there(&mut self, at: usize) {
        let Some(supervised) = self.supervised.get_mut(at) else { return };
        supervised.missed = supervised.missed.saturating_add(1);
        if supervised.missed >= MISSES && !std::mem::replace(&mut supervised.is_down, true) {
            self.outputs.push_back(Output::TrunkThere(supervised.trunk.clone(), false));
        }
    }
}
