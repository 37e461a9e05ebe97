//! Who is in a conference (RFC 4575): the document of the package, always whole.

use super::events::{Document, Package};
use super::markup::{attribute, escaped};

/// Somebody in a conference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attendee {
    /// The address that others reach them by, a URI.
    pub entity: String,
    /// What they are called.
    pub name: String,
    /// What they are there, such as `participant` or `moderator`.
    pub role: String,
}

/// Everybody in the conference `entity`, a URI, and what it is about.
pub fn document(entity: &str, subject: Option<&str>, people: &[Attendee]) -> Document {
    let before = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<conference-info \
         xmlns=\"urn:ietf:params:xml:ns:conference-info\"{} state=\"full\" version=\"",
        attribute("entity", Some(entity))
    );
    let subject = subject.map(|subject| format!("<subject>{}</subject>", escaped(subject)));
    let mut after = format!(
        "\"><conference-description>{}</conference-description><conference-state>\
         <user-count>{}</user-count></conference-state><users>",
        subject.unwrap_or_default(),
        people.len()
    );
    for Attendee { entity, name, role } in people {
        let entity = attribute("entity", Some(entity));
        after.push_str(&format!(
            "<user{entity} state=\"full\"><display-text>{}</display-text><roles><entry>{}</entry></roles>\
             <endpoint{entity}><status>connected</status></endpoint></user>",
            escaped(name),
            escaped(role)
        ));
    }
    after.push_str("</users></conference-info>");
    Document::counted(Package::Conference.media(), &before, &after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_told_with_role_and_address_in_a_numbered_document() {
        let people = [Attendee {
            entity: "sip:tea@rooms.h;gr=A%26B".into(),
            name: "A&B".into(),
            role: "moderator".into(),
        }];
        let document = document("sip:tea@rooms.h", Some("Tea <now>"), &people);
        let text = String::from_utf8(document.numbered(3).to_vec()).unwrap();
        let expected = "entity=\"sip:tea@rooms.h\" state=\"full\" version=\"3\"><conference-description>\
            <subject>Tea &lt;now&gt;</subject></conference-description><conference-state><user-count>1</user-count>\
            </conference-state><users><user entity=\"sip:tea@rooms.h;gr=A%26B\" state=\"full\"><display-text>A&amp;B\
            </display-text><roles><entry>moderator</entry></roles><endpoint entity=\"sip:tea@rooms.h;gr=A%26B\">\
            <status>connected</status></endpoint></user></users></conference-info>";
        assert!(text.ends_with(expected), "{text}");
        assert_eq!(document.media, "application/conference-info+xml");
    }
}
