//! RFC 3261 section 20.11, RFC 2183: Content-Disposition.

word_header! {
    /// What a body is for.
    ContentDisposition {
        /// `session`, `render`, `icon`, `alert`, `attachment`, `notification` (RFC 5438) and others.
        kind
    }
}

impl ContentDisposition {
    /// Whether it is this kind.
    pub fn is(&self, kind: &str) -> bool {
        self.kind.eq_ignore_ascii_case(kind)
    }

    /// Whether who does not understand the body may ignore it.
    pub fn is_optional(&self) -> bool {
        self.params.get("handling").is_some_and(|text| text.eq_ignore_ascii_case("optional"))
    }

    /// The file's name.
    pub fn filename(&self) -> Option<String> {
        self.params.get_unquoted("filename")
    }
}
