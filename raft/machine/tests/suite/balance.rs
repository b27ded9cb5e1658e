//! How evenly plans spread, by how few moves, and what is left of that when only a few may move at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use jarvis_machine::command::MoveReason;
use jarvis_machine::planner::{Balance, NodeState, PlanInput, PlanNode, plan};
use jarvis_types::{KindId, NodeId};
use proptest::prelude::*;

use crate::planner::{after, clusters, fit, input, kind, node, placed, show};

/// How many partitions of each kind each node has.
type Counts = BTreeMap<(KindId, NodeId), u64>;

fn counts(input: &PlanInput) -> Counts {
    let mut counts = Counts::new();
    for p in &input.placements {
        // One that nobody is fit for stays where it is, but it does not run there.
        if let Some(owner) = p.owner.filter(|&owner| fit(input, p.kind, owner)) {
            *counts.entry((p.kind, owner)).or_default() += 1;
        }
    }
    counts
}

/// Whether no partition could go from one fit node to another so that the giver still carries more, in proportion to
/// capacity, than the taker after it: for each kind by itself, then in all where that makes no kind uneven.
fn is_even(input: &PlanInput) -> bool {
    let counts = counts(input);
    let of = |kind, node| counts.get(&(kind, node)).copied().unwrap_or(0);
    let all = |node| input.kinds.iter().map(|k| of(k.kind, node)).sum::<u64>();
    for kind in &input.kinds {
        let fit: Vec<&PlanNode> = (input.nodes.iter())
            .filter(|n| fit(input, kind.kind, n.id))
            .collect();
        for from in &fit {
            for to in &fit {
                let (a, b) = (u64::from(from.weight), u64::from(to.weight));
                let (giver, taker) = (of(kind.kind, from.id), of(kind.kind, to.id) + 1);
                if giver * b > taker * a {
                    return false;
                }
                let in_all = all(from.id) * b > (all(to.id) + 1) * a;
                if giver > 0 && in_all && giver * b == taker * a {
                    return false;
                }
            }
        }
    }
    true
}

/// The least number of moves by which every partition that can be served is, and all is even. Tries everything.
fn fewest_moves(input: &PlanInput) -> usize {
    let ids: Vec<NodeId> = input.nodes.iter().map(|n| n.id).collect();
    let mut best = usize::MAX;
    let mut at = vec![0usize; input.placements.len()];
    loop {
        let mut tried = input.clone();
        for (p, &choice) in tried.placements.iter_mut().zip(&at) {
            p.owner = Some(ids[choice]);
        }
        let served = (tried.placements.iter()).all(|p| fit(input, p.kind, p.owner.unwrap_or(NodeId(0))));
        if served && is_even(&tried) {
            let moved = (tried.placements.iter().zip(&input.placements)).filter(|(a, b)| a.owner != b.owner);
            best = best.min(moved.count());
        }
        let Some(place) = at.iter().position(|&choice| choice + 1 < ids.len()) else {
            return best;
        };
        at[..place].fill(0);
        at[place] += 1;
    }
}

/// One or two kinds of a few partitions on two or three nodes, few enough to try all there is.
fn small(kinds: std::ops::Range<usize>, weights: std::ops::Range<u32>) -> impl Strategy<Value = PlanInput> {
    let nodes = proptest::collection::vec((weights, 0u8..4), 2..4);
    let kinds = proptest::collection::vec(proptest::collection::vec(0u64..5, 1..5), kinds);
    (nodes, kinds).prop_map(|(nodes, kinds)| {
        let mut nodes: Vec<PlanNode> = (1..)
            .zip(nodes)
            .map(|(id, (weight, state))| PlanNode {
                weight,
                ..node(
                    id,
                    if state == 0 {
                        NodeState::Lost
                    } else {
                        NodeState::Eligible
                    },
                )
            })
            .collect();
        nodes[0].state = NodeState::Eligible;
        let placements = (1..).zip(&kinds).flat_map(|(id, owners)| placed(id, owners));
        PlanInput {
            placements: placements.collect(),
            kinds: (1..)
                .zip(&kinds)
                .map(|(id, owners)| kind(id, owners.len() as u16))
                .collect(),
            nodes,
            balance: Balance::Full,
        }
    })
}

fn steps_to_rest(input: &PlanInput, most: u32) -> (PlanInput, usize, usize) {
    let mut now = PlanInput {
        balance: Balance::AtMost(most),
        ..input.clone()
    };
    let (mut steps, mut moved) = (0, 0);
    loop {
        let next = plan(&now);
        let balancing = next
            .moves
            .iter()
            .filter(|m| m.reason == MoveReason::Balance)
            .count();
        assert!(balancing <= most as usize, "{balancing} of {most}");
        if next.moves.is_empty() {
            return (now, steps, moved);
        }
        steps += 1;
        moved += next.moves.len();
        now = after(&now, &next);
        assert!(steps < 1_000, "it comes to rest");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn even_in_proportion_to_capacity(cluster in clusters(false)) {
        let input = PlanInput { balance: Balance::Full, ..cluster.input };
        let result = after(&input, &plan(&input));
        prop_assert!(is_even(&result), "{result:?}");
    }

    #[test]
    fn no_other_plan_moves_less(input in small(1..2, 1..4)) {
        let planned = plan(&input);
        prop_assert_eq!(planned.moves.len(), fewest_moves(&input), "{:?}", planned);
    }

    #[test]
    fn no_other_plan_of_several_kinds_moves_less(input in small(2..3, 1..2)) {
        let planned = plan(&input);
        prop_assert_eq!(planned.moves.len(), fewest_moves(&input), "{:?}", planned);
    }

    #[test]
    fn several_kinds_on_unlike_nodes_cost_at_most_one_move_more(input in small(2..3, 1..4)) {
        let planned = plan(&input);
        prop_assert!(planned.moves.len() <= fewest_moves(&input) + 1, "{:?}", planned);
    }

    #[test]
    fn limited_steps_come_to_the_same(cluster in clusters(false), most in 1u32..6) {
        let input = PlanInput { balance: Balance::Full, ..cluster.input };
        let at_once = plan(&input);
        let whole = after(&input, &at_once);
        let (rest, _, moved) = steps_to_rest(&input, most);
        prop_assert_eq!(counts(&rest), counts(&whole));
        prop_assert!(is_even(&rest));
        prop_assert!(moved >= at_once.moves.len());
    }
}

fn named(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn heavy(id: u64, weight: u32) -> PlanNode {
    PlanNode {
        weight,
        ..node(id, NodeState::Eligible)
    }
}

fn with(id: u64, state: NodeState, capabilities: &[&str]) -> PlanNode {
    PlanNode {
        capabilities: named(capabilities),
        ..node(id, state)
    }
}

/// A kind that everyone may carry and one that needs a microphone, with their owners.
fn pinned(nodes: Vec<PlanNode>, sessions: &[u64], ears: &[u64]) -> PlanInput {
    let mut input = input(nodes, sessions, Balance::Full);
    let mut kind = kind(2, ears.len() as u16);
    kind.needs = named(&["microphone"]);
    input.kinds.push(kind);
    input.placements.extend(placed(2, ears));
    input
}

#[test]
fn golden_plans() {
    use Balance::{AtMost, Full, Off};
    use NodeState::{Eligible, Lost, Retiring};
    let all = |states: &[NodeState]| {
        (1..)
            .zip(states)
            .map(|(id, &state)| node(id, state))
            .collect::<Vec<_>>()
    };
    let three = || all(&[Eligible, Eligible, Eligible]);
    let back = [1, 2, 1, 2, 1, 2, 1, 2, 1];
    let situations = [
        ("a node is back, two may move", input(three(), &back, AtMost(2))),
        ("a node is back, all may move", input(three(), &back, Full)),
        ("a node is back, none may move yet", input(three(), &back, Off)),
        (
            "a node is back while another is lost: what must move goes to it and costs nothing",
            input(all(&[Lost, Eligible, Eligible]), &back, AtMost(1)),
        ),
        (
            "a node of three times the capacity joins",
            input(vec![heavy(1, 100), heavy(2, 300)], &[1; 8], Full),
        ),
        (
            "the same, little by little",
            input(vec![heavy(1, 100), heavy(2, 300)], &[1; 8], AtMost(1)),
        ),
        (
            "what needs a microphone goes where one is, and what needs nothing is spread by itself",
            pinned(
                vec![with(1, Eligible, &["microphone"]), with(2, Eligible, &["gpu"])],
                &[0, 0, 0, 0],
                &[0, 0],
            ),
        ),
        (
            "the only microphone is gone",
            pinned(
                vec![with(1, Lost, &["microphone"]), with(2, Eligible, &[])],
                &[1, 2],
                &[1, 1],
            ),
        ),
        (
            "the only microphone is being drained: it has to stay until there is another",
            pinned(
                vec![with(1, Retiring, &["microphone"]), with(2, Eligible, &[])],
                &[1, 2],
                &[1, 1],
            ),
        ),
        (
            "the microphone was moved to another node",
            pinned(
                vec![with(1, Eligible, &[]), with(2, Eligible, &["microphone"])],
                &[1, 2],
                &[1, 1],
            ),
        ),
        ("nobody answers", input(all(&[Lost, Lost]), &[1, 2], Full)),
        (
            "one of two drains",
            input(all(&[Retiring, Eligible]), &[1, 2, 1], Full),
        ),
    ];
    let mut shown = String::new();
    for (name, input) in situations {
        writeln!(shown, "{name}:\n{}", show(&plan(&input))).unwrap();
    }
    insta::assert_snapshot!(shown, @r"
    a node is back, two may move:
    session/7: 2 -> 3 Balance
    session/8: 1 -> 3 Balance

    a node is back, all may move:
    session/6: 1 -> 3 Balance
    session/7: 2 -> 3 Balance
    session/8: 1 -> 3 Balance

    a node is back, none may move yet:

    a node is back while another is lost: what must move goes to it and costs nothing:
    session/0: 1 -> 3 OwnerLost
    session/2: 1 -> 3 OwnerLost
    session/4: 1 -> 3 OwnerLost
    session/6: 1 -> 3 OwnerLost
    session/8: 1 -> 2 OwnerLost

    a node of three times the capacity joins:
    session/2: 1 -> 2 Balance
    session/3: 1 -> 2 Balance
    session/4: 1 -> 2 Balance
    session/5: 1 -> 2 Balance
    session/6: 1 -> 2 Balance
    session/7: 1 -> 2 Balance

    the same, little by little:
    session/7: 1 -> 2 Balance

    what needs a microphone goes where one is, and what needs nothing is spread by itself:
    session/0: - -> 1 FirstPlacement
    session/1: - -> 2 FirstPlacement
    session/2: - -> 1 FirstPlacement
    session/3: - -> 2 FirstPlacement
    beacon/0: - -> 1 FirstPlacement
    beacon/1: - -> 1 FirstPlacement

    the only microphone is gone:
    session/0: 1 -> 2 OwnerLost
    beacon/0: stranded
    beacon/1: stranded

    the only microphone is being drained: it has to stay until there is another:
    session/0: 1 -> 2 Drain
    beacon/0: stranded
    beacon/1: stranded

    the microphone was moved to another node:
    beacon/0: 1 -> 2 Drain
    beacon/1: 1 -> 2 Drain

    nobody answers:
    session/0: stranded
    session/1: stranded

    one of two drains:
    session/0: 1 -> 2 Drain
    session/2: 1 -> 2 Drain
    ");
}
