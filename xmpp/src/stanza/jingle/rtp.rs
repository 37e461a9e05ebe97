//! RTP descriptions (XEP-0167) with feedback (XEP-0293), header extensions (XEP-0294) and sources (XEP-0339).

use super::{
    JingleFault, MAX_PARTS, MAX_PAYLOAD_TYPES, NS_HDREXT, NS_RTCP_FB, NS_RTP, NS_SSMA, Senders,
    full, number,
};
use crate::xml::Element;

/// A feedback message that may be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RtcpFeedback {
    /// `nack`, `ccm`.
    pub kind: String,
    /// `pli`, `fir`.
    pub subtype: Option<String>,
}

impl RtcpFeedback {
    fn from_element(element: &Element) -> Option<Self> {
        Some(Self {
            kind: element.attr("type")?.to_owned(),
            subtype: element.attr("subtype").map(str::to_owned),
        })
    }

    fn to_element(&self) -> Element {
        Element::new("rtcp-fb", NS_RTCP_FB)
            .with_attr("type", &*self.kind)
            .with_attr_opt("subtype", self.subtype.as_deref())
    }
}

/// A codec under its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadType {
    /// The number, 0 to 127.
    pub id: u8,
    /// The codec; empty for static numbers that were sent alone.
    pub name: String,
    /// Samples per second of its timestamps.
    pub clockrate: Option<u32>,
    /// Channels, 1 unless said.
    pub channels: u8,
    /// Milliseconds per packet.
    pub ptime: Option<u32>,
    /// At most so many.
    pub maxptime: Option<u32>,
    /// Name and value in the order written; a value alone has an empty name.
    pub parameters: Vec<(String, String)>,
    /// Feedback for this codec.
    pub feedback: Vec<RtcpFeedback>,
}

impl PayloadType {
    /// A codec with one channel and without parameters.
    pub fn new(id: u8, name: &str, clockrate: u32) -> Self {
        Self {
            id,
            name: name.into(),
            clockrate: Some(clockrate),
            channels: 1,
            ptime: None,
            maxptime: None,
            parameters: Vec::new(),
            feedback: Vec::new(),
        }
    }

    /// With one parameter more.
    #[must_use]
    pub fn with_parameter(mut self, name: &str, value: &str) -> Self {
        self.parameters.push((name.into(), value.into()));
        self
    }

    /// A parameter's value, names compared without case.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The parameters as SDP writes them: `a=1;b=2`, words without a name alone (`0-15`).
    pub fn fmtp(&self) -> String {
        let print = |(name, value): &(String, String)| match (name.as_str(), value.as_str()) {
            ("", word) | (word, "") => word.to_owned(),
            (name, value) => format!("{name}={value}"),
        };
        self.parameters.iter().map(print).collect::<Vec<_>>().join(";")
    }

    /// Reads a `<payload-type/>`; `None` when the number is none.
    fn from_element(element: &Element) -> Result<Option<Self>, JingleFault> {
        let Some(id) = number::<u8>(element, "id").filter(|id| *id < 128) else { return Ok(None) };
        let mut this = Self {
            id,
            name: element.attr("name").unwrap_or_default().trim().to_owned(),
            clockrate: number(element, "clockrate").filter(|c| *c > 0),
            channels: number(element, "channels").filter(|c| *c > 0).unwrap_or(1),
            ptime: number(element, "ptime"),
            maxptime: number(element, "maxptime"),
            parameters: Vec::new(),
            feedback: Vec::new(),
        };
        for child in element.elements() {
            match (child.name(), child.ns()) {
                ("parameter", _) => {
                    full(&this.parameters, MAX_PARTS, "parameters")?;
                    let attr = |name| child.attr(name).unwrap_or_default().trim().to_owned();
                    this.parameters.push((attr("name"), attr("value")));
                }
                ("rtcp-fb", NS_RTCP_FB) => {
                    full(&this.feedback, MAX_PARTS, "feedback messages")?;
                    this.feedback.extend(RtcpFeedback::from_element(child));
                }
                _ => {}
            }
        }
        Ok(Some(this))
    }

    fn to_element(&self) -> Element {
        let channels = (self.channels > 1).then(|| self.channels.to_string());
        let parameter = |(name, value): &(String, String)| {
            Element::new("parameter", NS_RTP)
                .with_attr("name", &**name)
                .with_attr("value", &**value)
        };
        Element::new("payload-type", NS_RTP)
            .with_attr_opt("channels", channels)
            .with_attr_opt("clockrate", self.clockrate.map(|c| c.to_string()))
            .with_attr("id", self.id.to_string())
            .with_attr_opt("maxptime", self.maxptime.map(|p| p.to_string()))
            .with_attr_opt("name", Some(&*self.name).filter(|n| !n.is_empty()))
            .with_attr_opt("ptime", self.ptime.map(|p| p.to_string()))
            .with_children(self.parameters.iter().map(parameter))
            .with_children(self.feedback.iter().map(RtcpFeedback::to_element))
    }
}

/// An RTP header extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderExtension {
    /// Its number.
    pub id: u16,
    /// What it is.
    pub uri: String,
    /// Who sends it.
    pub senders: Senders,
}

impl HeaderExtension {
    fn from_element(element: &Element) -> Option<Self> {
        Some(Self {
            id: number(element, "id")?,
            uri: element.attr("uri")?.to_owned(),
            senders: element.attr("senders").and_then(Senders::from_name).unwrap_or_default(),
        })
    }

    fn to_element(&self) -> Element {
        let senders = Some(self.senders).filter(|s| *s != Senders::Both);
        Element::new("rtp-hdrext", NS_HDREXT)
            .with_attr("id", self.id.to_string())
            .with_attr_opt("senders", senders.map(Senders::name))
            .with_attr("uri", &*self.uri)
    }
}

/// A stream with its attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The stream's number.
    pub ssrc: u32,
    /// Attributes such as `cname`.
    pub parameters: Vec<(String, Option<String>)>,
}

impl Source {
    fn from_element(element: &Element) -> Result<Option<Self>, JingleFault> {
        let Some(ssrc) = number(element, "ssrc") else { return Ok(None) };
        let mut parameters = Vec::new();
        for child in element.elements().filter(|e| e.name() == "parameter") {
            full(&parameters, MAX_PARTS, "source parameters")?;
            if let Some(name) = child.attr("name") {
                parameters.push((name.to_owned(), child.attr("value").map(str::to_owned)));
            }
        }
        Ok(Some(Self { ssrc, parameters }))
    }

    fn to_element(&self) -> Element {
        let parameter = |(name, value): &(String, Option<String>)| {
            Element::new("parameter", NS_SSMA)
                .with_attr("name", &**name)
                .with_attr_opt("value", value.as_deref())
        };
        Element::new("source", NS_SSMA)
            .with_attr("ssrc", self.ssrc.to_string())
            .with_children(self.parameters.iter().map(parameter))
    }
}

/// Streams that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceGroup {
    /// `FID`, `SIM`.
    pub semantics: String,
    /// The streams.
    pub sources: Vec<u32>,
}

impl SourceGroup {
    fn from_element(element: &Element) -> Option<Self> {
        let sources = element.elements().filter(|e| e.name() == "source");
        let sources = sources.filter_map(|e| number(e, "ssrc")).take(MAX_PARTS).collect();
        Some(Self { semantics: element.attr("semantics")?.to_owned(), sources })
    }

    fn to_element(&self) -> Element {
        let source =
            |ssrc: &u32| Element::new("source", NS_SSMA).with_attr("ssrc", ssrc.to_string());
        Element::new("ssrc-group", NS_SSMA)
            .with_attr("semantics", &*self.semantics)
            .with_children(self.sources.iter().map(source))
    }
}

/// What media is sent, in which codecs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RtpDescription {
    /// `audio`, `video`.
    pub media: String,
    /// The old way to name the one stream.
    pub ssrc: Option<u32>,
    /// Codecs, the preferred first.
    pub payload_types: Vec<PayloadType>,
    /// RTP and RTCP share a port.
    pub rtcp_mux: bool,
    /// SDES keys are offered; they are of no use beside DTLS.
    pub sdes_offered: bool,
    /// SDES keys are a must.
    pub sdes_required: bool,
    /// Feedback for all codecs.
    pub feedback: Vec<RtcpFeedback>,
    /// Header extensions.
    pub extensions: Vec<HeaderExtension>,
    /// One- and two-byte extension headers may be mixed.
    pub extmap_allow_mixed: bool,
    /// Streams.
    pub sources: Vec<Source>,
    /// Groups of streams.
    pub source_groups: Vec<SourceGroup>,
}

impl RtpDescription {
    /// Reads a `<description/>`; also the one in a `<propose/>`, which names only its media.
    ///
    /// # Errors
    ///
    /// [`JingleFault`] for too many parts.
    pub fn from_element(element: &Element) -> Result<Self, JingleFault> {
        let media = element.attr("media").unwrap_or("audio").trim().to_ascii_lowercase();
        let mut this = Self { media, ssrc: number(element, "ssrc"), ..Self::default() };
        let mut seen = 0;
        for child in element.elements() {
            match (child.name(), child.ns()) {
                ("payload-type", NS_RTP) => {
                    seen += 1;
                    if seen > MAX_PAYLOAD_TYPES {
                        return Err(JingleFault::TooMany("payload types"));
                    }
                    this.payload_types.extend(PayloadType::from_element(child)?);
                }
                ("rtcp-mux", _) => this.rtcp_mux = true,
                ("encryption", NS_RTP) => {
                    this.sdes_offered = child.child("crypto", NS_RTP).is_some();
                    this.sdes_required = matches!(child.attr("required"), Some("1" | "true"));
                }
                ("rtcp-fb", NS_RTCP_FB) => {
                    full(&this.feedback, MAX_PARTS, "feedback messages")?;
                    this.feedback.extend(RtcpFeedback::from_element(child));
                }
                ("rtp-hdrext", NS_HDREXT) => {
                    full(&this.extensions, MAX_PARTS, "header extensions")?;
                    this.extensions.extend(HeaderExtension::from_element(child));
                }
                ("extmap-allow-mixed", _) => this.extmap_allow_mixed = true,
                ("source", NS_SSMA) => {
                    full(&this.sources, MAX_PARTS, "sources")?;
                    this.sources.extend(Source::from_element(child)?);
                }
                ("ssrc-group", NS_SSMA) => {
                    full(&this.source_groups, MAX_PARTS, "source groups")?;
                    this.source_groups.extend(SourceGroup::from_element(child));
                }
                _ => {}
            }
        }
        Ok(this)
    }

    /// The `<description/>`. Keys of SDES are not written: this side speaks DTLS.
    pub fn to_element(&self) -> Element {
        let mut element = Element::new("description", NS_RTP)
            .with_attr("media", &*self.media)
            .with_attr_opt("ssrc", self.ssrc.map(|s| s.to_string()))
            .with_children(self.payload_types.iter().map(PayloadType::to_element))
            .with_children(self.feedback.iter().map(RtcpFeedback::to_element))
            .with_children(self.extensions.iter().map(HeaderExtension::to_element));
        if self.extmap_allow_mixed {
            element.push(Element::new("extmap-allow-mixed", NS_HDREXT));
        }
        element
            .with_children(self.sources.iter().map(Source::to_element))
            .with_children(self.source_groups.iter().map(SourceGroup::to_element))
            .with_children(self.rtcp_mux.then(|| Element::new("rtcp-mux", NS_RTP)))
    }
}
