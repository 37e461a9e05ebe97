//! Other SIP domains: who may be reached there, and the addresses of their people (RFC 7247, XEP-0106, `interop.md` 1.2).
//!
//! Somebody of another domain has an XMPP address in a domain of ours, `bob\\40elsewhere.example@sip.example.org`: what a SIP
//! server says of its people is one thing, and what the XMPP server of the same name proves of its own another.

use std::collections::HashSet;
use std::sync::Arc;

use tandem_sip::config::Foreign;
use tandem_sip::msg::{Host, Uri};
use tandem_sip::ports::{Names, Target};
use tandem_xmpp::jid::Jid;

use super::identity;
use crate::config::{Config, Security};

/// Longest address of somebody abroad, as a local part.
const MAX_ADDRESS: usize = 1_000;

/// The other domains, as a node sees them.
pub struct Domains {
    sip: tandem_sip::Config,
    /// Where their people are, as XMPP addresses.
    own: String,
    /// Whether nothing goes there in the clear, but to those that are excepted.
    is_required: bool,
    clear: HashSet<String>,
    names: Arc<dyn Names>,
}

impl Domains {
    /// By the configuration; `names` tells who speaks SIP.
    pub fn new(config: &Config, names: Arc<dyn Names>) -> Self {
        Self {
            sip: config.sip_config(),
            own: config.foreign_domain(),
            is_required: config.sip.security == Security::Required,
            clear: config.sip.foreign_clear.iter().cloned().collect(),
            names,
        }
    }

    fn policy(&self) -> &Foreign {
        &self.sip.foreign
    }

    /// Whether an address is that of somebody in another SIP domain.
    pub fn is_abroad(&self, address: &Jid) -> bool {
        address.domain() == self.own
    }

    /// Whether somebody may reach other domains: accounts of this server alone.
    pub fn may_leave(&self, from: &Jid) -> bool {
        self.sip.is_ours(from.domain())
    }

    /// The address of somebody, by a SIP address `user@domain`.
    pub fn address(&self, sip: &str) -> Option<Jid> {
        let node = identity::sip_user_to_node(sip).filter(|node| node.len() <= MAX_ADDRESS)?;
        Jid::new(Some(&node), &self.own, None).ok()
    }

    /// Who is meant by a SIP URI of another domain that may be reached.
    pub fn dialled(&self, to: &Uri) -> Option<Jid> {
        let user = to.user_decoded().filter(|_| to.is_sip())?;
        let port = to.port.map(|port| format!(":{port}")).unwrap_or_default();
        self.reachable(&to.host)?;
        self.address(&format!("{user}@{}{port}", to.host))
    }

    /// The same, where messages go there by SIP: a domain that is named, or one whose DNS has SIP servers (RFC 7247
    /// section 5). To others they go by XMPP.
    pub async fn written_to(&self, to: &Uri) -> Option<Jid> {
        let address = self.dialled(to)?;
        let domain = self.reachable(&to.host)?;
        (self.policy().names(&domain) || self.speaks_sip(&domain).await).then_some(address)
    }

    async fn speaks_sip(&self, domain: &str) -> bool {
        for service in ["_sip._udp", "_sip._tcp", "_sips._tcp"] {
            if !self.names.srv(&format!("{service}.{domain}")).await.is_empty() {
                return true;
            }
        }
        !self.names.naptr(domain).await.is_empty()
    }

    /// The SIP address of somebody abroad who may be reached.
    pub fn uri(&self, address: &Jid) -> Option<Uri> {
        let uri = self.shown(address)?;
        self.reachable(&uri.host).map(|_| uri)
    }

    /// The SIP address of somebody abroad.
    pub fn shown(&self, address: &Jid) -> Option<Uri> {
        if !self.is_abroad(address) {
            return None;
        }
        let sip = identity::node_to_sip_user(address.node()?);
        let (user, place) = sip.rsplit_once('@')?;
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (place, None),
        };
        let host = Jid::new(None, host, None).ok()?.domain_ascii()?;
        let host = Host::parse(&host).filter(|host| host.ip().is_none())?;
        (!user.is_empty()).then(|| Uri { port, ..Uri::sip(Some(user), host) })
    }

    /// The domain of a host that is not ours and may be reached.
    fn reachable(&self, host: &Host) -> Option<String> {
        if host.ip().is_some() {
            return None;
        }
        let domain = host.to_string().trim_end_matches('.').to_ascii_lowercase();
        (self.policy().lets_in(&domain) && !self.sip.is_own(&domain)).then_some(domain)
    }

    /// Whether nothing of somebody abroad may go in the clear.
    pub fn is_encrypted(&self, address: &Jid) -> bool {
        let domain = self.shown(address).map(|uri| uri.host.to_string());
        self.is_required && domain.is_none_or(|domain| !self.clear.contains(&domain))
    }

    /// How somebody abroad is reached.
    pub fn target(&self, address: &Jid) -> Option<Target> {
        let uri = self.uri(address)?;
        Some(if self.is_encrypted(address) { Target::Secure(uri) } else { Target::Uri(uri) })
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::pin::Pin;

    use tandem_sip::transport::{Naptr, Srv};

    use super::*;

    /// A DNS with a SIP server of `b.example`.
    struct One;

    type Found<'a, T> = Pin<Box<dyn Future<Output = Vec<T>> + Send + 'a>>;

    impl Names for One {
        fn naptr<'a>(&'a self, _: &'a str) -> Found<'a, Naptr> {
            Box::pin(async { Vec::new() })
        }

        fn srv<'a>(&'a self, name: &'a str) -> Found<'a, Srv> {
            let one = Srv { priority: 0, weight: 0, port: 5060, target: "s.b.example".into() };
            let is_known = name == "_sip._tcp.b.example";
            Box::pin(async move { is_known.then_some(one).into_iter().collect() })
        }

        fn addresses<'a>(&'a self, _: &'a str) -> Found<'a, IpAddr> {
            Box::pin(async { Vec::new() })
        }
    }

    fn domains(lines: &str) -> Domains {
        let text = format!("domains = [\"example.org\"]\n[sip]\n{lines}\n");
        Domains::new(&Config::parse(&text, "test", []).unwrap(), Arc::new(One))
    }

    fn uri(text: &str) -> Uri {
        Uri::parse(text).unwrap()
    }

    fn jid(text: &str) -> Jid {
        Jid::parse(text).unwrap()
    }

    #[test]
    fn people_of_other_domains_have_addresses_in_one_of_ours() {
        let all = domains("foreign = \"open\"");
        let table = [
            ("sip:bob@b.example", "bob\\40b.example@sip.example.org"),
            ("sip:bob@b.example:5070", "bob\\40b.example\\3a5070@sip.example.org"),
            ("sip:o'malley@b.example", "o\\27malley\\40b.example@sip.example.org"),
            ("sip:a%40c@b.example", "a\\40c\\40b.example@sip.example.org"),
        ];
        for (sip, address) in table {
            let address = jid(address);
            assert_eq!(all.dialled(&uri(sip)), Some(address.clone()), "{sip}");
            assert_eq!(all.uri(&address), Some(uri(sip)), "{sip}");
        }
        for none in [
            "sip:ana@example.org",
            "sip:ana@EXAMPLE.ORG.",
            "sip:x@tel.example.org",
            "sip:x@192.0.2.1",
            "sip:b.example",
            "tel:+431",
        ] {
            assert_eq!(all.dialled(&uri(none)), None, "{none}");
        }
        for none in [
            "bob@sip.example.org",
            "bob\\40192.0.2.1@sip.example.org",
            "ana\\40example.org@sip.example.org",
            "\\40b.example@sip.example.org",
            "bob\\40b.example\\3ax@sip.example.org",
            "bob\\40b.example@b.example",
        ] {
            assert_eq!(all.uri(&jid(none)), None, "{none}");
        }
    }

    #[test]
    fn the_policy_says_who_is_reached_and_security_how() {
        let bob = jid("bob\\40b.example@sip.example.org");
        let reached = |lines: &str| domains(lines).target(&bob);
        assert!(reached("").is_none());
        assert!(reached("foreign = \"closed\"\nforeign_domains = [\"b.example\"]").is_none());
        assert!(reached("foreign = \"allow\"\nforeign_domains = [\"c.example\"]").is_none());
        let named = "foreign = \"allow\"\nforeign_domains = [\"b.example\"]";
        assert!(matches!(reached(named), Some(Target::Secure(_))));
        assert!(matches!(reached("foreign = \"open\""), Some(Target::Secure(_))));
        let clear = format!("{named}\nforeign_clear = [\"b.example\"]");
        assert!(matches!(reached(&clear), Some(Target::Uri(_))));
        let optional = "security = \"optional\"\nforeign = \"open\"";
        assert!(matches!(reached(optional), Some(Target::Uri(_))));
    }

    #[tokio::test]
    async fn messages_go_by_sip_to_domains_that_are_named_or_speak_it() {
        let all = domains("foreign = \"open\"");
        assert!(all.written_to(&uri("sip:bob@b.example")).await.is_some());
        assert!(all.written_to(&uri("sip:bob@c.example")).await.is_none());
        let named = "foreign = \"open\"\nforeign_domains = [\"c.example\"]";
        let named = domains(named);
        assert!(named.written_to(&uri("sip:bob@c.example")).await.is_some());
    }
}
