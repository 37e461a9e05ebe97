//! RFC 3261 section 20.4, RFC 7462: Alert-Info.

bracketed_header! {
    /// How a phone should ring: a sound, or a `urn:alert:`.
    AlertInfo
}
