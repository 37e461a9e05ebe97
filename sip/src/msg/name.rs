//! Header field names (RFC 3261 section 7.3): compared without case, long and compact forms being one name.

/// Which header field a name means. `Other` is any name that this crate does not read itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // each variant is the header field it is called after
pub enum Name {
    Via,
    From,
    To,
    CallId,
    CSeq,
    Contact,
    MaxForwards,
    ContentLength,
    ContentType,
    Route,
    RecordRoute,
    Authorization,
    ProxyAuthorization,
    WwwAuthenticate,
    ProxyAuthenticate,
    AuthenticationInfo,
    Allow,
    Supported,
    Require,
    ProxyRequire,
    Unsupported,
    Accept,
    AcceptEncoding,
    AcceptLanguage,
    UserAgent,
    Server,
    Expires,
    MinExpires,
    Path,
    ServiceRoute,
    Event,
    AllowEvents,
    SubscriptionState,
    Reason,
    RetryAfter,
    Warning,
    Date,
    RAck,
    RSeq,
    SessionExpires,
    MinSe,
    ReferTo,
    ReferredBy,
    Replaces,
    ContentEncoding,
    ContentDisposition,
    ContentLanguage,
    Subject,
    Timestamp,
    Organization,
    Priority,
    MimeVersion,
    SipEtag,
    SipIfMatch,
    PAssertedIdentity,
    PPreferredIdentity,
    Privacy,
    Identity,
    AcceptContact,
    RejectContact,
    RequestDisposition,
    Join,
    ReferSub,
    TargetDialog,
    FlowTimer,
    CallInfo,
    AlertInfo,
    ErrorInfo,
    AnswerMode,
    PrivAnswerMode,
    Diversion,
    HistoryInfo,
    SecurityClient,
    SecurityServer,
    SecurityVerify,
    SessionId,
    MaxBreadth,
    InfoPackage,
    RecvInfo,
    SuppressIfMatch,
    Other,
}

/// Every known name in the spelling of its RFC, the frequent ones first; each at the place of its variant.
const LONG: &[(&str, Name)] = &[
    ("Via", Name::Via),
    ("From", Name::From),
    ("To", Name::To),
    ("Call-ID", Name::CallId),
    ("CSeq", Name::CSeq),
    ("Contact", Name::Contact),
    ("Max-Forwards", Name::MaxForwards),
    ("Content-Length", Name::ContentLength),
    ("Content-Type", Name::ContentType),
    ("Route", Name::Route),
    ("Record-Route", Name::RecordRoute),
    ("Authorization", Name::Authorization),
    ("Proxy-Authorization", Name::ProxyAuthorization),
    ("WWW-Authenticate", Name::WwwAuthenticate),
    ("Proxy-Authenticate", Name::ProxyAuthenticate),
    ("Authentication-Info", Name::AuthenticationInfo),
    ("Allow", Name::Allow),
    ("Supported", Name::Supported),
    ("Require", Name::Require),
    ("Proxy-Require", Name::ProxyRequire),
    ("Unsupported", Name::Unsupported),
    ("Accept", Name::Accept),
    ("Accept-Encoding", Name::AcceptEncoding),
    ("Accept-Language", Name::AcceptLanguage),
    ("User-Agent", Name::UserAgent),
    ("Server", Name::Server),
    ("Expires", Name::Expires),
    ("Min-Expires", Name::MinExpires),
    ("Path", Name::Path),
    ("Service-Route", Name::ServiceRoute),
    ("Event", Name::Event),
    ("Allow-Events", Name::AllowEvents),
    ("Subscription-State", Name::SubscriptionState),
    ("Reason", Name::Reason),
    ("Retry-After", Name::RetryAfter),
    ("Warning", Name::Warning),
    ("Date", Name::Date),
    ("RAck", Name::RAck),
    ("RSeq", Name::RSeq),
    ("Session-Expires", Name::SessionExpires),
    ("Min-SE", Name::MinSe),
    ("Refer-To", Name::ReferTo),
    ("Referred-By", Name::ReferredBy),
    ("Replaces", Name::Replaces),
    ("Content-Encoding", Name::ContentEncoding),
    ("Content-Disposition", Name::ContentDisposition),
    ("Content-Language", Name::ContentLanguage),
    ("Subject", Name::Subject),
    ("Timestamp", Name::Timestamp),
    ("Organization", Name::Organization),
    ("Priority", Name::Priority),
    ("MIME-Version", Name::MimeVersion),
    ("SIP-ETag", Name::SipEtag),
    ("SIP-If-Match", Name::SipIfMatch),
    ("P-Asserted-Identity", Name::PAssertedIdentity),
    ("P-Preferred-Identity", Name::PPreferredIdentity),
    ("Privacy", Name::Privacy),
    ("Identity", Name::Identity),
    ("Accept-Contact", Name::AcceptContact),
    ("Reject-Contact", Name::RejectContact),
    ("Request-Disposition", Name::RequestDisposition),
    ("Join", Name::Join),
    ("Refer-Sub", Name::ReferSub),
    ("Target-Dialog", Name::TargetDialog),
    ("Flow-Timer", Name::FlowTimer),
    ("Call-Info", Name::CallInfo),
    ("Alert-Info", Name::AlertInfo),
    ("Error-Info", Name::ErrorInfo),
    ("Answer-Mode", Name::AnswerMode),
    ("Priv-Answer-Mode", Name::PrivAnswerMode),
    ("Diversion", Name::Diversion),
    ("History-Info", Name::HistoryInfo),
    ("Security-Client", Name::SecurityClient),
    ("Security-Server", Name::SecurityServer),
    ("Security-Verify", Name::SecurityVerify),
    ("Session-ID", Name::SessionId),
    ("Max-Breadth", Name::MaxBreadth),
    ("Info-Package", Name::InfoPackage),
    ("Recv-Info", Name::RecvInfo),
    ("Suppress-If-Match", Name::SuppressIfMatch),
];

impl Name {
    /// Which field `name` means, long or compact.
    pub fn of(name: &[u8]) -> Name {
        if let [letter] = name {
            return Name::of_compact(letter.to_ascii_lowercase());
        }
        LONG.iter()
            .find(|(long, _)| {
                long.len() == name.len() && long.as_bytes().eq_ignore_ascii_case(name)
            })
            .map_or(Name::Other, |(_, id)| *id)
    }

    /// The long form; empty for `Other`.
    pub fn as_str(self) -> &'static str {
        LONG.get(self as usize).map_or("", |(long, _)| long)
    }

    fn of_compact(letter: u8) -> Name {
        match letter {
            b'a' => Name::AcceptContact,
            b'b' => Name::ReferredBy,
            b'c' => Name::ContentType,
            b'd' => Name::RequestDisposition,
            b'e' => Name::ContentEncoding,
            b'f' => Name::From,
            b'i' => Name::CallId,
            b'j' => Name::RejectContact,
            b'k' => Name::Supported,
            b'l' => Name::ContentLength,
            b'm' => Name::Contact,
            b'o' => Name::Event,
            b'r' => Name::ReferTo,
            b's' => Name::Subject,
            b't' => Name::To,
            b'u' => Name::AllowEvents,
            b'v' => Name::Via,
            b'x' => Name::SessionExpires,
            b'y' => Name::Identity,
            _ => Name::Other,
        }
    }
}

/// Something that names a header field: a [`Name`] or its text.
pub trait AsName {
    /// The known field, or `Other`.
    fn id(&self) -> Name;
    /// The text to write.
    fn text(&self) -> &str;
}

impl AsName for Name {
    fn id(&self) -> Name {
        *self
    }
    fn text(&self) -> &str {
        self.as_str()
    }
}

impl AsName for &str {
    fn id(&self) -> Name {
        Name::of(self.as_bytes())
    }
    fn text(&self) -> &str {
        self
    }
}

impl AsName for &String {
    fn id(&self) -> Name {
        Name::of(self.as_bytes())
    }
    fn text(&self) -> &str {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_at_the_place_of_its_variant() {
        for (at, (long, id)) in LONG.iter().enumerate() {
            assert_eq!(*id as usize, at, "{long}");
            assert_eq!(Name::of(long.as_bytes()).as_str(), *long);
        }
        assert_eq!(Name::Other as usize, LONG.len());
        assert_eq!(Name::Other.as_str(), "");
    }
}
