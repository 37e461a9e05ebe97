//! Calls that begin at a rate, whatever becomes of them, by phones that send again what is not answered (RFC 3261 section 17).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::fmt;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Callees, Callers, Message, Phones, Target, account};

/// T1 and T2 of RFC 3261 section 17.1.1.1.
const FIRST_REPEAT: Duration = Duration::from_millis(500);
const LONGEST_REPEAT: Duration = Duration::from_secs(4);

/// What became of calls that were offered.
#[derive(Debug, Default)]
pub struct Offered {
    /// Calls that went from INVITE to the answered BYE, in a second.
    pub per_second: f64,
    /// Calls that began.
    pub begun: u64,
    /// Of these, answered with a 503.
    pub refused: u64,
    /// Answered with another refusal.
    pub failed: u64,
    /// Requests that were sent again.
    pub repeats: u64,
    /// Calls without an end although they began more than four seconds before the end.
    pub open: u64,
    /// From the INVITE to the 200, the median and the 99th of 100, in milliseconds.
    pub waited: (f64, f64),
}

impl fmt::Display for Offered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} began, {} got a 503, {} another refusal, {} requests were sent again, {} calls of more than 4 s had no end, \
             answers came after {:.0} ms in the median and {:.0} ms at the 99th of 100",
            self.begun,
            self.refused,
            self.failed,
            self.repeats,
            self.open,
            self.waited.0,
            self.waited.1
        )
    }
}

/// A request that waits for an answer.
struct Pending {
    text: String,
    pause: Duration,
    /// Which of the call's requests this is: what was armed for an earlier one is void.
    step: u32,
    is_up: bool,
}

struct Load {
    callers: Callers,
    pending: HashMap<String, Pending>,
    due: BinaryHeap<Reverse<(Instant, String, u32)>>,
    waits: Vec<f64>,
    found: Offered,
}

impl Load {
    fn begin(&mut self, from: usize, to: usize, now: Instant) -> Result<()> {
        self.callers.begin(from, to)?;
        let id = format!("c{}-{}", self.callers.serial, self.callers.phones.port);
        self.found.begun += 1;
        self.expect(id, 1, false, now);
        Ok(())
    }

    /// What was sent last waits for its answer.
    fn expect(&mut self, id: String, step: u32, is_up: bool, now: Instant) {
        let text = self.callers.phones.last.clone();
        self.due.push(Reverse((now + FIRST_REPEAT, id.clone(), step)));
        self.pending.insert(id, Pending { text, pause: FIRST_REPEAT, step, is_up });
    }

    fn repeat(&mut self, now: Instant) -> Result<()> {
        while self.due.peek().is_some_and(|Reverse((at, ..))| *at <= now) {
            let Some(Reverse((_, id, step))) = self.due.pop() else { break };
            let Some(pending) = self.pending.get_mut(&id).filter(|p| p.step == step) else {
                continue;
            };
            // An INVITE has no upper bound but its end after 32 s.
            pending.pause *= 2;
            if pending.is_up {
                pending.pause = pending.pause.min(LONGEST_REPEAT);
            }
            let text = std::mem::take(&mut pending.text);
            self.callers.phones.send(&text)?;
            self.found.repeats += 1;
            if let Some(pending) = self.pending.get_mut(&id) {
                pending.text = text;
                self.due.push(Reverse((now + pending.pause, id, step)));
            }
        }
        Ok(())
    }

    fn handle(&mut self, answer: &Message, now: Instant) -> Result<bool> {
        let id = answer.get("call-id").to_owned();
        let (number, method) = answer.get("cseq").split_once(' ').unwrap_or_default();
        let step: u32 = number.parse().unwrap_or(0);
        let Some(call) = self.callers.calls.get(&id) else { return Ok(false) };
        let (number, begun, to) = (call.number, call.begun, call.to);
        let is_up = self.pending.get(&id).is_some_and(|pending| pending.is_up);
        let uri = || format!("sip:{}@{}", account(to), self.callers.phones.domain);
        match (answer.status().unwrap_or(0), method) {
            (200, "INVITE") => {
                self.callers.inside(answer, "ACK", step)?;
                if !is_up && step == number {
                    self.waits.push(now.duration_since(begun).as_secs_f64() * 1_000.0);
                    self.callers.inside(answer, "BYE", step + 1)?;
                    self.expect(id, step + 1, true, now);
                }
                return Ok(false);
            }
            (401 | 407, "INVITE") if step == number && !is_up => {
                self.callers.challenged(answer, &id)?;
                self.expect(id, step + 1, false, now);
                return Ok(false);
            }
            (300.., "INVITE") => self.callers.acknowledge(answer, &uri())?,
            (200.., "BYE") => {
                self.callers.calls.remove(&id);
                self.pending.remove(&id);
                return Ok(true);
            }
            // A provisional answer: whoever rings needs no second INVITE.
            (100..200, _) => {
                self.pending.entry(id).and_modify(|pending| pending.step = 0);
                return Ok(false);
            }
            _ => return Ok(false),
        }
        if step == number && !is_up {
            self.callers.calls.remove(&id);
            self.pending.remove(&id);
            match answer.status() {
                Some(503) => self.found.refused += 1,
                _ => self.found.failed += 1,
            }
        }
        Ok(false)
    }
}

/// Calls begin `rate` times a second, whatever becomes of them, from each of some accounts in turn.
///
/// # Errors
///
/// Sockets fail.
pub fn offered(server: Target, accounts: usize, rate: f64, time: Duration) -> Result<Offered> {
    let _callees = Callees::start(server, accounts..2 * accounts, 40_000, false, |_| {})?;
    let phones = Phones::new(server)?;
    phones.socket.set_read_timeout(Some(Duration::from_millis(1)))?;
    let callers = Callers { phones, calls: HashMap::new(), serial: 0, rtp: 40_002 };
    let mut load = Load {
        callers,
        pending: HashMap::new(),
        due: BinaryHeap::new(),
        waits: Vec::new(),
        found: Offered::default(),
    };
    let begun = Instant::now();
    let mut done = 0_u64;
    while begun.elapsed() < time {
        let now = Instant::now();
        while (load.found.begun as f64) < begun.elapsed().as_secs_f64() * rate {
            let from = usize::try_from(load.found.begun)? % accounts;
            load.begin(from, from + accounts, now)?;
        }
        load.repeat(now)?;
        // All that has come, and then on.
        for _ in 0..64 {
            let Some(answer) = load.callers.phones.receive()? else { break };
            done += u64::from(load.handle(&answer, Instant::now())?);
        }
    }
    let calls = load.callers.calls.values();
    let open = calls.filter(|call| call.begun.elapsed() > LONGEST_REPEAT).count();
    let mut found = load.found;
    found.open = u64::try_from(open)?;
    found.per_second = done as f64 / time.as_secs_f64();
    load.waits.sort_by(f64::total_cmp);
    let at = |share: f64| load.waits.get((load.waits.len() as f64 * share) as usize).copied();
    found.waited = (at(0.5).unwrap_or(0.0), at(0.99).unwrap_or(0.0));
    Ok(found)
}
