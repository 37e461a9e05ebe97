//! Slots for files (XEP-0363 version 1.2): who may store what, asked over XMPP; the bytes travel over HTTPS.
//!
//! The service is at its own name beside the domain. It serves the accounts of this server and nobody else. Purposes
//! (section 5.1) other than messages are not told apart.

use super::caps::{Identity, Info};
use super::{Outcome, Server, disco};
use crate::jid::Jid;
use crate::ports::{FileOffer, Slot, SlotRefusal};
use crate::router::Place;
use crate::stanza::data_form::{Field, FieldKind, Form, FormKind};
use crate::stanza::{Condition, Stanza, StanzaError};
use crate::xml::Element;

/// The namespace.
pub(super) const NS: &str = "urn:xmpp:http:upload:0";
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
        for (name, is_info) in [(disco::INFO, true), (disco::ITEMS, false)] {
            let Some(query) = stanza.child("query", name).filter(|_| get) else { continue };
            let node = query.attr("node");
            return match (is_info, node) {
                (true, node) => self.describe(stanza, &info(uploads.max_bytes()), node, ""),
                (false, None) => self.reply(stanza, Some(Element::new("query", disco::ITEMS))),
                (false, Some(_)) => self.bounce(stanza, StanzaError::new(Condition::ItemNotFound)),
            };
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
            Err(refusal) => self.bounce(stanza, refusal_error(refusal)),
        }
    }
}

/// The error with its reason in it (section 6).
fn refusal_error(refusal: SlotRefusal) -> StanzaError {
    match refusal {
        SlotRefusal::TooLarge { max } => {
            let bound = Element::new("max-file-size", NS).with_text(max.to_string());
            StanzaError::new(Condition::NotAcceptable)
                .with_text(format!("the largest file that is taken has {max} bytes"))
                .with_detail(Element::new("file-too-large", NS).with_child(bound))
        }
        SlotRefusal::NotAcceptable(text) => {
            StanzaError::new(Condition::NotAcceptable).with_text(text)
        }
        SlotRefusal::Quota { text, retry } => {
            let error = StanzaError::new(Condition::ResourceConstraint).with_text(text);
            match retry {
                Some(stamp) => {
                    error.with_detail(Element::new("retry", NS).with_attr("stamp", stamp))
                }
                None => error,
            }
        }
        SlotRefusal::Store(_) => StanzaError::new(Condition::InternalServerError),
    }
}

/// The service's description with its bound (section 4, XEP-0128).
fn info(max: u64) -> Info {
    let features = [disco::INFO, disco::ITEMS, NS, "urn:xmpp:ping"];
    let mut info = Info::new(Identity::new("store", "file").named("Files"), features);
    let mut form = Form::about(FormKind::Result, NS);
    form.fields
        .push(Field::new(FieldKind::TextSingle, "max-file-size").with_values([max.to_string()]));
    info.forms.push(form);
    info
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
