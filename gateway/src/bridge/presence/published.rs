//! What phones publish about themselves (RFC 3903), put together for each device (RFC 3856 section 6.9).

use std::collections::BTreeMap;

use tandem_sip::ports::{Publication, PublicationId};
use tandem_xmpp::jid::Jid;
use tandem_xmpp::service::Show;

use crate::bridge::contacts::{Look, ON_THE_PHONE};
use crate::bridge::pidf_read::{Document, Tuple};

/// Longest status text of a phone.
const MAX_STATUS: usize = 512;

/// All that is published, by its ids: newer ones are higher.
#[derive(Debug, Default)]
pub struct Published(BTreeMap<PublicationId, (Jid, Document)>);

impl Published {
    /// Takes a state; gives the device it is about.
    pub fn take(&mut self, publication: &Publication, document: Document) -> Option<Jid> {
        let account = crate::bridge::account(&publication.account).ok()?;
        // A phone that is not registered is a device of its own while its state lasts.
        let resource = match &publication.device {
            Some(id) => id.clone(),
            None => format!("published-{}", publication.id.0),
        };
        let device = account.with_resource(&resource).ok()?;
        self.0.insert(publication.id, (device.clone(), document));
        Some(device)
    }

    /// A state is over; gives the device it was about.
    pub fn remove(&mut self, id: PublicationId) -> Option<Jid> {
        self.0.remove(&id).map(|(device, _)| device)
    }

    /// What all states of a device say together: the newest that is open; closed when none is.
    pub fn look(&self, device: &Jid) -> Option<Look> {
        let mut all = self.0.values().rev().filter(|(of, _)| of == device).map(|(_, d)| d);
        let newest = all.clone().next()?;
        let closed = Look { is_open: false, ..look(newest) };
        Some(all.find(|document| document.is_open()).map_or(closed, look))
    }
}

/// The most available tuple speaks for the device.
fn look(document: &Document) -> Look {
    let open = document.tuples.iter().filter(|tuple| tuple.open);
    let best = open.max_by_key(|tuple| (availability(tuple), tuple.priority));
    let is_calling = document.activities.iter().any(|activity| activity == "on-the-phone");
    let note = best.and_then(|tuple| tuple.note.clone()).or_else(|| document.note.clone());
    let status = note.or_else(|| is_calling.then(|| ON_THE_PHONE.to_owned()));
    Look {
        is_open: best.is_some(),
        show: best.and_then(|tuple| tuple.show),
        status: status.map(|text| text.chars().take(MAX_STATUS).collect()),
    }
}

fn availability(tuple: &Tuple) -> u8 {
    match tuple.show {
        Some(Show::Chat) => 4,
        None => 3,
        Some(Show::Away) => 2,
        Some(Show::Xa) => 1,
        Some(Show::Dnd) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publication(id: u64, device: Option<&str>) -> Publication {
        Publication {
            id: PublicationId(id),
            account: "ana@d".into(),
            device: device.map(str::to_owned),
            media: "application/pidf+xml".into(),
            body: bytes::Bytes::new(),
        }
    }

    fn document(tuples: &str, more: &str) -> Document {
        let text = format!(
            "<presence xmlns='urn:ietf:params:xml:ns:pidf' entity='sip:ana@d'>{tuples}{more}</presence>"
        );
        Document::parse(text.as_bytes()).unwrap()
    }

    fn tuple(basic: &str, note: &str) -> String {
        format!("<tuple id='t'><status><basic>{basic}</basic></status><note>{note}</note></tuple>")
    }

    #[test]
    fn states_of_one_device_are_put_together_and_of_others_are_not() {
        let mut all = Published::default();
        let phone = all
            .take(&publication(1, Some("phone-1")), document(&tuple("open", "here"), ""))
            .unwrap();
        assert_eq!(phone.as_str(), "ana@d/phone-1");
        let other = all.take(&publication(2, None), document(&tuple("closed", ""), "")).unwrap();
        assert_eq!(other.as_str(), "ana@d/published-2");
        all.take(&publication(3, Some("phone-1")), document(&tuple("closed", "gone"), ""));
        let look = all.look(&phone).unwrap();
        assert_eq!((look.is_open, look.status.as_deref()), (true, Some("here")), "one is open");
        assert!(!all.look(&other).unwrap().is_open);
        assert_eq!(all.remove(PublicationId(1)), Some(phone.clone()));
        assert!(!all.look(&phone).unwrap().is_open);
        all.remove(PublicationId(3));
        assert_eq!(all.look(&phone), None);
        assert_eq!(all.remove(PublicationId(3)), None);
    }

    #[test]
    fn what_a_person_does_shows() {
        let rpid = "<dm:person xmlns:dm='urn:ietf:params:xml:ns:pidf:data-model' \
            xmlns:r='urn:ietf:params:xml:ns:pidf:rpid' id='p'><r:activities><r:on-the-phone/></r:activities></dm:person>";
        let mut all = Published::default();
        let device = all
            .take(
                &publication(1, Some("p")),
                document("<tuple id='t'><status><basic>open</basic></status></tuple>", rpid),
            )
            .unwrap();
        let look = all.look(&device).unwrap();
        assert_eq!((look.show, look.status.as_deref()), (Some(Show::Dnd), Some("On the phone")));
        // Of several tuples the most available speaks.
        let many = "<tuple id='a'><status><basic>open</basic><show xmlns='jabber:client'>dnd</show></status></tuple>\
            <tuple id='b'><status><basic>open</basic><show xmlns='jabber:client'>away</show></status></tuple>\
            <tuple id='c'><status><basic>closed</basic></status></tuple>";
        let device = all.take(&publication(2, Some("q")), document(many, "")).unwrap();
        assert_eq!(all.look(&device).unwrap().show, Some(Show::Away));
        // Nobody is there without a tuple.
        let device = all.take(&publication(3, Some("r")), document("", "")).unwrap();
        assert!(!all.look(&device).unwrap().is_open);
    }
}
