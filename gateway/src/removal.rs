//! The end of an account at the command line: by the server that runs on the same folder, which is asked over a socket in
//! it, or without one where none runs. Either way contacts and rooms let go of it (XEP-0077 section 3.2).
//!
//! A request is a line, `remove ana@example.org`, and so is the answer: `removed`, `unknown` or `failed`. So is
//! `calls ana@example.org dnd=on`, whose answer is `ok` and all there is set now, or `failed` and why.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tandem_xmpp::Server;
use tandem_xmpp::jid::Jid;
use tandem_xmpp::ports::{Foreign, Remote, Watch};
use tandem_xmpp::stanza::Stanza;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use crate::app;
use crate::bridge::call_desk::CallDesk;
use crate::bridge::numbers::Plan;
use crate::config::Config;
use crate::store::Store;

/// The socket's name in the data folder.
const SOCKET: &str = "control.sock";
/// Longest request.
const MAX_LINE: u64 = 4 * 1024;
/// Time for a request to be written, and for the server to do what it says.
const ASK: Duration = Duration::from_secs(5);
const DO: Duration = Duration::from_secs(60);

/// Removes an account. False when there is none.
///
/// # Errors
///
/// For the operator, with the cause.
pub async fn remove(config: &Config, store: &Store, account: &Jid) -> anyhow::Result<bool> {
    match UnixStream::connect(config.data_dir.join(SOCKET)).await {
        Ok(server) => ask(server, account).await,
        Err(_) => Ok(app::server_alone(config, store).await?.remove_account(account).await?),
    }
}

async fn ask(mut server: UnixStream, account: &Jid) -> anyhow::Result<bool> {
    let mut answer = String::new();
    let exchange = async {
        server.write_all(format!("remove {account}\n").as_bytes()).await?;
        server.read_to_string(&mut answer).await
    };
    timeout(DO, exchange).await.map_err(|_| anyhow::anyhow!("the server does not answer"))??;
    match answer.trim() {
        "removed" => Ok(true),
        "unknown" => Ok(false),
        _ => anyhow::bail!("the server that runs could not remove {account}; its log says why"),
    }
}

/// Changes what is done with calls to an account, or with no words only reads it; gives it in words.
///
/// # Errors
///
/// For the operator, with the cause.
pub async fn set_calls(
    config: &Config,
    store: &Store,
    account: &Jid,
    words: &[String],
) -> anyhow::Result<String> {
    let said = match UnixStream::connect(config.data_dir.join(SOCKET)).await {
        Ok(mut server) => {
            let mut said = String::new();
            let exchange = async {
                let line = format!("calls {account} {}\n", words.join(" "));
                server.write_all(line.as_bytes()).await?;
                server.read_to_string(&mut said).await
            };
            timeout(DO, exchange)
                .await
                .map_err(|_| anyhow::anyhow!("the server does not answer"))??;
            said
        }
        Err(_) => {
            let desk = CallDesk::new(store.clone(), Arc::new(Plan::new(config)));
            settle(&desk, &format!("{account} {}", words.join(" "))).await
        }
    };
    match said.strip_prefix("ok ") {
        Some(now) => Ok(now.to_owned()),
        None => anyhow::bail!("{}", said.strip_prefix("failed ").unwrap_or("the server refuses")),
    }
}

/// The answer to an account and words.
async fn settle(calls: &CallDesk, line: &str) -> String {
    let mut words = line.split_ascii_whitespace();
    let Some(Ok(account)) = words.next().map(Jid::parse) else {
        return "failed that is no account".to_owned();
    };
    let words: Vec<String> = words.map(str::to_owned).collect();
    match calls.change(&account, &words).await {
        Ok(now) => format!("ok {}", now.words()),
        Err(wrong) => format!("failed {wrong}"),
    }
}

/// Where a running server is asked. The socket goes with this.
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Control {
    /// Opens the socket in the data folder, which only its owner may enter. Where it cannot be opened, what operators do
    /// at the command line reaches this server late or not at all: they are told so in the log.
    pub async fn open(data_dir: &Path) -> Option<Self> {
        let path = data_dir.join(SOCKET);
        if UnixStream::connect(&path).await.is_ok() {
            tracing::warn!(path = %path.display(), "another server runs on this data folder");
            return None;
        }
        // One is left where a server was killed.
        let _ = std::fs::remove_file(&path);
        match UnixListener::bind(&path) {
            Ok(listener) => Some(Self { listener, path }),
            Err(error) => {
                let path = path.display();
                tracing::warn!(%path, %error, "`tandem user remove` cannot reach this server");
                None
            }
        }
    }

    /// Does what it is asked, one request after the other. Never resolves.
    pub async fn serve(self, server: Server, calls: CallDesk) {
        loop {
            match self.listener.accept().await {
                Ok((client, _)) if self.is_trusted(&client) => {
                    answer(client, &server, &calls).await
                }
                Ok(_) => tracing::warn!("a stranger on this machine asks for an operator's work"),
                Err(error) => {
                    tracing::warn!(%error, "the control socket fails");
                    tokio::time::sleep(ASK).await;
                }
            }
        }
    }

    /// Root, or whoever owns the socket, which is who runs this.
    fn is_trusted(&self, client: &UnixStream) -> bool {
        let owner = std::fs::metadata(&self.path).map(|about| about.uid()).ok();
        client.peer_cred().is_ok_and(|peer| peer.uid() == 0 || Some(peer.uid()) == owner)
    }
}

async fn answer(mut client: UnixStream, server: &Server, calls: &CallDesk) {
    let mut line = String::new();
    let mut request = BufReader::new(&mut client).take(MAX_LINE);
    if !matches!(timeout(ASK, request.read_line(&mut line)).await, Ok(Ok(_))) {
        return;
    }
    if let Some(words) = line.trim().strip_prefix("calls ") {
        let said = settle(calls, words).await;
        let _ = timeout(ASK, client.write_all(said.as_bytes())).await;
        return;
    }
    let account = line.trim().strip_prefix("remove ").and_then(|text| Jid::parse(text).ok());
    let said = match account {
        Some(account) => match server.remove_account(&account).await {
            Ok(true) => "removed",
            Ok(false) => "unknown",
            Err(error) => {
                tracing::error!(%error, "an account cannot be removed");
                "failed"
            }
        },
        None => "failed",
    };
    let _ = timeout(ASK, client.write_all(said.as_bytes())).await;
}

/// What is beyond a server that nobody is connected to.
pub(crate) struct Nobody;

impl Nobody {
    /// As all the ports at once.
    pub(crate) fn ports() -> (Arc<dyn Foreign>, Arc<dyn Watch>, Arc<dyn Remote>) {
        (Arc::new(Self), Arc::new(Self), Arc::new(Self))
    }
}

impl Foreign for Nobody {
    fn deliver(&self, _: &Jid, _: &[String], _: &Stanza) -> bool {
        false
    }

    fn observed(&self, _: &Stanza) {}
}

impl Watch for Nobody {
    fn presence_changed(&self, _: &Jid) {}

    fn permission_changed(&self, _: &Jid, _: &Jid, _: bool) {}
}

impl Remote for Nobody {
    fn send(&self, _: &Jid, _: &Jid, _: Bytes) -> bool {
        false
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // a server beside the test
mod tests {
    use super::*;
    use tandem_xmpp::ports::{RosterItem, Rosters};

    fn jid(text: &str) -> Jid {
        Jid::parse(text).unwrap()
    }

    /// Ana and Bob at localhost, who see each other.
    async fn friends(config: &Config) -> Store {
        let store = Store::open_in(&config.data_dir).await.unwrap();
        for (name, friend) in [("ana", "bob"), ("bob", "ana")] {
            let account = jid(&format!("{name}@localhost"));
            store.ensure_account(&account, "secret", 1).await.unwrap();
            let mut item = RosterItem::new(jid(&format!("{friend}@localhost")));
            (item.to, item.from) = (true, true);
            store.put(&account, &item).await.unwrap();
        }
        store
    }

    async fn check_gone(store: &Store) {
        assert!(!store.account_exists(&jid("ana@localhost")).await.unwrap());
        let roster = store.load(&jid("bob@localhost")).await.unwrap();
        let item = roster.item(&jid("ana@localhost")).unwrap();
        assert!(!item.to && !item.from, "whoever takes the name sees nothing of Bob's");
    }

    #[tokio::test]
    async fn without_a_server_contacts_let_go_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { data_dir: dir.path().to_owned(), ..Config::default() };
        let store = friends(&config).await;
        assert!(remove(&config, &store, &jid("ana@localhost")).await.unwrap());
        assert!(!remove(&config, &store, &jid("ana@localhost")).await.unwrap());
        check_gone(&store).await;
    }

    #[tokio::test]
    async fn a_server_that_runs_is_asked_and_a_socket_left_behind_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { data_dir: dir.path().to_owned(), ..Config::default() };
        let store = friends(&config).await;
        let path = dir.path().join(SOCKET);
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let server = app::server_alone(&config, &store).await.unwrap();
        let control = Control::open(dir.path()).await.unwrap();
        assert!(Control::open(dir.path()).await.is_none(), "two do not share a folder");
        let calls = CallDesk::new(store.clone(), Arc::new(Plan::new(&config)));
        let task = tokio::spawn(control.serve(server, calls));
        assert!(remove(&config, &store, &jid("ana@localhost")).await.unwrap());
        assert!(!remove(&config, &store, &jid("ana@localhost")).await.unwrap());
        check_gone(&store).await;
        let mut garbage = UnixStream::connect(&path).await.unwrap();
        garbage.write_all(&[b'x'; 10_000]).await.unwrap();
        drop(garbage);
        assert!(remove(&config, &store, &jid("bob@localhost")).await.unwrap());
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        assert!(!path.exists());
    }
}
