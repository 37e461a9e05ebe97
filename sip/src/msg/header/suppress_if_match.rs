//! RFC 5839 section 7.2: Suppress-If-Match.

token_header! {
    /// The version of a notified state that the subscriber has: no need to send it again. `*` is any.
    SuppressIfMatch
}
