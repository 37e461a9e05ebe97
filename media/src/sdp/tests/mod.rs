//! RFC 8866 and RFC 3264: what phones send and what we say, in tables.

mod limits;
mod negotiate;
mod offers;
mod parse;
mod property;
mod reoffer;

use std::net::SocketAddr;

use super::*;
use crate::codec::Codec;
use crate::srtp::Profile as Suite;
use crate::srtp::sdes::Crypto;

/// Key and salt of RFC 4568 section 6.1.
const KEY: &str = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";
const ALL: [Codec; 4] = [Codec::Opus, Codec::G722, Codec::Pcmu, Codec::Pcma];

fn ours() -> SocketAddr {
    "192.0.2.9:40000".parse().unwrap()
}

fn local() -> LocalAudio {
    LocalAudio::new(ours(), offer_formats(&ALL))
}

fn keys() -> Vec<Crypto> {
    vec![
        Crypto::new(1, Suite::AeadAes128Gcm, [1; 30]),
        Crypto::new(2, Suite::Aes128CmSha1_80, [2; 30]),
        Crypto::new(3, Suite::Aes128CmSha1_32, [3; 30]),
    ]
}

fn parse(text: &str) -> Session {
    Session::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A description with this address, these session-level lines and these media sections.
fn description(address: &str, session: &[&str], media: &[&str]) -> Session {
    let mut text = format!("v=0\r\no=- 1 1 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 {address}\r\n");
    text.push_str("t=0 0\r\n");
    session.iter().chain(media).for_each(|line| text.push_str(&format!("{line}\r\n")));
    parse(&text)
}

/// With these media sections, from 198.51.100.1.
fn from_phone(media: &[&str]) -> Session {
    description("198.51.100.1", &[], media)
}

/// Answers as a callee that was never called before.
fn answered(offer: &Session, local: &LocalAudio) -> Result<(Session, RemoteAudio), SdpError> {
    let (bytes, remote) = Negotiator::new(1).answer(offer, local)?;
    Ok((Session::parse(&bytes).unwrap(), remote))
}

/// The one audio line of what we say.
fn audio(session: &Session) -> &Media {
    session.audio().unwrap()
}

/// `m=` and attributes of a line, as sent.
fn lines(media: &Media) -> Vec<String> {
    let first = format!("m={media}");
    std::iter::once(first).chain(media.section.lines().iter().map(Line::to_string)).collect()
}
