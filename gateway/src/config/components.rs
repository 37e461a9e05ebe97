//! `[[components]]`: external components (XEP-0114).

use serde::{Deserialize, Serialize};
use tandem_xmpp::jid::Jid;
use tandem_xmpp::stream::component::Host;

/// One component that may connect.
#[derive(Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Component {
    /// Its domain.
    pub host: String,
    /// What it proves to know.
    pub secret: String,
}

impl std::fmt::Debug for Component {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Component").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Component {
    /// What is wrong with it, where these domains are served: no domain, one that leads elsewhere, or no secret.
    pub(super) fn fault(&self, domains: &[String]) -> Option<String> {
        let host = &self.host;
        let parsed = Jid::parse(host).ok().filter(|j| j.as_str() == host && j.node().is_none());
        let Some(jid) = parsed else {
            return Some(format!("components: `{host}` is no domain in lower case"));
        };
        if tandem_xmpp::router::place(domains, &jid) != tandem_xmpp::router::Place::Elsewhere {
            return Some(format!("components: `{host}` is served by Tandem itself"));
        }
        self.secret.is_empty().then(|| format!("components: `{host}` has no secret"))
    }

    /// As the XMPP server wants it.
    pub(crate) fn host(&self) -> Host {
        Host { domain: self.host.clone(), secret: self.secret.clone() }
    }
}
