//! The echo service: `echo@domain` answers every message with the same text and every call with what it hears, so that
//! a newcomer can try an app alone.

use tandem_media::MediaEvent;
use tandem_xmpp::Server;
use tandem_xmpp::jid::Jid;
use tandem_xmpp::service::{Attachment, DeviceKind};
use tandem_xmpp::stanza::{Kind, Stanza};
use tandem_xmpp::xml::{Element, ns};
use tokio::sync::mpsc;

use super::echo_call::{self, EchoCalls};

/// Local part of the echo account.
pub const NAME: &str = "echo";
const RESOURCE: &str = "service";
const RECEIPTS: &str = "urn:xmpp:receipts";

/// Attaches the service to its account.
pub async fn attach(xmpp: &Server, account: &Jid) {
    let Ok(full) = account.with_resource(RESOURCE) else { return };
    let features = ["http://jabber.org/protocol/disco#info", RECEIPTS, "urn:xmpp:ping"];
    let features = features.iter().chain(&echo_call::FEATURES);
    let attachment = Attachment {
        priority: 0,
        show: None,
        status: Some("I answer every message with the same text".into()),
        kind: DeviceKind::new(("client", "bot", "Echo"), features.copied()),
    };
    xmpp.attach(&full, attachment).await;
}

/// What the service is told.
pub enum Event {
    /// A stanza for it.
    Stanza(Box<Stanza>),
    /// Something happened to the media of a call.
    Media(MediaEvent),
}

/// Answers until the queue closes; `random` gives fresh bytes.
pub async fn run(
    xmpp: Server,
    mut calls: EchoCalls,
    mut events: mpsc::Receiver<Event>,
    random: impl Fn() -> [u8; 32],
) {
    while let Some(event) = events.recv().await {
        let answers = match event {
            Event::Stanza(stanza) => {
                let us = stanza.to().and_then(|to| to.bare().with_resource(RESOURCE).ok());
                let mut answers = replies(&stanza);
                if let Some(us) = us {
                    answers.extend(calls.handle(&us, &stanza, random()));
                }
                answers
            }
            Event::Media(event) => calls.handle_media(&event),
        };
        for answer in answers {
            xmpp.inject(answer).await;
        }
    }
    for farewell in calls.stop() {
        xmpp.inject(farewell).await;
    }
}

/// A receipt, if one was asked for, and the text again.
fn replies(message: &Stanza) -> Vec<Element> {
    let (Kind::Message, Some(from), Some(to)) = (message.kind(), message.from(), message.to())
    else {
        return Vec::new();
    };
    if message.type_() == Some("error") {
        return Vec::new();
    }
    let Ok(us) = to.bare().with_resource(RESOURCE) else { return Vec::new() };
    let answer = || {
        Element::new("message", ns::CLIENT)
            .with_attr("type", "chat")
            .with_attr("from", us.as_str())
            .with_attr("to", from.as_str())
    };
    let mut replies = Vec::new();
    if let (Some(id), true) = (message.id(), message.has("request", RECEIPTS)) {
        let received = Element::new("received", RECEIPTS).with_attr("id", id);
        replies.push(answer().with_child(received));
    }
    if let Some(body) = message.body() {
        let body = Element::new("body", ns::CLIENT).with_text(body);
        let id = message.id().map(|id| format!("echo-{id}"));
        replies.push(answer().with_attr_opt("id", id).with_child(body));
    }
    replies
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_comes_back_with_a_receipt_and_errors_are_left_alone() {
        let parse = |text: &'static str| Stanza::parse(text.into()).unwrap();
        let message = parse(
            "<message from='a@d/x' to='echo@d' id='1' type='chat'><body>hi &amp; bye</body>\
             <request xmlns='urn:xmpp:receipts'/></message>",
        );
        let replies = replies(&message);
        assert_eq!(replies.len(), 2);
        assert_eq!(replies[0].child("received", RECEIPTS).unwrap().attr("id"), Some("1"));
        assert_eq!(replies[1].child("body", ns::CLIENT).unwrap().text(), "hi & bye");
        assert_eq!(replies[1].attr("to"), Some("a@d/x"));
        let error =
            parse("<message from='a@d/x' to='echo@d' type='error'><body>x</body></message>");
        assert!(super::replies(&error).is_empty());
    }
}
