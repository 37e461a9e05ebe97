//! In-band registration (XEP-0077): accounts made before login, passwords changed and accounts removed after it, and
//! tokens that let somebody in where registration is closed (XEP-0445).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use futures_util::lock::Mutex as AsyncMutex;

use super::invites::PREAUTH;
use super::{Outcome, Server, network};
use crate::jid::Jid;
use crate::ports::{Invite, StoreError};
use crate::stanza::data_form::{Field, FieldKind, Form, FormKind};
use crate::stanza::{Condition, ErrorType, Stanza, StanzaError};
use crate::stream::c2s::Registers;
use crate::xml::{Element, ns};

/// The namespace.
pub(super) const REGISTER: &str = "jabber:iq:register";
/// Shortest and longest password, in bytes.
const PASSWORD: std::ops::RangeInclusive<usize> = 8..=1_023;
/// The time that attempts count, in milliseconds.
const HOUR: i64 = 60 * 60 * 1_000;
/// Attempts of one address for each account it may make: names are taken, passwords too short.
const TRIES: usize = 5;
/// Most addresses that are counted; where more are active, nobody new may register.
const MAX_ADDRESSES: usize = 10_000;

/// What one unauthenticated stream has done about an account so far.
#[derive(Debug, Default)]
pub struct Registration {
    /// The invitation it has shown, with its token. Its end counts when it is shown and not again (XEP-0445 section 4).
    invite: Option<Box<(String, Invite)>>,
    /// It has made its account.
    done: bool,
}

/// Registrations of the node.
#[derive(Default)]
pub(super) struct Registrations {
    /// When each address has tried, and made an account, lately.
    lately: Mutex<HashMap<IpAddr, Lately>>,
    /// One at a time: a token makes one account.
    turn: AsyncMutex<()>,
}

#[derive(Default)]
struct Lately {
    tried: Vec<i64>,
    made: Vec<i64>,
}

impl Lately {
    fn forget(&mut self, now: i64) {
        self.tried.retain(|at| now - at < HOUR);
        self.made.retain(|at| now - at < HOUR);
    }
}

impl Registrations {
    /// Counts an attempt; false when there were too many.
    fn try_once(&self, peer: IpAddr, now: i64, per_hour: usize, invited: bool) -> bool {
        let mut lately = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
        let peer = network(peer);
        if !lately.contains_key(&peer) && lately.len() >= MAX_ADDRESSES {
            lately.retain(|_, of| {
                of.forget(now);
                !of.tried.is_empty()
            });
            if lately.len() >= MAX_ADDRESSES {
                return false;
            }
        }
        let of = lately.entry(peer).or_default();
        of.forget(now);
        let allowed =
            of.tried.len() < per_hour.max(1) * TRIES && (invited || of.made.len() < per_hour);
        if allowed {
            of.tried.push(now);
        }
        allowed
    }

    fn made(&self, peer: IpAddr, now: i64) {
        let mut lately = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
        lately.entry(network(peer)).or_default().made.push(now);
    }
}

impl Server {
    /// Whether streams let accounts be made (XEP-0077 section 8, XEP-0445 section 3).
    pub fn registers(&self) -> Registers {
        let settings = &self.config().registration;
        Registers { open: settings.open, by_token: settings.by_invite }
    }

    /// Answers a request of a client that has not logged in. `domain` is the one its stream is for.
    pub async fn register(
        &self,
        state: &mut Registration,
        domain: &str,
        peer: IpAddr,
        iq: &Element,
    ) -> Element {
        let reply = Element::new("iq", ns::CLIENT)
            .with_attr_opt("id", iq.attr("id"))
            .with_attr("from", domain);
        let answered = match (iq.attr("type"), iq.elements().next()) {
            _ if iq.attr("id").is_none() => Err(StanzaError::new(Condition::BadRequest)),
            (Some("set"), Some(e)) if e.is("preauth", PREAUTH) => {
                self.show_token(state, domain, e).await
            }
            (Some("get"), Some(e)) if e.is("query", REGISTER) => self.ask_to_register(state),
            (Some("set"), Some(e)) if e.is("query", REGISTER) => {
                self.make_account(state, domain, peer, e).await.map(|()| None)
            }
            _ => Err(StanzaError::new(Condition::ServiceUnavailable)),
        };
        match answered {
            Ok(payload) => reply.with_attr("type", "result").with_children(payload),
            Err(error) => reply.with_attr("type", "error").with_child(error.to_element()),
        }
    }

    /// XEP-0445 section 4.
    async fn show_token(
        &self,
        state: &mut Registration,
        domain: &str,
        preauth: &Element,
    ) -> Result<Option<Element>, StanzaError> {
        let token = preauth.attr("token").unwrap_or_default();
        let found = self.0.ports.invites.find(token).await.map_err(ours)?;
        let invite = found.filter(|i| i.registers && i.domain == domain).ok_or_else(|| {
            StanzaError::new(Condition::ItemNotFound).with_text("the token is unknown or too old")
        })?;
        state.invite = Some(Box::new((token.to_owned(), invite)));
        Ok(None)
    }

    fn ask_to_register(&self, state: &Registration) -> Result<Option<Element>, StanzaError> {
        self.may_register(state)?;
        let name = state.invite.as_deref().and_then(|(_, invite)| invite.name.as_deref());
        let username = Field::new(FieldKind::TextSingle, "username").with_label("User name");
        let username = name.into_iter().fold(username, Field::with_value).required();
        let password = Field::new(FieldKind::TextPrivate, "password").with_label("Password");
        let instructions = "Choose a user name and a password of eight characters or more.";
        let form = Form::about(FormKind::Form, REGISTER)
            .with_title("A new account")
            .with_instructions(instructions)
            .with_field(username)
            .with_field(password.required());
        let query = Element::new("query", REGISTER)
            .with_child(Element::new("instructions", REGISTER).with_text(instructions))
            .with_child(Element::new("username", REGISTER).with_text(name.unwrap_or_default()))
            .with_child(Element::new("password", REGISTER))
            .with_child(form.to_element());
        Ok(Some(query))
    }

    fn may_register(&self, state: &Registration) -> Result<(), StanzaError> {
        let settings = &self.config().registration;
        if state.done {
            return Err(StanzaError::new(Condition::NotAcceptable).with_text("one is enough"));
        }
        if settings.open || state.invite.is_some() {
            return Ok(());
        }
        if settings.by_invite {
            let error = StanzaError::new(Condition::NotAllowed);
            return Err(error.with_text("an invitation is needed"));
        }
        Err(StanzaError::new(Condition::ServiceUnavailable))
    }

    async fn make_account(
        &self,
        state: &mut Registration,
        domain: &str,
        peer: IpAddr,
        query: &Element,
    ) -> Result<(), StanzaError> {
        let unfit = |text: &str| StanzaError::new(Condition::NotAcceptable).with_text(text);
        self.may_register(state)?;
        let (name, password) = filled_in(query);
        let account = Jid::new(Some(name.trim()), domain, None);
        let account = account.map_err(|_| unfit("that is no name of an account"))?;
        let only = state.invite.as_deref().and_then(|(_, invite)| invite.name.as_deref());
        if only.is_some_and(|only| account.node() != Some(only)) {
            return Err(unfit("the invitation is for another name"));
        }
        self.check_password(&password).map_err(unfit)?;
        let _turn = self.0.registrations.turn.lock().await;
        let now = self.0.ports.directory.unix_ms();
        let per_hour = self.config().registration.per_hour;
        if !self.0.registrations.try_once(peer, now, per_hour, state.invite.is_some()) {
            return Err(unfit("too many accounts from your network").with_kind(ErrorType::Wait));
        }
        if only.is_none() && self.0.ports.invites.reserves(&account).await.map_err(ours)? {
            return Err(StanzaError::new(Condition::Conflict));
        }
        if let Some((token, _)) = state.invite.as_deref()
            && !self.0.ports.invites.is_there(token).await.map_err(ours)?
        {
            return Err(StanzaError::new(Condition::NotAllowed).with_text("the token is used up"));
        }
        if !self.create_account(&account, &password).await.map_err(ours)? {
            return Err(StanzaError::new(Condition::Conflict));
        }
        state.done = true;
        self.0.registrations.made(peer, now);
        tracing::info!(%peer, invited = state.invite.is_some(), "an account was registered");
        if let Some((token, invite)) = state.invite.take().map(|shown| *shown) {
            self.0.ports.invites.take(&token).await.map_err(ours)?;
            if let Some(inviter) = invite.inviter.filter(|_| invite.joins) {
                self.befriend(&inviter, &account).await.map_err(ours)?;
            }
        }
        Ok(())
    }

    /// Whether a password may be set.
    ///
    /// # Errors
    ///
    /// What is wrong with it, for people.
    pub(super) fn check_password(&self, password: &str) -> Result<(), &'static str> {
        if PASSWORD.contains(&password.len()) {
            return Ok(());
        }
        Err("a password has eight characters or more")
    }

    /// Makes an account; false when it exists.
    pub(super) async fn create_account(
        &self,
        account: &Jid,
        password: &str,
    ) -> Result<bool, StoreError> {
        self.0.ports.passwords.create(account, password).await
    }

    /// A request of somebody with an account, about it (sections 3.2 and 3.3).
    pub(super) async fn answer_register(&self, stanza: &Stanza, from: &Jid) -> Outcome {
        let Some(query) = stanza.child("query", REGISTER) else { return Outcome::Ignored };
        if stanza.type_() == Some("get") {
            let registered = Element::new("query", REGISTER)
                .with_child(Element::new("registered", REGISTER))
                .with_child(
                    Element::new("username", REGISTER).with_text(from.node().unwrap_or_default()),
                )
                .with_child(Element::new("password", REGISTER));
            return self.reply(stanza, Some(registered));
        }
        if query.child("remove", REGISTER).is_some() {
            return self.cancel(stanza, from, &query).await;
        }
        let (name, password) = filled_in(&query);
        let account = Jid::new(Some(name.trim()), from.domain(), None);
        if name.is_empty() || password.is_empty() {
            return self.bounce(stanza, StanzaError::new(Condition::BadRequest));
        }
        if account.ok().or_else(|| Jid::parse(&name).ok()) != Some(from.bare()) {
            return self.bounce(stanza, StanzaError::new(Condition::NotAllowed));
        }
        if let Err(text) = self.check_password(&password) {
            let error = StanzaError::new(Condition::NotAcceptable).with_text(text);
            return self.bounce(stanza, error);
        }
        match self.0.ports.passwords.set_password(&from.bare(), &password).await {
            Ok(true) => self.reply(stanza, None),
            Ok(false) => self.bounce(stanza, StanzaError::new(Condition::RegistrationRequired)),
            Err(error) => self.store_failed(stanza, &error),
        }
    }

    async fn cancel(&self, stanza: &Stanza, from: &Jid, query: &Element) -> Outcome {
        if query.elements().count() != 1 {
            return self.bounce(stanza, StanzaError::new(Condition::BadRequest));
        }
        let account = from.bare();
        match self.remove_account_with(&account, || self.reply(stanza, None)).await {
            Ok(true) => Outcome::Ignored,
            Ok(false) => self.bounce(stanza, StanzaError::new(Condition::RegistrationRequired)),
            Err(error) => self.store_failed(stanza, &error),
        }
    }
}

/// The name and password in a request, out of the form where there is one (section 5).
fn filled_in(query: &Element) -> (String, String) {
    if let Some(form) = Form::in_element(query).filter(|f| f.kind == FormKind::Submit) {
        let value = |var| form.value(var).unwrap_or_default().to_owned();
        return (value("username"), value("password"));
    }
    let text = |name| query.child(name, REGISTER).map(Element::text).unwrap_or_default();
    (text("username"), text("password"))
}

fn ours(error: StoreError) -> StanzaError {
    tracing::error!(%error, "store failed during a registration");
    StanzaError::new(Condition::InternalServerError)
}
