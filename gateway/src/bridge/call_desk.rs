//! Where people say what is to be done with calls to them: call forwarding, do not disturb, second calls. An app fills in a
//! form (XEP-0050), a phone dials a code ([`super::star_codes`]), an operator types; all of it comes here as words,
//! `always=bob` or `dnd=on`, and what they mean is decided in one place.

use std::sync::Arc;
use std::time::Duration;

use tandem_xmpp::jid::Jid;
use tandem_xmpp::ports::StoreError;

use super::call::{Cause, Forwards};
use super::held::Held;
use super::numbers::{Dialled, Plan};
use crate::store::{CallSettings, Store};

/// How long a phone may ring before a call goes on, in seconds: 3GPP TS 22.082 has 5 to 30; a call rings for a minute at most.
const SECONDS: std::ops::RangeInclusive<u8> = 5..=55;
/// Most accounts whose calls may be answered by themselves.
const MAX_TRUSTED: usize = 50;

/// Why a call goes to somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// All calls do.
    Always,
    /// Who was called is busy.
    Busy,
    /// Nobody answered, or nobody is there.
    NoAnswer,
    /// Who was called is not to be disturbed.
    Undisturbed,
}

impl Why {
    /// The reason in a Diversion header field (RFC 5806 section 4).
    pub fn word(self) -> &'static str {
        match self {
            Self::Always => "unconditional",
            Self::Busy => "user-busy",
            Self::NoAnswer => "no-answer",
            Self::Undisturbed => "do-not-disturb",
        }
    }
}

/// What becomes of a call before anybody rings.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Who is called is rung.
    Ring,
    /// Somebody else is called.
    Forward(Jid, Why),
    /// Nobody is.
    Refuse(Cause),
}

impl CallSettings {
    /// What becomes of a call that arrives while the account is in another, or is not.
    pub fn on_arrival(&self, is_in_call: bool) -> Verdict {
        if let Some(to) = &self.always {
            return Verdict::Forward(to.clone(), Why::Always);
        }
        let (why, cause) = match (self.undisturbed, self.one_call && is_in_call) {
            (true, _) => (Why::Undisturbed, Cause::Undisturbed),
            (false, true) => (Why::Busy, Cause::Sip { status: 486, reason: None }),
            (false, false) => return Verdict::Ring,
        };
        match &self.busy {
            Some(to) => Verdict::Forward(to.clone(), why),
            None => Verdict::Refuse(cause),
        }
    }

    /// When a call that rings goes to somebody else.
    pub fn forwards(&self) -> Forwards {
        let after = Duration::from_secs(self.seconds.into());
        Forwards { busy: self.busy.is_some(), no_answer: self.no_answer.as_ref().map(|_| after) }
    }

    /// Who is called instead.
    pub fn target(&self, why: Why) -> Option<&Jid> {
        match why {
            Why::Always => self.always.as_ref(),
            Why::Busy | Why::Undisturbed => self.busy.as_ref(),
            Why::NoAnswer => self.no_answer.as_ref(),
        }
    }

    /// Whether not even a sign of a call is to reach the account's apps.
    pub fn is_silent(&self) -> bool {
        self.undisturbed || self.always.is_some()
    }

    /// Whether its calls are to be handled at all; consent to answer some alone changes no call.
    pub fn is_any(&self) -> bool {
        let consent = self.answers.clone();
        *self != Self { answers: consent, ..Self::default() }
    }

    /// Whether its phones may answer a call of this account by themselves.
    pub fn may_answer(&self, caller: &Jid) -> bool {
        self.answers.contains(&caller.bare())
    }

    /// As words, which can be said again.
    pub fn words(&self) -> String {
        let on = |is_on: bool| if is_on { "on" } else { "off" };
        let to = |to: &Option<Jid>| to.as_ref().map_or("off".to_owned(), ToString::to_string);
        let answers: Vec<&str> = self.answers.iter().map(Jid::as_str).collect();
        format!(
            "dnd={} always={} busy={} no-answer={} seconds={} second-calls={} auto-answer={}",
            on(self.undisturbed),
            to(&self.always),
            to(&self.busy),
            to(&self.no_answer),
            self.seconds,
            if self.one_call { "busy" } else { "ring" },
            if answers.is_empty() { "off".to_owned() } else { answers.join(",") },
        )
    }
}

/// Why a setting is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Wrong {
    /// For whoever asked.
    #[error("{0}")]
    Asked(String),
    /// Nobody's fault but ours.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Takes what people want done with calls. Cheap to clone.
#[derive(Clone)]
pub struct CallDesk {
    store: Store,
    plan: Arc<Plan>,
    /// The calls that are handled.
    pub held: Held,
}

impl CallDesk {
    /// Over this store.
    pub fn new(store: Store, plan: Arc<Plan>) -> Self {
        Self { store, plan, held: Held::default() }
    }

    /// What an account wants, `None` where that is nothing special.
    pub fn of(&self, account: &Jid) -> Option<Arc<CallSettings>> {
        self.store.call_settings(account).filter(|wanted| wanted.is_any())
    }

    /// Whether the phones of `callee` may answer calls of `caller` by themselves.
    pub fn may_answer(&self, callee: &Jid, caller: &Jid) -> bool {
        self.store.call_settings(callee).is_some_and(|wanted| wanted.may_answer(caller))
    }

    /// Changes what an account wants, all of the words or none; gives what it wants now.
    ///
    /// # Errors
    ///
    /// [`Wrong`]: there is no such account, word or destination, or the store fails.
    pub async fn change(&self, account: &Jid, words: &[String]) -> Result<CallSettings, Wrong> {
        let account = account.bare();
        if !self.store.account_exists(&account).await? {
            return Err(Wrong::Asked(format!("there is no {account}")));
        }
        let known = self.store.call_settings(&account);
        let mut wanted = known.map(|known| (*known).clone()).unwrap_or_default();
        for word in words {
            self.take(&account, &mut wanted, word).await?;
        }
        if !words.is_empty() {
            self.store.keep_call_settings(&account, &wanted).await?;
            tracing::info!(target: "audit", %account, settings = wanted.words(), "calls are handled");
        }
        Ok(wanted)
    }

    async fn take(&self, account: &Jid, to: &mut CallSettings, word: &str) -> Result<(), Wrong> {
        let wrong = || Wrong::Asked(format!("{word} cannot be set"));
        let (name, value) = word.split_once('=').ok_or_else(wrong)?;
        let choice = |on: &str, off: &str| match value {
            v if v == on => Ok(true),
            v if v == off => Ok(false),
            _ => Err(wrong()),
        };
        match name {
            "dnd" => to.undisturbed = choice("on", "off")?,
            "second-calls" => to.one_call = choice("busy", "ring")?,
            "seconds" => {
                let seconds = value.parse().ok().filter(|s| SECONDS.contains(s));
                to.seconds = seconds.ok_or_else(wrong)?;
            }
            "always" => to.always = self.destination(account, value).await?,
            "busy" => to.busy = self.destination(account, value).await?,
            "no-answer" => to.no_answer = self.destination(account, value).await?,
            "auto-answer" => to.answers = self.trusted(account, value).await?,
            _ => return Err(wrong()),
        }
        Ok(())
    }

    /// Accounts of this server, a comma or a space between them.
    async fn trusted(&self, account: &Jid, text: &str) -> Result<Vec<Jid>, Wrong> {
        let mut trusted = Vec::new();
        for name in text.split([',', ' ']).filter(|name| !name.is_empty() && *name != "off") {
            let jid = match name.contains('@') {
                true => Jid::parse(name),
                false => Jid::new(Some(name), account.domain(), None),
            };
            let known = jid.ok().map(|jid| jid.bare());
            match known {
                Some(known) if self.store.account_exists(&known).await? => trusted.push(known),
                _ => return Err(Wrong::Asked(format!("{name}: not an account"))),
            }
        }
        if trusted.len() > MAX_TRUSTED {
            return Err(Wrong::Asked(format!("no more than {MAX_TRUSTED} accounts")));
        }
        trusted.sort();
        trusted.dedup();
        Ok(trusted)
    }

    /// Who is meant: an account of this server, or a number that it would dial.
    async fn destination(&self, account: &Jid, text: &str) -> Result<Option<Jid>, Wrong> {
        let wrong = |why: &str| Err(Wrong::Asked(format!("{text}: {why}")));
        if text.is_empty() || text == "off" {
            return Ok(None);
        }
        let known = match text.contains('@') {
            true => Jid::parse(text),
            false => Jid::new(Some(text), account.domain(), None),
        };
        let known = known.ok().map(|jid| jid.bare());
        if let Some(known) = &known
            && self.store.account_exists(known).await?
        {
            return match known == account {
                true => wrong("calls cannot go where they come from"),
                false => Ok(Some(known.clone())),
            };
        }
        let number = match known.as_ref().and_then(|known| self.plan.number(known)) {
            Some(number) => Some(number),
            None => self.plan.read(text),
        };
        match number {
            // A call that was meant for somebody else is no emergency.
            Some(Dialled::Emergency(_)) => wrong("nobody is forwarded to an emergency number"),
            Some(number) if self.plan.account(&number).as_ref() == Some(account) => {
                wrong("calls cannot go where they come from")
            }
            Some(number) => match self.plan.account(&number).or(self.plan.address(&number)) {
                Some(to) if !self.plan.is_empty() => Ok(Some(to)),
                _ => wrong("there is no way to the telephone network"),
            },
            None => wrong("neither an account nor a number"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn jid(text: &str) -> Jid {
        Jid::parse(text).unwrap()
    }

    #[test]
    fn what_becomes_of_a_call_before_anybody_rings() {
        let (to, other) = (jid("bob@d"), jid("carl@d"));
        let none = CallSettings::default();
        let dnd = CallSettings { undisturbed: true, ..none.clone() };
        let one = CallSettings { one_call: true, ..none.clone() };
        let busy = |of: &CallSettings| CallSettings { busy: Some(to.clone()), ..of.clone() };
        let always = CallSettings { always: Some(other.clone()), ..busy(&dnd) };
        let is_busy = Verdict::Refuse(Cause::Sip { status: 486, reason: None });
        let forward = |to: &Jid, why| Verdict::Forward(to.clone(), why);
        let table = [
            (none.clone(), true, Verdict::Ring),
            (busy(&none), true, Verdict::Ring),
            (dnd.clone(), false, Verdict::Refuse(Cause::Undisturbed)),
            (busy(&dnd), false, forward(&to, Why::Undisturbed)),
            (one.clone(), false, Verdict::Ring),
            (one.clone(), true, is_busy),
            (busy(&one), true, forward(&to, Why::Busy)),
            (always, true, forward(&other, Why::Always)),
        ];
        for (settings, is_in_call, verdict) in table {
            assert_eq!(settings.on_arrival(is_in_call), verdict, "{settings:?}");
        }
    }

    /// A desk of Ana and Bob at `localhost`, with a trunk.
    async fn desk(dir: &std::path::Path) -> CallDesk {
        let config = Config::parse(
            "domains = [\"localhost\"]\n[[trunks]]\nname = \"world\"\nuri = \"sip:world.example\"\n\
             [numbers]\ncountry = \"43\"\nemergency = { 112 = \"world\" }\n\
             accounts = { \"+4312345\" = \"ana@localhost\", \"+4312346\" = \"bob@localhost\" }\n",
            "test",
            [],
        );
        let store = Store::open_in(dir).await.unwrap();
        for name in ["ana", "bob", "200"] {
            store.ensure_account(&jid(&format!("{name}@localhost")), "secret", 1).await.unwrap();
        }
        CallDesk::new(store, Arc::new(Plan::new(&config.unwrap())))
    }

    async fn change(desk: &CallDesk, words: &str) -> Result<String, String> {
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        let changed = desk.change(&jid("ana@localhost"), &words).await;
        changed.map(|now| now.words()).map_err(|wrong| wrong.to_string())
    }

    #[tokio::test]
    async fn who_is_called_instead_is_an_account_or_a_number_and_is_kept_over_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let desk = desk(dir.path()).await;
        let table = [
            ("bob", Ok("bob@localhost")),
            ("bob@localhost", Ok("bob@localhost")),
            ("200", Ok("200@localhost")),
            // A number of ours is its account's.
            ("012346", Ok("bob@localhost")),
            ("+4930123", Ok("+4930123@tel.localhost")),
            ("+4930123@tel.localhost", Ok("+4930123@tel.localhost")),
            ("ana", Err("come from")),
            ("+4312345", Err("come from")),
            ("112", Err("emergency")),
            ("julia", Err("neither")),
            ("julia@elsewhere.example", Err("neither")),
            ("off", Ok("off")),
        ];
        // Consent alone is no wish that a call has to be handled for.
        let consent = change(&desk, "auto-answer=bob,200@localhost,bob").await.unwrap();
        assert!(consent.ends_with(" auto-answer=200@localhost,bob@localhost"), "{consent}");
        assert!(desk.of(&jid("ana@localhost")).is_none());
        assert!(desk.may_answer(&jid("ana@localhost"), &jid("bob@localhost/x")));
        assert!(!desk.may_answer(&jid("bob@localhost"), &jid("ana@localhost")));
        assert!(change(&desk, "auto-answer=julia").await.unwrap_err().contains("not an account"));
        assert!(change(&desk, "auto-answer=bob@elsewhere.example").await.is_err());
        for (to, expected) in table {
            let said = change(&desk, &format!("always={to}")).await;
            match (&said, expected) {
                (Ok(now), Ok(to)) => assert!(now.contains(&format!(" always={to} ")), "{now}"),
                (Err(why), Err(part)) => assert!(why.contains(part), "{to}: {why}"),
                _ => panic!("{to}: {said:?}"),
            }
        }
        let words =
            "dnd=on always=off busy=200 no-answer=bob seconds=15 second-calls=busy auto-answer=bob";
        let now = change(&desk, words).await.unwrap();
        // All of them or none.
        assert!(change(&desk, "dnd=off seconds=56").await.is_err());
        assert!(change(&desk, "dnd=maybe").await.is_err());
        desk.store.clone().close().await;
        drop(desk);
        let store = Store::open_in(dir.path()).await.unwrap();
        assert_eq!(store.call_settings(&jid("ana@localhost/x")).unwrap().words(), now);
        assert!(store.call_settings(&jid("bob@localhost")).is_none());
        store.remove_account(&jid("ana@localhost")).await.unwrap();
        assert!(store.call_settings(&jid("ana@localhost")).is_none());
    }
}
