//! What the leader tells people of its voters: who is away, who is slow, what waits, and what to do about it.

use std::collections::BTreeMap;
use std::time::Duration;

use jarvis_types::NodeId;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::absence::{Absences, Disks};
use crate::autopilot::{Decision, Picture, Step};
use crate::cluster_time::WrongClock;
use crate::members::Rules;
use crate::report::Reverted;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// What it is.
    pub what: String,
    /// What to do about it.
    pub advice: String,
}

/// A voter that stalls for less is not worth a line: it answers again before anyone has read it.
const WORTH_TELLING: Duration = Duration::from_secs(5);

/// Everything there is to tell.
pub(crate) fn tell(
    picture: &Picture,
    decision: &Decision,
    absences: &Absences,
    (disks, reverted): (&Disks, &BTreeMap<NodeId, Reverted>),
    (clocks, ledger_ahead_ms): (&[WrongClock], Option<u64>),
    rules: &Rules,
    now: Instant,
) -> Vec<Note> {
    let name = |node: NodeId| {
        let row = picture.nodes.iter().find(|(id, _)| *id == node);
        row.map_or_else(|| format!("node-{node}"), |(_, row)| row.name.to_string())
    };
    let mut notes = Vec::new();
    let mut add = |what: String, advice: String| notes.push(Note { what, advice });
    for voter in &picture.voters {
        let Some(away) = absences
            .away_for(*voter, now)
            .filter(|away| *away >= WORTH_TELLING)
        else {
            continue;
        };
        let (voter, away) = (name(*voter), minutes(away));
        let limit = rules.replace_after;
        let what = format!("voter {voter} has been away for {away}");
        add(
            what,
            if limit.is_zero() {
                format!("start {voter}; it keeps its vote for ever ([raft] replace_after = 0)")
            } else {
                format!(
                    "start {voter}; after {} another node takes its vote over, where there is one that is up and may vote",
                    minutes(limit)
                )
            },
        );
    }
    for (node, reverted) in reverted.iter().filter(|(node, _)| picture.has(**node)) {
        let name = name(*node);
        add(
            format!(
                "{name}'s disk was put back to an older copy: {reverted}; it is not counted among the voters"
            ),
            format!(
                "run `jarvis remove {name} --force` here, then `jarvis invite`, and `jarvis join` there with an empty data folder"
            ),
        );
    }
    for WrongClock { node, ahead_ms } in clocks.iter().filter(|clock| picture.has(clock.node)) {
        let by = minutes(Duration::from_millis(ahead_ms.unsigned_abs()));
        let side = if *ahead_ms > 0 { "ahead of" } else { "behind" };
        add(
            format!(
                "the clock of {} is {by} {side} what the voters' clocks agree on",
                name(*node)
            ),
            "set that machine's time, or have it set by a time service (timedatectl set-ntp true)".to_owned(),
        );
    }
    if let Some(ahead_ms) = ledger_ahead_ms {
        add(
            format!(
                "the cluster's time is {} ahead of its voters' clocks, because a clock was",
                minutes(Duration::from_millis(ahead_ms))
            ),
            "it is corrected in some seconds, once all nodes run this version".to_owned(),
        );
    }
    if let Some(held) = &decision.held {
        let answer = picture.voters.intersection(&picture.answering).count();
        let wanted: Vec<String> = held.iter().map(|node| name(*node)).collect();
        add(
            format!(
                "a change of voters to {} waits: {answer} of {} voters answer, and it could cost the majority now",
                wanted.join(", "),
                picture.voters.len()
            ),
            "bring the voters that do not answer back; it goes on by itself".to_owned(),
        );
    }
    if let Step::Wait(behind) = &decision.step {
        for node in behind {
            add(
                format!("{} is to vote and has yet to catch up", name(*node)),
                "wait; it votes as soon as it has".to_owned(),
            );
        }
    }
    for (node, sync) in disks.slow() {
        let ms = |time: Duration| time.as_millis();
        let votes = picture.voters.contains(&node);
        let what = format!(
            "{}'s disk takes {} ms to sync (p99 of the last minute {} ms){}",
            name(node),
            ms(sync.average),
            ms(sync.p99),
            if votes || !rules.demote_slow_disk {
                ""
            } else {
                "; it has no vote while others can do without it"
            }
        );
        let advice = "give it a better disk or card, or see what else writes to it; where all are so slow, set [mesh] profile = \
                      \"slow-disk\" on every node";
        let or_demote = if votes && !rules.demote_slow_disk {
            "; or let a quicker node vote in its place: [raft] demote_slow_disk = true"
        } else {
            ""
        };
        add(what, format!("{advice}{or_demote}"));
    }
    notes
}

/// A time as people say it.
fn minutes(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..7_200 if seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        seconds @ 60..7_200 => format!("{} min {} s", seconds / 60, seconds % 60),
        seconds => format!("{} h", seconds / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn times_are_told_as_people_say_them() {
        let told = [0, 59, 60, 61, 600, 7_199, 7_200, 90_000].map(|s| minutes(Duration::from_secs(s)));
        assert_eq!(
            told,
            [
                "0 s",
                "59 s",
                "1 min",
                "1 min 1 s",
                "10 min",
                "119 min 59 s",
                "2 h",
                "25 h"
            ]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_told_names_the_node_and_what_to_do() {
        let now = Instant::now();
        let (mut absences, mut disks) = (Absences::default(), Disks::default());
        let picture = Picture {
            voters: BTreeSet::from([NodeId(1), NodeId(2), NodeId(3)]),
            answering: BTreeSet::from([NodeId(1), NodeId(2)]),
            ..Picture::default()
        };
        let rules = Rules {
            replace_after: Duration::from_secs(600),
            demote_slow_disk: false,
            lease: Duration::from_millis(400),
        };
        let sync = crate::log::SyncTime {
            average: Duration::from_millis(310),
            p99: Duration::from_millis(420),
            samples: 9,
        };
        absences.note(&BTreeSet::from([NodeId(3)]), now - Duration::from_secs(90));
        disks.note(NodeId(2), sync, rules.slow_at(), now);
        let decision = Decision {
            step: Step::Wait(BTreeSet::from([NodeId(4)])),
            held: Some(BTreeSet::from([NodeId(1)])),
        };
        let told = tell(
            &picture,
            &decision,
            &absences,
            (&disks, &BTreeMap::new()),
            (&[], None),
            &rules,
            now,
        );
        let what: Vec<_> = told.iter().map(|note| note.what.as_str()).collect();
        assert_eq!(
            what,
            [
                "voter node-3 has been away for 1 min 30 s",
                "a change of voters to node-1 waits: 2 of 3 voters answer, and it could cost the majority now",
                "node-4 is to vote and has yet to catch up",
                "node-2's disk takes 310 ms to sync (p99 of the last minute 420 ms)",
            ]
        );
        assert!(told[0].advice.contains("after 10 min another node"), "{told:?}");
        assert!(told[3].advice.contains("demote_slow_disk = true"), "{told:?}");
    }
}
