//! `[chat]`: what crosses between apps and phones, and how.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `[chat]`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Chat {
    /// What a phone's message is for apps.
    pub message_type: MessageType,
    /// Whether phones are told of reactions.
    pub reactions: bool,
    /// What becomes of a text that is too long for a phone.
    pub long_texts: LongTexts,
    /// Whether phones in rooms are told who comes and goes.
    pub room_events: bool,
    /// Whether `@nick text` from a phone in a room is for that person alone.
    pub room_private: bool,
    /// Messages of a room that a phone hears when it enters by a message session.
    pub room_history: usize,
    /// Addresses under which phones reach rooms, beside their own.
    pub room_numbers: BTreeMap<String, String>,
}

impl Default for Chat {
    fn default() -> Self {
        Self {
            message_type: MessageType::Chat,
            reactions: true,
            long_texts: LongTexts::Link,
            room_events: false,
            room_private: false,
            room_history: 20,
            room_numbers: BTreeMap::new(),
        }
    }
}

/// A type of messages (RFC 6121 section 5.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MessageType {
    /// Part of a conversation, as apps show it best.
    Chat,
    /// As RFC 7572 section 5 has it.
    Normal,
}

impl MessageType {
    /// The attribute's value.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Normal => "normal",
        }
    }
}

/// What becomes of texts over the limit of RFC 3428 section 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LongTexts {
    /// The phone gets the beginning and a link to all of it.
    Link,
    /// The sender gets an error.
    Refuse,
}
