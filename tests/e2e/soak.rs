//! A soak: phones register, call, write and watch for a long time, with scanners beside them, and nothing is left of it:
//! no memory, no transaction, no dialog, no port, and a record of every call.
//!
//! A minute of it is part of `make test`; `make soak` does it for 20 minutes (`TANDEM_SOAK_SECONDS`) at the same rates.
//! `TANDEM_SOAK_SPEED=4` does as much in a quarter of the time, for who looks for what grows.

#![allow(clippy::unwrap_used)] // what goes wrong here fails a test
#![allow(clippy::disallowed_methods)] // a soak lives in real time

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use tandem_tests::phones::{Callees, Once, Target, account};
use tandem_tests::{Server, udp_ports};

/// Of each kind within a second: some more than the 50,000 registrations, 20,000 calls, 20,000 messages and 5,000
/// subscriptions that are wanted in 20 minutes.
const REGISTRATIONS: f64 = 46.0;
const CALLS: f64 = 18.5;
const MESSAGES: f64 = 18.5;
const SUBSCRIPTIONS: f64 = 4.7;
/// Packets of scanners within a second.
const SCANS: f64 = 200.0;
/// What lingers of the last transaction (RFC 3261 section 17: 64 * T1), and some more.
const LINGER: Duration = Duration::from_secs(45);
/// Kibibytes that may have been added.
const GROWTH: u64 = 5 * 1024;

/// Runs until told to stop; fails with the first thing that does.
struct Load<'s> {
    stop: &'s AtomicBool,
    done: AtomicU64,
}

impl<'s> Load<'s> {
    fn new(stop: &'s AtomicBool) -> Self {
        Self { stop, done: AtomicU64::new(0) }
    }

    fn run(&self, rate: f64, mut work: impl FnMut(u64) -> Result<()>) -> Result<()> {
        let begun = Instant::now();
        while !self.stop.load(Ordering::Relaxed) {
            let number = self.done.load(Ordering::Relaxed);
            let due = begun + Duration::from_secs_f64(number as f64 / rate);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            work(number)?;
            self.done.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }
}

/// What scanners send: they look for names and open doors, and some send anything.
fn scan(socket: &UdpSocket, sip: u16, number: u64) {
    let port = socket.local_addr().unwrap().port();
    let (method, target) = match number % 4 {
        0 => ("OPTIONS", "sip:100@127.0.0.1".to_owned()),
        1 => ("REGISTER", "sip:127.0.0.1".to_owned()),
        2 => ("INVITE", format!("sip:00972{number}@127.0.0.1")),
        _ => {
            // Half a message, and bytes that are none.
            let noise: Vec<u8> = (0..400_u64).map(|n| (n * number % 251) as u8).collect();
            let _ = socket.send_to(&noise, ("127.0.0.1", sip));
            ("INVITE sip:x SIP/2.0\r\nVia", "sip:x".to_owned())
        }
    };
    // One calls itself by its name, another does not.
    let agent = if number % 8 < 4 { "friendly-scanner" } else { "Phone 1.0" };
    let text = format!(
        "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.66:{port};branch=z9hG4bK-{number};rport\r\n\
         From: \"sipvicious\"<sip:{number}@127.0.0.1>;tag=s{number}\r\nTo: <sip:{number}@127.0.0.1>\r\n\
         Call-ID: scan-{number}\r\nCSeq: 1 {method}\r\nContact: <sip:{number}@127.0.0.66:{port}>\r\n\
         User-Agent: {agent}\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    );
    let _ = socket.send_to(text.as_bytes(), ("127.0.0.1", sip));
    // Nobody reads the answers; they fall away.
}

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn gauge(metrics: &str, name: &str) -> u64 {
    let value = metrics.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    value.expect(name).parse().unwrap()
}

#[test]
fn nothing_is_left_of_a_long_day() {
    let seconds: u64 = match std::env::var("TANDEM_SOAK_SECONDS") {
        Ok(text) => text.parse().unwrap(),
        Err(_) => 60,
    };
    let names: Vec<String> = (0..8).map(account).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let speed: f64 = std::env::var("TANDEM_SOAK_SPEED").map_or(1.0, |text| text.parse().unwrap());
    let server = Server::start("localhost", &names).unwrap();
    let target = Target { name: "tandem", sip: server.sip, domain: "localhost" };
    let ports_before = udp_ports(server.id()).unwrap().len();
    // 1 and 3 take calls and messages; 0, 2, 4 and 5 do things.
    let callees = Callees::start(target, 1..2, 40_000, false, |_| {}).unwrap();
    let readers = Callees::start(target, 3..4, 40_000, false, |_| {}).unwrap();
    let stop = AtomicBool::new(false);
    let loads: [Load<'_>; 5] = std::array::from_fn(|_| Load::new(&stop));
    let [registering, calling, writing, watching, scanning] = &loads;
    let (first, last) = std::thread::scope(|scope| {
        let results = [
            scope.spawn(|| {
                let mut phone = Once::new(target, 40_002)?;
                registering.run(speed * REGISTRATIONS, |_| phone.register(4))
            }),
            scope.spawn(|| {
                let mut phone = Once::new(target, 40_002)?;
                calling.run(speed * CALLS, |_| phone.call(0, 1))
            }),
            scope.spawn(|| {
                let mut phone = Once::new(target, 40_002)?;
                writing.run(speed * MESSAGES, |_| phone.message(2, 3))
            }),
            scope.spawn(|| {
                let mut phone = Once::new(target, 40_002)?;
                phone.register(5)?;
                watching.run(speed * SUBSCRIPTIONS, |_| phone.watch(5))
            }),
            scope.spawn(|| {
                let socket = UdpSocket::bind("127.0.0.66:0")?;
                scanning.run(speed * SCANS, |number| {
                    scan(&socket, target.sip, number);
                    Ok(())
                })
            }),
        ];
        // What is kept for a while after each transaction is there by now.
        let settled = Duration::from_secs((seconds * 3 / 4).clamp(1, 60));
        std::thread::sleep(settled);
        let first = resident_kib(server.id());
        std::thread::sleep(Duration::from_secs(seconds).saturating_sub(settled));
        let last = resident_kib(server.id());
        stop.store(true, Ordering::Relaxed);
        for result in results {
            result.join().unwrap().unwrap();
        }
        (first, last)
    });
    let [registered, called, written, watched, scanned] = loads.each_ref().map(Load::done);
    println!(
        "{seconds} s: {registered} registrations, {called} calls, {written} messages, {watched} subscriptions, {scanned} \
         scans; {first} KiB, later {last} KiB"
    );
    // Everything is judged, whatever was found before.
    let mut faults = Vec::new();
    let wanted = [
        (registered, 50_000, "registrations"),
        (called, 20_000, "calls"),
        (written, 20_000, "messages"),
        (watched, 5_000, "subscriptions"),
    ];
    for (done, in_20_minutes, what) in wanted {
        if done < in_20_minutes * seconds / 1_200 {
            faults.push(format!("{done} {what} are too few"));
        }
    }
    if last > first + GROWTH {
        faults.push(format!("{first} KiB became {last} KiB"));
    }
    drop((callees, readers));
    faults.extend(left(&server, ports_before));
    let records =
        server.recorded(usize::try_from(called).unwrap()).or_else(|_| server.calls()).unwrap();
    if records.len() as u64 != called {
        faults.push(format!("{} records of {called} calls", records.len()));
    }
    let odd: Vec<_> = records.iter().filter(|record| record.2 != "hung up").collect();
    if !odd.is_empty() {
        faults.push(format!("calls that ended otherwise: {odd:?}"));
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// What is left when the last transactions have ended; nothing, it is hoped.
fn left(server: &Server, ports_before: usize) -> Option<String> {
    let begun = Instant::now();
    let names = [
        "tandem_calls",
        "tandem_media_legs",
        "tandem_sip_transactions",
        "tandem_sip_dialogs",
        "tandem_sip_subscriptions",
        "tandem_sip_connections",
    ];
    loop {
        let metrics = server.http("/metrics").unwrap();
        let left: Vec<(&str, u64)> = names.map(|name| (name, gauge(&metrics, name))).into();
        let ports = udp_ports(server.id()).unwrap().len();
        if left.iter().all(|(_, value)| *value == 0) && ports == ports_before {
            return None;
        }
        if begun.elapsed() > LINGER {
            return Some(format!("{left:?} are left, and {ports} of {ports_before} ports"));
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}
