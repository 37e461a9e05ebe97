//! XEP-0363 over HTTP, with files in memory.

use std::collections::HashMap;
use std::io;
use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::files::{FileInfo, Found, Incoming, Outgoing, Part, Put, PutRefusal, ReadFault};

/// Takes what comes into slots whose token is `good`, five bytes each.
#[derive(Clone, Default)]
struct Shelf(Arc<Mutex<Kept>>);

/// Name and content by id.
type Kept = HashMap<String, (String, Vec<u8>)>;

struct Coming(Shelf, Put, Vec<u8>);

struct Going(Vec<u8>);

impl Files for Shelf {
    fn admit(&self, put: Put) -> BoxFuture<'_, Result<Box<dyn Incoming>, PutRefusal>> {
        let refusal = match (put.token.as_str(), put.length) {
            ("good", Some(5)) => None,
            ("good", Some(_)) => Some(PutRefusal::WrongLength),
            ("good", None) => Some(PutRefusal::LengthRequired),
            ("busy", _) => Some(PutRefusal::Busy),
            ("used", _) => Some(PutRefusal::Used),
            ("type", _) => Some(PutRefusal::WrongType),
            ("failed", _) => Some(PutRefusal::Failed),
            _ => Some(PutRefusal::Denied),
        };
        let coming = Box::new(Coming(self.clone(), put, Vec::new())) as Box<dyn Incoming>;
        Box::pin(std::future::ready(refusal.map_or(Ok(coming), Err)))
    }

    fn find<'a>(
        &'a self,
        id: &'a str,
        name: &'a str,
        part: Part,
    ) -> BoxFuture<'a, Result<Option<Found>, ReadFault>> {
        let shelf = self.0.lock().unwrap();
        let found = shelf.get(&format!("{id}/{name}")).filter(|_| part == Part::File);
        let found = found.map(|(content_type, bytes)| {
            let content_type = content_type.clone();
            let info = FileInfo { size: bytes.len() as u64, content_type, stored: 1_000_000_000 };
            (info, Box::new(Going(bytes.clone())) as Box<dyn Outgoing>)
        });
        Box::pin(std::future::ready(Ok(found)))
    }
}

impl Incoming for Coming {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), PutRefusal>> {
        self.2.extend_from_slice(&bytes);
        Box::pin(std::future::ready(Ok(())))
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<(), PutRefusal>> {
        let Self(shelf, put, bytes) = *self;
        let kept = if bytes.len() == 5 { Ok(()) } else { Err(PutRefusal::WrongLength) };
        if kept.is_ok() {
            let content_type = put.content_type.unwrap_or_default();
            let key = format!("{}/{}", put.id, put.name);
            shelf.0.lock().unwrap().insert(key, (content_type, bytes));
        }
        Box::pin(std::future::ready(kept))
    }
}

impl Outgoing for Going {
    fn read(&mut self, at: u64, length: usize) -> BoxFuture<'_, io::Result<Bytes>> {
        let at = usize::try_from(at).unwrap();
        Box::pin(std::future::ready(Ok(Bytes::copy_from_slice(&self.0[at..at + length]))))
    }
}

impl Shelf {
    fn site(&self) -> Site {
        Site { files: Some(Arc::new(self.clone())), ..site() }
    }

    fn with(self, path: &str, content_type: &str, bytes: &[u8]) -> Self {
        self.0.lock().unwrap().insert(path.into(), (content_type.into(), bytes.to_vec()));
        self
    }
}

fn put(token: &str, length: &str, content: &str) -> Request<Body> {
    Request::put(format!("/upload/id/tr%C3%A8s%20cool.jpg?expires=7&token={token}"))
        .header("content-length", length)
        .header("content-type", "image/jpeg")
        .body(Body::from(content.to_owned()))
        .unwrap()
}

/// XEP-0363 section 7: 201, and the file can be fetched.
#[tokio::test]
async fn a_file_goes_into_its_slot_and_can_be_fetched() {
    let shelf = Shelf::default();
    assert_eq!(answer(shelf.site(), put("good", "5", "hello")).await.0, StatusCode::CREATED);
    let request = Request::get("/upload/id/tr%C3%A8s%20cool.jpg").body(Body::empty()).unwrap();
    let (status, headers, body) = answer(shelf.site(), request).await;
    assert_eq!((status, body.as_slice()), (StatusCode::OK, &b"hello"[..]));
    assert_eq!(headers["content-length"], "5");
    assert_eq!(headers["content-type"], "image/jpeg");
    let disposition = "inline; filename=\"tr_s cool.jpg\"; filename*=UTF-8''tr%C3%A8s%20cool%2Ejpg";
    assert_eq!(headers["content-disposition"], disposition);
    assert_eq!(headers["cache-control"], "private, max-age=31536000, immutable");
}

/// XEP-0363 section 7: a length or type that is not the slot's is refused.
#[tokio::test]
async fn what_does_not_fit_the_slot_is_refused() {
    let shelf = Shelf::default();
    for (token, length, content, expected) in [
        ("good", "6", "hello!", StatusCode::BAD_REQUEST),
        ("good", "5", "hell", StatusCode::BAD_REQUEST),
        ("bad", "5", "hello", StatusCode::FORBIDDEN),
        ("used", "5", "hello", StatusCode::CONFLICT),
        ("type", "5", "hello", StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("busy", "5", "hello", StatusCode::SERVICE_UNAVAILABLE),
        ("failed", "5", "hello", StatusCode::INTERNAL_SERVER_ERROR),
    ] {
        let (status, ..) = answer(shelf.site(), put(token, length, content)).await;
        assert_eq!(status, expected, "{token} {length}");
    }
    let mut chunked = put("good", "5", "hello");
    chunked.headers_mut().remove("content-length");
    assert_eq!(answer(shelf.site(), chunked).await.0, StatusCode::LENGTH_REQUIRED);
    assert!(shelf.0.lock().unwrap().is_empty());
}

/// XEP-0363 section 8: what a browser could run is saved, and nothing is guessed or run.
#[tokio::test]
async fn nothing_that_was_uploaded_can_act_for_this_site() {
    let shelf = Shelf::default()
        .with("id/a", "text/html", b"<script>")
        .with("id/b", "image/svg+xml", b"<svg/>")
        .with("id/c", "application/javascript", b"x")
        .with("id/d", "video/mp4", b"x")
        .with("id/e", "audio/ogg", b"x");
    for (name, way) in [
        ("a", "attachment"),
        ("b", "attachment"),
        ("c", "attachment"),
        ("d", "inline"),
        ("e", "inline"),
    ] {
        let request = Request::get(format!("/upload/id/{name}")).body(Body::empty()).unwrap();
        let (_, headers, _) = answer(shelf.site(), request).await;
        let disposition = headers["content-disposition"].to_str().unwrap();
        assert!(disposition.starts_with(way), "{name}: {disposition}");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("default-src 'none'") && policy.contains("sandbox"), "{policy}");
        assert_eq!(headers["referrer-policy"], "no-referrer");
    }
}

#[tokio::test]
async fn parts_can_be_fetched_and_what_is_known_is_not_sent_again() {
    let shelf = Shelf::default().with("id/a", "video/mp4", b"0123456789");
    let get = |name: &'static str, value: &'static str| {
        let request = Request::get("/upload/id/a").header(name, value);
        answer(shelf.site(), request.body(Body::empty()).unwrap())
    };
    let (status, headers, body) = get("range", "bytes=2-4").await;
    assert_eq!((status, body.as_slice()), (StatusCode::PARTIAL_CONTENT, &b"234"[..]));
    assert_eq!(headers["content-range"], "bytes 2-4/10");
    assert_eq!(headers["content-length"], "3");
    let (status, headers, _) = get("range", "bytes=20-").await;
    assert_eq!(status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(headers["content-range"], "bytes */10");
    let (status, headers, body) = get("if-none-match", "\"id\"").await;
    assert_eq!((status, body.len()), (StatusCode::NOT_MODIFIED, 0));
    assert_eq!(headers["etag"], "\"id\"");
    let request = Request::head("/upload/id/a").body(Body::empty()).unwrap();
    let (status, headers, body) = answer(shelf.site(), request).await;
    assert_eq!((status, body.len()), (StatusCode::OK, 0));
    assert_eq!(headers["content-length"], "10");
}

/// XEP-0363 section 7.1 (CORS), and what is not there.
#[tokio::test]
async fn pages_may_upload_and_unknown_files_are_not_found() {
    let shelf = Shelf::default();
    let request = Request::options("/upload/id/a")
        .header("origin", "https://app.example")
        .header("access-control-request-method", "PUT")
        .body(Body::empty())
        .unwrap();
    let (status, headers, _) = answer(shelf.site(), request).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(headers["access-control-allow-methods"], "OPTIONS, HEAD, GET, PUT");
    assert_eq!(headers["access-control-allow-origin"], "*");
    for path in ["/upload/id/a", "/thumbnail/id/a"] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        assert_eq!(answer(shelf.site(), request).await.0, StatusCode::NOT_FOUND);
    }
    let request = Request::delete("/upload/id/a").body(Body::empty()).unwrap();
    assert_eq!(answer(shelf.site(), request).await.0, StatusCode::METHOD_NOT_ALLOWED);
    let request = Request::get("/upload/id/a").body(Body::empty()).unwrap();
    assert_eq!(answer(site(), request).await.0, StatusCode::NOT_FOUND);
}

/// Who sends a byte now and then is waited for no longer than its length allows.
#[tokio::test(start_paused = true)]
async fn an_upload_that_trickles_is_given_up() {
    let every = |seconds: u64| {
        let bytes = futures_util::stream::unfold(0, move |n| async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            (n < 5).then(|| (Ok::<_, io::Error>(Bytes::from_static(b"x")), n + 1))
        });
        Request::put("/upload/id/name?expires=1&token=good")
            .header("content-length", "5")
            .body(Body::from_stream(bytes))
            .unwrap()
    };
    let shelf = Shelf::default();
    assert_eq!(answer(shelf.site(), every(20)).await.0, StatusCode::BAD_REQUEST);
    assert!(shelf.0.lock().unwrap().is_empty());
    assert_eq!(answer(shelf.site(), every(9)).await.0, StatusCode::CREATED);
}
