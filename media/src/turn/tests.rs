//! The server as a client sees it (RFC 8656, RFC 8489 section 9.2), in virtual time.

mod world;

use std::net::SocketAddr;
use std::time::Duration;

use self::world::*;
use super::request::*;
use super::*;
use crate::stun::{Class, Frame, Writer, XOR_MAPPED_ADDRESS};

/// RFC 8656 sections 7, 10, 11 and 12: the whole of a client's life.
#[test]
fn a_client_allocates_and_data_goes_both_ways() {
    let mut world = World::new(settings());
    let asker = world.asker("198.51.100.1:40000", "ana@example.org");
    let answer = world.ask(&asker, ALLOCATE, &[udp()]);
    assert_eq!(answer.class, Class::Success);
    assert_eq!(answer.seconds(), 600);
    assert_eq!(answer.addresses(XOR_MAPPED_ADDRESS), [asker.client.remote]);
    let relayed = answer.addresses(XOR_RELAYED_ADDRESS);
    assert_eq!(relayed, [world.bound[&1]]);
    let relay = RelayId(1);
    let to: SocketAddr = PEER.parse().unwrap();

    // Without a permission nothing goes either way.
    assert_eq!(world.server.handle_peer(relay, to, 10, world.now), None);
    let mut indication = Writer::new(SEND, Class::Indication, &rand_id())
        .address(XOR_PEER_ADDRESS, to)
        .attribute(DATA, b"hello")
        .into_bytes();
    let sent = world.server.handle_client(asker.client, &indication, world.now);
    assert_eq!(sent, Inbound::Dropped);

    assert_eq!(world.ask(&asker, CREATE_PERMISSION, &[peer(PEER)]).class, Class::Success);
    let sent = world.server.handle_client(asker.client, &indication, world.now);
    let Inbound::Relay { relay: from, peer: got, payload } = sent else { panic!("{sent:?}") };
    assert_eq!((from, got, &indication[payload]), (relay, to, &b"hello"[..]));
    let back = world.server.handle_peer(relay, to, 10, world.now);
    assert_eq!(back, Some((asker.client, Wrap::Indication)));
    // Any port of the address.
    let other = SocketAddr::new(to.ip(), 1);
    assert!(world.server.handle_peer(relay, other, 10, world.now).is_some());
    assert!(
        world.server.handle_peer(relay, "8.8.4.4:5000".parse().unwrap(), 10, world.now).is_none()
    );

    assert_eq!(
        world.ask(&asker, CHANNEL_BIND, &[channel(0x4001), peer(PEER)]).class,
        Class::Success
    );
    let back = world.server.handle_peer(relay, to, 10, world.now);
    assert_eq!(back, Some((asker.client, Wrap::Channel(0x4001))));
    let data = channel_data(0x4001, b"through");
    let sent = world.server.handle_client(asker.client, &data, world.now);
    assert_eq!(sent, Inbound::Relay { relay, peer: to, payload: 4..11 });
    for broken in
        [channel_data(0x4002, b"x"), data[..8].to_vec(), channel_data(0x5001, b"x"), vec![0x40]]
    {
        assert_eq!(world.server.handle_client(asker.client, &broken, world.now), Inbound::Dropped);
    }

    // What it does not understand is dropped (section 11.2), and so is what it cannot do.
    indication = Writer::new(SEND, Class::Indication, &rand_id())
        .address(XOR_PEER_ADDRESS, to)
        .attribute(DATA, b"hello")
        .attribute(DONT_FRAGMENT, &[])
        .into_bytes();
    assert_eq!(world.server.handle_client(asker.client, &indication, world.now), Inbound::Dropped);

    let mut out = Vec::new();
    write_indication(&mut out, to, b"back", [3; 12]);
    let frame = Frame::parse(&out).unwrap();
    assert_eq!((frame.method, frame.class), (DATA_INDICATION, Class::Indication));
    let [from, data] = frame.attributes().map(|a| (a.kind, a.value)).collect::<Vec<_>>()[..] else {
        panic!("two attributes");
    };
    assert_eq!((from.0, frame.address(from.1)), (XOR_PEER_ADDRESS, Some(to)));
    assert_eq!(data, (DATA, &b"back"[..]));
    assert_eq!(world.server.counters().relayed, 5);
}

/// RFC 5766 section 11: clients of old.
#[test]
fn channels_of_old_are_taken_where_that_is_set() {
    let mut world = World::new(Settings { old_channels: true, ..settings() });
    let asker = world.allocated("198.51.100.1:1", "ana@example.org");
    let bound = world.ask(&asker, CHANNEL_BIND, &[channel(0x7ffe), peer(PEER)]);
    assert_eq!(bound.class, Class::Success);
    assert_eq!(world.ask(&asker, CHANNEL_BIND, &[channel(0x7fff), peer("8.8.4.4:1")]).code(), 400);
    let sent = world.server.handle_client(asker.client, &channel_data(0x7ffe, b"x"), world.now);
    assert!(matches!(sent, Inbound::Relay { .. }));
}

/// RFC 8489 sections 9.2.4, 14.5 and 14.6.
#[test]
fn the_better_algorithms_are_taken_and_not_bid_down() {
    let mut world = World::new(settings());
    let mut asker = world.asker("198.51.100.1:40000", "ana@example.org");
    assert!(asker.nonce.starts_with(b"obMatJos2"));
    asker.is_modern = true;
    // A hash is of a name that was handed out.
    assert_eq!(world.ask(&asker, ALLOCATE, &[udp()]).code(), 401);
    world.server.remember(&asker.name, WALL + 3_600, world.now);
    assert_eq!(world.ask(&asker, ALLOCATE, &[udp()]).class, Class::Success);

    // A list that is not ours, or one without a choice: somebody in between changed it.
    let client = Client { remote: "198.51.100.2:1".parse().unwrap(), ..asker.client };
    for algorithms in [vec![0, 1, 0, 0], vec![]] {
        let writer = Writer::new(ALLOCATE, Class::Request, &rand_id())
            .attribute(0x0006, asker.name.as_bytes())
            .attribute(REALM, REALM_NAME.as_bytes())
            .attribute(NONCE, &asker.nonce)
            .attribute(PASSWORD_ALGORITHMS, &algorithms)
            .sign_sha1(&asker.key());
        assert_eq!(world.send(client, &writer.into_bytes()).unwrap().code(), 400);
    }
    // Names with fixed passwords are known by their hash from the start.
    let mut fixed = world.asker_named("198.51.100.3:1", "gateway", "fixed");
    fixed.is_modern = true;
    assert_eq!(world.ask(&fixed, ALLOCATE, &[udp()]).class, Class::Success);
}

#[test]
fn who_is_not_known_is_told_what_is_needed() {
    let mut world = World::new(settings());
    let asker = world.asker("198.51.100.1:40000", "ana@example.org");
    let wrong = Asker { password: "guessed".into(), ..asker.clone() };
    let answer = world.ask(&wrong, ALLOCATE, &[udp()]);
    assert_eq!(answer.code(), 401);
    assert!(answer.get(NONCE).is_some());
    // Ended, and of no number.
    for name in ["999999:ana", "ana", "", ":", "soon:ana"] {
        let password = rest_password(SECRET, name);
        let asker = world.asker_named("198.51.100.9:1", name, &password);
        assert_eq!(world.ask(&asker, ALLOCATE, &[udp()]).code(), 401, "{name}");
    }
    // Some of it missing.
    let no_nonce = Writer::new(ALLOCATE, Class::Request, &rand_id())
        .attribute(0x0006, asker.name.as_bytes())
        .attribute(REALM, REALM_NAME.as_bytes())
        .sign_sha1(&asker.key());
    assert_eq!(world.send(asker.client, &no_nonce.into_bytes()).unwrap().code(), 400);
    // A nonce of somebody else, one that was made up, and one that is old.
    let other = world.asker("198.51.100.7:1", "ana@example.org");
    for nonce in [other.nonce.clone(), b"obMatJos2wAAAzzzz".to_vec(), b"x".to_vec()] {
        let asker = Asker { nonce, ..asker.clone() };
        let answer = world.ask(&asker, ALLOCATE, &[udp()]);
        assert_eq!(answer.code(), 438);
        assert!(answer.get(NONCE).is_some());
    }
    world.advance(Duration::from_secs(3_599));
    assert_eq!(world.ask(&asker, ALLOCATE, &[udp()]).class, Class::Success);
    world.advance(Duration::from_secs(1));
    // The nonce is an hour old: stale; what is newer will do.
    assert_eq!(world.ask(&asker, REFRESH, &[]).code(), 438);
    // A second later the name has ended too.
    world.advance(Duration::from_secs(1));
    assert_eq!(world.ask(&asker, REFRESH, &[]).code(), 401);
    assert_eq!(world.server.counters().unauthorized, 7);
}

/// RFC 8656 sections 5 and 7.2.
#[test]
fn an_allocation_is_of_one_owner_and_one_place() {
    let mut world = World::new(settings());
    let asker = world.asker("198.51.100.1:40000", "ana@example.org");
    let id = rand_id();
    let bytes = asker.request(ALLOCATE, id, &[udp()]);
    let first = world.send(asker.client, &bytes).unwrap();
    // The same request again is the same answer; another is a mismatch.
    let again = world.send(asker.client, &bytes).unwrap();
    assert_eq!(first.addresses(XOR_RELAYED_ADDRESS), again.addresses(XOR_RELAYED_ADDRESS));
    assert_eq!(world.ask(&asker, ALLOCATE, &[udp()]).code(), 437);
    // Renewed credentials are of the same owner, those of somebody else are not.
    let name = format!("{}:ana@example.org", WALL + 7_200);
    let renewed = Asker { password: rest_password(b"newer", &name), name, ..asker.clone() };
    assert_eq!(world.ask(&renewed, REFRESH, &[]).class, Class::Success);
    let name = format!("{}:eva@example.org", WALL + 7_200);
    let other = Asker { password: rest_password(SECRET, &name), name, ..asker.clone() };
    for method in [REFRESH, CREATE_PERMISSION, CHANNEL_BIND, ALLOCATE] {
        assert_eq!(world.ask(&other, method, &[udp(), peer(PEER), channel(0x4000)]).code(), 441);
    }
    let stranger = world.asker("198.51.100.2:40000", "ana@example.org");
    for method in [REFRESH, CREATE_PERMISSION, CHANNEL_BIND] {
        assert_eq!(world.ask(&stranger, method, &[peer(PEER), channel(0x4000)]).code(), 437);
    }
}

#[test]
fn requests_that_make_no_sense_get_the_error_that_says_so() {
    let mut world = World::new(settings());
    let token = (RESERVATION_TOKEN, vec![1; 8]);
    let even = |bits: u8| (0x0018, vec![bits]);
    let additional = |number: u8| (0x8000, vec![number, 0, 0, 0]);
    let tcp = (0x0019, vec![6, 0, 0, 0]);
    let cases: Vec<(u16, Vec<Parameter>)> = vec![
        (400, vec![]),
        (442, vec![(0x0019, vec![33, 0, 0, 0])]),
        (442, vec![tcp]),
        (420, vec![udp(), (DONT_FRAGMENT, vec![])]),
        (420, vec![udp(), (0x7abc, vec![1])]),
        (400, vec![udp(), token.clone(), even(0)]),
        (400, vec![udp(), token.clone(), family(1)]),
        (400, vec![udp(), token.clone(), additional(2)]),
        (508, vec![udp(), token]),
        (508, vec![udp(), (RESERVATION_TOKEN, vec![1])]),
        (400, vec![udp(), family(1), additional(2)]),
        (400, vec![udp(), additional(1)]),
        (400, vec![udp(), additional(2), even(0x80)]),
        (440, vec![udp(), family(3)]),
    ];
    for (number, (code, attributes)) in cases.into_iter().enumerate() {
        let asker = world.asker(&format!("198.51.100.{number}:1"), "ana@example.org");
        let answer = world.ask(&asker, ALLOCATE, &attributes);
        assert_eq!(answer.code(), code, "{attributes:?}");
        if code == 420 {
            assert!(answer.get(UNKNOWN).is_some());
        }
    }
    let asker = world.allocated("198.51.100.50:1", "ana@example.org");
    let cases = vec![
        (400, CREATE_PERMISSION, vec![]),
        (443, CREATE_PERMISSION, vec![peer("[2600::5]:1")]),
        (403, CREATE_PERMISSION, vec![peer(PEER), peer("10.0.0.1:1")]),
        (400, CHANNEL_BIND, vec![peer(PEER)]),
        (400, CHANNEL_BIND, vec![channel(0x4000)]),
        (400, CHANNEL_BIND, vec![channel(0x3fff), peer(PEER)]),
        (400, CHANNEL_BIND, vec![channel(0x5000), peer(PEER)]),
        (443, CHANNEL_BIND, vec![channel(0x4000), peer("[2600::5]:1")]),
        (403, CHANNEL_BIND, vec![channel(0x4000), peer("169.254.169.254:80")]),
        (443, REFRESH, vec![family(2)]),
        (400, 0x0f, vec![]),
    ];
    for (code, method, attributes) in cases {
        assert_eq!(world.ask(&asker, method, &attributes).code(), code, "{attributes:?}");
    }
    // All or nothing: the good one of two was not permitted.
    assert_eq!(world.server.handle_peer(RelayId(1), PEER.parse().unwrap(), 1, world.now), None);
    assert_eq!(
        world.ask(&asker, CHANNEL_BIND, &[channel(0x4000), peer(PEER)]).class,
        Class::Success
    );
    assert_eq!(world.ask(&asker, CHANNEL_BIND, &[channel(0x4001), peer(PEER)]).code(), 400);
    assert_eq!(world.ask(&asker, CHANNEL_BIND, &[channel(0x4000), peer("8.8.8.8:1")]).code(), 400);
}

/// RFC 8656 sections 7.2, 18.6 and 18.11.
#[test]
fn both_families_are_had_at_once_or_one_and_why_not_the_other() {
    let mut world = World::new(settings());
    let both = [udp(), (0x8000, vec![2, 0, 0, 0])];
    let asker = world.asker("198.51.100.1:1", "ana@example.org");
    let answer = world.ask(&asker, ALLOCATE, &both);
    let families: Vec<_> =
        answer.addresses(XOR_RELAYED_ADDRESS).iter().map(|a| Family::of(a.ip())).collect();
    assert_eq!(families, [Family::V4, Family::V6]);
    assert_eq!(
        world.ask(&asker, CREATE_PERMISSION, &[peer("[2600::5]:1"), peer(PEER)]).class,
        Class::Success
    );
    assert_eq!(world.ask(&asker, CREATE_PERMISSION, &[peer("[fd00::5]:1")]).code(), 403);
    // One half is given up, then the other.
    assert_eq!(world.ask(&asker, REFRESH, &[family(1), (LIFETIME, vec![0; 4])]).seconds(), 0);
    assert_eq!(world.bound.len(), 1);
    assert_eq!(world.ask(&asker, REFRESH, &[family(1)]).code(), 443);
    assert_eq!(world.ask(&asker, REFRESH, &[family(2), (LIFETIME, vec![0; 4])]).seconds(), 0);
    assert!(world.bound.is_empty());
    assert_eq!(world.ask(&asker, REFRESH, &[]).code(), 437);

    world.broken = vec![Family::V6];
    let asker = world.asker("198.51.100.2:1", "ana@example.org");
    let answer = world.ask(&asker, ALLOCATE, &both);
    assert_eq!(answer.addresses(XOR_RELAYED_ADDRESS).len(), 1);
    assert_eq!(answer.get(ADDRESS_ERROR_CODE), Some(&[2, 0, 5, 8][..]));
    world.broken = vec![Family::V4, Family::V6];
    let asker = world.asker("198.51.100.3:1", "ana@example.org");
    assert_eq!(world.ask(&asker, ALLOCATE, &both).code(), 508);
}

/// RFC 8656 sections 7.2 and 18.7.
#[test]
fn the_port_after_an_even_one_is_kept_for_whoever_asked() {
    let mut world = World::new(settings());
    let asker = world.asker("198.51.100.1:1", "ana@example.org");
    let answer = world.ask(&asker, ALLOCATE, &[udp(), (0x0018, vec![0x80])]);
    let token = (RESERVATION_TOKEN, answer.get(RESERVATION_TOKEN).unwrap().to_vec());
    let thief = world.asker("198.51.100.2:1", "eva@example.org");
    assert_eq!(world.ask(&thief, ALLOCATE, &[udp(), token.clone()]).code(), 508);
    let second = world.asker("198.51.100.1:2", "ana@example.org");
    assert_eq!(world.ask(&second, ALLOCATE, &[udp(), token.clone()]).class, Class::Success);
    let third = world.asker("198.51.100.1:3", "ana@example.org");
    assert_eq!(world.ask(&third, ALLOCATE, &[udp(), token]).code(), 508);
    let third = world.asker("198.51.100.3:1", "eva@example.org");
    let answer = world.ask(&third, ALLOCATE, &[udp(), (0x0018, vec![0x80])]);
    assert!(answer.get(RESERVATION_TOKEN).is_some());
    let bound = world.bound.len();
    world.advance(Duration::from_secs(31));
    assert_eq!(world.bound.len(), bound - 1);
}

/// RFC 8656 sections 3.2, 7.2 and 8.
#[test]
fn time_ends_what_is_not_refreshed() {
    let mut world = World::new(settings());
    let asker = world.allocated("198.51.100.1:1", "ana@example.org");
    world.advance(Duration::from_secs(599));
    assert_eq!(
        world.ask(&asker, REFRESH, &[(LIFETIME, 1_000u32.to_be_bytes().to_vec())]).seconds(),
        1_000
    );
    world.advance(Duration::from_secs(999));
    assert_eq!(world.bound.len(), 1);
    world.advance(Duration::from_secs(1));
    assert!(world.bound.is_empty());
    assert_eq!(world.server.counters().open, 0);
    let asker = world.asker("198.51.100.2:1", "ana@example.org");
    for (asked, given) in [(1, 600), (86_400, 3_600)] {
        let lifetime = (LIFETIME, u32::to_be_bytes(asked).to_vec());
        let method = if given == 600 { ALLOCATE } else { REFRESH };
        assert_eq!(world.ask(&asker, method, &[udp(), lifetime]).seconds(), given);
    }
    world.server.handle_closed(&asker.client);
    world.act();
    assert!(world.bound.is_empty());
}

/// RFC 8656 sections 5 and 21: quotas, bandwidth, and who only knocks.
#[test]
fn nobody_gets_more_than_a_share() {
    let mut world = World::new(Settings { strangers_per_second: 20, ..settings() });
    for port in 1..=3 {
        world.allocated(&format!("198.51.100.1:{port}"), "ana@example.org");
    }
    let fourth = world.asker("198.51.100.2:4", "ana@example.org");
    assert_eq!(world.ask(&fourth, ALLOCATE, &[udp()]).code(), 486);
    for port in 11..=12 {
        world.allocated(&format!("198.51.100.1:{port}"), "eva@example.org");
    }
    let sixth = world.asker("198.51.100.1:13", "eva@example.org");
    assert_eq!(world.ask(&sixth, ALLOCATE, &[udp()]).code(), 486);
    world.advance(Duration::from_secs(1));
    for number in 0..15 {
        world.allocated(&format!("203.0.113.{number}:1"), &format!("user{number}"));
    }
    let last = world.asker("203.0.113.99:1", "late");
    assert_eq!(world.ask(&last, ALLOCATE, &[udp()]).code(), 508);
    assert_eq!(world.server.counters().over_quota, 3);
    // One ends: there is room.
    let asker = world.asker("203.0.113.0:1", "user0");
    assert_eq!(world.ask(&asker, REFRESH, &[(LIFETIME, vec![0; 4])]).seconds(), 0);
    assert_eq!(world.ask(&last, ALLOCATE, &[udp()]).class, Class::Success);

    // Bandwidth.
    let asker = world.asker("203.0.113.1:1", "user1");
    assert_eq!(
        world.ask(&asker, CHANNEL_BIND, &[channel(0x4000), peer(PEER)]).class,
        Class::Success
    );
    let data = channel_data(0x4000, &[0; 1_000]);
    let carried = |world: &mut World| {
        let sent = (0..30).map(|_| world.server.handle_client(asker.client, &data, world.now));
        sent.filter(|sent| *sent != Inbound::Dropped).count()
    };
    assert_eq!(carried(&mut world), 10);
    world.advance(Duration::from_millis(500));
    assert_eq!(carried(&mut world), 5);

    // Who only knocks is not answered for long, and nobody else is slower for it.
    let knock = Writer::new(ALLOCATE, Class::Request, &[1; 12]).into_bytes();
    let client = |text: &str| Client { remote: text.parse().unwrap(), ..asker.client };
    let answers = (1..1_000u16).filter(|port| {
        let from = client(&format!("192.0.2.1:{port}"));
        world.send(from, &knock).is_some()
    });
    assert_eq!(answers.count(), 40);
    assert!(world.send(client("192.0.2.2:1"), &knock).is_some());
    assert!(world.server.counters().ignored > 900);
}

#[test]
fn a_connection_that_is_not_used_is_closed() {
    let mut world = World::new(settings());
    let mut asker = world.asker("198.51.100.1:1", "ana@example.org");
    let idle = Client { transport: Transport::Stream(1), ..asker.client };
    asker.client.transport = Transport::Stream(2);
    world.server.handle_opened(idle, world.now);
    world.server.handle_opened(asker.client, world.now);
    assert_eq!(world.ask(&asker, ALLOCATE, &[udp()]).class, Class::Success);
    world.advance(Duration::from_secs(31));
    assert_eq!(world.closed, [idle]);
    assert_eq!(world.ask(&asker, REFRESH, &[(LIFETIME, vec![0; 4])]).seconds(), 0);
    world.advance(Duration::from_secs(31));
    assert_eq!(world.closed, [idle, asker.client]);
}

/// RFC 8489 section 12.
#[test]
fn everybody_may_know_their_address() {
    let mut world = World::new(settings());
    let remote: SocketAddr = "198.51.100.1:40000".parse().unwrap();
    let client = Client { listener: 0, remote, transport: Transport::Udp };
    let binding = Writer::new(1, Class::Request, &[1; 12]);
    let answer = world.send(client, &binding.into_bytes()).unwrap();
    assert_eq!(answer.addresses(XOR_MAPPED_ADDRESS), [remote]);
    let binding = Writer::new(1, Class::Request, &[1; 12]).attribute(0x7001, &[]);
    let answer = world.send(client, &binding.into_bytes()).unwrap();
    assert_eq!((answer.code(), answer.get(UNKNOWN)), (420, Some(&[0x70, 0x01][..])));
}

#[test]
fn garbage_is_dropped() {
    let mut world = World::new(settings());
    let asker = world.allocated("198.51.100.1:1", "ana@example.org");
    let good = asker.request(CHANNEL_BIND, rand_id(), &[channel(0x4000), peer(PEER)]);
    for length in 0..good.len() {
        assert!(world.send(asker.client, &good[..length]).is_none());
    }
    // What follows the code is not covered by it.
    for at in 0..good.len() - 8 {
        let mut bad = good.clone();
        bad[at] ^= 0x41;
        if let Some(answer) = world.send(asker.client, &bad) {
            assert_ne!(answer.class, Class::Success, "{at}");
        }
    }
}
