//! Where stanzas leave XMPP: the devices that are attached to accounts, and the media of their calls.

pub mod call_reason;
pub mod echo;
pub mod echo_call;
pub mod iscomposing;
pub mod jingle_leg;
pub mod sdp_jingle;
pub mod text;
