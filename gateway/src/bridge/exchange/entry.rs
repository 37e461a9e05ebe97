//! One call as the exchange keeps it: the machine, its legs, and what its record will say.

use std::collections::BTreeMap;
use std::time::SystemTime;

use bytes::Bytes;
use tandem_media::codec::Codec;
use tandem_media::sdp;
use tandem_media::{CallId as MediaCall, LegId as MediaLeg};
use tandem_sip::ports::{Binding, LegId as SipLeg};
use tandem_xmpp::jid::Jid;
use tandem_xmpp::stanza::jingle::Content;

use crate::bridge::call::{Call, LegKey};
use crate::bridge::jingle_leg::JingleLeg;

/// Names a call on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallKey(pub u64);

/// A call and everything that hangs on it.
pub struct Entry {
    /// Decides.
    pub machine: Call,
    /// Where its media lives.
    pub media: MediaCall,
    /// The Jingle session id and XEP-0353 message id of this call.
    pub sid: String,
    /// The calling account, bare, and the device if known.
    pub caller: Jid,
    /// The called account, bare.
    pub callee: Jid,
    /// All legs, the caller's at [`crate::bridge::call::CALLER`].
    pub legs: BTreeMap<LegKey, Leg>,
    /// The next free leg key.
    pub next_key: u32,
    /// The caller's codecs in its order, once known: the other side is offered these first, so that packets can
    /// pass through.
    pub caller_codecs: Vec<Codec>,
    /// When it began.
    pub started: SystemTime,
    /// When it was answered.
    pub answered: Option<SystemTime>,
}

impl Entry {
    /// Adds a leg and names it.
    pub fn add_leg(&mut self, leg: Leg) -> LegKey {
        let key = LegKey(self.next_key);
        self.next_key += 1;
        self.legs.insert(key, leg);
        key
    }
}

/// One leg.
pub struct Leg {
    /// What is on the other end.
    pub kind: Kind,
    /// Its media, once opened.
    pub media: Option<MediaLeg>,
    /// The codec agreed on.
    pub codec: Option<Codec>,
    /// The full JID this leg's device has towards XMPP, when it has one.
    pub device: Option<Jid>,
}

/// What is on the other end of a leg, and how far it is.
pub enum Kind {
    /// A phone that called us.
    SipCaller {
        /// Its dialog.
        leg: SipLeg,
        /// Its offer; none when the answer must carry ours.
        offer: Option<sdp::Session>,
        /// Our own offer, when it sent none.
        ours: Option<sdp::Session>,
        /// The answer we gave, repeated for session refreshes.
        answer: Option<Bytes>,
        /// Whether our answer has gone out.
        up: bool,
    },
    /// A phone that we call.
    SipTarget {
        /// Its dialog.
        leg: SipLeg,
        /// Where it is registered.
        binding: Box<Binding>,
        /// What we offered.
        ours: sdp::Session,
        /// Whether the offer asked for SRTP.
        secure: bool,
        /// Whether the other kind of transport was tried before.
        retried: bool,
        /// Whether it answered.
        up: bool,
    },
    /// An XMPP client that called us.
    JingleCaller {
        /// The client.
        peer: Jid,
        /// Whether it came by XEP-0353.
        by_propose: bool,
        /// Its session, once initiated.
        session: Option<JingleLeg>,
        /// Its offer, until answered.
        offer: Option<Content>,
        /// Whether it has been told to go ahead.
        proceeded: bool,
    },
    /// The XMPP devices of the called account behind one `<propose/>`; a session once one proceeded.
    XmppDevices {
        /// The device that proceeded.
        session: Option<JingleLeg>,
        /// Our offer's payload types.
        up: bool,
    },
    /// One XMPP device without XEP-0353, called with `session-initiate` at once.
    JingleTarget {
        /// Its session.
        session: JingleLeg,
        /// Whether it accepted.
        up: bool,
    },
    /// The echo service.
    Echo,
}
