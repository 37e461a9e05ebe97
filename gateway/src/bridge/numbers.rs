//! Telephone numbers (E.164, RFC 3966): what is dialled, which trunk takes it, whose it is.

use std::sync::Arc;

use tandem_sip::msg::Uri;
use tandem_xmpp::jid::Jid;

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
}

impl Plan {
    /// The plan of a configuration.
    pub fn new(config: &Config) -> Self {
        Self {
            numbers: config.numbers.clone(),
            trunks: config.trunks.iter().cloned().map(Arc::new).collect(),
            domain: config.number_domain(),
            domains: config.domains.clone(),
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

    /// Most calls an account may begin within an hour, and have at once.
    pub fn limits(&self) -> (usize, usize) {
        (self.numbers.max_calls_per_hour, self.numbers.max_calls_per_account)
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
                    let fits = trunk.prefixes.iter().filter(|p| number.starts_with(p.as_str()));
                    fits.map(String::len).max()
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

fn prefix<'t>(text: &'t str, prefix: &str) -> Option<&'t str> {
    text.strip_prefix(prefix).filter(|_| !prefix.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        let config = Config::parse(
            "domains = [\"example.org\"]\n\
             [[trunks]]\nname = \"world\"\nuri = \"sip:world.example\"\ncaller = \"+43100\"\n\
             [[trunks]]\nname = \"vienna\"\nuri = \"sip:vienna.example\"\nprefixes = [\"+431\", \"+4366\"]\n\
             [numbers]\ncountry = \"43\"\nemergency = { 112 = \"vienna\" }\n\
             accounts = { \"+4312345\" = \"ana@example.org\" }\n",
            "test",
            [],
        );
        Plan::new(&config.unwrap())
    }

    #[test]
    fn what_people_dial() {
        let plan = plan();
        let table = [
            ("+4312345", Some("+4312345")),
            ("004312345", Some("+4312345")),
            ("0043 1 234-5", Some("+4312345")),
            ("012345", Some("+4312345")),
            ("(01) 23.45", Some("+4312345")),
            ("+1-201-555-0123;phone-context=x", Some("+12015550123")),
            ("112", Some("112")),
            ("144", None),
            ("1", None),
            ("ana", None),
            ("+", None),
            ("+12", None),
            ("+01234567", None),
            ("+1234567890123456", None),
            ("0", None),
            ("", None),
            ("+12ab34", None),
        ];
        for (dialled, number) in table {
            assert_eq!(plan.read(dialled).as_ref().map(Dialled::as_str), number, "{dialled}");
        }
        let tel = Uri::parse("tel:+43-1-2345").unwrap();
        assert_eq!(plan.read_uri(&tel).unwrap().as_str(), "+4312345");
    }

    #[test]
    fn the_trunk_that_knows_more_is_tried_first_and_emergencies_go_where_they_are_sent() {
        let plan = plan();
        let names = |dialled: &str| -> Vec<String> {
            let number = plan.read(dialled).unwrap();
            plan.ways(&number).iter().map(|trunk| trunk.name.clone()).collect()
        };
        assert_eq!(names("012345"), ["vienna", "world"]);
        assert_eq!(names("+4930123"), ["world"]);
        assert_eq!(names("112"), ["vienna"]);
    }

    #[test]
    fn numbers_belong_to_accounts_and_are_addresses() {
        let plan = plan();
        let number = plan.read("012345").unwrap();
        let ana = Jid::parse("ana@example.org").unwrap();
        assert_eq!(plan.account(&number), Some(ana.clone()));
        let [vienna] = &plan.ways(&plan.read("112").unwrap())[..] else { panic!() };
        let world = &plan.ways(&plan.read("+4930123").unwrap())[0];
        assert_eq!(plan.shown(&ana, vienna).as_deref(), Some("+4312345"));
        let carl = Jid::parse("carl@example.org").unwrap();
        assert_eq!(plan.shown(&carl, vienna), None);
        assert_eq!(plan.shown(&carl, world).as_deref(), Some("+43100"));
        let address = plan.address(&number).unwrap();
        assert_eq!(address.as_str(), "+4312345@tel.example.org");
        assert_eq!(plan.number(&address), Some(number));
        assert_eq!(plan.number(&ana), None);
        assert!(plan.may_dial(&ana) && !plan.may_dial(&address));
        assert!(!plan.may_dial(&Jid::parse("x@elsewhere.example").unwrap()));
    }
}
