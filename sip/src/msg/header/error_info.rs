//! RFC 3261 section 20.18: Error-Info.

bracketed_header! {
    /// Where more about a refusal can be heard or read.
    ErrorInfo
}
