//! `[[trunks]]` and `[numbers]`: ways to the telephone network, and what numbers mean here.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use tandem_sip::config::Source;
use tandem_sip::msg::Uri;
use tandem_sip::ports::Login;
use tandem_xmpp::jid::Jid;

/// One SIP server that carries calls to and from the telephone network.
#[derive(Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Trunk {
    /// What log lines and call records call it.
    pub name: String,
    /// Where its calls go: a SIP URI, whose host is looked up by RFC 3263.
    pub uri: String,
    /// What it is told when it asks who we are (digest).
    #[serde(default)]
    pub username: String,
    /// And how it is proven.
    #[serde(default)]
    pub password: String,
    /// Whether it has to be told where we are (REGISTER): then it calls us there.
    #[serde(default)]
    pub register: bool,
    /// Whether it is asked now and then whether it is there (OPTIONS): others are tried before one that is not.
    #[serde(default = "yes")]
    pub supervise: bool,
    /// Where its calls and messages come from, as `ADDRESS` or `ADDRESS:PORT`. They need no password.
    #[serde(default)]
    pub sources: Vec<String>,
    /// Or the domains that its certificate names, one of which it has to prove under TLS (RFC 5922).
    #[serde(default)]
    pub tls_names: Vec<String>,
    /// Or who it is here, as it answers our challenge (digest).
    #[serde(default)]
    pub inbound_username: String,
    /// And how that is proven.
    #[serde(default)]
    pub inbound_password: String,
    /// The international numbers it takes, by how they begin; of several trunks the one that knows more of a number is tried
    /// first.
    #[serde(default = "every_number")]
    pub prefixes: Vec<String>,
    /// Whether it is told who calls also where that is hidden from the called, and believed who calls us (RFC 3325): a part
    /// of the trust domain.
    #[serde(default = "yes")]
    pub trusted: bool,
    /// The number that is shown for accounts that have none.
    #[serde(default)]
    pub caller: Option<String>,
    /// International numbers it is not asked to take, by how they begin: where one of these says more of a number than one of
    /// `prefixes`.
    #[serde(default)]
    pub denied: Vec<String>,
    /// Whether it takes text messages (MESSAGE).
    #[serde(default = "yes")]
    pub messages: bool,
    /// Whether its media has to be encrypted (SDES-SRTP), and its inbound password be proven under TLS.
    #[serde(default = "yes")]
    pub encrypted: bool,
    /// Whether apps hear what it plays before the answer: they then show the call as connected already.
    #[serde(default)]
    pub early_media: bool,
    /// Whether it is told by whom a call was sent on that is forwarded to a number (Diversion, RFC 5806).
    #[serde(default)]
    pub diversion: bool,
    /// Calls that it carries for us at once.
    #[serde(default = "many_calls")]
    pub max_calls: usize,
    /// Calls that we begin by it within an hour.
    #[serde(default = "many_an_hour")]
    pub max_calls_per_hour: usize,
    /// Messages that we send by it within an hour.
    #[serde(default = "many_an_hour")]
    pub max_messages_per_hour: usize,
}

fn every_number() -> Vec<String> {
    vec!["+".into()]
}

fn yes() -> bool {
    true
}

fn many_calls() -> usize {
    30
}

fn many_an_hour() -> usize {
    600
}

impl std::fmt::Debug for Trunk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trunk").field("name", &self.name).finish_non_exhaustive()
    }
}

/// `[numbers]`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Numbers {
    /// The country where people dial, as in `43`; without it only international numbers are understood.
    pub country: String,
    /// What is dialled before a country.
    pub international: String,
    /// What is dialled before an area within the country.
    pub national: String,
    /// Short numbers for emergencies, each with the trunk that takes it as it is. None is dialled otherwise.
    pub emergency: BTreeMap<String, String>,
    /// Numbers of accounts: who is called by them, and what is shown where the account calls.
    pub accounts: BTreeMap<String, String>,
    /// The domain of numbers as XMPP addresses, as in `+431234@tel.example.org`. Empty: `tel.` before the first domain.
    pub domain: String,
    /// Calls to the telephone network that one account may begin within an hour.
    pub max_calls_per_hour: usize,
    /// Calls to the telephone network that one account may have at once.
    pub max_calls_per_account: usize,
    /// Messages to the telephone network that one account may send within an hour.
    pub max_messages_per_hour: usize,
    /// International numbers that nobody dials, by how they begin.
    pub denied: Vec<String>,
    /// International numbers that cost more than others, by how they begin.
    pub premium: Vec<String>,
    /// Who may dial those.
    pub premium_accounts: Vec<String>,
}

/// What costs more anywhere: satellites, international networks and shared-revenue services (ITU-T E.164.1).
const PREMIUM: [&str; 6] = ["+870", "+878", "+881", "+882", "+883", "+979"];

impl Default for Numbers {
    fn default() -> Self {
        Self {
            country: String::new(),
            international: "00".into(),
            national: "0".into(),
            emergency: BTreeMap::new(),
            accounts: BTreeMap::new(),
            domain: String::new(),
            max_calls_per_hour: 60,
            max_calls_per_account: 4,
            max_messages_per_hour: 60,
            denied: Vec::new(),
            premium: PREMIUM.iter().map(|prefix| (*prefix).to_owned()).collect(),
            premium_accounts: Vec::new(),
        }
    }
}

impl Trunk {
    /// What is wrong with it.
    pub(super) fn fault(&self) -> Option<String> {
        let name = &self.name;
        let fault = |text: &str| Some(format!("trunks: `{name}`: {text}"));
        if name.is_empty() {
            return fault("it has no name");
        }
        if !Uri::parse(&self.uri).is_ok_and(|uri| uri.is_sip()) {
            return fault("uri is no SIP URI");
        }
        if self.register && self.username.is_empty() {
            return fault("register needs a username");
        }
        if let Some(wrong) = self.sources.iter().find(|text| source(text).is_none()) {
            return fault(&format!("sources: `{wrong}` is no address"));
        }
        if self.inbound_username.is_empty() != self.inbound_password.is_empty() {
            return fault("inbound_username and inbound_password go together");
        }
        let mut numbers = self.prefixes.iter().chain(&self.denied);
        if let Some(wrong) = numbers.find(|text| !is_international(text)) {
            return fault(&format!("prefixes, denied: `{wrong}` does not begin with +"));
        }
        None
    }

    /// As the SIP server wants it.
    pub(crate) fn peer(&self) -> tandem_sip::config::Trunk {
        let sources = self.sources.iter().filter_map(|text| source(text)).collect();
        tandem_sip::config::Trunk {
            name: self.name.clone(),
            sources,
            tls_names: self.tls_names.clone(),
            account: login(&self.inbound_username, &self.inbound_password),
            secure: self.encrypted,
            trusted: self.trusted,
            uri: self.uri.clone(),
            registers: self.register,
            supervised: self.supervise,
            login: self.login(),
        }
    }

    /// Whether calls leave for it under TLS.
    pub(crate) fn is_secure(&self) -> bool {
        Uri::parse(&self.uri).is_ok_and(|uri| {
            let transport = uri.param("transport").unwrap_or_default();
            transport.eq_ignore_ascii_case("tls") || self.uri.starts_with("sips:")
        })
    }

    /// Who we are there.
    pub(crate) fn login(&self) -> Option<Login> {
        login(&self.username, &self.password)
    }
}

impl Numbers {
    /// What is wrong with them.
    pub(super) fn fault(&self, trunks: &[Trunk]) -> Option<String> {
        if !self.country.bytes().all(|b| b.is_ascii_digit()) {
            return Some("numbers: country is digits alone, as in 43".into());
        }
        for (number, trunk) in &self.emergency {
            if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
                return Some(format!("numbers: `{number}` is digits alone, as in 112"));
            }
            if !trunks.iter().any(|known| known.name == *trunk) {
                return Some(format!("numbers: `{number}` leads to `{trunk}`, which is no trunk"));
            }
        }
        for number in self.accounts.keys() {
            if !is_international(number) {
                return Some(format!("numbers: `{number}` does not begin with +"));
            }
        }
        let mut dialled = self.denied.iter().chain(&self.premium);
        if let Some(wrong) = dialled.find(|text| !is_international(text)) {
            return Some(format!("numbers: `{wrong}` does not begin with +"));
        }
        let is_account =
            |text: &str| Jid::parse(text).is_ok_and(|jid| jid.node().is_some() && jid.is_bare());
        let mut accounts = self.accounts.values().chain(&self.premium_accounts);
        let wrong = accounts.find(|account| !is_account(account))?;
        Some(format!("numbers: `{wrong}` is no account"))
    }
}

fn login(username: &str, password: &str) -> Option<Login> {
    let (username, password) = (username.to_owned(), password.to_owned());
    (!username.is_empty()).then_some(Login { username, password })
}

fn is_international(text: &str) -> bool {
    text.strip_prefix('+').is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()))
}

fn source(text: &str) -> Option<Source> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(Source { ip, port: None });
    }
    let address: SocketAddr = text.parse().ok()?;
    Some(Source { ip: address.ip(), port: Some(address.port()) })
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn what_is_wrong_with_a_trunk_or_a_number_is_said() {
        let one = "[[trunks]]\nname = \"world\"\nuri = \"sip:world.example\"\n";
        let read = |text: &str| {
            let text = format!("domains = [\"example.org\"]\n{text}");
            Config::parse(&text, "test", []).map_err(|fault| fault.to_string())
        };
        let table = [
            ("[[trunks]]\nname = \"\"\nuri = \"sip:a\"\n", "no name"),
            ("[[trunks]]\nname = \"a\"\nuri = \"tel:+43\"\n", "no SIP URI"),
            (&format!("{one}register = true\n"), "needs a username"),
            (&format!("{one}sources = [\"here\"]\n"), "no address"),
            (&format!("{one}prefixes = [\"43\"]\n"), "begin with +"),
            (&format!("{one}denied = [\"0043\"]\n"), "begin with +"),
            (&format!("{one}inbound_username = \"a\"\n"), "go together"),
            (&format!("{one}inbound_password = \"a\"\n"), "go together"),
            ("[numbers]\npremium = [\"900\"]\n", "begin with +"),
            ("[numbers]\ndenied = [\"+49x\"]\n", "begin with +"),
            ("[numbers]\npremium_accounts = [\"ana\"]\n", "no account"),
            ("[numbers.emergency]\n112 = \"nobody\"\n", "no trunk"),
        ];
        for (text, expected) in table {
            let fault = read(text).unwrap_err();
            assert!(fault.contains(expected), "{text}: {fault}");
        }
        let whole = format!(
            "{one}sources = [\"192.0.2.1:5060\", \"2001:db8::1\"]\ntls_names = [\"world.example\"]\n\
             inbound_username = \"a\"\ninbound_password = \"b\"\ndenied = [\"+4390\"]\n"
        );
        let peer = read(&whole).unwrap().trunks[0].peer();
        assert_eq!((peer.sources.len(), peer.tls_names.len()), (2, 1));
        assert_eq!(peer.account.map(|login| login.password), Some("b".to_owned()));
        assert!(peer.secure && peer.trusted && peer.login.is_none());
    }
}
