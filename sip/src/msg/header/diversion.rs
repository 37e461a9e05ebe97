//! RFC 5806 section 4: Diversion.

address_header! {
    /// Whom a call was for before it was forwarded; the last one stands first.
    Diversion, list
}

impl Diversion {
    /// Why it was forwarded: `user-busy`, `no-answer`, `unconditional`.
    pub fn reason(&self) -> Option<String> {
        self.0.params.get_unquoted("reason")
    }

    /// How often it was forwarded there; 1 when nothing is said.
    pub fn count(&self) -> u32 {
        self.0.params.get("counter").and_then(|text| text.parse().ok()).unwrap_or(1)
    }
}
