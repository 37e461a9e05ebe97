//! What administrators ask about accounts (XEP-0133): who has one, who is online, how many.

use super::Server;
use super::adhoc::{Call, Command, Done, Step};
use super::admin::{ADMIN, admin, form};
use crate::jid::Jid;
use crate::ports::{BoxFuture, StoreError};
use crate::stanza::data_form::{Choice, Field, FieldKind, Form, FormKind};

/// Most addresses of one list; the number in the form may make it shorter.
const MAX_LISTED: usize = 1_000;

/// The commands of this file.
pub(super) const COMMANDS: &[Command] = &[
    admin(
        "http://jabber.org/protocol/admin#get-registered-users-num",
        "How many accounts there are",
        registered_number,
    ),
    admin(
        "http://jabber.org/protocol/admin#get-disabled-users-num",
        "How many accounts are disabled",
        disabled_number,
    ),
    admin(
        "http://jabber.org/protocol/admin#get-online-users-num",
        "How many accounts are online",
        online_number,
    ),
    admin(
        "http://jabber.org/protocol/admin#get-registered-users-list",
        "Which accounts there are",
        registered_list,
    ),
    admin(
        "http://jabber.org/protocol/admin#get-disabled-users-list",
        "Which accounts are disabled",
        disabled_list,
    ),
    admin(
        "http://jabber.org/protocol/admin#get-online-users-list",
        "Which accounts are online",
        online_list,
    ),
];

fn number(field: &str, count: u64) -> Done {
    let field = Field::value_of(field, count.to_string());
    Ok(Step::result(Form::about(FormKind::Result, ADMIN).with_field(field)))
}

fn list(field: &str, accounts: impl IntoIterator<Item = Jid>) -> Done {
    let field = Field { var: Some(field.into()), ..Field::default() };
    let field = field.with_values(accounts.into_iter().map(|a| a.to_string()));
    Ok(Step::result(Form::about(FormKind::Result, ADMIN).with_field(field)))
}

/// How many are wanted; asked first.
fn wanted(call: &Call<'_>, title: &str) -> Result<usize, Box<Step>> {
    let [given] = call.forms else {
        let numbers = ["25", "50", "75", "100", "150", "200", "none"];
        let max = Field::new(FieldKind::ListSingle, "max_items")
            .with_label("Most to show")
            .with_options(numbers.map(|n| Choice::new(n, n)));
        return Err(Step::Ask { form: form(title).with_field(max), last: true }.into());
    };
    let max = given.value("max_items").and_then(|max| max.parse().ok());
    Ok(max.unwrap_or(MAX_LISTED).min(MAX_LISTED))
}

fn registered_number<'a>(server: &'a Server, call: Call<'a>) -> BoxFuture<'a, Done> {
    Box::pin(async move {
        let (all, _) = server.0.ports.directory.count(call.domain).await?;
        number("registeredusersnum", all)
    })
}

fn disabled_number<'a>(server: &'a Server, call: Call<'a>) -> BoxFuture<'a, Done> {
    Box::pin(async move {
        let (_, disabled) = server.0.ports.directory.count(call.domain).await?;
        number("disabledusersnum", disabled)
    })
}

fn online_number<'a>(server: &'a Server, call: Call<'a>) -> BoxFuture<'a, Done> {
    Box::pin(async move { number("onlineusersnum", server.online(call.domain).len() as u64) })
}

fn registered_list<'a>(server: &'a Server, call: Call<'a>) -> BoxFuture<'a, Done> {
    Box::pin(async move {
        match wanted(&call, "Which accounts there are") {
            Ok(max) => {
                let listed = server.0.ports.directory.list(call.domain, None, max).await?;
                list("registereduserjids", listed.into_iter().map(|l| l.account))
            }
            Err(step) => Ok(*step),
        }
    })
}

fn disabled_list<'a>(server: &'a Server, call: Call<'a>) -> BoxFuture<'a, Done> {
    Box::pin(async move {
        match wanted(&call, "Which accounts are disabled") {
            Ok(max) => list("disableduserjids", server.disabled(call.domain, max).await?),
            Err(step) => Ok(*step),
        }
    })
}

fn online_list<'a>(server: &'a Server, call: Call<'a>) -> BoxFuture<'a, Done> {
    Box::pin(async move {
        match wanted(&call, "Which accounts are online") {
            Ok(max) => list("onlineuserjids", server.online(call.domain).into_iter().take(max)),
            Err(step) => Ok(*step),
        }
    })
}

impl Server {
    /// The accounts of a domain with at least one stream that is available, in order.
    fn online(&self, domain: &str) -> Vec<Jid> {
        let sessions = self.sessions();
        let is_online = |account: &&Jid| {
            let mut devices = sessions.of(account).iter();
            account.domain() == domain
                && devices.any(|r| r.outbox.is_some() && r.presence.is_some())
        };
        let mut online: Vec<Jid> = sessions.accounts().filter(is_online).cloned().collect();
        drop(sessions);
        online.sort();
        online
    }

    async fn disabled(&self, domain: &str, max: usize) -> Result<Vec<Jid>, StoreError> {
        let mut disabled = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.0.ports.directory.list(domain, after.as_deref(), MAX_LISTED).await?;
            after = page.last().and_then(|l| l.account.node().map(str::to_owned));
            let full = page.len() >= MAX_LISTED;
            disabled.extend(page.into_iter().filter(|l| l.disabled).map(|l| l.account));
            if disabled.len() >= max || !full {
                disabled.truncate(max);
                return Ok(disabled);
            }
        }
    }
}
