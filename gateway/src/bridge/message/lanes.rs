//! What goes to one phone goes in order, one at a time (RFC 3428 section 8), and whoever is slow or gone keeps nobody
//! else waiting: each phone has a lane of its own.

use std::collections::VecDeque;
use std::sync::Arc;

use tandem_sip::ports::Binding;
use tandem_xmpp::jid::Jid;
use tokio::sync::oneshot;

use super::to_phone::Taken;
use super::{Chat, Letter, QUEUE};

/// A text on its way to one phone, and who waits for what becomes of it.
pub(super) struct Parcel {
    letter: Arc<Letter>,
    binding: Arc<Binding>,
    body: Arc<str>,
    done: oneshot::Sender<Taken>,
}

/// What waits for one phone. There is one while its worker runs.
pub(super) type Lane = VecDeque<Parcel>;

impl Chat {
    /// Puts a text into the lanes of all phones of a letter. What becomes of it comes by each.
    pub(super) fn post(&self, letter: &Arc<Letter>, body: &str) -> Vec<oneshot::Receiver<Taken>> {
        let body: Arc<str> = body.into();
        let posted = letter.devices.iter().map(|(device, binding)| {
            let (done, fate) = oneshot::channel();
            let (letter, binding, body) = (letter.clone(), binding.clone(), body.clone());
            self.post_one(device, Parcel { letter, binding, body, done });
            fate
        });
        posted.collect()
    }

    fn post_one(&self, device: &Jid, parcel: Parcel) {
        let mut state = self.state();
        if let Some(lane) = state.lanes.get_mut(device) {
            if lane.len() < QUEUE {
                lane.push_back(parcel);
                return;
            }
            drop(state);
            // It has taken nothing for long: as if it were away.
            let phrase = "too much waits for this phone".to_owned();
            return Taken::new(device.clone(), (480, phrase, false)).tell(parcel.done);
        }
        state.lanes.insert(device.clone(), VecDeque::from([parcel]));
        drop(state);
        tokio::spawn(self.clone().drive(device.clone()));
    }

    /// Sends what is in a lane; ends when it is empty.
    async fn drive(self, device: Jid) {
        loop {
            let next = {
                let mut state = self.state();
                let next = state.lanes.get_mut(&device).and_then(VecDeque::pop_front);
                // Under the lock nobody can add to it.
                if next.is_none() {
                    state.lanes.remove(&device);
                }
                next
            };
            let Some(Parcel { letter, binding, body, done }) = next else { return };
            let sent = self.send_to(&letter, &device, &binding, &body).await;
            Taken::new(device.clone(), sent).tell(done);
        }
    }
}
