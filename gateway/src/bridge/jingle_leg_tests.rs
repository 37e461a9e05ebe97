use tandem_xmpp::stanza::jingle::Action;

use super::*;
use crate::bridge::echo_call::FEATURES;

/// A session that the peer began, with its first answers said.
fn session() -> JingleLeg {
    let jid = |text: &str| Jid::parse(text).unwrap();
    JingleLeg::incoming(
        jid("door@d/phone"),
        jid("ana@d/app"),
        &Jingle::new(Action::SessionInitiate, "s"),
    )
}

fn presses(code: char) -> Jingle {
    let mut jingle = Jingle::new(Action::SessionInfo, "s");
    jingle.info = Some(Info::Dtmf { code, duration_ms: None });
    jingle
}

fn said(session: &mut JingleLeg) -> Option<String> {
    let said = session.poll_stanza()?;
    Some(String::from_utf8(said.to_bytes().to_vec()).unwrap())
}

/// XEP-0181 section 2: a key is answered when it is known whether somebody heard it.
#[test]
fn keys_are_told_and_what_is_none_is_refused() {
    let mut session = session();
    for (code, expected) in [('0', 0), ('9', 9), ('*', 10), ('#', 11), ('A', 12), ('D', 15)] {
        session.handle_set("key", presses(code));
        let Some(Event::Digit { id, event, duration_ms }) = session.poll_event() else {
            panic!("{code}")
        };
        assert_eq!((id.as_str(), event, duration_ms), ("key", expected, 100));
        assert_eq!(said(&mut session), None, "nobody has heard it yet");
        session.answer_key(&id, code != '*');
        let answer = said(&mut session).unwrap();
        assert_eq!(answer.contains("not-acceptable"), code == '*', "{answer}");
        assert_eq!(answer.contains("type='result'"), code != '*', "{answer}");
    }
    session.handle_set("none", presses('x'));
    assert!(session.poll_event().is_none());
    assert!(said(&mut session).unwrap().contains("bad-request"));
    assert!(FEATURES.contains(&"urn:xmpp:jingle:dtmf:0"));
}
