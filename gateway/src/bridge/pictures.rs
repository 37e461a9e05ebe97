//! Links to the avatars of accounts (XEP-0084) for phones, which take pictures by HTTPS alone (RFC 3261 section 20.9): whoever has
//! the link has the picture, so that it is proven by a secret of ours, and dies with the picture.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tandem_web::BoxFuture;
use tandem_web::picture::Picture;
use tandem_xmpp::Server;
use tandem_xmpp::jid::Jid;

/// Makes links. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Links {
    base: String,
    key: [u8; 32],
}

impl Links {
    /// Links below the address of our pages, proven by this secret.
    pub fn new(web_url: &str, key: [u8; 32]) -> Self {
        Self { base: format!("{web_url}/picture/"), key }
    }

    /// The link to the avatar of this hash.
    pub fn link(&self, account: &Jid, hash: &str) -> String {
        let said = format!("{}\n{hash}", account.bare());
        let proof = self.mac(&said).finalize().into_bytes();
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        format!("{}{}.{}", self.base, encode(said.as_bytes()), encode(&proof))
    }

    /// Whose avatar, of which hash; takes the same time whatever the proof is.
    pub fn read(&self, token: &str) -> Option<(Jid, String)> {
        let (said, proof) = token.split_once('.')?;
        let said = String::from_utf8(URL_SAFE_NO_PAD.decode(said).ok()?).ok()?;
        self.mac(&said).verify_slice(&URL_SAFE_NO_PAD.decode(proof).ok()?).ok()?;
        let (account, hash) = said.split_once('\n')?;
        Some((Jid::parse(account).ok()?, hash.to_owned()))
    }

    fn mac(&self, said: &str) -> Hmac<Sha256> {
        let mut mac =
            <Hmac<Sha256> as KeyInit>::new_from_slice(&self.key).expect("any length is a key");
        mac.update(b"picture\n");
        mac.update(said.as_bytes());
        mac
    }
}

/// The pictures behind the links.
pub struct Album {
    /// What the links say.
    pub links: Links,
    /// Who has the avatars.
    pub xmpp: Server,
}

impl tandem_web::picture::Pictures for Album {
    fn find<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Option<Picture>, String>> {
        Box::pin(async move {
            let Some((account, hash)) = self.links.read(token) else { return Ok(None) };
            let found = self.xmpp.avatar(&account, &hash).await.map_err(|e| e.to_string())?;
            Ok(found.map(|(kind, bytes)| Picture { content_type: kind, bytes: bytes.into() }))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_says_what_it_was_made_of_and_no_other_secret_makes_it() {
        let ana = Jid::parse("ana@d").unwrap();
        let links = Links::new("https://d:8443", [1; 32]);
        let link = links.link(&ana, "abc");
        let token = link.strip_prefix("https://d:8443/picture/").unwrap();
        assert_eq!(links.read(token), Some((ana.clone(), "abc".to_owned())));
        let (said, proof) = token.split_once('.').unwrap();
        let other = links.link(&ana, "abd");
        let other = other.strip_prefix("https://d:8443/picture/").unwrap();
        let (forged, _) = other.split_once('.').unwrap();
        let wrong =
            [said.to_owned(), format!("{forged}.{proof}"), format!("{said}."), "x.y".into()];
        for token in wrong {
            assert_eq!(links.read(&token), None, "{token}");
        }
        assert_eq!(Links::new("https://d:8443", [2; 32]).read(token), None);
    }
}
