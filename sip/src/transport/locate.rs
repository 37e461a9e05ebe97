//! Where a request goes (RFC 3263 section 4, RFC 2782, RFC 7984): questions to the DNS, and the order in which hosts are
//! tried.
//!
//! Pure: [`Search`] asks, somebody answers, and in the end there is a list of [`Hop`]s.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use super::Protocol;
use crate::msg::{Host, Scheme, Uri};

/// Hosts that are tried for one request at most.
const MAX_HOPS: usize = 12;
/// Names that are looked up for one request at most.
const MAX_QUESTIONS: usize = 24;

/// One place to try.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Hop {
    /// How.
    pub protocol: Protocol,
    /// Where.
    pub address: SocketAddr,
    /// Who has to be there: the name that the certificate of a TLS hop has to bear (RFC 5922 section 4), the URI's own and
    /// not one that DNS gave.
    pub name: String,
}

/// A NAPTR record (RFC 3403).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Naptr {
    /// Lower ones exclude higher ones.
    pub order: u16,
    /// Lower is preferred.
    pub preference: u16,
    /// `s`: the replacement has SRV records.
    pub flags: String,
    /// `SIP+D2U`, `SIPS+D2T` and others.
    pub service: String,
    /// The name to go on with.
    pub replacement: String,
}

/// An SRV record (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Srv {
    /// Lower is tried first.
    pub priority: u16,
    /// Share among those of one priority.
    pub weight: u16,
    /// Port.
    pub port: u16,
    /// Host; `.` says that there is no such service.
    pub target: String,
}

/// What has to be looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// NAPTR records of a name.
    Naptr(String),
    /// SRV records of a name.
    Srv(String),
    /// A and AAAA records of a name.
    Addresses(String),
}

/// What was found; nothing is an answer too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// NAPTR records.
    Naptr(Vec<Naptr>),
    /// SRV records.
    Srv(Vec<Srv>),
    /// Addresses in the order to try.
    Addresses(Vec<IpAddr>),
}

/// One search for the hops of a URI.
#[derive(Debug)]
pub struct Search {
    name: String,
    host: String,
    port: Option<u16>,
    /// The protocol that the URI names, or what its scheme means.
    usual: Protocol,
    /// What we can speak, the preferred first.
    can: Vec<Protocol>,
    random: u64,
    steps: VecDeque<Step>,
    asked: usize,
    hops: Vec<Hop>,
}

#[derive(Debug)]
enum Step {
    Naptr,
    /// SRV records of that name, for that protocol.
    Srv(String, Protocol),
    Host(String, u16, Protocol),
}

impl Search {
    /// Begins for a Request-URI or the topmost Route. `can` are the protocols we can open, `random` decides among equals.
    /// `None`: nothing of ours reaches such a URI.
    pub fn new(uri: &Uri, can: &[Protocol], random: u64) -> Option<Self> {
        let is_secure = match uri.scheme {
            Scheme::Sip => false,
            Scheme::Sips => true,
            _ => return None,
        };
        let usable =
            |protocol: &Protocol| !protocol.is_websocket() && (!is_secure || protocol.is_secure());
        let can: Vec<Protocol> = can.iter().copied().filter(usable).collect();
        let wanted = uri.param("transport").map(str::to_ascii_lowercase);
        let wanted = match wanted.as_deref() {
            None => None,
            Some("udp") if !is_secure => Some(Protocol::Udp),
            // RFC 5630 section 3.1.4: `sips` over TCP is TLS.
            Some("tcp") if is_secure => Some(Protocol::Tls),
            Some("tcp") => Some(Protocol::Tcp),
            Some("tls") => Some(Protocol::Tls),
            Some(_) => return None,
        };
        if wanted.is_some_and(|wanted| !can.contains(&wanted)) {
            return None;
        }
        let by_scheme = if is_secure { Protocol::Tls } else { Protocol::Udp };
        let by_scheme =
            if can.contains(&by_scheme) { Some(by_scheme) } else { can.first().copied() };
        let usual = wanted.or(by_scheme)?;
        let target = uri.param("maddr").and_then(Host::parse).unwrap_or_else(|| uri.host.clone());
        let mut search = Self {
            name: uri.host.to_string().trim_end_matches('.').to_ascii_lowercase(),
            host: target.to_string().trim_end_matches('.').to_ascii_lowercase(),
            port: uri.port,
            usual,
            can,
            random,
            steps: VecDeque::new(),
            asked: 0,
            hops: Vec::new(),
        };
        search.begin(&target, wanted);
        Some(search)
    }

    /// Sections 4.1 and 4.2, what the URI alone decides.
    fn begin(&mut self, target: &Host, wanted: Option<Protocol>) {
        if let Some(ip) = target.ip() {
            let protocol = self.usual;
            let port = self.port.unwrap_or(protocol.default_port());
            self.push(protocol, SocketAddr::new(ip, port));
            return;
        }
        match (wanted, self.port) {
            (_, Some(port)) => {
                let protocol = self.usual;
                self.steps.push_back(Step::Host(self.host.clone(), port, protocol));
            }
            (Some(protocol), None) => {
                self.steps.push_back(Step::Srv(service(protocol, &self.host), protocol));
            }
            (None, None) => self.steps.push_back(Step::Naptr),
        }
    }

    /// What to look up next. Without a question left, see [`Search::hops`].
    pub fn question(&self) -> Option<Question> {
        if self.hops.len() >= MAX_HOPS || self.asked >= MAX_QUESTIONS {
            return None;
        }
        Some(match self.steps.front()? {
            Step::Naptr => Question::Naptr(self.host.clone()),
            Step::Srv(name, _) => Question::Srv(name.clone()),
            Step::Host(name, ..) => Question::Addresses(name.clone()),
        })
    }

    /// What the last question found. A name that is not there, and a lookup that failed, have found nothing.
    pub fn answer(&mut self, found: Found) {
        let Some(step) = self.steps.pop_front() else { return };
        self.asked += 1;
        match (step, found) {
            (Step::Naptr, Found::Naptr(records)) => self.naptr(records),
            (Step::Srv(_, protocol), Found::Srv(records)) => self.srv(records, protocol),
            (Step::Host(_, port, protocol), Found::Addresses(ips)) => {
                for ip in ips {
                    self.push(protocol, SocketAddr::new(ip, port));
                }
            }
            _ => {}
        }
        if self.steps.is_empty() && self.hops.is_empty() {
            self.fall_back();
        }
    }

    /// The places in the order to try them, each once. Empty: it cannot be reached.
    pub fn hops(self) -> Vec<Hop> {
        self.hops
    }

    /// Section 4.1: the services that both sides have, as the domain prefers them. Without any, each that we have is asked
    /// for.
    fn naptr(&mut self, mut records: Vec<Naptr>) {
        records.sort_by_key(|record| (record.order, record.preference));
        let services: Vec<(String, Protocol)> = records
            .into_iter()
            .filter(|record| record.flags.eq_ignore_ascii_case("s"))
            .filter_map(|record| {
                let protocol = naptr_protocol(&record.service)?;
                let name = record.replacement.trim_end_matches('.').to_ascii_lowercase();
                (self.can.contains(&protocol) && !name.is_empty()).then_some((name, protocol))
            })
            .collect();
        if services.is_empty() {
            for protocol in self.can.clone() {
                self.steps.push_back(Step::Srv(service(protocol, &self.host), protocol));
            }
        }
        for (name, protocol) in services {
            self.steps.push_back(Step::Srv(name, protocol));
        }
    }

    /// RFC 2782: by priority, and by lot among those of one priority.
    fn srv(&mut self, records: Vec<Srv>, protocol: Protocol) {
        let mut left = records;
        left.retain(|record| !matches!(record.target.as_str(), "." | ""));
        let mut hosts = Vec::new();
        while let Some(priority) = left.iter().map(|record| record.priority).min() {
            // Those without weight stand first, so that they have a small chance.
            left.sort_by_key(|record| (record.priority, record.weight));
            let same = left.iter().take_while(|record| record.priority == priority);
            let total: u64 = same.clone().map(|record| u64::from(record.weight)).sum();
            let drawn = self.draw(total);
            let mut sum = 0;
            let chosen =
                left.iter().take_while(|record| record.priority == priority).position(|record| {
                    sum += u64::from(record.weight);
                    sum >= drawn
                });
            let record = left.remove(chosen.unwrap_or(0));
            let host = record.target.trim_end_matches('.').to_ascii_lowercase();
            hosts.push(Step::Host(host, record.port, protocol));
        }
        // These come before the services that are asked for later.
        for step in hosts.into_iter().take(MAX_HOPS).rev() {
            self.steps.push_front(step);
        }
    }

    /// A number up to and including `most`.
    fn draw(&mut self, most: u64) -> u64 {
        // Knuth's generator; a lot among servers needs no better one.
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.random >> 33) % (most + 1)
    }

    /// Section 4.2: without SRV records, the host itself.
    fn fall_back(&mut self) {
        if self.port.is_some() || self.asked >= MAX_QUESTIONS {
            return;
        }
        let port = self.usual.default_port();
        // A second time it has no address either.
        self.port = Some(port);
        self.steps.push_back(Step::Host(self.host.clone(), port, self.usual));
    }

    fn push(&mut self, protocol: Protocol, address: SocketAddr) {
        let hop = Hop { protocol, address, name: self.name.clone() };
        if self.hops.len() < MAX_HOPS && !self.hops.contains(&hop) {
            self.hops.push(hop);
        }
    }
}

fn service(protocol: Protocol, host: &str) -> String {
    match protocol {
        Protocol::Udp => format!("_sip._udp.{host}"),
        Protocol::Tcp => format!("_sip._tcp.{host}"),
        _ => format!("_sips._tcp.{host}"),
    }
}

fn naptr_protocol(service: &str) -> Option<Protocol> {
    match service.to_ascii_uppercase().as_str() {
        "SIP+D2U" => Some(Protocol::Udp),
        "SIP+D2T" => Some(Protocol::Tcp),
        "SIPS+D2T" => Some(Protocol::Tls),
        _ => None,
    }
}
