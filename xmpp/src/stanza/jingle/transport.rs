//! The ICE transport (XEP-0176) with its DTLS fingerprints (XEP-0320).

use std::net::IpAddr;

use super::{JingleFault, MAX_CANDIDATES, MAX_PARTS, NS_DTLS, NS_ICE, NS_ICE_UDP, full, number};
use crate::xml::Element;

/// Longest user fragment or password (RFC 8839 section 5.4).
const MAX_CREDENTIAL: usize = 256;
/// Longest other word of a candidate or fingerprint; a SHA-512 fingerprint has 191 characters.
const MAX_WORD: usize = 256;

/// Who begins the DTLS handshake (RFC 8842).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Setup {
    /// The writer of this begins.
    Active,
    /// The other side begins.
    Passive,
    /// The answerer chooses.
    Actpass,
}

impl Setup {
    /// The wire word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Passive => "passive",
            Self::Actpass => "actpass",
        }
    }

    /// From the wire word.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Active, Self::Passive, Self::Actpass].into_iter().find(|s| s.name() == name)
    }
}

/// The hash of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// `sha-256`, in lower case.
    pub hash: String,
    /// The role; missing in some clients' `transport-info`.
    pub setup: Option<Setup>,
    /// Upper-case hex pairs with colons.
    pub value: String,
}

impl Fingerprint {
    fn from_element(element: &Element) -> Option<Self> {
        let value = element.text().trim().to_ascii_uppercase();
        let is_hex = !value.is_empty()
            && value.split(':').all(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit()));
        if !is_hex || value.len() > MAX_WORD {
            return None;
        }
        Some(Self {
            hash: word(element, "hash")?.to_ascii_lowercase(),
            setup: element.attr("setup").and_then(|s| Setup::from_name(s.trim())),
            value,
        })
    }

    fn to_element(&self) -> Element {
        Element::new("fingerprint", NS_DTLS)
            .with_attr("hash", &*self.hash)
            .with_attr_opt("setup", self.setup.map(Setup::name))
            .with_text(&self.value)
    }
}

/// A place where packets may be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// 1 for RTP, 2 for RTCP.
    pub component: u8,
    /// Groups candidates of one base and server.
    pub foundation: String,
    /// Which ICE generation it belongs to.
    pub generation: u32,
    /// Names it in this session; SDP has no such thing.
    pub id: String,
    /// The address.
    pub ip: IpAddr,
    /// Which network of the host.
    pub network: u32,
    /// The port.
    pub port: u16,
    /// By RFC 8445 section 5.1.2.
    pub priority: u32,
    /// `udp`; others are kept so that they can be skipped knowingly.
    pub protocol: String,
    /// The base of a reflexive candidate.
    pub related: Option<(IpAddr, u16)>,
    /// `host`, `srflx`, `prflx` or `relay`.
    pub kind: String,
    /// `active`, `passive` or `so` where the protocol is TCP.
    pub tcptype: Option<String>,
}

impl Candidate {
    /// Reads a `<candidate/>`; `None` for one that cannot be used, such as a name of mDNS instead of an address.
    pub fn from_element(element: &Element) -> Option<Self> {
        let ip = element.attr("ip")?.trim().parse().ok()?;
        let related_ip = element.attr("rel-addr").and_then(|a| a.trim().parse().ok());
        let kind = word(element, "type").unwrap_or_else(|| "host".into());
        Some(Self {
            component: number(element, "component")?,
            foundation: word(element, "foundation").unwrap_or_else(|| "1".into()),
            generation: number(element, "generation").unwrap_or(0),
            id: word(element, "id").unwrap_or_default(),
            ip,
            network: number(element, "network").unwrap_or(0),
            port: number(element, "port")?,
            priority: number(element, "priority")?,
            protocol: word(element, "protocol")
                .unwrap_or_else(|| "udp".into())
                .to_ascii_lowercase(),
            related: related_ip.zip(number(element, "rel-port")),
            kind: kind.to_ascii_lowercase(),
            tcptype: word(element, "tcptype"),
        })
    }

    /// The `<candidate/>`.
    pub fn to_element(&self) -> Element {
        Element::new("candidate", NS_ICE_UDP)
            .with_attr("component", self.component.to_string())
            .with_attr("foundation", &*self.foundation)
            .with_attr("generation", self.generation.to_string())
            .with_attr("id", &*self.id)
            .with_attr("ip", self.ip.to_string())
            .with_attr("network", self.network.to_string())
            .with_attr("port", self.port.to_string())
            .with_attr("priority", self.priority.to_string())
            .with_attr("protocol", &*self.protocol)
            .with_attr_opt("rel-addr", self.related.map(|(ip, _)| ip.to_string()))
            .with_attr_opt("rel-port", self.related.map(|(_, port)| port.to_string()))
            .with_attr_opt("tcptype", self.tcptype.as_deref())
            .with_attr("type", &*self.kind)
    }
}

/// The transport of one content.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IceUdp {
    /// User fragment.
    pub ufrag: Option<String>,
    /// Password.
    pub pwd: Option<String>,
    /// Certificates.
    pub fingerprints: Vec<Fingerprint>,
    /// Candidates that could be read.
    pub candidates: Vec<Candidate>,
    /// RTP and RTCP share a port; some clients write it here instead of in the description.
    pub rtcp_mux: bool,
    /// No more candidates will follow (XEP-0371 section 5.7).
    pub complete: bool,
}

impl IceUdp {
    /// Reads a `<transport/>`.
    ///
    /// # Errors
    ///
    /// [`JingleFault`] for too many candidates or over-long credentials.
    pub fn from_element(element: &Element) -> Result<Self, JingleFault> {
        let credential = |name| match element.attr(name).filter(|v| !v.is_empty()) {
            Some(value) if value.len() > MAX_CREDENTIAL => Err(JingleFault::Missing("credentials")),
            value => Ok(value.map(str::to_owned)),
        };
        let mut transport =
            Self { ufrag: credential("ufrag")?, pwd: credential("pwd")?, ..Self::default() };
        let mut seen = 0;
        for child in element.elements() {
            match (child.name(), child.ns()) {
                ("candidate", NS_ICE_UDP | NS_ICE) => {
                    seen += 1;
                    if seen > MAX_CANDIDATES {
                        return Err(JingleFault::TooMany("candidates"));
                    }
                    transport.candidates.extend(Candidate::from_element(child));
                }
                ("fingerprint", _) => {
                    full(&transport.fingerprints, MAX_PARTS, "fingerprints")?;
                    transport.fingerprints.extend(Fingerprint::from_element(child));
                }
                ("rtcp-mux", _) => transport.rtcp_mux = true,
                ("gathering-complete", _) => transport.complete = true,
                _ => {}
            }
        }
        Ok(transport)
    }

    /// The `<transport/>`. `rtcp-mux` belongs to the description and is not written here.
    pub fn to_element(&self) -> Element {
        Element::new("transport", NS_ICE_UDP)
            .with_attr_opt("pwd", self.pwd.as_deref())
            .with_attr_opt("ufrag", self.ufrag.as_deref())
            .with_children(self.fingerprints.iter().map(Fingerprint::to_element))
            .with_children(self.candidates.iter().map(Candidate::to_element))
    }
}

/// A short word in an attribute, without spaces.
fn word(element: &Element, name: &str) -> Option<String> {
    let value = element.attr(name)?.trim();
    let fits = !value.is_empty() && value.len() <= MAX_WORD && !value.contains(char::is_whitespace);
    fits.then(|| value.to_owned())
}
