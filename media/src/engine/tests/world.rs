//! The world of the stories: a virtual wire between the engine, one phone and one browser.

use super::super::*;
use crate::control::{Candidate, Cause, LegCodecs, RemoteTransport, SdesPair, Setup};
use crate::dtls::is_dtls;
use crate::session::packet::{Header, is_rtcp};
use crate::srtp::{MasterKey, Profile};
use crate::stun;

pub(super) const CALL: CallId = CallId(64);
pub(super) const PHONE: LegId = LegId(128);
pub(super) const BROWSER: LegId = LegId(192);

pub(super) struct Browser {
    pub(super) webrtc: WebRtc,
    pub(super) address: SocketAddr,
    pub(super) keys: Option<(Context, Context)>,
    pub(super) heard: Vec<(Header, Vec<u8>)>,
    pub(super) reports: usize,
}

pub(super) struct World {
    pub(super) engine: Engine,
    pub(super) identity: Arc<Identity>,
    pub(super) now: Instant,
    pub(super) phone: SocketAddr,
    pub(super) browser: Option<Browser>,
    /// What the phone got on its RTP port.
    pub(super) heard: Vec<(Header, Vec<u8>)>,
    /// What left by an RTCP socket.
    pub(super) reports: Vec<SocketAddr>,
    pub(super) events: Vec<MediaEvent>,
    pub(super) counters: [Arc<Counters>; 2],
    pub(super) strangers: Arc<Counters>,
}

pub(super) fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(super) fn codecs(payload_type: u8, codec: Codec, dtmf: Option<(u8, u32)>) -> LegCodecs {
    LegCodecs {
        receive: vec![(payload_type, codec)],
        send: (payload_type, codec),
        dtmf_receive: dtmf.into_iter().collect(),
        dtmf_send: dtmf,
        ptime_ms: 20,
    }
}

pub(super) fn rtp(payload_type: u8, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let timestamp = u32::from(sequence) * 160;
    let header = Header { marker: false, payload_type, sequence, timestamp, ssrc: 77 };
    [&header.to_bytes(), payload].concat()
}

pub(super) fn remote(address: SocketAddr, srtp: Option<SdesPair>) -> RtpRemote {
    RtpRemote { addr: address, rtcp: None, rtcp_mux: false, srtp }
}

pub(super) fn keys() -> SdesPair {
    let key = |byte| MasterKey { profile: Profile::Aes128CmSha1_80, key_and_salt: vec![byte; 30] };
    SdesPair { ours: key(1), theirs: key(2) }
}

impl World {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        let identity = Arc::new(Identity::generate().unwrap());
        let strangers = Arc::new(Counters::default());
        let wall = Duration::from_secs(1_700_000_000);
        let engine = Engine::new(identity.clone(), [3; 32], now, wall, strangers.clone());
        let mut world = Self {
            engine,
            identity,
            now,
            phone: address("192.0.2.1:4000"),
            browser: None,
            heard: Vec::new(),
            reports: Vec::new(),
            events: Vec::new(),
            counters: Default::default(),
            strangers,
        };
        let counters = world.counters[0].clone();
        world.say(Command::OpenRtp { call: CALL, leg: PHONE, counters });
        world
    }

    pub(super) fn say(&mut self, command: Command) {
        self.engine.handle_command(command, self.now);
        self.pump();
    }

    /// The phone is a plain one that speaks PCMU and events as 101.
    pub(super) fn plain_phone(&mut self) {
        self.say(Command::SetRtpRemote(PHONE, remote(self.phone, None)));
        let dtmf = Some((101, 8_000));
        self.say(Command::SetCodecs(PHONE, codecs(0, Codec::Pcmu, dtmf)));
    }

    pub(super) fn open_browser(&mut self, theirs: &Identity, expected: &str, setup: Setup) {
        let credentials = |name: &str| Credentials {
            ufrag: format!("{name}frag"),
            pwd: format!("{name}-password-of-22-chars"),
        };
        let counters = self.counters[1].clone();
        self.say(Command::OpenWebRtc {
            call: CALL,
            leg: BROWSER,
            controlling: setup != Setup::Passive,
            ours: credentials("gate"),
            tie_breaker: 9,
            counters,
        });
        let identity = Arc::new(Identity::generate().unwrap());
        let fingerprint = identity.fingerprint().to_owned();
        let mut webrtc = WebRtc::new(credentials("page"), setup == Setup::Passive, 4, identity);
        let gateway = Candidate::host(0, address("198.51.100.1:3479"));
        let their_setup = if setup == Setup::Active { Setup::Passive } else { Setup::Active };
        webrtc.set_remote(description("gate", expected, their_setup, vec![gateway]), self.now);
        let address = address("203.0.113.5:5000");
        let (keys, heard) = (None, Vec::new());
        self.browser = Some(Browser { webrtc, address, keys, heard, reports: 0 });
        let shown = if theirs.fingerprint().is_empty() { String::new() } else { fingerprint };
        self.say(Command::SetWebRtcRemote(BROWSER, description("page", &shown, setup, vec![])));
    }

    /// A browser that speaks `codec` as 111 and events as 126 at 48 kHz, connected with the phone.
    pub(super) fn connected(codec: Codec) -> Self {
        let mut world = Self::new();
        world.plain_phone();
        let identity = world.identity.clone();
        world.open_browser(&identity, identity.fingerprint(), Setup::Active);
        world.say(Command::SetCodecs(BROWSER, codecs(111, codec, Some((126, 48_000)))));
        world.say(Command::Connect(PHONE, BROWSER));
        world.run(Duration::from_secs(2));
        assert!(world.browser().keys.is_some());
        world.events.clear();
        world
    }

    pub(super) fn browser(&mut self) -> &mut Browser {
        self.browser.as_mut().unwrap()
    }

    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.pump();
            self.now += Duration::from_millis(10);
            if self.engine.poll_timeout().is_some_and(|at| self.now >= at) {
                self.engine.handle_timeout(self.now);
            }
            if let Some(browser) = &mut self.browser
                && browser.webrtc.poll_timeout().is_some_and(|at| self.now >= at)
            {
                browser.webrtc.handle_timeout(self.now);
            }
        }
        self.pump();
    }

    pub(super) fn phone_says(&mut self, mut datagram: Vec<u8>) {
        let phone = self.phone;
        self.engine.handle_datagram(Socket::Rtp(PHONE), phone, &mut datagram, self.now);
        self.pump();
    }

    pub(super) fn browser_says(&mut self, mut packet: Vec<u8>) {
        let length = packet.len();
        packet.resize(length + 40, 0);
        let browser = self.browser();
        let (out, _) = browser.keys.as_mut().unwrap();
        let sealed = out.protect_rtp(&mut packet, length).unwrap();
        packet.truncate(sealed);
        self.browser_sends(packet);
    }

    pub(super) fn browser_sends(&mut self, mut datagram: Vec<u8>) {
        let from = self.browser().address;
        self.engine.handle_datagram(Socket::Shared, from, &mut datagram, self.now);
        self.pump();
    }

    /// Carries everything until nobody has anything to send.
    pub(super) fn pump(&mut self) {
        loop {
            let sent: Vec<(Queued, Vec<u8>)> =
                self.engine.outbox().iter().map(|(q, b)| (q, b.to_vec())).collect();
            self.engine.outbox().clear();
            let mut quiet = sent.is_empty();
            for (queued, bytes) in sent {
                self.deliver(queued, bytes);
            }
            if let Some(browser) = &mut self.browser {
                let mut out: Vec<Vec<u8>> = Vec::new();
                out.extend(std::iter::from_fn(|| browser.webrtc.poll_stun().map(|(_, b)| b)));
                out.extend(std::iter::from_fn(|| browser.webrtc.poll_dtls()));
                quiet &= out.is_empty();
                let from = browser.address;
                for mut datagram in out {
                    self.engine.handle_datagram(Socket::Shared, from, &mut datagram, self.now);
                }
            }
            self.events.extend(std::iter::from_fn(|| self.engine.poll_event()));
            if quiet {
                return;
            }
        }
    }

    pub(super) fn deliver(&mut self, queued: Queued, mut bytes: Vec<u8>) {
        match queued.socket {
            Socket::Rtp(_) => {
                let (header, range) = Header::parse(&bytes).unwrap();
                self.heard.push((header, bytes[range].to_vec()));
            }
            Socket::Rtcp(_) => self.reports.push(queued.to),
            Socket::Shared => {
                let (now, gateway) = (self.now, address("198.51.100.1:3479"));
                let Some(browser) = &mut self.browser else { return };
                if stun::is_stun(&bytes) {
                    let message = stun::Message::parse(&bytes).unwrap();
                    browser.webrtc.handle_stun(&message, gateway, now).unwrap();
                } else if is_dtls(&bytes) {
                    if let Outcome::Keys(keys) = browser.webrtc.handle_dtls(&bytes, now) {
                        let context = |key| Context::new(key).unwrap();
                        browser.keys = Some((context(&keys.ours), context(&keys.theirs)));
                    }
                } else if is_rtcp(&bytes) {
                    let (_, theirs) = browser.keys.as_mut().unwrap();
                    theirs.unprotect_rtcp(&mut bytes).unwrap();
                    browser.reports += 1;
                } else {
                    let (_, theirs) = browser.keys.as_mut().unwrap();
                    let length = theirs.unprotect_rtp(&mut bytes).unwrap();
                    let (header, range) = Header::parse(&bytes[..length]).unwrap();
                    browser.heard.push((header, bytes[range].to_vec()));
                }
            }
        }
    }

    pub(super) fn drops(&self, leg: LegId, cause: Cause) -> u64 {
        self.counters[usize::from(leg == BROWSER)].read().drops.of(cause)
    }
}

pub(super) fn description(
    name: &str,
    fingerprint: &str,
    setup: Setup,
    candidates: Vec<Candidate>,
) -> RemoteTransport {
    RemoteTransport {
        ufrag: format!("{name}frag"),
        pwd: format!("{name}-password-of-22-chars"),
        fingerprints: vec![("SHA-256".into(), fingerprint.to_lowercase())],
        setup,
        candidates,
    }
}

/// A fresh browser leg whose peer is described by `told`, whatever its certificate is.
pub(super) fn reopen_with(world: &mut World, told: RemoteTransport) {
    let identity = world.identity.clone();
    world.open_browser(&identity, identity.fingerprint(), Setup::Active);
    world.say(Command::CloseLeg(BROWSER));
    world.events.clear();
    let browser = world.browser.take();
    let counters = world.counters[1].clone();
    let ours = Credentials { ufrag: "gatefrag".into(), pwd: "gate-password-of-22-chars".into() };
    let (call, leg) = (CALL, BROWSER);
    world.say(Command::OpenWebRtc { call, leg, controlling: true, ours, tie_breaker: 1, counters });
    world.browser = browser;
    world.say(Command::SetWebRtcRemote(BROWSER, told));
}
