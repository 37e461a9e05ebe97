//! For which SIP domains a certificate speaks (RFC 5922 section 7). Its chain is somebody else's business.

use crate::msg::{Scheme, Uri};

/// Most names of one certificate that are looked at.
const MAX_NAMES: usize = 1_000;

/// The SIP domain identities among the names of a certificate, which are URIs and DNS names (section 7.1): hosts of `sip` URIs
/// that name nobody; DNS names count only where there is no such URI.
pub fn identities<'n>(
    uris: impl Iterator<Item = &'n str>,
    names: impl Iterator<Item = &'n str>,
) -> Vec<String> {
    let domain = |text: &str| {
        let uri = Uri::parse(text).ok()?;
        // One with a user is a person's, not a domain's.
        (uri.scheme == Scheme::Sip && uri.user.is_none()).then(|| uri.host.to_string())
    };
    let found: Vec<String> = uris.take(MAX_NAMES).filter_map(domain).collect();
    if !found.is_empty() {
        return found;
    }
    // A wildcard names no domain (section 7.2).
    names.take(MAX_NAMES).filter(|name| !name.contains('*')).map(str::to_owned).collect()
}

/// Whether two SIP domain identities are the same (section 7.2): all of both, in whatever case, and no pattern.
pub fn is_same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_speaks_for_its_sip_uris_or_else_for_its_dns_names() {
        type Row<'a> = (&'a [&'a str], &'a [&'a str], &'a [&'a str]);
        let table: [Row<'_>; 8] = [
            (&["sip:a.example"], &["b.example"], &["a.example"]),
            (
                &["sip:a.example", "sip:b.example:5061;transport=tls"],
                &[],
                &["a.example", "b.example"],
            ),
            (&["sip:ana@a.example"], &["b.example"], &["b.example"]),
            (&["sips:a.example", "https://c.example/"], &["b.example"], &["b.example"]),
            (&["xmpp:a.example"], &["b.example", "c.example"], &["b.example", "c.example"]),
            (&["sip:"], &["*.example", "b.example"], &["b.example"]),
            (&[], &["*.a.example"], &[]),
            (&[], &[], &[]),
        ];
        for (uris, names, expected) in table {
            let found = identities(uris.iter().copied(), names.iter().copied());
            assert_eq!(found, expected, "{uris:?} {names:?}");
        }
    }

    #[test]
    fn identities_are_compared_whole_and_without_case() {
        assert!(is_same("Sip.Example.ORG", "sip.example.org"));
        for other in ["example.org", "x.sip.example.org", "*.example.org", ".example.org", ""] {
            assert!(!is_same("sip.example.org", other), "{other}");
        }
    }
}
