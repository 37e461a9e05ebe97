//! Files over HTTPS (XEP-0363 sections 5 and 7): one PUT into a slot, GET for everybody who knows the address.
//!
//! A file is shown in place only where a browser plays or draws it without running anything; all others are saved.
//! Neither can do anything in the name of this site (section 8): scripts, frames and forms are off, types are not
//! guessed.

use std::time::{Duration, UNIX_EPOCH};

use axum::body::{Body, BodyDataStream};
use axum::extract::{Path, RawQuery, State};
use axum::http::header::{
    ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE,
    REFERRER_POLICY, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::Instant;

use crate::Site;
use crate::cors;
use crate::files::{FileInfo, Files, Outgoing, Part, Put, PutRefusal};

/// Silence after which an upload is given up.
const SILENCE: Duration = Duration::from_secs(30);
/// How long an upload may let itself be waited for in all, beside the time of its bytes at the slowest rate: a client
/// that sends a byte now and then holds a place that others want.
const PATIENCE: Duration = Duration::from_secs(60);
/// The slowest rate, in bytes a second.
const SLOWEST: u64 = 16 * 1024;
/// Bytes read from the disk at once.
const CHUNK: u64 = 256 * 1024;
/// Seconds after which a client that found no room may try again.
const COME_AGAIN: &str = "5";
const METHODS: &str = "OPTIONS, HEAD, GET, PUT";
/// Nothing runs, nothing is loaded from elsewhere, no page frames it; pictures, sound and films may show themselves.
const POLICY: &str = "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; \
                      frame-ancestors 'none'; form-action 'none'; sandbox";
/// An address never gets another content. Caches of many people keep none of it.
const CACHE: &str = "private, max-age=31536000, immutable";

/// Everything at `/upload/<id>/<name>`.
pub(crate) async fn file(
    State(site): State<Site>,
    Path((id, name)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    method: Method,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let Some(files) = site.files.clone() else { return StatusCode::NOT_FOUND.into_response() };
    let mut response = match method {
        Method::GET | Method::HEAD => get(&*files, &id, &name, Part::File, &method, &headers).await,
        Method::PUT => {
            let put = wish(id, name, query.as_deref().unwrap_or_default(), &headers);
            match receive(&*files, put, body).await {
                Ok(()) => StatusCode::CREATED.into_response(),
                Err(refusal) => refuse(refusal),
            }
        }
        Method::OPTIONS => StatusCode::NO_CONTENT.into_response(),
        _ => (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, METHODS)]).into_response(),
    };
    cors::allow(&site, &headers, response.headers_mut(), METHODS);
    response
}

/// Everything at `/thumbnail/<id>/<name>`.
pub(crate) async fn thumbnail(
    State(site): State<Site>,
    Path((id, name)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let Some(files) = site.files.clone() else { return StatusCode::NOT_FOUND.into_response() };
    let mut response = get(&*files, &id, &name, Part::Thumbnail, &method, &headers).await;
    cors::allow(&site, &headers, response.headers_mut(), METHODS);
    response
}

fn wish(id: String, name: String, query: &str, headers: &HeaderMap) -> Put {
    let value = |key: &str| {
        query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('=')).unwrap_or("")
    };
    let header = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    Put {
        id,
        name,
        expires: value("expires").parse().unwrap_or_default(),
        token: value("token").to_owned(),
        length: header(&CONTENT_LENGTH).and_then(|length| length.parse().ok()),
        content_type: header(&CONTENT_TYPE).map(str::to_owned),
    }
}

async fn receive(files: &dyn Files, put: Put, body: Body) -> Result<(), PutRefusal> {
    // Refused before the first byte is read: a client that waits for `100 Continue` sends none.
    let mut left = PATIENCE + Duration::from_secs(put.length.unwrap_or_default() / SLOWEST);
    let mut incoming = files.admit(put).await?;
    let mut stream: BodyDataStream = body.into_data_stream();
    loop {
        let begun = Instant::now();
        match tokio::time::timeout(SILENCE.min(left), stream.next()).await {
            Ok(Some(Ok(bytes))) => {
                left = left.saturating_sub(begun.elapsed());
                incoming.write(bytes).await?;
            }
            Ok(None) => return incoming.finish().await,
            Ok(Some(Err(_))) | Err(_) => return Err(PutRefusal::WrongLength),
        }
    }
}

fn refuse(refusal: PutRefusal) -> Response {
    let (status, text) = match refusal {
        PutRefusal::Denied => (StatusCode::FORBIDDEN, "this slot is not open\n"),
        PutRefusal::LengthRequired => (StatusCode::LENGTH_REQUIRED, "the length is needed\n"),
        PutRefusal::WrongLength => (StatusCode::BAD_REQUEST, "not the length of the slot\n"),
        PutRefusal::WrongType => {
            (StatusCode::UNSUPPORTED_MEDIA_TYPE, "not of the type of the slot\n")
        }
        PutRefusal::Used => (StatusCode::CONFLICT, "this slot is used\n"),
        PutRefusal::Busy => (StatusCode::SERVICE_UNAVAILABLE, "too many uploads\n"),
        PutRefusal::Failed => (StatusCode::INTERNAL_SERVER_ERROR, "the file cannot be kept\n"),
    };
    let mut response = (status, text).into_response();
    if refusal == PutRefusal::Busy {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(COME_AGAIN));
    }
    response
}

async fn get(
    files: &dyn Files,
    id: &str,
    name: &str,
    part: Part,
    method: &Method,
    headers: &HeaderMap,
) -> Response {
    let (info, file) = match files.find(id, name, part).await {
        Ok(Some(found)) => found,
        Ok(None) => return (StatusCode::NOT_FOUND, "no such file\n").into_response(),
        Err(_) => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    };
    let etag = match part {
        Part::File => format!("\"{id}\""),
        Part::Thumbnail => format!("\"{id}.thumb\""),
    };
    let stored = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(info.stored));
    let is_known = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let (status, from, length) =
        if is_known.is_some_and(|known| known == "*" || known.contains(&etag)) {
            (StatusCode::NOT_MODIFIED, 0, 0)
        } else {
            match wanted(headers, &etag, &stored, info.size) {
                Wanted::All => (StatusCode::OK, 0, info.size),
                Wanted::Range(from, length) => (StatusCode::PARTIAL_CONTENT, from, length),
                Wanted::Nothing => (StatusCode::RANGE_NOT_SATISFIABLE, 0, 0),
            }
        };
    let body = if *method == Method::HEAD || length == 0 {
        Body::empty()
    } else {
        Body::from_stream(chunks(file, from, length))
    };
    let mut response = (status, body).into_response();
    let out = response.headers_mut();
    describe(out, &info, name, &etag, &stored);
    let put = |out: &mut HeaderMap, name, text: &str| {
        if let Ok(value) = HeaderValue::from_str(text) {
            out.insert(name, value);
        }
    };
    match status {
        StatusCode::RANGE_NOT_SATISFIABLE => {
            put(out, CONTENT_RANGE, &format!("bytes */{}", info.size));
        }
        StatusCode::PARTIAL_CONTENT => {
            let last = from + length - 1;
            put(out, CONTENT_RANGE, &format!("bytes {from}-{last}/{}", info.size));
            put(out, CONTENT_LENGTH, &length.to_string());
        }
        StatusCode::OK => put(out, CONTENT_LENGTH, &length.to_string()),
        _ => {}
    }
    response
}

fn describe(out: &mut HeaderMap, info: &FileInfo, name: &str, etag: &str, stored: &str) {
    let ascii: String = name
        .chars()
        .map(|c| if c.is_ascii_graphic() && !"\"\\".contains(c) || c == ' ' { c } else { '_' })
        .collect();
    let encoded = utf8_percent_encode(name, NON_ALPHANUMERIC);
    let way = if is_shown(&info.content_type) { "inline" } else { "attachment" };
    let disposition = format!("{way}; filename=\"{ascii}\"; filename*=UTF-8''{encoded}");
    let lines: [(HeaderName, &str); 11] = [
        (CONTENT_TYPE, &info.content_type),
        (CONTENT_DISPOSITION, &disposition),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "cross-origin"),
        (HeaderName::from_static("x-frame-options"), "DENY"),
        (CACHE_CONTROL, CACHE),
        (ACCEPT_RANGES, "bytes"),
        (ETAG, etag),
        (LAST_MODIFIED, stored),
    ];
    for (name, text) in lines {
        if let Ok(value) = HeaderValue::from_str(text) {
            out.insert(name, value);
        }
    }
}

/// What a browser draws or plays without running anything of it. A drawing in SVG may hold scripts.
fn is_shown(content_type: &str) -> bool {
    let bare = content_type.split(';').next().unwrap_or_default();
    matches!(
        bare,
        "image/jpeg"
            | "image/png"
            | "image/gif"
            | "image/webp"
            | "image/avif"
            | "audio/mpeg"
            | "audio/mp4"
            | "audio/aac"
            | "audio/ogg"
            | "audio/opus"
            | "audio/wav"
            | "audio/webm"
            | "audio/flac"
            | "video/mp4"
            | "video/webm"
            | "video/ogg"
            | "video/quicktime"
    )
}

#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    All,
    /// From which byte, how many.
    Range(u64, u64),
    /// None of it is there.
    Nothing,
}

/// The one range that is asked for (RFC 9110 section 14); several at once, and what is none, get everything.
fn wanted(headers: &HeaderMap, etag: &str, stored: &str, size: u64) -> Wanted {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if text(IF_RANGE).is_some_and(|known| known != etag && known != stored) {
        return Wanted::All;
    }
    let Some(range) = text(RANGE).and_then(|range| range.trim().strip_prefix("bytes=")) else {
        return Wanted::All;
    };
    let Some((first, last)) = range.split_once('-').filter(|_| !range.contains(',')) else {
        return Wanted::All;
    };
    let number = |text: &str| text.trim().parse::<u64>();
    let (from, to) = match (first.trim().is_empty(), last.trim().is_empty()) {
        (true, false) => match number(last) {
            Ok(0) => return Wanted::Nothing,
            Ok(count) => (size.saturating_sub(count), size.saturating_sub(1)),
            Err(_) => return Wanted::All,
        },
        (false, open) => match (number(first), if open { Ok(u64::MAX) } else { number(last) }) {
            (Ok(from), Ok(to)) if from <= to => (from, to.min(size.saturating_sub(1))),
            _ => return Wanted::All,
        },
        (true, true) => return Wanted::All,
    };
    if from >= size { Wanted::Nothing } else { Wanted::Range(from, to - from + 1) }
}

/// Reads as fast as the client takes it.
fn chunks(
    file: Box<dyn Outgoing>,
    from: u64,
    length: u64,
) -> impl futures_util::Stream<Item = std::io::Result<bytes::Bytes>> + Send {
    futures_util::stream::try_unfold((file, from, length), |(mut file, at, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let count = left.min(CHUNK);
        let bytes = file.read(at, usize::try_from(count).unwrap_or_default()).await?;
        Ok(Some((bytes, (file, at + count, left - count))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_the_rfc() {
        for (range, expected) in [
            ("bytes=0-9", Wanted::Range(0, 10)),
            ("bytes=90-", Wanted::Range(90, 10)),
            ("bytes=-10", Wanted::Range(90, 10)),
            ("bytes=-500", Wanted::Range(0, 100)),
            ("bytes=50-5000", Wanted::Range(50, 50)),
            ("bytes=100-", Wanted::Nothing),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=9-1", Wanted::All),
            ("bytes=0-1,5-6", Wanted::All),
            ("lines=0-1", Wanted::All),
            ("bytes=a-b", Wanted::All),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RANGE, HeaderValue::from_static(range));
            assert_eq!(wanted(&headers, "\"x\"", "then", 100), expected, "{range}");
            headers.insert(IF_RANGE, HeaderValue::from_static("\"y\""));
            assert_eq!(wanted(&headers, "\"x\"", "then", 100), Wanted::All);
        }
    }
}
