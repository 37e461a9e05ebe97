//! Where protocols meet: the devices that are attached to accounts, the media of their calls, and the mappings between
//! XMPP and SIP.

pub mod call;
pub mod call_reason;
pub mod cpim;
pub mod echo;
pub mod echo_call;
pub mod identity;
pub mod iscomposing;
pub mod jingle_leg;
pub mod pidf;
pub mod pidf_read;
pub mod reason;
pub mod sdp_jingle;
pub mod text;
