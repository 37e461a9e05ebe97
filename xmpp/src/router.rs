//! Where an address leads (RFC 6120 section 10): an account, the server itself, a service beside it, or elsewhere.

use crate::jid::Jid;

/// The room service of a domain is at this name in front of it (XEP-0045).
pub const ROOMS: &str = "rooms";
/// The upload service (XEP-0363).
pub const UPLOADS: &str = "upload";

/// What answers at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A served domain itself.
    Host,
    /// Someone at a served domain, account or not.
    Account,
    /// The room service of a served domain, a room or an occupant.
    Rooms,
    /// The upload service of a served domain.
    Uploads,
    /// Another server, or a component.
    Elsewhere,
}

/// Where an address leads when these domains are served here.
pub fn place(domains: &[String], jid: &Jid) -> Place {
    let served = |domain: &str| domains.iter().any(|d| d == domain);
    if served(jid.domain()) {
        return if jid.node().is_some() { Place::Account } else { Place::Host };
    }
    match jid.domain().split_once('.') {
        Some((ROOMS, parent)) if served(parent) => Place::Rooms,
        Some((UPLOADS, parent)) if served(parent) => Place::Uploads,
        _ => Place::Elsewhere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_leads_to_one_place() {
        let domains = ["d".to_owned(), "e.example".to_owned()];
        for (address, expected) in [
            ("d", Place::Host),
            ("d/x", Place::Host),
            ("ana@d/x", Place::Account),
            ("rooms.d", Place::Rooms),
            ("tea@rooms.e.example/ana", Place::Rooms),
            ("upload.d", Place::Uploads),
            ("rooms.f", Place::Elsewhere),
            ("ana@f", Place::Elsewhere),
        ] {
            assert_eq!(place(&domains, &Jid::parse(address).unwrap()), expected, "{address}");
        }
    }
}
