//! Phones that answer by themselves (RFC 5373, and what phones knew before it): only for a caller of ours whom the called account
//! trusts with that (RFC 5373 section 7). A microphone that opens by itself is a bug in a room, in both senses of the word.
//!
//! What a caller writes is never passed on. Where it asks, and may, the phones that ring are told in our own words, in each of
//! the ways that phones understand; where it may not, they ring. Apps are told nothing: no XEP has it.

use tandem_sip::msg::Headers;
use tandem_sip::msg::header::{AlertInfo, AnswerMode, CallInfo, PrivAnswerMode};

use super::Exchange;
use super::entry::Entry;

/// What is behind a resource that is none: phones look at the parameter alone.
const NOTHING: &str = "<http://localhost>";

/// What a phone that calls asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Wish {
    /// That a phone answers by itself.
    pub(super) is_asked: bool,
    /// That the call fails where none does (RFC 5373 section 4.5.1).
    pub(super) is_required: bool,
}

impl Wish {
    /// Of the header fields of its INVITE.
    pub(super) fn of(headers: &Headers) -> Self {
        let mode = headers.typed::<AnswerMode>().ok().filter(AnswerMode::is_auto);
        let privileged = headers.typed::<PrivAnswerMode>().ok().filter(PrivAnswerMode::is_auto);
        let by_call = || {
            let infos = headers.list::<CallInfo>().unwrap_or_default();
            infos.iter().any(|info| info.0.params.has("answer-after"))
        };
        let by_alert = || {
            let infos = headers.list::<AlertInfo>().unwrap_or_default();
            infos.iter().any(|info| is_auto(info.0.params.get_unquoted("info")))
        };
        Self {
            is_required: mode.as_ref().is_some_and(AnswerMode::is_required)
                || privileged.as_ref().is_some_and(|mode| mode.params.has("require")),
            is_asked: mode.is_some() || privileged.is_some() || by_call() || by_alert(),
        }
    }
}

fn is_auto(info: Option<String>) -> bool {
    info.is_some_and(|info| {
        let info = info.to_ascii_lowercase().replace(['-', '_', ' '], "");
        matches!(info.as_str(), "alertautoanswer" | "autoanswer" | "intercom")
    })
}

impl Exchange {
    /// Whether a phone may answer the call by itself: who calls is known, and trusted with it.
    pub(super) fn may_answer_itself(&self, entry: &Entry) -> bool {
        entry.answering.is_asked
            && !entry.is_hidden
            && self.parts.calls.may_answer(&entry.callee, &entry.caller)
    }

    /// What the phones that ring are told.
    pub(super) fn answering(&self, entry: &Entry) -> Vec<(String, String)> {
        if !self.may_answer_itself(entry) {
            return Vec::new();
        }
        let mode = if entry.answering.is_required { "Auto;require" } else { "Auto" };
        [
            ("Answer-Mode", mode.to_owned()),
            ("Call-Info", format!("{NOTHING};answer-after=0")),
            ("Alert-Info", format!("{NOTHING};info=alert-autoanswer")),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_asks_for_an_answer_by_itself_is_heard_in_each_of_its_ways() {
        let table = [
            ("Answer-Mode", "Auto;require", true),
            ("Answer-Mode", "Manual", false),
            ("Answer-Mode", "Robot", false),
            ("Priv-Answer-Mode", "Auto;require", true),
            ("Priv-Answer-Mode", "auto", true),
            ("Call-Info", "<sip:x@y>;answer-after=0", true),
            ("Call-Info", "<http://x/y.png>;purpose=icon", false),
            ("Call-Info", "<http://x/y.png>;purpose=icon, <sip:z>;answer-after=2", true),
            ("Alert-Info", "<http://x>;info=alert-autoanswer", true),
            ("Alert-Info", "<http://x>;info=\"Auto Answer\"", true),
            ("Alert-Info", "<urn:alert:service:normal>", false),
            ("Alert-Info", "rubbish", false),
        ];
        for (name, value, expected) in table {
            let mut headers = Headers::default();
            headers.push(name, value);
            let wish = Wish::of(&headers);
            assert_eq!(wish.is_asked, expected, "{name}: {value}");
            assert_eq!(wish.is_required, value.ends_with(";require"), "{name}: {value}");
        }
    }
}
