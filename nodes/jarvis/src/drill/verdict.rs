//! What came of a drill: gaps as clients saw them, and whether the laws held.

use std::collections::BTreeSet;
use std::time::Duration;

use jarvis_client::Api;
use jarvis_client::history::{Transcript, Violation, compare};
use jarvis_types::chat::ServerFrame;
use jarvis_types::limits::MAX_PAGE_MESSAGES;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::cluster::Cluster;
use super::talker::Seen;
use crate::commands::cluster::{list, segment};

/// Intervals that begin later than this after a kill are not its doing.
const STRUCK_FOR: Duration = Duration::from_secs(3);
/// How long a node may lag behind the others when transcripts are compared.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(10);
/// Most violations that are shown; one is enough to fail.
const MAX_SHOWN: usize = 20;

/// One kill.
pub(super) struct Round {
    pub(super) number: u32,
    pub(super) victim: String,
    pub(super) leader: bool,
    pub(super) at_ms: u64,
    pub(super) at: Instant,
    /// The conversations it struck.
    pub(super) affected: Vec<usize>,
}

/// A round with its figures.
pub(super) struct Measured {
    pub(super) number: u32,
    pub(super) victim: String,
    pub(super) leader: bool,
    pub(super) at_ms: u64,
    pub(super) gaps_ms: Vec<f64>,
}

/// What came of a drill.
pub(super) struct Verdict {
    pub(super) name: String,
    pub(super) began_at_ms: u64,
    pub(super) rounds: Vec<Measured>,
    pub(super) gaps_ms: Vec<f64>,
    conversations: usize,
    said: usize,
    reconnects: u64,
    transcripts_equal: bool,
    unreadable: Vec<String>,
    violations: Vec<Violation>,
}

impl Verdict {
    /// Measures and compares.
    pub(super) async fn reach(
        name: &str,
        began_at_ms: u64,
        rounds: Vec<Round>,
        seen: Vec<Seen>,
        cluster: &Cluster,
    ) -> Self {
        let rounds: Vec<Measured> = rounds.into_iter().map(|round| measure(round, &seen)).collect();
        let mut gaps_ms: Vec<f64> = rounds
            .iter()
            .flat_map(|round| round.gaps_ms.iter().copied())
            .collect();
        gaps_ms.sort_unstable_by(f64::total_cmp);
        let mut violations: BTreeSet<Violation> = seen
            .iter()
            .flat_map(|one| one.violations.iter().cloned())
            .collect();
        let mut unreadable = Vec::new();
        let apis = cluster.apis().unwrap_or_default();
        for one in &seen {
            let mut transcripts = vec![("the client".to_owned(), one.transcript.clone())];
            for (node, api) in &apis {
                match read(api, &one.session, one.transcript.len()).await {
                    Ok(transcript) => transcripts.push((node.clone(), transcript)),
                    Err(why) => unreadable.push(format!("{node}: {why}")),
                }
            }
            let readers: Vec<(String, &Transcript)> =
                transcripts.iter().map(|(node, t)| (node.clone(), t)).collect();
            violations.extend(compare(&one.session, &one.confirmed, &readers));
            for id in &one.unanswered {
                let (session, id) = (one.session.clone(), id.clone());
                violations.insert(Violation::Unanswered {
                    session,
                    id,
                    reader: "the client".to_owned(),
                });
            }
        }
        let equal = !violations
            .iter()
            .any(|v| matches!(v, Violation::Differs { .. } | Violation::Lost { .. }));
        Self {
            name: name.to_owned(),
            began_at_ms,
            gaps_ms,
            rounds,
            conversations: seen.len(),
            said: seen.iter().map(|one| one.confirmed.len()).sum(),
            reconnects: seen.iter().map(|one| one.reconnects).sum(),
            transcripts_equal: equal && unreadable.is_empty(),
            unreadable,
            violations: violations.into_iter().collect(),
        }
    }

    /// Whether the laws held.
    pub(super) fn passed(&self) -> bool {
        self.violations.is_empty() && self.unreadable.is_empty() && !self.rounds.is_empty() && self.said > 0
    }

    /// What was broken.
    pub(super) fn broken(&self) -> String {
        let mut lines: Vec<String> = self
            .violations
            .iter()
            .take(MAX_SHOWN)
            .map(Violation::to_string)
            .collect();
        lines.extend(self.unreadable.iter().cloned());
        if self.rounds.is_empty() {
            lines.push("no round was completed".to_owned());
        }
        lines.join("\n")
    }

    fn count(&self, is: impl Fn(&Violation) -> bool) -> usize {
        self.violations.iter().filter(|v| is(v)).count()
    }

    /// The gap that this share of all gaps does not exceed, in milliseconds.
    pub(super) fn percentile(&self, share: f64) -> Option<f64> {
        let index = ((self.gaps_ms.len() as f64 * share).ceil() as usize).saturating_sub(1);
        self.gaps_ms.get(index).copied()
    }

    /// As one document.
    pub(super) fn to_json(&self) -> Value {
        let round = |ms: Option<f64>| ms.map(|ms| (ms * 10.0).round() / 10.0);
        let rounds: Vec<Value> = self
            .rounds
            .iter()
            .map(|r| {
                json!({"round": r.number, "killed": r.victim, "was_leader": r.leader, "at_ms": r.at_ms,
                    "gaps_ms": r.gaps_ms.iter().map(|g| round(Some(*g))).collect::<Vec<_>>()})
            })
            .collect();
        json!({
            "drill": self.name,
            "verdict": if self.passed() { "passed" } else { "failed" },
            "passed": self.passed(),
            "began_at_ms": self.began_at_ms,
            "rounds": rounds,
            "gaps_ms": {"count": self.gaps_ms.len(), "p50": round(self.percentile(0.50)),
                "p99": round(self.percentile(0.99)), "max": round(self.gaps_ms.last().copied())},
            "conversations": self.conversations,
            "messages": self.said,
            "reconnects": self.reconnects,
            "lost": self.count(|v| matches!(v, Violation::Lost { .. })),
            "repeated": self.count(|v| matches!(v, Violation::SaidTwice { .. } | Violation::AnsweredTwice { .. })),
            "unanswered": self.count(|v| matches!(v, Violation::Unanswered { .. })),
            "seq_gaps": self.count(|v| matches!(v, Violation::SeqGap { .. } | Violation::ReplyToNothing { .. })),
            "transcripts_equal": self.transcripts_equal,
            "violations": self.violations.iter().take(MAX_SHOWN).map(Violation::to_string).collect::<Vec<_>>(),
            "unreadable": self.unreadable,
        })
    }

    /// For people.
    pub(super) fn describe(&self) -> String {
        let ms = |ms: Option<f64>| ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.0} ms"));
        let document = self.to_json();
        format!(
            "{}: {}\n  rounds       {}\n  gaps         p50 {}, p99 {}, max {} (of {})\n  messages     {} in {} conversations\n  \
             lost         {}\n  repeated     {}\n  unanswered   {}\n  seq gaps     {}\n  transcripts  {}",
            self.name,
            document["verdict"].as_str().unwrap_or_default(),
            self.rounds.len(),
            ms(self.percentile(0.50)),
            ms(self.percentile(0.99)),
            ms(self.gaps_ms.last().copied()),
            self.gaps_ms.len(),
            self.said,
            self.conversations,
            document["lost"],
            document["repeated"],
            document["unanswered"],
            document["seq_gaps"],
            if self.transcripts_equal {
                "the same on all nodes"
            } else {
                "NOT the same on all nodes"
            },
        )
    }
}

/// The longest silence of each conversation that the kill struck, from the last answer before it on.
fn measure(round: Round, seen: &[Seen]) -> Measured {
    let gaps_ms = round
        .affected
        .iter()
        .filter_map(|talker| seen.get(*talker))
        .filter_map(|one| longest_silence(&one.answers, round.at))
        .map(|gap| gap.as_secs_f64() * 1_000.0)
        .collect();
    Measured {
        number: round.number,
        victim: round.victim,
        leader: round.leader,
        at_ms: round.at_ms,
        gaps_ms,
    }
}

fn longest_silence(answers: &[Instant], kill: Instant) -> Option<Duration> {
    answers
        .windows(2)
        .filter(|pair| pair[1] > kill && pair[0] < kill + STRUCK_FOR)
        .map(|pair| pair[1].duration_since(pair[0]))
        .max()
}

/// A node's transcript, page by page, once it has at least as many entries as the client saw.
async fn read(api: &Api, session: &str, least: usize) -> Result<Transcript, String> {
    let deadline = Instant::now() + CATCH_UP_TIMEOUT;
    loop {
        let transcript = read_once(api, session).await?;
        if transcript.len() >= least || Instant::now() >= deadline {
            return Ok(transcript);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn read_once(api: &Api, session: &str) -> Result<Transcript, String> {
    let mut transcript = Transcript::new(session);
    let mut after = 0;
    loop {
        let path = format!(
            "/api/v1/sessions/{}/messages?after={after}&limit={MAX_PAGE_MESSAGES}",
            segment(session)
        );
        let page = api.get(&path).await.map_err(|error| error.to_string())?;
        let messages = list(&page, "messages");
        for message in messages {
            let frame: ServerFrame =
                serde_json::from_value(message.clone()).map_err(|error| error.to_string())?;
            if let ServerFrame::Said { seq, .. } | ServerFrame::Reply { seq, .. } = &frame {
                after = *seq;
            }
            transcript.take(&frame);
        }
        if messages.len() < MAX_PAGE_MESSAGES {
            return Ok(transcript);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_gap_is_the_longest_silence_around_the_kill() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        // An answer that was on its way already must not hide the silence behind it.
        let answers = [
            at(0),
            at(900),
            at(1_000),
            at(1_010),
            at(1_500),
            at(1_520),
            at(1_900),
            at(4_100),
            at(9_000),
        ];
        assert_eq!(
            longest_silence(&answers[..7], at(1_005)),
            Some(Duration::from_millis(490))
        );
        // What comes long after is not the kill's doing.
        assert_eq!(
            longest_silence(&answers, at(1_005)),
            Some(Duration::from_millis(2_200))
        );
        assert_eq!(longest_silence(&answers[..3], at(1_005)), None);
    }
}
