//! Devices attached to an account that do not speak XMPP (RFC 6121 section 8.5, XEP-0030): phones, the echo service.
//!
//! They are resources like any other: they have a presence with capabilities (XEP-0115), answer disco (XEP-0030) and
//! are routed to by RFC 6121. What reaches them goes out by the port [`crate::ports::Foreign`].

use std::sync::Arc;

use bytes::Bytes;

use super::clients::Features;
use super::sessions::{Announced, Show};
use super::{Server, disco};
use crate::jid::Jid;
use crate::xml::{Element, ns};

/// What an attached device says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Priority of its presence; negative gets no bare-addressed messages.
    pub priority: i8,
    /// Sub-state.
    pub show: Option<Show>,
    /// Status text.
    pub status: Option<String>,
    /// What it is and can do.
    pub kind: Arc<DeviceKind>,
}

/// What devices of one kind are and can do (XEP-0030 section 3). Made once and shared: there may be a hundred thousand.
#[derive(Debug, PartialEq, Eq)]
pub struct DeviceKind {
    /// Disco features.
    pub(super) features: Features,
    /// Disco identity: category, type, name.
    pub(super) identity: (String, String, String),
    /// The `<c/>` that says all this.
    caps: Element,
}

impl DeviceKind {
    /// Devices of this disco identity (category, type, name) and with these features.
    #[must_use]
    pub fn new<'f>(
        (category, kind, name): (&str, &str, &str),
        features: impl IntoIterator<Item = &'f str>,
    ) -> Arc<Self> {
        let identity = (category.to_owned(), kind.to_owned(), name.to_owned());
        let features: Features = features.into_iter().map(str::to_owned).collect();
        let caps = disco::device_caps(&identity, &features);
        Arc::new(Self { features, identity, caps })
    }
}

impl Server {
    /// Attaches a device as an available resource, or replaces it.
    pub async fn attach(&self, full: &Jid, attachment: Attachment) {
        let announced = announce(full, &attachment);
        // In memory from here on, as that of whoever says something: see `blocks_now`.
        if let Err(error) = self.blocks_of(&full.bare()).await {
            tracing::error!(%error, "a block list cannot be read");
        }
        self.sessions().attach(full, attachment, announced);
        self.broadcast_presence(full).await;
    }

    /// Changes what an attached device shows.
    pub async fn set_presence(&self, full: &Jid, show: Option<Show>, status: Option<&str>) {
        {
            let mut sessions = self.sessions();
            let Some(resource) = sessions.get_mut(full) else { return };
            let Some(attachment) = resource.attachment.as_mut() else { return };
            attachment.show = show;
            attachment.status = status.map(str::to_owned);
            let announced = announce(full, attachment);
            resource.presence = Some(announced);
        }
        self.broadcast_presence(full).await;
    }

    /// Shows an attached device as unavailable. It is reached as before; [`Server::set_presence`] shows it again.
    pub async fn hide(&self, full: &Jid) {
        let shown = self.sessions().get_mut(full).and_then(|resource| {
            resource.attachment.as_ref()?;
            resource.presence.take()?;
            Some(std::mem::take(&mut resource.directed))
        });
        let Some(directed) = shown else { return };
        let gone = Element::new("presence", ns::CLIENT)
            .with_attr("from", full.as_str())
            .with_attr("type", "unavailable")
            .to_bytes();
        self.say_goodbye(full, true, directed, &gone).await;
    }

    /// Takes a device away; everybody who saw it is told.
    pub async fn detach(&self, full: &Jid) {
        let gone = self.sessions().detach(full);
        if let Some(resource) = gone {
            self.became_unavailable(full, resource, None).await;
        }
    }
}

fn announce(full: &Jid, attachment: &Attachment) -> Announced {
    let mut presence = Element::new("presence", ns::CLIENT).with_attr("from", full.as_str());
    if let Some(show) = attachment.show {
        presence.push(Element::new("show", ns::CLIENT).with_text(show.name()));
    }
    if let Some(status) = &attachment.status {
        presence.push(Element::new("status", ns::CLIENT).with_text(status));
    }
    if attachment.priority != 0 {
        let priority = attachment.priority.to_string();
        presence.push(Element::new("priority", ns::CLIENT).with_text(priority));
    }
    presence.push(attachment.kind.caps.clone());
    Announced {
        // Of its own size: it is kept as long as the device is there.
        stanza: Bytes::copy_from_slice(&presence.to_bytes()),
        show: attachment.show,
        status: attachment.status.clone(),
        priority: attachment.priority,
    }
}
