//! For which domains a certificate speaks (RFC 6120 section 13.7.2, RFC 6125): dNSName with wildcards, SRV-ID and
//! XmppAddr, out of its subject alternative names. Its chain is somebody else's business.

use super::der::{CONTEXT_0, CONTEXT_3, Der, OCTETS, OID};

/// The names of one certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    dns: Vec<String>,
    srv: Vec<String>,
    xmpp: Vec<String>,
}

const SAN: &[u8] = &[0x55, 0x1d, 0x11];
/// id-on-dnsSRV (RFC 4985) and id-on-xmppAddr (RFC 6120 section 13.7.1.4).
const DNS_SRV: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x08, 0x07];
const XMPP_ADDR: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x08, 0x05];
/// The tag of a dNSName.
const DNS_NAME: u8 = 0x82;
/// Most names that are looked at.
const MAX_NAMES: usize = 1_000;

impl Names {
    /// Reads a certificate (DER). What cannot be read has no names.
    pub fn of(certificate: &[u8]) -> Self {
        Self::read(certificate).unwrap_or_default()
    }

    fn read(certificate: &[u8]) -> Option<Self> {
        let tbs = Der(certificate).sequence()?.sequence()?;
        let (_, extensions) = items(tbs).find(|(tag, _)| *tag == CONTEXT_3)?;
        let names = items(Der(extensions).sequence()?).find_map(|(_, extension)| {
            let mut extension = Der(extension);
            let oid = extension.take(OID)?;
            // After the identifier comes the critical flag, if it is set, then the value.
            let (_, value) = items(extension).find(|(tag, _)| *tag == OCTETS)?;
            (oid == SAN).then_some(value)
        })?;
        let mut read = Self::default();
        for (tag, name) in items(Der(names).sequence()?).take(MAX_NAMES) {
            match tag {
                DNS_NAME => read.dns.extend(text(name)),
                CONTEXT_0 => {
                    read.other(name);
                }
                _ => {}
            }
        }
        Some(read)
    }

    fn other(&mut self, name: &[u8]) -> Option<()> {
        let mut name = Der(name);
        let oid = name.take(OID)?;
        let (_, value) = Der(name.take(CONTEXT_0)?).any()?;
        match oid {
            DNS_SRV => self.srv.extend(text(value)),
            XMPP_ADDR => self.xmpp.extend(text(value)),
            _ => {}
        }
        Some(())
    }

    /// Whether the certificate speaks for the XMPP server of this domain, written with A-labels. The host of an SRV
    /// record is never asked for: who answers DNS could name any (section 13.7.2.1).
    pub fn cover(&self, domain: &str) -> bool {
        let domain = domain.trim_end_matches('.').to_ascii_lowercase();
        let service = |name: &String| {
            ["_xmpp-server.", "_xmpps-server."]
                .iter()
                .any(|s| name.strip_prefix(s).is_some_and(|name| covers(name, &domain)))
        };
        self.dns.iter().any(|name| covers(name, &domain))
            || self.srv.iter().any(service)
            || self.xmpp.iter().any(|name| idna::domain_to_ascii(name).is_ok_and(|n| n == domain))
    }
}

/// A wildcard stands for one whole label, the leftmost.
fn covers(name: &str, domain: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(parent) => {
            parent.contains('.') && domain.split_once('.').is_some_and(|(_, rest)| rest == parent)
        }
        None => name == domain,
    }
}

fn text(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    Some(text.trim_end_matches('.').to_ascii_lowercase())
}

/// The values that are left, with their tags.
fn items(mut der: Der<'_>) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || der.any())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, OtherNameValue, SanType};

    use super::*;

    fn names(sans: Vec<SanType>) -> Names {
        let mut params = CertificateParams::default();
        params.subject_alt_names = sans;
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        Names::of(made.der())
    }

    fn dns(name: &str) -> SanType {
        SanType::DnsName(name.try_into().unwrap())
    }

    fn other(arc: u64, name: &str) -> SanType {
        let oid = vec![1, 3, 6, 1, 5, 5, 7, 8, arc];
        SanType::OtherName((oid, OtherNameValue::Utf8String(name.into())))
    }

    #[test]
    fn a_certificate_speaks_for_its_names_and_no_others() {
        let names = names(vec![
            dns("A.example"),
            dns("*.b.example"),
            dns("*.com"),
            other(7, "_xmpp-server.c.example"),
            other(7, "_xmpp-client.d.example"),
            other(5, "b\u{fc}cher.example"),
        ]);
        let table = [
            ("a.example", true),
            ("A.Example.", true),
            ("x.a.example", false),
            ("example", false),
            ("x.b.example", true),
            ("b.example", false),
            ("y.x.b.example", false),
            ("shop.com", false),
            ("c.example", true),
            ("d.example", false),
            ("xn--bcher-kva.example", true),
            ("", false),
        ];
        for (domain, expected) in table {
            assert_eq!(names.cover(domain), expected, "{domain}");
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_names() {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![dns("a.example")];
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        for length in 0..made.der().len() {
            assert!(!Names::of(&made.der()[..length]).cover("a.example"), "{length}");
        }
        for garbage in [&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff][..], &[0xff; 300], &[0x30; 300]] {
            assert_eq!(Names::of(garbage), Names::default());
        }
    }
}
