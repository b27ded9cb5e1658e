//! Holders and grantors on a small model of Raft under an adversary's schedule: messages delayed and lost, leaders cut off
//! and elected, machines suspended and stopped, clocks that run 5 % wrong and are set. No two nodes may act for one
//! partition in the same millisecond of true time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jarvis_types::NodeId;
use proptest::prelude::*;

use super::grantor::{Asked, Decision, Grantor, Members, Standing};
use super::holder::Holder;
use super::terms::Moment;

const NODES: usize = 3;
const PARTITIONS: usize = 2;
/// What nodes may be configured to grant.
const LENGTHS: [Duration; 3] = [
    Duration::from_millis(50),
    Duration::from_millis(80),
    Duration::from_millis(120),
];

/// A partition goes to a node; none for a leader's own first entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    term: u64,
    moved: Option<(usize, usize)>,
}

#[derive(Debug, Clone)]
enum Body {
    Append {
        term: u64,
        log: Vec<Entry>,
        commit: usize,
        sent: u64,
    },
    Appended {
        term: u64,
        len: usize,
        sent: u64,
    },
    AskVote {
        term: u64,
        last: (u64, usize),
    },
    Vote {
        term: u64,
    },
    Ask {
        asked: Asked,
        sent: Moment,
    },
    Grant {
        term: u64,
        sent: Moment,
        length: Duration,
        past: u64,
    },
}

struct Node {
    /// Thousandths that its clocks go fast or slow.
    drift: i64,
    mono_us: u64,
    wall_us: i64,
    stopped_until: u64,
    suspended_until: u64,
    term: u64,
    voted: bool,
    votes: BTreeSet<usize>,
    leads: bool,
    log: Vec<Entry>,
    commit: usize,
    applied: usize,
    matched: BTreeMap<usize, usize>,
    /// By its own clock, when that was sent which each other node answered last.
    acked: BTreeMap<usize, u64>,
    holder: Holder,
    grantor: Grantor,
}

impl Node {
    fn moment(&self) -> Moment {
        Moment {
            mono: Duration::from_micros(self.mono_us),
            wall_ms: (self.wall_us / 1_000) as u64,
        }
    }

    fn last(&self) -> (u64, usize) {
        (self.log.last().map_or(0, |entry| entry.term), self.log.len())
    }

    fn follow(&mut self, term: u64) {
        if term > self.term {
            (self.term, self.voted) = (term, false);
            self.leads = false;
            self.votes.clear();
        }
    }

    /// Who owns `partition` as applied here, and since which index.
    fn owner(&self, partition: usize) -> Option<(usize, u64)> {
        let applied = self.log.iter().take(self.applied).enumerate().rev();
        applied
            .filter_map(|(at, entry)| entry.moved.map(|moved| (at, moved)))
            .find(|(_, (which, _))| *which == partition)
            .map(|(at, (_, to))| (to, at as u64 + 1))
    }
}

struct World {
    now: u64,
    nodes: Vec<Node>,
    cut: BTreeSet<(usize, usize)>,
    mail: Vec<(u64, usize, usize, Body)>,
    acted: BTreeSet<(usize, usize)>,
}

/// What the adversary does next.
#[derive(Debug, Clone)]
enum Step {
    Pass(u64),
    Heartbeat(usize, u64),
    Campaign(usize, u64),
    Move(usize, usize),
    Renew(usize, u64),
    Cut(usize, usize),
    Mend,
    Stop(usize, u64),
    Suspend(usize, u64),
    SetClock(usize, i64),
}

fn step() -> impl Strategy<Value = Step> {
    let node = 0..NODES;
    // Most messages take a moment, some a lease.
    let delay = prop_oneof![4 => 0u64..8, 1 => 0u64..150];
    prop_oneof![
        8 => (1u64..25).prop_map(Step::Pass),
        8 => (node.clone(), delay.clone()).prop_map(|(n, d)| Step::Heartbeat(n, d)),
        2 => (node.clone(), delay.clone()).prop_map(|(n, d)| Step::Campaign(n, d)),
        3 => (0..PARTITIONS, node.clone()).prop_map(|(p, n)| Step::Move(p, n)),
        12 => (node.clone(), delay).prop_map(|(n, d)| Step::Renew(n, d)),
        1 => (node.clone(), node.clone()).prop_map(|(a, b)| Step::Cut(a, b)),
        1 => Just(Step::Mend),
        1 => (node.clone(), 10u64..200).prop_map(|(n, ms)| Step::Stop(n, ms)),
        1 => (node.clone(), 10u64..300).prop_map(|(n, ms)| Step::Suspend(n, ms)),
        1 => (node, -300i64..300).prop_map(|(n, ms)| Step::SetClock(n, ms)),
    ]
}

impl World {
    /// Nodes by how wrong their clocks are and which of [`LENGTHS`] is theirs.
    fn new(nodes: &[(i64, usize)]) -> Self {
        let node = |&(drift, length): &(i64, usize)| Node {
            drift,
            mono_us: 0,
            wall_us: 1_700_000_000_000_000,
            stopped_until: 0,
            suspended_until: 0,
            term: 0,
            voted: false,
            votes: BTreeSet::new(),
            leads: false,
            log: Vec::new(),
            commit: 0,
            applied: 0,
            matched: BTreeMap::new(),
            acked: BTreeMap::new(),
            holder: Holder::default(),
            grantor: Grantor::new(LENGTHS[length], &LENGTHS),
        };
        Self {
            now: 0,
            nodes: nodes.iter().map(node).collect(),
            cut: BTreeSet::new(),
            mail: Vec::new(),
            acted: BTreeSet::new(),
        }
    }

    fn awake(&self, node: usize) -> bool {
        let node = &self.nodes[node];
        self.now >= node.stopped_until && self.now >= node.suspended_until
    }

    fn send(&mut self, from: usize, to: usize, delay: u64, body: Body) {
        if !self.cut.contains(&(from, to)) {
            // A node's word to itself takes no time.
            let delay = if from == to { 0 } else { delay };
            self.mail.push((self.now + delay, from, to, body));
        }
    }

    fn pass(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now += 1;
            let now = self.now;
            for node in &mut self.nodes {
                let us = (1_000 + node.drift) as u64;
                node.wall_us += us as i64;
                if now > node.suspended_until {
                    node.mono_us += us;
                }
            }
            self.deliver();
            self.check();
        }
    }

    fn deliver(&mut self) {
        loop {
            let due = (0..self.mail.len()).find(|&at| {
                let (when, _, to, _) = self.mail[at];
                when <= self.now && self.awake(to)
            });
            let Some(at) = due else { return };
            let (_, from, to, body) = self.mail.remove(at);
            self.take(from, to, body);
        }
    }

    fn take(&mut self, from: usize, to: usize, body: Body) {
        let members = Members {
            present: (1..=NODES as u64).map(NodeId).collect(),
            removed: BTreeSet::new(),
        };
        let node = &mut self.nodes[to];
        match body {
            Body::Append {
                term,
                log,
                commit,
                sent,
            } => {
                node.follow(term);
                // A late message of the same leader does not take back what was said since.
                if term == node.term && !(node.last().0 == term && node.log.len() > log.len()) {
                    let len = log.len();
                    node.log = log;
                    node.commit = node.commit.max(commit);
                    node.applied = node.commit;
                    self.send(to, from, 1, Body::Appended { term, len, sent });
                }
            }
            Body::Appended { term, len, sent } => {
                if node.leads && term == node.term {
                    let matched = node.matched.entry(from).or_default();
                    *matched = len.max(*matched);
                    let acked = node.acked.entry(from).or_default();
                    *acked = sent.max(*acked);
                    let best = node.matched.values().copied().max().unwrap_or(0);
                    if best > node.commit && node.log[best - 1].term == term {
                        (node.commit, node.applied) = (best, best);
                    }
                }
            }
            Body::AskVote { term, last } => {
                node.follow(term);
                if term == node.term && !node.voted && last >= node.last() {
                    node.voted = true;
                    self.send(to, from, 1, Body::Vote { term });
                }
            }
            Body::Vote { term } => {
                if term == node.term && !node.leads {
                    node.votes.insert(from);
                    if node.votes.len() * 2 > NODES {
                        node.leads = true;
                        (node.matched, node.acked) = (BTreeMap::new(), BTreeMap::new());
                        node.log.push(Entry { term, moved: None });
                    }
                }
            }
            Body::Ask { asked, sent } => {
                let standing = node.leads.then_some(()).and_then(|()| {
                    // With its own, one other makes a majority of three.
                    let acked = node.acked.values().copied().max()?;
                    Some(Standing {
                        term: node.term,
                        quorum_acked: Duration::from_micros(acked),
                        last_log: node.log.len() as u64,
                        applied: node.applied as u64,
                        longest_before: (node.holder).longest_before(node.term, node.moment().mono, &LENGTHS),
                    })
                });
                let (now, term) = (node.moment(), node.term);
                let decision = node
                    .grantor
                    .ask(now, standing, &members, NodeId(from as u64 + 1), asked);
                if let Decision::Granted { length, past } = decision {
                    let grant = Body::Grant {
                        term,
                        sent,
                        length,
                        past,
                    };
                    self.send(to, from, 1, grant);
                }
            }
            Body::Grant {
                term,
                sent,
                length,
                past,
            } => {
                let now = node.moment().mono;
                node.holder.granted_in(term, length, now);
                node.holder.granted(sent, length, past);
            }
        }
    }

    fn act(&mut self, step: &Step) {
        match *step {
            Step::Pass(ms) => self.pass(ms),
            Step::Heartbeat(n, delay) if self.awake(n) && self.nodes[n].leads => {
                let node = &self.nodes[n];
                let (term, log, commit, sent) = (node.term, node.log.clone(), node.commit, node.mono_us);
                for to in (0..NODES).filter(|to| *to != n) {
                    let body = Body::Append {
                        term,
                        log: log.clone(),
                        commit,
                        sent,
                    };
                    self.send(n, to, delay, body);
                }
            }
            Step::Campaign(n, delay) if self.awake(n) && !self.nodes[n].leads => {
                let node = &mut self.nodes[n];
                node.follow(node.term + 1);
                node.voted = true;
                node.votes.insert(n);
                let (term, last) = (node.term, node.last());
                for to in (0..NODES).filter(|to| *to != n) {
                    self.send(n, to, delay, Body::AskVote { term, last });
                }
            }
            Step::Move(partition, to) => {
                for n in 0..NODES {
                    if self.nodes[n].leads && self.awake(n) {
                        let term = self.nodes[n].term;
                        self.nodes[n].log.push(Entry {
                            term,
                            moved: Some((partition, to)),
                        });
                    }
                }
            }
            Step::Renew(n, delay) if self.awake(n) => {
                let node = &self.nodes[n];
                let asked = Asked {
                    applied: node.applied as u64,
                    life: 1,
                    lets_go: false,
                };
                let sent = node.moment();
                for leader in (0..NODES).filter(|&to| self.nodes[to].leads).collect::<Vec<_>>() {
                    self.send(n, leader, delay, Body::Ask { asked, sent });
                }
            }
            Step::Cut(a, b) => {
                self.cut.insert((a, b));
            }
            Step::Mend => self.cut.clear(),
            Step::Stop(n, ms) => self.nodes[n].stopped_until = self.now + ms,
            Step::Suspend(n, ms) => self.nodes[n].suspended_until = self.now + ms,
            Step::SetClock(n, ms) => {
                let node = &mut self.nodes[n];
                // Setting the clock back while asleep is the one thing that neither clock shows.
                if self.now >= node.suspended_until {
                    node.wall_us += ms * 1_000;
                }
            }
            _ => {}
        }
        self.deliver();
        self.check();
    }

    /// The law.
    fn check(&mut self) {
        for partition in 0..PARTITIONS {
            let acting: Vec<usize> = (0..NODES)
                .filter(|&n| self.awake(n) && self.may_act(n, partition))
                .collect();
            assert!(
                acting.len() <= 1,
                "at {} nodes {acting:?} act for partition {partition}",
                self.now
            );
            self.acted.extend(acting.iter().map(|&n| (partition, n)));
        }
    }

    fn may_act(&self, n: usize, partition: usize) -> bool {
        let node = &self.nodes[n];
        let owner = node.owner(partition);
        owner.is_some_and(|(owner, since)| owner == n && since <= node.holder.past())
            && node.holder.runs(node.moment(), Duration::ZERO)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_two_nodes_act_for_one_partition_at_once(
        nodes in proptest::collection::vec((-50i64..=50, 0..LENGTHS.len()), NODES),
        steps in proptest::collection::vec(step(), 1..250),
    ) {
        let mut world = World::new(&nodes);
        steps.iter().for_each(|step| world.act(step));
    }
}

/// The law is not kept by nobody acting.
#[test]
fn ownership_moves_and_its_new_owner_acts() {
    let mut world = World::new(&[(50, 1), (-50, 1), (0, 1)]);
    let beat = |world: &mut World, nodes: &[usize]| {
        for _ in 0..20 {
            for &n in nodes {
                world.act(&Step::Heartbeat(n, 1));
                world.act(&Step::Pass(4));
                world.act(&Step::Renew(n, 1));
            }
        }
    };
    world.act(&Step::Campaign(0, 1));
    world.pass(5);
    world.act(&Step::Move(0, 0));
    world.act(&Step::Move(1, 1));
    beat(&mut world, &[0, 1, 2]);
    assert!(world.may_act(0, 0) && world.may_act(1, 1));
    // The owner that leads is cut off; another is elected and takes its partition over.
    for other in [1, 2] {
        world.act(&Step::Cut(0, other));
        world.act(&Step::Cut(other, 0));
    }
    world.act(&Step::Campaign(1, 1));
    world.pass(5);
    world.act(&Step::Move(0, 2));
    beat(&mut world, &[1, 2]);
    assert!(world.may_act(2, 0) && !world.may_act(0, 0));
    world.act(&Step::Mend);
    world.act(&Step::Move(0, 0));
    beat(&mut world, &[0, 1, 2]);
    assert!(world.may_act(0, 0) && !world.may_act(2, 0));
}
