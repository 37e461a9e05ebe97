//! What the gateway tells the SIP server.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::stream::Doorman;
use super::websocket::WebSocketEnds;
use crate::error::SendError;
use crate::ports::{
    Binding, Document, LegId, MessageResult, OutgoingInvite, OutgoingMessage, OutgoingSubscription,
    SubscriptionId, SubscriptionState, WatchId,
};
use crate::service::Gauges;

/// A wish for the core's task.
pub(super) enum Command {
    Invite(LegId, Box<OutgoingInvite>),
    Ring(LegId, u16, Option<Bytes>),
    Answer(LegId, Bytes, Vec<(String, String)>),
    Reject(LegId, u16, Option<String>, Vec<(String, String)>),
    HangUp(LegId, Option<String>),
    Reinvite(LegId, Bytes),
    AnswerReinvite(LegId, Result<Bytes, u16>),
    AnswerRefer(LegId, u16),
    AnswerDigit(LegId, u16),
    ReferProgress(LegId, u16),
    Notify(SubscriptionId, SubscriptionState, Option<Document>),
    Watch(WatchId, Box<OutgoingSubscription>),
    Unwatch(WatchId),
    Nudge(Arc<Binding>),
    Message(Box<OutgoingMessage>, oneshot::Sender<MessageResult>),
    Bindings(String, oneshot::Sender<Vec<Arc<Binding>>>),
    Close,
    Stop(oneshot::Sender<()>),
}

/// The running server. Cheap to clone; every call is quick.
///
/// The queue behind it has no bound of its own: what goes in answers calls, messages and subscriptions, whose number is
/// bounded where they begin.
#[derive(Clone)]
pub struct SipHandle {
    commands: mpsc::UnboundedSender<Command>,
    next_leg: Arc<AtomicU64>,
    next_watch: Arc<AtomicU64>,
    doorman: Doorman,
    gauges: Arc<Mutex<Gauges>>,
    away: Arc<Mutex<HashSet<String>>>,
    runtime: Handle,
}

impl fmt::Debug for SipHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SipHandle").finish_non_exhaustive()
    }
}

impl SipHandle {
    pub(super) fn new(
        doorman: Doorman,
        (gauges, away): (Arc<Mutex<Gauges>>, Arc<Mutex<HashSet<String>>>),
        runtime: Handle,
    ) -> (Self, mpsc::UnboundedReceiver<Command>) {
        let (commands, queue) = mpsc::unbounded_channel();
        // Odd numbers; legs that others start have even ones.
        let (next_leg, next_watch) = (Arc::new(AtomicU64::new(1)), Arc::default());
        (Self { commands, next_leg, next_watch, doorman, gauges, away, runtime }, queue)
    }

    fn tell(&self, command: Command) {
        // A server that has stopped has no legs to tell anything.
        let _ = self.commands.send(command);
    }

    /// How much was in work, a second ago at most while there is any.
    pub fn gauges(&self) -> Gauges {
        *self.gauges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a trunk does not answer when it is asked whether it is there.
    pub fn is_away(&self, trunk: &str) -> bool {
        self.away.lock().unwrap_or_else(PoisonError::into_inner).contains(trunk)
    }

    /// Where the server runs, until [`SipHandle::shutdown`]: what answers it for each call is best beside it, so that no
    /// other thread is woken.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Places a call; what becomes of it comes by the port `Calls`.
    pub fn invite(&self, call: OutgoingInvite) -> LegId {
        let leg = LegId(self.next_leg.fetch_add(2, Ordering::Relaxed));
        self.tell(Command::Invite(leg, Box::new(call)));
        leg
    }

    /// Tells a caller that it rings (180) or gives an early session description (183).
    pub fn ring(&self, leg: LegId, status: u16, sdp: Option<Bytes>) {
        self.tell(Command::Ring(leg, status, sdp));
    }

    /// Answers a caller: with the answer to their offer, or with our offer where they made none.
    pub fn answer(&self, leg: LegId, sdp: Bytes) {
        self.answer_with(leg, sdp, Vec::new());
    }

    /// The same with these header fields.
    pub fn answer_with(&self, leg: LegId, sdp: Bytes, fields: Vec<(String, String)>) {
        self.tell(Command::Answer(leg, sdp, fields));
    }

    /// Refuses a caller with a final status, a phrase (`None`: the usual one) and header fields.
    pub fn reject(
        &self,
        leg: LegId,
        status: u16,
        reason: Option<&str>,
        headers: Vec<(String, String)>,
    ) {
        self.tell(Command::Reject(leg, status, reason.map(str::to_owned), headers));
    }

    /// Ends a leg, whatever it does: CANCEL, BYE or a refusal. `reason` is the value of a Reason field (RFC 3326).
    pub fn hang_up(&self, leg: LegId, reason: Option<String>) {
        self.tell(Command::HangUp(leg, reason));
    }

    /// Offers another session description in a call that is up.
    pub fn reinvite(&self, leg: LegId, offer: Bytes) {
        self.tell(Command::Reinvite(leg, offer));
    }

    /// Answers a `Reinvited`.
    pub fn answer_reinvite(&self, leg: LegId, answer: Result<Bytes, u16>) {
        self.tell(Command::AnswerReinvite(leg, answer));
    }

    /// Takes a `Referred` on (200) or refuses it (300 to 699).
    pub fn answer_refer(&self, leg: LegId, status: u16) {
        self.tell(Command::AnswerRefer(leg, status));
    }

    /// Answers a `Digit`: 200 where somebody hears it, 480 where nobody is there yet, 488 where nobody can.
    pub fn answer_digit(&self, leg: LegId, status: u16) {
        self.tell(Command::AnswerDigit(leg, status));
    }

    /// Tells a phone how its transfer goes on: the status of the new call; a final one is the last.
    pub fn refer_progress(&self, leg: LegId, status: u16) {
        self.tell(Command::ReferProgress(leg, status));
    }

    /// Tells a watcher (RFC 6665).
    pub fn notify(&self, id: SubscriptionId, state: SubscriptionState, document: Option<Document>) {
        self.tell(Command::Notify(id, state, document));
    }

    /// Watches somebody; what is heard comes by the port `Events`.
    pub fn watch(&self, wish: OutgoingSubscription) -> WatchId {
        let id = WatchId(self.next_watch.fetch_add(1, Ordering::Relaxed));
        self.tell(Command::Watch(id, Box::new(wish)));
        id
    }

    /// Watches no longer; an `Ended` follows.
    pub fn unwatch(&self, id: WatchId) {
        self.tell(Command::Unwatch(id));
    }

    /// Something waits for a phone: where it sleeps it is woken (RFC 8599), and is expected to register.
    pub fn nudge(&self, phone: Arc<Binding>) {
        self.tell(Command::Nudge(phone));
    }

    /// Sends a message and waits for the phone's final answer, 32 s at most.
    ///
    /// # Errors
    /// The server is shut down.
    pub async fn message(&self, message: OutgoingMessage) -> Result<MessageResult, SendError> {
        let (done, result) = oneshot::channel();
        self.tell(Command::Message(Box::new(message), done));
        result.await.map_err(|_| SendError::Closed)
    }

    /// The bindings of an account, `user@domain`.
    pub async fn bindings(&self, account: &str) -> Vec<Arc<Binding>> {
        let (done, result) = oneshot::channel();
        self.tell(Command::Bindings(account.to_owned(), done));
        result.await.unwrap_or_default()
    }

    /// Serves a phone that came over a WebSocket with the subprotocol `sip` (RFC 7118): a message is an item, both ways.
    /// Resolves when either side has ended it.
    pub async fn websocket(
        &self,
        incoming: mpsc::Receiver<Bytes>,
        outgoing: mpsc::Sender<Bytes>,
        ends: WebSocketEnds,
    ) {
        self.doorman.websocket(incoming, outgoing, ends).await;
    }

    /// From now on whatever is new is refused with a 503; what goes on or ends is served on.
    pub fn close(&self) {
        self.tell(Command::Close);
    }

    /// Stops the server once what was told to it has been sent. Calls are to be hung up before.
    pub async fn shutdown(&self) {
        let (done, result) = oneshot::channel();
        self.tell(Command::Stop(done));
        let _ = result.await;
    }
}
