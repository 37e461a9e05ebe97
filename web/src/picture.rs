//! The pictures of callers (RFC 3261 section 20.9), for phones that show one: behind a link that nobody can guess.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;

use crate::ports::BoxFuture;

/// Longest token that is looked up: an address, a hash and a proof.
const MAX_TOKEN: usize = 5_000;
/// Pictures alone: what an account calls one may be a page.
const TYPES: [&str; 5] = ["image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp"];
const HEADERS: [(HeaderName, &str); 4] = [
    // Another picture has another link.
    (header::CACHE_CONTROL, "private, max-age=86400, immutable"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (HeaderName::from_static("x-robots-tag"), "noindex"),
];

/// A picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Its media type, as its owner says.
    pub content_type: String,
    /// The picture.
    pub bytes: Bytes,
}

/// Who knows the pictures.
pub trait Pictures: Send + Sync {
    /// The picture behind a token; none where it proves nothing or the picture is another by now. `Err` says, for the log, why
    /// that cannot be said.
    fn find<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Option<Picture>, String>>;
}

/// The pictures, beside the public router.
pub fn router(pictures: Arc<dyn Pictures>) -> Router {
    Router::new().route("/picture/{token}", get(picture)).with_state(pictures)
}

async fn picture(State(pictures): State<Arc<dyn Pictures>>, Path(token): Path<String>) -> Response {
    let found = match token.len() <= MAX_TOKEN {
        true => pictures.find(&token).await,
        false => Ok(None),
    };
    match found {
        Ok(Some(picture)) => {
            let known = TYPES.iter().find(|known| picture.content_type.eq_ignore_ascii_case(known));
            let kind = known.copied().unwrap_or("application/octet-stream");
            (StatusCode::OK, HEADERS, [(header::CONTENT_TYPE, kind)], picture.bytes).into_response()
        }
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(error) => {
            tracing::error!(%error, "a picture cannot be read");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
