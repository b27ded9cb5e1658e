//! The measurements of `jarvis-load`, one file each: what is done, what is reported.
pub mod automations;
pub mod benches;
pub mod drills;
pub mod failover;
pub mod memory;
pub mod netsplit;
pub mod rolling;
mod slow_disk;
pub mod soak;
pub mod stress;
mod watcher;
mod witness;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use tempfile::TempDir;

use crate::cluster::{Cluster, Options, find_jarvis};
use crate::gaps::percentile;
use crate::laws::Broken;

/// What every measurement is given.
pub struct Tool {
    /// How clusters are started.
    pub options: Options,
    /// Where reports go.
    pub report: PathBuf,
    /// Whether nodes live on machines of their own.
    pub machines: bool,
}

impl Tool {
    /// One that measures the binary beside it, on one loopback.
    ///
    /// # Errors
    /// Where there is none.
    pub fn on_loopback(report: &Path) -> Result<Self> {
        Ok(Self {
            options: Options::unlimited(find_jarvis()?),
            report: report.to_owned(),
            machines: false,
        })
    }

    /// A cluster of its own.
    ///
    /// # Errors
    /// Where it does not get ready.
    pub async fn cluster(&self) -> Result<(TempDir, Cluster)> {
        self.cluster_with(Vec::new()).await
    }

    /// A cluster of its own, with this environment besides.
    ///
    /// # Errors
    /// Where it does not get ready.
    pub async fn cluster_with(&self, env: Vec<(String, String)>) -> Result<(TempDir, Cluster)> {
        let data = tempfile::tempdir()?;
        let mut options = self.options.clone();
        options.env.extend(env);
        let cluster = if self.machines {
            Cluster::start_on_machines(&data, options).await?
        } else {
            Cluster::start(&data, options).await?
        };
        Ok((data, cluster))
    }
}

/// Times of one kind.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Times {
    /// How many.
    pub count: usize,
    /// The shortest, in milliseconds.
    pub min_ms: f64,
    /// Median, in milliseconds.
    pub p50_ms: f64,
    /// In milliseconds.
    pub p90_ms: f64,
    /// In milliseconds.
    pub p99_ms: f64,
    /// The longest, in milliseconds.
    pub max_ms: f64,
}

impl Times {
    /// What can be said of some times.
    pub fn of(mut times: Vec<Duration>) -> Self {
        times.sort();
        let ms = |time: Duration| (time.as_secs_f64() * 10_000.0).round() / 10.0;
        Self {
            count: times.len(),
            min_ms: ms(times.first().copied().unwrap_or_default()),
            p50_ms: ms(percentile(&times, 0.5)),
            p90_ms: ms(percentile(&times, 0.9)),
            p99_ms: ms(percentile(&times, 0.99)),
            max_ms: ms(percentile(&times, 1.0)),
        }
    }
}

/// Laws that were broken, for a report.
pub(crate) fn told(broken: &[Broken]) -> Vec<String> {
    broken.iter().map(ToString::to_string).collect()
}

/// Fails where something was broken.
pub(crate) fn verdict(broken: &[String]) -> Result<()> {
    anyhow::ensure!(
        broken.is_empty(),
        "{} laws broken:\n{}",
        broken.len(),
        broken.join("\n")
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_milliseconds() {
        let times = Times::of((1..=100).rev().map(Duration::from_millis).collect());
        assert_eq!((times.count, times.min_ms, times.max_ms), (100, 1.0, 100.0));
        assert_eq!((times.p50_ms, times.p90_ms, times.p99_ms), (50.0, 90.0, 99.0));
        assert_eq!(Times::of(Vec::new()), Times::default());
    }
}
