//! `make bench`: us and the peer side by side in one run, work per CPU-second of the server process, as a ratio.
//!
//! Prints a table and writes `target/bench.json`. The figures are read, not asserted.

#![allow(clippy::disallowed_methods)] // a load generator reads the clock

mod client;
mod latency;
mod parse;
mod relay;
mod scram;
mod servers;
mod xmpp;

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;
use tandem_tests::phones;

use self::client::Client;
use self::servers::{Start, cpu_seconds};

/// Phones that register, or call, at once; and for how long.
const PHONES: usize = 20;
const SIP_TIME: Duration = Duration::from_secs(8);
/// Calls whose ringing is timed, and calls whose packets are.
const RINGS: usize = 200;
const TIMED_CALLS: usize = 10;

struct Figure {
    name: &'static str,
    unit: &'static str,
    better: &'static str,
    settings: String,
    ours: f64,
    theirs: Vec<(&'static str, f64)>,
}

fn main() -> Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run())
}

async fn run() -> Result<()> {
    // `bench sip` measures the figures of SIP, `bench xmpp.room` that one; `bench ours xmpp` ours alone.
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_alone = arguments.first().is_some_and(|first| first == "ours");
    if is_alone {
        arguments.remove(0);
    }
    let wants = |name: &str| {
        // A family is all before a dot or an underline: `sip.register` is not `sip.registered`.
        let is_family = |of: &str, a: &str| {
            of.strip_prefix(a).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '_']))
        };
        arguments.is_empty() || arguments.iter().any(|a| is_family(name, a) || is_family(a, name))
    };
    let mut figures = Vec::new();
    figures.extend(xmpp_figures(is_alone, &wants).await?);
    if wants("sip.parse") {
        figures.push(figure(
            "sip.parse",
            "microseconds",
            "lower",
            "a typical INVITE of 1.7 KB read and checked in one thread, best of 15 rounds; rsip checks no field until it is asked",
            &parse::measure()?,
        ));
    }
    figures.extend(sip_figures(is_alone, &wants).await?);
    if wants("turn.relay") {
        figures.extend(relay_figures().await?);
    }
    report(figures)
}

/// Beside coturn.
async fn relay_figures() -> Result<Vec<Figure>> {
    let settings = "ChannelData over UDP with 160 bytes, both ways, packets that arrive; one relay thread each";
    let mut figures = Vec::new();
    for (name, allocations, is_saturated) in [
        ("turn.relay.1", 1, true),
        ("turn.relay.200", 200, true),
        ("turn.relay.200_calls", 200, false),
    ] {
        let how = if is_saturated { "as fast as it goes" } else { "50 a second each way" };
        let settings = format!("{settings}; {allocations} allocations, {how}");
        let measured = relay::measure(allocations, is_saturated).await?;
        figures.push(figure(name, "packets per CPU-second", "higher", &settings, &measured));
    }
    Ok(figures)
}

/// Beside Prosody and ejabberd, archive on at all three.
async fn xmpp_figures(is_alone: bool, wants: &dyn Fn(&str) -> bool) -> Result<Vec<Figure>> {
    const ALL: [Start; 3] = [servers::tandem, servers::prosody, servers::ejabberd];
    let measured = xmpp::measure(if is_alone { &ALL[..1] } else { &ALL }, wants).await?;
    let figures = vec![
        figure(
            "xmpp.chat",
            "messages per CPU-second",
            "higher",
            "50 pairs, window 10, 100-byte bodies, TLS (STARTTLS), archive on: ours SQLite with full sync before each \
             delivery, Prosody mam on SQLite, ejabberd mod_mam on Mnesia",
            &measured.chat,
        ),
        figure(
            "xmpp.room",
            "deliveries per CPU-second",
            "higher",
            "10 rooms of 10, one speaker each with window 5, 100-byte bodies, TLS, room archive on",
            &measured.room,
        ),
        figure(
            "xmpp.login",
            "logins per CPU-second",
            "higher",
            "8 at once: TCP, STARTTLS, whole TLS 1.3 handshake, SCRAM-SHA-1, bind, close",
            &measured.login,
        ),
        figure(
            "xmpp.idle_session",
            "KiB",
            "lower",
            "500 available TLS sessions without contacts, resident memory",
            &measured.idle,
        ),
        figure(
            "xmpp.way_p50_ms",
            "ms",
            "lower",
            "from before a message is sent to after it is received, at half of the server's own highest rate",
            &measured.way_p50,
        ),
        figure("xmpp.way_p99_ms", "ms", "lower", "as before, 99th percentile", &measured.way_p99),
    ];
    let mut figures: Vec<_> = figures.into_iter().filter(|f| f.ours > 0.0).collect();
    if wants("xmpp.many") {
        figures.push(figure(
            "xmpp.many_sessions",
            "KiB",
            "lower",
            "resident memory per session while 10,000 TLS sessions of 250 accounts are held, all of which answer after",
            &[("tandem", xmpp::many().await?)],
        ));
    }
    if wants("xmpp.page") {
        figures.push(figure(
            "xmpp.page_ms",
            "ms",
            "lower",
            "first page of 50 of an archive of 1,000,000 messages of one user, windows of 30 days to a year, both ways, with \
             and without a filter by person: the worst of the medians",
            &[("tandem", xmpp::first_page().await?)],
        ));
    }
    if wants("xmpp.upload_p99") {
        figures.push(beside("xmpp.upload_p99", "no uploads", latency::uploads().await?));
    }
    if wants("xmpp.filter_p99") {
        figures.push(beside("xmpp.filter_p99", "no filter", latency::filter().await?));
    }
    Ok(figures)
}

/// What chat feels of something else: the ratio is that of its p99 with and without.
fn beside(name: &'static str, without: &'static str, felt: latency::Felt) -> Figure {
    let values = [("tandem", felt.with), (without, felt.without)];
    figure(name, "ms", "lower", &felt.settings, &values)
}

async fn sip_figures(is_alone: bool, wants: &dyn Fn(&str) -> bool) -> Result<Vec<Figure>> {
    let mut figures = signalling_figures(is_alone, wants).await?;
    if wants("sip.registered") {
        figures.push(figure(
            "sip.registered",
            "MiB",
            "lower",
            "resident memory with 50,000 registered contacts, of 500 accounts",
            &[("tandem", measure_registered().await?)],
        ));
    }
    if wants("sip.overload") {
        let (values, settings) = measure_overload().await?;
        figures.push(figure("sip.overload", "calls per second", "higher", &settings, &values));
    }
    if wants("bridge.ring_ms") {
        figures.push(figure(
            "bridge.ring_ms",
            "ms",
            "lower",
            "median of 200, from the propose (XEP-0353) of an idle client to the INVITE at the phone, log at warn",
            &[("tandem", measure_ring().await?)],
        ));
    }
    if wants("bridge.packet_delay_ms") {
        let (delay, settings) = measure_delay().await?;
        figures.push(figure(
            "bridge.packet_delay_ms",
            "ms",
            "lower",
            &settings,
            &[("tandem", delay)],
        ));
    }
    Ok(figures)
}

/// Beside Kamailio.
async fn signalling_figures(is_alone: bool, wants: &dyn Fn(&str) -> bool) -> Result<Vec<Figure>> {
    const ALL: [Start; 3] = [servers::tandem, servers::kamailio, servers::kamailio_fast];
    type Load = fn(phones::Target, usize, Duration) -> Result<u64>;
    let loads: [(&str, &str, Load, &str); 3] = [
        (
            "sip.register",
            "registrations per CPU-second",
            phones::registers,
            "20 phones over UDP, each REGISTER challenged and answered with MD5, the same contacts again and again; ours \
             writes what lasts longer to disk within 250 ms, Kamailio keeps it in memory; as Debian starts it, and with the \
             allocator for load",
        ),
        (
            "sip.invite",
            "calls per CPU-second",
            phones::calls,
            "20 calls at once over UDP, INVITE challenged, answered, ACK, BYE; ours is a B2BUA that opens two RTP legs and \
             writes a record, Kamailio a record-routing proxy without media",
        ),
        (
            "sip.message",
            "messages per CPU-second",
            phones::messages,
            "20 phones at once over UDP, MESSAGE challenged and answered with MD5, relayed to a phone that takes it; ours keeps each \
             in the archives of both (SQLite, synced journal) before it goes on, Kamailio keeps nothing",
        ),
    ];
    let mut figures = Vec::new();
    for (name, unit, load, settings) in loads.into_iter().filter(|(name, ..)| wants(name)) {
        let mut values = Vec::new();
        for start in if is_alone { &ALL[..1] } else { &ALL } {
            // Each has a server of its own: phones that are gone without a word would hide what is measured.
            let server = start(2 * PHONES).await?;
            let before = cpu_seconds(server.pid)?;
            let target = server.phones();
            let done =
                tokio::task::spawn_blocking(move || load(target, PHONES, SIP_TIME)).await??;
            values.push((server.name, done as f64 / (cpu_seconds(server.pid)? - before)));
        }
        figures.push(figure(name, unit, "higher", settings, &values));
    }
    Ok(figures)
}

fn figure(
    name: &'static str,
    unit: &'static str,
    better: &'static str,
    settings: &str,
    values: &[(&'static str, f64)],
) -> Figure {
    let ours = values.first().map_or(0.0, |(_, value)| *value);
    Figure {
        name,
        unit,
        better,
        settings: settings.to_owned(),
        ours,
        theirs: values.get(1..).unwrap_or_default().to_vec(),
    }
}

/// Calls that are completed in a second at twice the rate that can be kept up, beside that rate; and how it went.
async fn measure_overload() -> Result<([(&'static str, f64); 2], String)> {
    let (calm, loaded) = (servers::tandem(2 * PHONES).await?, servers::tandem(2 * PHONES).await?);
    let targets = (calm.phones(), loaded.phones());
    tokio::task::spawn_blocking(move || {
        let peak = phones::calls(targets.0, PHONES, SIP_TIME)? as f64 / SIP_TIME.as_secs_f64();
        let offered = phones::offered(targets.1, PHONES, 2.0 * peak, SIP_TIME)?;
        let settings = format!(
            "calls completed while twice as many begin as 20 callers at once can bring about, by phones that send again what \
             is not answered (RFC 3261 section 17), load generator on the same two cores; the ratio is to that peak; {offered}"
        );
        Ok(([("tandem", offered.per_second), ("its peak", peak)], settings))
    })
    .await?
}

/// What 50,000 contacts take, in MiB.
async fn measure_registered() -> Result<f64> {
    const ACCOUNTS: usize = 500;
    const EACH: usize = 100;
    let server = servers::start_tandem(ACCOUNTS, servers::Setup::default()).await?;
    let target = server.phones();
    tokio::task::spawn_blocking(move || phones::contacts(target, ACCOUNTS, EACH)).await??;
    Ok(servers::resident_kib(server.pid)? as f64 / 1024.0)
}

/// From a client's proposal to the phone that is called.
async fn measure_ring() -> Result<f64> {
    let server = servers::tandem(2).await?;
    let (rang, rings) = std::sync::mpsc::channel();
    let _phone = phones::Callees::start(server.phones(), 1..2, 40_000, true, move |at| {
        let _ = rang.send(at);
    })?;
    let mut client = Client::login(&server, 0).await?;
    let mut times = Vec::new();
    for n in 0..RINGS {
        let begun = std::time::Instant::now();
        client.propose(1, n).await?;
        let at = rings.recv_timeout(Duration::from_secs(5)).context("no ring")?;
        times.push(at.duration_since(begun).as_secs_f64() * 1_000.0);
        client.expect("</reject>").await?;
    }
    times.sort_by(f64::total_cmp);
    times.get(RINGS / 2).copied().context("no rings")
}

/// What the server adds to a packet's way, and how that was measured.
async fn measure_delay() -> Result<(f64, String)> {
    let server = servers::tandem(2 * TIMED_CALLS).await?;
    let time = Duration::from_secs(5);
    let (direct, _) = phones::direct_delay(TIMED_CALLS, time)?;
    let (median, worst) = phones::packet_delay(server.phones(), TIMED_CALLS, time)?;
    let settings = format!(
        "median of {TIMED_CALLS} calls of 50 packets a second, PCMA passed through between phones, less the {direct:.3} ms \
         of the same way without a server; 99th percentile {:.3} ms",
        worst - direct
    );
    Ok((median - direct, settings))
}

fn report(figures: Vec<Figure>) -> Result<()> {
    let mut rows = Vec::new();
    println!(
        "{:<22} {:<28} {:>12} {:<12} {:>12} {:>8}",
        "figure", "unit", "ours", "peer", "theirs", "ratio"
    );
    for f in &figures {
        if f.theirs.is_empty() {
            println!("{:<22} {:<28} {:>12.3}", f.name, f.unit, f.ours);
            rows.push(json!({
                "name": f.name, "unit": f.unit, "better": f.better, "ours": f.ours,
                "peer": null, "theirs": null, "ratio": null, "settings": f.settings,
            }));
        }
        for (peer, theirs) in &f.theirs {
            let ratio = f.ours / theirs;
            println!(
                "{:<22} {:<28} {:>12.2} {:<12} {:>12.2} {:>8.2}",
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
