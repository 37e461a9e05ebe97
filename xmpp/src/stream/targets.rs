//! In which order the hosts of another server are tried (RFC 6120 section 3.2, RFC 2782, XEP-0368 section 3).

use std::net::{IpAddr, SocketAddr};

/// Where servers listen when nothing says otherwise.
const PORT: u16 = 5269;
/// Most hosts that are tried.
const MAX_TARGETS: usize = 12;

/// An SRV record (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Lower is tried first.
    pub priority: u16,
    /// Share among those of one priority.
    pub weight: u16,
    /// Port.
    pub port: u16,
    /// Host, with A-labels; `.` says that there is no such service.
    pub target: String,
}

/// One host to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// A name to be resolved.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// TLS from the first byte.
    pub direct_tls: bool,
}

/// The hosts of a domain out of its `_xmpps-server` and `_xmpp-server` records, all priorities together; the domain
/// itself where it has neither. Empty when the records say that there is no service. `random` gives a number up to and
/// including its argument.
pub fn order(
    domain: &str,
    direct: Vec<Service>,
    starttls: Vec<Service>,
    mut random: impl FnMut(u32) -> u32,
) -> Vec<Target> {
    if direct.is_empty() && starttls.is_empty() {
        return vec![Target { host: domain.to_owned(), port: PORT, direct_tls: false }];
    }
    let direct = direct.into_iter().map(|service| (service, true));
    let mut left: Vec<_> = direct.chain(starttls.into_iter().map(|s| (s, false))).collect();
    left.retain(|(service, _)| !matches!(service.target.as_str(), "." | ""));
    let mut targets = Vec::new();
    while let Some(priority) = left.iter().map(|(s, _)| s.priority).min() {
        // Those without weight stand first, so that they have a small chance (RFC 2782).
        left.sort_by_key(|(s, _)| (s.priority, s.weight));
        let same = left.iter().take_while(|(s, _)| s.priority == priority);
        let total: u32 = same.clone().map(|(s, _)| u32::from(s.weight)).sum();
        let drawn = random(total);
        let mut sum = 0;
        let chosen = same.clone().position(|(s, _)| {
            sum += u32::from(s.weight);
            sum >= drawn
        });
        let (service, direct_tls) = left.remove(chosen.unwrap_or(0));
        let host = service.target.trim_end_matches('.').to_owned();
        targets.push(Target { host, port: service.port, direct_tls });
        if targets.len() == MAX_TARGETS {
            break;
        }
    }
    targets
}

/// A domain that is an address itself.
pub fn literal(domain: &str) -> Option<SocketAddr> {
    let address: IpAddr = domain.trim_start_matches('[').trim_end_matches(']').parse().ok()?;
    Some(SocketAddr::new(address, PORT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(priority: u16, weight: u16, target: &str) -> Service {
        Service { priority, weight, port: 1, target: target.into() }
    }

    fn hosts(targets: &[Target]) -> Vec<(&str, bool)> {
        targets.iter().map(|t| (t.host.as_str(), t.direct_tls)).collect()
    }

    #[test]
    fn priorities_come_first_over_both_kinds_and_weights_share() {
        let direct = vec![service(5, 0, "tls.x."), service(20, 0, "late.x")];
        let plain = vec![service(5, 10, "heavy.x"), service(1, 0, "first.x")];
        let low = order("x", direct.clone(), plain.clone(), |_| 0);
        assert_eq!(
            hosts(&low),
            [("first.x", false), ("tls.x", true), ("heavy.x", false), ("late.x", true)]
        );
        let high = order("x", direct, plain, |total| total);
        assert_eq!(
            hosts(&high),
            [("first.x", false), ("heavy.x", false), ("tls.x", true), ("late.x", true)]
        );
    }

    #[test]
    fn without_records_the_domain_itself_is_tried_and_a_dot_means_never() {
        let own = order("x", vec![], vec![], |_| 0);
        assert_eq!(own, [Target { host: "x".into(), port: 5269, direct_tls: false }]);
        assert!(order("x", vec![], vec![service(0, 0, ".")], |_| 0).is_empty());
        let many: Vec<_> = (0..500).map(|n| service(n, 0, "y")).collect();
        assert_eq!(order("x", many, vec![], |_| 0).len(), MAX_TARGETS);
    }

    #[test]
    fn an_address_is_its_own_host() {
        assert_eq!(literal("[::1]"), Some("[::1]:5269".parse().unwrap()));
        assert_eq!(literal("127.0.0.1"), Some("127.0.0.1:5269".parse().unwrap()));
        assert_eq!(literal("example.com"), None);
    }
}
