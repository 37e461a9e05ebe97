//! Two ends of MSRP and the wire between them (RFC 4975), in virtual time.

use super::*;

const NAMES: [&str; 2] = ["alice0session", "bob0session"];

/// Alice connects, Bob listens.
struct World {
    ends: [Core; 2],
    now: Instant,
    events: [Vec<SessionEvent>; 2],
    /// What went over the wire, by who sent it.
    wire: Vec<(usize, Bytes)>,
    is_connected: bool,
}

const CONNS: [ConnId; 2] = [ConnId(OWN + 1), ConnId(1)];

fn uri(at: usize) -> MsrpUri {
    MsrpUri::new(false, format!("host{at}"), 2855, NAMES[at])
}

fn config(at: usize) -> SessionConfig {
    SessionConfig {
        local: uri(at),
        remote: vec![uri(1 - at)],
        is_active: at == 0,
        place: None,
        fingerprint: None,
        accepts: vec!["text/*".into(), "message/cpim".into()],
        max_size: 10_000,
    }
}

fn text(id: &str, size: usize, wants_report: bool) -> Outgoing {
    let body = Bytes::from(vec![b'x'; size]);
    Outgoing { id: id.into(), content_type: "text/plain".into(), body, wants_report }
}

impl World {
    #[allow(clippy::disallowed_methods)] // virtual time begins somewhere
    fn new() -> Self {
        let ends = [Core::new([1; 16]), Core::new([2; 16])];
        let mut world = Self {
            ends,
            now: Instant::now(),
            events: [vec![], vec![]],
            wire: vec![],
            is_connected: false,
        };
        for at in [1, 0] {
            world.tell(at, Command::Open(Box::new(config(at))));
        }
        world
    }

    fn tell(&mut self, at: usize, command: Command) {
        self.ends[at].handle_command(command, self.now);
        self.run();
    }

    fn run(&mut self) {
        loop {
            let mut is_quiet = true;
            for at in 0..2 {
                while let Some(output) = self.ends[at].poll_output() {
                    is_quiet = false;
                    self.carry(at, output);
                }
            }
            if is_quiet {
                return;
            }
        }
    }

    fn carry(&mut self, at: usize, output: Output) {
        match output {
            Output::Connect { conn, place, .. } => {
                assert_eq!((conn, place), (CONNS[0], ("host1".to_owned(), 2855)));
                self.is_connected = true;
                self.ends[1].handle_accepted(CONNS[1], self.now);
                self.ends[0].handle_connected(conn, self.now);
            }
            Output::Write(_, bytes) => {
                self.wire.push((at, bytes.clone()));
                self.ends[1 - at].handle_bytes(CONNS[1 - at], &bytes, self.now);
            }
            Output::Close(_) => self.ends[1 - at].handle_closed(CONNS[1 - at]),
            Output::Event(_, event) => self.events[at].push(event),
        }
    }

    /// Bob gets these bytes from Alice's connection; what he answers.
    fn inject(&mut self, text: &str) -> String {
        let before = self.wire.len();
        self.ends[1].handle_bytes(CONNS[1], text.as_bytes(), self.now);
        self.run();
        let said = self.wire[before..].iter().filter(|(at, _)| *at == 1);
        said.map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned()).collect()
    }

    fn bodies(&self, at: usize) -> Vec<(String, usize)> {
        let messages = self.events[at].iter().filter_map(|e| match e {
            SessionEvent::Message(m) => Some((m.id.clone(), m.body.len())),
            _ => None,
        });
        messages.collect()
    }
}

fn send(more: &str, body: Option<&str>) -> String {
    let id = "injected1";
    let body = body.map_or(String::new(), |body| format!("\r\n{body}\r\n"));
    format!(
        "MSRP {id} SEND\r\nTo-Path: {}\r\nFrom-Path: {}\r\n{more}{body}-------{id}$\r\n",
        uri(1),
        uri(0)
    )
}

#[test]
fn an_active_end_binds_its_connection_at_once_and_both_may_speak() {
    let mut world = World::new();
    let first = String::from_utf8_lossy(&world.wire[0].1).into_owned();
    assert!(first.contains(" SEND\r\n") && !first.contains("Content-Type"), "{first}");
    assert_eq!(world.events, [[SessionEvent::Ready], [SessionEvent::Ready]]);
    world.tell(1, Command::Send(NAMES[1].into(), text("from-bob", 5, true)));
    world.tell(0, Command::Send(NAMES[0].into(), text("from-alice", 9_000, false)));
    assert_eq!(world.bodies(0), [("from-bob".into(), 5)]);
    assert_eq!(world.bodies(1), [("from-alice".into(), 9_000)]);
    let report = SessionEvent::Report { id: "from-bob".into(), status: 200 };
    assert_eq!(
        world.events[1]
            .iter()
            .filter(|e| matches!(e, SessionEvent::Report { .. }))
            .collect::<Vec<_>>(),
        [&report]
    );
    assert!(
        !world.events[0].iter().any(|e| matches!(e, SessionEvent::Report { .. })),
        "none was asked for"
    );
    assert_eq!(world.ends[0].poll_timeout(), None, "all is answered");
    // No chunk is larger than what need not be interrupted, and only the last says so.
    let chunks: Vec<String> = world
        .wire
        .iter()
        .filter(|(at, b)| *at == 0 && b.len() > 500)
        .map(|(_, b)| String::from_utf8_lossy(b).into_owned())
        .collect();
    assert_eq!(chunks.len(), 5);
    assert!(chunks[0].contains("Byte-Range: 1-2048/9000") && chunks[0].ends_with("+\r\n"));
    assert!(chunks[4].contains("Byte-Range: 8193-9000/9000") && chunks[4].ends_with("$\r\n"));
}

#[test]
fn what_is_sent_before_there_is_a_connection_waits_for_it() {
    let mut world = World { is_connected: false, ..World::new() };
    world.tell(0, Command::Close(NAMES[0].into()));
    assert!(world.ends.iter().all(Core::is_empty), "both know that it is over");
    assert_eq!(world.events[1].last(), Some(&SessionEvent::Lost));
    let mut alice = Core::new([3; 16]);
    alice.handle_command(Command::Open(Box::new(config(0))), world.now);
    alice.handle_command(Command::Send(NAMES[0].into(), text("early", 3, false)), world.now);
    assert!(matches!(alice.poll_output(), Some(Output::Connect { .. })));
    assert_eq!(alice.poll_output(), None);
    alice.handle_connected(CONNS[0], world.now);
    assert!(matches!(alice.poll_output(), Some(Output::Event(_, SessionEvent::Ready))));
    assert!(
        matches!(alice.poll_output(), Some(Output::Write(_, bytes)) if bytes.ends_with(b"$\r\n"))
    );
}

#[test]
fn requests_are_refused_as_section_10_has_it() {
    let text = "Message-ID: m1234\r\nContent-Type: text/plain\r\n";
    let table = [
        (send(text, Some("hi")), "200 OK"),
        (send(text, Some("hi")).replace(NAMES[1], "nobody"), "481"),
        (send("Message-ID: m1\r\nContent-Type: image/png\r\n", Some("x")), "415"),
        (
            send(
                "Message-ID: m1\r\nByte-Range: 1-9/99999\r\nContent-Type: text/plain\r\n",
                Some("x"),
            ),
            "413",
        ),
        (
            send("Message-ID: m1\r\nByte-Range: 0-9/9\r\nContent-Type: text/plain\r\n", Some("x")),
            "400",
        ),
        (send("Content-Type: text/plain\r\n", Some("x")), "400"),
        (send("", None), "200 OK"),
        (send("", None).replace(" SEND", " DANCE"), "501"),
        (send(text, Some(&"x".repeat(10_001))), "413"),
    ];
    for (request, answer) in table {
        let mut world = World::new();
        let said = world.inject(&request);
        assert!(said.starts_with(&format!("MSRP injected1 {answer}")), "{request}\n{said}");
        assert!(
            said.contains(&format!("To-Path: {}\r\nFrom-Path: msrp://host1", uri(0))),
            "{said}"
        );
    }
}

#[test]
fn failure_reports_are_given_as_they_are_wanted() {
    let with = |value: &str, media: &str| {
        send(
            &format!("Message-ID: m1234\r\nFailure-Report: {value}\r\nContent-Type: {media}\r\n"),
            Some("x"),
        )
    };
    for (value, media, answer) in [
        ("yes", "text/plain", "200"),
        ("yes", "image/png", "415"),
        ("no", "text/plain", ""),
        ("no", "image/png", ""),
        ("partial", "text/plain", ""),
        ("partial", "image/png", "415"),
    ] {
        let said = World::new().inject(&with(value, media));
        assert_eq!(said.split(' ').nth(2).unwrap_or_default(), answer, "{value} {media}");
    }
    // A report is asked for and given once the whole is there, and never answered.
    let mut world = World::new();
    let said = world.inject(&send("Message-ID: m1234\r\nFailure-Report: no\r\nSuccess-Report: yes\r\nContent-Type: text/plain\r\n", Some("hi")));
    assert!(
        said.contains(" REPORT\r\n")
            && said.contains("Status: 000 200 OK")
            && said.contains("Byte-Range: 1-2/2"),
        "{said}"
    );
    assert_eq!(
        world.inject(&said.replace("host0", "hostX").replace(NAMES[0], NAMES[1])),
        "",
        "no report of a report"
    );
}

#[test]
fn a_message_that_fails_later_is_reported_unless_nobody_wants_to_know() {
    for (value, is_told) in [("yes", true), ("partial", true), ("no", false)] {
        let mut world = World::new();
        let more =
            format!("Message-ID: m1234\r\nFailure-Report: {value}\r\nContent-Type: text/plain\r\n");
        world.inject(&send(&more, Some("hi")));
        let before = world.wire.len();
        world.tell(1, Command::Fail(NAMES[1].into(), "m1234".into(), 2, 403));
        let said = world.wire.get(before).map(|(_, b)| String::from_utf8_lossy(b).into_owned());
        assert_eq!(said.is_some(), is_told, "{value}");
        assert!(
            said.is_none_or(|s| s.contains("Status: 000 403") && s.contains("Byte-Range: 1-2/2"))
        );
    }
}

#[test]
fn chunks_are_put_together_by_position_and_given_up_ones_are_forgotten() {
    let mut world = World::new();
    let chunk = |range: &str, body: &str, flag: &str| {
        let text = send(
            &format!("Message-ID: m1234\r\nByte-Range: {range}\r\nContent-Type: text/plain\r\n"),
            Some(body),
        );
        text.replace("injected1$", &format!("injected1{flag}"))
    };
    for (range, body, flag) in [
        ("5-8/12", "efgh", "+"),
        ("1-4/12", "abcd", "+"),
        ("3-4/12", "cd", "+"),
        ("9-*/12", "ijkl", "$"),
    ] {
        assert!(world.inject(&chunk(range, body, flag)).contains(" 200 OK"));
    }
    let Some(SessionEvent::Message(message)) = world.events[1].last() else {
        panic!("{:?}", world.events)
    };
    assert_eq!(&message.body[..], b"abcdefghijkl");
    world.inject(&chunk("1-*/*", "half", "+"));
    world.inject(&chunk("5-*/*", "", "#"));
    world.inject(&chunk("1-*/*", "whole", "$"));
    assert_eq!(world.bodies(1).last(), Some(&("m1234".into(), 5)));
    assert_eq!(world.bodies(1).len(), 2);
}

#[test]
fn a_session_belongs_to_one_connection_and_silence_is_told() {
    let mut world = World::new();
    let other = ConnId(7);
    world.ends[1].handle_accepted(other, world.now);
    world.ends[1].handle_bytes(other, send("", None).as_bytes(), world.now);
    let Some(Output::Write(to, bytes)) = world.ends[1].poll_output() else { panic!() };
    assert!(to == other && bytes.starts_with(b"MSRP injected1 506"));
    world.ends[1].handle_timeout(world.now + PATIENCE);
    assert_eq!(world.ends[1].poll_output(), Some(Output::Close(other)), "it binds nothing");
    // Bob answers nothing any more.
    world.ends[0]
        .handle_command(Command::Send(NAMES[0].into(), text("lost", 3_000, true)), world.now);
    while world.ends[0].poll_output().is_some() {}
    let due = world.ends[0].poll_timeout().unwrap();
    assert_eq!(due, world.now + PATIENCE);
    world.ends[0].handle_timeout(due);
    let report = SessionEvent::Report { id: "lost".into(), status: 408 };
    assert_eq!(world.ends[0].poll_output(), Some(Output::Event(NAMES[0].into(), report)));
}

#[test]
fn nicknames_are_asked_for_and_answered() {
    let mut world = World::new();
    let request = |more: &str| send(more, None).replace(" SEND", " NICKNAME");
    assert!(world.inject(&request("")).contains(" 424 "));
    assert_eq!(world.inject(&request("Use-Nickname: \"Alice the great\"\r\n")), "");
    let event =
        SessionEvent::Nickname { request: "injected1".into(), nickname: "Alice the great".into() };
    assert_eq!(world.events[1].last(), Some(&event));
    world.ends[1].handle_command(
        Command::AnswerNickname(NAMES[1].into(), "injected1".into(), 425),
        world.now,
    );
    assert!(
        matches!(world.ends[1].poll_output(), Some(Output::Write(_, b)) if b.starts_with(b"MSRP injected1 425 Nickname Reserved"))
    );
}

#[test]
fn a_broken_stream_ends_the_session() {
    let mut world = World::new();
    world.inject("GET / HTTP/1.1\r\n\r\n");
    assert_eq!(world.events[1].last(), Some(&SessionEvent::Lost));
    assert_eq!(world.events[0].last(), Some(&SessionEvent::Lost));
    assert!(world.ends.iter().all(Core::is_empty));
    world.tell(0, Command::Send(NAMES[0].into(), text("late", 1, false)));
    assert_eq!(
        world.events[0].last(),
        Some(&SessionEvent::Report { id: "late".into(), status: 481 })
    );
}
