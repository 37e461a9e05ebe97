//! What is relayed (RFC 8656 sections 11 and 12): looked up by client or relayed address, never copied here.

use std::net::SocketAddr;
use std::time::Instant;

use super::request::{DATA, DATA_INDICATION, Request, XOR_PEER_ADDRESS};
use super::{Client, Family, Inbound, RelayId, Server, Wrap};
use crate::stun::{Class, TransactionId, Writer, be16};

/// The first channel and the last (section 12), and the last that RFC 5766 had.
const FIRST_CHANNEL: u16 = 0x4000;
const LAST_CHANNEL: u16 = 0x4fff;
const LAST_OLD_CHANNEL: u16 = 0x7ffe;
/// Before the data of a channel.
pub(super) const CHANNEL_HEADER: usize = 4;

impl Server {
    /// Whether a channel may have this number.
    pub(super) fn is_channel(&self, number: u16) -> bool {
        let last = if self.settings.old_channels { LAST_OLD_CHANNEL } else { LAST_CHANNEL };
        (FIRST_CHANNEL..=last).contains(&number)
    }

    /// Data in a channel. Shorter than it says: dropped; what follows its length is padding (section 12.5).
    pub(super) fn channel_data(&mut self, client: &Client, bytes: &[u8], now: Instant) -> Inbound {
        let (Some(number), Some(length)) = (be16(bytes, 0), be16(bytes, 2)) else {
            return Inbound::Dropped;
        };
        let payload = CHANNEL_HEADER..CHANNEL_HEADER + usize::from(length);
        if payload.end > bytes.len() || !self.is_channel(number) {
            return Inbound::Dropped;
        }
        let Some(allocation) = self.of_client(client) else { return Inbound::Dropped };
        let Some(peer) = allocation.channel_peer(number, now) else { return Inbound::Dropped };
        let Some(relay) = allocation.relay(Family::of(peer.ip())) else { return Inbound::Dropped };
        if !self.carry(client, payload.len(), now) {
            return Inbound::Dropped;
        }
        Inbound::Relay { relay: relay.id, peer, payload }
    }

    /// A Send indication (section 11.2). Nothing is ever answered.
    pub(super) fn send_indication(
        &mut self,
        client: &Client,
        bytes: &[u8],
        request: &Request<'_>,
        now: Instant,
    ) -> Inbound {
        let (&[Some(peer)], Some(data)) = (&*request.peers, request.data) else {
            return Inbound::Dropped;
        };
        if !request.unknown.is_empty() || request.dont_fragment {
            return Inbound::Dropped;
        }
        let Some(allocation) = self.of_client(client) else { return Inbound::Dropped };
        let Some(relay) = allocation.relay(Family::of(peer.ip())) else { return Inbound::Dropped };
        if !allocation.is_permitted(peer.ip(), now) {
            self.counters.unpermitted += 1;
            return Inbound::Dropped;
        }
        if !self.settings.policy.allows(peer) {
            self.counters.forbidden += 1;
            return Inbound::Dropped;
        }
        if !self.carry(client, data.len(), now) {
            return Inbound::Dropped;
        }
        // The value is a part of what came.
        let start = (data.as_ptr() as usize).wrapping_sub(bytes.as_ptr() as usize);
        Inbound::Relay { relay: relay.id, peer, payload: start..start + data.len() }
    }

    /// What a peer sent to a relayed address: whose it is, and how it is handed on (sections 11.3 and 12.6).
    pub fn handle_peer(
        &mut self,
        relay: RelayId,
        peer: SocketAddr,
        length: usize,
        now: Instant,
    ) -> Option<(Client, Wrap)> {
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let allocation = self.of_relay(relay)?;
        if !allocation.is_permitted(peer.ip(), now) {
            self.counters.unpermitted += 1;
            return None;
        }
        let wrap = allocation.channel_of(peer, now).map_or(Wrap::Indication, Wrap::Channel);
        let client = allocation.client;
        self.carry(&client, length, now).then_some((client, wrap))
    }

    /// Whether an allocation may carry as much now; counts it.
    fn carry(&mut self, client: &Client, length: usize, now: Instant) -> bool {
        let rate = self.settings.bytes_per_second;
        let Some(allocation) = self.of_client_mut(client) else { return false };
        let length = length as u64;
        if !allocation.bandwidth.take(length, rate, rate, now) {
            self.counters.over_bandwidth += 1;
            return false;
        }
        self.counters.relayed += 1;
        self.counters.bytes += length;
        true
    }
}

/// Writes a Data indication (section 11.6) over `out`, which keeps its room: nothing is allocated for a packet.
pub fn write_indication(out: &mut Vec<u8>, peer: SocketAddr, payload: &[u8], id: TransactionId) {
    out.clear();
    let mut writer = Writer::over(std::mem::take(out), DATA_INDICATION, Class::Indication, &id);
    writer = writer.address(XOR_PEER_ADDRESS, peer).attribute(DATA, payload);
    *out = writer.into_bytes();
}
