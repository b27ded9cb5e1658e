//! Logs and metrics. Logs go to stderr, as JSON or for people; metrics to a recorder that `/metrics` prints.

use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Layer};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For a person's eyes.
    #[default]
    Pretty,
    /// One JSON object a line, with the spans' fields.
    Json,
}

/// Bounds of histogram buckets for durations, in seconds: 50 µs to 10 s.
const SECONDS_BUCKETS: [f64; 16] = [
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];

/// Starts logging for this process. `filter` is a list of directives such as `info,jarvis_mesh=debug`.
///
/// # Errors
/// Where a subscriber is installed already, or `filter` is malformed.
pub fn start_logs(format: LogFormat, filter: &str) -> Result<LogControl, LogError> {
    let filter = EnvFilter::try_new(filter).map_err(|e| LogError::Filter(e.to_string()))?;
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(colours);
    let layer = match format {
        LogFormat::Pretty => layer.with_target(true).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_span_list(true).boxed(),
    };
    let (filter, reload) = tracing_subscriber::reload::Layer::new(filter);
    let set = move |directives: &str| {
        let filter = EnvFilter::try_new(directives).map_err(|e| LogError::Filter(e.to_string()))?;
        reload.reload(filter).map_err(|e| LogError::Filter(e.to_string()))
    };
    tracing_subscriber::registry()
        .with(layer.with_filter(filter))
        .try_init()
        .map_err(LogError::Installed)?;
    Ok(LogControl(std::sync::Arc::new(set)))
}

type SetFilter = dyn Fn(&str) -> Result<(), LogError> + Send + Sync;

/// Changes what is logged while the process runs. Clones are the same control.
#[derive(Clone)]
pub struct LogControl(std::sync::Arc<SetFilter>);

impl LogControl {
    /// Logs by these directives from here on.
    ///
    /// # Errors
    /// Where they are malformed.
    pub fn set_filter(&self, directives: &str) -> Result<(), LogError> {
        (self.0)(directives)
    }
}

/// Why logs could not start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter's directives are malformed.
    #[error("log filter: {0}")]
    Filter(String),
    /// Another subscriber is there already.
    #[error("logging was started before")]
    Installed(#[source] TryInitError),
}

/// How often samples of histograms are put into their buckets. Until then each takes 24 bytes: at 10,000 a second, half a
/// megabyte.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(2);

/// Keeps the memory of histograms bounded where nobody reads the metrics: what is recorded waits one by one until it is
/// rendered or this runs. Never ends.
pub async fn keep_metrics_small(metrics: PrometheusHandle) {
    loop {
        tokio::time::sleep(UPKEEP_INTERVAL).await;
        metrics.run_upkeep();
    }
}

/// Installs the process's metrics recorder and gives what renders it as Prometheus text. [`keep_metrics_small`] is to run
/// beside it.
///
/// # Errors
/// Where a recorder is installed already.
pub fn start_metrics() -> Result<PrometheusHandle, BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS_BUCKETS)?
        .install_recorder()
}
