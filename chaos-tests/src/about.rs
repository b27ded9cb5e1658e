//! The machine that measured: a figure without it means nothing.

use anyhow::{Context, Result};
use serde::Serialize;

/// What it is.
#[derive(Debug, Clone, Serialize)]
pub struct About {
    cpu: String,
    cores: usize,
    memory_mb: u64,
    kernel: String,
    debug_build: bool,
    load_average_before: String,
}

impl About {
    /// Reads it from `/proc`.
    pub fn read() -> Self {
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let cpu = text("/proc/cpuinfo");
        let cpu = cpu
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let memory = text("/proc/meminfo");
        let memory = memory.lines().find_map(|line| {
            line.strip_prefix("MemTotal:")?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        });
        Self {
            cpu: cpu.map_or_else(|| "unknown".to_owned(), |(_, name)| name.to_owned()),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_mb: memory.unwrap_or(0u64) / 1_000,
            kernel: text("/proc/sys/kernel/osrelease").trim().to_owned(),
            debug_build: cfg!(debug_assertions),
            load_average_before: text("/proc/loadavg").trim().to_owned(),
        }
    }
}

/// How busy all cores together were.
#[derive(Debug, Clone, Copy)]
pub struct Busy {
    busy: u64,
    all: u64,
}

impl Busy {
    /// As the kernel counts it.
    ///
    /// # Errors
    /// Where `/proc/stat` cannot be read.
    pub fn read() -> Result<Self> {
        parse(&std::fs::read_to_string("/proc/stat")?).context("/proc/stat does not count")
    }

    /// Share in per cent since an earlier reading.
    pub fn percent_since(self, earlier: Self) -> f64 {
        let (busy, all) = (self.busy - earlier.busy, self.all - earlier.all);
        100.0 * busy as f64 / all.max(1) as f64
    }
}

/// user nice system idle iowait irq softirq steal …
fn parse(text: &str) -> Option<Busy> {
    let line = text.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = line
        .split_whitespace()
        .take(8)
        .filter_map(|n| n.parse().ok())
        .collect();
    let [_, _, _, idle, waiting, ..] = ticks.as_slice() else {
        return None;
    };
    let all = ticks.iter().sum();
    Some(Busy {
        busy: all - idle - waiting,
        all,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_and_waiting_are_not_busy() {
        let before = parse("cpu  10 0 10 70 10 0 0 0 0 0\ncpu0 1").expect("it counts");
        let after = parse("cpu  60 0 10 110 20 0 0 0 0 0\ncpu0 1").expect("it counts");
        assert_eq!((before.busy, before.all), (20, 100));
        assert!((after.percent_since(before) - 50.0).abs() < 1e-9);
        assert!(parse("intr 5").is_none());
    }
}
