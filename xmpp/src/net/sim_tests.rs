//! A conversation whose connection is cut at every byte of it, in virtual time: nothing that was acknowledged is lost,
//! and nothing comes twice to a client that knows what it has (XEP-0198, XEP-0359).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::tests::{Client, World};
use crate::xml::frame::{Frame, Framer};

const SM: &str = "urn:xmpp:sm:3";
/// Messages of the conversation.
const MESSAGES: usize = 4;
/// More bytes than any conversation here has.
const NO_CUT: usize = 1_000_000;

/// A client that manages its stream as the specification says, and whose connection breaks after so many bytes, read or
/// written.
struct Managed {
    name: &'static str,
    client: Option<Client>,
    framer: Framer,
    id: String,
    /// Bytes until the cut.
    budget: usize,
    handled: u32,
    acked: u32,
    unacked: VecDeque<String>,
    /// Messages that came, by their ids, with the ids the archive gave them.
    got: BTreeMap<String, BTreeSet<String>>,
    /// How often each came.
    times: BTreeMap<String, usize>,
    resumed: bool,
}

impl Managed {
    async fn login(world: &World, name: &'static str, budget: usize) -> Self {
        let client = world.login(name, "r").await;
        let mut managed = Self {
            name,
            client: Some(client),
            framer: Framer::without_header(1_000_000),
            id: String::new(),
            budget: NO_CUT,
            handled: 0,
            acked: 0,
            unacked: VecDeque::new(),
            got: BTreeMap::new(),
            times: BTreeMap::new(),
            resumed: true,
        };
        managed.enable().await;
        managed.budget = budget;
        managed
    }

    /// Begins to manage a stream; what came before is over.
    async fn enable(&mut self) {
        self.pump().await;
        let client = self.client.as_mut().unwrap();
        client.write(&format!("<enable xmlns='{SM}' resume='true'/>")).await;
        (self.handled, self.acked) = (0, 0);
        self.pump().await;
        assert!(!self.id.is_empty());
    }

    async fn write(&mut self, text: &str) {
        let Some(client) = &mut self.client else { return };
        let count = text.len().min(self.budget);
        client.pipe.write_all(&text.as_bytes()[..count]).await.unwrap();
        self.spend(count);
    }

    fn spend(&mut self, count: usize) {
        self.budget -= count;
        if self.budget == 0 {
            self.client = None;
        }
    }

    async fn send(&mut self, stanza: String) {
        self.write(&stanza).await;
        self.unacked.push_back(stanza);
        self.write(&format!("<r xmlns='{SM}'/>")).await;
    }

    /// Takes what comes until nothing more does.
    async fn pump(&mut self) {
        while let Some(client) = &mut self.client {
            let mut space = vec![0; self.budget.min(1024)];
            let read = client.pipe.read(&mut space);
            let Ok(Ok(count)) = tokio::time::timeout(Duration::from_millis(50), read).await else {
                return;
            };
            if count == 0 {
                self.client = None;
                return;
            }
            self.spend(count);
            self.framer.push(&space[..count]);
            self.take_frames().await;
        }
    }

    async fn take_frames(&mut self) {
        while let Ok(Some(frame)) = self.framer.poll() {
            let Frame::Stanza(raw) = frame else { continue };
            let text = String::from_utf8(raw.to_vec()).unwrap();
            if text.starts_with("<r ") {
                let answer = format!("<a xmlns='{SM}' h='{}'/>", self.handled);
                self.write(&answer).await;
            } else if text.starts_with("<a ") {
                self.acknowledged(&text);
            } else if text.starts_with("<enabled") {
                self.id = attr(&text, "id").unwrap();
            } else {
                self.handled += 1;
                self.note(&text);
            }
        }
    }

    fn acknowledged(&mut self, text: &str) {
        let h: u32 = attr(text, "h").unwrap().parse().unwrap();
        for _ in self.acked..h {
            self.unacked.pop_front().expect("more is acknowledged than was sent");
        }
        self.acked = h;
    }

    fn note(&mut self, text: &str) {
        if !text.contains("<body>") {
            return;
        }
        let id = attr(text, "id").unwrap();
        let archived = text.split("<stanza-id ").nth(1).and_then(|rest| attr(rest, "id"));
        self.got.entry(id.clone()).or_default().extend(archived);
        *self.times.entry(id).or_default() += 1;
    }

    /// Connects again and goes on as XEP-0198 section 5 says: resumes, or logs in and sends again what was never
    /// acknowledged.
    async fn come_back(&mut self, world: &World) {
        self.budget = NO_CUT;
        self.client = None;
        self.framer = Framer::without_header(1_000_000);
        let mut client = world.connect();
        client.log_in(self.name).await;
        client
            .write(&format!("<resume xmlns='{SM}' previd='{}' h='{}'/>", self.id, self.handled))
            .await;
        let mut said = String::new();
        let is_over = |said: &str| {
            said.contains("</failed>") || (said.contains("<resumed") && said.contains("/>"))
        };
        while !is_over(&said) {
            said.push_str(&client.hear(">").await);
        }
        let end = if said.contains("<resumed") { "/>" } else { "</failed>" };
        let (answer, rest) = said.split_at(said.find(end).unwrap() + end.len());
        if attr(answer, "h").is_some() {
            self.acknowledged(answer);
        }
        self.resumed = answer.contains("<resumed");
        if !self.resumed {
            client.bind("r").await;
            client.write("<presence/>").await;
        }
        self.client = Some(client);
        self.framer.push(rest.as_bytes());
        self.take_frames().await;
        if !self.resumed {
            self.enable().await;
        }
        for stanza in std::mem::take(&mut self.unacked) {
            self.send(stanza).await;
        }
        self.pump().await;
    }
}

fn attr(text: &str, name: &str) -> Option<String> {
    let value = text.split(&format!(" {name}='")).nth(1)?;
    Some(value.split('\'').next()?.to_owned())
}

fn message(n: usize) -> String {
    format!(
        "<message to='bob@d' type='chat' id='m{n}'><body>text {n}</body>\
         <origin-id xmlns='urn:xmpp:sid:0' id='m{n}'/></message>"
    )
}

/// Who is cut, and how long it stays away.
#[derive(Clone, Copy)]
struct Cut {
    sender: usize,
    receiver: usize,
    away: Duration,
}

/// Runs the conversation and proves it; false when the cut came after its end.
async fn converse(cut: Cut) -> bool {
    let world = World::new();
    let mut bob = Managed::login(&world, "bob", cut.receiver).await;
    let mut ana = Managed::login(&world, "ana", cut.sender).await;
    for n in 0..MESSAGES {
        ana.send(message(n)).await;
        ana.pump().await;
        bob.pump().await;
    }
    let acknowledged = MESSAGES - ana.unacked.len();
    let was_cut = ana.client.is_none() || bob.client.is_none();
    // Who is still there answers meanwhile, or it would be lost too.
    let until = tokio::time::Instant::now() + cut.away;
    while tokio::time::Instant::now() < until {
        tokio::time::sleep(cut.away.min(Duration::from_secs(20))).await;
        ana.pump().await;
        bob.pump().await;
    }
    for client in [&mut ana, &mut bob] {
        if client.client.is_none() {
            client.come_back(&world).await;
        }
    }
    // Twice, since what one sends makes the other answer.
    for _ in 0..2 {
        ana.pump().await;
        bob.pump().await;
    }
    assert!(ana.unacked.is_empty(), "{:?} are not acknowledged", ana.unacked);
    let missing: Vec<_> =
        (0..MESSAGES).filter(|n| !bob.got.contains_key(&format!("m{n}"))).collect();
    assert!(missing.is_empty(), "of {acknowledged} acknowledged, {missing:?} are lost");
    for (id, archived) in &bob.got {
        assert_eq!(archived.len(), 1, "{id} is several messages: {archived:?}");
    }
    if ana.resumed && bob.resumed {
        assert!(bob.times.values().all(|times| *times == 1), "twice: {:?}", bob.times);
    }
    was_cut
}

async fn cut_everywhere(cut: impl Fn(usize) -> Cut) {
    let mut bytes = 1;
    while converse(cut(bytes)).await {
        bytes += 1;
    }
    assert!(bytes > 500, "a conversation of {bytes} bytes");
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_is_cut_at_any_byte_and_resumes_loses_and_doubles_nothing() {
    let away = Duration::from_secs(1);
    cut_everywhere(|sender| Cut { sender, receiver: NO_CUT, away }).await;
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_cut_at_any_byte_and_resumes_gets_all_once() {
    let away = Duration::from_secs(1);
    cut_everywhere(|receiver| Cut { sender: NO_CUT, receiver, away }).await;
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_is_cut_at_any_byte_and_comes_back_too_late_loses_and_doubles_nothing() {
    let away = Duration::from_secs(400);
    cut_everywhere(|sender| Cut { sender, receiver: NO_CUT, away }).await;
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_cut_at_any_byte_and_comes_back_too_late_gets_all() {
    let away = Duration::from_secs(400);
    cut_everywhere(|receiver| Cut { sender: NO_CUT, receiver, away }).await;
}
