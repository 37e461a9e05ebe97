//! `tandem demo`: a server without configuration, with accounts to try it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use tandem_xmpp::jid::Jid;
use tandem_xmpp::ports::{RosterItem, Rosters, StoreError};

use crate::app::Addresses;
use crate::config::{Config, Listen, Media, Security, Sip};
use crate::store::{NewPassword, Store, random_password};

/// The accounts, and who they are.
const PEOPLE: [(&str, &str); 5] = [
    ("ana", "Ana, an older person"),
    ("julia", "Julia, her daughter"),
    ("carl", "Carl, a caregiver"),
    ("desk", "Care desk"),
    ("op", "Operator"),
];
/// The passwords stand here, readable by their owner alone; the database never holds one.
const PASSWORDS: &str = "demo-passwords.txt";

/// Where the demo keeps its data unless told otherwise.
pub fn default_data_dir() -> PathBuf {
    let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("."), PathBuf::from);
    home.join(".local/share/tandem-demo")
}

/// The demo's settings: loopback, the usual ports or those from `port_base` up.
pub fn config(data_dir: PathBuf, port_base: Option<u16>) -> Config {
    let at = |usual: u16, step: u16| {
        let port = port_base.map_or(usual, |base| base.saturating_add(step));
        vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))]
    };
    let listen = Listen {
        xmpp: at(5222, 0),
        xmpps: at(5223, 1),
        https: at(8443, 2),
        metrics: at(9100, 3),
        sip: at(5060, 5),
        sips: at(5061, 6),
        turn: at(3478, 7),
        turns: at(5349, 8),
        msrp: at(2855, 9),
        msrps: at(2856, 10),
        s2s: Vec::new(),
        s2s_tls: Vec::new(),
        components: Vec::new(),
    };
    let media = Media {
        webrtc: at(3479, 4).remove(0),
        rtp: Ipv4Addr::LOCALHOST.into(),
        ..Media::default()
    };
    // It listens on this machine alone, and any softphone is to try it.
    let sip = Sip { security: Security::Optional, ..Sip::default() };
    Config { data_dir, listen, media, sip, log: "warn".into(), ..Config::default() }
}

/// One demo account with its password.
pub struct Person {
    /// Its address.
    pub jid: Jid,
    /// Who it is.
    pub who: &'static str,
    /// Its password.
    pub password: String,
}

/// Makes the accounts at the first start, all contacts of each other and of the echo address.
///
/// # Errors
///
/// A text for the operator.
pub async fn people(config: &Config) -> Result<Vec<Person>, String> {
    let store = Store::open_in(&config.data_dir).await.map_err(|e| e.to_string())?;
    let people = make_people(&store, config).await;
    store.close().await;
    people
}

async fn make_people(store: &Store, config: &Config) -> Result<Vec<Person>, String> {
    let path = config.data_dir.join(PASSWORDS);
    let domain = config.domains.first().map_or("localhost", String::as_str);
    let mut people = Vec::new();
    let known = read_passwords(&path)?;
    for (name, who) in PEOPLE {
        let jid = Jid::new(Some(name), domain, None).map_err(|e| e.to_string())?;
        let password = match known.iter().find(|(jid_, _)| jid_ == jid.as_str()) {
            Some((_, password)) => password.clone(),
            None => random_password().map_err(|e| e.to_string())?,
        };
        people.push(Person { jid, who, password });
    }
    // On disk before any account has it: a demo that dies here can be started again.
    write_passwords(&path, &people)?;
    for person in &people {
        // One whose password was not on file has an account already when only that file was lost.
        let is_lost = !known.iter().any(|(jid, _)| jid == person.jid.as_str());
        let rounds = config.xmpp.scram_iterations;
        let fault = |e: StoreError| e.to_string();
        if is_lost && store.account_exists(&person.jid).await.map_err(fault)? {
            let salt = random_password().map_err(|e| e.to_string())?;
            let new = NewPassword::derive(&person.jid, &person.password, salt.as_bytes(), rounds);
            store.set_password(&person.jid, new).await.map_err(fault)?;
        }
        store.ensure_account(&person.jid, &person.password, rounds).await.map_err(fault)?;
    }
    // The echo account is there before it gets contacts; nobody knows its password.
    let echo =
        Jid::new(Some(crate::bridge::echo::NAME), domain, None).map_err(|e| e.to_string())?;
    let nobody = random_password().map_err(|e| e.to_string())?;
    let made = store.ensure_account(&echo, &nobody, config.xmpp.scram_iterations).await;
    made.map_err(|e| e.to_string())?;
    befriend(store, &people, domain).await.map_err(|e| e.to_string())?;
    Ok(people)
}

async fn befriend(store: &Store, people: &[Person], domain: &str) -> Result<(), StoreError> {
    let echo = Jid::new(Some(crate::bridge::echo::NAME), domain, None);
    let echo = echo.map_err(|e| StoreError::Unavailable(e.to_string()))?;
    for person in people {
        let known = Rosters::load(store, &person.jid).await?;
        let others = people.iter().filter(|p| p.jid != person.jid).map(|p| (&p.jid, p.who));
        for (jid, name) in others.chain([(&echo, "Echo")]) {
            if known.item(jid).is_some() {
                continue;
            }
            let mut item = RosterItem::new(jid.clone());
            item.name = Some(name.to_owned());
            item.to = true;
            item.from = true;
            store.put(&person.jid, &item).await?;
            if *jid == echo {
                let back =
                    RosterItem { to: true, from: true, ..RosterItem::new(person.jid.clone()) };
                store.put(&echo, &back).await?;
            }
        }
    }
    Ok(())
}

fn read_passwords(path: &Path) -> Result<Vec<(String, String)>, String> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text
            .lines()
            .filter_map(|l| l.split_once(' '))
            .map(|(jid, password)| (jid.to_owned(), password.to_owned()))
            .collect()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(format!("{}: {e}", path.display())),
    }
}

fn write_passwords(path: &Path, people: &[Person]) -> Result<(), String> {
    let text: String = people.iter().map(|p| format!("{} {}\n", p.jid, p.password)).collect();
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = options
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    written.map_err(|e| format!("{}: {e}", path.display()))
}

/// What a newcomer reads first.
pub fn banner(addresses: &Addresses, people: &[Person], data_dir: &Path) -> String {
    let port = |list: &[SocketAddr]| list.first().map_or(0, SocketAddr::port);
    let mut text = String::from("\nTandem runs. Accounts:\n\n");
    for person in people {
        let _ = writeln!(
            text,
            "  {:<18} password {}   {}",
            person.jid.as_str(),
            person.password,
            person.who
        );
    }
    let _ = write!(
        text,
        "\n  echo@localhost     answers messages with the same text; call it and it plays back what it hears\n\n\
         XMPP app:     address ana@localhost, server 127.0.0.1, port {} (STARTTLS) or {} (TLS);\n\
         \u{20}             accept the self-signed certificate.\n\
         SIP phone:    user ana, domain localhost, proxy 127.0.0.1, port {} (UDP or TCP) or {} (TLS)\n\
         Web client:   wss://localhost:{}/xmpp-websocket; web phone: the same with /sip-websocket\n\
         Health:       http://127.0.0.1:{}/health/ready, metrics at /metrics\n\
         Data:         {}\n\n\
         Ctrl+C stops it; nothing is lost.\n\n",
        port(&addresses.xmpp),
        port(&addresses.xmpps),
        port(&addresses.sip),
        port(&addresses.sips),
        port(&addresses.https),
        port(&addresses.metrics),
        data_dir.display(),
    );
    text
}
