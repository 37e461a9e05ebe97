//! RFC 6086 section 3: Info-Package and Recv-Info.

word_header! {
    /// What an INFO is about.
    InfoPackage {
        /// The package.
        package
    }
}
word_header! {
    /// A package that the sender takes INFOs of.
    RecvInfo {
        /// The package.
        package
    }, list
}
