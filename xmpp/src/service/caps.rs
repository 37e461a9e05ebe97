//! What an entity is and can do, as one value with its hashes: entity capabilities (XEP-0115, XEP-0390).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha1::{Digest, Sha1};
use sha2::Sha256;

use crate::stanza::data_form::{FORM_TYPE, Field, Form};
use crate::xml::Element;

const INFO: &str = "http://jabber.org/protocol/disco#info";
/// XEP-0115.
pub(super) const CAPS: &str = "http://jabber.org/protocol/caps";
/// XEP-0390.
pub(super) const CAPS2: &str = "urn:xmpp:caps";
const HASHES: &str = "urn:xmpp:hashes:2";
/// A node that names a hash begins with this (XEP-0390 section 4.3).
const HASH_NODE: &str = "urn:xmpp:caps#";

/// Category and type, with a language and a name for people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) category: String,
    pub(super) kind: String,
    pub(super) lang: String,
    pub(super) name: String,
}

impl Identity {
    pub(super) fn new(category: &str, kind: &str) -> Self {
        Self { category: category.into(), kind: kind.into(), ..Self::default() }
    }

    /// With a name in English. The language is said, so that every stream gives the same hash.
    pub(super) fn named(self, name: &str) -> Self {
        Self { lang: "en".into(), name: name.into(), ..self }
    }
}

/// An answer to disco#info (XEP-0030 section 3, XEP-0128).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Info {
    pub(super) identities: Vec<Identity>,
    pub(super) features: Vec<String>,
    pub(super) forms: Vec<Form>,
}

impl Info {
    pub(super) fn new<'a>(identity: Identity, features: impl IntoIterator<Item = &'a str>) -> Self {
        let features = features.into_iter().map(str::to_owned).collect();
        Self { identities: vec![identity], features, forms: Vec::new() }
    }

    /// Reads a `<query/>`. `None` when something is said twice, which no hash may stand for (XEP-0115 section 5.4).
    pub(super) fn from_element(query: &Element) -> Option<Self> {
        let text = |e: &Element, name: &str| e.attr(name).unwrap_or_default().to_owned();
        let mut info = Self::default();
        for e in query.elements() {
            if e.is("identity", INFO) {
                info.identities.push(Identity {
                    category: text(e, "category"),
                    kind: text(e, "type"),
                    lang: text(e, "xml:lang"),
                    name: text(e, "name"),
                });
            } else if e.is("feature", INFO) {
                info.features.push(text(e, "var"));
            }
            info.forms.extend(Form::from_element(e));
        }
        let mut features: Vec<&String> = info.features.iter().collect();
        features.sort_unstable();
        let twice = features.windows(2).any(|pair| pair.first() == pair.last());
        (!twice).then_some(info)
    }

    /// The `<query/>`.
    pub(super) fn to_element(&self) -> Element {
        let some = |text: &String| Some(text.clone()).filter(|t| !t.is_empty());
        let identities = self.identities.iter().map(|identity| {
            Element::new("identity", INFO)
                .with_attr("category", &*identity.category)
                .with_attr("type", &*identity.kind)
                .with_attr_opt("xml:lang", some(&identity.lang))
                .with_attr_opt("name", some(&identity.name))
        });
        let features = self.features.iter();
        Element::new("query", INFO)
            .with_children(identities)
            .with_children(features.map(|f| Element::new("feature", INFO).with_attr("var", &**f)))
            .with_children(self.forms.iter().map(Form::to_element))
    }

    /// The `<c/>` of XEP-0115 section 5.1.
    pub(super) fn caps(&self, node: &str) -> Element {
        Element::new("c", CAPS)
            .with_attr("hash", "sha-1")
            .with_attr("node", node)
            .with_attr("ver", self.ver())
    }

    /// The `<c/>` of XEP-0390.
    pub(super) fn caps2(&self) -> Element {
        let hash = Element::new("hash", HASHES).with_attr("algo", "sha-256");
        Element::new("c", CAPS2).with_child(hash.with_text(self.hash()))
    }

    /// Whether a question for this node is one for what is described here: no node, or a hash that was given out.
    pub(super) fn is_at(&self, node: Option<&str>, caps_node: &str) -> bool {
        let Some(node) = node else { return true };
        if let Some(named) = node.strip_prefix(HASH_NODE) {
            return named.strip_prefix("sha-256.").is_some_and(|hash| hash == self.hash());
        }
        let ver = node.strip_prefix(caps_node).and_then(|rest| rest.strip_prefix('#'));
        ver.is_some_and(|ver| ver == self.ver())
    }

    /// XEP-0115 section 5.1: identities, features, then forms by what they are about; all in order, each closed.
    pub(super) fn ver(&self) -> String {
        let identity = |i: &Identity| format!("{}/{}/{}/{}", i.category, i.kind, i.lang, i.name);
        let mut parts: Vec<String> = sorted(self.identities.iter().map(identity));
        parts.extend(sorted(self.features.iter().cloned()));
        let mut forms: Vec<&Form> = self.forms.iter().collect();
        forms.sort_by_key(|form| form.form_type());
        for form in forms {
            parts.extend(form.form_type().map(str::to_owned));
            let named = form.fields.iter().filter_map(|f| Some((f.var.as_deref()?, f)));
            let mut fields: Vec<(&str, &Field)> = named.filter(|(v, _)| *v != FORM_TYPE).collect();
            fields.sort_by_key(|(var, _)| *var);
            for (var, field) in fields {
                parts.push(var.to_owned());
                parts.extend(sorted(field.values.iter().cloned()));
            }
        }
        let text: String = parts.iter().flat_map(|part| [part.as_str(), "<"]).collect();
        BASE64.encode(Sha1::digest(text))
    }

    /// XEP-0390 section 4.1 with SHA-256.
    pub(super) fn hash(&self) -> String {
        let end = |text: &str| format!("{text}\u{1f}");
        let identity = |i: &Identity| {
            let parts = [&i.category, &i.kind, &i.lang, &i.name];
            parts.map(|part| end(part)).concat() + "\u{1e}"
        };
        let field = |f: &Field| {
            let values = sorted(f.values.iter().map(|v| end(v))).concat();
            end(f.var.as_deref().unwrap_or_default()) + &values + "\u{1e}"
        };
        let form = |f: &Form| sorted(f.fields.iter().map(field)).concat() + "\u{1d}";
        let groups = [
            sorted(self.features.iter().map(|f| end(f))),
            sorted(self.identities.iter().map(identity)),
            sorted(self.forms.iter().map(form)),
        ];
        let text: String = groups.iter().map(|group| group.concat() + "\u{1c}").collect();
        BASE64.encode(Sha256::digest(text))
    }
}

/// In the order of their bytes.
fn sorted(texts: impl Iterator<Item = String>) -> Vec<String> {
    let mut texts: Vec<String> = texts.collect();
    texts.sort_unstable();
    texts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stanza::data_form::{FieldKind, FormKind};

    fn info(identity: Identity, features: &[&str]) -> Info {
        Info::new(identity, features.iter().copied())
    }

    /// XEP-0115 section 5.2, the simple example.
    #[test]
    fn the_hash_is_that_of_the_specification() {
        let mut identity = Identity::new("client", "pc");
        identity.name = "Exodus 0.9.1".into();
        let features = [
            "http://jabber.org/protocol/muc",
            CAPS,
            INFO,
            "http://jabber.org/protocol/disco#items",
        ];
        assert_eq!(info(identity, &features).ver(), "QgayPKawpkPSDYmwT/WM94uAlu0=");
    }

    /// XEP-0115 section 5.3, the example with a form and two names.
    #[test]
    fn the_hash_with_a_form_is_that_of_the_specification() {
        let mut first = Identity::new("client", "pc").named("Psi 0.11");
        first.lang = "en".into();
        let mut second = first.clone();
        (second.lang, second.name) = ("el".into(), "Ψ 0.11".into());
        let features = [
            INFO,
            CAPS,
            "http://jabber.org/protocol/disco#items",
            "http://jabber.org/protocol/muc",
        ];
        let mut described = info(first, &features);
        described.identities.push(second);
        let field = |var: &str, values: &[&str]| {
            Field::new(FieldKind::TextMulti, var).with_values(values.iter().copied())
        };
        let form = Form::about(FormKind::Result, "urn:xmpp:dataforms:softwareinfo")
            .with_field(field("ip_version", &["ipv6", "ipv4"]))
            .with_field(field("os", &["Mac"]))
            .with_field(field("os_version", &["10.5.1"]))
            .with_field(field("software", &["Psi"]))
            .with_field(field("software_version", &["0.11"]));
        described.forms.push(form);
        assert_eq!(described.ver(), "q07IKJEyjvHSyhy//CH0CxmKi8w=");
    }

    /// XEP-0390 section 4.5, the simple example.
    #[test]
    fn the_new_hash_is_that_of_the_specification() {
        let mut identity = Identity::new("client", "mobile");
        identity.name = "BombusMod".into();
        let features = [
            "http://jabber.org/protocol/si",
            "http://jabber.org/protocol/bytestreams",
            "http://jabber.org/protocol/chatstates",
            INFO,
            "http://jabber.org/protocol/disco#items",
            "urn:xmpp:ping",
            "jabber:iq:time",
            "jabber:iq:privacy",
            "jabber:iq:version",
            "http://jabber.org/protocol/rosterx",
            "urn:xmpp:time",
            "jabber:x:oob",
            "http://jabber.org/protocol/ibb",
            "http://jabber.org/protocol/si/profile/file-transfer",
            "urn:xmpp:receipts",
            "jabber:iq:roster",
            "jabber:iq:last",
        ];
        let described = info(identity, &features);
        assert_eq!(described.hash(), "kzBZbkqJ3ADrj7v08reD1qcWUwNGHaidNUgD7nHpiw8=");
    }

    #[test]
    fn only_what_was_given_out_is_a_node() {
        let described = info(Identity::new("server", "im"), &[INFO]);
        let ver = format!("n#{}", described.ver());
        let hash = format!("{HASH_NODE}sha-256.{}", described.hash());
        for (node, expected) in [
            (None, true),
            (Some(ver.as_str()), true),
            (Some(hash.as_str()), true),
            (Some("n#other"), false),
            (Some("n"), false),
            (Some("urn:xmpp:caps#sha-256.other"), false),
            (Some(""), false),
        ] {
            assert_eq!(described.is_at(node, "n"), expected, "{node:?}");
        }
    }
}
