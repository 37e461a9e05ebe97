//! RFC 6665 section 8.2.3: Subscription-State.

use std::fmt;

use super::{Header, HeaderError};
use crate::msg::name::Name;
use crate::msg::params::Params;
use crate::msg::scan;

/// Where a subscription stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SubscriptionStateValue {
    /// Accepted.
    Active,
    /// Not decided yet.
    Pending,
    /// Over.
    Terminated,
    /// An unknown word.
    Other(String),
}

/// A subscription's state with its parameters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SubscriptionState {
    /// The state.
    pub state: SubscriptionStateValue,
    /// `expires`, `reason`, `retry-after` and others.
    pub params: Params,
}

impl SubscriptionState {
    /// An accepted subscription that lives that many seconds more.
    pub fn active(expires: u32) -> Self {
        Self::living(SubscriptionStateValue::Active, expires)
    }

    /// A subscription that waits for consent and lives that many seconds more.
    pub fn pending(expires: u32) -> Self {
        Self::living(SubscriptionStateValue::Pending, expires)
    }

    /// An ended subscription and why.
    pub fn terminated(reason: &str) -> Self {
        SubscriptionState {
            state: SubscriptionStateValue::Terminated,
            params: Params::new().with("reason", Some(reason)),
        }
    }

    fn living(state: SubscriptionStateValue, expires: u32) -> Self {
        SubscriptionState {
            state,
            params: Params::new().with("expires", Some(&expires.to_string())),
        }
    }

    /// Seconds left.
    pub fn expires(&self) -> Option<u32> {
        self.params.get("expires").and_then(scan::saturating_u32)
    }

    /// Why it ended.
    pub fn reason(&self) -> Option<&str> {
        self.params.get("reason")
    }
}

impl Header for SubscriptionState {
    const NAME: Name = Name::SubscriptionState;
    fn parse(value: &str) -> Result<Self, HeaderError> {
        let (state, params) = value.split_at(value.find(';').unwrap_or(value.len()));
        let state = scan::trim(state);
        let params = Params::parse(params).filter(|_| scan::is_token(state));
        let state = match state.to_ascii_lowercase().as_str() {
            "active" => SubscriptionStateValue::Active,
            "pending" => SubscriptionStateValue::Pending,
            "terminated" => SubscriptionStateValue::Terminated,
            _ => SubscriptionStateValue::Other(state.to_owned()),
        };
        Ok(SubscriptionState { state, params: params.ok_or(HeaderError::malformed(Self::NAME))? })
    }
}

impl fmt::Display for SubscriptionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            SubscriptionStateValue::Active => "active",
            SubscriptionStateValue::Pending => "pending",
            SubscriptionStateValue::Terminated => "terminated",
            SubscriptionStateValue::Other(word) => word,
        };
        write!(f, "{state}{}", self.params)
    }
}
