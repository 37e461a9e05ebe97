//! RFC 8866 has no limits; ours, each with the last value that passes and the first that does not.

use super::*;

const HEAD: &str = "v=0\no=- 1 1 IN IP4 198.51.100.1\ns=-\nc=IN IP4 198.51.100.1\nt=0 0\n";

fn verdict(text: &str) -> Option<SdpError> {
    Session::parse(text.as_bytes()).err()
}

#[test]
fn limits_hold_at_their_edge() {
    let media = "m=audio 4000 RTP/AVP 0\n";
    let attributes = |n: usize| "a=x\n".repeat(n);
    let formats = |n: usize| format!("{HEAD}m=audio 4000 RTP/AVP{}\n", " 0".repeat(n));
    let bytes = |n: usize| format!("{HEAD}i={}", "x".repeat(n - HEAD.len() - 2));
    // `s=`, `c=` and `t=` of the head count.
    let others = |n: usize| format!("{HEAD}{}", "b=AS:1\n".repeat(n - 3));
    let table: [(&str, String, String); 7] = [
        ("bytes", bytes(MAX_BYTES), bytes(MAX_BYTES + 1)),
        (
            "m-lines",
            format!("{HEAD}{}", media.repeat(MAX_MEDIA)),
            format!("{HEAD}{}", media.repeat(MAX_MEDIA + 1)),
        ),
        (
            "session attributes",
            format!("{HEAD}{}", attributes(MAX_ATTRIBUTES)),
            format!("{HEAD}{}", attributes(MAX_ATTRIBUTES + 1)),
        ),
        (
            "media attributes",
            format!("{HEAD}{media}{}", attributes(MAX_ATTRIBUTES)),
            format!("{HEAD}{media}{}", attributes(MAX_ATTRIBUTES + 1)),
        ),
        ("formats", formats(MAX_FORMATS), formats(MAX_FORMATS + 1)),
        ("other session lines", others(MAX_OTHER_LINES), others(MAX_OTHER_LINES + 1)),
        (
            "other media lines",
            format!("{HEAD}{media}{}", "b=AS:1\n".repeat(MAX_OTHER_LINES)),
            format!("{HEAD}{media}{}", "b=AS:1\n".repeat(MAX_OTHER_LINES + 1)),
        ),
    ];
    for (name, inside, outside) in table {
        assert_eq!(verdict(&inside), None, "{name}: inside");
        assert_eq!(verdict(&outside), Some(SdpError::TooLarge), "{name}: outside");
    }
}

#[test]
fn limits_count_for_each_section_alone() {
    let section = format!("m=audio 4000 RTP/AVP 0\n{}", "a=x\n".repeat(MAX_ATTRIBUTES));
    let text = format!("{HEAD}{}{}", "a=x\n".repeat(MAX_ATTRIBUTES), section.repeat(MAX_MEDIA));
    assert_eq!(verdict(&text), None);
}

/// The status a refused INVITE gets.
#[test]
fn every_error_has_its_answer() {
    let table = [
        (SdpError::NotSdp, 400, None),
        (SdpError::NoOffer, 400, None),
        (SdpError::TooLarge, 413, None),
        (SdpError::NoAudio, 488, Some(304)),
        (SdpError::UnsupportedTransport, 488, Some(302)),
        (SdpError::NoCommonCodec, 488, Some(305)),
        (SdpError::NoCrypto, 488, Some(306)),
        (SdpError::BadAddress, 488, Some(301)),
        (SdpError::AnswerMismatch, 488, Some(307)),
    ];
    for (error, status, warning) in table {
        assert_eq!((error.status(), error.warning().map(|w| w.0)), (status, warning), "{error}");
    }
}
