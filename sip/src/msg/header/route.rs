//! RFC 3261 sections 20.30 and 20.34, RFC 3327, RFC 3608: Record-Route, Route, Path, Service-Route.

bracketed_header! {
    /// A hop that this request has to take.
    Route
}
bracketed_header! {
    /// A hop that wants to see the rest of the dialog.
    RecordRoute
}
bracketed_header! {
    /// A hop between a registrar and the contact.
    Path
}
bracketed_header! {
    /// A hop that requests of a registered phone have to take.
    ServiceRoute
}

macro_rules! hop {
    ($($type:ident)+) => {$(
        impl $type {
            /// Whether the hop routes loosely (`;lr`).
            pub fn is_loose(&self) -> bool {
                self.0.uri.params.has("lr")
            }
        }
    )+};
}

hop!(Route RecordRoute Path ServiceRoute);
