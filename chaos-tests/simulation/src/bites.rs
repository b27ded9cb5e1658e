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
}

/// All of them.
pub const ALL: [Named; 11] = [
    Named {
        name: "vote-not-synced",
        what: "a vote counts before it is synced",
        bite: Bite::VoteNotSynced,
    },
    Named {
        name: "append-not-synced",
        what: "entries count before they are synced",
        bite: Bite::AppendNotSynced,
    },
    Named {
        name: "truncate-too-far",
        what: "a log is truncated one entry too far",
        bite: Bite::TruncateOneTooFar,
    },
    Named {
        name: "apply-before-commit",
        what: "a node that starts applies all of its log",
        bite: Bite::ApplyBeforeCommit,
    },
    Named {
        name: "epoch-not-checked",
        what: "the machine does not compare epochs",
        bite: Bite::EpochNotChecked,
    },
    Named {
        name: "message-id-not-checked",
        what: "the machine does not look whether a client's id was used",
        bite: Bite::MessageIdNotChecked,
    },
    Named {
        name: "open-turn-lost",
        what: "messages that wait for an answer are forgotten when their partition moves",
        bite: Bite::OpenTurnLost,
    },
    Named {
        name: "dedupe-not-in-snapshot",
        what: "snapshots go without what is remembered of proposals",
        bite: Bite::DedupeNotInSnapshot,
    },
    Named {
        name: "stale-read",
        what: "a linearizable read asks nobody",
        bite: Bite::StaleRead,
    },
    Named {
        name: "lease-not-waited-out",
        what: "who gets a partition acts while its earlier owner may still do so",
        bite: Bite::LeaseNotWaitedOut,
    },
    Named {
        name: "lease-not-asked",
        what: "an owner goes on to act when its lease is over",
        bite: Bite::LeaseNotAsked,
    },
];

/// The fault of that name.
pub fn named(name: &str) -> Option<Bite> {
    ALL.iter().find(|bite| bite.name == name).map(|bite| bite.bite)
}
