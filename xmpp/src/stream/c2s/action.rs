//! How the bytes of a client's stream travel, and what its driver must do.

use bytes::Bytes;

use crate::jid::Jid;
use crate::stanza::Stanza;
use crate::stream::bind2::BindRequest;
use crate::stream::binding::Bindings;
use crate::stream::question::Question;
use crate::stream::sm;
use crate::xml::Element;

/// How the bytes travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Plain TCP; STARTTLS is required before anything else.
    Tcp,
    /// TLS from the first byte (XEP-0368), or after STARTTLS.
    Tls,
    /// WebSocket over HTTPS (RFC 7395).
    WebSocket,
}

/// What the driver must do.
#[derive(Debug)]
pub enum Action {
    /// Write this.
    Send(Bytes),
    /// Start TLS as the server, then call [`C2s::handle_tls`](super::C2s::handle_tls).
    StartTls,
    /// Find this out, then call [`C2s::handle_answer`](super::C2s::handle_answer).
    Ask(Box<Question>),
    /// A login ended; keep count.
    LoggedIn(bool),
    /// Register this resource, or a made-up one, then call [`C2s::handle_bound`](super::C2s::handle_bound).
    Bind(Option<String>),
    /// Register a resource that begins with this tag, with what is to go with it, then call
    /// [`C2s::handle_bound_inline`](super::C2s::handle_bound_inline).
    BindInline {
        /// What the client wants.
        bind: BindRequest,
        /// Its `user-agent` id: an older session of the same device ends (XEP-0386 section 3.2).
        device: Option<String>,
    },
    /// Answer this request about a new account, then call [`C2s::handle_registered`](super::C2s::handle_registered).
    Register {
        /// The domain it is for.
        domain: String,
        /// The whole request.
        iq: Box<Element>,
    },
    /// Route this.
    Stanza(Box<Stanza>),
    /// Queue this stanza to the client behind what others sent it.
    Reply(Bytes),
    /// A stanza has been answered here; it counts among those that were handled.
    Answered,
    /// Count and keep stanzas from here on (XEP-0198).
    Manage(sm::Granted),
    /// Take over that session, then call [`C2s::handle_resumed`](super::C2s::handle_resumed).
    Resume(sm::Resume),
    /// Call [`C2s::send_ack`](super::C2s::send_ack) once all before this is finished.
    AckAsked,
    /// The client has handled so many; call [`C2s::fail_too_high`](super::C2s::fail_too_high) if it was sent fewer.
    Acked(u32),
    /// Somebody looks at the client, or nobody does (XEP-0352).
    Active(bool),
    /// Write what is queued, then these last bytes, then close.
    Close {
        /// The end of the stream.
        last: Bytes,
        /// The client may come back: it did not say goodbye, and nothing it did is the cause.
        resumable: bool,
    },
}

/// What TLS says of a connection.
#[derive(Debug, Clone, Default)]
pub struct Secured {
    /// What ties a login to it.
    pub bindings: Bindings,
    /// Whom the client's certificate names, if the TLS layer has verified one.
    pub identities: Vec<Jid>,
}
