//! A whole session description (RFC 8866 section 5): parse and print.
//!
//! Lines may end in CRLF or LF, and come in any order within their section; empty lines are read past. What is no UTF-8
//! becomes U+FFFD. `s=` and `t=` may be missing: nothing depends on them.

use std::fmt;

use bytes::Bytes;

use super::section::{Line, Section};
use super::value::{Connection, Direction, Fingerprint, SetupRole};
use super::{
    MAX_ATTRIBUTES, MAX_BYTES, MAX_FORMATS, MAX_MEDIA, MAX_OTHER_LINES, Profile, SdpError,
};

/// A session description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// `o=`.
    pub origin: Origin,
    /// The lines before the first `m=`, without `v=` and `o=`.
    pub section: Section,
    /// `m=` lines with what follows each.
    pub media: Vec<Media>,
}

/// `o=` (RFC 8866 section 5.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// `-` for nobody. It should have no spaces, and is kept whole where it has.
    pub username: String,
    /// Equal for the whole session. A number, kept as text since RFC 8866 sets no size.
    pub id: String,
    /// Grows with each change of the description; a number as well.
    pub version: String,
    /// Host that made it, as written.
    pub address: String,
    /// Whether that is `IP6`.
    pub is_ip6: bool,
}

/// One `m=` line and the lines after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// `audio`, `video`, `text`, `application`, `image`, `message`.
    pub media: String,
    /// 0: refused, or no more.
    pub port: u16,
    /// Count behind a `/`; `None` means 1.
    pub port_count: Option<u16>,
    /// `RTP/AVP` ..., as written.
    pub proto: String,
    /// Payload types for RTP, the preferred first.
    pub formats: Vec<String>,
    /// The lines after it.
    pub section: Section,
}

impl Session {
    /// Reads a description.
    ///
    /// # Errors
    ///
    /// [`SdpError::NotSdp`] (400), [`SdpError::TooLarge`] (413).
    pub fn parse(bytes: &[u8]) -> Result<Self, SdpError> {
        if bytes.len() > MAX_BYTES {
            return Err(SdpError::TooLarge);
        }
        let text = String::from_utf8_lossy(bytes);
        let mut lines =
            text.split('\n').map(|l| l.trim_end_matches('\r')).filter(|l| !l.is_empty());
        if lines.next().map(str::trim_end) != Some("v=0") {
            return Err(SdpError::NotSdp);
        }
        let mut origin = None;
        let mut section = Limited::default();
        let mut media: Vec<(Media, Limited)> = Vec::new();
        for line in lines {
            let line = parse_line(line)?;
            if line.kind() == 'm' {
                if media.len() == MAX_MEDIA {
                    return Err(SdpError::TooLarge);
                }
                media.push((Media::parse(line.value())?, Limited::default()));
            } else if let Some((_, section)) = media.last_mut() {
                section.push(line)?;
            } else if line.kind() == 'o' && origin.is_none() {
                origin = Some(Origin::parse(line.value()).ok_or(SdpError::NotSdp)?);
            } else {
                section.push(line)?;
            }
        }
        let media = media.into_iter().map(|(m, lines)| Media { section: lines.section, ..m });
        Ok(Self {
            origin: origin.ok_or(SdpError::NotSdp)?,
            section: section.section,
            media: media.collect(),
        })
    }

    /// As sent.
    pub fn to_bytes(&self) -> Bytes {
        Bytes::from(self.to_string())
    }

    /// The first audio line with a port over one of the profiles we do, else the first with a port. `None`: no audio.
    pub fn audio(&self) -> Option<&Media> {
        let live = || self.media.iter().filter(|m| m.is_audio() && m.port != 0);
        live().find(|m| m.profile().is_some()).or_else(|| live().next())
    }

    /// `c=` of this line, else that of the session.
    pub fn connection_of(&self, media: &Media) -> Option<Connection> {
        // One that cannot be read is not as good as none: media must not go where the session points.
        match media.section.value('c') {
            Some(value) => Connection::parse(value),
            None => self.section.connection(),
        }
    }

    /// Direction of this line, else that of the session, else both ways.
    pub fn direction_of(&self, media: &Media) -> Direction {
        media.section.direction().or_else(|| self.section.direction()).unwrap_or_default()
    }

    /// `a=setup` of this line, else that of the session.
    pub fn setup_of(&self, media: &Media) -> Option<SetupRole> {
        media.section.setup().or_else(|| self.section.setup())
    }

    /// `a=fingerprint` of this line, else of the session.
    pub fn fingerprints_of(&self, media: &Media) -> Vec<Fingerprint> {
        let own: Vec<_> = media.section.fingerprints().collect();
        if own.is_empty() { self.section.fingerprints().collect() } else { own }
    }
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v=0\r\no={}\r\n", self.origin)?;
        self.section.lines().iter().try_for_each(|line| write!(f, "{line}\r\n"))?;
        for media in &self.media {
            write!(f, "m={media}\r\n")?;
            media.section.lines().iter().try_for_each(|line| write!(f, "{line}\r\n"))?;
        }
        Ok(())
    }
}

impl Origin {
    /// Reads `- 20518 0 IN IP4 203.0.113.1`, from the right because of names with spaces.
    pub fn parse(value: &str) -> Option<Self> {
        let mut words: Vec<&str> = value.split_ascii_whitespace().collect();
        let address = words.pop()?.to_owned();
        let kind = words.pop()?;
        let is_ip6 = kind.eq_ignore_ascii_case("IP6");
        words.pop().filter(|net| net.eq_ignore_ascii_case("IN"))?;
        let number = |word: &&str| word.bytes().all(|b| b.is_ascii_digit());
        let version = words.pop().filter(number)?.to_owned();
        let id = words.pop().filter(number)?.to_owned();
        let known = is_ip6 || kind.eq_ignore_ascii_case("IP4");
        (known && !words.is_empty()).then(|| Self {
            username: words.join(" "),
            id,
            version,
            address,
            is_ip6,
        })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { username, id, version, address, is_ip6 } = self;
        write!(f, "{username} {id} {version} IN IP{} {address}", if *is_ip6 { 6 } else { 4 })
    }
}

impl Media {
    /// Reads `audio 49170/2 RTP/AVP 0 8`.
    ///
    /// # Errors
    ///
    /// [`SdpError::NotSdp`]; [`SdpError::TooLarge`] for more than [`MAX_FORMATS`].
    pub fn parse(value: &str) -> Result<Self, SdpError> {
        let mut words = value.split_ascii_whitespace();
        let media = words.next().ok_or(SdpError::NotSdp)?;
        let port = words.next().ok_or(SdpError::NotSdp)?;
        let (port, count) = port.split_once('/').map_or((port, None), |(p, n)| (p, Some(n)));
        let port_count = count.map(str::parse).transpose().map_err(|_| SdpError::NotSdp)?;
        let proto = words.next().ok_or(SdpError::NotSdp)?;
        let formats: Vec<String> = words.take(MAX_FORMATS + 1).map(str::to_owned).collect();
        if formats.len() > MAX_FORMATS {
            return Err(SdpError::TooLarge);
        }
        Ok(Self {
            media: media.to_owned(),
            port: port.parse().map_err(|_| SdpError::NotSdp)?,
            port_count,
            proto: proto.to_owned(),
            formats,
            section: Section::default(),
        })
    }

    /// Whether this is `m=audio`.
    pub fn is_audio(&self) -> bool {
        self.media.eq_ignore_ascii_case("audio")
    }

    /// The RTP profile. `None`: one that we do not do.
    pub fn profile(&self) -> Option<Profile> {
        Profile::parse(&self.proto)
    }
}

impl fmt::Display for Media {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.media, self.port)?;
        if let Some(count) = self.port_count {
            write!(f, "/{count}")?;
        }
        write!(f, " {}", self.proto)?;
        self.formats.iter().try_for_each(|format| write!(f, " {format}"))
    }
}

fn parse_line(line: &str) -> Result<Line, SdpError> {
    let (kind, value) = line.split_once('=').ok_or(SdpError::NotSdp)?;
    let mut letters = kind.chars();
    let kind = letters.next().filter(char::is_ascii_alphabetic).ok_or(SdpError::NotSdp)?;
    // RFC 8866 section 9: byte-string has none of these.
    if letters.next().is_some() || value.contains(['\r', '\0']) {
        return Err(SdpError::NotSdp);
    }
    Ok(Line::new(kind, value))
}

/// A section that does not grow over its limits.
#[derive(Default)]
struct Limited {
    section: Section,
    attributes: usize,
    others: usize,
}

impl Limited {
    fn push(&mut self, line: Line) -> Result<(), SdpError> {
        let (count, most) = match line.kind() {
            'a' => (&mut self.attributes, MAX_ATTRIBUTES),
            _ => (&mut self.others, MAX_OTHER_LINES),
        };
        if *count == most {
            return Err(SdpError::TooLarge);
        }
        *count += 1;
        self.section.add(line);
        Ok(())
    }
}
