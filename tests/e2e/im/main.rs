//! Instant messaging with programs not written here: one feature a module.
mod archive;
mod components;
mod login;
mod pubsub;
