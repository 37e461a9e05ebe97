//! RFC 3892 section 3: Referred-By.

address_header! {
    /// Who transfers.
    ReferredBy
}
