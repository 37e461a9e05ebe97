//! XEP-0077, XEP-0401, XEP-0445 and XEP-0379: accounts that come, invite and go.

use std::net::IpAddr;
use std::time::Duration;

use super::*;
use crate::config::RegistrationConfig;
use crate::ports::Passwords;
use crate::service::Registration;
use crate::stream::c2s::Registers;
use crate::xml::Element;

struct Office {
    world: World,
    desk: Arc<MemoryDesk>,
}

const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn office(registration: RegistrationConfig) -> Office {
    let store = store();
    let desk = Arc::new(MemoryDesk::default());
    let directory = Arc::new(MemoryDirectory::new(store.clone(), desk.clone()));
    let ports = Ports { directory, invites: desk.clone(), ..ports(&store) };
    let admins = vec![jid("carl@d")];
    let config = Config { domains: vec!["d".into()], admins, registration, ..Config::default() };
    Office { world: World { store, server: Server::new(config, ports) }, desk }
}

fn open() -> RegistrationConfig {
    RegistrationConfig { open: true, ..RegistrationConfig::default() }
}

impl Office {
    /// What a stream that has not logged in is told.
    async fn ask(&self, stream: &mut Registration, iq: &str) -> String {
        let iq = Element::parse(iq.as_bytes()).unwrap();
        let answer = self.world.server.register(stream, "d", PEER, &iq).await;
        String::from_utf8(answer.to_bytes().to_vec()).unwrap()
    }

    fn has(&self, account: &str) -> bool {
        self.world.store.accounts().contains(&jid(account))
    }
}

fn register(inside: &str) -> String {
    format!("<iq type='set' id='r'><query xmlns='jabber:iq:register'>{inside}</query></iq>")
}

fn legacy(name: &str, password: &str) -> String {
    register(&format!("<username>{name}</username><password>{password}</password>"))
}

fn preauth(token: &str) -> String {
    format!("<iq type='set' id='p' to='d'><preauth xmlns='urn:xmpp:pars:0' token='{token}'/></iq>")
}

const GET: &str = "<iq type='get' id='g'><query xmlns='jabber:iq:register'/></iq>";

async fn say(session: &Session, text: &str) -> String {
    session.say(text).await;
    session.read().await.join("")
}

fn between(text: &str, start: &str, end: &str) -> String {
    text.split_once(start).unwrap().1.split(end).next().unwrap().to_owned()
}

/// Runs the command to invite; gives the URI.
async fn invite(session: &Session) -> String {
    let answer = say(
        session,
        "<iq type='set' id='i' to='d'><command xmlns='http://jabber.org/protocol/commands' \
         node='urn:xmpp:invite#invite' action='execute'/></iq>",
    )
    .await;
    assert!(answer.contains("status='completed'"), "{answer}");
    assert!(answer.contains("<value>urn:xmpp:invite#invitation</value>"), "{answer}");
    assert!(answer.contains("var='expire'"), "{answer}");
    between(&answer, "var='uri' type='text-single'><value>", "<")
}

#[tokio::test]
async fn registration_is_closed_by_default() {
    let office = office(RegistrationConfig::default());
    let mut stream = Registration::default();
    assert!(office.ask(&mut stream, GET).await.contains("<not-allowed"));
    assert!(office.ask(&mut stream, &legacy("eve", "long enough")).await.contains("<not-allowed"));
    assert!(!office.has("eve@d"));
    let shut = RegistrationConfig { by_invite: false, ..RegistrationConfig::default() };
    let office = self::office(shut);
    assert!(office.ask(&mut stream, GET).await.contains("<service-unavailable"));
    assert_eq!(office.world.server.registers(), Registers::default());
}

/// XEP-0077 section 3.1 and 5, in the old fields and in a form.
#[tokio::test]
async fn an_account_can_be_made_where_registration_is_open() {
    let office = office(open());
    let mut stream = Registration::default();
    let asked = office.ask(&mut stream, GET).await;
    assert!(asked.contains("<username/><password/>"), "{asked}");
    assert!(asked.contains("<value>jabber:iq:register</value>"), "{asked}");
    assert!(!asked.contains("<registered"), "{asked}");
    let answer = office.ask(&mut stream, &legacy("Eve", "long enough")).await;
    assert_eq!(answer, "<iq id='r' from='d' type='result'/>");
    assert!(office.has("eve@d"));
    let second = office.ask(&mut stream, &legacy("eva", "long enough")).await;
    assert!(second.contains("<not-acceptable"), "{second}");
    let form = register(
        "<x xmlns='jabber:x:data' type='submit'>\
         <field var='FORM_TYPE'><value>jabber:iq:register</value></field>\
         <field var='username'><value>eva</value></field>\
         <field var='password'><value>long enough</value></field></x>",
    );
    let answer = office.ask(&mut Registration::default(), &form).await;
    assert!(answer.contains("type='result'"), "{answer}");
    assert!(office.has("eva@d"));
}

#[tokio::test]
async fn what_is_missing_taken_or_no_name_is_refused() {
    let office = office(open());
    for (request, condition) in [
        (legacy("ana", "long enough"), "<conflict"),
        (legacy("", "long enough"), "<not-acceptable"),
        (legacy("a b@", "long enough"), "<not-acceptable"),
        (legacy("eve", ""), "<not-acceptable"),
        (legacy("eve", "short"), "<not-acceptable"),
        (register(""), "<not-acceptable"),
        ("<iq type='set' id='x'><other xmlns='y'/></iq>".into(), "<service-unavailable"),
        ("<iq type='get'><query xmlns='jabber:iq:register'/></iq>".into(), "<bad-request"),
    ] {
        let answer = office.ask(&mut Registration::default(), &request).await;
        assert!(answer.contains(condition), "{request} {answer}");
    }
    assert_eq!(office.world.store.accounts().len(), 3);
}

#[tokio::test]
async fn one_network_makes_few_accounts_an_hour() {
    let office = office(RegistrationConfig { per_hour: 2, ..open() });
    for (name, allowed) in [("e", true), ("f", true), ("g", false)] {
        let answer = office.ask(&mut Registration::default(), &legacy(name, "long enough")).await;
        assert_eq!(answer.contains("type='result'"), allowed, "{answer}");
    }
    let answer = office.ask(&mut Registration::default(), &legacy("g", "long enough")).await;
    assert!(answer.contains("<error type='wait'><not-acceptable"), "{answer}");
    office.desk.pass(Duration::from_secs(3_601));
    let answer = office.ask(&mut Registration::default(), &legacy("g", "long enough")).await;
    assert!(answer.contains("type='result'"), "{answer}");
}

/// XEP-0445 and XEP-0401: closed registration, an invitation, an account, two rosters, and the token is used up.
#[tokio::test]
async fn an_invitation_makes_an_account_and_joins_two_rosters_once() {
    let office = office(RegistrationConfig::default());
    assert_eq!(office.world.server.registers(), Registers { open: false, by_token: true });
    let ana = office.world.interested("ana@d/a").await;
    let uri = invite(&ana).await;
    assert!(uri.starts_with("xmpp:ana@d?roster;preauth=") && uri.ends_with(";ibr=y"), "{uri}");
    let token = between(&uri, "preauth=", ";");
    let (mut stream, mut other) = (Registration::default(), Registration::default());
    let refused = office.ask(&mut stream, &preauth("guessed")).await;
    assert!(refused.contains("<item-not-found"), "{refused}");
    for stream in [&mut stream, &mut other] {
        assert!(office.ask(stream, &preauth(&token)).await.contains("type='result'"));
    }
    // A failed registration does not use it up.
    assert!(office.ask(&mut stream, &legacy("bob", "long enough")).await.contains("<conflict"));
    let made = office.ask(&mut stream, &legacy("eve", "long enough")).await;
    assert!(made.contains("type='result'"), "{made}");
    let push = ana.read().await.join("");
    assert!(push.contains("jid='eve@d'") && push.contains("subscription='both'"), "{push}");
    let theirs = office.world.store.stored_roster(&jid("eve@d"));
    let contact = theirs.item(&jid("ana@d")).unwrap();
    assert!(contact.to && contact.from);
    let late = office.ask(&mut other, &legacy("eva", "long enough")).await;
    assert!(late.contains("<not-allowed"), "{late}");
    let again = office.ask(&mut Registration::default(), &preauth(&token)).await;
    assert!(again.contains("<item-not-found"), "{again}");
}

/// XEP-0445 section 4: the end counts when the token is shown, and not again.
#[tokio::test]
async fn a_token_ends_with_its_time_but_not_under_way() {
    let office = office(RegistrationConfig::default());
    let ana = office.world.online("ana@d/a").await;
    let token = between(&invite(&ana).await, "preauth=", ";");
    let mut stream = Registration::default();
    office.ask(&mut stream, &preauth(&token)).await;
    office.desk.pass(Duration::from_secs(8 * 24 * 3_600));
    let late = office.ask(&mut Registration::default(), &preauth(&token)).await;
    assert!(late.contains("<item-not-found"), "{late}");
    let answer = office.ask(&mut stream, &legacy("eve", "long enough")).await;
    assert!(answer.contains("type='result'"), "{answer}");
}

/// XEP-0401 section 4.4 and XEP-0445 section 5.
#[tokio::test]
async fn a_name_is_kept_free_for_who_was_invited_under_it() {
    let office = office(open());
    let carl = office.world.online("carl@d/c").await;
    let node = "xmlns='http://jabber.org/protocol/commands' node='urn:xmpp:invite#create-account'";
    let form = say(&carl, &format!("<iq type='set' id='i' to='d'><command {node}/></iq>")).await;
    assert!(form.contains("var='username'") && form.contains("var='roster-subscription'"));
    let id = between(&form, "sessionid='", "'");
    let fill = |name: &str| {
        format!(
            "<iq type='set' id='i' to='d'><command {node} sessionid='{id}'>\
             <x xmlns='jabber:x:data' type='submit'><field var='username'><value>{name}</value>\
             </field></x></command></iq>"
        )
    };
    assert!(say(&carl, &fill("ana")).await.contains("<conflict"));
    let answer = say(&carl, &fill("eve")).await;
    let uri = between(&answer, "var='uri' type='text-single'><value>", "<");
    assert!(uri.starts_with("xmpp:eve@d?register;preauth="), "{uri}");
    let taken = office.ask(&mut Registration::default(), &legacy("eve", "long enough")).await;
    assert!(taken.contains("<conflict"), "{taken}");
    let mut stream = Registration::default();
    office.ask(&mut stream, &preauth(uri.split("preauth=").nth(1).unwrap())).await;
    assert!(office.ask(&mut stream, GET).await.contains("<username>eve</username>"));
    let other = office.ask(&mut stream, &legacy("eva", "long enough")).await;
    assert!(other.contains("<not-acceptable"), "{other}");
    let answer = office.ask(&mut stream, &legacy("eve", "long enough")).await;
    assert!(answer.contains("type='result'"), "{answer}");
    assert!(office.world.store.stored_roster(&jid("carl@d")).items.is_empty());
}

/// XEP-0379 section 3.5: a request with a token needs nobody to say yes, and is good once.
#[tokio::test]
async fn a_request_with_an_invitation_is_granted_both_ways() {
    let office = office(RegistrationConfig::default());
    let ana = office.world.interested("ana@d/a").await;
    let bob = office.world.interested("bob@d/b").await;
    let token = between(&invite(&ana).await, "preauth=", ";");
    let ask = |token: &str| {
        format!(
            "<presence to='ana@d' type='subscribe'>\
             <preauth xmlns='urn:xmpp:pars:0' token='{token}'/></presence>"
        )
    };
    let seen = say(&bob, &ask(&token)).await;
    assert!(seen.contains("subscription='both'") && seen.contains("from='ana@d/a'"), "{seen}");
    let told = ana.read().await.join("");
    assert!(told.contains("jid='bob@d'") && told.contains("subscription='both'"), "{told}");
    assert!(!told.contains("type='subscribe'"), "{told}");
    let carl = office.world.interested("carl@d/c").await;
    say(&carl, &ask(&token)).await;
    assert!(ana.read().await.join("").contains("type='subscribe'"));
    assert!(office.world.store.stored_roster(&jid("ana@d")).item(&jid("carl@d")).is_none());
}

#[tokio::test]
async fn one_member_has_a_bounded_number_of_invitations() {
    let office = office(RegistrationConfig::default());
    let ana = office.world.online("ana@d/a").await;
    for _ in 0..100 {
        office.desk.pass(Duration::from_millis(1));
        let invite = crate::ports::Invite {
            domain: "d".into(),
            inviter: Some(jid("ana@d")),
            name: None,
            registers: true,
            joins: true,
        };
        let token = format!("{}", office.desk.now());
        let lifetime = Duration::from_secs(60);
        crate::ports::Invites::add(&*office.desk, &token, &invite, lifetime).await.unwrap();
    }
    let answer = say(
        &ana,
        "<iq type='set' id='i' to='d'><command xmlns='http://jabber.org/protocol/commands' \
         node='urn:xmpp:invite#invite' action='execute'/></iq>",
    )
    .await;
    assert!(answer.contains("<resource-constraint"), "{answer}");
}

/// XEP-0077 sections 3.1 and 3.3.
#[tokio::test]
async fn who_has_an_account_changes_its_password() {
    let office = office(RegistrationConfig::default());
    let ana = office.world.bind("ana@d/a");
    let registered = say(&ana, GET).await;
    assert!(registered.contains("<registered/><username>ana</username>"), "{registered}");
    for (name, password, condition) in [
        ("ana", "", "<bad-request"),
        ("", "long enough", "<bad-request"),
        ("bob", "long enough", "<not-allowed"),
        ("ana", "short", "<not-acceptable"),
    ] {
        let answer = say(&ana, &legacy(name, password)).await;
        assert!(answer.contains(condition), "{name} {password} {answer}");
        assert!(!answer.contains("long enough"), "{answer}");
    }
    assert!(say(&ana, &legacy("ana", "long enough")).await.contains("type='result'"));
    assert!(office.world.store.verifies(&jid("ana@d"), "long enough"));
}

/// XEP-0077 section 3.2: the account, its sessions and its place among the contacts of others.
#[tokio::test]
async fn an_account_is_removed_with_everything_and_its_contacts_see_it() {
    let office = office(RegistrationConfig::default());
    let world = &office.world;
    let (ana, bob) = (world.interested("ana@d/a").await, world.interested("bob@d/b").await);
    let desk = world.online("ana@d/desk").await;
    for (one, other) in [(&ana, &bob), (&bob, &ana)] {
        one.say(&format!("<presence to='{}' type='subscribe'/>", other.jid.bare())).await;
        other.say(&format!("<presence to='{}' type='subscribed'/>", one.jid.bare())).await;
    }
    bob.read().await;
    let odd = register("<remove/><username>ana</username>");
    assert!(say(&ana, &odd).await.contains("<bad-request"));
    let answer = say(&ana, &register("<remove/>")).await;
    assert!(answer.contains("<iq type='result' id='r'"), "{answer}");
    assert_eq!(ana.outbox.ended(), Some("not-authorized"));
    assert_eq!(desk.outbox.ended(), Some("not-authorized"));
    let seen = bob.read().await.join("");
    for sign in ["type='unsubscribe'", "type='unsubscribed'", "subscription='none'"] {
        assert!(seen.contains(sign), "{sign} {seen}");
    }
    assert!(!office.has("ana@d"));
    // A new account of the name starts with nothing.
    assert!(world.store.create(&jid("ana@d"), "long enough").await.unwrap());
    assert!(world.server.roster(&jid("ana@d")).await.unwrap().items.is_empty());
}
