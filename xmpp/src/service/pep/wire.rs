//! How items and notifications are printed: payloads go out byte for byte as they were kept (XEP-0060 section 7.1).

use super::{EVENT, NS, OWNER};
use crate::ports::pubsub::Item;
use crate::xml::{Element, escape, ns};

/// ` name='value'`.
pub(super) fn attribute(out: &mut String, name: &str, value: &str) {
    out.push(' ');
    out.push_str(name);
    out.push_str("='");
    escape(out, value);
    out.push('\'');
}

/// `<item/>` with or without its payload.
pub(super) fn item_text(out: &mut String, item: &Item, with_payload: bool) {
    out.push_str("<item");
    attribute(out, "id", &item.id);
    attribute(out, "publisher", &item.publisher);
    match std::str::from_utf8(&item.payload) {
        Ok(payload) if with_payload && !payload.is_empty() => {
            out.push('>');
            out.push_str(payload);
            out.push_str("</item>");
        }
        _ => out.push_str("/>"),
    }
}

/// Something inside `<pubsub/>`.
pub(super) fn pubsub(inside: &str) -> String {
    format!("<pubsub xmlns='{NS}'>{inside}</pubsub>")
}

/// An element inside `<pubsub/>`.
pub(super) fn pubsub_of(element: &Element) -> String {
    let mut inside = String::new();
    element.print(&mut inside, NS);
    pubsub(&inside)
}

/// An element inside the owner's `<pubsub/>`.
pub(super) fn owner_of(element: &Element) -> String {
    let mut inside = String::new();
    element.print(&mut inside, OWNER);
    format!("<pubsub xmlns='{OWNER}'>{inside}</pubsub>")
}

/// `<event/>` around the items of one node.
pub(super) fn items_event(node: &str, inside: impl FnOnce(&mut String)) -> String {
    let mut out = format!("<event xmlns='{EVENT}'><items");
    attribute(&mut out, "node", node);
    out.push('>');
    inside(&mut out);
    out.push_str("</items></event>");
    out
}

/// The event of one item that is made up on the spot.
pub(in crate::service) fn whole_event(node: &str, id: &str, payload: &Element) -> String {
    items_event(node, |out| {
        out.push_str("<item");
        attribute(out, "id", id);
        out.push('>');
        payload.print(out, EVENT);
        out.push_str("</item>");
    })
}

/// `<event/>` around an element.
pub(super) fn event_of(element: &Element) -> String {
    let mut out = format!("<event xmlns='{EVENT}'>");
    element.print(&mut out, EVENT);
    out.push_str("</event>");
    out
}

/// An element that stands for itself, wherever it is put.
pub(super) fn free_standing(element: &Element) -> bytes::Bytes {
    // No stream has the empty namespace as its default: the element declares its own.
    let mut out = String::with_capacity(256);
    element.print(&mut out, if element.ns().is_empty() { ns::CLIENT } else { "" });
    out.into()
}
