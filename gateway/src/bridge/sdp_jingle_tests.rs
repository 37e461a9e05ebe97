//! Offers and answers of clients, and what the media engine is told.

use proptest::prelude::*;

use super::*;

fn local() -> LocalTransport {
    LocalTransport {
        ufrag: "oUrs".into(),
        pwd: "0123456789abcdefghijklmn".into(),
        fingerprint_sha256: "AB:CD".into(),
        candidates: vec![MediaCandidate {
            foundation: "1".into(),
            component: 1,
            priority: 2_130_706_431,
            address: "192.0.2.1:3479".parse().unwrap(),
            kind: "host".into(),
        }],
    }
}

fn client(types: &[(u8, &str, u32)], setup: Setup) -> Content {
    let mut content = offer("a0", &local(), &[]);
    let description = content.description.as_mut().unwrap();
    description.payload_types =
        types.iter().map(|(id, name, clock)| PayloadType::new(*id, name, *clock)).collect();
    let transport = content.transport.as_mut().unwrap();
    transport.ufrag = Some("thEirs".into());
    transport.fingerprints[0].setup = Some(setup);
    content
}

#[test]
fn an_offer_names_everything_with_the_other_legs_codec_first() {
    let content = offer("a0", &local(), &[Codec::Pcma]);
    let types = &content.description.as_ref().unwrap().payload_types;
    let got: Vec<_> = types.iter().map(|p| (p.id, p.name.as_str(), p.clockrate.unwrap())).collect();
    let expected = [
        (8, "PCMA", 8_000),
        (111, "opus", 48_000),
        (9, "G722", 8_000),
        (0, "PCMU", 8_000),
        (110, "telephone-event", 48_000),
        (126, "telephone-event", 8_000),
    ];
    assert_eq!(got, expected);
    assert_eq!(types[1].channels, 2);
    assert!(is_muxed(&content));
    let transport = content.transport.unwrap();
    assert_eq!(transport.fingerprints[0].setup, Some(Setup::Actpass));
    assert_eq!(transport.candidates[0].ip.to_string(), "192.0.2.1");
}

#[test]
fn an_answer_keeps_the_clients_numbers_and_prefers_the_other_legs_codec() {
    let theirs = client(
        &[
            (96, "opus", 48_000),
            (8, "PCMA", 8_000),
            (0, "", 8_000),
            (101, "telephone-event", 8_000),
        ],
        Setup::Actpass,
    );
    let (content, codecs) = answer(&theirs, &local(), &[Codec::Pcma, Codec::Pcmu]).unwrap();
    let types = &content.description.as_ref().unwrap().payload_types;
    let ids: Vec<u8> = types.iter().map(|p| p.id).collect();
    assert_eq!(ids, [8, 0, 96, 101]);
    assert_eq!(codecs.send, (8, Codec::Pcma));
    assert_eq!(codecs.dtmf_send, Some((101, 8_000)));
    assert_eq!(codecs.receive.len(), 3);
    let transport = content.transport.unwrap();
    assert_eq!(transport.fingerprints[0].setup, Some(Setup::Active));
    let passive = client(&[(0, "PCMU", 8_000)], Setup::Active);
    let (content, _) = answer(&passive, &local(), &[]).unwrap();
    assert_eq!(content.transport.unwrap().fingerprints[0].setup, Some(Setup::Passive));
}

#[test]
fn an_accepted_offer_is_sent_with_their_numbers_and_taken_with_ours() {
    let ours = offer("a0", &local(), &[]);
    let theirs = client(&[(97, "OPUS", 48_000), (98, "telephone-event", 48_000)], Setup::Active);
    let (codecs, remote) = accept(&ours, &theirs, &[Codec::Pcma]).unwrap();
    assert_eq!(codecs.send, (97, Codec::Opus));
    // All that was offered may come; Opus leads.
    assert_eq!(codecs.receive.first(), Some(&(111, Codec::Opus)));
    assert_eq!(codecs.receive.len(), 4);
    assert_eq!(codecs.dtmf_receive, [(110, 48_000)]);
    assert_eq!(codecs.dtmf_send, Some((98, 48_000)));
    assert_eq!((remote.ufrag.as_str(), remote.setup), ("thEirs", tandem_media::Setup::Active));
    assert_eq!(remote.candidates.len(), 1);
    let undecided = client(&[(0, "PCMU", 8_000)], Setup::Actpass);
    assert_eq!(accept(&ours, &undecided, &[]).unwrap().1.setup, tandem_media::Setup::Active);
}

#[test]
fn what_cannot_be_used_is_named() {
    let good = || client(&[(0, "PCMU", 8_000)], Setup::Actpass);
    let refused = |content: &Content| answer(content, &local(), &[]).unwrap_err();
    let mut content = good();
    content.description.as_mut().unwrap().media = "video".into();
    assert_eq!(refused(&content), Unusable::NoAudio);
    let speex = client(&[(97, "speex", 8_000), (98, "PCMU", 16_000)], Setup::Actpass);
    assert_eq!(refused(&speex), Unusable::NoCodec);
    let mut content = good();
    content.transport.as_mut().unwrap().fingerprints[0].hash = "sha-1".into();
    assert_eq!(refused(&content), Unusable::NoFingerprint);
    for pwd in [None, Some("short".to_owned()), Some("with spaces and more of it".to_owned())] {
        let mut content = good();
        content.transport.as_mut().unwrap().pwd = pwd;
        assert_eq!(refused(&content), Unusable::NoTransport);
    }
    let mut content = good();
    content.transport = None;
    assert_eq!(refused(&content), Unusable::NoTransport);
    assert_eq!(Unusable::NoTransport.reason(), Reason::UnsupportedTransports);
}

#[test]
fn only_candidates_that_can_be_used_go_on() {
    let mut content = client(&[(0, "PCMU", 8_000)], Setup::Actpass);
    let transport = content.transport.as_mut().unwrap();
    let good = transport.candidates[0].clone();
    let with = |change: fn(&mut Candidate)| {
        let mut candidate = good.clone();
        change(&mut candidate);
        candidate
    };
    transport.candidates = vec![
        good.clone(),
        with(|c| c.component = 2),
        with(|c| c.protocol = "tcp".into()),
        with(|c| c.port = 0),
        with(|c| c.ip = [224, 0, 0, 1].into()),
        with(|c| c.ip = [0, 0, 0, 0].into()),
        with(|c| c.kind = "odd".into()),
        with(|c| c.kind = "relay".into()),
    ];
    let kinds: Vec<String> = candidates(&content).into_iter().map(|c| c.kind).collect();
    assert_eq!(kinds, ["host", "relay"]);
}

#[test]
fn directions_are_absolute_in_jingle() {
    assert_eq!(direction(Senders::Both, false), (true, true));
    assert_eq!(direction(Senders::Initiator, true), (true, false));
    assert_eq!(direction(Senders::Initiator, false), (false, true));
    assert_eq!(direction(Senders::None, true), (false, false));
}

#[test]
fn the_shared_codec_wins() {
    use Codec::*;
    assert_eq!(common(&preference(&[Pcma]), &[Opus, Pcma]), Some(Pcma));
    assert_eq!(common(&[G722], &[Pcmu]), None);
    assert_eq!(preference(&[Pcmu, Opus, Pcmu]), [Pcmu, Opus, G722, Pcma]);
}

fn codecs() -> impl Strategy<Value = Vec<Codec>> {
    prop::collection::vec(prop::sample::select(CODECS.to_vec()), 1..5)
}

proptest! {
    /// Whatever two sides offer, both ends of a leg agree on what goes either way.
    #[test]
    fn both_ends_agree(mine in codecs(), theirs in codecs(), other_leg in codecs()) {
        let mut content = offer("a", &local(), &other_leg);
        let keep = |id: &u8, all: &[Codec]| {
            all.iter().any(|c| c.static_payload_type().unwrap_or(OPUS) == *id)
        };
        let description = content.description.as_mut().unwrap();
        description.payload_types.retain(|p| keep(&p.id, &mine));
        match answer(&content, &local(), &theirs) {
            Ok((reply, answerer)) => {
                let (offerer, _) = accept(&content, &reply, &theirs).unwrap();
                prop_assert!(answerer.receive.contains(&offerer.send));
                prop_assert!(offerer.receive.contains(&answerer.send));
                prop_assert_eq!(offerer.send.1, answerer.send.1, "the same codec both ways");
                if let Some(first) = common(&theirs, &mine) {
                    prop_assert_eq!(answerer.send.1, first);
                }
            }
            Err(error) => prop_assert!(false, "{error}"),
        }
    }
}
