//! Single messages (RFC 3428), both ways.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::locate::Wish;
use super::outbound::{MAX_DATAGRAM, PROOF, STAMP};
use super::{Core, Job, Output, Ticket, Waiting};
use crate::msg::header::{CSeq, CallId, From, MaxForwards, RetryAfter, To};
use crate::msg::{Method, Name, NameAddr, Request, Response, reason_phrase};
use crate::ports::{IncomingMessage, MessageReply, MessageResult, Origin, OutgoingMessage};
use crate::transaction::TxId;
use crate::transport::{Flow, Protocol};

impl Core {
    /// A message of an account that proved itself, of a trunk, or of another domain.
    pub(super) fn message_came(
        &mut self,
        tx: TxId,
        request: Box<Request>,
        flow: Flow,
        (account, origin): (String, Origin),
        now: Instant,
    ) {
        let headers = &request.headers;
        let (Ok(from), Ok(call_id), Ok(cseq)) = (headers.from(), headers.call_id(), headers.cseq())
        else {
            return self.answer(tx, &request, 400, now);
        };
        let message = IncomingMessage {
            from: from.0,
            to: self.canonical(&request.uri, flow.local),
            call_id: call_id.0,
            cseq: cseq.number,
            headers: headers.clone(),
            content_type: headers.get(Name::ContentType).map(str::to_owned),
            body: request.body.clone(),
            // Who is behind a trunk has no phone here, whatever the trunk says.
            binding: origin.is_account().then(|| self.binding_of(&account, flow)).flatten(),
            source: flow.peer,
            account,
            origin,
        };
        self.job(Waiting::Message(tx, request), Job::Message(Box::new(message)));
    }

    pub(super) fn message_answered(
        &mut self,
        tx: TxId,
        request: &Request,
        reply: MessageReply,
        now: Instant,
    ) {
        self.reopen(tx, request);
        let mut response = self.response(request, reply.status.clamp(200, 699));
        response.reason = reply.reason.unwrap_or(response.reason);
        for (name, value) in reply.headers {
            response.headers.push(name.as_str(), value);
        }
        self.respond(tx, response, now);
    }

    /// Sends a message to a phone; the answer comes as [`Output::MessageDone`].
    pub fn send_message(&mut self, ticket: Ticket, message: OutgoingMessage, now: Instant) {
        if let Some(search) = self.search(&message.target) {
            return self.look_up(Wish::Message(ticket, Box::new(message)), search);
        }
        let Some(way) = self.route(&message.target, now) else {
            let (status, reason) = message.target.no_way();
            let result = MessageResult { status, reason: reason.into(), retry_after: None };
            return self.outputs.push_back(Output::MessageDone(ticket, result));
        };
        let call_id = message.call_id.unwrap_or_else(|| self.ids.token());
        let number = message.cseq.unwrap_or(1);
        let mut request = self.outside(
            Method::MESSAGE,
            way.0.uri.clone(),
            message.from,
            message.to,
            call_id,
            number,
        );
        for (name, value) in message.headers {
            request.headers.push(name.as_str(), value);
        }
        let request = request.with_body(&message.content_type, message.body);
        // Who may be asked for a password has to have room for it.
        let more = if message.login.is_some() { STAMP + PROOF } else { STAMP };
        if way.0.flow.protocol == Protocol::Udp && request.wire_len() + more > MAX_DATAGRAM {
            let reason = format!("at most {MAX_DATAGRAM} bytes reach this phone over UDP");
            let result = MessageResult { status: 513, reason, retry_after: None };
            return self.outputs.push_back(Output::MessageDone(ticket, result));
        }
        self.send_over(ticket, request, way, message.login, now);
    }

    /// A MESSAGE inside a call: the talk of its two ends, to be answered like any other.
    pub(super) fn message_in_call(
        &mut self,
        tx: TxId,
        mut request: Box<Request>,
        (local, remote): (crate::msg::Uri, &crate::msg::Uri),
        origin: Origin,
        flow: Flow,
        now: Instant,
    ) {
        let account = remote.user_decoded().map(|user| format!("{user}@{}", remote.host));
        let Some(account) = account.filter(|_| !request.body.is_empty()) else {
            return self.answer(tx, &request, 400, now);
        };
        request.uri = local;
        self.message_came(tx, request, flow, (account, origin), now);
    }

    /// A request outside any dialog, from us with a fresh tag unless it has one.
    pub(super) fn outside(
        &mut self,
        method: Method,
        uri: crate::msg::Uri,
        from: NameAddr,
        to: crate::msg::Uri,
        call_id: String,
        number: u32,
    ) -> Request {
        let mut request = Request::new(method.clone(), uri);
        let headers = &mut request.headers;
        headers.push_typed(&MaxForwards::DEFAULT);
        let from = if from.tag().is_some() { from } else { from.with_tag(&self.ids.token()) };
        headers.push_typed(&From(from));
        headers.push_typed(&To(NameAddr::new(to)));
        headers.push_typed(&CallId(call_id));
        headers.push_typed(&CSeq::new(number, method));
        request
    }

    pub(super) fn message_done(&mut self, ticket: Ticket, response: &Response, now: Instant) {
        if response.status < 200
            || self.prove_message(ticket, response, now)
            || self.resend(ticket, response, now)
        {
            return;
        }
        let retry_after = response.headers.typed::<RetryAfter>().ok();
        let reason = if response.reason.is_empty() {
            reason_phrase(response.status).to_owned()
        } else {
            response.reason.clone()
        };
        let result = MessageResult {
            status: response.status,
            reason,
            retry_after: retry_after.map(|field| Duration::from_secs(u64::from(field.0))),
        };
        self.outputs.push_back(Output::MessageDone(ticket, result));
    }
}

/// The body of a message, if there is one.
pub(super) fn some(body: &Bytes) -> Option<Bytes> {
    (!body.is_empty()).then(|| body.clone())
}
