//! Forms of Jingle as stanza.js, Conversations and aiortc clients send them, limits, and round trips.

use proptest::prelude::*;

use super::*;

/// A `session-initiate` in the form of a browser client, with what such clients add.
const BROWSER: &str = "<jingle xmlns='urn:xmpp:jingle:1' action='session-initiate' initiator='a@b/c' sid='s1'>\
  <group xmlns='urn:xmpp:jingle:apps:grouping:0' semantics='BUNDLE'><content name='0'/></group>\
  <content creator='initiator' name='0' senders='both'>\
   <description xmlns='urn:xmpp:jingle:apps:rtp:1' media='audio' ssrc='77'>\
    <payload-type id='111' name='opus' clockrate='48000' channels='2'>\
     <parameter name='minptime' value='10'/><parameter name='useinbandfec' value='1'/>\
     <rtcp-fb xmlns='urn:xmpp:jingle:apps:rtp:rtcp-fb:0' type='transport-cc'/></payload-type>\
    <payload-type id='0' name='PCMU' clockrate='8000'/>\
    <payload-type id='200' name='bad'/>\
    <payload-type id='126' name='telephone-event' clockrate='8000'><parameter name='0-15' value=''/></payload-type>\
    <rtp-hdrext xmlns='urn:xmpp:jingle:apps:rtp:rtp-hdrext:0' id='1' uri='urn:ietf:params:rtp-hdrext:ssrc-audio-level'/>\
    <source xmlns='urn:xmpp:jingle:apps:rtp:ssma:0' ssrc='77'><parameter name='cname' value='x'/></source>\
    <rtcp-mux/></description>\
   <transport xmlns='urn:xmpp:jingle:transports:ice-udp:1' ufrag='8hhy' pwd='asd88fgpdd777uzjYhagZg'>\
    <fingerprint xmlns='urn:xmpp:jingle:apps:dtls:0' hash='SHA-256' setup='actpass'>02:1a:fF</fingerprint>\
    <candidate component='1' foundation='1' generation='0' id='e1' ip='10.0.1.1' network='1' port='8998' \
      priority='2130706431' protocol='UDP' type='host'/>\
    <candidate component='1' foundation='2' ip='6f1d.local' port='8998' priority='1' protocol='udp' type='host'/>\
    <candidate component='1' foundation='3' ip='192.0.2.3' port='45664' priority='1694498815' protocol='udp' \
      rel-addr='10.0.1.1' rel-port='8998' type='srflx'/>\
   </transport></content></jingle>";

fn read(xml: &str) -> Result<Jingle, JingleFault> {
    Jingle::from_element(&Element::parse(xml.as_bytes()).unwrap())
}

#[test]
fn a_browser_offer_is_read() {
    let jingle = read(BROWSER).unwrap();
    assert_eq!((jingle.action, jingle.sid.as_str()), (Action::SessionInitiate, "s1"));
    assert_eq!(jingle.groups[0].contents, ["0"]);
    let content = &jingle.contents[0];
    assert!(content.is_audio());
    let description = content.description.as_ref().unwrap();
    assert!(description.rtcp_mux);
    let ids: Vec<u8> = description.payload_types.iter().map(|p| p.id).collect();
    assert_eq!(ids, [111, 0, 126], "the impossible number is skipped");
    assert_eq!(description.payload_types[0].fmtp(), "minptime=10;useinbandfec=1");
    assert_eq!(description.payload_types[2].fmtp(), "0-15");
    let transport = content.transport.as_ref().unwrap();
    assert_eq!(transport.fingerprints[0].hash, "sha-256");
    assert_eq!(transport.fingerprints[0].value, "02:1A:FF");
    assert_eq!(transport.candidates.len(), 2, "the mDNS name is skipped");
    assert_eq!(transport.candidates[0].protocol, "udp");
    assert_eq!(transport.candidates[1].related, Some(("10.0.1.1".parse().unwrap(), 8998)));
}

#[test]
fn what_is_written_is_read_again() {
    let jingle = read(BROWSER).unwrap();
    let again = Element::parse(&jingle.to_element().to_bytes()).unwrap();
    assert_eq!(Jingle::from_element(&again), Ok(jingle));
}

#[test]
fn other_forms_are_forgiven() {
    let jingle = read(
        "<jingle xmlns='urn:xmpp:jingle:1' action='session-accept' sid='x'><content name='a'>\
         <description xmlns='urn:xmpp:jingle:apps:file-transfer:5'/>\
         <transport xmlns='urn:xmpp:jingle:transports:ibb:1' sid='i'/></content></jingle>",
    )
    .unwrap();
    let content = &jingle.contents[0];
    assert_eq!(content.creator, "initiator");
    assert_eq!(content.senders, Senders::Both);
    assert!(content.description.is_none() && content.transport.is_none());
    assert_eq!(content.other_transport.as_deref(), Some("urn:xmpp:jingle:transports:ibb:1"));
    let fallback = read(
        "<jingle xmlns='urn:xmpp:jingle:1' action='transport-info' sid='x'><content name='a'>\
         <transport xmlns='urn:xmpp:jingle:transports:ice:0'><rtcp-mux/><gathering-complete/></transport>\
         </content></jingle>",
    )
    .unwrap();
    let transport = fallback.contents[0].transport.as_ref().unwrap();
    assert!(transport.rtcp_mux && transport.complete);
}

#[test]
fn faults() {
    let start = "<jingle xmlns='urn:xmpp:jingle:1'";
    assert_eq!(read("<jingle xmlns='other'/>"), Err(JingleFault::NotJingle));
    assert_eq!(read(&format!("{start} sid='x'/>")), Err(JingleFault::Missing("action")));
    assert_eq!(read(&format!("{start} sid='x' action='dance'/>")), Err(JingleFault::UnknownAction));
    assert_eq!(read(&format!("{start} action='session-info'/>")), Err(JingleFault::Missing("sid")));
    assert_eq!(
        read(&format!("{start} action='session-info' sid='x'><content/></jingle>")),
        Err(JingleFault::Missing("content name"))
    );
}

#[test]
fn counts_are_limited() {
    let with = |contents: usize| {
        let mut jingle = Jingle::new(Action::SessionInitiate, "s");
        jingle.contents =
            (0..contents).map(|n| Content::new("initiator", &n.to_string())).collect();
        Jingle::from_element(&jingle.to_element())
    };
    assert!(with(MAX_CONTENTS).is_ok());
    assert_eq!(with(MAX_CONTENTS + 1), Err(JingleFault::TooMany("contents")));

    let types = |count: usize| {
        let payload = PayloadType::new(0, "PCMU", 8000);
        let description = RtpDescription {
            media: "audio".into(),
            payload_types: vec![payload; count],
            ..RtpDescription::default()
        };
        RtpDescription::from_element(&description.to_element())
    };
    assert!(types(MAX_PAYLOAD_TYPES).is_ok());
    assert_eq!(types(MAX_PAYLOAD_TYPES + 1), Err(JingleFault::TooMany("payload types")));

    // Unreadable candidates count as well: the limit is on work, not on use.
    let candidates = |count: usize| {
        let bad = || Element::new("candidate", NS_ICE_UDP).with_attr("ip", "x.local");
        let transport = Element::new("transport", NS_ICE_UDP);
        IceUdp::from_element(&transport.with_children((0..count).map(|_| bad())))
    };
    assert!(candidates(MAX_CANDIDATES).is_ok());
    assert_eq!(candidates(MAX_CANDIDATES + 1), Err(JingleFault::TooMany("candidates")));
}

#[test]
fn reasons_and_words_round_trip() {
    for reason in Reason::ALL {
        let mut jingle = Jingle::new(Action::SessionTerminate, "s");
        let text = Some("bye".to_owned());
        jingle.reason = Some(ReasonElement { reason: reason.clone(), text });
        let element = Element::parse(&jingle.to_element().to_bytes()).unwrap();
        assert_eq!(Jingle::from_element(&element), Ok(jingle));
    }
    let other = Reason::AlternativeSession(Some("s2".into()));
    let element = ReasonElement::from(other.clone()).to_element();
    assert_eq!(ReasonElement::from_element(&element), Some(other.into()));
    for action in Action::ALL {
        assert_eq!(Action::from_name(action.name()), Some(*action));
    }
}

#[test]
fn infos_round_trip_and_a_ping_is_empty() {
    let muted = Some("a0".to_owned());
    for info in [
        Info::Ringing,
        Info::Active,
        Info::Hold,
        Info::Unhold,
        Info::Mute(None),
        Info::Mute(muted.clone()),
        Info::Unmute(muted),
        Info::Dtmf { code: '#', duration_ms: Some(160) },
        Info::Dtmf { code: 'D', duration_ms: None },
        Info::Transfer { to: "carol@example.org".into(), sid: None },
        Info::Transfer { to: "carol@example.org/desk".into(), sid: Some("s1".into()) },
    ] {
        let mut jingle = Jingle::new(Action::SessionInfo, "s");
        assert!(jingle.is_ping());
        jingle.info = Some(info);
        let element = Element::parse(&jingle.to_element().to_bytes()).unwrap();
        assert_eq!(Jingle::from_element(&element), Ok(jingle));
    }
    let unknown = Element::new("jingle", NS)
        .with_attr("action", "session-info")
        .with_attr("sid", "s")
        .with_child(Element::new("dtmf", NS_DTMF).with_attr("code", "12"));
    let unknown = Jingle::from_element(&unknown).unwrap();
    assert_eq!(unknown.info, Some(Info::Unknown));
    assert!(!unknown.is_ping());
}

#[test]
fn error_conditions_are_found() {
    let error = Element::new("error", "jabber:client");
    for condition in [JingleCondition::TieBreak, JingleCondition::UnknownSession] {
        let error = error.clone().with_child(condition.to_element());
        assert_eq!(JingleCondition::from_error(&error), Some(condition));
    }
    assert_eq!(JingleCondition::from_error(&error), None);
}

fn payload_type() -> impl Strategy<Value = PayloadType> {
    let parameters = prop::collection::vec(("[a-z-]{0,8}", "[a-z0-9,]{1,8}"), 0..4);
    (0_u8..128, "[A-Za-z0-9-]{0,12}", prop::option::of(1_u32..200_000), 1_u8..6, parameters)
        .prop_map(|(id, name, clockrate, channels, parameters)| PayloadType {
            id,
            name,
            clockrate,
            channels,
            ptime: None,
            maxptime: Some(60),
            parameters,
            feedback: Vec::new(),
        })
}

fn candidate() -> impl Strategy<Value = Candidate> {
    (1_u8..3, any::<u32>(), any::<[u8; 4]>(), any::<u16>(), prop::option::of(any::<u16>()))
        .prop_map(|(component, priority, ip, port, related)| Candidate {
            component,
            foundation: format!("{priority:x}"),
            generation: 1,
            id: "c".into(),
            ip: ip.into(),
            network: 0,
            port,
            priority,
            protocol: "udp".into(),
            related: related.map(|port| ([0, 0, 0, 0].into(), port)),
            kind: if related.is_some() { "srflx".into() } else { "host".into() },
            tcptype: None,
        })
}

proptest! {
    #[test]
    fn contents_round_trip(
        name in "[^\u{0}-\u{1f}\u{fffe}\u{ffff}]{1,20}",
        payload_types in prop::collection::vec(payload_type(), 0..8),
        candidates in prop::collection::vec(candidate(), 0..8),
        ufrag in prop::option::of("[A-Za-z0-9+/]{4,16}"),
        mux in any::<bool>(),
    ) {
        let mut content = Content::new("responder", &name);
        content.senders = Senders::Responder;
        content.description = Some(RtpDescription {
            media: "audio".into(), payload_types, rtcp_mux: mux, ..RtpDescription::default()
        });
        let fingerprint =
            Fingerprint { hash: "sha-256".into(), setup: Some(Setup::Active), value: "AB:01".into() };
        content.transport = Some(IceUdp {
            ufrag, pwd: None, fingerprints: vec![fingerprint], candidates, ..IceUdp::default()
        });
        let mut jingle = Jingle::new(Action::SessionAccept, "s");
        jingle.contents = vec![content];
        let element = Element::parse(&jingle.to_element().to_bytes()).unwrap();
        prop_assert_eq!(Jingle::from_element(&element), Ok(jingle));
    }

    #[test]
    fn nothing_in_the_attributes_panics(words in prop::collection::vec(".{0,12}", 8)) {
        let mut candidate = Element::new("candidate", NS_ICE_UDP);
        let names = ["component", "foundation", "ip", "port", "priority", "protocol", "type", "rel-addr"];
        for (name, word) in names.iter().zip(&words) {
            candidate.set_attr(name, word.as_str());
        }
        let _ = Candidate::from_element(&candidate);
        let fingerprint = Element::new("fingerprint", NS_DTLS).with_attr("hash", &*words[0]).with_text(&words[1]);
        let _ = IceUdp::from_element(&Element::new("transport", NS_ICE_UDP).with_child(fingerprint));
    }
}
