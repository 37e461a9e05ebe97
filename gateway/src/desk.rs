//! What an operator does at the command line about people: invites them, reads what they complain about.

use std::time::Duration;

use tandem_xmpp::jid::Jid;
use tandem_xmpp::ports::{Invite, Invites};
use tandem_xmpp::service::invite_uri;

use crate::config::Config;
use crate::store::Store;

/// Makes an invitation and prints its link.
///
/// # Errors
///
/// For the operator, with the cause.
pub async fn invite(
    config: &Config,
    domain: Option<String>,
    name: Option<String>,
    contact: Option<String>,
) -> anyhow::Result<()> {
    let domain = domain.or_else(|| config.domains.first().cloned()).unwrap_or_default();
    anyhow::ensure!(config.domains.contains(&domain), "{domain} is not served here");
    let inviter = contact.as_deref().map(Jid::parse).transpose()?;
    let store = Store::open_beside(&config.data_dir).await?;
    if let Some(name) = &name {
        let account = Jid::new(Some(name), &domain, None)?;
        anyhow::ensure!(account.node() == Some(name), "write {}", account);
        anyhow::ensure!(!store.account_exists(&account).await?, "{account} exists already");
    }
    if let Some(inviter) = &inviter {
        anyhow::ensure!(store.account_exists(inviter).await?, "there is no {inviter}");
    }
    let joins = inviter.is_some();
    let invite = Invite { domain, inviter, name, registers: true, joins };
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    let token: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    let days = u64::from(config.registration.invite_days);
    let lifetime = Duration::from_secs(days * 24 * 60 * 60);
    let Some(expire) = store.add(&token, &invite, lifetime).await? else {
        anyhow::bail!("too many invitations, or the name is kept for another");
    };
    println!("{}", invite_uri(&invite, &token));
    println!("{}{token}", config.invite_url());
    println!("good until {expire}");
    store.close().await;
    Ok(())
}

/// Prints the newest reports, the last first.
///
/// # Errors
///
/// For the operator, with the cause.
pub async fn reports(config: &Config, last: u32) -> anyhow::Result<()> {
    let store = Store::open_beside(&config.data_dir).await?;
    for report in store.reports(last).await? {
        let at = chrono::DateTime::from_timestamp_millis(report.at).unwrap_or_default();
        let reason = report.reason.rsplit(':').next().unwrap_or_default();
        let at = at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        println!(
            "{} {at} {} reports {}: {}",
            report.id,
            report.reporter,
            report.reported.escape_debug(),
            reason.escape_debug()
        );
        if let Some(text) = report.text {
            println!("    said: {}", text.escape_debug());
        }
        for (by, id, stanza) in report.evidence {
            let stanza = stanza.map_or("(not in the archive)".into(), |s| {
                s.escape_debug().to_string().replace("\\'", "'")
            });
            println!("    message {} by {}: {stanza}", id.escape_debug(), by.escape_debug());
        }
    }
    store.close().await;
    Ok(())
}
