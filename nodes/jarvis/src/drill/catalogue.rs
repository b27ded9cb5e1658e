//! All drills: what each does, what it needs, what it puts right again, what is judged.

use serde_json::{Value, json};

/// A drill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drill {
    /// The node on which conversations run.
    KillOwner,
    /// The node that leads.
    KillLeader,
    /// The node to which clients are connected.
    KillGateway,
    /// A node that stands still.
    Pause,
    /// A node that is cut off.
    Partition,
    /// Links that are slow and lose some.
    SlowNetwork,
    /// A disk that takes its time.
    SlowDisk,
    /// A disk without room.
    FullDisk,
    /// A wrong wall clock.
    ClockJump,
    /// All nodes, one after the other.
    RollingRestart,
    /// All nodes at once.
    PowerCut,
}

/// What people are told of a drill.
#[derive(Debug)]
pub(super) struct About {
    /// What it is.
    pub(super) drill: Drill,
    /// Its name.
    pub(super) name: &'static str,
    /// What it does.
    pub(super) does: &'static str,
    /// What becomes of the cluster, whatever happens to the drill.
    pub(super) restores: &'static str,
    /// What is judged beside the laws that hold in every drill.
    pub(super) judged: &'static str,
    /// Whether it sends signals to processes, which `jarvis up` has to start again.
    pub(super) processes: bool,
    /// Fewer voters and the cluster would not survive it.
    pub(super) least_voters: usize,
    /// Fewer nodes and there would be nothing to see.
    pub(super) least_nodes: usize,
}

const BY_UP: &str = "a node that was killed is started again by `jarvis up`";
const BY_ITSELF: &str = "the fault ends by itself within a minute, even if the drill is killed";

/// All of them.
pub(super) const DRILLS: [About; 11] = [
    About {
        drill: Drill::KillOwner,
        name: "kill-owner",
        does: "kills (kill -9) the node on which conversations run; their clients stay connected elsewhere",
        restores: BY_UP,
        judged: "every conversation is answered again while the node is away",
        processes: true,
        least_voters: 3,
        least_nodes: 3,
    },
    About {
        drill: Drill::KillLeader,
        name: "kill-leader",
        does: "kills (kill -9) the node that leads; every commit waits for the next leader",
        restores: BY_UP,
        judged: "every conversation is answered again while the node is away",
        processes: true,
        least_voters: 3,
        least_nodes: 3,
    },
    About {
        drill: Drill::KillGateway,
        name: "kill-gateway",
        does: "kills (kill -9) the node to which clients are connected; they go to another by themselves",
        restores: BY_UP,
        judged: "every conversation is answered again while the node is away",
        processes: true,
        least_voters: 3,
        least_nodes: 3,
    },
    About {
        drill: Drill::Pause,
        name: "pause",
        does: "stops a node's process (SIGSTOP) for five seconds, longer than its lease, and every second round for 120 ms",
        restores: "a guard of its own lets the process go on, even if the drill is killed",
        judged: "conversations of other gateways are answered during the long pause; the short one causes no failover",
        processes: true,
        least_voters: 3,
        least_nodes: 3,
    },
    About {
        drill: Drill::Partition,
        name: "partition",
        does: "cuts a node off, round by round: from all others, from what it hears, from what it says, the leader from its \
               clients only, the leader from all others",
        restores: BY_ITSELF,
        judged: "conversations of other gateways are answered while it is cut off; those of the cut-off one may be told \
                 `unavailable`",
        processes: false,
        least_voters: 3,
        least_nodes: 3,
    },
    About {
        drill: Drill::SlowNetwork,
        name: "slow-network",
        does: "makes every datagram between nodes 20 to 40 ms late and loses 5 % of them, for four seconds",
        restores: BY_ITSELF,
        judged: "every conversation goes on meanwhile",
        processes: false,
        least_voters: 1,
        least_nodes: 2,
    },
    About {
        drill: Drill::SlowDisk,
        name: "slow-disk",
        does: "makes each sync of one node's log take 300 ms longer, for four seconds; the leader's every second round",
        restores: BY_ITSELF,
        judged: "every conversation goes on meanwhile",
        processes: false,
        least_voters: 3,
        least_nodes: 3,
    },
    About {
        drill: Drill::FullDisk,
        name: "full-disk",
        does: "leaves one node's log without room for five seconds, the leader's every second round; the node says so and \
               stops, and its process has to be started again by its supervisor (`jarvis up`, systemd) when there is room",
        restores: BY_ITSELF,
        judged: "the node stops taking part; every conversation is answered meanwhile; it comes back when there is room",
        processes: false,
        least_voters: 3,
        least_nodes: 3,
    },
    About {
        drill: Drill::ClockJump,
        name: "clock-jump",
        does: "sets one node's wall clock two hours forward for three seconds, and every second round back; the leader's \
               first",
        restores: BY_ITSELF,
        judged: "every conversation goes on meanwhile; times in transcripts never run backwards",
        processes: false,
        least_voters: 3,
        least_nodes: 3,
    },
    About {
        drill: Drill::RollingRestart,
        name: "rolling-restart",
        does: "stops each node in turn (SIGTERM), which hands its work over, and waits until it is back",
        restores: BY_UP,
        judged: "every conversation goes on meanwhile; with fewer than three voters it waits for the restart",
        processes: true,
        least_voters: 1,
        least_nodes: 1,
    },
    About {
        drill: Drill::PowerCut,
        name: "power-cut",
        does: "kills (kill -9) all nodes at once",
        restores: "all nodes are started again by `jarvis up`",
        judged: "everything that was acknowledged is there; the gap is the time of a restart",
        processes: true,
        least_voters: 1,
        least_nodes: 1,
    },
];

impl About {
    /// What it needs, in words.
    pub(super) fn needs(&self) -> String {
        let cluster = if self.processes {
            "a cluster of `jarvis up` on this machine"
        } else {
            "any cluster, as an administrator"
        };
        match (self.least_voters, self.least_nodes) {
            (1, 1) => cluster.to_owned(),
            (1, nodes) => format!("{cluster}, {nodes} nodes or more"),
            (voters, _) => format!("{cluster}, {voters} voters or more"),
        }
    }

    /// As one line of `drill list --json`.
    pub(super) fn to_json(&self) -> Value {
        json!({"name": self.name, "does": self.does, "needs": self.needs(), "restores": self.restores,
            "judged": self.judged, "least_voters": self.least_voters, "least_nodes": self.least_nodes,
            "processes": self.processes})
    }
}

/// How a node is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// From all others.
    Whole,
    /// It hears nothing.
    In,
    /// Nobody hears it.
    Out,
    /// The leader's clients only.
    LeaderFromClients,
    /// The leader from all others.
    LeaderWhole,
}

impl Cut {
    /// Round 1 is the first.
    pub(super) fn of_round(number: u32) -> Self {
        const CYCLE: [Cut; 5] = [
            Cut::Whole,
            Cut::In,
            Cut::Out,
            Cut::LeaderFromClients,
            Cut::LeaderWhole,
        ];
        CYCLE[(number.saturating_sub(1) as usize) % CYCLE.len()]
    }

    /// As the report calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Whole => "cut off from all nodes",
            Self::In => "hears nothing",
            Self::Out => "is not heard",
            Self::LeaderFromClients => "leader cut off from its clients",
            Self::LeaderWhole => "leader cut off from all nodes",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_go_through_all_kinds_of_cuts() {
        let cycle: Vec<Cut> = (1..=6).map(Cut::of_round).collect();
        assert_eq!(
            cycle,
            [
                Cut::Whole,
                Cut::In,
                Cut::Out,
                Cut::LeaderFromClients,
                Cut::LeaderWhole,
                Cut::Whole
            ]
        );
    }

    #[test]
    fn every_drill_says_what_it_does_and_needs() {
        for about in &DRILLS {
            assert!(!about.does.is_empty() && !about.restores.is_empty() && !about.judged.is_empty());
            let needs = about.needs();
            assert_eq!(needs.contains("jarvis up"), about.processes, "{}", about.name);
            assert_eq!(needs.contains("voters"), about.least_voters > 1, "{}", about.name);
        }
    }
}
