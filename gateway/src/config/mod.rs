//! Settings: file, then environment, then flags. The manual is `conf/tandem.toml`, which a test compares with this.

mod archive;
mod chat;
mod components;
mod contact;
mod federation;
mod login;
mod pubsub;
mod registration;
mod relay;
mod rooms;
mod trunks;
mod web;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tandem_xmpp::jid::Jid;
use tandem_xmpp::stream::c2s::Limits;
use tandem_xmpp::stream::rate::Rate;

use crate::bridge::protection::Protection;

pub use self::archive::Archive;
pub use self::chat::{Chat, LongTexts};
pub use self::components::Component;
pub use self::contact::Contact;
pub use self::federation::{Dns, Federation, Host};
pub use self::login::Login;
pub use self::pubsub::PubSub;
pub use self::registration::Registration;
pub use self::relay::Relay;
use self::relay::own_address;
pub use self::rooms::Rooms;
pub use self::trunks::{Numbers, Trunk};
pub use self::web::{Filter, Turn, Upload, Web};

/// The commented example that `tandem config` prints.
pub const EXAMPLE: &str = include_str!("../../../conf/tandem.toml");

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Domains served here.
    pub domains: Vec<String>,
    /// Where the database lives.
    pub data_dir: PathBuf,
    /// Log filter.
    pub log: String,
    /// Relays of calls, announced to clients (XEP-0215).
    pub turn: Vec<Turn>,
    /// Content filters.
    pub filters: Vec<Filter>,
    /// Listeners.
    pub listen: Listen,
    /// Certificate files.
    pub tls: Tls,
    /// What pages and clients reach over HTTPS.
    pub web: Web,
    /// Files of users.
    pub upload: Upload,
    /// The XMPP server.
    pub xmpp: Xmpp,
    /// What accounts publish.
    pub pubsub: PubSub,
    /// History.
    pub archive: Archive,
    /// How accounts come to be.
    pub registration: Registration,
    /// Whom to write to about this server.
    pub contact: Contact,
    /// How clients log in.
    pub login: Login,
    /// Rooms.
    pub rooms: Rooms,
    /// Chat between apps and phones.
    pub chat: Chat,
    /// The SIP server.
    pub sip: Sip,
    /// The media of calls.
    pub media: Media,
    /// The STUN and TURN server.
    pub relay: Relay,
    /// Other servers.
    pub federation: Federation,
    /// Where they are.
    pub dns: Dns,
    /// External components.
    pub components: Vec<Component>,
    /// Ways to the telephone network.
    pub trunks: Vec<Trunk>,
    /// What numbers mean.
    pub numbers: Numbers,
}

/// What of phones may go in the clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Security {
    /// Nothing, but what `clear` names.
    Required,
    /// Everything that a phone does not encrypt by itself.
    Optional,
}

/// `[sip]`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sip {
    /// Whether everything of phones is encrypted.
    pub security: Security,
    /// Accounts that are excepted.
    pub clear: Vec<String>,
    /// The address told to phones, where it is not the one they reach us by.
    pub advertised: Option<IpAddr>,
    /// Seconds of a registration that asks for no time.
    pub default_expires: u32,
    /// Shortest registration.
    pub min_expires: u32,
    /// Longest registration.
    pub max_expires: u32,
    /// Seconds within which a phone that keeps flows open (RFC 5626) gives a sign of life.
    pub flow_timer: u32,
    /// Most phones of one account.
    pub max_contacts: usize,
    /// Whether MD5 digests are taken.
    pub allow_md5: bool,
    /// Whether digests over the body are offered.
    pub auth_int: bool,
    /// Bytes of one message.
    pub max_message_bytes: usize,
    /// Transactions in work before new requests get a 503.
    pub max_transactions: usize,
    /// Messages read a second, of one address.
    pub max_messages_per_second: u32,
    /// Requests without credentials answered a second, of one address.
    pub max_strangers_per_second: u32,
    /// Whether people of other SIP domains are reached, and reach accounts here: `closed`, `allow` (those of the domains
    /// below) or `open`.
    pub foreign: tandem_sip::config::Policy,
    /// The domains that are named: who claims to call from there has to come from there.
    pub foreign_domains: Vec<String>,
    /// Domains that are excepted from `security`.
    pub foreign_clear: Vec<String>,
    /// The domain of their people as XMPP addresses; empty: `sip.` and the first domain.
    pub foreign_domain: String,
    /// Calls and messages from other domains taken of one address a minute.
    pub max_foreign_per_minute: u32,
    /// How the User-Agent of scanners begins.
    pub scanners: Vec<String>,
    /// Seconds that a call lives without a sign of life (RFC 4028); 0: as long as the peer likes.
    pub session_expires: u32,
    /// Shortest such time taken from a phone.
    pub min_session_expires: u32,
    /// Where sleeping phones are woken (RFC 8599), by push service.
    pub push: BTreeMap<String, String>,
    /// Seconds that a call waits for a phone that was woken.
    pub push_wait: u32,
}

/// `[media]`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Media {
    /// UDP address where WebRTC and Jingle clients send their media; port 0 takes a free one.
    pub webrtc: SocketAddr,
    /// Addresses told to clients. Empty: the one above, or this machine's own when that is 0.0.0.0.
    pub advertised: Vec<IpAddr>,
    /// Address where phones send their media.
    pub rtp: IpAddr,
    /// The address told to phones, where it is another.
    pub rtp_advertised: Option<IpAddr>,
    /// First and last UDP port for phones.
    pub rtp_ports: (u16, u16),
}

/// `[listen]`: addresses by protocol.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    /// XMPP with STARTTLS.
    pub xmpp: Vec<SocketAddr>,
    /// XMPP over TLS.
    pub xmpps: Vec<SocketAddr>,
    /// Other servers, with STARTTLS.
    pub s2s: Vec<SocketAddr>,
    /// Other servers over TLS.
    pub s2s_tls: Vec<SocketAddr>,
    /// SIP over UDP and TCP.
    pub sip: Vec<SocketAddr>,
    /// SIP over TLS.
    pub sips: Vec<SocketAddr>,
    /// Message sessions of phones (MSRP).
    pub msrp: Vec<SocketAddr>,
    /// Message sessions over TLS.
    pub msrps: Vec<SocketAddr>,
    /// STUN and TURN over UDP and TCP.
    pub turn: Vec<SocketAddr>,
    /// TURN over TLS.
    pub turns: Vec<SocketAddr>,
    /// HTTPS.
    pub https: Vec<SocketAddr>,
    /// Metrics over plain HTTP.
    pub metrics: Vec<SocketAddr>,
    /// External components (XEP-0114), in the clear.
    pub components: Vec<SocketAddr>,
}

/// `[tls]`: both empty for a self-made certificate.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// PEM chain.
    pub certificate: PathBuf,
    /// PEM key.
    pub key: PathBuf,
}

/// `[xmpp]`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Xmpp {
    /// Most sessions of one account.
    pub max_sessions: usize,
    /// Most contacts of one account.
    pub max_contacts: usize,
    /// Bytes of one stanza.
    pub max_stanza_bytes: usize,
    /// Bytes of an unauthenticated stream.
    pub max_unauthenticated_bytes: usize,
    /// Seconds until authenticated.
    pub login_seconds: u64,
    /// Seconds of silence before a ping.
    pub idle_seconds: u64,
    /// Bytes a client may send in a second.
    pub max_bytes_per_second: u32,
    /// Stanzas a client may send in a second.
    pub max_stanzas_per_second: u32,
    /// Connections from one address that are not logged in.
    pub max_unauthenticated_per_address: usize,
    /// Seconds a session waits for its client after the connection is lost.
    pub resume_seconds: u64,
    /// Bytes queued for a client.
    pub max_queued_bytes: usize,
    /// PBKDF2 rounds.
    pub scram_iterations: u32,
    /// Most entries of one block list.
    pub max_blocked: usize,
    /// Accounts that may administer the server.
    pub admins: Vec<String>,
    /// Whether the version is told.
    pub show_version: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            domains: vec!["localhost".into()],
            data_dir: "/var/lib/tandem".into(),
            log: "info".into(),
            turn: Vec::new(),
            filters: Vec::new(),
            listen: Listen::default(),
            tls: Tls::default(),
            web: Web::default(),
            upload: Upload::default(),
            xmpp: Xmpp::default(),
            pubsub: PubSub::default(),
            archive: Archive::default(),
            registration: Registration::default(),
            contact: Contact::default(),
            login: Login::default(),
            rooms: Rooms::default(),
            chat: Chat::default(),
            sip: Sip::default(),
            media: Media::default(),
            relay: Relay::default(),
            federation: Federation::default(),
            dns: Dns::default(),
            components: Vec::new(),
            trunks: Vec::new(),
            numbers: Numbers::default(),
        }
    }
}

impl Default for Listen {
    fn default() -> Self {
        let any = |port| vec![SocketAddr::from(([0, 0, 0, 0], port))];
        Self {
            xmpp: any(5222),
            xmpps: any(5223),
            s2s: any(5269),
            s2s_tls: any(5270),
            sip: any(5060),
            sips: any(5061),
            msrp: any(2855),
            msrps: any(2856),
            turn: any(3478),
            turns: any(5349),
            https: any(8443),
            metrics: vec![SocketAddr::from(([127, 0, 0, 1], 9100))],
            components: Vec::new(),
        }
    }
}

impl Default for Media {
    fn default() -> Self {
        Self {
            webrtc: SocketAddr::from(([0, 0, 0, 0], 3479)),
            advertised: Vec::new(),
            rtp: IpAddr::from([0, 0, 0, 0]),
            rtp_advertised: None,
            rtp_ports: (20_000, 29_999),
        }
    }
}

impl Default for Sip {
    fn default() -> Self {
        let usual = tandem_sip::Config::default();
        Self {
            security: Security::Required,
            clear: Vec::new(),
            advertised: None,
            default_expires: usual.default_expires_secs,
            min_expires: usual.min_expires_secs,
            max_expires: usual.max_expires_secs,
            flow_timer: usual.flow_timer_secs,
            max_contacts: usual.max_contacts,
            allow_md5: usual.allow_md5,
            auth_int: usual.auth_int,
            max_message_bytes: usual.max_message_bytes,
            max_transactions: usual.max_transactions,
            max_messages_per_second: usual.max_messages_per_second,
            max_strangers_per_second: usual.max_strangers_per_second,
            foreign: usual.foreign.policy,
            foreign_domains: Vec::new(),
            foreign_clear: Vec::new(),
            foreign_domain: String::new(),
            max_foreign_per_minute: usual.foreign.max_per_minute,
            scanners: usual.scanners,
            session_expires: usual.session_expires_secs,
            min_session_expires: usual.min_session_expires_secs,
            push: BTreeMap::new(),
            push_wait: usual.push_wait_secs,
        }
    }
}

impl Default for Xmpp {
    fn default() -> Self {
        Self {
            max_sessions: 50,
            max_contacts: 2_000,
            max_stanza_bytes: 256 * 1024,
            max_unauthenticated_bytes: 16 * 1024,
            login_seconds: 15,
            idle_seconds: 300,
            max_bytes_per_second: 8 * 1024 * 1024,
            max_stanzas_per_second: 5_000,
            max_unauthenticated_per_address: 200,
            resume_seconds: 300,
            max_queued_bytes: 4 * 1024 * 1024,
            scram_iterations: 10_000,
            max_blocked: 1_000,
            admins: Vec::new(),
            show_version: true,
        }
    }
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It does not say what it should.
    #[error("{origin}{line}: {message}")]
    Invalid {
        /// File or variable.
        origin: String,
        /// `, line N`, when known.
        line: String,
        /// What is wrong, with the nearest known key for an unknown one.
        message: String,
    },
}

impl Config {
    /// Reads a file and the environment.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] that names the key and its line.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        let environment = std::env::vars().filter(|(name, _)| name.starts_with("TANDEM_"));
        Self::parse(&text, &path.display().to_string(), environment)
    }

    /// Reads text; `environment` overrides it.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] that names the key and its line.
    pub fn parse(
        text: &str,
        origin: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let invalid = |error: toml::de::Error| explain(&error, text, origin);
        toml::from_str::<Self>(text).map_err(invalid)?;
        let mut table: toml::Table = toml::from_str(text).map_err(invalid)?;
        for (name, value) in environment {
            override_with(&mut table, &name, &value);
        }
        let config: Self = table.try_into().map_err(|e| explain(&e, "", "environment"))?;
        config.check(origin)?;
        Ok(config)
    }

    fn check(&self, origin: &str) -> Result<(), ConfigError> {
        let fault = |message: &str| ConfigError::Invalid {
            origin: origin.to_owned(),
            line: String::new(),
            message: message.to_owned(),
        };
        if self.domains.is_empty() {
            return Err(fault("domains: at least one is needed"));
        }
        for domain in &self.domains {
            let parsed = tandem_xmpp::jid::Jid::parse(domain);
            if parsed.map_or(true, |j| j.as_str() != domain || j.node().is_some()) {
                return Err(fault(&format!("domains: `{domain}` is no domain in lower case")));
            }
        }
        if let Some(message) = self.components.iter().find_map(|c| c.fault(&self.domains)) {
            return Err(fault(&message));
        }
        if let Some(message) = self.trunks.iter().find_map(Trunk::fault) {
            return Err(fault(&message));
        }
        if let Some(message) = self.numbers.fault(&self.trunks) {
            return Err(fault(&message));
        }
        if let Some(message) = self.relay.fault() {
            return Err(fault(&message));
        }
        if self.xmpp.max_stanza_bytes < 10_000 {
            return Err(fault("xmpp.max_stanza_bytes: RFC 6120 asks for 10000 or more"));
        }
        let is_account =
            |a: &String| Jid::parse(a).is_ok_and(|j| j.node().is_some() && j.is_bare());
        if let Some(wrong) = self.sip.clear.iter().find(|a| !is_account(a)) {
            return Err(fault(&format!("sip.clear: `{wrong}` is not user@domain")));
        }
        let is_token = |name: &str| {
            !name.is_empty()
                && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'))
        };
        let is_wrong = |(name, place): &(&String, &String)| {
            !is_token(name) || crate::push::this_place(place).is_none()
        };
        if let Some((name, _)) = self.sip.push.iter().find(is_wrong) {
            return Err(fault(&format!(
                "sip.push: `{name}` is no push service in lower case with an http or https address"
            )));
        }
        if let Some(wrong) = self.wrong_foreign() {
            return Err(fault(&format!("sip: `{wrong}` is no other domain in lower case")));
        }
        if let Some(admin) = self.xmpp.admins.iter().find(|a| !is_account(a)) {
            return Err(fault(&format!("xmpp.admins: `{admin}` is not user@domain")));
        }
        if let Some(address) = self.contact.malformed() {
            return Err(fault(&format!(
                "contact: `{address}` is no URI such as mailto:me@example.org"
            )));
        }
        if self.tls.certificate.as_os_str().is_empty() != self.tls.key.as_os_str().is_empty() {
            return Err(fault("tls: certificate and key go together"));
        }
        match self.check_web() {
            Some(message) => Err(fault(&message)),
            None => Ok(()),
        }
    }

    /// As the media engine wants them.
    pub fn media_config(&self) -> tandem_media::Config {
        let mut advertised = self.media.advertised.clone();
        if advertised.is_empty() && self.media.webrtc.ip().is_unspecified() {
            advertised.extend(own_address(true));
        }
        tandem_media::Config {
            webrtc: self.media.webrtc,
            webrtc_advertised: advertised,
            rtp: self.media.rtp,
            rtp_advertised: self
                .media
                .rtp_advertised
                .or_else(|| own_address(true).filter(|_| self.media.rtp.is_unspecified())),
            rtp_ports: self.media.rtp_ports,
            ..tandem_media::Config::default()
        }
    }

    /// As the SIP server wants them.
    pub fn sip_config(&self) -> tandem_sip::Config {
        tandem_sip::Config {
            domains: self.domains.clone(),
            default_expires_secs: self.sip.default_expires,
            min_expires_secs: self.sip.min_expires,
            max_expires_secs: self.sip.max_expires,
            flow_timer_secs: self.sip.flow_timer,
            max_contacts: self.sip.max_contacts,
            allow_md5: self.sip.allow_md5,
            auth_int: self.sip.auth_int,
            max_message_bytes: self.sip.max_message_bytes,
            max_transactions: self.sip.max_transactions,
            max_messages_per_second: self.sip.max_messages_per_second,
            max_strangers_per_second: self.sip.max_strangers_per_second,
            scanners: self.sip.scanners.clone(),
            session_expires_secs: self.sip.session_expires,
            min_session_expires_secs: self.sip.min_session_expires,
            push_services: self.sip.push.keys().cloned().collect(),
            push_wait_secs: self.sip.push_wait,
            require_tls: self.sip.security == Security::Required,
            clear_accounts: self.sip.clear.clone(),
            trunks: self.trunks.iter().map(Trunk::peer).collect(),
            foreign: self.foreign(),
            ..tandem_sip::Config::default()
        }
    }

    /// Whose phones have to be encrypted.
    pub fn protection(&self) -> Protection {
        let clear = self.sip.clear.iter().filter_map(|account| Jid::parse(account).ok());
        Protection::new(self.sip.security == Security::Required, clear)
    }

    /// The domain of numbers as XMPP addresses.
    pub fn number_domain(&self) -> String {
        match (self.numbers.domain.as_str(), self.domains.first()) {
            ("", Some(first)) => format!("tel.{first}"),
            (domain, _) => domain.to_owned(),
        }
    }

    fn wrong_foreign(&self) -> Option<&String> {
        let named = self.sip.foreign_domains.iter().chain(&self.sip.foreign_clear);
        let is_domain = |domain: &String| {
            Jid::parse(domain).is_ok_and(|j| j.as_str() == domain && j.domain() == domain)
                && !self.domains.contains(domain)
        };
        let own = Some(&self.sip.foreign_domain).filter(|domain| !domain.is_empty());
        named.chain(own).find(|domain| !is_domain(domain))
    }

    /// The domain of people of other SIP domains as XMPP addresses.
    pub fn foreign_domain(&self) -> String {
        match (self.sip.foreign_domain.as_str(), self.domains.first()) {
            ("", Some(first)) => format!("sip.{first}"),
            (domain, _) => domain.to_owned(),
        }
    }

    fn foreign(&self) -> tandem_sip::config::Foreign {
        let hosts = self.components.iter().map(|component| component.host.clone());
        tandem_sip::config::Foreign {
            policy: self.sip.foreign,
            domains: self.sip.foreign_domains.clone(),
            clear: self.sip.foreign_clear.clone(),
            reserved: hosts.chain([self.number_domain(), self.foreign_domain()]).collect(),
            max_per_minute: self.sip.max_foreign_per_minute,
        }
    }

    /// The SIP listeners: each address of `sip` for UDP and for TCP, each of `sips` for TLS.
    pub fn sip_listeners(&self) -> Vec<tandem_sip::Listener> {
        use tandem_sip::transport::Protocol;
        let listener = |protocol| {
            move |addr: &SocketAddr| tandem_sip::Listener {
                protocol,
                addr: *addr,
                advertised: self.sip.advertised,
            }
        };
        let udp = self.listen.sip.iter().map(listener(Protocol::Udp));
        let tcp = self.listen.sip.iter().map(listener(Protocol::Tcp));
        udp.chain(tcp).chain(self.listen.sips.iter().map(listener(Protocol::Tls))).collect()
    }

    /// As the XMPP server wants them.
    pub fn xmpp_config(&self) -> tandem_xmpp::Config {
        tandem_xmpp::Config {
            domains: self.domains.clone(),
            filters: self.filter_rules(),
            components: self.components.iter().map(|c| c.host.clone()).collect(),
            limits: Limits {
                unauthenticated_bytes: self.xmpp.max_unauthenticated_bytes,
                unauthenticated_time: Duration::from_secs(self.xmpp.login_seconds),
                stanza_bytes: self.xmpp.max_stanza_bytes,
                idle: Duration::from_secs(self.xmpp.idle_seconds),
                resume: Duration::from_secs(self.xmpp.resume_seconds),
                bytes: Rate::of(self.xmpp.max_bytes_per_second),
                stanzas: Rate::of(self.xmpp.max_stanzas_per_second),
                ..Limits::default()
            },
            max_sessions: self.xmpp.max_sessions,
            max_contacts: self.xmpp.max_contacts,
            scram_iterations: self.xmpp.scram_iterations,
            plain: self.login.plain,
            max_queued_bytes: self.xmpp.max_queued_bytes,
            max_strangers: self.xmpp.max_unauthenticated_per_address,
            max_blocked: self.xmpp.max_blocked,
            admins: self.xmpp.admins.iter().filter_map(|a| Jid::parse(a).ok()).collect(),
            show_version: self.xmpp.show_version,
            registration: self.registration_config(),
            contact_addresses: self.contact.addresses(),
            pubsub: self.pubsub.limits(),
            rooms: self.rooms.limits(),
        }
    }
}

/// Variables that name no setting are left alone: others may use the prefix.
fn override_with(table: &mut toml::Table, name: &str, value: &str) {
    let Some(key) = name.strip_prefix("TANDEM_") else { return };
    let key = key.to_lowercase();
    let Ok(known) = toml::Table::try_from(Config::default()) else { return };
    let mut path = key.split("__");
    let (Some(first), second) = (path.next(), path.next()) else { return };
    let parsed = toml::from_str::<toml::Table>(&format!("v = {value}"))
        .ok()
        .and_then(|mut t| t.remove("v"))
        .unwrap_or_else(|| toml::Value::String(value.to_owned()));
    match (known.get(first), second) {
        (Some(toml::Value::Table(section)), Some(second)) if section.contains_key(second) => {
            let entry =
                table.entry(first).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            if let toml::Value::Table(section) = entry {
                section.insert(second.to_owned(), parsed);
            }
        }
        (Some(toml::Value::Table(_)) | None, _) => {}
        (Some(_), _) => {
            table.insert(first.to_owned(), parsed);
        }
    }
}

fn explain(error: &toml::de::Error, text: &str, origin: &str) -> ConfigError {
    let line = error.span().map_or(String::new(), |span| {
        let before = text.get(..span.start).unwrap_or_default();
        format!(", line {}", before.matches('\n').count() + 1)
    });
    let mut message = error.message().to_owned();
    let mut quoted = message.split('`').skip(1).step_by(2).map(str::to_owned);
    if message.starts_with("unknown field")
        && let Some(unknown) = quoted.next()
        && let Some(nearest) = quoted.min_by_key(|known| distance(&unknown, known))
    {
        message = format!("unknown key `{unknown}`; did you mean `{nearest}`?");
    }
    ConfigError::Invalid { origin: origin.to_owned(), line, message }
}

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for (y, pair) in b.iter().zip(row.windows(2)) {
            let [diagonal, above] = pair else { continue };
            let left = next.last().copied().unwrap_or_default();
            next.push((diagonal + usize::from(x != *y)).min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, "tandem.toml", []).map_err(|e| e.to_string())
    }

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(parse(""), Ok(Config::default()));
    }

    #[test]
    fn the_example_says_every_setting_with_its_default() {
        assert_eq!(parse(EXAMPLE), Ok(Config::default()));
        let example: toml::Table = toml::from_str(EXAMPLE).unwrap();
        assert_eq!(example, toml::Table::try_from(Config::default()).unwrap());
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_the_nearest_one() {
        let table = [
            ("\ndomain = []", "tandem.toml, line 2: unknown key `domain`; did you mean `domains`?"),
            (
                "[xmpp]\n# x\nmax_sesions = 3",
                "tandem.toml, line 3: unknown key `max_sesions`; did you mean `max_sessions`?",
            ),
            (
                "[listen]\nhttp = []",
                "tandem.toml, line 2: unknown key `http`; did you mean `https`?",
            ),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text), Err(expected.to_owned()));
        }
    }

    #[test]
    fn nonsense_does_not_start() {
        for text in [
            "domains = []",
            "domains = ['A B']",
            "[xmpp]\nmax_stanza_bytes = 5",
            "[tls]\nkey = 'x'",
            "[xmpp]\nadmins = ['ana']",
            "[contact]\nabuse = ['me@example.org']",
            "[sip]\npush = { fcm = 'push.example.org' }",
            "[sip]\npush = { 'a b' = 'https://push.example.org' }",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_environment_overrides_the_file() {
        let environment = [
            ("TANDEM_DOMAINS".to_owned(), "[\"a.example\"]".to_owned()),
            ("TANDEM_LOG".to_owned(), "debug".to_owned()),
            ("TANDEM_XMPP__MAX_SESSIONS".to_owned(), "7".to_owned()),
            ("TANDEM_BIN".to_owned(), "not a setting".to_owned()),
        ];
        let config = Config::parse("log = 'warn'", "x", environment).unwrap();
        assert_eq!((config.log.as_str(), config.xmpp.max_sessions), ("debug", 7));
        assert_eq!(config.domains, ["a.example"]);
    }
}
