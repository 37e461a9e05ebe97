//! What administrators ask about accounts (XEP-0133): who has one, who is online, how many. A list that is longer than was
//! asked for comes in pages, forwards and back.

use super::Server;
use super::adhoc::{Call, Command, Done, Step};
use super::admin::{ADMIN, admin, form};
use crate::jid::Jid;
use crate::ports::{BoxFuture, StoreError};
use crate::stanza::data_form::{Choice, Field, FieldKind, Form, FormKind};

/// Most addresses of one page; the number in the form may make it shorter.
const MAX_LISTED: usize = 1_000;
/// The field of a page that says behind which address the next one begins.
const AFTER: &str = "tandem#after";

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

/// One page of a list.
struct Wanted {
    max: usize,
    /// Behind this name.
    after: Option<String>,
}

impl Wanted {
    /// What the forms say; the first asks how many are wanted, each other is a page that was shown.
    fn read(call: &Call<'_>, title: &str) -> Result<Self, Box<Step>> {
        let Some((first, pages)) = call.forms.split_first() else {
            let numbers = ["25", "50", "75", "100", "150", "200", "none"];
            let max = Field::new(FieldKind::ListSingle, "max_items")
                .with_label("Most to show")
                .with_options(numbers.map(|n| Choice::new(n, n)));
            return Err(Step::Ask { form: form(title).with_field(max), last: false }.into());
        };
        let max = first.value("max_items").and_then(|max| max.parse().ok());
        Ok(Self {
            max: max.unwrap_or(MAX_LISTED).clamp(1, MAX_LISTED),
            after: pages.last().and_then(|page| page.value(AFTER)).map(str::to_owned),
        })
    }

    /// How many must be read to know whether there are more.
    fn most(&self) -> usize {
        self.max + 1
    }

    /// The page of those that were read.
    fn page(&self, title: &str, field: &str, mut accounts: Vec<Jid>) -> Done {
        let is_last = accounts.len() <= self.max;
        accounts.truncate(self.max);
        let after = accounts.last().and_then(|last| last.node().map(str::to_owned));
        let field = Field::new(FieldKind::JidMulti, field);
        let list = field.with_values(accounts.iter().map(Jid::to_string));
        match after.filter(|_| !is_last) {
            None => Ok(Step::result(Form::about(FormKind::Result, ADMIN).with_field(list))),
            Some(after) => {
                let after = Field::new(FieldKind::Hidden, AFTER).with_value(after);
                let page = form(title).with_field(list).with_field(after.required());
                Ok(Step::Ask { form: page, last: false })
            }
        }
    }
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
        let title = "Which accounts there are";
        let wanted = match Wanted::read(&call, title) {
            Ok(wanted) => wanted,
            Err(step) => return Ok(*step),
        };
        let after = wanted.after.as_deref();
        let listed = server.0.ports.directory.list(call.domain, after, wanted.most()).await?;
        let accounts = listed.into_iter().map(|listed| listed.account).collect();
        wanted.page(title, "registereduserjids", accounts)
    })
}

fn disabled_list<'a>(server: &'a Server, call: Call<'a>) -> BoxFuture<'a, Done> {
    Box::pin(async move {
        let title = "Which accounts are disabled";
        let wanted = match Wanted::read(&call, title) {
            Ok(wanted) => wanted,
            Err(step) => return Ok(*step),
        };
        let accounts = server.disabled(call.domain, wanted.after.clone(), wanted.most()).await?;
        wanted.page(title, "disableduserjids", accounts)
    })
}

fn online_list<'a>(server: &'a Server, call: Call<'a>) -> BoxFuture<'a, Done> {
    Box::pin(async move {
        let title = "Which accounts are online";
        let wanted = match Wanted::read(&call, title) {
            Ok(wanted) => wanted,
            Err(step) => return Ok(*step),
        };
        let online = server.online(call.domain).into_iter();
        let behind = online.skip_while(|a| wanted.after.as_deref() >= a.node());
        let accounts = behind.take(wanted.most()).collect();
        wanted.page(title, "onlineuserjids", accounts)
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
        online.sort_by(|a, b| a.node().cmp(&b.node()));
        online
    }

    async fn disabled(
        &self,
        domain: &str,
        mut after: Option<String>,
        max: usize,
    ) -> Result<Vec<Jid>, StoreError> {
        let mut disabled = Vec::new();
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
