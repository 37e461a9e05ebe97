//! Ad-hoc commands (XEP-0050): forms that are filled in step by step, and what is done with them.
//!
//! A command is a function of the forms that were filled in so far: it asks for the next one or is done. Going back is
//! calling it with one form less. What lies between two steps is kept here, bounded in number and time.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::caps::{Identity, Info};
use super::{Outcome, Server, admin, admin_lists, call_wishes, disco, invites};
use crate::jid::Jid;
use crate::ports::{BoxFuture, StoreError};
use crate::router::Place;
use crate::stanza::data_form::{self, Form};
use crate::stanza::{Condition, ErrorType, Stanza, StanzaError};
use crate::xml::Element;

/// The namespace, and the node under which commands are listed.
pub(super) const COMMANDS: &str = "http://jabber.org/protocol/commands";
/// Most commands under way on the node, and of one account; the oldest makes room.
const MAX_SESSIONS: usize = 1_000;
const MAX_OWN: usize = 10;
/// How long a step may wait for the next, in milliseconds.
const LIFETIME: i64 = 10 * 60 * 1_000;

/// One command.
pub(super) struct Command {
    pub(super) node: &'static str,
    /// For people.
    pub(super) name: &'static str,
    /// Who may use it.
    pub(super) for_whom: Whom,
    pub(super) run: for<'a> fn(&'a Server, Call<'a>) -> BoxFuture<'a, Done>,
}

/// Who may use a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whom {
    /// Administrators.
    Admins,
    /// Accounts of this server, where members may invite.
    Inviters,
    /// Accounts of this server whose calls can be handled.
    Callees,
}

/// What became of a step; outside, what is our own fault.
pub(super) type Done = Result<Step, StoreError>;

/// A command's arguments.
pub(super) struct Call<'a> {
    /// Who runs it.
    pub(super) by: &'a Jid,
    /// The domain it was sent to.
    pub(super) domain: &'a str,
    /// The forms that were filled in, the first step's first.
    pub(super) forms: &'a [Form],
}

/// What comes next.
pub(super) enum Step {
    /// This is to be filled in.
    Ask {
        form: Form,
        /// Nothing comes after it.
        last: bool,
    },
    /// It is done.
    Done {
        /// What came out of it.
        result: Option<Form>,
        /// What is said about it.
        note: Option<String>,
    },
    /// It cannot be done.
    Refuse(StanzaError),
}

impl Step {
    pub(super) fn done() -> Self {
        Self::Done { result: None, note: None }
    }

    pub(super) fn result(form: Form) -> Self {
        Self::Done { result: Some(form), note: None }
    }

    pub(super) fn noted(note: impl Into<String>) -> Self {
        Self::Done { result: None, note: Some(note.into()) }
    }

    /// What was filled in cannot be meant.
    pub(super) fn bad_payload(text: impl Into<String>) -> Self {
        Self::Refuse(fault(Condition::BadRequest, "bad-payload").with_text(text))
    }
}

/// All commands.
const ALL: [&[Command]; 4] =
    [call_wishes::COMMANDS, invites::COMMANDS, admin::COMMANDS, admin_lists::COMMANDS];

/// Commands under way.
#[derive(Default)]
pub(super) struct Sessions(Mutex<State>);

#[derive(Default)]
struct State {
    next: u64,
    /// The oldest first.
    open: VecDeque<Session>,
}

#[derive(Clone)]
struct Session {
    id: String,
    by: Jid,
    node: &'static str,
    forms: Vec<Form>,
    asked: Form,
    last: bool,
    touched: i64,
}

impl Sessions {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a session; the oldest of the account, or of all, makes room.
    fn keep(&self, session: Session) {
        let mut state = self.state();
        state.open.retain(|s| s.id != session.id && session.touched - s.touched < LIFETIME);
        let own = |s: &Session| s.by.bare() == session.by.bare();
        if state.open.iter().filter(|s| own(s)).count() >= MAX_OWN
            && let Some(at) = state.open.iter().position(own)
        {
            state.open.remove(at);
        }
        if state.open.len() >= MAX_SESSIONS {
            state.open.pop_front();
        }
        state.open.push_back(session);
    }

    /// Takes a session out for its next step. One that is over is told from one that never was.
    fn take(&self, id: &str, by: &Jid, node: &str, now: i64) -> Result<Session, StanzaError> {
        let mut state = self.state();
        state.open.retain(|s| now - s.touched < LIFETIME);
        let found = state.open.iter().position(|s| s.id == id);
        if let Some(session) = found.and_then(|at| state.open.get(at))
            && (session.by != *by || session.node != node)
        {
            return Err(fault(Condition::BadRequest, "bad-sessionid"));
        }
        let was = id.split_once('-').and_then(|(number, _)| number.parse::<u64>().ok());
        found.and_then(|at| state.open.remove(at)).ok_or_else(|| {
            if was.is_some_and(|number| number < state.next) {
                fault(Condition::NotAllowed, "session-expired")
            } else {
                fault(Condition::BadRequest, "bad-sessionid")
            }
        })
    }

    fn number(&self) -> u64 {
        let mut state = self.state();
        state.next += 1;
        state.next - 1
    }
}

/// An error with the specification's own condition (section 4.4).
fn fault(condition: Condition, own: &str) -> StanzaError {
    let kind =
        if condition == Condition::BadRequest { ErrorType::Modify } else { ErrorType::Cancel };
    StanzaError::new(condition).with_kind(kind).with_detail(Element::new(own, COMMANDS))
}

impl Server {
    fn command(node: &str) -> Option<&'static Command> {
        ALL.into_iter().flatten().find(|c| c.node == node)
    }

    fn may_run(&self, by: &Jid, command: &Command) -> bool {
        match command.for_whom {
            Whom::Admins => self.is_admin(by),
            Whom::Callees => {
                self.place(by) == Place::Account && self.0.ports.foreign.call_wishes(by).is_some()
            }
            Whom::Inviters => {
                self.place(by) == Place::Account
                    && (self.config().registration.members_invite || self.is_admin(by))
            }
        }
    }

    /// The commands that somebody may use (section 2.2); to others there are none.
    pub(super) fn command_items(&self, by: &Jid, at: &Jid) -> Element {
        let usable = ALL.into_iter().flatten().filter(|c| self.may_run(by, c));
        let items = usable.map(|command| {
            Element::new("item", disco::ITEMS)
                .with_attr("jid", at.as_str())
                .with_attr("node", command.node)
                .with_attr("name", command.name)
        });
        Element::new("query", disco::ITEMS).with_attr("node", COMMANDS).with_children(items)
    }

    /// What the list of commands, or one of them, is (section 2.1).
    pub(super) fn command_info(&self, by: &Jid, node: &str) -> Option<Info> {
        if node == COMMANDS {
            let identity = Identity::new("automation", "command-list").named("Commands");
            return Some(Info::new(identity, [disco::INFO, disco::ITEMS, COMMANDS]));
        }
        let command = Self::command(node).filter(|c| self.may_run(by, c))?;
        let identity = Identity::new("automation", "command-node").named(command.name);
        Some(Info::new(identity, [disco::INFO, COMMANDS, data_form::NS]))
    }

    /// A `<command/>` (section 3.1).
    pub(super) async fn handle_command(&self, stanza: &Stanza, from: &Jid, to: &Jid) -> Outcome {
        let Some(request) = stanza.child("command", COMMANDS) else { return Outcome::Ignored };
        match self.run_command(&request, from, to.domain()).await {
            Ok(Ok(answer)) => self.reply(stanza, Some(answer)),
            Ok(Err(refused)) => self.bounce(stanza, refused),
            Err(error) => self.store_failed(stanza, &error),
        }
    }

    async fn run_command(
        &self,
        request: &Element,
        from: &Jid,
        domain: &str,
    ) -> Result<Result<Element, StanzaError>, StoreError> {
        let Some(command) = request.attr("node").and_then(Self::command) else {
            return Ok(Err(StanzaError::new(Condition::ItemNotFound)));
        };
        if !self.may_run(from, command) {
            return Ok(Err(StanzaError::new(Condition::Forbidden)));
        }
        let action = request.attr("action").unwrap_or("execute");
        if !["execute", "cancel", "prev", "next", "complete"].contains(&action) {
            return Ok(Err(fault(Condition::BadRequest, "malformed-action")));
        }
        let now = self.0.ports.directory.unix_ms();
        let mut session = match request.attr("sessionid") {
            None if action != "execute" => {
                return Ok(Err(fault(Condition::BadRequest, "bad-action")));
            }
            None => self.new_session(from, command, now),
            Some(id) => match self.0.commands.take(id, from, command.node, now) {
                Ok(session) => session,
                Err(refused) => return Ok(Err(refused)),
            },
        };
        if action == "cancel" {
            return Ok(Ok(session.answer("canceled")));
        }
        let forms = session.forms.clone();
        if request.attr("sessionid").is_some()
            && let Err(refused) = session.advance(action, Form::in_element(request))
        {
            // It can be tried again.
            session.forms = forms;
            session.touched = now;
            self.0.commands.keep(session);
            return Ok(Err(refused));
        }
        session.touched = now;
        let call = Call { by: from, domain, forms: &session.forms };
        match (command.run)(self, call).await? {
            Step::Ask { form, last } => {
                (session.asked, session.last) = (form, last);
                let answer = session.question();
                self.0.commands.keep(session);
                Ok(Ok(answer))
            }
            Step::Done { result, note } => {
                let note = note.map(|text| {
                    Element::new("note", COMMANDS).with_attr("type", "info").with_text(text)
                });
                let result = result.map(|form| form.to_element());
                Ok(Ok(session.answer("completed").with_children(note).with_children(result)))
            }
            Step::Refuse(error) => {
                if session.forms.len() > forms.len() {
                    session.forms = forms;
                    self.0.commands.keep(session);
                }
                Ok(Err(error))
            }
        }
    }

    fn new_session(&self, by: &Jid, command: &Command, now: i64) -> Session {
        let number = self.0.commands.number();
        Session {
            id: format!("{number}-{}", self.token()),
            by: by.clone(),
            node: command.node,
            forms: Vec::new(),
            asked: Form::new(data_form::FormKind::Form),
            last: false,
            touched: now,
        }
    }

    /// A random word that nobody guesses: 128 bits, letters and digits only.
    pub(super) fn token(&self) -> String {
        self.0.ports.accounts.random().iter().take(16).map(|b| format!("{b:02x}")).collect()
    }
}

impl Session {
    /// Takes a filled-in form, or goes back (section 3.4).
    fn advance(&mut self, action: &str, form: Option<Form>) -> Result<(), StanzaError> {
        let bad_action = || fault(Condition::BadRequest, "bad-action");
        match action {
            "prev" if self.forms.is_empty() => return Err(bad_action()),
            "prev" => {
                self.forms.pop();
                return Ok(());
            }
            "next" if self.last => return Err(bad_action()),
            "complete" if !self.last => return Err(bad_action()),
            _ => {}
        }
        let form = form.ok_or_else(|| fault(Condition::BadRequest, "bad-payload"))?;
        self.asked.check(&form).map_err(|wrong| {
            fault(Condition::BadRequest, "bad-payload").with_text(wrong.to_string())
        })?;
        self.forms.push(form);
        Ok(())
    }

    fn answer(&self, status: &str) -> Element {
        Element::new("command", COMMANDS)
            .with_attr("node", self.node)
            .with_attr("sessionid", &*self.id)
            .with_attr("status", status)
    }

    fn question(&self) -> Element {
        let onward = if self.last { "complete" } else { "next" };
        let back = (!self.forms.is_empty()).then(|| Element::new("prev", COMMANDS));
        let actions = Element::new("actions", COMMANDS)
            .with_attr("execute", onward)
            .with_children(back)
            .with_child(Element::new(onward, COMMANDS));
        self.answer("executing").with_child(actions).with_child(self.asked.to_element())
    }
}
