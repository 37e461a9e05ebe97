//! RFC 3329 section 2.2: Security-Client, Security-Server and Security-Verify.

word_header! {
    /// A mechanism that the phone can use with its first hop.
    SecurityClient {
        /// `tls`, `digest`, `ipsec-3gpp` and others.
        mechanism
    }, list
}
word_header! {
    /// A mechanism that the first hop offers.
    SecurityServer {
        /// `tls`, `digest`, `ipsec-3gpp` and others.
        mechanism
    }, list
}
word_header! {
    /// A mechanism of the first hop, repeated by the phone so that nobody between can have changed the list.
    SecurityVerify {
        /// `tls`, `digest`, `ipsec-3gpp` and others.
        mechanism
    }, list
}
