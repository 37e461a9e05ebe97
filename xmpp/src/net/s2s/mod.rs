//! Sockets and tasks of federation: one way out for each domain pair, streams that other servers open, and the looks back
//! of dialback (RFC 6120, XEP-0220, XEP-0368). Decides nothing that the machines in `stream` decide.

mod certificates;
mod connect;
mod incoming;
mod link;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustls::{ClientConfig, RootCertStore};

pub use self::certificates::AnyCertificate;
use super::GOODBYE;
use super::pipe::Pipe;
use crate::jid::Jid;
use crate::ports::{Dns, Remote};
use crate::service::Server;
use crate::stream::backoff::Rest;

/// Domains whose rest is remembered.
const MAX_RESTS: usize = 10_000;

/// `[federation]` as the server uses it.
pub struct Settings {
    /// Whether other servers are talked to at all.
    pub enabled: bool,
    /// The only domains, with those below them, that are talked to; empty for all.
    pub allow: Vec<String>,
    /// Domains, with those below them, that are not talked to.
    pub deny: Vec<String>,
    /// Whether another server must have a valid certificate; dialback alone does not prove it then.
    pub require_valid_certificates: bool,
    /// Whom certificates must come from.
    pub roots: RootCertStore,
    /// Secret of dialback keys; the same across restarts.
    pub secret: [u8; 32],
    /// Bytes that wait for one domain pair.
    pub max_queued_bytes: usize,
    /// Domain pairs at once.
    pub max_links: usize,
    /// How long a stanza waits for a domain that cannot be reached.
    pub patience: Duration,
    /// TLS with our certificate and [`AnyCertificate`]: with ALPN for direct TLS, then without.
    pub tls: [Arc<ClientConfig>; 2],
    /// Where others are.
    pub dns: Arc<dyn Dns>,
}

impl Settings {
    /// Whether this domain may be talked to.
    fn admits(&self, domain: &str) -> bool {
        let is_in = |list: &[String]| list.iter().any(|entry| is_within(domain, entry));
        self.enabled && !is_in(&self.deny) && (self.allow.is_empty() || is_in(&self.allow))
    }
}

fn is_within(domain: &str, entry: &str) -> bool {
    domain == entry || domain.strip_suffix(entry).is_some_and(|rest| rest.ends_with('.'))
}

/// From which of our domains to which of others.
type Pair = (String, String);

/// Federation of this node. Cheap to clone.
#[derive(Clone)]
pub struct Federation(Arc<Inner>);

struct Inner {
    settings: Settings,
    server: OnceLock<Server>,
    links: Mutex<Links>,
}

#[derive(Default)]
struct Links {
    open: HashMap<Pair, Pipe>,
    rests: HashMap<Pair, Rest>,
}

impl Federation {
    /// Federation without links.
    pub fn new(settings: Settings) -> Self {
        Self(Arc::new(Inner { settings, server: OnceLock::new(), links: Mutex::default() }))
    }

    /// Tells whose stanzas these are; nothing is sent or taken before.
    pub fn serve(&self, server: Server) {
        let _ = self.0.server.set(server);
    }

    /// How many domain pairs have a way out.
    pub fn link_count(&self) -> usize {
        self.links().open.len()
    }

    fn links(&self) -> MutexGuard<'_, Links> {
        self.0.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// Queues a stanza on the way of its pair, which is opened if it is not.
    fn queue(&self, server: &Server, pair: Pair, stanza: Bytes) -> bool {
        let now = Instant::now();
        let mut links = self.links();
        if let Some(pipe) = links.open.get(&pair) {
            return pipe.push(stanza);
        }
        if links.rests.get(&pair).is_some_and(|rest| rest.lasts(now)) {
            return false;
        }
        if links.open.len() >= self.settings().max_links {
            return false;
        }
        let pipe = Pipe::new(self.settings().max_queued_bytes);
        if !pipe.push(stanza) {
            return false;
        }
        links.open.insert(pair.clone(), pipe.clone());
        drop(links);
        tokio::spawn(link::run(self.clone(), server.clone(), pair, pipe));
        true
    }

    /// A way is closed unless something was queued for it meanwhile.
    fn close_if_empty(&self, pair: &Pair, pipe: &Pipe) -> bool {
        let mut links = self.links();
        let is_empty = pipe.is_empty();
        if is_empty {
            links.open.remove(pair);
        }
        is_empty
    }

    /// A domain cannot be reached: the way is closed, and nobody waits for it for a while.
    fn give_up(&self, pair: &Pair, pipe: &Pipe) -> Vec<Bytes> {
        let now = Instant::now();
        let mut links = self.links();
        links.open.remove(pair);
        let before = links.rests.remove(pair);
        if links.rests.len() >= MAX_RESTS {
            links.rests.retain(|_, rest| !rest.is_forgotten(now));
        }
        if links.rests.len() < MAX_RESTS {
            let before = before.filter(|rest| !rest.is_forgotten(now));
            links.rests.insert(pair.clone(), Rest::after(before, now));
        }
        drop(links);
        pipe.close()
    }

    fn reached(&self, pair: &Pair) {
        self.links().rests.remove(pair);
    }
}

impl Remote for Federation {
    fn send(&self, from: &Jid, to: &Jid, stanza: Bytes) -> bool {
        let Some(server) = self.0.server.get() else { return false };
        // Out of our domains only, and only where it leads out.
        if !self.settings().admits(to.domain()) || !server.serves(from.domain()) {
            return false;
        }
        self.queue(server, (from.domain().to_owned(), to.domain().to_owned()), stanza)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_stands_for_the_domains_below_it_too() {
        for (domain, expected) in [
            ("a.example", true),
            ("rooms.a.example", true),
            ("ba.example", false),
            ("example", false),
        ] {
            assert_eq!(is_within(domain, "a.example"), expected, "{domain}");
        }
    }
}
