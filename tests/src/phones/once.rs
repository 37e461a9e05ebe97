//! One thing at a time: a registration, a call, a message, a subscription, each until it is over.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::{Callers, Message, Phones, Target, account, credentials};

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(20);
/// An answer of ours to a request.
const OK: &str = "SIP/2.0 200 OK";

/// A phone that does one thing after the other.
pub struct Once {
    callers: Callers,
    registrations: u32,
}

impl Once {
    /// `rtp` is the port in its offers.
    ///
    /// # Errors
    ///
    /// No port is free.
    pub fn new(server: Target, rtp: u16) -> Result<Self> {
        let phones = Phones::new(server)?;
        let callers = Callers { phones, calls: HashMap::new(), serial: 0, rtp };
        Ok(Self { callers, registrations: 0 })
    }

    /// Registers an account.
    ///
    /// # Errors
    ///
    /// It is refused, or nothing is heard.
    pub fn register(&mut self, n: usize) -> Result<()> {
        let uri = format!("sip:{}", self.callers.phones.domain);
        let (call, mut proof) = (format!("r{n}-{}", self.callers.phones.port), String::new());
        for _ in 0..2 {
            self.registrations += 1;
            self.callers.phones.register(n, self.registrations, &proof)?;
            let answer = self.answer(&call, self.registrations)?;
            match credentials(&answer, "REGISTER", &uri, n) {
                _ if answer.status() == Some(200) => return Ok(()),
                Some(answered) => proof = answered,
                None => bail!("a registration got {}", answer.start),
            }
        }
        bail!("a registration is challenged again and again")
    }

    /// Calls, is answered, hangs up.
    ///
    /// # Errors
    ///
    /// It is refused, or nothing is heard.
    pub fn call(&mut self, from: usize, to: usize) -> Result<()> {
        self.callers.begin(from, to)?;
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(answer) = self.callers.phones.receive()?
                && self.callers.handle(&answer)?.is_some()
            {
                return Ok(());
            }
        }
        bail!("a call was not answered")
    }

    /// Writes to somebody.
    ///
    /// # Errors
    ///
    /// It is refused, or nothing is heard.
    pub fn message(&mut self, from: usize, to: usize) -> Result<()> {
        let domain = self.callers.phones.domain;
        let uri = format!("sip:{}@{domain}", account(to));
        let more = "Content-Type: text/plain\r\n";
        let (_, answer) = self.ask("MESSAGE", from, &uri, more, "a message of a soak")?;
        match answer.status() {
            Some(200..=299) => Ok(()),
            _ => bail!("a message got {}", answer.start),
        }
    }

    /// Watches where its own account is registered (RFC 3680), is told, and stops.
    ///
    /// # Errors
    ///
    /// It is refused, or nothing is heard.
    pub fn watch(&mut self, n: usize) -> Result<()> {
        let phones = &self.callers.phones;
        let uri = format!("sip:{}@{}", account(n), phones.domain);
        let contact = format!("Contact: <sip:{}@127.0.0.1:{}>\r\n", account(n), phones.port);
        let more = |expires: u32| format!("Event: reg\r\nExpires: {expires}\r\n{contact}");
        let (number, ok) = self.ask("SUBSCRIBE", n, &uri, &more(600), "")?;
        if ok.status() != Some(200) {
            bail!("a subscription got {}", ok.start);
        }
        self.notified("active")?;
        let target = ok.get("contact").trim_start_matches('<').split('>').next().unwrap_or("");
        let via = self.callers.phones.via();
        self.callers.phones.send(&format!(
            "SUBSCRIBE {target} SIP/2.0\r\n{via}From: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {} SUBSCRIBE\r\n\
             Max-Forwards: 70\r\n{}Content-Length: 0\r\n\r\n",
            ok.get("from"),
            ok.get("to"),
            ok.get("call-id"),
            number + 1,
            more(0)
        ))?;
        self.notified("terminated")
    }

    /// Waits for a NOTIFY of this state.
    fn notified(&mut self, state: &str) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let Some(request) = self.callers.phones.receive()? else { continue };
            if self.acknowledged(&request)? && request.get("subscription-state").starts_with(state)
            {
                return Ok(());
            }
        }
        bail!("no NOTIFY says {state}")
    }

    /// Answers a NOTIFY; false for what is none.
    fn acknowledged(&mut self, request: &Message) -> Result<bool> {
        if !request.start.starts_with("NOTIFY ") {
            return Ok(false);
        }
        let mut answer = format!("{OK}\r\n");
        for name in ["via", "from", "to", "call-id", "cseq"] {
            for value in request.all(name) {
                answer += &format!("{name}: {value}\r\n");
            }
        }
        self.callers.phones.send(&format!("{answer}Content-Length: 0\r\n\r\n"))?;
        Ok(true)
    }

    /// A request outside any dialog, through the challenge; its final answer and CSeq.
    fn ask(
        &mut self,
        method: &str,
        from: usize,
        uri: &str,
        more: &str,
        body: &str,
    ) -> Result<(u32, Message)> {
        self.callers.serial += 1;
        let (serial, port) = (self.callers.serial, self.callers.phones.port);
        let (name, domain) = (account(from), self.callers.phones.domain);
        let mut proof = String::new();
        for number in 1..=2 {
            let via = self.callers.phones.via();
            self.callers.phones.send(&format!(
                "{method} {uri} SIP/2.0\r\n{via}From: <sip:{name}@{domain}>;tag=o{serial}\r\nTo: <{uri}>\r\n\
                 Call-ID: o{serial}-{port}\r\nCSeq: {number} {method}\r\nMax-Forwards: 70\r\n{proof}{more}\
                 Content-Length: {}\r\n\r\n{body}",
                body.len()
            ))?;
            let answer = self.answer(&format!("o{serial}-{port}"), number)?;
            match credentials(&answer, method, uri, from) {
                Some(answered) if number == 1 => proof = answered,
                _ => return Ok((number, answer)),
            }
        }
        bail!("{method} is challenged again and again")
    }

    fn answer(&mut self, call: &str, number: u32) -> Result<Message> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let Some(answer) = self.callers.phones.receive()? else { continue };
            self.acknowledged(&answer)?;
            let is_its = answer.get("call-id") == call
                && answer.get("cseq").split(' ').next() == Some(number.to_string().as_str());
            if is_its && answer.status().is_some_and(|status| status >= 200) {
                return Ok(answer);
            }
        }
        bail!("{call} got no answer")
    }
}
