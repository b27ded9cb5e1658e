//! `drill`: kills parts of the running cluster under load, as a fault would, and checks that the laws held.
//!
//! ```text
//!  talkers (one conversation each) ──► the cluster ◄── kill -9 of one node, again and again
//!        │ what they saw, and when                        │ when, and whom
//!        └──────────────► verdict ◄───────────────────────┘ ──► report: JSON, HTML
//! ```
mod cluster;
mod report;
mod talker;
mod verdict;

use std::sync::Arc;
use std::time::Duration;

use jarvis_host::{Clock, SystemClock, SystemEntropy, Tasks};
use serde_json::json;
use tokio::time::Instant;

use crate::cli::args::DrillArgs;
use crate::cli::output::{Output, ask, table};
use crate::fail::Failure;
use crate::places::data_folder;
use cluster::Cluster;
use talker::{Board, Talkers};
use verdict::{Round, Verdict};

/// What a drill kills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drill {
    /// The node on which conversations run.
    KillOwner,
    /// The node that leads.
    KillLeader,
    /// The node to which clients are connected.
    KillGateway,
}

/// All drills, with what each does.
const DRILLS: [(&str, Drill, &str); 3] = [
    (
        "kill-owner",
        Drill::KillOwner,
        "kills the node on which conversations run; their clients stay connected elsewhere",
    ),
    (
        "kill-leader",
        Drill::KillLeader,
        "kills the node that leads; every commit waits for the next leader",
    ),
    (
        "kill-gateway",
        Drill::KillGateway,
        "kills the node to which clients are connected; they go to another by themselves",
    ),
];

/// Conversations run for this long before the first kill, and after the cluster is whole again.
const SETTLE: Duration = Duration::from_millis(1_500);
/// After a kill everyone must be answered again within this.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// A node that was killed must be back within this.
const WHOLE_TIMEOUT: Duration = Duration::from_secs(60);

/// `jarvis drill NAME|list`.
///
/// # Errors
/// Where the cluster is not fit for it, where it was not confirmed, and where a law was broken.
pub async fn drill(args: &DrillArgs, output: Output) -> Result<(), Failure> {
    if args.name == "list" {
        let drills: Vec<_> = DRILLS
            .iter()
            .map(|(name, _, what)| json!({"name": name, "does": what}))
            .collect();
        output.answer(&json!({"drills": drills}), |_| {
            let rows: Vec<_> = DRILLS
                .iter()
                .map(|(name, _, what)| vec![(*name).to_owned(), (*what).to_owned()])
                .collect();
            table(&["DRILL", "DOES"], &rows)
        });
        return Ok(());
    }
    let Some((name, drill, what)) = DRILLS.iter().find(|(name, ..)| *name == args.name) else {
        let names = DRILLS.iter().map(|(name, ..)| *name);
        let near = names.clone().max_by(|a, b| {
            strsim::jaro_winkler(a, &args.name).total_cmp(&strsim::jaro_winkler(b, &args.name))
        });
        return Err(
            Failure::new("no drill was begun", format!("there is no drill {:?}", args.name))
                .next(format!(
                    "did you mean {}? `jarvis drill list` names them all",
                    near.unwrap_or_default()
                ))
                .usage(),
        );
    };
    let folder = data_folder(args.data.data.as_deref());
    let cluster = Cluster::find(&folder)?;
    cluster.must_be_redundant().await?;
    confirm(args, name, what, output)?;

    let tasks = Tasks::new();
    let board = Arc::new(Board::default());
    let talkers = Talkers::start(&cluster, args.sessions, &board, &tasks).await?;
    let progress = output.progress(&format!("{name}: conversations begin"));
    let began_at_ms = SystemClock.now_ms();
    let mut rounds = Vec::new();
    let result = {
        let run = rounds_of(*drill, args.rounds, &cluster, &board, &mut rounds, &progress);
        tokio::select! {
            result = Box::pin(run) => result,
            _ = tokio::signal::ctrl_c() => Err(Failure::new("the drill was broken off", "Ctrl-C")),
        }
    };
    if rounds.is_empty()
        && let Err(failure) = result
    {
        // Nobody was killed: there is nothing to report.
        progress.done();
        tasks.stop(Duration::from_secs(2)).await;
        return Err(failure);
    }
    // Broken off or not: the cluster is left whole, and what was said is checked.
    progress.say("waiting until the cluster is whole again");
    let whole = cluster.until_whole(WHOLE_TIMEOUT).await;
    progress.say("waiting for the last answers");
    let seen = talkers.finish(ANSWER_TIMEOUT).await;
    progress.say("comparing the transcripts of all nodes");
    let verdict = Verdict::reach(name, began_at_ms, rounds, seen, &cluster).await;
    progress.done();
    tasks.stop(Duration::from_secs(2)).await;
    let files = report::write(&verdict, &args.report)?;
    output.answer(&verdict.to_json(), |_| {
        format!("{}\nreport: {}", verdict.describe(), files.display())
    });
    result?;
    whole?;
    if verdict.passed() {
        Ok(())
    } else {
        Err(Failure::new(format!("{name} failed"), verdict.broken()).next(format!("see {}", files.display())))
    }
}

fn confirm(args: &DrillArgs, name: &str, what: &str, output: Output) -> Result<(), Failure> {
    let question = format!(
        "{name}: {what}.\n{} rounds with kill -9 under {} conversations. The cluster goes on serving; a node that was killed is \
         started again by `jarvis up`.\nBegin?",
        args.rounds, args.sessions
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

async fn rounds_of(
    drill: Drill,
    count: u32,
    cluster: &Cluster,
    board: &Arc<Board>,
    rounds: &mut Vec<Round>,
    progress: &crate::cli::output::Progress,
) -> Result<(), Failure> {
    let entropy = SystemEntropy::default();
    board
        .until_all_answered_since(Instant::now(), ANSWER_TIMEOUT)
        .await?;
    for number in 1..=count {
        tokio::time::sleep(SETTLE).await;
        board.check()?;
        let victim = cluster.victim(drill, board, &entropy).await?;
        let affected = board.affected(drill, &victim.name);
        progress.say(&format!(
            "round {number} of {count}: killing {} (pid {})",
            victim.name, victim.pid
        ));
        let at_ms = SystemClock.now_ms();
        let at = Instant::now();
        crate::up::kill(victim.pid);
        board.until_all_answered_since(at, ANSWER_TIMEOUT).await?;
        cluster.until_replaced(&victim, WHOLE_TIMEOUT).await?;
        board
            .until_all_answered_since(Instant::now(), ANSWER_TIMEOUT)
            .await?;
        rounds.push(Round {
            number,
            victim: victim.name,
            leader: victim.leader,
            at_ms,
            at,
            affected,
        });
    }
    Ok(())
}
