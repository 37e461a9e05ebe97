//! Telephone numbers (E.164, RFC 3966): what is dialled, which trunk takes it, whose it is.

use std::sync::Arc;
use std::time::Instant;

use tandem_sip::msg::{Host, NameAddr, Uri};
use tandem_sip::service::identity as privacy;
use tandem_xmpp::jid::Jid;

use super::identity;
use super::tolls::{Item, Payer, Refused, Tolls};
use crate::config::{Config, Numbers, Trunk};

/// Digits of an international number (E.164 section 6).
const MAX_DIGITS: usize = 15;

/// What was dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dialled {
    /// `+` and digits.
    International(String),
    /// A short number that a trunk takes as it is.
    Emergency(String),
}

impl Dialled {
    /// As it is written.
    pub fn as_str(&self) -> &str {
        match self {
            Self::International(number) | Self::Emergency(number) => number,
        }
    }
}

/// The numbers of a node.
#[derive(Debug)]
pub struct Plan {
    numbers: Numbers,
    trunks: Vec<Arc<Trunk>>,
    domain: String,
    /// Whose accounts may dial.
    domains: Vec<String>,
    tolls: Tolls,
}

impl Plan {
    /// The plan of a configuration.
    pub fn new(config: &Config) -> Self {
        Self {
            numbers: config.numbers.clone(),
            trunks: config.trunks.iter().cloned().map(Arc::new).collect(),
            domain: config.number_domain(),
            domains: config.domains.clone(),
            tolls: Tolls::default(),
        }
    }

    /// Whether there is any way to the telephone network.
    pub fn is_empty(&self) -> bool {
        self.trunks.is_empty()
    }

    /// Whether somebody may call the telephone network: accounts of this server alone.
    pub fn may_dial(&self, caller: &Jid) -> bool {
        self.domains.iter().any(|domain| domain == caller.domain())
    }

    /// Most calls an account may have at once.
    pub fn most_at_once(&self) -> usize {
        self.numbers.max_calls_per_account
    }

    /// The trunks by which this account may begin this now, the best first; it is counted.
    ///
    /// # Errors
    ///
    /// Why it may not. An emergency always may.
    pub fn admit(
        &self,
        account: &Jid,
        number: &Dialled,
        item: Item,
        now: Instant,
    ) -> Result<Vec<Arc<Trunk>>, Refused> {
        // Who hides and is known by nothing else cannot be asked to pay.
        if !self.may_dial(account) || account.node() == Some(identity::NOBODY) {
            return Err(Refused::Stranger);
        }
        let ways = self.ways(number);
        let Dialled::International(digits) = number else {
            return if ways.is_empty() { Err(Refused::NoTrunk) } else { Ok(ways) };
        };
        let numbers = &self.numbers;
        if begins(digits, &numbers.denied).is_some() {
            return Err(Refused::Denied);
        }
        let is_its = |known: &String| Jid::parse(known).is_ok_and(|known| known == account.bare());
        if begins(digits, &numbers.premium).is_some()
            && !numbers.premium_accounts.iter().any(is_its)
        {
            return Err(Refused::Premium);
        }
        if ways.is_empty() {
            return Err(Refused::NoTrunk);
        }
        let per_hour = match item {
            Item::Call => numbers.max_calls_per_hour,
            Item::Message => numbers.max_messages_per_hour,
        };
        match self.tolls.take(Payer::Account(account.bare()), item, per_hour, now) {
            true => Ok(ways),
            false => Err(Refused::Hourly),
        }
    }

    /// Whether a trunk carries one more within this hour; it is counted.
    pub fn has_room(&self, trunk: &Trunk, number: &Dialled, item: Item, now: Instant) -> bool {
        let per_hour = match item {
            Item::Call => trunk.max_calls_per_hour,
            Item::Message => trunk.max_messages_per_hour,
        };
        matches!(number, Dialled::Emergency(_))
            || self.tolls.take(Payer::Trunk(trunk.name.clone()), item, per_hour, now)
    }

    /// Reads what somebody dialled: the user of a SIP URI or a `tel` URI. `None`: it is no number, or one that is not dialled.
    pub fn read(&self, text: &str) -> Option<Dialled> {
        if self.numbers.emergency.contains_key(text) {
            return Some(Dialled::Emergency(text.to_owned()));
        }
        let numbers = &self.numbers;
        // Visual separators mean nothing (RFC 3966 section 3); parameters are not dialled.
        let text = text.split(';').next().unwrap_or_default();
        let text: String = text.chars().filter(|c| !"-.() ".contains(*c)).collect();
        let international =
            text.strip_prefix('+').or_else(|| prefix(&text, &numbers.international));
        let number = match international {
            Some(rest) => rest.to_owned(),
            None if numbers.country.is_empty() => return None,
            None => format!("{}{}", numbers.country, prefix(&text, &numbers.national)?),
        };
        let is_number = number.bytes().all(|b| b.is_ascii_digit())
            && !number.starts_with('0')
            && (4..=MAX_DIGITS).contains(&number.len());
        is_number.then(|| Dialled::International(format!("+{number}")))
    }

    /// Reads a URI, `tel` or `sip`.
    pub fn read_uri(&self, uri: &Uri) -> Option<Dialled> {
        if uri.is_sip() {
            return self.read(&uri.user_decoded()?);
        }
        let text = uri.to_string();
        let (scheme, number) = text.split_once(':')?;
        scheme.eq_ignore_ascii_case("tel").then(|| self.read(number)).flatten()
    }

    /// The trunks that take a number, the best first.
    pub fn ways(&self, number: &Dialled) -> Vec<Arc<Trunk>> {
        match number {
            Dialled::Emergency(number) => {
                let name = self.numbers.emergency.get(number);
                self.trunks.iter().filter(|trunk| Some(&trunk.name) == name).cloned().collect()
            }
            Dialled::International(number) => {
                let known = |trunk: &Arc<Trunk>| {
                    let known = begins(number, &trunk.prefixes);
                    known.filter(|_| known > begins(number, &trunk.denied))
                };
                let mut ways: Vec<_> = self
                    .trunks
                    .iter()
                    .filter_map(|trunk| Some((known(trunk)?, trunk.clone())))
                    .collect();
                ways.sort_by_key(|(known, _)| std::cmp::Reverse(*known));
                ways.into_iter().map(|(_, trunk)| trunk).collect()
            }
        }
    }

    /// Whether the media of this trunk has to be encrypted.
    pub fn is_encrypted(&self, name: &str) -> bool {
        self.trunks.iter().any(|trunk| trunk.name == name && trunk.encrypted)
    }

    /// Whether a trunk of that name is believed what it says of others.
    pub fn is_trusted(&self, name: &str) -> bool {
        self.trunks.iter().any(|trunk| trunk.name == name && trunk.trusted)
    }

    /// The account of a number.
    pub fn account(&self, number: &Dialled) -> Option<Jid> {
        Jid::parse(self.numbers.accounts.get(number.as_str())?).ok()
    }

    /// The number that is shown where an account calls by this trunk.
    pub fn shown(&self, account: &Jid, trunk: &Trunk) -> Option<String> {
        let is_its = |known: &str| Jid::parse(known).is_ok_and(|known| known == account.bare());
        let own = self.numbers.accounts.iter().find(|(_, known)| is_its(known));
        own.map(|(number, _)| number.clone()).or_else(|| trunk.caller.clone())
    }

    /// As whom an account calls or writes by a trunk: From, and the header fields that say who it is (RFC 3325 section 5) and
    /// that this is hidden.
    pub fn sender(
        &self,
        account: &Jid,
        trunk: &Trunk,
        is_hidden: bool,
    ) -> Option<(NameAddr, Vec<(String, String)>)> {
        let host: Host = Uri::parse(&trunk.uri).ok()?.host;
        let shown = self.shown(account, trunk).unwrap_or_else(|| trunk.username.clone());
        let shown = NameAddr::new(Uri::sip(Some(&shown), host));
        let mut headers = Vec::new();
        if trunk.trusted {
            headers.push(("P-Asserted-Identity".to_owned(), shown.to_string()));
        }
        if !is_hidden {
            return Some((shown, headers));
        }
        headers.push(("Privacy".to_owned(), "id".to_owned()));
        Some((privacy::anonymous(), headers))
    }

    /// Where a number is reached by a trunk.
    pub fn target(&self, number: &Dialled, trunk: &Trunk) -> Option<Uri> {
        let gateway = Uri::parse(&trunk.uri).ok()?;
        // A plus and digits, which need no escapes.
        Some(Uri { user: Some(number.as_str().to_owned()), ..gateway })
    }

    /// Whom a trunk means: the account that has the number, or the name. A trunk that we are registered at calls our contact;
    /// the number is in To then.
    pub fn called(&self, request_uri: &Uri, to: Option<&Uri>) -> Option<Jid> {
        let number = |uri: &Uri| self.read_uri(uri).and_then(|number| self.account(&number));
        if let Some(account) = [Some(request_uri), to].into_iter().flatten().find_map(number) {
            return Some(account);
        }
        let named = identity::sip_to_jid(request_uri).ok()?;
        (!self.is_number_domain(&named)).then_some(named)
    }

    /// Who is behind a trunk: a number, or whatever the trunk calls its user, `user@host`; nobody where that is empty. Never an
    /// account of ours.
    pub fn caller(&self, said: &str) -> Option<Jid> {
        let user = said.rsplit_once('@').map(|(user, _)| user);
        match user.and_then(|user| self.read(user)) {
            Some(number @ Dialled::International(_)) => self.address(&number),
            _ if user.is_none() => self.stranger(identity::NOBODY),
            _ => self.stranger(&identity::sip_user_to_node(said)?),
        }
    }

    /// The address of a number that somebody dialled.
    pub fn dialled(&self, to: &Uri) -> Option<Jid> {
        if self.is_empty() {
            return None;
        }
        self.address(&self.read_uri(to)?)
    }

    /// The address of an emergency number, which no account's name hides.
    pub fn emergency(&self, to: &Uri) -> Option<Jid> {
        let number = self.read_uri(to)?;
        matches!(number, Dialled::Emergency(_)).then(|| self.address(&number)).flatten()
    }

    /// A number as an XMPP address.
    pub fn address(&self, number: &Dialled) -> Option<Jid> {
        Jid::new(Some(number.as_str()), &self.domain, None).ok()
    }

    /// Somebody behind a trunk who has no number.
    pub fn stranger(&self, node: &str) -> Option<Jid> {
        Jid::new(Some(node), &self.domain, None).ok()
    }

    /// The number of an XMPP address.
    pub fn number(&self, address: &Jid) -> Option<Dialled> {
        if !self.is_number_domain(address) {
            return None;
        }
        self.read(address.node()?)
    }

    /// Whether an address is in the domain of numbers.
    pub fn is_number_domain(&self, address: &Jid) -> bool {
        !self.is_empty() && address.domain() == self.domain
    }
}

/// Whether a refusal is of the trunk itself, so that another may do: what the called person's side says is final.
pub fn is_of_trunk(status: u16) -> bool {
    matches!(status, 401 | 403 | 407 | 408 | 500..=599)
}

/// How much the best of these says of how a number begins.
fn begins(number: &str, known: &[String]) -> Option<usize> {
    known.iter().filter(|known| number.starts_with(known.as_str())).map(String::len).max()
}

fn prefix<'t>(text: &'t str, prefix: &str) -> Option<&'t str> {
    text.strip_prefix(prefix).filter(|_| !prefix.is_empty())
}

#[cfg(test)]
#[path = "numbers_tests.rs"]
#[allow(clippy::disallowed_methods)] // an origin for virtual time
mod tests;
