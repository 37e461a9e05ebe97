//! Watcher information (RFC 3857, RFC 3858): who watches, or would like to.

use super::events::{Document, Package};
use super::markup::{attribute, escaped};

/// Where a watcher stands (RFC 3857 section 4.7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatcherStatus {
    /// It asks and was not answered.
    Pending,
    /// It is let.
    Active,
    /// It asked, and went before it was answered.
    Waiting,
    /// It is let no more, or has gone.
    Terminated,
}

/// What brought it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatcherEvent {
    /// It asked.
    Subscribe,
    /// Its request was granted.
    Approved,
    /// Its request was refused, or its permission taken.
    Rejected,
    /// Its time was over.
    Timeout,
}

/// One who watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watcher {
    /// The same for the same watcher, in all documents.
    pub id: String,
    /// Its address.
    pub uri: String,
    /// How it is called.
    pub name: Option<String>,
    /// Where it stands.
    pub status: WatcherStatus,
    /// What brought it there.
    pub event: WatcherEvent,
}

/// The whole list of those who watch `resource`.
pub fn document(resource: &str, watchers: &[Watcher]) -> Document {
    let before = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n\
                  <watcherinfo xmlns=\"urn:ietf:params:xml:ns:watcherinfo\" version=\"";
    let mut after = format!(
        "\" state=\"full\"><watcher-list resource=\"{}\" package=\"{}\">",
        escaped(resource),
        Package::Presence.name()
    );
    for watcher in watchers {
        after.push_str(&format!(
            "<watcher id=\"{}\" status=\"{}\" event=\"{}\"{}>{}</watcher>",
            escaped(&watcher.id),
            watcher.status.name(),
            watcher.event.name(),
            attribute("display-name", watcher.name.as_deref()),
            escaped(&watcher.uri),
        ));
    }
    after.push_str("</watcher-list></watcherinfo>\r\n");
    Document::counted(Package::PresenceWinfo.media(), before, &after)
}

impl WatcherStatus {
    fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Waiting => "waiting",
            Self::Terminated => "terminated",
        }
    }
}

impl WatcherEvent {
    fn name(self) -> &'static str {
        match self {
            Self::Subscribe => "subscribe",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Timeout => "timeout",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_whole_and_numbered_and_holds_any_name() {
        let watcher = Watcher {
            id: "w1".into(),
            uri: "sip:bob@d".into(),
            name: Some("Bob <\"B\">".into()),
            status: WatcherStatus::Pending,
            event: WatcherEvent::Subscribe,
        };
        let gone = Watcher {
            id: "w2".into(),
            name: None,
            status: WatcherStatus::Terminated,
            event: WatcherEvent::Rejected,
            ..watcher.clone()
        };
        let text = document("sip:ana@d", &[watcher, gone]).numbered(3);
        let text = std::str::from_utf8(&text).unwrap();
        let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n\
            <watcherinfo xmlns=\"urn:ietf:params:xml:ns:watcherinfo\" version=\"3\" state=\"full\">\
            <watcher-list resource=\"sip:ana@d\" package=\"presence\">\
            <watcher id=\"w1\" status=\"pending\" event=\"subscribe\" display-name=\"Bob &lt;&quot;B&quot;&gt;\">sip:bob@d</watcher>\
            <watcher id=\"w2\" status=\"terminated\" event=\"rejected\">sip:bob@d</watcher>\
            </watcher-list></watcherinfo>\r\n";
        assert_eq!(text, expected);
    }
}
