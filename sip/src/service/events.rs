//! Event packages (RFC 6665 section 5): what can be watched here, and the documents that tell its state.
//!
//! A package is a row of [`Package`]; the machine that serves all of them is `notifier`. State is always sent whole, so
//! a notice that waits is replaced by the next.

use std::time::Duration;

use bytes::{Bytes, BytesMut};

/// What can be watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Package {
    /// RFC 3856: how somebody can be reached.
    Presence,
    /// RFC 3857: who watches somebody's presence.
    PresenceWinfo,
    /// RFC 4235: the calls of somebody.
    Dialog,
    /// RFC 3842: what waits for somebody.
    MessageSummary,
    /// RFC 3680: where somebody is registered.
    Reg,
    /// RFC 4575: who is in a conference.
    Conference,
}

/// The value of Allow-Events: the packages, without those that are made from a template (RFC 6665 section 4.4.4).
pub(super) const ALLOW_EVENTS: &str = "presence, dialog, message-summary, reg, conference";

impl Package {
    /// Every package that is served.
    pub const ALL: [Self; 6] = [
        Self::Presence,
        Self::PresenceWinfo,
        Self::Dialog,
        Self::MessageSummary,
        Self::Reg,
        Self::Conference,
    ];

    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Presence => "presence",
            Self::PresenceWinfo => "presence.winfo",
            Self::Dialog => "dialog",
            Self::MessageSummary => "message-summary",
            Self::Reg => "reg",
            Self::Conference => "conference",
        }
    }

    /// The package of this name; names are case-sensitive (RFC 6665 section 8.2.1).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|package| package.name() == name)
    }

    /// The type of its documents, which every watcher of it takes unless its Accept says otherwise.
    pub fn media(self) -> &'static str {
        match self {
            Self::Presence => "application/pidf+xml",
            Self::PresenceWinfo => "application/watcherinfo+xml",
            Self::Dialog => "application/dialog-info+xml",
            Self::MessageSummary => "application/simple-message-summary",
            Self::Reg => "application/reginfo+xml",
            Self::Conference => "application/conference-info+xml",
        }
    }

    /// Seconds of a subscription whose SUBSCRIBE says nothing about it.
    pub(super) fn default_expires(self) -> u32 {
        match self {
            Self::Presence
            | Self::PresenceWinfo
            | Self::Dialog
            | Self::MessageSummary
            | Self::Conference => 3_600,
            // RFC 3680 section 4.4.
            Self::Reg => 3_761,
        }
    }

    /// The shortest time between two NOTIFYs about changes (RFC 3856 section 6.10, RFC 3857 section 4.10, RFC 4235
    /// section 3.10, RFC 3842 section 3.11, RFC 3680 section 4.9, RFC 4575 section 3.9).
    pub(super) fn spacing(self) -> Duration {
        match self {
            Self::Presence | Self::PresenceWinfo | Self::Reg | Self::Conference => {
                Duration::from_secs(5)
            }
            Self::Dialog | Self::MessageSummary => Duration::from_secs(1),
        }
    }
}

/// State as it is sent to one watcher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Content-Type.
    pub media: String,
    /// The body, but for its version.
    pub body: Bytes,
    /// Where in the body the number of the document goes. It counts what was sent in one subscription, from 0.
    pub version_at: Option<usize>,
}

impl Document {
    /// A document without a version.
    pub fn new(media: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self { media: media.into(), body: body.into(), version_at: None }
    }

    /// A document that counts: `before` and `after` are what stands round its number.
    pub fn counted(media: impl Into<String>, before: &str, after: &str) -> Self {
        let body = [before, after].concat();
        Self { media: media.into(), body: body.into(), version_at: Some(before.len()) }
    }

    /// The body with its number.
    pub fn numbered(&self, version: u32) -> Bytes {
        let Some((before, after)) = self.version_at.and_then(|at| self.body.split_at_checked(at))
        else {
            return self.body.clone();
        };
        let mut body = BytesMut::with_capacity(self.body.len() + 10);
        body.extend_from_slice(before);
        body.extend_from_slice(version.to_string().as_bytes());
        body.extend_from_slice(after);
        body.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_is_found_by_its_name() {
        for package in Package::ALL {
            assert_eq!(Package::from_name(package.name()), Some(package));
            let is_template = package.name().contains('.');
            let is_listed = ALLOW_EVENTS.split(", ").any(|name| name == package.name());
            assert_ne!(is_template, is_listed, "{}", package.name());
        }
        assert_eq!(Package::from_name("Presence"), None);
    }

    #[test]
    fn a_version_stands_where_it_belongs() {
        let document = Document::counted("x/y", "<a version=\"", "\"/>");
        assert_eq!(document.numbered(12), "<a version=\"12\"/>");
        let odd = Document { version_at: Some(99), ..document };
        assert_eq!(odd.numbered(1), "<a version=\"\"/>");
        assert_eq!(Document::new("x/y", "z").numbered(7), "z");
    }
}
