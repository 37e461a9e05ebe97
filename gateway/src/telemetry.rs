//! Logs and counters. The only module that knows a metrics library's set-up.

use std::sync::{Arc, OnceLock};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tandem_media::MediaHandle;
use tandem_media::control::{Cause, Drops};
use tandem_media::net::RelayHandle;
use tandem_media::turn::Counters;
use tandem_sip::SipHandle;
use tandem_xmpp::Server;
use tracing_subscriber::EnvFilter;

/// What is counted, with the text beside it.
const COUNTERS: [(&str, &str); 15] = [
    ("tandem_relay_allocations_total", "Relayed addresses given to clients"),
    ("tandem_relay_packets_total", "Packets relayed, both ways"),
    ("tandem_relay_bytes_total", "Bytes relayed, both ways"),
    ("tandem_relay_refused_total", "What the relay did not do, by cause"),
    ("tandem_xmpp_logins_refused_total", "XMPP logins with a wrong name or password"),
    ("tandem_sip_logins_refused_total", "SIP requests with a wrong name or password"),
    ("tandem_calls_total", "Calls with a phone in them"),
    ("tandem_calls_silent_total", "Legs that were ended because nothing was heard of them"),
    ("tandem_media_strangers_total", "Datagrams that belonged to no leg, by cause"),
    ("tandem_media_dropped_total", "Packets of ended legs that were dropped, by cause"),
    ("tandem_filter_dropped_total", "Copies of messages that no content filter took"),
    ("tandem_sip_refused_total", "SIP requests that were turned away unasked, by why"),
    ("tandem_trunk_refused_total", "Numbers that were not dialled, by why"),
    ("tandem_trunk_failed_total", "Calls that a trunk did not take"),
    ("tandem_messages_to_phones_failed_total", "Messages that no phone took"),
];

/// What goes up and down, with the text beside it.
const GAUGES: [(&str, &str); 8] = [
    ("tandem_relay_allocations", "Relayed addresses that clients have"),
    ("tandem_calls", "Calls with a phone in them that are not over"),
    ("tandem_media_legs", "Legs of calls whose media is open"),
    ("tandem_sip_transactions", "SIP transactions, each up to 32 s after its end"),
    ("tandem_sip_dialogs", "SIP calls and what may become one"),
    ("tandem_sip_subscriptions", "SIP subscriptions, to us and of ours"),
    ("tandem_sip_accounts", "Accounts with a registered phone"),
    ("tandem_sip_connections", "SIP stream connections"),
];

fn set(name: &'static str, value: usize) {
    metrics::gauge!(name).set(u32::try_from(value).unwrap_or(u32::MAX));
}

/// The process's counters.
#[derive(Clone)]
pub struct Telemetry {
    handle: PrometheusHandle,
    media: Option<MediaHandle>,
    relay: Option<RelayHandle>,
    xmpp: Option<Server>,
    sip: Option<SipHandle>,
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
            for (name, text) in GAUGES {
                metrics::describe_gauge!(name, text);
            }
            handle
        });
        Self { handle: handle.clone(), media: None, relay: None, xmpp: None, sip: None }
    }

    /// With the counters of the media engine, which are read when somebody asks.
    pub fn with_media(self, media: MediaHandle) -> Self {
        Self { media: Some(media), ..self }
    }

    /// With what the relay did.
    pub fn with_relay(self, relay: Option<RelayHandle>) -> Self {
        Self { relay, ..self }
    }

    /// With the counters of the XMPP server.
    pub fn with_xmpp(self, xmpp: Server) -> Self {
        Self { xmpp: Some(xmpp), ..self }
    }

    /// With how much the SIP server has in work.
    pub fn with_sip(self, sip: SipHandle) -> Self {
        Self { sip: Some(sip), ..self }
    }

    /// Renders all counters in the text format of Prometheus.
    pub fn renderer(&self) -> Arc<dyn Fn() -> String + Send + Sync> {
        let Self { handle, media, relay, xmpp, sip } = self.clone();
        Arc::new(move || {
            if let Some(media) = &media {
                let shards = media.strangers();
                for cause in Cause::ALL {
                    let total = shards.iter().map(|shard| shard.drops.of(cause)).sum();
                    let name = format!("{cause:?}");
                    metrics::counter!("tandem_media_strangers_total", "cause" => name)
                        .absolute(total);
                }
                set("tandem_media_legs", media.open_legs());
            }
            if let Some(relay) = &relay {
                count_relay(relay.counters());
            }
            if let Some(sip) = &sip {
                let gauges = sip.gauges();
                set("tandem_sip_transactions", gauges.transactions);
                set("tandem_sip_dialogs", gauges.dialogs);
                set("tandem_sip_subscriptions", gauges.subscriptions);
                set("tandem_sip_accounts", gauges.accounts);
                set("tandem_sip_connections", gauges.connections);
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

/// What the relay did, and why it did not do more.
fn count_relay(counters: Counters) {
    metrics::gauge!("tandem_relay_allocations").set(counters.open as f64);
    metrics::counter!("tandem_relay_allocations_total").absolute(counters.allocations);
    metrics::counter!("tandem_relay_packets_total").absolute(counters.relayed);
    metrics::counter!("tandem_relay_bytes_total").absolute(counters.bytes);
    let refused = [
        ("unauthorized", counters.unauthorized),
        ("too-often", counters.ignored),
        ("forbidden-peer", counters.forbidden),
        ("quota", counters.over_quota),
        ("no-permission", counters.unpermitted),
        ("bandwidth", counters.over_bandwidth),
    ];
    for (cause, total) in refused {
        metrics::counter!("tandem_relay_refused_total", "cause" => cause).absolute(total);
    }
}
