//! Who may read a node (XEP-0060 sections 4.1 and 4.5, XEP-0163 section 7.1).

use super::{KnownNode, Refusal};
use crate::jid::Jid;
use crate::ports::pubsub::{Access, Affiliation, Node};
use crate::ports::{Roster, StoreError};
use crate::service::Server;
use crate::stanza::Condition;

/// What keeps somebody from reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Barrier {
    Outcast,
    NoSubscription,
    NotInGroup,
    NotApproved,
    NotListed,
}

impl Barrier {
    /// The answer of XEP-0060 section 6.5.9.
    pub(super) fn refusal(self) -> Refusal {
        match self {
            Self::Outcast => Refusal::new(Condition::Forbidden),
            Self::NoSubscription => {
                Refusal::because(Condition::NotAuthorized, "presence-subscription-required")
            }
            Self::NotInGroup => Refusal::because(Condition::NotAuthorized, "not-in-roster-group"),
            Self::NotApproved => Refusal::because(Condition::NotAuthorized, "not-subscribed"),
            Self::NotListed => Refusal::because(Condition::NotAllowed, "closed-node"),
        }
    }
}

/// What `who`, a bare address, is to the node beyond its presence subscription.
pub(super) fn affiliation(node: &Node, who: &Jid) -> Option<Affiliation> {
    node.affiliations.iter().find(|(jid, _)| jid == who).map(|(_, affiliation)| *affiliation)
}

/// What keeps `who`, a bare address, from reading; `None` for who may.
pub(super) fn barrier(owner: &Jid, node: &Node, who: &Jid, roster: &Roster) -> Option<Barrier> {
    if who == owner {
        return None;
    }
    match affiliation(node, who) {
        Some(Affiliation::Outcast) => return Some(Barrier::Outcast),
        Some(Affiliation::Publisher | Affiliation::Member) => return None,
        None => {}
    }
    let contact = roster.item(who).filter(|item| item.from);
    match node.config.access {
        Access::Open => None,
        Access::Whitelist => Some(Barrier::NotListed),
        Access::Authorize => {
            let approved = node.subscriptions.iter().any(|jid| jid.as_bare_str() == who.as_str());
            (!approved).then_some(Barrier::NotApproved)
        }
        Access::Presence => contact.is_none().then_some(Barrier::NoSubscription),
        Access::Roster => {
            let listed = |group: &String| node.config.groups.contains(group);
            match contact {
                Some(contact) if contact.groups.iter().any(listed) => None,
                _ => Some(Barrier::NotInGroup),
            }
        }
    }
}

impl Server {
    /// Refuses who may not read a node.
    pub(super) async fn check_reader(
        &self,
        owner: &Jid,
        known: &KnownNode,
        from: &Jid,
    ) -> Result<(), Refusal> {
        match self.reader_barrier(owner, &known.node, &from.bare()).await? {
            None => Ok(()),
            Some(barrier) => Err(barrier.refusal()),
        }
    }

    /// What keeps `who`, a bare address, from reading a node.
    pub(in crate::service) async fn may_read(
        &self,
        owner: &Jid,
        node: &Node,
        who: &Jid,
    ) -> Result<bool, StoreError> {
        Ok(self.reader_barrier(owner, node, who).await?.is_none())
    }

    async fn reader_barrier(
        &self,
        owner: &Jid,
        node: &Node,
        who: &Jid,
    ) -> Result<Option<Barrier>, StoreError> {
        if who == owner {
            return Ok(None);
        }
        let roster = self.roster(owner).await?;
        Ok(barrier(owner, node, who, &roster))
    }
}
