//! Why calls end: Jingle and XEP-0353 reasons, SIP status codes and the `Reason` header (RFC 3326), `interop.md` 6.7.
//!
//! `reason` holds the tables for single messages and requests; a call that exists uses these.

use std::fmt;

use tandem_xmpp::stanza::jingle::Reason;

/// Most values read from one `Reason` header.
const MAX_VALUES: usize = 8;
/// Longest text kept from one.
const MAX_TEXT: usize = 200;

/// One value of a `Reason` header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReasonValue {
    /// `SIP`, `Q.850`; compared without case.
    pub protocol: String,
    /// The code.
    pub cause: Option<u16>,
    /// For people.
    pub text: Option<String>,
}

impl ReasonValue {
    /// A value without text.
    pub fn new(protocol: &str, cause: u16) -> Self {
        Self { protocol: protocol.into(), cause: Some(cause), text: None }
    }

    /// With a text.
    #[must_use]
    pub fn with_text(mut self, text: &str) -> Self {
        self.text = Some(text.into());
        self
    }

    /// The code, if it is of this protocol.
    pub fn cause_of(&self, protocol: &str) -> Option<u16> {
        if self.protocol.eq_ignore_ascii_case(protocol) { self.cause } else { None }
    }
}

impl fmt::Display for ReasonValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.protocol)?;
        if let Some(cause) = self.cause {
            write!(f, ";cause={cause}")?;
        }
        if let Some(text) = &self.text {
            let text: String = text.chars().filter(|c| !c.is_control()).collect();
            write!(f, ";text=\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))?;
        }
        Ok(())
    }
}

/// Reads a `Reason` header. Values without a protocol are left out; a broken rest does not spoil what came before.
pub fn parse_reason(header: &str) -> Vec<ReasonValue> {
    split_quoted(header, ',')
        .filter_map(|value| parse_value(value.trim()))
        .take(MAX_VALUES)
        .collect()
}

fn parse_value(text: &str) -> Option<ReasonValue> {
    let mut parts = split_quoted(text, ';').map(str::trim);
    let protocol = parts.next().filter(|p| !p.is_empty() && !p.contains(['=', '"', ' ']))?;
    let mut value = ReasonValue { protocol: protocol.into(), cause: None, text: None };
    for part in parts {
        let Some((name, content)) = part.split_once('=') else { continue };
        match name.trim().to_ascii_lowercase().as_str() {
            "cause" => value.cause = content.trim().parse().ok(),
            "text" => value.text = Some(unquote(content.trim())),
            _ => {}
        }
    }
    Some(value)
}

/// Cuts at a separator that is not inside a quoted string (RFC 3261 section 25.1).
fn split_quoted(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c: char| {
        let was_escaped = std::mem::take(&mut escaped);
        match c {
            '\\' if quoted && !was_escaped => escaped = true,
            '"' if !was_escaped => quoted = !quoted,
            _ => {}
        }
        c == separator && !quoted
    })
}

fn unquote(text: &str) -> String {
    let inner = text.strip_prefix('"').and_then(|t| t.strip_suffix('"'));
    let mut out = String::new();
    let mut escaped = false;
    for c in inner.unwrap_or(text).chars().take(MAX_TEXT) {
        if c == '\\' && !escaped && inner.is_some() {
            escaped = true;
        } else {
            escaped = false;
            out.push(c);
        }
    }
    out
}

/// What a SIP caller is told when an XMPP device refuses before the answer: status and `Reason`.
pub fn jingle_to_sip_refusal(reason: &Reason) -> (u16, Option<String>) {
    use Reason::*;
    match reason {
        Busy => (486, None),
        Decline => (603, None),
        Timeout => (480, q850(19)),
        ConnectivityError | FailedTransport => (480, q850(38)),
        FailedApplication | MediaError | GeneralError => (500, None),
        UnsupportedApplications
        | UnsupportedTransports
        | IncompatibleParameters
        | SecurityError => (488, None),
        Success | Cancel | Expired | Gone | AlternativeSession(_) => (480, None),
    }
}

/// The `Warning` code that goes with a 488 (RFC 3261 section 20.43).
pub fn jingle_to_warning(reason: &Reason) -> Option<u16> {
    match reason {
        Reason::UnsupportedTransports => Some(302),
        Reason::UnsupportedApplications => Some(304),
        Reason::IncompatibleParameters => Some(305),
        Reason::SecurityError => Some(399),
        _ => None,
    }
}

/// The `Reason` of the CANCEL when an XMPP caller gives up.
pub fn jingle_to_sip_cancel(reason: &Reason) -> Option<String> {
    (*reason == Reason::Timeout).then(|| ReasonValue::new("SIP", 408).to_string())
}

/// The `Reason` of the BYE when an XMPP party ends the call after the answer.
pub fn jingle_to_sip_bye(reason: &Reason) -> Option<String> {
    use Reason::*;
    match reason {
        Busy => sip(486),
        Decline => q850(21),
        Timeout => sip(408),
        Gone => q850(27),
        ConnectivityError | FailedTransport | FailedApplication | MediaError | GeneralError => {
            q850(41)
        }
        UnsupportedApplications
        | UnsupportedTransports
        | IncompatibleParameters
        | SecurityError => sip(488),
        Success | Cancel | Expired | AlternativeSession(_) => q850(16),
    }
}

/// The `Reason` for the devices that lost the race (RFC 3326 section 3.1).
pub fn answered_elsewhere() -> String {
    ReasonValue::new("SIP", 200).with_text("Call completed elsewhere").to_string()
}

/// Whether a CANCEL says that another device took the call.
pub fn is_answered_elsewhere(header: Option<&str>) -> bool {
    cause(header, "SIP") == Some(200)
}

/// What an XMPP caller is told for a phone's final refusal. 487 is the answer to our own CANCEL.
pub fn sip_to_jingle(status: u16, reason: Option<&str>) -> Reason {
    match status {
        486 | 600 => Reason::Busy,
        603 | 607 | 608 | 401 | 403 | 407 | 433 => Reason::Decline,
        487 => Reason::Cancel,
        408 => Reason::Timeout,
        480 => match cause(reason, "Q.850") {
            Some(17) => Reason::Busy,
            Some(18 | 19) => Reason::Timeout,
            Some(21) => Reason::Decline,
            Some(38..=47) => Reason::ConnectivityError,
            _ => Reason::Gone,
        },
        404 | 410 | 430 | 484 | 485 | 604 => Reason::Gone,
        406 | 415 | 488 | 606 => Reason::IncompatibleParameters,
        502..=504 => Reason::ConnectivityError,
        _ => Reason::GeneralError,
    }
}

/// A text for a reason that says too little by itself: the one of the `Reason` header, where there is one.
pub fn sip_to_text(status: u16, header: Option<&str>) -> Option<String> {
    let said = parse_reason(header.unwrap_or_default()).into_iter().find_map(|value| value.text);
    let said = said.map(|text| text.chars().filter(|c| !c.is_control()).collect::<String>());
    said.filter(|text| !text.is_empty()).or_else(|| {
        matches!(status, 404 | 410 | 484 | 485 | 604).then(|| "unknown number or user".to_owned())
    })
}

/// What an XMPP party is told when a phone hangs up after the answer.
pub fn bye_to_jingle(header: Option<&str>) -> Reason {
    match (cause(header, "SIP"), cause(header, "Q.850")) {
        (Some(408), _) => Reason::Timeout,
        (Some(200..=299) | None, Some(38..=127)) => Reason::ConnectivityError,
        (Some(486 | 600), _) => Reason::Busy,
        (Some(488 | 606), _) => Reason::IncompatibleParameters,
        (Some(503), _) => Reason::Gone,
        _ => Reason::Success,
    }
}

fn cause(header: Option<&str>, protocol: &str) -> Option<u16> {
    parse_reason(header?).iter().find_map(|value| value.cause_of(protocol))
}

fn sip(cause: u16) -> Option<String> {
    Some(ReasonValue::new("SIP", cause).to_string())
}

fn q850(cause: u16) -> Option<String> {
    Some(ReasonValue::new("Q.850", cause).to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn headers_as_they_are_seen() {
        let read = parse_reason(
            "SIP ;cause=200 ;text=\"Call completed, elsewhere; \\\"here\\\"\", Q.850;cause=16;x=y",
        );
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].cause_of("sip"), Some(200));
        assert_eq!(read[0].text.as_deref(), Some("Call completed, elsewhere; \"here\""));
        assert_eq!(read[1], ReasonValue::new("Q.850", 16));
        assert!(is_answered_elsewhere(Some(&answered_elsewhere())));
        assert!(!is_answered_elsewhere(Some("SIP;cause=487")));
        assert!(!is_answered_elsewhere(None));
        for odd in ["", ",", ";cause=1", "\"", "SIP;cause=99999;text=\"", "=;="] {
            assert!(parse_reason(odd).iter().all(|v| v.cause.is_none()), "{odd}");
        }
    }

    #[test]
    fn refusals_from_xmpp() {
        let table = [
            (Reason::Busy, 486, None),
            (Reason::Decline, 603, None),
            (Reason::Cancel, 480, None),
            (Reason::Timeout, 480, Some("Q.850;cause=19")),
            (Reason::ConnectivityError, 480, Some("Q.850;cause=38")),
            (Reason::GeneralError, 500, None),
            (Reason::IncompatibleParameters, 488, None),
        ];
        for (reason, status, header) in table {
            let (got, with) = jingle_to_sip_refusal(&reason);
            assert_eq!((got, with.as_deref()), (status, header), "{reason:?}");
        }
    }

    #[test]
    fn refusals_from_phones() {
        let table = [
            (486, None, Reason::Busy),
            (600, None, Reason::Busy),
            (603, None, Reason::Decline),
            (403, None, Reason::Decline),
            (487, None, Reason::Cancel),
            (408, None, Reason::Timeout),
            (480, Some("Q.850;cause=19"), Reason::Timeout),
            (480, None, Reason::Gone),
            (404, None, Reason::Gone),
            (488, None, Reason::IncompatibleParameters),
            (500, None, Reason::GeneralError),
            (503, None, Reason::ConnectivityError),
            (302, None, Reason::GeneralError),
        ];
        for (status, header, reason) in table {
            assert_eq!(sip_to_jingle(status, header), reason, "{status} {header:?}");
        }
    }

    #[test]
    fn hanging_up() {
        let table = [
            (None, Reason::Success),
            (Some("Q.850;cause=16"), Reason::Success),
            (Some("SIP;cause=408"), Reason::Timeout),
            (Some("Q.850;cause=41"), Reason::ConnectivityError),
            (Some("SIP;cause=488"), Reason::IncompatibleParameters),
        ];
        for (header, reason) in table {
            assert_eq!(bye_to_jingle(header), reason, "{header:?}");
        }
    }

    /// What crosses twice must still mean the same kind of thing.
    #[test]
    fn there_and_back() {
        for reason in Reason::ALL {
            let (status, header) = jingle_to_sip_refusal(reason);
            assert!((400..=699).contains(&status));
            let back = sip_to_jingle(status, header.as_deref());
            if matches!(reason, Reason::Busy | Reason::Decline | Reason::Timeout | Reason::Gone) {
                assert_eq!(back, *reason);
            }
            assert_eq!(jingle_to_warning(reason).is_some(), status == 488);
            let bye = jingle_to_sip_bye(reason).unwrap();
            assert_eq!(parse_reason(&bye).len(), 1);
            if matches!(reason, Reason::Success | Reason::Timeout | Reason::ConnectivityError) {
                assert_eq!(bye_to_jingle(Some(&bye)), *reason);
            }
        }
    }

    proptest! {
        #[test]
        fn values_round_trip(
            protocol in "[A-Z][A-Z0-9.]{0,6}",
            cause in prop::option::of(any::<u16>()),
            text in prop::option::of("[ -~é]{0,40}"),
        ) {
            let value = ReasonValue { protocol, cause, text };
            let both = format!("{value}, {value}");
            prop_assert_eq!(parse_reason(&both), vec![value.clone(), value]);
        }

        #[test]
        fn nothing_panics(text in ".{0,80}") {
            prop_assert!(parse_reason(&text).len() <= MAX_VALUES);
            let _ = bye_to_jingle(Some(&text));
        }
    }
}
