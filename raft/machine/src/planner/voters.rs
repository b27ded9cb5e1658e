//! Who should vote.

use std::collections::BTreeSet;

use jarvis_types::NodeId;

use crate::rows::{NodeIntent, NodeRole, NodeRow};

/// Most voters: with more, every write waits for more disks and gains little.
pub const MAX_VOTERS: usize = 5;

/// How a member does, as its leader sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It answers and keeps up.
    Fit,
    /// It answers, and has yet to catch up.
    Behind,
    /// It answers, keeps up, and holds the others up: its disk is slow. Only told where it may lose its vote for that.
    Slow,
    /// It does not answer at the moment.
    Silent,
    /// It has not answered for so long that another is to take its place.
    Gone,
}

/// A member that may vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Candidate {
    rank: u8,
    id: NodeId,
    standing: Standing,
}

/// The members that should vote: an odd number up to [`MAX_VOTERS`] of those whose role allows it and who have reported
/// for work, in this order: voters, learners that keep up, learners that yet have to, slow voters, voters that are gone.
///
/// Nobody becomes a voter who does not answer, and nobody ceases to be one only for not answering: a voter that is down
/// for a minute must not cost two changes of membership. The number is the largest there is, but for five of which some
/// are gone or slow where three bear a loss without them. Three never become one while there are three: with one voter,
/// what is acknowledged stands on one disk. There is always at least one, whatever the members are.
pub fn desired_voters(
    nodes: &[(NodeId, NodeRow)],
    current: &BTreeSet<NodeId>,
    standing: impl Fn(NodeId, &NodeRow) -> Standing,
) -> BTreeSet<NodeId> {
    let mut able: Vec<Candidate> = nodes
        .iter()
        .filter(|(_, row)| row.role != NodeRole::Worker && row.intent != NodeIntent::Joining)
        .filter_map(|(id, row)| {
            let standing = standing(*id, row);
            let rank = rank(current.contains(id), standing)?;
            Some(Candidate {
                rank,
                id: *id,
                standing,
            })
        })
        .collect();
    able.sort_unstable_by_key(|candidate| (candidate.rank, candidate.id));
    let wanted = wanted(&able);
    if wanted == 0 {
        return fall_back(nodes, current);
    }
    able.into_iter()
        .take(wanted)
        .map(|candidate| candidate.id)
        .collect()
}

/// Lower comes first; none: it cannot vote.
fn rank(votes: bool, standing: Standing) -> Option<u8> {
    match (votes, standing) {
        (true, Standing::Fit | Standing::Behind) => Some(0),
        // Only where some must go does it matter that this one does not answer.
        (true, Standing::Silent) => Some(1),
        (false, Standing::Fit) => Some(2),
        (false, Standing::Behind) => Some(3),
        (true, Standing::Slow) => Some(4),
        // Better a slow voter than too few.
        (false, Standing::Slow) => Some(5),
        (true, Standing::Gone) => Some(6),
        (false, Standing::Silent | Standing::Gone) => None,
    }
}

/// How many of the candidates should vote.
fn wanted(able: &[Candidate]) -> usize {
    let most = able.len().min(MAX_VOTERS);
    let largest = if most.is_multiple_of(2) {
        most.saturating_sub(1)
    } else {
        most
    };
    if largest < MAX_VOTERS {
        return largest;
    }
    let smaller = MAX_VOTERS - 2;
    let count = |size: usize, standings: &[Standing]| {
        let chosen = able.iter().take(size);
        chosen
            .filter(|candidate| standings.contains(&candidate.standing))
            .count()
    };
    // How many more may be lost before there is no majority.
    let spare = |size: usize| (size - count(size, &[Standing::Gone])) as i64 - (size / 2 + 1) as i64;
    let burden = |size: usize| count(size, &[Standing::Gone, Standing::Slow]);
    let bears_more = spare(smaller) > spare(largest);
    let bears_enough = spare(smaller) >= 1 && burden(smaller) < burden(largest);
    if bears_more || bears_enough {
        smaller
    } else {
        largest
    }
}

/// Nobody is able: stay with who votes, or take the member that would be the first choice if it answered.
fn fall_back(nodes: &[(NodeId, NodeRow)], current: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
    if !current.is_empty() {
        return current.clone();
    }
    let first = nodes
        .iter()
        .min_by_key(|(id, row)| (row.role == NodeRole::Worker, *id));
    first.map(|(id, _)| *id).into_iter().collect()
}
