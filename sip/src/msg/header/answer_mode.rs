//! RFC 5373 section 4: Answer-Mode and Priv-Answer-Mode.

word_header! {
    /// Whether a phone should answer by itself.
    AnswerMode {
        /// `Auto` or `Manual`.
        mode
    }
}
word_header! {
    /// Like Answer-Mode, against the phone's own settings.
    PrivAnswerMode {
        /// `Auto` or `Manual`.
        mode
    }
}

impl AnswerMode {
    /// Whether the phone should answer by itself.
    pub fn is_auto(&self) -> bool {
        self.mode.eq_ignore_ascii_case("auto")
    }

    /// Whether the call should fail where the phone will not do so.
    pub fn is_required(&self) -> bool {
        self.params.has("require")
    }
}

impl PrivAnswerMode {
    /// Whether the phone should answer by itself.
    pub fn is_auto(&self) -> bool {
        self.mode.eq_ignore_ascii_case("auto")
    }
}
