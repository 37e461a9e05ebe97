//! Reading presence documents (RFC 3863, RFC 4480, `interop.md` 4.5): what a phone or a foreign agent says.

use tandem_xmpp::service::Show;
use tandem_xmpp::xml::Element;

const PIDF: &str = "urn:ietf:params:xml:ns:pidf";
const CLIENT: &str = "jabber:client";
/// Largest document read.
const MAX_DOCUMENT: usize = 64 * 1024;
/// Most tuples read.
const MAX_TUPLES: usize = 64;

/// Activities of RPID that become a `<show/>`, the first match first.
const ACTIVITIES: [(Show, &[&str]); 3] = [
    (
        Show::Dnd,
        &[
            "busy",
            "on-the-phone",
            "meeting",
            "appointment",
            "performance",
            "presentation",
            "working",
        ],
    ),
    (Show::Xa, &["permanent-absence", "sleeping", "vacation", "holiday"]),
    (
        Show::Away,
        &[
            "away",
            "meal",
            "breakfast",
            "lunch",
            "dinner",
            "shopping",
            "in-transit",
            "steering",
            "travel",
            "spectator",
            "worship",
            "tv",
            "playing",
        ],
    ),
];

/// A document.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Whose presence it is, as written.
    pub entity: String,
    /// Its devices.
    pub tuples: Vec<Tuple>,
    /// What the person does, in RPID's words.
    pub activities: Vec<String>,
    /// What is said of the person as a whole.
    pub note: Option<String>,
}

/// One device.
#[derive(Debug, Clone, PartialEq)]
pub struct Tuple {
    /// Its id, without the `ID-` that stands before a resource.
    pub resource: String,
    /// Whether it can be reached.
    pub open: bool,
    /// Sub-state: its own `<show/>`, else what the person's activities say.
    pub show: Option<Show>,
    /// The first note.
    pub note: Option<String>,
    /// 0 to 127, from the contact's 0 to 1.
    pub priority: i8,
    /// Where it is reached.
    pub contact: Option<String>,
}

impl Document {
    /// Reads a document; `None` if it is none. Unknown elements are skipped, must-understand ones among them
    /// (RFC 3863 section 4.2.3: the element, not the document, is then left out).
    pub fn parse(body: &[u8]) -> Option<Self> {
        if body.len() > MAX_DOCUMENT {
            return None;
        }
        let text = std::str::from_utf8(body).ok()?.trim().trim_start_matches('\u{feff}');
        let text = match text.strip_prefix("<?xml") {
            Some(rest) => rest.split_once("?>")?.1.trim_start(),
            None => text,
        };
        let root = Element::parse(text.as_bytes()).ok().filter(|e| e.is("presence", PIDF))?;
        let entity = root.attr("entity").filter(|e| !e.is_empty())?.to_owned();
        // Extensions differ in their namespaces between drafts and the RFC: the name decides.
        let persons = root.elements().filter(|e| e.name() == "person");
        let activities: Vec<String> = persons
            .flat_map(Element::elements)
            .chain(root.elements().filter(|e| e.is("tuple", PIDF)).flat_map(Element::elements))
            .filter(|e| e.name() == "activities")
            .flat_map(Element::elements)
            .take(MAX_TUPLES)
            .map(|e| e.name().to_owned())
            .collect();
        let show = show_of(&activities);
        let tuples = root.elements().filter(|e| e.is("tuple", PIDF)).take(MAX_TUPLES);
        let tuples = tuples.map(|t| Tuple::read(t, show, !activities.is_empty())).collect();
        let persons = root.elements().filter(|e| e.name() == "person");
        let notes = persons.flat_map(Element::elements).filter(|e| e.name() == "note");
        let mut notes = notes.chain(root.elements().filter(|e| e.is("note", PIDF)));
        let note = notes.next().map(|e| e.text().trim().to_owned()).filter(|t| !t.is_empty());
        Some(Self { entity, tuples, activities, note })
    }

    /// Whether any device can be reached.
    pub fn is_open(&self) -> bool {
        self.tuples.iter().any(|t| t.open)
    }
}

impl Tuple {
    fn read(tuple: &Element, activity: Option<Show>, is_active: bool) -> Self {
        let status = tuple.child("status", PIDF);
        let basic = status.and_then(|s| s.child("basic", PIDF)).map(Element::text);
        let open = match basic.as_deref().map(str::trim) {
            Some(word) => word.eq_ignore_ascii_case("open"),
            // Without a word on it, somebody who does something is there.
            None => is_active,
        };
        let own = status.and_then(|s| s.child("show", CLIENT)).map(Element::text);
        let own = own.and_then(|s| Show::from_name(s.trim()));
        let contact = tuple.child("contact", PIDF);
        let priority = contact.and_then(|c| c.attr("priority")).and_then(|p| p.trim().parse().ok());
        let priority = priority.filter(|value| (0.0..=1.0).contains(value));
        let id = tuple.attr("id").unwrap_or_default();
        let text = |e: &Element| Some(e.text().trim().to_owned()).filter(|t| !t.is_empty());
        Self {
            resource: id.strip_prefix("ID-").unwrap_or(id).to_owned(),
            open,
            show: own.or(activity).filter(|_| open),
            note: tuple.child("note", PIDF).and_then(text),
            priority: to_priority(priority.unwrap_or(0.0)),
            contact: contact.and_then(text),
        }
    }
}

/// The `<show/>` for a person's activities; `None` for those that say nothing about it.
pub fn show_of(activities: &[String]) -> Option<Show> {
    let matches = |names: &[&str]| activities.iter().any(|a| names.contains(&a.as_str()));
    ACTIVITIES.iter().find(|(_, names)| matches(names)).map(|(show, _)| *show)
}

/// 0 to 1 in steps of 1/127 (RFC 8048 section 6.2 note 6).
fn to_priority(value: f64) -> i8 {
    let scaled = (value.clamp(0.0, 1.0) * 127.0).round();
    (0..=127).rev().find(|p| f64::from(*p) <= scaled).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bridge::pidf::{self, Device};

    fn show() -> impl Strategy<Value = Option<Show>> {
        prop::option::of(prop::sample::select(vec![Show::Chat, Show::Away, Show::Xa, Show::Dnd]))
    }

    fn device() -> impl Strategy<Value = Device> {
        let note = prop::option::of("[!-~äé🎉]{1,12}");
        ("[a-zA-Z0-9._-]{1,12}", show(), note, any::<i8>(), any::<bool>()).prop_map(
            |(resource, show, status, priority, on_the_phone)| Device {
                resource,
                show,
                status,
                priority,
                on_the_phone,
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_built_is_read(devices in prop::collection::vec(device(), 1..5)) {
            let body = pidf::build("sip:ana@example.org", &devices, "2026-01-05T12:00:00Z");
            let document = Document::parse(&body).unwrap();
            prop_assert_eq!(&document.entity, "sip:ana@example.org");
            prop_assert_eq!(document.tuples.len(), devices.len());
            for tuple in &document.tuples {
                let same = devices.iter().any(|d| {
                    tuple.resource == d.resource
                        && tuple.note == d.status
                        && tuple.priority == d.priority.max(0)
                        && (tuple.show == d.show || d.show.is_none())
                        && tuple.open
                });
                prop_assert!(same, "{tuple:?} is none of {devices:?}");
            }
            if devices.iter().all(|d| d.on_the_phone) {
                prop_assert_eq!(&document.activities, &["on-the-phone"]);
            }
        }

        #[test]
        fn every_priority_comes_back(priority in 0_i8..=127) {
            let printed = (f64::from(priority) / 127.0 * 1000.0).round() / 1000.0;
            prop_assert_eq!(to_priority(printed), priority);
        }

        #[test]
        fn nothing_panics(body in "[<>/='a-z: ]{0,80}", priority in any::<f64>()) {
            let _ = Document::parse(body.as_bytes());
            let _ = to_priority(priority);
        }
    }

    #[test]
    fn what_is_unknown_is_left_out() {
        let body = b"<presence xmlns='urn:ietf:params:xml:ns:pidf' xmlns:x='urn:x' entity='pres:bob@h'>\
            <x:more x:mustUnderstand='true'><tuple id='not-ours'/></x:more><tuple id='t1'><status><basic>open</basic>\
            <x:mood p:mustUnderstand='true' xmlns:p='urn:ietf:params:xml:ns:pidf'>blue</x:mood></status>\
            <x:note>no</x:note><note>yes</note></tuple><note>of all</note></presence>";
        let document = Document::parse(body).unwrap();
        assert_eq!(document.tuples.len(), 1);
        let tuple = &document.tuples[0];
        assert_eq!((tuple.open, tuple.note.as_deref()), (true, Some("yes")));
        assert_eq!(document.note.as_deref(), Some("of all"));
        // A priority that is none is the lowest, and one beyond the scale is ignored (RFC 3863 section 4.1.5).
        for (written, read) in [("0.5", 64), ("", 0), ("x", 0), ("1.5", 0), ("-1", 0), ("NaN", 0)] {
            let body = format!(
                "<presence xmlns='urn:ietf:params:xml:ns:pidf' entity='e'><tuple id='t'><status>\
                 <basic>open</basic></status><contact priority='{written}'>sip:a@b</contact></tuple></presence>"
            );
            let document = Document::parse(body.as_bytes()).unwrap();
            assert_eq!(document.tuples[0].priority, read, "{written}");
        }
    }

    #[test]
    fn documents_of_others() {
        let closed = pidf::build("sip:a@b", &[], "2026-01-05T12:00:00Z");
        assert!(!Document::parse(&closed).unwrap().is_open());
        let foreign = b"<?xml version='1.0'?>\n<p:presence xmlns:p='urn:ietf:params:xml:ns:pidf' \
            xmlns:dm='urn:ietf:params:xml:ns:pidf:data-model' xmlns:r='urn:ietf:params:xml:ns:pidf:rpid' \
            entity='pres:bob@h'><p:tuple id='t1'><p:status/><p:contact priority='1'>sip:bob@h</p:contact>\
            </p:tuple><dm:person id='p'><r:activities><r:vacation/><r:meeting/></r:activities></dm:person></p:presence>";
        let document = Document::parse(foreign).unwrap();
        let tuple = &document.tuples[0];
        assert_eq!((tuple.open, tuple.show, tuple.priority), (true, Some(Show::Dnd), 127));
        assert_eq!(tuple.resource, "t1");
        for bad in
            [&b""[..], b"<presence/>", b"<presence xmlns='urn:ietf:params:xml:ns:pidf'/>", b"\xff"]
        {
            assert_eq!(Document::parse(bad), None);
        }
    }
}
