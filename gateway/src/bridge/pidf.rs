//! Presence documents: PIDF with RPID activities (RFC 3863, RFC 4480, RFC 8048 section 6.2).

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tandem_xmpp::service::Show;
use tandem_xmpp::xml::Element;

const PIDF: &str = "urn:ietf:params:xml:ns:pidf";
const DATA_MODEL: &str = "urn:ietf:params:xml:ns:pidf:data-model";
const RPID: &str = "urn:ietf:params:xml:ns:pidf:rpid";

/// One device of the watched account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its resource.
    pub resource: String,
    /// Its sub-state.
    pub show: Option<Show>,
    /// Its status text.
    pub status: Option<String>,
    /// Its priority.
    pub priority: i8,
    /// In a call just now.
    pub on_the_phone: bool,
}

/// The document for `entity`, a `sip:` URI. Phones often read the first tuple only, so the most available comes first.
pub fn build(entity: &str, devices: &[Device], stamp: &str) -> Bytes {
    let mut devices: Vec<&Device> = devices.iter().collect();
    devices.sort_by_key(|d| (availability(d), -i16::from(d.priority)));
    let mut document = Element::new("presence", PIDF).with_attr("entity", entity);
    for device in &devices {
        document.push(tuple(entity, device, stamp));
    }
    if devices.is_empty() {
        let closed = Element::new("basic", PIDF).with_text("closed");
        let tuple = Element::new("tuple", PIDF)
            .with_attr("id", "ID-none")
            .with_child(Element::new("status", PIDF).with_child(closed));
        document.push(tuple);
    }
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n");
    document.print(&mut text, "");
    if let Some(activity) = devices.first().and_then(|d| activity(d))
        && let Some(end) = text.rfind("</")
    {
        // With the prefixes of the RFC's own examples: some phones look for the text `<rpid:on-the-phone/>`.
        let person = format!(
            "<dm:person xmlns:dm='{DATA_MODEL}' xmlns:rpid='{RPID}' id='p1'><rpid:activities>\
             <rpid:{activity}/></rpid:activities></dm:person>"
        );
        text.insert_str(end, &person);
    }
    text.into()
}

/// Order inside: status, contact, note, timestamp (RFC 3863 section 4.1.2).
fn tuple(entity: &str, device: &Device, stamp: &str) -> Element {
    let mut status =
        Element::new("status", PIDF).with_child(Element::new("basic", PIDF).with_text("open"));
    if let Some(show) = device.show {
        status.push(Element::new("show", "jabber:client").with_text(show.name()));
    }
    let mut contact = Element::new("contact", PIDF).with_text(entity);
    if device.priority >= 0 {
        let steps = (f64::from(device.priority) / 127.0 * 1000.0).round() / 1000.0;
        contact.set_attr("priority", steps.to_string());
    }
    let mut tuple = Element::new("tuple", PIDF)
        .with_attr("id", tuple_id(&device.resource))
        .with_child(status)
        .with_child(contact);
    if let Some(note) = &device.status {
        tuple.push(Element::new("note", PIDF).with_text(note));
    }
    tuple.with_child(Element::new("timestamp", PIDF).with_text(stamp))
}

/// An xs:ID: the resource where it is one, else its hash (RFC 8048 section 6.2 note 2).
fn tuple_id(resource: &str) -> String {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !resource.is_empty() && resource.chars().all(legal) {
        return format!("ID-{resource}");
    }
    format!("ID-{}", short_hash(resource))
}

/// A name for a text that tells nothing of it: 16 hex digits.
pub fn short_hash(text: &str) -> String {
    Sha256::digest(text).iter().take(8).map(|b| format!("{b:02x}")).collect()
}

fn availability(device: &Device) -> u8 {
    match device.show {
        _ if device.on_the_phone => 4,
        Some(Show::Chat) => 0,
        None => 1,
        Some(Show::Away) => 2,
        Some(Show::Xa) => 3,
        Some(Show::Dnd) => 4,
    }
}

fn activity(device: &Device) -> Option<&'static str> {
    match device.show {
        _ if device.on_the_phone => Some("on-the-phone"),
        Some(Show::Away | Show::Xa) => Some("away"),
        Some(Show::Dnd) => Some("busy"),
        Some(Show::Chat) | None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(resource: &str, show: Option<Show>, priority: i8) -> Device {
        Device { resource: resource.into(), show, status: None, priority, on_the_phone: false }
    }

    fn parse(bytes: &Bytes) -> Element {
        let text = std::str::from_utf8(bytes).unwrap();
        Element::parse(text.split_once("?>").unwrap().1.trim().as_bytes()).unwrap()
    }

    #[test]
    fn the_most_available_device_comes_first_and_names_the_activity() {
        let mut busy = device("phone", None, 0);
        busy.on_the_phone = true;
        let devices = [device("b", Some(Show::Dnd), 5), device("a", Some(Show::Away), 50), busy];
        let document = parse(&build("sip:ana@d", &devices, "2026-01-05T12:00:00Z"));
        assert_eq!(document.attr("entity"), Some("sip:ana@d"));
        let ids: Vec<_> = document.elements().filter_map(|e| e.attr("id")).collect();
        assert_eq!(ids, ["ID-a", "ID-b", "ID-phone", "p1"]);
        let tuple = document.child("tuple", PIDF).unwrap();
        assert_eq!(tuple.child("contact", PIDF).unwrap().attr("priority"), Some("0.394"));
        let stamp = tuple.child("timestamp", PIDF).unwrap().text();
        assert_eq!(stamp, "2026-01-05T12:00:00Z");
        let names: Vec<_> = tuple.elements().map(Element::name).collect();
        assert_eq!(names, ["status", "contact", "timestamp"]);
        let person = document.child("person", DATA_MODEL).unwrap();
        assert!(person.child("activities", RPID).unwrap().child("away", RPID).is_some());
    }

    #[test]
    fn nobody_there_is_closed_and_a_call_shows() {
        let document = parse(&build("sip:ana@d", &[], "t"));
        let status = document.child("tuple", PIDF).unwrap().child("status", PIDF).unwrap();
        assert_eq!(status.child("basic", PIDF).unwrap().text(), "closed");
        let mut phone = device("x y", Some(Show::Dnd), 0);
        phone.on_the_phone = true;
        let document = parse(&build("sip:ana@d", &[phone], "t"));
        let person = document.child("person", DATA_MODEL).unwrap();
        assert!(person.child("activities", RPID).unwrap().child("on-the-phone", RPID).is_some());
        assert!(document.child("tuple", PIDF).unwrap().attr("id").unwrap().len() == 19);
    }
}
