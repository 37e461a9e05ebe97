//! Codes that phones dial to set what is done with calls to them ([`crate::bridge::star_codes`]).
//!
//! What was taken is answered and ended at once, which a phone shows as a call that went well; what was not is refused, and a
//! Warning says why (RFC 3261 section 20.43).

use std::time::Instant;

use tandem_sip::ports::{Invited, LegId as SipLeg};
use tandem_xmpp::jid::Jid;

use super::act::Refusal;
use super::entry::{Kind, Leg};
use super::sip::offer_of;
use super::{CALLER, Exchange, Input};
use crate::bridge::call_desk::Wrong;
use crate::bridge::{echo, sdp_webrtc};

impl Exchange {
    /// A phone dialled a code: the words that it stands for, if any.
    pub(super) async fn ordered(
        &mut self,
        dialog: SipLeg,
        invited: &Invited,
        code: Option<Vec<String>>,
        now: Instant,
    ) -> Result<(), Refusal> {
        let account = crate::bridge::account(&invited.account).map_err(|_| 403_u16)?;
        let offer = offer_of(invited)?;
        let words = code.ok_or_else(|| refusal(484, "no such code"))?;
        self.parts.calls.change(&account, &words).await.map_err(|wrong| match wrong {
            Wrong::Asked(why) => refusal(404, &why),
            Wrong::Store(error) => {
                tracing::error!(%error, "what is done with calls cannot be kept");
                refusal(500, "try again")
            }
        })?;
        let is_web = match &offer {
            Some(offer) => sdp_webrtc::wants_web(offer),
            None => invited.headers.top_via().is_ok_and(|via| via.transport.starts_with("WS")),
        };
        let strict = self.parts.protection.must_encrypt(&account);
        let secure = invited.is_secure;
        let kind = Kind::SipCaller { leg: dialog, is_web, offer, audio: None, secure, strict };
        let device = self.parts.contacts.device(&account, invited.binding.as_deref());
        let nobody = Jid::new(Some(echo::NAME), account.domain(), None).map_err(|_| 500_u16)?;
        let key = self.new_key();
        let sid = self.new_sid();
        let mut entry = self.new_entry(sid, account, nobody, Leg::new(kind, device), now);
        entry.is_order = true;
        self.index.set_place(dialog, (key, CALLER));
        let target = entry.add_leg(Leg::new(Kind::Echo, None));
        self.begin(key, entry, false, now);
        self.input(key, Input::Answered(target), now);
        Ok(())
    }
}

fn refusal(status: u16, why: &str) -> Refusal {
    // Quotes would end the text.
    let why: String = why.chars().filter(|c| !c.is_control() && !"\"\\".contains(*c)).collect();
    Refusal { status, headers: vec![("Warning".to_owned(), format!("399 tandem \"{why}\""))] }
}
