//! Two ends and a wire between them that loses, doubles and reorders (`interop.md` part 6): the server on one side, a phone
//! made of the same transactions on the other. Whatever crosses whatever, both ends agree in the end and keep nothing.

use super::super::invite::Leg;
use super::calls::{FIELDS, calling};
use super::*;
use crate::dialog::Dialog;
use crate::msg::header::CSeq;
use crate::transaction::timers::{GIVE_UP, LONGEST_REPEAT, Repeat};
use crate::transaction::{Event, Layer, TxId};

struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound.max(1)
    }

    fn millis(&mut self, bound: u64) -> Duration {
        Duration::from_millis(self.below(bound))
    }
}

/// What the phone does by itself, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Ring,
    RingReliably,
    Answer,
    Refuse,
    Cancel,
    Change,
    HangUp,
}

/// A phone with one call.
#[derive(Default)]
struct Phone {
    layer: Layer,
    invite: Option<(TxId, Request)>,
    /// Our own INVITE.
    called: Option<(TxId, Request)>,
    dialog: Option<Dialog>,
    /// Whether it takes part in a call, as it sees it.
    up: bool,
    /// Our 2xx until its ACK, by the CSeq number.
    ok: Option<(u32, Bytes, Repeat, Instant)>,
    rseq: Option<u32>,
    serial: u32,
    wants_cancel: bool,
}

impl Phone {
    fn branch(&mut self) -> String {
        self.serial += 1;
        format!("z9hG4bKphone{}", self.serial)
    }

    fn send(&mut self, mut request: Request, now: Instant) -> TxId {
        let branch = self.branch();
        let via = format!("SIP/2.0/UDP 192.0.2.7:5060;branch={branch};rport");
        request.headers.push_front("Via", via);
        self.layer.request(request, &branch, udp(5060), now)
    }

    fn do_it(&mut self, deed: Deed, now: Instant) {
        match deed {
            Deed::Ring | Deed::RingReliably => {
                if let Some((tx, invite)) = &self.invite {
                    let Message::Response(mut ringing) = answer(invite, 183, "p", SDP) else {
                        return;
                    };
                    if deed == Deed::RingReliably {
                        ringing.headers.push("Require", "100rel");
                        ringing.headers.push("RSeq", "1");
                        self.rseq = Some(1);
                    }
                    self.layer.respond(*tx, ringing, now);
                }
            }
            Deed::Answer => self.answer_call(now),
            Deed::Refuse => {
                if let Some((tx, invite)) = self.invite.take() {
                    self.layer.respond(tx, invite.response(486, Some("p")), now);
                }
            }
            Deed::Cancel => self.cancel(now),
            Deed::Change => self.ask(Method::INVITE, FIELDS, SDP, now),
            Deed::HangUp if self.up => {
                self.ask(Method::BYE, "", "", now);
                self.up = false;
                self.ok = None;
            }
            Deed::HangUp => {}
        }
    }

    fn answer_call(&mut self, now: Instant) {
        let Some((tx, invite)) = self.invite.take() else { return };
        let Message::Response(ok) = answer(&invite, 200, "p", SDP) else { return };
        self.dialog = Dialog::of_incoming(&invite, "p", udp(5060));
        self.up = true;
        self.say_ok(tx, &invite, ok, now);
    }

    fn say_ok(&mut self, tx: TxId, invite: &Request, ok: Response, now: Instant) {
        let number = invite.headers.cseq().unwrap().number;
        let bytes = Message::Response(ok.clone()).to_bytes();
        if self.layer.respond(tx, ok, now) {
            self.ok = Some((number, bytes, Repeat::first(now), now + GIVE_UP));
        }
    }

    fn cancel(&mut self, now: Instant) {
        let Some((tx, invite)) = &self.called else { return };
        if !self.layer.may_cancel(*tx) {
            self.wants_cancel = true;
            return;
        }
        let mut cancel = Request::new(Method::CANCEL, invite.uri.clone());
        for name in ["From", "To", "Call-ID", "Max-Forwards"] {
            cancel.headers.push(name, invite.headers.get(name).unwrap());
        }
        let number = invite.headers.cseq().unwrap().number;
        cancel.headers.push_typed(&CSeq::new(number, Method::CANCEL));
        cancel.headers.push_front("Via", invite.headers.get("Via").unwrap());
        let branch = invite.headers.top_via().unwrap().branch().unwrap_or_default().to_owned();
        self.wants_cancel = false;
        self.layer.request(cancel, &branch, udp(5060), now);
    }

    fn ask(&mut self, method: Method, fields: &str, body: &str, now: Instant) {
        let Some(dialog) = self.dialog.as_mut().filter(|_| self.up) else { return };
        let mut request = dialog.request(method);
        for line in fields.lines() {
            let (name, value) = line.split_once(": ").unwrap();
            request.headers.push(name, value);
        }
        if !body.is_empty() {
            request.body = Bytes::copy_from_slice(body.as_bytes());
        }
        self.send(request, now);
    }

    fn handle(&mut self, message: Message, now: Instant) {
        self.layer.handle_message(message, udp(5060), now);
        self.run(now);
    }

    fn run(&mut self, now: Instant) {
        while let Some(event) = self.layer.poll_event() {
            match event {
                Event::Request { tx, request, .. } => self.asked(tx, *request, now),
                Event::Ack { request } => {
                    let number = request.headers.cseq().unwrap().number;
                    self.ok.take_if(|ok| ok.0 == number);
                }
                Event::Response { tx, response } => self.answered(tx, &response, now),
                Event::Failed { .. } | Event::Done { .. } => {}
            }
        }
    }

    fn asked(&mut self, tx: TxId, request: Request, now: Instant) {
        let status = match request.method {
            Method::INVITE if self.up => {
                let Message::Response(ok) = answer(&request, 200, "p", SDP) else { return };
                if self.ok.is_some() {
                    500
                } else {
                    return self.say_ok(tx, &request, ok, now);
                }
            }
            Method::INVITE if request.headers.to().unwrap().tag().is_some() => 481,
            Method::INVITE => {
                self.invite = Some((tx, request));
                return;
            }
            Method::CANCEL => {
                self.layer.respond(tx, request.response(200, Some("p")), now);
                if let Some((tx, invite)) = self.invite.take() {
                    self.layer.respond(tx, invite.response(487, Some("p")), now);
                }
                return;
            }
            Method::BYE => {
                self.up = false;
                self.ok = None;
                200
            }
            _ => 200,
        };
        self.layer.respond(tx, request.response(status, Some("p")), now);
    }

    fn answered(&mut self, tx: TxId, response: &Response, now: Instant) {
        let is_call = self.called.as_ref().is_some_and(|(call, _)| *call == tx);
        let cseq = response.headers.cseq().unwrap();
        if cseq.method != Method::INVITE {
            return;
        }
        if response.status < 200 {
            if self.wants_cancel {
                self.cancel(now);
            }
            return;
        }
        if response.status >= 300 {
            return;
        }
        if is_call && self.dialog.is_none() {
            let (_, invite) = self.called.clone().unwrap();
            self.dialog = Dialog::of_outgoing(&invite, response, udp(5060));
            self.up = true;
        }
        let Some(dialog) = &self.dialog else { return };
        let mut ack = dialog.request_numbered(Method::ACK, cseq.number);
        let branch = self.branch();
        let via = format!("SIP/2.0/UDP 192.0.2.7:5060;branch={branch};rport");
        ack.headers.push_front("Via", via);
        self.layer.send(Message::Request(ack), udp(5060));
    }

    fn due(&mut self, now: Instant) {
        self.layer.handle_timeout(now);
        self.run(now);
        if let Some((_, bytes, repeat, give_up)) = &mut self.ok {
            if *give_up <= now {
                self.ok = None;
                self.do_it(Deed::HangUp, now);
            } else if repeat.at <= now {
                *repeat = repeat.next(now, LONGEST_REPEAT);
                let bytes = bytes.clone();
                self.layer.send_bytes(bytes, udp(5060));
            }
        }
    }

    fn next(&self) -> Option<Instant> {
        let ok = self.ok.as_ref().map(|(_, _, repeat, give_up)| repeat.at.min(*give_up));
        [self.layer.next_timeout(), ok].into_iter().flatten().min()
    }
}

/// Both ends and what is under way.
struct Story {
    world: World,
    phone: Phone,
    /// When it arrives, and whether at the phone.
    wire: Vec<(Instant, bool, Bytes)>,
    dice: Dice,
    /// Lost, of a hundred.
    loss: u64,
}

impl Story {
    fn post(&mut self, to_phone: bool, bytes: Bytes) {
        let copies = match self.dice.below(100) {
            lot if lot < self.loss => 0,
            lot if lot < self.loss + 10 => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let at = self.world.now + self.dice.millis(400);
            self.wire.push((at, to_phone, bytes.clone()));
        }
    }

    fn collect(&mut self) {
        let said: Vec<Bytes> =
            self.world.sent.drain(..).map(|(_, message)| message.to_bytes()).collect();
        said.into_iter().for_each(|bytes| self.post(true, bytes));
        while let Some((_, bytes)) = self.phone.layer.poll_send() {
            self.post(false, bytes);
        }
    }

    /// Lets time pass until `until`, with everything that happens in it.
    fn pass(&mut self, until: Instant) {
        loop {
            self.collect();
            let wire = self.wire.iter().map(|(at, ..)| *at).min();
            let all = [wire, self.world.core.next_timeout(), self.phone.next()];
            let Some(at) = all.into_iter().flatten().min().filter(|at| *at <= until) else { break };
            self.world.now = self.world.now.max(at);
            let now = self.world.now;
            let arrived: Vec<_> = self.wire.extract_if(.., |(at, ..)| *at <= now).collect();
            for (_, to_phone, bytes) in arrived {
                let message = sent(bytes);
                if to_phone {
                    self.phone.handle(message, now);
                } else {
                    self.world.receive(message, udp(5060));
                }
            }
            self.world.core.handle_timeout(now);
            self.world.drain();
            self.phone.due(now);
        }
        self.world.now = until;
    }

    fn ends(&self, leg: LegId) -> usize {
        let is_last = |e: &LegEvent| matches!(e, LegEvent::Ended | LegEvent::Failed { .. });
        self.world.legs.iter().filter(|(of, event)| *of == leg && is_last(event)).count()
    }

    fn saw(&self, leg: LegId, what: impl Fn(&LegEvent) -> bool) -> bool {
        self.world.legs.iter().any(|(of, event)| *of == leg && what(event))
    }

    /// Everything runs out: both ends agree, each leg has ended once, nothing is left.
    fn close(mut self, leg: LegId, seed: u64) {
        // Long enough for whatever is repeated to arrive, or to be given up.
        let until = self.world.now + Duration::from_secs(45);
        self.pass(until);
        let is_up = matches!(self.world.core.legs.get(&leg), Some(Leg::Up(_)));
        assert_eq!(self.phone.up, is_up, "seed {seed}: one end is in a call, the other is not");
        self.world.core.hang_up(leg, None, self.world.now);
        self.world.drain();
        let until = self.world.now + Duration::from_secs(400);
        self.pass(until);
        assert_eq!(self.ends(leg), 1, "seed {seed}: a leg ends once");
        assert!(!self.phone.up, "seed {seed}: the phone was never told");
        assert!(self.world.is_empty(), "seed {seed}: something is left");
        assert!(self.phone.layer.is_empty(), "seed {seed}: something is left in the phone");
    }
}

/// What is to happen, each at a time of its own.
fn schedule(dice: &mut Dice, start: Instant, deeds: &[Deed]) -> Vec<(Instant, Deed)> {
    let mut all: Vec<_> = deeds.iter().map(|deed| (start + dice.millis(3_000), *deed)).collect();
    all.sort_by_key(|(at, _)| *at);
    all
}

#[test]
fn a_phone_that_is_called_and_the_server_agree_whatever_is_lost() {
    use Deed::{Answer, Change, HangUp, Refuse, Ring, RingReliably};
    let stories: [&[Deed]; 7] = [
        &[Ring, Answer],
        &[RingReliably, Answer],
        &[Ring, Refuse],
        &[Ring],
        &[Answer, HangUp],
        &[Answer, Change],
        &[RingReliably, Answer, Change, HangUp],
    ];
    for seed in 1..400_u64 {
        let mut world = World::new();
        let (leg, invite, _) = calling(&mut world);
        world.sent.clear();
        world.legs.clear();
        let dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut story =
            Story { world, phone: Phone::default(), wire: Vec::new(), dice, loss: seed % 30 };
        story.post(true, Message::Request(invite).to_bytes());
        let start = story.world.now + Duration::from_millis(300);
        let deeds = stories[(seed % 7) as usize];
        let deeds = schedule(&mut story.dice, start, deeds);
        // The server has plans of its own, at any time: none, to hang up, to change the session.
        let plan = story.dice.below(3);
        let at = start + story.dice.millis(3_500);
        let mut planned = false;
        for (when, deed) in deeds {
            if at <= when && !planned {
                planned = true;
                story.pass(at);
                act(&mut story, leg, plan);
            }
            story.pass(when);
            story.phone.do_it(deed, when);
        }
        if !planned {
            story.pass(at);
            act(&mut story, leg, plan);
        }
        story.close(leg, seed);
    }
}

fn act(story: &mut Story, leg: LegId, plan: u64) {
    let now = story.world.now;
    match plan {
        1 => story.world.core.hang_up(leg, Some("SIP;cause=200".into()), now),
        2 => story.world.core.reinvite(leg, Bytes::from_static(b"v=0\r\n"), now),
        _ => {}
    }
    story.world.drain();
}

#[test]
fn a_phone_that_calls_and_the_server_agree_whatever_is_lost() {
    use Deed::{Cancel, Change, HangUp};
    let stories: [&[Deed]; 4] = [&[], &[Cancel], &[HangUp], &[Change, HangUp]];
    for seed in 1..400_u64 {
        let mut world = World::new();
        // The challenge is had before the wire turns bad.
        let first = world.request("INVITE", "sip:carl@example.org", "ana", FIELDS, SDP);
        world.receive(Message::Request(first.clone()), udp(5060));
        let invite = world.signed(first, "ana", "secret", Algorithm::Sha256);
        world.pass(40.0);
        world.sent.clear();
        let dice = Dice(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) | 1);
        let mut story =
            Story { world, phone: Phone::default(), wire: Vec::new(), dice, loss: seed % 30 };
        let now = story.world.now;
        let branch = invite.headers.top_via().unwrap().branch().unwrap().to_owned();
        let tx = story.phone.layer.request(invite.clone(), &branch, udp(5060), now);
        story.phone.called = Some((tx, invite));
        let start = now + Duration::from_millis(500);
        let deeds = schedule(&mut story.dice, start, stories[(seed % 4) as usize]);
        let mut steps: Vec<(Instant, Option<Deed>)> =
            deeds.into_iter().map(|(at, deed)| (at, Some(deed))).collect();
        let ring = start + story.dice.millis(1_000);
        let answer = ring + story.dice.millis(2_000);
        steps.extend([(ring, None), (answer, None)]);
        steps.sort_by_key(|(at, _)| *at);
        let plan = story.dice.below(4);
        let mut rung = false;
        for (at, deed) in steps {
            story.pass(at);
            let Some(leg) = story.world.legs.first().map(|(leg, _)| *leg) else { continue };
            match deed {
                Some(deed) => story.phone.do_it(deed, at),
                None if !rung => {
                    rung = true;
                    let sdp = plan.is_multiple_of(2).then(|| Bytes::from_static(b"v=0\r\n"));
                    story.world.core.ring(leg, 183, sdp, at);
                }
                None if plan == 3 => story.world.core.reject(leg, 486, None, Vec::new(), at),
                None => story.world.core.accept(leg, Bytes::from_static(b"v=0\r\n"), at),
            }
            story.world.drain();
        }
        // What the phone asks inside the call is answered.
        let until = story.world.now + Duration::from_secs(8);
        story.pass(until);
        let leg = story.world.legs.first().map(|(leg, _)| *leg).expect("the INVITE arrives");
        if story.saw(leg, |event| matches!(event, LegEvent::Reinvited { .. })) {
            let (sdp, now) = (Bytes::from_static(b"v=0\r\n"), story.world.now);
            story.world.core.answer_reinvite(leg, Ok(sdp), now);
            story.world.drain();
        }
        story.close(leg, seed);
    }
}
