//! Instant messaging with programs not written here: one feature a module.
mod accounts;
mod archive;
mod burst;
mod components;
mod federation;
mod login;
mod pubsub;
mod rooms;
mod web;
