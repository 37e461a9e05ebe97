//! Bind 2 (XEP-0386): a resource, and what goes with it, as part of the login.

use super::csi;
use super::sm::{self, Enable};
use crate::xml::Element;

/// Bind 2.
pub const NS: &str = "urn:xmpp:bind:0";
const CARBONS: &str = "urn:xmpp:carbons:2";

/// What a client wants of its new session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BindRequest {
    /// Begins the resource: a short name of the software.
    pub tag: Option<String>,
    /// Copies of what other devices send and get (XEP-0280).
    pub carbons: bool,
    /// Stream management (XEP-0198).
    pub enable: Option<Enable>,
    /// Nobody looks at the client yet (XEP-0352).
    pub inactive: bool,
}

impl BindRequest {
    /// Reads `<bind/>`.
    pub fn from_element(bind: &Element) -> Self {
        let tag = bind.child("tag", NS).map(|tag| tag.text().trim().to_owned());
        Self {
            tag: tag.filter(|tag| !tag.is_empty()),
            carbons: bind.child("enable", CARBONS).is_some(),
            enable: bind.child("enable", sm::NS).and_then(Enable::from_element),
            inactive: bind.child("inactive", csi::NS).is_some(),
        }
    }
}

/// The feature, with what may be enabled along with it.
pub fn feature() -> Element {
    let features = [CARBONS, csi::NS, sm::NS];
    let features = features.map(|name| Element::new("feature", NS).with_attr("var", name));
    Element::new("bind", NS).with_child(Element::new("inline", NS).with_children(features))
}

/// The answer; `parts` are those of what was enabled.
pub fn bound(parts: impl IntoIterator<Item = Element>) -> Element {
    Element::new("bound", NS).with_children(parts)
}
