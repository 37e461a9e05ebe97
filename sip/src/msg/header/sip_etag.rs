//! RFC 3903 section 11.3: SIP-ETag and SIP-If-Match.

token_header! {
    /// Names one version of a published state.
    SipEtag
}
token_header! {
    /// The version of the published state that a PUBLISH is about.
    SipIfMatch
}
