//! Addresses: JID and SIP URI (RFC 7247 section 6, XEP-0106, `interop.md` 1.3 and 1.4).
//!
//! The general rule of RFC 7247 section 6.2 is followed for every character, not only the three of its algorithms:
//! then each address that can be written in both protocols comes back as it was.

use tandem_sip::msg::{Host, Uri};
use tandem_xmpp::jid::Jid;

/// The ten characters a local part may not hold, and their escapes (XEP-0106 section 3.2).
const ESCAPES: [(char, &str); 10] = [
    (' ', "20"),
    ('"', "22"),
    ('&', "26"),
    ('\'', "27"),
    ('/', "2f"),
    (':', "3a"),
    ('<', "3c"),
    ('>', "3e"),
    ('@', "40"),
    ('\\', "5c"),
];

/// Why an address has no form in the other protocol. The wire answers are 404 and `jid-malformed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("address cannot be mapped")]
pub struct Unmappable;

/// The JID of a SIP user; `gr` becomes the resource.
///
/// # Errors
///
/// [`Unmappable`] for other schemes, IP hosts' users that are no local part, NUL and broken UTF-8.
pub fn sip_to_jid(uri: &Uri) -> Result<Jid, Unmappable> {
    if !uri.is_sip() {
        return Err(Unmappable);
    }
    let user = match &uri.user {
        Some(_) => {
            let user = uri.user_decoded().filter(|u| !u.contains('\0')).ok_or(Unmappable)?;
            if user.starts_with(' ') || user.ends_with(' ') {
                return Err(Unmappable);
            }
            Some(escape(&user))
        }
        None => None,
    };
    let resource = match uri.param("gr") {
        Some(gr) => Some(percent_decode(gr).ok_or(Unmappable)?),
        None => None,
    };
    let host = uri.host.to_string();
    Jid::new(user.as_deref(), &host, resource.as_deref()).map_err(|_| Unmappable)
}

/// The SIP URI of a JID; a resource becomes `gr`.
///
/// # Errors
///
/// [`Unmappable`] when the domain is no SIP host.
pub fn jid_to_sip(jid: &Jid) -> Result<Uri, Unmappable> {
    let host = jid.domain_ascii().and_then(|domain| Host::parse(&domain)).ok_or(Unmappable)?;
    let user = jid.node().map(unescape);
    let mut uri = Uri::sip(user.as_deref(), host);
    if let Some(resource) = jid.resource() {
        uri.params.set("gr", Some(&percent_encode(resource)));
    }
    Ok(uri)
}

/// A SIP address as a local part: who is behind a trunk and has no number, or in another domain.
pub fn sip_user_to_node(address: &str) -> Option<String> {
    (!address.contains('\0')).then(|| escape(address.trim()))
}

/// And back.
pub fn node_to_sip_user(node: &str) -> String {
    unescape(node)
}

/// The address of a caller who does not want to be known: nobody of this domain, reachable for one call.
pub fn nobody(domain: &str, call: &str) -> Option<Jid> {
    Jid::new(Some(NOBODY), domain, Some(call)).ok()
}

/// The name that hidden callers have in common; no account's.
pub const NOBODY: &str = "anonymous";

/// XEP-0106 section 4.2: a backslash is escaped only where it would read as an escape.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        let rest = text.get(at + c.len_utf8()..).unwrap_or_default();
        let escaped = ESCAPES
            .iter()
            .find(|(known, _)| *known == c)
            .filter(|_| c != '\\' || ESCAPES.iter().any(|(_, hex)| rest.get(..2) == Some(*hex)));
        match escaped {
            Some((_, hex)) => {
                out.push('\\');
                out.push_str(hex);
            }
            None => out.push(c),
        }
    }
    out
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let hex = from.get(1..3).unwrap_or_default();
        match ESCAPES.iter().find(|(_, known)| *known == hex) {
            Some((c, _)) => {
                out.push(*c);
                rest = from.get(3..).unwrap_or_default();
            }
            None => {
                out.push('\\');
                rest = from.get(1..).unwrap_or_default();
            }
        }
    }
    out.push_str(rest);
    out
}

/// Escapes what a URI parameter may not hold (RFC 3261 section 25.1, `param-unreserved` and `unreserved`).
fn percent_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()[]/:&+$".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn percent_decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let pair = [bytes.next()?, bytes.next()?];
        out.push(u8::from_str_radix(std::str::from_utf8(&pair).ok()?, 16).ok()?);
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_table_of_rfc_7247_and_its_traps() {
        let table = [
            ("sip:f%C3%BC@h", "f\u{fc}@h"),
            ("sip:o'malley@h", "o\\27malley@h"),
            ("sip:m&m@h", "m\\26m@h"),
            ("sip:d%23x@h", "d#x@h"),
            ("sip:a;par=u%40n@h", "a;par=u\\40n@h"),
            ("sip:a%5C40b@h", "a\\5c40b@h"),
            ("sip:a%5Cb@h", "a\\b@h"),
            ("sip:alice@h;gr=pc1", "alice@h/pc1"),
            ("sip:alice@h;gr=my%20phone", "alice@h/my phone"),
        ];
        for (sip, jid) in table {
            let uri = Uri::parse(sip).unwrap();
            let mapped = sip_to_jid(&uri).unwrap();
            assert_eq!(mapped.as_str(), jid, "{sip}");
            assert_eq!(jid_to_sip(&mapped).unwrap().to_string(), sip, "{jid}");
        }
    }

    #[test]
    fn what_has_no_form_is_refused() {
        for sip in ["sip:a%00b@h", "sip:%20a@h", "tel:+4930", "sip:%ff@h"] {
            assert_eq!(sip_to_jid(&Uri::parse(sip).unwrap()), Err(Unmappable), "{sip}");
        }
    }

    proptest! {
        #[test]
        fn every_jid_comes_back(node in "[a-z0-9!#$%*+,.;=?^_`{|}~\\\\-]{1,20}", resource in "[ -~]{1,20}") {
            let jid = Jid::new(Some(&node), "example.org", Some(&resource)).unwrap();
            let uri = jid_to_sip(&jid).unwrap();
            let printed = Uri::parse(&uri.to_string()).unwrap();
            // An escaped backslash that escapes nothing is the one form with two spellings.
            if !node.contains("\\5c") {
                prop_assert_eq!(sip_to_jid(&printed).unwrap(), jid);
            }
        }
    }
}
