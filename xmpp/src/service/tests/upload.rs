//! XEP-0363: what the upload service says about itself, to whom it gives slots, and how it refuses.

use super::*;

const REQUEST: &str = "urn:xmpp:http:upload:0";

fn request(attributes: &str) -> String {
    format!("<iq type='get' id='u' to='upload.d'><request xmlns='{REQUEST}' {attributes}/></iq>")
}

async fn ask(session: &Session, question: &str) -> String {
    session.say(question).await;
    session.read().await.join("")
}

/// XEP-0363 section 4.
#[tokio::test]
async fn the_service_is_found_with_its_bound() {
    let world = World::new();
    let ana = world.bind("ana@d/a");
    let question = "<iq type='get' id='q' to='upload.d'>\
                    <query xmlns='http://jabber.org/protocol/disco#info'/></iq>";
    let answer = ask(&ana, question).await;
    assert!(answer.contains("from='upload.d'"), "{answer}");
    assert!(answer.contains("category='store' type='file'"), "{answer}");
    assert!(answer.contains(&format!("<feature var='{REQUEST}'/>")), "{answer}");
    let form = answer.split_once("FORM_TYPE").unwrap().1;
    assert!(form.contains(REQUEST) && form.contains("<value>1000</value>"), "{answer}");
}

/// XEP-0363 section 5.
#[tokio::test]
async fn a_user_gets_a_slot_with_two_addresses() {
    let world = World::new();
    let ana = world.bind("ana@d/a");
    let answer = ask(&ana, &request("filename='a.jpg' size='10' content-type='image/jpeg'")).await;
    assert!(answer.contains("type='result'") && answer.contains("id='u'"), "{answer}");
    assert!(answer.contains("<put url='https://d/upload/1/a.jpg?token=x'/>"), "{answer}");
    assert!(answer.contains("<get url='https://d/upload/1/a.jpg'/>"), "{answer}");
}

/// XEP-0363 section 6.
#[tokio::test]
async fn a_refusal_says_why_and_what_can_be_done() {
    let world = World::new();
    let ana = world.bind("ana@d/a");
    let table = [
        ("filename='a' size='1001'", ["<not-acceptable", "<max-file-size>1000</max-file-size>"]),
        ("filename='a' size='1' content-type='text/html'", ["<not-acceptable", "type='modify'"]),
        ("filename='a' size='0'", ["<bad-request", "type='modify'"]),
        ("filename='a' size='-1'", ["<bad-request", "type='modify'"]),
        ("size='1'", ["<bad-request", "type='modify'"]),
        ("filename='a' size='1' content-type='x'", ["<bad-request", "type='modify'"]),
    ];
    for (attributes, expected) in table {
        let answer = ask(&ana, &request(attributes)).await;
        assert!(expected.iter().all(|part| answer.contains(part)), "{attributes}: {answer}");
    }
    let long = format!("filename='{}' size='1'", "a".repeat(300));
    assert!(ask(&ana, &request(&long)).await.contains("<not-acceptable"));
    for _ in 0..3 {
        ask(&ana, &request("filename='a' size='1'")).await;
    }
    let answer = ask(&ana, &request("filename='a' size='1'")).await;
    assert!(answer.contains("type='wait'") && answer.contains("<resource-constraint"), "{answer}");
    let retry = format!("<retry xmlns='{REQUEST}' stamp='2026-01-02T00:00:00Z'/>");
    assert!(answer.contains(&retry), "{answer}");
}

/// Files of strangers are not kept; what the service does not know is answered as such.
#[tokio::test]
async fn only_own_users_get_slots() {
    let world = World::new();
    let text = request("filename='a' size='1'");
    let mut stanza = Stanza::parse(text.into()).unwrap();
    stanza.set_from(jid("eve@elsewhere/x"));
    let outcome = world.server.handle(stanza).await;
    assert!(
        matches!(&outcome, Outcome::Refused(e) if e.condition == Condition::Forbidden),
        "{outcome:?}"
    );
    let ana = world.bind("ana@d/a");
    let answer = ask(&ana, "<iq type='set' id='q' to='upload.d'><odd xmlns='odd'/></iq>").await;
    assert!(answer.contains("<service-unavailable"), "{answer}");
    let answer =
        ask(&ana, "<iq type='get' id='q' to='upload.d'><ping xmlns='urn:xmpp:ping'/></iq>");
    assert!(answer.await.contains("type='result'"));
}

#[tokio::test]
async fn without_a_store_for_files_there_is_no_service() {
    let store = store();
    let ports = Ports { uploads: None, ..ports(&store) };
    let world = World::with(store, ports);
    let ana = world.bind("ana@d/a");
    let answer = ask(&ana, &request("filename='a' size='1'")).await;
    assert!(answer.contains("<service-unavailable"), "{answer}");
    let items = "<iq type='get' id='q' to='d'>\
                 <query xmlns='http://jabber.org/protocol/disco#items'/></iq>";
    assert!(!ask(&ana, items).await.contains("upload.d"));
}
