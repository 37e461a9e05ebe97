//! RFC 7616 sections 3.3 and 3.4: challenges, answers, and the hash in them.

use std::fmt;

pub use super::algorithm::Algorithm;
use crate::msg::scan;

/// What the hash covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Qop {
    /// Method and URI.
    Auth,
    /// The body too.
    AuthInt,
}

impl Qop {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Qop::Auth => "auth",
            Qop::AuthInt => "auth-int",
        }
    }

    fn parse(name: &str) -> Option<Qop> {
        [Qop::Auth, Qop::AuthInt].into_iter().find(|qop| qop.as_str().eq_ignore_ascii_case(name))
    }
}

/// Why a challenge or an answer cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// Not the scheme `Digest`.
    #[error("not a digest")]
    Scheme,
    /// An algorithm or a quality of protection that is not known here.
    #[error("unknown algorithm or qop")]
    Unknown,
    /// It breaks its grammar, lacks a parameter, or has one twice.
    #[error("malformed digest parameters")]
    Malformed,
}

/// A server's challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// Whose password is asked for.
    pub realm: String,
    /// What the answer has to cover.
    pub nonce: String,
    /// Sent back as it is.
    pub opaque: Option<String>,
    /// The password was right, only the nonce is too old.
    pub is_stale: bool,
    /// The hash.
    pub algorithm: Algorithm,
    /// What may be covered; empty: a server of RFC 2069.
    pub qop: Vec<Qop>,
}

impl Challenge {
    /// Reads the value of a WWW-Authenticate or Proxy-Authenticate.
    ///
    /// # Errors
    /// Another scheme, an unknown algorithm, or malformed parameters.
    pub fn parse(value: &str) -> Result<Challenge, AuthError> {
        let params = AuthParams::parse(value)?;
        let qop = params.get("qop").unwrap_or_default();
        let known: Vec<Qop> =
            qop.split(',').filter_map(|name| Qop::parse(scan::trim(name))).collect();
        if known.is_empty() && !qop.is_empty() {
            return Err(AuthError::Unknown);
        }
        Ok(Challenge {
            realm: params.required("realm")?,
            nonce: params.required("nonce")?,
            opaque: params.get("opaque"),
            is_stale: params.get("stale").is_some_and(|stale| stale.eq_ignore_ascii_case("true")),
            algorithm: params.algorithm()?,
            qop: known,
        })
    }

    /// The first challenge among these values that can be answered (RFC 8760 section 2.4).
    pub fn first_known<'a>(values: impl Iterator<Item = &'a str>) -> Option<Challenge> {
        values.filter_map(|value| Challenge::parse(value).ok()).next()
    }
}

impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest realm={}, nonce={}", scan::quote(&self.realm), scan::quote(&self.nonce))?;
        if let Some(opaque) = &self.opaque {
            write!(f, ", opaque={}", scan::quote(opaque))?;
        }
        if self.is_stale {
            f.write_str(", stale=true")?;
        }
        write!(f, ", algorithm={}", self.algorithm.as_str())?;
        if !self.qop.is_empty() {
            let names: Vec<&str> = self.qop.iter().map(|qop| qop.as_str()).collect();
            write!(f, ", qop=\"{}\"", names.join(","))?;
        }
        Ok(())
    }
}

/// A client's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Who.
    pub username: String,
    /// The challenge's realm.
    pub realm: String,
    /// The challenge's nonce.
    pub nonce: String,
    /// The URI that was hashed, as written.
    pub uri: String,
    /// The hash, in hex.
    pub response: String,
    /// The hash's algorithm.
    pub algorithm: Algorithm,
    /// The challenge's opaque.
    pub opaque: Option<String>,
    /// What was covered, with the client's nonce and the count; `None`: as in RFC 2069.
    pub protection: Option<Protection>,
}

/// The part of an answer that came with `qop`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protection {
    /// What was covered.
    pub qop: Qop,
    /// The client's nonce.
    pub cnonce: String,
    /// How often this nonce was used, this time included.
    pub count: u32,
}

impl Credentials {
    /// Reads the value of an Authorization or Proxy-Authorization.
    ///
    /// # Errors
    /// Another scheme, an unknown algorithm or qop, or malformed parameters.
    pub fn parse(value: &str) -> Result<Credentials, AuthError> {
        let params = AuthParams::parse(value)?;
        let protection = match params.get("qop") {
            None => None,
            Some(qop) => Some(Protection {
                qop: Qop::parse(&qop).ok_or(AuthError::Unknown)?,
                cnonce: params.required("cnonce")?,
                count: count(&params.required("nc")?)?,
            }),
        };
        Ok(Credentials {
            username: params.required("username")?,
            realm: params.required("realm")?,
            nonce: params.required("nonce")?,
            uri: params.required("uri")?,
            response: params.required("response")?,
            algorithm: params.algorithm()?,
            opaque: params.get("opaque"),
            protection,
        })
    }

    /// The hash that these parameters ask for (RFC 7616 section 3.4.1).
    pub fn expected(&self, ha1: &str, method: &str, body: &[u8]) -> String {
        let hash = self.algorithm;
        let (method, uri) = (method.as_bytes(), self.uri.as_bytes());
        let is_int =
            self.protection.as_ref().is_some_and(|protection| protection.qop == Qop::AuthInt);
        let ha2 = if is_int {
            hash.hash(&[method, uri, hash.hash(&[body]).as_bytes()])
        } else {
            hash.hash(&[method, uri])
        };
        let (ha1, nonce) = (ha1.as_bytes(), self.nonce.as_bytes());
        match &self.protection {
            None => hash.hash(&[ha1, nonce, ha2.as_bytes()]),
            Some(Protection { qop, cnonce, count }) => {
                let count = format!("{count:08x}");
                hash.hash(&[
                    ha1,
                    nonce,
                    count.as_bytes(),
                    cnonce.as_bytes(),
                    qop.as_str().as_bytes(),
                    ha2.as_bytes(),
                ])
            }
        }
    }
}

impl fmt::Display for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quote = scan::quote;
        write!(f, "Digest username={}, realm={}", quote(&self.username), quote(&self.realm))?;
        write!(f, ", nonce={}, uri={}", quote(&self.nonce), quote(&self.uri))?;
        write!(f, ", response=\"{}\", algorithm={}", self.response, self.algorithm.as_str())?;
        if let Some(opaque) = &self.opaque {
            write!(f, ", opaque={}", quote(opaque))?;
        }
        match &self.protection {
            Some(Protection { qop, cnonce, count }) => {
                write!(f, ", qop={}, cnonce={}, nc={count:08x}", qop.as_str(), quote(cnonce))
            }
            None => Ok(()),
        }
    }
}

/// Eight hex digits.
fn count(text: &str) -> Result<u32, AuthError> {
    let is_count = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    u32::from_str_radix(text, 16).ok().filter(|_| is_count).ok_or(AuthError::Malformed)
}

/// The parameters behind `Digest`, as written.
struct AuthParams<'a>(Vec<(&'a str, &'a str)>);

impl<'a> AuthParams<'a> {
    fn parse(value: &'a str) -> Result<Self, AuthError> {
        let (scheme, rest) = scan::trim(value).split_once([' ', '\t']).ok_or(AuthError::Scheme)?;
        if !scheme.eq_ignore_ascii_case("Digest") {
            return Err(AuthError::Scheme);
        }
        let mut params: Vec<(&str, &str)> = Vec::with_capacity(12);
        for part in scan::split(rest, b',').filter(|part| !part.is_empty()) {
            let (name, value) = scan::split_once(part, b'=').ok_or(AuthError::Malformed)?;
            let (name, value) = (scan::trim(name), scan::trim(value));
            let is_quoted = value.starts_with('"');
            let is_whole = !is_quoted || scan::quoted_len(value) == Some(value.len());
            let is_repeated = params.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
            if !scan::is_token(name) || !is_whole || is_repeated {
                return Err(AuthError::Malformed);
            }
            params.push((name, value));
        }
        Ok(AuthParams(params))
    }

    /// The value without quotes.
    fn get(&self, name: &str) -> Option<String> {
        let found = self.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| scan::unquote(value))
    }

    fn required(&self, name: &str) -> Result<String, AuthError> {
        self.get(name).ok_or(AuthError::Malformed)
    }

    fn algorithm(&self) -> Result<Algorithm, AuthError> {
        self.get("algorithm")
            .map_or(Ok(Algorithm::Md5), |name| Algorithm::parse(&name).ok_or(AuthError::Unknown))
    }
}
