//! What the leader decides: who gets a lease, for how long, and how far everybody else is. Pure.
//!
//! ```text
//!  ask(applied) ──► behind what was promised? ──► Behind
//!                   majority heard of late?   ──► no: Wait
//!                   └─► length = min(full, majority heard at + full - now)
//!                       past   = least applied of all OTHERS that may still be acting
//! ```
//!
//! `past` promises its receiver that nobody else acts, or ever will, by an ownership applied before that index. Four
//! things keep the promise. Who has reported an index has stopped all that was older. Who is behind a promise gets no
//! lease before it has caught up. Who has not reported may be acting until the longest lease it can have is over, a
//! lease of an earlier leader included, and those end by that leader's last word from a majority, which was before this
//! leader's election; how long they were it knows from those that it held itself, else it takes the longest there are. And whatever an earlier leader promised was applied there, so it stands in this leader's log: nobody
//! gets a lease here before having applied all that was in the log at the election.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jarvis_types::NodeId;

use super::terms::{Moment, millis, remembered};

/// How far wall and monotonic clock may part between two looks before the machine counts as having slept: then only what
/// is heard from a majority afterwards counts. NTP moves a clock by half a millisecond a second.
const CLOCKS_PART_MS: u64 = 50;

/// A removed node is not thought of any more when it has been gone for this long: no leader that could have missed its
/// removal grants so late.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

/// What the replica says of this node's leadership.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    pub(crate) term: u64,
    /// When that was sent which a majority has answered to.
    pub(crate) quorum_acked: Duration,
    /// Last index of the log.
    pub(crate) last_log: u64,
    /// What this node has applied.
    pub(crate) applied: u64,
    /// The longest lease of an earlier leader that may still have run when this node began to lead.
    pub(crate) longest_before: Duration,
}

/// Who could act.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Members {
    /// Members that may own partitions.
    pub(crate) present: BTreeSet<NodeId>,
    /// Nodes that are out for good.
    pub(crate) removed: BTreeSet<NodeId>,
}

/// What a node says of itself when it asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    /// All that it does is by ownerships as of this index.
    pub(crate) applied: u64,
    /// Which life of the node asks: a word of an earlier one may come late.
    pub(crate) life: u64,
    /// It gives its lease up for the rest of this life, and asks for none.
    pub(crate) lets_go: bool,
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It may act for so long from when it asked.
    Granted { length: Duration, past: u64 },
    /// Not before it has applied this index.
    Behind { need: u64 },
    /// No majority has been heard of late.
    Wait,
    /// Ask the leader.
    NotLeading,
    /// It is no member that acts.
    Stranger,
}

/// What a node said last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Index as of which it acts.
    pub applied: u64,
    /// When, since this node started.
    pub at: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Book {
    report: Report,
    life: u64,
    until: Duration,
}

/// One leadership of this node.
#[derive(Debug)]
struct Reign {
    term: u64,
    /// Until then leases of earlier leaders may run.
    earlier: Duration,
    /// Nobody who has applied less gets a lease.
    need: u64,
    books: BTreeMap<NodeId, Book>,
}

/// The granting side. Every node has one; it grants while its node leads.
#[derive(Debug)]
pub(crate) struct Grantor {
    length: Duration,
    /// Nothing as short as this is granted, nor shorter: it would look like the lease of a leader that grants shorter ones.
    above: Duration,
    reign: Option<Reign>,
    /// Since when each removed node is known to be.
    gone: BTreeMap<NodeId, Duration>,
    looked: Option<Moment>,
    /// What was heard from a majority before this does not count.
    heard_from: Duration,
}

impl Grantor {
    /// `lengths`: those that the leaders of a cluster may have been given.
    pub(crate) fn new(length: Duration, lengths: &[Duration]) -> Self {
        let shorter = lengths.iter().copied().filter(|other| *other < length);
        Self {
            length,
            above: shorter.max().unwrap_or_default(),
            reign: None,
            gone: BTreeMap::new(),
            looked: None,
            heard_from: Duration::ZERO,
        }
    }

    /// To be called now and then on every node, leading or not: notes who is gone, and whether the machine slept.
    pub(crate) fn look(&mut self, now: Moment, members: &Members) {
        for &node in &members.removed {
            self.gone.entry(node).or_insert(now.mono);
        }
        if let Some(before) = self.looked {
            let mono = now.mono.saturating_sub(before.mono);
            let wall = now.wall_ms.wrapping_sub(before.wall_ms) as i64;
            if wall.abs_diff(millis(mono) as i64) > CLOCKS_PART_MS {
                self.heard_from = now.mono;
            }
        }
        self.looked = Some(now);
    }

    /// A node asks.
    pub(crate) fn ask(
        &mut self,
        now: Moment,
        standing: Option<Standing>,
        members: &Members,
        from: NodeId,
        asked: Asked,
    ) -> Decision {
        self.look(now, members);
        let Some(standing) = standing else {
            self.reign = None;
            return Decision::NotLeading;
        };
        if self
            .reign
            .as_ref()
            .is_none_or(|reign| reign.term != standing.term)
        {
            self.reign = Some(Reign {
                term: standing.term,
                earlier: now.mono + remembered(standing.longest_before),
                need: standing.last_log,
                books: BTreeMap::new(),
            });
        }
        let heard = (standing.quorum_acked >= self.heard_from).then_some(standing.quorum_acked);
        let left = heard.map_or(Duration::ZERO, |heard| {
            (heard + self.length).saturating_sub(now.mono)
        });
        let length = self.length.min(left);
        let Some(reign) = self.reign.as_mut() else {
            return Decision::NotLeading;
        };
        reign.note(now, from, asked);
        if !members.present.contains(&from) {
            return Decision::Stranger;
        }
        if asked.lets_go {
            return Decision::Wait;
        }
        if asked.applied < reign.need {
            return Decision::Behind { need: reign.need };
        }
        if length <= self.above {
            return Decision::Wait;
        }
        let earlier = reign.earlier;
        let known = |node: &NodeId| {
            self.gone
                .get(node)
                .is_some_and(|since| now.mono.saturating_sub(*since) > FORGOTTEN_AFTER)
        };
        let gone = members.removed.iter().filter(|node| !known(node));
        // Who left while this node led is still in the books.
        let everyone: BTreeSet<NodeId> = (members.present.iter().chain(gone))
            .chain(reign.books.keys())
            .copied()
            .collect();
        let others = everyone.into_iter().filter(|node| *node != from);
        let least = others
            .filter_map(|node| reign.acting_by(node, now.mono, earlier))
            .min();
        let past = least.unwrap_or(u64::MAX).min(asked.applied).min(standing.applied);
        reign.need = reign.need.max(past);
        if let Some(book) = reign.books.get_mut(&from) {
            book.until = book.until.max(now.mono + remembered(length));
        }
        Decision::Granted { length, past }
    }

    /// What the others said last, if this node leads.
    pub(crate) fn reports(&self) -> BTreeMap<NodeId, Report> {
        let books = self.reign.iter().flat_map(|reign| &reign.books);
        books.map(|(node, book)| (*node, book.report)).collect()
    }
}

impl Reign {
    fn note(&mut self, now: Moment, from: NodeId, asked: Asked) {
        let book = self.books.entry(from).or_insert(Book {
            report: Report {
                applied: asked.applied,
                at: now.mono,
            },
            life: asked.life,
            until: Duration::ZERO,
        });
        // Messages may overtake one another; what was stopped stays stopped.
        book.report.applied = book.report.applied.max(asked.applied);
        book.report.at = now.mono;
        if !asked.lets_go {
            book.life = asked.life;
        } else if book.life == asked.life {
            book.until = now.mono;
        }
    }

    /// The index by which `node` may be acting at `now`; none if it cannot be.
    fn acting_by(&self, node: NodeId, now: Duration, earlier: Duration) -> Option<u64> {
        let book = self.books.get(&node);
        let until = book.map_or(Duration::ZERO, |book| book.until).max(earlier);
        (now < until).then(|| book.map_or(0, |book| book.report.applied))
    }
}

#[cfg(test)]
mod tests;
