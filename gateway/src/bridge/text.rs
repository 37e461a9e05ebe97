//! Texts across the bridge: what a phone gets for things it cannot show (`interop.md` 3.5), and what XMPP gets for the
//! content types and character sets of phones (`interop.md` 2.5, RFC 7572 section 7).

use tandem_xmpp::xml::{Element, ns};

const CORRECTION: &str = "urn:xmpp:message-correct:0";
const RETRACTION: [&str; 2] = ["urn:xmpp:message-retract:1", "urn:xmpp:message-retract:0"];
const MODERATION: [&str; 2] = ["urn:xmpp:message-moderate:1", "urn:xmpp:message-moderate:0"];
const REACTIONS: &str = "urn:xmpp:reactions:0";
const EPHEMERAL: &str = "urn:xmpp:ephemeral:0";
const ENCRYPTION: &str = "urn:xmpp:eme:0";
const OMEMO: [&str; 2] = ["eu.siacs.conversations.axolotl", "urn:xmpp:omemo:2"];
/// Longest quotation of a message that is reacted to, in characters.
const QUOTE: usize = 40;
/// Most reactions named.
const MAX_REACTIONS: usize = 8;
/// Longest reaction, in characters; families of emoji are long.
const MAX_REACTION: usize = 16;
/// Tags longer than this are skipped without a look.
const MAX_TAG: usize = 2_048;

/// What a phone gets for a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PhoneText {
    /// This text.
    Text(String),
    /// Nothing: there is nothing that a phone could show.
    Nothing,
    /// The sender is told `not-acceptable`: the content is encrypted for others. The text, if any, is the client's
    /// own hint, to be sent once.
    Encrypted(Option<String>),
}

/// What a phone gets for an XMPP message. `who` names the sender of a reaction, `original` is the text reacted to.
pub fn for_phone(message: &Element, who: &str, original: Option<&str>) -> PhoneText {
    let body = body(message);
    let has = |name: &str, namespaces: &[&str]| {
        message.elements().any(|e| e.name() == name && namespaces.contains(&e.ns()))
    };
    if has("encrypted", &OMEMO) || has("encryption", &[ENCRYPTION]) {
        return PhoneText::Encrypted(body);
    }
    if let Some(reactions) = message.child("reactions", REACTIONS) {
        return reaction(reactions, who, original);
    }
    if let (Some(room), None) = (invitation(message), &body) {
        return PhoneText::Text(format!(
            "{who} invites you to the room sip:{room}: write there to come in."
        ));
    }
    let moderated = |e: &Element| {
        MODERATION.contains(&e.ns())
            || e.elements().any(|c| c.name() == "moderated" && MODERATION.contains(&c.ns()))
    };
    if has("retract", &RETRACTION) || has("moderated", &MODERATION) {
        let text = if message.elements().any(moderated) {
            "A moderator removed a message."
        } else {
            "A message was deleted by its sender."
        };
        return PhoneText::Text(text.into());
    }
    match body {
        Some(body) if has("replace", &[CORRECTION]) => {
            PhoneText::Text(format!("* corrected: {body}"))
        }
        Some(body) => PhoneText::Text(match message.child("ephemeral", EPHEMERAL) {
            Some(ephemeral) => format!("{body}{}", expiry(ephemeral)),
            None => body,
        }),
        None => PhoneText::Nothing,
    }
}

/// A phone cannot forget a message by itself, so its owner is told to (XEP-0466).
fn expiry(ephemeral: &Element) -> String {
    let seconds = ephemeral.attr("timer").and_then(|t| t.trim().parse::<u32>().ok());
    seconds.map(|s| format!(" (expires in {} min)", s.div_ceil(60).max(1))).unwrap_or_default()
}

/// The room to which a message invites, by XEP-0249 or through the room itself.
fn invitation(message: &Element) -> Option<&str> {
    if let Some(direct) = message.child("x", "jabber:x:conference") {
        return direct.attr("jid");
    }
    let x = message.child("x", "http://jabber.org/protocol/muc#user")?;
    x.elements().find(|e| e.name() == "invite").and(message.attr("from"))
}

/// The body a phone should get: the one without a language, else the first.
fn body(message: &Element) -> Option<String> {
    let bodies = || message.elements().filter(|e| e.is("body", ns::CLIENT));
    let plain = bodies().find(|e| e.attr("xml:lang").is_none()).or_else(|| bodies().next());
    plain.map(Element::text).filter(|t| !t.is_empty())
}

fn reaction(reactions: &Element, who: &str, original: Option<&str>) -> PhoneText {
    let mut named: Vec<String> = Vec::new();
    for reaction in reactions.elements().filter(|e| e.is("reaction", REACTIONS)) {
        let text: String = reaction.text().trim().chars().take(MAX_REACTION).collect();
        if !text.is_empty() && !named.contains(&text) && named.len() < MAX_REACTIONS {
            named.push(text);
        }
    }
    // An empty set takes reactions back, which nobody needs to be told.
    if named.is_empty() {
        return PhoneText::Nothing;
    }
    let named = named.join(" ");
    PhoneText::Text(match original.map(shorten).filter(|t| !t.is_empty()) {
        Some(quote) => format!("{who} reacted {named} to: \"{quote}\""),
        None => format!("{who} reacted {named}"),
    })
}

fn shorten(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= QUOTE {
        return line;
    }
    let cut: String = line.chars().take(QUOTE).collect();
    format!("{}...", cut.trim_end())
}

/// Takes out the ranges of a body that are a fallback for `feature` (XEP-0428), when the gateway says it in its own
/// words. Positions count code points (XEP-0426); a fallback without a range is the whole body.
pub fn without_fallback(message: &Element, feature: &str) -> Option<String> {
    const FALLBACK: &str = "urn:xmpp:fallback:0";
    let body: Vec<char> = body(message)?.chars().collect();
    let mut keep = vec![true; body.len()];
    let mine = |e: &&Element| e.is("fallback", FALLBACK) && e.attr("for") == Some(feature);
    for fallback in message.elements().filter(mine) {
        let mut ranges = fallback.elements().filter(|e| e.name() == "body").peekable();
        if ranges.peek().is_none() {
            keep.fill(false);
        }
        for range in ranges {
            let at = |name: &str, or: usize| match range.attr(name) {
                Some(value) => value.trim().parse().unwrap_or(or).min(body.len()),
                None => or,
            };
            let (start, end) = (at("start", 0), at("end", body.len()));
            if let Some(part) = keep.get_mut(start..end.max(start)) {
                part.fill(false);
            }
        }
    }
    Some(body.iter().zip(&keep).filter(|(_, keep)| **keep).map(|(c, _)| *c).collect())
}

/// Text that a stanza can carry: characters illegal in XML 1.0 taken out, line ends made `\n`.
pub fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut last_was_return = false;
    for c in text.chars() {
        match c {
            '\r' => out.push('\n'),
            '\n' if last_was_return => {}
            '\t' | '\n' => out.push(c),
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => {}
            c => out.push(c),
        }
        last_was_return = c == '\r';
    }
    out
}

/// A content type that no text can be made of. The answer is 415.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("content type or character set cannot be shown")]
pub struct Unshowable;

/// Type in lower case, without parameters (RFC 2045 section 5.1). A message without one is plain text.
pub fn media_type(content_type: Option<&str>) -> String {
    let all = content_type.unwrap_or("text/plain");
    all.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The text of a phone's message: decoded by its character set, HTML made plain, fit for a stanza.
///
/// # Errors
///
/// [`Unshowable`] for other types, unknown character sets and bytes that are not in theirs.
pub fn from_phone(content_type: Option<&str>, body: &[u8]) -> Result<String, Unshowable> {
    let text = decode(charset(content_type).as_deref(), body)?;
    match media_type(content_type).as_str() {
        "text/plain" => Ok(clean(&text)),
        "text/html" => Ok(clean(&html_to_text(&text))),
        _ => Err(Unshowable),
    }
}

fn charset(content_type: Option<&str>) -> Option<String> {
    content_type?.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let value = value.trim().trim_matches('"').to_ascii_lowercase();
        name.trim().eq_ignore_ascii_case("charset").then_some(value)
    })
}

fn decode(charset: Option<&str>, body: &[u8]) -> Result<String, Unshowable> {
    let utf8 = || std::str::from_utf8(body).map(str::to_owned).map_err(|_| Unshowable);
    let text = match charset.unwrap_or("utf-8") {
        "utf-8" | "utf8" => utf8()?,
        // Phones that say ASCII and send UTF-8 are common, and ASCII is part of it.
        "us-ascii" | "ascii" => utf8()?,
        "iso-8859-1" | "latin1" | "windows-1252" | "cp1252" => {
            body.iter().map(|b| windows_1252(*b)).collect()
        }
        "iso-8859-15" => {
            body.iter().map(|b| if *b == 0xa4 { '€' } else { char::from(*b) }).collect()
        }
        _ => return Err(Unshowable),
    };
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// The WHATWG reading of both names: the C1 range of Latin-1 is never text.
fn windows_1252(byte: u8) -> char {
    const HIGH: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž',
        '\u{8f}', '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}',
        'ž', 'Ÿ',
    ];
    let at = usize::from(byte.wrapping_sub(0x80));
    HIGH.get(at).copied().unwrap_or(char::from(byte))
}

/// The text of an HTML body: no tags, no scripts, entities read, blocks on lines of their own. What comes out is text
/// and never markup again.
pub fn html_to_text(html: &str) -> String {
    let mut out = Lines::default();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        let (text, from) = rest.split_at(at);
        out.text(text);
        let is_tag = from
            .get(1..)
            .unwrap_or_default()
            .starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '!' | '?'));
        if !is_tag {
            out.text("<");
            rest = from.get(1..).unwrap_or_default();
            continue;
        }
        rest = out.tag(from);
    }
    out.text(rest);
    out.finish()
}

#[derive(Default)]
struct Lines {
    text: String,
    /// Space or line ends owed before the next text.
    owed: Gap,
}

#[derive(Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Gap {
    #[default]
    None,
    Space,
    Line,
}

impl Lines {
    fn text(&mut self, raw: &str) {
        let decoded = entities(raw);
        for c in decoded.chars() {
            // A no-break space comes from an entity and is meant.
            if c.is_ascii_whitespace() {
                self.owed = self.owed.max(Gap::Space);
                continue;
            }
            match std::mem::take(&mut self.owed) {
                Gap::Space if !self.text.is_empty() && !self.text.ends_with('\n') => {
                    self.text.push(' ');
                }
                Gap::Line if !self.text.is_empty() && !self.text.ends_with('\n') => {
                    self.text.push('\n');
                }
                _ => {}
            }
            self.text.push(if c == '\u{a0}' { ' ' } else { c });
        }
    }

    /// Takes the tag at the start of `from`; gives what follows it.
    fn tag<'a>(&mut self, from: &'a str) -> &'a str {
        if let Some(comment) = from.strip_prefix("<!--") {
            return comment.split_once("-->").map_or("", |(_, rest)| rest);
        }
        let Some(end) = from.find('>') else { return "" };
        let rest = from.get(end + 1..).unwrap_or_default();
        let tag = from.get(1..end).filter(|tag| tag.len() <= MAX_TAG).unwrap_or_default();
        let closing = tag.starts_with('/');
        let name: String =
            tag.trim_start_matches('/').chars().take_while(char::is_ascii_alphanumeric).collect();
        let name = name.to_ascii_lowercase();
        match name.as_str() {
            "br" => {
                self.text.push('\n');
                self.owed = Gap::None;
            }
            "script" | "style" | "head" | "title" if !closing => return after_end(rest, &name),
            "p" | "div" | "li" | "ul" | "ol" | "tr" | "table" | "h1" | "h2" | "h3" | "h4"
            | "h5" | "h6" | "blockquote" | "pre" | "hr" => {
                self.owed = Gap::Line;
                if name == "li" && !closing {
                    self.text("- ");
                }
            }
            "td" | "th" => self.owed = self.owed.max(Gap::Space),
            _ => {}
        }
        rest
    }

    fn finish(self) -> String {
        self.text.trim().to_owned()
    }
}

/// What follows the end tag of an element whose content is no text.
fn after_end<'a>(rest: &'a str, name: &str) -> &'a str {
    let bytes = rest.as_bytes();
    let is_end = |at: &usize| {
        let tail = bytes.get(at + 2..at + 2 + name.len()).unwrap_or_default();
        bytes.get(at + 1) == Some(&b'/') && tail.eq_ignore_ascii_case(name.as_bytes())
    };
    let end = rest.match_indices('<').map(|(at, _)| at).find(is_end);
    let after = end.and_then(|at| rest.get(at..)).and_then(|tail| tail.split_once('>'));
    after.map_or("", |(_, rest)| rest)
}

fn entities(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let found = from.char_indices().take(12).find(|(_, c)| *c == ';').map(|(end, _)| end);
        match found.and_then(|end| Some((entity(from.get(1..end)?)?, end))) {
            Some((c, end)) => {
                out.push(c);
                rest = from.get(end + 1..).unwrap_or_default();
            }
            None => {
                out.push('&');
                rest = from.get(1..).unwrap_or_default();
            }
        }
    }
    out.push_str(rest);
    out
}

fn entity(name: &str) -> Option<char> {
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None => number.parse().ok()?,
        };
        return char::from_u32(code).filter(|c| !c.is_control() || *c == '\n');
    }
    let known = [
        ("amp", '&'),
        ("lt", '<'),
        ("gt", '>'),
        ("quot", '"'),
        ("apos", '\''),
        ("nbsp", '\u{a0}'),
        ("auml", 'ä'),
        ("ouml", 'ö'),
        ("uuml", 'ü'),
        ("Auml", 'Ä'),
        ("Ouml", 'Ö'),
        ("Uuml", 'Ü'),
        ("szlig", 'ß'),
        ("eacute", 'é'),
        ("egrave", 'è'),
        ("agrave", 'à'),
        ("ccedil", 'ç'),
        ("ntilde", 'ñ'),
        ("euro", '€'),
        ("hellip", '…'),
        ("ndash", '–'),
        ("mdash", '—'),
        ("lsquo", '‘'),
        ("rsquo", '’'),
        ("ldquo", '“'),
        ("rdquo", '”'),
        ("copy", '©'),
    ];
    known.iter().find(|(n, _)| *n == name).map(|(_, c)| *c)
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
