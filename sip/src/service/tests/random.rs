//! Messages with bytes changed, in any order, to a server with everything in work: it never panics, each leg ends once, and
//! nothing is left when all timers have run out.

use super::calls::{called, calling};
use super::*;

struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }

    /// The same message with something changed: a byte, a line, its end.
    fn mutate(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..=self.below(2) {
            let at = self.below(bytes.len());
            match self.below(5) {
                0 => bytes.truncate(at.max(1)),
                1 => bytes.insert(at, b" ;,:<>\"%\0\r\n=@\xff09"[self.below(16)]),
                2 => drop(bytes.remove(at)),
                3 => bytes[at] = self.below(256) as u8,
                _ => {
                    let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
                    let (one, other) = (self.below(lines.len()), self.below(lines.len()));
                    if self.below(2) == 0 {
                        lines.swap(one, other);
                    } else {
                        lines.insert(one, lines[other]);
                    }
                    bytes = lines.join(&b'\n');
                }
            }
            if bytes.is_empty() {
                return vec![b'x'];
            }
        }
        bytes
    }
}

/// A world where everything is in work, with all that its peers said and could say.
fn busy() -> (World, Vec<(Vec<u8>, Flow)>) {
    let mut world = World::new();
    let stream = flow(Protocol::Tcp, 1_000, 40_000);
    world.core.stream_opened(stream);
    world.register("ana", "Contact: <sip:ana@192.0.2.7:5060>;q=0.5\r\n", stream);
    let (invite, leg) = called(&mut world);
    world.core.ring(leg, 180, None, world.now);
    world.drain();
    let ringing = world.last_response().clone();
    let mut said = vec![Message::Request(invite.clone())];
    let fields =
        format!("{}Supported: 100rel, timer\r\nSession-Expires: 90\r\n", super::calls::FIELDS);
    for method in ["ACK", "BYE", "INVITE", "UPDATE", "INFO", "CANCEL", "OPTIONS", "PRACK"] {
        said.push(inside(&mut world, &invite, &ringing, method, &fields, SDP));
    }
    let mut cancel = invite;
    cancel.method = Method::CANCEL;
    cancel.headers.set("CSeq", format!("{} CANCEL", cancel.headers.cseq().unwrap().number));
    said.push(Message::Request(cancel));
    let (_, ours, _) = calling(&mut world);
    for (n, status) in [180, 183, 199, 200, 422, 486].into_iter().enumerate() {
        let Message::Response(mut response) = answer(&ours, status, "p", SDP) else { continue };
        response.headers.push("Require", "100rel");
        response.headers.push("RSeq", n.to_string());
        response.headers.push("Min-SE", "2000");
        said.push(Message::Response(response));
    }
    let fields = "Event: presence\r\nExpires: 60\r\n";
    let (subscribe, ok) = super::requests::watch(&mut world, fields);
    said.push(inside(&mut world, &subscribe, &ok, "SUBSCRIBE", fields, ""));
    let fields = "Event: presence\r\nContent-Type: application/pidf+xml\r\nExpires: 60\r\n";
    said.push(Message::Request(world.ask(
        "PUBLISH",
        "sip:ana@example.org",
        "ana",
        fields,
        "<presence/>",
        udp(5060),
    )));
    let subscribe = super::watching::begin(&mut world);
    said.push(super::watching::notify_of(
        &mut world,
        &subscribe,
        "a",
        "active;expires=60",
        "<presence/>",
    ));
    for method in ["REGISTER", "MESSAGE", "OPTIONS", "PUBLISH"] {
        let request = world.request(method, "sip:carl@example.org", "ana", "Contact: *\r\n", "hi");
        said.push(Message::Request(request));
    }
    let flows = [udp(5060), stream];
    let all = said.iter().enumerate();
    let said = all.map(|(n, message)| (message.to_bytes().to_vec(), flows[n % 2])).collect();
    (world, said)
}

/// Does something of the gateway's with any leg or subscription there is.
fn meddle(world: &mut World, dice: &mut Dice) {
    let mut legs: Vec<LegId> = world.core.legs.keys().copied().collect();
    legs.sort_unstable();
    if let Some(leg) = legs.get(dice.below(legs.len())).copied() {
        let (sdp, now) = (Bytes::from_static(b"v=0\r\n"), world.now);
        match dice.below(6) {
            0 => world.core.accept(leg, sdp, now),
            1 => world.core.hang_up(leg, None, now),
            2 => world.core.reinvite(leg, sdp, now),
            3 => world.core.answer_reinvite(leg, Ok(sdp), now),
            4 => world.core.reject(leg, 486, None, Vec::new(), now),
            _ => world.core.ring(leg, 183, Some(sdp), now),
        }
    }
    if let Some(subscription) = world.subscriptions.last() {
        let state = crate::ports::SubscriptionState::Active;
        world.core.notify(subscription.id, state, None, world.now);
    }
    world.drain();
}

#[test]
fn changed_messages_neither_break_the_server_nor_stay_in_it() {
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    let mut steps = 0;
    while steps < 24_000 {
        let (mut world, said) = busy();
        for _ in 0..300 {
            steps += 1;
            let (bytes, flow) = &said[dice.below(said.len())];
            let bytes = if dice.below(4) == 0 { bytes.clone() } else { dice.mutate(bytes) };
            match parse_datagram(bytes, &Limits::default()) {
                Ok(message) => world.receive(message, *flow),
                Err(error) => world.core.handle_bad(&error, *flow, world.now),
            }
            world.drain();
            match dice.below(40) {
                0..4 => meddle(&mut world, &mut dice),
                4..8 => world.pass(dice.below(5_000) as f64 / 1_000.0),
                8 => {
                    world.core.stream_closed(1_000, world.now);
                    world.drain();
                }
                _ => {}
            }
            world.sent.clear();
        }
        let mut legs: Vec<LegId> = world.core.legs.keys().copied().collect();
        legs.sort_unstable();
        for leg in legs {
            world.core.answer_reinvite(leg, Err(488), world.now);
            world.core.hang_up(leg, None, world.now);
            world.drain();
        }
        world.pass(8_000.0);
        assert!(world.is_empty(), "something is left after {steps} steps");
        assert!(world.core.registrar.is_empty() && world.core.timers.count() == 0);
        let ended = |leg: &LegId| {
            let is_last =
                |event: &LegEvent| matches!(event, LegEvent::Ended | LegEvent::Failed { .. });
            world.legs.iter().filter(|(of, event)| of == leg && is_last(event)).count()
        };
        for (leg, _) in &world.legs {
            assert_eq!(ended(leg), 1, "each leg ends once");
        }
    }
}

/// Whatever a peer sends in whatever order: nothing panics, and nothing is left when all timers have run out.
#[test]
fn random_orders_leave_nothing_behind() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut dice = move |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    for _ in 0..60 {
        let mut world = World::new();
        let mut pool: Vec<Message> = Vec::new();
        for _ in 0..120 {
            match dice(12) {
                0 => {
                    let (invite, leg) = called(&mut world);
                    pool.push(Message::Request(invite));
                    world.core.ring(leg, 180, None, world.now);
                }
                1 => {
                    let (_, invite, _) = calling(&mut world);
                    let status = [100, 180, 200, 302, 486, 603][dice(6) as usize];
                    let tag = ["p", "q"][dice(2) as usize];
                    pool.push(answer(&invite, status, tag, SDP));
                    pool.push(answer(&invite, 200, "p", SDP));
                }
                2..=4 => {
                    let legs: Vec<LegId> = world.core.legs.keys().copied().collect();
                    if let Some(leg) = legs.first().copied() {
                        let sdp = Bytes::from_static(b"v=0\r\n");
                        match dice(5) {
                            0 => world.core.accept(leg, sdp, world.now),
                            1 => world.core.reject(leg, 486, None, Vec::new(), world.now),
                            2 => world.core.hang_up(leg, None, world.now),
                            3 => world.core.reinvite(leg, sdp, world.now),
                            _ => world.core.answer_reinvite(leg, Ok(sdp), world.now),
                        }
                    }
                }
                5..=6 => {
                    let requests: Vec<Request> = world
                        .sent
                        .iter()
                        .filter_map(|(_, m)| match m {
                            Message::Request(r) if r.method != Method::ACK => Some(r.clone()),
                            _ => None,
                        })
                        .collect();
                    if let Some(request) = requests.get(dice(requests.len().max(1) as u64) as usize)
                    {
                        let status = [180, 200, 481, 500][dice(4) as usize];
                        pool.push(answer(request, status, "p", SDP));
                    }
                }
                7..=9 if !pool.is_empty() => {
                    let message = pool[dice(pool.len() as u64) as usize].clone();
                    world.receive(message, udp(5060));
                }
                _ => world.pass(dice(4_000) as f64 / 1_000.0),
            }
            world.drain();
        }
        let legs: Vec<LegId> = world.core.legs.keys().copied().collect();
        for leg in legs {
            world.core.answer_reinvite(leg, Err(488), world.now);
            world.core.hang_up(leg, None, world.now);
            world.drain();
        }
        world.pass(200.0);
        let legs: Vec<LegId> = world.core.legs.keys().copied().collect();
        for leg in legs {
            world.core.hang_up(leg, None, world.now);
            world.drain();
        }
        world.pass(200.0);
        let core = &world.core;
        assert!(
            world.is_empty(),
            "legs {} dialogs {} invites {} owners {} jobs {} layer {}",
            core.legs.len(),
            core.leg_of_dialog.len(),
            core.leg_of_invite.len(),
            core.owners.len(),
            core.jobs.len(),
            core.layer.len()
        );
    }
}
