//! RFC 7616 section 3.4, RFC 3261 section 22.2: a client's answer to a challenge.

use super::digest::{Challenge, Credentials, Protection, Qop};

impl Challenge {
    /// The answer to this challenge. `ha1` is made with the challenge's realm and algorithm; `count` is how often its
    /// nonce was used, this time included; `cnonce` is fresh random text. `auth` is taken before `auth-int`.
    pub fn answer(
        &self,
        username: &str,
        ha1: &str,
        (method, uri, body): (&str, &str, &[u8]),
        (cnonce, count): (&str, u32),
    ) -> Credentials {
        let qop =
            if self.qop.contains(&Qop::Auth) { Some(Qop::Auth) } else { self.qop.first().copied() };
        let mut credentials = Credentials {
            username: username.to_owned(),
            realm: self.realm.clone(),
            nonce: self.nonce.clone(),
            uri: uri.to_owned(),
            response: String::new(),
            algorithm: self.algorithm,
            opaque: self.opaque.clone(),
            protection: qop.map(|qop| Protection { qop, cnonce: cnonce.to_owned(), count }),
        };
        credentials.response = credentials.expected(ha1, method, body);
        credentials
    }
}
