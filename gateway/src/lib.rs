//! Tandem: one program in which people reach each other whatever they use.
//!
//! `app` builds the node and hands every service its ports, `doors` are what its listeners speak. `store` is the only place with SQL, `bridge` the only place
//! where protocols meet, `cluster` the bus between edges and owners, `uploads` the files of users, `relay` clients of
//! TURN over streams, `cli` what an operator types, `removal` the one command that a running server must know of, `demo`
//! a server to try. The protocol crates know nothing of each other; each defines in its `ports.rs` what it needs, and this crate implements it.

#[allow(clippy::disallowed_methods)]
pub mod accounts;
#[allow(clippy::disallowed_methods)]
pub mod app;
pub mod audit;
pub mod bridge;
pub mod certificate;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod demo;
pub mod desk;
pub mod dns;
#[allow(clippy::disallowed_methods)]
mod doors;
pub mod federation;
pub mod guard;
#[allow(clippy::disallowed_methods)]
pub mod live_certificate;
mod patient;
#[allow(clippy::disallowed_methods)]
pub mod push;
#[allow(clippy::disallowed_methods)]
mod relay;
pub mod relays;
pub mod removal;
#[allow(clippy::disallowed_methods)]
pub mod store;
pub mod telemetry;
#[allow(clippy::disallowed_methods)]
pub mod uploads;
mod visitors;
