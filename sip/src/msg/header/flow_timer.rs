//! RFC 5626 section 10: Flow-Timer.

number_header! {
    /// After how many seconds without a keep-alive the server takes a flow for dead.
    FlowTimer
}
