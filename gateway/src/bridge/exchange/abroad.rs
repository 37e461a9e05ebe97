//! Calls from and to people of other SIP domains (RFC 3263, RFC 7247): found by DNS, by no trunk and without a password.

use tandem_media::sdp::Encryption;
use tandem_sip::msg::NameAddr;
use tandem_sip::ports::{Invited, OutgoingInvite};
use tandem_sip::service::identity as privacy;
use tandem_xmpp::jid::Jid;

use super::audio::{self, Security};
use super::entry::{CallKey, Entry, Kind, Leg, Way};
use super::trunk::RESOURCE;
use super::{Exchange, LegKey, breadth};
use crate::bridge::tolls::Refused;
use crate::bridge::{echo, identity};

impl Exchange {
    /// Whether an address is a number, or somebody in another SIP domain: no account of XMPP.
    pub(super) fn is_elsewhere(&self, address: &Jid) -> bool {
        self.parts.plan.is_number_domain(address) || self.parts.domains.is_abroad(address)
    }

    /// Who calls from another domain, and whom: accounts alone, and no services.
    pub(super) fn foreign_parties(&self, invited: &Invited, sid: &str) -> Result<(Jid, Jid), u16> {
        let caller = self.parts.domains.address(&invited.account).ok_or(403_u16)?;
        let caller = caller.with_resource(&format!("call-{sid}")).map_err(|_| 403_u16)?;
        let callee = identity::sip_to_jid(&invited.to).map_err(|_| 404_u16)?;
        if self.is_elsewhere(&callee) || callee.node() == Some(echo::NAME) {
            return Err(404);
        }
        Ok((caller, callee))
    }

    /// Rings somebody of another domain for this account, which the caller may hide.
    pub(super) fn ring_abroad(
        &mut self,
        call: CallKey,
        entry: &mut Entry,
        account: &Jid,
    ) -> Result<(), Refused> {
        if !self.parts.domains.may_leave(account) {
            return Err(Refused::Stranger);
        }
        let leg = self.invite_abroad(entry, account).ok_or(Refused::NoTrunk)?;
        let key = LegKey(entry.next_key);
        self.index_target(call, key, &leg);
        entry.add_leg(leg);
        Ok(())
    }

    fn invite_abroad(&self, entry: &Entry, account: &Jid) -> Option<Leg> {
        let domains = &self.parts.domains;
        let (to, target) = (domains.uri(&entry.callee)?, domains.target(&entry.callee)?);
        let secure = domains.is_encrypted(&entry.callee);
        let encryption = match secure {
            true => Encryption::Required(audio::keys(self.parts.random)),
            false => Encryption::Off,
        };
        let (media, mut audio) = self.open_audio(entry, Security::Rtp(encryption))?;
        let (from, mut headers) = match entry.is_hidden {
            true => (privacy::anonymous(), vec![("Privacy".to_owned(), "id".to_owned())]),
            false => (NameAddr::new(identity::jid_to_sip(account).ok()?), Vec::new()),
        };
        headers.push(breadth::field(entry.max_breadth));
        let leg = self.parts.sip.invite(OutgoingInvite {
            target,
            from,
            offer: audio.offer(),
            headers,
            login: None,
            max_forwards: entry.max_forwards,
            to: to.clone(),
        });
        let way = Way::Abroad { domain: to.host.to_string(), secure };
        let device = entry.callee.bare().with_resource(RESOURCE).ok();
        let kind = Kind::SipTarget { leg, way, audio: Box::new(audio), retried: true };
        let mut leg = Leg::new(kind, device);
        leg.media = Some(media);
        Some(leg)
    }
}
