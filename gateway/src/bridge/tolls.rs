//! What calls and messages to the telephone network may cost: how many begin within an hour, and what is not dialled at all.
//! Against toll fraud (RFC 3261 section 26.1.5 calls it theft of service); an emergency is never counted.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tandem_xmpp::jid::Jid;

use super::call_reason::ReasonValue;

/// Within which beginnings are counted.
const AN_HOUR: Duration = Duration::from_secs(60 * 60);

/// Whose account something is put down to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Payer {
    /// An account of this server.
    Account(Jid),
    /// A trunk, by its name.
    Trunk(String),
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Item {
    /// A call.
    Call,
    /// A message.
    Message,
}

/// What began within the last hour. Cheap to ask: a number a payer, and the oldest go first.
#[derive(Debug, Default)]
pub struct Tolls(Mutex<HashMap<(Payer, Item), VecDeque<Instant>>>);

impl Tolls {
    /// Counts one more, where less than `per_hour` began within the last hour; else false.
    pub fn take(&self, payer: Payer, item: Item, per_hour: usize, now: Instant) -> bool {
        let is_old = |at: &Instant| now.saturating_duration_since(*at) >= AN_HOUR;
        let mut begun = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !begun.contains_key(&(payer.clone(), item)) {
            // Who has not paid for an hour is forgotten when somebody new comes.
            begun.retain(|_, times| times.back().is_some_and(|last| !is_old(last)));
        }
        let times = begun.entry((payer, item)).or_default();
        while times.front().is_some_and(is_old) {
            times.pop_front();
        }
        let may = times.len() < per_hour;
        if may {
            times.push_back(now);
        }
        may
    }
}

/// Why a number is not dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refused {
    /// From the telephone network, or from elsewhere: nobody here pays for that.
    Stranger,
    /// It is nobody's, and no trunk takes it.
    NoTrunk,
    /// It is on the list of what is not dialled.
    Denied,
    /// It costs more than others, and this account may not.
    Premium,
    /// The account began as many as it may within an hour.
    Hourly,
    /// The account has as many calls as it may at once.
    AtOnce,
    /// All trunks carry what they may.
    Full,
}

impl Refused {
    /// In a few words, for the caller and for the audit.
    pub fn why(self) -> &'static str {
        match self {
            Self::Stranger => "by a stranger",
            Self::NoTrunk => "no trunk takes it",
            Self::Denied => "this number is not dialled",
            Self::Premium => "premium numbers are not dialled",
            Self::Hourly => "too many within an hour",
            Self::AtOnce => "too many calls at once",
            Self::Full => "all trunks are full",
        }
    }

    /// As a SIP status.
    pub fn status(self) -> u16 {
        match self {
            Self::Stranger | Self::Denied | Self::Premium | Self::Hourly | Self::AtOnce => 403,
            Self::NoTrunk => 404,
            Self::Full => 503,
        }
    }

    /// As a Reason header field (RFC 6432): call rejected, no route, no circuit.
    pub fn reason(self) -> String {
        let cause = match self.status() {
            404 => 3,
            503 => 34,
            _ => 21,
        };
        ReasonValue::new("Q.850", cause).with_text(self.why()).to_string()
    }

    /// The header fields of the response that tell the caller why (RFC 3261 section 20.43, RFC 6432).
    pub fn headers(self) -> Vec<(String, String)> {
        let warning = format!("399 tandem \"{}\"", self.why());
        vec![("Warning".to_owned(), warning), ("Reason".to_owned(), self.reason())]
    }

    /// A line for whoever watches over costs, and one more on the counter.
    pub fn audit(self, account: &Jid, number: &str) {
        let why = self.why();
        tracing::warn!(target: "audit", %account, number, why, "a number was not dialled");
        metrics::counter!("tandem_trunk_refused_total", "why" => why).increment(1);
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // an origin for virtual time
mod tests {
    use super::*;

    fn ana() -> Payer {
        Payer::Account(Jid::parse("ana@example.org").unwrap())
    }

    #[test]
    fn an_hour_slides_and_payers_and_items_are_counted_apart() {
        let (tolls, start) = (Tolls::default(), Instant::now());
        let at = |minutes: u64| start + Duration::from_secs(60 * minutes);
        let took: Vec<bool> = [0, 20, 40, 59, 60, 61, 80]
            .map(|minutes| tolls.take(ana(), Item::Call, 2, at(minutes)))
            .into();
        assert_eq!(took, [true, true, false, false, true, false, true]);
        assert!(tolls.take(ana(), Item::Message, 2, at(80)));
        assert!(tolls.take(Payer::Trunk("ana@example.org".into()), Item::Call, 1, at(80)));
        assert!(!tolls.take(ana(), Item::Message, 0, at(200)));
    }

    #[test]
    fn who_has_not_paid_for_an_hour_is_forgotten() {
        let (tolls, start) = (Tolls::default(), Instant::now());
        for n in 0..100 {
            let payer = Payer::Trunk(n.to_string());
            assert!(tolls.take(payer, Item::Call, 1, start));
        }
        assert!(tolls.take(ana(), Item::Call, 1, start + AN_HOUR));
        assert_eq!(tolls.0.lock().unwrap().len(), 1);
    }

    #[test]
    fn the_caller_learns_why() {
        let headers = Refused::Premium.headers();
        let expected = [
            ("Warning", "399 tandem \"premium numbers are not dialled\""),
            ("Reason", "Q.850;cause=21;text=\"premium numbers are not dialled\""),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!((Refused::Premium.status(), headers), (403, expected.into()));
        let table = [(Refused::NoTrunk, 404, "cause=3;"), (Refused::Full, 503, "cause=34;")];
        for (refused, status, cause) in table {
            assert_eq!(refused.status(), status);
            assert!(refused.reason().contains(cause));
        }
    }
}
