//! Offer/answer of one dialog (RFC 3264; keys of RFC 4568, over RTP/AVP too, as phones do it).
//!
//! Refused lines keep their slot with port 0, in our later offers too. The version in `o=` grows by one when what we
//! say changes, and only then (RFC 3264 section 8).

use bytes::Bytes;

use super::SdpError;
use super::audio::{AudioFormat, Encoding, LocalAudio, Profile, RemoteAudio};
use super::section::Section;
use super::select;
use super::session::{Media, Origin, Session};
use super::value::{Connection, Direction};
use crate::srtp::sdes::Crypto;

/// One dialog's exchange of descriptions.
///
/// Only one exchange runs at a time: who has an offer under way answers 491 to another (RFC 3261 section 14.1). A call
/// that forks has one a dialog: clone it after the offer. After an error all is as before.
#[derive(Debug, Clone)]
pub struct Negotiator {
    id: u64,
    version: u64,
    /// What we said last, without `v=` and `o=`. `None`: nothing yet.
    said: Option<(Section, Vec<Media>)>,
    /// What stays of each line from one description to the next.
    slots: Vec<Slot>,
    /// Which slot is the audio.
    audio: usize,
    /// How the audio line was last agreed.
    profile: Profile,
    /// Numbers used since the session began: none may change its meaning (RFC 3264 section 8.3.2).
    numbers: Vec<(u8, Encoding)>,
    /// Our last offer and its profile.
    offered: Option<(LocalAudio, Profile)>,
}

#[derive(Debug, Clone)]
struct Slot {
    media: String,
    proto: String,
    formats: Vec<String>,
    mid: Option<String>,
}

impl Negotiator {
    /// `session_id` is random; its highest bit is not used, so that it fits a signed integer (RFC 3264 section 5).
    pub fn new(session_id: u64) -> Self {
        Self {
            id: session_id & (u64::MAX >> 1),
            version: 0,
            said: None,
            slots: Vec::new(),
            audio: 0,
            profile: Profile::Avp,
            numbers: Vec::new(),
            offered: None,
        }
    }

    /// Our offer, the first or a later one. It takes the place of an earlier one that was not answered.
    pub fn offer(&mut self, local: &LocalAudio) -> Bytes {
        let local = LocalAudio { formats: self.renumbered(&local.formats), ..local.clone() };
        self.remember(&local.formats);
        // Once secured the line stays so, and AVP or AVPF stays as the peer wrote it.
        let keys = local.encryption.keys();
        let stays = self.profile.is_secure() && !keys.is_empty();
        let profile = self.profile.secured(local.encryption.is_required() || stays);
        if self.slots.is_empty() {
            let media = "audio".to_owned();
            self.slots.push(Slot { media, proto: String::new(), formats: vec![], mid: None });
        }
        let proto = profile.name().to_owned();
        let media = self.audio_line(&local, proto, &local.formats, keys, local.direction);
        let bytes = self.describe(&local, "0 0", media);
        self.offered = Some((local, profile));
        bytes
    }

    /// The answer to the peer's offer, and what media needs.
    ///
    /// # Errors
    ///
    /// [`SdpError`]: answer the request with its status; the session before it goes on.
    pub fn answer(
        &mut self,
        offer: &Session,
        local: &LocalAudio,
    ) -> Result<(Bytes, RemoteAudio), SdpError> {
        let last = (!self.slots.is_empty()).then_some(self.audio);
        let chosen = select::for_answer(offer, local, last)?;
        let remote = chosen.remote;
        self.slots = offer.media.iter().map(Slot::of).collect();
        self.audio = chosen.index;
        self.profile = remote.profile;
        self.offered = None;
        let formats: Vec<AudioFormat> = remote
            .formats
            .iter()
            .map(|agreed| AudioFormat {
                payload_type: agreed.receive,
                encoding: agreed.encoding,
                fmtp: select::our_fmtp(local, agreed.encoding),
            })
            .collect();
        self.remember(&formats);
        let local = LocalAudio {
            rtcp_mux: remote.rtcp_mux,
            ptime_ms: local.ptime_ms.or(remote.ptime_ms),
            ..local.clone()
        };
        let proto = chosen.media.proto.clone();
        let media =
            self.audio_line(&local, proto, &formats, chosen.key.as_slice(), remote.direction);
        // The time of an answer is that of the offer (RFC 3264 section 6).
        let time = offer.section.value('t').unwrap_or("0 0");
        Ok((self.describe(&local, time, media), remote))
    }

    /// What media needs by the peer's answer to our last offer. It may come again, the same or another: phones repeat in
    /// 200 what they said in 183.
    ///
    /// # Errors
    ///
    /// [`SdpError`]: end the call; after a refused early answer another may come.
    pub fn accept_answer(&mut self, answer: &Session) -> Result<RemoteAudio, SdpError> {
        let (local, profile) = self.offered.as_ref().ok_or(SdpError::NoOffer)?;
        if answer.media.len() != self.slots.len() {
            return Err(SdpError::AnswerMismatch);
        }
        let remote = select::from_answer(answer, local, self.audio, profile.is_secure())?;
        self.profile = *profile;
        Ok(remote)
    }

    /// Version in the last description of ours; 0 before the first.
    pub fn version(&self) -> u64 {
        self.version
    }

    fn audio_line(
        &self,
        local: &LocalAudio,
        proto: String,
        formats: &[AudioFormat],
        keys: &[Crypto],
        direction: Direction,
    ) -> Media {
        let mut section = Section::default();
        for format in formats {
            let number = format.payload_type;
            section.push_attribute("rtpmap", &format!("{number} {}", format.encoding.rtpmap()));
            if let Some(fmtp) = &format.fmtp {
                section.push_attribute("fmtp", &format!("{number} {fmtp}"));
            }
        }
        if let Some(ms) = local.ptime_ms {
            section.push_attribute("ptime", &ms.to_string());
        }
        keys.iter().for_each(|key| section.push_attribute("crypto", &key.to_string()));
        let next = local.addr.port().checked_add(1);
        if let Some(port) = local.rtcp_port.filter(|port| Some(*port) != next) {
            let ip = Connection::print(local.addr.ip());
            section.push_attribute("rtcp", &format!("{port} {ip}"));
        }
        if local.rtcp_mux {
            section.push_attribute("rtcp-mux", "");
        }
        if let Some(mid) = self.slots.get(self.audio).and_then(|slot| slot.mid.as_deref()) {
            section.push_attribute("mid", mid);
        }
        section.push_attribute(direction.name(), "");
        let formats = formats.iter().map(|f| f.payload_type.to_string()).collect();
        let port = local.addr.port();
        Media { media: "audio".to_owned(), port, port_count: None, proto, formats, section }
    }

    /// Puts the audio into its slot, refuses all others, and counts the version.
    fn describe(&mut self, local: &LocalAudio, time: &str, audio: Media) -> Bytes {
        let mut section = Section::default();
        section.push('s', "-");
        section.push('c', &Connection::print(local.addr.ip()));
        section.push('t', time);
        let mut audio = Some(audio);
        let lines = self.slots.iter().enumerate();
        let media: Vec<Media> = lines
            .map(|(at, slot)| match audio.take_if(|_| at == self.audio) {
                Some(line) => line,
                None => slot.refused(),
            })
            .collect();
        let said = Some((section, media));
        if self.said != said {
            self.version += 1;
            self.said = said;
        }
        let (section, media) = self.said.clone().unwrap_or_default();
        let origin = Origin {
            username: "-".to_owned(),
            id: self.id.to_string(),
            version: self.version.to_string(),
            address: local.addr.ip().to_string(),
            is_ip6: local.addr.is_ipv6(),
        };
        Session { origin, section, media }.to_bytes()
    }

    /// What was called by a number stays so, and a number that means something else is not taken again.
    fn renumbered(&self, formats: &[AudioFormat]) -> Vec<AudioFormat> {
        let mut taken = self.numbers.clone();
        let mut renumbered: Vec<AudioFormat> = Vec::with_capacity(formats.len());
        for format in formats {
            if renumbered.iter().any(|f| f.encoding == format.encoding) {
                continue;
            }
            let known = taken.iter().rev().find(|(_, e)| *e == format.encoding).map(|(n, _)| *n);
            let is_free = |n: &u8| taken.iter().all(|(number, _)| number != n);
            let number = known
                .or_else(|| Some(format.payload_type).filter(is_free))
                .or_else(|| (96..=127).find(is_free));
            // No number left: a peer that used up all 32 goes without this format.
            let Some(payload_type) = number else { continue };
            taken.push((payload_type, format.encoding));
            renumbered.push(AudioFormat { payload_type, ..format.clone() });
        }
        renumbered
    }

    fn remember(&mut self, formats: &[AudioFormat]) {
        for format in formats {
            self.numbers.retain(|(number, _)| *number != format.payload_type);
            self.numbers.push((format.payload_type, format.encoding));
        }
    }
}

impl Slot {
    fn of(media: &Media) -> Self {
        Self {
            media: media.media.clone(),
            proto: media.proto.clone(),
            formats: media.formats.clone(),
            mid: media.section.mid().map(str::to_owned),
        }
    }

    /// Port 0, with the formats of the offer since there must be some (RFC 3264 section 6).
    fn refused(&self) -> Media {
        let formats =
            if self.formats.is_empty() { vec!["0".to_owned()] } else { self.formats.clone() };
        Media {
            media: self.media.clone(),
            port: 0,
            port_count: None,
            proto: self.proto.clone(),
            formats,
            section: Section::default(),
        }
    }
}
