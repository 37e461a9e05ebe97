//! The vectors of RFC 7616 section 3.9.1 (RFC 8760 refers to them) and RFC 2617, nonces in virtual time.

use std::time::{Duration, Instant};

use super::digest::Protection;
use super::*;
use crate::msg::{Limits, Message, Request, parse_datagram};

const RFC7616: &str = r#"Digest username="Mufasa", realm="http-auth@example.org", uri="/dir/index.html", algorithm=ALG,
 nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", nc=00000001,
 cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", qop=auth,
 response="RESPONSE", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#;

#[test]
fn the_hashes_are_those_of_the_rfcs() {
    let cases = [
        (Algorithm::Md5, "8ca523f5e9506fed4657c9700eebdbec"),
        (Algorithm::Sha256, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ];
    for (algorithm, response) in cases {
        let text = RFC7616.replace("ALG", algorithm.as_str()).replace("RESPONSE", response);
        let answer = Credentials::parse(&text).unwrap();
        let ha1 = algorithm.ha1("Mufasa", "http-auth@example.org", "Circle of Life");
        assert_eq!(answer.expected(&ha1, "GET", b""), response, "{algorithm:?}");
        assert_eq!(Credentials::parse(&answer.to_string()), Ok(answer));
    }
}

#[test]
fn an_answer_without_qop_hashes_as_rfc_2069() {
    let mut answer = Credentials::parse(&RFC7616.replace("ALG", "MD5")).unwrap();
    answer.protection = None;
    let ha1 = Algorithm::Md5.ha1("Mufasa", "http-auth@example.org", "Circle of Life");
    let ha2 = Algorithm::Md5.hash(&[b"GET", b"/dir/index.html"]);
    let expected = Algorithm::Md5.hash(&[ha1.as_bytes(), answer.nonce.as_bytes(), ha2.as_bytes()]);
    assert_eq!(answer.expected(&ha1, "GET", b""), expected);
}

#[test]
fn bad_parameters_are_refused() {
    let cases = [
        ("Basic Zm9v", AuthError::Scheme),
        ("NoOneKnowsThisScheme opaque-data=here", AuthError::Scheme),
        (r#"Digest username="a", username="b""#, AuthError::Malformed),
        (r#"Digest username="a"#, AuthError::Malformed),
        (r#"Digest username="a", realm="r", nonce="n", uri="u""#, AuthError::Malformed),
        (
            r#"Digest username="a", realm="r", nonce="n", uri="u", response="x", qop=auth"#,
            AuthError::Malformed,
        ),
        (
            r#"Digest username="a", realm="r", nonce="n", uri="u", response="x", qop=auth, cnonce="c", nc=1"#,
            AuthError::Malformed,
        ),
        (
            r#"Digest username="a", realm="r", nonce="n", uri="u", response="x", algorithm=MD5-sess"#,
            AuthError::Unknown,
        ),
    ];
    for (text, error) in cases {
        assert_eq!(Credentials::parse(text), Err(error), "{text}");
    }
}

#[test]
fn the_first_known_challenge_is_answered() {
    let offered = [
        r#"Digest realm="r", nonce="1", algorithm=SHA-512-256, qop="auth""#,
        r#"Digest realm="r", nonce="2", algorithm=SHA-256, qop="auth,auth-int""#,
        r#"Digest realm="r", nonce="3", algorithm=MD5, qop="auth""#,
    ];
    let challenge = Challenge::first_known(offered.into_iter()).unwrap();
    assert_eq!((challenge.algorithm, challenge.nonce.as_str()), (Algorithm::Sha256, "2"));
    assert_eq!(challenge.qop, [Qop::Auth, Qop::AuthInt]);
    assert_eq!(Challenge::parse(&challenge.to_string()), Ok(challenge));
}

fn verifier(now: Instant, capacity: usize) -> Verifier {
    Verifier::new(
        "localhost",
        &Algorithm::ALL,
        Nonces::new([7; 32], Duration::from_secs(60), capacity, now),
    )
}

fn request(credentials: &Credentials) -> Request {
    let text = format!(
        "REGISTER sip:localhost SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK1\r\nFrom: <sip:ana@localhost>;tag=1\r\n\
         To: <sip:ana@localhost>\r\nCall-ID: 1\r\nCSeq: 1 REGISTER\r\nAuthorization: {credentials}\r\n\r\nbody"
    );
    match parse_datagram(text.into_bytes(), &Limits::default()) {
        Ok(Message::Request(request)) => request,
        other => panic!("{other:?}"),
    }
}

fn judge(
    verifier: &mut Verifier,
    credentials: &Credentials,
    ha1: Option<&str>,
    now: Instant,
) -> Outcome {
    let request = request(credentials);
    let Presented::Answer(answer) = verifier.read(&request) else { panic!("no answer") };
    verifier.verify(&answer, ha1, &request, now)
}

#[test]
fn an_answer_is_good_once_and_for_a_time() {
    let start = Instant::now();
    let mut verifier = verifier(start, 10);
    let challenge = verifier.challenges(false, start).remove(0);
    assert_eq!(challenge.algorithm, Algorithm::Sha256);
    let ha1 = challenge.algorithm.ha1("ana", "localhost", "secret");
    let wrong = challenge.algorithm.ha1("ana", "localhost", "guess");
    let answer =
        |count| challenge.answer("ana", &ha1, ("REGISTER", "sip:localhost", b"body"), ("c", count));
    let soon = start + Duration::from_secs(1);
    let late = start + Duration::from_secs(61);
    let cases = [
        ("a wrong password", answer(1), Some(&wrong), soon, Outcome::Denied),
        ("an unknown user", answer(1), None, soon, Outcome::Denied),
        ("the right password", answer(1), Some(&ha1), soon, Outcome::Granted),
        ("the same again", answer(1), Some(&ha1), soon, Outcome::Stale),
        ("the next but one", answer(3), Some(&ha1), soon, Outcome::Granted),
        ("overtaken on the way", answer(2), Some(&ha1), soon, Outcome::Granted),
        ("count zero", answer(0), Some(&ha1), soon, Outcome::Stale),
        ("a far higher count", answer(500), Some(&ha1), soon, Outcome::Granted),
        ("too far behind", answer(4), Some(&ha1), soon, Outcome::Stale),
        ("too old a nonce", answer(501), Some(&ha1), late, Outcome::Stale),
        ("too old a nonce, wrong password", answer(501), Some(&wrong), late, Outcome::Denied),
    ];
    for (name, credentials, ha1, now, expected) in cases {
        assert_eq!(
            judge(&mut verifier, &credentials, ha1.map(String::as_str), now),
            expected,
            "{name}"
        );
    }
}

#[test]
fn an_answer_without_qop_and_a_foreign_nonce_are_not_granted() {
    let now = Instant::now();
    let mut verifier = verifier(now, 10);
    let mut challenge = verifier.challenges(false, now).remove(1);
    let ha1 = challenge.algorithm.ha1("ana", "localhost", "secret");
    let call = ("REGISTER", "sip:localhost", &b"body"[..]);
    challenge.qop = Vec::new();
    assert_eq!(
        judge(&mut verifier, &challenge.answer("ana", &ha1, call, ("c", 1)), Some(&ha1), now),
        Outcome::Denied
    );
    challenge.qop = vec![Qop::AuthInt];
    challenge.nonce = "made-up".to_owned();
    assert_eq!(
        judge(&mut verifier, &challenge.answer("ana", &ha1, call, ("c", 1)), Some(&ha1), now),
        Outcome::Stale
    );
}

#[test]
fn auth_int_covers_the_body() {
    let challenge = Challenge {
        realm: "r".into(),
        nonce: "n".into(),
        opaque: None,
        is_stale: false,
        algorithm: Algorithm::Sha256,
        qop: vec![Qop::AuthInt],
    };
    let ha1 = Algorithm::Sha256.ha1("u", "r", "p");
    let answer = challenge.answer("u", &ha1, ("INVITE", "sip:x", b"one"), ("c", 1));
    assert_eq!(
        answer.protection,
        Some(Protection { qop: Qop::AuthInt, cnonce: "c".into(), count: 1 })
    );
    assert_eq!(answer.expected(&ha1, "INVITE", b"one"), answer.response);
    assert_ne!(answer.expected(&ha1, "INVITE", b"two"), answer.response);
}

#[test]
fn a_forgotten_nonce_cannot_be_replayed() {
    let start = Instant::now();
    let mut verifier = verifier(start, 2);
    let ha1 = Algorithm::Sha256.ha1("ana", "localhost", "secret");
    let mut first = None;
    for step in 0..4 {
        let now = start + Duration::from_millis(step);
        let challenge = verifier.challenges(false, now).remove(0);
        let answer =
            challenge.answer("ana", &ha1, ("REGISTER", "sip:localhost", b"body"), ("c", 1));
        assert_eq!(judge(&mut verifier, &answer, Some(&ha1), now), Outcome::Granted, "step {step}");
        first.get_or_insert(answer);
    }
    let now = start + Duration::from_millis(5);
    assert_eq!(judge(&mut verifier, &first.unwrap(), Some(&ha1), now), Outcome::Stale);
}
