//! RFC 4475 and RFC 5118: what each of their messages earns here. Each row is the message of that name reduced to what
//! it is about: its odd parts as in the RFC, the rest from [`message`].

use super::stream::Framer;
use super::*;

/// What a message earns.
#[derive(Debug, PartialEq, Clone, Copy)]
enum Earns {
    /// It parses, passes [`check_request`] and prints to what it was.
    Accepted,
    /// It parses as a response.
    Response(u16),
    /// The parser answers.
    Answer(u16),
    /// It parses, but [`check_request`] refuses.
    Refused(u16),
    /// Silence.
    Silence,
}
use Earns::*;

/// A message with the usual fields, save those that `fields` brings itself or takes away (`-To`).
pub(super) fn message(start: &str, fields: &[&str], body: &str) -> Vec<u8> {
    let method =
        start.split(' ').next().filter(|word| !word.starts_with("SIP/")).unwrap_or("INVITE");
    let usual = [
        ("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1".to_owned()),
        ("From", "<sip:caller@example.net>;tag=1".to_owned()),
        ("To", "<sip:user@example.com>".to_owned()),
        ("Call-ID", "1@192.0.2.1".to_owned()),
        ("CSeq", format!("1 {method}")),
        ("Max-Forwards", "70".to_owned()),
    ];
    let id_of = |field: &str| {
        Name::of(field.trim_start_matches('-').split(':').next().unwrap().trim().as_bytes())
    };
    let mut text = format!("{start}\r\n");
    for (name, value) in usual {
        if !fields.iter().any(|field| id_of(field) == Name::of(name.as_bytes())) {
            text += &format!("{name}: {value}\r\n");
        }
    }
    for field in fields.iter().filter(|field| !field.starts_with('-')) {
        text += &format!("{field}\r\n");
    }
    format!("{text}\r\n{body}").into_bytes()
}

fn earned(bytes: &[u8]) -> Earns {
    match parse_datagram(bytes.to_vec(), &Limits::default()) {
        Ok(Message::Request(request)) => {
            let mut again = parse_datagram(request.to_bytes(), &Limits::default()).unwrap();
            if let (Message::Request(again), false) =
                (&mut again, request.headers.has(Name::ContentLength))
            {
                again.headers.remove(Name::ContentLength);
            }
            // The printer writes the length of the body that was taken: leading zeros and the like are not kept.
            let mut printed = request.clone();
            if printed.headers.has(Name::ContentLength) {
                printed.headers.set(Name::ContentLength, printed.body.len().to_string());
            }
            assert_eq!(again, Message::Request(printed));
            check_request(&request).map_or_else(|refusal| Refused(refusal.status), |()| Accepted)
        }
        Ok(Message::Response(response)) => Response(response.status),
        Err(error) => error.status().map_or(Silence, Answer),
    }
}

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.3\r\ns=-\r\n";

#[test]
#[allow(clippy::too_many_lines)] // a table: one row a message
fn each_message_of_rfc_4475_earns_its_outcome() {
    let invite = "INVITE sip:user@example.com SIP/2.0";
    let options = "OPTIONS sip:user@example.com SIP/2.0";
    let register = "REGISTER sip:example.com SIP/2.0";
    let sdp_type = "Content-Type: application/sdp";
    let long = format!(
        "To: \"I have a user name of {} proportion\" <sip:user@example.com>",
        "extreme".repeat(300)
    );
    let display = "To: \"BEL:\\\u{7} NUL:\\\u{0} DEL:\\\u{7f}\" <sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com>";
    let odd = "!interesting-Method0123456789_*+`.%indeed'~";
    let odd_start = format!(
        "{odd} sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com SIP/2.0"
    );
    let rows: &[(&str, Vec<u8>, Earns)] = &[
        (
            "wsinv",
            message(
                "INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0",
                &[
                    "TO :\r\n sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n",
                    "from   : \"J Rosenberg \\\\\\\"\"       <sip:jdrosen@example.com>\r\n  ;\r\n  tag = 98asjd8",
                    "MaX-fOrWaRdS: 0068",
                    "Content-Length   : 0036",
                    "cseq: 0009\r\n  INVITE",
                    "Via  : SIP  /   2.0\r\n /UDP\r\n    192.0.2.2;branch=390skdjuw",
                    "s :",
                    "NewFangledHeader:   newfangled value\r\n continued newfangled value",
                    "UnknownHeaderWithUnusualValue: ;;,,;;,;",
                    sdp_type,
                    "Route:\r\n <sip:services.example.com;lr;unknownwith=value;unknown-no-value>",
                    "v:  SIP  / 2.0  / TCP     spindle.example.com   ;\r\n  branch  =   z9hG4bK9ikj8  ,\r\n SIP  /    2.0   / UDP  192.168.255.111   ; branch=\r\n z9hG4bK30239",
                    "m:\"Quoted string \\\"\\\"\" <sip:jdrosen@example.com> ; newparam =\r\n      newvalue ;\r\n  secondparam ; q = 0.33",
                ],
                SDP,
            ),
            Accepted,
        ),
        (
            "intmeth",
            message(&odd_start, &[display, "extensionHeader-!.%*+_`'~: \u{fe0f}\u{65e5}"], ""),
            Refused(501),
        ),
        (
            "esc01",
            message(
                "INVITE sip:sips%3Auser%40example.com@example.net SIP/2.0",
                &[
                    "Contact: <sip:cal%6Cer@host5.example.net;%6C%72;n%61me=v%61lue%25%34%31>",
                    sdp_type,
                ],
                SDP,
            ),
            Accepted,
        ),
        (
            "escnull",
            message(
                register,
                &[
                    "Contact: <sip:%00@host5.example.com>",
                    "Contact: <sip:%00%00@host5.example.com>",
                    "L:0",
                ],
                "",
            ),
            Accepted,
        ),
        (
            "esc02",
            message(
                "RE%47IST%45R sip:registrar.example.com SIP/2.0",
                &[
                    "To: \"%Z%45\" <sip:resource@example.com>",
                    "C%6Fntact: <sip:alias1@host1.example.com>",
                ],
                "",
            ),
            Refused(501),
        ),
        (
            "lwsdisp",
            message(options, &["From: caller<sip:caller@example.com>;tag=323"], ""),
            Accepted,
        ),
        ("longreq", message(invite, &[&long, sdp_type], SDP), Accepted),
        (
            "dblreq",
            message(register, &["Content-Length: 0"], "\r\nINVITE sip:joe@example.com SIP/2.0\r\n"),
            Accepted,
        ),
        (
            "semiuri",
            message("OPTIONS sip:user;par=u%40example.net@example.com SIP/2.0", &[], ""),
            Accepted,
        ),
        (
            "transports",
            message(
                options,
                &[
                    "Via: SIP/2.0/UDP t1.example.org;branch=z9hG4bKkdjuw",
                    "Via: SIP/2.0/SCTP t2.example.com;branch=z9hG4bKk",
                    "Via: SIP/2.0/UNKNOWN t5.example.net;branch=z9hG4bKklasjdhf",
                ],
                "",
            ),
            Accepted,
        ),
        (
            "mpart01",
            message(
                "MESSAGE sip:kumiko@example.org SIP/2.0",
                &["Content-Type: multipart/mixed;boundary=7a9cbec02ceef655", "Content-Length: 14"],
                "--7a\0\r\n\r\n\u{0}\u{1}\r\n-\r\n",
            ),
            Accepted,
        ),
        (
            "unreason",
            message("SIP/2.0 200 = 2**3 * 5**2 но сто девяносто девять - простое", &[], ""),
            Response(200),
        ),
        ("noreason", message("SIP/2.0 100 ", &[], ""), Response(100)),
        (
            "badinv01",
            message(
                invite,
                &[
                    "Via: SIP/2.0/UDP 192.0.2.15;;,;,,",
                    "Contact: \"Joe\" <sip:joe@example.org>;;;;",
                ],
                "",
            ),
            Answer(400),
        ),
        ("clerr", message(invite, &["Content-Length: 9999", sdp_type], SDP), Answer(400)),
        ("ncl", message(invite, &["Content-Length: -999", sdp_type], SDP), Answer(400)),
        ("scalar02", message(register, &["CSeq: 36893488147419103232 REGISTER"], ""), Answer(400)),
        (
            "scalarlg",
            message(
                "SIP/2.0 503 Service Unavailable",
                &["CSeq: 9292394834772304023312 OPTIONS"],
                "",
            ),
            Silence,
        ),
        (
            "quotbal",
            message(invite, &["To: \"Mr. J. User <sip:j.user@example.com>"], ""),
            Answer(400),
        ),
        ("ltgtruri", message("INVITE <sip:user@example.com> SIP/2.0", &[], ""), Answer(400)),
        ("lwsruri", message("INVITE sip:user@example.com; lr SIP/2.0", &[], ""), Answer(400)),
        (
            "lwsstart",
            message("INVITE  sip:user@example.com  SIP/2.0", &["CSeq: 1 INVITE"], ""),
            Answer(400),
        ),
        ("trws", message("OPTIONS sip:remote-target@example.com SIP/2.0  ", &[], ""), Answer(400)),
        (
            "escruri",
            message("INVITE sip:user@example.com?Route=%3Csip:example.com%3E SIP/2.0", &[], ""),
            Answer(400),
        ),
        (
            "baddate",
            message(invite, &["Date: Fri, 01 Jan 2010 16:00:00 EST", sdp_type], SDP),
            Accepted,
        ),
        (
            "regbadct",
            message(
                register,
                &["Contact: sip:user@example.com?Route=%3Csip:sip.example.com%3E"],
                "",
            ),
            Answer(400),
        ),
        (
            "badaspec",
            message(options, &["To: \"Watson, Thomas\" < sip:t.watson@example.org >"], ""),
            Answer(400),
        ),
        (
            "baddn",
            message(options, &["From: Bell, Alexander <sip:a.g.bell@example.com>;tag=43"], ""),
            Answer(400),
        ),
        (
            "badvers",
            message(
                "OPTIONS sip:t.watson@example.org SIP/7.0",
                &["Via: SIP/7.0/UDP c.example.com;branch=z9hG4bKkdjuw"],
                "",
            ),
            Answer(505),
        ),
        ("mismatch01", message(options, &["CSeq: 8 INVITE"], ""), Answer(400)),
        (
            "mismatch02",
            message("NEWMETHOD sip:user@example.com SIP/2.0", &["CSeq: 8 INVITE"], ""),
            Answer(501),
        ),
        ("bigcode", message("SIP/2.0 4294967301 better not break the receiver", &[], ""), Silence),
        (
            "badbranch",
            message(options, &["Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK"], ""),
            Answer(400),
        ),
        ("insuf", message(invite, &["-Call-ID", "-From", "-To"], ""), Answer(400)),
        (
            "unkscm",
            message("OPTIONS nobodyKnowsThisScheme:totallyopaquecontent SIP/2.0", &[], ""),
            Refused(416),
        ),
        ("novelsc", message("OPTIONS soap.beep://192.0.2.103:3002 SIP/2.0", &[], ""), Refused(416)),
        ("unksm2", message(register, &["To: isbn:2983792873"], ""), Refused(400)),
        (
            "bext01",
            message(options, &["Require: nothingSupportsThis, nothingSupportsThisEither"], ""),
            Refused(420),
        ),
        (
            "invut",
            message(invite, &["Content-Type: application/unknownformat"], "<audio>"),
            Refused(415),
        ),
        (
            "regaut01",
            message(register, &["Authorization: NoOneKnowsThisScheme opaque-data=here"], ""),
            Accepted,
        ),
        (
            "multi01",
            message(
                invite,
                &["From: <sip:a@example.com>;tag=1", "From: <sip:b@example.com>;tag=2"],
                "",
            ),
            Answer(400),
        ),
        (
            "mcl01",
            message(options, &["Content-Length: 13", "Content-Length: 5"], "There's no way"),
            Answer(400),
        ),
        ("zeromf", message(options, &["Max-Forwards: 0"], ""), Accepted),
        (
            "cparam01",
            message(register, &["Contact: sip:+19725552222@gw1.example.net;unknownparam"], ""),
            Accepted,
        ),
        (
            "cparam02",
            message(register, &["Contact: <sip:+19725552222@gw1.example.net;unknownparam>"], ""),
            Accepted,
        ),
        (
            "regescrt",
            message(
                register,
                &["Contact: <sip:user@example.com?Route=%3Csip:sip.example.com%3E>"],
                "",
            ),
            Accepted,
        ),
        ("sdp01", message(invite, &["Accept: text/nobodyKnowsThis", sdp_type], SDP), Refused(406)),
        (
            "inv2543",
            message(
                invite,
                &[
                    "Via: SIP/2.0/UDP iftgw.example.com",
                    "From: <sip:+13035551111@ift.client.example.net;user=phone>",
                    "-Max-Forwards",
                    sdp_type,
                ],
                SDP,
            ),
            Accepted,
        ),
    ];
    for (name, bytes, expected) in rows {
        assert_eq!(earned(bytes), *expected, "{name}");
    }
}

#[test]
fn each_message_of_rfc_5118_earns_its_outcome() {
    let rows = [
        (
            "ipv6-good",
            "REGISTER sip:[2001:db8::10] SIP/2.0",
            "Contact: <sip:user@[2001:db8::1]>",
            Accepted,
        ),
        ("ipv6-bad", "REGISTER sip:2001:db8::10 SIP/2.0", "L: 0", Answer(400)),
        ("port-ambiguous", "REGISTER sip:[2001:db8::10:5070] SIP/2.0", "L: 0", Accepted),
        ("port-unambiguous", "REGISTER sip:[2001:db8::10]:5070 SIP/2.0", "L: 0", Accepted),
        (
            "received, delimited",
            "BYE sip:[2001:db8::10] SIP/2.0",
            "Via: SIP/2.0/UDP [2001:db8::9:1];received=[2001:db8::9:255];branch=z9hG4bK1",
            Accepted,
        ),
        (
            "received, bare",
            "OPTIONS sip:[2001:db8::10] SIP/2.0",
            "Via: SIP/2.0/UDP [2001:db8::9:1];received=2001:db8::9:255;branch=z9hG4bK1",
            Accepted,
        ),
        ("2 colons", "OPTIONS sip:user@[2001:db8::192.0.2.1] SIP/2.0", "L: 0", Accepted),
        ("3 colons", "OPTIONS sip:user@[2001:db8:::192.0.2.1] SIP/2.0", "L: 0", Accepted),
        ("4 colons", "OPTIONS sip:user@[2001:db8::::192.0.2.1] SIP/2.0", "L: 0", Answer(400)),
        ("ipv4-mapped", "INVITE sip:vivekg@[::ffff:192.0.2.10] SIP/2.0", "L: 0", Accepted),
    ];
    for (name, start, field, expected) in rows {
        assert_eq!(earned(&message(start, &[field], "")), expected, "{name}");
    }
}

#[test]
fn on_a_stream_a_long_body_is_waited_for_and_a_bad_length_closes() {
    let invite = "INVITE sip:user@example.com SIP/2.0";
    let poll = |fields: &[&str]| {
        let mut framer = Framer::new(Limits::default());
        framer.push(&message(invite, fields, SDP));
        framer.poll().map_err(|error| error.answer.and_then(|answer| answer.status()))
    };
    assert_eq!(poll(&["Content-Length: 9999"]), Ok(None), "clerr");
    assert_eq!(poll(&["Content-Length: -999"]), Err(Some(400)), "ncl");
    assert_eq!(poll(&["Content-Length: 1", "l: 2"]), Err(Some(400)), "mcl01");
    assert_eq!(poll(&[]), Err(Some(400)), "no length");
    assert_eq!(
        poll(&["Content-Length: 99999999999999999999"]),
        Err(Some(400)),
        "beyond all numbers"
    );
}
