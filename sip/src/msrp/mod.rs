//! Message sessions (MSRP, RFC 4975; NICKNAME of RFC 7701, CEMA of RFC 6714) without sockets.
//!
//! [`Core`] is one machine for all sessions and connections of a node. The driver tells it what was opened, what came in
//! and what was closed; [`Output`]s say what to write, open and close, and what happened in a session.
//!
//! | file | duty |
//! |---|---|
//! | `uri` | MSRP URIs |
//! | `frame` | heads, bodies in pieces, end-lines |
//! | `inbound` | messages put together out of chunks |
//! | `core` | sessions, connections, transactions, reports |
//!
//! Not served: relays (RFC 4976), which peers that can be reached here do not need.

mod core;
pub mod frame;
mod inbound;
pub mod uri;

pub use self::core::{Command, Core, Outgoing, Output, SessionConfig, SessionEvent};
pub use self::inbound::Incoming;
pub use self::uri::MsrpUri;

/// Names a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u64);
