//! The bus: how what happens at the edges reaches the task that owns it, on this node or, later, on another.
//!
//! The node where a call begins owns it, and everybody else reaches it over the bus, also while there is one node and the
//! bus is a function call. [`Local`] is that call: a push into the queue of the owner.

use tokio::sync::mpsc;

use crate::bridge::hub::Registration;
use crate::bridge::{echo, exchange, presence};

/// What travels, by whom it is for.
pub enum Envelope {
    /// For the echo service.
    Echo(echo::Event),
    /// For the owner of a call: what phones and media say.
    Leg(exchange::Event),
    /// For the owner of a call: what XMPP clients say.
    Call(exchange::Call),
    /// For the presence desk.
    Presence(presence::Event),
    /// For whoever speaks for the phones of an account.
    Registration(Registration),
}

/// The owner's queue is full, or its task has ended. What that means is the sender's to decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the owner does not take it")]
pub struct NotTaken;

/// Carries envelopes to their owners, in the order of each sender.
pub trait Bus: Send + Sync {
    /// Sends; must not block.
    ///
    /// # Errors
    ///
    /// [`NotTaken`]
    fn send(&self, envelope: Envelope) -> Result<(), NotTaken>;
}

/// The bus of a node alone.
pub struct Local {
    /// The echo service.
    pub echo: mpsc::Sender<echo::Event>,
    /// What happens on legs and in the media engine: as much as there are legs.
    pub legs: mpsc::UnboundedSender<exchange::Event>,
    /// Call stanzas.
    pub stanzas: mpsc::Sender<exchange::Call>,
    /// The presence desk.
    pub presence: presence::Line,
    /// Registrations: one at a time and account, as the registrar waits for its store.
    pub phones: mpsc::UnboundedSender<Registration>,
}

impl Bus for Local {
    fn send(&self, envelope: Envelope) -> Result<(), NotTaken> {
        let taken = match envelope {
            Envelope::Echo(event) => self.echo.try_send(event).is_ok(),
            Envelope::Leg(event) => self.legs.send(event).is_ok(),
            Envelope::Call(call) => self.stanzas.try_send(call).is_ok(),
            Envelope::Presence(event) => self.presence.send(event).is_ok(),
            Envelope::Registration(registration) => self.phones.send(registration).is_ok(),
        };
        if taken { Ok(()) } else { Err(NotTaken) }
    }
}
