//! Tandem xmpp.
