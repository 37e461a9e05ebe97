//! Slots for files (XEP-0363 version 1.2): who may store what, asked over XMPP; the bytes travel over HTTPS.
//!
//! The service is at its own name beside the domain. It serves the accounts of this server and nobody else. Purposes
//! (section 5.1) other than messages are not told apart.

use super::{Outcome, Server, disco};
use crate::jid::Jid;
use crate::ports::{FileOffer, Slot, SlotRefusal};
use crate::router::Place;
use crate::stanza::{Condition, Stanza, StanzaError};
use crate::xml::{Element, ns};

/// The namespace.
pub(super) const NS: &str = "urn:xmpp:http:upload:0";
const DATA: &str = "jabber:x:data";
/// Bytes of a file name; more is no name a file system takes.
const MAX_NAME: usize = 255;
/// Bytes of a media type (RFC 6838 section 4.2 gives each half 127).
const MAX_TYPE: usize = 255;

impl Server {
    /// A request to the upload service.
    pub(super) async fn answer_upload(&self, stanza: &Stanza, from: &Jid) -> Outcome {
        let Some(uploads) = self.0.ports.uploads.as_deref() else {
            return self.bounce(stanza, StanzaError::new(Condition::ServiceUnavailable));
        };
        let get = stanza.type_() == Some("get");
        if get && stanza.has("query", disco::INFO) {
            return self.reply(stanza, Some(info(uploads.max_bytes())));
        }
        if get && stanza.has("query", disco::ITEMS) {
            return self.reply(stanza, Some(Element::new("query", disco::ITEMS)));
        }
        if get && stanza.has("ping", "urn:xmpp:ping") {
            return self.reply(stanza, None);
        }
        let Some(request) = stanza.child("request", NS).filter(|_| get) else {
            return self.bounce(stanza, StanzaError::new(Condition::ServiceUnavailable));
        };
        // Section 4: what others may do is ours to say; files of strangers we keep none.
        if self.place(from) != Place::Account || self.sessions().get(from).is_none() {
            let error = StanzaError::new(Condition::Forbidden)
                .with_text("only accounts of this server may upload");
            return self.bounce(stanza, error);
        }
        let offer = match offer(&request) {
            Ok(offer) => offer,
            Err(error) => return self.bounce(stanza, error),
        };
        match uploads.reserve(&from.bare(), &offer).await {
            Ok(slot) => self.reply(stanza, Some(describe(&slot))),
            Err(SlotRefusal::Store(error)) => self.store_failed(stanza, &error),
            Err(refusal) => self.refuse_slot(stanza, from, &request, &refusal),
        }
    }

    /// The error with its reason in it, and the request beside it (section 6).
    fn refuse_slot(
        &self,
        stanza: &Stanza,
        from: &Jid,
        request: &Element,
        refusal: &SlotRefusal,
    ) -> Outcome {
        let (error, detail) = match refusal {
            SlotRefusal::TooLarge { max } => {
                let text = format!("the largest file that is taken has {max} bytes");
                let max = Element::new("max-file-size", NS).with_text(max.to_string());
                let detail = Element::new("file-too-large", NS).with_child(max);
                (StanzaError::new(Condition::NotAcceptable).with_text(text), Some(detail))
            }
            SlotRefusal::NotAcceptable(text) => {
                (StanzaError::new(Condition::NotAcceptable).with_text(*text), None)
            }
            SlotRefusal::Quota { text, retry } => {
                let detail = retry
                    .as_ref()
                    .map(|stamp| Element::new("retry", NS).with_attr("stamp", stamp.as_str()));
                (StanzaError::new(Condition::ResourceConstraint).with_text(*text), detail)
            }
            SlotRefusal::Store(_) => (StanzaError::new(Condition::InternalServerError), None),
        };
        let reply = Element::new("iq", ns::CLIENT)
            .with_attr("type", "error")
            .with_attr_opt("id", stanza.id())
            .with_attr_opt("from", stanza.to().map(Jid::as_str))
            .with_attr("to", from.as_str())
            .with_child(request.clone())
            .with_child(error.to_element().with_children(detail));
        self.send_to(from, &reply);
        Outcome::Refused(error)
    }
}

/// The service's description with its bound (section 4, XEP-0128).
fn info(max: u64) -> Element {
    let field = |var: &str, value: &str| {
        Element::new("field", DATA)
            .with_attr("var", var)
            .with_child(Element::new("value", DATA).with_text(value))
    };
    let form = Element::new("x", DATA)
        .with_attr("type", "result")
        .with_child(field("FORM_TYPE", NS).with_attr("type", "hidden"))
        .with_child(field("max-file-size", &max.to_string()));
    let identity = Element::new("identity", disco::INFO)
        .with_attr("category", "store")
        .with_attr("type", "file")
        .with_attr("name", "Files");
    let feature = |var: &str| Element::new("feature", disco::INFO).with_attr("var", var);
    Element::new("query", disco::INFO)
        .with_child(identity)
        .with_children([disco::INFO, disco::ITEMS, NS, "urn:xmpp:ping"].map(feature))
        .with_child(form)
}

/// Reads a request (section 5).
fn offer(request: &Element) -> Result<FileOffer, StanzaError> {
    let bad = |text: &str| StanzaError::new(Condition::BadRequest).with_text(text);
    let name = request.attr("filename").filter(|n| !n.is_empty());
    let name = name.ok_or_else(|| bad("a filename is needed"))?;
    if name.len() > MAX_NAME {
        return Err(StanzaError::new(Condition::NotAcceptable).with_text("the name is too long"));
    }
    let size = request.attr("size").and_then(|s| s.parse().ok()).filter(|size| *size > 0);
    let size = size.ok_or_else(|| bad("a size in bytes is needed"))?;
    let content_type = match request.attr("content-type").filter(|t| !t.is_empty()) {
        Some(text) => Some(media_type(text).ok_or_else(|| bad("no media type"))?),
        None => None,
    };
    Ok(FileOffer { name: name.to_owned(), size, content_type })
}

/// A media type (RFC 6838 section 4.2) in lower case, without parameters but a charset.
fn media_type(text: &str) -> Option<String> {
    let text = text.trim().to_ascii_lowercase();
    let (kind, parameters) = text.split_once(';').unwrap_or((&text, ""));
    let token = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
    };
    let (main, sub) = kind.trim().split_once('/')?;
    if text.len() > MAX_TYPE || !token(main) || !token(sub) {
        return None;
    }
    let charset = parameters.split(';').find_map(|p| p.trim().strip_prefix("charset="));
    let charset = charset.map(|c| c.trim_matches('"')).filter(|c| token(c));
    Some(match charset {
        Some(charset) => format!("{main}/{sub}; charset={charset}"),
        None => format!("{main}/{sub}"),
    })
}

/// The answer to a request.
fn describe(slot: &Slot) -> Element {
    let url = |name: &str, url: &str| Element::new(name, NS).with_attr("url", url);
    Element::new("slot", NS).with_child(url("put", &slot.put)).with_child(url("get", &slot.get))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_type_is_read_strictly() {
        for (text, read) in [
            ("image/JPEG", Some("image/jpeg")),
            ("text/plain; charset=UTF-8", Some("text/plain; charset=utf-8")),
            ("text/plain; charset=\"utf-8\"; x=y", Some("text/plain; charset=utf-8")),
            ("audio/ogg; codecs=opus", Some("audio/ogg")),
            ("image", None),
            ("image/", None),
            ("image/x\r\nSet-Cookie: a", None),
            ("a b/c", None),
        ] {
            assert_eq!(media_type(text).as_deref(), read, "{text}");
        }
    }
}
