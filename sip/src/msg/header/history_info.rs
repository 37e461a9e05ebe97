//! RFC 7044 section 5: History-Info.

bracketed_header! {
    /// One address that a request was for on its way, the first one first.
    HistoryInfo
}

impl HistoryInfo {
    /// Its place in the tree of the request's branches: `1`, `1.1`, `1.2`.
    pub fn index(&self) -> Option<&str> {
        self.0.params.get("index")
    }
}
