//! Steps by cases, and what holds for every sequence of losses, returns and removals.

use jarvis_machine::rows::{NodeIntent, NodeRole};
use proptest::prelude::*;

use super::*;

fn set(nodes: &[u64]) -> BTreeSet<NodeId> {
    nodes.iter().copied().map(NodeId).collect()
}

fn row(node: u64) -> (NodeId, NodeRow) {
    let row = NodeRow {
        name: format!("node-{node}").parse().expect("a name"),
        role: NodeRole::Voter,
        intent: NodeIntent::Active,
        healthy: true,
        mesh_address: String::new(),
        http_url: String::new(),
        version: String::new(),
        level: 1,
        joined_at_ms: 0,
    };
    (NodeId(node), row)
}

/// Everybody answers and keeps up.
fn picture(nodes: &[u64], voters: &[u64], learners: &[u64]) -> Picture {
    Picture {
        own: voters.first().copied().map_or(NodeId(1), NodeId),
        nodes: nodes.iter().copied().map(row).collect(),
        voters: set(voters),
        learners: set(learners),
        answering: &set(voters) | &set(learners),
        caught_up: &set(voters) | &set(learners),
        ..Picture::default()
    }
}

#[track_caller]
fn check(nodes: &[u64], voters: &[u64], learners: &[u64], behind: &[u64], expected: Step) {
    let mut picture = picture(nodes, voters, learners);
    picture.caught_up = &picture.caught_up - &set(behind);
    assert_eq!(picture.decide().step, expected);
}

#[test]
fn each_step_follows_from_what_is_there() {
    check(&[], &[1], &[], &[], Step::Nothing);
    check(&[1], &[1], &[], &[], Step::Nothing);
    check(&[1, 2, 3], &[1], &[], &[], Step::AddLearners(set(&[2, 3])));
    check(&[1, 2, 3], &[1], &[2, 3], &[2, 3], Step::Wait(set(&[2, 3])));
    check(&[1, 2, 3], &[1], &[2, 3], &[3], Step::Wait(set(&[3])));
    check(&[1, 2, 3], &[1], &[2, 3], &[], Step::SetVoters(set(&[1, 2, 3])));
    check(&[1, 2, 3, 4], &[1, 2, 3], &[4], &[], Step::Nothing);
}

#[test]
fn who_is_removed_stops_voting_at_once() {
    check(
        &[1, 2, 4],
        &[1, 2, 3],
        &[4],
        &[],
        Step::SetVoters(set(&[1, 2, 4])),
    );
    check(&[1, 2, 4], &[1, 2, 3], &[4], &[4], Step::SetVoters(set(&[1, 2])));
    check(
        &[1, 2, 4],
        &[1, 2],
        &[3, 4],
        &[4],
        Step::RemoveLearners(set(&[3])),
    );
    check(&[1, 2, 4], &[1, 2, 4], &[3], &[], Step::RemoveLearners(set(&[3])));
}

#[test]
fn nothing_is_changed_that_could_cost_the_majority() {
    // Of five, three answer, and one that answers is removed: of the rest two answer, which is no majority of five.
    let mut short = picture(&[1, 2, 4, 5], &[1, 2, 3, 4, 5], &[]);
    short.answering = set(&[1, 2, 3]);
    let decision = short.decide();
    assert_eq!(decision.step, Step::Nothing);
    assert!(decision.held.is_some(), "{decision:?}");
    // One comes back.
    short.answering = set(&[1, 2, 3, 4]);
    assert_eq!(short.decide().step, Step::SetVoters(set(&[1, 2, 4])));

    // A learner that does not answer is no successor, however far along it is.
    let mut replace = picture(&[1, 2, 3, 4], &[1, 2, 3], &[4]);
    replace.answering = set(&[1, 2]);
    replace.gone = set(&[3]);
    assert_eq!(replace.decide().step, Step::Nothing);
    replace.answering = set(&[1, 2, 4]);
    assert_eq!(replace.decide().step, Step::SetVoters(set(&[1, 2, 4])));
    // It stays as a learner, and as one it comes back.
    let after = picture(&[1, 2, 3, 4], &[1, 2, 4], &[3]);
    assert_eq!(after.decide().step, Step::Nothing);
}

#[test]
fn a_leader_with_a_slow_disk_hands_over_before_it_loses_its_vote() {
    let mut slow = picture(&[1, 2, 3, 4], &[1, 2, 3], &[4]);
    slow.slow = set(&[1]);
    assert_eq!(slow.decide().step, Step::HandOver(NodeId(2)));
    slow.own = NodeId(2);
    assert_eq!(slow.decide().step, Step::SetVoters(set(&[2, 3, 4])));
    // Nobody can take its place.
    let mut three = picture(&[1, 2, 3], &[1, 2, 3], &[]);
    three.slow = set(&[1]);
    assert_eq!(three.decide().step, Step::Nothing);
}

#[test]
fn a_witness_leads_only_where_nobody_else_can() {
    let mut home = picture(&[1, 2, 3], &[1, 2, 3], &[]);
    home.nodes[2].1.role = NodeRole::Witness;
    (home.own, home.settled) = (NodeId(3), true);
    home.answering = set(&[2, 3]);
    assert_eq!(home.decide().step, Step::HandOver(NodeId(2)));
    home.nodes[1].1.intent = NodeIntent::Drained;
    assert_eq!(home.decide().step, Step::Nothing, "it is about to be stopped");
    home.nodes[1].1.intent = NodeIntent::Active;
    home.caught_up = set(&[1, 3]);
    assert_eq!(home.decide().step, Step::Nothing);
    home.caught_up = set(&[1, 2, 3]);
    home.settled = false;
    assert_eq!(home.decide().step, Step::Nothing);
}

/// What happens to a cluster.
#[derive(Debug, Clone, Copy)]
enum Event {
    Join,
    Lose(u8),
    Return(u8),
    /// So long a silence that whoever is down is gone.
    LongSilence,
    Remove(u8),
    Slow(u8),
    Quick,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => Just(Event::Join),
        3 => any::<u8>().prop_map(Event::Lose),
        3 => any::<u8>().prop_map(Event::Return),
        2 => Just(Event::LongSilence),
        1 => any::<u8>().prop_map(Event::Remove),
        1 => any::<u8>().prop_map(Event::Slow),
        1 => Just(Event::Quick),
    ]
}

/// A cluster as its leader sees it; the leader is any voter that answers.
struct World {
    picture: Picture,
    next: u64,
}

impl World {
    fn new() -> Self {
        Self {
            picture: picture(&[1], &[1], &[]),
            next: 2,
        }
    }

    fn pick(&self, which: u8) -> NodeId {
        self.picture.nodes[usize::from(which) % self.picture.nodes.len()].0
    }

    fn happen(&mut self, event: Event) {
        let picture = &mut self.picture;
        match event {
            Event::Join if picture.nodes.len() < 9 => {
                picture.nodes.push(row(self.next));
                picture.answering.insert(NodeId(self.next));
                picture.caught_up.insert(NodeId(self.next));
                self.next += 1;
            }
            Event::Join => {}
            Event::Lose(which) => {
                let node = self.pick(which);
                self.picture.answering.remove(&node);
            }
            Event::Return(which) => {
                let node = self.pick(which);
                self.picture.answering.insert(node);
                self.picture.gone.remove(&node);
            }
            Event::LongSilence => {
                picture.gone = picture
                    .nodes
                    .iter()
                    .map(|(node, _)| *node)
                    .filter(|node| !picture.answering.contains(node))
                    .collect();
            }
            // As the machine: the last that can vote stays.
            Event::Remove(which) if picture.nodes.len() > 1 => {
                let node = self.pick(which);
                self.picture.nodes.retain(|(id, _)| *id != node);
            }
            Event::Remove(_) => {}
            Event::Slow(which) => drop(self.picture.slow.insert(self.pick(which))),
            Event::Quick => picture.slow.clear(),
        }
    }

    /// Takes steps until there is none; false where no leader could.
    fn settle(&mut self) -> Result<bool, TestCaseError> {
        for _ in 0..32 {
            let now = &mut self.picture;
            let leads = |node: &&NodeId| now.answering.contains(node);
            if !now.voters.contains(&now.own) || !now.answering.contains(&now.own) {
                match now.voters.iter().find(leads) {
                    Some(leader) => now.own = *leader,
                    None => return Ok(false),
                }
            }
            // What a leader needs to lead: a majority of the voters, removed or not.
            let voting = now.voters.iter().filter(leads).count();
            if voting < now.voters.len() / 2 + 1 {
                return Ok(false);
            }
            let before = now.clone();
            match now.decide().step {
                Step::Nothing | Step::Wait(_) => return Ok(true),
                Step::AddLearners(nodes) => now.learners.extend(nodes),
                Step::RemoveLearners(nodes) => now.learners = &now.learners - &nodes,
                Step::HandOver(to) => {
                    prop_assert!(now.voters.contains(&to) && now.answering.contains(&to));
                    now.own = to;
                }
                Step::SetVoters(voters) => {
                    prop_assert!(
                        before.spare(&voters) >= 0,
                        "no majority left: {before:?} to {voters:?}"
                    );
                    prop_assert!(before.spare(&before.voters) >= 0, "no majority to decide it");
                    if before.spare(&before.voters) > 0 {
                        prop_assert!(before.spare(&voters) > 0, "{before:?} to {voters:?}");
                    }
                    let new = &voters - &before.voters;
                    prop_assert!(new.is_subset(&before.answering) && new.is_subset(&before.caught_up));
                    now.learners = &(&now.learners | &now.voters) - &voters;
                    now.voters = voters;
                }
            }
        }
        Err(TestCaseError::fail(format!(
            "it never settles: {:?}",
            self.picture
        )))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_step_costs_a_majority_and_all_end_at_an_odd_number(events in proptest::collection::vec(event(), 1..60)) {
        let mut world = World::new();
        for event in events {
            world.happen(event);
            world.settle()?;
        }
        // All that is still a member comes back, with a good disk.
        world.picture.answering = world.picture.voters.clone();
        world.picture.answering.extend(world.picture.nodes.iter().map(|(node, _)| *node));
        world.picture.gone.clear();
        world.picture.slow.clear();
        let members = world.picture.members();
        if world.picture.spare(&world.picture.voters) < 0 {
            // So many were removed while the rest was away that what is left is no majority: `recover` is for that.
            return Ok(());
        }
        prop_assert!(world.settle()?);
        let now = &world.picture;
        let most = members.len().min(5);
        let expected = if most.is_multiple_of(2) { most - 1 } else { most };
        prop_assert_eq!(now.voters.len(), expected, "{:?}", now);
        prop_assert!(now.voters.is_subset(&members));
        prop_assert_eq!(&now.voters | &now.learners, members);
    }
}
