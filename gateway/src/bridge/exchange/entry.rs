//! One call as the exchange keeps it: the machine, its legs, and what its record will say.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tandem_media::codec::Codec;
use tandem_media::sdp::{LocalAudio, Negotiator, Session};
use tandem_media::{LegId as MediaLeg, LegStats, RemoteTransport};
use tandem_sip::msg::header::{MaxBreadth, MaxForwards};
use tandem_sip::ports::{Binding, LegId as SipLeg};
use tandem_xmpp::jid::Jid;
use tandem_xmpp::stanza::jingle::Content;

use super::answering::Wish;
use super::forward::Forwarded;
use super::transfer::Room;
use crate::bridge::call::{Call, Cause, LegKey};
use crate::bridge::jingle_leg::JingleLeg;
use crate::bridge::numbers::Dialled;
use crate::bridge::sdp_webrtc::WebAudio;
use crate::bridge::tolls::Refused;
use crate::config::Trunk;

/// Names a call on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct CallKey(pub(super) u64);

/// A call and everything that hangs on it.
pub(super) struct Entry {
    /// Decides.
    pub(super) machine: Call,
    /// Where its media lives.
    pub(super) media: Arc<Room>,
    /// Where the media of legs lives that came from other calls.
    pub(super) rooms: Vec<Arc<Room>>,
    /// The call that will take over whoever stays, while its new party rings.
    pub(super) transferring: Option<CallKey>,
    /// How many more servers may forward the call.
    pub(super) max_forwards: MaxForwards,
    /// How often each of its branches may branch.
    pub(super) max_breadth: MaxBreadth,
    /// Transfers that led here.
    pub(super) hops: u8,
    /// The Jingle session id and XEP-0353 message id of this call.
    pub(super) sid: String,
    /// The calling device; bare where it is none that XMPP knows.
    pub(super) caller: Jid,
    /// The called account, or the one device that was called.
    pub(super) callee: Jid,
    /// All legs, the caller's at [`crate::bridge::call::CALLER`].
    pub(super) legs: BTreeMap<LegKey, Leg>,
    /// The next free leg key.
    pub(super) next_key: u32,
    /// The caller's codecs in its order, once known: the other side is offered these first, so that packets can
    /// pass through.
    pub(super) caller_codecs: Vec<Codec>,
    /// The caller does not want to be known (RFC 3323): `caller` is nobody.
    pub(super) is_hidden: bool,
    /// Whether the calling phone, of an account of ours, asks that a phone answers by itself (RFC 5373).
    pub(super) answering: Wish,
    /// Who sent the call on before it came here, as a trunk says that is believed (RFC 5806), the last first.
    pub(super) diverted: Vec<String>,
    /// The leg that plays something to the caller before the answer, the last one to begin.
    pub(super) playing: Option<LegKey>,
    /// The name that who calls has by its own word, and by the roster of who is called.
    pub(super) said_name: Option<String>,
    pub(super) known_name: Option<String>,
    /// A link to its picture.
    pub(super) picture: Option<String>,
    /// The account that calls the telephone network.
    pub(super) payer: Option<Jid>,
    /// Who sent the call on to whom it rings now, the first first.
    pub(super) forwarded: Vec<Forwarded>,
    /// It only sets something: nobody is called, and no record is kept.
    pub(super) is_order: bool,
    /// Why nobody is rung.
    pub(super) turned_away: Option<Cause>,
    /// By whom we speak with an app whose call was taken over, and the id by which it knows the call.
    pub(super) voice: Option<(Jid, String)>,
    /// Sessions of apps that talk to us though they do not mean us: id and account ([`crate::bridge::held`]).
    pub(super) held: Vec<(String, Jid)>,
    /// Why the number that was called is not dialled.
    pub(super) refused: Option<Refused>,
    /// A resource that was attached for a caller without one, to be detached in the end.
    pub(super) guest: Option<Jid>,
    /// The called account's XMPP devices were told of the call by XEP-0353.
    pub(super) is_proposed: bool,
    /// Phones that are shown as being in a call.
    pub(super) busy: Vec<Jid>,
    /// When the exchange is to look at the machine again.
    pub(super) armed: Option<Instant>,
    /// When it began.
    pub(super) started: SystemTime,
    /// When it was answered.
    pub(super) answered: Option<SystemTime>,
}

impl Entry {
    /// The id by which the calling app knows the call.
    pub(super) fn caller_sid(&self) -> &str {
        self.voice.as_ref().map_or(&self.sid, |(_, sid)| sid)
    }

    /// Whether an app calls whose call is handled in place of who it called.
    pub(super) fn is_taken_over(&self) -> bool {
        self.voice.is_some() || !self.held.is_empty()
    }

    /// Whether the calling app means this call by an id: under another the same address is only spoken for.
    pub(super) fn is_called(&self, id: &str) -> bool {
        match &self.voice {
            Some((_, known)) => known == id,
            None => self.held.is_empty() && self.sid == id,
        }
    }

    /// Adds a leg and names it.
    pub(super) fn add_leg(&mut self, leg: Leg) -> LegKey {
        let key = LegKey(self.next_key);
        self.next_key += 1;
        self.legs.insert(key, leg);
        key
    }
}

/// One leg.
pub(super) struct Leg {
    /// What is on the other end.
    pub(super) kind: Kind,
    /// Its media, once opened.
    pub(super) media: Option<MediaLeg>,
    /// The codec agreed on.
    pub(super) codec: Option<Codec>,
    /// The full JID this leg's device has towards XMPP, when it has one.
    pub(super) device: Option<Jid>,
    /// It was connected once: it needs no answer any more.
    pub(super) up: bool,
    /// What a caller was told before the answer so that it hears something: a phone's session description, which its 200
    /// repeats; nothing for an app.
    pub(super) early: Option<bytes::Bytes>,
    /// Whoever is there has put us on hold.
    pub(super) holds: bool,
    /// Its last counters, once its media is closed.
    pub(super) stats: Option<LegStats>,
}

impl Leg {
    pub(super) fn new(kind: Kind, device: Option<Jid>) -> Self {
        Self {
            kind,
            media: None,
            codec: None,
            device,
            up: false,
            early: None,
            holds: false,
            stats: None,
        }
    }
}

/// The audio of a phone's leg.
pub(super) enum PhoneAudio {
    /// RTP, or SRTP by SDES.
    Rtp {
        /// What was offered and answered.
        negotiator: Negotiator,
        /// Our side of it.
        local: LocalAudio,
    },
    /// ICE and DTLS-SRTP.
    Web {
        /// What was offered and answered.
        audio: WebAudio,
        /// The phone's side of ICE, as the media engine knows it.
        remote: Option<RemoteTransport>,
    },
}

/// A transfer that is not taken yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waiting {
    /// The call it comes from.
    pub(super) call: CallKey,
    /// Who transfers.
    pub(super) by: LegKey,
    /// Who stays.
    pub(super) rest: LegKey,
}

/// How a phone is reached.
#[derive(Debug, Clone)]
pub(super) enum Way {
    /// It is registered there.
    Phone(Arc<Binding>),
    /// By the telephone network.
    Trunk {
        /// Who carries the call.
        trunk: Arc<Trunk>,
        /// Who is called.
        number: Dialled,
        /// Who is asked next.
        others: Vec<Arc<Trunk>>,
    },
    /// In another domain, found by DNS.
    Abroad {
        /// Which.
        domain: String,
        /// Whether it is reached under TLS alone.
        secure: bool,
    },
}

/// What is on the other end of a leg, and how far it is.
pub(super) enum Kind {
    /// A phone that called us.
    SipCaller {
        /// Its dialog.
        leg: SipLeg,
        /// Whether it speaks WebRTC.
        is_web: bool,
        /// Its offer; none when the answer must carry ours.
        offer: Option<Session>,
        /// Once we have answered.
        audio: Option<Box<PhoneAudio>>,
        /// Whether it calls under TLS.
        secure: bool,
        /// Whether its media has to be encrypted.
        strict: bool,
    },
    /// A phone that we call.
    SipTarget {
        /// Its dialog.
        leg: SipLeg,
        /// How it is reached.
        way: Way,
        /// What was offered.
        audio: Box<PhoneAudio>,
        /// Whether the other kind of transport was tried before.
        retried: bool,
    },
    /// An XMPP client that called us.
    JingleCaller {
        /// The client.
        peer: Jid,
        /// Its session, once initiated.
        session: Option<JingleLeg>,
        /// Its offer, until answered.
        offer: Option<Box<Content>>,
        /// The phone that was said to take the call (`<proceed/>`), for a call that began by XEP-0353.
        proceeded: Option<Jid>,
    },
    /// The XMPP devices of the called account behind one `<propose/>`; a session once one proceeded.
    Proposed {
        /// The session with the device that proceeded, and our offer.
        session: Option<(JingleLeg, Box<Content>)>,
    },
    /// One XMPP device without XEP-0353, called with `session-initiate` at once.
    JingleTarget {
        /// Its session.
        session: JingleLeg,
        /// Our offer.
        offer: Box<Content>,
    },
    /// Whoever stays in another call until a transfer is taken.
    Waiting(Waiting),
    /// The echo service.
    Echo,
}

impl Kind {
    /// The Jingle session of this leg.
    pub(super) fn session(&mut self) -> Option<&mut JingleLeg> {
        match self {
            Self::JingleCaller { session, .. } => session.as_mut(),
            Self::Proposed { session } => session.as_mut().map(|(session, _)| session),
            Self::JingleTarget { session, .. } => Some(session),
            Self::SipCaller { .. } | Self::SipTarget { .. } | Self::Waiting(_) | Self::Echo => None,
        }
    }

    /// The SIP dialog of this leg.
    pub(super) fn dialog(&self) -> Option<SipLeg> {
        match self {
            Self::SipCaller { leg, .. } | Self::SipTarget { leg, .. } => Some(*leg),
            _ => None,
        }
    }

    /// How the media of this leg is protected, for the record; `None` before it was agreed, or where there is none.
    pub(super) fn media_protection(&self) -> Option<&'static str> {
        match self {
            Self::SipCaller { audio: Some(audio), .. } | Self::SipTarget { audio, .. } => {
                Some(match audio.requires_keys() {
                    None => "dtls-srtp",
                    Some(true) => "sdes-srtp",
                    Some(false) => "clear",
                })
            }
            Self::JingleCaller { session: Some(_), .. }
            | Self::Proposed { session: Some(_) }
            | Self::JingleTarget { .. } => Some("dtls-srtp"),
            _ => None,
        }
    }

    /// How the signalling of this leg is protected, as far as we see it.
    pub(super) fn signalling_protection(&self) -> Option<&'static str> {
        let of = |is_secure: bool| Some(if is_secure { "tls" } else { "clear" });
        match self {
            Self::SipCaller { secure, .. } => of(*secure),
            Self::SipTarget { way: Way::Phone(binding), .. } => of(binding.is_secure()),
            Self::SipTarget { way: Way::Trunk { trunk, .. }, .. } => of(trunk.is_secure()),
            // Without the need, TLS is a matter of what DNS says, which we are not told.
            Self::SipTarget { way: Way::Abroad { secure, .. }, .. } => secure.then_some("tls"),
            // No client logs in without TLS.
            Self::JingleCaller { .. } | Self::Proposed { .. } | Self::JingleTarget { .. } => {
                of(true)
            }
            Self::Waiting(_) | Self::Echo => None,
        }
    }

    /// The protocol, for the record.
    pub(super) fn protocol(&self) -> &'static str {
        match self {
            Self::SipCaller { .. } | Self::SipTarget { .. } => "sip",
            Self::JingleCaller { .. } | Self::Proposed { .. } | Self::JingleTarget { .. } => "xmpp",
            Self::Waiting(_) => "transfer",
            Self::Echo => "echo",
        }
    }
}
