//! XMPP addresses (RFC 7622): prepared once on the way in, cheap to clone and compare.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use precis_profiles::precis_core::profile::Profile;
use precis_profiles::{OpaqueString, UsernameCaseMapped};

/// Longest part in octets (RFC 7622 section 3.1).
const MAX_PART: usize = 1023;

/// Why a string is not an address. The wire answer is `jid-malformed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an XMPP address")]
pub struct JidError;

/// An address, bare or full.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Jid {
    text: Arc<str>,
    /// Length of the local part; 0 means none.
    node: u16,
    /// Offset of the `/`, or the text's length.
    slash: u16,
}

impl Jid {
    /// Splits at the first `/`, then the first `@`, and prepares each part (RFC 7622 section 3.2).
    ///
    /// # Errors
    ///
    /// [`JidError`] for empty, over-long or forbidden parts.
    pub fn parse(text: &str) -> Result<Self, JidError> {
        let (bare, resource) = match text.split_once('/') {
            Some((bare, resource)) => (bare, Some(resource)),
            None => (text, None),
        };
        let (node, domain) = match bare.split_once('@') {
            Some((node, domain)) => (Some(node), domain),
            None => (None, bare),
        };
        Self::new(node, domain, resource)
    }

    /// Builds an address from its parts.
    ///
    /// # Errors
    ///
    /// [`JidError`] as for [`Jid::parse`].
    pub fn new(node: Option<&str>, domain: &str, resource: Option<&str>) -> Result<Self, JidError> {
        let mut text = String::new();
        let mut node_length = 0;
        if let Some(node) = node {
            prepare_node(node, &mut text)?;
            node_length = text.len();
            text.push('@');
        }
        let before = text.len();
        prepare_domain(domain, &mut text)?;
        if text.len() - before > MAX_PART {
            return Err(JidError);
        }
        let slash = text.len();
        if let Some(resource) = resource {
            text.push('/');
            prepare_resource(resource, &mut text)?;
        }
        let fit = |n: usize| u16::try_from(n).map_err(|_| JidError);
        Ok(Self { node: fit(node_length)?, slash: fit(slash)?, text: text.into() })
    }

    /// The local part.
    pub fn node(&self) -> Option<&str> {
        if self.node == 0 { None } else { self.text.get(..usize::from(self.node)) }
    }

    /// The domain part.
    pub fn domain(&self) -> &str {
        let start = if self.node == 0 { 0 } else { usize::from(self.node) + 1 };
        self.text.get(start..usize::from(self.slash)).unwrap_or_default()
    }

    /// The domain part as DNS, TLS and SIP write it: with A-labels (RFC 5890). `None` when it has no such form.
    pub fn domain_ascii(&self) -> Option<String> {
        idna::domain_to_ascii(self.domain()).ok()
    }

    /// The resource part.
    pub fn resource(&self) -> Option<&str> {
        self.text.get(usize::from(self.slash) + 1..)
    }

    /// Whether there is no resource.
    pub fn is_bare(&self) -> bool {
        usize::from(self.slash) == self.text.len()
    }

    /// Without the resource.
    #[must_use]
    pub fn bare(&self) -> Self {
        if self.is_bare() {
            return self.clone();
        }
        Self { text: self.as_bare_str().into(), node: self.node, slash: self.slash }
    }

    /// The bare address as text, without allocating.
    pub fn as_bare_str(&self) -> &str {
        self.text.get(..usize::from(self.slash)).unwrap_or_default()
    }

    /// The same account with this resource.
    ///
    /// # Errors
    ///
    /// [`JidError`] when the resource is not one.
    pub fn with_resource(&self, resource: &str) -> Result<Self, JidError> {
        let mut text = String::from(self.as_bare_str());
        text.push('/');
        prepare_resource(resource, &mut text)?;
        Ok(Self { text: text.into(), node: self.node, slash: self.slash })
    }

    /// The whole address.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Jid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Jid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl FromStr for Jid {
    type Err = JidError;

    fn from_str(text: &str) -> Result<Self, JidError> {
        Self::parse(text)
    }
}

impl serde::Serialize for Jid {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> serde::Deserialize<'de> for Jid {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// UsernameCaseMapped without the eight characters that would look like separators (RFC 7622 section 3.3.1).
fn prepare_node(node: &str, out: &mut String) -> Result<(), JidError> {
    let simple = |b: &u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
    if node.is_empty() || node.len() > MAX_PART {
        return Err(JidError);
    }
    if node.as_bytes().iter().all(simple) {
        out.push_str(node);
        return Ok(());
    }
    let before = out.len();
    if node.is_ascii() {
        if !node.bytes().all(|b| (0x21..0x7f).contains(&b)) {
            return Err(JidError);
        }
        out.extend(node.chars().map(|c| c.to_ascii_lowercase()));
    } else {
        let profile = UsernameCaseMapped::new();
        out.push_str(&profile.enforce(node).map_err(|_| JidError)?);
    }
    let node = out.get(before..).unwrap_or_default();
    if node.contains(['"', '&', '\'', '/', ':', '<', '>', '@']) || node.len() > MAX_PART {
        return Err(JidError);
    }
    Ok(())
}

/// Lower case, NFC, and Unicode where it came as A-labels, so that one domain has one form (RFC 7622 section 3.2).
fn prepare_domain(domain: &str, out: &mut String) -> Result<(), JidError> {
    // Nothing longer can be a domain; it is not worth being mapped either.
    if domain.len() > MAX_PART {
        return Err(JidError);
    }
    let is_plain = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-');
    let mapped = if domain.bytes().all(is_plain) && !domain.contains("xn--") {
        Cow::Borrowed(domain)
    } else if domain.starts_with('[') {
        Cow::Owned(domain.to_ascii_lowercase())
    } else {
        let (mapped, valid) = idna::domain_to_unicode(domain);
        valid.map_err(|_| JidError)?;
        Cow::Owned(mapped)
    };
    let domain = mapped.strip_suffix('.').unwrap_or(&mapped);
    let inside = |c: char| {
        !c.is_ascii() || c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '[' | ']' | ':')
    };
    let fits = !domain.is_empty() && !domain.contains("..") && !domain.starts_with('.');
    if !fits || domain.ends_with('.') || !domain.chars().all(inside) {
        return Err(JidError);
    }
    if domain.starts_with('[') && !domain.is_ascii() {
        return Err(JidError);
    }
    out.push_str(domain);
    Ok(())
}

fn prepare_resource(resource: &str, out: &mut String) -> Result<(), JidError> {
    if resource.is_empty() || resource.len() > MAX_PART {
        return Err(JidError);
    }
    if resource.is_ascii() {
        if !resource.bytes().all(|b| (0x20..0x7f).contains(&b)) {
            return Err(JidError);
        }
        out.push_str(resource);
        return Ok(());
    }
    let prepared = OpaqueString::new().enforce(resource).map_err(|_| JidError)?.into_owned();
    if prepared.len() > MAX_PART {
        return Err(JidError);
    }
    out.push_str(&prepared);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn prepares_and_refuses() {
        let table = [
            ("Ana@LocalHost", Some("ana@localhost")),
            ("localhost", Some("localhost")),
            ("a@b/C d@e/f", Some("a@b/C d@e/f")),
            ("F\u{dc}@h", Some("f\u{fc}@h")),
            ("a@b.", Some("a@b")),
            ("a@B\u{fc}cher.example", Some("a@b\u{fc}cher.example")),
            ("a@bu\u{308}cher.example", Some("a@b\u{fc}cher.example")),
            ("a@XN--BCHER-KVA.example", Some("a@b\u{fc}cher.example")),
            ("a@b\u{3002}example", Some("a@b.example")),
            (
                "a@\u{939}\u{93f}\u{928}\u{94d}\u{926}\u{940}",
                Some("a@\u{939}\u{93f}\u{928}\u{94d}\u{926}\u{940}"),
            ),
            ("a@xn--99999999", None),
            ("a@[::1]", Some("a@[::1]")),
            ("a@b\u{202e}c", None),
            ("a@b..", None),
            ("a@b c", None),
            ("@b", None),
            ("a@", None),
            ("a b@c", None),
            ("a@b/", None),
            ("a'b@c", None),
            ("a@b/\u{7}", None),
            ("", None),
        ];
        for (given, expected) in table {
            let parsed = Jid::parse(given).ok();
            assert_eq!(parsed.as_ref().map(Jid::as_str), expected, "{given}");
        }
    }

    #[test]
    fn parts_come_apart() {
        let jid = Jid::parse("a@b/c").unwrap();
        assert_eq!((jid.node(), jid.domain(), jid.resource()), (Some("a"), "b", Some("c")));
        assert_eq!(jid.bare().as_str(), "a@b");
        assert!(jid.bare().is_bare());
        assert_eq!(jid.bare().with_resource("d").unwrap().as_str(), "a@b/d");
        assert_eq!(Jid::parse("b/c").unwrap().node(), None);
    }

    #[test]
    fn a_domain_has_one_form_for_xmpp_and_one_for_dns() {
        let jid = Jid::parse("a@b\u{fc}cher.example").unwrap();
        assert_eq!(jid.domain_ascii().as_deref(), Some("xn--bcher-kva.example"));
        assert_eq!(Jid::parse("a@xn--bcher-kva.example"), Ok(jid));
    }

    proptest! {
        #[test]
        fn an_accepted_address_is_its_own_prepared_form(text in "\\PC{0,40}") {
            if let Ok(jid) = Jid::parse(&text) {
                prop_assert_eq!(Jid::parse(jid.as_str()), Ok(jid));
            }
        }
    }
}
