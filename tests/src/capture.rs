//! A packet capture of the loopback interface (tcpdump), and which media went between whom.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};

/// A capture that is being written.
pub struct Capture {
    process: Child,
    path: PathBuf,
}

impl Capture {
    /// Begins; when it returns, packets are taken.
    ///
    /// # Errors
    ///
    /// When tcpdump is missing or may not listen.
    pub fn start(path: &Path) -> Result<Self> {
        let mut process = Command::new("tcpdump")
            .args(["-Z", "root", "-U", "-i", "lo", "-s", "2000", "-w"])
            .arg(path)
            .arg("udp or tcp")
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start tcpdump")?;
        let mut said = BufReader::new(process.stderr.take().context("no output")?).lines();
        let listens = said.by_ref().map_while(Result::ok).any(|line| line.contains("listening on"));
        ensure!(listens, "tcpdump does not listen");
        std::thread::spawn(move || said.for_each(drop));
        Ok(Self { process, path: path.to_owned() })
    }

    /// Ends it and reads what was taken.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn stop(mut self) -> Result<Captured> {
        Command::new("kill").arg(self.process.id().to_string()).status()?;
        self.process.wait()?;
        Ok(Captured(std::fs::read(&self.path)?))
    }
}

/// A capture file of Ethernet frames, in the byte order of this machine.
pub struct Captured(Vec<u8>);

/// What one packet carried between two ports.
struct Datagram<'a> {
    at: Duration,
    is_udp: bool,
    from: u16,
    to: u16,
    data: &'a [u8],
}

impl Captured {
    /// How many RTP packets went between each pair of UDP ports (the smaller first) in a span of time.
    pub fn rtp_pairs(&self, from: SystemTime, until: SystemTime) -> BTreeMap<(u16, u16), usize> {
        let since = |at: SystemTime| at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let span = since(from)..since(until);
        let mut pairs = BTreeMap::new();
        for one in self.datagrams().filter(|d| is_rtp(d.data) && span.contains(&d.at)) {
            *pairs.entry((one.from.min(one.to), one.from.max(one.to))).or_insert(0) += 1;
        }
        pairs
    }

    /// How many datagrams from a port begin with one text and hold another.
    pub fn count(&self, from: u16, start: &str, part: &str) -> usize {
        self.datagrams()
            .filter(|d| d.from == from && d.data.starts_with(start.as_bytes()))
            .filter(|d| String::from_utf8_lossy(d.data).contains(part))
            .count()
    }

    /// Which of these texts stand in a packet from or to one of these ports, in the clear.
    pub fn texts<'t>(&self, ports: &BTreeSet<u16>, texts: &[&'t str]) -> Vec<&'t str> {
        let mut found = BTreeSet::new();
        for one in self.packets().filter(|p| ports.contains(&p.from) || ports.contains(&p.to)) {
            let held =
                texts.iter().filter(|t| one.data.windows(t.len()).any(|w| w == t.as_bytes()));
            found.extend(held.copied());
        }
        found.into_iter().collect()
    }

    /// How large the share of the commonest byte is in what RTP carried between each pair of UDP ports, one of them of these:
    /// one in 256 where it is encrypted. Pairs of few packets are left out.
    pub fn commonest_bytes(&self, ports: &BTreeSet<u16>) -> BTreeMap<(u16, u16), f64> {
        let mut counts: BTreeMap<(u16, u16), [usize; 256]> = BTreeMap::new();
        for one in self.datagrams().filter(|d| is_rtp(d.data) && d.data.len() > 60) {
            if ports.contains(&one.from) || ports.contains(&one.to) {
                let count = counts.entry((one.from, one.to)).or_insert([0; 256]);
                // The header is never encrypted.
                for byte in one.data.iter().skip(12) {
                    if let Some(count) = count.get_mut(usize::from(*byte)) {
                        *count += 1;
                    }
                }
            }
        }
        let share = |count: [usize; 256]| {
            let all: usize = count.iter().sum();
            (all > 4_000).then(|| count.iter().max().copied().unwrap_or(0) as f64 / all as f64)
        };
        counts.into_iter().filter_map(|(pair, count)| Some((pair, share(count)?))).collect()
    }

    fn datagrams(&self) -> impl Iterator<Item = Datagram<'_>> {
        self.packets().filter(|packet| packet.is_udp)
    }

    /// 24 bytes of header, then 16 before each frame: seconds, microseconds, bytes here.
    fn packets(&self) -> impl Iterator<Item = Datagram<'_>> {
        let mut rest = self.0.get(24..).unwrap_or_default();
        let frames = std::iter::from_fn(move || {
            let number = |at: usize| {
                let bytes = rest.get(at..at + 4)?.try_into().ok()?;
                Some(u32::from_ne_bytes(bytes))
            };
            let at = Duration::new(number(0)?.into(), number(4)? * 1_000);
            let end = 16 + number(8)? as usize;
            let frame = rest.get(16..end)?;
            rest = rest.get(end..)?;
            Some((at, frame))
        });
        frames.filter_map(|(at, frame)| packet(at, frame))
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// UDP or TCP over IPv4 over Ethernet.
fn packet(at: Duration, frame: &[u8]) -> Option<Datagram<'_>> {
    let ip = frame.get(14..)?;
    let header = usize::from(ip.first()? & 0x0f) * 4;
    let is_udp = *ip.get(9)? == 17;
    if frame.get(12..14)? != [8, 0] || !is_udp && *ip.get(9)? != 6 {
        return None;
    }
    let inner = ip.get(header..)?;
    let port = |at: usize| Some(u16::from_be_bytes([*inner.get(at)?, *inner.get(at + 1)?]));
    let start = if is_udp { 8 } else { usize::from(inner.get(12)? >> 4) * 4 };
    Some(Datagram { at, is_udp, from: port(0)?, to: port(2)?, data: inner.get(start..)? })
}

/// Version 2, long enough, and no RTCP (RFC 5761 section 4). SRTP looks the same.
fn is_rtp(data: &[u8]) -> bool {
    matches!(data, [first, second, ..] if first >> 6 == 2 && !(192..=223).contains(second))
        && data.len() >= 12
}

/// The UDP ports that a process and its children have open now.
///
/// # Errors
///
/// When `/proc` cannot be read.
pub fn udp_ports(process: u32) -> Result<BTreeSet<u16>> {
    let mut by_inode: HashMap<String, u16> = HashMap::new();
    for table in ["/proc/net/udp", "/proc/net/udp6"] {
        for line in std::fs::read_to_string(table)?.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let port = fields.get(1).and_then(|local| local.rsplit(':').next());
            let port = port.and_then(|hex| u16::from_str_radix(hex, 16).ok());
            if let (Some(port), Some(inode)) = (port, fields.get(9)) {
                by_inode.insert(format!("socket:[{inode}]"), port);
            }
        }
    }
    let mut ports = BTreeSet::new();
    for id in family(process) {
        let Ok(files) = std::fs::read_dir(format!("/proc/{id}/fd")) else { continue };
        for file in files.flatten() {
            let link = std::fs::read_link(file.path()).unwrap_or_default();
            ports.extend(by_inode.get(link.to_string_lossy().as_ref()));
        }
    }
    Ok(ports)
}

/// A process with all that it has started.
fn family(process: u32) -> Vec<u32> {
    let mut parents: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // The name in parentheses may hold anything; the parent is the second field behind it.
        let parent =
            stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)?.parse().ok());
        if let Some(parent) = parent {
            parents.entry(parent).or_default().push(id);
        }
    }
    let mut all = vec![process];
    let mut at = 0;
    while let Some(id) = all.get(at).copied() {
        all.extend(parents.get(&id).into_iter().flatten());
        at += 1;
    }
    all
}
