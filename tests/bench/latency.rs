//! What chat feels of others: the p99 of a message's way while files come in, and while a content filter hangs.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::client::Client;
use crate::servers::{DOMAIN, Running, Setup, free_port, start_tandem};

/// Messages a second of the chat that is timed.
const RATE: u32 = 100;
/// Uploads at once, and bytes of each.
const UPLOADS: usize = 20;
const FILE: u64 = 100_000_000;
/// Time without uploads, before and after.
const QUIET: Duration = Duration::from_secs(25);
/// One look at the chat.
const LOOK: Duration = Duration::from_secs(5);
/// Looks at each of the servers with and without a filter, by turns.
const TURNS: usize = 7;
const SECRET: &str = "between us";

/// The p99 of a message's way in milliseconds, with and without.
pub(crate) struct Felt {
    pub(crate) with: f64,
    pub(crate) without: f64,
    pub(crate) settings: String,
}

/// One session writes to another at a steady rate.
struct Chat {
    from: Client,
    to: Client,
    begun: Instant,
}

impl Chat {
    async fn start(server: &Running) -> Result<Self> {
        let (from, to) = (Client::login(server, 0).await?, Client::login(server, 1).await?);
        let mut chat = Self { from, to, begun: Instant::now() };
        chat.look(Duration::from_secs(2)).await?;
        Ok(chat)
    }

    /// How long each message of this time was on its way, in milliseconds.
    async fn look(&mut self, time: Duration) -> Result<Vec<f64>> {
        let Self { from, to, begun } = self;
        let address = to.jid().to_owned();
        let count = (time.as_secs_f64() * f64::from(RATE)) as usize;
        let send = async {
            let mut tick = tokio::time::interval(Duration::from_secs(1) / RATE);
            for _ in 0..count {
                tick.tick().await;
                let (at, body) = (begun.elapsed().as_micros(), "b".repeat(90));
                from.send(&format!(
                    "<message to='{address}' type='chat' id='x'><body>{at}{body}</body></message>"
                ))
                .await?;
            }
            anyhow::Ok(())
        };
        let receive = async {
            let mut times = Vec::with_capacity(count);
            while times.len() < count {
                let arrival = to.between("<body>", "b");
                let stamp = tokio::time::timeout(Duration::from_secs(30), arrival).await;
                let sent: u128 = stamp.context("a message is lost")??.parse()?;
                times.push(begun.elapsed().as_micros().saturating_sub(sent) as f64 / 1_000.0);
            }
            anyhow::Ok(times)
        };
        Ok(tokio::try_join!(send, receive)?.1)
    }
}

fn at(share: f64, times: &mut [f64]) -> Result<f64> {
    times.sort_by(f64::total_cmp);
    times.get((times.len() as f64 * share) as usize).copied().context("nothing arrived")
}

/// While twenty files come in at once.
pub(crate) async fn uploads() -> Result<Felt> {
    let https = free_port()?;
    let server = start_tandem(3, Setup { https, ..Setup::default() }).await?;
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("film");
    make_file(&file).await?;
    let mut chat = Chat::start(&server).await?;
    let mut without = chat.look(QUIET).await?;
    let mut giver = Client::login(&server, 2).await?;
    let begun = Instant::now();
    let mut uploads = Vec::new();
    for n in 0..UPLOADS {
        uploads.push(upload(&slot(&mut giver, n).await?, https, &file)?);
    }
    let mut with = Vec::new();
    let mut taken = Duration::ZERO;
    while taken.is_zero() {
        let times = chat.look(LOOK).await?;
        let mut ended = true;
        for upload in &mut uploads {
            ended &= upload.try_wait()?.is_some();
        }
        if ended {
            taken = begun.elapsed();
        } else {
            with.extend(times);
        }
    }
    for upload in uploads {
        let code = upload.wait_with_output().await?.stdout;
        ensure!(code == b"201", "an upload ended with {}", String::from_utf8_lossy(&code));
    }
    without.extend(chat.look(QUIET).await?);
    let settings = format!(
        "p99 of a message's way, {RATE} a second between two sessions, TLS, archive on, while {UPLOADS} files of {} MB come \
         in at once (curl, nice 19) within {} s, beside that before and after; medians {:.2} and {:.2} ms",
        FILE / 1_000_000,
        taken.as_secs(),
        at(0.5, &mut with)?,
        at(0.5, &mut without)?,
    );
    Ok(Felt { with: at(0.99, &mut with)?, without: at(0.99, &mut without)?, settings })
}

/// Bytes that no disk can shorten.
async fn make_file(path: &Path) -> Result<()> {
    let mut file = tokio::fs::File::create(path).await?;
    let mut random = tokio::fs::File::open("/dev/urandom").await?.take(FILE);
    tokio::io::copy(&mut random, &mut file).await?;
    Ok(file.sync_all().await?)
}

/// Where a file may go (XEP-0363).
async fn slot(client: &mut Client, n: usize) -> Result<String> {
    client
        .send(&format!(
            "<iq type='get' to='upload.{DOMAIN}' id='s'><request xmlns='urn:xmpp:http:upload:0' \
             filename='film{n}' size='{FILE}'/></iq>"
        ))
        .await?;
    Ok(client.between("<put url='", "'").await?.replace("&amp;", "&"))
}

/// The client's own work is not the server's: it gives way.
fn upload(url: &str, port: u16, file: &Path) -> Result<Child> {
    Command::new("nice")
        .args(["-n", "19", "curl", "-k", "-s", "-o", "/dev/null", "-w", "%{http_code}"])
        .args(["--connect-to", &format!("::127.0.0.1:{port}"), "-T"])
        .arg(file)
        .arg(url)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("curl is missing")
}

/// While a content filter that has stopped reading is shown every message.
pub(crate) async fn filter() -> Result<Felt> {
    let plain = start_tandem(2, Setup::default()).await?;
    let (components, metrics) = (free_port()?, free_port()?);
    let sections = format!(
        "[[components]]\nhost = \"filter.{DOMAIN}\"\nsecret = \"{SECRET}\"\n\
         [[filters]]\nwatch = [\"{DOMAIN}\"]\ncomponent = \"filter.{DOMAIN}\"\n"
    );
    let setup = Setup { components, metrics, sections, ..Setup::default() };
    let watched = start_tandem(2, setup).await?;
    let mut alone = Chat::start(&plain).await?;
    let _hangs = hang(components).await?;
    let mut seen = Chat::start(&watched).await?;
    // What it holds in memory is full before anything is measured.
    let before = fill(&mut seen, metrics).await?;
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        without.extend(alone.look(LOOK).await?);
        with.extend(seen.look(LOOK).await?);
    }
    let all = dropped(metrics).await? - before;
    let settings = format!(
        "p99 of a message's way, {RATE} a second between two sessions, TLS, archive on, while a filter that watches the \
         domain hangs, by turns with a server that has none; {all} copies were dropped; medians {:.2} and {:.2} ms",
        at(0.5, &mut with)?,
        at(0.5, &mut without)?,
    );
    Ok(Felt { with: at(0.99, &mut with)?, without: at(0.99, &mut without)?, settings })
}

/// A component (XEP-0114) that says who it is and then reads nothing.
async fn hang(port: u16) -> Result<TcpStream> {
    use sha1::{Digest, Sha1};
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let header = format!(
        "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' \
         to='filter.{DOMAIN}'>"
    );
    stream.write_all(header.as_bytes()).await?;
    let mut answer = String::new();
    while !answer.contains(" id='") || !answer.ends_with('>') {
        let mut bytes = [0; 512];
        let count = stream.read(&mut bytes).await?;
        ensure!(count > 0, "the component was shown out: {answer}");
        answer.push_str(&String::from_utf8_lossy(bytes.get(..count).unwrap_or_default()));
    }
    let id = answer.split(" id='").nth(1).and_then(|rest| rest.split('\'').next());
    let proof = Sha1::digest(format!("{}{SECRET}", id.context("no stream id")?));
    let proof: String = proof.iter().map(|byte| format!("{byte:02x}")).collect();
    stream.write_all(format!("<handshake>{proof}</handshake>").as_bytes()).await?;
    stream.read_exact(&mut [0; 1]).await?;
    Ok(stream)
}

/// Writes long messages until a copy is dropped; gives how many were.
async fn fill(chat: &mut Chat, metrics: u16) -> Result<u64> {
    let message = format!(
        "<message to='{}' type='chat' id='x'><body>long{}</body></message>",
        chat.to.jid(),
        "z".repeat(50_000)
    );
    for _ in 0..2_000 {
        chat.from.send(&message).await?;
        chat.to.between("<body>long", "<").await?;
        let dropped = dropped(metrics).await?;
        if dropped > 0 {
            return Ok(dropped);
        }
    }
    anyhow::bail!("the filter takes everything")
}

/// Copies that were dropped so far.
async fn dropped(metrics: u16) -> Result<u64> {
    let mut stream = TcpStream::connect(("127.0.0.1", metrics)).await?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: x\r\n\r\n").await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    let line = text.lines().find_map(|line| line.strip_prefix("tandem_filter_dropped_total "));
    Ok(line.context("no such counter")?.trim().parse()?)
}
