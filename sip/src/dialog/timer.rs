//! Session timers (RFC 4028): how long a call lives without a sign of life, who gives it, and when.
//!
//! Pure: header fields and `now` in, an [`Agreed`] interval and a [`SessionTimer`] out. The interval is what both sides can
//! live with; the refresher refreshes at half of it, the other side hangs up shortly before its end.

use std::time::{Duration, Instant};

use crate::msg::header::{MinSe, SessionExpires};
use crate::msg::{Headers, Params};

/// The shortest interval that RFC 4028 knows (section 4), in seconds.
pub const LEAST: u32 = 90;
/// A peer that answers with less than it may is not refreshed more often than this.
const FLOOR: u32 = 4;
/// How long before its end a call is hung up by who waits for the refresh (section 10).
const MARGIN: Duration = Duration::from_secs(32);
/// A refresh that could not be sent or was refused is tried again after this.
const AGAIN: Duration = Duration::from_secs(5);

/// What we want of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The interval we ask for and grant at most, in seconds; 0: none unless the peer wants one.
    pub interval: u32,
    /// The shortest that we take.
    pub least: u32,
}

/// Who keeps a call alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refresher {
    /// We send the refreshes.
    Us,
    /// The peer does.
    Them,
}

/// What one exchange of request and 2xx agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreed {
    /// Seconds.
    pub seconds: u32,
    /// Who refreshes.
    pub refresher: Refresher,
    /// Whether the peer said that it knows session timers.
    pub is_known: bool,
}

impl Terms {
    /// What we ask for in a request of ours (section 7.1). `least` is the Min-SE that was heard in this call;
    /// `refresher` keeps the role in a call that is up.
    pub fn ask(self, headers: &mut Headers, least: u32, refresher: Option<Refresher>) {
        if self.interval == 0 {
            return;
        }
        let mut params = Params::default();
        if let Some(refresher) = refresher {
            let name = if refresher == Refresher::Us { "uac" } else { "uas" };
            params.set("refresher", Some(name));
        }
        let seconds = self.interval.max(least);
        headers.set_typed(&SessionExpires { seconds, params });
        if least > LEAST || self.least != LEAST {
            let seconds = least.max(self.least);
            headers.set_typed(&MinSe { seconds, params: Params::default() });
        }
    }

    /// What a 2xx to our request agreed on (section 7.2). A peer that says nothing leaves it to us.
    pub fn accepted(self, answer: &Headers, least: u32) -> Option<Agreed> {
        let ours = self.interval.max(least);
        let theirs = answer.optional::<SessionExpires>().ok().flatten();
        let Some(theirs) = theirs else {
            let agreed = Agreed { seconds: ours, refresher: Refresher::Us, is_known: false };
            return (self.interval > 0).then_some(agreed);
        };
        let is_theirs = theirs.refresher().is_some_and(|who| who.eq_ignore_ascii_case("uas"));
        let refresher = if is_theirs { Refresher::Them } else { Refresher::Us };
        let longest = if self.interval == 0 { u32::MAX >> 8 } else { ours };
        let seconds = theirs.seconds.clamp(FLOOR, longest.max(FLOOR));
        Some(Agreed { seconds, refresher, is_known: true })
    }

    /// What our 2xx to a request says (section 9). `before` is who refreshed up to now.
    ///
    /// # Errors
    /// The interval is too small: 422 with this Min-SE.
    pub fn answer(
        self,
        request: &Headers,
        before: Option<Refresher>,
    ) -> Result<Option<Agreed>, u32> {
        let is_known = supports(request, "timer");
        let least = request.optional::<MinSe>().ok().flatten().map_or(0, |least| least.seconds);
        let asked = request.optional::<SessionExpires>().ok().flatten();
        let Some(asked) = asked else {
            if self.interval == 0 {
                return Ok(None);
            }
            let seconds = self.interval.max(least).min(u32::MAX >> 8);
            let refresher = before.filter(|_| is_known).unwrap_or(Refresher::Us);
            return Ok(Some(Agreed { seconds, refresher, is_known }));
        };
        if asked.seconds < self.least && is_known {
            return Err(self.least);
        }
        let refresher = match asked.refresher() {
            Some(who) if is_known && who.eq_ignore_ascii_case("uac") => Refresher::Them,
            Some(who) if is_known && who.eq_ignore_ascii_case("uas") => Refresher::Us,
            _ => before.filter(|_| is_known).unwrap_or(Refresher::Us),
        };
        let longest = if self.interval == 0 { u32::MAX >> 8 } else { self.interval };
        // Only ever shortened, and not below what anybody on the way asked for.
        let seconds = asked.seconds.min(longest.max(least)).max(FLOOR);
        Ok(Some(Agreed { seconds, refresher, is_known }))
    }
}

impl Agreed {
    /// Writes it into our 2xx: who refreshes, and whether the peer has to know.
    pub fn write(self, answer: &mut Headers) {
        let mut params = Params::default();
        let who = if self.refresher == Refresher::Us { "uas" } else { "uac" };
        params.set("refresher", Some(who));
        answer.set_typed(&SessionExpires { seconds: self.seconds, params });
        if self.is_known {
            answer.push("Require", "timer");
        }
    }
}

/// Whether a message lists this extension in Supported or Require.
pub fn supports(headers: &Headers, extension: &str) -> bool {
    ["Supported", "Require"].into_iter().any(|name| {
        let values = headers.get_all(name);
        values
            .flat_map(|value| value.split(','))
            .any(|tag| tag.trim().eq_ignore_ascii_case(extension))
    })
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Nothing yet.
    Nothing,
    /// Send a refresh.
    Refresh,
    /// Nobody refreshed: hang up.
    Over,
}

/// The clock of one call. Made anew by each exchange that agreed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionTimer {
    refresher: Refresher,
    /// The next refresh of ours. `None`: one is on its way, or it is the peer's to send.
    refresh_at: Option<Instant>,
    over_at: Instant,
}

impl SessionTimer {
    /// A 2xx has just been sent or received.
    pub fn new(agreed: Agreed, now: Instant) -> Self {
        let interval = Duration::from_secs(u64::from(agreed.seconds));
        let is_ours = agreed.refresher == Refresher::Us;
        // Whoever refreshes has until the very end for its answer.
        let margin = if is_ours { Duration::ZERO } else { MARGIN.min(interval / 3) };
        Self {
            refresher: agreed.refresher,
            refresh_at: is_ours.then(|| now + interval / 2),
            over_at: now + interval - margin,
        }
    }

    /// Who refreshes.
    pub fn refresher(&self) -> Refresher {
        self.refresher
    }

    /// What is due.
    pub fn due(&self, now: Instant) -> Due {
        if self.over_at <= now {
            Due::Over
        } else if self.refresh_at.is_some_and(|at| at <= now) {
            Due::Refresh
        } else {
            Due::Nothing
        }
    }

    /// A refresh is on its way.
    pub fn sent(&mut self) {
        self.refresh_at = None;
    }

    /// The refresh did not work out; it is tried again while there is time, after `pause` or a few seconds.
    pub fn again(&mut self, pause: Option<Duration>, now: Instant) {
        if self.refresher == Refresher::Us {
            self.refresh_at = Some(now + pause.unwrap_or(AGAIN));
        }
    }

    /// When something may be due.
    pub fn next(&self) -> Instant {
        self.refresh_at.map_or(self.over_at, |at| at.min(self.over_at))
    }
}

#[cfg(test)]
#[path = "timer_tests.rs"]
mod tests;
