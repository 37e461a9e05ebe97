//! Causes: SIP status and stanza error, both ways (RFC 7247 section 7, `interop.md` 1.6 and 1.7).

use tandem_xmpp::stanza::{Condition, StanzaError};

/// The error a sender on XMPP gets for a phone's final answer. `None` for 1xx and 2xx, which are none.
pub fn status_to_error(status: u16, phrase: &str) -> Option<StanzaError> {
    use Condition::*;
    let condition = match status {
        0..=299 => return None,
        301 | 410 => Gone,
        300 | 302 | 305 => Redirect,
        380 | 406 | 415 | 416 | 421 | 482 | 483 | 488 | 505 | 606 => NotAcceptable,
        401 => NotAuthorized,
        403 | 433 | 438 | 607 | 608 => Forbidden,
        404 | 481 | 484 | 485 | 604 => ItemNotFound,
        405 | 420 | 439 | 501 => FeatureNotImplemented,
        407 => RegistrationRequired,
        408 | 504 => RemoteServerTimeout,
        413 | 414 | 440 | 489 | 513 => PolicyViolation,
        423 => ResourceConstraint,
        430 | 480 | 486 | 487 | 600 | 603 => RecipientUnavailable,
        491 => UnexpectedRequest,
        502 => RemoteServerNotFound,
        500 | 503 | 555 | 580 => InternalServerError,
        306..=399 | 303 | 304 => Redirect,
        409..=499 | 400 | 402 => BadRequest,
        506..=599 => InternalServerError,
        _ => RecipientUnavailable,
    };
    let error = StanzaError::new(condition);
    // A `redirect` or `gone` with a text in place of a URI would be read as one.
    let phrase = phrase.trim();
    if phrase.is_empty() { Some(error) } else { Some(error.with_text(phrase)) }
}

/// The status a phone gets for a stanza error. A full address takes the 4xx form, a bare one the final form: nobody
/// else is left to ask.
pub fn error_to_status(error: &StanzaError, full: bool) -> u16 {
    use Condition::*;
    match error.condition {
        BadRequest | Conflict | JidMalformed | SubscriptionRequired | UndefinedCondition => 400,
        FeatureNotImplemented => either(full, 405, 501),
        Forbidden => either(full, 403, 603),
        Gone => 410,
        InternalServerError | ResourceConstraint => 500,
        ItemNotFound | RemoteServerNotFound => 404,
        NotAcceptable => either(full, 406, 606),
        // A 401 or 407 needs a challenge, which a stanza error does not carry.
        NotAllowed | PolicyViolation | NotAuthorized | RegistrationRequired => 403,
        RecipientUnavailable => either(full, 480, 600),
        Redirect => 302,
        RemoteServerTimeout => 504,
        // Not 503, which would mark the whole server as down.
        ServiceUnavailable => 480,
        UnexpectedRequest => 400,
    }
}

fn either(full: bool, yes: u16, no: u16) -> u16 {
    if full { yes } else { no }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_become_the_conditions_of_rfc_7247() {
        let table = [
            (302, "redirect"),
            (400, "bad-request"),
            (403, "forbidden"),
            (404, "item-not-found"),
            (405, "feature-not-implemented"),
            (408, "remote-server-timeout"),
            (410, "gone"),
            (413, "policy-violation"),
            (415, "not-acceptable"),
            (430, "recipient-unavailable"),
            (480, "recipient-unavailable"),
            (482, "not-acceptable"),
            (486, "recipient-unavailable"),
            (488, "not-acceptable"),
            (493, "bad-request"),
            (500, "internal-server-error"),
            (502, "remote-server-not-found"),
            (504, "remote-server-timeout"),
            (513, "policy-violation"),
            (603, "recipient-unavailable"),
            (604, "item-not-found"),
            (499, "bad-request"),
            (699, "recipient-unavailable"),
        ];
        for (status, condition) in table {
            let error = status_to_error(status, "Why").unwrap();
            assert_eq!(error.condition.name(), condition, "{status}");
            assert_eq!(error.text.as_deref(), Some("Why"));
        }
        assert_eq!(status_to_error(202, "Accepted"), None);
    }

    #[test]
    fn every_condition_has_a_status_that_is_a_refusal() {
        for condition in Condition::ALL {
            for full in [true, false] {
                let status = error_to_status(&StanzaError::new(*condition), full);
                assert!((300..700).contains(&status), "{condition:?}");
                assert!(![401, 407, 503].contains(&status), "{condition:?}");
            }
        }
        let unavailable = StanzaError::new(Condition::RecipientUnavailable);
        assert_eq!(error_to_status(&unavailable, true), 480);
        assert_eq!(error_to_status(&unavailable, false), 600);
    }
}
