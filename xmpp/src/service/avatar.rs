//! Avatars (XEP-0084), the same in vCards (XEP-0398), and their hash in presence (XEP-0153).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha1::{Digest, Sha1};

use super::Server;
use super::pep::{Draft, Refusal};
use crate::jid::Jid;
use crate::ports::StoreError;
use crate::ports::pubsub::{Access, NodeConfig, Wanted};
use crate::stanza::{Condition, Stanza};
use crate::xml::Element;

pub(super) const DATA: &str = "urn:xmpp:avatar:data";
pub(super) const METADATA: &str = "urn:xmpp:avatar:metadata";
/// XEP-0153.
const UPDATE: &str = "vcard-temp:x:update";

/// An image as vCards carry it.
pub(super) struct Image {
    pub(super) kind: String,
    pub(super) base64: String,
}

/// What the metadata says of the image that is kept here.
struct Known {
    hash: String,
    kind: String,
}

impl Known {
    /// The first image that is here and not behind a link (XEP-0398 section 3.1).
    fn of(metadata: &Element) -> Option<Self> {
        let infos = metadata.elements().filter(|e| e.is("info", METADATA));
        let info = infos.into_iter().find(|info| info.attr("url").is_none())?;
        let hash = info.attr("id")?.to_ascii_lowercase();
        let is_hash = hash.len() == 40 && hash.bytes().all(|b| b.is_ascii_hexdigit());
        let kind = info.attr("type").unwrap_or("image/png").to_owned();
        is_hash.then_some(Self { hash, kind })
    }
}

impl Server {
    async fn known_avatar(&self, owner: &Jid) -> Result<Option<Known>, StoreError> {
        let profile = self.profile(owner).await?;
        let Some(known) = profile.find(METADATA) else { return Ok(None) };
        let last = self.last_item(owner, known).await?;
        let metadata = last.and_then(|item| Element::parse(&item.payload).ok());
        Ok(metadata.as_ref().and_then(Known::of))
    }

    /// The hash of an account's avatar; in memory once it was read.
    async fn avatar_hash(&self, owner: &Jid) -> Result<Option<String>, StoreError> {
        let profile = self.profile(owner).await?;
        if let Some(hash) = profile.avatar.get() {
            return Ok(hash.clone());
        }
        let hash = self.known_avatar(owner).await?.map(|known| known.hash);
        Ok(profile.avatar.get_or_init(|| hash).clone())
    }

    /// The hash of an account's avatar where this other account may see it; asked twice it is known by heart.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub async fn avatar_for(&self, owner: &Jid, who: &Jid) -> Result<Option<String>, StoreError> {
        let Some(hash) = self.avatar_hash(owner).await? else { return Ok(None) };
        let profile = self.profile(owner).await?;
        for node in [METADATA, DATA] {
            let Some(node) = profile.find(node) else { return Ok(None) };
            if !self.may_read(owner, &node.node, who).await? {
                return Ok(None);
            }
        }
        Ok(Some(hash))
    }

    /// An account's avatar and its media type as its owner says, if it still is the one of this hash.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub async fn avatar(
        &self,
        owner: &Jid,
        hash: &str,
    ) -> Result<Option<(String, Vec<u8>)>, StoreError> {
        if self.avatar_hash(owner).await?.is_none_or(|known| known != hash) {
            return Ok(None);
        }
        let image = self.avatar_image(owner, owner).await?;
        Ok(image.and_then(|image| Some((image.kind, decode(&image.base64)?))))
    }

    /// The avatar of an account, for who may read both of its nodes.
    pub(super) async fn avatar_image(
        &self,
        owner: &Jid,
        who: &Jid,
    ) -> Result<Option<Image>, StoreError> {
        let profile = self.profile(owner).await?;
        let (Some(metadata), Some(data)) = (profile.find(METADATA), profile.find(DATA)) else {
            return Ok(None);
        };
        let readable = self.may_read(owner, &metadata.node, who).await?
            && self.may_read(owner, &data.node, who).await?;
        let Some(known) = self.known_avatar(owner).await?.filter(|_| readable) else {
            return Ok(None);
        };
        let wanted = Wanted::Ids(vec![known.hash.clone()]);
        let page = self.0.ports.pubsub.items(owner, &data.node, &wanted).await?;
        let item = page.and_then(|mut page| page.items.pop());
        let data = item.and_then(|item| Element::parse(&item.payload).ok());
        let Some(base64) = data.map(|data| data.text()) else { return Ok(None) };
        let is_it = decode(&base64).is_some_and(|image| hash(&image) == known.hash);
        Ok(is_it.then_some(Image { kind: known.kind, base64 }))
    }

    /// Publishes the photo of a vCard as the avatar, or takes the avatar away when there is none (XEP-0398 section 3.2,
    /// XEP-0084 section 3.5). For who has the account's turn.
    pub(super) async fn set_avatar(
        &self,
        owner: &Jid,
        base64: &str,
        kind: Option<&str>,
    ) -> Result<(), Refusal> {
        // vCards are read by everybody; who wants less has made these nodes otherwise.
        let open = || NodeConfig { access: Access::Open, ..NodeConfig::default() };
        let metadata = self.own_node(owner, METADATA, open).await?;
        if base64.trim().is_empty() {
            if self.avatar_hash(owner).await?.is_some() {
                let nothing = Draft::new("none", &Element::new("metadata", METADATA));
                self.publish(owner, owner, &metadata, vec![nothing]).await?;
            }
            return Ok(());
        }
        let image = decode(base64).ok_or_else(|| Refusal::new(Condition::BadRequest))?;
        let id = hash(&image);
        if self.avatar_hash(owner).await?.is_some_and(|known| known == id) {
            return Ok(());
        }
        let payload = Element::new("data", DATA).with_text(BASE64.encode(&image));
        let draft = Draft::new(id.clone(), &payload);
        if draft.payload.len() > self.config().pubsub.max_item_bytes {
            return Err(Refusal::new(Condition::NotAcceptable));
        }
        let data = self.own_node(owner, DATA, open).await?;
        self.publish(owner, owner, &data, vec![draft]).await?;
        let info = Element::new("info", METADATA)
            .with_attr("id", &*id)
            .with_attr(
                "type",
                kind.map(str::trim).filter(|k| !k.is_empty()).unwrap_or_else(|| sniffed(&image)),
            )
            .with_attr("bytes", image.len().to_string());
        let described = Element::new("metadata", METADATA).with_child(info);
        self.publish(owner, owner, &metadata, vec![Draft::new(id, &described)]).await
    }

    /// An account's presence with the hash of its avatar, unless its client says that it has none (XEP-0398 section 4).
    pub(super) async fn with_avatar(&self, stanza: Stanza) -> Stanza {
        let Some(account) = stanza.from().map(Jid::bare) else { return stanza };
        match self.avatar_hash(&account).await {
            Ok(Some(hash)) => stamped(&stanza, &hash).unwrap_or(stanza),
            Ok(None) => stanza,
            Err(error) => {
                tracing::error!(%error, "the avatar cannot be read; presence goes without it");
                stanza
            }
        }
    }

    /// The avatar is another one or none: everybody who sees the account's devices sees the new hash, or that there is
    /// no image any more.
    pub(super) async fn show_avatar(&self, owner: &Jid) -> Result<(), StoreError> {
        let hash = self.avatar_hash(owner).await?;
        let devices: Vec<(Jid, bytes::Bytes)> = self
            .sessions()
            .of(owner)
            .iter()
            .filter(|r| r.outbox.is_some())
            .filter_map(|r| Some((r.jid.clone(), r.presence.as_ref()?.stanza.clone())))
            .collect();
        for (device, presence) in devices {
            let Ok(presence) = Stanza::parse(presence) else { continue };
            let changed = match &hash {
                Some(hash) => stamped(&presence, hash),
                None => unstamped(&presence),
            };
            let Some(presence) = changed else { continue };
            {
                let mut sessions = self.sessions();
                let announced = sessions.get_mut(&device).and_then(|r| r.presence.as_mut());
                let Some(announced) = announced else { continue };
                announced.stanza = presence.bytes();
            }
            if hash.is_some() {
                self.broadcast_presence(&device).await;
            } else {
                // Said now only: a client that says so itself wants no hash put in later.
                let none = Element::new("x", UPDATE).with_child(Element::new("photo", UPDATE));
                self.broadcast(&device, &presence.bytes_with(&none)).await;
            }
        }
        Ok(())
    }
}

/// The presence with this hash; `None` when it has it already, or says that there is no image.
fn stamped(presence: &Stanza, hash: &str) -> Option<Stanza> {
    let photo = |text: &str| Element::new("photo", UPDATE).with_text(text);
    let update = Element::new("x", UPDATE).with_child(photo(hash));
    if !presence.has("x", UPDATE) {
        return Stanza::parse(presence.bytes_with(&update)).ok();
    }
    let said = presence.child("x", UPDATE)?.child("photo", UPDATE).map(Element::text);
    if said.is_some_and(|said| said.trim().is_empty() || said.trim() == hash) {
        return None;
    }
    let mut element = presence.element().ok()?;
    element.retain_elements(|e| !e.is("x", UPDATE));
    element.push(update);
    Stanza::from_element(&element).ok()
}

/// The presence without a hash; `None` when it has none.
fn unstamped(presence: &Stanza) -> Option<Stanza> {
    let said = presence.child("x", UPDATE)?.child("photo", UPDATE).map(Element::text)?;
    if said.trim().is_empty() {
        return None;
    }
    let mut element = presence.element().ok()?;
    element.retain_elements(|e| !e.is("x", UPDATE));
    Stanza::from_element(&element).ok()
}

fn decode(base64: &str) -> Option<Vec<u8>> {
    let text: String = base64.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    BASE64.decode(text).ok().filter(|image| !image.is_empty())
}

fn hash(image: &[u8]) -> String {
    Sha1::digest(image).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The type of an image whose owner does not say it.
fn sniffed(image: &[u8]) -> &'static str {
    match image {
        [0xff, 0xd8, ..] => "image/jpeg",
        [b'G', b'I', b'F', ..] => "image/gif",
        [b'R', b'I', b'F', b'F', ..] => "image/webp",
        _ => "image/png",
    }
}
