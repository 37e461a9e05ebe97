//! Allocate (RFC 8656 section 7): the checks in their order, and the addresses once they are bound.

use std::time::{Duration, Instant};

use super::allocation::{Allocation, Relay};
use super::auth::Proof;
use super::bucket::{Bucket, network};
use super::request::{
    ADDRESS_ERROR_CODE, LIFETIME, RESERVATION_TOKEN, Request, Wanted, XOR_RELAYED_ADDRESS,
};
use super::server::{BAD_REQUEST, NAME, NO_ALLOCATION, Refusal, Server, lifetime};
use super::{Action, BindRequest, Bound, Client, Family};
use crate::stun::{Class, SOFTWARE, TransactionId, Writer, XOR_MAPPED_ADDRESS};

const UDP: u8 = 17;
/// For how long a port is kept (section 7.2: at least 30 seconds).
const RESERVED: Duration = Duration::from_secs(30);
/// Ports kept at once.
const MAX_RESERVED: usize = 1_000;

/// An Allocate that waits for its addresses.
pub(super) struct Pending {
    client: Client,
    transaction: TransactionId,
    proof: Proof,
    lifetime: u32,
    request: BindRequest,
}

/// A port that was kept for a token.
pub(super) struct Reserved {
    bound: Bound,
    owner: std::sync::Arc<str>,
    pub(super) expires: Instant,
}

impl Server {
    pub(super) fn allocate(
        &mut self,
        client: Client,
        request: &Request<'_>,
        proof: &Proof,
        now: Instant,
    ) -> Result<(), Refusal> {
        let transaction = request.frame.transaction;
        if let Some(allocation) = self.of_client(&client) {
            // The request came twice, as datagrams do: its answer is made again (section 7.2).
            if allocation.made_by != transaction {
                return Err(NO_ALLOCATION);
            }
            let writer = allocated(allocation, &transaction);
            self.answer(client, writer, proof);
            return Ok(());
        }
        if self.pending.values().any(|pending| pending.client == client) {
            return Ok(());
        }
        match request.transport {
            Some(UDP) => {}
            Some(_) => return Err((442, "Unsupported Transport Protocol")),
            None => return Err(BAD_REQUEST),
        }
        let families = self.wanted(request)?;
        self.check_quota(&client, proof)?;
        let pending = Pending {
            client,
            transaction,
            proof: proof.clone(),
            lifetime: lifetime(request.lifetime),
            request: BindRequest {
                families,
                even: request.even_port.is_some(),
                reserve: request.even_port == Some(true) && self.reserved.len() < MAX_RESERVED,
            },
        };
        if let Some(token) = request.token {
            let token = <[u8; 8]>::try_from(token).map_err(|_| (508, "Insufficient Capacity"))?;
            let kept = self.reserved.get(&token);
            if kept.is_none_or(|kept| kept.owner != proof.owner || kept.expires <= now) {
                return Err((508, "Insufficient Capacity"));
            }
            let Some(reserved) = self.reserved.remove(&token) else { return Ok(()) };
            self.establish(pending, &[reserved.bound], None, now);
            return Ok(());
        }
        self.tickets += 1;
        self.actions
            .push_back(Action::Bind { ticket: self.tickets, request: pending.request.clone() });
        self.pending.insert(self.tickets, pending);
        Ok(())
    }

    /// The families of the addresses, and the combinations that are none (sections 7.2 and 18.5 to 18.11).
    fn wanted(&self, request: &Request<'_>) -> Result<Vec<Family>, Refusal> {
        let bad = Err(BAD_REQUEST);
        let has_family = request.family.is_some() || request.additional.is_some();
        if request.token.is_some() && (request.even_port.is_some() || has_family) {
            return bad;
        }
        if request.family.is_some() && request.additional.is_some() {
            return bad;
        }
        let can = |family: &Family| self.settings.families.contains(family);
        match (request.family, request.additional) {
            (_, Some(Wanted::Known(Family::V6))) if request.even_port == Some(true) => bad,
            (_, Some(Wanted::Known(Family::V6))) => Ok(vec![Family::V4, Family::V6]),
            (_, Some(_)) => bad,
            (Some(Wanted::Known(family)), _) if can(&family) => Ok(vec![family]),
            (None, _) if can(&Family::V4) => Ok(vec![Family::V4]),
            (Some(_) | None, _) => Err((440, "Address Family Not Supported")),
        }
    }

    fn check_quota(&self, client: &Client, proof: &Proof) -> Result<(), Refusal> {
        let settings = &self.settings;
        let waiting = self.pending.len();
        if self.allocations.len() + waiting >= settings.max_allocations {
            return Err((508, "Insufficient Capacity"));
        }
        let of_user = self.per_user.get(&proof.owner).copied().unwrap_or(0);
        let address = network(client.remote.ip());
        let of_address = self.per_address.get(&address).copied().unwrap_or(0);
        if of_user >= settings.max_per_user || of_address >= settings.max_per_address {
            return Err((486, "Allocation Quota Reached"));
        }
        Ok(())
    }

    /// The addresses that [`Action::Bind`] asked for: one for each family that could be had, and the port after the
    /// first where it was to be kept.
    pub fn handle_bound(
        &mut self,
        ticket: u64,
        bound: &[Bound],
        reserved: Option<Bound>,
        now: Instant,
    ) {
        let Some(pending) = self.pending.remove(&ticket) else {
            let all = bound.iter().chain(&reserved).map(|bound| Action::Release(bound.id));
            return self.actions.extend(all);
        };
        if bound.is_empty() {
            let frame = Writer::new(super::request::ALLOCATE, Class::Error, &pending.transaction);
            self.counters.over_quota += 1;
            return self.answer(
                pending.client,
                frame.error(508, "Insufficient Capacity"),
                &pending.proof,
            );
        }
        self.establish(pending, bound, reserved, now);
    }

    fn establish(
        &mut self,
        pending: Pending,
        bound: &[Bound],
        reserved: Option<Bound>,
        now: Instant,
    ) {
        let Pending { client, transaction, proof, lifetime, request } = pending;
        let rate = self.settings.bytes_per_second;
        let lifetime = Duration::from_secs(lifetime.into());
        let owner = proof.owner.clone();
        let bandwidth = Bucket::new(rate, now);
        let mut allocation =
            Allocation::new(client, owner.clone(), transaction, lifetime, bandwidth, now);
        for (slot, bound) in allocation.relays.iter_mut().zip(bound) {
            *slot = Some(Relay { id: bound.id, address: bound.address });
            self.relays.insert(bound.id, client);
        }
        let missing = request.families.iter().find(|family| allocation.relay(**family).is_none());
        // A reserved port has no family asked for.
        if request.families.len() > 1 {
            let code = |family| if self.settings.families.contains(&family) { 508 } else { 440 };
            allocation.missing = missing.map(|family| (*family, code(*family)));
        }
        if let Some(bound) = reserved {
            let token = self.random_bytes::<8>();
            allocation.token = Some(token);
            let kept = Reserved { bound, owner: owner.clone(), expires: now + RESERVED };
            self.reserved.insert(token, kept);
        }
        *self.per_user.entry(owner).or_default() += 1;
        *self.per_address.entry(network(client.remote.ip())).or_default() += 1;
        self.counters.allocations += 1;
        self.due.insert((allocation.expires, client));
        let writer = allocated(&allocation, &transaction);
        self.allocations.insert(client, allocation);
        self.answer(client, writer, &proof);
    }

    /// Releases ports whose time is over.
    pub(super) fn drop_reserved(&mut self, now: Instant) {
        let actions = &mut self.actions;
        self.reserved.retain(|_, reserved| {
            let is_kept = reserved.expires > now;
            if !is_kept {
                actions.push_back(Action::Release(reserved.bound.id));
            }
            is_kept
        });
    }
}

/// The answer to an Allocate that was granted (section 7.2).
fn allocated(allocation: &Allocation, transaction: &TransactionId) -> Writer {
    let mut writer = Writer::new(super::request::ALLOCATE, Class::Success, transaction);
    for relay in allocation.relays.iter().flatten() {
        writer = writer.address(XOR_RELAYED_ADDRESS, relay.address);
    }
    let seconds = u32::try_from(allocation.lifetime.as_secs()).unwrap_or(u32::MAX);
    writer = writer.attribute(LIFETIME, &seconds.to_be_bytes());
    if let Some(token) = allocation.token {
        writer = writer.attribute(RESERVATION_TOKEN, &token);
    }
    writer = writer.address(XOR_MAPPED_ADDRESS, allocation.client.remote);
    if let Some((family, code)) = allocation.missing {
        let class = u8::try_from(code / 100).unwrap_or(5);
        let number = u8::try_from(code % 100).unwrap_or(0);
        writer = writer.attribute(ADDRESS_ERROR_CODE, &[family.number(), 0, class, number]);
    }
    writer.attribute(SOFTWARE, NAME)
}
