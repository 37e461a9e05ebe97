//! SIP, SIPS and tel URIs (RFC 3261 section 19.1, RFC 3966); other schemes are kept whole.

use std::fmt;

use super::host::{self, Host, HostRef};
use super::params::Params;
use super::scan::{self, Class};

/// What a URI's scheme is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `sip:`
    Sip,
    /// `sips:`
    Sips,
    /// `tel:`: the number is in `user`, its parameters in `params`.
    Tel,
    /// Any other, in lower case; what follows the colon is in `user`, unread.
    Other(String),
}

impl Scheme {
    /// The scheme's name, without the colon.
    pub fn as_str(&self) -> &str {
        match self {
            Scheme::Sip => "sip",
            Scheme::Sips => "sips",
            Scheme::Tel => "tel",
            Scheme::Other(name) => name,
        }
    }
}

/// A URI. `==` compares what is written; [`Uri::is_same`] compares as RFC 3261 section 19.1.4 asks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Uri {
    /// The scheme.
    pub scheme: Scheme,
    /// The part before `@`, escapes kept (see [`Uri::user_decoded`]); the number of a `tel:`; all of an unknown scheme.
    pub user: Option<String>,
    /// The password, escapes kept. Never written by us; RFC 3261 advises against it.
    pub password: Option<String>,
    /// The host; [`Host::None`] except for SIP and SIPS.
    pub host: Host,
    /// The port, where written.
    pub port: Option<u16>,
    /// The URI parameters.
    pub params: Params,
    /// What follows `?`, as written, escapes kept.
    pub headers: Option<String>,
}

/// A text that is no URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed URI")]
pub struct UriError;

impl Uri {
    /// A `sip:` URI of a user (text, escaped here) and a host.
    pub fn sip(user: Option<&str>, host: Host) -> Uri {
        Uri {
            scheme: Scheme::Sip,
            user: user.map(escape_user),
            password: None,
            host,
            port: None,
            params: Params::new(),
            headers: None,
        }
    }

    /// Reads a URI. Nothing may stand before or behind it.
    ///
    /// # Errors
    /// Characters that may not stand unescaped, an escape that is not one, a bad host or port.
    pub fn parse(text: &str) -> Result<Uri, UriError> {
        RawUri::split(text).map(|raw| raw.to_uri()).ok_or(UriError)
    }

    /// The user with its escapes decoded once; `None` when absent or not UTF-8 afterwards.
    pub fn user_decoded(&self) -> Option<String> {
        String::from_utf8(scan::percent_decode(self.user.as_deref()?)).ok()
    }

    /// The value of a URI parameter, as written (`uri.param("gr")`).
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.get(name)
    }

    /// Whether the scheme is `sip` or `sips`.
    pub fn is_sip(&self) -> bool {
        matches!(self.scheme, Scheme::Sip | Scheme::Sips)
    }

    /// The address of record: scheme, user and host only (RFC 3261 section 10.3 step 5), and a port where written.
    pub fn aor(&self) -> Uri {
        Uri { password: None, params: Params::new(), headers: None, ..self.clone() }
    }

    /// Equality by RFC 3261 section 19.1.4.
    pub fn is_same(&self, other: &Uri) -> bool {
        // A parameter that stands twice, which none may, would differ from itself.
        if self == other {
            return true;
        }
        self.scheme == other.scheme
            && self.is_same_user(other)
            && same_escaped(self.password.as_deref(), other.password.as_deref())
            && self.host.is_same(&other.host)
            && self.port == other.port
            && same_params(&self.params, &other.params)
            && same_params(&other.params, &self.params)
            && same_headers(self.headers.as_deref(), other.headers.as_deref())
    }

    fn is_same_user(&self, other: &Uri) -> bool {
        match (&self.scheme, self.user.as_deref(), other.user.as_deref()) {
            (Scheme::Tel, Some(a), Some(b)) => {
                let digits = |text: &str| -> String {
                    text.chars()
                        .filter(|c| !matches!(c, '-' | '.' | '(' | ')'))
                        .map(|c| c.to_ascii_lowercase())
                        .collect()
                };
                digits(a) == digits(b)
            }
            (_, a, b) => same_escaped(a, b),
        }
    }
}

/// Parameters that must be equal or absent on both sides; any other counts only where both have it.
const STRICT: [&str; 4] = ["user", "ttl", "method", "maddr"];

fn same_params(one: &Params, other: &Params) -> bool {
    one.iter().all(|(name, value)| {
        if !other.has(name) {
            // `transport` in one only makes two URIs differ: an address without it may resolve elsewhere.
            return !STRICT
                .iter()
                .chain(&["transport", "gr"])
                .any(|strict| strict.eq_ignore_ascii_case(name));
        }
        match (value, other.get(name)) {
            (Some(a), Some(b)) => {
                let decode = |text: &str| scan::percent_decode(text).to_ascii_lowercase();
                decode(a) == decode(b)
            }
            (a, b) => a.is_none() && b.is_none(),
        }
    })
}

fn same_escaped(one: Option<&str>, other: Option<&str>) -> bool {
    match (one, other) {
        (Some(a), Some(b)) => a == b || scan::percent_decode(a) == scan::percent_decode(b),
        (a, b) => a.is_none() && b.is_none(),
    }
}

/// The header part compares as a set.
fn same_headers(one: Option<&str>, other: Option<&str>) -> bool {
    let sorted = |text: Option<&str>| {
        let mut parts: Vec<(Vec<u8>, Vec<u8>)> = text
            .unwrap_or_default()
            .split('&')
            .map(|part| part.split_once('=').unwrap_or((part, "")))
            .map(|(name, value)| {
                (scan::percent_decode(name).to_ascii_lowercase(), scan::percent_decode(value))
            })
            .collect();
        parts.sort();
        parts
    };
    one == other || sorted(one) == sorted(other)
}

/// Text as a URI's user: every byte that may not stand there becomes `%HH`.
pub fn escape_user(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// A checked URI that still borrows its text: checking a message allocates nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawUri<'a> {
    scheme: RawScheme<'a>,
    user: Option<&'a str>,
    password: Option<&'a str>,
    host: Option<HostRef<'a>>,
    port: Option<u16>,
    params: &'a str,
    pub(crate) headers: Option<&'a str>,
}

#[derive(Debug, Clone, Copy)]
enum RawScheme<'a> {
    Sip,
    Sips,
    Tel,
    Other(&'a str),
}

impl<'a> RawUri<'a> {
    pub(crate) fn split(text: &'a str) -> Option<RawUri<'a>> {
        if !URI.has_all(text) {
            return None;
        }
        let (scheme, rest) = scan::split_once(text, b':')?;
        if rest.is_empty() || !is_scheme(scheme) {
            return None;
        }
        let bare = |scheme| RawUri {
            scheme,
            user: Some(rest),
            password: None,
            host: None,
            port: None,
            params: "",
            headers: None,
        };
        match scheme {
            _ if scheme.eq_ignore_ascii_case("sip") => Self::split_sip(RawScheme::Sip, rest),
            _ if scheme.eq_ignore_ascii_case("sips") => Self::split_sip(RawScheme::Sips, rest),
            _ if scheme.eq_ignore_ascii_case("tel") => Self::split_tel(rest),
            _ => Some(bare(RawScheme::Other(scheme))),
        }
    }

    fn split_sip(scheme: RawScheme<'a>, rest: &'a str) -> Option<RawUri<'a>> {
        let (info, rest) = match scan::split_once(rest, b'@') {
            Some((info, rest)) => (Some(info), rest),
            None => (None, rest),
        };
        let (user, password) = match info {
            Some(info) => {
                let (user, password) = match scan::split_once(info, b':') {
                    Some((user, password)) => (user, Some(password)),
                    None => (info, None),
                };
                (Some(checked_user(user)?), password.map(checked_password).transpose_ok()?)
            }
            None => (None, None),
        };
        let (rest, headers) = match scan::split_once(rest, b'?') {
            Some((rest, headers)) => (rest, Some(headers)),
            None => (rest, None),
        };
        let (place, params) =
            rest.split_at(memchr::memchr(b';', rest.as_bytes()).unwrap_or(rest.len()));
        let (host, port) = host::split(place)?;
        let is_whole = Params::check(params) && scan::has_whole_escapes(params);
        is_whole.then_some(RawUri {
            scheme,
            user,
            password,
            host: Some(host),
            port,
            params,
            headers,
        })
    }

    fn split_tel(rest: &'a str) -> Option<RawUri<'a>> {
        let (number, params) =
            rest.split_at(memchr::memchr(b';', rest.as_bytes()).unwrap_or(rest.len()));
        let is_number = number.bytes().enumerate().all(|(at, byte)| {
            byte.is_ascii_hexdigit() || b"*#-.()".contains(&byte) || (at == 0 && byte == b'+')
        });
        let has_digit =
            number.bytes().any(|byte| byte.is_ascii_hexdigit() || b"*#".contains(&byte));
        (is_number && has_digit && Params::check(params)).then_some(RawUri {
            scheme: RawScheme::Tel,
            user: Some(number),
            password: None,
            host: None,
            port: None,
            params,
            headers: None,
        })
    }

    pub(crate) fn to_uri(self) -> Uri {
        Uri {
            scheme: match self.scheme {
                RawScheme::Sip => Scheme::Sip,
                RawScheme::Sips => Scheme::Sips,
                RawScheme::Tel => Scheme::Tel,
                RawScheme::Other(name) => Scheme::Other(name.to_ascii_lowercase()),
            },
            user: self.user.map(str::to_owned),
            password: self.password.map(str::to_owned),
            host: self.host.map_or(Host::None, HostRef::into_owned),
            port: self.port,
            params: Params::parse(self.params).unwrap_or_default(),
            headers: self.headers.map(str::to_owned),
        }
    }
}

/// `Option<Option<T>>` the other way round: an absent value is fine, a refused one is not.
trait TransposeOk<T> {
    fn transpose_ok(self) -> Option<Option<T>>;
}

impl<T> TransposeOk<T> for Option<Option<T>> {
    fn transpose_ok(self) -> Option<Option<T>> {
        match self {
            Some(Some(value)) => Some(Some(value)),
            Some(None) => None,
            None => Some(None),
        }
    }
}

fn is_scheme(text: &str) -> bool {
    text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

static URI: Class = Class::visible_but(b"<>\"");
/// `#` is not allowed raw, but phones dial `*98#` so. COMPAT: Grandstream, Yealink.
static USER: Class = Class::alphanumeric_and(b"-_.!~*'()&=+$,;?/%#");
static PASSWORD: Class = Class::alphanumeric_and(b"-_.!~*'()&=+$,%");

fn checked_user(text: &str) -> Option<&str> {
    (!text.is_empty() && USER.has_all(text) && scan::has_whole_escapes(text)).then_some(text)
}

fn checked_password(text: &str) -> Option<&str> {
    (PASSWORD.has_all(text) && scan::has_whole_escapes(text)).then_some(text)
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.scheme.as_str())?;
        if let Some(user) = &self.user {
            f.write_str(user)?;
            if let Some(password) = &self.password {
                write!(f, ":{password}")?;
            }
            if self.host != Host::None {
                f.write_str("@")?;
            }
        }
        write!(f, "{}", self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        write!(f, "{}", self.params)?;
        match &self.headers {
            Some(headers) => write!(f, "?{headers}"),
            None => Ok(()),
        }
    }
}

impl std::str::FromStr for Uri {
    type Err = UriError;
    fn from_str(text: &str) -> Result<Uri, UriError> {
        Uri::parse(text)
    }
}
