//! Invitations (XEP-0401, XEP-0379): a link that makes an account, joins two rosters, or both.

use super::adhoc::{Call, Command, Done, Step, Whom};
use super::{Server, admin};
use crate::jid::Jid;
use crate::ports::{BoxFuture, Invite, RosterItem, StoreError};
use crate::stanza::data_form::{Field, FieldKind, Form, FormKind};
use crate::stanza::{Condition, StanzaError};

/// The namespace of tokens (XEP-0379, XEP-0445).
pub(super) const PREAUTH: &str = "urn:xmpp:pars:0";
const RESULT: &str = "urn:xmpp:invite#invitation";

/// The commands of this file.
pub(super) const COMMANDS: &[Command] = &[
    Command {
        node: "urn:xmpp:invite#invite",
        name: "Invite somebody",
        for_whom: Whom::Inviters,
        run: invite,
    },
    admin::admin("urn:xmpp:invite#create-account", "Invite to make an account", create_account),
];

/// A new invitation as it is handed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// The `xmpp:` URI.
    pub uri: String,
    /// A page about it, where the settings name one.
    pub landing_url: Option<String>,
    /// Its end as an XMPP timestamp (XEP-0082).
    pub expire: String,
}

fn invite<'a>(server: &'a Server, call: Call<'a>) -> BoxFuture<'a, Done> {
    Box::pin(async move {
        let invite = Invite {
            domain: call.domain.to_owned(),
            inviter: Some(call.by.bare()),
            name: None,
            registers: server.config().registration.by_invite,
            joins: true,
        };
        answer(server.invite(&invite).await?)
    })
}

fn create_account<'a>(server: &'a Server, call: Call<'a>) -> BoxFuture<'a, Done> {
    Box::pin(async move {
        let [given] = call.forms else {
            let name = Field::new(FieldKind::TextSingle, "username").with_label("User name");
            let join = Field::new(FieldKind::Boolean, "roster-subscription");
            let join = join.with_label("Become contacts").with_bool(false);
            let form = Form::about(FormKind::Form, "urn:xmpp:invite#create-account");
            let form = form.with_title("Invite to make an account");
            return Ok(Step::Ask { form: form.with_field(name).with_field(join), last: true });
        };
        let name = given.value("username").filter(|name| !name.is_empty());
        if let Some(name) = name {
            let account = match Jid::new(Some(name), call.domain, None) {
                Ok(account) if account.node() == Some(name) => account,
                _ => return Ok(Step::bad_payload("that is no name of an account")),
            };
            if server.0.ports.accounts.exists(&account).await? {
                return Ok(Step::Refuse(StanzaError::new(Condition::Conflict)));
            }
        }
        let invite = Invite {
            domain: call.domain.to_owned(),
            inviter: Some(call.by.bare()),
            name: name.map(str::to_owned),
            registers: true,
            joins: given.bool("roster-subscription").unwrap_or(false),
        };
        answer(server.invite(&invite).await?)
    })
}

fn answer(invitation: Option<Invitation>) -> Done {
    let Some(invitation) = invitation else {
        let refused = StanzaError::new(Condition::ResourceConstraint);
        return Ok(Step::Refuse(refused.with_text("too many invitations, or the name is taken")));
    };
    let text = |var: &str, value: &str| Field::new(FieldKind::TextSingle, var).with_value(value);
    let mut form = Form::about(FormKind::Result, RESULT).with_field(text("uri", &invitation.uri));
    if let Some(url) = &invitation.landing_url {
        form = form.with_field(text("landing-url", url));
    }
    Ok(Step::result(form.with_field(text("expire", &invitation.expire))))
}

/// The URI of an invitation (XEP-0401 sections 4.1 and 4.4).
pub fn invite_uri(invite: &Invite, token: &str) -> String {
    let address = |name: &str| format!("{}@{}", percent(name), invite.domain);
    match (&invite.inviter, &invite.name) {
        (Some(inviter), None) if invite.joins => {
            let inviter = format!("{}@{}", percent(inviter.node().unwrap_or("")), inviter.domain());
            let registers = if invite.registers { ";ibr=y" } else { "" };
            format!("xmpp:{inviter}?roster;preauth={token}{registers}")
        }
        (_, Some(name)) => format!("xmpp:{}?register;preauth={token}", address(name)),
        (_, None) => format!("xmpp:{}?register;preauth={token}", invite.domain),
    }
}

/// RFC 5122 section 2.7: what is not plain is told by its bytes.
fn percent(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$()*+'".contains(&b);
    text.bytes()
        .map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

impl Server {
    /// Makes an invitation. `None` when there are too many of the inviter, or its name is taken.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it cannot be kept.
    pub async fn invite(&self, invite: &Invite) -> Result<Option<Invitation>, StoreError> {
        let token = self.token();
        let settings = &self.config().registration;
        let kept = self.0.ports.invites.add(&token, invite, settings.invite_lifetime).await?;
        Ok(kept.map(|expire| Invitation {
            uri: invite_uri(invite, &token),
            landing_url: settings.landing_url.as_ref().map(|url| format!("{url}{token}")),
            expire,
        }))
    }

    /// Whether a token in somebody's request lets it see `contact` at once; uses it up (XEP-0379 section 3.5).
    pub(super) async fn takes_invitation(
        &self,
        contact: &Jid,
        token: &str,
    ) -> Result<bool, StoreError> {
        let found = self.0.ports.invites.find(token).await?;
        let fits = found.is_some_and(|i| i.joins && i.inviter.as_ref() == Some(contact));
        Ok(fits && self.0.ports.invites.take(token).await?)
    }

    /// Lets two accounts of this server see each other, without asking (XEP-0401 section 4.5).
    pub(super) async fn befriend(&self, one: &Jid, other: &Jid) -> Result<(), StoreError> {
        if one == other || !self.0.ports.accounts.exists(one).await? {
            return Ok(());
        }
        let turn = self.0.roster_turns.take([one, other]).await;
        for (owner, contact) in [(one, other), (other, one)] {
            let roster = self.roster(owner).await?;
            let known = roster.item(contact).cloned();
            if known.is_none() && roster.items.len() >= self.config().max_contacts {
                continue;
            }
            let item = known.unwrap_or_else(|| RosterItem::new(contact.clone()));
            self.put_item(owner, RosterItem { to: true, from: true, ask: false, ..item }).await?;
            if roster.pending_in.contains(contact) {
                self.set_pending_in(owner, contact, false).await?;
            }
        }
        drop(turn);
        for (owner, contact) in [(one, other), (other, one)] {
            let devices: Vec<Jid> = self
                .sessions()
                .of(contact)
                .iter()
                .filter(|r| r.presence.is_some() && r.outbox.is_some())
                .map(|r| r.jid.clone())
                .collect();
            for device in devices {
                self.show_account(owner, &device);
            }
            self.0.ports.watch.permission_changed(owner, contact, true);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_says_what_the_token_is_good_for() {
        let base = Invite {
            domain: "d".into(),
            inviter: Some(Jid::parse("ana@d").unwrap()),
            name: None,
            registers: true,
            joins: true,
        };
        let none = Invite { inviter: None, joins: false, ..base.clone() };
        let odd = Jid::parse("ann\\26ie@d").unwrap();
        for (invite, expected) in [
            (base.clone(), "xmpp:ana@d?roster;preauth=T;ibr=y"),
            (Invite { registers: false, ..base.clone() }, "xmpp:ana@d?roster;preauth=T"),
            (Invite { name: Some("eve".into()), ..base.clone() }, "xmpp:eve@d?register;preauth=T"),
            (none, "xmpp:d?register;preauth=T"),
            (Invite { inviter: Some(odd), ..base }, "xmpp:ann%5C26ie@d?roster;preauth=T;ibr=y"),
        ] {
            assert_eq!(invite_uri(&invite, "T"), expected);
        }
    }
}
