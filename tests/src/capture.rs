//! A packet capture of the loopback interface (tcpdump), and which media went between whom.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

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
            .args(["-Z", "root", "-U", "-i", "lo", "-s", "200", "-w"])
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

    /// Ends, and gives how many RTP packets went between each pair of UDP ports (the smaller first).
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn stop(mut self) -> Result<BTreeMap<(u16, u16), usize>> {
        Command::new("kill").arg(self.process.id().to_string()).status()?;
        self.process.wait()?;
        let bytes = std::fs::read(&self.path)?;
        Ok(rtp_pairs(&bytes))
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Reads a capture file of Ethernet frames: 24 bytes of header, then 16 before each frame.
fn rtp_pairs(file: &[u8]) -> BTreeMap<(u16, u16), usize> {
    let mut pairs = BTreeMap::new();
    let mut rest = file.get(24..).unwrap_or_default();
    while let Some(length) = rest.get(8..12).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes)
    {
        let length = length as usize;
        if let Some(ports) = rest.get(16..16 + length).and_then(rtp_ports) {
            *pairs.entry(ports).or_insert(0) += 1;
        }
        rest = rest.get(16 + length..).unwrap_or_default();
    }
    pairs
}

/// The ports of a frame that is RTP or SRTP: IPv4, UDP, version 2, and no RTCP (RFC 5761 section 4).
fn rtp_ports(frame: &[u8]) -> Option<(u16, u16)> {
    let ip = frame.get(14..)?;
    let header = usize::from(ip.first()? & 0x0f) * 4;
    if frame.get(12..14)? != [8, 0] || *ip.get(9)? != 17 {
        return None;
    }
    let udp = ip.get(header..)?;
    let port = |at: usize| Some(u16::from_be_bytes([*udp.get(at)?, *udp.get(at + 1)?]));
    let (from, to) = (port(0)?, port(2)?);
    let (first, second) = (*udp.get(8)?, *udp.get(9)?);
    let is_rtp = first >> 6 == 2 && !(192..=223).contains(&second) && udp.len() >= 20;
    is_rtp.then_some((from.min(to), from.max(to)))
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
