//! What an operator types.

use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use tandem_xmpp::jid::Jid;

use crate::app::App;
use crate::certificate::Certificate;
use crate::config::{Config, EXAMPLE};
use crate::store::{NewPassword, Store, random_password};
use crate::{demo, desk, removal, telemetry};

/// Tandem: people reach each other whatever app or phone they use.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run with demo accounts on this machine only; needs no configuration.
    Demo {
        /// Data folder [default: ~/.local/share/tandem-demo].
        #[arg(long)]
        data: Option<PathBuf>,
        /// Use ports from this one up instead of the usual ones.
        #[arg(long)]
        port_base: Option<u16>,
    },
    /// Run the server.
    Run {
        /// Configuration file; may be empty.
        #[arg(long)]
        config: PathBuf,
    },
    /// Add, list, change or remove accounts.
    User {
        /// Configuration file.
        #[arg(long, global = true, default_value = "/etc/tandem/tandem.toml")]
        config: PathBuf,
        #[command(subcommand)]
        command: User,
    },
    /// Invite somebody: prints a link that makes an account.
    Invite {
        /// Configuration file.
        #[arg(long, default_value = "/etc/tandem/tandem.toml")]
        config: PathBuf,
        /// Domain of the account [default: the first one served].
        #[arg(long)]
        domain: Option<String>,
        /// The name the account will have; chosen by who is invited otherwise.
        #[arg(long)]
        name: Option<String>,
        /// user@domain that becomes the first contact of who is invited.
        #[arg(long)]
        contact: Option<String>,
    },
    /// Read what people have reported as spam or abuse.
    Reports {
        /// Configuration file.
        #[arg(long, default_value = "/etc/tandem/tandem.toml")]
        config: PathBuf,
        /// How many, the newest first.
        #[arg(long, default_value_t = 20)]
        last: u32,
    },
    /// Check the configuration, the certificate, the data folder and the ports.
    Check {
        /// Configuration file.
        #[arg(long, default_value = "/etc/tandem/tandem.toml")]
        config: PathBuf,
    },
    /// Print the commented example of the configuration.
    Config,
    /// Print which specifications are served (XEP-0453).
    Doap,
}

#[derive(Debug, Subcommand)]
enum User {
    /// Make an account.
    Add {
        /// user@domain
        address: String,
        /// Its password; a random one is made and printed otherwise.
        #[arg(long)]
        password: Option<String>,
    },
    /// List all accounts.
    List,
    /// Give an account a new password.
    Passwd {
        /// user@domain
        address: String,
        /// The new password; a random one is made and printed otherwise.
        #[arg(long)]
        password: Option<String>,
    },
    /// Say what is done with calls to an account, or print it.
    Calls {
        /// user@domain
        address: String,
        /// `dnd=on|off`, `always=WHO`, `busy=WHO`, `no-answer=WHO`, `seconds=5..55`, `second-calls=ring|busy`; WHO is an account,
        /// a number, or `off`.
        words: Vec<String>,
    },
    /// Remove an account with everything it owns.
    Remove {
        /// user@domain
        address: String,
    },
}

/// Does what the arguments say.
///
/// # Errors
///
/// For the operator, with the cause.
pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    match arguments.command {
        Command::Demo { data, port_base } => {
            run_demo(data.unwrap_or_else(demo::default_data_dir), port_base).await
        }
        Command::Run { config } => {
            let config = Config::load(&config)?;
            telemetry::log_to_stderr(&config.log).map_err(anyhow::Error::msg)?;
            raise_descriptors();
            let app = App::start(config).await?;
            tracing::info!(addresses = ?app.addresses(), "tandem runs");
            wait_for_stop().await?;
            app.stop().await;
            Ok(())
        }
        Command::User { config, command } => user(&Config::load(&config)?, command).await,
        Command::Invite { config, domain, name, contact } => {
            desk::invite(&Config::load(&config)?, domain, name, contact).await
        }
        Command::Reports { config, last } => desk::reports(&Config::load(&config)?, last).await,
        Command::Check { config } => check(&config).await,
        Command::Config => {
            print!("{EXAMPLE}");
            Ok(())
        }
        Command::Doap => {
            print!("{}", tandem_xmpp::specs::doap());
            Ok(())
        }
    }
}

async fn run_demo(data: PathBuf, port_base: Option<u16>) -> anyhow::Result<()> {
    let config = demo::config(data, port_base);
    telemetry::log_to_stderr(&config.log).map_err(anyhow::Error::msg)?;
    // Before anybody can connect: a running server keeps what it has read of contacts.
    let people = demo::people(&config).await.map_err(anyhow::Error::msg)?;
    let app = App::start(config.clone()).await.map_err(|error| {
        anyhow::Error::new(error)
            .context("the demo cannot start; `--port-base 15000` uses other ports")
    })?;
    print!("{}", demo::banner(app.addresses(), &people, &config.data_dir));
    wait_for_stop().await?;
    app.stop().await;
    println!("Stopped.");
    Ok(())
}

/// Ctrl+C or a service manager's TERM.
async fn wait_for_stop() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result?,
        _ = terminate.recv() => {}
    }
    Ok(())
}

async fn user(config: &Config, command: User) -> anyhow::Result<()> {
    let store = Store::open_beside(&config.data_dir).await?;
    match command {
        User::Add { address, password } => {
            let (jid, password, keys) = credentials(config, &address, password)?;
            store.add_account(&jid, keys).await.map_err(|error| match error {
                tandem_xmpp::ports::StoreError::Conflict => {
                    anyhow::anyhow!("{jid} exists already")
                }
                error => error.into(),
            })?;
            println!("{jid} password {password}");
        }
        User::List => store.accounts().await?.iter().for_each(|a| println!("{a}")),
        User::Passwd { address, password } => {
            let (jid, password, keys) = credentials(config, &address, password)?;
            anyhow::ensure!(store.set_password(&jid, keys).await?, "there is no {jid}");
            println!("{jid} password {password}");
        }
        User::Calls { address, words } => {
            let jid = Jid::parse(&address)?;
            println!("{}", removal::set_calls(config, &store, &jid, &words).await?);
        }
        User::Remove { address } => {
            let jid = Jid::parse(&address)?;
            anyhow::ensure!(removal::remove(config, &store, &jid).await?, "there is no {jid}");
        }
    }
    store.close().await;
    Ok(())
}

fn credentials(
    config: &Config,
    address: &str,
    password: Option<String>,
) -> anyhow::Result<(Jid, String, NewPassword)> {
    let jid = Jid::parse(address)?;
    anyhow::ensure!(jid.node().is_some() && jid.is_bare(), "{address} is not user@domain");
    anyhow::ensure!(
        config.domains.iter().any(|d| d == jid.domain()),
        "{} is not served here; domains are {:?}",
        jid.domain(),
        config.domains
    );
    let password = match password {
        Some(password) => password,
        None => random_password()?,
    };
    anyhow::ensure!(!password.is_empty(), "an empty password is none");
    let mut salt = [0; 16];
    getrandom::fill(&mut salt)?;
    let keys = NewPassword::derive(&jid, &password, &salt, config.xmpp.scram_iterations);
    Ok((jid, password, keys))
}

/// Tries what a start would need, and says it line by line.
async fn check(path: &Path) -> anyhow::Result<()> {
    let config = Config::load(path)?;
    println!("ok   configuration {}", path.display());
    Store::open_beside(&config.data_dir).await?.close().await;
    println!("ok   database in {}", config.data_dir.display());
    Certificate::load(&config)?.server_config(&[])?;
    println!("ok   certificate");
    let listen = &config.listen;
    for address in
        [&listen.xmpp, &listen.xmpps, &listen.https, &listen.metrics].into_iter().flatten()
    {
        std::net::TcpListener::bind(address)
            .map_err(|error| anyhow::anyhow!("{address}: {error}"))?;
        println!("ok   {address} is free");
    }
    Ok(())
}

/// A connection is a descriptor: takes as many as the system allows, where the shell allows fewer.
fn raise_descriptors() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the number of open files stays as it is");
    }
}
