//! Uploads, relays and push registrations in memory, for tests.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::{
    BoxFuture, ExternalService, FileOffer, PushTarget, Pushes, RelayCredentials, Relays, Slot,
    SlotRefusal, StoreError, Uploads,
};
use crate::jid::Jid;

/// Gives slots without keeping anything: files up to 1,000 bytes that are no `text/html`, three for each user.
#[derive(Debug, Default)]
pub struct MemoryUploads(Mutex<HashMap<Jid, usize>>);

impl Uploads for MemoryUploads {
    fn max_bytes(&self) -> u64 {
        1_000
    }

    fn reserve<'a>(
        &'a self,
        owner: &'a Jid,
        offer: &'a FileOffer,
    ) -> BoxFuture<'a, Result<Slot, SlotRefusal>> {
        let mut given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = given.entry(owner.bare()).or_default();
        let slot = if offer.size > 1_000 {
            Err(SlotRefusal::TooLarge { max: 1_000 })
        } else if offer.content_type.as_deref() == Some("text/html") {
            Err(SlotRefusal::NotAcceptable("this type of file is not taken"))
        } else if *count == 3 {
            let retry = Some("2026-01-02T00:00:00Z".to_owned());
            Err(SlotRefusal::Quota { text: "three files a day", retry })
        } else {
            *count += 1;
            let get = format!("https://d/upload/{count}/{}", offer.name);
            Ok(Slot { put: format!("{get}?token=x"), get })
        };
        Box::pin(std::future::ready(slot))
    }
}

/// One relay whose credentials expire at the second that was set.
#[derive(Debug, Default)]
pub struct MemoryRelays {
    expires: Mutex<u64>,
}

impl MemoryRelays {
    /// Credentials made from now on expire then.
    pub fn set_expires(&self, expires: u64) {
        *self.expires.lock().unwrap_or_else(PoisonError::into_inner) = expires;
    }
}

impl Relays for MemoryRelays {
    fn services(&self, account: &Jid) -> Vec<ExternalService> {
        let expires = *self.expires.lock().unwrap_or_else(PoisonError::into_inner);
        let credentials = RelayCredentials {
            username: format!("{expires}:{}", account.node().unwrap_or_default()),
            password: "password".into(),
            expires,
            expires_stamp: "2026-01-01T01:00:00Z".into(),
        };
        let service = |kind, port, transport, credentials| ExternalService {
            kind,
            host: "relay.d".into(),
            port,
            transport,
            credentials,
        };
        vec![
            service("stun", 3478, "udp", None),
            service("turn", 3478, "udp", Some(credentials.clone())),
            service("turns", 5349, "tcp", Some(credentials)),
        ]
    }
}

/// Push registrations.
#[derive(Debug, Default)]
pub struct MemoryPushes(Mutex<HashMap<Jid, Vec<PushTarget>>>);

impl Pushes for MemoryPushes {
    fn load<'a>(&'a self, owner: &'a Jid) -> BoxFuture<'a, Result<Vec<PushTarget>, StoreError>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = all.get(&owner.bare()).cloned().unwrap_or_default();
        Box::pin(std::future::ready(Ok(found)))
    }

    fn put<'a>(
        &'a self,
        owner: &'a Jid,
        target: &'a PushTarget,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = all.entry(owner.bare()).or_default();
        own.retain(|t| t.service != target.service || t.node != target.node);
        own.push(target.clone());
        Box::pin(std::future::ready(Ok(())))
    }

    fn remove<'a>(
        &'a self,
        owner: &'a Jid,
        service: &'a Jid,
        node: Option<&'a str>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = all.get_mut(&owner.bare()) {
            own.retain(|t| t.service != *service || node.is_some_and(|node| t.node != node));
        }
        Box::pin(std::future::ready(Ok(())))
    }
}
