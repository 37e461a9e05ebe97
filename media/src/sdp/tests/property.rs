//! RFC 8866 and RFC 3264 as properties: print then parse, two ends agree, nothing sent to us makes us panic.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

fn line() -> impl Strategy<Value = (char, String)> {
    let kind = select("abcdefghijklnpqrstuwxyzABCZ".chars().collect::<Vec<_>>());
    let value = prop_oneof!["[ -~äß€]{0,40}", attribute()];
    (kind, value)
}

fn attribute() -> impl Strategy<Value = String> {
    let fixed = [
        "rtpmap:96 opus/48000/2",
        "rtpmap:0 PCMU/8000",
        "fmtp:96 useinbandfec=1",
        "sendonly",
        "inactive",
        "rtcp-mux",
        "rtcp:5005 IN IP4 198.51.100.2",
        "ptime:20",
        "crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz",
    ];
    select(fixed.map(str::to_owned).to_vec())
}

fn section() -> impl Strategy<Value = Section> {
    prop::collection::vec(line(), 0..20).prop_map(|lines| {
        let mut section = Section::default();
        lines.iter().for_each(|(kind, value)| section.push(*kind, value));
        section
    })
}

fn media() -> impl Strategy<Value = Media> {
    let protos = ["RTP/AVP", "RTP/SAVP", "RTP/AVPF", "UDP/TLS/RTP/SAVPF", "udptl"];
    let media = (select(vec!["audio", "video", "x"]), any::<u16>(), any::<Option<u16>>());
    let formats = prop::collection::vec("[!-~]{1,8}|[0-9]{1,3}", 0..MAX_FORMATS);
    (media, select(protos.to_vec()), formats, section()).prop_map(
        |((media, port, port_count), proto, formats, section)| Media {
            media: media.to_owned(),
            port,
            port_count,
            proto: proto.to_owned(),
            formats,
            section,
        },
    )
}

fn session() -> impl Strategy<Value = Session> {
    let origin = ("[!-~]{1,9}( [!-~]{1,9})?", "[0-9]{1,24}", "[0-9]{1,24}", "[!-~]{1,30}");
    let origin = (origin, any::<bool>()).prop_map(|((username, id, version, address), is_ip6)| {
        Origin { username, id, version, address, is_ip6 }
    });
    // `c=` as phones have it, so that some can be answered.
    let parts = (origin, section(), any::<bool>(), prop::collection::vec(media(), 0..5));
    parts.prop_map(|(origin, mut section, connected, media)| {
        if connected {
            section.push('c', "IN IP4 198.51.100.1");
        }
        Session { origin, section, media }
    })
}

fn encryption() -> impl Strategy<Value = Encryption> {
    select(vec![Encryption::Off, Encryption::Opportunistic(keys()), Encryption::Required(keys())])
}

fn side(addr: &'static str) -> impl Strategy<Value = LocalAudio> {
    use Direction::*;
    let codecs = prop::sample::subsequence(ALL.to_vec(), 1..=4).prop_shuffle();
    let direction = select(vec![SendRecv, SendOnly, RecvOnly, Inactive]);
    let ptime = select(vec![None, Some(20), Some(60)]);
    let rtcp = select(vec![None, Some(4_444)]);
    (codecs, direction, ptime, rtcp, any::<(bool, bool)>(), encryption()).prop_map(
        move |(codecs, direction, ptime_ms, rtcp_port, (rtcp_mux, own_order), encryption)| {
            let formats = offer_formats(&codecs);
            let new = LocalAudio::new(addr.parse().unwrap(), formats);
            LocalAudio { direction, ptime_ms, rtcp_port, rtcp_mux, own_order, encryption, ..new }
        },
    )
}

/// Everything a caller would do with what it got.
fn use_all(session: &Session, local: &LocalAudio) {
    for media in &session.media {
        let _ = (media.audio_formats(), media.packet_time(), session.connection_of(media));
        let _ = (session.setup_of(media), session.fingerprints_of(media), media.section.rtcp());
        let _ = (session.section.groups().count(), session.section.bandwidths().count());
    }
    let mut callee = Negotiator::new(1);
    if let Ok((bytes, remote)) = callee.answer(session, local) {
        let answer = Session::parse(&bytes).expect("our own answer reads");
        assert_eq!(answer.media.len(), session.media.len());
        assert!(remote.leg_codecs(&[]).is_some());
        assert!(Session::parse(&callee.offer(local)).is_ok());
    }
    let mut caller = Negotiator::new(1);
    caller.offer(local);
    if let Ok(remote) = caller.accept_answer(session) {
        assert!(remote.leg_codecs(&[]).is_some());
    }
}

proptest! {
    #[test]
    fn what_is_printed_reads_back(session in session()) {
        prop_assert_eq!(Session::parse(&session.to_bytes()), Ok(session));
    }

    #[test]
    fn any_session_is_answered_or_refused(session in session(), local in side("192.0.2.9:40000")) {
        use_all(&session, &local);
    }

    /// Both ends of a call know the same about it, whatever each can and wants.
    #[test]
    fn both_ends_agree(one in side("192.0.2.1:4000"), other in side("192.0.2.2:5000")) {
        let (mut caller, mut callee) = (Negotiator::new(1), Negotiator::new(2));
        let offer = Session::parse(&caller.offer(&one)).unwrap();
        let Ok((answer, callee_has)) = callee.answer(&offer, &other) else { return Ok(()) };
        let caller_has = caller.accept_answer(&Session::parse(&answer).unwrap()).unwrap();
        prop_assert_eq!(caller_has.addr, Some(other.addr));
        prop_assert_eq!(callee_has.addr, Some(one.addr));
        prop_assert_eq!(caller_has.rtcp_mux, callee_has.rtcp_mux);
        prop_assert_eq!(caller_has.direction, callee_has.direction.mirror());
        prop_assert_eq!(&caller_has.profile, &callee_has.profile);
        let numbers = |r: &RemoteAudio| r.formats.iter().map(|f| (f.encoding, f.send, f.receive)).collect::<Vec<_>>();
        let swapped: Vec<_> = numbers(&callee_has).iter().map(|(e, s, r)| (*e, *r, *s)).collect();
        prop_assert_eq!(numbers(&caller_has), swapped);
        match (&caller_has.srtp, &callee_has.srtp) {
            (Some(a), Some(b)) => prop_assert!(a.ours == b.theirs && a.theirs == b.ours),
            (None, None) => prop_assert!(
                !one.encryption.is_required() && !other.encryption.is_required()
            ),
            _ => prop_assert!(false, "one end encrypts"),
        }
        // The other way round, without a change of mind: roles change, media does not.
        let again = Session::parse(&callee.offer(&other)).unwrap();
        let (answer, _) = caller.answer(&again, &one).unwrap();
        let last = callee.accept_answer(&Session::parse(&answer).unwrap()).unwrap();
        prop_assert_eq!(last.srtp.is_some(), callee_has.srtp.is_some());
        prop_assert_eq!(last.direction, callee_has.direction);
    }

    #[test]
    fn values_of_any_text_are_read_or_not(text in "\\PC{0,60}") {
        let _ = (Connection::parse(&text), Bandwidth::parse(&text), RtpMap::parse(&text));
        let _ = (Rtcp::parse(&text), Group::parse(&text), Fingerprint::parse(&text));
        let _ = (SetupRole::parse(&text), Origin::parse(&text), Media::parse(&text));
    }
}

/// 40,000 damaged offers: bytes changed, cut out, doubled, and lines swapped, from a fixed seed.
#[test]
fn damaged_offers_never_panic() {
    let whole = super::offers::all();
    let local = LocalAudio { encryption: Encryption::Opportunistic(keys()), ..local() };
    let mut random = Random(0x5d9);
    let mut read = 0;
    for round in 0..40_000 {
        let mut bytes = whole[round % whole.len()].as_bytes().to_vec();
        for _ in 0..=random.below(6) {
            damage(&mut bytes, &mut random);
        }
        if let Ok(session) = Session::parse(&bytes) {
            read += 1;
            use_all(&session, &local);
            let printed = session.to_bytes();
            if printed.len() <= MAX_BYTES {
                assert_eq!(Session::parse(&printed), Ok(session));
            }
        }
    }
    assert!(read > 5_000, "enough of them are still descriptions: {read}");
}

fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(bytes.len());
    let end = (at + random.below(40)).min(bytes.len());
    let odd = [b'\n', b'\r', 0, b'=', b':', b'/', b' ', b'0', b'9', b'|', 0xff, 0xc3, b'a', b'm'];
    match random.below(6) {
        0 => bytes[at] = odd[random.below(odd.len())],
        1 => bytes[at] = u8::try_from(random.below(256)).unwrap(),
        2 if bytes.len() > 60 => drop(bytes.drain(at..end)),
        3 => bytes.insert(at, odd[random.below(odd.len())]),
        4 => {
            let part = bytes[at..end].to_vec();
            bytes.extend(part);
        }
        _ => {
            let mut lines: Vec<&[u8]> = bytes.split(|b| *b == b'\n').collect();
            let (one, other) = (random.below(lines.len()), random.below(lines.len()));
            lines.swap(one, other);
            *bytes = lines.join(&b'\n');
        }
    }
}

/// Xorshift: the same damage on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit.max(1) as u64).unwrap()
    }
}
