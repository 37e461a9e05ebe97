//! RFC 7616 sections 3.3 and 5.4: nonces that prove their own age, and counters that are not taken twice.
//!
//! A nonce is its time, some salt and an HMAC over both and the realm, so a flood of challenges costs no memory. Only
//! nonces that were answered rightly are remembered, with a window of counters each, as UDP reorders.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// What a nonce is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NonceState {
    /// Ours and young enough.
    Fresh,
    /// Ours, too old: challenge again with `stale=true` when the rest was right.
    Stale,
    /// Not ours.
    Foreign,
}

/// Makes and judges nonces.
pub struct Nonces {
    /// Begun with the secret.
    mac: Hmac<Sha256>,
    epoch: Instant,
    life: Duration,
    capacity: usize,
    salt: u64,
    /// By the salt of the nonce, which no two share.
    windows: HashMap<u64, Window>,
    /// The salts of the remembered nonces in the order of their first use.
    order: VecDeque<u64>,
    /// Nonces made in or before this millisecond are stale: one of them was forgotten before its time.
    forgotten: Option<u64>,
}

/// The millisecond a nonce was made in, and its salt.
type Stamp = (u64, u64);

struct Window {
    /// The low bits of the millisecond the nonce was made in: it is forgotten long before they repeat.
    made: u32,
    highest: u32,
    /// Bit n: the count `highest - n` was seen.
    seen: u64,
}

/// Answered nonces that there is room for from the first on, those of a hundred requests a second with a new one each. Pages
/// that nothing is written to take no memory, and a table that grows takes three times its room while it does.
const ROOM: usize = 40_000;
const STAMP_LEN: usize = 16;
const MAC_LEN: usize = 16;

impl Nonces {
    /// `secret` is random; `life` is how long a nonce is taken (60 to 300 s); `capacity` is how many answered nonces
    /// are remembered. Beyond it the oldest is forgotten, and it and all that were made before it become stale.
    pub fn new(secret: [u8; 32], life: Duration, capacity: usize, now: Instant) -> Self {
        Nonces {
            mac: <Hmac<Sha256> as KeyInit>::new_from_slice(&secret)
                .expect("HMAC takes a key of any length"),
            epoch: now,
            life,
            capacity: capacity.max(1),
            salt: 0,
            windows: HashMap::new(),
            order: VecDeque::new(),
            forgotten: None,
        }
    }

    /// A new nonce for that realm.
    pub fn make(&mut self, realm: &str, now: Instant) -> String {
        self.salt = self.salt.wrapping_add(1);
        let mut bytes = Vec::with_capacity(STAMP_LEN + MAC_LEN);
        bytes.extend_from_slice(&self.millis(now).to_be_bytes());
        bytes.extend_from_slice(&self.salt.to_be_bytes());
        let mac = self.mac(&bytes, realm);
        bytes.extend_from_slice(&mac);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Whether a nonce is ours and how old it is.
    pub fn judge(&self, nonce: &str, realm: &str, now: Instant) -> NonceState {
        let decoded = URL_SAFE_NO_PAD.decode(nonce).unwrap_or_default();
        let Some((stamp, mac)) = decoded.split_at_checked(STAMP_LEN) else {
            return NonceState::Foreign;
        };
        if !bool::from(self.mac(stamp, realm).ct_eq(mac)) {
            return NonceState::Foreign;
        }
        let stamp = stamp_of(stamp);
        let is_young = self.millis(now).saturating_sub(stamp.0) <= self.life_millis();
        let is_remembered = self.windows.contains_key(&stamp.1)
            || self.forgotten.is_none_or(|floor| stamp.0 > floor);
        if is_young && is_remembered { NonceState::Fresh } else { NonceState::Stale }
    }

    /// Notes that a fresh nonce was used with that count; `false` when it was so before, or is too far behind.
    /// Call it only after the hash was right: others must not use up a client's counts.
    pub fn take(&mut self, nonce: &str, count: u32, now: Instant) -> bool {
        self.forget_old(now);
        let (made, salt) = stamp_of(&URL_SAFE_NO_PAD.decode(nonce).unwrap_or_default());
        if self.windows.capacity() == 0 {
            self.windows.reserve(ROOM.min(self.capacity));
        }
        if !self.windows.contains_key(&salt) {
            if self.order.len() >= self.capacity {
                self.forget_oldest(now);
            }
            self.order.push_back(salt);
        }
        let made = low_bits(made);
        self.windows.entry(salt).or_insert(Window { made, highest: 0, seen: 0 }).take(count)
    }

    /// Nonces past their life are stale by their stamp alone.
    fn forget_old(&mut self, now: Instant) {
        while let Some(salt) = self.order.front() {
            if self.windows.get(salt).is_some_and(|w| self.age_millis(w, now) <= self.life_millis())
            {
                break;
            }
            self.windows.remove(salt);
            self.order.pop_front();
        }
    }

    fn forget_oldest(&mut self, now: Instant) {
        if let Some(window) = self.order.pop_front().and_then(|salt| self.windows.remove(&salt)) {
            let made = self.millis(now).saturating_sub(self.age_millis(&window, now));
            self.forgotten = self.forgotten.max(Some(made));
        }
    }

    fn age_millis(&self, window: &Window, now: Instant) -> u64 {
        u64::from(low_bits(self.millis(now)).wrapping_sub(window.made))
    }

    fn mac(&self, stamp: &[u8], realm: &str) -> [u8; MAC_LEN] {
        let mut mac = self.mac.clone();
        mac.update(stamp);
        mac.update(realm.as_bytes());
        let mut out = [0; MAC_LEN];
        out.iter_mut().zip(mac.finalize().into_bytes()).for_each(|(to, from)| *to = from);
        out
    }

    fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.epoch).as_millis()).unwrap_or(u64::MAX)
    }

    fn life_millis(&self) -> u64 {
        u64::try_from(self.life.as_millis()).unwrap_or(u64::MAX)
    }
}

fn low_bits(millis: u64) -> u32 {
    (millis & u64::from(u32::MAX)) as u32
}

fn stamp_of(stamp: &[u8]) -> Stamp {
    let number = |bytes: &[u8]| bytes.first_chunk::<8>().map_or(0, |b| u64::from_be_bytes(*b));
    let (made, salt) = stamp.split_at_checked(8).unwrap_or_default();
    (number(made), number(salt))
}

impl Window {
    fn take(&mut self, count: u32) -> bool {
        if count == 0 {
            return false;
        }
        if count > self.highest {
            self.seen = self.seen.checked_shl(count - self.highest).unwrap_or(0) | 1;
            self.highest = count;
            return true;
        }
        let bit = 1u64.checked_shl(self.highest - count).unwrap_or(0);
        let is_new = bit != 0 && self.seen & bit == 0;
        self.seen |= bit;
        is_new
    }
}

/// Without the secret.
impl std::fmt::Debug for Nonces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nonces").field("remembered", &self.order.len()).finish_non_exhaustive()
    }
}
