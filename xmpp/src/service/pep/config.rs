//! The settings of a node as a form, and as preconditions of a publication (XEP-0060 sections 7.1.5 and 8.2).

use super::Refusal;
use crate::ports::pubsub::{Access, NodeConfig, SendLast};
use crate::service::bookmarks::{BOOKMARKS, STORAGE};
use crate::stanza::Condition;
use crate::stanza::data_form::{Choice, Field, FieldKind, Form, FormKind};
use crate::xml::Element;

pub(super) const NODE_CONFIG: &str = "http://jabber.org/protocol/pubsub#node_config";
const PUBLISH_OPTIONS: &str = "http://jabber.org/protocol/pubsub#publish-options";
const META_DATA: &str = "http://jabber.org/protocol/pubsub#meta-data";
/// Who has displayed what (XEP-0490).
const DISPLAYED: &str = "urn:xmpp:mds:displayed:0";
/// Longest title or description in bytes, and most groups of a roster that are named.
const MAX_TEXT: usize = 1_024;
const MAX_GROUPS: usize = 50;

const ACCESS: [(Access, &str); 5] = [
    (Access::Open, "open"),
    (Access::Presence, "presence"),
    (Access::Roster, "roster"),
    (Access::Authorize, "authorize"),
    (Access::Whitelist, "whitelist"),
];

const SEND_LAST: [(SendLast, &str); 3] = [
    (SendLast::Never, "never"),
    (SendLast::OnSubscription, "on_sub"),
    (SendLast::OnPresence, "on_sub_and_presence"),
];

/// The settings of a node that is made without any. What is for the owner alone is so from the start (XEP-0223,
/// XEP-0402 section 3, XEP-0490 section 7).
pub(in crate::service) fn default_config(node: &str) -> NodeConfig {
    let config = NodeConfig::default();
    if [BOOKMARKS, DISPLAYED, STORAGE].contains(&node) || super::is_hidden(node) {
        return NodeConfig {
            access: Access::Whitelist,
            max_items: None,
            send_last: SendLast::Never,
            ..config
        };
    }
    config
}

pub(super) fn access_word(access: Access) -> &'static str {
    ACCESS.iter().find(|(a, _)| *a == access).map_or("whitelist", |(_, word)| word)
}

/// The settings as a form to fill in.
pub(super) fn form(config: &NodeConfig, kind: FormKind) -> Element {
    let last = SEND_LAST.iter().find(|(s, _)| *s == config.send_last).map_or("never", |(_, w)| w);
    let list = |var: &str, words: &[&str], value: &str| {
        let options = words.iter().map(|w| Choice { label: None, value: (*w).to_owned() });
        Field::new(FieldKind::ListSingle, var).with_options(options).with_value(value)
    };
    let text = |var: &str, value: &str| Field::new(FieldKind::TextSingle, var).with_value(value);
    let flag = |var: &str, value: bool| Field::new(FieldKind::Boolean, var).with_bool(value);
    let max = config.max_items.map_or("max".to_owned(), |n| n.to_string());
    let expire = config.item_expire.map_or("max".to_owned(), |n| n.to_string());
    let groups = config.groups.iter().map(|g| Choice { label: None, value: g.clone() });
    let groups = Field::new(FieldKind::ListMulti, "pubsub#roster_groups_allowed")
        .with_options(groups)
        .with_values(config.groups.iter().cloned());
    Form::about(kind, NODE_CONFIG)
        .with_field(text("pubsub#title", &config.title).with_label("Name"))
        .with_field(text("pubsub#description", &config.description).with_label("Description"))
        .with_field(text("pubsub#type", &config.payload).with_label("Namespace of the payload"))
        .with_field(
            list("pubsub#access_model", &ACCESS.map(|(_, w)| w), access_word(config.access))
                .with_label("Who may subscribe and read"),
        )
        .with_field(groups.with_label("Groups that may subscribe and read"))
        .with_field(list("pubsub#publish_model", &["publishers"], "publishers"))
        .with_field(flag("pubsub#persist_items", config.persist).with_label("Keep items"))
        .with_field(text("pubsub#max_items", &max).with_label("Most items kept"))
        .with_field(text("pubsub#item_expire", &expire).with_label("Seconds an item is kept"))
        .with_field(
            list("pubsub#send_last_published_item", &SEND_LAST.map(|(_, w)| w), last)
                .with_label("When the last item is sent"),
        )
        .with_field(flag("pubsub#deliver_notifications", true))
        .with_field(flag("pubsub#deliver_payloads", config.deliver_payloads))
        .with_field(list("pubsub#notification_type", &["headline"], "headline"))
        .with_field(flag("pubsub#notify_retract", config.notify_retract))
        .with_field(flag("pubsub#notify_delete", config.notify_delete))
        .with_field(flag("pubsub#notify_config", config.notify_config))
        .to_element()
}

/// What everybody who may read a node may know about it (XEP-0060 section 5.4).
pub(super) fn meta_data(config: &NodeConfig, owner: &str, subscribers: usize) -> Form {
    let max = config.max_items.map_or("max".to_owned(), |n| n.to_string());
    Form::about(FormKind::Result, META_DATA)
        .with_field(Field::value_of("pubsub#title", &config.title))
        .with_field(Field::value_of("pubsub#description", &config.description))
        .with_field(Field::value_of("pubsub#type", &config.payload))
        .with_field(Field::new(FieldKind::JidMulti, "pubsub#owner").with_value(owner))
        .with_field(Field::value_of("pubsub#access_model", access_word(config.access)))
        .with_field(Field::value_of("pubsub#publish_model", "publishers"))
        .with_field(Field::value_of("pubsub#max_items", max))
        .with_field(Field::value_of("pubsub#num_subscribers", subscribers.to_string()))
}

/// What a submission makes of the settings.
///
/// # Errors
///
/// [`Refusal`] for a form about something else, and for a value that cannot be had here.
pub(super) fn submitted(config: &NodeConfig, parent: &Element) -> Result<NodeConfig, Refusal> {
    let Some(form) = Form::in_element(parent) else { return Ok(config.clone()) };
    if form.kind != FormKind::Submit || form.form_type().is_some_and(|t| t != NODE_CONFIG) {
        return Err(Refusal::new(Condition::BadRequest));
    }
    let mut config = config.clone();
    for field in named(&form) {
        // What is not known is left alone (XEP-0004 section 3.2).
        match apply(&mut config, field) {
            Applied::Yes | Applied::Unknown => {}
            Applied::Impossible if field.var.as_deref() == Some("pubsub#access_model") => {
                let detail = "unsupported-access-model";
                return Err(Refusal::because(Condition::NotAcceptable, detail));
            }
            Applied::Impossible => return Err(Refusal::new(Condition::NotAcceptable)),
        }
    }
    Ok(config)
}

/// What the options of a publication make of the settings: they are met where that changes nothing.
///
/// # Errors
///
/// [`Refusal`] for a form about something else, and `precondition-not-met` for what is unknown or cannot be had here.
pub(super) fn with_options(config: &NodeConfig, options: &Element) -> Result<NodeConfig, Refusal> {
    let form = Form::in_element(options).ok_or_else(|| Refusal::new(Condition::BadRequest))?;
    if form.kind != FormKind::Submit || form.form_type() != Some(PUBLISH_OPTIONS) {
        return Err(Refusal::new(Condition::BadRequest));
    }
    let mut config = config.clone();
    for field in named(&form) {
        if !matches!(apply(&mut config, field), Applied::Yes) {
            return Err(not_met());
        }
    }
    Ok(config)
}

pub(super) fn not_met() -> Refusal {
    Refusal::because(Condition::Conflict, "precondition-not-met")
}

fn named(form: &Form) -> impl Iterator<Item = &Field> {
    form.fields.iter().filter(|f| f.var.as_deref() != Some("FORM_TYPE"))
}

enum Applied {
    Yes,
    Unknown,
    Impossible,
}

/// Puts one field into the settings.
fn apply(config: &mut NodeConfig, field: &Field) -> Applied {
    let value = field.value().unwrap_or_default().trim();
    let flag = match value {
        "1" | "true" => Some(true),
        "0" | "false" => Some(false),
        _ => None,
    };
    let set = |slot: &mut bool| flag.map(|flag| *slot = flag);
    let text = |slot: &mut String| (value.len() <= MAX_TEXT).then(|| value.clone_into(slot));
    let fixed = |expected: &str| (value == expected).then_some(());
    let done = match field.var.as_deref().unwrap_or_default() {
        "pubsub#title" => text(&mut config.title),
        "pubsub#description" => text(&mut config.description),
        "pubsub#type" => text(&mut config.payload),
        "pubsub#access_model" => {
            ACCESS.iter().find(|(_, w)| *w == value).map(|(access, _)| config.access = *access)
        }
        "pubsub#roster_groups_allowed" => {
            let fits = field.values.iter().map(String::len).sum::<usize>() <= MAX_TEXT;
            (fits && field.values.len() <= MAX_GROUPS).then(|| config.groups = field.values.clone())
        }
        "pubsub#persist_items" => set(&mut config.persist),
        "pubsub#max_items" => most(value).map(|most| config.max_items = most),
        "pubsub#item_expire" => seconds(value).map(|seconds| config.item_expire = seconds),
        "pubsub#send_last_published_item" => {
            SEND_LAST.iter().find(|(_, w)| *w == value).map(|(last, _)| config.send_last = *last)
        }
        "pubsub#deliver_payloads" => set(&mut config.deliver_payloads),
        "pubsub#notify_retract" => set(&mut config.notify_retract),
        "pubsub#notify_delete" => set(&mut config.notify_delete),
        "pubsub#notify_config" => set(&mut config.notify_config),
        // What has one value here may be asked for.
        "pubsub#publish_model" => fixed("publishers"),
        "pubsub#notification_type" => fixed("headline"),
        "pubsub#deliver_notifications" | "pubsub#subscribe" => flag.filter(|f| *f).map(|_| ()),
        "pubsub#presence_based_delivery" | "pubsub#purge_offline" => {
            flag.filter(|f| !*f).map(|_| ())
        }
        _ => return Applied::Unknown,
    };
    if done.is_some() { Applied::Yes } else { Applied::Impossible }
}

/// How many items are kept: a number, or as many as the server allows.
fn most(value: &str) -> Option<Option<u32>> {
    match value {
        "max" => Some(None),
        number => number.parse().ok().filter(|n| *n > 0).map(Some),
    }
}

/// How long an item is kept; `max` and nothing are as long as it can be.
fn seconds(value: &str) -> Option<Option<u64>> {
    match value {
        "max" | "" => Some(None),
        number => {
            let number = number.parse().ok();
            number.filter(|n| (1..=u64::from(u32::MAX)).contains(n)).map(Some)
        }
    }
}
