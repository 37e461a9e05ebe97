//! External services (XEP-0215 version 1.0): the STUN and TURN relays that calls may go through.
//!
//! Credentials are made for each request and expire (TURN REST: a name that holds its end, and its HMAC-SHA1 under the
//! secret shared with the relay). Who has asked gets new ones before they do.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use super::{Outcome, Server};
use crate::jid::Jid;
use crate::ports::ExternalService;
use crate::router::Place;
use crate::stanza::{Condition, Stanza, StanzaError};
use crate::xml::{Element, ns};

/// The namespace.
pub(super) const NS: &str = "urn:xmpp:extdisco:2";

/// Who has asked, and when what it was given expires, in seconds since 1970. One entry a session at most.
#[derive(Default)]
pub(super) struct Asked(Mutex<HashMap<Jid, Given>>);

#[derive(Clone)]
struct Given {
    expires: u64,
    kind: Option<String>,
}

/// User name and password at a relay that shares `secret` with us (draft-uberti-behave-turn-rest section 2.2).
/// `expires` counts seconds since 1970.
pub fn turn_credentials(secret: &[u8], expires: u64, user: &str) -> (String, String) {
    let username = format!("{expires}:{user}");
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(secret) else {
        return (username, String::new());
    };
    mac.update(username.as_bytes());
    let password = base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes());
    (username, password)
}

impl Server {
    /// Relays for a session of ours (sections 3.1 and 3.2): nobody else may use up the relay.
    pub(super) fn answer_services(&self, stanza: &Stanza, from: &Jid) -> Outcome {
        let Some(relays) = self.0.ports.relays.as_deref() else {
            return self.bounce(stanza, StanzaError::new(Condition::ServiceUnavailable));
        };
        let has_session = self.place(from) == Place::Account && self.sessions().get(from).is_some();
        if !has_session {
            return self.bounce(stanza, StanzaError::new(Condition::Forbidden));
        }
        if let Some(query) = stanza.child("credentials", NS) {
            return self.answer_credentials(stanza, &query, &relays.services(from));
        }
        let Some(query) = stanza.child("services", NS) else {
            return self.bounce(stanza, StanzaError::new(Condition::BadRequest));
        };
        let kind = query.attr("type").map(str::to_owned);
        let services = wanted(relays.services(from), kind.as_deref());
        self.note_given(from, kind.clone(), &services);
        let answer = Element::new("services", NS)
            .with_attr_opt("type", kind)
            .with_children(services.iter().map(describe));
        self.reply(stanza, Some(answer))
    }

    /// Credentials for one service that the client names (section 3.3).
    fn answer_credentials(
        &self,
        stanza: &Stanza,
        query: &Element,
        services: &[ExternalService],
    ) -> Outcome {
        let asked = query.child("service", NS);
        let (Some(host), Some(kind)) =
            (asked.and_then(|s| s.attr("host")), asked.and_then(|s| s.attr("type")))
        else {
            return self.bounce(stanza, StanzaError::new(Condition::BadRequest));
        };
        let port = asked.and_then(|s| s.attr("port")).map(str::parse::<u16>);
        let found: Vec<_> = services
            .iter()
            .filter(|s| s.host == host && s.kind == kind && s.credentials.is_some())
            .filter(|s| port.as_ref().is_none_or(|port| *port == Ok(s.port)))
            .map(describe)
            .collect();
        if found.is_empty() {
            return self.bounce(stanza, StanzaError::new(Condition::ItemNotFound));
        }
        self.reply(stanza, Some(Element::new("credentials", NS).with_children(found)))
    }

    /// Gives new credentials to sessions whose old ones are refused after `horizon`, in seconds since 1970 (section
    /// 3.2): called now and then with a time a little ahead.
    pub fn renew_services(&self, horizon: u64) {
        let Some(relays) = self.0.ports.relays.as_deref() else { return };
        let due: Vec<(Jid, Given)> = {
            let sessions = self.sessions();
            let mut asked = self.0.asked_services.0.lock().unwrap_or_else(PoisonError::into_inner);
            asked.retain(|jid, _| sessions.get(jid).is_some());
            let due = asked.iter().filter(|(_, given)| given.expires <= horizon);
            due.map(|(jid, given)| (jid.clone(), given.clone())).collect()
        };
        for (jid, given) in due {
            let services = wanted(relays.services(&jid), given.kind.as_deref());
            self.note_given(&jid, given.kind.clone(), &services);
            let renewed = services
                .iter()
                .filter(|s| s.credentials.is_some())
                .map(|s| describe(s).with_attr("action", "modify"));
            let update = Element::new("services", NS)
                .with_attr_opt("type", given.kind)
                .with_children(renewed);
            let push = Element::new("iq", ns::CLIENT)
                .with_attr("type", "set")
                .with_attr("id", format!("services-{horizon}"))
                .with_attr("from", jid.domain())
                .with_attr("to", jid.as_str())
                .with_child(update);
            self.send_to(&jid, &push);
        }
    }

    fn note_given(&self, to: &Jid, kind: Option<String>, services: &[ExternalService]) {
        let ends = services.iter().filter_map(|s| s.credentials.as_ref());
        let Some(expires) = ends.map(|c| c.expires).min() else { return };
        let mut asked = self.0.asked_services.0.lock().unwrap_or_else(PoisonError::into_inner);
        asked.insert(to.clone(), Given { expires, kind });
    }
}

fn wanted(services: Vec<ExternalService>, kind: Option<&str>) -> Vec<ExternalService> {
    services.into_iter().filter(|s| kind.is_none_or(|kind| s.kind == kind)).collect()
}

fn describe(service: &ExternalService) -> Element {
    let element = Element::new("service", NS)
        .with_attr("type", service.kind)
        .with_attr("host", service.host.as_str())
        .with_attr("port", service.port.to_string())
        .with_attr("transport", service.transport);
    let Some(credentials) = &service.credentials else { return element };
    element
        .with_attr("restricted", "true")
        .with_attr("username", credentials.username.as_str())
        .with_attr("password", credentials.password.as_str())
        .with_attr("expires", credentials.expires_stamp.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same as `printf 1433895918:user | openssl dgst -sha1 -hmac north -binary | base64`.
    #[test]
    fn credentials_are_those_a_relay_computes() {
        let (username, password) = turn_credentials(b"north", 1_433_895_918, "user");
        assert_eq!(username, "1433895918:user");
        assert_eq!(password, "/gk4t5tUc08OpM3NjrVjHSFVNmY=");
    }
}
