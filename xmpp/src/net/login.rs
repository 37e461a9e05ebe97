//! A login's questions, answered: waits where guesses have made it wait, and derives keys where nobody is held up.

use super::{Connection, now};
use crate::service::derive;
use crate::stream::bind2::BindRequest;
use crate::stream::question::{Answer, Question};

impl Connection {
    /// Answers a question of the stream.
    pub(super) async fn ask(&mut self, question: Question) {
        let name = match &question {
            Question::Keys(claim) | Question::Tokens { claim, .. } => Some(claim.name().to_owned()),
            Question::Bearer { .. } => Some(String::new()),
            _ => None,
        };
        if let Some(name) = name {
            self.username = name;
            self.wait_for_guesses().await;
        }
        let answer = match question {
            Question::Derive { password, salt, iterations } => {
                let derived =
                    tokio::task::spawn_blocking(move || derive(&password.0, &salt, iterations));
                derived.await.unwrap_or(Answer::Unavailable)
            }
            question => self.server.answer_login(question).await,
        };
        self.c2s.handle_answer(answer, now());
    }

    async fn wait_for_guesses(&mut self) {
        let wait = self.server.ports().accounts.delay(self.peer.ip(), &self.username);
        if !wait.is_zero() {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                // The node stops: the answer is not worth the wait.
                _ = self.reader.ending() => {}
            }
        }
    }

    /// Registers a resource as part of a login (XEP-0386).
    pub(super) async fn bind_inline(&mut self, bind: &BindRequest, device: Option<&str>) {
        let Some(account) = self.c2s.account().cloned() else { return };
        let made_up = self.made_up();
        let outbox = self.outbox.clone();
        match self.server.bind_inline(&account, bind, device, &made_up, outbox).await {
            Ok((jid, parts)) => {
                tracing::info!(peer = %self.peer, "client logged in");
                self.c2s.handle_bound_inline(jid, parts, now());
            }
            Err(error) => self.c2s.fail("policy-violation", error.condition.name()),
        }
    }

    /// A resource nobody can guess.
    pub(super) fn made_up(&self) -> String {
        let random = self.server.ports().accounts.random();
        random.iter().rev().take(8).map(|b| format!("{b:02x}")).collect()
    }
}
