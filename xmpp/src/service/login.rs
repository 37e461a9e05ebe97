//! What a login asks (RFC 6120 section 6, XEP-0388): keys, tokens and upgrades out of the ports. An inline bind
//! (XEP-0386) is here too.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Server;
use crate::jid::Jid;
use crate::ports::{Outbox, StoreError};
use crate::stanza::StanzaError;
use crate::stream::bind2::BindRequest;
use crate::stream::ht::{IssuedToken, TokenKey, TokenMechanism};
use crate::stream::question::{Answer, Claim, Question};
use crate::stream::sasl::{LoginKeys, Policy, ScramHash, ScramKeys};
use crate::xml::Element;

impl Server {
    /// What may be logged in with.
    pub fn login_policy(&self) -> Policy {
        Policy {
            sha512: self.0.ports.passwords.covers(ScramHash::Sha512),
            plain: self.0.config.plain,
            bearer: self.0.ports.bearer_tokens.is_some(),
        }
    }

    /// Finds out what a login asks. Deriving keys is slow: the driver calls [`derive()`] for that, off its threads.
    pub async fn answer_login(&self, question: Question) -> Answer {
        match self.look_up(question).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::error!(%error, "the store failed in a login");
                Answer::Unavailable
            }
        }
    }

    async fn look_up(&self, question: Question) -> Result<Answer, StoreError> {
        let ports = &self.0.ports;
        Ok(match question {
            Question::Keys(claim) => Answer::Keys(self.login_keys(&claim).await?),
            Question::Derive { password, salt, iterations } => {
                derive(&password.0, &salt, iterations)
            }
            Question::Bearer { domain, token } => match &ports.bearer_tokens {
                Some(issuer) => Answer::Identity(issuer.validate(&domain, &token.0).await?),
                None => Answer::Identity(None),
            },
            // One that may not log in by its password may not either by what others vouch for.
            Question::Exists(account) => {
                Answer::Exists(ports.accounts.keys(&account).await?.is_some())
            }
            Question::Tokens { claim, device } => Answer::Tokens(match &claim.account {
                Some(account) => ports.login_tokens.load(account, &device).await?,
                None => Vec::new(),
            }),
            Question::UseToken { account, device, token, count, invalidate } => {
                let tokens = &ports.login_tokens;
                Answer::Used(tokens.mark_used(&account, &device, token, count, invalidate).await?)
            }
            Question::Upgrade { account, hash, keys } => {
                ports.passwords.upgrade(&account, hash, keys).await?;
                Answer::Upgraded
            }
            Question::IssueToken { account, device, mechanism } => {
                Answer::Issued(self.issue_token(&account, &device, mechanism).await?)
            }
        })
    }

    async fn login_keys(&self, claim: &Claim) -> Result<LoginKeys, StoreError> {
        let keys = match &claim.account {
            Some(account) => self.0.ports.accounts.keys(account).await?,
            None => None,
        };
        let rounds = self.0.config.scram_iterations;
        Ok(LoginKeys::new(keys, &self.0.ports.secret, claim.name(), rounds))
    }

    async fn issue_token(
        &self,
        account: &Jid,
        device: &str,
        mechanism: TokenMechanism,
    ) -> Result<IssuedToken, StoreError> {
        let accounts = &self.0.ports.accounts;
        let random = [accounts.random(), accounts.random()].concat();
        let token = URL_SAFE_NO_PAD.encode(random);
        let key = TokenKey::of(&token);
        let expiry = self.0.ports.login_tokens.issue(account, device, mechanism, key).await?;
        Ok(IssuedToken { token, expiry })
    }

    /// Registers a logged-in client under a resource that begins with its tag (XEP-0386 section 3.2). Older sessions of
    /// the same device end with `conflict`. Gives what the client is told of its session, too.
    ///
    /// # Errors
    ///
    /// As for [`Server::bind`].
    pub async fn bind_inline(
        &self,
        account: &Jid,
        wanted: &BindRequest,
        device: Option<&str>,
        made_up: &str,
        outbox: Arc<dyn Outbox>,
    ) -> Result<(Jid, Vec<Element>), StanzaError> {
        let tagged = wanted.tag.as_ref().map(|tag| format!("{tag}/{made_up}"));
        // A tag that no resource can begin with is left out.
        let tagged = tagged.filter(|resource| account.with_resource(resource).is_ok());
        let replaced = self.sessions().of_device(account, device);
        let bound = self.bind(account, tagged.as_deref(), made_up, outbox)?;
        let jid = self.greet(bound).await;
        if let Some(resource) = self.sessions().get_mut(&jid) {
            resource.carbons = wanted.carbons;
            resource.device = device.map(str::to_owned);
        }
        for old in replaced {
            old.end("conflict");
        }
        // What happened until now it reads in its archive; nothing of that is sent to it once more.
        let archive = self.archive_at_bind(&jid).await;
        let archive = archive.inspect_err(|error| {
            tracing::error!(%error, "an archive cannot be read at a bind");
        });
        Ok((jid, archive.into_iter().collect()))
    }
}

/// The keys of a password by SHA-256 and SHA-1, whichever the account has; as slow as its rounds.
pub fn derive(password: &str, salt: &[u8], iterations: u32) -> Answer {
    Answer::Derived {
        sha256: ScramKeys::derive(ScramHash::Sha256, password, salt, iterations),
        sha1: ScramKeys::derive(ScramHash::Sha1, password, salt, iterations),
    }
}
