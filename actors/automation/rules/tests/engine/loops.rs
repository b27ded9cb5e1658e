//! `repeat`: count, while, until, for each; `repeat.*`; bounds.

use jarvis_rules::model::{Action, ActionKind, Data, Repeat, Until};
use serde_json::json;

use super::house::{House, action, delay, holds, is, plain, say, say_tpl, set, tpl};

fn repeat(until: Until, sequence: Vec<Action>) -> Action {
    action(ActionKind::Repeat(Repeat { until, sequence }))
}

const SHOW: &str = "{{ repeat.index }} {{ repeat.first }} {{ repeat.last }}";

#[test]
fn count() {
    let mut running = House::new().run(vec![
        repeat(Until::Count(plain(json!(3))), vec![say_tpl(SHOW)]),
        say("test.after"),
    ]);
    assert_eq!(
        running.settle(),
        [
            "#1 test.say  {\"it\":\"1 True False\"}",
            "#2 test.say  {\"it\":\"2 False False\"}",
            "#3 test.say  {\"it\":\"3 False True\"}",
            "#4 test.after"
        ]
    );
    assert_eq!(running.state(), "finished");
}

#[test]
fn counts_that_are_few_none_or_no_number() {
    #[rustfmt::skip]
    let table = [
        (plain(json!(0)), 0, "finished"),
        (plain(json!(-4)), 0, "finished"),
        (plain(json!("2")), 2, "finished"),
        (plain(json!("many")), 0, "failed: \"many\" is not a number of rounds"),
        (plain(json!(1e18)), 0, "failed: 1000000000000000000 rounds are more than the 100000 that a loop may have"),
    ];
    for (count, rounds, state) in table {
        let mut running = House::new().run(vec![repeat(Until::Count(count), vec![say("test.round")])]);
        let said = running.settle();
        assert_eq!(
            said.iter().filter(|line| line.contains("test.round")).count(),
            rounds
        );
        assert_eq!(running.state(), state);
    }
}

#[test]
fn for_each() {
    let items = plain(json!(["a", { "b": 2 }]));
    let mut running = House::new().run(vec![repeat(
        Until::ForEach(items),
        vec![say_tpl("{{ repeat.item }} {{ repeat.last }}")],
    )]);
    let said = running.settle();
    assert_eq!(said.len(), 2);
    assert_eq!(said[0], "#1 test.say  {\"it\":\"a False\"}");
    assert!(said[1].contains("True"), "{}", said[1]);
    let running = House::new().run(vec![repeat(
        Until::ForEach(plain(json!([]))),
        vec![say("test.never")],
    )]);
    assert_eq!(running.state(), "finished");
    let running = House::new().run(vec![repeat(Until::ForEach(plain(json!(4))), vec![])]);
    assert_eq!(
        running.state(),
        "failed: what it repeats for each item of is not a list"
    );
}

#[test]
fn while_is_asked_before_each_round() {
    let mut house = House::new();
    house.set("switch.a", "on");
    let mut running = house.run(vec![repeat(
        Until::While(vec![is("switch.a", "on")]),
        vec![say("test.round")],
    )]);
    assert_eq!(running.done(1), ["#2 test.round"]);
    running.house.set("switch.a", "off");
    running.done(2);
    assert_eq!(running.state(), "finished");
    let mut house = House::new();
    house.set("switch.a", "off");
    let running = house.run(vec![repeat(
        Until::While(vec![is("switch.a", "on")]),
        vec![say("test.never")],
    )]);
    assert_eq!(running.said, Vec::<String>::new());
}

#[test]
fn until_is_asked_after_each_round() {
    let mut house = House::new();
    house.set("switch.a", "on");
    let mut running = house.run(vec![repeat(
        Until::Until(vec![is("switch.a", "off")]),
        vec![say("test.round")],
    )]);
    assert_eq!(running.done(1), ["#2 test.round"]);
    running.house.set("switch.a", "off");
    running.done(2);
    assert_eq!(running.state(), "finished");
    assert_eq!(running.said.len(), 2);
}

#[test]
fn until_that_cannot_be_looked_at_ends_the_loop() {
    let mut running = House::new().run(vec![
        repeat(
            Until::Until(vec![is("switch.gone", "off")]),
            vec![say("test.round")],
        ),
        say("test.after"),
    ]);
    assert_eq!(
        running.settle(),
        [
            "#1 test.round",
            "warning: a condition could not be looked at: the entity switch.gone is not known",
            "#2 test.after"
        ]
    );
}

#[test]
fn conditions_of_loops_see_the_round() {
    let mut running = House::new().run(vec![repeat(
        Until::While(vec![holds("{{ repeat.index <= 2 }}")]),
        vec![say("test.round")],
    )]);
    assert_eq!(running.settle().len(), 2);
    let mut running = House::new().run(vec![repeat(
        Until::Until(vec![holds("{{ repeat.index == 3 }}")]),
        vec![say("test.round")],
    )]);
    assert_eq!(running.settle().len(), 3);
}

#[test]
fn loops_in_loops_have_their_own_rounds_and_share_variables() {
    let inner = repeat(
        Until::Count(plain(json!(2))),
        vec![
            set("n", tpl("{{ n + 1 }}")),
            say_tpl("{{ repeat.index }} {{ n }}"),
        ],
    );
    let outer = repeat(
        Until::Count(plain(json!(2))),
        vec![inner, say_tpl("{{ repeat.index }}")],
    );
    let mut running = House::new().run(vec![set("n", plain(json!(0))), outer]);
    let said: Vec<String> = running
        .settle()
        .iter()
        .map(|line| line.split("it\":").nth(1).unwrap().to_owned())
        .collect();
    assert_eq!(said, ["\"1 1\"}", "\"2 2\"}", "1}", "\"1 3\"}", "\"2 4\"}", "2}"]);
    // Outside there is no round.
    assert_eq!(running.variable("repeat"), json!(null));
}

#[test]
fn a_condition_ends_its_round_only() {
    let body = vec![
        action(ActionKind::Condition(holds("{{ repeat.index != 2 }}"))),
        say_tpl("{{ repeat.index }}"),
    ];
    let mut running = House::new().run(vec![repeat(Until::Count(plain(json!(3))), body)]);
    assert_eq!(
        running.settle(),
        ["#1 test.say  {\"it\":1}", "#2 test.say  {\"it\":3}"]
    );
}

#[test]
fn a_loop_that_never_waits_ends_with_a_reason() {
    let always = Until::While(vec![condition_true()]);
    let running = House::new().run(vec![repeat(always, vec![set("x", plain(json!(1)))])]);
    assert!(
        running
            .state()
            .starts_with("failed: it took 20000 steps without waiting for anything: a loop in it"),
        "{}",
        running.state()
    );
    assert!(running.run.trace.steps.len() <= 200);
    assert!(running.run.trace.dropped > 1_000);
}

#[test]
fn a_loop_that_waits_comes_to_its_bound_all_the_same() {
    let mut house = House::new();
    house.limits.rounds_per_loop = 50;
    let mut running = house.run(vec![repeat(
        Until::While(vec![condition_true()]),
        vec![delay(1_000)],
    )]);
    for _ in 0..60 {
        running.pass(1_000);
    }
    assert!(
        running
            .state()
            .starts_with("failed: the loop came to its 50 rounds"),
        "{}",
        running.state()
    );
    let mut house = House::new();
    house.limits.steps_per_run = 500;
    let mut running = house.run(vec![repeat(
        Until::While(vec![condition_true()]),
        vec![delay(1_000)],
    )]);
    for _ in 0..200 {
        running.pass(1_000);
    }
    assert_eq!(
        running.state(),
        "failed: it took 500 steps, and a run may take no more"
    );
}

#[test]
fn variables_that_grow_come_to_their_bound() {
    let grow = set(
        "x",
        Data::Template(jarvis_rules::model::Template("{{ x ~ x }}".into())),
    );
    let running = House::new().run(vec![
        set("x", plain(json!("abcdefgh"))),
        repeat(Until::Count(plain(json!(100))), vec![grow]),
    ]);
    assert!(running.state().starts_with("failed:"), "{}", running.state());
    assert!(serde_json::to_vec(&running.run).unwrap().len() < 1_000_000);
}

fn condition_true() -> jarvis_rules::model::Condition {
    super::house::condition(jarvis_rules::model::ConditionKind::And(vec![]))
}
