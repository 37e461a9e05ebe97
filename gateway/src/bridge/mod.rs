//! Where protocols meet: the devices that are attached to accounts, the media of their calls, and the mappings between
//! XMPP and SIP.

pub mod body;
pub mod call;
pub mod call_desk;
pub mod call_reason;
pub mod contacts;
pub mod cpim;
pub mod domains;
pub mod echo;
pub mod echo_call;
#[allow(clippy::disallowed_methods)] // drives calls
pub mod exchange;
pub mod held;
#[allow(clippy::disallowed_methods)] // knows when it said something last
pub mod hub;
pub mod identity;
pub mod iscomposing;
pub mod jingle_leg;
#[allow(clippy::disallowed_methods)] // drives the queues of chats
pub mod message;
#[allow(clippy::disallowed_methods)] // drives message sessions
pub mod msrp;
#[allow(clippy::disallowed_methods)] // waits for rooms
mod msrp_room;
pub mod msrp_sdp;
pub mod numbers;
pub mod pictures;
pub mod pidf;
pub mod pidf_read;
#[allow(clippy::disallowed_methods)] // drives the watchers
pub mod presence;
pub mod protection;
pub mod reason;
#[allow(clippy::disallowed_methods)] // drives the queues of phones in rooms
pub mod room_phone;
pub mod room_roster;
pub mod room_text;
mod room_visit;
pub mod sdp_jingle;
pub mod sdp_webrtc;
pub mod star_codes;
pub mod text;
pub mod tolls;

use tandem_xmpp::jid::{Jid, JidError};

/// The JID of a SIP account, `user@domain` with the user as digest knows it.
///
/// # Errors
///
/// The user is no local part.
pub fn account(account: &str) -> Result<Jid, JidError> {
    let (user, domain) = account.rsplit_once('@').unwrap_or(("", account));
    Jid::new(Some(user), domain, None)
}
