//! Who is connected (RFC 6121 section 4): resources by account, with what each last said about itself.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::Attachment;
use super::clients::{Claim, Features};
use super::undelivered::Sent;
use crate::jid::Jid;
use crate::ports::{Outbox, Seq};

/// The availability sub-states (RFC 6121 section 4.7.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// Wants to chat.
    Chat,
    /// Away.
    Away,
    /// Away for long.
    Xa,
    /// Busy.
    Dnd,
}

impl Show {
    /// The wire word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Away => "away",
            Self::Xa => "xa",
            Self::Dnd => "dnd",
        }
    }

    /// From the wire word.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Chat, Self::Away, Self::Xa, Self::Dnd].into_iter().find(|s| s.name() == name)
    }
}

/// One available resource, for readers outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourcePresence {
    /// Its full address.
    pub jid: Jid,
    /// Sub-state; `None` is plainly available.
    pub show: Option<Show>,
    /// Status text.
    pub status: Option<String>,
    /// -128 to 127.
    pub priority: i8,
    /// A device behind the bridge, not a stream.
    pub attached: bool,
    /// Disco features, once known.
    pub features: Option<Arc<[String]>>,
}

/// What a resource last announced.
#[derive(Debug, Clone)]
pub(super) struct Announced {
    pub(super) stanza: Bytes,
    pub(super) show: Option<Show>,
    pub(super) status: Option<String>,
    pub(super) priority: i8,
}

/// One resource.
pub(super) struct Resource {
    pub(super) jid: Jid,
    /// None: attached.
    pub(super) outbox: Option<Arc<dyn Outbox>>,
    pub(super) attachment: Option<Attachment>,
    pub(super) presence: Option<Announced>,
    pub(super) carbons: bool,
    /// Which installation it is (XEP-0388): told to nobody.
    pub(super) device: Option<String>,
    /// Asked for the roster (RFC 6121 section 2.2).
    pub(super) interested: bool,
    /// Asked for the block list (XEP-0191 section 3.5).
    pub(super) follows_blocks: bool,
    /// Who got directed presence and must be told when it ends (section 4.6.3).
    pub(super) directed: Vec<Jid>,
    /// Accounts this resource has itself written requests or call messages to: they know it is there.
    pub(super) addressed: Vec<Jid>,
    /// What it can do, once known (see `clients`).
    pub(super) features: Option<Features>,
    /// What its presence says it can do.
    pub(super) claim: Option<Arc<Claim>>,
    /// What it sent last.
    pub(super) sent: Sent,
    /// How far it has read its archive, and so needs nothing that waited (XEP-0313 section 6.1.1).
    pub(super) archive_read: Option<Seq>,
}

/// Most accounts that one resource is remembered to have addressed.
const MAX_ADDRESSED: usize = 256;

impl Resource {
    /// How much it wants messages: by its presence, or as a device that is hidden and reached all the same.
    pub(super) fn priority(&self) -> Option<i8> {
        let hidden = self.attachment.as_ref().map(|attachment| attachment.priority);
        self.presence.as_ref().map(|presence| presence.priority).or(hidden)
    }

    /// Notes that it has shown itself to this account.
    pub(super) fn address(&mut self, account: Jid) {
        if self.addressed.contains(&account) {
            return;
        }
        if self.addressed.len() >= MAX_ADDRESSED {
            self.addressed.remove(0);
        }
        self.addressed.push(account);
    }

    /// Notes that it has read its archive up to this place.
    pub(super) fn read_archive(&mut self, seq: Seq) {
        self.archive_read = self.archive_read.max(Some(seq));
    }

    /// Whether this account knows of the resource by what it did itself, without a subscription.
    pub(super) fn has_shown_itself(&self, to: &Jid) -> bool {
        let bare = to.bare();
        self.addressed.contains(&bare) || self.directed.iter().any(|j| j == to || *j == bare)
    }
}

/// All resources of the node.
#[derive(Default)]
pub(super) struct Sessions(HashMap<Jid, Vec<Resource>>);

impl Sessions {
    pub(super) fn of(&self, account: &Jid) -> &[Resource] {
        self.0.get(account).map(Vec::as_slice).unwrap_or_default()
    }

    /// The streams of one installation.
    pub(super) fn of_device(&self, account: &Jid, device: Option<&str>) -> Vec<Arc<dyn Outbox>> {
        let own =
            self.of(account).iter().filter(|r| device.is_some() && r.device.as_deref() == device);
        own.filter_map(|r| r.outbox.clone()).collect()
    }

    pub(super) fn accounts(&self) -> impl Iterator<Item = &Jid> {
        self.0.keys()
    }

    pub(super) fn get(&self, jid: &Jid) -> Option<&Resource> {
        self.of(&jid.bare()).iter().find(|r| r.jid == *jid)
    }

    pub(super) fn get_mut(&mut self, jid: &Jid) -> Option<&mut Resource> {
        self.0.get_mut(&jid.bare())?.iter_mut().find(|r| r.jid == *jid)
    }

    /// Adds a stream; gives what it replaces.
    pub(super) fn bind(&mut self, jid: &Jid, outbox: Arc<dyn Outbox>) -> Option<Resource> {
        // Most have one device; a list that grows begins with four.
        let resources = self.0.entry(jid.bare()).or_insert_with(|| Vec::with_capacity(1));
        let old = resources.iter().position(|r| r.jid == *jid).map(|at| resources.swap_remove(at));
        resources.push(Resource {
            jid: jid.clone(),
            outbox: Some(outbox),
            attachment: None,
            presence: None,
            carbons: false,
            device: None,
            interested: false,
            follows_blocks: false,
            directed: Vec::new(),
            addressed: Vec::new(),
            features: None,
            claim: None,
            sent: Sent::default(),
            archive_read: None,
        });
        old
    }

    /// Adds or replaces an attached device.
    pub(super) fn attach(&mut self, jid: &Jid, attachment: Attachment, presence: Announced) {
        let resources = self.0.entry(jid.bare()).or_default();
        resources.retain(|r| r.jid != *jid);
        resources.push(Resource {
            jid: jid.clone(),
            outbox: None,
            features: Some(attachment.kind.features.clone()),
            claim: None,
            attachment: Some(attachment),
            presence: Some(presence),
            carbons: false,
            device: None,
            interested: false,
            follows_blocks: false,
            directed: Vec::new(),
            addressed: Vec::new(),
            sent: Sent::default(),
            archive_read: None,
        });
    }

    /// Takes a stream out, if it is still this one.
    pub(super) fn take(&mut self, jid: &Jid, outbox: &Arc<dyn Outbox>) -> Option<Resource> {
        self.remove(jid, |r| r.outbox.as_ref().is_some_and(|o| Arc::ptr_eq(o, outbox)))
    }

    /// Takes an attached device out.
    pub(super) fn detach(&mut self, jid: &Jid) -> Option<Resource> {
        self.remove(jid, |r| r.outbox.is_none())
    }

    fn remove(&mut self, jid: &Jid, same: impl Fn(&Resource) -> bool) -> Option<Resource> {
        let bare = jid.bare();
        let resources = self.0.get_mut(&bare)?;
        let at = resources.iter().position(|r| r.jid == *jid && same(r))?;
        let gone = resources.swap_remove(at);
        if resources.is_empty() {
            self.0.remove(&bare);
        }
        Some(gone)
    }

    pub(super) fn outboxes(&self) -> Vec<Arc<dyn Outbox>> {
        self.0.values().flatten().filter_map(|r| r.outbox.clone()).collect()
    }

    pub(super) fn presences(&self, account: &Jid) -> Vec<ResourcePresence> {
        self.of(account)
            .iter()
            .filter_map(|r| {
                let presence = r.presence.as_ref()?;
                Some(ResourcePresence {
                    jid: r.jid.clone(),
                    show: presence.show,
                    status: presence.status.clone(),
                    priority: presence.priority,
                    attached: r.outbox.is_none(),
                    features: r.features.clone(),
                })
            })
            .collect()
    }
}
