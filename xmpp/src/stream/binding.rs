//! Channel bindings (RFC 5056): what ties a login to its TLS connection, and the types that are announced (XEP-0440).

use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

use super::der::{self, Der};

/// TLS 1.3 (RFC 9266).
pub const EXPORTER: &str = "tls-exporter";
/// The hash of the server's certificate (RFC 5929 section 4).
pub const END_POINT: &str = "tls-server-end-point";

/// The bindings of one connection; none over a transport whose TLS ends elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bindings {
    /// The exported key (RFC 9266 section 2).
    pub exporter: Option<Vec<u8>>,
    /// The certificate's hash, from [`end_point`].
    pub end_point: Option<Vec<u8>>,
}

impl Bindings {
    /// The data of a type by its unique prefix, if it is supported here.
    pub fn data(&self, name: &str) -> Option<&[u8]> {
        match name {
            EXPORTER => self.exporter.as_deref(),
            END_POINT => self.end_point.as_deref(),
            _ => None,
        }
    }

    /// The supported types, strongest first.
    pub fn names(&self) -> Vec<&'static str> {
        [EXPORTER, END_POINT].into_iter().filter(|name| self.data(name).is_some()).collect()
    }

    /// Whether none is supported.
    pub fn is_empty(&self) -> bool {
        self.exporter.is_none() && self.end_point.is_none()
    }
}

/// The tls-server-end-point data of a certificate (RFC 5929 section 4.1): hashed with the hash of its signature, or
/// SHA-256 where that is MD5 or SHA-1. `None` for signatures whose hash nobody has defined, as Ed25519's.
pub fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let mut certificate_fields = Der(certificate).sequence()?;
    certificate_fields.any()?;
    let mut algorithm = certificate_fields.sequence()?;
    let id = algorithm.take(der::OID)?;
    let id = if id == RSA_PSS { pss_hash(algorithm)? } else { id };
    let digest = match id {
        SHA224_RSA | SHA224_ECDSA | SHA224 => Sha224::digest(certificate).to_vec(),
        SHA384_RSA | SHA384_ECDSA | SHA384 => Sha384::digest(certificate).to_vec(),
        SHA512_RSA | SHA512_ECDSA | SHA512 => Sha512::digest(certificate).to_vec(),
        MD5_RSA | SHA1_RSA | SHA1_ECDSA | SHA1 | SHA256_RSA | SHA256_ECDSA | SHA256 => {
            Sha256::digest(certificate).to_vec()
        }
        _ => return None,
    };
    Some(digest)
}

/// The hash among the parameters of RSASSA-PSS (RFC 4055 section 3.1): the first, tagged 0; left out, it is SHA-1.
fn pss_hash(mut algorithm: Der<'_>) -> Option<&[u8]> {
    let mut parameters = algorithm.sequence()?;
    match parameters.take(der::CONTEXT_0) {
        Some(tagged) => Der(tagged).sequence()?.take(der::OID),
        None => Some(SHA1),
    }
}

const MD5_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 4];
const SHA1_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5];
const RSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10];
const SHA256_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11];
const SHA384_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 12];
const SHA512_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 13];
const SHA224_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 14];
const SHA1_ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1];
const SHA224_ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 1];
const SHA256_ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const SHA384_ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3];
const SHA512_ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4];
const SHA1: &[u8] = &[0x2b, 0x0e, 3, 2, 26];
const SHA256: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];
const SHA384: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2];
const SHA512: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3];
const SHA224: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 4];

#[cfg(test)]
mod tests {
    use super::*;

    /// The outline of a certificate: a body, the algorithm of its signature, the signature.
    fn certificate(algorithm: &[u8], parameters: &[u8]) -> Vec<u8> {
        let mut id = vec![0x06, algorithm.len() as u8];
        id.extend_from_slice(algorithm);
        id.extend_from_slice(parameters);
        let mut fields = vec![0x30, 2, 5, 0, 0x30, id.len() as u8];
        fields.extend(id);
        fields.extend([0x03, 1, 0]);
        let mut whole = vec![0x30, fields.len() as u8];
        whole.extend(fields);
        whole
    }

    /// RFC 5929 section 4.1: the hash of the signature, SHA-256 in place of MD5 and SHA-1.
    #[test]
    fn the_end_point_is_hashed_as_the_certificate_is_signed() {
        let lengths = [
            (SHA256_RSA, 32),
            (SHA1_RSA, 32),
            (MD5_RSA, 32),
            (SHA384_RSA, 48),
            (SHA512_RSA, 64),
            (SHA256_ECDSA, 32),
            (SHA384_ECDSA, 48),
            (SHA512_ECDSA, 64),
        ];
        for (algorithm, length) in lengths {
            let der = certificate(algorithm, &[5, 0]);
            assert_eq!(end_point(&der).map(|d| d.len()), Some(length), "{algorithm:?}");
        }
        let der = certificate(SHA256_ECDSA, &[]);
        assert_eq!(end_point(&der).unwrap(), Sha256::digest(&der).to_vec());
        // RSASSA-PSS says its hash in its parameters.
        let mut parameters = vec![0x30, 15, 0xa0, 13, 0x30, 11, 0x06, 9];
        parameters.extend_from_slice(SHA384);
        assert_eq!(end_point(&certificate(RSA_PSS, &parameters)).map(|d| d.len()), Some(48));
        assert_eq!(end_point(&certificate(RSA_PSS, &[0x30, 0])).map(|d| d.len()), Some(32));
        // Ed25519 has none; neither has what is no certificate.
        assert_eq!(end_point(&certificate(&[0x2b, 0x65, 0x70], &[])), None);
        assert_eq!(end_point(b"0"), None);
        assert_eq!(end_point(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }

    #[test]
    fn only_what_the_connection_has_is_announced() {
        let mut bindings = Bindings::default();
        assert!(bindings.is_empty() && bindings.names().is_empty());
        bindings.end_point = Some(vec![1]);
        assert_eq!(bindings.names(), [END_POINT]);
        bindings.exporter = Some(vec![2]);
        assert_eq!(bindings.names(), [EXPORTER, END_POINT]);
        assert_eq!(bindings.data("tls-unique"), None);
    }
}
