//! Dialog information (RFC 4235): the calls of somebody, for lamp fields and shared lines.

use super::events::{Document, Package};
use super::markup::{attribute, escaped};

/// Where a call stands (RFC 4235 section 3.7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DialogState {
    /// Somebody is called; nothing rings yet.
    Trying,
    /// It rings.
    Early,
    /// Both talk.
    Confirmed,
    /// It is over, for this reason.
    Terminated(DialogEnd),
}

/// Why a call is over (RFC 4235 section 4.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DialogEnd {
    /// The caller gave up.
    Cancelled,
    /// The called one refused.
    Rejected,
    /// The one whose calls are told hung up.
    LocalBye,
    /// The other one hung up.
    RemoteBye,
    /// Something failed.
    Error,
    /// Nobody answered.
    Timeout,
}

/// One call of the one whose calls are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DialogInfo {
    /// Unique among the calls of one account.
    pub id: String,
    /// True: it called; false: it is called.
    pub is_initiator: bool,
    /// How far it is.
    pub state: DialogState,
    /// Who is on the other end, as a URI. Only for those who may know.
    pub remote: Option<String>,
}

/// All calls of `entity`.
pub fn document(entity: &str, dialogs: &[DialogInfo]) -> Document {
    let before = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n\
                  <dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" version=\"";
    let mut after = format!("\" state=\"full\" entity=\"{}\">", escaped(entity));
    for dialog in dialogs {
        let direction = if dialog.is_initiator { "initiator" } else { "recipient" };
        let event = match dialog.state {
            DialogState::Terminated(why) => Some(why.name()),
            _ => None,
        };
        after.push_str(&format!(
            "<dialog id=\"{}\" direction=\"{direction}\"><state{}>{}</state>",
            escaped(&dialog.id),
            attribute("event", event),
            dialog.state.name()
        ));
        if let Some(remote) = &dialog.remote {
            let remote = escaped(remote);
            after.push_str(&format!(
                "<remote><identity>{remote}</identity><target uri=\"{remote}\"/></remote>"
            ));
        }
        after.push_str("</dialog>");
    }
    after.push_str("</dialog-info>\r\n");
    Document::counted(Package::Dialog.media(), before, &after)
}

impl DialogState {
    fn name(self) -> &'static str {
        match self {
            Self::Trying => "trying",
            Self::Early => "early",
            Self::Confirmed => "confirmed",
            Self::Terminated(_) => "terminated",
        }
    }
}

impl DialogEnd {
    fn name(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Rejected => "rejected",
            Self::LocalBye => "local-bye",
            Self::RemoteBye => "remote-bye",
            Self::Error => "error",
            Self::Timeout => "timeout",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_told_with_direction_state_and_event() {
        let ringing = DialogInfo {
            id: "c7".into(),
            is_initiator: false,
            state: DialogState::Early,
            remote: Some("sip:bob@d".into()),
        };
        let over = DialogInfo {
            id: "c8".into(),
            is_initiator: true,
            state: DialogState::Terminated(DialogEnd::Cancelled),
            remote: None,
        };
        let text = document("sip:ana@d", &[ringing, over]).numbered(0);
        let text = std::str::from_utf8(&text).unwrap();
        let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n\
            <dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" version=\"0\" state=\"full\" entity=\"sip:ana@d\">\
            <dialog id=\"c7\" direction=\"recipient\"><state>early</state>\
            <remote><identity>sip:bob@d</identity><target uri=\"sip:bob@d\"/></remote></dialog>\
            <dialog id=\"c8\" direction=\"initiator\"><state event=\"cancelled\">terminated</state></dialog>\
            </dialog-info>\r\n";
        assert_eq!(text, expected);
        let nothing = document("sip:ana@d", &[]).numbered(1);
        assert!(nothing.ends_with(b"entity=\"sip:ana@d\"></dialog-info>\r\n"));
    }
}
