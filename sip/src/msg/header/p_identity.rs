//! RFC 3325 section 9: P-Asserted-Identity and P-Preferred-Identity.

address_header! {
    /// Who the sender is, as the trusted network says.
    PAssertedIdentity, list
}
address_header! {
    /// Which of its identities the sender would like to be known by.
    PPreferredIdentity, list
}
