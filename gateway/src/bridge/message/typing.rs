//! Who types (RFC 3994, XEP-0085; `interop.md` 3.3): the machines of every conversation, and the task that wakes them.

use std::collections::HashMap;
use std::time::Instant;

use tandem_sip::ports::{IncomingMessage, MessageReply};
use tandem_xmpp::jid::Jid;
use tandem_xmpp::stanza::chat_states::ChatState;
use tandem_xmpp::xml::Element;

use super::{Chat, Letter, message_from, request};
use crate::bridge::iscomposing::{CONTENT_TYPE, FromPhone, IsComposing, ToPhone};

const HINTS: &str = "urn:xmpp:hints";
/// Conversations whose typing is followed; more are not told who types.
const MAX_FOLLOWED: usize = 10_000;

/// The conversations in which somebody types, by phone and the other party.
#[derive(Default)]
pub(super) struct Typing {
    from_phone: HashMap<(Jid, Jid), FromPhone>,
    to_phone: HashMap<(Jid, Jid), ToPhone>,
}

impl Typing {
    /// A text for phones says by itself that its writer has done.
    pub(super) fn sent(&mut self, letter: &Letter) {
        let Some(from) = letter.stanza.from() else { return };
        for (device, _) in &letter.devices {
            if let Some(typing) = self.to_phone.get_mut(&(device.clone(), from.clone())) {
                typing.handle_content();
            }
        }
        self.tidy();
    }

    /// So does one from a phone.
    pub(super) fn received(&mut self, from: &Jid, to: &Jid) {
        if let Some(typing) = self.from_phone.get_mut(&(from.clone(), to.clone())) {
            typing.handle_content();
        }
        self.tidy();
    }

    fn next(&self) -> Option<Instant> {
        let from = self.from_phone.values().filter_map(FromPhone::poll_timeout);
        from.chain(self.to_phone.values().filter_map(ToPhone::poll_timeout)).min()
    }

    /// Forgets conversations in which nobody types; a phone's refusal is kept by its binding.
    fn tidy(&mut self) {
        self.from_phone.retain(|_, typing| typing.poll_timeout().is_some());
        self.to_phone.retain(|_, typing| typing.poll_timeout().is_some());
    }
}

impl Chat {
    /// Typing, for phones that have shown that they know it (RFC 3994 section 4).
    pub(super) async fn send_typing(&self, letter: &Letter) {
        let state = letter.stanza.element().ok().and_then(|e| ChatState::from_message(&e));
        let (Some(state), Some(from)) = (state, letter.stanza.from()) else { return };
        for (device, binding) in &letter.devices {
            let said = {
                let mut all = self.state();
                let key = (device.clone(), from.clone());
                let is_new = !all.typing.to_phone.contains_key(&key);
                let is_full = is_new && all.typing.to_phone.len() >= MAX_FOLLOWED;
                if is_full || !all.speaks_composing.contains(&binding.id) {
                    continue;
                }
                let typing = all.typing.to_phone.entry(key).or_default();
                let said = typing.handle_state(state, Instant::now());
                all.typing.tidy();
                said
            };
            if let Some(said) = said {
                self.tell_typing(device, from, &said).await;
            }
        }
        self.0.changed.notify_waiters();
    }

    async fn tell_typing(&self, device: &Jid, from: &Jid, said: &IsComposing) {
        let Some(binding) = self.0.contacts.binding(device) else { return };
        let Some(message) = request(from, &binding, CONTENT_TYPE, said.print()) else { return };
        if self.0.sip.message(message).await.is_ok_and(|result| result.status == 415) {
            let mut state = self.state();
            state.speaks_composing.remove(&binding.id);
            state.typing.to_phone.remove(&(device.clone(), from.clone()));
        }
    }

    /// A phone says that its owner types, or has stopped.
    pub(super) async fn typing_from_phone(
        &self,
        message: &IncomingMessage,
        from: &Jid,
        to: &Jid,
        body: &[u8],
    ) -> MessageReply {
        let Some(said) = IsComposing::parse(body) else { return MessageReply::new(400) };
        let state = {
            let mut all = self.state();
            if let Some(binding) = &message.binding {
                all.speaks_composing.insert(binding.clone());
            }
            let key = (from.clone(), to.clone());
            let is_new = !all.typing.from_phone.contains_key(&key);
            if is_new && all.typing.from_phone.len() >= MAX_FOLLOWED {
                return MessageReply::new(200);
            }
            let typing = all.typing.from_phone.entry(key).or_default();
            let state = typing.handle_state(&said, Instant::now());
            all.typing.tidy();
            state
        };
        if let Some(state) = state {
            self.say_typing(from, to, state).await;
        }
        self.0.changed.notify_waiters();
        MessageReply::new(200)
    }

    pub(super) async fn say_typing(&self, from: &Jid, to: &Jid, state: ChatState) {
        let stanza = message_from(from, to)
            .with_child(state.to_element())
            .with_child(Element::new("no-store", HINTS));
        self.0.xmpp.inject(stanza).await;
    }

    /// Wakes the machines when their time has come: repeats towards phones, silence from them.
    pub(super) async fn keep_typing(self) {
        loop {
            let changed = self.0.changed.notified();
            let next = self.state().typing.next();
            tokio::select! {
                () = changed => {}
                () = sleep_until(next) => self.typing_due(Instant::now()).await,
            }
        }
    }

    async fn typing_due(&self, now: Instant) {
        let (lapsed, repeats) = {
            let mut state = self.state();
            let typing = &mut state.typing;
            let lapsed: Vec<_> = typing
                .from_phone
                .iter_mut()
                .filter_map(|(key, t)| Some((key.clone(), t.handle_timeout(now)?)))
                .collect();
            let repeats: Vec<_> = typing
                .to_phone
                .iter_mut()
                .filter_map(|(key, t)| Some((key.clone(), t.handle_timeout(now)?)))
                .collect();
            typing.tidy();
            (lapsed, repeats)
        };
        for ((phone, peer), state) in lapsed {
            self.say_typing(&phone, &peer, state).await;
        }
        for ((phone, peer), said) in repeats {
            self.tell_typing(&phone, &peer, &said).await;
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
