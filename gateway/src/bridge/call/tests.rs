//! Each arrow of the call, in virtual time.

use super::*;

const A: LegKey = LegKey(1);
const B: LegKey = LegKey(2);

fn busy() -> Cause {
    Cause::Sip { status: 486, reason: None }
}

fn drain(call: &mut Call) -> Vec<Action> {
    std::iter::from_fn(|| call.poll_action()).collect()
}

fn run(targets: &[LegKey], others: bool, inputs: Vec<Input>) -> Vec<Action> {
    let now = Instant::now();
    let mut call = Call::new(targets.iter().copied(), others, Patience::default(), now);
    for input in inputs {
        call.handle(input, now);
    }
    drain(&mut call)
}

#[test]
fn a_call_that_is_refused_before_anybody_rings_is_over_at_once() {
    let mut call = Call::refused(busy(), Instant::now());
    let said = vec![Action::RefuseCaller(busy()), Action::Record(Outcome::Missed(busy()))];
    assert_eq!(drain(&mut call), said);
    assert!(call.is_ended() && call.poll_timeout().is_none());
}

#[test]
#[allow(clippy::too_many_lines)]
fn follows_the_table() {
    use Action::*;
    let elsewhere = || Cause::AnsweredElsewhere;
    type Row<'a> = (&'a str, &'a [LegKey], bool, Vec<Input>, Vec<Action>);
    let table: Vec<Row<'_>> = vec![
        (
            "nobody to ring",
            &[],
            false,
            vec![],
            vec![RefuseCaller(Cause::Unavailable), Record(Outcome::Missed(Cause::Unavailable))],
        ),
        (
            "rings once though two devices ring",
            &[A, B],
            false,
            vec![Input::Ringing(A), Input::Ringing(B)],
            vec![RingCaller],
        ),
        (
            "first answer wins and the other stops",
            &[A, B],
            false,
            vec![Input::Answered(B), Input::CallerUp],
            vec![Stop(A, elsewhere()), AnswerCaller(B), Join(CALLER, B)],
        ),
        (
            "a second answer is turned away",
            &[A, B],
            false,
            vec![Input::PickedUp(A), Input::Answered(B)],
            vec![Stop(B, elsewhere()), Stop(B, elsewhere())],
        ),
        (
            "one busy device leaves the other ringing",
            &[A, B],
            false,
            vec![Input::Refused(A, busy())],
            vec![],
        ),
        (
            "busy outweighs unavailable",
            &[A, B],
            false,
            vec![Input::Refused(A, busy()), Input::Refused(B, Cause::Unavailable)],
            vec![RefuseCaller(busy()), Record(Outcome::Missed(busy()))],
        ),
        (
            "a decline ends it for all devices",
            &[A, B],
            false,
            vec![Input::Declined(busy())],
            vec![
                Stop(A, elsewhere()),
                Stop(B, elsewhere()),
                RefuseCaller(busy()),
                Record(Outcome::Missed(busy())),
            ],
        ),
        (
            "the caller gives up",
            &[A],
            false,
            vec![Input::Ringing(A), Input::HungUp(CALLER, Cause::Cancelled)],
            vec![RingCaller, Stop(A, Cause::Cancelled), Record(Outcome::Missed(Cause::Cancelled))],
        ),
        (
            "the caller leaves between pick-up and answer",
            &[A],
            false,
            vec![Input::PickedUp(A), Input::HungUp(CALLER, Cause::Cancelled), Input::Answered(A)],
            vec![
                Stop(A, Cause::Cancelled),
                Record(Outcome::Missed(Cause::Cancelled)),
                Stop(A, elsewhere()),
            ],
        ),
        (
            "taken on a device we do not serve",
            &[A],
            true,
            vec![Input::AnsweredElsewhere],
            vec![Stop(A, elsewhere()), Record(Outcome::Elsewhere)],
        ),
        (
            "our phones refuse while others ring on",
            &[A],
            true,
            vec![Input::Refused(A, busy())],
            vec![Record(Outcome::Elsewhere)],
        ),
        (
            "callee hangs up",
            &[A],
            false,
            vec![Input::Answered(A), Input::CallerUp, Input::HungUp(A, Cause::HungUp)],
            vec![
                AnswerCaller(A),
                Join(CALLER, A),
                HangUp(CALLER, Cause::HungUp),
                Record(Outcome::Completed(Cause::HungUp)),
            ],
        ),
        (
            "caller hangs up",
            &[A],
            false,
            vec![Input::Answered(A), Input::CallerUp, Input::HungUp(CALLER, Cause::HungUp)],
            vec![
                AnswerCaller(A),
                Join(CALLER, A),
                HangUp(A, Cause::HungUp),
                Record(Outcome::Completed(Cause::HungUp)),
            ],
        ),
    ];
    for (name, targets, others, inputs, expected) in table {
        assert_eq!(run(targets, others, inputs), expected, "{name}");
    }
}

#[test]
fn gives_up_when_nobody_answers_and_stops_every_device() {
    let start = Instant::now();
    let mut call = Call::new([A, B], false, Patience::default(), start);

    let due = call.poll_timeout().unwrap();
    call.handle_timeout(due - Duration::from_millis(1));
    assert_eq!(drain(&mut call), vec![]);
    call.handle_timeout(due);

    assert_eq!(due - start, Duration::from_secs(60));
    assert_eq!(
        drain(&mut call),
        vec![
            Action::Stop(A, Cause::NoAnswer),
            Action::Stop(B, Cause::NoAnswer),
            Action::RefuseCaller(Cause::NoAnswer),
            Action::Record(Outcome::Missed(Cause::NoAnswer)),
        ]
    );
}

#[test]
fn hangs_up_the_phone_when_the_caller_never_connects() {
    let start = Instant::now();
    let mut call = Call::new([A], false, Patience::default(), start);
    call.handle(Input::Answered(A), start);
    drain(&mut call);

    call.handle_timeout(start + Duration::from_secs(15));

    assert_eq!(
        drain(&mut call),
        vec![
            Action::HangUp(A, Cause::CallerVanished),
            Action::RefuseCaller(Cause::ConnectionFailed),
            Action::Record(Outcome::Missed(Cause::ConnectionFailed)),
        ]
    );
}
