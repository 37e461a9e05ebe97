//! Delayed delivery (XEP-0203): when a stanza was first sent, and who kept it.

use crate::xml::Element;

/// The namespace.
pub const NS: &str = "urn:xmpp:delay";

/// A delay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delay {
    /// Who kept it.
    pub from: Option<String>,
    /// When it was sent, by XEP-0082, in UTC.
    pub stamp: String,
    /// Why it was kept.
    pub reason: Option<String>,
}

impl Delay {
    /// A delay by `from`.
    pub fn new(from: &str, stamp: &str) -> Self {
        Self { from: Some(from.into()), stamp: stamp.into(), reason: None }
    }

    /// Reads a `<delay/>`; one whose stamp does not look like a time is none.
    pub fn from_element(element: &Element) -> Option<Self> {
        if !element.is("delay", NS) {
            return None;
        }
        let stamp = element.attr("stamp").map(str::trim).filter(|s| is_stamp(s))?;
        let reason = Some(element.text().trim().to_owned()).filter(|r| !r.is_empty());
        Some(Self { from: element.attr("from").map(str::to_owned), stamp: stamp.into(), reason })
    }

    /// The first delay in a stanza.
    pub fn from_stanza(stanza: &Element) -> Option<Self> {
        stanza.elements().find_map(Self::from_element)
    }

    /// The `<delay/>`.
    pub fn to_element(&self) -> Element {
        Element::new("delay", NS)
            .with_attr_opt("from", self.from.as_deref())
            .with_attr("stamp", &*self.stamp)
            .with_text(self.reason.as_deref().unwrap_or_default())
    }
}

/// Whether the text has the shape `YYYY-MM-DDThh:mm:ss`, with fraction and zone behind it (XEP-0082 section 3.2).
fn is_stamp(text: &str) -> bool {
    let pattern = b"dddd-dd-ddTdd:dd:dd";
    let zone = text.get(pattern.len()..).unwrap_or_default();
    let zone = zone.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let has_zone = zone == "Z" || (zone.len() == 6 && zone.starts_with(['+', '-']));
    has_zone
        && text.bytes().zip(pattern).all(|(byte, expected)| match expected {
            b'd' => byte.is_ascii_digit(),
            other => byte == *other,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips() {
        let mut delay = Delay::new("localhost", "2026-01-05T10:00:00Z");
        for reason in [None, Some("Offline storage".to_owned())] {
            delay.reason = reason;
            let element = Element::parse(&delay.to_element().to_bytes()).unwrap();
            assert_eq!(Delay::from_element(&element).as_ref(), Some(&delay));
        }
    }

    #[test]
    fn stamps() {
        for good in
            ["2002-09-10T23:08:25Z", "2002-09-10T23:08:25.123Z", "2002-09-10T23:08:25+02:00"]
        {
            assert!(is_stamp(good), "{good}");
        }
        for bad in ["", "20020910T23:08:25", "2002-09-10T23:08:25", "2002-09-10T23:08:25Zfoo", "é"]
        {
            assert!(!is_stamp(bad), "{bad}");
        }
    }
}
