//! RFC 3263 section 4 in tables: a URI, what the DNS knows, and the places in their order.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::Protocol::{Tcp, Tls, Udp};
use super::{Avoided, Found, Hop, Naptr, PAUSE, Protocol, Question, Search, Srv};
use crate::msg::Uri;

#[derive(Default)]
struct Names {
    naptr: HashMap<&'static str, Vec<Naptr>>,
    srv: HashMap<&'static str, Vec<Srv>>,
    addresses: HashMap<&'static str, Vec<&'static str>>,
}

impl Names {
    fn naptr(mut self, name: &'static str, records: &[(u16, u16, &str, &str)]) -> Self {
        let record = |(order, preference, service, replacement): &(u16, u16, &str, &str)| Naptr {
            order: *order,
            preference: *preference,
            flags: "s".into(),
            service: (*service).into(),
            replacement: (*replacement).into(),
        };
        self.naptr.insert(name, records.iter().map(record).collect());
        self
    }

    fn srv(mut self, name: &'static str, records: &[(u16, u16, u16, &str)]) -> Self {
        let record = |(priority, weight, port, target): &(u16, u16, u16, &str)| Srv {
            priority: *priority,
            weight: *weight,
            port: *port,
            target: (*target).into(),
        };
        self.srv.insert(name, records.iter().map(record).collect());
        self
    }

    fn host(mut self, name: &'static str, addresses: &[&'static str]) -> Self {
        self.addresses.insert(name, addresses.to_vec());
        self
    }

    fn find(&self, uri: &str, can: &[Protocol], random: u64) -> Option<Vec<Hop>> {
        let mut search = Search::new(&Uri::parse(uri).unwrap(), can, random)?;
        while let Some(question) = search.question() {
            search.answer(match question {
                Question::Naptr(name) => {
                    Found::Naptr(self.naptr.get(name.as_str()).cloned().unwrap_or_default())
                }
                Question::Srv(name) => {
                    Found::Srv(self.srv.get(name.as_str()).cloned().unwrap_or_default())
                }
                Question::Addresses(name) => {
                    let found = self.addresses.get(name.as_str()).cloned().unwrap_or_default();
                    Found::Addresses(found.into_iter().map(|ip| ip.parse().unwrap()).collect())
                }
            });
        }
        Some(search.hops())
    }

    /// `protocol address`, in order.
    fn lines(&self, uri: &str, can: &[Protocol]) -> Vec<String> {
        let hops = self.find(uri, can, 1).unwrap_or_default();
        hops.iter().map(|hop| format!("{} {}", hop.protocol, hop.address)).collect()
    }
}

const ALL: [Protocol; 3] = [Tls, Tcp, Udp];

/// The example of section 4.1, with two servers for one service.
fn example() -> Names {
    Names::default()
        .naptr(
            "example.com",
            &[
                (90, 50, "SIP+D2T", "_sip._tcp.example.com."),
                (50, 50, "SIPS+D2T", "_sips._tcp.example.com."),
                (100, 50, "SIP+D2U", "_sip._udp.example.com."),
                (10, 10, "E2U+email", "mail.example.com."),
            ],
        )
        .srv(
            "_sips._tcp.example.com",
            &[(0, 1, 5061, "s1.example.com."), (1, 1, 5081, "s2.example.com.")],
        )
        .srv("_sip._tcp.example.com", &[(0, 1, 5060, "s1.example.com.")])
        .srv("_sip._udp.example.com", &[(0, 1, 5060, "s1.example.com.")])
        .host("s1.example.com", &["192.0.2.1", "2001:db8::1"])
        .host("s2.example.com", &["192.0.2.2"])
        .host("example.com", &["192.0.2.9"])
}

#[test]
fn naptr_decides_the_transport_and_srv_the_hosts() {
    let rows: &[(&str, &[Protocol], &[&str])] = &[
        (
            "sip:a@example.com",
            &ALL,
            &[
                "tls 192.0.2.1:5061",
                "tls [2001:db8::1]:5061",
                "tls 192.0.2.2:5081",
                "tcp 192.0.2.1:5060",
                "tcp [2001:db8::1]:5060",
                "udp 192.0.2.1:5060",
                "udp [2001:db8::1]:5060",
            ],
        ),
        ("sip:a@example.com", &[Udp], &["udp 192.0.2.1:5060", "udp [2001:db8::1]:5060"]),
        (
            "sips:a@EXAMPLE.com.",
            &ALL,
            &["tls 192.0.2.1:5061", "tls [2001:db8::1]:5061", "tls 192.0.2.2:5081"],
        ),
    ];
    for (uri, can, expected) in rows {
        assert_eq!(example().lines(uri, can), *expected, "{uri} {can:?}");
    }
}

#[test]
fn what_the_uri_says_is_not_asked_for() {
    let rows: &[(&str, &[&str])] = &[
        // Section 4.1: an address is no name; UDP for sip, TLS for sips.
        ("sip:a@192.0.2.7", &["udp 192.0.2.7:5060"]),
        ("sip:a@[2001:db8::7]:5070", &["udp [2001:db8::7]:5070"]),
        ("sips:a@192.0.2.7", &["tls 192.0.2.7:5061"]),
        ("sip:a@192.0.2.7;transport=tcp", &["tcp 192.0.2.7:5060"]),
        ("sip:a@192.0.2.7;transport=tls", &["tls 192.0.2.7:5061"]),
        // A port: addresses alone.
        ("sip:a@example.com:5080", &["udp 192.0.2.9:5080"]),
        ("sip:a@example.com:5080;transport=tcp", &["tcp 192.0.2.9:5080"]),
        ("sips:a@example.com:5080", &["tls 192.0.2.9:5080"]),
        // A transport: its SRV records.
        ("sip:a@example.com;transport=udp", &["udp 192.0.2.1:5060", "udp [2001:db8::1]:5060"]),
        (
            "sips:a@example.com;transport=tcp",
            &["tls 192.0.2.1:5061", "tls [2001:db8::1]:5061", "tls 192.0.2.2:5081"],
        ),
        // maddr goes before the host.
        ("sip:a@example.com;maddr=192.0.2.33", &["udp 192.0.2.33:5060"]),
        ("sip:a@example.com;maddr=s2.example.com;transport=tcp", &["tcp 192.0.2.2:5060"]),
    ];
    for (uri, expected) in rows {
        assert_eq!(example().lines(uri, &ALL), *expected, "{uri}");
    }
}

#[test]
fn without_records_the_next_best_ones_are_asked_for() {
    let srv_only = Names::default()
        .srv("_sip._tcp.b.example", &[(0, 0, 5070, "h.b.example")])
        .srv("_sip._udp.b.example", &[(0, 0, 5071, "h.b.example")])
        .host("h.b.example", &["192.0.2.3"]);
    assert_eq!(srv_only.lines("sip:b.example", &ALL), ["tcp 192.0.2.3:5070", "udp 192.0.2.3:5071"]);
    let host_only = Names::default().host("c.example", &["192.0.2.4"]);
    assert_eq!(host_only.lines("sip:c.example", &ALL), ["udp 192.0.2.4:5060"]);
    assert_eq!(host_only.lines("sips:c.example", &ALL), ["tls 192.0.2.4:5061"]);
    assert_eq!(host_only.lines("sip:c.example;transport=tcp", &ALL), ["tcp 192.0.2.4:5060"]);
    assert_eq!(Names::default().lines("sip:d.example", &ALL), [""; 0]);
}

#[test]
fn a_service_that_is_not_there_and_unknown_ones_are_left_out() {
    let none = Names::default()
        .naptr(
            "e.example",
            &[(1, 1, "SIP+D2X", "x.e.example"), (2, 1, "SIP+D2W", "_sip._ws.e.example")],
        )
        .srv("_sip._tcp.e.example", &[(0, 0, 0, ".")])
        .srv("_sip._udp.e.example", &[(0, 0, 5062, "h.e.example")])
        .host("h.e.example", &["192.0.2.5"]);
    assert_eq!(none.lines("sip:e.example", &ALL), ["udp 192.0.2.5:5062"]);
    for uri in [
        "sip:a@e.example;transport=ws",
        "sip:a@e.example;transport=sctp",
        "tel:+49301",
        "sips:a@e.example;transport=udp",
    ] {
        assert_eq!(Names::default().find(uri, &ALL, 1), None, "{uri}");
    }
    assert_eq!(
        Names::default().find("sips:a@e.example", &[Udp, Tcp], 1),
        None,
        "never less than asked for"
    );
}

/// RFC 2782: the share of those of one priority is their weight.
#[test]
fn weights_are_shares() {
    let names = Names::default()
        .srv(
            "_sip._udp.f.example",
            &[(0, 30, 1, "h.f.example"), (0, 10, 2, "h.f.example"), (0, 0, 3, "h.f.example")],
        )
        .host("h.f.example", &["192.0.2.6"]);
    let mut first = [0; 4];
    for random in 0..4_000 {
        let hops = names.find("sip:f.example;transport=udp", &[Udp], random * 7_919).unwrap();
        assert_eq!(hops.len(), 3, "none is lost");
        first[usize::from(hops[0].address.port())] += 1;
    }
    assert!((2_600..3_200).contains(&first[1]), "{first:?}");
    assert!((800..1_200).contains(&first[2]), "{first:?}");
    assert!((1..300).contains(&first[3]), "{first:?}");
}

/// A domain may not make us ask without end.
#[test]
fn questions_and_hops_are_bounded() {
    let many: Vec<(u16, u16, u16, String)> =
        (0..200).map(|n| (n, 0, 5060, format!("h{n}.g.example"))).collect();
    let records: Vec<(u16, u16, u16, &str)> =
        many.iter().map(|(p, w, port, host)| (*p, *w, *port, host.as_str())).collect();
    let names = Names::default().srv("_sip._udp.g.example", &records);
    let mut search =
        Search::new(&Uri::parse("sip:g.example;transport=udp").unwrap(), &ALL, 1).unwrap();
    let mut asked = 0;
    while let Some(question) = search.question() {
        asked += 1;
        search.answer(match question {
            Question::Srv(name) => {
                Found::Srv(names.srv.get(name.as_str()).cloned().unwrap_or_default())
            }
            _ => Found::Addresses(Vec::new()),
        });
    }
    assert!(asked <= 24, "{asked}");
    assert!(search.hops().is_empty());
}

/// RFC 5922 section 4: the certificate is for the domain that was asked for, whatever hosts DNS gave.
#[test]
fn the_name_to_be_proven_is_that_of_the_uri() {
    let hops = example().find("sips:a@Example.com", &ALL, 1).unwrap();
    assert!(hops.iter().all(|hop| hop.name == "example.com"), "{hops:?}");
}

/// Section 4.3.
#[test]
#[allow(clippy::disallowed_methods)] // an origin for virtual time
fn who_did_not_answer_is_tried_last_for_a_while() {
    let (start, hop) = (Instant::now(), |port: u16| Hop {
        protocol: Tcp,
        address: ([192, 0, 2, 1], port).into(),
        name: "h".into(),
    });
    let mut avoided = Avoided::default();
    avoided.add(Tcp, hop(1).address, PAUSE, start);
    let ports = |avoided: &Avoided, now| {
        let mut hops = [hop(1), hop(2), hop(3)];
        avoided.sort(&mut hops, now);
        hops.map(|hop| hop.address.port())
    };
    assert_eq!(ports(&avoided, start), [2, 3, 1]);
    assert_eq!(ports(&avoided, start + PAUSE), [1, 2, 3]);
    avoided.add(Tcp, hop(2).address, Duration::from_secs(1 << 40), start);
    assert_eq!(
        ports(&avoided, start + Duration::from_secs(601)),
        [1, 2, 3],
        "no Retry-After is for ever"
    );
    avoided.add(Tcp, hop(1).address, PAUSE, start);
    avoided.forgive(Tcp, hop(1).address);
    assert_eq!(ports(&avoided, start), [1, 3, 2]);
}
