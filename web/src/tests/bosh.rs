//! XEP-0124 over HTTP, with a stand-in for the sessions.

use super::*;

fn post(content: &str) -> Request<Body> {
    Request::post("/http-bind")
        .header("origin", "https://app.example")
        .body(Body::from(content.to_owned()))
        .unwrap()
}

/// XEP-0124 section 5.
#[tokio::test]
async fn a_request_is_answered_as_xml_that_no_cache_keeps() {
    let (status, headers, body) = answer(site(), post("<body/>")).await;
    assert_eq!((status, body.as_slice()), (StatusCode::OK, &b"<body/>"[..]));
    assert_eq!(headers["content-type"], "text/xml; charset=utf-8");
    assert_eq!(headers["cache-control"], "no-store");
    assert_eq!(headers["access-control-allow-origin"], "*");
}

#[tokio::test]
async fn only_pages_of_the_list_may_ask() {
    let listed = |origin: &str| Site { origins: Arc::new([origin.to_owned()]), ..site() };
    let (status, headers, _) = answer(listed("https://app.example"), post("<body/>")).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers["access-control-allow-origin"], "https://app.example");
    assert_eq!(headers["vary"], "Origin");
    let (status, headers, _) = answer(listed("https://other.example"), post("<body/>")).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(headers.get("access-control-allow-origin").is_none());
    // What is no page names no origin.
    let request = Request::post("/http-bind").body(Body::from("<body/>")).unwrap();
    assert_eq!(answer(listed("https://other.example"), request).await.0, StatusCode::OK);
}

#[tokio::test]
async fn browsers_may_ask_first_and_people_are_told() {
    let request = Request::options("/http-bind")
        .header("origin", "https://app.example")
        .body(Body::empty())
        .unwrap();
    let (status, headers, _) = answer(site(), request).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(headers["access-control-allow-methods"], "OPTIONS, GET, POST");
    let request = Request::get("/http-bind").body(Body::empty()).unwrap();
    assert_eq!(answer(site(), request).await.0, StatusCode::OK);
    let request = Request::delete("/http-bind").body(Body::empty()).unwrap();
    assert_eq!(answer(site(), request).await.0, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn too_much_is_refused() {
    let (status, _, _) = answer(site(), post(&"x".repeat(6_000))).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let (status, headers, _) = answer(site(), post("full")).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(headers["retry-after"], "5");
}

/// A request that does not end keeps its connection for half a minute.
#[tokio::test(start_paused = true)]
async fn half_a_request_is_not_waited_for() {
    let begun = tokio::time::Instant::now();
    let half = futures_util::stream::pending::<std::io::Result<Bytes>>();
    let request = Request::post("/http-bind").body(Body::from_stream(half)).unwrap();
    assert_eq!(answer(site(), request).await.0, StatusCode::REQUEST_TIMEOUT);
    assert_eq!(begun.elapsed().as_secs(), 30);
}
