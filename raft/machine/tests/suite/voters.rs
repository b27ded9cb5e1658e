//! Who should vote: cases, then properties.

use std::collections::BTreeSet;

use jarvis_machine::planner::{MAX_VOTERS, Standing, desired_voters};
use jarvis_machine::rows::{NodeIntent, NodeRole, NodeRow};
use jarvis_types::NodeId;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn voters_are_odd_and_few(
        members in proptest::collection::btree_map(1u64..12, (0u8..3, 0u8..4, any::<bool>()), 1..10),
        current in proptest::collection::btree_set(1u64..12, 0..6),
    ) {
        let rows: Vec<_> = members.iter().map(|(&id, &(role, intent, healthy))| {
            (NodeId(id), row(
                [NodeRole::Voter, NodeRole::Worker, NodeRole::Witness][usize::from(role)],
                [NodeIntent::Active, NodeIntent::Joining, NodeIntent::Draining, NodeIntent::Drained][usize::from(intent)],
                healthy,
            ))
        }).collect();
        let current: BTreeSet<_> = current.into_iter().map(NodeId).collect();
        let wanted = desired_voters(&rows, &current, heard);
        prop_assert!(!wanted.is_empty());
        prop_assert!(wanted.len() <= MAX_VOTERS.max(current.len()));
        let able = |id: &NodeId| rows.iter().any(|(member, row)| {
            member == id && row.role != NodeRole::Worker && row.intent != NodeIntent::Joining
                && (row.healthy || current.contains(id))
        });
        if rows.iter().any(|(id, _)| able(id)) {
            prop_assert!(wanted.len() % 2 == 1 && wanted.iter().all(able));
            prop_assert_eq!(&desired_voters(&rows, &wanted, heard), &wanted, "it settles");
        }
    }
}

fn heard(_: NodeId, row: &NodeRow) -> Standing {
    if row.healthy {
        Standing::Fit
    } else {
        Standing::Silent
    }
}

fn row(role: NodeRole, intent: NodeIntent, healthy: bool) -> NodeRow {
    NodeRow {
        name: "n".parse().unwrap(),
        role,
        intent,
        healthy,
        mesh_address: String::new(),
        http_url: String::new(),
        version: String::new(),
        level: 1,
        joined_at_ms: 0,
    }
}

#[test]
fn who_should_vote() {
    use NodeIntent::{Active, Draining, Joining};
    use NodeRole::{Voter, Witness, Worker};
    let check = |members: &[(NodeRole, NodeIntent, bool)], current: &[u64], expected: &[u64]| {
        let rows: Vec<_> = (1..)
            .zip(members)
            .map(|(id, m)| (NodeId(id), row(m.0, m.1, m.2)))
            .collect();
        let current = current.iter().copied().map(NodeId).collect();
        let wanted: Vec<_> = desired_voters(&rows, &current, heard)
            .into_iter()
            .map(|id| id.0)
            .collect();
        assert_eq!(wanted, expected, "{members:?} {current:?}");
    };
    let (ok, down, joining) = (
        (Voter, Active, true),
        (Voter, Active, false),
        (Voter, Joining, false),
    );
    check(&[ok], &[1], &[1]);
    check(&[ok, ok], &[1], &[1]);
    check(&[ok, ok, joining], &[1], &[1]);
    check(&[ok, ok, ok], &[1], &[1, 2, 3]);
    check(&[ok, ok, (Witness, Active, true)], &[1], &[1, 2, 3]);
    check(&[ok, ok, (Worker, Active, true)], &[1], &[1]);
    check(&[ok, ok, ok, ok], &[1, 2, 4], &[1, 2, 4]);
    check(&[ok, ok, ok, ok, ok, ok], &[1, 2, 3], &[1, 2, 3, 4, 5]);
    check(&[ok, down, ok, ok], &[1, 2, 3], &[1, 2, 3]);
    check(&[ok, ok, down], &[1], &[1]);
    check(&[ok, (Voter, Draining, true), ok], &[1, 2, 3], &[1, 2, 3]);
    check(&[down, ok], &[1, 2, 3], &[2]);
    check(&[down, down], &[], &[1]);
    check(&[(Worker, Active, true), joining], &[], &[2]);
    check(&[joining], &[4], &[4]);
}

#[test]
fn gone_and_slow_voters_make_room() {
    use Standing::{Behind, Fit, Gone, Silent, Slow};
    let check = |standings: &[Standing], current: &[u64], expected: &[u64]| {
        let voter = row(NodeRole::Voter, NodeIntent::Active, true);
        let rows: Vec<_> = (1..)
            .map(NodeId)
            .zip(std::iter::repeat_n(voter, standings.len()))
            .collect();
        let current = current.iter().copied().map(NodeId).collect();
        let wanted = desired_voters(&rows, &current, |id, _| standings[id.0 as usize - 1]);
        let wanted: Vec<_> = wanted.into_iter().map(|id| id.0).collect();
        assert_eq!(wanted, expected, "{standings:?} {current:?}");
    };
    // Replaced where there is someone, the one that keeps up first; kept where there is nobody.
    check(&[Fit, Gone, Fit, Fit], &[1, 2, 3], &[1, 3, 4]);
    check(&[Fit, Gone, Fit, Behind, Fit], &[1, 2, 3], &[1, 3, 5]);
    check(&[Fit, Gone, Fit], &[1, 2, 3], &[1, 2, 3]);
    check(&[Fit, Gone, Fit, Silent], &[1, 2, 3], &[1, 2, 3]);
    check(&[Fit, Silent, Fit, Fit], &[1, 2, 3], &[1, 2, 3]);
    // Five become three where that bears as much without those that are gone, and never where it would bear nothing.
    check(&[Fit, Fit, Fit, Fit, Gone], &[1, 2, 3, 4, 5], &[1, 2, 3]);
    check(&[Gone, Fit, Fit, Gone, Fit], &[1, 2, 3, 4, 5], &[2, 3, 5]);
    check(&[Gone, Gone, Fit, Fit, Silent], &[1, 2, 3, 4, 5], &[3, 4, 5]);
    // Back again.
    check(&[Fit, Fit, Fit, Fit, Fit], &[1, 3, 4], &[1, 2, 3, 4, 5]);
    // A slow disk loses its vote to another, or where the rest is enough; three slow ones are better than one voter.
    check(&[Slow, Fit, Fit, Fit], &[1, 2, 3], &[2, 3, 4]);
    check(&[Slow, Fit, Fit], &[1, 2, 3], &[1, 2, 3]);
    check(&[Slow, Fit, Fit, Slow], &[1, 2, 3], &[1, 2, 3]);
    check(&[Fit, Slow, Fit, Fit, Fit], &[1, 2, 3, 4, 5], &[1, 3, 4]);
    check(&[Slow, Slow, Slow], &[1], &[1, 2, 3]);
}
