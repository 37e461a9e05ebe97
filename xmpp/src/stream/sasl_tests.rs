//! Each mechanism but SCRAM, step by step; what is offered.

use std::sync::Arc;

use super::*;
use crate::stream::ht::TokenKey;

fn jid(text: &str) -> Jid {
    Jid::parse(text).unwrap()
}

fn context<'a>(bindings: &'a Bindings, identities: &'a [Jid]) -> Context<'a> {
    Context {
        domain: "d",
        bindings,
        identities,
        from: None,
        offered: "",
        nonce: "n",
        device: Some("device"),
        count: Some(3),
        invalidate: false,
    }
}

fn failed(step: &Step) -> Failure {
    match step {
        Step::Failed(failure) => *failure,
        other => panic!("{other:?}"),
    }
}

fn account(step: Step) -> Jid {
    match step {
        Step::Success(success) => success.account,
        other => panic!("{other:?}"),
    }
}

/// Runs PLAIN to its end for an account with these keys.
fn run_plain(message: &[u8], keys: Option<PasswordKeys>) -> Step {
    let bindings = Bindings::default();
    let context = context(&bindings, &[]);
    let (mut attempt, step) = Attempt::start(Mechanism::Plain, Some(message), &context);
    let Step::Ask(Question::Keys(claim)) = step else { return step };
    let keys = LoginKeys::new(keys.map(Arc::new), b"secret", claim.name(), 10);
    let step = attempt.handle_answer(Answer::Keys(keys), &context);
    let Step::Ask(Question::Derive { password, salt, iterations }) = step else { panic!() };
    let answer = crate::service::derive(&password.0, &salt, iterations);
    attempt.handle_answer(answer, &context)
}

/// RFC 4616 section 2.
#[test]
fn plain_takes_the_right_password_only_by_whichever_keys_there_are() {
    let all = PasswordKeys::derive("geheim", b"salt", 10);
    let old = PasswordKeys { sha1: all.sha1.clone(), ..PasswordKeys::default() };
    for keys in [all, old] {
        assert_eq!(account(run_plain(b"\0Ana\0geheim", Some(keys.clone()))), jid("ana@d"));
        assert_eq!(account(run_plain(b"ana@d\0ana\0geheim", Some(keys.clone()))), jid("ana@d"));
        let wrong = run_plain(b"\0ana\0falsch", Some(keys));
        assert_eq!(failed(&wrong), Failure::NotAuthorized);
    }
    assert_eq!(failed(&run_plain(b"\0ana\0geheim", None)), Failure::NotAuthorized);
    assert_eq!(failed(&run_plain(b"\0a b\0geheim", None)), Failure::NotAuthorized);
}

#[test]
fn plain_of_another_form_or_for_somebody_else_is_refused() {
    for bad in ["", "ana", "\0ana", "\0\0geheim", "\0ana\0", "\0ana\0x\0y"] {
        let step = run_plain(bad.as_bytes(), None);
        assert_eq!(failed(&step), Failure::MalformedRequest, "{bad:?}");
    }
    let long = format!("\0ana\0{}", "x".repeat(5_000));
    assert_eq!(failed(&run_plain(long.as_bytes(), None)), Failure::MalformedRequest);
    for other in ["bob@d\0ana\0x", "ana@e\0ana\0x", "ana@d/r\0ana\0x", "@@@\0ana\0x"] {
        let step = run_plain(other.as_bytes(), None);
        assert_eq!(failed(&step), Failure::InvalidAuthzid, "{other:?}");
    }
}

/// RFC 4422 section 5: without an initial response the client is asked for its first message.
#[test]
fn a_client_may_wait_to_be_asked() {
    let bindings = Bindings::default();
    let context = context(&bindings, &[]);
    let (mut attempt, step) = Attempt::start(Mechanism::Plain, None, &context);
    assert!(matches!(step, Step::Challenge(data) if data.is_empty()));
    let step = attempt.handle_response(b"\0ana\0x", &context);
    assert!(matches!(step, Step::Ask(Question::Keys(_))));
}

/// RFC 4422 appendix A, XEP-0178 section 2.
#[test]
fn external_is_the_account_of_the_certificate() {
    let bindings = Bindings::default();
    let run = |identities: &[Jid], message: &str| {
        let context = context(&bindings, identities);
        let (mut attempt, step) =
            Attempt::start(Mechanism::External, Some(message.as_bytes()), &context);
        let Step::Ask(Question::Exists(_)) = step else { return step };
        attempt.handle_answer(Answer::Exists(true), &context)
    };
    let (ana, bob, other) = (jid("ana@d"), jid("bob@d"), jid("ana@e"));
    assert_eq!(account(run(&[other.clone(), ana.clone()], "")), ana);
    let two = [ana.clone(), bob.clone()];
    assert_eq!(account(run(&two, "bob@d")), bob);
    for (identities, message, failure) in [
        (&two[..], "", Failure::InvalidAuthzid),
        (&two, "carl@d", Failure::InvalidAuthzid),
        (&two, "@", Failure::InvalidAuthzid),
        (&[other], "", Failure::NotAuthorized),
        (&[], "ana@d", Failure::NotAuthorized),
    ] {
        assert_eq!(failed(&run(identities, message)), failure, "{message}");
    }
    // A certificate of an account that is no more.
    let identities = [ana];
    let context = context(&bindings, &identities);
    let (mut attempt, _) = Attempt::start(Mechanism::External, Some(b""), &context);
    let step = attempt.handle_answer(Answer::Exists(false), &context);
    assert_eq!(failed(&step), Failure::NotAuthorized);
}

fn run_bearer(message: &str, name: Option<&str>) -> (Attempt, Step) {
    let bindings = Bindings::default();
    let context = context(&bindings, &[]);
    let (mut attempt, step) =
        Attempt::start(Mechanism::OauthBearer, Some(message.as_bytes()), &context);
    let Step::Ask(Question::Bearer { domain, token }) = step else { return (attempt, step) };
    assert_eq!(
        (domain.as_str(), token.0.as_str()),
        ("d", "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==")
    );
    let step = attempt.handle_answer(Answer::Identity(name.map(str::to_owned)), &context);
    let Step::Ask(Question::Exists(_)) = step else { return (attempt, step) };
    let step = attempt.handle_answer(Answer::Exists(true), &context);
    (attempt, step)
}

/// RFC 7628 section 4.1.
#[test]
fn a_bearer_token_is_the_account_it_was_issued_to() {
    let message = "n,a=ana@d,\u{1}host=server.example.com\u{1}port=143\u{1}\
        auth=bEaReR vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\u{1}\u{1}";
    assert_eq!(account(run_bearer(message, Some("ana")).1), jid("ana@d"));
    // It is the token that says who it is.
    assert_eq!(failed(&run_bearer(message, Some("bob")).1), Failure::InvalidAuthzid);
    let anonymous = message.replace("a=ana@d", "");
    assert_eq!(account(run_bearer(&anonymous, Some("bob")).1), jid("bob@d"));
}

/// RFC 7628 sections 3.2.2, 3.2.3 and 4.3: what is wrong is said in a challenge, and the client's answer ends it.
#[test]
fn a_token_that_is_not_valid_is_told_so_before_the_failure() {
    let token = "n,,\u{1}auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\u{1}\u{1}";
    for message in [token, "n,,\u{1}auth=\u{1}\u{1}", "n,,\u{1}auth=Basic x\u{1}\u{1}"] {
        let (mut attempt, step) = run_bearer(message, None);
        let Step::Challenge(said) = step else { panic!("{step:?}") };
        assert_eq!(said, br#"{"status":"invalid_token"}"#);
        let bindings = Bindings::default();
        let step = attempt.handle_response(b"\x01", &context(&bindings, &[]));
        assert_eq!(failed(&step), Failure::NotAuthorized);
    }
    for bad in [
        "",
        "\u{1}",
        "n,,",
        "n,,\u{1}",
        "n,,\u{1}x=y\u{1}\u{1}",
        "p=x,,\u{1}auth=Bearer x\u{1}\u{1}",
    ] {
        assert_eq!(failed(&run_bearer(bad, None).1), Failure::MalformedRequest, "{bad:?}");
    }
}

#[test]
fn a_token_is_used_before_it_logs_in_and_one_that_is_out_of_date_says_so() {
    let bindings = Bindings::default();
    let context = context(&bindings, &[]);
    let text = "x".repeat(80);
    let key = TokenKey::of(&text);
    let mut mac =
        <hmac::Hmac<sha2::Sha256> as hmac::KeyInit>::new_from_slice(text.as_bytes()).unwrap();
    hmac::Mac::update(&mut mac, b"Initiator");
    let proof = hmac::Mac::finalize(mac).into_bytes();
    let message = [b"ana\0".as_slice(), &proof].concat();
    let run = |expired, used| {
        let mechanism = Mechanism::Token(TokenMechanism::Unbound);
        let (mut attempt, step) = Attempt::start(mechanism, Some(&message), &context);
        assert!(matches!(step, Step::Ask(Question::Tokens { device, .. }) if device == "device"));
        let mechanism = TokenMechanism::Unbound;
        let token = StoredToken { id: 5, mechanism, key, expired, due: false };
        let step = attempt.handle_answer(Answer::Tokens(vec![token]), &context);
        let Step::Ask(Question::UseToken { token, count, .. }) = step else { return step };
        assert_eq!((token, count), (5, Some(3)));
        attempt.handle_answer(Answer::Used(used), &context)
    };
    assert_eq!(account(run(false, true)), jid("ana@d"));
    assert_eq!(failed(&run(false, false)), Failure::NotAuthorized);
    assert_eq!(failed(&run(true, true)), Failure::CredentialsExpired);
}

#[test]
fn a_store_that_fails_is_a_temporary_failure() {
    let bindings = Bindings::default();
    let context = context(&bindings, &[]);
    let (mut attempt, _) = Attempt::start(Mechanism::Plain, Some(b"\0ana\0x"), &context);
    let step = attempt.handle_answer(Answer::Unavailable, &context);
    assert_eq!(failed(&step), Failure::TemporaryAuthFailure);
}

#[test]
fn what_is_offered_depends_on_the_connection_and_the_settings_only() {
    let offer =
        |policy, bindings: &Bindings, certified| Offer::new(policy, bindings, certified).mechanisms;
    let bound = Bindings { exporter: None, end_point: Some(vec![1]) };
    assert_eq!(
        offer(Policy::default(), &bound, false),
        [
            "SCRAM-SHA-512-PLUS",
            "SCRAM-SHA-256-PLUS",
            "SCRAM-SHA-1-PLUS",
            "SCRAM-SHA-512",
            "SCRAM-SHA-256",
            "SCRAM-SHA-1",
            "PLAIN"
        ]
    );
    let policy = Policy { sha512: false, plain: false, bearer: true };
    assert_eq!(
        offer(policy, &Bindings::default(), true),
        ["EXTERNAL", "SCRAM-SHA-256", "SCRAM-SHA-1", "OAUTHBEARER"]
    );
    for name in offer(Policy { bearer: true, ..Policy::default() }, &bound, true) {
        assert!(Mechanism::parse(name).is_some(), "{name}");
    }
    for name in ["", "PLAIN-PLUS", "SCRAM-SHA-384", "scram-sha-1", "ANONYMOUS", "DIGEST-MD5"] {
        assert_eq!(Mechanism::parse(name), None, "{name}");
    }
}
