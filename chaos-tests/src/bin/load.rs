//! `jarvis-load`: benchmarks and storms against clusters of real processes of its own.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use jarvis_chaos::cluster::{Cluster, Options, find_jarvis};
use jarvis_chaos::faults::Victim;
use jarvis_chaos::gaps::percentile;
use jarvis_chaos::report::{keep, say};
use jarvis_chaos::storm::{self, Plan};
use jarvis_chaos::{bench, bench_calls};
use serde::Serialize;
use tempfile::TempDir;

/// Benchmarks and storms against clusters of real processes of its own.
#[derive(Parser)]
struct Arguments {
    /// The binary under test; else the one beside this tool.
    #[arg(long, global = true)]
    jarvis: Option<PathBuf>,
    /// Where reports go.
    #[arg(long, global = true, default_value = "reports")]
    report: PathBuf,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Everything but the drills.
    All,
    /// Messages a second: one client, and 64.
    Messages {
        /// Seconds of each measurement.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
    /// Entity calls between two nodes: one after the other, and from 64 callers.
    Calls {
        /// Seconds of each measurement.
        #[arg(long, default_value_t = 5)]
        seconds: u64,
    },
    /// The other process of `calls`.
    #[command(hide = true)]
    CallNode {
        /// Its folder.
        folder: PathBuf,
    },
    /// Memory, CPU and disk of nodes that nobody talks to; time to ready.
    Idle {
        /// Seconds to watch.
        #[arg(long, default_value_t = 30)]
        seconds: u64,
    },
    /// Memory of idle sockets, and many sockets talking at once.
    Sockets {
        /// Idle ones, on one node.
        #[arg(long, default_value_t = 10_000)]
        idle: usize,
        /// Talking ones, over all nodes.
        #[arg(long, default_value_t = 3_000)]
        talking: usize,
    },
    /// Gaps when owner, leader and gateway are killed under load.
    Drills {
        /// Kills of each.
        #[arg(long, default_value_t = 30)]
        rounds: usize,
    },
    /// Messages over sessions while random nodes are killed every few seconds.
    Storm {
        /// Sessions.
        #[arg(long, default_value_t = 20)]
        sessions: usize,
        /// Messages of each.
        #[arg(long, default_value_t = 100)]
        messages: usize,
        /// Kills.
        #[arg(long, default_value_t = 10)]
        kills: usize,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let What::CallNode { folder } = &arguments.what {
        return bench_calls::child(folder).await;
    }
    let jarvis = match &arguments.jarvis {
        Some(path) => path
            .canonicalize()
            .with_context(|| format!("{} is not there", path.display()))?,
        None => find_jarvis()?,
    };
    let tool = Tool {
        options: Options::unlimited(jarvis),
        report: arguments.report,
    };
    match arguments.what {
        What::All => {
            tool.idle(Duration::from_secs(30)).await?;
            tool.messages(Duration::from_secs(10)).await?;
            tool.calls(Duration::from_secs(5)).await?;
            tool.sockets(10_000, 3_000).await
        }
        What::Calls { seconds } => tool.calls(Duration::from_secs(seconds)).await,
        What::CallNode { .. } => Ok(()),
        What::Messages { seconds } => tool.messages(Duration::from_secs(seconds)).await,
        What::Idle { seconds } => tool.idle(Duration::from_secs(seconds)).await,
        What::Sockets { idle, talking } => tool.sockets(idle, talking).await,
        What::Drills { rounds } => tool.drills(rounds).await,
        What::Storm {
            sessions,
            messages,
            kills,
        } => tool.storm(sessions, messages, kills).await,
    }
}

struct Tool {
    options: Options,
    report: PathBuf,
}

#[derive(Serialize)]
struct Gaps {
    victim: &'static str,
    kills: usize,
    gaps: usize,
    p50_ms: u128,
    p99_ms: u128,
    max_ms: u128,
}

#[derive(Serialize)]
struct StormReport {
    laws_broken: Vec<String>,
    messages: usize,
    answered: usize,
    sessions: usize,
    reconnects: u64,
    unavailable: usize,
    kills: Vec<Gaps>,
}

impl Tool {
    async fn cluster(&self) -> Result<(TempDir, Cluster)> {
        let data = tempfile::tempdir()?;
        let cluster = Cluster::start(&data, self.options.clone()).await?;
        Ok((data, cluster))
    }

    async fn messages(&self, lasting: Duration) -> Result<()> {
        let (_data, cluster) = self.cluster().await?;
        // A first, unmeasured run warms the file system and the branch predictors alike.
        bench::messages(&cluster, 8, Duration::from_secs(2)).await?;
        let mut all = Vec::new();
        for clients in [1, 64] {
            all.push(bench::messages(&cluster, clients, lasting).await?);
        }
        keep(&self.report, "messages", &all)?;
        cluster.stop().await.map(drop)
    }

    async fn calls(&self, lasting: Duration) -> Result<()> {
        keep(
            &self.report,
            "calls",
            &bench_calls::calls(std::env::current_exe()?, lasting).await?,
        )
    }

    async fn idle(&self, lasting: Duration) -> Result<()> {
        let (_data, cluster) = self.cluster().await?;
        say(&format!("ready after {:?}", cluster.ready_after));
        // Start-up is not idleness.
        tokio::time::sleep(Duration::from_secs(10)).await;
        keep(&self.report, "idle", &bench::idle(&cluster, lasting).await?)?;
        cluster.stop().await.map(drop)
    }

    async fn sockets(&self, idle: usize, talking: usize) -> Result<()> {
        let (_data, cluster) = self.cluster().await?;
        let node = cluster.nodes.first().context("there are nodes")?.clone();
        keep(
            &self.report,
            "sockets-idle",
            &bench::idle_sockets(&cluster, &node, idle).await?,
        )?;
        keep(
            &self.report,
            "sockets-talking",
            &bench::talking(&cluster, talking, 5).await?,
        )?;
        cluster.stop().await.map(drop)
    }

    async fn drills(&self, rounds: usize) -> Result<()> {
        let victims = [Victim::Owner, Victim::Leader, Victim::Gateway];
        let kills: Vec<Victim> = (0..rounds).flat_map(|_| victims).collect();
        let plan = Plan {
            sessions: 12,
            messages: usize::MAX,
            pause: Duration::from_millis(10),
            kills,
            calm: Duration::from_secs(2),
            stop_after_kills: true,
        };
        self.run("drills", &plan).await
    }

    async fn storm(&self, sessions: usize, messages: usize, kills: usize) -> Result<()> {
        let plan = Plan {
            sessions,
            messages,
            pause: Duration::from_millis(250),
            kills: (0..kills).map(|n| Victim::Any(n * 7 / 3)).collect(),
            calm: Duration::from_secs(2),
            stop_after_kills: false,
        };
        self.run("storm", &plan).await
    }

    async fn run(&self, name: &str, plan: &Plan) -> Result<()> {
        let (_data, mut cluster) = self.cluster().await?;
        let verdict = storm::run(&mut cluster, plan).await?;
        let gaps = ["owner", "leader", "gateway", "any"]
            .into_iter()
            .filter_map(|victim| {
                let kills = verdict
                    .kills
                    .iter()
                    .filter(|kill| kill.victim.name() == victim)
                    .count();
                let gaps = verdict.gaps_of(victim);
                let at = |share| percentile(&gaps, share).as_millis();
                (kills > 0).then(|| Gaps {
                    victim,
                    kills,
                    gaps: gaps.len(),
                    p50_ms: at(0.5),
                    p99_ms: at(0.99),
                    max_ms: at(1.0),
                })
            });
        let report = StormReport {
            laws_broken: verdict.broken.iter().map(ToString::to_string).collect(),
            messages: verdict.said,
            answered: verdict.answered,
            sessions: verdict.histories.len(),
            reconnects: verdict.histories.iter().map(|h| h.reconnects).sum(),
            unavailable: verdict.histories.iter().map(|h| h.unavailable.len()).sum(),
            kills: gaps.collect(),
        };
        keep(&self.report, name, &report)?;
        cluster.stop().await?;
        verdict.into_result().map(drop)
    }
}
