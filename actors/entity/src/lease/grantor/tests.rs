//! Who is granted what, as tables.

use super::*;

const LENGTH: Duration = Duration::from_millis(800);

struct Bench {
    grantor: Grantor,
    members: Members,
    now_ms: u64,
    sleep_ms: u64,
    standing: Option<Standing>,
}

fn bench() -> Bench {
    Bench {
        grantor: Grantor::new(LENGTH, &[LENGTH]),
        members: Members {
            present: (1..=3).map(NodeId).collect(),
            removed: BTreeSet::new(),
        },
        now_ms: 10_000,
        sleep_ms: 0,
        standing: Some(Standing {
            term: 1,
            quorum_acked: Duration::from_millis(10_000),
            last_log: 100,
            applied: 100,
            longest_before: LENGTH,
        }),
    }
}

impl Bench {
    fn passes(&mut self, ms: u64) {
        self.now_ms += ms;
    }

    /// A majority answers at this moment.
    fn heard(&mut self) {
        let at = Duration::from_millis(self.now_ms);
        if let Some(standing) = &mut self.standing {
            standing.quorum_acked = at;
        }
    }

    fn asks(&mut self, node: u64, applied: u64) -> Decision {
        self.says(node, applied, false)
    }

    fn says(&mut self, node: u64, applied: u64, lets_go: bool) -> Decision {
        let now = Moment {
            mono: Duration::from_millis(self.now_ms),
            wall_ms: 1_700_000_000_000 + self.now_ms + self.sleep_ms,
        };
        let asked = Asked {
            applied,
            life: 1,
            lets_go,
        };
        if let Some(standing) = &mut self.standing {
            standing.applied = standing.applied.max(applied);
        }
        self.grantor
            .ask(now, self.standing, &self.members, NodeId(node), asked)
    }
}

fn granted(length_ms: u64, past: u64) -> Decision {
    Decision::Granted {
        length: Duration::from_millis(length_ms),
        past,
    }
}

#[test]
fn a_promise_reaches_as_far_as_the_last_of_the_others_has_reported() {
    let mut bench = bench();
    assert_eq!(
        bench.asks(1, 110),
        granted(800, 0),
        "nobody else was heard of yet"
    );
    assert_eq!(bench.asks(2, 105), granted(800, 0), "node 3 was not");
    assert_eq!(bench.asks(3, 120), granted(800, 105));
    assert_eq!(bench.asks(1, 110), granted(800, 105));
    assert_eq!(bench.asks(2, 115), granted(800, 110));
    assert_eq!(
        bench.asks(3, 112),
        granted(800, 110),
        "no further than the asker itself, nor than those before it"
    );
}

#[test]
fn who_vanished_is_waited_for_until_its_lease_is_surely_over_and_must_catch_up() {
    let mut bench = bench();
    for node in 1..=3 {
        bench.asks(node, 100);
    }
    // Past what an earlier leader may have granted.
    bench.passes(1_000);
    bench.heard();
    for node in 1..=3 {
        bench.asks(node, 100);
    }
    bench.passes(880);
    bench.heard();
    bench.asks(1, 130);
    assert_eq!(
        bench.asks(2, 130),
        granted(800, 100),
        "node 3 may still act as of 100"
    );
    bench.passes(20);
    bench.heard();
    assert_eq!(
        bench.asks(2, 130),
        granted(800, 130),
        "its lease and an eighth are over"
    );
    assert_eq!(bench.asks(3, 129), Decision::Behind { need: 130 });
    assert_eq!(bench.asks(3, 130), granted(800, 130));
}

#[test]
fn a_new_leader_waits_for_what_an_earlier_one_granted_and_for_its_own_log() {
    let mut bench = bench();
    assert_eq!(bench.asks(1, 99), Decision::Behind { need: 100 });
    bench.asks(1, 100);
    bench.asks(2, 100);
    bench.passes(899);
    bench.heard();
    bench.asks(2, 140);
    assert_eq!(bench.asks(1, 140), granted(800, 0), "node 3 was never heard of");
    bench.passes(1);
    bench.heard();
    assert_eq!(bench.asks(1, 140), granted(800, 140));
    bench.standing = bench.standing.map(|standing| Standing {
        term: 2,
        last_log: 150,
        ..standing
    });
    assert_eq!(
        bench.asks(1, 149),
        Decision::Behind { need: 150 },
        "another term begins anew"
    );
    bench.standing = None;
    assert_eq!(bench.asks(1, 200), Decision::NotLeading);
}

#[test]
fn no_lease_outlasts_the_last_word_of_a_majority_by_more_than_its_length() {
    let mut bench = bench();
    for (passes, left) in [(0, 800), (300, 500), (400, 100)] {
        bench.passes(passes);
        assert_eq!(bench.asks(1, 100), granted(left, 0));
    }
    bench.passes(100);
    assert_eq!(bench.asks(1, 100), Decision::Wait);
}

#[test]
fn a_leader_that_slept_hears_a_majority_first() {
    let mut bench = bench();
    bench.asks(1, 100);
    bench.passes(10);
    bench.sleep_ms = 5_000;
    assert_eq!(bench.asks(1, 100), Decision::Wait);
    bench.passes(10);
    bench.heard();
    assert_eq!(bench.asks(1, 100), granted(800, 0));
}

#[test]
fn who_lets_go_is_not_waited_for() {
    let mut bench = bench();
    for node in 1..=3 {
        bench.asks(node, 100);
    }
    bench.passes(1_000);
    bench.heard();
    for node in 1..=3 {
        bench.asks(node, 100);
    }
    assert_eq!(bench.says(3, 100, true), Decision::Wait);
    bench.asks(1, 130);
    assert_eq!(bench.asks(2, 130), granted(800, 130));
}

#[test]
fn a_removed_node_counts_until_no_leader_can_have_granted_it_anything() {
    let mut bench = bench();
    bench.members.present.remove(&NodeId(3));
    bench.members.removed.insert(NodeId(3));
    bench.asks(2, 120);
    assert_eq!(
        bench.asks(1, 120),
        granted(800, 0),
        "removed under an earlier leader perhaps"
    );
    assert_eq!(bench.asks(3, 120), Decision::Stranger);
    bench.passes(900);
    bench.heard();
    bench.asks(2, 120);
    assert_eq!(bench.asks(1, 120), granted(800, 120));
    bench.passes(60_000);
    bench.heard();
    bench.standing = bench.standing.map(|standing| Standing { term: 2, ..standing });
    bench.asks(2, 120);
    assert_eq!(bench.asks(1, 120), granted(800, 120), "gone for good");
}

#[test]
fn what_a_leader_grants_tells_how_long_its_leases_are() {
    let ms = Duration::from_millis;
    let mut bench = bench();
    bench.grantor = Grantor::new(ms(2_000), &[ms(800), ms(2_000), ms(3_000)]);
    bench.passes(1_100);
    assert_eq!(bench.asks(1, 100), granted(900, 0));
    bench.passes(100);
    assert_eq!(
        bench.asks(1, 100),
        Decision::Wait,
        "it could be another's whole lease"
    );
    bench.heard();
    assert_eq!(bench.asks(1, 100), granted(2_000, 0));
}

#[test]
fn the_leases_of_an_earlier_leader_are_waited_out_though_they_were_longer() {
    let mut bench = bench();
    bench.standing = bench.standing.map(|standing| Standing {
        longest_before: Duration::from_secs(3),
        ..standing
    });
    let least = |decision| match decision {
        Decision::Granted { past, .. } => past,
        other => panic!("{other:?}"),
    };
    bench.asks(2, 100);
    assert_eq!(least(bench.asks(1, 100)), 0, "the third has said nothing");
    bench.passes(3_374);
    bench.heard();
    assert_eq!(least(bench.asks(1, 100)), 0);
    bench.passes(1);
    bench.heard();
    bench.asks(2, 100);
    assert_eq!(least(bench.asks(1, 100)), 100);
}
