//! Tandem's XMPP server.
pub mod jid;
pub mod stanza;
pub mod xml;
