//! Tokens that devices log in with (XEP-0484).

use super::{BoxFuture, StoreError};
use crate::jid::Jid;
use crate::stream::ht::{StoredToken, TokenKey, TokenMechanism};

/// Where login tokens are kept. A device, named by the id of its `user-agent` (XEP-0388), has one that it uses and one
/// that is to follow. How long they live is the implementation's setting, as it has the clock. Changes resolve after
/// their commit.
pub trait LoginTokens: Send + Sync {
    /// The tokens of a device, at most [`crate::stream::ht::MAX_TOKENS`]; expired ones too, which say so.
    fn load<'a>(
        &'a self,
        account: &'a Jid,
        device: &'a str,
    ) -> BoxFuture<'a, Result<Vec<StoredToken>, StoreError>>;
    /// Keeps a new token and tells when it expires (XEP-0082). One that was never used makes way; the one in use stays
    /// good until the new one is used (section 3.5).
    fn issue<'a>(
        &'a self,
        account: &'a Jid,
        device: &'a str,
        mechanism: TokenMechanism,
        key: TokenKey,
    ) -> BoxFuture<'a, Result<String, StoreError>>;
    /// Notes that a token was used, and forgets those of the device that expire earlier; with `invalidate` all of the
    /// device. False, and nothing changes, when it is gone or `count` is not above what was counted: a replay
    /// (section 3.4).
    fn mark_used<'a>(
        &'a self,
        account: &'a Jid,
        device: &'a str,
        token: i64,
        count: Option<u32>,
        invalidate: bool,
    ) -> BoxFuture<'a, Result<bool, StoreError>>;
}
