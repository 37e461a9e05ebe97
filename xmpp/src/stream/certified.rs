//! Who a client's certificate says it is (XEP-0178 section 2, RFC 6120 section 13.7.1.4): the XMPP addresses among its
//! alternative names. Whether the certificate is to be believed the TLS layer has decided.

use super::der::{self, Der};
use crate::jid::Jid;

/// id-ce-subjectAltName.
const ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 0x11];
/// id-on-xmppAddr.
const XMPP_ADDRESS: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 8, 5];
/// Most addresses that are looked at.
const MAX: usize = 16;

/// The bare addresses of a certificate in DER; none when it has none or is none.
pub fn identities(certificate: &[u8]) -> Vec<Jid> {
    let Some(mut names) = alternative_names(certificate) else { return Vec::new() };
    let mut found = Vec::new();
    while let Some((tag, content)) = names.any() {
        if tag == der::CONTEXT_0
            && found.len() < MAX
            && let Some(jid) = xmpp_address(content)
        {
            found.push(jid);
        }
    }
    found
}

fn alternative_names(certificate: &[u8]) -> Option<Der<'_>> {
    let mut body = Der(certificate).sequence()?.sequence()?;
    let extensions = loop {
        if let (der::CONTEXT_3, content) = body.any()? {
            break content;
        }
    };
    let mut extensions = Der(extensions).sequence()?;
    loop {
        let mut extension = extensions.sequence()?;
        if extension.take(der::OID)? != ALTERNATIVE_NAME {
            continue;
        }
        // A flag may stand before the value.
        loop {
            if let (der::OCTETS, content) = extension.any()? {
                return Der(content).sequence();
            }
        }
    }
}

fn xmpp_address(other_name: &[u8]) -> Option<Jid> {
    let mut other_name = Der(other_name);
    if other_name.take(der::OID)? != XMPP_ADDRESS {
        return None;
    }
    let text = Der(other_name.take(der::CONTEXT_0)?).take(der::UTF8)?;
    let jid = Jid::parse(std::str::from_utf8(text).ok()?).ok()?;
    jid.is_bare().then_some(jid)
}

#[cfg(test)]
mod tests {
    use rcgen::string::Ia5String;
    use rcgen::{CertificateParams, KeyPair, OtherNameValue, SanType};

    use super::*;

    fn certificate(names: Vec<SanType>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn address(text: &str) -> SanType {
        let id = vec![1, 3, 6, 1, 5, 5, 7, 8, 5];
        SanType::OtherName((id, OtherNameValue::Utf8String(text.into())))
    }

    #[test]
    fn the_addresses_of_a_certificate_are_found_among_its_names() {
        let dns = SanType::DnsName(Ia5String::try_from("care.example").unwrap());
        let der = certificate(vec![dns.clone(), address("Ana@care.example"), address("x@y/z")]);
        assert_eq!(identities(&der), [Jid::parse("ana@care.example").unwrap()]);
        assert!(identities(&certificate(vec![dns])).is_empty());
        assert!(identities(b"nothing of the kind").is_empty());
        // Cut short anywhere, it is no certificate, and nothing breaks.
        for length in 0..der.len() {
            identities(&der[..length]);
        }
    }
}
