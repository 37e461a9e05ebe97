//! RFC 8866: reading, typed access, printing.

use super::*;

const FULL: &str = "v=0\r\n\
    o=alice smith 2890844526 18446744073709551616000 IN IP6 2001:db8::1\r\n\
    s=Call\r\n\
    i=text\r\n\
    c=IN IP6 2001:db8::1\r\n\
    b=AS:64\r\n\
    b=TIAS:64000\r\n\
    b=broken\r\n\
    t=0 0\r\n\
    q=nobody knows this letter\r\n\
    a=group:BUNDLE a v\r\n\
    a=sendonly\r\n\
    a=setup:actpass\r\n\
    a=fingerprint:SHA-256 02:1A\r\n\
    m=audio 49170/2 RTP/AVP 0 101\r\n\
    c=IN IP4 198.51.100.7\r\n\
    a=rtpmap:0 PCMU/8000\r\n\
    a=rtpmap:101 telephone-event/8000\r\n\
    a=fmtp:101 0-16\r\n\
    a=ptime:20\r\n\
    a=maxptime:150.5\r\n\
    a=rtcp:53020 IN IP4 198.51.100.8\r\n\
    a=rtcp-mux\r\n\
    a=mid:a\r\n\
    a=x-phone:knows:more\r\n\
    m=video 0 RTP/AVP 96\r\n\
    a=inactive\r\n\
    a=fingerprint:sha-1 FF\r\n\
    a=setup:passive\r\n";

#[test]
fn everything_is_kept_and_printed_as_it_came() {
    assert_eq!(parse(FULL).to_string(), FULL);
    assert_eq!(parse(&FULL.replace("\r\n", "\n")).to_bytes(), FULL.as_bytes());
    assert_eq!(parse(&FULL.replace("\r\n", "\r\r\n\r\n")).to_string(), FULL, "odd ends of lines");
}

#[test]
fn session_values_are_typed() {
    let session = parse(FULL);
    let origin = &session.origin;
    assert_eq!((origin.username.as_str(), origin.id.as_str()), ("alice smith", "2890844526"));
    assert_eq!(origin.version, "18446744073709551616000", "longer than any integer");
    assert!(origin.is_ip6);
    let bandwidths: Vec<_> = session.section.bandwidths().map(|b| (b.kind, b.value)).collect();
    assert_eq!(bandwidths, [("AS".into(), 64), ("TIAS".into(), 64_000)]);
    let group = session.section.groups().next().unwrap();
    assert_eq!(
        (group.semantics.as_str(), group.mids.as_slice()),
        ("BUNDLE", &["a", "v"].map(String::from)[..])
    );
}

#[test]
fn media_values_are_typed_and_fall_back_to_the_session() {
    let session = parse(FULL);
    let [audio, video] = session.media.as_slice() else { panic!("two lines") };
    assert_eq!(
        (audio.port, audio.port_count, audio.profile()),
        (49_170, Some(2), Some(Profile::Avp))
    );
    assert_eq!(session.connection_of(audio).unwrap().ip(), Some("198.51.100.7".parse().unwrap()));
    assert_eq!(session.connection_of(video).unwrap().ip(), Some("2001:db8::1".parse().unwrap()));
    assert_eq!(session.direction_of(audio), Direction::SendOnly);
    assert_eq!(session.direction_of(video), Direction::Inactive);
    assert_eq!(session.setup_of(audio), Some(SetupRole::ActPass));
    assert_eq!(session.setup_of(video), Some(SetupRole::Passive));
    assert_eq!(session.fingerprints_of(audio)[0].hash, "sha-256");
    assert_eq!(session.fingerprints_of(video)[0].value, "FF");
    let section = &audio.section;
    assert_eq!((section.ptime(), section.maxptime()), (Some(20), Some(150)));
    assert_eq!((section.rtcp_mux(), section.mid()), (true, Some("a")));
    assert_eq!(section.fmtp("101"), Some("0-16"));
    let peer = "198.51.100.7:49170".parse().unwrap();
    let rtcp = section.rtcp().unwrap();
    assert_eq!(rtcp.address(peer), Some("198.51.100.8:53020".parse().unwrap()));
}

/// What a row changes in a good description, and what comes of it.
#[test]
fn what_is_no_description_is_refused() {
    let good = "v=0\no=- 1 1 IN IP4 198.51.100.1\ns=-\nm=audio 4000 RTP/AVP 0\n";
    let table: &[(&str, &str, &str, bool)] = &[
        ("as it is", "", "", true),
        ("no session name", "s=-\n", "", true),
        ("a space after the version", "v=0", "v=0 ", true),
        ("lower-case net", "IN IP4", "in ip4", true),
        ("no version", "v=0\n", "", false),
        ("another version", "v=0", "v=1", false),
        ("no origin", "o=- 1 1 IN IP4 198.51.100.1\n", "", false),
        ("origin without a name", "o=- 1 1", "o=1 1", false),
        ("origin with words for numbers", "- 1 1", "- one 1", false),
        ("origin of another net", "IN IP4", "XX IP4", false),
        ("origin of an unknown kind", "IN IP4", "IN IP5", false),
        ("no equals sign", "s=-", "s-", false),
        ("two letters", "s=-", "ss=-", false),
        ("no letter", "s=-", "=-", false),
        ("a digit", "s=-", "7=-", false),
        ("a bare CR", "s=-", "s=-\rx", false),
        ("a NUL", "s=-", "s=-\0", false),
        ("port too large", "4000", "65536", false),
        ("negative port", "4000", "-1", false),
        ("largest port", "4000", "65535", true),
        ("a broken port count", "4000", "4000/x", false),
        ("no protocol", " RTP/AVP 0", "", false),
        ("no formats", "RTP/AVP 0", "RTP/AVP", true),
        ("bytes of another charset", "s=-", "s=\u{fffd}", true),
    ];
    for (name, from, to, good_still) in table {
        let text = good.replace(from, to);
        assert_eq!(Session::parse(text.as_bytes()).is_ok(), *good_still, "{name}");
    }
    for bytes in [&b""[..], b"\n", b"v", b"\xff\xfe", b"<xml/>", b"v=0\r\n"] {
        assert_eq!(Session::parse(bytes), Err(SdpError::NotSdp), "{bytes:?}");
    }
    let latin = b"v=0\no=M\xfcller 1 1 IN IP4 198.51.100.1\ns=-\n";
    assert_eq!(Session::parse(latin).unwrap().origin.username, "M\u{fffd}ller");
}

#[test]
fn addresses_are_numbers_or_nothing() {
    let table = [
        ("IN IP4 198.51.100.1", Some("198.51.100.1")),
        ("IN IP4 198.51.100.1/127", Some("198.51.100.1")),
        ("IN IP6 ::ffff:198.51.100.1", Some("198.51.100.1")),
        ("IN IP6 2001:db8::1", Some("2001:db8::1")),
        ("IN IP4 phone.example.com", None),
        ("IN IP4 198.51.100", None),
        ("IN IP4 198.51.100.1:5004", None),
        ("IN IP4", None),
        ("XX IP4 198.51.100.1", None),
        ("", None),
    ];
    for (value, expected) in table {
        let ip = Connection::parse(value).and_then(|c| c.ip());
        assert_eq!(ip, expected.map(|ip| ip.parse().unwrap()), "{value}");
    }
    let named = Connection::parse("IN IP4 phone.example.com").unwrap();
    assert_eq!(named.address, "phone.example.com", "kept as text");
}

/// RFC 3605: what cannot be an address of the peer is no address.
#[test]
fn rtcp_addresses_must_be_usable() {
    let table = [
        ("5005", Some("198.51.100.1:5005")),
        ("5005 IN IP4 198.51.100.2", Some("198.51.100.2:5005")),
        ("0", None),
        ("65536", None),
        ("5005 IN IP4 rtcp.example.com", None),
        ("5005 IN IP4 224.0.0.1", None),
        ("5005 IN IP4 255.255.255.255", None),
        ("5005 IN IP4 0.0.0.0", None),
        ("5005 IN IP6 2001:db8::1", None),
        ("5005 nonsense", None),
    ];
    for (value, expected) in table {
        let rtcp = Rtcp::parse(value).and_then(|r| r.address("198.51.100.1:4000".parse().unwrap()));
        assert_eq!(rtcp, expected.map(|a| a.parse().unwrap()), "{value}");
    }
}

#[test]
fn formats_are_known_by_name_then_by_number() {
    let audio = |codec| Some(Encoding::Audio(codec));
    let table = [
        ("0", "", audio(Codec::Pcmu)),
        ("8", "", audio(Codec::Pcma)),
        ("9", "", audio(Codec::G722)),
        ("9", "9 g722/8000/1", audio(Codec::G722)),
        ("9", "9 broken", audio(Codec::G722)),
        ("96", "96 OPUS/48000/2", audio(Codec::Opus)),
        ("96", "96  opus/48000", audio(Codec::Opus)),
        ("0", "0 opus/48000/2", audio(Codec::Opus)),
        ("96", "96 telephone-event/16000", Some(Encoding::TelephoneEvent { clock: 16_000 })),
        ("0", "0 PCMU/16000", None),
        ("0", "0 PCMU/8000/2", None),
        ("3", "", None),
        ("96", "", None),
        ("128", "128 PCMU/8000", None),
        ("x", "x PCMU/8000", None),
    ];
    for (format, map, expected) in table {
        let line = format!("m=audio 4000 RTP/AVP {format}");
        let session = from_phone(&[&line, &format!("a=rtpmap:{map}")]);
        let found = session.media[0].audio_formats();
        assert_eq!(found.first().map(|f| f.encoding), expected, "{format} {map}");
    }
    let twice = from_phone(&["m=audio 4000 RTP/AVP 8 8 96 0", "a=rtpmap:96 PCMA/8000"]);
    let numbers: Vec<u8> = twice.media[0].audio_formats().iter().map(|f| f.payload_type).collect();
    assert_eq!(numbers, [8, 0], "each number and each codec once");
}

#[test]
fn packet_times_are_those_we_can_make() {
    let table = [
        (&["a=ptime:30"][..], Some(30)),
        (&["a=ptime:20.0"], Some(20)),
        (&["a=ptime:25"], None),
        (&["a=ptime:0"], None),
        (&["a=ptime:99999999999"], None),
        (&["a=ptime:60", "a=maxptime:40"], Some(40)),
        (&["a=ptime:40", "a=maxptime:40"], Some(40)),
        (&["a=maxptime:10"], Some(10)),
        (&["a=maxptime:150"], None),
        (&["a=maxptime:5"], None),
        (&[], None),
    ];
    for (attributes, expected) in table {
        let media: Vec<&str> =
            ["m=audio 4000 RTP/AVP 0"].into_iter().chain(attributes.iter().copied()).collect();
        assert_eq!(from_phone(&media).media[0].packet_time(), expected, "{attributes:?}");
    }
}

#[test]
fn nobodys_text_becomes_a_line_of_its_own() {
    let line = Line::new('a', "fmtp:96 x\r\na=crypto:1\0");
    assert_eq!(line.to_string(), "a=fmtp:96 xa=crypto:1");
    assert_eq!(Line::new('\n', "v").to_string(), "x=v");
}

#[test]
fn keys_stay_out_of_logs() {
    let crypto = format!("a=CRYPTO:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}");
    let session =
        from_phone(&["m=audio 1 RTP/SAVP 0", &crypto, "a=ice-pwd:secret", "k=clear:secret"]);
    let shown = format!("{session:?}");
    assert!(!shown.contains(KEY) && !shown.contains("secret"), "{shown}");
}
