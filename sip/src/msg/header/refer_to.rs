//! RFC 3515 section 2.1: Refer-To.

use super::replaces::Replaces;
use crate::msg::Header;
use crate::msg::scan;

address_header! {
    /// Whom a transferred party should call.
    ReferTo
}

impl ReferTo {
    /// The method that is asked for (`;method=` of the URI); INVITE when none is written.
    pub fn method(&self) -> &str {
        self.0.uri.params.get("method").unwrap_or("INVITE")
    }

    /// The value of a header field that the URI carries (`?Name=value`), escapes decoded once.
    pub fn uri_header(&self, name: &str) -> Option<String> {
        let fields = self.0.uri.headers.as_deref()?;
        let value = fields.split('&').find_map(|field| {
            let (key, value) = field.split_once('=')?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })?;
        String::from_utf8(scan::percent_decode(value)).ok()
    }

    /// The dialog that the new call takes the place of (RFC 3891, attended transfer).
    pub fn replaces(&self) -> Option<Replaces> {
        Replaces::parse(&self.uri_header("Replaces")?).ok()
    }
}
