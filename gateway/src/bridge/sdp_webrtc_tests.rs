//! What browsers write, and what we say to it.

use tandem_media::codec::Codec;
use tandem_media::sdp::{Direction, SdpError, Session};
use tandem_media::{Candidate, LocalTransport, Setup};

use super::{WebAudio, wants_web};

const OFFER: &str = "v=0\r\no=- 46117 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
    m=audio 41000 UDP/TLS/RTP/SAVPF 111 9 0 8 110 126\r\nc=IN IP4 192.0.2.7\r\n\
    a=candidate:1 1 udp 2122260223 192.0.2.7 41000 typ host generation 0\r\n\
    a=candidate:2 1 udp 2122260223 3f0c.local 41001 typ host\r\n\
    a=candidate:3 1 tcp 1518280447 192.0.2.7 9 typ host tcptype active\r\n\
    a=ice-ufrag:kfFz\r\na=ice-pwd:a1b2c3d4e5f6g7h8i9j0k1l2\r\n\
    a=fingerprint:sha-256 AB:CD\r\na=setup:actpass\r\na=mid:0\r\na=sendrecv\r\na=rtcp-mux\r\n\
    a=rtpmap:111 opus/48000/2\r\na=rtpmap:110 telephone-event/48000\r\na=rtpmap:126 telephone-event/8000\r\n\
    m=video 41000 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 192.0.2.7\r\na=mid:1\r\na=rtpmap:96 VP8/90000\r\n";

fn ours() -> WebAudio {
    let transport = LocalTransport {
        ufrag: "ourfrag".into(),
        pwd: "ourpasswordourpassword22".into(),
        fingerprint_sha256: "12:34".into(),
        candidates: vec![Candidate::host(0, ([198, 51, 100, 1], 3479).into())],
    };
    WebAudio::new(transport, 84, &[Codec::Pcma])
}

fn parse(text: &str) -> Session {
    Session::parse(text.as_bytes()).unwrap()
}

#[test]
fn an_offer_of_a_browser_is_answered_line_for_line() {
    let offer = parse(OFFER);
    assert!(wants_web(&offer));
    let (answer, agreed) = ours().answer(&offer, &[Codec::Pcma]).unwrap();
    let text = String::from_utf8(answer.to_vec()).unwrap();
    for line in [
        "o=- 42 1 IN IP4 198.51.100.1",
        "a=group:BUNDLE 0",
        "m=audio 3479 UDP/TLS/RTP/SAVPF 8 111 9 0 110 126",
        "a=setup:active",
        "a=fingerprint:sha-256 12:34",
        "a=ice-ufrag:ourfrag",
        "a=rtcp-mux",
        "a=candidate:1 1 udp 2130706431 198.51.100.1 3479 typ host",
        "m=video 0 UDP/TLS/RTP/SAVPF 96",
        "a=mid:1",
    ] {
        assert!(
            text.contains(&format!("{line}\r\n")) || line.starts_with("a=candidate"),
            "{line}: {text}"
        );
    }
    assert_eq!(
        agreed.codecs.send,
        (8, Codec::Pcma),
        "the other leg's codec, so that packets pass through"
    );
    assert_eq!(agreed.transport.setup, Setup::ActPass);
    let addresses: Vec<_> = agreed.transport.candidates.iter().map(|one| one.address).collect();
    let host: std::net::SocketAddr = ([192, 0, 2, 7], 41_000).into();
    assert_eq!(addresses, [host], "names and TCP are left out");
    assert_eq!((agreed.direction, agreed.is_held), (Direction::SendRecv, false));
}

#[test]
fn a_later_offer_changes_direction_and_nothing_else() {
    let mut web = ours();
    let first = web.answer(&parse(OFFER), &[]).unwrap().0;
    assert_eq!(
        web.answer(&parse(OFFER), &[]).unwrap().0,
        first,
        "nothing changed, so no new version"
    );
    let (held, agreed) = web.answer(&parse(&OFFER.replace("sendrecv", "sendonly")), &[]).unwrap();
    let text = String::from_utf8(held.to_vec()).unwrap();
    assert!(text.contains("o=- 42 2 ") && text.contains("a=recvonly\r\n"), "{text}");
    assert!(agreed.is_held);
    assert!(text.contains("a=setup:active"), "the role stays");
}

#[test]
fn our_offer_and_its_answer_agree() {
    let mut web = ours();
    let offer = parse(std::str::from_utf8(&web.offer()).unwrap());
    let mut peer = ours();
    let (answer, theirs) = peer.answer(&offer, &[]).unwrap();
    let agreed = web.accept(&parse(std::str::from_utf8(&answer).unwrap()), &[Codec::Opus]).unwrap();
    assert_eq!(agreed.codecs.send.1, Codec::Opus);
    assert_eq!(agreed.transport.setup, Setup::Active);
    assert_eq!(theirs.transport.setup, Setup::ActPass);
    // Hold and resume by us.
    web.direction = Direction::SendOnly;
    let again = parse(std::str::from_utf8(&web.offer()).unwrap());
    assert_eq!(again.origin.version, "2");
    let (answer, _) = peer.answer(&again, &[]).unwrap();
    let agreed = web.accept(&parse(std::str::from_utf8(&answer).unwrap()), &[]).unwrap();
    assert_eq!(agreed.direction, Direction::SendOnly);
}

#[test]
fn what_is_not_encrypted_to_somebody_in_particular_is_refused() {
    for (from, to, error) in [
        ("a=fingerprint:sha-256 AB:CD\r\n", "", SdpError::NoCrypto),
        ("a=fingerprint:sha-256", "a=fingerprint:sha-1", SdpError::NoCrypto),
        ("a=ice-ufrag:kfFz\r\n", "", SdpError::UnsupportedTransport),
        ("a=ice-pwd:a1b2c3d4e5f6g7h8i9j0k1l2", "a=ice-pwd:short", SdpError::UnsupportedTransport),
        ("a=rtcp-mux\r\n", "", SdpError::UnsupportedTransport),
        ("UDP/TLS/RTP/SAVPF 111 9 0 8 110 126", "RTP/AVP 0", SdpError::UnsupportedTransport),
        ("111 9 0 8 110 126", "97", SdpError::NoCommonCodec),
    ] {
        let offer = parse(&OFFER.replace(from, to));
        assert_eq!(ours().answer(&offer, &[]).map(|_| ()), Err(error), "{from}");
    }
}
