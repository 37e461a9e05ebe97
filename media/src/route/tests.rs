//! Streams stay continuous over every change of source.

use super::*;

const A: Source = Source { leg: 1, ssrc: 10, transcoded: false };
const B: Source = Source { leg: 2, ssrc: 20, transcoded: false };

fn audio(sequence: u16, timestamp: u32) -> Stamp {
    Stamp { sequence, timestamp, clock: 8_000, out_clock: 8_000, is_event: false }
}

#[test]
fn one_source_keeps_its_gaps_and_its_order() {
    let now = Instant::now();
    let mut out = Outgoing::new(1, 65_530, 0);
    let sent: Vec<u16> =
        [100, 101, 104, 103, 105].map(|n| out.next(A, audio(n, u32::from(n) * 160), now).0).into();
    assert_eq!(sent, [65_531, 65_532, 65_535, 65_534, 0]);
}

#[test]
fn a_new_source_goes_on_where_the_old_one_ended() {
    let start = Instant::now();
    let mut out = Outgoing::new(1, 9, 1_000);
    let (first, begin, marker) = out.next(A, audio(500, 77), start);
    assert_eq!((first, marker), (10, true));
    let (second, then, marker) = out.next(A, audio(501, 237), start);
    assert_eq!((second, then, marker), (11, begin + 160, false));

    let later = start + Duration::from_secs(1);
    let (third, after, marker) = out.next(B, audio(3, 4_000_000_000), later);

    assert_eq!((third, after, marker), (12, then + 8_000, true));
}

#[test]
fn made_packets_are_numbered_one_by_one() {
    let now = Instant::now();
    let worker = Source { transcoded: true, ..A };
    let mut out = Outgoing::new(1, 0, 0);
    let sent: Vec<u16> = [5, 9, 9, 40].map(|n| out.next(worker, audio(n, 0), now).0).into();
    assert_eq!(sent, [1, 2, 3, 4]);
}

#[test]
fn all_packets_of_an_event_carry_one_time_in_the_other_clock() {
    let now = Instant::now();
    let mut out = Outgoing::new(1, 0, 0);
    let stamp = |sequence, timestamp, is_event| Stamp {
        sequence,
        timestamp,
        clock: 8_000,
        out_clock: 48_000,
        is_event,
    };
    let (_, voice, _) = out.next(A, stamp(1, 160, false), now);
    let times: Vec<u32> = (2..5).map(|n| out.next(A, stamp(n, 320, true), now).1).collect();
    assert_eq!(times, [voice + 960; 3]);
    assert_eq!(out.next(A, stamp(5, 1_600, false), now).1, voice + 9 * 960);
}

#[test]
fn an_event_in_another_clock_than_the_voice_beside_it_keeps_one_time() {
    let start = Instant::now();
    let mut out = Outgoing::new(1, 0, 0);
    let voice =
        Stamp { sequence: 1, timestamp: 9_600, clock: 48_000, out_clock: 8_000, is_event: false };
    let (_, at, _) = out.next(A, voice, start);
    let event =
        Stamp { sequence: 2, timestamp: 55, clock: 8_000, out_clock: 8_000, is_event: true };
    let later = start + Duration::from_millis(40);
    let (_, first, _) = out.next(A, event, later);
    let (_, second, _) = out.next(A, Stamp { sequence: 3, ..event }, later);
    assert_eq!((first, second), (at + 320, first));
}
