//! Tandem's XMPP server: streams of clients, servers and components; rosters, presence, messages, archives, rooms.
//!
//! | specification | state |
//! |---|---|
//! | RFC 6120, 7590, XEP-0478 | streams of clients and servers: STARTTLS or direct TLS, SASL, binding; limits announced |
//! | RFC 6121, XEP-0237 | rosters with versions, subscriptions, presence, delivery, here and with other servers |
//! | RFC 7395 | WebSocket framing: one element a message |
//! | RFC 7622, 5890 | addresses; one form of a domain, with U-labels |
//! | RFC 5802, 7677, 9266, 5929 | SCRAM by SHA-512, SHA-256 and SHA-1, bound by tls-exporter or tls-server-end-point |
//! | RFC 4422, 4616, 7628 | PLAIN (a setting); OAUTHBEARER once an issuer is plugged in |
//! | XEP-0178 | EXTERNAL between servers; for clients once the TLS layer asks for their certificates |
//! | XEP-0388, 0386 | SASL2 and Bind 2, with stream management, carbons and client state inline |
//! | XEP-0440, 0474, 0480 | announced channel bindings, protection of the announced lists, upgrades of old passwords |
//! | XEP-0484 | FAST: tokens by installation, rotated, given back, counted; no 0-RTT |
//! | XEP-0198, 0352 | stream management with resumption over any transport, sessions wait for their clients; presence and typing wait for somebody who looks |
//! | XEP-0124, 0206, 0156 | BOSH: one stream a session, over the web port; where it and WebSocket are found |
//! | XEP-0220, 0368 | federation: dialback where certificates do not prove a domain, direct TLS by SRV; rests after failures |
//! | XEP-0114, 0297 | external components; content filters among them are given copies and take messages back |
//! | XEP-0004, 0030, 0115, 0390 | forms; disco and capabilities of the server, among its stream features too, and of attached devices; those of clients by proven hashes |
//! | XEP-0092, 0157, 0199, 0202 | version, contact addresses, ping, time |
//! | XEP-0280, 0334, 0160, 0203 | carbons, hints, offline messages with their time |
//! | XEP-0313, 0059, 0359, 0441 | archives of accounts and rooms in pages, ids, preferences |
//! | XEP-0424, 0425 | messages taken back, by whom they are or by moderators; tombstones in the archives |
//! | XEP-0085, 0184, 0308, 0333, 0393, 0428, 0444, 0461 | states, receipts, corrections, markers, styling, fallbacks, reactions, replies: passed, and kept where they say something |
//! | XEP-0353 | proposals of calls: passed, kept, and bridged to phones |
//! | XEP-0045 | rooms at `rooms.<domain>`: all use cases of entities, occupants, moderators, admins and owners; no gateways to other protocols |
//! | XEP-0249, 0317, 0410, 0421, 0486 | direct invitations, passed; hats, made and given by commands; self-pings answered by the room; occupant ids; pictures of rooms |
//! | XEP-0060, 0163, 0223 | each account publishes: nodes, access models, options, pages of items, news by +notify here and elsewhere, subscriptions by request, approved where a node says so; no collections |
//! | XEP-0054, 0292, 0172 | vCards of both kinds, nicknames |
//! | XEP-0084, 0153, 0398 | avatars, in vCards and presence too |
//! | XEP-0402, 0048, 0049 | bookmarks in all three forms, kept as one; private storage |
//! | XEP-0469, 0490, 0492 | pinned chats, displayed state (without server assist), notification settings |
//! | XEP-0077, 0401, 0445, 0379 | registration before login where it is set or by invitation, passwords, removal; invitations with a page |
//! | XEP-0050, 0133 | ad-hoc commands, accounts administered with them; no message of the day, no restart |
//! | XEP-0191, 0377 | blocking, through rooms and for phones too; reports with their evidence, read by operators |
//! | XEP-0215 | relays with credentials that expire, renewed by push |
//! | XEP-0357, 0372, 0513 | push to app servers, obeying XEP-0492; mentions understood for it |
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
