//! Lists of resources (RFC 4662): many watched by one subscription, told in one NOTIFY.

use super::events::Document;
use super::markup::{attribute, escaped};
use crate::msg::{Multipart, Part};

/// The types that a watcher of a list has to take (section 4.3).
pub(super) const RLMI: &str = "application/rlmi+xml";
pub(super) const RELATED: &str = "multipart/related";
/// The extension that says so.
pub(super) const EVENT_LIST: &str = "eventlist";

/// How the subscription behind one resource stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instance {
    /// Nobody has said yet whether it may be seen.
    Pending,
    /// Its state.
    Active(Document),
    /// It is not, or no longer, to be seen, for this reason (RFC 6665 section 4.1.3).
    Terminated(&'static str),
}

/// One resource of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// Its address.
    pub uri: String,
    /// How the user calls it.
    pub name: Option<String>,
    /// What is known of it.
    pub instance: Instance,
}

/// All resources of the list `uri` with their state. Parts are numbered 0: a list has one version, its own.
pub fn document(uri: &str, resources: &[Resource]) -> Document {
    let before = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n\
                  <list xmlns=\"urn:ietf:params:xml:ns:rlmi\" version=\"";
    let mut after = format!("\" uri=\"{}\" fullState=\"true\">", escaped(uri));
    let mut states = Vec::new();
    for (number, resource) in resources.iter().enumerate() {
        after.push_str(&format!("<resource uri=\"{}\">", escaped(&resource.uri)));
        if let Some(name) = &resource.name {
            after.push_str(&format!("<name>{}</name>", escaped(name)));
        }
        let (state, cid, reason) = match &resource.instance {
            Instance::Pending => ("pending", None, None),
            Instance::Active(document) => {
                let cid = format!("state-{number}@list.invalid");
                let mut part = Part::new(&document.media, document.numbered(0));
                part.headers.push("Content-Transfer-Encoding", "binary");
                part.headers.push("Content-ID", format!("<{cid}>"));
                states.push(part);
                ("active", Some(cid), None)
            }
            Instance::Terminated(reason) => ("terminated", None, Some(*reason)),
        };
        after.push_str(&format!(
            "<instance id=\"1\" state=\"{state}\"{}{}/></resource>",
            attribute("reason", reason),
            attribute("cid", cid.as_deref())
        ));
    }
    after.push_str("</list>");
    let mut root =
        Part::new(&format!("{RLMI};charset=\"UTF-8\""), [before, &after].concat().into());
    root.headers.push("Content-Transfer-Encoding", "binary");
    root.headers.push("Content-ID", "<list@list.invalid>");
    let mut parts = vec![root];
    parts.append(&mut states);
    let (body, boundary) = Multipart { parts }.to_bytes("list");
    // The number goes into the first part, which is the only one with this beginning before it.
    let at = memchr::memmem::find(&body, before.as_bytes()).map(|at| at + before.len());
    let media =
        format!("{RELATED};type=\"{RLMI}\";start=\"<list@list.invalid>\";boundary=\"{boundary}\"");
    Document { media, body, version_at: at }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::msg::Header;
    use crate::msg::header::ContentType;

    #[test]
    fn a_list_tells_each_resource_and_brings_the_state_of_those_who_may_be_seen() {
        let state = Document::new("application/pidf+xml", "--list\r\n<presence/>");
        let resource = |uri: &str, instance| Resource {
            uri: uri.into(),
            name: Some("A & B".into()),
            instance,
        };
        let list = document(
            "sip:contacts@d",
            &[
                resource("sip:bob@d", Instance::Active(state)),
                resource("sip:carl@d", Instance::Pending),
                resource("sip:dora@d", Instance::Terminated("rejected")),
            ],
        );
        let kind = ContentType::parse(&list.media).unwrap();
        let parts = Multipart::parse(&kind, &list.numbered(5)).unwrap().parts;
        assert_eq!(parts.len(), 2);
        assert_eq!(parts[0].content_type().media, RLMI);
        let text = std::str::from_utf8(&parts[0].body).unwrap();
        let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n\
            <list xmlns=\"urn:ietf:params:xml:ns:rlmi\" version=\"5\" uri=\"sip:contacts@d\" fullState=\"true\">\
            <resource uri=\"sip:bob@d\"><name>A &amp; B</name>\
            <instance id=\"1\" state=\"active\" cid=\"state-0@list.invalid\"/></resource>\
            <resource uri=\"sip:carl@d\"><name>A &amp; B</name><instance id=\"1\" state=\"pending\"/></resource>\
            <resource uri=\"sip:dora@d\"><name>A &amp; B</name>\
            <instance id=\"1\" state=\"terminated\" reason=\"rejected\"/></resource></list>";
        assert_eq!(text, expected);
        assert_eq!(parts[1].headers.get("Content-ID"), Some("<state-0@list.invalid>"));
        assert_eq!(&parts[1].body[..], b"--list\r\n<presence/>");
        assert_eq!(kind.params.get_unquoted("start").as_deref(), Some("<list@list.invalid>"));
    }

    #[test]
    fn a_list_of_nobody_is_a_list() {
        let list = document("sip:contacts@d", &[]);
        let kind = ContentType::parse(&list.media).unwrap();
        assert_eq!(Multipart::parse(&kind, &list.numbered(0)).unwrap().parts.len(), 1);
    }
}
