//! What waits for the core, the urgent first, and what waits too long (RFC 3261 section 21.5.4, RFC 5390 section 4).
//!
//! A server that takes everything in turn does least when there is most to do: it works on calls whose callers have given up,
//! while what would end the running ones waits behind them. So what goes on comes first, whatever is new waits, new calls last,
//! and what waits longer than its sender does without asking again is to be refused, which is cheap. While nothing waits
//! for long, everything keeps the order in which it came, and a CANCEL never overtakes its call.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Flow;
use crate::msg::{Message, Method, Name};

/// While the oldest has waited for less, there is time for all: they keep their order.
const CALM: Duration = Duration::from_millis(10);

/// How urgent a message is, the most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// It goes on with something or ends it: an answer, an ACK, a BYE, whatever is inside a dialog. Never turned away.
    Running,
    /// New, but no call: a registration, a message.
    Other,
    /// A call whose caller brings an answer to our challenge: half of its work is done.
    ProvenCall,
    /// A call.
    Call,
}

impl Class {
    /// All, the most urgent first.
    pub const ALL: [Self; 4] = [Self::Running, Self::Other, Self::ProvenCall, Self::Call];

    /// How long such a message may wait. A phone that is not answered within 500 ms sends again (T1), which makes it worse.
    pub const fn patience(self) -> Option<Duration> {
        match self {
            Self::Running => None,
            Self::Other => Some(Duration::from_millis(400)),
            Self::ProvenCall => Some(Duration::from_millis(250)),
            Self::Call => Some(Duration::from_millis(100)),
        }
    }

    /// How many may wait: what comes in faster than it can even be refused is lost.
    const fn most(self) -> usize {
        match self {
            Self::Running => 16_384,
            Self::Other => 8_192,
            Self::ProvenCall | Self::Call => 4_096,
        }
    }

    /// Of a message as it arrived, which nobody has read yet: a look at its lines. What is no message is as good as any other.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        let mut words = bytes.splitn(2, |byte| *byte == b' ');
        let first = words.next().unwrap_or_default();
        if matches!(first, b"SIP/2.0" | b"ACK" | b"BYE" | b"CANCEL") {
            return Self::Running;
        }
        let marks = Marks::of(words.next().unwrap_or_default());
        Self::judge(marks.is_inside, first == b"INVITE", marks.is_proven)
    }

    /// Of a message that was read.
    #[must_use]
    pub fn of(message: &Message) -> Self {
        let Message::Request(request) = message else { return Self::Running };
        if matches!(request.method, Method::ACK | Method::BYE | Method::CANCEL) {
            return Self::Running;
        }
        let is_inside = request.headers.to().is_ok_and(|to| to.tag().is_some());
        let is_proven = request.headers.has(Name::Authorization);
        Self::judge(is_inside, request.method == Method::INVITE, is_proven)
    }

    const fn judge(is_inside: bool, is_invite: bool, is_proven: bool) -> Self {
        match (is_inside, is_invite, is_proven) {
            (true, ..) => Self::Running,
            (false, false, _) => Self::Other,
            (false, true, true) => Self::ProvenCall,
            (false, true, false) => Self::Call,
        }
    }

    /// Whether a message that arrived then has waited too long.
    #[must_use]
    pub fn is_late(self, at: Instant, now: Instant) -> bool {
        self.patience().is_some_and(|patience| now.saturating_duration_since(at) >= patience)
    }
}

/// What the header of a request says.
#[derive(Default)]
struct Marks {
    is_inside: bool,
    is_proven: bool,
}

impl Marks {
    fn of(header: &[u8]) -> Self {
        let mut marks = Self::default();
        let mut is_to = false;
        let mut rest = header;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, after) = rest.split_at(end + 1);
            rest = after;
            match line.first() {
                Some(b'\r' | b'\n') => break,
                // Folded: it belongs to the line before.
                Some(b' ' | b'\t') => {}
                _ => {
                    is_to = names(line, b"to") || names(line, b"t");
                    marks.is_proven |= names(line, b"authorization");
                }
            }
            marks.is_inside |= is_to && has_tag(line);
            if marks.is_inside {
                break;
            }
        }
        marks
    }
}

fn names(line: &[u8], name: &[u8]) -> bool {
    line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
        && matches!(line.get(name.len()), Some(b':' | b' ' | b'\t'))
}

fn has_tag(line: &[u8]) -> bool {
    line.windows(5).any(|part| part.eq_ignore_ascii_case(b";tag="))
}

/// The Call-ID of a message that nobody has read yet.
#[must_use]
pub fn call_of_bytes(bytes: &[u8]) -> Option<&[u8]> {
    let lines = bytes.split(|byte| *byte == b'\n').skip(1);
    let mut header = lines.take_while(|line| !matches!(line, [] | [b'\r']));
    let line = header.find(|line| names(line, b"call-id") || names(line, b"i"))?;
    let colon = memchr::memchr(b':', line)?;
    Some(line.get(colon + 1..)?.trim_ascii())
}

struct Waiting<T> {
    /// Where it stands in the order of arrival.
    order: u64,
    at: Instant,
    flow: Flow,
    what: T,
}

/// What has arrived and is not worked on yet.
pub struct Backlog<T> {
    /// A line for each class.
    lines: [VecDeque<Waiting<T>>; Class::ALL.len()],
    arrived: u64,
}

impl<T> Default for Backlog<T> {
    fn default() -> Self {
        Self { lines: std::array::from_fn(|_| VecDeque::new()), arrived: 0 }
    }
}

impl<T> Backlog<T> {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.lines.iter().all(VecDeque::is_empty)
    }

    /// Takes something in. False: too much waits already, and it is lost, as the network might have lost it.
    pub fn push(&mut self, class: Class, flow: Flow, what: T, now: Instant) -> bool {
        let Some(line) = self.lines.get_mut(class as usize) else { return false };
        let has_room = line.len() < class.most();
        if has_room {
            self.arrived += 1;
            line.push_back(Waiting { order: self.arrived, at: now, flow, what });
        }
        has_room
    }

    /// The calls that are meant are as urgent as what runs from now on: what ends them has come, and must not be worked
    /// on before them (RFC 3261 section 9.2: a CANCEL that finds no call is answered 481, and the call would ring).
    pub fn hasten(&mut self, is_meant: impl Fn(&Flow, &T) -> bool) {
        let [running, _, proven, fresh] = &mut self.lines;
        for line in [proven, fresh] {
            let is_there = line.iter().any(|waiting| is_meant(&waiting.flow, &waiting.what));
            if !is_there {
                continue;
            }
            let (meant, others) = std::mem::take(line)
                .into_iter()
                .partition(|waiting| is_meant(&waiting.flow, &waiting.what));
            *line = others;
            running.extend::<VecDeque<_>>(meant);
        }
    }

    /// The next to work on: what came first; and once something has waited, what runs, then what is new.
    pub fn pop(&mut self, now: Instant) -> Option<(Flow, T)> {
        let heads = self.lines.iter().enumerate();
        let heads =
            heads.filter_map(|(line, l)| l.front().map(|first| (first.order, first.at, line)));
        let (_, at, oldest) = heads.min_by_key(|(order, ..)| *order)?;
        let next = if now.saturating_duration_since(at) < CALM {
            self.lines.get_mut(oldest).and_then(VecDeque::pop_front)?
        } else {
            self.lines.iter_mut().find_map(VecDeque::pop_front)?
        };
        Some((next.flow, next.what))
    }

    /// The next that has waited too long, calls first.
    pub fn pop_late(&mut self, now: Instant) -> Option<(Flow, T)> {
        for (class, line) in Class::ALL.into_iter().zip(&mut self.lines).rev() {
            if line.front().is_some_and(|first| class.is_late(first.at, now)) {
                return line.pop_front().map(|late| (late.flow, late.what));
            }
        }
        None
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // an origin for virtual time
mod tests {
    use super::*;
    use crate::transport::Protocol;

    fn flow() -> Flow {
        let [peer, local] = [([192, 0, 2, 7], 5060).into(), ([192, 0, 2, 1], 5060).into()];
        Flow { protocol: Protocol::Udp, socket: 0, peer, local }
    }

    #[test]
    fn what_goes_on_is_told_from_what_is_new_before_it_is_read() {
        let table = [
            ("SIP/2.0 200 OK\r\nTo: <sip:a@b>\r\n\r\n", Class::Running),
            ("ACK sip:a@b SIP/2.0\r\nTo: <sip:a@b>\r\n\r\n", Class::Running),
            ("BYE sip:a@b SIP/2.0\r\nTo: <sip:a@b>\r\n\r\n", Class::Running),
            ("CANCEL sip:a@b SIP/2.0\r\nTo: <sip:a@b>\r\n\r\n", Class::Running),
            ("INVITE sip:a@b SIP/2.0\r\nTo: <sip:a@b>;tag=1\r\n\r\n", Class::Running),
            ("INVITE sip:a@b SIP/2.0\r\nt : <sip:a@b> ;Tag=1\r\n\r\n", Class::Running),
            ("INVITE sip:a@b SIP/2.0\r\nTO: A\r\n <sip:a@b>\r\n\t;tag=1\r\n\r\n", Class::Running),
            (
                "INFO sip:a@b SIP/2.0\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\n\r\n",
                Class::Other,
            ),
            ("INVITE sip:a@b SIP/2.0\r\nf: <sip:a@b>;tag=1\r\nt: <sip:a@b>\r\n\r\n", Class::Call),
            ("INVITE sip:a@b SIP/2.0\r\nTopic: ;tag=1\r\n\r\n", Class::Call),
            ("INVITE sip:a@b SIP/2.0\r\nSubject: x\r\n\r\nTo: <sip:a@b>;tag=1\r\n", Class::Call),
            ("INVITE sip:a@b SIP/2.0\r\nauthorization: Digest\r\n\r\n", Class::ProvenCall),
            ("REGISTER sip:b SIP/2.0\r\nAuthorization: Digest\r\n\r\n", Class::Other),
            ("MESSAGE sip:a@b SIP/2.0\r\n\r\n", Class::Other),
            ("\u{0}\u{1}", Class::Other),
            ("", Class::Other),
        ];
        for (text, expected) in table {
            assert_eq!(Class::of_bytes(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn what_runs_comes_first_and_calls_come_last() {
        let (mut backlog, now) = (Backlog::default(), Instant::now());
        for class in [Class::Call, Class::ProvenCall, Class::Other, Class::Running, Class::Call] {
            assert!(backlog.push(class, flow(), class, now));
        }
        let order: Vec<Class> =
            std::iter::from_fn(|| backlog.pop(now + CALM)).map(|(_, what)| what).collect();
        assert_eq!(order, [&Class::ALL[..], &[Class::Call]].concat());
        assert!(backlog.is_empty());
    }

    #[test]
    fn while_nothing_waits_for_long_all_keep_their_order() {
        let (mut backlog, now) = (Backlog::default(), Instant::now());
        let came = [Class::Call, Class::Running, Class::Other, Class::ProvenCall, Class::Running];
        for class in came {
            backlog.push(class, flow(), class, now);
        }
        let soon = now + CALM - Duration::from_millis(1);
        let order: Vec<Class> =
            std::iter::from_fn(|| backlog.pop(soon)).map(|(_, what)| what).collect();
        assert_eq!(order, came);
    }

    /// RFC 3261 section 9.2.
    #[test]
    fn a_cancel_comes_after_its_call_however_long_both_waited() {
        let (mut backlog, now) = (Backlog::default(), Instant::now());
        backlog.push(Class::Call, flow(), "INVITE a", now);
        backlog.push(Class::ProvenCall, flow(), "INVITE b", now);
        backlog.hasten(|_, what| *what == "INVITE b");
        backlog.push(Class::Running, flow(), "CANCEL b", now);
        let late = now + Duration::from_secs(1);
        // It is not refused for its age either: it is ended in a moment.
        assert_eq!(backlog.pop_late(late).map(|(_, what)| what), Some("INVITE a"));
        assert_eq!(backlog.pop_late(late).map(|(_, what)| what), None);
        let order: Vec<&str> =
            std::iter::from_fn(|| backlog.pop(late)).map(|(_, what)| what).collect();
        assert_eq!(order, ["INVITE b", "CANCEL b"]);
    }

    #[test]
    fn the_call_of_a_message_is_found_before_it_is_read() {
        let of = |text: &'static str| call_of_bytes(text.as_bytes());
        assert_eq!(of("INVITE sip:a@b SIP/2.0\r\nCall-ID: x y \r\n\r\n"), Some(&b"x y"[..]));
        assert_eq!(of("CANCEL sip:a@b SIP/2.0\r\ni:x@h\r\n\r\n"), Some(&b"x@h"[..]));
        assert_eq!(of("CANCEL sip:a@b SIP/2.0\r\n\r\nCall-ID: x\r\n"), None);
        assert_eq!(of("CANCEL sip:a@b SIP/2.0\r\nCall-Id-Not: x\r\n\r\n"), None);
    }

    #[test]
    fn what_waits_too_long_is_given_out_to_be_refused_and_what_runs_never_is() {
        let (mut backlog, now) = (Backlog::default(), Instant::now());
        for class in Class::ALL {
            backlog.push(class, flow(), class, now);
        }
        let mut late = Vec::new();
        for ms in [99, 100, 249, 250, 399, 400, 60_000] {
            let at = now + Duration::from_millis(ms);
            late.extend(backlog.pop_late(at).map(|(_, class)| (ms, class)));
        }
        assert_eq!(late, [(100, Class::Call), (250, Class::ProvenCall), (400, Class::Other)]);
        assert_eq!(backlog.pop(now + CALM).map(|(_, class)| class), Some(Class::Running));
    }

    /// Twice as many calls come as can be worked on, each with six more messages once it was taken. Those that are taken come
    /// to their end, the others hear so within 150 ms, and nothing is left over.
    #[test]
    fn under_twice_the_load_as_many_calls_are_brought_to_their_end_as_without() {
        const STEPS: u32 = 7;
        let begun = Instant::now();
        let mut backlog = Backlog::default();
        let (mut completed, mut refused, mut longest) = (0, 0, Duration::ZERO);
        // 2,000 calls a second come, each millisecond does 7 steps: 1,000 calls a second.
        for ms in 0..10_000_u64 {
            let now = begun + Duration::from_millis(ms);
            for _ in 0..2 {
                backlog.push(Class::Call, flow(), (0, now), now);
            }
            while let Some((_, (_, since))) = backlog.pop_late(now) {
                refused += 1;
                longest = longest.max(now - since);
            }
            for _ in 0..STEPS {
                let Some((_, (step, since))) = backlog.pop(now) else { break };
                if step + 1 == STEPS {
                    completed += 1;
                } else {
                    backlog.push(Class::Running, flow(), (step + 1, since), now);
                }
            }
        }
        assert!(completed >= 9_980, "{completed}");
        assert!(refused >= 9_700, "{refused}");
        assert!(longest <= Duration::from_millis(101), "{longest:?}");
    }

    #[test]
    fn it_is_bounded() {
        let (mut backlog, now) = (Backlog::default(), Instant::now());
        let taken = (0..100_000).filter(|n| backlog.push(Class::Call, flow(), *n, now)).count();
        assert_eq!(taken, Class::Call.most());
        assert!(backlog.push(Class::Running, flow(), 0, now), "what runs has a line of its own");
    }
}
