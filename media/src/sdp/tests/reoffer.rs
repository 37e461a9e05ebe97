//! RFC 3264 section 8: changes of a session under way.

use super::*;

fn said(bytes: &[u8]) -> Session {
    Session::parse(bytes).unwrap()
}

fn version(session: &Session) -> u64 {
    session.origin.version.parse().unwrap()
}

#[test]
fn the_version_grows_with_changes_only() {
    let mut ours = Negotiator::new(7);
    let held = LocalAudio { direction: Direction::SendOnly, ..local() };
    let moved = LocalAudio { addr: "192.0.2.10:40000".parse().unwrap(), ..local() };
    let steps = [(&local(), 1), (&local(), 1), (&held, 2), (&held, 2), (&local(), 3), (&moved, 4)];
    for (local, expected) in steps {
        let session = said(&ours.offer(local));
        assert_eq!((version(&session), session.origin.id.as_str()), (expected, "7"));
        assert_eq!(ours.version(), expected);
    }
    // An answer that says the same as the offer before is the same description.
    let mut callee = Negotiator::new(8);
    let offer = from_phone(&["m=audio 5000 RTP/AVP 8"]);
    let local = LocalAudio::new(super::ours(), vec![AudioFormat::audio(8, Codec::Pcma)]);
    let (first, _) = callee.answer(&offer, &local).unwrap();
    let (again, _) = callee.answer(&offer, &local).unwrap();
    assert_eq!(first, again, "a session refresh");
    assert_eq!(callee.offer(&local), first);
}

#[test]
fn hold_and_resume_by_the_peer() {
    let mut callee = Negotiator::new(1);
    let steps = [
        ("sendrecv", Direction::SendRecv, 1),
        ("sendonly", Direction::RecvOnly, 2),
        ("sendonly", Direction::RecvOnly, 2),
        ("inactive", Direction::Inactive, 3),
        ("sendrecv", Direction::SendRecv, 4),
    ];
    for (theirs, expected, number) in steps {
        let offer = from_phone(&["m=audio 5000 RTP/AVP 0", &format!("a={theirs}")]);
        let (bytes, remote) = callee.answer(&offer, &local()).unwrap();
        let answer = said(&bytes);
        assert_eq!((answer.direction_of(audio(&answer)), version(&answer)), (expected, number));
        assert_eq!(remote.direction, expected);
    }
}

/// A phone that answers our hold with both ways is held all the same.
#[test]
fn hold_and_resume_by_us() {
    let mut caller = Negotiator::new(1);
    caller.offer(&local());
    let answer = from_phone(&["m=audio 5000 RTP/AVP 0", "a=sendrecv"]);
    assert_eq!(caller.accept_answer(&answer).unwrap().direction, Direction::SendRecv);
    let held = LocalAudio { direction: Direction::SendOnly, ..local() };
    let offer = said(&caller.offer(&held));
    assert_eq!(offer.direction_of(audio(&offer)), Direction::SendOnly);
    assert_ne!(offer.section.value('c'), Some("IN IP4 0.0.0.0"));
    let remote = caller.accept_answer(&answer).unwrap();
    assert_eq!((remote.direction, remote.is_held()), (Direction::SendOnly, false));
    caller.offer(&local());
    assert_eq!(caller.accept_answer(&answer).unwrap().direction, Direction::SendRecv);
}

/// Slots, numbers, `a=mid` and the profile of the peer's offer stay in ours.
#[test]
fn our_later_offer_keeps_what_the_session_has() {
    let key = format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}");
    let offer = from_phone(&[
        "m=video 4000 RTP/SAVPF 100",
        "m=audio 4002 RTP/SAVPF 96 8 101 97",
        "a=rtpmap:96 opus/48000/2",
        "a=rtpmap:101 telephone-event/48000",
        "a=rtpmap:97 telephone-event/8000",
        "a=mid:voice",
        &key,
        "m=text 4004 RTP/AVP 98",
    ]);
    let local = LocalAudio { encryption: Encryption::Opportunistic(keys()), ..local() };
    let mut callee = Negotiator::new(1);
    callee.answer(&offer, &local).unwrap();

    let ours = said(&callee.offer(&local));

    let first: Vec<String> = ours.media.iter().map(ToString::to_string).collect();
    let expected =
        ["video 0 RTP/SAVPF 100", "audio 40000 RTP/SAVPF 96 9 0 8 97 101", "text 0 RTP/AVP 98"];
    assert_eq!(first, expected);
    let line = audio(&ours);
    let maps: Vec<&str> = line.section.attributes("rtpmap").collect();
    assert!(
        maps.contains(&"97 telephone-event/8000") && maps.contains(&"101 telephone-event/48000")
    );
    assert_eq!(line.section.mid(), Some("voice"));
    assert_eq!(version(&ours), 2);

    let answer = from_phone(&[
        "m=video 0 RTP/SAVPF 100",
        "m=audio 4002 RTP/SAVPF 8",
        &format!("a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:{KEY}"),
        "m=text 0 RTP/AVP 98",
    ]);
    assert!(callee.accept_answer(&answer).unwrap().srtp.is_some());
    let one = from_phone(&["m=audio 4002 RTP/SAVPF 8"]);
    assert_eq!(callee.accept_answer(&one), Err(SdpError::AnswerMismatch));
}

/// A number that meant something else before gets another one in our offer.
#[test]
fn numbers_do_not_change_their_meaning() {
    let mut callee = Negotiator::new(1);
    let offer = from_phone(&["m=audio 4002 RTP/AVP 101 8", "a=rtpmap:101 opus/48000/2"]);
    callee.answer(&offer, &local()).unwrap();
    let ours = said(&callee.offer(&local()));
    let maps: Vec<&str> = audio(&ours).section.attributes("rtpmap").collect();
    assert!(
        maps.contains(&"101 opus/48000/2") && maps.contains(&"96 telephone-event/8000"),
        "{maps:?}"
    );
}

#[test]
fn the_audio_in_use_stays_while_it_can() {
    let local = local();
    let mut callee = Negotiator::new(1);
    let one = ["m=audio 0 RTP/AVP 8", "m=audio 4002 RTP/AVP 8"];
    callee.answer(&from_phone(&one), &local).unwrap();
    let both = ["m=audio 4000 RTP/AVP 8", "m=audio 4002 RTP/AVP 8"];
    let (bytes, _) = callee.answer(&from_phone(&both), &local).unwrap();
    assert_eq!(said(&bytes).media.iter().map(|m| m.port).collect::<Vec<_>>(), [0, 40_000]);
    let gone = ["m=audio 4000 RTP/AVP 8", "m=audio 0 RTP/AVP 8"];
    let (bytes, _) = callee.answer(&from_phone(&gone), &local).unwrap();
    assert_eq!(said(&bytes).media.iter().map(|m| m.port).collect::<Vec<_>>(), [40_000, 0]);
}

#[test]
fn a_refused_change_leaves_all_as_it_was() {
    let mut callee = Negotiator::new(1);
    let good = from_phone(&["m=audio 4002 RTP/AVP 8"]);
    let (before, _) = callee.answer(&good, &local()).unwrap();
    let bad = from_phone(&["m=video 1 RTP/AVP 99", "m=audio 4002 RTP/AVP 18"]);
    assert_eq!(callee.answer(&bad, &local()).map(|_| ()), Err(SdpError::NoCommonCodec));
    assert_eq!(callee.answer(&good, &local()).unwrap().0, before);
}

/// 488 to SAVP, and the caller tries again with less.
#[test]
fn a_refused_profile_does_not_stick() {
    let mut caller = Negotiator::new(1);
    caller.offer(&LocalAudio { encryption: Encryption::Required(keys()), ..local() });
    let maybe = LocalAudio { encryption: Encryption::Opportunistic(keys()), ..local() };
    let offer = said(&caller.offer(&maybe));
    assert_eq!(audio(&offer).profile(), Some(Profile::Avp));
    assert!(caller.accept_answer(&from_phone(&["m=audio 1 RTP/AVP 0"])).unwrap().srtp.is_none());
}

/// An encrypted line is offered encrypted again, by whoever began.
#[test]
fn an_agreed_profile_stays() {
    let must = LocalAudio { encryption: Encryption::Required(keys()), ..local() };
    let maybe = LocalAudio { encryption: Encryption::Opportunistic(keys()), ..local() };
    let mut caller = Negotiator::new(1);
    caller.offer(&must);
    let key = format!("a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:{KEY}");
    caller.accept_answer(&from_phone(&["m=audio 1 RTP/SAVP 0", &key])).unwrap();
    assert_eq!(audio(&said(&caller.offer(&maybe))).profile(), Some(Profile::Savp));
}
