//! Talkers under kills, and the verdict.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::cluster::Cluster;
use crate::faults::{self, Victim};
use crate::gaps;
use crate::history::{Entry, History, entry_of};
use crate::laws::{Broken, answered_once, nothing_lost, one_owner, same_everywhere, sequence};
use crate::talker::{Board, Manner, talk};

/// What a storm does.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Sessions, each with a talker.
    pub sessions: usize,
    /// Messages of each.
    pub messages: usize,
    /// Pause of each between an answer and its next message.
    pub pause: Duration,
    /// Whom to kill, in this order; talkers go on to the end of their messages afterwards.
    pub kills: Vec<Victim>,
    /// Calm before each kill, after the cluster was whole again.
    pub calm: Duration,
    /// Stop the talkers when the kills are over, whatever they still have to say.
    pub stop_after_kills: bool,
}

/// A kill that was done.
#[derive(Debug, Clone)]
pub struct Kill {
    /// Whom it was about.
    pub victim: Victim,
    /// The node.
    pub node: String,
    /// When.
    pub at: Instant,
    /// How long until every node was ready again.
    pub whole_after: Duration,
    /// Gaps of the talkers it concerned.
    pub gaps: Vec<Duration>,
}

/// What came of it.
#[derive(Debug)]
pub struct Verdict {
    /// Laws that were broken.
    pub broken: Vec<Broken>,
    /// What was killed.
    pub kills: Vec<Kill>,
    /// What the talkers saw.
    pub histories: Vec<History>,
    /// Messages acknowledged.
    pub said: usize,
    /// Messages answered.
    pub answered: usize,
}

/// Talks and kills, waits until all has come to rest, and judges.
///
/// # Errors
/// Where a talker gives up or the cluster does not come back.
pub async fn run(cluster: &mut Cluster, plan: &Plan) -> Result<Verdict> {
    let (stop, stopped) = watch::channel(false);
    let board = Board::default();
    let mut talkers = JoinSet::new();
    for n in 0..plan.sessions {
        let manner = Manner {
            messages: plan.messages,
            pause: plan.pause,
            first_socket: n,
            name: format!("t{n}-{}", std::process::id()),
            board: board.clone(),
        };
        talkers.spawn(talk(
            cluster.sockets(),
            cluster.token.clone(),
            manner,
            stopped.clone(),
        ));
    }
    let mut kills = Vec::new();
    for &victim in &plan.kills {
        sleep(plan.calm).await;
        let node = faults::choose(cluster, victim, &board).await?;
        let at = Instant::now();
        let pid = cluster.kill(&node)?;
        cluster.wait_restarted(&node, pid).await?;
        let whole_after = at
            .elapsed()
            .max(cluster.wait_whole().await.map(|_| at.elapsed())?);
        kills.push(Kill {
            victim,
            node,
            at,
            whole_after,
            gaps: Vec::new(),
        });
    }
    if plan.stop_after_kills {
        sleep(plan.calm).await;
        stop.send_replace(true);
    }
    let mut histories = Vec::new();
    while let Some(history) = talkers.join_next().await {
        histories.push(history.context("a talker panicked")??);
    }
    judge(cluster, histories, kills).await
}

/// Judges what talkers saw against what every node holds.
///
/// # Errors
/// Where a node does not answer.
pub async fn judge(cluster: &mut Cluster, histories: Vec<History>, mut kills: Vec<Kill>) -> Result<Verdict> {
    cluster.wait_whole().await?;
    for kill in &mut kills {
        let concerned = histories
            .iter()
            .filter(|h| faults::concerns(kill.victim, &kill.node, h, kill.at));
        kill.gaps = concerned
            .filter_map(|history| gaps::around(history, kill.at))
            .collect();
    }
    let mut broken = Vec::new();
    let (mut said, mut answered) = (0, 0);
    for history in &histories {
        let mut by_node = Vec::new();
        for node in &cluster.nodes {
            by_node.push((
                node.name.clone(),
                transcript(cluster, node, &history.session).await?,
            ));
        }
        let entries = by_node
            .first()
            .map(|(_, entries)| entries.clone())
            .unwrap_or_default();
        said += entries.iter().filter(|entry| !entry.reply).count();
        answered += entries
            .iter()
            .filter(|entry| entry.reply && !entry.is_unasked())
            .count();
        broken.extend(sequence::check(history));
        broken.extend(one_owner::check(&history.sightings));
        broken.extend(sequence::check_entries(&history.session, &entries));
        broken.extend(nothing_lost::check(history, &entries));
        broken.extend(answered_once::check(history, &entries));
        broken.extend(same_everywhere::check(&history.session, &by_node));
    }
    Ok(Verdict {
        broken,
        kills,
        histories,
        said,
        answered,
    })
}

/// A session's whole transcript as one node gives it.
///
/// # Errors
/// Where the node does not answer as promised.
pub async fn transcript(
    cluster: &Cluster,
    node: &crate::cluster::NodeProcess,
    session: &str,
) -> Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        let after = entries.last().map_or(0, |entry| entry.seq);
        let page = cluster
            .get(
                node,
                &format!("/api/v1/sessions/{session}/messages?after={after}&limit=500"),
            )
            .await?;
        let frames = page["messages"].as_array().context("a page has messages")?;
        if frames.is_empty() {
            return Ok(entries);
        }
        for frame in frames {
            entries.push(entry_of(frame).with_context(|| format!("not an entry: {frame}"))?);
        }
    }
}

impl Verdict {
    /// All gaps of kills about `victim`'s kind, sorted.
    pub fn gaps_of(&self, name: &str) -> Vec<Duration> {
        let kills = self.kills.iter().filter(|kill| kill.victim.name() == name);
        let mut gaps: Vec<Duration> = kills.flat_map(|kill| kill.gaps.iter().copied()).collect();
        gaps.sort();
        gaps
    }

    /// Fails with all that was broken.
    ///
    /// # Errors
    /// Where a law was broken.
    pub fn into_result(self) -> Result<Self> {
        if self.broken.is_empty() {
            return Ok(self);
        }
        let all: Vec<String> = self.broken.iter().map(ToString::to_string).collect();
        anyhow::bail!("{} laws broken:\n{}", all.len(), all.join("\n"))
    }
}
