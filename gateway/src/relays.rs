//! The relays that clients are told of (XEP-0215): our own and those that the configuration names, with credentials that
//! each shares a secret for.

use std::time::Duration;

use tandem_media::net::RelayHandle;
use tandem_xmpp::Server;
use tandem_xmpp::jid::Jid;
use tandem_xmpp::ports::{ExternalService, RelayCredentials, Relays};
use tandem_xmpp::service::extdisco::turn_credentials;

use crate::config::Turn;

/// Between two looks at whose credentials end soon.
const ROUND: Duration = Duration::from_secs(60);

/// Our own relay, and `[[turn]]`.
pub struct ConfiguredRelays {
    own: Option<(RelayHandle, Turn)>,
    others: Vec<Turn>,
}

impl ConfiguredRelays {
    /// `None` when there are none.
    pub fn new(own: Option<(RelayHandle, Turn)>, others: &[Turn]) -> Option<Self> {
        let is_some = own.is_some() || !others.is_empty();
        is_some.then(|| Self { own, others: others.to_vec() })
    }
}

impl Relays for ConfiguredRelays {
    fn services(&self, account: &Jid) -> Vec<ExternalService> {
        let now = chrono::Utc::now().timestamp().max(0).unsigned_abs();
        let own = self.own.as_ref().map(|(handle, own)| {
            let found = services(own, account, now);
            if let Some(credentials) = found.iter().find_map(|s| s.credentials.as_ref()) {
                handle.remember(&credentials.username, credentials.expires);
            }
            found
        });
        let others = self.others.iter().flat_map(|relay| services(relay, account, now));
        own.into_iter().flatten().chain(others).collect()
    }
}

fn services(relay: &Turn, account: &Jid, now: u64) -> Vec<ExternalService> {
    let expires = now + u64::from(relay.seconds);
    // The relay learns a name that its log can be searched by, not more: no resource.
    let user = account.bare();
    let (username, password) = turn_credentials(relay.secret.as_bytes(), expires, user.as_str());
    let stamp = chrono::DateTime::from_timestamp(expires.try_into().unwrap_or(i64::MAX), 0);
    let expires_stamp = stamp
        .map(|stamp| stamp.to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
        .unwrap_or_default();
    let credentials = RelayCredentials { username, password, expires, expires_stamp };
    let service = |kind, port, transport, credentials| ExternalService {
        kind,
        host: relay.host.clone(),
        port,
        transport,
        credentials,
    };
    let mut found = Vec::new();
    if relay.port != 0 {
        for transport in
            ["udp", "tcp"].into_iter().filter(|t| relay.transports.iter().any(|own| own == t))
        {
            found.push(service("stun", relay.port, transport, None));
            found.push(service("turn", relay.port, transport, Some(credentials.clone())));
        }
    }
    if relay.tls_port != 0 {
        found.push(service("turns", relay.tls_port, "tcp", Some(credentials)));
    }
    found
}

/// Gives new credentials to who has asked for some that end within two rounds. Never resolves.
pub async fn renew(server: Server) {
    let mut rounds = tokio::time::interval(ROUND);
    loop {
        rounds.tick().await;
        let now = chrono::Utc::now().timestamp().max(0).unsigned_abs();
        server.renew_services(now + 2 * ROUND.as_secs());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_is_announced_by_each_way_it_is_reached() {
        let relay = Turn {
            host: "turn.example".into(),
            tls_port: 5349,
            secret: "north".into(),
            ..Turn::default()
        };
        let account = Jid::parse("ana@example/phone").unwrap();
        let found = services(&relay, &account, 1_000);
        let ways: Vec<_> = found.iter().map(|s| (s.kind, s.port, s.transport)).collect();
        let expected = [
            ("stun", 3478, "udp"),
            ("turn", 3478, "udp"),
            ("stun", 3478, "tcp"),
            ("turn", 3478, "tcp"),
            ("turns", 5349, "tcp"),
        ];
        assert_eq!(ways, expected);
        let credentials = found[1].credentials.as_ref().unwrap();
        assert_eq!(credentials.username, "15400:ana@example");
        assert_eq!(credentials.expires_stamp, "1970-01-01T04:16:40Z");
        assert!(found[0].credentials.is_none());
        assert!(!format!("{relay:?}").contains("north"));
    }
}
