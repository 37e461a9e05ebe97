//! A session between requests and a stream, in virtual time (XEP-0124, XEP-0206).

use super::*;

struct Client {
    session: Option<Session>,
    now: Instant,
    /// What went to the stream.
    frames: Vec<String>,
    /// What came back, by ticket.
    answers: BTreeMap<u64, String>,
    ended: bool,
    tickets: u64,
}

const FEATURES: &str = "<stream:features xmlns:stream='http://etherx.jabber.org/streams'/>";

impl Client {
    fn new(attributes: &str) -> Self {
        let now = Instant::now();
        let body = body(&format!("rid='100' to='d' {attributes}"), "");
        let session = Session::open("s1".into(), body, 1, Limits::default(), now).unwrap();
        let mut client = Self {
            session: Some(session),
            now,
            frames: Vec::new(),
            answers: BTreeMap::new(),
            ended: false,
            tickets: 1,
        };
        client.drain();
        client
    }

    /// A session whose stream has said its features.
    fn open(attributes: &str) -> Self {
        let mut client = Self::new(attributes);
        client.hear("<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' from='d'/>");
        client.hear(FEATURES);
        client
    }

    fn session(&mut self) -> &mut Session {
        self.session.as_mut().unwrap()
    }

    /// Sends a request and gives its ticket.
    fn ask(&mut self, attributes: &str, payload: &str) -> u64 {
        self.tickets += 1;
        let (ticket, now) = (self.tickets, self.now);
        let body = body(&format!("sid='s1' {attributes}"), payload);
        self.session().handle_request(body, ticket, now);
        self.session().flush(now);
        self.drain();
        ticket
    }

    /// The stream says something.
    fn hear(&mut self, frame: &str) {
        let now = self.now;
        self.session().handle_frame(frame.to_owned().into());
        self.session().flush(now);
        self.drain();
    }

    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        let now = self.now;
        self.session().handle_timeout(now);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(action) = self.session().poll_action() {
            match action {
                Action::Frame(frame) => {
                    self.frames.push(String::from_utf8(frame.to_vec()).unwrap())
                }
                Action::Answer(ticket, answer) => {
                    let text = String::from_utf8(answer.to_vec()).unwrap();
                    Element::parse(text.as_bytes()).unwrap();
                    assert!(self.answers.insert(ticket, text).is_none(), "answered twice");
                }
                Action::End => self.ended = true,
            }
        }
    }

    fn answer(&self, ticket: u64) -> &str {
        self.answers.get(&ticket).map_or("", String::as_str)
    }
}

fn body(attributes: &str, payload: &str) -> Body {
    let text =
        format!("<body xmlns='http://jabber.org/protocol/httpbind' {attributes}>{payload}</body>");
    Body::parse(&text.into()).unwrap()
}

fn chat(body: &str) -> String {
    format!("<message xmlns='jabber:client'><body>{body}</body></message>")
}

/// XEP-0124 section 7.2, XEP-0206 section 3.
#[test]
fn a_session_begins_with_its_terms_and_the_features() {
    let mut client = Client::new("hold='1' wait='30' ack='1' ver='1.6' xml:lang='de'");
    assert!(
        client.frames[0].starts_with("<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='d'")
    );
    assert!(client.frames[0].contains("xml:lang='de'"));
    assert_eq!(client.answer(1), "");
    client.hear("<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' from='d'/>");
    client.hear(FEATURES);
    let answer = client.answer(1);
    for part in [
        "sid='s1'",
        "wait='30'",
        "hold='1'",
        "requests='2'",
        "inactivity='60'",
        "polling='2'",
        "maxpause='120'",
        "ack='100'",
        "from='d'",
        "xmpp:version='1.0'",
        "xmpp:restartlogic='true'",
        FEATURES,
    ] {
        assert!(answer.contains(part), "{part}: {answer}");
    }
    assert!(!answer.contains("<open"), "{answer}");
}

/// XEP-0124 sections 7.1 and 17.2.
#[test]
fn a_session_needs_an_address_and_can_be_refused() {
    let table = [("rid='1'", "improper-addressing"), ("rid='1' to='d' sid='x'", "item-not-found")];
    for (attributes, condition) in table {
        let refused =
            Session::open("s".into(), body(attributes, ""), 1, Limits::default(), Instant::now());
        let answer = String::from_utf8(refused.unwrap_err().to_vec()).unwrap();
        assert!(answer.contains(&format!("condition='{condition}'")), "{answer}");
    }
    let mut client = Client::new("");
    client.hear(
        "<stream:error xmlns:stream='http://etherx.jabber.org/streams'><host-unknown \
                 xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
    );
    assert!(client.answer(1).contains("type='terminate' condition='host-unknown'"));
    assert!(client.ended);
}

/// XEP-0124 section 8: what is for the client goes out with the oldest request that is held.
#[test]
fn a_request_is_held_until_there_is_something_to_say() {
    let mut client = Client::open("hold='1' wait='60'");
    let first = client.ask("rid='101'", "");
    assert_eq!(client.answer(first), "");
    client.hear(&chat("hi"));
    assert!(client.answer(first).contains("<body>hi</body>"));
    // What comes while nothing is held waits for the next request.
    client.hear(&chat("one"));
    client.hear(&chat("two"));
    let second = client.ask("rid='102'", "");
    let answer = client.answer(second);
    assert!(answer.find("one").unwrap() < answer.find("two").unwrap(), "{answer}");
    // Nothing to say within the time that was agreed on.
    let third = client.ask("rid='103'", "");
    client.wait(59);
    assert_eq!(client.answer(third), "");
    client.wait(1);
    assert_eq!(client.answer(third), "<body xmlns='http://jabber.org/protocol/httpbind'/>");
}

#[test]
fn no_more_requests_are_held_than_agreed() {
    let mut client = Client::open("hold='1' wait='60'");
    let first = client.ask("rid='101'", "");
    let second = client.ask("rid='102'", &chat("to you"));
    assert!(client.answer(first).starts_with("<body"));
    assert_eq!(client.answer(second), "");
    assert!(client.frames.last().unwrap().contains("to you"));
}

/// XEP-0124 sections 14.2 and 9.1.
#[test]
fn requests_that_overtake_each_other_are_taken_in_order() {
    let mut client = Client::open("hold='1' wait='60' ack='1'");
    let second = client.ask("rid='102'", &chat("second"));
    assert!(client.frames.iter().all(|frame| !frame.contains("second")));
    let first = client.ask("rid='101'", &chat("first"));
    let said: Vec<&String> = client.frames.iter().filter(|f| f.contains("message")).collect();
    assert!(said[0].contains("first") && said[1].contains("second"));
    assert!(client.answer(first).contains("ack='102'"), "{}", client.answer(first));
    assert_eq!(client.answer(second), "");
}

#[test]
fn a_request_beyond_the_window_ends_the_session() {
    let mut client = Client::open("hold='1' wait='60'");
    let held = client.ask("rid='101'", "");
    let far = client.ask("rid='104'", "");
    assert!(client.answer(held).contains("condition='item-not-found'"));
    assert!(client.answer(far).contains("type='terminate'"));
    assert!(client.ended);
    let late = client.ask("rid='102'", "");
    assert!(client.answer(late).contains("condition='item-not-found'"));
}

/// XEP-0124 section 14.3.
#[test]
fn a_lost_answer_is_given_again_and_the_request_is_not_taken_twice() {
    let mut client = Client::open("hold='1' wait='60'");
    let first = client.ask("rid='101'", &chat("once"));
    client.hear(&chat("answer"));
    let again = client.ask("rid='101'", &chat("once"));
    assert_eq!(client.answer(first), client.answer(again));
    assert_eq!(client.frames.iter().filter(|f| f.contains("once")).count(), 1);
    // One that is still held is answered by a recoverable error and held anew.
    let held = client.ask("rid='102'", "");
    let instead = client.ask("rid='102'", "");
    assert!(client.answer(held).contains("type='error'"));
    client.hear(&chat("late"));
    assert!(client.answer(instead).contains("late"));
    // One that is forgotten cannot be recovered.
    let ancient = client.ask("rid='1'", "");
    assert!(client.answer(ancient).contains("condition='item-not-found'"));
    assert!(client.ended);
}

/// XEP-0124 section 10.
#[test]
fn a_client_that_stays_away_is_taken_for_gone_and_what_it_misses_is_handed_back() {
    let mut client = Client::open("hold='1' wait='60'");
    client.hear(&chat("missed"));
    client.wait(59);
    assert!(!client.ended);
    client.wait(1);
    assert!(client.ended);
    let left = client.session.take().unwrap().into_undelivered();
    assert_eq!(left, [Bytes::from(chat("missed"))]);
    // A stream that acknowledges looks after its own.
    let mut client = Client::open("hold='1' wait='60'");
    client.hear("<enabled xmlns='urn:xmpp:sm:3'/>");
    client.wait(60);
    assert!(client.session.take().unwrap().into_undelivered().is_empty());
}

/// XEP-0124 section 10: pausing a session.
#[test]
fn a_client_may_announce_a_pause() {
    let mut client = Client::open("hold='1' wait='60'");
    let held = client.ask("rid='101'", "");
    let pause = client.ask("rid='102' pause='100'", "");
    assert!(client.answer(held).starts_with("<body") && client.answer(pause).starts_with("<body"));
    client.wait(99);
    assert!(!client.ended);
    client.ask("rid='103'", "");
    assert!(!client.ended);
}

/// XEP-0124 sections 11 and 12.
#[test]
fn a_client_that_asks_too_often_is_sent_away() {
    let mut client = Client::open("hold='0' wait='0'");
    assert!(client.answer(1).contains("requests='1'"), "{}", client.answer(1));
    let first = client.ask("rid='101'", "");
    assert!(client.answer(first).starts_with("<body"));
    client.wait(2);
    client.ask("rid='102'", "");
    assert!(!client.ended);
    client.wait(1);
    let soon = client.ask("rid='103'", "");
    assert!(client.answer(soon).contains("condition='policy-violation'"));

    let mut client = Client::open("hold='1' wait='60'");
    for rid in 101..150 {
        if !client.ended {
            client.ask(&format!("rid='{rid}'"), "");
        }
    }
    assert!(client.ended);
    assert!(client.answers.values().any(|answer| answer.contains("policy-violation")));
}

/// XEP-0124 section 13.
#[test]
fn a_client_ends_its_session_and_its_last_words_are_heard() {
    let mut client = Client::open("hold='1' wait='60'");
    let held = client.ask("rid='101'", "");
    let last = client.ask("rid='102' type='terminate'", "<presence type='unavailable'/>");
    let frames = &client.frames[client.frames.len() - 2..];
    assert_eq!(frames[0], "<presence xmlns='jabber:client' type='unavailable'/>");
    assert!(frames[1].starts_with("<close"));
    assert!(client.answer(held).contains("type='terminate'"));
    assert!(client.answer(last).contains("type='terminate'"));
    assert!(client.ended);
}

/// XEP-0206 section 5.
#[test]
fn a_stream_is_restarted_within_the_session() {
    let mut client = Client::open("hold='1' wait='60'");
    client.ask("rid='101' xmpp:restart='true' xmlns:xmpp='urn:xmpp:xbosh'", "");
    assert!(client.frames.last().unwrap().starts_with("<open"));
}

/// XEP-0124 section 15.
#[test]
fn keys_bind_the_requests_of_a_session_to_one_client() {
    let key = |text: &str| hex(&Sha1::digest(text));
    let (k1, k2, k3) = (key("seed"), key(&key("seed")), key(&key(&key("seed"))));
    let mut client = Client::open(&format!("hold='1' wait='60' newkey='{k3}'"));
    client.ask(&format!("rid='101' key='{k2}'"), "");
    // The last of a sequence brings the first of the next.
    let next = key("other");
    client.ask(&format!("rid='102' key='{k1}' newkey='{next}'"), "");
    assert!(!client.ended);
    client.ask("rid='103' key='other'", "");
    assert!(!client.ended);
    let stolen = client.ask("rid='104'", &chat("not me"));
    assert!(client.ended && client.frames.iter().all(|f| !f.contains("not me")));
    assert!(client.answers.values().any(|a| a.contains("item-not-found")), "{stolen}");
}

/// XEP-0124 section 6.
#[test]
fn payloads_keep_their_bytes_and_stand_for_themselves() {
    let read = |text: &str| {
        let payloads = Body::parse(&text.to_owned().into()).map(|body| body.payloads);
        payloads.map(|all| {
            all.iter().map(|p| String::from_utf8(p.to_vec()).unwrap()).collect::<Vec<_>>()
        })
    };
    let head = "<body rid='1' xmlns='http://jabber.org/protocol/httpbind' xmlns:p='urn:p'";
    let table: [(&str, &[&str]); 4] = [
        ("<a  xmlns='x' b=\"c\">&lt;</a>", &["<a  xmlns='x' b=\"c\">&lt;</a>"]),
        ("<presence/><p:a/>", &["<presence xmlns='jabber:client'/>", "<p:a xmlns:p='urn:p'/>"]),
        (
            "<iq xmlns='jabber:client'><body>x</body></iq>",
            &["<iq xmlns='jabber:client'><body>x</body></iq>"],
        ),
        ("", &[]),
    ];
    for (content, expected) in table {
        assert_eq!(read(&format!("{head}>{content}</body>")).unwrap(), expected);
    }
    for text in [
        "<body rid='1'/>",
        "<body xmlns='http://jabber.org/protocol/httpbind'/>",
        "<body rid='x' xmlns='http://jabber.org/protocol/httpbind'/>",
        "<body rid='1' xmlns='http://jabber.org/protocol/httpbind'>text</body>",
        "<body rid='1' xmlns='http://jabber.org/protocol/httpbind'><!-- x --></body>",
        "<body rid='1' xmlns='http://jabber.org/protocol/httpbind'><a></body>",
        "<!DOCTYPE x><body rid='1' xmlns='http://jabber.org/protocol/httpbind'/>",
        "",
    ] {
        assert!(read(text).is_err(), "{text}");
    }
    let many = "<a/>".repeat(101);
    assert!(read(&format!("{head}>{many}</body>")).is_err());
}
