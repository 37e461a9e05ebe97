//! Every row of `interop.md` 4.2 and 4.4, in virtual time.

use super::*;

struct World {
    contact: Contact,
    now: Instant,
}

#[allow(clippy::disallowed_methods)] // an origin for virtual time
fn world(is_let: bool) -> World {
    World { contact: Contact::new(is_let, true), now: Instant::now() }
}

impl World {
    fn give(&mut self, input: Input) -> Vec<Action> {
        self.contact.handle(input, self.now);
        self.said()
    }

    fn said(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.contact.poll_action()).collect()
    }

    /// Until the next try; gives the seconds that took.
    fn wait(&mut self) -> u64 {
        let at = self.contact.poll_timeout().unwrap();
        let pause = at - self.now;
        self.now = at;
        self.contact.handle_timeout(self.now);
        pause.as_secs()
    }
}

fn active(fork: &str, body: Option<&str>) -> Input {
    let document = body.map(|tuples| {
        let text = format!(
            "<presence xmlns='urn:ietf:params:xml:ns:pidf' entity='sip:bob@p'>{tuples}</presence>"
        );
        Document::parse(text.as_bytes()).unwrap()
    });
    Input::Told(fork.into(), SubscriptionState::Active, document)
}

fn tuple(id: &str, basic: &str) -> String {
    format!("<tuple id='ID-{id}'><status><basic>{basic}</basic></status></tuple>")
}

fn refused(status: u16) -> Input {
    Input::Ended(WatchingEnd::Refused { status, retry_after: None })
}

fn terminated(reason: &str, retry_after: Option<u64>) -> Input {
    let retry_after = retry_after.map(Duration::from_secs);
    Input::Ended(WatchingEnd::Terminated { reason: Some(reason.into()), retry_after })
}

fn words(actions: &[Action]) -> Vec<String> {
    let word = |action: &Action| match action {
        Action::Show(tuple) => format!("+{}", tuple.resource),
        Action::Gone(resource) => format!("-{resource}"),
        Action::Failed(status) => status.to_string(),
        other => format!("{other:?}"),
    };
    actions.iter().map(word).collect()
}

/// A contact that is watched and has shown one device.
fn watched() -> World {
    let mut world = world(false);
    assert_eq!(words(&world.give(Input::Subscribe)), ["Watch"]);
    let shown = world.give(active("f", Some(&tuple("a", "open"))));
    assert_eq!(words(&shown), ["Subscribed", "+a"]);
    world
}

#[test]
fn pending_is_silence_and_the_first_active_is_consent() {
    let mut world = world(false);
    assert_eq!(words(&world.give(Input::Subscribe)), ["Watch"]);
    let pending = Input::Told("f".into(), SubscriptionState::Pending, None);
    assert!(world.give(pending).is_empty());
    assert_eq!(words(&world.give(active("f", None))), ["Subscribed"], "no body: nothing is known");
    assert_eq!(words(&world.give(active("f", Some(&tuple("a", "open"))))), ["+a"]);
    assert_eq!(words(&world.give(active("f", Some(&tuple("b", "open"))))), ["-a", "+b"]);
    assert_eq!(words(&world.give(active("f", Some(&tuple("b", "closed"))))), ["-b"]);
    // Forks are put together (RFC 3856 section 6.9).
    assert_eq!(words(&world.give(active("f", Some(&tuple("b", "open"))))), ["+b"]);
    assert_eq!(words(&world.give(active("g", Some(&tuple("c", "open"))))), ["+b", "+c"]);
    assert_eq!(words(&world.give(Input::ForkEnded("f".into()))), ["-b", "+c"]);
    assert_eq!(words(&world.give(active("g", Some("")))), ["-c"], "no tuples: nobody is there");
}

#[test]
fn what_is_refused_for_good_is_told_and_what_is_not_is_tried_again() {
    for status in [403, 489, 603] {
        let mut world = world(false);
        world.give(Input::Subscribe);
        assert_eq!(words(&world.give(refused(status))), ["Unsubscribed"], "{status}");
        assert!(world.contact.is_over());
    }
    for status in [404, 410, 604] {
        let mut world = world(false);
        world.give(Input::Subscribe);
        assert_eq!(words(&world.give(refused(status))), [status.to_string()]);
        assert!(world.contact.is_over());
    }
    for status in [480, 408, 500, 503, 430] {
        let mut world = world(false);
        world.give(Input::Subscribe);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            assert!(world.give(refused(status)).is_empty(), "it keeps waiting");
            pauses.push(world.wait() / 60);
            assert_eq!(words(&world.said()), ["Watch"]);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60], "{status}");
    }
    let mut world = world(false);
    world.give(Input::Subscribe);
    let retry_after = Some(Duration::from_secs(500));
    world.give(Input::Ended(WatchingEnd::Refused { status: 503, retry_after }));
    assert_eq!(world.wait(), 500);
}

#[test]
fn a_refresh_that_fails_takes_the_permission_or_the_dialog_alone() {
    for status in [403, 489, 603] {
        let mut world = watched();
        let end = Input::Ended(WatchingEnd::RefreshRefused(status));
        assert_eq!(words(&world.give(end)), ["-a", "Unsubscribed"], "{status}");
        assert!(world.contact.is_over());
    }
    for status in [423, 481] {
        let mut world = watched();
        let end = Input::Ended(WatchingEnd::RefreshRefused(status));
        assert_eq!(words(&world.give(end)), ["Watch"], "{status}");
        assert_eq!(
            words(&world.give(active("g", Some(&tuple("a", "open"))))),
            ["+a"],
            "no new consent"
        );
    }
    for status in [404, 405, 410, 416, 480, 482, 483, 484, 485, 501, 604] {
        let mut world = watched();
        let end = Input::Ended(WatchingEnd::RefreshRefused(status));
        assert_eq!(words(&world.give(end)), ["-a"], "{status}");
        assert_eq!(world.wait(), 60);
        assert_eq!(words(&world.said()), ["Watch"]);
    }
    let mut world = watched();
    assert_eq!(words(&world.give(Input::Ended(WatchingEnd::Expired))), ["Watch"]);
    assert_eq!(words(&world.give(Input::Ended(WatchingEnd::NoNotify))), ["-a"]);
}

/// Table 4.4.
#[test]
fn every_reason_has_its_consequence() {
    for (reason, said) in [
        ("deactivated", vec!["Watch"]),
        ("timeout", vec!["Watch"]),
        ("rejected", vec!["-a", "Unsubscribed"]),
        ("noresource", vec!["-a", "Unsubscribed", "404"]),
        ("invariant", vec![]),
        ("giveup", vec![]),
        ("probation", vec!["-a"]),
        ("something", vec!["-a"]),
    ] {
        let mut world = watched();
        assert_eq!(words(&world.give(terminated(reason, None))), said, "{reason}");
        let pause = match reason {
            "giveup" => Some(3_600),
            "probation" | "something" => Some(60),
            _ => None,
        };
        assert_eq!(
            world.contact.poll_timeout().map(|at| (at - world.now).as_secs()),
            pause,
            "{reason}"
        );
    }
    let mut world = watched();
    world.give(terminated("probation", Some(700)));
    assert_eq!(world.wait(), 700);
}

#[test]
fn who_is_offline_watches_nobody_and_keeps_the_permission() {
    let mut world = watched();
    assert_eq!(words(&world.give(Input::Offline)), ["Unwatch"]);
    assert!(world.give(Input::Ended(WatchingEnd::Unsubscribed)).is_empty());
    assert!(!world.contact.is_over());
    assert_eq!(words(&world.give(Input::Online)), ["Watch"]);
    assert_eq!(words(&world.give(active("f", Some(&tuple("a", "open"))))), ["+a"]);
    // Back before the end was heard of.
    assert_eq!(words(&world.give(Input::Offline)), ["Unwatch"]);
    assert!(world.give(Input::Online).is_empty());
    assert_eq!(words(&world.give(Input::Ended(WatchingEnd::Unsubscribed))), ["Watch"]);
    // A request that waits for consent goes on.
    let mut asking = super::tests::world(false);
    asking.give(Input::Subscribe);
    assert!(asking.give(Input::Offline).is_empty());
    // After a restart the roster knows.
    let mut known = super::tests::world(true);
    assert_eq!(words(&known.give(Input::Online)), ["Watch"]);
}

#[test]
fn who_unsubscribes_hears_of_it_when_the_dialog_is_closed() {
    let mut world = watched();
    assert_eq!(words(&world.give(Input::Unsubscribe)), ["-a", "Unwatch"]);
    assert!(world.give(active("f", Some(&tuple("a", "open")))).is_empty(), "a last NOTIFY");
    assert_eq!(words(&world.give(Input::Ended(WatchingEnd::Unsubscribed))), ["Unsubscribed"]);
    assert!(world.contact.is_over());
    let mut waiting = super::tests::world(false);
    waiting.give(Input::Subscribe);
    waiting.give(refused(480));
    assert_eq!(words(&waiting.give(Input::Unsubscribe)), ["Unsubscribed"]);
    assert!(waiting.contact.is_over() && waiting.contact.poll_timeout().is_none());
}
