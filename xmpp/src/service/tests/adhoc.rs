//! XEP-0050 and XEP-0133: commands, and accounts administered with them.

use super::*;

const NS: &str = "http://jabber.org/protocol/commands";
const ADMIN: &str = "http://jabber.org/protocol/admin";

/// A world where Ana administers.
fn world() -> World {
    let store = store();
    let config =
        Config { domains: vec!["d".into()], admins: vec![jid("ana@d")], ..Config::default() };
    let ports = ports(&store);
    World { store, server: Server::new(config, ports) }
}

fn command(node: &str, attributes: &str, inside: &str) -> String {
    format!(
        "<iq type='set' id='c' to='d'><command xmlns='{NS}' node='{node}' {attributes}>{inside}\
         </command></iq>"
    )
}

fn filled(fields: &[(&str, &str)]) -> String {
    let field =
        |(var, value): &(&str, &str)| format!("<field var='{var}'><value>{value}</value></field>");
    let fields: String = fields.iter().map(field).collect();
    format!("<x xmlns='jabber:x:data' type='submit'>{fields}</x>")
}

async fn say(session: &Session, text: &str) -> String {
    session.say(text).await;
    session.read().await.join("")
}

fn attribute(text: &str, name: &str) -> String {
    let (_, rest) = text.split_once(&format!("{name}='")).unwrap();
    rest.split('\'').next().unwrap().to_owned()
}

/// Starts a command of XEP-0133 and fills in its form.
async fn run(session: &Session, name: &str, fields: &[(&str, &str)]) -> String {
    let node = format!("{ADMIN}#{name}");
    let form = say(session, &command(&node, "action='execute'", "")).await;
    assert!(form.contains("status='executing'") && form.contains("type='form'"), "{form}");
    let id = attribute(&form, "sessionid");
    say(session, &command(&node, &format!("sessionid='{id}'"), &filled(fields))).await
}

/// XEP-0050 sections 2.1 and 2.2.
#[tokio::test]
async fn commands_are_listed_for_who_may_use_them() {
    let world = world();
    let (ana, bob) = (world.bind("ana@d/a"), world.bind("bob@d/b"));
    let list = format!(
        "<iq type='get' id='l' to='d'><query xmlns='http://jabber.org/protocol/disco#items' \
         node='{NS}'/></iq>"
    );
    let all = say(&ana, &list).await;
    assert!(all.contains(&format!("node='{ADMIN}#add-user'")), "{all}");
    assert!(all.contains("node='urn:xmpp:invite#create-account'"), "{all}");
    let few = say(&bob, &list).await;
    assert!(few.contains("node='urn:xmpp:invite#invite'"), "{few}");
    assert!(!few.contains(ADMIN) && !few.contains("create-account"), "{few}");
    let info = list.replace("disco#items", "disco#info");
    let answer = say(&bob, &info).await;
    assert!(answer.contains("category='automation' type='command-list'"), "{answer}");
    let one = info.replace(&format!("node='{NS}'"), "node='urn:xmpp:invite#invite'");
    let answer = say(&bob, &one).await;
    assert!(answer.contains("type='command-node'") && answer.contains("jabber:x:data"), "{answer}");
    let hidden = info.replace(&format!("node='{NS}'"), &format!("node='{ADMIN}#add-user'"));
    assert!(say(&bob, &hidden).await.contains("<item-not-found"));
    let server = info.replace(&format!(" node='{NS}'"), "");
    assert!(say(&bob, &server).await.contains(&format!("<feature var='{NS}'/>")));
}

/// XEP-0050 sections 3 and 4.4.
#[tokio::test]
async fn a_session_goes_on_goes_back_and_ends() {
    let world = world();
    let ana = world.bind("ana@d/a");
    let node = format!("{ADMIN}#delete-user");
    let form = say(&ana, &command(&node, "action='execute'", "")).await;
    assert!(form.contains("<actions execute='complete'><complete/></actions>"), "{form}");
    let id = attribute(&form, "sessionid");
    let with = |attributes: &str| format!("sessionid='{id}' {attributes}");
    for (attributes, inside, condition) in [
        ("action='odd'", "", "<malformed-action"),
        ("action='prev'", "", "<bad-action"),
        ("action='next'", "", "<bad-action"),
        ("", "", "<bad-payload"),
        ("", "<x xmlns='jabber:x:data' type='submit'/>", "<bad-payload"),
    ] {
        let answer = say(&ana, &command(&node, &with(attributes), inside)).await;
        let refused = answer.contains("<bad-request") && answer.contains(condition);
        assert!(refused && answer.contains("<error type='modify'>"), "{attributes} {answer}");
    }
    let other = command(&format!("{ADMIN}#add-user"), &with(""), "");
    assert!(say(&ana, &other).await.contains("<bad-sessionid"));
    let answer = say(&ana, &command(&node, &with("action='cancel'"), "")).await;
    assert!(answer.contains("status='canceled'"), "{answer}");
    let again = say(&ana, &command(&node, &with("action='cancel'"), "")).await;
    assert!(again.contains("<not-allowed") && again.contains("<session-expired"), "{again}");
    let unknown = say(&ana, &command(&node, "sessionid='x'", "")).await;
    assert!(unknown.contains("<bad-sessionid"), "{unknown}");
    let nothing = say(&ana, &command("odd", "action='execute'", "")).await;
    assert!(nothing.contains("<item-not-found"), "{nothing}");
}

#[tokio::test]
async fn a_session_that_waits_too_long_is_over_and_others_cannot_use_it() {
    let store = store();
    let desk = Arc::new(MemoryDesk::default());
    let directory = Arc::new(MemoryDirectory::new(store.clone(), desk.clone()));
    let ports = Ports { directory, ..ports(&store) };
    let admins = vec![jid("ana@d"), jid("bob@d")];
    let config = Config { domains: vec!["d".into()], admins, ..Config::default() };
    let world = World { store, server: Server::new(config, ports) };
    let (ana, bob) = (world.bind("ana@d/a"), world.bind("bob@d/b"));
    let node = format!("{ADMIN}#announce");
    let form = say(&ana, &command(&node, "action='execute'", "")).await;
    let next = command(
        &node,
        &format!("sessionid='{}'", attribute(&form, "sessionid")),
        &filled(&[("announcement", "x")]),
    );
    assert!(say(&bob, &next).await.contains("<bad-sessionid"));
    desk.pass(std::time::Duration::from_secs(11 * 60));
    assert!(say(&ana, &next).await.contains("<session-expired"));
}

#[tokio::test]
async fn of_many_sessions_the_oldest_make_room() {
    let world = world();
    let ana = world.bind("ana@d/a");
    let node = format!("{ADMIN}#delete-user");
    let first = say(&ana, &command(&node, "action='execute'", "")).await;
    for _ in 0..10 {
        say(&ana, &command(&node, "action='execute'", "")).await;
    }
    let id = attribute(&first, "sessionid");
    let answer = say(&ana, &command(&node, &format!("sessionid='{id}'"), "")).await;
    assert!(answer.contains("<session-expired"), "{answer}");
}

#[tokio::test]
async fn only_administrators_administer() {
    let world = world();
    let bob = world.bind("bob@d/b");
    let answer = say(&bob, &command(&format!("{ADMIN}#add-user"), "action='execute'", "")).await;
    assert!(answer.contains("<forbidden"), "{answer}");
}

/// XEP-0133 sections 4.1, 4.2 and 4.7.
#[tokio::test]
async fn accounts_are_made_given_a_password_and_removed() {
    let world = world();
    let ana = world.bind("ana@d/a");
    let eve =
        |again| [("accountjid", "eve@d"), ("password", "long enough"), ("password-verify", again)];
    assert!(run(&ana, "add-user", &eve("other")).await.contains("<bad-payload"));
    assert!(run(&ana, "add-user", &eve("long enough")).await.contains("status='completed'"));
    assert!(world.store.accounts().contains(&jid("eve@d")));
    assert!(run(&ana, "add-user", &eve("long enough")).await.contains("<conflict"));
    let elsewhere = [("accountjid", "eve@e"), ("password", "long enough")];
    assert!(run(&ana, "add-user", &elsewhere).await.contains("<bad-payload"));
    let short = [("accountjid", "eve@d"), ("password", "short")];
    assert!(run(&ana, "change-user-password", &short).await.contains("<bad-payload"));
    let good = [("accountjid", "eve@d"), ("password", "another one")];
    assert!(run(&ana, "change-user-password", &good).await.contains("status='completed'"));
    let nobody = [("accountjid", "nobody@d"), ("password", "another one")];
    assert!(run(&ana, "change-user-password", &nobody).await.contains("<item-not-found"));
    let eve = world.online("eve@d/e").await;
    assert!(run(&ana, "delete-user", &[("accountjids", "eve@d")]).await.contains("'completed'"));
    assert_eq!(eve.outbox.ended(), Some("not-authorized"));
    assert!(!world.store.accounts().contains(&jid("eve@d")));
    assert!(
        run(&ana, "delete-user", &[("accountjids", "eve@d")]).await.contains("<item-not-found")
    );
    assert!(run(&ana, "delete-user", &[("accountjids", "ana@d")]).await.contains("<bad-payload"));
}

/// XEP-0133 sections 4.3, 4.4, 4.5, 4.13 to 4.15, 4.18 to 4.20.
#[tokio::test]
async fn accounts_are_disabled_counted_and_listed() {
    let world = world();
    let ana = world.online("ana@d/a").await;
    let bob = world.online("bob@d/b").await;
    let carl = world.online("carl@d/c").await;
    let count = async |name: &str| {
        let node = format!("{ADMIN}#get-{name}-users-num");
        let answer = say(&ana, &command(&node, "action='execute'", "")).await;
        answer.split("<value>").last().unwrap().split('<').next().unwrap().to_owned()
    };
    assert_eq!(count("registered").await, "3");
    assert_eq!(count("online").await, "3");
    assert_eq!(count("disabled").await, "0");
    assert!(run(&ana, "disable-user", &[("accountjids", "bob@d")]).await.contains("'completed'"));
    assert_eq!(bob.outbox.ended(), Some("not-authorized"));
    bob.lose().await;
    assert_eq!(count("disabled").await, "1");
    assert_eq!(count("online").await, "2");
    let disabled = run(&ana, "get-disabled-users-list", &[("max_items", "25")]).await;
    assert!(disabled.contains("<value>bob@d</value>") && !disabled.contains("carl"), "{disabled}");
    let listed = run(&ana, "get-registered-users-list", &[("max_items", "none")]).await;
    assert!(listed.contains("<value>ana@d</value><value>bob@d</value><value>carl@d</value>"));
    let online = run(&ana, "get-online-users-list", &[("max_items", "25")]).await;
    assert!(online.contains("<value>ana@d</value><value>carl@d</value>"), "{online}");
    assert!(run(&ana, "reenable-user", &[("accountjids", "bob@d")]).await.contains("'completed'"));
    assert_eq!(count("disabled").await, "0");
    let ended = run(&ana, "end-user-session", &[("accountjids", "carl@d/other")]).await;
    assert!(ended.contains("0 sessions"), "{ended}");
    let ended = run(&ana, "end-user-session", &[("accountjids", "carl@d/c")]).await;
    assert!(ended.contains("1 sessions"), "{ended}");
    assert_eq!(carl.outbox.ended(), Some("not-authorized"));
}

/// XEP-0133 section 4.23.
#[tokio::test]
async fn an_announcement_reaches_who_is_online() {
    let world = world();
    let ana = world.bind("ana@d/a");
    let bob = world.online("bob@d/b").await;
    let answer =
        run(&ana, "announce", &[("subject", "Soon"), ("announcement", "We go down")]).await;
    assert!(answer.contains("1 sessions are told"), "{answer}");
    let read = bob.read().await.join("");
    assert!(read.contains("from='d'") && read.contains("to='bob@d/b'"), "{read}");
    assert!(read.contains("type='headline'") && read.contains("<body>We go down</body>"), "{read}");
}

/// XEP-0133 section 4.11.
#[tokio::test]
async fn who_is_on_the_blacklist_reaches_nobody_but_administrators_stay() {
    let world = world();
    let ana = world.online("ana@d/a").await;
    let (bob, carl) = (world.online("bob@d/b").await, world.online("carl@d/c").await);
    let listed = run(&ana, "edit-blacklist", &[("blacklistjids", "bob@d")]).await;
    assert!(listed.contains("status='completed'"), "{listed}");
    assert!(say(&bob, &chat("carl@d", "hello")).await.contains("<service-unavailable"));
    assert!(carl.read().await.is_empty());
    let node = format!("{ADMIN}#edit-blacklist");
    let form = say(&ana, &command(&node, "action='execute'", "")).await;
    assert!(form.contains("<value>bob@d</value>"), "{form}");
    assert!(run(&ana, "edit-blacklist", &[("blacklistjids", "d")]).await.contains("<bad-payload"));
    run(&ana, "edit-blacklist", &[("blacklistjids", "ana@d")]).await;
    say(&ana, &chat("carl@d", "from ana")).await;
    say(&bob, &chat("carl@d", "from bob")).await;
    assert_eq!(carl.bodies().await, ["from ana", "from bob"]);
}

/// XEP-0050 section 3.4: a command of several steps goes on and back.
#[tokio::test]
async fn a_long_list_comes_in_pages_forwards_and_back() {
    let names: Vec<Jid> = (0..60).map(|n| jid(&format!("p{n:02}@d"))).collect();
    let store = Arc::new(MemoryStore::with_accounts(&names.iter().collect::<Vec<_>>()));
    let config =
        Config { domains: vec!["d".into()], admins: vec![jid("p00@d")], ..Config::default() };
    let world = World { store: store.clone(), server: Server::new(config, ports(&store)) };
    let mut sessions = Vec::new();
    for name in &names {
        sessions.push(world.online(&format!("{name}/x")).await);
    }
    let ana = &sessions[0];
    for list in ["registered", "online"] {
        let node = format!("{ADMIN}#get-{list}-users-list");
        let first = say(ana, &command(&node, "action='execute'", "")).await;
        let id = attribute(&first, "sessionid");
        let step = |action: &str, inside: &str| {
            command(&node, &format!("sessionid='{id}' action='{action}'"), inside)
        };
        let mut page = say(ana, &step("execute", &filled(&[("max_items", "25")]))).await;
        let go = [("next", 25, 49), ("prev", 0, 24), ("next", 25, 49), ("next", 50, 59)];
        assert!(page.contains("<actions execute='next'><prev/><next/></actions>"), "{page}");
        assert!(page.contains("p24@d") && !page.contains("p25@d"), "{page}");
        for (action, from, to) in go {
            let after = page.split_once("var='tandem#after'").unwrap().1;
            let after = after.split_once("<value>").unwrap().1.split_once('<').unwrap().0;
            let inside =
                if action == "next" { filled(&[("tandem#after", after)]) } else { String::new() };
            page = say(ana, &step(action, &inside)).await;
            for n in 0..60 {
                let is_there = page.contains(&format!("<value>p{n:02}@d</value>"));
                assert_eq!(is_there, (from..=to).contains(&n), "{action} {n} {page}");
            }
        }
        assert!(page.contains("status='completed'"), "{page}");
    }
}

/// The other side, which handles the calls of all accounts.
#[derive(Default)]
struct Exchange {
    wishes: std::sync::Mutex<crate::ports::CallWishes>,
    taken: std::sync::Mutex<Vec<(String, bool)>>,
}

impl crate::ports::Foreign for Exchange {
    fn deliver(&self, _: &Jid, _: &[String], _: &Stanza) -> bool {
        true
    }

    fn call_wishes(&self, _: &Jid) -> Option<crate::ports::CallWishes> {
        Some(self.wishes.lock().unwrap().clone())
    }

    fn set_call_wishes<'a>(
        &'a self,
        _: &'a Jid,
        wishes: &'a crate::ports::CallWishes,
    ) -> crate::ports::BoxFuture<'a, Result<Result<(), String>, StoreError>> {
        let is_taken = wishes.always != "nobody";
        if is_taken {
            *self.wishes.lock().unwrap() = wishes.clone();
        }
        let taken = is_taken.then_some(()).ok_or_else(|| "nobody is no account".to_owned());
        Box::pin(std::future::ready(Ok(taken)))
    }

    fn takes_call(&self, stanza: &Stanza, is_attached: bool) -> crate::ports::CallTaken {
        let is_taken = stanza.has("propose", "urn:xmpp:jingle-message:0")
            || stanza.has("jingle", "urn:xmpp:jingle:1");
        if is_taken {
            self.taken.lock().unwrap().push((stanza.from().unwrap().to_string(), is_attached));
            crate::ports::CallTaken::Handled
        } else {
            crate::ports::CallTaken::No
        }
    }

    fn observed(&self, _: &Stanza) {}
}

fn with_exchange() -> (World, std::sync::Arc<Exchange>) {
    let store = store();
    let exchange = std::sync::Arc::new(Exchange::default());
    let ports = Ports { foreign: exchange.clone(), ..ports(&store) };
    let config = Config { domains: vec!["d".into()], ..Config::default() };
    (World { store, server: Server::new(config, ports) }, exchange)
}

#[tokio::test]
async fn an_account_says_what_is_done_with_calls_to_it() {
    let (world, exchange) = with_exchange();
    let bob = world.bind("bob@d/b");
    let node = "urn:tandem:calls";
    for (always, expected) in [("nobody", "no account"), ("ana@d", "status='completed'")] {
        let form = say(&bob, &command(node, "action='execute'", "")).await;
        assert!(form.contains("var='second-calls'") && form.contains("<value>1</value>"), "{form}");
        let id = attribute(&form, "sessionid");
        let fields = [("dnd", "1"), ("always", always), ("second-calls", "0")];
        let said = say(&bob, &command(node, &format!("sessionid='{id}'"), &filled(&fields))).await;
        assert!(said.contains(expected), "{said}");
    }
    let wishes = exchange.wishes.lock().unwrap().clone();
    assert!(wishes.undisturbed && wishes.one_call && wishes.always == "ana@d", "{wishes:?}");
}

#[tokio::test]
async fn a_proposal_that_is_kept_from_an_account_reaches_no_device_of_it() {
    let (world, exchange) = with_exchange();
    let (ana, bob) = (world.bind("ana@d/a"), world.bind("bob@d/b"));
    ana.say("<presence/>").await;
    bob.say("<presence/>").await;
    ana.read().await;
    let message = |inside: &str| {
        format!(
            "<message to='ana@d' type='chat'><{inside} xmlns='urn:xmpp:jingle-message:0' id='1'/></message>"
        )
    };
    bob.say(&message("propose")).await;
    assert!(ana.read().await.is_empty());
    assert_eq!(*exchange.taken.lock().unwrap(), [("bob@d/b".to_owned(), false)]);
    // Others of the kind still do.
    bob.say(&message("retract")).await;
    assert!(ana.read().await.join("").contains("retract"));
}
