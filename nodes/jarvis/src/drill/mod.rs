//! `drill`: puts faults into the running cluster, as the world would, under load, and checks that the laws held.
//!
//! ```text
//!  talkers (one conversation each) ──► the cluster ◄── strike: signals, or faults with an end of their own
//!  beacons (they act on the world) ──►     │                        │ when, whom, how
//!        │ what they saw, and when         └─ recorder              │
//!        └──────────────► verdict ◄────────────┴────────────────────┘ ──► report: JSON, HTML
//! ```
mod catalogue;
mod cluster;
mod detached;
mod guard;
mod recorder;
mod report;
mod strike;
mod talker;
mod verdict;

use std::sync::Arc;
use std::time::Duration;

use jarvis_host::{Clock, SystemClock, SystemEntropy, Tasks};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::args::DrillArgs;
use crate::cli::output::{Output, ask, table};
use crate::fail::Failure;
pub use catalogue::Drill;
use catalogue::{About, DRILLS};
use cluster::Cluster;
pub use detached::drills;
use recorder::Acting;
use strike::Field;
use talker::{Board, Talkers};
use verdict::{Run, Verdict};

/// Conversations run for this long before the first strike, and after the cluster is whole again.
const SETTLE: Duration = Duration::from_millis(1_500);
/// After a strike everyone must be answered again within this.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// A node that was struck must be back within this.
const WHOLE_TIMEOUT: Duration = Duration::from_secs(60);

/// `jarvis drill NAME|list`.
///
/// # Errors
/// Where the cluster is not fit for it, where it was not confirmed, and where a law was broken.
pub async fn drill(args: &DrillArgs, output: Output) -> Result<(), Failure> {
    if args.name == "list" {
        list_all(output);
        return Ok(());
    }
    let about = find(&args.name)?;
    let cluster = Cluster::find(&args.target, about).await?;
    let done = Box::pin(begin(args, about, &cluster, output)).await;
    // Who waits for it is not to wait for ever where nothing could be measured.
    cluster.tell_ended(about.name, done.is_ok()).await;
    cluster.leave().await;
    done
}

fn list_all(output: Output) {
    let drills: Vec<Value> = DRILLS.iter().map(About::to_json).collect();
    output.answer(&json!({"drills": drills}), |_| {
        let rows: Vec<_> = DRILLS
            .iter()
            .map(|about| vec![about.name.to_owned(), about.needs(), about.does.to_owned()])
            .collect();
        table(&["DRILL", "NEEDS", "DOES"], &rows)
    });
}

fn find(name: &str) -> Result<&'static About, Failure> {
    if let Some(about) = DRILLS.iter().find(|about| about.name == name) {
        return Ok(about);
    }
    let near = DRILLS
        .iter()
        .map(|about| about.name)
        .max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)));
    let why = format!("there is no drill {name:?}");
    let next = format!(
        "did you mean {}? `jarvis drill list` names them all",
        near.unwrap_or_default()
    );
    Err(Failure::new("no drill was begun", why).next(next).usage())
}

async fn begin(
    args: &DrillArgs,
    about: &'static About,
    cluster: &Cluster,
    output: Output,
) -> Result<(), Failure> {
    cluster.must_survive(about).await?;
    confirm(args, about, output)?;
    // Before anything is done: a report that cannot be written is not found out at the end.
    report::make_folder(&args.report)?;
    let mut told = Told::new().map_err(|error| Failure::new("no drill was begun", error))?;

    let tasks = Tasks::new();
    let board = Arc::new(Board::default());
    let talkers = Talkers::start(cluster, args.sessions, &board, &tasks).await?;
    let acting = Acting::start(cluster.apis(), &tasks).await?;
    let progress = output.progress(&format!("{}: conversations begin", about.name));
    let began_at_ms = SystemClock.now_ms();
    let mut rounds = Vec::new();
    let entropy = SystemEntropy::default();
    let result = {
        let field = Field {
            drill: about.drill,
            cluster,
            board: &board,
            entropy: &entropy,
            progress: &progress,
        };
        tokio::select! {
            result = Box::pin(field.rounds(args.rounds, &mut rounds)) => result,
            signal = told.wait() => Err(Failure::new("the drill was broken off", signal)),
        }
    };
    if result.is_err() {
        // What was stopped goes on by now; what was put in ends here rather than by itself.
        progress.say("putting everything right");
        cluster
            .heal(cluster.apis().iter().map(|(name, _)| name.as_str()))
            .await;
    }
    if rounds.is_empty()
        && let Err(failure) = result
    {
        // Nothing was measured: there is nothing to report.
        progress.done();
        tasks.stop(Duration::from_secs(2)).await;
        return Err(failure);
    }
    // Broken off or not: the cluster is left whole, and what was said is checked. Who is told once more to stop stops.
    let checking = async {
        progress.say("waiting until the cluster is whole again");
        let whole = cluster.until_whole(WHOLE_TIMEOUT).await;
        progress.say("waiting for the last answers");
        let (seen, acts) = tokio::join!(talkers.finish(ANSWER_TIMEOUT), acting.finish());
        let failed = result.as_ref().err().or(whole.as_ref().err());
        let cut_short = failed.map(|failure| failure.why.clone());
        progress.say("comparing the transcripts of all nodes");
        let run = Run {
            about,
            began_at_ms,
            rounds,
            cut_short,
            seen,
            acts,
        };
        (whole, Verdict::reach(run, cluster).await)
    };
    let checked = tokio::select! {
        checked = Box::pin(checking) => Ok(checked),
        signal = told.wait() => Err(signal),
    };
    let (whole, verdict) = match checked {
        Ok(checked) => checked,
        Err(signal) => {
            progress.done();
            tasks.stop(Duration::from_secs(2)).await;
            return Err(Failure::new("the drill was broken off", signal)
                .next("everything was put right, but nothing was checked; see `jarvis status`"));
        }
    };
    progress.done();
    tasks.stop(Duration::from_secs(2)).await;
    let files = report::write(&verdict, &args.report);
    output.answer(&verdict.to_json(), |_| match &files {
        Ok(files) => format!("{}\nreport: {}", verdict.describe(), files.display()),
        Err(_) => verdict.describe(),
    });
    let files = files?;
    result?;
    whole?;
    if verdict.passed() {
        Ok(())
    } else {
        let what = format!("{} failed", about.name);
        Err(Failure::new(what, verdict.broken()).next(format!("see {}", files.display())))
    }
}

fn confirm(args: &DrillArgs, about: &About, output: Output) -> Result<(), Failure> {
    let question = format!(
        "{}: {}.\n{} rounds under {} conversations. The cluster goes on serving; {}.\nJudged: {}; nothing lost, nothing \
         repeated, no action by two owners at once.\nBegin?",
        about.name, about.does, args.rounds, args.sessions, about.restores, about.judged
    );
    if args.yes {
        return Ok(());
    }
    let answer = if output.is_json() { None } else { ask(&question) };
    match answer {
        Some(true) => Ok(()),
        Some(false) => Err(Failure::new("no drill was begun", "it was not confirmed")),
        None => Err(
            Failure::new("no drill was begun", "there is nobody to confirm it")
                .next("give --yes")
                .usage(),
        ),
    }
}

/// What tells a drill to break off.
struct Told {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Told {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn wait(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "Ctrl-C",
        }
    }
}
