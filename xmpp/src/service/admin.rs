//! Administration of accounts by commands (XEP-0133): making, removing, disabling, passwords, sessions, announcements.

use super::Server;
use super::adhoc::{Call, Command, Done, Step, Whom};
use crate::jid::Jid;
use crate::ports::{BoxFuture, StoreError};
use crate::stanza::data_form::{Field, FieldKind, Form, FormKind};
use crate::stanza::{Condition, StanzaError};
use crate::xml::{Element, ns};

/// What all forms here are about.
pub(super) const ADMIN: &str = "http://jabber.org/protocol/admin";
/// Most accounts that one command touches.
const MAX_NAMED: usize = 100;

/// The commands of this file.
pub(super) const COMMANDS: &[Command] = &[
    admin("http://jabber.org/protocol/admin#add-user", "Add an account", add_user),
    admin("http://jabber.org/protocol/admin#delete-user", "Remove accounts", delete_user),
    admin("http://jabber.org/protocol/admin#disable-user", "Disable accounts", disable_user),
    admin("http://jabber.org/protocol/admin#reenable-user", "Enable accounts again", reenable_user),
    admin("http://jabber.org/protocol/admin#end-user-session", "End sessions", end_session),
    admin("http://jabber.org/protocol/admin#change-user-password", "Set a password", set_password),
    admin("http://jabber.org/protocol/admin#announce", "Announce to who is online", announce),
    admin("http://jabber.org/protocol/admin#edit-blacklist", "Edit the blacklist", edit_blacklist),
];

pub(super) const fn admin(
    node: &'static str,
    name: &'static str,
    run: for<'a> fn(&'a Server, Call<'a>) -> BoxFuture<'a, Done>,
) -> Command {
    Command { node, name, for_whom: Whom::Admins, run }
}

pub(super) fn form(title: &str) -> Form {
    Form::about(FormKind::Form, ADMIN).with_title(title)
}

/// The only step there is.
fn only(form: Form) -> Done {
    Ok(Step::Ask { form, last: true })
}

fn accounts_form(title: &str) -> Form {
    let field = Field::new(FieldKind::JidMulti, "accountjids");
    form(title).with_field(field.with_label("Addresses of the accounts").required())
}

/// The accounts of the domain that were named.
fn named(call: &Call<'_>, form: &Form, field: &str) -> Result<Vec<Jid>, Box<Step>> {
    let named: Vec<Jid> = form.values(field).iter().filter_map(|v| Jid::parse(v).ok()).collect();
    if named.len() > MAX_NAMED {
        return Err(Step::bad_payload(format!("no more than {MAX_NAMED} at once")).into());
    }
    for jid in &named {
        if jid.domain() != call.domain || jid.node().is_none() {
            return Err(Step::bad_payload(format!("{jid} is no account of {}", call.domain)).into());
        }
    }
    Ok(named)
}

fn add_user<'a>(server: &'a Server, call: Call<'a>) -> BoxFuture<'a, Done> {
    Box::pin(async move {
        let [given] = call.forms else {
            let text = |var, label| Field::new(FieldKind::TextPrivate, var).with_label(label);
            return only(
                form("Add an account")
                    .with_field(
                        Field::new(FieldKind::JidSingle, "accountjid")
                            .with_label("Address of the new account")
                            .required(),
                    )
                    .with_field(text("password", "Password").required())
                    .with_field(text("password-verify", "Password again")),
            );
        };
        let account = match named(&call, given, "accountjid") {
            Ok(named) => named.into_iter().next(),
            Err(step) => return Ok(*step),
        };
        let password = given.value("password").unwrap_or_default();
        let (Some(account), false) = (account, mistyped(given)) else {
            return Ok(Step::bad_payload("the two passwords differ"));
        };
        if !account.is_bare() {
            return Ok(Step::bad_payload("an account has no resource"));
        }
        if let Err(text) = server.check_password(password) {
            return Ok(Step::bad_payload(text));
        }
        match server.create_account(&account, password).await? {
            true => Ok(Step::done()),
            false => Ok(Step::Refuse(StanzaError::new(Condition::Conflict))),
        }
    })
}

fn mistyped(form: &Form) -> bool {
    let again = form.value("password-verify").filter(|again| !again.is_empty());
    again.is_some_and(|again| Some(again) != form.value("password"))
}

fn set_password<'a>(server: &'a Server, call: Call<'a>) -> BoxFuture<'a, Done> {
    Box::pin(async move {
        let [given] = call.forms else {
            let account = Field::new(FieldKind::JidSingle, "accountjid").with_label("Address");
            let password = Field::new(FieldKind::TextPrivate, "password").with_label("Password");
            let form = form("Set a password");
            return only(form.with_field(account.required()).with_field(password.required()));
        };
        let account = match named(&call, given, "accountjid") {
            Ok(named) => named.into_iter().next(),
            Err(step) => return Ok(*step),
        };
        let Some(account) = account else { return Ok(Step::bad_payload("no account")) };
        let password = given.value("password").unwrap_or_default();
        if let Err(text) = server.check_password(password) {
            return Ok(Step::bad_payload(text));
        }
        match server.0.ports.passwords.set_password(&account.bare(), password).await? {
            true => Ok(Step::done()),
            false => Ok(Step::Refuse(StanzaError::new(Condition::ItemNotFound))),
        }
    })
}

/// What is done with each account that was named.
#[derive(Clone, Copy)]
enum Act {
    Remove,
    Disable,
    Enable,
}

impl Act {
    /// False when there is no such account.
    async fn on(self, server: &Server, account: &Jid) -> Result<bool, StoreError> {
        let directory = &server.0.ports.directory;
        match self {
            Self::Remove => server.remove_account(account).await,
            Self::Enable => directory.set_disabled(account, false).await,
            Self::Disable => {
                let known = directory.set_disabled(account, true).await?;
                server.end_sessions(account, None);
                Ok(known)
            }
        }
    }

    /// One account after another; those that are not there are told.
    async fn on_each(self, server: &Server, call: &Call<'_>, given: &Form) -> Done {
        let accounts = match named(call, given, "accountjids") {
            Ok(named) => named,
            Err(step) => return Ok(*step),
        };
        let oneself = accounts.iter().any(|a| a.bare() == call.by.bare());
        if oneself && !matches!(self, Self::Enable) {
            return Ok(Step::bad_payload("administrators do not shut themselves out"));
        }
        let mut missing = Vec::new();
        for account in &accounts {
            if !self.on(server, &account.bare()).await? {
                missing.push(account.to_string());
            }
        }
        if missing.len() == accounts.len() {
            return Ok(Step::Refuse(StanzaError::new(Condition::ItemNotFound)));
        }
        if missing.is_empty() {
            return Ok(Step::done());
        }
        Ok(Step::noted(format!("There is no {}", missing.join(", "))))
    }
}

fn delete_user<'a>(server: &'a Server, call: Call<'a>) -> BoxFuture<'a, Done> {
    Box::pin(async move {
        let [given] = call.forms else { return only(accounts_form("Remove accounts")) };
        Act::Remove.on_each(server, &call, given).await
    })
}

fn disable_user<'a>(server: &'a Server, call: Call<'a>) -> BoxFuture<'a, Done> {
    Box::pin(async move {
        let [given] = call.forms else { return only(accounts_form("Disable accounts")) };
        Act::Disable.on_each(server, &call, given).await
    })
}

fn reenable_user<'a>(server: &'a Server, call: Call<'a>) -> BoxFuture<'a, Done> {
    Box::pin(async move {
        let [given] = call.forms else { return only(accounts_form("Enable accounts again")) };
        Act::Enable.on_each(server, &call, given).await
    })
}

/// An address with a resource ends that session, one without all.
fn end_session<'a>(server: &'a Server, call: Call<'a>) -> BoxFuture<'a, Done> {
    Box::pin(async move {
        let [given] = call.forms else { return only(accounts_form("End sessions")) };
        let sessions = match named(&call, given, "accountjids") {
            Ok(named) => named,
            Err(step) => return Ok(*step),
        };
        let ended: usize =
            sessions.iter().map(|jid| server.end_sessions(&jid.bare(), jid.resource())).sum();
        Ok(Step::noted(format!("{ended} sessions are ended")))
    })
}

fn announce<'a>(server: &'a Server, call: Call<'a>) -> BoxFuture<'a, Done> {
    Box::pin(async move {
        let [given] = call.forms else {
            let text = Field::new(FieldKind::TextMulti, "announcement").with_label("Announcement");
            let subject = Field::new(FieldKind::TextSingle, "subject").with_label("Subject");
            let form = form("Announce to who is online");
            return only(form.with_field(subject).with_field(text.required()));
        };
        let subject = given.value("subject").filter(|s| !s.is_empty());
        let body = given.values("announcement").join("\n");
        let mut message = Element::new("message", ns::CLIENT)
            .with_attr("from", call.domain)
            .with_attr("type", "headline")
            .with_attr("id", server.token());
        if let Some(subject) = subject {
            message.push(Element::new("subject", ns::CLIENT).with_text(subject));
        }
        message.push(Element::new("body", ns::CLIENT).with_text(body));
        let told = server.tell_all_online(call.domain, &message);
        Ok(Step::noted(format!("{told} sessions are told")))
    })
}

/// The whole list is shown and sent back changed (section 4.11).
fn edit_blacklist<'a>(server: &'a Server, call: Call<'a>) -> BoxFuture<'a, Done> {
    Box::pin(async move {
        let Ok(owner) = Jid::new(None, call.domain, None) else { return Ok(Step::done()) };
        let now = server.blocks_of(&owner).await?.sorted();
        let [given] = call.forms else {
            let list = Field::new(FieldKind::JidMulti, "blacklistjids").with_label("Addresses");
            let list = list.with_values(now.iter().map(Jid::to_string));
            return only(form("Edit the blacklist").with_field(list));
        };
        let wanted: Vec<Jid> =
            given.values("blacklistjids").iter().filter_map(|v| Jid::parse(v).ok()).collect();
        if wanted.iter().any(|jid| jid.domain() == call.domain && jid.node().is_none()) {
            return Ok(Step::bad_payload("a domain does not shut itself out"));
        }
        let gone: Vec<Jid> = now.into_iter().filter(|jid| !wanted.contains(jid)).collect();
        if let Some(refused) = server.block(&owner, &wanted, Vec::new()).await? {
            return Ok(Step::Refuse(refused));
        }
        if !gone.is_empty()
            && let Some(refused) = server.unblock(&owner, gone).await?
        {
            return Ok(Step::Refuse(refused));
        }
        Ok(Step::done())
    })
}
