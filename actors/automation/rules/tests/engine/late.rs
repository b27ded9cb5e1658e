//! Waits whose time fell due while nobody looked.

use jarvis_rules::model::{CatchUp, Policy};
use jarvis_rules::run::{Input, What};

use super::house::{House, NOON_MS, Running, automation, delay, is, say};

/// A run that waits for ten seconds; then nobody looks until `back_ms` after its beginning.
fn unseen(catch_up: CatchUp, back_ms: i64, heating: &str) -> Running {
    let mut house = House::new();
    house.set("climate.a", "on");
    let mut automation = automation(vec![delay(10_000), say("test.after")]);
    automation.policy = Policy {
        catch_up,
        at_most_late_ms: 60_000,
    };
    automation.conditions = vec![is("climate.a", "on")];
    let mut running = house.run_of(automation);
    running.house.world.now_ms += back_ms;
    running.house.set("climate.a", heating);
    running.input(Input::Wake);
    running
}

#[test]
fn policies() {
    use CatchUp::{CatchUp as Do, Recheck, Skip};
    #[rustfmt::skip]
    let table = [
        // Somebody was there again in time.
        (Do, 9_000, "on", "active", None),
        (Skip, 10_000, "on", "active", None),
        // A node's load, or a partition that moves, makes nothing late.
        (Skip, 13_000, "on", "active", None),
        // It was late.
        (Do, 15_000, "on", "active", Some((5_000, Do))),
        (Do, 70_000, "off", "active", Some((60_000, Do))),
        (Recheck, 15_000, "on", "active", Some((5_000, Recheck))),
        (Recheck, 15_000, "off", "missed: its wait was over unseen, its policy is recheck, and its conditions do not hold any more", Some((5_000, Recheck))),
        (Skip, 15_000, "on", "missed: its wait was over 5000 ms ago, unseen, and its policy is skip", Some((5_000, Skip))),
        // It was too late for any.
        (Do, 70_001, "on", "missed: its wait was over 60001 ms ago, unseen, and at most 60000 ms late is allowed", Some((60_001, Do))),
    ];
    for (catch_up, back_ms, heating, state, late) in table {
        let mut running = unseen(catch_up, back_ms, heating);
        assert_eq!(running.state(), state, "{catch_up:?} {back_ms} {heating}");
        let traced = running.run.trace.steps.iter().find_map(|step| match step.what {
            What::Late { by_ms, taken } => Some((by_ms, taken)),
            _ => None,
        });
        assert_eq!(traced, late);
        if state == "active" && back_ms >= 10_000 {
            assert_eq!(running.said, ["#1 test.after"]);
            // Once.
            assert_eq!(running.pass(100_000), Vec::<String>::new());
        }
    }
}

#[test]
fn the_next_delay_counts_from_when_it_begins() {
    let mut running = House::new().run(vec![delay(1_000), delay(1_000), say("test.after")]);
    running.house.world.now_ms += 5_000;
    running.input(Input::Wake);
    assert_eq!(running.run.wake_at_ms(), Some(NOON_MS + 6_000));
}
