//! Logs and counters. The only module that knows a metrics library's set-up.

use std::sync::{Arc, OnceLock};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

/// The process's counters.
#[derive(Clone)]
pub struct Telemetry(PrometheusHandle);

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
            metrics::describe_counter!(
                "tandem_xmpp_logins_refused_total",
                "XMPP logins with a wrong name or password"
            );
            handle
        });
        Self(handle.clone())
    }

    /// Renders all counters in the text format of Prometheus.
    pub fn renderer(&self) -> Arc<dyn Fn() -> String + Send + Sync> {
        let handle = self.0.clone();
        Arc::new(move || handle.render())
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
