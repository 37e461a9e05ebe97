//! `make bench`: us and the peer side by side in one run, work per CPU-second of the server process, as a ratio.
//!
//! Prints a table and writes `target/bench.json`. The figures are read, not asserted.

#![allow(clippy::disallowed_methods)] // a load generator reads the clock

mod client;
mod servers;

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use self::client::{Client, Load};
use self::servers::{Running, cpu_seconds, resident_kib};

/// Chatting pairs, and messages that one sender may have on their way.
const PAIRS: usize = 50;
const WINDOW: usize = 10;
const CHAT_TIME: Duration = Duration::from_secs(8);
const IDLE_SESSIONS: usize = 500;
/// Time for a server to settle before its memory is read.
const SETTLE: Duration = Duration::from_secs(3);

struct Figure {
    name: &'static str,
    unit: &'static str,
    better: &'static str,
    settings: &'static str,
    ours: f64,
    theirs: Vec<(&'static str, f64)>,
}

fn main() -> Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run())
}

async fn run() -> Result<()> {
    let mut chat = Vec::new();
    let mut idle = Vec::new();
    for start in [servers::tandem, servers::prosody, servers::ejabberd] {
        let server = start(IDLE_SESSIONS.max(2 * PAIRS)).await?;
        chat.push((server.name, measure_chat(&server).await?));
        drop(server);
        let server = start(IDLE_SESSIONS.max(2 * PAIRS)).await?;
        idle.push((server.name, measure_idle(&server).await?));
    }
    let figures = [
        figure(
            "xmpp.chat",
            "messages per CPU-second",
            "higher",
            "50 pairs, window 10, 100-byte bodies, TLS (STARTTLS), no archive, as shipped",
            &chat,
        ),
        figure(
            "xmpp.idle_session",
            "KiB",
            "lower",
            "500 available TLS sessions without contacts, resident memory",
            &idle,
        ),
    ];
    report(&figures)
}

fn figure(
    name: &'static str,
    unit: &'static str,
    better: &'static str,
    settings: &'static str,
    values: &[(&'static str, f64)],
) -> Figure {
    let ours = values.first().map_or(0.0, |(_, value)| *value);
    Figure {
        name,
        unit,
        better,
        settings,
        ours,
        theirs: values.get(1..).unwrap_or_default().to_vec(),
    }
}

async fn measure_chat(server: &Running) -> Result<f64> {
    let mut pairs = Vec::new();
    for n in 0..PAIRS {
        let from = Client::login(server, 2 * n).await?;
        let to = Client::login(server, 2 * n + 1).await?;
        pairs.push((from, to));
    }
    let before = cpu_seconds(server.pid)?;
    let delivered = Load { window: WINDOW, time: CHAT_TIME }.run(pairs).await?;
    let used = cpu_seconds(server.pid)? - before;
    Ok(delivered as f64 / used)
}

async fn measure_idle(server: &Running) -> Result<f64> {
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

fn report(figures: &[Figure]) -> Result<()> {
    let mut rows = Vec::new();
    println!(
        "{:<20} {:<26} {:>12} {:<12} {:>12} {:>8}",
        "figure", "unit", "ours", "peer", "theirs", "ratio"
    );
    for f in figures {
        for (peer, theirs) in &f.theirs {
            let ratio = f.ours / theirs;
            println!(
                "{:<20} {:<26} {:>12.1} {:<12} {:>12.1} {:>8.2}",
                f.name, f.unit, f.ours, peer, theirs, ratio
            );
            rows.push(json!({
                "name": f.name, "unit": f.unit, "better": f.better, "ours": f.ours,
                "peer": peer, "theirs": theirs, "ratio": ratio, "settings": f.settings,
            }));
        }
    }
    let path = tandem_tests::root().join("target/bench.json");
    std::fs::create_dir_all(path.parent().context("no parent")?)?;
    std::fs::write(&path, serde_json::to_vec_pretty(&rows)?)?;
    println!("written to target/bench.json");
    Ok(())
}
