//! Echoes one WebRTC peer: prints our transport as `name value` lines, reads the peer's the same way until `go`.
//!
//! In: `ufrag`, `pwd`, `fingerprint`, `setup` (active or passive), `codec` (payload type and name), `candidate` (address).
//! Arguments: our address, and `controlling` when the peer answers us. Then one line of counters a second, until standard input ends.

use std::io::BufRead as _;
use std::net::SocketAddr;
use std::time::Duration;

use tandem_media::codec::Codec;
use tandem_media::{Candidate, Config, LegCodecs, Media, RemoteTransport, Setup};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address: SocketAddr =
        std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned()).parse()?;
    let config = Config { webrtc: address, ..Config::default() };
    // A fixed seed: fit for a try, never for a server.
    let media = Media::start(config, [7; 32], |event| println!("event {event:?}"))?;
    let controlling = std::env::args().nth(2).is_some_and(|role| role == "controlling");
    let (leg, local) = media.open_webrtc(media.open_call(), controlling, [9; 32])?;
    println!("ufrag {}\npwd {}\nfingerprint {}", local.ufrag, local.pwd, local.fingerprint_sha256);
    for candidate in &local.candidates {
        println!("candidate {}", candidate.address);
    }
    println!("end");
    let mut remote = RemoteTransport {
        ufrag: String::new(),
        pwd: String::new(),
        fingerprints: Vec::new(),
        setup: Setup::Active,
        candidates: Vec::new(),
    };
    let mut codec = (0, Codec::Pcmu);
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (name, value) = line.split_once(' ').unwrap_or((&line, ""));
        match name {
            "ufrag" => value.clone_into(&mut remote.ufrag),
            "pwd" => value.clone_into(&mut remote.pwd),
            "fingerprint" => remote.fingerprints.push(("sha-256".to_owned(), value.to_owned())),
            "setup" => {
                remote.setup = if value == "passive" { Setup::Passive } else { Setup::Active };
            }
            "codec" => {
                let (number, name) = value.split_once(' ').ok_or("codec needs number and name")?;
                let rate = if name == "opus" { 48_000 } else { 8_000 };
                codec = (number.parse()?, Codec::from_rtpmap(name, rate).ok_or("unknown codec")?);
            }
            "candidate" => remote.candidates.push(Candidate {
                foundation: "1".to_owned(),
                component: 1,
                priority: 1,
                address: value.parse()?,
                kind: "host".to_owned(),
            }),
            "go" => break,
            _ => return Err(format!("unknown word {name}").into()),
        }
    }
    media.set_codecs(
        leg,
        LegCodecs {
            receive: vec![codec],
            send: codec,
            dtmf_receive: Vec::new(),
            dtmf_send: None,
            ptime_ms: 20,
        },
    );
    media.echo(leg);
    media.set_webrtc_remote(leg, remote);
    std::thread::spawn(move || {
        for _ in 0..600 {
            std::thread::sleep(Duration::from_secs(1));
            println!("stats {:?}", media.stats(leg));
        }
    });
    // Ends with its caller.
    std::io::stdin().lock().lines().for_each(drop);
    Ok(())
}
