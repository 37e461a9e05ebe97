//! Names of a test's own: a DNS server on a loopback address of its own, and an authority for certificates.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};

use crate::Dice;

/// Record types.
const A: u16 = 1;
const SRV: u16 = 33;

/// Name and type, and the data of each record.
type Records = HashMap<(String, u16), Vec<Vec<u8>>>;

/// A DNS server that knows what it is told.
pub struct Names {
    records: Arc<Mutex<Records>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    /// Where it answers, over UDP at port 53.
    pub address: SocketAddr,
}

impl Names {
    /// Starts one without records.
    ///
    /// # Errors
    ///
    /// When no loopback address is free.
    pub fn start() -> Result<Self> {
        let socket = (0..100)
            .find_map(|_| {
                let octet = || u8::try_from(1 + Dice.number(250)).unwrap_or(1);
                let address = Ipv4Addr::new(127, 53, octet(), octet());
                UdpSocket::bind((address, 53)).ok()
            })
            .context("no address for a DNS server; is this root?")?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let address = socket.local_addr()?;
        let (records, stop) = (Arc::<Mutex<Records>>::default(), Arc::new(AtomicBool::new(false)));
        let (known, stopped) = (records.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 1500];
            while !stopped.load(Ordering::Relaxed) {
                let Ok((length, peer)) = socket.recv_from(&mut buffer) else { continue };
                let known = known.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(answer) = answer(&buffer[..length], &known) {
                    let _ = socket.send_to(&answer, peer);
                }
            }
        });
        Ok(Self { records, stop, thread: Some(thread), address })
    }

    fn add(&self, name: &str, kind: u16, data: Vec<u8>) {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.entry((name.to_owned(), kind)).or_default().push(data);
    }

    /// `domain` has an XMPP server on this machine at `port`; with `direct_tls` for TLS from the first byte.
    pub fn serve(&self, domain: &str, port: u16, direct_tls: bool) {
        let service = if direct_tls { "_xmpps-server" } else { "_xmpp-server" };
        let mut data = vec![0, 0, 0, 0];
        data.extend(port.to_be_bytes());
        let host = format!("host.{domain}");
        data.extend(wire(&host));
        self.add(&format!("{service}._tcp.{domain}"), SRV, data);
        self.add(&host, A, vec![127, 0, 0, 1]);
    }

    /// `domain` has a SIP server on this machine at `port`, over UDP.
    pub fn serve_sip(&self, domain: &str, port: u16) {
        let mut data = vec![0, 0, 0, 0];
        data.extend(port.to_be_bytes());
        let host = format!("sip.{domain}");
        data.extend(wire(&host));
        self.add(&format!("_sip._udp.{domain}"), SRV, data);
        self.add(&host, A, vec![127, 0, 0, 1]);
    }

    /// A host of this address.
    pub fn address(&self, name: &str, address: [u8; 4]) {
        self.add(name, A, address.to_vec());
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn wire(name: &str) -> Vec<u8> {
    let labels = name.split('.').flat_map(|label| {
        let length = u8::try_from(label.len()).unwrap_or(0);
        std::iter::once(length).chain(label.bytes())
    });
    labels.chain([0]).collect()
}

fn answer(query: &[u8], records: &Records) -> Option<Vec<u8>> {
    let (mut at, mut labels) = (12, Vec::new());
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + length)?).to_lowercase());
        at += length;
    }
    let name = labels.join(".");
    let kind = u16::from_be_bytes([*query.get(at)?, *query.get(at + 1)?]);
    let question = query.get(12..at + 4)?;
    let found = records.get(&(name.clone(), kind)).map(Vec::as_slice).unwrap_or_default();
    // A name with records of another type exists.
    let exists = records.keys().any(|(known, _)| *known == name);
    let mut out = query.get(..2)?.to_vec();
    out.extend([0x85, if exists { 0x80 } else { 0x83 }, 0, 1]);
    out.extend(u16::try_from(found.len()).ok()?.to_be_bytes());
    out.extend([0; 4]);
    out.extend(question);
    for data in found {
        out.extend([0xc0, 12]);
        out.extend(kind.to_be_bytes());
        out.extend([0, 1, 0, 0, 0, 60]);
        out.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
        out.extend(data);
    }
    Some(out)
}

/// An authority, and the folder with what it has issued.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    dir: tempfile::TempDir,
}

impl Authority {
    /// A new one, whose certificate is in [`Authority::root`].
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn new() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "authority of a test");
        let key = KeyPair::generate()?;
        std::fs::write(dir.path().join("root.pem"), params.self_signed(&key)?.pem())?;
        Ok(Self { issuer: Issuer::new(params, key), dir })
    }

    /// Its own certificate.
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root.pem")
    }

    /// A certificate for these names, and its key. What begins with `sip:` is a URI.
    ///
    /// # Errors
    ///
    /// When it cannot be made or written.
    pub fn issue(&self, names: &[&str]) -> Result<(PathBuf, PathBuf)> {
        let (uris, names): (Vec<&str>, Vec<&str>) =
            names.iter().partition(|name| name.starts_with("sip:"));
        let first = uris.first().or(names.first()).context("no name")?.replace("sip:", "");
        let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names)?;
        for uri in uris {
            params.subject_alt_names.push(SanType::URI(uri.try_into()?));
        }
        // COMPAT ejabberd 23.01 sets a timer for the end, which may not be further away than 49 days.
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        params.not_after =
            rcgen::date_time_ymd(1970, 1, 1) + now + Duration::from_secs(30 * 86_400);
        let certificate = params.signed_by(&key, &self.issuer)?;
        let write = |name: String, text: String| {
            let path = self.dir.path().join(name);
            std::fs::write(&path, text).map(|()| path)
        };
        let chain = write(format!("{first}.pem"), certificate.pem())?;
        Ok((chain, write(format!("{first}.key"), key.serialize_pem())?))
    }

    /// The folder, which others may read.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}
