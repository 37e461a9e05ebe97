//! What this crate needs from outside: who the accounts are, where bindings are kept, and who takes
//! calls, messages and subscriptions. The gateway implements these traits.

#[cfg(any(test, feature = "memory"))]
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

pub use crate::auth::Algorithm;
use crate::msg::header::MaxForwards;
pub use crate::msg::header::Push;
use crate::msg::{Headers, NameAddr, Uri};
pub use crate::service::binding::Binding;
pub use crate::service::events::{Document, Package};
pub use crate::transport::{Flow, Hop, Naptr, Protocol, Srv};

/// What every asynchronous port method returns.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Why a port could not do what it was asked. On the wire this is a 500.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be reached or refused; the text is for the log only.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// Someone else changed the same thing meanwhile.
    #[error("the stored value changed meanwhile")]
    Conflict,
}

/// One leg of a call: one INVITE usage, ours or theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LegId(pub u64);

/// State that one phone published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicationId(pub u64);

/// One subscription of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WatchId(pub u64);

impl fmt::Display for LegId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "leg-{}", self.0)
    }
}

/// One subscription of a phone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubscriptionId(pub u64);

/// Passwords, as digest hashes, and the brake on guessing.
pub trait Accounts: Send + Sync {
    /// `H(user:realm:password)` in lower-case hex for one algorithm; `None`: no such account, or
    /// no hash for this algorithm.
    fn ha1<'a>(
        &'a self,
        realm: &'a str,
        user: &'a str,
        algorithm: Algorithm,
    ) -> BoxFuture<'a, Result<Option<String>, StoreError>>;

    /// How long this peer must still wait before it may try this account; `None`: not at all.
    fn must_wait(&self, peer: IpAddr, account: &str) -> Option<Duration>;

    /// A password was tried.
    fn tried(&self, peer: IpAddr, account: &str, ok: bool);

    /// Something from this address was turned away before it was asked who it is. Must not block.
    fn turned_away(&self, peer: IpAddr, why: Refusal, count: u64);
}

/// Where the bindings of addresses of record are kept.
pub trait Bindings: Send + Sync {
    /// A random key that stays the same over restarts: addresses that were given out are read with it.
    fn key(&self) -> BoxFuture<'_, Result<[u8; 32], StoreError>>;

    /// All bindings, once at the start. Expired ones may be among them.
    fn load(&self) -> BoxFuture<'_, Result<Vec<Binding>, StoreError>>;

    /// Replaces the bindings of one account (`user@domain`). Resolves after the commit; the 200 to
    /// the REGISTER leaves after that.
    fn save<'a>(
        &'a self,
        account: &'a str,
        bindings: &'a [Arc<Binding>],
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Replaces the bindings of one account soon, in place of a `save`: they only last longer than those that are kept. The
    /// phone has its 200 already; what a crash takes is the lengthened time. Must not block.
    fn refreshed(&self, account: &str, bindings: &[Arc<Binding>]);

    /// The phones of an account are now these, one binding each: registered, moved or expired; and these have no
    /// registration any more, but can be woken. Must not block.
    fn changed(&self, account: &str, phones: &[Arc<Binding>], asleep: &[Arc<Binding>]);
}

/// Who wakes phones that sleep (RFC 8599).
pub trait Waker: Send + Sync {
    /// Asks the phone's push service to wake it. False: nobody took that on. Must end within some seconds.
    fn wake<'a>(&'a self, push: &'a Push) -> BoxFuture<'a, bool>;
}

/// Why something is turned away before it is asked who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// More without credentials than an address may send in a second. No answer.
    Flood,
    /// It calls itself what scanners call themselves. No answer.
    Scanner,
    /// It came without TLS where that is required. 403.
    Clear,
    /// It comes from another domain, which is not let in, is not who it says, or wants what is not for it. 403.
    Foreign,
    /// More from other domains than one address may send in a minute. 503 with Retry-After.
    Excess,
    /// There is too much to do. 503 with Retry-After.
    Overload,
    /// More of anything than one address may send in a second; nobody looked at it. No answer.
    Budget,
}

impl Refusal {
    /// One word, for counters and logs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Flood => "flood",
            Self::Scanner => "scanner",
            Self::Clear => "clear",
            Self::Foreign => "foreign",
            Self::Excess => "excess",
            Self::Overload => "overload",
            Self::Budget => "budget",
        }
    }
}

/// Who takes calls. Called from the one SIP task: must not block.
pub trait Calls: Send + Sync {
    /// Something happened on a leg.
    fn event(&self, leg: LegId, event: LegEvent);
}

/// What happens on a leg. `Ended` or `Failed` is always the last event.
#[derive(Debug, Clone)]
pub enum LegEvent {
    /// A phone calls. Answer with `ring`, `answer` or `reject`.
    Invited(Box<Invited>),
    /// Our INVITE got a 101 to 199.
    Progress {
        /// 180 or 183 mostly; 199: the phone `fork` rings no more (RFC 6228).
        status: u16,
        /// A preview of the answer, or the answer itself where the response was reliable.
        sdp: Option<Bytes>,
        /// Which phone behind a forking proxy says so: its tag.
        fork: Option<String>,
    },
    /// Our INVITE was answered; the ACK has left.
    Answered {
        /// Their SDP answer; empty when the peer sent none.
        sdp: Bytes,
    },
    /// The peer acknowledged our 200.
    Acked {
        /// Their answer, where the offer was ours.
        sdp: Option<Bytes>,
    },
    /// Our INVITE was refused, timed out (408) or could not be sent (503). Last event.
    Failed {
        /// The status.
        status: u16,
        /// The reason phrase.
        reason: String,
        /// Header fields of the response; empty when we made the status up.
        headers: Headers,
    },
    /// The caller gave up before the answer; `Ended` follows.
    Cancelled {
        /// The Reason header field of the CANCEL.
        reason: Option<String>,
    },
    /// The peer wants another session description. Answer with `answer_reinvite`.
    Reinvited {
        /// The new offer; `None`: they want ours, and their answer comes with `Acked`.
        offer: Option<Bytes>,
    },
    /// Our re-INVITE was answered (their SDP) or refused (the status; the session stays). An answer also comes unasked
    /// when a sign of life of ours got another description than before.
    ReinviteAnswered(Result<Bytes, u16>),
    /// A re-INVITE that came at a bad time may be tried again, with what is right by now.
    ReinviteDue,
    /// The peer wants whoever it talks to to talk to somebody else. Answer with `answer_refer`.
    Referred(Box<Refer>),
    /// The peer hung up; `Ended` follows.
    Bye {
        /// The Reason header field.
        reason: Option<String>,
    },
    /// A key was pressed and told by INFO. Answer with `answer_digit`.
    Digit {
        /// Event code of RFC 4733 section 3.2.
        event: u8,
        /// How long, as the phone says.
        duration_ms: u32,
    },
    /// The leg is gone. Last event.
    Ended,
}

/// A transfer as a phone asks for it (RFC 3515).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refer {
    /// Who is to be called: a `sip`, `sips`, `tel` or `xmpp` URI.
    pub to: Uri,
    /// The call of the same phone that is to be taken over instead (RFC 3891).
    pub replaces: Option<LegId>,
    /// Referred-By as written (RFC 3892).
    pub by: Option<String>,
}

/// A call as a phone asks for it.
#[derive(Debug, Clone)]
pub struct Invited {
    /// The caller as written in From.
    pub from: NameAddr,
    /// The Request-URI: who is called. An address of ours as host has become the domain.
    pub to: Uri,
    /// The authenticated account, `user@domain`. From a trunk: whom it says that calls, or nothing where that is hidden.
    /// From another domain: the address there.
    pub account: String,
    /// From where it comes.
    pub origin: Origin,
    /// The SDP offer; `None`: we make the offer in the answer, theirs comes with `Acked`.
    pub offer: Option<Bytes>,
    /// Call-ID of the leg.
    pub call_id: String,
    /// All header fields of the INVITE.
    pub headers: Headers,
    /// Id of the caller's binding, where the INVITE came from the same address as its registration.
    pub binding: Option<String>,
    /// Where the INVITE came from.
    pub source: SocketAddr,
    /// Whether it came under TLS.
    pub is_secure: bool,
    /// The leg whose place it wants to take (RFC 3891): one that is up, or one of ours that rings.
    pub replaces: Option<LegId>,
}

/// From where a call or a message comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// From an account of ours that proved itself.
    Account,
    /// From a trunk of that name (see [`crate::config::Trunk`]).
    Trunk(String),
    /// From another domain that is let in (see [`crate::config::Foreign`]).
    Foreign,
}

impl Origin {
    /// Whether the sender is an account of ours.
    #[must_use]
    pub fn is_account(&self) -> bool {
        *self == Self::Account
    }
}

/// Who takes messages from phones.
pub trait Messages: Send + Sync {
    /// A message of an authenticated account. The answer goes back as it is, after whatever
    /// commit it promises.
    fn message(&self, message: IncomingMessage) -> BoxFuture<'_, MessageReply>;
}

/// A MESSAGE request that passed authentication.
#[derive(Debug, Clone)]
pub struct IncomingMessage {
    /// The sender as written in From.
    pub from: NameAddr,
    /// The authenticated account, `user@domain`.
    pub account: String,
    /// From where it comes; from elsewhere than an account, the account is whom that says that writes.
    pub origin: Origin,
    /// The Request-URI. An address of ours as host has become the domain.
    pub to: Uri,
    /// Call-ID.
    pub call_id: String,
    /// CSeq number.
    pub cseq: u32,
    /// All header fields.
    pub headers: Headers,
    /// Content-Type, if any.
    pub content_type: Option<String>,
    /// Body.
    pub body: Bytes,
    /// Id of the sender's binding, where the request came from the same address as its registration.
    pub binding: Option<String>,
    /// Where it came from.
    pub source: SocketAddr,
}

/// The answer to a MESSAGE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageReply {
    /// Final status, 200 to 699.
    pub status: u16,
    /// Reason phrase; `None`: the usual one.
    pub reason: Option<String>,
    /// More header fields for the response.
    pub headers: Vec<(String, String)>,
}

impl MessageReply {
    /// A reply with the usual phrase and nothing more.
    #[must_use]
    pub fn new(status: u16) -> Self {
        Self { status, reason: None, headers: Vec::new() }
    }
}

/// Who tells phones that watch what they want to know, and hears what they say themselves (RFC 6665, RFC 3903).
pub trait Events: Send + Sync {
    /// A phone subscribes or refreshes. `Err(status)` refuses. After `Ok` the core sends the 200; then `SipHandle::notify`
    /// has to be called with the state, or with `Pending` while consent is missing (RFC 6665 section 4.2.1.2).
    fn subscribed(&self, subscription: Subscription) -> BoxFuture<'_, Result<(), u16>>;

    /// The subscription is over. Must not block.
    fn ended(&self, id: SubscriptionId, why: SubscriptionEnd);

    /// A phone says how its user can be reached, or says it anew (the same id). `Err(status)` refuses what cannot be
    /// read (400) or is of no known type (415); then what it said before stays.
    fn published(&self, publication: Publication) -> BoxFuture<'_, Result<(), u16>>;

    /// What a phone said is over. Must not block.
    fn unpublished(&self, id: PublicationId);

    /// Something was heard about what we watch. Must not block.
    fn watched(&self, id: WatchId, event: WatchEvent);
}

/// State that a phone published (RFC 3903).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// Stays the same while it is refreshed or changed.
    pub id: PublicationId,
    /// Whose state it is, `user@domain`.
    pub account: String,
    /// Id of the phone's binding, where the request came from the same address as its registration.
    pub device: Option<String>,
    /// The type of the body, in lower case.
    pub media: String,
    /// The state.
    pub body: Bytes,
}

/// A wish to watch somebody.
#[derive(Debug, Clone)]
pub struct OutgoingSubscription {
    /// To whom the SUBSCRIBE goes.
    pub target: Target,
    /// Who watches, without tag.
    pub from: NameAddr,
    /// Who is watched.
    pub to: Uri,
    /// What of it.
    pub package: Package,
    /// For how long; the other side may make it shorter. Refreshed until told otherwise.
    pub expires: Duration,
}

/// What is heard about somebody we watch. `Ended` is the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchEvent {
    /// A NOTIFY came.
    Told(WatchedState),
    /// One of several who answer for the target will say no more.
    ForkEnded(String),
    /// The subscription is over, or did not come about.
    Ended(WatchingEnd),
}

/// What a NOTIFY said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedState {
    /// Who of those the SUBSCRIBE reached says it.
    pub fork: String,
    /// Whether we are let.
    pub state: SubscriptionState,
    /// The document, of the package's type.
    pub body: Option<Bytes>,
}

/// Why we watch no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchingEnd {
    /// The first SUBSCRIBE was refused, or not answered (408), or could not be sent (430, 503).
    Refused {
        /// The status.
        status: u16,
        /// Retry-After.
        retry_after: Option<Duration>,
    },
    /// A refresh was refused with this status.
    RefreshRefused(u16),
    /// The notifier ended it (RFC 6665 section 4.1.3).
    Terminated {
        /// In lower case.
        reason: Option<String>,
        /// How long to wait before another try.
        retry_after: Option<Duration>,
    },
    /// No NOTIFY followed the SUBSCRIBE.
    NoNotify,
    /// It could not be refreshed in time.
    Expired,
    /// We asked for the end.
    Unsubscribed,
}

/// A subscription as it begins or is refreshed.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// Stays the same over refreshes.
    pub id: SubscriptionId,
    /// What is watched of the target.
    pub package: Package,
    /// The authenticated account that watches, `user@domain`.
    pub watcher: String,
    /// Who is watched; or `list_user` of the configuration, for all contacts of the watcher at once.
    pub target: Uri,
    /// All contacts at once: the document is a list (RFC 4662).
    pub is_list: bool,
    /// Granted duration. Zero is a look, or the end of what was watched: one NOTIFY with state, which ends it.
    pub expires: Duration,
    /// Media types of Accept; empty: that of the package.
    pub accepts: Vec<String>,
    /// True for the first SUBSCRIBE, false for a refresh.
    pub initial: bool,
}

/// Why a subscription is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriptionEnd {
    /// The watcher said so (Expires: 0).
    Unsubscribed,
    /// It was not refreshed.
    Expired,
    /// A NOTIFY failed.
    NotifyFailed,
    /// We ended it by `notify`.
    Terminated,
}

/// State of a subscription in a NOTIFY (RFC 6665 4.1.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubscriptionState {
    /// Authorised.
    Active,
    /// Not decided yet.
    Pending,
    /// Over, with the reason token (`rejected`, `noresource`, `timeout`, `deactivated`).
    Terminated(String),
}

/// The DNS, for hosts that nobody registered from (RFC 3263). A name without such records, and a question that nobody
/// answers, both give nothing. Must end within some seconds.
pub trait Names: Send + Sync {
    /// NAPTR records.
    fn naptr<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Vec<Naptr>>;

    /// SRV records.
    fn srv<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Vec<Srv>>;

    /// A and AAAA records, in the order to try.
    fn addresses<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Vec<IpAddr>>;
}

/// A DNS that knows what it is told, and nothing more.
#[cfg(any(test, feature = "memory"))]
#[derive(Debug, Clone, Default)]
pub struct KnownNames {
    /// NAPTR records by name.
    pub naptr: HashMap<String, Vec<Naptr>>,
    /// SRV records by name.
    pub srv: HashMap<String, Vec<Srv>>,
    /// Addresses by name.
    pub addresses: HashMap<String, Vec<IpAddr>>,
}

#[cfg(any(test, feature = "memory"))]
impl Names for KnownNames {
    fn naptr<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Vec<Naptr>> {
        Box::pin(std::future::ready(self.naptr.get(name).cloned().unwrap_or_default()))
    }

    fn srv<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Vec<Srv>> {
        Box::pin(std::future::ready(self.srv.get(name).cloned().unwrap_or_default()))
    }

    fn addresses<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Vec<IpAddr>> {
        Box::pin(std::future::ready(self.addresses.get(name).cloned().unwrap_or_default()))
    }
}

/// All ports together, handed to `Sip::start`.
#[derive(Clone)]
pub struct Ports {
    /// Passwords.
    pub accounts: Arc<dyn Accounts>,
    /// Bindings.
    pub bindings: Arc<dyn Bindings>,
    /// Calls.
    pub calls: Arc<dyn Calls>,
    /// Messages.
    pub messages: Arc<dyn Messages>,
    /// What is watched.
    pub events: Arc<dyn Events>,
    /// Names of other hosts.
    pub names: Arc<dyn Names>,
    /// What wakes phones.
    pub waker: Arc<dyn Waker>,
}

/// To whom a request goes.
#[derive(Debug, Clone)]
pub enum Target {
    /// A registered phone: over the best of its flows, and where that fails over the next.
    Binding(Arc<Binding>),
    /// Any URI: its host is looked up, and its places are tried in turn (RFC 3263).
    Uri(Uri),
    /// The same, under TLS or not at all.
    Secure(Uri),
    /// A URI whose places are known.
    Hops(Uri, Vec<Hop>),
}

impl Target {
    /// The status of what cannot be sent there at all, and why.
    pub(crate) fn no_way(&self) -> (u16, &'static str) {
        match self {
            // RFC 5626 section 11.4.
            Self::Binding(_) => (430, "Flow Failed"),
            Self::Uri(_) | Self::Secure(_) | Self::Hops(..) => (502, "Host Not Found"),
        }
    }
}

/// A MESSAGE to send.
#[derive(Debug, Clone)]
pub struct OutgoingMessage {
    /// To whom.
    pub target: Target,
    /// From; without a tag it gets a fresh one.
    pub from: NameAddr,
    /// To.
    pub to: Uri,
    /// Call-ID; `None`: a fresh one.
    pub call_id: Option<String>,
    /// CSeq number; `None`: 1.
    pub cseq: Option<u32>,
    /// More header fields.
    pub headers: Vec<(String, String)>,
    /// Content-Type.
    pub content_type: String,
    /// Body.
    pub body: Bytes,
    /// What to answer with who asks who we are.
    pub login: Option<Login>,
}

/// The final answer to a MESSAGE of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageResult {
    /// Status; 408 when nobody answered, 430 when the flow was gone, 502 when the host is not found, 503 when it could
    /// not be sent.
    pub status: u16,
    /// Reason phrase.
    pub reason: String,
    /// Retry-After.
    pub retry_after: Option<Duration>,
}

/// A call to place.
#[derive(Debug, Clone)]
pub struct OutgoingInvite {
    /// To whom.
    pub target: Target,
    /// From, without tag.
    pub from: NameAddr,
    /// To.
    pub to: Uri,
    /// Our SDP offer.
    pub offer: Bytes,
    /// More header fields.
    pub headers: Vec<(String, String)>,
    /// What to answer with who asks who we are.
    pub login: Option<Login>,
    /// How many more servers may forward it: one less than what the call came with, so that a call that goes in a circle
    /// over gateways ends (RFC 3261 section 16.6).
    pub max_forwards: MaxForwards,
}

/// A name and a password of ours at somebody else's.
#[derive(Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The name.
    pub username: String,
    /// The password.
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("username", &self.username).finish_non_exhaustive()
    }
}
