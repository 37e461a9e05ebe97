//! Server dialback (XEP-0220): keys that only their maker can know (XEP-0185), and its elements on the wire.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::stanza::StanzaError;
use crate::xml::{Element, escape, ns};

/// The namespace of its elements.
pub(super) const DIALBACK: &str = "jabber:server:dialback";
/// The namespace of its stream feature.
pub(super) const FEATURE: &str = "urn:xmpp:features:dialback";

/// The key for one domain pair on one stream (XEP-0185 section 3.1).
pub fn key(secret: &[u8; 32], receiving: &str, originating: &str, stream_id: &str) -> String {
    let hashed = hex(&Sha256::digest(secret));
    keyed(hashed.as_bytes(), receiving, originating, stream_id)
}

fn keyed(hashed: &[u8], receiving: &str, originating: &str, stream_id: &str) -> String {
    // A key of any length does.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(hashed) else { return String::new() };
    for part in [receiving, " ", originating, " ", stream_id] {
        mac.update(part.as_bytes());
    }
    hex(&mac.finalize().into_bytes())
}

/// Whether two keys are the same, in constant time.
pub(super) fn is_same(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.trim().as_bytes()).into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// `<db:result/>` or `<db:verify/>`. Some peers know no other prefix, so it is written by hand.
pub(super) fn print(name: &str, from: &str, to: &str, id: Option<&str>, rest: &Rest<'_>) -> String {
    let mut out = format!("<db:{name}");
    let id = id.map(|id| ("id", id));
    let kind = match rest {
        Rest::Key(_) => None,
        Rest::Type(kind) => Some(("type", *kind)),
        Rest::Error(_) => Some(("type", "error")),
    };
    for (name, value) in [Some(("from", from)), Some(("to", to)), id, kind].into_iter().flatten() {
        out.push(' ');
        out.push_str(name);
        out.push_str("='");
        escape(&mut out, value);
        out.push('\'');
    }
    match rest {
        Rest::Type(_) => {
            out.push_str("/>");
            return out;
        }
        Rest::Key(key) => {
            out.push('>');
            out.push_str(key);
        }
        Rest::Error(error) => {
            out.push('>');
            // `<error/>` is of the stream's content namespace.
            error.to_element().print(&mut out, ns::CLIENT);
        }
    }
    out.push_str("</db:");
    out.push_str(name);
    out.push('>');
    out
}

/// What a dialback element carries besides its addresses.
pub(super) enum Rest<'a> {
    /// A key to be verified.
    Key(&'a str),
    /// `valid` or `invalid`.
    Type(&'a str),
    /// An error that does not end the stream (section 2.5).
    Error(StanzaError),
}

/// The addresses of a dialback element, prepared: from, to.
pub(super) fn pair(element: &Element) -> Option<(String, String)> {
    let domain = |name| super::header::prepared(element.attr(name)?);
    Some((domain("from")?, domain("to")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of XEP-0220 section 2.1.1 and of XEP-0185.
    #[test]
    fn the_key_of_the_specification_comes_out() {
        let hashed = hex(&Sha256::digest("d14lb4ck43v3r"));
        let key = keyed(hashed.as_bytes(), "capulet.example", "montague.example", "417GAF25");
        assert_eq!(key, "225cc5aa6a071133249d25fef42ae516fc7a86c523aa1c6980a7f73e784c972d");
    }

    #[test]
    fn a_key_is_for_one_pair_on_one_stream_in_one_direction() {
        let ours = key(&[1; 32], "a", "b", "1");
        assert!(is_same(&ours, &format!(" {ours}\n")));
        for other in [
            key(&[2; 32], "a", "b", "1"),
            key(&[1; 32], "b", "a", "1"),
            key(&[1; 32], "a", "b", "2"),
        ] {
            assert!(!is_same(&ours, &other));
        }
    }
}
