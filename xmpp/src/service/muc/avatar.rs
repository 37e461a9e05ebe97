//! The picture of a room (XEP-0486): a vCard-temp that its owners set and everybody may read.

use base64::Engine as _;
use sha1::{Digest, Sha1};

use super::private::VCARD;
use super::room::{Action, Room};
use super::wire::user_x;
use crate::jid::Jid;
use crate::ports::{Affiliation, RoomChange};
use crate::stanza::{Condition, StanzaError};
use crate::xml::Element;

/// Most bytes of a room's vCard.
const MAX_BYTES: usize = 128 * 1024;
/// Most pictures in it.
const MAX_PHOTOS: usize = 8;

impl Room {
    /// What changes by a new vCard; an empty one takes the picture away.
    ///
    /// # Errors
    ///
    /// `forbidden` for who is no owner, `not-acceptable` for one that is too large or has a picture that is no base64.
    pub(super) fn plan_vcard(
        &self,
        from: &Jid,
        vcard: &Element,
    ) -> Result<RoomChange, StanzaError> {
        if self.affiliation(from) != Affiliation::Owner {
            let error = StanzaError::new(Condition::Forbidden);
            return Err(error.with_text("only owners may set the picture"));
        }
        let unacceptable = || StanzaError::new(Condition::NotAcceptable);
        let mut text = String::new();
        vcard.print(&mut text, "");
        let photos = vcard.elements().filter(|e| e.is("PHOTO", VCARD));
        let mut hashes = Vec::new();
        for photo in photos.take(MAX_PHOTOS) {
            let Some(data) = photo.child("BINVAL", VCARD) else { continue };
            let data: String = data.text().split_ascii_whitespace().collect();
            let data = base64::engine::general_purpose::STANDARD.decode(data);
            let data = data.map_err(|_| unacceptable())?;
            hashes.push(Sha1::digest(data).iter().map(|b| format!("{b:02x}")).collect());
        }
        if text.len() > MAX_BYTES {
            return Err(unacceptable());
        }
        let empty = vcard.elements().next().is_none();
        let mut record = self.record.clone();
        record.avatar = hashes;
        let vcard = if empty { String::new() } else { text };
        Ok(RoomChange { record: Some(record), vcard: Some(vcard), ..RoomChange::default() })
    }

    /// The vCard is kept: everybody inside may look again.
    pub(super) fn apply_vcard(&mut self, change: &RoomChange, out: &mut Vec<Action>) {
        if let Some(record) = &change.record {
            self.record.avatar.clone_from(&record.avatar);
        }
        self.vcard = change.vcard.clone().filter(|v| !self.stored && !v.is_empty());
        self.notice(Some("groupchat"), &user_x(None, &[104]), out);
    }
}
