//! Where stanzas leave XMPP: the devices that are attached to accounts.

pub mod echo;
