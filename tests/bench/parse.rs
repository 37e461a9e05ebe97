//! Reading a typical INVITE: ours beside rsip, in this process.

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Context, Result};
use bytes::Bytes;
use tandem_sip::msg::{Limits, parse_datagram};

/// Times the message is read, in rounds of which the best counts: what else runs on the machine only adds.
const READS: u32 = 20_000;
const ROUNDS: usize = 15;

/// What a desk phone behind a proxy sends: two Vias, a Record-Route, credentials, an offer of five codecs.
fn invite() -> Bytes {
    let sdp = "v=0\r\no=- 3747 3747 IN IP4 192.0.2.20\r\ns=call\r\nc=IN IP4 192.0.2.20\r\nt=0 0\r\n\
        m=audio 11424 RTP/AVP 96 9 8 0 101\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1\r\n\
        a=rtpmap:9 G722/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n\
        a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=sendrecv\r\n";
    Bytes::from(format!(
        "INVITE sip:julia@example.org SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK8d4f1c09;rport\r\n\
         Via: SIP/2.0/UDP 192.0.2.20:5062;branch=z9hG4bK2309876123;received=198.51.100.7;rport=31337\r\n\
         Record-Route: <sip:192.0.2.1;lr>\r\n\
         From: \"Anna Example\" <sip:anna@example.org>;tag=1928301774\r\n\
         To: <sip:julia@example.org>\r\n\
         Call-ID: a84b4c76e66710@192.0.2.20\r\n\
         CSeq: 314159 INVITE\r\n\
         Contact: <sip:anna@192.0.2.20:5062>\r\n\
         Authorization: Digest username=\"anna\", realm=\"example.org\", nonce=\"84a4cc6f3082121f32b42a2187831a9e\", \
         uri=\"sip:julia@example.org\", response=\"7587245234b3434cc3412213e5f113a5\", algorithm=MD5, qop=auth, \
         cnonce=\"0a4f113b\", nc=00000001\r\n\
         Max-Forwards: 69\r\n\
         User-Agent: Desk 6.2\r\n\
         Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, REFER, NOTIFY, MESSAGE, UPDATE, PRACK\r\n\
         Supported: timer, replaces, 100rel\r\n\
         Content-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    ))
}

/// Microseconds to read it, by us and by rsip.
pub fn measure() -> Result<Vec<(&'static str, f64)>> {
    let (bytes, limits) = (invite(), Limits::default());
    parse_datagram(bytes.clone(), &limits).ok().context("ours does not read it")?;
    rsip::SipMessage::try_from(bytes.as_ref()).ok().context("rsip does not read it")?;
    let ours = best(|| drop(black_box(parse_datagram(black_box(bytes.clone()), &limits))));
    let theirs = best(|| drop(black_box(rsip::SipMessage::try_from(black_box(bytes.as_ref())))));
    Ok(vec![("tandem", ours), ("rsip", theirs)])
}

fn best(read: impl Fn()) -> f64 {
    let round = |_| {
        let begun = Instant::now();
        (0..READS).for_each(|_| read());
        begun.elapsed().as_secs_f64() * 1e6 / f64::from(READS)
    };
    (0..ROUNDS).map(round).fold(f64::INFINITY, f64::min)
}
