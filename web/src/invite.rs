//! The page behind an invitation (XEP-0401 section 4.2): who invites, a link for an app that is there, apps for who has none.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;

use crate::ports::BoxFuture;

/// Longest token that is looked up.
const MAX_TOKEN: usize = 128;
/// The page loads nothing, runs nothing, is kept nowhere, and tells no other site where it was.
const HEADERS: [(HeaderName, &str); 5] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (HeaderName::from_static("x-robots-tag"), "noindex"),
];
/// For which devices, a name, and where it is found.
const APPS: [(&str, &str, &str); 5] = [
    ("Android", "Conversations", "https://conversations.im/"),
    ("iPhone, iPad, Mac", "Monal", "https://monal-im.org/"),
    ("Linux", "Dino", "https://dino.im/"),
    ("Windows", "Gajim", "https://gajim.org/"),
    ("A browser", "Converse", "https://conversejs.org/"),
];

/// What the page says about an invitation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvitePage {
    /// The `xmpp:` URI for the app.
    pub uri: String,
    /// Who invites; `None` for the operator.
    pub inviter: Option<String>,
    /// The domain an account would be at.
    pub domain: String,
    /// An account can be made with it.
    pub registers: bool,
}

/// Who knows the invitations.
pub trait InvitePages: Send + Sync {
    /// An invitation that can be used now. `Err` says, for the log, why that cannot be said.
    fn find<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Option<InvitePage>, String>>;
}

/// The pages, beside the public router.
pub fn router(pages: Arc<dyn InvitePages>) -> Router {
    Router::new().route("/invite/{token}", get(page)).with_state(pages)
}

async fn page(State(pages): State<Arc<dyn InvitePages>>, Path(token): Path<String>) -> Response {
    let sane = token.len() <= MAX_TOKEN && token.bytes().all(|b| b.is_ascii_alphanumeric());
    let found = if sane { pages.find(&token).await } else { Ok(None) };
    let (status, body) = match found {
        Ok(Some(invite)) => (StatusCode::OK, describe(&invite)),
        Ok(None) => (
            StatusCode::NOT_FOUND,
            document(
                "This invitation is over",
                "<p>It was used, or its time has passed. Ask for a new one.</p>",
            ),
        ),
        Err(error) => {
            tracing::error!(%error, "an invitation cannot be read");
            let text = "<p>Something is wrong with our server. Try again later.</p>";
            (StatusCode::INTERNAL_SERVER_ERROR, document("Not now", text))
        }
    };
    (status, HEADERS, Html(body)).into_response()
}

fn describe(invite: &InvitePage) -> String {
    let domain = escape(&invite.domain);
    let heading = match &invite.inviter {
        Some(inviter) => format!("{} invites you to chat", escape(inviter)),
        None => format!("You are invited to {domain}"),
    };
    let account = if invite.registers {
        format!(
            "<p>Your app will offer to make an account at <strong>{domain}</strong> for you.</p>"
        )
    } else {
        String::new()
    };
    let apps: String = APPS
        .iter()
        .map(|(device, name, url)| format!("<li>{device}: <a href='{url}'>{name}</a></li>"))
        .collect();
    let uri = escape(&invite.uri);
    document(
        &heading,
        &format!(
            "<p><a class='go' href='{uri}'>Open the invitation in your app</a></p>{account}\
             <h2>No app yet?</h2><p>The button does nothing until you have one. Install one of \
             these, then come back to this page.</p><ul>{apps}</ul>\
             <h2>Another device?</h2><p>Copy this into its app:</p><p><code>{uri}</code></p>"
        ),
    )
}

fn document(heading: &str, content: &str) -> String {
    format!(
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{heading}</title>\
         <meta name='viewport' content='width=device-width'><style>\
         body{{font:1.25rem/1.6 sans-serif;max-width:36rem;margin:2rem auto;padding:0 1rem;\
         color:#111;background:#fff}}\
         .go{{display:inline-block;padding:1rem 1.5rem;font-size:1.4rem;border-radius:.5rem;\
         background:#0b4f8a;color:#fff}}\
         a:focus-visible{{outline:.25rem solid #b35900;outline-offset:.2rem}}\
         code{{overflow-wrap:anywhere}}\
         </style></head><body><main><h1>{heading}</h1>{content}</main></body></html>"
    )
}

/// For content and for attributes in either quote.
fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\'' => out.push_str("&#39;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt;

    use super::*;

    struct One;

    impl InvitePages for One {
        fn find<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Option<InvitePage>, String>> {
            let page = InvitePage {
                uri: "xmpp:a@d?roster;preauth=good;ibr=y".into(),
                inviter: Some("<b>'a@d".into()),
                domain: "d".into(),
                registers: true,
            };
            let answer = match token {
                "good" => Ok(Some(page)),
                "broken" => Err("told to fail".into()),
                _ => Ok(None),
            };
            Box::pin(std::future::ready(answer))
        }
    }

    async fn get(path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router(Arc::new(One)).oneshot(request).await.unwrap();
        assert_eq!(response.headers()["referrer-policy"], "no-referrer");
        assert_eq!(response.headers()["cache-control"], "no-store");
        let status = response.status();
        let body = to_bytes(response.into_body(), 100_000).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn an_invitation_has_a_page_with_a_link_for_the_app() {
        let (status, body) = get("/invite/good").await;
        assert_eq!(status, StatusCode::OK);
        assert!(body.contains("href='xmpp:a@d?roster;preauth=good;ibr=y'"), "{body}");
        assert!(body.contains("<h1>&lt;b&gt;&#39;a@d invites you to chat</h1>"), "{body}");
        assert!(!body.contains("<script"), "{body}");
    }

    #[tokio::test]
    async fn one_that_is_over_or_none_says_so() {
        for path in ["/invite/other", "/invite/%3Cx%3E"] {
            let (status, body) = get(path).await;
            assert_eq!(status, StatusCode::NOT_FOUND);
            assert!(body.contains("This invitation is over") && !body.contains("<x>"), "{body}");
        }
        assert_eq!(get("/invite/broken").await.0, StatusCode::INTERNAL_SERVER_ERROR);
    }
}
