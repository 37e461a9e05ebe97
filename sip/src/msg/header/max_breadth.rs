//! RFC 5393 section 5.3: Max-Breadth.

number_header! {
    /// How many branches a request may still be forked into at once.
    MaxBreadth
}
