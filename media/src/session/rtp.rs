//! The transport of a SIP leg: a port pair, symmetric RTP, and SDES keys if agreed.
//!
//! Media is taken only from the address that was signalled; its port is learnt from the first good packet, because
//! phones sit behind NAT. A packet that proves itself by SRTP may come from anywhere.

use std::net::SocketAddr;

use crate::control::RtpRemote;

/// Remote side of a port pair.
#[derive(Debug, Default)]
pub struct Rtp {
    remote: Option<RtpRemote>,
    latched: Option<SocketAddr>,
    latched_rtcp: Option<SocketAddr>,
}

impl Rtp {
    /// Takes what was signalled. The same again changes nothing; another address is learnt anew.
    pub fn set_remote(&mut self, remote: RtpRemote) {
        if self.remote.as_ref().is_none_or(|r| r.addr != remote.addr || r.rtcp != remote.rtcp) {
            self.latched = None;
            self.latched_rtcp = None;
        }
        self.remote = Some(remote);
    }

    /// What was signalled.
    pub fn remote(&self) -> Option<&RtpRemote> {
        self.remote.as_ref()
    }

    /// Whether keys were agreed.
    pub fn is_secure(&self) -> bool {
        self.remote.as_ref().is_some_and(|r| r.srtp.is_some())
    }

    /// Whether a packet may come from here, before it is looked into.
    pub fn may_come_from(&self, from: SocketAddr, is_rtcp: bool) -> bool {
        let Some(remote) = &self.remote else { return false };
        if remote.srtp.is_some() {
            return true;
        }
        let latched = if is_rtcp { self.latched_rtcp } else { self.latched };
        match latched {
            Some(latched) => latched == from,
            None if is_rtcp => {
                from.ip() == remote.rtcp.unwrap_or(remote.addr).ip()
                    || from.ip() == remote.addr.ip()
            }
            None => from.ip() == remote.addr.ip(),
        }
    }

    /// A packet from here was good.
    pub fn latch(&mut self, from: SocketAddr, is_rtcp: bool) {
        let latched = if is_rtcp { &mut self.latched_rtcp } else { &mut self.latched };
        *latched = Some(from);
    }

    /// Where RTP goes.
    pub fn rtp_to(&self) -> Option<SocketAddr> {
        let remote = self.remote.as_ref()?;
        let to = self.latched.unwrap_or(remote.addr);
        is_reachable(to).then_some(to)
    }

    /// Where RTCP goes, and whether by the RTP socket.
    pub fn rtcp_to(&self) -> Option<(SocketAddr, bool)> {
        let remote = self.remote.as_ref()?;
        if remote.rtcp_mux {
            return self.rtp_to().map(|to| (to, true));
        }
        let signalled = remote.rtcp.or_else(|| {
            let port = remote.addr.port().checked_add(1)?;
            Some(SocketAddr::new(remote.addr.ip(), port))
        });
        let to = self.latched_rtcp.or(signalled).filter(|to| is_reachable(*to))?;
        is_reachable(remote.addr).then_some((to, false))
    }
}

fn is_reachable(to: SocketAddr) -> bool {
    to.port() != 0 && !to.ip().is_unspecified()
}
