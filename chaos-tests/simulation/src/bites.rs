//! Faults that are put back on purpose, one at a time: a harness that does not find them proves nothing.

use jarvis_replica::simulated::Bite;

/// A fault, and what it is.
#[derive(Debug, Clone, Copy)]
pub struct Named {
    /// For the command line.
    pub name: &'static str,
    /// In words.
    pub what: &'static str,
    /// The fault.
    pub bite: Bite,
    /// A seed that finds it.
    pub found_by: u64,
    /// The law that is broken then, in a release build; openraft's own assertions are sooner in others.
    pub law: &'static str,
}

/// All of them.
pub const ALL: [Named; 16] = [
    Named {
        name: "vote-not-synced",
        what: "a vote counts before it is synced",
        bite: Bite::VoteNotSynced,
        found_by: 1,
        law: "one leader a term",
    },
    Named {
        name: "append-not-synced",
        what: "entries count before they are synced",
        bite: Bite::AppendNotSynced,
        found_by: 1,
        law: "logs match",
    },
    Named {
        name: "truncate-too-far",
        what: "a log is truncated one entry too far",
        bite: Bite::TruncateOneTooFar,
        found_by: 4,
        law: "logs match",
    },
    Named {
        name: "apply-before-commit",
        what: "a node that starts applies all of its log",
        bite: Bite::ApplyBeforeCommit,
        found_by: 14,
        law: "logs match",
    },
    Named {
        name: "epoch-not-checked",
        what: "the machine does not compare epochs",
        bite: Bite::EpochNotChecked,
        found_by: 4,
        law: "one owner whose writes count",
    },
    Named {
        name: "message-id-not-checked",
        what: "the machine does not look whether a client's id was used",
        bite: Bite::MessageIdNotChecked,
        found_by: 1,
        law: "seq without gap or repeat, ids once",
    },
    Named {
        name: "open-turn-lost",
        what: "messages that wait for an answer are forgotten when their partition moves",
        bite: Bite::OpenTurnLost,
        found_by: 2,
        law: "once healed, every session answers",
    },
    Named {
        name: "dedupe-not-in-snapshot",
        what: "snapshots go without what is remembered of proposals",
        bite: Bite::DedupeNotInSnapshot,
        found_by: 8,
        law: "all nodes hold the same",
    },
    Named {
        name: "stale-read",
        what: "a linearizable read asks nobody",
        bite: Bite::StaleRead,
        found_by: 1,
        law: "reads and writes are linearizable",
    },
    Named {
        name: "lease-not-waited-out",
        what: "who gets a partition acts while its earlier owner may still do so",
        bite: Bite::LeaseNotWaitedOut,
        found_by: 21,
        law: "no two nodes act at once",
    },
    Named {
        name: "lease-not-asked",
        what: "an owner goes on to act when its lease is over",
        bite: Bite::LeaseNotAsked,
        found_by: 11,
        law: "no two nodes act at once",
    },
    Named {
        name: "intent-lost",
        what: "what an automation asks for is begun, and kept nowhere until it is done",
        bite: Bite::IntentLost,
        found_by: 2,
        law: "once healed, every timer fires",
    },
    Named {
        name: "timer-forgotten",
        what: "who gets an automation does not look at what fell due before",
        bite: Bite::TimerForgotten,
        found_by: 1,
        law: "once healed, every timer fires",
    },
    Named {
        name: "told-id-not-checked",
        what: "the machine does not look whether what is told unasked was told before",
        bite: Bite::ToldIdNotChecked,
        found_by: 2,
        law: "seq without gap or repeat, ids once",
    },
    Named {
        name: "log-mark-not-asked",
        what: "a node does not look whether it acknowledged more than its disk has",
        bite: Bite::LogMarkNotAsked,
        found_by: 1,
        law: "who was put back takes no part",
    },
    Named {
        name: "own-clock-believed",
        what: "a leader goes by its own clock",
        bite: Bite::OwnClockBelieved,
        found_by: 68,
        law: "no single clock moves the cluster's time",
    },
];

/// The fault of that name.
pub fn named(name: &str) -> Option<Bite> {
    ALL.iter().find(|bite| bite.name == name).map(|bite| bite.bite)
}
