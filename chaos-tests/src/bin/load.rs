//! `jarvis-load`: benchmarks and faults against clusters of real processes of its own.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use jarvis_chaos::bench_calls;
use jarvis_chaos::cluster::{Options, find_jarvis};
use jarvis_chaos::measure::failover::{self, Victim};
use jarvis_chaos::measure::soak::Bounds;
use jarvis_chaos::measure::{Tool, automations, benches, drills, memory, netsplit, rolling, soak, stress};
use jarvis_chaos::net::{INTERRUPTED, Way, enter, interrupted, is_inside, possible};
use jarvis_chaos::report::say;
use jarvis_host::{Entropy, SystemEntropy};

/// Benchmarks and faults against clusters of real processes of its own.
#[derive(Parser)]
struct Arguments {
    /// The binary under test; else the one beside this tool.
    #[arg(long, global = true)]
    jarvis: Option<PathBuf>,
    /// Where reports go.
    #[arg(long, global = true, default_value = "reports")]
    report: PathBuf,
    /// Each node on a machine of its own, as far as the network can tell; measurements that cut cables always do that.
    #[arg(long, global = true)]
    machines: bool,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Rates, latencies and what a node costs.
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
    /// Works until its standard input ends.
    #[command(hide = true)]
    Busy,
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
    /// Memory of two nodes and their witness: idle, under load, and after it.
    Memory {
        /// Messages said and answered.
        #[arg(long, default_value_t = 30_000)]
        exchanges: u64,
        /// Clients, each of which says the next when it has its answer.
        #[arg(long, default_value_t = 32)]
        clients: usize,
        /// Looks at the memory meanwhile.
        #[arg(long, default_value_t = 5)]
        looks: u64,
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
    /// From a fault to the first answer of a session's next owner, with many sessions alive.
    Failover {
        /// Live sessions, over all nodes.
        #[arg(long, default_value_t = 3_000)]
        sessions: usize,
        /// Sessions of the victim that ask without end.
        #[arg(long, default_value_t = 60)]
        probes: usize,
        /// Faults of each kind.
        #[arg(long, default_value_t = 10)]
        rounds: usize,
        /// Whom it hits, and how.
        #[arg(long, value_delimiter = ',', default_value = "owner,leader")]
        victim: Vec<Victim>,
    },
    /// A node is killed, and every session of it asks at once: until the last has answered with its state.
    Takeover {
        /// Live sessions, over all nodes: the victim has a third of them.
        #[arg(long, default_value_t = 3_000)]
        sessions: usize,
        /// Kills of each kind.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// Whom it hits, and how.
        #[arg(long, value_delimiter = ',', default_value = "owner")]
        victim: Vec<Victim>,
    },
    /// A busy machine and lossy links for a long time: nothing may fail over.
    Stress {
        /// How long.
        #[arg(long, default_value_t = 30)]
        minutes: u64,
        /// Live sessions.
        #[arg(long, default_value_t = 150)]
        sessions: usize,
        /// Mesh datagrams that are lost on each way, of a hundred.
        #[arg(long, default_value_t = 5)]
        loss: u8,
        /// Processes that do nothing but work.
        #[arg(long, default_value_t = 8)]
        busy: usize,
        /// Stops a random node for so many milliseconds now and then.
        #[arg(long)]
        pause_ms: Option<u64>,
        /// How often.
        #[arg(long, default_value_t = 10)]
        pause_every_s: u64,
        /// Makes every sync of the log take so many milliseconds longer.
        #[arg(long)]
        sync_delay_ms: Option<u64>,
        /// Timers of the mesh, such as slow-disk.
        #[arg(long)]
        profile: Option<String>,
        /// Name of the report.
        #[arg(long, default_value = "stress")]
        name: String,
    },
    /// A rolling restart under load.
    Rolling {
        /// Restarts of each node.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// Live sessions.
        #[arg(long, default_value_t = 300)]
        sessions: usize,
        /// Among them, sessions that ask without end.
        #[arg(long, default_value_t = 12)]
        probes: usize,
    },
    /// Faults at random, drawn from a seed, under chat sessions and a home with a real broker, for as long as asked; all must be
    /// well again soon after each heal, and all that the home was told must have come in at the end.
    Soak {
        /// How long new phases of faults begin.
        #[arg(long, default_value_t = 10)]
        minutes: u64,
        /// No more phases than this, of half a minute each.
        #[arg(long, default_value_t = u32::MAX)]
        phases: u32,
        /// Each has faults for so many seconds, or up to half as long again.
        #[arg(long, default_value_t = 20)]
        phase_s: u64,
        /// The same seed is the same schedule; else one is drawn.
        #[arg(long)]
        seed: Option<u64>,
        /// Nodes: 3 or 5.
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(3..=9))]
        nodes: u32,
        /// Live sessions.
        #[arg(long, default_value_t = 60)]
        sessions: usize,
        /// All nodes on one loopback, all faults by the nodes themselves; so it is too where machines cannot be had.
        #[arg(long)]
        no_machines: bool,
        /// Every session must have answered so many seconds after each heal.
        #[arg(long, default_value_t = Bounds::default().answer_s)]
        answer_s: u64,
        /// Every partition must have one owner so many seconds after each heal.
        #[arg(long, default_value_t = Bounds::default().owners_s)]
        owners_s: u64,
        /// Name of the report.
        #[arg(long, default_value = "soak")]
        name: String,
    },
    /// Automations with a real broker: under kills of nodes and of the broker, and how fast they are.
    Automations {
        /// What is measured.
        #[arg(long, value_delimiter = ',', default_value = "kills,broker,delays,latency")]
        part: Vec<automations::Part>,
        /// Sensors.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=256))]
        devices: u64,
        /// Messages of all of them.
        #[arg(long, default_value_t = 1_000)]
        messages: u64,
        /// Kills of the bridge's node.
        #[arg(long, default_value_t = 5)]
        kills: usize,
        /// Automations that wait while nodes are killed.
        #[arg(long, default_value_t = 200)]
        waiting: usize,
        /// The longest of their waits, in seconds.
        #[arg(long, default_value_t = 60)]
        longest_s: u64,
        /// Seconds of each measurement of latency.
        #[arg(long, default_value_t = 15)]
        seconds: u64,
    },
    /// One node is cut off from the others for a while, and clients still reach it.
    Netsplit {
        /// Live sessions.
        #[arg(long, default_value_t = 3_000)]
        sessions: usize,
        /// Cuts.
        #[arg(long, default_value_t = 4)]
        rounds: usize,
        /// How long each lasts.
        #[arg(long, default_value_t = 5_000)]
        cut_ms: u64,
    },
}

impl What {
    /// Whether it cuts cables.
    fn needs_machines(&self) -> bool {
        match self {
            Self::Failover { victim, .. } | Self::Takeover { victim, .. } => {
                victim.iter().any(|victim| victim.vanishes())
            }
            Self::Stress { loss, .. } => *loss > 0,
            Self::Netsplit { .. } => true,
            _ => false,
        }
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let mut arguments = Arguments::parse();
    match &arguments.what {
        What::CallNode { folder } => return bench_calls::child(folder).await.map(|()| ExitCode::SUCCESS),
        What::Busy => return stress::work().map(|()| ExitCode::SUCCESS),
        _ => {}
    }
    arguments.machines |= arguments.what.needs_machines();
    if let What::Soak { no_machines, .. } = &arguments.what {
        arguments.machines = !no_machines && machines_or_loopback().await;
    }
    if arguments.machines
        && let Way::Ended(code) = enter().await?
    {
        return exit(code);
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
        machines: arguments.machines,
    };
    tokio::select! {
        done = Box::pin(measure(&tool, arguments.what)) => done.map(|()| ExitCode::SUCCESS),
        // What was being measured is dropped, and its processes and files with it.
        told = interrupted() => told.and(exit(INTERRUPTED)),
    }
}

/// Whether machines can be had; it goes without them where they cannot.
async fn machines_or_loopback() -> bool {
    if is_inside() {
        return true;
    }
    let found = possible().await;
    if let Err(why) = &found {
        say(&format!("on one loopback: {why:#}"));
    }
    found.is_ok()
}

fn exit(code: i32) -> Result<ExitCode> {
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

async fn measure(tool: &Tool, what: What) -> Result<()> {
    match what {
        What::CallNode { .. } | What::Busy => Ok(()),
        What::All => benches::all(tool).await,
        What::Messages { seconds } => benches::messages(tool, Duration::from_secs(seconds)).await,
        What::Calls { seconds } => benches::calls(tool, Duration::from_secs(seconds)).await,
        What::Idle { seconds } => benches::idle(tool, Duration::from_secs(seconds)).await,
        What::Sockets { idle, talking } => benches::sockets(tool, idle, talking).await,
        What::Memory {
            exchanges,
            clients,
            looks,
        } => {
            let plan = memory::Plan {
                exchanges,
                clients,
                looks,
                calm: true,
            };
            memory::run(tool, &plan).await.map(drop)
        }
        What::Drills { rounds } => drills::drills(tool, rounds).await,
        What::Storm {
            sessions,
            messages,
            kills,
        } => drills::storm(tool, sessions, messages, kills).await,
        What::Failover {
            sessions,
            probes,
            rounds,
            victim,
        } => {
            let name = if tool.machines {
                "failover-machines"
            } else {
                "failover"
            };
            let probes = probes.max(1);
            failover::run(tool, name, &plan(sessions, probes, rounds, victim))
                .await
                .map(drop)
        }
        What::Takeover {
            sessions,
            rounds,
            victim,
        } => failover::run(tool, "takeover", &plan(sessions, 0, rounds, victim))
            .await
            .map(drop),
        What::Stress {
            minutes,
            sessions,
            loss,
            busy,
            pause_ms,
            pause_every_s,
            sync_delay_ms,
            profile,
            name,
        } => {
            let plan = stress::Plan {
                minutes,
                sessions,
                loss_percent: loss,
                busy,
                pauses: pause_ms.map(|for_ms| stress::Pauses {
                    for_ms,
                    every_s: pause_every_s,
                }),
                sync_delay_ms,
                profile,
            };
            stress::run(tool, &name, plan).await
        }
        What::Rolling {
            rounds,
            sessions,
            probes,
        } => {
            let plan = rolling::Plan {
                rounds,
                sessions,
                probes,
            };
            rolling::run(tool, &plan).await
        }
        What::Soak {
            minutes,
            phases,
            phase_s,
            seed,
            nodes,
            sessions,
            no_machines: _,
            answer_s,
            owners_s,
            name,
        } => {
            let mut options = tool.options.clone();
            options.nodes = nodes;
            let tool = Tool {
                options,
                report: tool.report.clone(),
                machines: tool.machines,
            };
            let plan = soak::Plan {
                // Short enough to be typed again.
                seed: seed.unwrap_or_else(|| SystemEntropy::default().next_u64() % 1_000_000),
                lasting: Duration::from_secs(minutes.saturating_mul(60)),
                phases,
                phase_s,
                sessions,
                bounds: Bounds { answer_s, owners_s },
            };
            soak::run(&tool, &name, &plan).await
        }
        What::Automations {
            part,
            devices,
            messages,
            kills,
            waiting,
            longest_s,
            seconds,
        } => {
            let plan = automations::Plan {
                parts: part,
                devices: usize::try_from(devices)?,
                messages,
                kills,
                waiting,
                longest_s,
                seconds,
            };
            automations::run(tool, &plan).await
        }
        What::Netsplit {
            sessions,
            rounds,
            cut_ms,
        } => {
            let plan = netsplit::Plan {
                sessions,
                rounds,
                cut_ms,
            };
            netsplit::run(tool, &plan).await
        }
    }
}

fn plan(sessions: usize, probes: usize, rounds: usize, victims: Vec<Victim>) -> failover::Plan {
    failover::Plan {
        sessions,
        probes,
        rounds,
        victims,
        watch: Duration::from_secs(10),
    }
}
