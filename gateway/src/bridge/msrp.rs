//! Message sessions of phones (RFC 4975): one-to-one chats (RFC 7573), rooms (RFC 7702) and files (RFC 5547).
//!
//! An INVITE with a message line is answered at once for whoever is meant, since nobody has to be rung for a chat. What
//! comes in goes the way of single messages from there on; what is written to a phone goes over its session with the
//! writer while there is one.
//!
//! | file | duty |
//! |---|---|
//! | `msrp_sdp` | session descriptions |
//! | `msrp_room` | sessions with rooms |

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tandem_sip::SipHandle;
use tandem_sip::msg::{Headers, NameAddr, Uri};
use tandem_sip::msrp::{Command, Incoming, MsrpUri, Outgoing, SessionConfig, SessionEvent};
use tandem_sip::net::msrp::MsrpHandle;
use tandem_sip::ports::{IncomingMessage, Invited, LegEvent, LegId, Origin};
use tandem_xmpp::Server;
use tandem_xmpp::jid::Jid;
use tokio::sync::{mpsc, oneshot};

use super::contacts::Contacts;
use super::message::Chat;
use super::msrp_sdp::{self, File, Local, Peer};
use super::protection::Protection;
use super::room_phone::RoomPhones;
use super::{identity, text};

/// Sessions at once.
const MAX_SESSIONS: usize = 10_000;
/// Bytes of one message.
const MAX_MESSAGE: usize = 64 * 1024;
/// Bytes of one file.
const MAX_FILE: usize = 16 * 1024 * 1024;
/// How long a message waits for the phone's word that it has it.
const PATIENCE: Duration = Duration::from_secs(35);
/// How long the sender of a file has to hang up.
const FAREWELL: Duration = Duration::from_secs(5);

/// What the desk is told.
pub enum Event {
    /// Something happened on a leg of ours.
    Leg(LegId, LegEvent),
    /// Something happened in a session.
    Session(String, SessionEvent),
}

/// What the desk works with.
pub struct Parts {
    /// The XMPP router.
    pub xmpp: Server,
    /// The SIP user agent.
    pub sip: SipHandle,
    /// The machine of all sessions.
    pub msrp: MsrpHandle,
    /// The registered phones.
    pub contacts: Contacts,
    /// Where messages go.
    pub chat: Chat,
    /// Which addresses are rooms.
    pub rooms: RoomPhones,
    /// The ports where phones connect: plain, over TLS.
    pub ports: (Option<u16>, Option<u16>),
    /// Whose sessions have to be under TLS.
    pub protection: Protection,
    /// The address told to phones; `None`: the one by which they reach us.
    pub advertised: Option<IpAddr>,
    /// The fingerprint of our certificate, as SDP writes it.
    pub fingerprint: String,
    /// Messages that who enters a room hears.
    pub history: usize,
}

/// The sessions of phones. Cheap to clone.
#[derive(Clone)]
pub struct MsrpDesk(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) parts: Parts,
    state: Mutex<State>,
    events: mpsc::UnboundedSender<Event>,
}

#[derive(Default)]
struct State {
    legs: HashMap<LegId, String>,
    talks: HashMap<String, Talk>,
    /// Who waits for a phone's word about a message.
    reports: HashMap<String, oneshot::Sender<u16>>,
}

/// One session.
#[derive(Clone)]
pub(super) struct Talk {
    pub(super) leg: LegId,
    pub(super) account: Jid,
    /// The device that the phone is for XMPP.
    pub(super) device: Jid,
    /// Whom it talks with.
    pub(super) peer: Jid,
    pub(super) accepts: Vec<String>,
    pub(super) kind: Kind,
    call: Arc<CallHead>,
    /// Numbers its messages.
    count: u32,
}

#[derive(Clone)]
pub(super) enum Kind {
    Chat,
    File(File),
    Room,
}

/// What of the INVITE its messages are told with.
struct CallHead {
    from: NameAddr,
    account: String,
    to: Uri,
    call_id: String,
    binding: Option<String>,
    source: SocketAddr,
}

impl MsrpDesk {
    /// A desk without sessions, and the task that serves it.
    pub fn start(parts: Parts) -> Self {
        let (events, queue) = mpsc::unbounded_channel();
        let desk = Self(Arc::new(Inner { parts, state: Mutex::default(), events }));
        tokio::spawn(desk.clone().run(queue));
        desk
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a leg's event if the leg is a message session; gives it back if it is not.
    pub fn take(&self, leg: LegId, event: LegEvent) -> Option<LegEvent> {
        let is_mine = match &event {
            LegEvent::Invited(invited) => {
                let offer = invited.offer.as_deref();
                let is_mine = offer.is_some_and(msrp_sdp::is_message_session);
                if is_mine {
                    self.state().legs.insert(leg, String::new());
                }
                is_mine
            }
            _ => self.state().legs.contains_key(&leg),
        };
        if !is_mine {
            return Some(event);
        }
        self.tell(Event::Leg(leg, event));
        None
    }

    /// Queues an event.
    pub fn tell(&self, event: Event) {
        let _ = self.0.events.send(event);
    }

    async fn run(self, mut queue: mpsc::UnboundedReceiver<Event>) {
        while let Some(event) = queue.recv().await {
            match event {
                Event::Leg(leg, LegEvent::Invited(invited)) => {
                    let desk = self.clone();
                    // Entering a room takes a while; others do not wait for it.
                    tokio::spawn(async move {
                        if let Err(status) = desk.invited(leg, *invited).await {
                            desk.0.parts.sip.reject(leg, status, None, Vec::new());
                        }
                    });
                }
                Event::Leg(leg, LegEvent::Reinvited { .. }) => {
                    self.0.parts.sip.answer_reinvite(leg, Err(488));
                }
                Event::Leg(leg, LegEvent::Digit { .. }) => self.0.parts.sip.answer_digit(leg, 488),
                Event::Leg(leg, LegEvent::Ended | LegEvent::Failed { .. }) => self.ended(leg).await,
                Event::Leg(..) => {}
                Event::Session(name, event) => self.happened(&name, event).await,
            }
        }
    }

    /// A phone wants a session: whoever is meant is answered for.
    async fn invited(&self, leg: LegId, invited: Invited) -> Result<(), u16> {
        if self.state().talks.len() >= MAX_SESSIONS {
            return Err(503);
        }
        if !invited.origin.is_account() {
            // Whom a trunk or another domain names is nobody's account, and sessions are for those.
            return Err(488);
        }
        let parts = &self.0.parts;
        let peer = identity::sip_to_jid(&invited.to).map_err(|_| 404_u16)?;
        let account = crate::bridge::account(&invited.account).map_err(|_| 403_u16)?;
        let offer = invited.offer.as_deref().ok_or(488_u16)?;
        let (offer, side) = msrp_sdp::read(offer)?;
        let name = super::message::new_id();
        let device = parts.contacts.device(&account, invited.binding.as_deref());
        let room = parts.rooms.room_of(&peer);
        let (kind, device, peer) = match room {
            Some(room) if side.file.is_none() => {
                let device = account.with_resource(&format!("msrp-{name}")).map_err(|_| 403_u16)?;
                (Kind::Room, device, room)
            }
            Some(_) => return Err(488),
            None => {
                let exists = parts.xmpp.ports().accounts.exists(&peer.bare()).await;
                if !exists.map_err(|_| 500_u16)? {
                    return Err(404);
                }
                let blocked = parts.xmpp.is_blocked(&peer, &account).await.map_err(|_| 500_u16)?;
                if blocked {
                    return Err(480);
                }
                let device = device.unwrap_or_else(|| account.clone());
                (kind_of(&side)?, device, peer.bare())
            }
        };
        if !side.is_secure && parts.protection.must_encrypt(&account) {
            return Err(488);
        }
        let local = self.local(&name, &side, &kind, invited.source)?;
        let call = CallHead {
            from: invited.from,
            account: invited.account,
            to: invited.to,
            call_id: invited.call_id,
            binding: invited.binding,
            source: invited.source,
        };
        let talk = Talk {
            leg,
            account,
            device,
            peer,
            accepts: side.accepts.clone(),
            kind: kind.clone(),
            call: Arc::new(call),
            count: 0,
        };
        {
            let mut state = self.state();
            // It may have hung up meanwhile.
            let Some(entry) = state.legs.get_mut(&leg) else { return Err(487) };
            entry.clone_from(&name);
            state.talks.insert(name.clone(), talk.clone());
        }
        let config = SessionConfig {
            local: local.uri.clone(),
            remote: side.path.clone(),
            is_active: !side.connects,
            place: side.place.clone(),
            fingerprint: side.fingerprint.clone(),
            accepts: local.accepts.split(' ').map(str::to_owned).collect(),
            max_size: local.max_size,
        };
        parts.msrp.tell(Command::Open(Box::new(config)));
        // What the room says at once finds the session open.
        if matches!(kind, Kind::Room)
            && let Err(status) = self.enter(&name, &talk).await
        {
            self.forget(leg);
            parts.msrp.tell(Command::Close(name));
            return Err(status);
        }
        metrics::counter!("tandem_message_sessions_total").increment(1);
        parts.sip.answer(leg, local.answer(&offer, &side));
        Ok(())
    }

    fn local(
        &self,
        name: &str,
        side: &Peer,
        kind: &Kind,
        source: SocketAddr,
    ) -> Result<Local, u16> {
        let parts = &self.0.parts;
        let port = if side.is_secure { parts.ports.1 } else { parts.ports.0 };
        let ip = parts.advertised.or_else(|| reached_by(source)).ok_or(500_u16)?;
        let is_room = matches!(kind, Kind::Room);
        Ok(Local {
            uri: MsrpUri::new(side.is_secure, ip, port.ok_or(488_u16)?, name),
            ip,
            id: chrono::Utc::now().timestamp_millis().unsigned_abs(),
            accepts: match kind {
                Kind::Room => "message/cpim",
                Kind::File(_) => "*",
                Kind::Chat => {
                    "message/cpim text/plain text/html application/im-iscomposing+xml message/imdn+xml multipart/* image/* audio/* video/*"
                }
            },
            wrapped: match kind {
                Kind::Room => Some("text/plain text/html"),
                Kind::Chat => Some("*"),
                Kind::File(_) => None,
            },
            max_size: if matches!(kind, Kind::File(_)) { MAX_FILE } else { MAX_MESSAGE },
            fingerprint: parts.fingerprint.clone(),
            is_room,
        })
    }

    async fn happened(&self, name: &str, event: SessionEvent) {
        match event {
            SessionEvent::Ready => {}
            SessionEvent::Report { id, status } => {
                if let Some(waits) = self.state().reports.remove(&id) {
                    let _ = waits.send(status);
                }
            }
            SessionEvent::Lost => {
                let leg = self.state().talks.get(name).map(|talk| talk.leg);
                if let Some(leg) = leg {
                    self.0.parts.sip.hang_up(leg, None);
                    self.ended(leg).await;
                }
            }
            SessionEvent::Nickname { request, nickname } => {
                let status = self.renamed(name, &nickname).await;
                let answer = Command::AnswerNickname(name.to_owned(), request, status);
                self.0.parts.msrp.tell(answer);
            }
            SessionEvent::Message(message) => {
                let talk = {
                    let mut state = self.state();
                    let Some(talk) = state.talks.get_mut(name) else { return };
                    talk.count += 1;
                    talk.clone()
                };
                let (id, length) = (message.id.clone(), message.body.len());
                let status = match talk.kind {
                    Kind::Room => self.said_in_room(&talk, &message).await,
                    _ => self.said(talk, message).await,
                };
                if status >= 300 {
                    self.0.parts.msrp.tell(Command::Fail(
                        name.to_owned(),
                        id,
                        length,
                        msrp_status(status),
                    ));
                }
            }
        }
    }

    /// A message of a one-to-one session goes the way of single messages, under the Call-ID of the session.
    async fn said(&self, talk: Talk, message: Incoming) -> u16 {
        let call = &talk.call;
        let mut headers = Headers::default();
        let mut content_type = message.content_type;
        let mut disposition = message.disposition;
        if let Kind::File(file) = &talk.kind {
            content_type.clone_from(&file.content_type);
            let name = file.name.replace(['"', '\\', '\r', '\n'], "_");
            disposition = Some(format!("attachment; filename=\"{name}\""));
        }
        if let Some(disposition) = disposition {
            headers.push("Content-Disposition", disposition);
        }
        let message = IncomingMessage {
            from: call.from.clone(),
            account: call.account.clone(),
            origin: Origin::Account,
            to: call.to.clone(),
            call_id: call.call_id.clone(),
            cseq: talk.count,
            headers,
            content_type: Some(content_type),
            body: message.body,
            binding: call.binding.clone(),
            source: call.source,
        };
        let is_file = matches!(talk.kind, Kind::File(_));
        let reply = self.0.parts.chat.from_phone(message).await;
        if is_file {
            // Its sender hangs up once it knows that all has arrived; a session that it forgets is ended here.
            let (sip, leg) = (self.0.parts.sip.clone(), talk.leg);
            tokio::spawn(async move {
                tokio::time::sleep(FAREWELL).await;
                sip.hang_up(leg, None);
            });
        }
        reply.status
    }

    /// Sends a text over the session of a phone with somebody, if there is one. The status, or `None`.
    pub async fn send(
        &self,
        device: &Jid,
        writer: &Jid,
        content_type: &str,
        body: Bytes,
    ) -> Option<u16> {
        let name = {
            let state = self.state();
            let bare = text::media_type(Some(content_type));
            let fits = |talk: &Talk| {
                matches!(talk.kind, Kind::Chat)
                    && talk.device == *device
                    && talk.peer == writer.bare()
                    && talk.accepts.iter().any(|a| {
                        *a == bare
                            || a == "*"
                            || a.strip_suffix("/*").is_some_and(|m| bare.starts_with(m))
                    })
            };
            state.talks.iter().find(|(_, talk)| fits(talk)).map(|(name, _)| name.clone())?
        };
        self.send_over(&name, content_type, body).await
    }

    /// Sends over a session and waits for the phone's word.
    pub(super) async fn send_over(
        &self,
        name: &str,
        content_type: &str,
        body: Bytes,
    ) -> Option<u16> {
        let id = super::message::new_id();
        let (waits, report) = oneshot::channel();
        self.state().reports.insert(id.clone(), waits);
        let message = Outgoing {
            id: id.clone(),
            content_type: content_type.to_owned(),
            body,
            wants_report: true,
        };
        self.0.parts.msrp.tell(Command::Send(name.to_owned(), message));
        let status = match tokio::time::timeout(PATIENCE, report).await {
            Ok(Ok(status)) => status,
            _ => 408,
        };
        self.state().reports.remove(&id);
        // 481: the session has just ended, so the message takes the other way.
        (status != 481).then_some(status)
    }

    /// A message whose fate nobody waits for.
    pub(super) fn one_way(&self, name: &str, content_type: &str, body: Bytes) -> Command {
        let (id, content_type) = (super::message::new_id(), content_type.to_owned());
        Command::Send(name.to_owned(), Outgoing { id, content_type, body, wants_report: false })
    }

    /// The talk of a session.
    pub(super) fn talk(&self, name: &str) -> Option<Talk> {
        self.state().talks.get(name).cloned()
    }

    /// The sessions of a device that rooms know.
    pub(super) fn in_room(&self, device: &Jid) -> Option<(String, Talk)> {
        let name = device.resource()?.strip_prefix("msrp-")?.to_owned();
        let talk = self.state().talks.get(&name)?.clone();
        Some((name, talk))
    }

    async fn ended(&self, leg: LegId) {
        if let Some((name, talk)) = self.forget(leg) {
            self.0.parts.msrp.tell(Command::Close(name));
            match talk.kind {
                Kind::Room => self.leave(&talk).await,
                Kind::Chat => self.0.parts.chat.gone(&talk.device, &talk.peer).await,
                Kind::File(_) => {}
            }
        }
    }

    fn forget(&self, leg: LegId) -> Option<(String, Talk)> {
        let mut state = self.state();
        let name = state.legs.remove(&leg)?;
        state.talks.remove_entry(&name)
    }
}

fn kind_of(side: &Peer) -> Result<Kind, u16> {
    match &side.file {
        None => Ok(Kind::Chat),
        // We have no files that a phone could ask for by their hash.
        Some(file) if !file.is_offered => Err(488),
        Some(file) if file.size.is_some_and(|size| size > MAX_FILE as u64) => Err(413),
        Some(file) => Ok(Kind::File(file.clone())),
    }
}

/// The codes of RFC 4975 section 10 and RFC 7701 section 10 that fit.
fn msrp_status(status: u16) -> u16 {
    match status {
        400 | 403 | 404 | 408 | 413 | 415 => status,
        513 => 413,
        _ => 403,
    }
}

/// Our address towards a peer.
fn reached_by(peer: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = if peer.is_ipv4() { [0, 0, 0, 0].into() } else { [0_u16; 8].into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    // Nothing is sent: this only asks the system for the way.
    socket.connect(peer).ok()?;
    socket.local_addr().ok().map(|addr| addr.ip())
}
