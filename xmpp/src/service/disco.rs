//! Service discovery and entity capabilities (XEP-0030, XEP-0115).

use base64::Engine as _;
use sha1::{Digest, Sha1};

use super::Server;
use super::attached::Attachment;
use crate::jid::Jid;
use crate::stanza::Stanza;
use crate::xml::{Element, ns};

pub(super) const INFO: &str = "http://jabber.org/protocol/disco#info";
pub(super) const ITEMS: &str = "http://jabber.org/protocol/disco#items";
const CAPS: &str = "http://jabber.org/protocol/caps";
/// Ids of the server's own questions begin with this.
pub(super) const QUESTION: &str = "features-";
/// Most features remembered of one client.
const MAX_FEATURES: usize = 256;

/// Category, type, name.
type Identity = (String, String, String);

const SERVER_FEATURES: &[&str] = &[
    INFO,
    ITEMS,
    "jabber:iq:roster",
    "jabber:iq:version",
    "urn:xmpp:carbons:2",
    "urn:xmpp:ping",
    "msgoffline",
];

/// Where the server's capabilities can be looked up by humans; clients take it as a name (XEP-0115 section 4).
const SERVER_NODE: &str = "https://tandem.example/server";
const DEVICE_NODE: &str = "https://tandem.example/phone";

fn server_identity() -> Identity {
    ("server".into(), "im".into(), "Tandem".into())
}

/// The server's own description.
pub(super) fn server_info() -> Element {
    describe(&server_identity(), SERVER_FEATURES.iter().copied())
}

/// The `<c/>` among the stream features (XEP-0115 section 6.3): a client that knows this hash asks nothing.
pub(crate) fn server_caps() -> Element {
    caps_element(SERVER_NODE, &server_identity(), SERVER_FEATURES.iter().copied())
}

/// Whether `node` names what is described now: nothing, or the hash that was given out.
pub(super) fn is_current(node: Option<&str>, caps: &Element) -> bool {
    let ours = || Some(format!("{}#{}", caps.attr("node")?, caps.attr("ver")?));
    node.is_none_or(|node| ours().is_some_and(|ours| ours == node))
}

/// An account's description (RFC 6121 gives accounts no features of their own).
pub(super) fn account_info() -> Element {
    describe(&("account".into(), "registered".into(), String::new()), [INFO, ITEMS].into_iter())
}

pub(super) fn attached_info(attachment: &Attachment) -> Element {
    describe(&attachment.identity, attachment.features.iter().map(String::as_str))
}

fn describe<'a>(identity: &Identity, features: impl Iterator<Item = &'a str>) -> Element {
    let (category, kind, name) = identity;
    let identity = Element::new("identity", INFO)
        .with_attr("category", category.as_str())
        .with_attr("type", kind.as_str())
        .with_attr_opt("name", Some(name.as_str()).filter(|n| !n.is_empty()));
    Element::new("query", INFO)
        .with_child(identity)
        .with_children(features.map(|f| Element::new("feature", INFO).with_attr("var", f)))
}

/// The `<c/>` of an attached device (XEP-0115 section 5.1).
pub(super) fn caps(attachment: &Attachment) -> Element {
    let features = attachment.features.iter().map(String::as_str);
    caps_element(DEVICE_NODE, &attachment.identity, features)
}

fn caps_element<'a>(
    node: &str,
    identity: &Identity,
    features: impl Iterator<Item = &'a str>,
) -> Element {
    let (category, kind, name) = identity;
    let mut text = format!("{category}/{kind}//{name}<");
    let mut features: Vec<_> = features.collect();
    features.sort_unstable();
    for feature in features {
        text.push_str(feature);
        text.push('<');
    }
    let ver = base64::engine::general_purpose::STANDARD.encode(Sha1::digest(text));
    Element::new("c", CAPS).with_attr("hash", "sha-1").with_attr("node", node).with_attr("ver", ver)
}

impl Server {
    /// Asks a client that has just come online what it can do; the answer reaches [`Server::learn_features`].
    pub(super) fn ask_features(&self, jid: &Jid) {
        let question = Element::new("iq", ns::CLIENT)
            .with_attr("type", "get")
            .with_attr("id", format!("{QUESTION}{}", jid.resource().unwrap_or_default()))
            .with_attr("from", jid.domain())
            .with_attr("to", jid.as_str())
            .with_child(Element::new("query", INFO));
        self.send_to(jid, &question);
    }

    /// A client's answer to the server's question.
    pub(super) fn learn_features(&self, stanza: &Stanza) {
        let (Some(from), Some(query)) = (stanza.from(), stanza.child("query", INFO)) else {
            return;
        };
        let features = query
            .elements()
            .filter(|e| e.is("feature", INFO))
            .filter_map(|e| e.attr("var").map(str::to_owned))
            .take(MAX_FEATURES)
            .collect();
        if let Some(resource) = self.sessions().get_mut(from) {
            resource.features = Some(features);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// XEP-0115 section 5.2, the simple example.
    #[test]
    fn the_hash_is_that_of_the_specification() {
        let identity = ("client".into(), "pc".into(), "Exodus 0.9.1".into());
        let features = ["http://jabber.org/protocol/muc", CAPS, INFO, ITEMS];
        let caps = caps_element("n", &identity, features.into_iter());
        assert_eq!(caps.attr("ver"), Some("QgayPKawpkPSDYmwT/WM94uAlu0="));
    }
}
