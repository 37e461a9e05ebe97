//! RFC 3261 sections 20.20 and 20.39: From and To.

address_header! {
    /// Who sends.
    From
}
address_header! {
    /// Whom it is for.
    To
}
