//! A browser made of our own cores and a phone made of bytes, against the engine, in virtual time.

mod world;

use self::world::*;
use super::*;
use crate::codec::transcode::Transcoder;
use crate::control::{Cause, Setup};
use crate::dtls::is_dtls;
use crate::session::packet::Header;
use crate::stun;

#[test]
fn a_browser_and_a_phone_hear_each_other_whoever_is_dtls_client() {
    for setup in [Setup::Active, Setup::Passive, Setup::ActPass] {
        let mut world = World::new();
        world.plain_phone();
        let identity = world.identity.clone();
        // What the browser takes as the gateway's role must fit what the gateway does.
        let shown = if setup == Setup::ActPass { Setup::Passive } else { setup };
        world.open_browser(&identity, identity.fingerprint(), shown);
        world.say(Command::SetCodecs(BROWSER, codecs(111, Codec::Pcmu, None)));
        world.say(Command::Connect(PHONE, BROWSER));
        world.run(Duration::from_secs(2));
        assert_eq!(world.events, [MediaEvent::Connected { leg: BROWSER }], "{setup:?}");

        for n in 0..5 {
            world.phone_says(rtp(0, 65_533_u16.wrapping_add(n), b"from the phone"));
            world.browser_says(rtp(111, 500 + n, b"from the browser"));
        }

        let heard = world.browser().heard.clone();
        assert_eq!(heard.len(), 5);
        assert!(heard.iter().all(|(h, p)| h.payload_type == 111 && p == b"from the phone"));
        let steps = heard.windows(2).map(|w| w[1].0.sequence.wrapping_sub(w[0].0.sequence));
        assert!(steps.eq([1; 4]));
        assert!(world.heard.iter().all(|(h, p)| h.payload_type == 0 && p == b"from the browser"));
        assert_eq!(world.heard.len(), 5);
        assert!(world.heard.iter().all(|(h, _)| h.ssrc == world.heard[0].0.ssrc && h.ssrc != 77));
        assert_eq!(world.events.last(), Some(&MediaEvent::Connected { leg: PHONE }));
        assert_eq!(world.counters[0].read().packets_in, 5);
        assert_eq!(world.counters[0].read().packets_out, 5);
    }
}

#[test]
fn a_browser_with_another_certificate_than_it_told_fails() {
    let mut world = World::new();
    let other = Identity::generate().unwrap();
    let identity = world.identity.clone();
    world.open_browser(&other, identity.fingerprint(), Setup::Active);
    assert!(world.events.is_empty());
    let mut world = World::new();
    world.open_browser(&other, other.fingerprint(), Setup::Passive);
    world.run(Duration::from_secs(2));
    assert!(world.browser().keys.is_none(), "the browser must not trust us either");

    let mut world = World::new();
    let wrong = description("page", other.fingerprint(), Setup::Active, vec![]);
    world.open_browser(&identity, identity.fingerprint(), Setup::Active);
    world.say(Command::CloseLeg(BROWSER));
    world.browser = None;
    world.events.clear();
    reopen_with(&mut world, wrong);
    world.run(Duration::from_secs(2));
    assert!(matches!(&world.events[..], [MediaEvent::Failed { leg: BROWSER, .. }]));
}

#[test]
fn without_a_sha_256_fingerprint_a_leg_fails_at_once() {
    let mut world = World::new();
    let mut told = description("page", "00", Setup::Active, vec![]);
    told.fingerprints[0].0 = "sha-1".into();
    reopen_with(&mut world, told);
    assert!(matches!(&world.events[..], [MediaEvent::Failed { leg: BROWSER, .. }]));
}

#[test]
fn what_was_not_negotiated_is_dropped_and_counted() {
    let stranger = address("192.0.2.9:4000");
    let second = |sequence| {
        let mut packet = rtp(0, sequence, b"x");
        packet[11] = 78;
        packet
    };
    let table: &[(&str, SocketAddr, Vec<u8>, Cause)] = &[
        ("another address", stranger, rtp(0, 2, b"x"), Cause::WrongAddress),
        (
            "another port after the first packet",
            address("192.0.2.1:4002"),
            rtp(0, 2, b"x"),
            Cause::WrongAddress,
        ),
        ("another payload type", address("192.0.2.1:4000"), rtp(8, 2, b"x"), Cause::NotNegotiated),
        ("a second source", address("192.0.2.1:4000"), second(2), Cause::WrongSsrc),
        ("no RTP at all", address("192.0.2.1:4000"), b"hello, world".to_vec(), Cause::Malformed),
        (
            "half a header",
            address("192.0.2.1:4000"),
            rtp(0, 2, b"")[..11].to_vec(),
            Cause::Malformed,
        ),
    ];
    for (name, from, datagram, cause) in table {
        let mut world = World::new();
        world.plain_phone();
        world.say(Command::Echo(PHONE));
        world.phone_says(rtp(0, 1, b"x"));
        let mut datagram = datagram.clone();
        world.engine.handle_datagram(Socket::Rtp(PHONE), *from, &mut datagram, world.now);
        world.pump();
        assert_eq!(world.heard.len(), 1, "{name}");
        assert_eq!(world.drops(PHONE, *cause), 1, "{name}");
        assert_eq!(world.counters[0].read().drops.total(), 1, "{name}");
    }
}

#[test]
fn a_phone_s_port_is_learnt_from_its_first_packet_and_its_source_may_change_after_a_pause() {
    let mut world = World::new();
    world.plain_phone();
    world.say(Command::Echo(PHONE));
    world.phone = address("192.0.2.1:61000");
    world.phone_says(rtp(0, 1, b"x"));
    world.run(Duration::from_secs(1));
    let mut other = rtp(0, 900, b"y");
    other[11] = 78;
    world.phone_says(other);
    let sequences: Vec<u16> = world.heard.iter().map(|(h, _)| h.sequence).collect();
    assert_eq!(sequences[1], sequences[0].wrapping_add(1));
    assert_eq!(world.reports, [address("192.0.2.1:4001")]);
}

#[test]
fn a_browser_s_packets_need_the_right_key_and_come_once() {
    let mut world = World::connected(Codec::Pcmu);
    let mut sealed = rtp(111, 1, b"hello");
    let length = sealed.len();
    sealed.resize(length + 40, 0);
    let total = world.browser().keys.as_mut().unwrap().0.protect_rtp(&mut sealed, length).unwrap();
    sealed.truncate(total);

    world.browser_sends(rtp(111, 1, b"not encrypted, but long enough for a tag"));
    let mut bent = sealed.clone();
    bent[14] ^= 1;
    world.browser_sends(bent);
    world.browser_sends(sealed.clone());
    world.browser_sends(sealed);

    assert_eq!(world.heard.len(), 1);
    assert_eq!(world.drops(BROWSER, Cause::Authentication), 2);
    assert_eq!(world.drops(BROWSER, Cause::Replay), 1);
}

#[test]
fn datagrams_of_strangers_reach_no_leg() {
    let mut world = World::connected(Codec::Pcmu);
    let check = stun::Builder::new(stun::Class::Request, &[1; 12]);
    let named = |name: &str, password: &str| {
        let check = stun::Builder::new(stun::Class::Request, &[1; 12]);
        check.username(name).role(true, 5).finish(password)
    };
    for mut datagram in [
        rtp(111, 1, b"x"),
        vec![22, 254, 253, 0, 0],
        check.finish("x"),
        named("nobody:x", "gate-password-of-22-chars"),
    ] {
        let from = address("203.0.113.66:1");
        world.engine.handle_datagram(Socket::Shared, from, &mut datagram, world.now);
    }
    assert_eq!(world.strangers.read().drops.of(Cause::WrongAddress), 4);
    let mut forged = named("gatefrag:pagefrag", "guessed");
    let from = address("203.0.113.66:1");
    world.engine.handle_datagram(Socket::Shared, from, &mut forged, world.now);
    assert_eq!(world.drops(BROWSER, Cause::Authentication), 1);
    assert!(world.engine.outbox().is_empty());
}

#[test]
fn a_phone_with_keys_may_move_and_without_the_key_nothing_passes() {
    let mut world = World::new();
    let pair = keys();
    world.say(Command::SetRtpRemote(PHONE, remote(world.phone, Some(pair.clone()))));
    world.say(Command::SetCodecs(PHONE, codecs(0, Codec::Pcmu, None)));
    world.say(Command::Echo(PHONE));
    let mut theirs = Context::new(&pair.theirs).unwrap();
    for (n, from) in [(1, "192.0.2.1:4000"), (2, "192.0.2.200:9")] {
        let mut packet = rtp(0, n, b"voice");
        let length = packet.len();
        packet.resize(length + 40, 0);
        let sealed = theirs.protect_rtp(&mut packet, length).unwrap();
        packet.truncate(sealed);
        let from = address(from);
        world.engine.handle_datagram(Socket::Rtp(PHONE), from, &mut packet, world.now);
        let out: Vec<SocketAddr> = world.engine.outbox().iter().map(|(q, _)| q.to).collect();
        assert_eq!(out, [from]);
        let bytes = world.engine.outbox().iter().next().unwrap().1.to_vec();
        assert_eq!(bytes.len(), 12 + 5 + 10);
        assert_ne!(&bytes[12..17], b"voice");
        world.engine.outbox().clear();
    }
    let plain_from = address("192.0.2.1:4000");
    let mut plain = rtp(0, 3, b"voice without a key at all");
    world.engine.handle_datagram(Socket::Rtp(PHONE), plain_from, &mut plain, world.now);
    assert!(world.engine.outbox().is_empty());
    assert_eq!(world.drops(PHONE, Cause::Authentication), 1);
}

#[test]
fn keys_pressed_on_the_phone_reach_the_browser_in_its_clock_and_back() {
    let mut world = World::connected(Codec::Pcmu);
    world.phone_says(rtp(0, 1, b"voice"));
    for duration in [160_u16, 320] {
        let [high, low] = duration.to_be_bytes();
        world.phone_says(rtp(101, 2 + duration / 160, &[5, 10, high, low]));
    }
    let heard = world.browser().heard.clone();
    assert_eq!(heard[1].0.payload_type, 126);
    assert_eq!(heard[1].1, [5, 10, 3, 192]);
    assert_eq!(heard[2].1, [5, 10, 7, 128]);

    world.browser_says(rtp(126, 9, &[1, 10, 3, 192]));
    assert_eq!(world.heard[0].0.payload_type, 101);
    assert_eq!(world.heard[0].1, [1, 10, 0, 160]);

    world.say(Command::SetCodecs(PHONE, codecs(9, Codec::G722, None)));
    world.browser_says(rtp(126, 10, &[1, 0x8a, 3, 192]));
    world.run(Duration::from_millis(200));
    assert_eq!(world.heard.len(), 1);
    assert_eq!(world.drops(BROWSER, Cause::NotNegotiated), 1);
}

/// `interop.md` 6.9: a peer without telephone events hears the key in its audio, once however often its end is said.
#[test]
fn a_key_is_a_sound_for_a_phone_that_takes_no_events() {
    let mut world = World::connected(Codec::Pcmu);
    world.say(Command::SetCodecs(PHONE, codecs(0, Codec::Pcmu, None)));
    world.browser_says(rtp(111, 8, b"voice"));
    for (sequence, flags) in (9..).zip([10, 0x8a, 0x8a, 0x8a]) {
        let (marker, payload_type, timestamp, ssrc) = (false, 126, 1_440, 77);
        let header = Header { marker, payload_type, sequence, timestamp, ssrc };
        let [high, low] = 4_800_u16.to_be_bytes();
        world.browser_says([&header.to_bytes()[..], &[11, flags, high, low]].concat());
    }
    world.run(Duration::from_millis(60));
    world.browser_says(rtp(111, 13, b"voice"));
    world.run(Duration::from_millis(200));
    world.browser_says(rtp(111, 20, b"voice"));
    let heard = world.heard.clone();
    let tone: Vec<_> = heard.iter().filter(|(_, payload)| payload.len() == 160).collect();
    assert_eq!(tone.len(), 5, "100 ms");
    assert!(tone.iter().all(|(header, _)| header.payload_type == 0));
    let steps = tone.windows(2).map(|w| w[1].0.timestamp.wrapping_sub(w[0].0.timestamp));
    assert!(steps.eq([160; 4]));
    let first = crate::codec::tones::packet(11, Codec::Pcmu, 0);
    assert_eq!(Some(&tone[0].1), first.as_ref());
    assert_eq!(heard.iter().filter(|(_, payload)| payload == b"voice").count(), 2, "{heard:?}");
    let steps = heard.windows(2).map(|w| w[1].0.sequence.wrapping_sub(w[0].0.sequence));
    assert!(steps.eq(std::iter::repeat_n(1, heard.len() - 1)), "one stream");
    assert_eq!(heard.last().unwrap().1, b"voice");
    assert_eq!(world.drops(BROWSER, Cause::NotNegotiated), 0);
}

#[test]
fn codecs_that_differ_pass_through_a_worker() {
    let mut world = World::connected(Codec::Opus);
    let mut transcoder = Transcoder::new(Codec::Pcmu, Codec::Opus, 20).unwrap();
    for n in 1..=10 {
        world.phone_says(rtp(0, n, &[0xff; 160]));
        while let Some(Work::Transcode(job)) = world.engine.poll_work() {
            assert_eq!((job.from_codec, job.to_codec), (Codec::Pcmu, Codec::Opus));
            for (timestamp, payload) in transcoder.push(job.sequence, job.timestamp, &job.payload) {
                let (from, to, ssrc) = (job.from, job.to, job.ssrc);
                let (from_codec, codec) = (job.from_codec, job.to_codec);
                let made = Made { from, to, ssrc, from_codec, codec, timestamp, payload };
                world.engine.handle_made(&made, world.now);
                world.pump();
            }
        }
    }
    let heard = world.browser().heard.clone();
    assert_eq!(heard.len(), 10);
    assert!(heard.iter().all(|(h, _)| h.payload_type == 111));
    let steps = heard.windows(2).map(|w| w[1].0.timestamp.wrapping_sub(w[0].0.timestamp));
    assert!(steps.eq([960; 9]));
}

/// RFC 4733 section 2: one timestamp, one stream with the voice, which is silent meanwhile and goes on after the event.
#[test]
fn a_key_told_outside_of_the_audio_is_an_event_in_the_stream_of_the_hearer() {
    let mut world = World::new();
    world.plain_phone();
    world.say(Command::Echo(PHONE));
    for n in 0..3 {
        world.phone_says(rtp(0, n, b"voice"));
    }
    world.say(Command::Digit { from: PHONE, event: 7, duration: Duration::from_millis(100) });
    for n in 3..13 {
        world.run(Duration::from_millis(20));
        world.phone_says(rtp(0, n, b"voice"));
    }
    let heard = world.heard.clone();
    let steps = heard.windows(2).map(|w| w[1].0.sequence.wrapping_sub(w[0].0.sequence));
    assert!(steps.eq(std::iter::repeat_n(1, heard.len() - 1)), "one stream");
    let events: Vec<_> = heard.iter().filter(|(h, _)| h.payload_type == 101).collect();
    assert_eq!(events.len(), 7);
    assert!(events.iter().all(|(h, p)| h.timestamp == events[0].0.timestamp && p[0] == 7));
    assert_eq!(events.last().unwrap().1, [7, 0x8a, 3, 32]);
    let first = heard.iter().position(|(h, _)| h.payload_type == 101).unwrap();
    assert_eq!(first, 3);
    let between = &heard[first..first + 7];
    assert!(between.iter().all(|(h, _)| h.payload_type == 101), "the voice is silent");
    let after = &heard[first + 7].0;
    assert_eq!(after.payload_type, 0);
    assert!(after.timestamp.wrapping_sub(events[0].0.timestamp) >= 800, "after the event");
    assert!(heard.len() > first + 8, "the voice goes on");

    // Whoever takes no events and hears no tones is not told, and that is counted.
    world.say(Command::SetCodecs(PHONE, codecs(9, Codec::G722, None)));
    world.say(Command::Digit { from: PHONE, event: 7, duration: Duration::from_millis(100) });
    assert_eq!(world.counters[0].read().drops.of(Cause::NotNegotiated), 1);
}

#[test]
fn what_a_worker_made_for_a_route_that_is_gone_is_not_sent() {
    let mut world = World::connected(Codec::Opus);
    world.say(Command::Echo(PHONE));
    let made = Made {
        from: PHONE,
        to: BROWSER,
        ssrc: 77,
        from_codec: Codec::Pcmu,
        codec: Codec::Opus,
        timestamp: 0,
        payload: vec![1],
    };
    world.engine.handle_made(&made, world.now);
    assert!(world.engine.outbox().is_empty());
}

#[test]
fn hold_stops_each_direction_for_itself() {
    let mut world = World::connected(Codec::Pcmu);
    world.say(Command::Hold { leg: PHONE, send: false, receive: true });
    world.phone_says(rtp(0, 1, b"x"));
    world.browser_says(rtp(111, 1, b"x"));
    assert_eq!((world.browser().heard.len(), world.heard.len()), (1, 0));
    assert_eq!(world.drops(BROWSER, Cause::Held), 1);

    world.say(Command::Hold { leg: PHONE, send: true, receive: false });
    world.phone_says(rtp(0, 2, b"x"));
    world.browser_says(rtp(111, 2, b"x"));
    assert_eq!((world.browser().heard.len(), world.heard.len()), (1, 1));
    assert_eq!(world.drops(PHONE, Cause::Held), 1);
}

#[test]
fn silence_is_told_once_and_again_after_media_came() {
    let mut world = World::connected(Codec::Pcmu);
    world.say(Command::Hold { leg: BROWSER, send: true, receive: false });
    world.run(Duration::from_secs(65));
    let silent = |world: &World| {
        world.events.iter().filter(|e| matches!(e, MediaEvent::Silent { leg: PHONE, .. })).count()
    };
    assert_eq!(silent(&world), 1);
    world.phone_says(rtp(0, 1, b"x"));
    world.run(Duration::from_secs(31));
    assert_eq!(silent(&world), 2);
    assert!(!world.events.iter().any(|e| matches!(e, MediaEvent::Silent { leg: BROWSER, .. })));
}

#[test]
fn reports_go_to_both_ends() {
    let mut world = World::connected(Codec::Pcmu);
    world.phone_says(rtp(0, 1, b"x"));
    world.browser_says(rtp(111, 1, b"x"));
    world.run(Duration::from_secs(6));
    assert!(world.browser().reports >= 2);
    assert!(world.reports.iter().all(|to| *to == address("192.0.2.1:4001")));
    assert!(world.reports.len() >= 2);
}

#[test]
fn a_browser_that_goes_away_fails_after_its_consent_ran_out() {
    let mut world = World::connected(Codec::Pcmu);
    world.browser = None;
    world.run(Duration::from_secs(36));
    let failed = world.events.iter().any(|e| matches!(e, MediaEvent::Failed { leg: BROWSER, .. }));
    assert!(failed);
    world.phone_says(rtp(0, 1, b"x"));
    assert!(world.engine.outbox().is_empty());
}

#[test]
fn the_end_of_a_call_ends_its_legs_and_leaves_nothing() {
    let mut world = World::connected(Codec::Pcmu);
    world.say(Command::CloseCall(CALL));
    let closed = world.events.iter().filter(|e| matches!(e, MediaEvent::Closed { .. })).count();
    assert_eq!(closed, 2);
    assert!(world.engine.legs.is_empty() && world.engine.calls.is_empty());
    assert!(world.engine.by_ufrag.is_empty() && world.engine.by_remote.is_empty());
    world.engine.handle_timeout(world.now);
    assert_eq!(world.engine.poll_timeout(), None);
}

#[test]
fn dtls_from_a_path_that_ice_has_not_proven_waits_for_the_proof() {
    let mut world = World::new();
    let identity = world.identity.clone();
    let their_identity = Identity::generate().unwrap();
    let mut client = crate::dtls::Association::new(
        &their_identity,
        true,
        vec![identity.fingerprint().to_owned()],
        world.now,
    )
    .unwrap();
    let hello = client.poll_transmit().unwrap();
    let told = description("page", their_identity.fingerprint(), Setup::Active, vec![]);
    reopen_with(&mut world, told);
    world.browser = None;
    let from = address("203.0.113.5:5000");
    let check = stun::Builder::new(stun::Class::Request, &[1; 12])
        .username("gatefrag:pagefrag")
        .role(false, 5);
    let mut check = check.finish("gate-password-of-22-chars");
    world.engine.handle_datagram(Socket::Shared, from, &mut check, world.now);
    let sent: Vec<Vec<u8>> = world.engine.outbox().iter().map(|(_, b)| b.to_vec()).collect();
    world.engine.outbox().clear();

    for _ in 0..2 {
        world.engine.handle_datagram(Socket::Shared, from, &mut hello.clone(), world.now);
    }
    assert!(world.engine.outbox().is_empty());
    assert_eq!(world.drops(BROWSER, Cause::WrongAddress), 1);

    let mut ours = sent.iter().filter_map(|b| stun::Message::parse(b));
    let ours = ours.rfind(|m| m.class == stun::Class::Request).unwrap();
    let answer = stun::Builder::new(stun::Class::Success, &ours.transaction).mapped(from);
    let mut answer = answer.finish("page-password-of-22-chars");
    world.engine.handle_datagram(Socket::Shared, from, &mut answer, world.now);
    assert!(world.engine.outbox().iter().any(|(_, bytes)| is_dtls(bytes)));
}

#[test]
fn media_from_an_address_that_ice_has_not_proven_is_dropped() {
    let mut world = World::connected(Codec::Pcmu);
    let check = stun::Builder::new(stun::Class::Request, &[1; 12])
        .username("gatefrag:pagefrag")
        .role(true, 5);
    let mut check = check.finish("gate-password-of-22-chars");
    let from = address("203.0.113.6:7");
    world.engine.handle_datagram(Socket::Shared, from, &mut check, world.now);
    world.engine.outbox().clear();
    let mut sealed = rtp(111, 1, b"hello");
    let length = sealed.len();
    sealed.resize(length + 40, 0);
    let total = world.browser().keys.as_mut().unwrap().0.protect_rtp(&mut sealed, length).unwrap();
    sealed.truncate(total);
    world.engine.handle_datagram(Socket::Shared, from, &mut sealed, world.now);
    assert!(world.heard.is_empty() && world.engine.outbox().is_empty());
    assert_eq!(world.drops(BROWSER, Cause::WrongAddress), 1);
}
