//! What waits for somebody (RFC 3842): the message lamp of a phone.

use super::events::{Document, Package};

/// How much of one kind there is (RFC 3458 section 6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// Not seen yet.
    pub new: u32,
    /// Seen.
    pub old: u32,
}

/// What waits for an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Calls that nobody took.
    pub calls: Count,
    /// Messages in text.
    pub texts: Count,
}

/// The summary of `account`, a URI. Missed calls are told as voice messages, the one kind that every phone shows.
pub fn document(account: &str, summary: Summary) -> Document {
    let Summary { calls, texts } = summary;
    let waits = if calls.new > 0 || texts.new > 0 { "yes" } else { "no" };
    let account: String = account.chars().filter(|c| !c.is_control()).collect();
    let body = format!(
        "Messages-Waiting: {waits}\r\nMessage-Account: {account}\r\n\
         Voice-Message: {}/{} (0/0)\r\nText-Message: {}/{} (0/0)\r\n",
        calls.new, calls.old, texts.new, texts.old
    );
    Document::new(Package::MessageSummary.media(), body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lamp_is_lit_for_what_is_new() {
        let none = document("sip:ana@d", Summary::default());
        assert_eq!(
            none.body,
            "Messages-Waiting: no\r\nMessage-Account: sip:ana@d\r\nVoice-Message: 0/0 (0/0)\r\n\
             Text-Message: 0/0 (0/0)\r\n"
        );
        for (calls, texts, waits) in [(1, 0, "yes"), (0, 2, "yes"), (0, 0, "no")] {
            let summary = Summary {
                calls: Count { new: calls, old: 3 },
                texts: Count { new: texts, old: 0 },
            };
            let document = document("sip:ana@d\r\nX: y", summary);
            let text = std::str::from_utf8(&document.body).unwrap();
            assert!(text.starts_with(&format!("Messages-Waiting: {waits}\r\n")), "{text}");
            assert!(text.contains(&format!("Voice-Message: {calls}/3 (0/0)\r\n")), "{text}");
            assert_eq!(text.lines().count(), 4, "an address adds no lines: {text}");
        }
    }
}
