//! Names of other servers: a table in the configuration, then DNS (RFC 6120 section 3.2, RFC 3263 section 4).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};
use tandem_sip::ports::{Naptr, Srv};
use tandem_xmpp::ports::{BoxFuture, Dns, DnsError};
use tandem_xmpp::stream::targets::Service;

use crate::config::{self, Host};

/// Names cached at once.
const CACHE: u64 = 4_096;

/// The resolver of this node.
pub struct Resolver {
    hosts: BTreeMap<String, Vec<Host>>,
    /// None when there is no name server at all.
    dns: Option<TokioResolver>,
}

impl Resolver {
    /// By the configuration; without name servers there, by those of the system.
    pub fn new(config: &config::Dns) -> Self {
        let dns = build(&config.servers)
            .inspect_err(|error| tracing::warn!(%error, "no DNS: other servers are not found"));
        Self { hosts: config.hosts.clone(), dns: dns.ok() }
    }

    fn dns(&self) -> Result<&TokioResolver, DnsError> {
        self.dns.as_ref().ok_or_else(|| DnsError::Failed("no name server is known".into()))
    }

    /// What the table says about a name such as `_xmpp-server._tcp.example.com`.
    fn written(&self, name: &str) -> Option<Vec<Service>> {
        let (service, domain) = name.split_once("._tcp.")?;
        let hosts = self.hosts.get(domain)?;
        let direct_tls = service == "_xmpps-server";
        let hosts = hosts.iter().filter(|host| host.direct_tls == direct_tls);
        Some(
            hosts
                .map(|host| Service {
                    priority: 0,
                    weight: 0,
                    port: host.address.port(),
                    target: host.ip().to_string(),
                })
                .collect(),
        )
    }
}

fn build(servers: &[SocketAddr]) -> Result<TokioResolver, NetError> {
    let mut builder = if servers.is_empty() {
        TokioResolver::builder_tokio()?
    } else {
        let name_servers = servers
            .iter()
            .map(|server| {
                let (mut udp, mut tcp) = (ConnectionConfig::udp(), ConnectionConfig::tcp());
                udp.port = server.port();
                tcp.port = server.port();
                let mut config = NameServerConfig::udp_and_tcp(server.ip());
                config.connections = vec![udp, tcp];
                config
            })
            .collect();
        let config = ResolverConfig::from_name_servers(name_servers);
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
    };
    let options = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv6AndIpv4;
    options.cache_size = CACHE;
    if !servers.is_empty() {
        options.use_hosts_file = ResolveHosts::Never;
    }
    builder.build()
}

fn fault(error: &NetError) -> DnsError {
    if error.is_no_records_found() {
        return DnsError::NotFound;
    }
    DnsError::Failed(error.to_string())
}

/// A name that no search list is tried for.
fn absolute(name: &str) -> String {
    format!("{}.", name.trim_end_matches('.'))
}

impl Dns for Resolver {
    fn services<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<Service>, DnsError>> {
        Box::pin(async move {
            if let Some(written) = self.written(name) {
                return Ok(written);
            }
            let found = self.dns()?.srv_lookup(absolute(name)).await.map_err(|e| fault(&e))?;
            let records = found.answers().iter().filter_map(|record| match &record.data {
                RData::SRV(srv) => Some(Service {
                    priority: srv.priority,
                    weight: srv.weight,
                    port: srv.port,
                    target: srv.target.to_ascii(),
                }),
                _ => None,
            });
            Ok(records.collect())
        })
    }

    fn addresses<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, DnsError>> {
        Box::pin(async move {
            if let Ok(address) = host.parse() {
                return Ok(vec![address]);
            }
            let found = self.dns()?.lookup_ip(absolute(host)).await.map_err(|e| fault(&e))?;
            Ok(found.iter().collect())
        })
    }
}

/// Of SIP servers. The table names XMPP servers alone.
impl tandem_sip::ports::Names for Resolver {
    fn naptr<'a>(&'a self, name: &'a str) -> tandem_sip::ports::BoxFuture<'a, Vec<Naptr>> {
        Box::pin(async move {
            self.records(name, RecordType::NAPTR, |data| match data {
                RData::NAPTR(naptr) => Some(Naptr {
                    order: naptr.order,
                    preference: naptr.preference,
                    flags: String::from_utf8_lossy(&naptr.flags).into_owned(),
                    service: String::from_utf8_lossy(&naptr.services).into_owned(),
                    replacement: naptr.replacement.to_ascii(),
                }),
                _ => None,
            })
            .await
        })
    }

    fn srv<'a>(&'a self, name: &'a str) -> tandem_sip::ports::BoxFuture<'a, Vec<Srv>> {
        Box::pin(async move {
            self.records(name, RecordType::SRV, |data| match data {
                RData::SRV(srv) => Some(Srv {
                    priority: srv.priority,
                    weight: srv.weight,
                    port: srv.port,
                    target: srv.target.to_ascii(),
                }),
                _ => None,
            })
            .await
        })
    }

    fn addresses<'a>(&'a self, name: &'a str) -> tandem_sip::ports::BoxFuture<'a, Vec<IpAddr>> {
        Box::pin(async move { Dns::addresses(self, name).await.unwrap_or_default() })
    }
}

impl Resolver {
    async fn records<T>(
        &self,
        name: &str,
        kind: RecordType,
        read: impl Fn(&RData) -> Option<T>,
    ) -> Vec<T> {
        let Ok(dns) = self.dns() else { return Vec::new() };
        match dns.lookup(absolute(name), kind).await {
            Ok(found) => found.answers().iter().filter_map(|record| read(&record.data)).collect(),
            Err(error) => {
                if !error.is_no_records_found() {
                    tracing::info!(name, %error, "a name of a SIP server cannot be looked up");
                }
                Vec::new()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_written_down_is_not_asked_for() {
        let hosts =
            ["127.0.0.1:1", "tls:127.0.0.2:2"].map(|h| Host::try_from(h.to_owned()).unwrap());
        let hosts = BTreeMap::from([("a.example".to_owned(), hosts.to_vec())]);
        let resolver = Resolver { hosts, dns: None };
        let ports = |services: Vec<Service>| services.iter().map(|s| s.port).collect::<Vec<_>>();
        assert_eq!(ports(resolver.services("_xmpp-server._tcp.a.example").await.unwrap()), [1]);
        assert_eq!(ports(resolver.services("_xmpps-server._tcp.a.example").await.unwrap()), [2]);
        assert_eq!(resolver.addresses("127.0.0.2").await.unwrap(), [IpAddr::from([127, 0, 0, 2])]);
        assert!(matches!(resolver.addresses("b.example").await, Err(DnsError::Failed(_))));
    }
}
