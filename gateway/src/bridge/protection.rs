//! Who may go without encryption (`[sip] security`): nobody but those who are named, or everybody.

use std::collections::HashSet;

use tandem_xmpp::jid::Jid;

/// Whose phones have to be encrypted: their signalling, media and message sessions.
#[derive(Debug, Clone, Default)]
pub struct Protection {
    is_required: bool,
    clear: HashSet<Jid>,
}

impl Protection {
    /// `clear` are those who are excepted.
    pub fn new(is_required: bool, clear: impl IntoIterator<Item = Jid>) -> Self {
        Self { is_required, clear: clear.into_iter().collect() }
    }

    /// Whether nothing of this account may go in the clear.
    pub fn must_encrypt(&self, account: &Jid) -> bool {
        self.is_required && !self.clear.contains(&account.bare())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_named_is_excepted() {
        let [ana, carl] = ["ana@d", "carl@d"].map(|text| Jid::parse(text).unwrap());
        let device = ana.with_resource("phone").unwrap();
        let some = Protection::new(true, [ana.clone()]);
        assert!(
            some.must_encrypt(&carl) && !some.must_encrypt(&ana) && !some.must_encrypt(&device)
        );
        assert!(!Protection::new(false, []).must_encrypt(&carl));
    }
}
