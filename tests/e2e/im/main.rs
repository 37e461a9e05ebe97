//! Instant messaging with programs not written here: one feature a module.

#![allow(clippy::unwrap_used, clippy::panic)] // all of it is a test

mod accounts;
mod archive;
mod burst;
mod components;
mod devices;
mod federation;
mod limits;
mod login;
mod profanity;
mod pubsub;
mod resume;
mod rooms;
mod web;
mod webclients;
