//! Which pages may use what is here (Fetch standard, CORS protocol). Cookies play no part, so none are let in.

use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue};

use crate::Site;

/// Whether pages of the origin of this request are served. Who names none is no page.
pub(crate) fn is_welcome(site: &Site, request: &HeaderMap) -> bool {
    let Some(origin) = request.get(ORIGIN) else { return true };
    site.origins.iter().any(|known| known == "*" || known.as_bytes() == origin.as_bytes())
}

/// Tells the browser whether a page may read the answer.
pub(crate) fn allow(
    site: &Site,
    request: &HeaderMap,
    answer: &mut HeaderMap,
    methods: &'static str,
) {
    let Some(origin) = request.get(ORIGIN) else { return };
    let any = site.origins.iter().any(|known| known == "*");
    if !any {
        answer.insert(VARY, HeaderValue::from_static("Origin"));
        if !is_welcome(site, request) {
            return;
        }
    }
    let allowed = if any { HeaderValue::from_static("*") } else { origin.clone() };
    answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    for (name, value) in [
        (ACCESS_CONTROL_ALLOW_METHODS, methods),
        (ACCESS_CONTROL_ALLOW_HEADERS, "Content-Type, Range"),
        (ACCESS_CONTROL_EXPOSE_HEADERS, "Content-Range, Content-Disposition"),
        (ACCESS_CONTROL_MAX_AGE, "86400"),
    ] {
        answer.insert(name, HeaderValue::from_static(value));
    }
}
