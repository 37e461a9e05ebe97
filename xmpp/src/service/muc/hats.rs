//! Hats (XEP-0317): titles of a room that its owners make and its admins give, shown with each presence.

use sha1::{Digest, Sha1};

use super::form::{Answers, DATA, Form, FormKind, Kind};
use super::room::{Action, Room};
use super::wire::{HATS, attribute, user_x};
use crate::jid::Jid;
use crate::ports::{Affiliation, Hat, RoomChange};
use crate::stanza::{Condition, StanzaError};
use crate::xml::Element;

pub(super) const COMMANDS: &str = "http://jabber.org/protocol/commands";
const FORM: &str = "urn:xmpp:hats:commands";
/// The commands by their nodes, with a name for people.
pub(super) const NODES: &[(&str, &str)] = &[
    ("urn:xmpp:hats:commands:create", "Create or change a hat"),
    ("urn:xmpp:hats:commands:destroy", "Destroy a hat"),
    ("urn:xmpp:hats:commands:list", "List the hats"),
    ("urn:xmpp:hats:commands:assign", "Assign a hat"),
    ("urn:xmpp:hats:commands:unassign", "Unassign a hat"),
    ("urn:xmpp:hats:commands:list-assigned", "List assigned hats"),
];
/// Most hats of a room, and most that one person wears.
const MAX_HATS: usize = 50;
/// Most bytes of each text of a hat.
const MAX_TEXT: usize = 256;

/// What a command does.
#[derive(Debug)]
pub(super) enum Command {
    /// It is answered with this.
    Answer(Element),
    /// This is to be kept, then it is done.
    Change(Box<RoomChange>),
}

fn refused<T>(condition: Condition) -> Result<T, StanzaError> {
    Err(StanzaError::new(condition))
}

impl Room {
    /// The hats of a person, as they go into presence; empty without any.
    pub(super) fn hats_of(&self, person: &Jid) -> String {
        let worn = self.people.get(person).map(|m| m.hats.as_slice()).unwrap_or_default();
        if worn.is_empty() {
            return String::new();
        }
        let mut out = format!("<hats xmlns='{HATS}'>");
        for hat in self.record.hats.iter().filter(|h| worn.contains(&h.uri)) {
            out.push_str("<hat");
            attribute(&mut out, "title", &hat.title);
            attribute(&mut out, "uri", &hat.uri);
            if let Some(hue) = &hat.hue {
                attribute(&mut out, "hue", hue);
            }
            out.push_str("/>");
        }
        out + "</hats>"
    }

    /// Changes whenever a hat does; none without hats.
    pub(super) fn hats_hash(&self) -> Option<String> {
        if self.record.hats.is_empty() {
            return None;
        }
        let mut hash = Sha1::new();
        for hat in &self.record.hats {
            for part in [&hat.uri, &hat.title, hat.hue.as_deref().unwrap_or_default()] {
                hash.update(part.as_bytes());
                hash.update([0]);
            }
        }
        Some(hash.finalize().iter().map(|b| format!("{b:02x}")).collect())
    }

    /// An ad-hoc command (XEP-0050) about hats.
    ///
    /// # Errors
    ///
    /// `forbidden` for who may not, `item-not-found` for another command or an unknown hat, `not-acceptable` for a hat
    /// that cannot be, `resource-constraint` for one too many.
    pub(super) fn command(&self, from: &Jid, command: &Element) -> Result<Command, StanzaError> {
        let node = command.attr("node").unwrap_or_default();
        let name = node.strip_prefix("urn:xmpp:hats:commands:").unwrap_or_default();
        let affiliation = self.affiliation(from);
        let may = match name {
            "create" | "destroy" => affiliation == Affiliation::Owner,
            "assign" | "unassign" | "list-assigned" => affiliation >= Affiliation::Admin,
            "list" => affiliation >= Affiliation::Member || self.sessions.contains_key(from),
            _ => return refused(Condition::ItemNotFound),
        };
        if !may {
            return refused(Condition::Forbidden);
        }
        if command.attr("action") == Some("cancel") {
            return Ok(Command::Answer(status(node, "canceled", None)));
        }
        match name {
            "list" => return Ok(Command::Answer(self.hat_list(node))),
            "list-assigned" => return Ok(Command::Answer(self.assigned_hats(node))),
            _ => {}
        }
        let Some(answers) = command.child("x", DATA).and_then(|x| Answers::of(x, FORM)) else {
            return Ok(Command::Answer(status(node, "executing", Some(self.hat_form(name)))));
        };
        let change = match name {
            "create" => self.plan_hat(&answers)?,
            "destroy" => self.plan_no_hat(&answers)?,
            _ => self.plan_wearing(&answers, name == "assign")?,
        };
        Ok(Command::Change(Box::new(change)))
    }

    fn plan_hat(&self, answers: &Answers) -> Result<RoomChange, StanzaError> {
        let text = |var| answers.text(var).unwrap_or_default();
        let hat = Hat {
            uri: text("hats#uri"),
            title: text("hats#title"),
            hue: answers.text("hats#hue").filter(|hue| !hue.is_empty()),
        };
        let fits = |text: &str| !text.is_empty() && text.len() <= MAX_TEXT;
        let hue_fits = hat.hue.as_ref().is_none_or(|hue| hue.parse::<f64>().is_ok());
        if !fits(&hat.uri) || !fits(&hat.title) || !hue_fits {
            return refused(Condition::NotAcceptable);
        }
        let mut record = self.record.clone();
        let full = record.hats.len() >= MAX_HATS;
        match record.hats.iter_mut().find(|h| h.uri == hat.uri) {
            Some(old) => *old = hat,
            None if full => return refused(Condition::ResourceConstraint),
            None => record.hats.push(hat),
        }
        Ok(RoomChange { record: Some(record), ..RoomChange::default() })
    }

    fn plan_no_hat(&self, answers: &Answers) -> Result<RoomChange, StanzaError> {
        let uri = self.known_hat(answers)?;
        let mut record = self.record.clone();
        record.hats.retain(|h| h.uri != uri);
        let wearers = self.people.iter().filter(|(_, m)| m.hats.contains(&uri));
        let people = wearers.map(|(jid, member)| {
            let mut member = member.clone();
            member.hats.retain(|h| *h != uri);
            (jid.clone(), Some(member))
        });
        let people = people.collect();
        Ok(RoomChange { record: Some(record), people, ..RoomChange::default() })
    }

    fn plan_wearing(&self, answers: &Answers, wear: bool) -> Result<RoomChange, StanzaError> {
        let uri = self.known_hat(answers)?;
        let person = answers.text("hats#jid").and_then(|jid| Jid::parse(&jid).ok());
        let person = person.filter(|jid| jid.node().is_some());
        let Some(person) = person.map(|jid| jid.bare()) else {
            return refused(Condition::NotAcceptable);
        };
        let mut member = self.people.get(&person).cloned().unwrap_or_default();
        member.hats.retain(|h| *h != uri);
        if wear {
            member.hats.push(uri);
        }
        if member.hats.len() > MAX_HATS {
            return refused(Condition::ResourceConstraint);
        }
        let nothing = member.affiliation == Affiliation::None && member.hats.is_empty();
        let people = vec![(person, Some(member).filter(|_| !nothing))];
        let change = RoomChange { people, ..RoomChange::default() };
        self.check_room_for(&change)?;
        Ok(change)
    }

    fn known_hat(&self, answers: &Answers) -> Result<String, StanzaError> {
        // Older clients call the field so.
        let uri = answers.text("hats#uri").or_else(|| answers.text("hat")).unwrap_or_default();
        if !self.record.hats.iter().any(|h| h.uri == uri) {
            return refused(Condition::ItemNotFound);
        }
        Ok(uri)
    }

    /// The hats have changed, and it is kept: everybody is told, and sees who wears what.
    pub(super) fn apply_hats(&mut self, change: &RoomChange, out: &mut Vec<Action>) {
        let mut shown: Vec<Jid> = change.people.iter().map(|(jid, _)| jid.clone()).collect();
        if let Some(record) = &change.record {
            let before = std::mem::replace(&mut self.record.hats, record.hats.clone());
            let changed = |h: &&Hat| !self.record.hats.contains(h);
            let uris: Vec<&String> = before.iter().filter(changed).map(|h| &h.uri).collect();
            let wearers =
                self.people.iter().filter(|(_, m)| m.hats.iter().any(|h| uris.contains(&h)));
            shown.extend(wearers.map(|(jid, _)| jid.clone()));
            self.notice(Some("groupchat"), &user_x(None, &[104]), out);
        }
        for (jid, member) in &change.people {
            match member {
                Some(member) => self.people.insert(jid.clone(), member.clone()),
                None => self.people.remove(jid),
            };
        }
        let meant = self.occupants.values().filter(|o| shown.contains(&o.real));
        for nick in meant.map(|o| o.nick.clone()).collect::<Vec<_>>() {
            self.show(&nick, &[], out);
        }
    }

    fn hat_form(&self, name: &str) -> Element {
        let hats: Vec<(&str, &str)> =
            self.record.hats.iter().map(|h| (h.title.as_str(), h.uri.as_str())).collect();
        let form = Form::new(FormKind::Form, FORM);
        match name {
            "create" => form
                .titled("Create a hat", "Fill in the form to create or change a hat.")
                .field(Kind::TextSingle, "hats#title", "Title", [])
                .field(Kind::TextSingle, "hats#uri", "URI", [])
                .field(Kind::TextSingle, "hats#hue", "Hue", []),
            "destroy" => form.titled("Destroy a hat", "Nobody wears it any more.").choice(
                Kind::ListSingle,
                "hats#uri",
                "Hat",
                [],
                &hats,
            ),
            _ => form
                .titled("Hats of a person", "Choose who and which.")
                .field(Kind::JidSingle, "hats#jid", "Person", [])
                .choice(Kind::ListSingle, "hats#uri", "Hat", [], &hats),
        }
        .done()
    }

    fn hat_list(&self, node: &str) -> Element {
        let mut form = Form::new(FormKind::Result, FORM);
        for var in ["hats#uri", "hats#title", "hats#hue"] {
            form = form.column(var);
        }
        for hat in &self.record.hats {
            let hue = hat.hue.as_deref().unwrap_or_default();
            let values = [("hats#uri", &*hat.uri), ("hats#title", &*hat.title), ("hats#hue", hue)];
            form = form.row(&values);
        }
        status(node, "completed", Some(form.done()))
    }

    fn assigned_hats(&self, node: &str) -> Element {
        let form = Form::new(FormKind::Result, FORM).column("hats#jid").column("hats#uri");
        let worn = self.people.iter().flat_map(|(jid, m)| m.hats.iter().map(move |uri| (jid, uri)));
        let form = worn.fold(form, |form, (jid, uri)| {
            form.row(&[("hats#jid", jid.as_str()), ("hats#uri", uri)])
        });
        status(node, "completed", Some(form.done()))
    }
}

/// The answer to a command.
pub(super) fn status(node: &str, status: &str, form: Option<Element>) -> Element {
    let mut command = Element::new("command", COMMANDS)
        .with_attr("node", node)
        .with_attr("sessionid", "hats")
        .with_attr("status", status);
    if status == "executing" {
        let complete = Element::new("complete", COMMANDS);
        let actions = Element::new("actions", COMMANDS).with_attr("execute", "complete");
        command.push(actions.with_child(complete));
    }
    command.with_children(form)
}
