//! What came of a drill: gaps as clients saw them, and whether the laws held.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jarvis_client::Api;
use jarvis_client::history::{Transcript, Violation, compare};
use jarvis_types::chat::ServerFrame;
use jarvis_types::limits::MAX_PAGE_MESSAGES;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::catalogue::About;
use super::cluster::Cluster;
use super::recorder::Acts;
use super::talker::Seen;
use crate::commands::cluster::{list, segment};

/// Intervals that begin later than this after a kill are not its doing.
const STRUCK_FOR: Duration = Duration::from_secs(3);
/// How long a node may lag behind the others when transcripts are compared.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(10);
/// Most violations that are shown; one is enough to fail.
const MAX_SHOWN: usize = 20;

/// One strike.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) number: u32,
    /// What was done.
    pub(super) kind: &'static str,
    pub(super) victim: String,
    pub(super) leader: bool,
    pub(super) at_ms: u64,
    pub(super) at: Instant,
    /// The conversations it struck, which are to go on meanwhile.
    pub(super) affected: Vec<usize>,
    /// Those that need not go on before it is over: their gateway cannot commit.
    pub(super) cut_off: Vec<usize>,
    /// How many leaders were elected, where none had to be.
    pub(super) elections: Option<u64>,
    /// Rules of this round that were broken.
    pub(super) broken: Vec<String>,
}

/// What a verdict is reached about.
pub(super) struct Run {
    pub(super) about: &'static About,
    pub(super) began_at_ms: u64,
    pub(super) rounds: Vec<Round>,
    /// Why it did not come to its end, if it did not.
    pub(super) cut_short: Option<String>,
    pub(super) seen: Vec<Seen>,
    pub(super) acts: Acts,
}

/// A round with its figures.
pub(super) struct Measured {
    pub(super) number: u32,
    pub(super) kind: &'static str,
    pub(super) victim: String,
    pub(super) leader: bool,
    pub(super) at_ms: u64,
    pub(super) gaps_ms: Vec<f64>,
    /// Of those that were cut off.
    pub(super) cut_off_gaps_ms: Vec<f64>,
    /// How many leaders were elected, where none had to be.
    pub(super) elections: Option<u64>,
}

/// What a drill was judged by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) rule: String,
    pub(super) found: String,
    pub(super) held: bool,
}

/// What came of a drill.
pub(super) struct Verdict {
    pub(super) name: String,
    pub(super) began_at_ms: u64,
    pub(super) rounds: Vec<Measured>,
    pub(super) gaps_ms: Vec<f64>,
    about: &'static About,
    conversations: usize,
    said: usize,
    reconnects: u64,
    unavailable: u64,
    backwards: u64,
    acts: Acts,
    broken_rounds: Vec<String>,
    cut_short: Option<String>,
    transcripts_equal: bool,
    unreadable: Vec<String>,
    violations: Vec<Violation>,
}

impl Verdict {
    /// Measures and compares.
    pub(super) async fn reach(run: Run, cluster: &Cluster) -> Self {
        let (about, began_at_ms, seen, acts) = (run.about, run.began_at_ms, run.seen, run.acts);
        let mut broken_rounds = Vec::new();
        let mut rounds = Vec::new();
        for mut round in run.rounds {
            broken_rounds.append(&mut round.broken);
            rounds.push(measure(round, &seen));
        }
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
        let apis = cluster.apis();
        for one in &seen {
            let mut transcripts = vec![("the client".to_owned(), one.transcript.clone())];
            for (node, api) in apis {
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
            name: about.name.to_owned(),
            about,
            unavailable: seen.iter().map(|one| one.unavailable).sum(),
            backwards: seen.iter().map(|one| one.backwards).sum(),
            acts,
            broken_rounds,
            cut_short: run.cut_short,
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
        self.rules().iter().all(|rule| rule.held)
    }

    /// Everything it was judged by.
    pub(super) fn rules(&self) -> Vec<Rule> {
        let none = |rule: &str, found: u64| Rule {
            rule: rule.to_owned(),
            found: found.to_string(),
            held: found == 0,
        };
        let mut rules = vec![
            Rule {
                rule: "every round was completed, and conversations went on".to_owned(),
                found: format!(
                    "{} rounds, {} messages{}",
                    self.rounds.len(),
                    self.said,
                    self.cut_short
                        .as_ref()
                        .map_or(String::new(), |why| format!("; cut short: {why}"))
                ),
                held: !self.rounds.is_empty() && self.said > 0 && self.cut_short.is_none(),
            },
            none("nothing that was confirmed is lost", self.lost()),
            none("nothing is said or answered twice", self.repeated()),
            none("every message is answered", self.unanswered()),
            none("entries are numbered without a gap", self.seq_gaps()),
            Rule {
                rule: "transcripts are the same on all nodes".to_owned(),
                found: if self.transcripts_equal {
                    "the same"
                } else {
                    "not the same"
                }
                .to_owned(),
                held: self.transcripts_equal,
            },
            none("times in transcripts never run backwards", self.backwards),
            none("no two owners act at once", self.acts.doubles.len() as u64),
            Rule {
                rule: "something acted, so that this could be told".to_owned(),
                found: match self.acts.count {
                    0 => format!(
                        "{} orders, no act: can the nodes send UDP to this machine?",
                        self.acts.orders
                    ),
                    count => format!("{count} acts of {} nodes", self.acts.nodes),
                },
                held: self.acts.count > 0,
            },
        ];
        rules.push(Rule {
            rule: self.about.judged.to_owned(),
            found: match self.broken_rounds.len() {
                0 => "so it was in every round".to_owned(),
                count => format!("not in {count} rounds"),
            },
            held: self.broken_rounds.is_empty(),
        });
        rules
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
        lines.extend(self.acts.doubles.iter().cloned());
        lines.extend(self.broken_rounds.iter().cloned());
        lines.extend(self.cut_short.iter().map(|why| format!("cut short: {why}")));
        if lines.is_empty() {
            let rules = self.rules();
            let broken = rules.iter().filter(|rule| !rule.held);
            lines.extend(broken.map(|rule| format!("{}: {}", rule.rule, rule.found)));
        }
        lines.join("\n")
    }

    /// Elections that nothing called for; none where the drill calls for some.
    fn elections(&self) -> Option<u64> {
        self.rounds
            .iter()
            .filter_map(|round| round.elections)
            .reduce(|a, b| a + b)
    }

    fn lost(&self) -> u64 {
        self.count(|v| matches!(v, Violation::Lost { .. }))
    }

    fn repeated(&self) -> u64 {
        self.count(|v| matches!(v, Violation::SaidTwice { .. } | Violation::AnsweredTwice { .. }))
    }

    fn unanswered(&self) -> u64 {
        self.count(|v| matches!(v, Violation::Unanswered { .. }))
    }

    fn seq_gaps(&self) -> u64 {
        self.count(|v| matches!(v, Violation::SeqGap { .. } | Violation::ReplyToNothing { .. }))
    }

    fn count(&self, is: impl Fn(&Violation) -> bool) -> u64 {
        self.violations.iter().filter(|v| is(v)).count() as u64
    }

    /// Gaps by what was done, sorted.
    pub(super) fn gaps_by_kind(&self) -> BTreeMap<&'static str, Vec<f64>> {
        let mut kinds: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
        for round in &self.rounds {
            kinds
                .entry(round.kind)
                .or_default()
                .extend(round.gaps_ms.iter().copied());
        }
        kinds
            .values_mut()
            .for_each(|gaps| gaps.sort_unstable_by(f64::total_cmp));
        kinds
    }

    /// As one document.
    pub(super) fn to_json(&self) -> Value {
        let all = |gaps: &[f64]| gaps.iter().map(|gap| rounded(Some(*gap))).collect::<Vec<_>>();
        let rounds: Vec<Value> = self
            .rounds
            .iter()
            .map(|r| {
                json!({"round": r.number, "kind": r.kind, "node": r.victim, "was_leader": r.leader, "at_ms": r.at_ms,
                    "gaps_ms": all(&r.gaps_ms), "cut_off_gaps_ms": all(&r.cut_off_gaps_ms),
                    "needless_elections": r.elections})
            })
            .collect();
        let by_kind: serde_json::Map<String, Value> = self
            .gaps_by_kind()
            .into_iter()
            .map(|(kind, gaps)| (kind.to_owned(), summary(&gaps)))
            .collect();
        let rules: Vec<Value> = self
            .rules()
            .into_iter()
            .map(|rule| json!({"rule": rule.rule, "found": rule.found, "held": rule.held}))
            .collect();
        json!({
            "drill": self.name,
            "verdict": if self.passed() { "passed" } else { "failed" },
            "passed": self.passed(),
            "began_at_ms": self.began_at_ms,
            "rounds": rounds,
            "gaps_ms": summary(&self.gaps_ms),
            "gaps_by_kind_ms": by_kind,
            "conversations": self.conversations,
            "messages": self.said,
            "reconnects": self.reconnects,
            "unavailable": self.unavailable,
            "needless_elections": self.elections(),
            "lost": self.lost(),
            "repeated": self.repeated(),
            "unanswered": self.unanswered(),
            "seq_gaps": self.seq_gaps(),
            "times_backwards": self.backwards,
            "double_actions": self.acts.doubles.len(),
            "acts": {"ordered": self.acts.orders, "done": self.acts.count, "nodes": self.acts.nodes},
            "transcripts_equal": self.transcripts_equal,
            "rules": rules,
            "violations": self.violations.iter().take(MAX_SHOWN).map(Violation::to_string)
                .chain(self.acts.doubles.iter().cloned()).chain(self.broken_rounds.iter().cloned()).collect::<Vec<_>>(),
            "unreadable": self.unreadable,
            "cut_short": self.cut_short,
        })
    }

    /// For people.
    pub(super) fn describe(&self) -> String {
        let ms = |ms: Option<f64>| ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.0} ms"));
        let line = |name: &str, gaps: &[f64]| {
            format!(
                "  {name:<31} p50 {}, p99 {}, max {} (of {})\n",
                ms(percentile(gaps, 0.50)),
                ms(percentile(gaps, 0.99)),
                ms(gaps.last().copied()),
                gaps.len()
            )
        };
        let mut text = format!(
            "{}: {}\n  rounds       {}\n{}",
            self.name,
            if self.passed() { "passed" } else { "failed" },
            self.rounds.len(),
            line("gaps", &self.gaps_ms)
        );
        let kinds = self.gaps_by_kind();
        if kinds.len() > 1 {
            for (kind, gaps) in &kinds {
                text.push_str(&line(kind, gaps));
            }
        }
        text.push_str(&format!(
            "  messages     {} in {} conversations\n  unavailable  {} times\n  acts         {} of {} nodes\n",
            self.said, self.conversations, self.unavailable, self.acts.count, self.acts.nodes
        ));
        if let Some(elections) = self.elections() {
            text.push_str(&format!("  elections    {elections} that nothing called for\n"));
        }
        for rule in self.rules() {
            let held = if rule.held { "held  " } else { "BROKEN" };
            text.push_str(&format!("  {held}       {}: {}\n", rule.rule, rule.found));
        }
        text.trim_end().to_owned()
    }
}

fn percentile(sorted: &[f64], share: f64) -> Option<f64> {
    let index = ((sorted.len() as f64 * share).ceil() as usize).saturating_sub(1);
    sorted.get(index).copied()
}

fn rounded(ms: Option<f64>) -> Option<f64> {
    ms.map(|ms| (ms * 10.0).round() / 10.0)
}

fn summary(sorted: &[f64]) -> Value {
    json!({"count": sorted.len(), "p50": rounded(percentile(sorted, 0.50)), "p99": rounded(percentile(sorted, 0.99)),
        "max": rounded(sorted.last().copied())})
}

/// The longest silence of each conversation that was struck, from the last answer before it on.
fn measure(round: Round, seen: &[Seen]) -> Measured {
    let gaps_of = |talkers: &[usize]| {
        let gaps = talkers
            .iter()
            .filter_map(|talker| seen.get(*talker))
            .filter_map(|one| longest_silence(&one.answers, round.at));
        gaps.map(|gap| gap.as_secs_f64() * 1_000.0).collect()
    };
    Measured {
        number: round.number,
        kind: round.kind,
        leader: round.leader,
        at_ms: round.at_ms,
        gaps_ms: gaps_of(&round.affected),
        cut_off_gaps_ms: gaps_of(&round.cut_off),
        elections: round.elections,
        victim: round.victim,
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
    use super::super::catalogue::DRILLS;
    use super::*;

    /// Of a drill in which everything went well.
    fn verdict() -> Verdict {
        Verdict {
            name: "partition".to_owned(),
            began_at_ms: 0,
            rounds: vec![Measured {
                number: 1,
                kind: "hears nothing",
                victim: "a".to_owned(),
                leader: false,
                at_ms: 0,
                gaps_ms: vec![10.0],
                cut_off_gaps_ms: vec![4_000.0],
                elections: None,
            }],
            gaps_ms: vec![10.0],
            about: &DRILLS[4],
            conversations: 1,
            said: 5,
            reconnects: 0,
            unavailable: 3,
            backwards: 0,
            acts: Acts {
                orders: 9,
                count: 8,
                nodes: 2,
                doubles: Vec::new(),
            },
            broken_rounds: Vec::new(),
            cut_short: None,
            transcripts_equal: true,
            unreadable: Vec::new(),
            violations: Vec::new(),
        }
    }

    #[test]
    fn each_law_that_is_broken_fails_the_drill_and_is_named() {
        assert!(verdict().passed(), "{:?}", verdict().rules());
        assert_eq!(
            verdict().to_json()["gaps_by_kind_ms"]["hears nothing"]["max"],
            10.0
        );
        let lost = Violation::Lost {
            session: "s".to_owned(),
            id: "m".to_owned(),
            seq: 3,
            reader: "node2".to_owned(),
        };
        type Break = Box<dyn Fn(&mut Verdict)>;
        let table: [(Break, &str); 8] = [
            (
                Box::new(|v| v.cut_short = Some("Ctrl-C".to_owned())),
                "cut short: Ctrl-C",
            ),
            (
                Box::new(|v| v.acts.doubles.push("two owners".to_owned())),
                "two owners",
            ),
            (Box::new(|v| v.acts.count = 0), "can the nodes send UDP"),
            (Box::new(move |v| v.violations.push(lost.clone())), "message m"),
            (
                Box::new(|v| v.broken_rounds.push("round 2: a failover".to_owned())),
                "a failover",
            ),
            (Box::new(|v| v.transcripts_equal = false), "not the same"),
            (Box::new(|v| v.backwards = 1), "run backwards: 1"),
            (Box::new(|v| v.rounds.clear()), "0 rounds"),
        ];
        for (break_it, named) in table {
            let mut verdict = verdict();
            break_it(&mut verdict);
            assert!(!verdict.passed(), "{named}");
            assert!(verdict.broken().contains(named), "{named}: {}", verdict.broken());
            assert_eq!(verdict.to_json()["verdict"], "failed");
        }
    }

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
