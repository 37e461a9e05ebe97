//! Tandem's XMPP server: streams, login, roster, presence, delivery.
//!
//! | specification | state |
//! |---|---|
//! | RFC 6120, 7590 | client streams, STARTTLS, direct TLS (XEP-0368), SASL, binding; no server streams |
//! | RFC 6121 | roster with versions, subscriptions, presence, delivery between local accounts |
//! | RFC 7395 | WebSocket framing: one element a message |
//! | RFC 7622, 5890 | addresses; one form of a domain, with U-labels |
//! | XEP-0030, 0115, 0390 | disco and capabilities of the server, among its stream features too, and of attached devices; those of clients by proven hashes |
//! | XEP-0054, 0292, 0172 | vCards of both kinds, nicknames |
//! | XEP-0060, 0163, 0223 | each account publishes: nodes, access models, options, pages of items, news by +notify here and elsewhere, subscriptions by request; no approval of subscribers |
//! | XEP-0084, 0153, 0398 | avatars, in vCards and presence too |
//! | XEP-0045 | rooms at `rooms.<domain>`: all use cases of entities, occupants, moderators, admins and owners |
//! | XEP-0004, 0050, 0133 | data forms, ad-hoc commands, accounts administered with them; no message of the day, no restart |
//! | XEP-0077, 0401, 0445, 0379 | registration before login where it is set or by invitation, passwords, removal; invitations with a page |
//! | XEP-0092, 0199, 0202, 0157 | version, ping, time, contact addresses |
//! | XEP-0191, 0377 | blocking, for phones too; reports with their evidence, read by operators |
//! | XEP-0160, 0203 | offline messages |
//! | XEP-0198 | stream management with resumption over any transport; sessions wait for their clients |
//! | XEP-0249 | direct invitations, passed |
//! | XEP-0280 | carbons |
//! | XEP-0317 | hats of rooms, made and given by commands |
//! | XEP-0352 | client state: presence and typing wait for somebody who looks |
//! | XEP-0402, 0048, 0049 | bookmarks in all three forms, kept as one; private storage |
//! | XEP-0469, 0490, 0492 | pinned chats, displayed state (without server assist), notification settings |
//! | RFC 5802, 7677, 9266, 5929 | SCRAM by SHA-512, SHA-256 and SHA-1, bound by tls-exporter or tls-server-end-point |
//! | RFC 4616, 7628, XEP-0178 | PLAIN (a setting); OAUTHBEARER once an issuer is plugged in; EXTERNAL once the TLS layer asks for certificates |
//! | XEP-0388, 0386 | SASL2 and Bind 2, with stream management, carbons and client state inline |
//! | XEP-0440, 0474, 0480 | announced channel bindings, protection of the announced lists, upgrades of old passwords |
//! | XEP-0484 | FAST: tokens by installation, rotated, given back, counted; no 0-RTT |
//! | XEP-0410, 0421 | self-pings answered by the room, occupant ids |
//! | XEP-0425 | moderators take messages back |
//! | XEP-0486 | pictures of rooms |
//! | XEP-0124, 0206 | BOSH: one stream a session, over the web port |
//! | XEP-0215 | relays with credentials that expire, renewed by push |
//! | XEP-0297 | copies for content filters |
//! | XEP-0357 | push to app servers, obeying XEP-0492 |
//! | XEP-0363 | slots for files; purposes other than messages are not told apart |
//!
//! [`specs`] has the same list as data, with versions; `conf/tandem.doap` is generated from it.
//!
//! Layers: `xml`, `jid`, `stanza` and `stream` are core, without I/O; `service` answers out of the ports; `net` (feature
//! `net`) drives sockets. What is unknown to the server passes through untouched or is answered `service-unavailable`.

pub mod config;
pub mod jid;
#[cfg(feature = "net")]
#[allow(clippy::disallowed_methods)]
pub mod net;
pub mod ports;
pub mod router;
pub mod service;
pub mod specs;
pub mod stanza;
pub mod stream;
pub mod subscription;
pub mod xml;

pub use config::Config;
pub use service::{Outcome, Ports, Server};
