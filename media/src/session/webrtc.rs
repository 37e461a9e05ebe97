//! The transport of a WebRTC leg: ICE decides the path, DTLS on that path gives the keys (RFC 8827 section 6.5).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::control::{Candidate, RemoteTransport, Setup};
use crate::dtls::{Association, Identity, SrtpKeys};
use crate::ice::{Agent, Credentials, Event};
use crate::stun;

/// The handshake may take this long once a path is known.
const HANDSHAKE: Duration = Duration::from_secs(20);

/// Longest record that is kept.
const MAX_EARLY: usize = 1_500;

/// What became of an input.
#[derive(Debug)]
pub enum Outcome {
    /// Nothing to tell.
    Nothing,
    /// Media goes this way from now on.
    Path(SocketAddr),
    /// Keys are agreed.
    Keys(SrtpKeys),
    /// The leg is dead.
    Failed(String),
}

/// ICE and DTLS of one leg.
pub struct WebRtc {
    /// The path.
    pub agent: Agent,
    identity: Arc<Identity>,
    association: Option<Association>,
    /// What the peer said, until DTLS starts.
    peer: Option<(Setup, Vec<String>)>,
    give_up_at: Option<Instant>,
    /// The first DTLS record, when it overtook the answer to our check: it would be sent again only a second later.
    early: Option<(SocketAddr, Vec<u8>)>,
}

impl std::fmt::Debug for WebRtc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebRtc").field("agent", &self.agent).finish_non_exhaustive()
    }
}

impl WebRtc {
    /// Waits for the peer's description.
    pub fn new(
        ours: Credentials,
        controlling: bool,
        tie_breaker: u64,
        identity: Arc<Identity>,
    ) -> Self {
        let agent = Agent::new(ours, controlling, tie_breaker);
        Self { agent, identity, association: None, peer: None, give_up_at: None, early: None }
    }

    /// Takes the peer's description. A later one may restart ICE; the association stays (RFC 8842 section 3).
    pub fn set_remote(&mut self, remote: RemoteTransport, now: Instant) -> Outcome {
        let fingerprints: Vec<String> = remote
            .fingerprints
            .into_iter()
            .filter(|(hash, _)| hash.eq_ignore_ascii_case("sha-256"))
            .map(|(_, hex)| hex)
            .collect();
        if fingerprints.is_empty() {
            return Outcome::Failed("no sha-256 fingerprint".to_owned());
        }
        if self.peer.is_none() {
            self.peer = Some((remote.setup, fingerprints));
        }
        self.agent.set_remote(Credentials { ufrag: remote.ufrag, pwd: remote.pwd }, now);
        for candidate in remote.candidates {
            self.add_candidate(&candidate, now);
        }
        Outcome::Nothing
    }

    /// One more candidate; component 1 alone counts.
    pub fn add_candidate(&mut self, candidate: &Candidate, now: Instant) {
        if candidate.component == 1 {
            self.agent.add_candidate(candidate.address, candidate.priority, now);
        }
    }

    /// Takes a STUN message. `None`: not for this leg.
    pub fn handle_stun(
        &mut self,
        message: &stun::Message<'_>,
        from: SocketAddr,
        now: Instant,
    ) -> Option<Outcome> {
        let ours = self.agent.handle_stun(message, from, now);
        ours.then(|| self.after_ice(now))
    }

    /// Takes a DTLS record from a path that ICE has proven.
    pub fn handle_dtls(&mut self, datagram: &[u8], now: Instant) -> Outcome {
        if let Err(outcome) = self.start_dtls(now) {
            return outcome;
        }
        let Some(association) = &mut self.association else { return Outcome::Nothing };
        match association.handle_datagram(datagram, now) {
            Ok(Some(keys)) => {
                self.give_up_at = None;
                Outcome::Keys(keys)
            }
            Ok(None) => Outcome::Nothing,
            Err(error) => Outcome::Failed(error.to_string()),
        }
    }

    /// Keeps a DTLS record from a path that is not proven yet. False: one is kept already.
    pub fn keep_early(&mut self, from: SocketAddr, datagram: &[u8]) -> bool {
        let is_kept = self.early.is_none() && datagram.len() <= MAX_EARLY;
        if is_kept {
            self.early = Some((from, datagram.to_vec()));
        }
        is_kept
    }

    /// The record that was kept, once its path is proven.
    pub fn take_early(&mut self) -> Option<Vec<u8>> {
        let agent = &self.agent;
        self.early.take_if(|(from, _)| agent.is_valid(*from)).map(|(_, datagram)| datagram)
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) -> Outcome {
        if self.give_up_at.is_some_and(|at| now >= at) {
            return Outcome::Failed("DTLS handshake timed out".to_owned());
        }
        if let Some(association) = &mut self.association
            && association.poll_timeout().is_some_and(|at| now >= at)
        {
            association.handle_timeout(now);
        }
        self.agent.handle_timeout(now);
        self.after_ice(now)
    }

    /// The next deadline.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let dtls = self.association.as_ref().and_then(Association::poll_timeout);
        [self.agent.poll_timeout(), dtls, self.give_up_at].into_iter().flatten().min()
    }

    /// The next STUN datagram.
    pub fn poll_stun(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.agent.poll_transmit()
    }

    /// The next DTLS datagram.
    pub fn poll_dtls(&mut self) -> Option<Vec<u8>> {
        self.association.as_mut().and_then(Association::poll_transmit)
    }

    fn after_ice(&mut self, now: Instant) -> Outcome {
        let mut outcome = Outcome::Nothing;
        while let Some(event) = self.agent.poll_event() {
            match event {
                Event::Selected(path) => {
                    if let Err(failed) = self.start_dtls(now) {
                        return failed;
                    }
                    outcome = Outcome::Path(path);
                }
                Event::Failed => return Outcome::Failed("no path to the peer".to_owned()),
            }
        }
        outcome
    }

    fn start_dtls(&mut self, now: Instant) -> Result<(), Outcome> {
        if self.association.is_some() {
            return Ok(());
        }
        let Some((setup, fingerprints)) = &self.peer else { return Ok(()) };
        let is_client = *setup != Setup::Active;
        let started = Association::new(&self.identity, is_client, fingerprints.clone(), now);
        self.association = Some(started.map_err(|e| Outcome::Failed(e.to_string()))?);
        self.give_up_at = Some(now + HANDSHAKE);
        Ok(())
    }
}
