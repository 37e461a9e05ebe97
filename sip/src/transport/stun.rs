//! STUN on the SIP port (RFC 5626 sections 4.4.2 and 8, RFC 8489): a phone's keep-alive, which also tells it whether its
//! NAT has given it another address.

use std::net::{IpAddr, SocketAddr};

const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const HEADER: usize = 20;
const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
/// Attributes that have to be understood are below this; none is, in a request without credentials.
const OPTIONAL: u16 = 0x8000;
/// Unknown attributes that are named in an answer.
const MAX_UNKNOWN: usize = 4;

/// Whether a datagram is STUN and not SIP (RFC 8489 section 5): SIP begins with a letter or a line end.
pub fn is_stun(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|byte| byte & 0xc0 == 0)
        && datagram.get(4..8) == Some(COOKIE.as_slice())
}

/// The answer to a Binding request; `None`: it is none, or malformed.
pub fn answer(request: &[u8], peer: SocketAddr) -> Option<Vec<u8>> {
    let header = request.get(..HEADER)?;
    let length = usize::from(u16_at(request, 2)?);
    if u16_at(request, 0)? != BINDING_REQUEST
        || header.get(4..8)? != COOKIE
        || length % 4 != 0
        || request.len() != HEADER + length
    {
        return None;
    }
    let transaction = header.get(8..)?;
    let unknown = unknown_attributes(request.get(HEADER..)?)?;
    if unknown.is_empty() {
        return Some(message(BINDING_SUCCESS, transaction, &mapped(peer, transaction)));
    }
    // RFC 8489 section 6.3.1: 420, and what was not understood.
    let mut body = attribute(ERROR_CODE, &[0, 0, 4, 20]);
    let names: Vec<u8> = unknown.iter().flat_map(|kind| kind.to_be_bytes()).collect();
    body.extend(attribute(UNKNOWN_ATTRIBUTES, &names));
    Some(message(BINDING_ERROR, transaction, &body))
}

fn unknown_attributes(mut rest: &[u8]) -> Option<Vec<u16>> {
    let mut unknown = Vec::new();
    while !rest.is_empty() {
        let (kind, length) = (u16_at(rest, 0)?, usize::from(u16_at(rest, 2)?));
        if kind < OPTIONAL && unknown.len() < MAX_UNKNOWN {
            unknown.push(kind);
        }
        rest = rest.get(4 + length.next_multiple_of(4)..)?;
    }
    Some(unknown)
}

/// RFC 8489 section 14.2.
fn mapped(peer: SocketAddr, transaction: &[u8]) -> Vec<u8> {
    let ip = peer.ip().to_canonical();
    let mask = COOKIE.iter().chain(transaction);
    let port = peer.port().to_be_bytes();
    let mut value = vec![0, if ip.is_ipv4() { 1 } else { 2 }];
    value.extend(port.iter().zip(&COOKIE).map(|(byte, mask)| byte ^ mask));
    let octets = match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    value.extend(octets.iter().zip(mask).map(|(byte, mask)| byte ^ mask));
    attribute(XOR_MAPPED_ADDRESS, &value)
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap_or(0);
    let mut out = [kind.to_be_bytes(), length.to_be_bytes()].concat();
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

fn message(kind: u16, transaction: &[u8], body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap_or(0);
    let mut out = [kind.to_be_bytes(), length.to_be_bytes()].concat();
    out.extend(COOKIE);
    out.extend(transaction);
    out.extend(body);
    out
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &[u8] = b"twelve bytes";

    fn request(body: &[u8]) -> Vec<u8> {
        message(BINDING_REQUEST, ID, body)
    }

    /// The vectors of RFC 5769 sections 2.2 and 2.3 have these addresses.
    #[test]
    fn a_phone_is_told_the_address_it_comes_from() {
        let id = [0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae];
        let ask = message(BINDING_REQUEST, &id, &[]);
        let v4 = answer(&ask, "192.0.2.1:32853".parse().unwrap()).unwrap();
        assert_eq!(v4[..8], [1, 1, 0, 12, 0x21, 0x12, 0xa4, 0x42]);
        assert_eq!(v4[8..20], id);
        assert_eq!(v4[20..], [0, 0x20, 0, 8, 0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43]);
        let v6 = answer(&ask, "[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().unwrap());
        let expected = [
            0, 0x20, 0, 0x14, 0, 2, 0xa1, 0x47, 0x01, 0x13, 0xa9, 0xfa, 0xa5, 0xd3, 0xf1, 0x79,
            0xbc, 0x25, 0xf4, 0xb5, 0xbe, 0xd2, 0xb9, 0xd9,
        ];
        assert_eq!(v6.unwrap()[20..], expected);
        // On a listener for both families the address is still an IPv4 one.
        let mapped = answer(&ask, "[::ffff:192.0.2.1]:32853".parse().unwrap());
        assert_eq!(mapped.unwrap(), v4);
    }

    #[test]
    fn what_has_to_be_understood_and_is_not_is_named() {
        let peer = "192.0.2.1:5060".parse().unwrap();
        let asked = answer(&request(&attribute(0x0006, b"user")), peer).unwrap();
        assert_eq!(asked[..2], [1, 0x11]);
        assert_eq!(asked[20..28], [0, 9, 0, 4, 0, 0, 4, 20]);
        assert_eq!(asked[28..], [0, 10, 0, 2, 0, 6, 0, 0]);
        let software = answer(&request(&attribute(0x8022, b"phone")), peer).unwrap();
        assert_eq!(software[..2], [1, 1]);
    }

    #[test]
    fn what_is_no_binding_request_gets_nothing() {
        let peer = "192.0.2.1:5060".parse().unwrap();
        let good = request(&[]);
        for at in 0..good.len() {
            assert_eq!(answer(&good[..at], peer), None, "{at} bytes");
        }
        for bad in [
            message(0x0101, ID, &[]),
            request(&[0x80, 0x22, 0, 9]),
            [request(&[]), vec![0]].concat(),
            message(BINDING_REQUEST, ID, &[0, 0]),
        ] {
            assert_eq!(answer(&bad, peer), None, "{bad:?}");
        }
        assert!(is_stun(&good));
        assert!(!is_stun(b"OPTIONS sip:a SIP/2.0\r\n") && !is_stun(b"\r\n\r\n") && !is_stun(b""));
    }
}
