//! Settings of the media engine, with their defaults.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::Deserialize;

/// `[media]` in the configuration.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where WebRTC legs meet us: shard `n` binds this port plus `n`. Port 0 takes free ones. Default `0.0.0.0:3479`.
    pub webrtc: SocketAddr,
    /// Addresses offered as host candidates. Empty: the address of `webrtc`, if it names one. Default empty.
    pub webrtc_advertised: Vec<IpAddr>,
    /// Address that RTP legs bind. Default `0.0.0.0`.
    pub rtp: IpAddr,
    /// Address written into SDP when it differs from `rtp`. Default none.
    pub rtp_advertised: Option<IpAddr>,
    /// First and last port of RTP legs; a leg takes an even one and the next. Default 20000 to 29999.
    pub rtp_ports: (u16, u16),
    /// Threads that forward packets. Default 1.
    pub shards: usize,
    /// Threads that run codecs. Default 1.
    pub codec_workers: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            webrtc: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 3479)),
            webrtc_advertised: Vec::new(),
            rtp: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            rtp_advertised: None,
            rtp_ports: (20_000, 29_999),
            shards: 1,
            codec_workers: 1,
        }
    }
}
