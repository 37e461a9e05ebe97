//! Nothing that comes in makes the parser panic: messages are broken at random, from a fixed seed.

use super::header::{Contact, Route, Via};
use super::stream::Framer;
use super::torture_tests::message;
use super::*;

/// A small generator (xorshift): the same every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }
}

const SPICE: &[u8] = b"\r\n\t \0\"\\<>;,=?@:[]%/*-09aZ\x7f\x80\xff";

#[test]
fn broken_messages_never_panic_and_what_parses_prints_to_itself() {
    let seeds = [
        message(
            "INVITE sip:a%20b:pw@[2001:db8::1]:5060;lr?x=y SIP/2.0",
            &["Contact: \"A \\\" B\" <sip:a@b;x=y>;q=0.5, *"],
            "body",
        ),
        message(
            "REGISTER sip:example.com SIP/2.0",
            &["m: *", "Expires: 0", "Route: <sip:a;lr>, <sip:b>", "l: 4"],
            "body",
        ),
        message(
            "SIP/2.0 200 OK",
            &["Contact: tel:+1-2;phone-context=x", "Via: SIP / 2.0 / TCP [::1] : 5060 ; rport"],
            "",
        ),
    ];
    let mut dice = Dice(0x5eed);
    for round in 0..30_000 {
        let mut bytes = seeds[round % seeds.len()].clone();
        for _ in 0..1 + dice.roll(4) {
            let at = dice.roll(bytes.len().max(1));
            if bytes.is_empty() {
                break;
            }
            match dice.roll(4) {
                0 => bytes[at] = SPICE[dice.roll(SPICE.len())],
                1 => bytes.insert(at, SPICE[dice.roll(SPICE.len())]),
                2 => drop(bytes.remove(at)),
                _ => bytes.truncate(at + 1),
            }
        }
        let mut framer = Framer::new(Limits::default());
        framer.push(&bytes);
        while let Ok(Some(_)) = framer.poll() {}
        let Ok(parsed) = parse_datagram(bytes.clone(), &Limits::default()) else { continue };
        let headers = parsed.headers();
        let _ = (
            headers.contacts(),
            headers.list::<Via>(),
            headers.list::<Route>(),
            headers.list::<Contact>(),
        );
        let printed = parsed.to_bytes();
        let again = parse_datagram(printed.clone(), &Limits::default())
            .unwrap_or_else(|error| panic!("{error}: {parsed:?}"));
        assert_eq!(again.to_bytes(), printed);
        assert_eq!(again.body(), parsed.body());
    }
}
