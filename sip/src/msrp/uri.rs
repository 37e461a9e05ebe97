//! MSRP URIs (RFC 4975 sections 6 and 9).

use std::fmt;

/// Longest URI read, in bytes.
const MAX: usize = 512;

/// `msrp://host:port/session;tcp`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MsrpUri {
    /// `msrps`: over TLS.
    pub is_secure: bool,
    /// Host as written; an IPv6 address in brackets.
    pub host: String,
    /// Port; `None`: 2855.
    pub port: Option<u16>,
    /// Names the session at its host.
    pub session: String,
    /// Transport and what follows it.
    pub params: String,
}

impl MsrpUri {
    /// The URI of a session of ours.
    pub fn new(is_secure: bool, host: impl fmt::Display, port: u16, session: &str) -> Self {
        let (host, session) = (host.to_string(), session.to_owned());
        let host =
            if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host };
        Self { is_secure, host, port: Some(port), session, params: "tcp".into() }
    }

    /// Reads one; `None` if it is none, or has no session or transport.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://").filter(|_| text.len() <= MAX)?;
        let is_secure = match scheme.to_ascii_lowercase().as_str() {
            "msrp" => false,
            "msrps" => true,
            _ => return None,
        };
        let (rest, params) = rest.split_once(';')?;
        let (authority, session) = rest.split_once('/').unwrap_or((rest, ""));
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse().ok()?)),
            _ => (authority, None),
        };
        let is_word = |s: &str, more: &[u8]| {
            s.bytes().all(|b| b.is_ascii_alphanumeric() || more.contains(&b))
        };
        if host.is_empty()
            || !is_word(host, b".-_:[]")
            || !is_word(session, b"-._~+=/")
            || params.is_empty()
            || !is_word(params, b"-_.~!%*+`'=;")
        {
            return None;
        }
        let (host, session, params) = (host.to_owned(), session.to_owned(), params.to_owned());
        Some(Self { is_secure, host, port, session, params })
    }

    /// Reads a path: URIs with spaces between.
    pub fn path(text: &str) -> Option<Vec<Self>> {
        let path: Option<Vec<_>> =
            text.split_ascii_whitespace().take(16).map(Self::parse).collect();
        path.filter(|path| !path.is_empty())
    }

    /// Whether both name the same session: scheme and session exactly, host and transport without case (section 6.1).
    pub fn is_same(&self, other: &Self) -> bool {
        let transport =
            |uri: &Self| uri.params.split(';').next().unwrap_or_default().to_ascii_lowercase();
        self.is_secure == other.is_secure
            && self.host.eq_ignore_ascii_case(&other.host)
            && self.port.unwrap_or(DEFAULT_PORT) == other.port.unwrap_or(DEFAULT_PORT)
            && self.session == other.session
            && transport(self) == transport(other)
    }

    /// Host and port to connect to.
    pub fn place(&self) -> (String, u16) {
        let host = self.host.trim_start_matches('[').trim_end_matches(']').to_owned();
        (host, self.port.unwrap_or(DEFAULT_PORT))
    }
}

/// The port of a URI without one (section 6).
pub const DEFAULT_PORT: u16 = 2855;

impl fmt::Display for MsrpUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.is_secure { "msrps" } else { "msrp" }, self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        write!(f, "/{};{}", self.session, self.params)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_of_rfc_4975_and_others() {
        for (text, host, port, session) in [
            (
                "msrp://atlanta.example.com:7654/jshA7weztas;tcp",
                "atlanta.example.com",
                Some(7654),
                "jshA7weztas",
            ),
            ("msrps://alice@[2001:db8::1]:9000/si/d;tcp;x=y", "[2001:db8::1]", Some(9000), "si/d"),
            ("MSRP://h/s;tcp", "h", None, "s"),
            ("msrp://[::1]/s;tcp", "[::1]", None, "s"),
        ] {
            let uri = MsrpUri::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((&*uri.host, uri.port, &*uri.session), (host, port, session));
            assert_eq!(MsrpUri::parse(&uri.to_string()), Some(uri));
        }
        for bad in [
            "",
            "msrp://h/s",
            "sip://h/s;tcp",
            "msrp:///s;tcp",
            "msrp://h:x/s;tcp",
            "msrp://h/s;tcp\r\nX: y",
            "msrp://h o/s;tcp",
        ] {
            assert_eq!(MsrpUri::parse(bad), None, "{bad}");
        }
        let long = format!("msrp://h/{};tcp", "s".repeat(MAX));
        assert_eq!(MsrpUri::parse(&long), None);
    }

    #[test]
    fn comparison_knows_what_has_case() {
        let same =
            |a: &str, b: &str| MsrpUri::parse(a).unwrap().is_same(&MsrpUri::parse(b).unwrap());
        assert!(same("msrp://Host:2855/s;tcp", "msrp://hOST/s;TCP;a=b"));
        assert!(!same("msrp://h/s;tcp", "msrp://h/S;tcp"));
        assert!(!same("msrp://h/s;tcp", "msrps://h/s;tcp"));
        assert!(!same("msrp://h/s;tcp", "msrp://h:1/s;tcp"));
    }
}
