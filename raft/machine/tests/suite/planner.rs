//! Plans and voters: golden cases, then properties.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use jarvis_machine::command::{Command, MoveReason};
use jarvis_machine::planner::{Balance, NodeState, Plan, PlanInput, PlanKind, PlanNode, PlanPlacement, plan};
use jarvis_machine::rows::{NodeIntent, NodeRole};
use jarvis_types::{Epoch, KindId, NodeId, PartitionIndex};
use proptest::prelude::*;

use crate::world::{World, set_intent};

pub(crate) fn node(id: u64, state: NodeState) -> PlanNode {
    PlanNode {
        id: NodeId(id),
        state,
        weight: 1,
        capabilities: BTreeSet::new(),
    }
}

pub(crate) fn kind(kind: u8, partitions: u16) -> PlanKind {
    PlanKind {
        kind: KindId(kind),
        partitions,
        needs: BTreeSet::new(),
    }
}

/// Kind 1 with these owners; 0 is none.
pub(crate) fn input(nodes: Vec<PlanNode>, owners: &[u64], balance: Balance) -> PlanInput {
    let placements = placed(1, owners);
    PlanInput {
        nodes,
        kinds: vec![kind(1, owners.len() as u16)],
        placements,
        balance,
    }
}

pub(crate) fn placed(kind: u8, owners: &[u64]) -> Vec<PlanPlacement> {
    let row = |(partition, &owner): (u16, &u64)| PlanPlacement {
        kind: KindId(kind),
        partition: PartitionIndex(partition),
        owner: (owner > 0).then_some(NodeId(owner)),
        epoch: Epoch(1),
    };
    (0..).zip(owners).map(row).collect()
}

pub(crate) fn show(plan: &Plan) -> String {
    let mut out = String::new();
    for m in &plan.moves {
        let from = m.from.map_or("-".to_owned(), |id| id.to_string());
        writeln!(
            out,
            "{}/{}: {from} -> {} {:?}",
            m.kind, m.partition, m.to, m.reason
        )
        .unwrap();
    }
    for (kind, partition) in &plan.stranded {
        writeln!(out, "{kind}/{partition}: stranded").unwrap();
    }
    out
}

pub(crate) fn after(input: &PlanInput, plan: &Plan) -> PlanInput {
    let mut owners: BTreeMap<_, _> = input
        .placements
        .iter()
        .map(|p| ((p.kind, p.partition), *p))
        .collect();
    for m in &plan.moves {
        let (kind, partition, owner) = (m.kind, m.partition, Some(m.to));
        owners.insert(
            (kind, partition),
            PlanPlacement {
                kind,
                partition,
                owner,
                epoch: Epoch(2),
            },
        );
    }
    PlanInput {
        placements: owners.into_values().collect(),
        ..input.clone()
    }
}

use Balance::{Full, Off};
use NodeState::{Eligible, Lost, Retiring};

#[test]
fn first_placement_deals_out_evenly() {
    let all = input(
        vec![node(1, Eligible), node(2, Eligible), node(3, Eligible)],
        &[0; 7],
        Full,
    );
    insta::assert_snapshot!(show(&plan(&all)), @r"
    session/0: - -> 1 FirstPlacement
    session/1: - -> 2 FirstPlacement
    session/2: - -> 3 FirstPlacement
    session/3: - -> 1 FirstPlacement
    session/4: - -> 2 FirstPlacement
    session/5: - -> 3 FirstPlacement
    session/6: - -> 1 FirstPlacement
    ");
}

#[test]
fn only_a_lost_nodes_partitions_move() {
    let lost = input(
        vec![node(1, Eligible), node(2, Lost), node(3, Eligible)],
        &[1, 2, 3, 1, 2, 3],
        Full,
    );
    insta::assert_snapshot!(show(&plan(&lost)), @r"
    session/1: 2 -> 1 OwnerLost
    session/4: 2 -> 3 OwnerLost
    ");
}

#[test]
fn a_node_that_is_no_member_is_lost_and_one_that_drains_is_not() {
    let gone = input(vec![node(1, Eligible), node(3, Retiring)], &[1, 2, 3], Full);
    insta::assert_snapshot!(show(&plan(&gone)), @r"
    session/1: 2 -> 1 OwnerLost
    session/2: 3 -> 1 Drain
    ");
}

#[test]
fn a_new_node_gets_its_share_and_no_more_moves() {
    let joined = input(
        vec![node(1, Eligible), node(2, Eligible), node(3, Eligible)],
        &[1, 2, 1, 2, 1, 2],
        Full,
    );
    insta::assert_snapshot!(show(&plan(&joined)), @r"
    session/4: 1 -> 3 Balance
    session/5: 2 -> 3 Balance
    ");
    let held_back = PlanInput {
        balance: Off,
        ..joined
    };
    assert_eq!(plan(&held_back), Plan::default());
}

#[test]
fn needs_are_met_or_partitions_are_stranded() {
    let with = |id, capability: &str| PlanNode {
        capabilities: BTreeSet::from([capability.to_owned()]),
        ..node(id, Eligible)
    };
    let needs = |id, need: &str| PlanKind {
        needs: BTreeSet::from([need.to_owned()]),
        ..kind(id, 2)
    };
    let mut input = PlanInput {
        nodes: vec![with(1, "mqtt"), with(2, "microphone")],
        kinds: vec![needs(2, "microphone"), needs(9, "gpu")],
        placements: placed(2, &[1, 2]),
        balance: Full,
    };
    input.placements.extend(placed(9, &[1, 0]));
    insta::assert_snapshot!(show(&plan(&input)), @r"
    beacon/0: 1 -> 2 Drain
    kind-9/0: stranded
    kind-9/1: stranded
    ");
}

#[test]
fn what_is_preferred_counts_where_a_node_has_it() {
    let with = |id, state, capability: &str| PlanNode {
        capabilities: BTreeSet::from([capability.to_owned()]),
        ..node(id, state)
    };
    let preferring = |state| {
        let nodes = vec![node(1, Eligible), with(2, state, "mqtt")];
        let mut input = input(nodes, &[1], Full);
        input.add_preferences(KindId(1), &["mqtt"]);
        show(&plan(&input))
    };
    insta::assert_snapshot!(preferring(Eligible), @"session/0: 1 -> 2 Drain");
    // The only one that has it is gone, or goes: any will do.
    assert_eq!(
        (preferring(Lost), preferring(Retiring)),
        (String::new(), String::new())
    );
}

#[test]
fn a_heavier_node_carries_more() {
    let heavy = PlanNode {
        weight: 3,
        ..node(1, Eligible)
    };
    let first = input(vec![heavy, node(2, Eligible)], &[0; 8], Full);
    let placed = after(&first, &plan(&first));
    let of = |id| {
        placed
            .placements
            .iter()
            .filter(|p| p.owner == Some(NodeId(id)))
            .count()
    };
    assert_eq!((of(1), of(2)), (6, 2));
}

#[test]
fn odd_partitions_of_several_kinds_are_spread_over_the_nodes() {
    let kinds = vec![kind(1, 3), kind(2, 3)];
    let mut placements = placed(1, &[1, 1, 2]);
    placements.extend(placed(2, &[1, 2, 1]));
    let input = PlanInput {
        nodes: vec![node(1, Eligible), node(2, Eligible)],
        kinds,
        placements,
        balance: Full,
    };
    insta::assert_snapshot!(show(&plan(&input)), @"session/1: 1 -> 2 Balance");
}

#[test]
fn batches_have_one_reason_each_and_the_most_urgent_first() {
    let nodes = vec![
        node(1, Eligible),
        node(2, Lost),
        node(3, Retiring),
        node(4, Eligible),
    ];
    let mixed = input(nodes, &[1, 1, 1, 1, 1, 1, 1, 2, 3, 0], Full);
    let batches = plan(&mixed).batches();
    let reasons: Vec<_> = batches
        .iter()
        .map(|(reason, moves)| (*reason, moves.len()))
        .collect();
    use MoveReason::{Balance, Drain, FirstPlacement, OwnerLost};
    assert_eq!(
        reasons,
        [(OwnerLost, 1), (Drain, 1), (FirstPlacement, 1), (Balance, 2)]
    );
}

#[test]
fn what_is_read_from_tables_is_planned_and_placed() {
    let mut world = World::with_nodes(3);
    world.join(4, NodeRole::Witness);
    let place = |world: &mut World| {
        let input = world.read(|q| PlanInput::read(q, Full).unwrap());
        for (reason, moves) in plan(&input).batches() {
            let based_on = world.revision();
            world
                .run(Command::Place {
                    based_on,
                    health: vec![],
                    moves,
                    reason,
                })
                .unwrap();
        }
    };
    let owned =
        |world: &World| [1, 2, 3, 4].map(|id| world.read(|q| q.partitions_owned(NodeId(id)).unwrap()));
    place(&mut world);
    assert_eq!(owned(&world), [20, 20, 20, 0]);
    world.run(set_intent(2, NodeIntent::Draining)).unwrap();
    place(&mut world);
    assert_eq!(owned(&world), [30, 0, 30, 0]);
    let mut input = world.read(|q| PlanInput::read(q, Full).unwrap());
    let row = world.read(|q| q.node(NodeId(1)).unwrap().unwrap());
    input.set_health(NodeId(1), &row, false);
    assert_eq!(
        plan(&input).batches(),
        [(MoveReason::OwnerLost, plan(&input).batches()[0].1.clone())]
    );
    assert_eq!(plan(&input).moves.len(), 30, "all go to node 3");
}

#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    pub(crate) input: PlanInput,
}

pub(crate) fn clusters(all_fit: bool) -> impl Strategy<Value = Cluster> {
    let node = (1u8..4, 0u8..4, 0u8..4);
    let nodes = proptest::collection::vec(node, 1..7);
    let kinds = proptest::collection::vec((proptest::collection::vec(0u64..9, 0..40), 0u8..4), 1..4);
    (nodes, kinds, any::<bool>()).prop_map(move |(nodes, kinds, balance)| {
        let names = |bits: u8| -> BTreeSet<String> {
            (0..2)
                .filter(|bit| bits & (1 << bit) != 0 && !all_fit)
                .map(|bit| format!("c{bit}"))
                .collect()
        };
        let state = |number| match number {
            0 if !all_fit => Lost,
            1 if !all_fit => Retiring,
            _ => Eligible,
        };
        let plan_node = |(index, &(weight, number, capabilities)): (usize, &(u8, u8, u8))| PlanNode {
            id: NodeId(index as u64 + 1),
            state: state(number),
            weight: if all_fit { 1 } else { u32::from(weight) },
            capabilities: names(capabilities),
        };
        let placements = (1..)
            .zip(&kinds)
            .flat_map(|(id, (owners, _))| placed(id, owners))
            .collect();
        let kinds = (1..).zip(&kinds).map(|(id, (owners, needs))| PlanKind {
            kind: KindId(id),
            partitions: owners.len() as u16,
            needs: names(*needs),
        });
        let input = PlanInput {
            nodes: nodes.iter().enumerate().map(plan_node).collect(),
            kinds: kinds.collect(),
            placements,
            balance: if balance || all_fit { Full } else { Off },
        };
        Cluster { input }
    })
}

pub(crate) fn fit(input: &PlanInput, kind: KindId, id: NodeId) -> bool {
    let needs = &input.kinds.iter().find(|k| k.kind == kind).unwrap().needs;
    input
        .nodes
        .iter()
        .any(|n| n.id == id && n.state == Eligible && needs.is_subset(&n.capabilities))
}

fn within_one(counts: impl Iterator<Item = usize> + Clone) -> bool {
    counts.clone().max().unwrap_or(0) - counts.min().unwrap_or(0) <= 1
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_serves_all_it_can_and_leaves_nothing_to_do(cluster in clusters(false)) {
        let input = cluster.input;
        let first = plan(&input);
        for m in &first.moves {
            prop_assert!(fit(&input, m.kind, m.to), "{m:?} goes to an unfit node");
            prop_assert_ne!(m.from, Some(m.to));
            let was_fine = m.from.is_some_and(|from| fit(&input, m.kind, from));
            prop_assert_eq!(was_fine, m.reason == MoveReason::Balance);
            prop_assert!(input.balance == Full || !was_fine, "{m:?} was not needed");
        }
        let result = after(&input, &first);
        for p in &result.placements {
            let served = p.owner.is_some_and(|owner| fit(&input, p.kind, owner));
            prop_assert_eq!(served, !first.stranded.contains(&(p.kind, p.partition)));
        }
        prop_assert_eq!(plan(&result).moves, vec![], "a second plan finds something to do");
        prop_assert_eq!(&plan(&input), &first, "the same input gives the same plan");
    }

    #[test]
    fn balanced_within_one_per_kind_and_in_all(cluster in clusters(true)) {
        let result = after(&cluster.input, &plan(&cluster.input));
        let nodes = &cluster.input.nodes;
        for kind in &cluster.input.kinds {
            let of = |id| result.placements.iter().filter(|p| p.kind == kind.kind && p.owner == Some(id)).count();
            prop_assert!(within_one(nodes.iter().map(|n| of(n.id))), "{result:?}");
        }
        let all = |id| result.placements.iter().filter(|p| p.owner == Some(id)).count();
        prop_assert!(within_one(nodes.iter().map(|n| all(n.id))), "{result:?}");
    }

    #[test]
    fn the_loss_of_a_node_moves_only_its_partitions(partitions in 1u16..80, count in 2u64..7, lost in 0u64..7) {
        let nodes: Vec<_> = (1..=count).map(|id| node(id, Eligible)).collect();
        let first = input(nodes, &vec![0; usize::from(partitions)], Full);
        let mut placed = after(&first, &plan(&first));
        let lost = lost % count + 1;
        placed.nodes[lost as usize - 1].state = Lost;
        let rescue = plan(&placed);
        let owned = placed.placements.iter().filter(|p| p.owner == Some(NodeId(lost))).count();
        prop_assert_eq!(rescue.moves.len(), owned);
        prop_assert!(rescue.moves.iter().all(|m| m.from == Some(NodeId(lost)) && m.reason == MoveReason::OwnerLost));
        // When it returns, it is given its share back and nothing else moves.
        let mut back = after(&placed, &rescue);
        back.nodes[lost as usize - 1].state = Eligible;
        let returned = plan(&back);
        prop_assert!(returned.moves.iter().all(|m| m.to == NodeId(lost)));
        let share = usize::from(partitions) / count as usize;
        prop_assert!((share..=share + 1).contains(&returned.moves.len()), "{} of {share}", returned.moves.len());
    }
}
