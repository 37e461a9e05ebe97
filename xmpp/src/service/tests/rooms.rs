//! XEP-0045 as those inside, and those who are not, see it: each stanza in short words.

mod archive;
mod asking;
mod blocking;
mod entering;
mod leaving;
mod moderating;
mod owning;
mod talking;

use super::*;
use crate::ports::memory_rooms::MemoryRooms;
use crate::xml::{Element, ns};

const USER: &str = "http://jabber.org/protocol/muc#user";
const DELAY: &str = "urn:xmpp:delay";

/// A server with rooms, and what is kept of them.
pub(super) struct House {
    world: World,
    rooms: Arc<MemoryRooms>,
    remote: Arc<MemoryRemote>,
}

impl House {
    fn new() -> Self {
        Self::with(|_| {})
    }

    /// With other settings.
    fn with(change: impl FnOnce(&mut Config)) -> Self {
        let names: Vec<Jid> = (0..30)
            .map(|n| jid(&format!("p{n}@d")))
            .chain(["ana", "bob", "carl"].map(at))
            .collect();
        let store = Arc::new(MemoryStore::with_accounts(&names.iter().collect::<Vec<_>>()));
        let rooms = Arc::new(MemoryRooms::default());
        let remote = Arc::new(MemoryRemote::reachable());
        let ports = Ports { rooms: rooms.clone(), remote: remote.clone(), ..ports(&store) };
        let mut config = Config { domains: vec!["d".into()], ..Config::default() };
        change(&mut config);
        let server = Server::new(config, ports);
        Self { world: World { store, server }, rooms, remote }
    }

    /// The same store under a server that has just started.
    fn restarted(&self) -> Self {
        let store = self.world.store.clone();
        let (rooms, remote) = (self.rooms.clone(), self.remote.clone());
        let ports = Ports { rooms: rooms.clone(), remote: remote.clone(), ..ports(&store) };
        let config = Config { domains: vec!["d".into()], ..Config::default() };
        Self { world: World { store, server: Server::new(config, ports) }, rooms, remote }
    }

    async fn online(&self, full: &str) -> Guest {
        Guest(self.world.online(full).await)
    }

    /// Ana, inside a room that she has made and configured so, having read everything.
    async fn tea(&self, fields: &[(&str, &str)]) -> Guest {
        let ana = self.online("ana@d/a").await;
        ana.enter("Ana").await;
        let done = ana.configure(fields).await;
        assert_eq!(done, ["iq result"]);
        ana
    }

    /// What another server was sent since the last call.
    fn remote(&self) -> Vec<String> {
        self.remote.take_sent().iter().map(|(_, _, s)| brief(&String::from_utf8_lossy(s))).collect()
    }

    /// Somebody of another server says something.
    async fn afar(&self, text: &str) -> Outcome {
        self.world.server.handle(Stanza::parse(text.to_owned().into()).unwrap()).await
    }
}

fn at(name: &str) -> Jid {
    jid(&format!("{name}@d"))
}

/// Fields of a configuration form with their values.
type Fields<'a> = &'a [(&'a str, &'a str)];

/// An open room, in which the rest is as usual.
const OPEN: (&str, &str) = ("muc#roomconfig_membersonly", "0");
const MODERATED: (&str, &str) = ("muc#roomconfig_moderatedroom", "1");
const SEMI: (&str, &str) = ("muc#roomconfig_whois", "moderators");

/// A session that visits rooms.
pub(super) struct Guest(Session);

impl Guest {
    async fn say(&self, text: &str) -> Outcome {
        self.0.say(text).await
    }

    async fn read(&self) -> Vec<String> {
        self.0.read().await.iter().map(|s| brief(s)).collect()
    }

    /// Enters the room `tea` and reads what it is told.
    async fn enter(&self, nick: &str) -> Vec<String> {
        self.enter_with(nick, "").await
    }

    async fn enter_with(&self, nick: &str, x: &str) -> Vec<String> {
        let muc = "http://jabber.org/protocol/muc";
        self.say(&format!(
            "<presence to='tea@rooms.d/{nick}' id='j'><x xmlns='{muc}'>{x}</x></presence>"
        ))
        .await;
        self.read().await
    }

    async fn leave(&self, nick: &str) {
        self.say(&format!("<presence to='tea@rooms.d/{nick}' type='unavailable'/>")).await;
    }

    async fn talk(&self, body: &str) -> Outcome {
        self.say(&format!(
            "<message to='tea@rooms.d' type='groupchat' id='m'><body>{body}</body></message>"
        ))
        .await
    }

    /// Sends a request and reads on.
    async fn ask(&self, to: &str, kind: &str, payload: &str) -> Vec<String> {
        self.say(&format!("<iq to='{to}' type='{kind}' id='q'>{payload}</iq>")).await;
        self.read().await
    }

    /// The payload of an answer.
    async fn answer(&self, to: &str, kind: &str, payload: &str) -> Element {
        self.say(&format!("<iq to='{to}' type='{kind}' id='q'>{payload}</iq>")).await;
        let read = self.0.read().await;
        let answer = read.iter().find(|s| s.starts_with("<iq")).expect("an answer");
        Element::parse(answer.as_bytes()).unwrap()
    }

    async fn admin(&self, items: &str) -> Vec<String> {
        let query = format!("<query xmlns='http://jabber.org/protocol/muc#admin'>{items}</query>");
        self.ask("tea@rooms.d", "set", &query).await
    }

    async fn configure(&self, fields: &[(&str, &str)]) -> Vec<String> {
        let fields: String = fields
            .iter()
            .map(|(var, value)| format!("<field var='{var}'><value>{value}</value></field>"))
            .collect();
        let form = format!("<x xmlns='jabber:x:data' type='submit'>{fields}</x>");
        let owner = "http://jabber.org/protocol/muc#owner";
        self.ask("tea@rooms.d", "set", &format!("<query xmlns='{owner}'>{form}</query>")).await
    }
}

/// A stanza in short words: `+Ana owner/moderator a@d/x 110`, `-Bob none/none 307 by Ana`, `Ana: hello`.
pub(super) fn brief(stanza: &str) -> String {
    let stanza = Element::parse(stanza.as_bytes()).unwrap();
    let from = stanza.attr("from").unwrap_or_default();
    let nick = from.split_once('/').map_or(from, |(_, nick)| nick).to_owned();
    let error = stanza.child("error", ns::CLIENT);
    let condition = error.and_then(|e| e.elements().next()).map(|c| c.name().to_owned());
    let x = stanza.child("x", USER);
    let mut out = match (stanza.name(), stanza.attr("type")) {
        (name, Some("error")) => return format!("{name} {}", condition.unwrap()),
        ("iq", kind) => return format!("iq {}", kind.unwrap_or_default()),
        ("presence", None) => format!("+{nick}"),
        ("presence", Some("unavailable")) => format!("-{nick}"),
        ("message", _) => message(&stanza, &nick),
        (name, kind) => format!("{name} {kind:?}"),
    };
    let Some(x) = x else { return out };
    if let Some(item) = x.child("item", USER) {
        let said = |name| item.attr(name).unwrap_or_default();
        out.push_str(&format!(" {}/{}", said("affiliation"), said("role")));
        for name in ["jid", "nick"] {
            out.push_str(&item.attr(name).map_or(String::new(), |value| format!(" {value}")));
        }
        let actor = item.child("actor", USER).and_then(|a| a.attr("nick"));
        out.push_str(&actor.map_or(String::new(), |actor| format!(" by {actor}")));
        let reason = item.child("reason", USER).map(Element::text);
        out.push_str(&reason.map_or(String::new(), |reason| format!(" ({reason})")));
    }
    for child in x.elements() {
        match child.name() {
            "status" => out.push_str(&format!(" {}", child.attr("code").unwrap())),
            "invite" | "decline" => {
                out.push_str(&format!(" {} {}", child.name(), child.attr("from").unwrap()));
            }
            "destroy" => {
                out.push_str(&format!(" destroyed {}", child.attr("jid").unwrap_or_default()));
                out.push_str(&child.child("reason", USER).map(Element::text).unwrap_or_default());
            }
            "password" => out.push_str(&format!(" password {}", child.text())),
            _ => {}
        }
    }
    out
}

fn message(stanza: &Element, nick: &str) -> String {
    let late = if stanza.child("delay", DELAY).is_some() { "late " } else { "" };
    if let Some(body) = stanza.child("body", ns::CLIENT) {
        let private = if stanza.attr("type") == Some("chat") { "whispers" } else { "" };
        return format!("{late}{nick}{private}: {}", body.text());
    }
    if let Some(subject) = stanza.child("subject", ns::CLIENT) {
        return format!("{late}{nick} subject: {}", subject.text()).trim_end().to_owned();
    }
    format!("{late}{nick} message")
}
