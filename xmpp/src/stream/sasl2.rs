//! The extensible profile of SASL (XEP-0388): what is announced, what a client asks for with its login. FAST (XEP-0484)
//! and upgrades (XEP-0480) are parts of it. The exchange itself is `super::login`.

use super::bind2::{self, BindRequest};
use super::binding::Bindings;
use super::ht::TokenMechanism;
use super::sasl::{Offer, ScramHash};
use super::sm;
use crate::xml::Element;

/// The profile.
pub const NS: &str = "urn:xmpp:sasl:2";
/// Tokens for the next login.
pub const FAST: &str = "urn:xmpp:fast:0";
/// Keys for stronger mechanisms.
pub const UPGRADE: &str = "urn:xmpp:sasl:upgrade:0";
/// The upgrades of SCRAM.
pub const SCRAM_UPGRADE: &str = "urn:xmpp:scram-upgrade:0";

/// Names of the upgrades, strongest first.
const UPGRADES: [(&str, ScramHash); 2] =
    [("UPGR-SCRAM-SHA-512", ScramHash::Sha512), ("UPGR-SCRAM-SHA-256", ScramHash::Sha256)];

/// The use of a token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fast {
    /// How often the client has used it (XEP-0484 section 3.4).
    pub count: Option<u32>,
    /// It is to be forgotten.
    pub invalidate: bool,
}

/// What a client asks for in `<authenticate/>`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// The installation, from its `user-agent`: a UUID in lower case. Told to nobody (section 2.3).
    pub device: Option<String>,
    /// A resource.
    pub bind: Option<BindRequest>,
    /// The `<resume/>` of stream management.
    pub resume: Option<Element>,
    /// Upgrades it could do.
    pub upgrades: Vec<ScramHash>,
    /// A token for this mechanism.
    pub wants_token: Option<TokenMechanism>,
    /// It logs in with a token.
    pub fast: Option<Fast>,
}

impl Request {
    /// Reads `<authenticate/>`; what is unknown in it is no part of the login.
    pub fn from_element(authenticate: &Element) -> Self {
        let agent = authenticate.child("user-agent", NS);
        let upgrades = authenticate.elements().filter(|e| e.is("upgrade", UPGRADE));
        let wanted: Vec<String> = upgrades.map(|e| e.text().trim().to_owned()).collect();
        let token = authenticate.child("request-token", FAST).and_then(|e| e.attr("mechanism"));
        let fast = authenticate.child("fast", FAST).map(|fast| Fast {
            count: fast.attr("count").and_then(|count| count.parse().ok()),
            invalidate: matches!(fast.attr("invalidate"), Some("1" | "true")),
        });
        Self {
            device: agent.and_then(|agent| agent.attr("id")).and_then(uuid),
            bind: authenticate.child("bind", bind2::NS).map(BindRequest::from_element),
            resume: authenticate.child("resume", sm::NS).cloned(),
            upgrades: UPGRADES
                .into_iter()
                .filter(|(name, _)| wanted.iter().any(|wanted| wanted == name))
                .map(|(_, hash)| hash)
                .collect(),
            wants_token: token.and_then(TokenMechanism::from_name),
            fast,
        }
    }
}

/// `id` in one spelling, if it is a UUID. One that is none is passed over: nothing needs it but tokens.
fn uuid(id: &str) -> Option<String> {
    let is_uuid = id.len() == 36
        && id.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
    is_uuid.then(|| id.to_ascii_lowercase())
}

/// The feature (section 2.1). The same for all accounts of a domain.
pub fn feature(offer: &Offer, bindings: &Bindings) -> Element {
    let mechanisms = offer.mechanisms.iter().map(|m| Element::new("mechanism", NS).with_text(m));
    let tokens = TokenMechanism::offered(bindings);
    let tokens = tokens.iter().map(|m| Element::new("mechanism", FAST).with_text(m.name()));
    let inline = Element::new("inline", NS)
        .with_child(bind2::feature())
        .with_child(Element::new("sm", sm::NS))
        .with_child(Element::new("fast", FAST).with_children(tokens));
    let upgrades =
        UPGRADES.iter().map(|(name, _)| Element::new("upgrade", UPGRADE).with_text(name));
    Element::new("authentication", NS)
        .with_children(mechanisms)
        .with_child(inline)
        .with_children(upgrades)
}

/// The name of an upgrade.
pub fn task(hash: ScramHash) -> &'static str {
    UPGRADES.iter().find(|(_, of)| *of == hash).map_or("", |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_asks_for_is_read_and_what_is_unknown_passed_over() {
        let text = "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'>\
            <user-agent id='D4565FA7-4d72-4749-b3d3-740edbf87770'><software>X</software></user-agent>\
            <bind xmlns='urn:xmpp:bind:0'><tag> Phone </tag><enable xmlns='urn:xmpp:carbons:2'/></bind>\
            <resume xmlns='urn:xmpp:sm:3' previd='p' h='1'/><x xmlns='urn:unknown'/>\
            <upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-256</upgrade>\
            <upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-256</upgrade>\
            <upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-BLOOP</upgrade>\
            <request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-NONE'/>\
            <fast xmlns='urn:xmpp:fast:0' count='3' invalidate='true'/></authenticate>";
        let request = Request::from_element(&Element::parse(text.as_bytes()).unwrap());
        assert_eq!(request.device.as_deref(), Some("d4565fa7-4d72-4749-b3d3-740edbf87770"));
        let bind = request.bind.unwrap();
        assert_eq!((bind.tag.as_deref(), bind.carbons), (Some("Phone"), true));
        assert!(request.resume.is_some());
        assert_eq!(request.upgrades, [ScramHash::Sha256]);
        assert_eq!(request.wants_token, Some(TokenMechanism::Unbound));
        assert_eq!(request.fast, Some(Fast { count: Some(3), invalidate: true }));
    }

    #[test]
    fn a_device_that_is_no_uuid_is_none() {
        for bad in ["", "phone", "d4565fa7-4d72-4749-b3d3-740edbf8777", &"x".repeat(36)] {
            assert_eq!(uuid(bad), None, "{bad}");
        }
    }
}
