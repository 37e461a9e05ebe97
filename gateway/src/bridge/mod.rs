//! Where stanzas leave XMPP: the devices that are attached to accounts.

pub mod call_reason;
pub mod echo;
pub mod iscomposing;
pub mod sdp_jingle;
pub mod text;
