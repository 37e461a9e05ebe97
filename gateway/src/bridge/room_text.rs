//! What phones that know only single messages read and write in rooms (`interop.md` 5.3): lines and commands, without I/O.

use std::time::Duration;

use tandem_xmpp::jid::Jid;
use tandem_xmpp::stanza::Stanza;
use tandem_xmpp::xml::{Element, ns};

use super::text::{self, PhoneText};

/// Longest time for which a room can be muted.
const MAX_MUTE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// More people than this are not told of reactions.
const FEW: usize = 3;

/// What a phone's text in a room is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said<'a> {
    /// For everybody.
    Text(&'a str),
    /// For one occupant alone.
    Private(&'a str, &'a str),
    /// Come in.
    Join,
    /// Go, until one writes again.
    Leave,
    /// Who is there?
    Who,
    /// Be told nothing for so long.
    Mute(Duration),
    /// Be told again.
    Unmute,
}

impl<'a> Said<'a> {
    /// Reads a text. Words that are no command are text, also behind a slash.
    pub fn read(text: &'a str, private: bool) -> Self {
        let trimmed = text.trim();
        let (word, rest) = trimmed.split_once(' ').unwrap_or((trimmed, ""));
        match (word.to_ascii_lowercase().as_str(), rest.trim()) {
            ("/join", "") => Self::Join,
            ("/leave", "") => Self::Leave,
            ("/who", "") => Self::Who,
            ("/unmute", "") => Self::Unmute,
            ("/mute", time) => duration(time).map_or(Self::Text(text), Self::Mute),
            _ => match trimmed.strip_prefix('@').and_then(|t| t.split_once(' ')) {
                Some((nick, rest)) if private && !nick.is_empty() && !rest.trim().is_empty() => {
                    Self::Private(nick, rest.trim())
                }
                _ => Self::Text(text),
            },
        }
    }
}

/// `8h`, `30m`, `2d`; nothing is eight hours.
fn duration(text: &str) -> Option<Duration> {
    if text.is_empty() {
        return Some(Duration::from_secs(8 * 60 * 60));
    }
    let unit = text.chars().last()?;
    let number: u64 = text.strip_suffix(unit)?.trim().parse().ok()?;
    let seconds = match unit.to_ascii_lowercase() {
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        _ => return None,
    };
    let time = Duration::from_secs(number.checked_mul(seconds)?).min(MAX_MUTE);
    (!time.is_zero()).then_some(time)
}

/// One line for a phone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The occupant who said it; `None`: the room.
    pub nick: Option<String>,
    /// What was said.
    pub text: String,
}

impl Line {
    /// Something that the room itself says.
    pub fn of_room(text: impl Into<String>) -> Self {
        Self { nick: None, text: text.into() }
    }

    /// As a phone shows it that shows one sender for a room.
    pub fn with_name(&self) -> String {
        match &self.nick {
            Some(nick) => format!("{nick}: {}", self.text),
            None => self.text.clone(),
        }
    }
}

/// The line of a message of a room with this many people, if it is one for a phone.
pub fn line(stanza: &Stanza, people: usize, original: Option<&str>) -> Option<Line> {
    let element = stanza.element().ok()?;
    let nick = stanza.from().and_then(Jid::resource).map(str::to_owned);
    let child = |name: &str| element.child(name, ns::CLIENT).map(Element::text);
    if let (Some(subject), None) = (child("subject"), child("body")) {
        let who = nick.map(|nick| format!("{nick} set the subject: ")).unwrap_or_default();
        return (!subject.is_empty()).then(|| Line::of_room(format!("* {who}{subject}")));
    }
    let is_reaction = stanza.has("reactions", "urn:xmpp:reactions:0");
    if is_reaction && people > FEW {
        return None;
    }
    let PhoneText::Text(said) =
        text::for_phone(&element, nick.as_deref().unwrap_or_default(), original)
    else {
        return None;
    };
    let is_private = stanza.type_() != Some("groupchat");
    let said = if is_private { format!("(to you alone) {said}") } else { said };
    // Who reacted is in the text.
    let nick = if is_reaction { None } else { nick };
    Some(Line { nick, text: said })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_told_from_text() {
        let hours = |h: u64| Duration::from_secs(h * 3600);
        for (text, said) in [
            ("/leave", Said::Leave),
            (" /WHO ", Said::Who),
            ("/join", Said::Join),
            ("/mute 8h", Said::Mute(hours(8))),
            ("/mute", Said::Mute(hours(8))),
            ("/mute 2d", Said::Mute(hours(48))),
            ("/mute 9999d", Said::Mute(MAX_MUTE)),
            ("/mute loudly", Said::Text("/mute loudly")),
            ("/mute 0m", Said::Text("/mute 0m")),
            ("/mute 99999999999999999999d", Said::Text("/mute 99999999999999999999d")),
            ("/unmute", Said::Unmute),
            ("/leave now", Said::Text("/leave now")),
            ("/me waves", Said::Text("/me waves")),
            ("@bob hi there", Said::Private("bob", "hi there")),
            ("@bob", Said::Text("@bob")),
        ] {
            assert_eq!(Said::read(text, true), said, "{text}");
        }
        assert_eq!(Said::read("@bob hi", false), Said::Text("@bob hi"));
    }

    #[test]
    fn what_rooms_say_becomes_lines() {
        let read = |kind: &str, inner: &str, people| {
            let text = format!(
                "<message xmlns='jabber:client' from='tea@rooms.h/bob' to='a@h/x' type='{kind}'>{inner}</message>"
            );
            let stanza = Stanza::parse(text.into_bytes().into()).unwrap();
            line(&stanza, people, Some("lunch?")).map(|line| line.with_name())
        };
        let reaction =
            "<reactions xmlns='urn:xmpp:reactions:0' id='1'><reaction>👍</reaction></reactions>";
        for (kind, inner, people, expected) in [
            ("groupchat", "<body>hi</body>", 5, Some("bob: hi")),
            ("chat", "<body>psst</body>", 5, Some("bob: (to you alone) psst")),
            (
                "groupchat",
                "<subject>Tea at five</subject>",
                5,
                Some("* bob set the subject: Tea at five"),
            ),
            ("groupchat", "<subject/>", 5, None),
            ("groupchat", reaction, 3, Some("bob reacted 👍 to: \"lunch?\"")),
            ("groupchat", reaction, 4, None),
            (
                "groupchat",
                "<body>hi!</body><replace xmlns='urn:xmpp:message-correct:0' id='1'/>",
                5,
                Some("bob: * corrected: hi!"),
            ),
            ("groupchat", "<composing xmlns='http://jabber.org/protocol/chatstates'/>", 2, None),
        ] {
            assert_eq!(read(kind, inner, people).as_deref(), expected, "{inner}");
        }
    }
}
