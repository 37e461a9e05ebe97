//! Bookmarks (XEP-0402) and their older forms, kept as one (XEP-0048, by XEP-0049 and by publish-subscribe); what they
//! say about notifications (XEP-0492).
//!
//! The items of the node `urn:xmpp:bookmarks:1` are what is kept. Of the old list only what the new form has no place
//! for, such as bookmarks of web pages, is kept beside it.

use std::collections::HashMap;
use std::sync::Arc;

use super::Server;
use super::pep::{Draft, Refusal, default_config};
use crate::jid::Jid;
use crate::ports::StoreError;
use crate::ports::pubsub::{Item, Node, Wanted};
use crate::stanza::Condition;
use crate::xml::Element;

/// The node of bookmarks, and their namespace.
pub(super) const BOOKMARKS: &str = "urn:xmpp:bookmarks:1";
/// The namespace of the old list, and the node it was published to.
pub(super) const STORAGE: &str = "storage:bookmarks";
/// Settings for one chat among the extensions of its bookmark; the second is what older clients write.
const NOTIFICATIONS: [&str; 2] =
    ["urn:xmpp:notification-settings:1", "urn:xmpp:notification-settings:0"];

/// Which messages of a chat its owner wants to be notified of (XEP-0492 section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NotificationSetting {
    /// None.
    Never,
    /// Those that mention the owner.
    OnMention,
    /// All.
    Always,
}

/// Settings by the chat's bare address; only of chats that have one.
pub(super) type Settings = HashMap<String, NotificationSetting>;

impl NotificationSetting {
    /// What a `<notify/>` says to a phone, since push goes to phones: what is meant for them, then for clients, then for
    /// everybody (section 3).
    fn of(notify: &Element) -> Option<Self> {
        let settings = notify.elements().filter(|e| e.ns() == notify.ns()).filter_map(|e| {
            let setting = match e.name() {
                "never" => Self::Never,
                "on-mention" => Self::OnMention,
                "always" => Self::Always,
                _ => return None,
            };
            let rank = match (e.attr("identity-category"), e.attr("identity-type")) {
                (Some("client"), Some("phone")) => 3,
                (Some("client"), None) => 2,
                (None, None) => 1,
                _ => return None,
            };
            Some((rank, setting))
        });
        settings.max_by_key(|(rank, _)| *rank).map(|(_, setting)| setting)
    }
}

impl Server {
    /// What an account wants to be notified of in a chat, by the bookmark of its address. Without a setting all of a
    /// chat with one person or of a private room, and mentions of a public room. It is read once and then in memory.
    pub async fn notification_setting(
        &self,
        account: &Jid,
        chat: &Jid,
        is_public_room: bool,
    ) -> NotificationSetting {
        let settings = match self.settings(&account.bare()).await {
            Ok(settings) => settings,
            Err(error) => {
                // One notification too many is better than a message that nobody hears of.
                tracing::error!(%error, "notification settings cannot be read");
                return NotificationSetting::Always;
            }
        };
        let default = if is_public_room {
            NotificationSetting::OnMention
        } else {
            NotificationSetting::Always
        };
        settings.get(chat.as_bare_str()).copied().unwrap_or(default)
    }

    async fn settings(&self, owner: &Jid) -> Result<Arc<Settings>, StoreError> {
        let profile = self.profile(owner).await?;
        if let Some(settings) = profile.settings.get() {
            return Ok(settings.clone());
        }
        let mut settings = Settings::new();
        for item in self.bookmarks(owner).await? {
            let Ok(conference) = Element::parse(&item.payload) else { continue };
            let extensions = conference.child("extensions", BOOKMARKS);
            let notify = extensions
                .and_then(|e| NOTIFICATIONS.into_iter().find_map(|ns| e.child("notify", ns)));
            if let (Some(setting), Ok(chat)) =
                (notify.and_then(NotificationSetting::of), Jid::parse(&item.id))
            {
                settings.insert(chat.as_bare_str().to_owned(), setting);
            }
        }
        Ok(profile.settings.get_or_init(|| Arc::new(settings)).clone())
    }

    async fn bookmarks(&self, owner: &Jid) -> Result<Vec<Item>, StoreError> {
        let profile = self.profile(owner).await?;
        let Some(known) = profile.find(BOOKMARKS) else { return Ok(Vec::new()) };
        let wanted = Wanted::Before(None, self.config().pubsub.max_items);
        let page = self.0.ports.pubsub.items(owner, &known.node, &wanted).await?;
        Ok(page.unwrap_or_default().items)
    }

    /// The list as old clients read it.
    pub(super) async fn bookmark_storage(&self, owner: &Jid) -> Result<Element, StoreError> {
        let mut storage = Element::new("storage", STORAGE);
        for item in self.bookmarks(owner).await? {
            if let Ok(conference) = Element::parse(&item.payload) {
                storage.push(old_form(&item.id, &conference));
            }
        }
        let rest = self.private_element(owner, "storage", STORAGE).await?;
        Ok(storage.with_children(rest.iter().flat_map(Element::elements).cloned()))
    }

    /// An old client has written the whole list: what differs is published or retracted, the rest is left alone.
    pub(super) async fn replace_bookmarks(
        &self,
        owner: &Jid,
        storage: &Element,
    ) -> Result<(), Refusal> {
        let _turn = self.pep_turn(owner).await;
        let listed: Vec<(String, &Element)> = storage
            .elements()
            .filter(|e| e.is("conference", STORAGE))
            .filter_map(|e| Some((Jid::parse(e.attr("jid")?).ok()?.bare().to_string(), e)))
            .collect();
        let most = usize::try_from(self.config().pubsub.max_items).unwrap_or(usize::MAX);
        if listed.len() > most {
            return Err(Refusal::new(Condition::ResourceConstraint));
        }
        let kept = self.bookmarks(owner).await?;
        let node = self.own_node(owner, BOOKMARKS, || default_config(BOOKMARKS)).await?;
        let mut drafts: Vec<Draft> = Vec::new();
        for (id, old) in &listed {
            let before = kept.iter().find(|item| item.id == *id);
            let before = before.and_then(|item| Element::parse(&item.payload).ok());
            if before.as_ref().is_none_or(|before| said(before) != said(old)) {
                drafts.retain(|draft| draft.id != *id);
                drafts.push(Draft::new(id.clone(), &new_form(old, before.as_ref())));
            }
        }
        let gone = kept.iter().filter(|item| listed.iter().all(|(id, _)| *id != item.id));
        let gone: Vec<String> = gone.map(|item| item.id.clone()).collect();
        let mut rest = storage.clone();
        rest.retain_elements(|e| !e.is("conference", STORAGE));
        self.keep_rest(owner, &rest).await?;
        self.change_bookmarks(owner, &node, drafts, &gone).await
    }

    async fn change_bookmarks(
        &self,
        owner: &Jid,
        node: &Node,
        drafts: Vec<Draft>,
        gone: &[String],
    ) -> Result<(), Refusal> {
        let limit = self.config().pubsub.max_item_bytes;
        if drafts.iter().any(|draft| draft.payload.len() > limit) {
            return Err(Refusal::new(Condition::NotAcceptable));
        }
        if !gone.is_empty() {
            self.retract(owner, node, gone, true).await?;
        }
        if !drafts.is_empty() {
            self.publish(owner, owner, node, drafts).await?;
        }
        Ok(())
    }

    /// Keeps what the new form has no place for.
    async fn keep_rest(&self, owner: &Jid, rest: &Element) -> Result<(), Refusal> {
        let before = self.private_element(owner, "storage", STORAGE).await?;
        let is_same = match &before {
            Some(before) => before.elements().eq(rest.elements()),
            None => rest.elements().next().is_none(),
        };
        if is_same {
            return Ok(());
        }
        self.keep_private(owner, std::slice::from_ref(rest)).await
    }

    /// The bookmarks have changed: devices that ask for the old node are told of the whole list.
    pub(super) async fn show_old_bookmarks(&self, owner: &Jid) -> Result<(), StoreError> {
        let devices = self.interested(owner, &format!("{STORAGE}+notify"));
        if devices.is_empty() {
            return Ok(());
        }
        let storage = self.bookmark_storage(owner).await?;
        let event = super::pep::whole_event(STORAGE, "current", &storage);
        for device in devices {
            self.send_event(owner, &device, &event);
        }
        Ok(())
    }
}

/// What a bookmark of either form says: name, whether to join, nickname, password.
fn said(conference: &Element) -> (Option<&str>, bool, Option<String>, Option<String>) {
    let text = |name: &str| conference.child(name, conference.ns()).map(Element::text);
    let joins = matches!(conference.attr("autojoin"), Some("1" | "true"));
    (conference.attr("name"), joins, text("nick"), text("password"))
}

/// The same bookmark with the elements of another namespace.
fn in_namespace(conference: &Element, ns: &str) -> Element {
    let (name, joins, nick, password) = said(conference);
    let text = |name: &str, text: String| Element::new(name, ns).with_text(text);
    Element::new("conference", ns)
        .with_attr_opt("name", name)
        .with_attr("autojoin", if joins { "true" } else { "false" })
        .with_children(nick.map(|nick| text("nick", nick)))
        .with_children(password.map(|password| text("password", password)))
}

fn old_form(id: &str, conference: &Element) -> Element {
    in_namespace(conference, STORAGE).with_attr("jid", id)
}

/// What was an extension stays one: old clients do not know of them (XEP-0402 section 2).
fn new_form(old: &Element, before: Option<&Element>) -> Element {
    let extensions = before.and_then(|before| before.child("extensions", BOOKMARKS)).cloned();
    in_namespace(old, BOOKMARKS).with_children(extensions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(text: &str) -> Option<NotificationSetting> {
        let ns = NOTIFICATIONS[0];
        NotificationSetting::of(
            &Element::parse(format!("<notify xmlns='{ns}'>{text}</notify>").as_bytes()).unwrap(),
        )
    }

    /// XEP-0492 section 3.
    #[test]
    fn the_most_specific_setting_for_a_phone_counts() {
        use NotificationSetting::{Always, Never, OnMention};
        for (text, expected) in [
            ("<never/>", Some(Never)),
            ("<always/>", Some(Always)),
            ("<on-mention/><odd/>", Some(OnMention)),
            ("<always/><never identity-category='client'/>", Some(Never)),
            (
                "<never identity-category='client'/>\
                 <on-mention identity-category='client' identity-type='phone'/><always/>",
                Some(OnMention),
            ),
            ("<never identity-category='client' identity-type='pc'/>", None),
            ("<never identity-category='client' identity-type='pc'/><always/>", Some(Always)),
            ("", None),
        ] {
            assert_eq!(setting(text), expected, "{text}");
        }
    }
}
