//! Corrections (XEP-0308) and retractions (XEP-0424) of what a phone has not been given yet (`interop.md` 3.5): the
//! first version is never seen.

use tandem_xmpp::jid::Jid;
use tandem_xmpp::stanza::Stanza;

const CORRECTION: &str = "urn:xmpp:message-correct:0";
const RETRACTIONS: [&str; 2] = ["urn:xmpp:message-retract:1", "urn:xmpp:message-retract:0"];

/// What a message does to an earlier one of its sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Edit {
    /// Stands in the place of the one with this id.
    Replace(String),
    /// Takes that one back.
    Retract(String),
}

impl Edit {
    pub(super) fn of(stanza: &Stanza) -> Option<Self> {
        if let Some(replace) = stanza.child("replace", CORRECTION) {
            return replace.attr("id").map(|id| Self::Replace(id.to_owned()));
        }
        let retract = RETRACTIONS.iter().find_map(|ns| stanza.child("retract", ns))?;
        retract.attr("id").map(|id| Self::Retract(id.to_owned()))
    }

    /// The id of the message that it is about.
    pub(super) fn id(&self) -> &str {
        match self {
            Self::Replace(id) | Self::Retract(id) => id,
        }
    }
}

/// A message that waits for a phone.
#[derive(Debug)]
pub(super) struct Pending<T> {
    /// What is behind it: itself, and what edited it.
    pub(super) parts: Vec<T>,
    /// As the phone is to get it; `None`: it was taken back.
    pub(super) stanza: Option<Stanza>,
    /// Its first id, by which edits name it.
    id: Option<String>,
    sender: Option<Jid>,
    /// The text is a later version than the first.
    pub(super) edited: bool,
}

impl<T> Pending<T> {
    pub(super) fn new(stanza: Stanza, part: T) -> Self {
        Self {
            parts: vec![part],
            id: stanza.id().map(str::to_owned),
            sender: stanza.from().map(Jid::bare),
            stanza: Some(stanza),
            edited: false,
        }
    }

    fn is_meant_by(&self, edit: &Edit, editor: Option<&Jid>) -> bool {
        self.id.as_deref() == Some(edit.id())
            && self.stanza.is_some()
            && self.sender == editor.map(Jid::bare)
    }
}

/// Adds a message behind the others, or edits the one of them that it is about.
pub(super) fn enqueue<T>(queue: &mut impl Queue<T>, stanza: Stanza, part: T) {
    let edit = Edit::of(&stanza);
    let meant = edit
        .as_ref()
        .and_then(|edit| queue.items().find(|pending| pending.is_meant_by(edit, stanza.from())));
    match (meant, edit) {
        (Some(meant), Some(Edit::Replace(_))) => {
            meant.stanza = Some(stanza);
            meant.edited = true;
            meant.parts.push(part);
        }
        (Some(meant), Some(Edit::Retract(_))) => {
            meant.stanza = None;
            meant.parts.push(part);
        }
        _ => queue.push(Pending::new(stanza, part)),
    }
}

/// What messages wait in.
pub(super) trait Queue<T> {
    fn items<'a>(&'a mut self) -> impl Iterator<Item = &'a mut Pending<T>>
    where
        T: 'a;
    fn push(&mut self, pending: Pending<T>);
}

impl<T> Queue<T> for Vec<Pending<T>> {
    fn items<'a>(&'a mut self) -> impl Iterator<Item = &'a mut Pending<T>>
    where
        T: 'a,
    {
        self.iter_mut()
    }

    fn push(&mut self, pending: Pending<T>) {
        Vec::push(self, pending);
    }
}

impl<T> Queue<T> for std::collections::VecDeque<Pending<T>> {
    fn items<'a>(&'a mut self) -> impl Iterator<Item = &'a mut Pending<T>>
    where
        T: 'a,
    {
        self.iter_mut()
    }

    fn push(&mut self, pending: Pending<T>) {
        self.push_back(pending);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stanza(from: &str, id: &str, inner: &str) -> Stanza {
        let text = format!(
            "<message xmlns='jabber:client' from='{from}' to='b@h' id='{id}'>{inner}</message>"
        );
        Stanza::parse(text.into_bytes().into()).unwrap()
    }

    #[test]
    fn what_has_not_been_given_is_edited_in_its_place() {
        let mut queue = Vec::new();
        let replace = |id: &str, body: &str| {
            format!("<body>{body}</body><replace xmlns='urn:xmpp:message-correct:0' id='{id}'/>")
        };
        let retract = "<retract xmlns='urn:xmpp:message-retract:1' id='2'/>";
        for (n, stanza) in [
            stanza("a@h/x", "1", "<body>frist</body>"),
            stanza("a@h/x", "2", "<body>oops</body>"),
            stanza("a@h/y", "3", &replace("1", "first")),
            stanza("a@h/y", "4", &replace("1", "first!")),
            stanza("c@h/x", "5", &replace("1", "not yours")),
            stanza("a@h/x", "6", retract),
            stanza("a@h/x", "7", retract),
        ]
        .into_iter()
        .enumerate()
        {
            enqueue(&mut queue, stanza, n);
        }
        let bodies: Vec<_> =
            queue.iter().map(|p| p.stanza.as_ref().map(|s| s.body().unwrap_or_default())).collect();
        assert_eq!(
            bodies,
            [Some("first!".into()), None, Some("not yours".into()), Some(String::new())]
        );
        let parts: Vec<_> = queue.iter().map(|p| p.parts.clone()).collect();
        assert_eq!(parts, [vec![0, 2, 3], vec![1, 5], vec![4], vec![6]]);
        assert_eq!(queue.iter().map(|p| p.edited).collect::<Vec<_>>(), [true, false, false, false]);
    }
}
