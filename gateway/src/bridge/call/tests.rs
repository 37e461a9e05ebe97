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

/// A call that goes on where A is busy, and after ten seconds without an answer.
fn forwarding(now: Instant) -> Call {
    let forwards = Forwards { busy: true, no_answer: Some(Duration::from_secs(10)) };
    Call::forwarding([A], forwards, Patience::default(), now)
}

#[test]
fn where_nobody_answers_somebody_else_rings_and_has_its_own_time() {
    let now = Instant::now();
    let mut call = forwarding(now);
    call.handle(Input::Ringing(A), now);
    let later = now + Duration::from_secs(10);
    assert_eq!(call.poll_timeout(), Some(later));
    call.handle_timeout(later);
    let said =
        vec![Action::RingCaller, Action::Stop(A, Cause::NoAnswer), Action::Forward(Why::NoAnswer)];
    assert_eq!(drain(&mut call), said);
    assert_eq!(call.poll_timeout(), None);
    // What comes late is about nothing; a device that was quick all the same is told.
    call.handle(Input::Refused(A, busy()), later);
    call.handle(Input::PickedUp(A), later);
    assert_eq!(drain(&mut call), [Action::Stop(A, Cause::AnsweredElsewhere)]);
    call.forward(Ok(vec![B]), Forwards::default(), later);
    assert_eq!(call.poll_timeout(), Some(later + Duration::from_secs(60)));
    call.handle(Input::Answered(A), later);
    call.handle(Input::Answered(B), later);
    assert_eq!(drain(&mut call), [Action::AnswerCaller(B)]);
}

#[test]
fn busy_and_nobody_there_go_on_and_what_a_person_refuses_does_not() {
    use Action::*;
    let now = Instant::now();
    let declined = Cause::Sip { status: 603, reason: None };
    let gone = Cause::Sip { status: 480, reason: None };
    let unsupported = Cause::Sip { status: 488, reason: None };
    let refused =
        |cause: &Cause| vec![RefuseCaller(cause.clone()), Record(Outcome::Missed(cause.clone()))];
    let table = [
        (Input::Refused(A, busy()), vec![Forward(Why::Busy)]),
        (
            Input::Declined(Cause::Jingle(tandem_xmpp::stanza::jingle::Reason::Busy)),
            vec![Stop(A, Cause::AnsweredElsewhere), Forward(Why::Busy)],
        ),
        (Input::Refused(A, gone), vec![Forward(Why::NoAnswer)]),
        (Input::Refused(A, unsupported.clone()), refused(&unsupported)),
        (Input::Declined(declined.clone()), {
            let mut said = vec![Stop(A, Cause::AnsweredElsewhere)];
            said.extend(refused(&declined));
            said
        }),
    ];
    for (input, said) in table {
        let mut call = forwarding(now);
        call.handle(input.clone(), now);
        assert_eq!(drain(&mut call), said, "{input:?}");
    }
    // Nobody is there from the start.
    let forwards = Forwards { busy: false, no_answer: Some(Duration::from_secs(10)) };
    let mut call = Call::forwarding([], forwards, Patience::default(), now);
    assert_eq!(drain(&mut call), [Forward(Why::NoAnswer)]);
    // Who is called instead is nobody either, or the circle closes.
    call.forward(Err(busy()), Forwards::default(), now);
    assert_eq!(drain(&mut call), refused(&busy()));
    call.forward(Ok(vec![B]), Forwards::default(), now);
    assert!(call.is_ended() && drain(&mut call).is_empty(), "over is over");
}

#[test]
fn a_caller_that_leaves_while_the_call_goes_on_ends_it() {
    let now = Instant::now();
    let mut call = forwarding(now);
    call.handle(Input::Refused(A, busy()), now);
    call.handle(Input::HungUp(CALLER, Cause::Cancelled), now);
    let said = vec![Action::Forward(Why::Busy), Action::Record(Outcome::Missed(Cause::Cancelled))];
    assert_eq!(drain(&mut call), said);
}
