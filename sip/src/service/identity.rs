//! Who the sender of a request is, said by us (RFC 3325), and what of that others may see (RFC 3323, RFC 5079).
//!
//! No phone is trusted to say who it is: what it says of that is replaced by what its password proved. We are the other
//! end of every dialog, so what `header` and `session` ask for is always given: no address of the phone goes further.

use super::Core;
use crate::msg::header::{From, PAssertedIdentity, PPreferredIdentity, Privacy};
use crate::msg::{Headers, Host, Method, Name, NameAddr, Request, Uri};

/// What may be asked for; more than this under `critical` has to be refused.
const KNOWN: [&str; 7] = ["id", "user", "header", "session", "history", "critical", "none"];
/// The host of an address that names nobody (RFC 3323 section 4.1.1.3).
const NOWHERE: &str = "anonymous.invalid";

/// Why a request goes no further: status and phrase.
pub(super) type Refused = (u16, Option<String>);

/// Whether the sender does not want to be known to whom the request goes.
pub fn is_private(headers: &Headers) -> bool {
    let privacy: Option<Privacy> = headers.optional().ok().flatten();
    privacy
        .is_some_and(|privacy| !privacy.has("none") && (privacy.has("id") || privacy.has("user")))
}

/// The sender of a request whose real sender is not to be known.
pub fn anonymous() -> NameAddr {
    let uri = Uri::sip(Some("anonymous"), Host::Name(NOWHERE.to_owned()));
    NameAddr::new(uri).with_display(Some("Anonymous"))
}

/// Whether an address names nobody.
pub(super) fn is_anonymous(uri: &Uri) -> bool {
    uri.host.is_same(&Host::Name(NOWHERE.to_owned()))
}

impl Core {
    /// Puts the proven identity in the place of what the phone claims.
    pub(super) fn identify(&self, request: &mut Request, account: &str) -> Result<(), Refused> {
        let headers = &mut request.headers;
        let privacy: Option<Privacy> = headers.optional().map_err(|_| (400, None))?;
        if let Some(privacy) = &privacy {
            check_privacy(privacy)?;
        }
        let preferred: Vec<PPreferredIdentity> = headers.list().map_err(|_| (400, None))?;
        let from: From = headers.from().map_err(|_| (400, None))?;
        headers.remove(Name::PAssertedIdentity);
        headers.remove(Name::PPreferredIdentity);
        if is_anonymous(&from.0.uri) && !is_private(headers) {
            headers.set_typed(&Privacy(vec!["id".to_owned()]));
        }
        if is_private(headers) && matches!(request.method, Method::MESSAGE | Method::SUBSCRIBE) {
            // What has no way back but its sender is not sent by nobody (RFC 5079).
            return Err((433, None));
        }
        let Some(uri) = account_uri(account) else { return Err((403, None)) };
        let is_own = |address: &NameAddr| address.uri.aor().is_same(&uri);
        let preferred = preferred.into_iter().map(|hint| hint.0).find(is_own);
        let display = preferred.or(Some(from.0).filter(is_own)).and_then(|found| found.display);
        let asserted = NameAddr::new(uri).with_display(display.as_deref());
        request.headers.push_typed(&PAssertedIdentity(asserted));
        Ok(())
    }

    /// Says who calls where that is an account of ours that does not hide.
    pub(super) fn assert_caller(&self, request: &mut Request) {
        let Ok(from) = request.headers.from() else { return };
        let is_ours = self.config.is_ours(&from.uri.host.to_string());
        if is_ours && !is_private(&request.headers) && !request.headers.has(Name::PAssertedIdentity)
        {
            let uri = from.uri.aor();
            let asserted = NameAddr::new(uri).with_display(from.display.as_deref());
            request.headers.push_typed(&PAssertedIdentity(asserted));
        }
    }
}

/// What has to be hidden and cannot be is not sent (RFC 3323 section 5).
fn check_privacy(privacy: &Privacy) -> Result<(), Refused> {
    let unknown: Vec<&str> =
        privacy.0.iter().map(String::as_str).filter(|word| !KNOWN.contains(word)).collect();
    if privacy.has("critical") && !unknown.is_empty() {
        return Err((500, Some(format!("Privacy Failure: {}", unknown.join(", ")))));
    }
    Ok(())
}

fn account_uri(account: &str) -> Option<Uri> {
    let (user, domain) = account.rsplit_once('@')?;
    Some(Uri::sip(Some(user), Host::parse(domain)?))
}
