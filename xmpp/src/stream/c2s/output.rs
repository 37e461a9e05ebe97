//! How what is said looks on each transport (RFC 6120 section 4.7, RFC 7395 section 3.3).

use bytes::Bytes;

use super::{Action, C2s, FRAMING, State, Transport};
use crate::xml::token::{Attributes, Token, Tokens};
use crate::xml::{Element, ns};

impl C2s {
    /// Makes a routed stanza fit for this stream: over WebSocket each declares its namespace (RFC 7395 section 3.3.3).
    pub fn frame(&self, stanza: Bytes) -> Bytes {
        if self.transport != Transport::WebSocket {
            return stanza;
        }
        let first = Tokens::new(&stanza).and_then(|mut tokens| tokens.next_token());
        let Ok(Some(Token::Start { name, attributes, .. })) = first else { return stanza };
        if Attributes::new(attributes).any(|a| a.is_ok_and(|(name, _)| name == "xmlns")) {
            return stanza;
        }
        let text = std::str::from_utf8(&stanza).unwrap_or_default();
        let (name, rest) = text.split_at_checked(1 + name.len()).unwrap_or((text, ""));
        format!("{name} xmlns='{}'{rest}", ns::CLIENT).into()
    }

    pub(super) fn send_header(&mut self) {
        self.header_sent = true;
        let id = self.ids.next_id();
        let header = match self.transport {
            Transport::WebSocket => Element::new("open", FRAMING)
                .with_attr("from", self.domain.as_str())
                .with_attr("id", id)
                .with_attr("version", "1.0")
                .with_attr("xml:lang", "en")
                .to_bytes_in(""),
            _ => Bytes::from(format!(
                "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
                 xmlns:stream='http://etherx.jabber.org/streams' from='{}' id='{id}' \
                 version='1.0' xml:lang='en'>",
                self.domain
            )),
        };
        self.actions.push_back(Action::Send(header));
    }

    /// Every element of a WebSocket stands for itself, so the prefix is declared there (RFC 7395 section 3.3.3).
    pub(super) fn send_stream_element(&mut self, element: &Element) {
        let text = self.stream_element(element);
        self.actions.push_back(Action::Send(text.into()));
    }

    pub(super) fn stream_element(&self, element: &Element) -> String {
        let mut text = String::new();
        element.print(&mut text, ns::CLIENT);
        if self.transport == Transport::WebSocket {
            let declared = format!("<stream:{} xmlns:stream='{}'", element.name(), ns::STREAM);
            text = text.replacen(&format!("<stream:{}", element.name()), &declared, 1);
        }
        text
    }

    /// Says something of the negotiation, or a stanza once bound.
    pub(super) fn send(&mut self, element: &Element) {
        if matches!(self.state, State::Bound) && element.ns() == ns::CLIENT {
            return self.actions.push_back(Action::Reply(element.to_bytes()));
        }
        self.send_now(element);
    }

    pub(super) fn send_now(&mut self, element: &Element) {
        let bytes = match self.transport {
            Transport::WebSocket => element.to_bytes_in(""),
            _ => element.to_bytes(),
        };
        self.actions.push_back(Action::Send(bytes));
    }
}
