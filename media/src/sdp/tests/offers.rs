//! RFC 3264 section 6: offers of phones and servers, captured where it says so and else
//! in their style, and what we answer.

use super::*;

/// A device, what it offers, and the lines we answer after `t=`, with keys of ours if it has some.
type Row = (&'static str, &'static str, &'static [&'static str]);

/// As sent by baresip 1.0.0 with `mediaenc=srtp`.
const BARESIP: Row = (
    "baresip, keys over AVP",
    "v=0\r\no=- 1168103329 553739982 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
    a=tool:baresip 1.0.0\r\nm=audio 18548 RTP/AVP 96 8 101\r\na=rtpmap:96 opus/48000/2\r\n\
    a=fmtp:96 stereo=0;sprop-stereo=0;maxaveragebitrate=28000\r\na=rtpmap:8 PCMA/8000\r\n\
    a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=sendrecv\r\na=label:1\r\n\
    a=rtcp-rsize\r\na=ssrc:759181294 cname:sip:alice@sip.test\r\n\
    a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:NRP50zT7UekWDOFz1ffwjP2Tc1cqBkvsxXuaj/F+\r\n\
    a=minptime:20\r\na=ptime:20\r\n",
    &[
        "m=audio 40000 RTP/AVP 96 8 101",
        "a=rtpmap:96 opus/48000/2",
        "a=fmtp:96 useinbandfec=1",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-15",
        "a=ptime:20",
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgIC",
        "a=sendrecv",
    ],
);

/// As sent by baresip 1.0.0 with `mediaenc=srtp-mand`.
const BARESIP_SAVP: Row = (
    "baresip, encrypted",
    "v=0\r\no=- 874312093 1682185550 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
    a=tool:baresip 1.0.0\r\nm=audio 18936 RTP/SAVP 9 0 8 101\r\na=rtpmap:9 G722/8000\r\n\
    a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n\
    a=fmtp:101 0-15\r\na=sendrecv\r\na=label:1\r\na=rtcp-rsize\r\n\
    a=ssrc:3221108761 cname:sip:alice@sip.test\r\n\
    a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:9s93HsJUkiwyQBZaREWE1gb1kBfqV3J01X4iT5Tg\r\n\
    a=minptime:20\r\na=ptime:20\r\n",
    &[
        "m=audio 40000 RTP/SAVP 9 0 8 101",
        "a=rtpmap:9 G722/8000",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-15",
        "a=ptime:20",
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgIC",
        "a=sendrecv",
    ],
);

const BARESIP_MUXED: Row = (
    "baresip with multiplexing",
    "v=0\r\no=- 1839173620 1262838418 IN IP4 198.51.100.20\r\ns=-\r\nc=IN IP4 198.51.100.20\r\n\
    t=0 0\r\na=tool:baresip 3.10.1\r\nm=audio 17566 RTP/AVP 96 0 8 101\r\nb=AS:125\r\n\
    a=rtpmap:96 opus/48000/2\r\na=fmtp:96 stereo=1;sprop-stereo=1\r\na=rtpmap:0 PCMU/8000\r\n\
    a=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=rtcp:17567\r\n\
    a=rtcp-mux\r\na=sendrecv\r\na=label:1\r\na=rtcp-rsize\r\na=ptime:20\r\n",
    &[
        "m=audio 40000 RTP/AVP 96 0 8 101",
        "a=rtpmap:96 opus/48000/2",
        "a=fmtp:96 useinbandfec=1",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-15",
        "a=ptime:20",
        "a=rtcp-mux",
        "a=sendrecv",
    ],
);

const LINPHONE: Row = (
    "Linphone with video",
    "v=0\r\no=alice 3724 1510 IN IP4 198.51.100.21\r\ns=Talk\r\nc=IN IP4 198.51.100.21\r\nt=0 0\r\n\
    a=rtcp-xr:rcvr-rtt=all:10000 stat-summary=loss,dup,jitt,TTL voip-metrics\r\na=record:off\r\n\
    m=audio 7078 RTP/AVP 96 97 98 0 8 18 101 99 100\r\na=rtpmap:96 opus/48000/2\r\n\
    a=fmtp:96 useinbandfec=1\r\na=rtpmap:97 speex/16000\r\na=fmtp:97 vbr=on\r\n\
    a=rtpmap:98 speex/8000\r\na=fmtp:18 annexb=yes\r\na=rtpmap:101 telephone-event/48000\r\n\
    a=rtpmap:99 telephone-event/16000\r\na=rtpmap:100 telephone-event/8000\r\n\
    a=rtcp-fb:* trr-int 1000\r\na=rtcp-fb:* ccm tmmbr\r\n\
    m=video 9078 RTP/AVP 96 97\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:97 H264/90000\r\n\
    a=fmtp:97 profile-level-id=42801F\r\n",
    &[
        "m=audio 40000 RTP/AVP 96 0 8 101 100",
        "a=rtpmap:96 opus/48000/2",
        "a=fmtp:96 useinbandfec=1",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:101 telephone-event/48000",
        "a=fmtp:101 0-15",
        "a=rtpmap:100 telephone-event/8000",
        "a=fmtp:100 0-15",
        "a=sendrecv",
        "m=video 0 RTP/AVP 96 97",
    ],
);

const POLYCOM: Row = (
    "Polycom",
    "v=0\r\no=- 1714000000 1714000000 IN IP4 198.51.100.22\r\ns=Polycom IP Phone\r\n\
    c=IN IP4 198.51.100.22\r\nt=0 0\r\na=sendrecv\r\nm=audio 2222 RTP/AVP 9 0 8 18 127\r\n\
    a=rtpmap:9 G722/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:18 G729/8000\r\n\
    a=fmtp:18 annexb=no\r\na=rtpmap:127 telephone-event/8000\r\n",
    &[
        "m=audio 40000 RTP/AVP 9 0 8 127",
        "a=rtpmap:9 G722/8000",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:127 telephone-event/8000",
        "a=fmtp:127 0-15",
        "a=sendrecv",
    ],
);

const YEALINK: Row = (
    "Yealink, keys over AVP",
    "v=0\r\no=- 20000 20000 IN IP4 198.51.100.23\r\ns=SDP data\r\nc=IN IP4 198.51.100.23\r\nt=0 0\r\n\
    m=audio 11780 RTP/AVP 9 0 8 18 101\r\na=rtpmap:9 G722/8000\r\na=rtpmap:0 PCMU/8000\r\n\
    a=rtpmap:8 PCMA/8000\r\na=rtpmap:18 G729/8000\r\na=fmtp:18 annexb=no\r\n\
    a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n\
    a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n\
    a=crypto:2 AES_CM_128_HMAC_SHA1_32 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n\
    a=crypto:3 F8_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n",
    &[
        "m=audio 40000 RTP/AVP 9 0 8 101",
        "a=rtpmap:9 G722/8000",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-15",
        "a=ptime:20",
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgIC",
        "a=sendrecv",
    ],
);

const SNOM: Row = (
    "Snom, encrypted, with lifetimes and an MKI first",
    "v=0\r\no=root 1468246284 1468246284 IN IP4 198.51.100.24\r\ns=call\r\n\
    c=IN IP4 198.51.100.24\r\nt=0 0\r\nm=audio 61044 RTP/SAVP 9 8 0 101\r\n\
    a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^31|1:1\r\n\
    a=crypto:5 AES_256_CM_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n\
    a=crypto:7 AES_CM_128_HMAC_SHA1_32 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^31\r\n\
    a=rtpmap:9 g722/8000\r\na=rtpmap:8 pcma/8000\r\na=rtpmap:0 pcmu/8000\r\n\
    a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n",
    &[
        "m=audio 40000 RTP/SAVP 9 8 0 101",
        "a=rtpmap:9 G722/8000",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-15",
        "a=ptime:20",
        "a=crypto:7 AES_CM_128_HMAC_SHA1_32 inline:AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMD",
        "a=sendrecv",
    ],
);

const ASTERISK: Row = (
    "Asterisk with AVPF",
    "v=0\r\no=- 558046395 558046395 IN IP4 198.51.100.25\r\ns=Asterisk\r\nc=IN IP4 198.51.100.25\r\n\
    t=0 0\r\nm=audio 12040 RTP/AVPF 107 9 101\r\na=rtpmap:107 opus/48000/2\r\n\
    a=fmtp:107 useinbandfec=1\r\na=rtpmap:9 G722/8000\r\na=rtpmap:101 telephone-event/8000\r\n\
    a=fmtp:101 0-16\r\na=ptime:20\r\na=maxptime:60\r\na=sendrecv\r\n",
    &[
        "m=audio 40000 RTP/AVPF 107 9 101",
        "a=rtpmap:107 opus/48000/2",
        "a=fmtp:107 useinbandfec=1",
        "a=rtpmap:9 G722/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-15",
        "a=ptime:20",
        "a=sendrecv",
    ],
);

const BARE: Row = (
    "an old adapter that names nothing",
    "v=0\no=user 1 1 IN IP4 198.51.100.26\ns=-\nc=IN IP4 198.51.100.26\nt=3034423619 3042462419\n\
    m=audio 5004 RTP/AVP 18 0 8\n",
    &["m=audio 40000 RTP/AVP 0 8", "a=rtpmap:0 PCMU/8000", "a=rtpmap:8 PCMA/8000", "a=sendrecv"],
);

const TWICE: Row = (
    "the same audio encrypted, plain and as fax, after a video",
    "v=0\r\no=- 1 1 IN IP4 198.51.100.27\r\ns=-\r\nt=0 0\r\n\
    m=video 4000 RTP/SAVP 97\r\nc=IN IP4 198.51.100.27\r\n\
    m=audio 4002 RTP/SAVP 8\r\nc=IN IP4 198.51.100.27\r\na=mid:s\r\n\
    a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n\
    m=audio 4004 RTP/AVP 8\r\nc=IN IP4 198.51.100.27\r\n\
    m=image 4006 udptl t38\r\nc=IN IP4 198.51.100.27\r\n\
    m=application 4008 UDP/BFCP\r\nc=IN IP4 198.51.100.27\r\n",
    &[
        "m=video 0 RTP/SAVP 97",
        "m=audio 40000 RTP/SAVP 8",
        "a=rtpmap:8 PCMA/8000",
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgIC",
        "a=mid:s",
        "a=sendrecv",
        "m=audio 0 RTP/AVP 8",
        "m=image 0 udptl t38",
        "m=application 0 UDP/BFCP 0",
    ],
);

const ROWS: [Row; 10] =
    [BARESIP, BARESIP_SAVP, BARESIP_MUXED, LINPHONE, POLYCOM, YEALINK, SNOM, ASTERISK, BARE, TWICE];

/// The offers alone.
pub(super) fn all() -> [&'static str; ROWS.len()] {
    ROWS.map(|(_, offer, _)| offer)
}

#[test]
fn offers_of_known_devices_are_answered() {
    for (name, offer, expected) in ROWS {
        let offer = parse(offer);
        let local =
            LocalAudio { encryption: Encryption::Opportunistic(keys()), rtcp_mux: true, ..local() };
        let (answer, remote) = answered(&offer, &local).unwrap_or_else(|e| panic!("{name}: {e}"));
        let said: Vec<String> = answer.media.iter().flat_map(lines).collect();
        assert_eq!(said, expected, "{name}");
        assert_eq!(answer.media.len(), offer.media.len(), "{name}");
        assert_eq!(answer.section.value('t'), offer.section.value('t'), "{name}");
        assert_eq!(answer.connection_of(audio(&answer)).unwrap().address, "192.0.2.9", "{name}");
        let theirs = offer.connection_of(audio(&offer)).unwrap().ip().unwrap();
        assert_eq!(remote.addr, Some((theirs, audio(&offer).port).into()), "{name}");
        let encrypted = expected.iter().any(|line| line.starts_with("a=crypto"));
        assert_eq!(remote.srtp.is_some(), encrypted, "{name}");
        assert!(!remote.is_held(), "{name}");
    }
}

#[test]
fn the_engine_gets_what_was_agreed() {
    let (_, remote) = answered(&parse(LINPHONE.1), &local()).unwrap();
    let codecs = remote.leg_codecs(&[]).unwrap();
    assert_eq!(codecs.receive, [(96, Codec::Opus), (0, Codec::Pcmu), (8, Codec::Pcma)]);
    assert_eq!((codecs.send, codecs.dtmf_send), ((96, Codec::Opus), Some((101, 48_000))));
    assert_eq!(codecs.dtmf_receive, [(101, 48_000), (100, 8_000)]);
    assert_eq!(codecs.ptime_ms, 20);
    let codecs = remote.leg_codecs(&[Codec::G722, Codec::Pcma]).unwrap();
    assert_eq!((codecs.send, codecs.dtmf_send), ((8, Codec::Pcma), Some((100, 8_000))));
    let rtp = remote.rtp_remote();
    assert_eq!((rtp.addr, rtp.rtcp), ("198.51.100.21:7078".parse().unwrap(), None));
    assert!(rtp.srtp.is_none() && !rtp.rtcp_mux);
}

/// Offers we cannot take, in `m=audio` and what follows it.
#[test]
fn refusals_say_why() {
    let mki = format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20|1:4");
    let good = format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}");
    let table: &[(&str, &[&str], SdpError)] = &[
        ("nothing at all", &[], SdpError::NoAudio),
        ("video only", &["m=video 4000 RTP/AVP 96"], SdpError::NoAudio),
        ("audio with port 0", &["m=audio 0 RTP/AVP 0"], SdpError::NoAudio),
        ("DTLS", &["m=audio 9 UDP/TLS/RTP/SAVPF 0"], SdpError::UnsupportedTransport),
        ("TCP", &["m=audio 9 TCP/RTP/AVP 0"], SdpError::UnsupportedTransport),
        ("G.729 only", &["m=audio 4000 RTP/AVP 18"], SdpError::NoCommonCodec),
        (
            "events only",
            &["m=audio 4000 RTP/AVP 101", "a=rtpmap:101 telephone-event/8000"],
            SdpError::NoCommonCodec,
        ),
        ("no formats", &["m=audio 4000 RTP/AVP"], SdpError::NoCommonCodec),
        ("SAVP without keys", &["m=audio 4000 RTP/SAVP 0"], SdpError::NoCrypto),
        ("SAVP with an MKI", &["m=audio 4000 RTP/SAVP 0", &mki], SdpError::NoCrypto),
        ("a name", &["m=audio 4000 RTP/AVP 0", "c=IN IP4 host.example"], SdpError::BadAddress),
        ("multicast", &["m=audio 4000 RTP/AVP 0", "c=IN IP4 224.2.1.1/127"], SdpError::BadAddress),
        (
            "broadcast",
            &["m=audio 4000 RTP/AVP 0", "c=IN IP4 255.255.255.255"],
            SdpError::BadAddress,
        ),
        ("IPv6", &["m=audio 4000 RTP/AVP 0", "c=IN IP6 2001:db8::1"], SdpError::BadAddress),
        ("broken c=", &["m=audio 4000 RTP/AVP 0", "c=nonsense"], SdpError::BadAddress),
        (
            "the first reason of two",
            &["m=audio 4000 RTP/SAVP 0", "m=audio 4000 RTP/AVP 18"],
            SdpError::NoCrypto,
        ),
    ];
    let keyed = LocalAudio { encryption: Encryption::Opportunistic(keys()), ..local() };
    for (name, media, expected) in table {
        let result = answered(&from_phone(media), &keyed).map(|_| ());
        assert_eq!(result, Err(*expected), "{name}");
    }
    let offer = from_phone(&["m=audio 4000 RTP/SAVP 0", &good]);
    assert_eq!(answered(&offer, &local()).map(|_| ()), Err(SdpError::NoCrypto), "ours are off");
    assert!(answered(&offer, &keyed).is_ok());
    let nowhere = parse("v=0\no=- 1 1 IN IP4 198.51.100.1\nm=audio 4000 RTP/AVP 0\n");
    assert_eq!(answered(&nowhere, &local()).map(|_| ()), Err(SdpError::BadAddress), "no c=");
}
