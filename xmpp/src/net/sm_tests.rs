//! XEP-0198 and XEP-0352 over in-memory pipes, in virtual time: what is acknowledged, lost, resumed, and given back.

use super::tests::{Client, HEADER, World, jid};
use crate::service::Outcome;

const SM: &str = "urn:xmpp:sm:3";
const CSI: &str = "urn:xmpp:csi:0";

impl Client {
    /// Enables stream management with resumption and gives the session's id.
    pub(super) async fn enable(&mut self) -> String {
        let enabled = self.say(&format!("<enable xmlns='{SM}' resume='true'/>"), "<enabled").await;
        let id = enabled.split(" id='").nth(1).unwrap().split('\'').next().unwrap();
        id.to_owned()
    }

    pub(super) async fn resume(&mut self, id: &str, h: u32) -> String {
        let resume = format!("<resume xmlns='{SM}' previd='{id}' h='{h}'/>");
        self.say(&resume, "xmlns='urn:xmpp:sm:3'").await
    }

    /// All that comes within a second.
    pub(super) async fn rest(&mut self) -> String {
        self.hear_for(std::time::Duration::from_secs(1)).await
    }
}

fn message(body: &str) -> String {
    format!("<message to='ana@d/r' type='chat' id='{body}'><body>{body}</body></message>")
}

fn after(seconds: u64) -> tokio::time::Sleep {
    tokio::time::sleep(std::time::Duration::from_secs(seconds))
}

/// Section 3: enabled once, after a resource is bound, with an id that is new each time.
#[tokio::test(start_paused = true)]
async fn management_is_offered_and_enabled_once_after_binding() {
    let world = World::new();
    let mut client = world.connect();
    let features = client.log_in("ana").await;
    assert!(features.contains("<sm xmlns='urn:xmpp:sm:3'/>"), "{features}");
    assert!(features.contains("<csi xmlns='urn:xmpp:csi:0'/>"), "{features}");
    let said = client.say(&format!("<enable xmlns='{SM}'/>"), "</failed>").await;
    assert!(said.contains("<unexpected-request"), "{said}");
    client.bind("r").await;
    let enabled =
        client.say(&format!("<enable xmlns='{SM}' resume='1' max='60'/>"), "<enabled").await;
    assert!(enabled.contains("resume='true'") && enabled.contains("max='60'"), "{enabled}");
    let said = client.say(&format!("<enable xmlns='{SM}'/>"), "</stream:stream>").await;
    assert!(said.contains("<policy-violation"), "{said}");

    let mut other = world.login("bob", "r").await;
    let enabled = other.say(&format!("<enable xmlns='{SM}'/>"), "<enabled").await;
    assert!(!enabled.contains("resume=") && !enabled.contains(" id="), "{enabled}");
    let mut third = world.login("bob", "s").await;
    let mut fourth = world.login("bob", "t").await;
    assert_ne!(third.enable().await, fourth.enable().await);
}

/// Section 4: only stanzas count, from the `<enable/>` on, and every kind of them.
#[tokio::test(start_paused = true)]
async fn the_server_counts_stanzas_from_enable_on() {
    let world = World::new();
    let mut client = world.login("ana", "r").await;
    let ping = "<iq type='get' id='p' to='d'><ping xmlns='urn:xmpp:ping'/></iq>";
    let session =
        "<iq type='set' id='s'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>";
    let malformed = "<message to='@'/>";
    let said = client
        .say(
            &format!("{ping}<enable xmlns='{SM}'/>{ping}{session}{malformed}<r xmlns='{SM}'/>"),
            "<a ",
        )
        .await;
    assert!(said.contains(&format!("<a xmlns='{SM}' h='3'/>")), "{said}");
    let said = client.say(&format!("<a xmlns='{SM}' h='3'/><r xmlns='{SM}'/>"), "<a ").await;
    assert!(said.contains("h='3'"), "{said}");
}

/// Also when one of them is still waiting, behind another for the store, as counting begins.
#[tokio::test(start_paused = true)]
async fn what_came_before_enable_is_not_counted_however_late_it_is_finished() {
    let world = World::new();
    let mut client = world.login("ana", "r").await;
    let chat = "<message to='bob@d' type='chat' id='1'><body>x</body></message>";
    let session =
        "<iq type='set' id='s'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>";
    let said = client
        .say(&format!("{chat}{session}<enable xmlns='{SM}'/>{chat}<r xmlns='{SM}'/>"), "<a ")
        .await;
    assert!(said.contains(&format!("<a xmlns='{SM}' h='1'/>")), "{said}");
}

/// Section 6, and modulo 2^32 a count that goes back is too high too.
#[tokio::test(start_paused = true)]
async fn a_client_that_acknowledges_too_much_is_ended() {
    let world = World::new();
    let mut client = world.login("ana", "r").await;
    client.enable().await;
    world.message("ana@d/r", "one").await;
    client.hear("<r ").await;
    let said = client.say(&format!("<a xmlns='{SM}' h='2'/>"), "</stream:stream>").await;
    assert!(said.contains("<undefined-condition"), "{said}");
    assert!(
        said.contains(&format!("<handled-count-too-high xmlns='{SM}' h='2' send-count='1'/>")),
        "{said}"
    );
    // The session is over, and what was not acknowledged waits.
    client.task.await.unwrap();
    assert_eq!(world.store.waiting(&jid("ana@d")).len(), 1);
}

/// The server asks by itself, once at a time, so that little is ever unacknowledged.
#[tokio::test(start_paused = true)]
async fn the_server_asks_for_acknowledgements() {
    let world = World::new();
    let mut client = world.login("ana", "r").await;
    client.enable().await;
    world.message("ana@d/r", "one").await;
    assert_eq!(client.rest().await.matches("<r ").count(), 1);
    world.message("ana@d/r", "two").await;
    assert_eq!(client.rest().await.matches("<r ").count(), 0);
    let said = client.say(&format!("<a xmlns='{SM}' h='1'/>"), "<r ").await;
    assert_eq!(said.matches("<r ").count(), 1);
    client.say(&format!("<a xmlns='{SM}' h='2'/><r xmlns='{SM}'/>"), "<a ").await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_client_comes_back_and_gets_what_it_missed_in_order_with_its_time() {
    let world = World::new();
    let mut client = world.login("ana", "r").await;
    let id = client.enable().await;
    for body in ["one", "two", "three"] {
        world.message("ana@d/r", body).await;
    }
    client.hear("three").await;
    drop(client.pipe);
    after(10).await;
    assert_eq!(
        world.message("ana@d/r", "four").await,
        Outcome::Delivered { sessions: 1, attached: 0 }
    );
    assert_eq!(world.server.presences(&jid("ana@d")).len(), 1, "presence stays");

    let mut client = world.connect();
    client.log_in("ana").await;
    let said = client.resume(&id, 1).await;
    assert!(said.contains(&format!("<resumed xmlns='{SM}' previd='{id}' h='0'/>")), "{said}");
    let said = said + &client.rest().await;
    let bodies: Vec<_> =
        said.split("<body>").skip(1).map(|s| s.split('<').next().unwrap()).collect();
    assert_eq!(bodies, ["two", "three", "four"], "{said}");
    assert_eq!(said.matches("<delay xmlns='urn:xmpp:delay' from='d'").count(), 3, "{said}");
    // The counters go on from before: four were sent in all.
    let said = client.say(&format!("<a xmlns='{SM}' h='4'/><r xmlns='{SM}'/>"), "<a ").await;
    assert!(said.contains("h='0'"), "{said}");
    assert!(world.store.waiting(&jid("ana@d")).is_empty());
}

/// Section 5: the count of handled stanzas goes over to the new stream, and the old one ends with `conflict`.
#[tokio::test(start_paused = true)]
async fn a_session_moves_from_a_stream_that_is_still_open() {
    let world = World::new();
    let mut old = world.login("ana", "r").await;
    let id = old.enable().await;
    old.say(&format!("{}<r xmlns='{SM}'/>", message("self")), "<a ").await;
    let mut new = world.connect();
    new.log_in("ana").await;
    let said = new.resume(&id, 0).await + &new.rest().await;
    assert!(said.contains("h='1'") && said.contains("<body>self"), "{said}");
    let end = old.hear("</stream:stream>").await;
    assert!(end.contains("<conflict"), "{end}");
    old.task.await.unwrap();
    // The one that has gone took nothing with it.
    world.message("ana@d/r", "more").await;
    assert!(new.rest().await.contains("<body>more"));
    let ping = "<iq type='get' id='p' to='d'><ping xmlns='urn:xmpp:ping'/></iq>";
    let said = new.say(&format!("{ping}<r xmlns='{SM}'/>"), "<a ").await;
    assert!(said.contains("h='2'"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_clogged_stream_gives_its_session_away_at_once() {
    let world = World::new();
    let mut old = world.login("ana", "r").await;
    let id = old.enable().await;
    world.clog("ana@d/r").await;
    let mut new = world.connect();
    new.log_in("ana").await;
    let before = tokio::time::Instant::now();
    let mut said = new.resume(&id, 0).await;
    while !said.contains("19-xxx") {
        said.push_str(&new.rest().await);
    }
    assert!(before.elapsed().as_secs() < 20, "{:?}", before.elapsed());
    assert_eq!(said.matches("<body>").count(), 20);
}

#[tokio::test(start_paused = true)]
async fn what_no_client_comes_back_for_is_given_back_when_the_time_is_over() {
    let world = World::new();
    let mut bob = world.login("bob", "x").await;
    let mut client = world.login("ana", "r").await;
    let id = client.enable().await;
    world.message("ana@d/r", "kept").await;
    client.hear("kept").await;
    drop(client.pipe);
    let ask = "<iq type='get' id='q' to='ana@d/r'><query xmlns='x'/></iq>";
    client_shows_itself(&world).await;
    bob.write(ask).await;
    after(299).await;
    assert_eq!(world.server.presences(&jid("ana@d")).len(), 1);
    assert!(world.store.waiting(&jid("ana@d")).is_empty());
    after(2).await;
    assert!(world.server.presences(&jid("ana@d")).is_empty(), "presence ends with the session");
    assert_eq!(world.store.waiting(&jid("ana@d")).len(), 1);
    let said = bob.rest().await;
    assert!(said.contains("id='q'") && said.contains("service-unavailable"), "{said}");

    // The id is known no more, but the count is; the client may bind on the same stream.
    let mut client = world.connect();
    client.log_in("ana").await;
    let said = client.resume(&id, 1).await + &client.rest().await;
    assert!(
        said.contains("<failed") && said.contains("h='0'") && said.contains("<item-not-found"),
        "{said}"
    );
    client.bind("r").await;
    client.write("<presence/>").await;
    let kept = client.hear("</message>").await;
    assert!(kept.contains("kept") && kept.matches("<delay").count() == 1, "{kept}");
}

/// Lets the IQ above through: an account may ask devices whose presence it shares.
async fn client_shows_itself(world: &World) {
    let presence = "<presence from='ana@d/r' to='bob@d'/>";
    let stanza = crate::stanza::Stanza::parse(presence.to_owned().into()).unwrap();
    world.server.handle(stanza).await;
}

#[tokio::test(start_paused = true)]
async fn nobody_resumes_the_session_of_another_or_one_that_never_was() {
    let world = World::new();
    let mut client = world.login("ana", "r").await;
    let id = client.enable().await;
    let mut thief = world.connect();
    thief.log_in("bob").await;
    for previd in [id.as_str(), "never-was"] {
        let said = thief.resume(previd, 0).await + &thief.rest().await;
        assert!(said.contains("<item-not-found") && !said.contains(" h="), "{said}");
    }
    let mut stranger = world.connect();
    stranger.say(super::tests::HEADER, "</stream:features>").await;
    let said = stranger.resume(&id, 0).await + &stranger.rest().await;
    assert!(said.contains("<unexpected-request"), "{said}");
    // The owner noticed nothing.
    client.say(&format!("<r xmlns='{SM}'/>"), "<a ").await;
}

/// Section 7: who says goodbye does not come back.
#[tokio::test(start_paused = true)]
async fn a_stream_that_is_closed_ends_its_session() {
    let world = World::new();
    let mut client = world.login("ana", "r").await;
    let id = client.enable().await;
    let said =
        client.say(&format!("{}</stream:stream>", message("last")), "</stream:stream>").await;
    // The last count goes out before the end.
    assert!(said.contains("<a ") && said.contains("h='1'"), "{said}");
    client.task.await.unwrap();
    assert!(world.server.presences(&jid("ana@d")).is_empty());
    let mut client = world.connect();
    client.log_in("ana").await;
    assert!(client.resume(&id, 0).await.contains("<failed"));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_claims_too_much_does_not_resume_and_its_session_stays() {
    let world = World::new();
    let mut client = world.login("ana", "r").await;
    let id = client.enable().await;
    drop(client.pipe);
    after(1).await;
    let mut liar = world.connect();
    liar.log_in("ana").await;
    let resume = format!("<resume xmlns='{SM}' previd='{id}' h='7'/>");
    assert!(liar.say(&resume, "</stream:stream>").await.contains("<handled-count-too-high"));
    let mut client = world.connect();
    client.log_in("ana").await;
    assert!(client.resume(&id, 0).await.contains("<resumed"));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_is_asked_then_lost_and_may_come_back() {
    let world = World::new();
    let mut client = world.login("ana", "r").await;
    let id = client.enable().await;
    after(299).await;
    assert!(!client.rest().await.contains("<r "));
    let said = client.hear("</stream:stream>").await;
    assert!(said.contains("<r ") && said.contains("<connection-timeout"), "{said}");
    let mut again = world.connect();
    again.log_in("ana").await;
    assert!(again.resume(&id, 0).await.contains("<resumed"));
}

/// Without stream management it is pinged (XEP-0199), and an answer keeps it.
#[tokio::test(start_paused = true)]
async fn a_silent_client_is_pinged_and_dropped_unless_it_answers() {
    let world = World::new();
    let mut client = world.login("ana", "r").await;
    for _ in 0..2 {
        let ping = client.hear("</iq>").await;
        assert!(
            ping.contains("<ping xmlns='urn:xmpp:ping'/>") && ping.contains("type='get'"),
            "{ping}"
        );
        let id = ping.split(" id='").nth(1).unwrap().split('\'').next().unwrap();
        client.write(&format!("<iq type='result' id='{id}' to='d'/>")).await;
    }
    let end = client.hear("</stream:stream>").await;
    assert!(end.contains("<connection-timeout"), "{end}");
    client.task.await.unwrap();
    assert!(world.server.presences(&jid("ana@d")).is_empty());
}

/// What is queued for a session without a client is bounded; the end is an end like any other.
#[tokio::test(start_paused = true)]
async fn a_waiting_session_that_gets_too_much_ends_and_all_of_it_is_kept() {
    let world = World::with_queue(50_000);
    let mut client = world.login("ana", "r").await;
    client.enable().await;
    drop(client.pipe);
    after(1).await;
    for n in 0..60 {
        world.message("ana@d/r", &format!("{n}-{}", "x".repeat(1000))).await;
    }
    client.task.await.unwrap();
    assert_eq!(world.store.waiting(&jid("ana@d")).len(), 60);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stops_keeps_what_waiting_sessions_had() {
    let world = World::new();
    let mut client = world.login("ana", "r").await;
    client.enable().await;
    drop(client.pipe);
    after(1).await;
    world.message("ana@d/r", "kept").await;
    assert!(super::stop(&world.server, std::time::Duration::from_secs(5)).await);
    assert_eq!(world.store.waiting(&jid("ana@d")).len(), 1);
}

/// XEP-0352: presence and typing wait for somebody who looks, the last of each; text and calls do not, and the order
/// stays.
#[tokio::test(start_paused = true)]
async fn an_inactive_client_hears_only_what_matters() {
    let world = World::new();
    let mut client = world.login("ana", "r").await;
    let mut other = world.login("ana", "s").await;
    client.rest().await;
    other.rest().await;
    client.write(&format!("<inactive xmlns='{CSI}'/>")).await;
    client.rest().await;
    assert_eq!(other.rest().await, "", "nobody learns of it");
    let state = |name: &str| {
        format!(
            "<message to='ana@d/r' type='chat'><{name} xmlns='http://jabber.org/protocol/chatstates'/></message>"
        )
    };
    let rtt = "<message to='ana@d/r' type='chat'><rtt xmlns='urn:xmpp:rtt:0' seq='1'><t>x</t></rtt></message>";
    other
        .write(&format!(
            "<presence><show>away</show></presence><presence><show>dnd</show></presence>{rtt}{}{}",
            state("composing"),
            state("paused")
        ))
        .await;
    assert_eq!(client.rest().await, "");
    other.write(&message("text")).await;
    let said = client.rest().await;
    let at = |text: &str| said.find(text).unwrap_or_else(|| panic!("no {text}: {said}"));
    assert!(at("<show>dnd") < at("<paused") && at("<paused") < at("<body>text"), "{said}");
    assert!(
        !said.contains("away") && !said.contains("composing") && !said.contains("rtt"),
        "{said}"
    );

    other.write("<presence><show>xa</show></presence>").await;
    assert_eq!(client.rest().await, "");
    let ping = "<iq type='get' id='pong' to='d'><ping xmlns='urn:xmpp:ping'/></iq>";
    client.write(&format!("<active xmlns='{CSI}'/>{ping}")).await;
    let said = client.rest().await;
    assert!(said.find("<show>xa").unwrap() < said.find("id='pong'").unwrap(), "{said}");
    other.write("<presence/>").await;
    assert!(client.rest().await.contains("<presence"), "active again");
}

/// XEP-0352 section 4.2.
#[tokio::test(start_paused = true)]
async fn a_resumed_stream_is_active() {
    let world = World::new();
    let mut client = world.login("ana", "r").await;
    let mut other = world.login("ana", "s").await;
    client.rest().await;
    let id = client.enable().await;
    client.write(&format!("<inactive xmlns='{CSI}'/>")).await;
    client.rest().await;
    other.write("<presence><show>dnd</show></presence>").await;
    other.rest().await;
    drop(client.pipe);
    after(1).await;
    let mut client = world.connect();
    client.log_in("ana").await;
    let said = client.resume(&id, 0).await + &client.rest().await;
    assert!(said.contains("<show>dnd"), "{said}");
    other.write("<presence><show>xa</show></presence>").await;
    assert!(client.rest().await.contains("<show>xa"));
}

/// A login by SASL2 with these parts, up to its end.
async fn log_in_with(client: &mut Client, parts: &str) -> String {
    use base64::Engine as _;
    let plain = base64::engine::general_purpose::STANDARD.encode("\0ana\0secret");
    let login = format!(
        "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'>\
         <initial-response>{plain}</initial-response>\
         <user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'/>{parts}</authenticate>"
    );
    client.say(&login, "</success>").await
}

/// Sections 9.1 and 9.2: a login binds and enables, or resumes; what cannot be resumed is begun anew.
#[tokio::test(start_paused = true)]
async fn a_login_by_sasl2_resumes_a_session_or_begins_a_managed_one() {
    let world = World::new();
    let mut client = world.connect();
    let features = client.say(HEADER, "</stream:features>").await;
    assert!(features.contains("<feature var='urn:xmpp:sm:3'/>"), "{features}");
    assert!(features.contains("<sm xmlns='urn:xmpp:sm:3'/>"), "{features}");
    let bind = format!(
        "<bind xmlns='urn:xmpp:bind:0'><tag>Phone</tag>\
         <enable xmlns='{SM}' resume='true'/><inactive xmlns='{CSI}'/></bind>"
    );
    let said = log_in_with(&mut client, &bind).await;
    let bound = said.split("<bound ").nth(1).unwrap();
    assert!(bound.contains(&format!("<enabled xmlns='{SM}' id='")), "{said}");
    let id = bound.split(" id='").nth(1).unwrap().split('\'').next().unwrap().to_owned();
    let jid_of = |said: &str| {
        let name = said.split("<authorization-identifier>").nth(1).unwrap();
        name.split('<').next().unwrap().to_owned()
    };
    let full = jid_of(&said);
    // It counts from there on.
    let said = client.say(&format!("<presence/><r xmlns='{SM}'/>"), "<a ").await;
    assert!(said.contains("h='1'"), "{said}");
    drop(client.pipe);
    after(10).await;
    assert_eq!(
        world.message(&full, "missed").await,
        Outcome::Delivered { sessions: 1, attached: 0 }
    );

    // To resume comes first, and nothing is bound then, nor are there features.
    let mut client = world.connect();
    client.say(HEADER, "</stream:features>").await;
    let resume = format!("<resume xmlns='{SM}' previd='{id}' h='0'/>");
    let said = log_in_with(&mut client, &format!("{resume}{bind}")).await;
    let said = said + &client.rest().await;
    assert_eq!(jid_of(&said), full);
    assert!(said.contains(&format!("<resumed xmlns='{SM}' previd='{id}' h='1'/>")), "{said}");
    assert!(!said.contains("<bound") && !said.contains("<stream:features"), "{said}");
    assert!(said.split("</success>").nth(1).unwrap().contains("missed"), "{said}");

    // Without such a session the login succeeds all the same, and binds.
    let mut other = world.connect();
    other.say(HEADER, "</stream:features>").await;
    let unknown = resume.replace(&id, "unknown");
    let said = log_in_with(&mut other, &format!("{unknown}{bind}")).await;
    assert!(said.contains(&format!("<failed xmlns='{SM}'><item-not-found")), "{said}");
    assert!(said.contains("<enabled") && jid_of(&said) != full, "{said}");
    let mut third = world.connect();
    third.say(HEADER, "</stream:features>").await;
    let said = log_in_with(&mut third, &format!("<resume xmlns='{SM}'/>")).await;
    assert!(said.contains("<bad-request") && jid_of(&said) == "ana@d", "{said}");
}

/// A client over WebSocket.
struct Socket {
    said: tokio::sync::mpsc::Sender<bytes::Bytes>,
    heard: tokio::sync::mpsc::Receiver<bytes::Bytes>,
}

impl Socket {
    fn connect(world: &World) -> Self {
        let (said, incoming) = tokio::sync::mpsc::channel(16);
        let (outgoing, heard) = tokio::sync::mpsc::channel(16);
        let peer = "127.0.0.1:9".parse().unwrap();
        tokio::spawn(super::serve_websocket(world.server.clone(), incoming, outgoing, peer));
        Self { said, heard }
    }

    async fn say(&mut self, text: &str, until: &str) -> String {
        self.said.send(text.to_owned().into()).await.unwrap();
        loop {
            let frame = self.heard.recv().await.expect("still open");
            let frame = String::from_utf8(frame.to_vec()).unwrap();
            if frame.contains(until) {
                return frame;
            }
        }
    }

    async fn log_in(&mut self) {
        let open = "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='d' version='1.0'/>";
        self.say(open, "features").await;
        let auth = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGFuYQBzZWNyZXQ=</auth>";
        self.say(auth, "<success").await;
        self.say(open, "features").await;
    }
}

/// Section 5 says nothing of the transport, and RFC 7395 section 3.6 wants the session kept.
#[tokio::test(start_paused = true)]
async fn a_session_moves_from_a_websocket_to_tls_and_back() {
    let world = World::new();
    let mut socket = Socket::connect(&world);
    socket.log_in().await;
    let bind = "<iq xmlns='jabber:client' type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>r</resource></bind></iq>";
    socket.say(bind, "</iq>").await;
    let enabled = socket.say(&format!("<enable xmlns='{SM}' resume='true'/>"), "<enabled").await;
    let id = enabled.split(" id='").nth(1).unwrap().split('\'').next().unwrap().to_owned();
    socket.said.send("<presence xmlns='jabber:client'/>".into()).await.unwrap();
    after(1).await;
    // The socket is lost without a close.
    drop(socket);
    after(1).await;
    world.message("ana@d/r", "first").await;
    let mut client = world.connect();
    client.log_in("ana").await;
    let said = client.resume(&id, 0).await + &client.rest().await;
    assert!(
        said.contains("h='1'") && said.contains("<message from=") && said.contains("first"),
        "{said}"
    );
    drop(client.pipe);
    after(1).await;
    let mut socket = Socket::connect(&world);
    socket.log_in().await;
    socket.say(&format!("<resume xmlns='{SM}' previd='{id}' h='0'/>"), "<resumed").await;
    let said = socket.say(&format!("<r xmlns='{SM}'/>"), "first").await;
    assert!(said.starts_with("<message xmlns='jabber:client'"), "{said}");
}

/// RFC 6120 section 13.12: one address does not take all the connections.
#[tokio::test(start_paused = true)]
async fn too_many_connections_that_are_not_logged_in_are_refused() {
    let world = World::new();
    let mut waiting = Vec::new();
    for _ in 0..world.server.config().max_strangers {
        waiting.push(world.connect());
    }
    let mut refused = world.connect();
    assert!(refused.hear("</stream:stream>").await.contains("<policy-violation"));
    // Who logs in makes room.
    waiting.last_mut().unwrap().log_in("ana").await;
    let mut next = world.connect();
    next.log_in("bob").await;
}
