//! XMPP figures: chat, rooms, logins, memory of idle sessions, and how long a message is on its way at half load.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::client::{Client, Load};
use crate::servers::{DOMAIN, Running, Start, cpu_seconds, resident_kib, tandem_with_history};

/// Chatting pairs, and messages that one sender may have on their way.
const PAIRS: usize = 50;
const WINDOW: usize = 10;
const TIME: Duration = Duration::from_secs(8);
const IDLE_SESSIONS: usize = 500;
/// Rooms, their occupants, and messages that the one who speaks may have on their way.
const ROOMS: usize = 10;
const OCCUPANTS: usize = 10;
const ROOM_WINDOW: usize = 5;
/// Who log in at once.
const LOGINS: usize = 8;
/// Sessions that are held at once, and how many of them an account has.
const MANY: usize = 10_000;
const DEVICES: usize = 40;
/// Pages that are read of each kind.
const PAGES: usize = 11;
/// Time for a server to settle before its memory is read.
const SETTLE: Duration = Duration::from_secs(3);

type Values = Vec<(&'static str, f64)>;

/// What was measured of each server, ours first.
#[derive(Default)]
pub(crate) struct Measured {
    pub(crate) chat: Values,
    pub(crate) room: Values,
    pub(crate) login: Values,
    pub(crate) idle: Values,
    /// Of ours: median and 99th percentile of a message's way at half load, milliseconds.
    pub(crate) way_p50: Values,
    pub(crate) way_p99: Values,
}

/// Measures those of the figures that are wanted at all of these servers, each figure on a fresh one.
pub(crate) async fn measure(servers: &[Start], wants: &dyn Fn(&str) -> bool) -> Result<Measured> {
    let mut measured = Measured::default();
    for start in servers {
        let mut per_second = 0.0;
        if wants("xmpp.chat") || wants("xmpp.way") {
            let server = start(2 * PAIRS).await?;
            let (per_cpu, rate) = chat(&server).await?;
            measured.chat.push((server.name, per_cpu));
            per_second = rate;
        }
        if wants("xmpp.way") {
            let server = start(2 * PAIRS).await?;
            let (p50, p99) = way(&server, per_second / 2.0).await?;
            measured.way_p50.push((server.name, p50));
            measured.way_p99.push((server.name, p99));
        }
        if wants("xmpp.room") {
            let server = start(ROOMS * OCCUPANTS).await?;
            measured.room.push((server.name, rooms(&server).await?));
        }
        if wants("xmpp.login") {
            let server = start(LOGINS).await?;
            measured.login.push((server.name, logins(&server).await?));
        }
        if wants("xmpp.idle_session") {
            let server = start(IDLE_SESSIONS).await?;
            measured.idle.push((server.name, idle(&server).await?));
        }
    }
    Ok(measured)
}

/// KiB per session while ten thousand are held, each of which still answers after that.
pub(crate) async fn many() -> Result<f64> {
    let server = crate::servers::tandem(MANY / DEVICES).await?;
    let mut sessions = vec![Client::login(&server, 0).await?];
    tokio::time::sleep(SETTLE).await;
    let before = resident_kib(server.pid)?;
    for n in 1..MANY {
        let resource = format!("r{}", n % DEVICES);
        sessions.push(Client::login_as(&server, n / DEVICES, &resource).await?);
    }
    tokio::time::sleep(SETTLE).await;
    let after = resident_kib(server.pid)?;
    for session in &mut sessions {
        session.ping().await?;
    }
    Ok((after - before) / (MANY - 1) as f64)
}

/// The first page of 50 of an archive of a million messages, milliseconds until its `<fin/>` is read: the worst of the
/// medians of each window, way and filter.
pub(crate) async fn first_page() -> Result<f64> {
    let server = tandem_with_history(1_000_000).await?;
    let mut client = Client::login(&server, 0).await?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    let field =
        |name: &str, value: &str| format!("<field var='{name}'><value>{value}</value></field>");
    let mut worst: f64 = 0.0;
    for days in [30, 91, 182, 364] {
        let start = chrono::DateTime::from_timestamp((now - days * 86_400) as i64, 0);
        let start =
            start.context("no such time")?.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        for (before, with) in [("", ""), ("<before/>", ""), ("", "p3"), ("<before/>", "p3")] {
            let mut form = field("FORM_TYPE", "urn:xmpp:mam:2") + &field("start", &start);
            if !with.is_empty() {
                form += &field("with", &format!("{with}@{DOMAIN}"));
            }
            let mut times = Vec::new();
            for n in 0..PAGES {
                let begun = Instant::now();
                client
                    .send(&format!(
                        "<iq type='set' id='page{n}'><query xmlns='urn:xmpp:mam:2' queryid='q'>\
                         <x xmlns='jabber:x:data' type='submit'>{form}</x>\
                         <set xmlns='http://jabber.org/protocol/rsm'><max>50</max>{before}</set></query></iq>"
                    ))
                    .await?;
                client.expect("</fin>").await?;
                times.push(begun.elapsed().as_secs_f64() * 1_000.0);
            }
            times.sort_by(f64::total_cmp);
            worst = worst.max(times.get(PAGES / 2).copied().context("no pages")?);
        }
    }
    Ok(worst)
}

async fn pairs(server: &Running) -> Result<Vec<(Client, Client)>> {
    let mut pairs = Vec::new();
    for n in 0..PAIRS {
        let from = Client::login(server, 2 * n).await?;
        let to = Client::login(server, 2 * n + 1).await?;
        pairs.push((from, to));
    }
    Ok(pairs)
}

/// Messages per CPU-second, and per second.
async fn chat(server: &Running) -> Result<(f64, f64)> {
    let pairs = pairs(server).await?;
    let before = cpu_seconds(server.pid)?;
    let delivered = Load { window: WINDOW, time: TIME }.run(pairs).await? as f64;
    let used = cpu_seconds(server.pid)? - before;
    Ok((delivered / used, delivered / TIME.as_secs_f64()))
}

/// Median and 99th percentile, in milliseconds, from before a message is sent until after it was received, when so many
/// are sent in a second by all pairs together.
async fn way(server: &Running, per_second: f64) -> Result<(f64, f64)> {
    let pause = Duration::from_secs_f64(PAIRS as f64 / per_second.max(1.0));
    let pairs = pairs(server).await?;
    let begun = Instant::now();
    let end = begun + TIME;
    let mut receivers: JoinSet<Result<Vec<f64>>> = JoinSet::new();
    let mut senders: JoinSet<Result<()>> = JoinSet::new();
    for (n, (mut from, mut to)) in pairs.into_iter().enumerate() {
        let address = to.jid().to_owned();
        senders.spawn(async move {
            let mut tick = tokio::time::interval(pause);
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            // Not all at the same moment.
            tokio::time::sleep(pause.mul_f64(n as f64 / PAIRS as f64)).await;
            while Instant::now() < end {
                tick.tick().await;
                let at = begun.elapsed().as_micros();
                let body = "b".repeat(90);
                from.send(&format!(
                    "<message to='{address}' type='chat' id='x'><body>{at}{body}</body></message>"
                ))
                .await?;
            }
            Ok(())
        });
        receivers.spawn(async move {
            let mut times = Vec::new();
            loop {
                let Ok(stamp) =
                    tokio::time::timeout_at(end.into(), to.between("<body>", "b")).await
                else {
                    return Ok(times);
                };
                let sent: u128 = stamp?.parse()?;
                times.push((begun.elapsed().as_micros().saturating_sub(sent)) as f64 / 1_000.0);
            }
        });
    }
    let mut all = Vec::new();
    while let Some(times) = receivers.join_next().await {
        all.extend(times??);
    }
    senders.shutdown().await;
    all.sort_by(f64::total_cmp);
    let at = |share: f64| all.get((all.len() as f64 * share) as usize).copied();
    Ok((at(0.5).context("nothing arrived")?, at(0.99).context("nothing arrived")?))
}

/// Deliveries per CPU-second: in each room one speaks and all hear it.
async fn rooms(server: &Running) -> Result<f64> {
    let mut speakers = Vec::new();
    let mut hearers = Vec::new();
    for room in 0..ROOMS {
        for n in 0..OCCUPANTS {
            let mut client = Client::login(server, room * OCCUPANTS + n).await?;
            client.join(room, n == 0).await?;
            if n == 0 { speakers.push((room, client)) } else { hearers.push(client) }
        }
    }
    let delivered = Arc::new(AtomicU64::new(0));
    let end = Instant::now() + TIME;
    let before = cpu_seconds(server.pid)?;
    let mut tasks: JoinSet<Result<()>> = JoinSet::new();
    for hearer in hearers {
        let spare = Arc::new(Semaphore::new(0));
        let (read, write) = hearer.split();
        let delivered = delivered.clone();
        tasks.spawn(async move {
            let _open = write;
            crate::client::receive_until(read, spare, delivered, end).await
        });
    }
    for (room, speaker) in speakers {
        let window = Arc::new(Semaphore::new(ROOM_WINDOW));
        let (read, write) = speaker.split();
        tasks.spawn(crate::client::receive_until(read, window.clone(), delivered.clone(), end));
        let message = format!(
            "<message to='{}' type='groupchat' id='x'><body>{}</body></message>",
            crate::client::room(room),
            "b".repeat(100)
        );
        tasks.spawn(crate::client::send_until(write, message, window, end));
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(delivered.load(Ordering::Relaxed) as f64 / (cpu_seconds(server.pid)? - before))
}

/// Logins per CPU-second: connect, STARTTLS with a whole TLS 1.3 handshake, SCRAM-SHA-1, bind, leave.
async fn logins(server: &Running) -> Result<f64> {
    let end = Instant::now() + TIME;
    let before = cpu_seconds(server.pid)?;
    let mut tasks: JoinSet<Result<u64>> = JoinSet::new();
    for n in 0..LOGINS {
        let port = server.port;
        tasks.spawn(async move {
            let mut done = 0;
            while Instant::now() < end {
                Client::login_with_scram(port, n).await?.leave().await?;
                done += 1;
            }
            Ok(done)
        });
    }
    let mut all = 0;
    while let Some(done) = tasks.join_next().await {
        all += done??;
    }
    Ok(all as f64 / (cpu_seconds(server.pid)? - before))
}

async fn idle(server: &Running) -> Result<f64> {
    // A first session brings in what is allocated once.
    let mut sessions = vec![Client::login(server, 0).await?];
    tokio::time::sleep(SETTLE).await;
    let before = resident_kib(server.pid)?;
    for n in 1..IDLE_SESSIONS {
        sessions.push(Client::login(server, n).await?);
    }
    tokio::time::sleep(SETTLE).await;
    let after = resident_kib(server.pid)?;
    Ok((after - before) / (sessions.len() - 1) as f64)
}
