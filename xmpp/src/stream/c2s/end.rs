//! How a client's stream ends (RFC 6120 sections 4.4 and 4.9).

use super::{Action, C2s, FRAMING, State, Transport};
use crate::stream::sm;
use crate::xml::{Element, ns};

impl C2s {
    /// Ends the stream with an error, for instance `conflict` or `system-shutdown`.
    pub fn fail(&mut self, condition: &str, text: &str) {
        self.fail_with(condition, text, None, false);
    }

    pub(super) fn fail_with(
        &mut self,
        condition: &str,
        text: &str,
        application: Option<Element>,
        resumable: bool,
    ) {
        if matches!(self.state, State::Closed) {
            return;
        }
        // RFC 6120 section 4.9.1.3: the header goes out before the error.
        if !self.header_sent {
            self.send_header();
        }
        let error = Element::new("error", ns::STREAM)
            .with_child(Element::new(condition, ns::STREAMS))
            .with_child(Element::new("text", ns::STREAMS).with_text(text))
            .with_children(application);
        let error = self.stream_element(&error);
        self.close_with(error, resumable);
    }

    pub(super) fn close(&mut self) {
        self.close_with(String::new(), false);
    }

    pub(super) fn close_with(&mut self, mut last: String, resumable: bool) {
        if matches!(self.state, State::Closed) {
            return;
        }
        // Over WebSocket each is a message of its own (RFC 7395 section 3.3).
        if self.transport == Transport::WebSocket {
            if !last.is_empty() {
                self.actions.push_back(Action::Send(std::mem::take(&mut last).into()));
            }
            Element::new("close", FRAMING).print(&mut last, "");
        } else {
            last.push_str("</stream:stream>");
        }
        self.actions.push_back(Action::Close { last: last.into(), resumable });
        self.state = State::Closed;
        self.deadline = None;
    }

    /// Ends the stream of a client that acknowledged what it was never sent (XEP-0198 section 6).
    pub fn fail_too_high(&mut self, error: sm::TooHigh) {
        self.fail_with("undefined-condition", &error.to_string(), Some(error.to_element()), false);
    }
}
