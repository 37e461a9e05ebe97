//! Typed header fields in a table: what is read prints the same, what is no such field is refused.

use super::header::*;
use super::{Headers, Name};

type Row = (fn(&str) -> Option<String>, &'static str);

/// Reads and prints a value; `None` when it is refused.
fn echo<T: Header>(value: &str) -> Option<String> {
    T::parse(value).ok().map(|field| field.to_string())
}

#[test]
fn what_is_read_is_printed() {
    let rows: &[Row] = &[
        (echo::<Path>, "<sip:p1.example.org;lr>"),
        (echo::<ServiceRoute>, "<sip:orig@p.example.org;lr;x=1>"),
        (echo::<Supported>, "outbound"),
        (echo::<AllowEvents>, "presence.winfo"),
        (echo::<Accept>, "application/sdp;level=1"),
        (echo::<SipEtag>, "dx200xyz"),
        (echo::<SipIfMatch>, "dx200xyz"),
        (echo::<SuppressIfMatch>, "*"),
        (echo::<PAssertedIdentity>, "\"Anna\" <sip:anna@example.org>"),
        (echo::<PPreferredIdentity>, "<tel:+14085551212>"),
        (echo::<Privacy>, "header;id;critical"),
        (echo::<RSeq>, "776656"),
        (echo::<RAck>, "776656 1 INVITE"),
        (echo::<SessionExpires>, "1800;refresher=uac"),
        (echo::<MinSe>, "90"),
        (echo::<Replaces>, "425928@phone.example.org;to-tag=7743;from-tag=6472;early-only"),
        (echo::<Join>, "12adf2f34456gs5;to-tag=12345;from-tag=54321"),
        (
            echo::<TargetDialog>,
            "fa77as7dad8-sd98ajzz@host.example.com;local-tag=kkaz-;remote-tag=6544",
        ),
        (
            echo::<ReferTo>,
            "<sip:dave@denver.example.org?Replaces=12345%40h%3Bto-tag%3D1%3Bfrom-tag%3D5>",
        ),
        (echo::<ReferredBy>, "<sip:r@ref.example>;cid=\"20398823.2UWQFN309shb3@ref.example\""),
        (echo::<ReferSub>, "false"),
        (echo::<FlowTimer>, "120"),
        (echo::<MaxBreadth>, "60"),
        (echo::<CallInfo>, "<http://www.example.com/alice/photo.jpg>;purpose=icon"),
        (echo::<AlertInfo>, "<urn:alert:source:internal>"),
        (echo::<ErrorInfo>, "<sip:not-in-service-recording@example.org>"),
        (echo::<AnswerMode>, "Auto;require"),
        (echo::<PrivAnswerMode>, "Manual"),
        (echo::<Diversion>, "<sip:bob@example.org>;reason=user-busy;counter=2"),
        (echo::<HistoryInfo>, "<sip:bob@example.com?Reason=SIP%3Bcause%3D302>;index=1.1;rc=1"),
        (echo::<SecurityClient>, "ipsec-3gpp;alg=hmac-sha-1-96;spi-c=2222"),
        (echo::<SecurityServer>, "tls;q=0.2"),
        (echo::<SecurityVerify>, "digest"),
        (
            echo::<SessionId>,
            "ab30317f1a784dc48ff824d0d3715d86;remote=47755a9de7794ba387653f2099600ef2",
        ),
        (echo::<InfoPackage>, "foo"),
        (echo::<RecvInfo>, "bar;par=x"),
        (echo::<ContentDisposition>, "session;handling=optional"),
        (echo::<Date>, "Sat, 13 Nov 2010 23:29:00 GMT"),
        (echo::<Event>, "dialog;id=7"),
        (echo::<Reason>, "SIP;cause=200;text=\"Call completed elsewhere\""),
        (echo::<SubscriptionState>, "terminated;reason=noresource"),
        (echo::<Warning>, "399 tandem \"a \\\"quoted\\\" word\""),
        (echo::<ContentType>, "multipart/mixed;boundary=\"a b\""),
    ];
    for (read, value) in rows {
        assert_eq!(read(value).as_deref(), Some(*value));
        let spaced = value.replace(';', " ; ");
        // White space round semicolons means nothing, but inside brackets and quotes it would.
        if !value.contains(['<', '"']) {
            assert_eq!(read(&spaced).as_deref(), Some(*value), "{spaced}");
        }
    }
}

#[test]
fn what_breaks_its_grammar_is_refused() {
    let rows: &[Row] = &[
        (echo::<Path>, "sip:p1.example.org;lr"),
        (echo::<ServiceRoute>, ""),
        (echo::<SipEtag>, "two words"),
        (echo::<PAssertedIdentity>, "Anna"),
        (echo::<Privacy>, "id;;header"),
        (echo::<RSeq>, "-1"),
        (echo::<RSeq>, "99999999999"),
        (echo::<MinSe>, "ninety"),
        (echo::<Replaces>, "1@h;to-tag=7743"),
        (echo::<Join>, ";to-tag=1;from-tag=2"),
        (echo::<TargetDialog>, "1@h;to-tag=1;from-tag=2"),
        (echo::<ReferSub>, "maybe"),
        (echo::<FlowTimer>, "1.5"),
        (echo::<CallInfo>, "http://www.example.com/photo.jpg"),
        (echo::<AnswerMode>, ""),
        (echo::<SessionId>, "ab30317f"),
        (echo::<ContentDisposition>, "two words"),
        (echo::<Date>, "Fri, 01 Jan 2010 16:00:00 EST"),
        (echo::<Warning>, "39 tandem \"x\""),
    ];
    for (read, value) in rows {
        assert_eq!(read(value), None, "{value}");
    }
}

#[test]
fn what_fields_mean_is_said_by_their_types() {
    let contact = Contact::parse(
        "<sip:anna@192.0.2.1;ob;gr=urn:uuid:f81d;pn-provider=fcm;pn-prid=a%3Ab;pn-param=app>;q=0.5;reg-id=2;\
         +sip.instance=\"<urn:uuid:f81d>\";pub-gruu=\"sip:anna@e.org;gr=x\";temp-gruu=\"sip:t@e.org;gr\"",
    )
    .unwrap();
    assert_eq!((contact.q(), contact.reg_id(), contact.is_outbound()), (Some(500), Some(2), true));
    assert_eq!(contact.instance().as_deref(), Some("urn:uuid:f81d"));
    assert_eq!(contact.gr(), Some("urn:uuid:f81d"));
    assert_eq!(contact.pub_gruu().as_deref(), Some("sip:anna@e.org;gr=x"));
    assert_eq!(contact.temp_gruu().as_deref(), Some("sip:t@e.org;gr"));
    let push = Push {
        provider: "fcm".to_owned(),
        device: "a:b".to_owned(),
        param: Some("app".to_owned()),
    };
    assert_eq!(contact.push(), Some(push));

    let refer = ReferTo::parse(
        "<sip:dave@denver.example.org;method=INVITE?Replaces=12345%40h%3Bto-tag%3D1%3Bfrom-tag%3D5>",
    );
    let refer = refer.unwrap();
    let replaces = refer.replaces().unwrap();
    assert_eq!((replaces.call_id.as_str(), replaces.to_tag()), ("12345@h", Some("1")));
    assert_eq!((refer.method(), replaces.is_early_only()), ("INVITE", false));

    assert!(Privacy::parse("Header; ID").unwrap().has("id"));
    assert!(!ReferSub::parse("False").unwrap().is_wanted);
    assert!(
        AnswerMode::parse("auto;require").is_ok_and(|mode| mode.is_auto() && mode.is_required())
    );
    assert_eq!(
        Diversion::parse("<sip:a@b>;reason=\"no-answer\"").unwrap().reason().as_deref(),
        Some("no-answer")
    );
    let disposition = ContentDisposition::parse("attachment;filename=\"a;b.txt\"").unwrap();
    assert_eq!(disposition.filename().as_deref(), Some("a;b.txt"));
}

#[test]
fn every_known_name_is_found_by_its_text_in_any_case() {
    for name in
        ["Join", "Refer-Sub", "Flow-Timer", "History-Info", "Priv-Answer-Mode", "Session-ID"]
    {
        let id = Name::of(name.to_ascii_uppercase().as_bytes());
        assert_eq!(id.as_str(), name);
    }
    // What nobody here reads stays what it is.
    let mut headers = Headers::new();
    headers.push("Geolocation", "<cid:target123@example.com>");
    assert_eq!(
        headers.field("geolocation").map(|field| (field.id(), field.name())),
        Some((Name::Other, "Geolocation"))
    );
}
