//! RFC 3264 sections 5 to 7, RFC 4568, RFC 5761: our offers, their answers, and single rules of answering.

use super::*;

/// Our first offer, whole.
#[test]
fn an_offer_says_all_that_a_phone_must_know() {
    let local = LocalAudio {
        rtcp_port: Some(40_007),
        rtcp_mux: true,
        ptime_ms: Some(20),
        encryption: Encryption::Required(keys()[1..2].to_vec()),
        ..local()
    };
    let offer = Negotiator::new(u64::MAX).offer(&local);
    let expected = "v=0\r\n\
        o=- 9223372036854775807 1 IN IP4 192.0.2.9\r\n\
        s=-\r\n\
        c=IN IP4 192.0.2.9\r\n\
        t=0 0\r\n\
        m=audio 40000 RTP/SAVP 111 9 0 8 101 110\r\n\
        a=rtpmap:111 opus/48000/2\r\n\
        a=fmtp:111 useinbandfec=1\r\n\
        a=rtpmap:9 G722/8000\r\n\
        a=rtpmap:0 PCMU/8000\r\n\
        a=rtpmap:8 PCMA/8000\r\n\
        a=rtpmap:101 telephone-event/8000\r\n\
        a=fmtp:101 0-15\r\n\
        a=rtpmap:110 telephone-event/48000\r\n\
        a=fmtp:110 0-15\r\n\
        a=ptime:20\r\n\
        a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgIC\r\n\
        a=rtcp:40007 IN IP4 192.0.2.9\r\n\
        a=rtcp-mux\r\n\
        a=sendrecv\r\n";
    assert_eq!(std::str::from_utf8(&offer).unwrap(), expected);
}

#[test]
fn offers_are_as_wide_as_we_are() {
    let six =
        LocalAudio::new("[2001:db8::9]:65535".parse().unwrap(), offer_formats(&[Codec::Pcma]));
    let next = LocalAudio { rtcp_port: Some(40_001), ..local() };
    let v6 = Session::parse(&Negotiator::new(1).offer(&six)).unwrap();
    assert_eq!(v6.section.value('c'), Some("IN IP6 2001:db8::9"));
    assert_eq!(v6.media[0].formats, ["8", "101"], "events for 8000 only");
    assert!(v6.origin.is_ip6);
    let next = Session::parse(&Negotiator::new(1).offer(&next)).unwrap();
    assert_eq!(next.media[0].section.attribute("rtcp"), None, "the next port goes without saying");
    let keyed = LocalAudio { encryption: Encryption::Opportunistic(keys()), ..local() };
    let keyed = Session::parse(&Negotiator::new(1).offer(&keyed)).unwrap();
    assert_eq!(keyed.media[0].profile(), Some(Profile::Avp));
    assert_eq!(keyed.media[0].section.cryptos().collect::<Vec<_>>(), keys());
}

/// RFC 3264 section 7: we send by their numbers and take by ours.
#[test]
fn an_answer_may_have_other_numbers() {
    let mut ours = Negotiator::new(1);
    ours.offer(&local());
    let answer = from_phone(&[
        "m=audio 5000 RTP/AVP 98 8 99",
        "a=rtpmap:98 opus/48000/2",
        "a=fmtp:98 maxplaybackrate=16000",
        "a=rtpmap:99 telephone-event/48000",
        "a=ptime:40",
        "a=rtcp:5009",
    ]);
    let remote = ours.accept_answer(&answer).unwrap();
    let codecs = remote.leg_codecs(&[]).unwrap();
    assert_eq!(codecs.send, (98, Codec::Opus));
    assert_eq!(codecs.receive, [(111, Codec::Opus), (8, Codec::Pcma)]);
    assert_eq!((codecs.dtmf_send, codecs.dtmf_receive), (Some((99, 48_000)), vec![(110, 48_000)]));
    assert_eq!(codecs.ptime_ms, 40);
    assert_eq!(remote.formats[0].fmtp.as_deref(), Some("maxplaybackrate=16000"));
    assert_eq!(remote.rtp_remote().rtcp, Some("198.51.100.1:5009".parse().unwrap()));
    assert_eq!(ours.accept_answer(&answer), Ok(remote), "183 and then 200");
}

#[test]
fn numbers_without_names_mean_what_we_offered() {
    let mut ours = Negotiator::new(1);
    ours.offer(&local());
    let remote = ours.accept_answer(&from_phone(&["m=audio 5000 RTP/AVP 111 101"])).unwrap();
    let codecs = remote.leg_codecs(&[]).unwrap();
    assert_eq!((codecs.send, codecs.dtmf_send), ((111, Codec::Opus), Some((101, 8_000))));
}

#[test]
fn answers_that_do_not_fit_are_refused() {
    let table: &[(&str, &[&str], SdpError)] = &[
        ("no line", &[], SdpError::AnswerMismatch),
        ("two", &["m=audio 1 RTP/AVP 0", "m=audio 1 RTP/AVP 0"], SdpError::AnswerMismatch),
        ("another medium", &["m=video 1 RTP/AVP 0"], SdpError::AnswerMismatch),
        ("refused", &["m=audio 0 RTP/AVP 0"], SdpError::NoAudio),
        ("another codec", &["m=audio 1 RTP/AVP 18"], SdpError::NoCommonCodec),
        ("another transport", &["m=audio 1 UDP/TLS/RTP/SAVP 0"], SdpError::UnsupportedTransport),
        ("a name", &["m=audio 1 RTP/AVP 0", "c=IN IP4 host.example"], SdpError::BadAddress),
        ("SAVP out of nothing", &["m=audio 1 RTP/SAVP 0"], SdpError::NoCrypto),
    ];
    for (name, media, expected) in table {
        let mut ours = Negotiator::new(1);
        ours.offer(&local());
        assert_eq!(ours.accept_answer(&from_phone(media)), Err(*expected), "{name}");
    }
    let answer = from_phone(&["m=audio 1 RTP/AVP 0"]);
    assert_eq!(Negotiator::new(1).accept_answer(&answer), Err(SdpError::NoOffer));
}

/// Keys by what we offer and what is answered: `Some(tag)` of the key agreed.
#[test]
fn answered_keys_must_be_of_a_line_we_offered() {
    let line = |tag: u32, suite: &str| format!("a=crypto:{tag} {suite} inline:{KEY}");
    let (cm80, cm32) = ("AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32");
    let off = Encryption::Off;
    let maybe = Encryption::Opportunistic(keys());
    let must = Encryption::Required(keys());
    let table = [
        ("chosen", &must, "RTP/SAVP", line(2, cm80), Ok(Some(2))),
        ("the other one", &must, "RTP/SAVP", line(3, cm32), Ok(Some(3))),
        ("tag and suite cross", &must, "RTP/SAVP", line(3, cm80), Err(SdpError::NoCrypto)),
        ("a tag of nobody", &must, "RTP/SAVP", line(9, cm80), Err(SdpError::NoCrypto)),
        ("no key", &must, "RTP/SAVP", String::from("a=x"), Err(SdpError::NoCrypto)),
        ("plain", &must, "RTP/AVP", String::from("a=x"), Err(SdpError::NoCrypto)),
        ("key over another profile", &must, "RTP/AVP", line(2, cm80), Ok(Some(2))),
        ("may be plain", &maybe, "RTP/AVP", String::from("a=x"), Ok(None)),
        ("need not be plain", &maybe, "RTP/AVP", line(2, cm80), Ok(Some(2))),
        ("even as it should be", &maybe, "RTP/SAVP", line(2, cm80), Ok(Some(2))),
        ("a useless key", &maybe, "RTP/AVP", line(9, cm80), Ok(None)),
        ("nothing asked", &off, "RTP/AVP", line(2, cm80), Ok(None)),
    ];
    for (name, encryption, proto, attribute, expected) in table {
        let mut ours = Negotiator::new(1);
        ours.offer(&LocalAudio { encryption: encryption.clone(), ..local() });
        let answer = from_phone(&[&format!("m=audio 5000 {proto} 0"), &attribute]);
        let agreed = ours.accept_answer(&answer).map(|remote| {
            let pair = remote.srtp?;
            let key = keys().into_iter().find(|k| k.key == pair.ours).unwrap();
            assert_eq!(pair.theirs.profile, pair.ours.profile, "{name}");
            Some(key.tag)
        });
        assert_eq!(agreed, expected, "{name}");
    }
}

/// What the offer has, what we have, and the tag we answer.
#[test]
fn offered_keys_are_chosen_in_their_order() {
    let line = |tag: u32, suite: &str| format!("a=crypto:{tag} {suite} inline:{KEY}");
    let gcm = format!("a=crypto:4 AEAD_AES_128_GCM inline:{}", "A".repeat(38));
    let cm80 = line(8, "AES_CM_128_HMAC_SHA1_80");
    let cm32 = line(6, "AES_CM_128_HMAC_SHA1_32|");
    let odd = line(5, "AES_CM_128_HMAC_SHA1_80") + " UNENCRYPTED_SRTCP";
    let only_80 = Encryption::Required(keys()[1..2].to_vec());
    let all = Encryption::Opportunistic(keys());
    type Row<'a> = (&'a str, &'a str, &'a [&'a str], &'a Encryption, Result<Option<u32>, SdpError>);
    let table: [Row<'_>; 9] = [
        ("first", "RTP/SAVP", &[&gcm, &cm80], &all, Ok(Some(4))),
        ("their order", "RTP/SAVPF", &[&cm80, &gcm], &all, Ok(Some(8))),
        ("the one we have", "RTP/SAVP", &[&gcm, &cm80], &only_80, Ok(Some(8))),
        ("broken and odd ones", "RTP/SAVP", &[&cm32, &odd, &cm80], &all, Ok(Some(8))),
        ("none usable", "RTP/SAVP", &[&cm32, &odd], &all, Err(SdpError::NoCrypto)),
        ("none usable, plain", "RTP/AVP", &[&cm32, &odd], &all, Ok(None)),
        ("over AVP", "RTP/AVP", &[&cm80], &only_80, Ok(Some(8))),
        ("plain to who must", "RTP/AVP", &[], &only_80, Err(SdpError::NoCrypto)),
        ("over AVP to who does not", "RTP/AVP", &[&cm80], &Encryption::Off, Ok(None)),
    ];
    for (name, proto, cryptos, encryption, expected) in table {
        let first = format!("m=audio 5000 {proto} 0");
        let media: Vec<&str> =
            [first.as_str()].into_iter().chain(cryptos.iter().copied()).collect();
        let local = LocalAudio { encryption: encryption.clone(), ..local() };
        let tag = answered(&from_phone(&media), &local).map(|(answer, remote)| {
            let line = audio(&answer);
            assert_eq!(line.proto, proto, "{name}");
            let said: Vec<Crypto> = line.section.cryptos().collect();
            assert_eq!(
                said.first().map(|k| &k.key),
                remote.srtp.as_ref().map(|p| &p.ours),
                "{name}"
            );
            assert!(said.len() < 2, "{name}: one key is answered");
            said.first().map(|k| k.tag)
        });
        assert_eq!(tag, expected, "{name}");
    }
}

/// RFC 3264 section 6.1 and 8.4: offered direction and address, what we want, what we answer, whether we are held.
#[test]
fn directions_are_mirrored_and_hold_is_seen() {
    use Direction::*;
    let here = "198.51.100.1";
    let table = [
        ("a call", here, "", SendRecv, SendRecv, false),
        ("hold", here, "a=sendonly", SendRecv, RecvOnly, true),
        ("silent hold", here, "a=inactive", SendRecv, Inactive, true),
        ("announcement", here, "a=recvonly", SendRecv, SendOnly, false),
        ("old hold", "0.0.0.0", "", SendRecv, RecvOnly, true),
        ("old hold, said", "0.0.0.0", "a=sendrecv", SendRecv, RecvOnly, true),
        ("both holds", "0.0.0.0", "a=sendonly", SendRecv, RecvOnly, true),
        ("old silent hold", "0.0.0.0", "a=inactive", SendRecv, Inactive, true),
        ("nothing can flow", "0.0.0.0", "a=recvonly", SendRecv, Inactive, true),
        ("we hold", here, "a=sendrecv", SendOnly, SendOnly, false),
        ("both hold", here, "a=sendonly", SendOnly, Inactive, true),
        ("we listen", here, "a=sendrecv", RecvOnly, RecvOnly, false),
        ("we rest", here, "a=sendrecv", Inactive, Inactive, false),
        ("upper case", here, "a=SendOnly", SendRecv, RecvOnly, true),
    ];
    for (name, address, attribute, want, expected, held) in table {
        let local = LocalAudio { direction: want, ..local() };
        let media = ["m=audio 5000 RTP/AVP 0", attribute];
        let media: Vec<&str> = media.into_iter().filter(|l| !l.is_empty()).collect();
        let (answer, remote) = answered(&description(address, &[], &media), &local).unwrap();
        assert_eq!(answer.direction_of(audio(&answer)), expected, "{name}");
        assert_eq!((remote.direction, remote.is_held()), (expected, held), "{name}");
        assert_eq!(remote.addr.is_none(), address == "0.0.0.0", "{name}");
        assert!(expected == SendRecv || remote.direction != SendRecv, "{name}");
        let mut ours = Negotiator::new(1);
        ours.offer(&local);
        let same = ours.accept_answer(&description(address, &[], &media)).unwrap();
        assert_eq!((same.direction, same.is_held()), (expected, held), "{name}: as an answer");
    }
    let session_level = description(here, &["a=sendonly"], &["m=audio 5000 RTP/AVP 0"]);
    assert_eq!(answered(&session_level, &local()).unwrap().1.direction, RecvOnly);
    let nowhere = answered(&description("0.0.0.0", &[], &["m=audio 5000 RTP/AVP 0"]), &local());
    assert_eq!(nowhere.unwrap().1.rtp_remote().addr.port(), 0, "the engine sends nothing");
}

/// RFC 5761 section 5.1: offered, wanted, the payload type offered, answered.
#[test]
fn multiplexing_is_answered_if_offered_and_wanted() {
    let table = [
        (true, true, 96, true),
        (true, false, 96, false),
        (false, true, 96, false),
        (true, true, 72, false),
    ];
    for (offered, wanted, number, expected) in table {
        let first = format!("m=audio 5000 RTP/AVP {number}");
        let map = format!("a=rtpmap:{number} opus/48000/2");
        let mux = if offered { "a=rtcp-mux" } else { "a=x" };
        let offer = from_phone(&[&first, &map, mux, "a=rtcp:5005"]);
        let local = LocalAudio { rtcp_mux: wanted, ..local() };
        let (answer, remote) = answered(&offer, &local).unwrap();
        assert_eq!((audio(&answer).section.rtcp_mux(), remote.rtcp_mux), (expected, expected));
        assert_eq!(
            remote.rtcp.is_none(),
            expected,
            "the address of its own is for who is not muxed"
        );
    }
}

/// Offered, answered, used.
#[test]
fn multiplexing_is_used_if_offered_and_answered() {
    for (offered, answered, expected) in
        [(true, true, true), (true, false, false), (false, true, false)]
    {
        let mut ours = Negotiator::new(1);
        ours.offer(&LocalAudio { rtcp_mux: offered, ..local() });
        let mux = if answered { "a=rtcp-mux" } else { "a=x" };
        let remote = ours.accept_answer(&from_phone(&["m=audio 5000 RTP/AVP 0", mux])).unwrap();
        assert_eq!(remote.rtcp_mux, expected, "{offered} {answered}");
    }
}

/// The clocks of events offered beside what, and the ones answered.
#[test]
fn events_go_with_the_clocks_in_use() {
    let table: [(&str, &[Codec], &[u8]); 4] = [
        ("both", &ALL, &[111, 0, 101, 110]),
        ("narrow", &[Codec::Pcmu], &[0, 101]),
        ("wide", &[Codec::Opus], &[111, 110]),
        ("no G.711 of ours", &[Codec::Opus, Codec::G722], &[111, 110]),
    ];
    let offer = [
        "m=audio 5000 RTP/AVP 111 0 101 110",
        "a=rtpmap:111 opus/48000/2",
        "a=rtpmap:101 telephone-event/8000",
        "a=rtpmap:110 telephone-event/48000",
    ];
    for (name, codecs, expected) in table {
        let mut formats = offer_formats(codecs);
        formats.retain(|f| f.encoding.codec().is_some());
        formats.extend([AudioFormat::events(101, 8_000), AudioFormat::events(110, 48_000)]);
        let (answer, _) = answered(&from_phone(&offer), &LocalAudio::new(ours(), formats)).unwrap();
        let expected: Vec<String> = expected.iter().map(u8::to_string).collect();
        assert_eq!(audio(&answer).formats, expected, "{name}");
    }
    let foreign = [
        "m=audio 5000 RTP/AVP 96 97",
        "a=rtpmap:96 opus/48000/2",
        "a=rtpmap:97 telephone-event/8000",
    ];
    let (_, remote) = answered(&from_phone(&foreign), &local()).unwrap();
    assert_eq!(remote.leg_codecs(&[]).unwrap().dtmf_send, Some((97, 8_000)), "better than none");
}

#[test]
fn the_order_is_theirs_unless_another_leg_decides() {
    let offer = from_phone(&["m=audio 5000 RTP/AVP 8 0 9"]);
    let formats = offer_formats(&[Codec::Opus, Codec::Pcmu, Codec::Pcma]);
    let theirs = LocalAudio::new(ours(), formats);
    let own = LocalAudio { own_order: true, ..theirs.clone() };
    for (local, expected) in
        [(theirs, [Codec::Pcma, Codec::Pcmu]), (own, [Codec::Pcmu, Codec::Pcma])]
    {
        let (answer, remote) = answered(&offer, &local).unwrap();
        assert_eq!(remote.codecs().collect::<Vec<_>>(), expected);
        let numbers = expected.map(|c| c.static_payload_type().unwrap().to_string());
        assert_eq!(audio(&answer).formats, numbers);
    }
}

#[test]
fn packet_time_is_ours_if_we_say_it_and_theirs_if_not() {
    let offer = from_phone(&["m=audio 5000 RTP/AVP 8", "a=ptime:30"]);
    for (own, said) in [(None, 30), (Some(20), 20)] {
        let local = LocalAudio { ptime_ms: own, ..local() };
        let (answer, remote) = answered(&offer, &local).unwrap();
        assert_eq!(audio(&answer).section.ptime(), Some(said));
        assert_eq!(remote.leg_codecs(&[]).unwrap().ptime_ms, 30, "what we send is what it wishes");
    }
}
