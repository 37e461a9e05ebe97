//! Sockets and threads: one thread a shard, codec workers beside it, and the handle that others hold.
//!
//! A shard's control queue holds 4096 commands; a full one refuses more ([`crate::MediaError::Busy`]).

mod datagrams;
mod handle;
mod ports;
mod relay;
mod shard;
mod worker;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use socket2::{Domain, Protocol, Type};

pub use self::handle::MediaHandle;
use self::handle::ShardHandle;
pub use self::relay::{Connection, RelayConfig, RelayHandle, Sink, Taken, start_relay};
use crate::config::Config;
use crate::control::{Counters, MediaEvent};
use crate::dtls::Identity;
use crate::engine::Engine;
use crate::error::MediaError;

/// Who hears events; called on a shard's thread, so it must not wait.
pub type Listener = Arc<dyn Fn(MediaEvent) + Send + Sync>;

/// Starts the engine.
#[derive(Debug)]
pub struct Media;

impl Media {
    /// Binds the shards' ports and starts the threads. They end when the last handle is dropped.
    ///
    /// # Errors
    ///
    /// [`MediaError`] when a port cannot be bound or the configuration makes no sense.
    pub fn start(
        config: Config,
        seed: [u8; 32],
        listener: impl Fn(MediaEvent) + Send + Sync + 'static,
    ) -> Result<MediaHandle, MediaError> {
        if config.shards == 0 || config.shards > 64 || config.codec_workers == 0 {
            return Err(MediaError::Config("at least one and at most 64 shards, one codec worker"));
        }
        let (first, last) = config.rtp_ports;
        if first < 1_024 || last <= first {
            return Err(MediaError::Config("rtp_ports must be a range of two ports above 1023"));
        }
        let identity = Arc::new(Identity::generate()?);
        let listener: Listener = Arc::new(listener);
        let mut shards = Vec::new();
        for index in 0..config.shards {
            shards.push(start_shard(&config, index, seed, &identity, &listener)?);
        }
        Ok(MediaHandle::new(config, shards, identity))
    }
}

fn start_shard(
    config: &Config,
    index: usize,
    seed: [u8; 32],
    identity: &Arc<Identity>,
    listener: &Listener,
) -> Result<ShardHandle, MediaError> {
    let mut bind = config.webrtc;
    if bind.port() != 0 {
        let offset = u16::try_from(index).unwrap_or(u16::MAX);
        let port = bind.port().checked_add(offset);
        bind.set_port(port.ok_or(MediaError::Config("webrtc port too high"))?);
    }
    let socket = bind_udp(bind)?;
    let address = socket.local_addr()?;
    let strangers = Arc::new(Counters::default());
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let mut seed = seed;
    if let Some(byte) = seed.first_mut() {
        *byte ^= u8::try_from(index).unwrap_or_default();
    }
    let engine = Engine::new(identity.clone(), seed, Instant::now(), wall, strangers.clone());
    let started = shard::start(index, engine, socket, config.codec_workers, listener.clone())?;
    Ok(ShardHandle::new(started, candidate_addresses(config, address), strangers))
}

/// Where peers find a shard.
fn candidate_addresses(config: &Config, bound: SocketAddr) -> Vec<SocketAddr> {
    if config.webrtc_advertised.is_empty() {
        return if bound.ip().is_unspecified() { Vec::new() } else { vec![bound] };
    }
    config.webrtc_advertised.iter().map(|ip| SocketAddr::new(*ip, bound.port())).collect()
}

/// A socket that does not block, with room for bursts.
fn bind_udp(address: SocketAddr) -> std::io::Result<UdpSocket> {
    let domain = if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = socket2::Socket::new(domain, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    if matches!(address.ip(), IpAddr::V6(ip) if ip.is_unspecified()) {
        socket.set_only_v6(false)?;
    }
    // Best effort: the kernel caps it.
    let _ = socket.set_recv_buffer_size(1 << 20);
    let _ = socket.set_send_buffer_size(1 << 20);
    socket.bind(&address.into())?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests;
