//! RFC 3261 section 20.9: Call-Info.

bracketed_header! {
    /// More about the caller or the callee: a picture, a card.
    CallInfo
}

impl CallInfo {
    /// What the address is: `icon`, `info`, `card`.
    pub fn purpose(&self) -> Option<&str> {
        self.0.params.get("purpose")
    }
}
