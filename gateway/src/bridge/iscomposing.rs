//! Typing (RFC 3994) and chat states (XEP-0085), mapped by RFC 7573 section 6 and `interop.md` 3.3.
//!
//! The two protocols repeat themselves differently: XMPP says `composing` once, SIP repeats `active` until it lapses.
//! [`FromPhone`] and [`ToPhone`] hold the timers of one conversation each way, without I/O.

use std::time::{Duration, Instant};

use tandem_xmpp::stanza::chat_states::ChatState;
use tandem_xmpp::xml::Element;

/// The content type.
pub const CONTENT_TYPE: &str = "application/im-iscomposing+xml";
const NS: &str = "urn:ietf:params:xml:ns:im-iscomposing";
/// How long `active` stands if the phone does not say (RFC 3994 section 3.3).
const DEFAULT_REFRESH: Duration = Duration::from_secs(120);
/// Longest refresh taken from a phone.
const MAX_REFRESH: Duration = Duration::from_secs(600);
/// How often we repeat `active`.
const REPEAT: Duration = Duration::from_secs(90);
/// How long one `composing` is repeated at most.
const PATIENCE: Duration = Duration::from_secs(600);
/// Largest document read.
const MAX_BODY: usize = 8 * 1024;

/// A typing indication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IsComposing {
    /// Typing or not. Words that are not known mean not (RFC 3994 section 3.5).
    pub active: bool,
    /// Seconds until it lapses.
    pub refresh: Option<u32>,
    /// What is being composed.
    pub content_type: Option<String>,
}

impl IsComposing {
    /// Reads a document; `None` if it is none.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(body.get(..body.len().min(MAX_BODY))?).ok()?.trim();
        let text = text.trim_start_matches('\u{feff}').trim_start();
        // A document may begin with a declaration, which a stream may not hold.
        let text = match text.strip_prefix("<?xml") {
            Some(rest) => rest.split_once("?>")?.1.trim_start(),
            None => text,
        };
        let root = Element::parse(text.as_bytes()).ok().filter(|e| e.name() == "isComposing")?;
        let child = |name: &str| {
            let found = root.elements().find(|e| e.name() == name);
            found.map(|e| e.text().trim().to_owned())
        };
        Some(Self {
            active: child("state")?.eq_ignore_ascii_case("active"),
            refresh: child("refresh").and_then(|r| r.parse().ok()),
            content_type: child("contenttype").filter(|t| !t.is_empty()),
        })
    }

    /// The document, its children in the order of the schema (RFC 3994 section 6.1).
    pub fn print(&self) -> String {
        let child = |name: &str, text: &str| Element::new(name, NS).with_text(text);
        let mut root = Element::new("isComposing", NS);
        root.push(child("state", if self.active { "active" } else { "idle" }));
        if let Some(content_type) = &self.content_type {
            root.push(child("contenttype", content_type));
        }
        if let Some(refresh) = self.refresh {
            root.push(child("refresh", &refresh.to_string()));
        }
        let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n");
        root.print(&mut out, "");
        out
    }

    fn of(active: bool) -> Self {
        let refresh = u32::try_from(REPEAT.as_secs()).ok().filter(|_| active);
        Self { active, refresh, content_type: Some("text/plain".into()) }
    }
}

/// A phone's indications on their way to XMPP: only changes go out, and `active` lapses by itself.
#[derive(Debug, Clone, Default)]
pub struct FromPhone {
    lapses: Option<Instant>,
}

impl FromPhone {
    /// Takes an indication; gives the chat state to send.
    pub fn handle_state(&mut self, state: &IsComposing, now: Instant) -> Option<ChatState> {
        let was_active = self.lapses.is_some();
        if !state.active {
            self.lapses = None;
            return was_active.then_some(ChatState::Active);
        }
        let refresh = state.refresh.filter(|r| *r > 0).map(|r| Duration::from_secs(r.into()));
        self.lapses = Some(now + refresh.unwrap_or(DEFAULT_REFRESH).min(MAX_REFRESH));
        (!was_active).then_some(ChatState::Composing)
    }

    /// The phone sent a text: that ends typing without a word (RFC 3994 section 3.3).
    pub fn handle_content(&mut self) {
        self.lapses = None;
    }

    /// When [`FromPhone::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.lapses
    }

    /// Time has passed; gives `paused` if the phone went silent.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<ChatState> {
        if self.lapses.is_some_and(|at| at <= now) {
            self.lapses = None;
            return Some(ChatState::Paused);
        }
        None
    }
}

/// A client's chat states on their way to a phone: `composing` is repeated while it stands, ten minutes at most.
#[derive(Debug, Clone, Default)]
pub struct ToPhone {
    typing: Option<Typing>,
    refused: bool,
}

#[derive(Debug, Clone, Copy)]
struct Typing {
    next: Instant,
    ends: Instant,
}

impl ToPhone {
    /// Takes a chat state; gives the indication to send.
    pub fn handle_state(&mut self, state: ChatState, now: Instant) -> Option<IsComposing> {
        let was_typing = self.typing.is_some();
        if state != ChatState::Composing {
            self.typing = None;
            return (was_typing && !self.refused).then(|| IsComposing::of(false));
        }
        // A client that repeats itself against the rule only prolongs what stands.
        let next = self.typing.map_or(now + REPEAT, |t| t.next);
        self.typing = (!self.refused).then_some(Typing { next, ends: now + PATIENCE });
        (!was_typing && !self.refused).then(|| IsComposing::of(true))
    }

    /// The client sent a text, which says by itself that typing is over.
    pub fn handle_content(&mut self) {
        self.typing = None;
    }

    /// The client went offline.
    pub fn handle_unavailable(&mut self) -> Option<IsComposing> {
        self.typing.take().map(|_| IsComposing::of(false))
    }

    /// The phone answered 415: it must not be sent any more (RFC 3994 section 4).
    pub fn handle_refused(&mut self) {
        self.typing = None;
        self.refused = true;
    }

    /// Whether the phone has refused indications.
    pub fn is_refused(&self) -> bool {
        self.refused
    }

    /// When [`ToPhone::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.typing.map(|t| t.next.min(t.ends))
    }

    /// Time has passed; gives the repetition, or the end.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<IsComposing> {
        let typing = self.typing.as_mut()?;
        if typing.ends <= now {
            self.typing = None;
            return Some(IsComposing::of(false));
        }
        if typing.next > now {
            return None;
        }
        typing.next = now + REPEAT;
        Some(IsComposing::of(true))
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // virtual time begins somewhere
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn active(refresh: Option<u32>) -> IsComposing {
        IsComposing { active: true, refresh, content_type: None }
    }

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn documents_of_rfc_3994_and_others() {
        let document = b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<isComposing \
            xmlns=\"urn:ietf:params:xml:ns:im-iscomposing\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" \
            xsi:schemaLocation=\"urn:ietf:params:xml:ns:im-composing iscomposing.xsd\">\n <state>active</state>\n \
            <contenttype>text/plain</contenttype>\n <refresh>90</refresh>\n</isComposing>\n";
        let read = IsComposing::parse(document).unwrap();
        assert_eq!((read.active, read.refresh), (true, Some(90)));
        let unknown = b"<isComposing xmlns='urn:ietf:params:xml:ns:im-iscomposing'><state>resting</state></isComposing>";
        assert!(!IsComposing::parse(unknown).unwrap().active);
        for bad in [
            &b""[..],
            b"hello",
            b"<isComposing/>",
            b"<?xml",
            b"<x><state>active</state></x>",
            b"\xff",
        ] {
            assert_eq!(IsComposing::parse(bad), None);
        }
    }

    #[test]
    fn only_changes_reach_xmpp_and_silence_pauses() {
        let start = Instant::now();
        let mut phone = FromPhone::default();
        assert_eq!(phone.handle_state(&active(Some(60)), start), Some(ChatState::Composing));
        assert_eq!(phone.handle_state(&active(Some(60)), after(start, 50)), None);
        assert_eq!(phone.handle_timeout(after(start, 100)), None);
        assert_eq!(phone.handle_timeout(after(start, 110)), Some(ChatState::Paused));
        assert_eq!(phone.poll_timeout(), None);
        assert_eq!(phone.handle_state(&active(None), start), Some(ChatState::Composing));
        assert_eq!(phone.poll_timeout(), Some(after(start, 120)));
        let idle = IsComposing { active: false, ..active(None) };
        assert_eq!(phone.handle_state(&idle, start), Some(ChatState::Active));
        assert_eq!(phone.handle_state(&idle, start), None);
        phone.handle_state(&active(Some(u32::MAX)), start);
        assert_eq!(phone.poll_timeout(), Some(after(start, 600)), "a phone cannot type for ever");
        phone.handle_content();
        assert_eq!(phone.handle_timeout(after(start, 1_000)), None);
    }

    #[test]
    fn composing_is_repeated_for_ten_minutes() {
        let start = Instant::now();
        let mut client = ToPhone::default();
        let first = client.handle_state(ChatState::Composing, start).unwrap();
        assert_eq!((first.active, first.refresh), (true, Some(90)));
        assert_eq!(client.handle_state(ChatState::Composing, start), None);
        let (mut repeats, mut now) = (0, start);
        while let Some(due) = client.poll_timeout() {
            assert!(due > now);
            now = due;
            assert_eq!(client.handle_timeout(due - Duration::from_millis(1)), None);
            let sent = client.handle_timeout(due).unwrap();
            repeats += usize::from(sent.active);
            assert_eq!(sent.active, client.poll_timeout().is_some());
        }
        assert_eq!((repeats, now), (6, after(start, 600)));
    }

    #[test]
    fn typing_towards_a_phone_ends() {
        let now = Instant::now();
        for state in [ChatState::Paused, ChatState::Active, ChatState::Inactive, ChatState::Gone] {
            let mut client = ToPhone::default();
            assert_eq!(client.handle_state(state, now), None);
            client.handle_state(ChatState::Composing, now);
            assert!(!client.handle_state(state, now).unwrap().active);
            assert_eq!(client.poll_timeout(), None);
        }
        let mut client = ToPhone::default();
        client.handle_state(ChatState::Composing, now);
        client.handle_content();
        assert_eq!(client.handle_state(ChatState::Active, now), None);
        client.handle_state(ChatState::Composing, now);
        assert!(!client.handle_unavailable().unwrap().active);
        client.handle_refused();
        assert_eq!(client.handle_state(ChatState::Composing, now), None);
        assert_eq!(client.poll_timeout(), None);
    }

    proptest! {
        #[test]
        fn documents_round_trip(
            active in any::<bool>(),
            refresh in prop::option::of(any::<u32>()),
            content_type in prop::option::of("[a-z]{1,8}/[a-z&<]{1,8}"),
        ) {
            let state = IsComposing { active, refresh, content_type };
            prop_assert_eq!(IsComposing::parse(state.print().as_bytes()), Some(state));
        }

        #[test]
        fn nothing_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = IsComposing::parse(&body);
        }
    }
}
