//! Logs and counters. The only module that knows a metrics library's set-up.

use std::sync::{Arc, OnceLock};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tandem_media::MediaHandle;
use tandem_media::control::{Cause, Drops};
use tandem_xmpp::Server;
use tracing_subscriber::EnvFilter;

/// What is counted, with the text beside it.
const COUNTERS: [(&str, &str); 8] = [
    ("tandem_xmpp_logins_refused_total", "XMPP logins with a wrong name or password"),
    ("tandem_sip_logins_refused_total", "SIP requests with a wrong name or password"),
    ("tandem_calls_total", "Calls with a phone in them"),
    ("tandem_calls_silent_total", "Legs that were ended because nothing was heard of them"),
    ("tandem_media_strangers_total", "Datagrams that belonged to no leg, by cause"),
    ("tandem_media_dropped_total", "Packets of ended legs that were dropped, by cause"),
    ("tandem_filter_dropped_total", "Copies of messages that no content filter took"),
    ("tandem_messages_to_phones_failed_total", "Messages that no phone took"),
];

/// The process's counters.
#[derive(Clone)]
pub struct Telemetry {
    handle: PrometheusHandle,
    media: Option<MediaHandle>,
    xmpp: Option<Server>,
}

impl Telemetry {
    /// The one recorder of the process, installed at its first use.
    pub fn global() -> Self {
        static GLOBAL: OnceLock<PrometheusHandle> = OnceLock::new();
        let handle = GLOBAL.get_or_init(|| {
            let recorder = PrometheusBuilder::new().build_recorder();
            let handle = recorder.handle();
            if metrics::set_global_recorder(recorder).is_err() {
                tracing::warn!("counters were set up twice");
            }
            for (name, text) in COUNTERS {
                metrics::describe_counter!(name, text);
            }
            handle
        });
        Self { handle: handle.clone(), media: None, xmpp: None }
    }

    /// With the counters of the media engine, which are read when somebody asks.
    pub fn with_media(self, media: MediaHandle) -> Self {
        Self { media: Some(media), ..self }
    }

    /// With the counters of the XMPP server.
    pub fn with_xmpp(self, xmpp: Server) -> Self {
        Self { xmpp: Some(xmpp), ..self }
    }

    /// Renders all counters in the text format of Prometheus.
    pub fn renderer(&self) -> Arc<dyn Fn() -> String + Send + Sync> {
        let Self { handle, media, xmpp } = self.clone();
        Arc::new(move || {
            if let Some(media) = &media {
                let shards = media.strangers();
                for cause in Cause::ALL {
                    let total = shards.iter().map(|shard| shard.drops.of(cause)).sum();
                    let name = format!("{cause:?}");
                    metrics::counter!("tandem_media_strangers_total", "cause" => name)
                        .absolute(total);
                }
            }
            if let Some(xmpp) = &xmpp {
                let dropped = xmpp.filter_copies_dropped();
                metrics::counter!("tandem_filter_dropped_total").absolute(dropped);
            }
            handle.render()
        })
    }

    /// Counts what a leg dropped in its life, by cause.
    pub fn count_drops(drops: &Drops) {
        for cause in Cause::ALL.into_iter().filter(|cause| drops.of(*cause) > 0) {
            let name = format!("{cause:?}");
            metrics::counter!("tandem_media_dropped_total", "cause" => name)
                .increment(drops.of(cause));
        }
    }
}

/// Logs to standard error.
///
/// # Errors
///
/// A text that names the filter when it is none.
pub fn log_to_stderr(filter: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter).map_err(|e| format!("log: `{filter}`: {e}"))?;
    let subscriber =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).finish();
    tracing::subscriber::set_global_default(subscriber).map_err(|e| e.to_string())
}
