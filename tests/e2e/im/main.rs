//! Instant messaging with programs not written here: one feature a module.
mod components;
mod pubsub;
