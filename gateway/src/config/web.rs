//! `[web]`, `[upload]`, `[[turn]]` and `[[filters]]`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `[web]`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Web {
    /// Where clients reach the HTTPS listener. Empty: the first domain with the port of the first listener.
    pub url: String,
    /// Pages of these origins may use WebSockets, BOSH and files; `*` is any.
    pub origins: Vec<String>,
    /// Connections over TLS that one address, or network of version 6, may have that are not logged in or WebSockets.
    pub max_connections_per_address: usize,
}

/// `[upload]`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Upload {
    /// Whether there is an upload service.
    pub enabled: bool,
    /// Where files are kept. Empty: `uploads` in the data folder.
    pub dir: PathBuf,
    /// Bytes of the longest file.
    pub max_file_bytes: u64,
    /// Bytes one account may keep.
    pub quota_bytes: u64,
    /// Bytes one account may store within 24 hours.
    pub daily_bytes: u64,
    /// Days a file is kept.
    pub keep_days: u32,
    /// Seconds a slot is open.
    pub slot_seconds: u32,
    /// Media types that are taken: `image/png`, `image/*` or `*/*`.
    pub types: Vec<String>,
    /// Files that are received at once.
    pub max_parallel: usize,
    /// Bytes a second of all uploads together.
    pub bytes_per_second: u64,
}

/// One of `[[turn]]`.
#[derive(Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Turn {
    /// Name or address of the relay.
    pub host: String,
    /// Port of STUN and TURN; 0 for none.
    pub port: u16,
    /// Port of TURN over TLS; 0 for none.
    pub tls_port: u16,
    /// How the relay is reached on `port`: `udp`, `tcp`.
    pub transports: Vec<String>,
    /// The secret shared with the relay.
    pub secret: String,
    /// Seconds for which credentials are good.
    pub seconds: u32,
}

/// One of `[[filters]]`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    /// Domains, rooms or patterns such as `*@rooms.example.org`.
    pub watch: Vec<String>,
    /// The component that is shown their messages.
    pub component: String,
}

impl Default for Web {
    fn default() -> Self {
        Self { url: String::new(), origins: vec!["*".into()], max_connections_per_address: 500 }
    }
}

impl Default for Upload {
    fn default() -> Self {
        Self {
            enabled: true,
            dir: PathBuf::new(),
            max_file_bytes: 100 * 1024 * 1024,
            quota_bytes: 10 * 1024 * 1024 * 1024,
            daily_bytes: 4 * 1024 * 1024 * 1024,
            keep_days: 365,
            slot_seconds: 300,
            types: vec!["*/*".into()],
            max_parallel: 64,
            bytes_per_second: 32 * 1024 * 1024,
        }
    }
}

impl Default for Turn {
    fn default() -> Self {
        Self {
            host: String::new(),
            port: 3478,
            tls_port: 0,
            transports: vec!["udp".into(), "tcp".into()],
            secret: String::new(),
            seconds: 4 * 60 * 60,
        }
    }
}

impl std::fmt::Debug for Turn {
    /// The secret stays out of logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Turn").field("host", &self.host).finish_non_exhaustive()
    }
}

impl super::Config {
    /// Where clients reach the HTTPS listener, without a slash at the end.
    pub fn web_url(&self) -> String {
        if !self.web.url.is_empty() {
            return self.web.url.trim_end_matches('/').to_owned();
        }
        let host = self.domains.first().map(String::as_str).unwrap_or("localhost");
        match self.listen.https.first().map(std::net::SocketAddr::port) {
            Some(443) | None => format!("https://{host}"),
            Some(port) => format!("https://{host}:{port}"),
        }
    }

    /// Where files of users are kept.
    pub fn upload_dir(&self) -> PathBuf {
        if self.upload.dir.as_os_str().is_empty() {
            return self.data_dir.join("uploads");
        }
        self.upload.dir.clone()
    }

    /// Who is shown what, as the XMPP server wants it.
    pub(super) fn filter_rules(&self) -> Vec<tandem_xmpp::service::FilterRule> {
        let rule = |filter: &Filter| {
            let component = tandem_xmpp::jid::Jid::parse(&filter.component).ok()?;
            Some(tandem_xmpp::service::FilterRule { watch: filter.watch.clone(), component })
        };
        self.filters.iter().filter_map(rule).collect()
    }

    /// What is wrong with these sections.
    pub(super) fn check_web(&self) -> Option<String> {
        if !self.web.url.is_empty() && !self.web.url.starts_with("https://") {
            return Some("web.url: must begin with https:// (XEP-0363 section 5)".into());
        }
        for relay in &self.turn {
            if relay.host.is_empty() || relay.secret.is_empty() {
                return Some("turn: host and secret are needed".into());
            }
            if relay.transports.iter().any(|t| t != "udp" && t != "tcp") {
                return Some("turn.transports: udp and tcp are known".into());
            }
        }
        for filter in &self.filters {
            if filter.component.is_empty() || filter.watch.is_empty() {
                return Some("filters: watch and component are needed".into());
            }
            if !self.components.iter().any(|component| component.host == filter.component) {
                return Some(format!("filters: `{}` is none of the components", filter.component));
            }
        }
        None
    }
}
