//! What a room and the service say about themselves (XEP-0045 sections 6.1 to 6.5, XEP-0128).

use std::collections::BTreeSet;

use super::super::disco::{INFO, ITEMS};
use super::form::{Form, FormKind, Kind};
use super::hats::NODES;
use super::room::Room;
use super::wire::{HATS, MUC, OCCUPANT_ID, SID};
use crate::jid::Jid;
use crate::ports::Affiliation;
use crate::xml::Element;

const ROOM_INFO: &str = "http://jabber.org/protocol/muc#roominfo";
const REQUEST: &str = "http://jabber.org/protocol/muc#request";
pub(super) const STABLE_ID: &str = "http://jabber.org/protocol/muc#stable_id";
pub(super) const SELF_PING: &str = "http://jabber.org/protocol/muc#self-ping-optimization";
pub(super) const MODERATE: &str = "urn:xmpp:message-moderate:1";
/// What the service and each room can do.
const COMMON: &[&str] = &[
    INFO,
    ITEMS,
    MUC,
    STABLE_ID,
    OCCUPANT_ID,
    SID,
    "urn:xmpp:ping",
    "vcard-temp",
    "jabber:iq:register",
];
/// What only a room can do.
const ROOM: &[&str] = &[
    SELF_PING,
    MODERATE,
    REQUEST,
    HATS,
    "http://jabber.org/protocol/commands",
    "jabber:x:conference",
];

fn info(name: &str, features: impl IntoIterator<Item = &'static str>) -> Element {
    let identity = Element::new("identity", INFO)
        .with_attr("category", "conference")
        .with_attr("type", "text")
        .with_attr("name", name);
    let features: BTreeSet<_> = features.into_iter().collect();
    let features = features.into_iter().map(|f| Element::new("feature", INFO).with_attr("var", f));
    Element::new("query", INFO).with_child(identity).with_children(features)
}

/// The service itself.
pub(super) fn service_info() -> Element {
    let paging = "http://jabber.org/protocol/rsm";
    info("Rooms", COMMON.iter().copied().chain([paging]))
}

impl Room {
    /// What the room says of itself to this entity. What is said inside stays with those who may hear it (section
    /// 14.4): strangers learn no subject and no numbers of a hidden room.
    pub(super) fn info(&self, from: &Jid) -> Element {
        let config = &self.record.config;
        let either = |yes, a: &'static str, b: &'static str| if yes { a } else { b };
        let kinds = [
            either(config.public, "muc_public", "muc_hidden"),
            either(config.members_only, "muc_membersonly", "muc_open"),
            either(config.moderated, "muc_moderated", "muc_unmoderated"),
            either(config.semi_anonymous, "muc_semianonymous", "muc_nonanonymous"),
            either(config.password.is_empty(), "muc_unsecured", "muc_passwordprotected"),
            either(config.persistent, "muc_persistent", "muc_temporary"),
        ];
        let archive: &[&str] = if config.logging { crate::service::archive::FEATURES } else { &[] };
        let node = self.jid.node().unwrap_or_default();
        let name = if config.name.is_empty() { node } else { &config.name };
        let features = COMMON.iter().chain(ROOM).chain(&kinds).chain(archive).copied();
        info(name, features).with_child(self.room_info(from))
    }

    fn room_info(&self, from: &Jid) -> Element {
        let config = &self.record.config;
        let history = config.history.to_string();
        let mut form = Form::new(FormKind::Result, ROOM_INFO)
            .field(
                Kind::TextSingle,
                "muc#roominfo_description",
                "Description",
                [&*config.description],
            )
            .field(Kind::TextSingle, "muc#roominfo_lang", "Language", [&*config.language])
            .tick("muc#roominfo_subjectmod", "Everybody may set the subject", config.change_subject)
            .field(Kind::TextSingle, "muc#maxhistoryfetch", "Messages for who enters", [&*history])
            .field(Kind::TextSingle, "muc#roomconfig_roomname", "Name", [&*config.name])
            .tick("muc#roomconfig_allowinvites", "Members may invite", config.allow_invites);
        let belongs = self.affiliation(from) >= Affiliation::Member || self.is_inside(&from.bare());
        if belongs || config.public {
            let occupants = self.occupants.len().to_string();
            let subject = self.record.subject.as_ref().map_or("", |s| &*s.text);
            form = form
                .field(Kind::TextSingle, "muc#roominfo_occupants", "Occupants", [&*occupants])
                .field(Kind::TextSingle, "muc#roominfo_subject", "Subject", [subject]);
        }
        if belongs && !config.semi_anonymous {
            let owners = self.people.iter().filter(|(_, m)| m.affiliation == Affiliation::Owner);
            let owners = owners.map(|(jid, _)| jid.as_str());
            form = form.field(Kind::JidMulti, "muc#roominfo_contactjid", "Contact", owners);
        }
        if let Some(hash) = self.hats_hash() {
            form = form.field(Kind::TextSingle, "hats#hash", "Hats", [&*hash]);
        }
        if !self.record.avatar.is_empty() {
            let hashes = self.record.avatar.iter().map(String::as_str);
            form = form.field(Kind::TextMulti, "muc#roominfo_avatarhash", "Avatar hash", hashes);
        }
        form.done()
    }

    /// The nickname that is reserved for who asks, as an identity (section 7.12).
    pub(super) fn nick_info(&self, from: &Jid) -> Element {
        let query = Element::new("query", INFO).with_attr("node", "x-roomuser-item");
        let identity = self.reserved_nick(from).map(|nick| {
            Element::new("identity", INFO)
                .with_attr("category", "conference")
                .with_attr("type", "text")
                .with_attr("name", nick)
        });
        query.with_children(identity)
    }

    /// The items of a node of the room. Who is inside is nobody's business outside (section 6.5).
    pub(super) fn items(&self, node: Option<&str>) -> Element {
        let query = Element::new("query", ITEMS).with_attr_opt("node", node);
        if node != Some(super::hats::COMMANDS) {
            return query;
        }
        query.with_children(NODES.iter().map(|(node, name)| {
            Element::new("item", ITEMS)
                .with_attr("jid", self.jid.as_str())
                .with_attr("node", *node)
                .with_attr("name", *name)
        }))
    }
}
