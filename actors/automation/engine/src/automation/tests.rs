//! What follows from letters and from the time, without a cluster: rows stand in a map.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jarvis_devices::Registry;
use jarvis_rules::facts::{Facts, Home};
use jarvis_rules::load::load;
use jarvis_rules::run::{Deed, Ended, Env, Limits, Run, RunId, RunState, What};
use jarvis_rules::template::Templates;
use jarvis_rules::triggers::{Firing, Missed, Slot, Subscriber};
use serde_json::{Map, Value, json};

use super::batch::Moment;
use super::book::Book;
use super::decided::{Decided, Telling};
use super::size::{RUN_BYTES_MAX, TRACE_BYTES_MAX};
use super::{Definition, decide};
use crate::ran::{Own, Runs, WithRuns};
use crate::rows;
use crate::shown;
use crate::wire::{OutcomeOf, ToAutomation, ToBridge, decode, encode};

const NOON_MS: i64 = 1_768_042_800_000;
/// What one command may hold, with room for what is around it.
const STEP_BYTES_MAX: usize = 480 * 1_024;

/// No other automation has run.
struct Nobody;

impl Runs for Nobody {
    fn last_triggered_ms(&self, _: &str) -> Option<i64> {
        None
    }

    fn current(&self, _: &str) -> usize {
        0
    }
}

/// An automation, and what it wrote.
struct Bench {
    definition: Definition,
    book: Book,
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    /// To the bridge, in order.
    sent: Vec<ToBridge>,
    tellings: Vec<Telling>,
    steps: usize,
    now_ms: i64,
    limits: Limits,
    ids: Cell<u64>,
}

fn definition(yaml: &str) -> Definition {
    let loaded = load(&[("test.yaml", yaml)]);
    assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
    let [automation] = &loaded.automations[..] else {
        panic!("one automation: {loaded:?}");
    };
    Definition::new(automation.clone(), automation.enabled, NOON_MS - 1_000)
}

fn automation(head: &str, actions: &str) -> Definition {
    definition(&format!(
        "- id: test\n  alias: Test\n  triggers: [{{trigger: event, event_type: go, id: start}}]\n{head}\n  actions:\n{actions}"
    ))
}

const LAMP: &str = "    - {action: mqtt.publish, data: {topic: lamp, payload: 'on'}}\n";
const WAIT: &str = "    - {delay: 60}\n    - {action: mqtt.publish, data: {topic: lamp, payload: 'off'}}\n";

fn fired() -> ToAutomation {
    fired_with(json!({ "id": "start", "idx": "0", "platform": "event" }))
}

fn fired_with(data: Value) -> ToAutomation {
    ToAutomation::Fired(Firing {
        slot: slot(),
        data,
        due_ms: None,
        late: None,
    })
}

fn slot() -> Slot {
    Slot {
        subscriber: Subscriber::Automation("test".into()),
        trigger: 0,
    }
}

fn by_hand(run: &str, variables: Value, skip_conditions: bool) -> ToAutomation {
    let Value::Object(variables) = variables else {
        panic!("a mapping");
    };
    ToAutomation::Trigger {
        run: RunId(run.into()),
        variables,
        skip_conditions,
        by: "person".into(),
    }
}

fn done(run: &RunId, number: u64) -> ToAutomation {
    ToAutomation::Outcome {
        run: run.clone(),
        number,
        outcome: OutcomeOf::Done(None),
        not_reached: Vec::new(),
    }
}

impl Bench {
    fn of(definition: Definition) -> Self {
        Self {
            definition,
            book: Book::default(),
            rows: BTreeMap::new(),
            sent: Vec::new(),
            tellings: Vec::new(),
            steps: 0,
            now_ms: NOON_MS,
            limits: Limits {
                variables_bytes: 48 * 1_024,
                data_bytes: 24 * 1_024,
                trace_steps: 100,
                ..Limits::default()
            },
            ids: Cell::new(0),
        }
    }

    /// Takes letters, in as many steps as it takes, and then whatever else is to be done.
    fn take(&mut self, letters: impl IntoIterator<Item = ToAutomation>) -> &mut Self {
        let letters: Vec<(u64, Vec<u8>)> = letters
            .into_iter()
            .map(|one| encode(&one))
            .zip(1..)
            .map(|(body, number)| (number, body))
            .collect();
        let mut unseen = BTreeSet::new();
        self.steps(&letters, &mut unseen);
        self
    }

    /// Another node takes it over.
    fn take_over(&mut self) -> &mut Self {
        self.book = self.read();
        let mut unseen = self.book.runs.keys().cloned().collect();
        self.steps(&[], &mut unseen);
        assert_eq!(unseen, BTreeSet::new());
        self
    }

    fn steps(&mut self, letters: &[(u64, Vec<u8>)], unseen: &mut BTreeSet<RunId>) {
        let mut left = letters;
        for _ in 0..1_000 {
            let (decided, taken) = self.decide(left, unseen);
            let idle = decided.rows.is_empty() && decided.letters.is_empty() && taken == 0;
            left = &left[left.iter().take_while(|(number, _)| *number <= taken).count()..];
            if idle {
                assert!(left.is_empty(), "a letter is never taken");
                return;
            }
            self.write(decided);
        }
        panic!("it does not come to an end");
    }

    fn decide(&self, letters: &[(u64, Vec<u8>)], unseen: &mut BTreeSet<RunId>) -> (Decided, u64) {
        let templates = Arc::new(Templates::new());
        let home = Arc::new(Home {
            time_zone: jiff::tz::TimeZone::UTC,
            latitude: 48.0,
            longitude: 2.0,
            elevation_m: 0.0,
        });
        let mut registry = Registry::new(jarvis_devices::Settings::default(), Arc::clone(&templates), home);
        let now = (self.book.head.last_triggered_ms, self.book.under_way());
        let own = Arc::new(Own::new(self.definition.automation.id.clone(), now, Nobody));
        shown::show(&mut registry, None, Some(&self.definition), self.now_ms);
        let facts: Arc<dyn Facts> =
            Arc::new(WithRuns::new(registry.view(self.now_ms), Arc::clone(&own) as _));
        let fresh = || {
            self.ids.set(self.ids.get() + 1);
            // Later ones come first in the order of texts.
            RunId(format!("run{:03}", 999 - self.ids.get()))
        };
        let moment = Moment {
            definition: &self.definition,
            env: Env {
                facts: &facts,
                templates: &templates,
                node: "attic",
                limits: &self.limits,
            },
            fresh: &fresh,
            own: &own,
            traces: 5,
        };
        decide(&self.book, &moment, letters, unseen)
    }

    fn write(&mut self, decided: Decided) {
        let rows = decided
            .rows
            .iter()
            .map(|row| row.name.len() + row.value.as_ref().map_or(0, Vec::len));
        let letters = decided.letters.iter().map(|letter| letter.body.len());
        let bytes: usize = rows.chain(letters).sum();
        assert!(bytes < STEP_BYTES_MAX, "a step of {bytes} bytes");
        for row in decided.rows {
            match row.value {
                Some(value) => drop(self.rows.insert(row.name, value)),
                None => assert!(self.rows.remove(&row.name).is_some(), "what is removed is there"),
            }
        }
        self.sent
            .extend(decided.letters.iter().map(|letter| decode(&letter.body).unwrap()));
        self.tellings.extend(decided.tellings);
        self.steps += 1;
        assert_eq!(
            self.read(),
            decided.book,
            "what is held in memory is what the rows say"
        );
        self.book = decided.book;
    }

    fn read(&self) -> Book {
        let all: Vec<_> = self
            .rows
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        Book::read(&all)
    }

    fn wait(&mut self, ms: i64) -> &mut Self {
        self.now_ms += ms;
        self.take([])
    }

    /// What was asked for and not looked at yet: run and number.
    fn asked(&mut self) -> Vec<(RunId, u64)> {
        let asked = std::mem::take(&mut self.sent)
            .into_iter()
            .filter_map(|letter| match letter {
                ToBridge::Asked { by, number, intent } => {
                    assert_eq!(by.automation, "test");
                    match intent.deed {
                        Deed::Call(call) => assert_eq!(call.intent, number),
                        Deed::Event(event) => assert_eq!(event.intent, number),
                    }
                    Some((by.run, number))
                }
                _ => None,
            });
        asked.collect()
    }

    /// Does all that was asked for, until nothing is; how much that was.
    fn answer(&mut self) -> usize {
        let mut answered = 0;
        loop {
            let asked = self.asked();
            if asked.is_empty() {
                return answered;
            }
            answered += asked.len();
            self.take(asked.iter().map(|(run, number)| done(run, *number)));
        }
    }

    fn traces(&self) -> Vec<Run> {
        let traces = self
            .rows
            .iter()
            .filter(|(name, _)| name.starts_with(rows::TRACE.as_bytes()));
        traces.map(|(_, value)| decode(value).unwrap()).collect()
    }

    fn last_trace(&self) -> Run {
        self.traces().pop().expect("a trace")
    }

    fn how(&self) -> Vec<String> {
        self.traces().iter().map(how).collect()
    }
}

fn how(run: &Run) -> String {
    match &run.state {
        RunState::Ended(Ended::Finished { .. }) => "finished".into(),
        RunState::Ended(
            Ended::Aborted { why }
            | Ended::Stopped { why }
            | Ended::Missed { why }
            | Ended::Failed { error: why },
        ) => why.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_run_is_asked_for_waits_and_leaves_its_trace() {
    let mut bench = Bench::of(automation("", &format!("{LAMP}{WAIT}")));
    bench.take([fired()]);
    assert_eq!(bench.book.head.last_triggered_ms, Some(NOON_MS));
    let asked = bench.asked();
    let [(run, 1)] = &asked[..] else {
        panic!("{asked:?}");
    };
    bench.take([done(run, 1)]);
    assert_eq!(bench.book.wake_at_ms(), Some(NOON_MS + 60_000));
    assert_eq!(bench.wait(59_999).asked(), []);
    let asked = bench.wait(1).asked();
    assert_eq!(asked, [(run.clone(), 2)]);
    // What comes twice is taken once.
    bench.take([done(run, 1), done(run, 2), done(run, 2)]);
    assert_eq!(bench.how(), ["finished"]);
    assert!(bench.book.runs.is_empty());
    assert_eq!(bench.asked(), []);
    let trace = bench.last_trace();
    assert!(trace.trace.steps.iter().all(|step| step.node == "attic"));
    assert!(bench.tellings.contains(&Telling::Ended("finished")));
}

#[test]
fn modes() {
    let mode = |head: &str| {
        let mut bench = Bench::of(automation(head, WAIT));
        bench.take([fired(), fired(), fired()]);
        bench
    };
    let single = mode("  mode: single");
    assert_eq!(single.book.runs.len(), 1);
    let passed_over = "it runs already, and its mode is single";
    assert_eq!(single.how(), [passed_over; 2]);

    let mut restart = mode("  mode: restart");
    assert_eq!(restart.book.runs.len(), 1);
    assert_eq!(
        restart.how(),
        ["it was triggered again, and its mode is restart"; 2]
    );
    restart.wait(60_000);
    assert_eq!(restart.answer(), 1);

    let mut parallel = mode("  mode: parallel\n  max: 2");
    assert_eq!(parallel.book.runs.len(), 2);
    assert_eq!(
        parallel.how(),
        ["2 runs are under way or waiting, and its max is 2"]
    );
    parallel.wait(60_000);
    assert_eq!(parallel.answer(), 2);

    let mut queued = mode("  mode: queued\n  max: 2");
    let states = |bench: &Bench| {
        let mut runs: Vec<_> = bench.book.runs.values().collect();
        runs.sort_by_key(|kept| kept.order);
        runs.iter().map(|kept| kept.run.state.clone()).collect::<Vec<_>>()
    };
    assert_eq!(states(&queued), [RunState::Active, RunState::Queued]);
    assert_eq!(
        queued.how(),
        ["2 runs are under way or waiting, and its max is 2"]
    );
    let first = queued.wait(60_000).asked();
    assert_eq!(
        states(&queued),
        [const { RunState::Active }; 2],
        "what only hears what came of its last call is in nobody's way"
    );
    queued.take([done(&first[0].0, first[0].1)]);
    assert_eq!(states(&queued), [RunState::Active]);
    queued.take_over().wait(60_000);
    let second = queued.asked();
    // They begin in the order in which they came, whatever their names.
    assert!(second[0].0 < first[0].0);
    queued.take([done(&second[0].0, second[0].1)]);
    assert_eq!(queued.book.runs.len(), 0);
}

#[test]
fn a_queue_that_outlives_its_first_run_begins_elsewhere() {
    let twice = [LAMP, LAMP].concat();
    let mut bench = Bench::of(automation("  mode: queued", &twice));
    bench.take([fired(), fired(), fired()]);
    assert_eq!(bench.book.under_way(), 3);
    let asked = bench.asked();
    assert_eq!(asked.len(), 1);
    bench.take([done(&asked[0].0, 1)]).take_over();
    assert_eq!(bench.answer(), 5);
    assert_eq!(bench.how(), ["finished"; 3]);
}

#[test]
fn by_hand_once_with_what_is_given() {
    let condition = "  conditions: [\"{{ false }}\"]\n  variables: {level: 1, twice: '{{ level * 2 }}'}";
    let publish = "    - {action: mqtt.publish, data: {topic: t, payload: '{{ twice }} {{ trigger.platform }} {{ who }}'}}\n";
    let mut bench = Bench::of(automation(condition, publish));
    let given = json!({ "level": 4, "who": "me" });
    bench.take([
        by_hand("A", given.clone(), true),
        by_hand("A", given.clone(), true),
    ]);
    let [ToBridge::Asked { intent, .. }] = &bench.sent[..] else {
        panic!("{:?}", bench.sent);
    };
    let Deed::Call(call) = &intent.deed else {
        panic!("a call");
    };
    assert_eq!(call.data["payload"], "8 None me");
    bench.answer();
    // Its trace is enough to know it by.
    bench.take([by_hand("A", given.clone(), true)]);
    assert_eq!(bench.asked(), []);
    let first = bench.last_trace().trace.steps[0].what.clone();
    assert!(matches!(first, What::Triggered { trigger, .. } if trigger == "person"));
    // Its conditions count unless they are not to.
    bench.take([by_hand("B", json!({}), false)]);
    assert_eq!(bench.how(), ["finished", "its condition 1 does not hold"]);
    // One that is switched off runs by hand, and by hand only.
    bench.definition.enabled = false;
    bench.now_ms += 1;
    bench.take([by_hand("C", given, true), fired()]);
    assert_eq!(bench.asked().len(), 1);
    assert!(bench.how().contains(&"it is switched off".to_owned()));
    // A name that no row can have.
    bench.take([
        by_hand(&"x".repeat(1_000), json!({}), true),
        by_hand("a b", json!({}), true),
    ]);
    assert_eq!(bench.asked(), []);
}

#[test]
fn what_a_trigger_did_is_tried_out_by_giving_it() {
    let publish = "    - {action: mqtt.publish, data: {topic: t, payload: '{{ trigger.payload }} {{ this.attributes.last_triggered is none }} {{ this.state }}'}}\n";
    let mut bench = Bench::of(automation("", publish));
    bench.take([by_hand("A", json!({ "trigger": { "payload": "hot" } }), false)]);
    let ToBridge::Asked { intent, .. } = &bench.sent[0] else {
        panic!("{:?}", bench.sent);
    };
    let Deed::Call(call) = &intent.deed else {
        panic!("a call");
    };
    assert_eq!(call.data["payload"], "hot True on");
}

#[test]
fn conditions_see_when_it_ran_before_and_actions_that_it_runs() {
    let seen = "state_attr('automation.test', 'last_triggered')";
    let head = format!(
        "  mode: parallel\n  conditions: \"{{{{ {seen} is none or now() - {seen} > timedelta(minutes=5) }}}}\""
    );
    let publish = format!(
        "    - {{action: mqtt.publish, data: {{topic: t, payload: \"{{{{ {seen} == now() }}}} {{{{ states.automation.test.attributes.current }}}}\"}}}}\n"
    );
    let mut bench = Bench::of(automation(&head, &publish));
    let mut payloads = Vec::new();
    for minutes in [0, 3, 4] {
        bench.now_ms += minutes * 60_000;
        bench.take([fired()]);
        for letter in std::mem::take(&mut bench.sent) {
            if let ToBridge::Asked { intent, .. } = letter
                && let Deed::Call(call) = intent.deed
            {
                payloads.push((minutes, call.data["payload"].clone()));
            }
        }
    }
    assert_eq!(payloads, [(0, json!("True 1")), (4, json!("True 2"))]);
}

#[test]
fn traces_of_what_is_passed_over_do_not_push_out_what_ran() {
    let mut bench = Bench::of(automation("  conditions: [\"{{ trigger.yes }}\"]", LAMP));
    let trigger = |yes: bool| fired_with(json!({ "id": "start", "idx": "0", "yes": yes }));
    for _ in 0..8 {
        bench.now_ms += 1_000;
        bench.take([trigger(true)]);
        bench.answer();
    }
    for _ in 0..8 {
        bench.now_ms += 1_000;
        bench.take([trigger(false)]);
    }
    let how = bench.how();
    assert_eq!(how.iter().filter(|how| *how == "finished").count(), 5);
    assert_eq!(
        how.iter()
            .filter(|how| *how == "its condition 1 does not hold")
            .count(),
        5
    );
    assert_eq!(bench.traces()[0].started_ms, NOON_MS + 4_000, "the newest stay");
    let steps: Vec<String> = bench
        .last_trace()
        .trace
        .steps
        .iter()
        .map(|step| step.path.clone())
        .collect();
    assert_eq!(steps, ["trigger/0", "condition/0", ""]);
    assert_eq!(bench.book.head.runs, 8);
}

#[test]
fn what_was_missed_leaves_a_trace() {
    let mut bench = Bench::of(automation("", LAMP));
    let missed = Missed {
        slot: slot(),
        due_ms: NOON_MS - 7_200_000,
        by_ms: 7_200_000,
        why: "it is too late".into(),
    };
    bench.take([ToAutomation::Missed(missed)]);
    let trace = bench.last_trace();
    assert_eq!(
        trace.state,
        RunState::Ended(Ended::Missed {
            why: "it is too late".into()
        })
    );
    let what = &trace.trace.steps[0].what;
    assert!(matches!(what, What::Triggered { trigger, late_ms: Some(7_200_000) } if trigger == "start"));
    assert_eq!(bench.asked(), []);
    assert_eq!(bench.tellings, [Telling::Ended("missed")]);
}

#[test]
fn a_delay_that_fell_due_in_the_gap() {
    let table = [
        ("catch_up", 5_000, None),
        (
            "skip",
            5_000,
            Some("its wait was over 5000 ms ago, unseen, and its policy is skip"),
        ),
        (
            "recheck",
            5_000,
            Some("its wait was over unseen, its policy is recheck, and its conditions do not hold any more"),
        ),
        // On time is what comes while another node takes over.
        ("recheck", 2_900, None),
        ("skip", 2_900, None),
        (
            "catch_up",
            4_000_000,
            Some("its wait was over 4000000 ms ago, unseen, and at most 3600000 ms late is allowed"),
        ),
    ];
    for (policy, late_ms, ends) in table {
        let condition = format!(
            "  jarvis: {{catch_up: {policy}}}\n  conditions: [\"{{{{ as_timestamp(now()) < {} }}}}\"]",
            (NOON_MS + 61_000) / 1_000
        );
        let mut bench = Bench::of(automation(&condition, WAIT));
        bench.take([fired()]);
        bench.now_ms += 60_000 + late_ms;
        bench.take_over();
        let asked = bench.asked();
        let taken: Vec<What> = match ends {
            Some(why) => {
                assert_eq!(asked, [], "{policy} {late_ms}");
                assert_eq!(bench.how(), [why]);
                bench.last_trace()
            }
            None => {
                assert_eq!(asked.len(), 1, "{policy} {late_ms}");
                bench.book.runs.values().next().unwrap().run.clone()
            }
        }
        .trace
        .steps
        .into_iter()
        .map(|step| step.what)
        .filter(|what| matches!(what, What::Late { .. }))
        .collect();
        let told = bench.tellings.contains(&Telling::Late(late_ms as u64));
        assert_eq!(
            (taken.len(), told),
            if late_ms > 3_000 { (1, true) } else { (0, false) },
            "{policy} {late_ms}"
        );
        if let [What::Late { by_ms, taken }] = &taken[..] {
            assert_eq!(*by_ms, late_ms as u64);
            assert_eq!(json!(taken), json!(policy));
        }
    }
}

#[test]
fn another_definition_stops_runs_and_a_removal_leaves_nothing() {
    let waits = "    - {wait_for_trigger: [{trigger: event, event_type: come}]}\n";
    let mut bench = Bench::of(automation("  mode: parallel", &format!("{LAMP}{waits}")));
    bench.take([fired(), fired()]);
    let asked = bench.asked();
    bench.take([done(&asked[0].0, 1)]);
    let is_waits = |letter: &ToBridge| matches!(letter, ToBridge::Waits(_));
    assert_eq!(
        bench.sent.iter().filter(|letter| is_waits(letter)).count(),
        1,
        "one waits, one was not answered"
    );
    bench.sent.clear();

    bench.definition = automation("  mode: parallel", LAMP);
    bench.take([ToAutomation::Defined]);
    assert_eq!(bench.how(), ["the automation was changed while this ran"]);
    assert_eq!(bench.sent.iter().filter(|letter| is_waits(letter)).count(), 1);
    // What it asked for is under way all the same.
    assert_eq!((bench.book.runs.len(), bench.book.under_way()), (1, 0));
    bench.take([done(&asked[1].0, 1)]);
    assert_eq!(bench.how(), ["the automation was changed while this ran"; 2]);

    // What people write for people does not matter.
    bench.take([fired()]);
    bench.definition = automation("  description: Lights\n  mode: parallel", LAMP);
    bench.take([ToAutomation::Defined]);
    assert_eq!(bench.book.under_way(), 1);

    bench.definition = automation("", waits);
    bench.take([fired()]);
    bench.sent.clear();
    bench.write(Decided::removal(&bench.book));
    assert!(bench.rows.is_empty());
    assert!(matches!(bench.sent[..], [ToBridge::Waits(_)]));
    assert_eq!(Decided::removal(&bench.book).rows, []);
}

#[test]
fn what_is_waited_for_is_told_when_it_changes() {
    let waits = "    - {wait_for_trigger: [{trigger: event, event_type: come}], timeout: 60}\n    - {wait_template: '{{ now().timestamp() > 9 }}'}\n";
    let mut bench = Bench::of(automation("", waits));
    bench.take([fired()]);
    let [ToBridge::Waits(of)] = &bench.sent[..] else {
        panic!("{:?}", bench.sent);
    };
    let run = of.run.clone();
    bench.take([ToAutomation::Look { run: run.clone() }]);
    assert_eq!(bench.sent.len(), 1, "nothing has changed");
    bench.take([ToAutomation::Triggered {
        run,
        wait: 1,
        trigger: json!({ "platform": "event" }),
    }]);
    assert_eq!(bench.sent.len(), 2, "it has ended");
    assert_eq!(bench.how(), ["finished"]);
}

#[test]
fn stopping_ends_all() {
    let mut bench = Bench::of(automation("  mode: queued", WAIT));
    bench.take([fired(), fired()]);
    let why = "somebody wants so".to_owned();
    bench.take([ToAutomation::Stop { why: why.clone() }]);
    assert_eq!(bench.how(), [why.clone(), why]);
    assert_eq!(bench.book.wake_at_ms(), None);
}

#[test]
fn a_run_that_grows_too_large_ends_and_asks_for_nothing() {
    let event = "    - {event: note, event_data: {text: '{{ big }}'}}\n";
    let actions = format!(
        "{LAMP}    - {{variables: {{big: \"{{{{ 'ab' * 10000 }}}}\"}}}}\n{}",
        event.repeat(6)
    );
    let mut bench = Bench::of(automation("", &actions));
    bench.take([fired()]);
    let asked = bench.asked();
    assert_eq!(asked.len(), 1);
    bench.take([done(&asked[0].0, 1)]);
    assert_eq!(bench.asked(), [], "nothing of the step that did not fit");
    let trace = bench.last_trace();
    assert!(how(&trace).contains("its variables are let go"), "{trace:?}");
    assert_eq!(trace.variables, Map::new());

    // What takes six bytes where it is written down.
    let mut bench = Bench::of(automation("", LAMP));
    let text = "\u{1}".repeat(40_000);
    bench.take([by_hand("A", json!({ "text": text }), false)]);
    assert_eq!(bench.asked(), []);
    assert!(how(&bench.last_trace()).contains("its variables are let go"));
}

#[test]
fn large_steps_are_several() {
    let mut bench = Bench::of(automation("  mode: parallel\n  max: 60", WAIT));
    let text = "x".repeat(40_000);
    bench.take((0..40).map(|_| fired_with(json!({ "id": "start", "idx": "0", "text": text }))));
    assert_eq!(bench.book.runs.len(), 40);
    assert!(bench.steps >= 10, "{} steps", bench.steps);
    // All of them end for one letter.
    let steps = bench.steps;
    bench.take([ToAutomation::Stop { why: "enough".into() }]);
    assert_eq!(bench.book.runs.len(), 0);
    assert!(bench.steps > steps + 4, "{} steps", bench.steps - steps);
    assert_eq!(bench.traces().len(), 5);
    let sizes = bench.rows.values().map(Vec::len);
    assert!(sizes.max().unwrap() <= TRACE_BYTES_MAX);
}

#[test]
fn restarting_what_another_definition_left_running_goes_step_by_step() {
    let mut bench = Bench::of(automation("  mode: parallel\n  max: 60", WAIT));
    let text = "x".repeat(40_000);
    let large = || fired_with(json!({ "id": "start", "idx": "0", "text": text }));
    bench.take((0..20).map(|_| large()));
    bench.definition = automation("  mode: restart", WAIT);
    bench.take([ToAutomation::Defined, large()]);
    assert_eq!(bench.book.runs.len(), 1);
    bench.wait(60_000);
    assert_eq!(bench.answer(), 1);
}

#[test]
fn an_old_part_of_a_trace_is_let_go_before_a_run_is() {
    let entities: Vec<String> = (0..250)
        .map(|n| format!("light.lamp_of_the_long_corridor_{n}"))
        .collect();
    let call = format!(
        "    - {{action: light.turn_on, target: {{entity_id: [{}]}}, continue_on_error: true}}\n",
        entities.join(", ")
    );
    let mut bench = Bench::of(automation("", &call.repeat(16)));
    bench.take([fired()]);
    assert_eq!(bench.answer(), 16);
    let trace = bench.last_trace();
    assert_eq!(how(&trace), "finished");
    assert!(trace.trace.dropped > 0);
    assert!(bench.rows.values().all(|row| row.len() <= RUN_BYTES_MAX));
}

#[test]
fn one_that_never_waits_lets_others_in_between_and_ends() {
    let actions = "    - repeat: {while: \"{{ true }}\", sequence: [{variables: {a: 1}}]}\n";
    let mut bench = Bench::of(automation("  mode: parallel", actions));
    bench.limits.steps_per_advance = 100;
    bench.limits.steps_without_wait = 2_000;
    bench.take([fired(), fired()]);
    assert!(bench.steps >= 4, "{}", bench.steps);
    assert!(how(&bench.last_trace()).contains("a loop in it does not end"));
    assert!(bench.book.runs.is_empty());
}

#[test]
fn one_that_was_in_the_middle_goes_on_elsewhere() {
    let actions = format!("    - repeat: {{count: 900, sequence: [{{variables: {{a: 1}}}}]}}\n{LAMP}");
    let mut bench = Bench::of(automation("", &actions));
    bench.limits.steps_per_advance = 100;
    let letters = [(1, encode(&fired()))];
    let (decided, _) = bench.decide(&letters, &mut BTreeSet::new());
    bench.write(decided);
    assert_eq!(bench.asked(), [], "there is more to do");
    bench.take_over();
    assert_eq!(bench.answer(), 1);
    assert_eq!(bench.how(), ["finished"]);
}

#[test]
fn what_a_newer_build_wrote_is_left_alone() {
    let mut bench = Bench::of(automation("", WAIT));
    bench.take([fired()]);
    let mut newer: Value = decode(bench.rows.values().last().unwrap()).unwrap();
    newer["format"] = json!(2);
    bench.rows.insert(b"r/NEWER".to_vec(), encode(&newer));
    bench.rows.insert(b"r/OTHER".to_vec(), b"{}".to_vec());
    bench
        .rows
        .insert(b"t/000000000000001 OLD".to_vec(), b"?".to_vec());
    bench.take_over();
    assert_eq!(bench.book.runs.len(), 1);
    bench.take([by_hand("NEWER", json!({}), true)]);
    bench.wait(60_000);
    bench.answer();
    for _ in 0..10 {
        bench.now_ms += 1;
        bench.take([fired()]).wait(60_000);
        bench.answer();
    }
    bench.write(Decided::removal(&bench.book));
    let left: Vec<&[u8]> = bench.rows.keys().map(Vec::as_slice).collect();
    assert_eq!(left, [&b"r/NEWER"[..], b"r/OTHER", b"t/000000000000001 OLD"]);
}

#[test]
fn letters_that_are_not_understood_do_not_hold_up_the_others() {
    let mut bench = Bench::of(automation("", LAMP));
    let letters = [
        (1, b"\xff".to_vec()),
        (2, b"{\"sing\":1}".to_vec()),
        (3, encode(&fired())),
    ];
    bench.steps(&letters, &mut BTreeSet::new());
    assert_eq!(bench.answer(), 1);
}

#[test]
fn an_empty_batch_comes_to_nothing() {
    let bench = Bench::of(automation("", LAMP));
    let (decided, taken) = bench.decide(&[], &mut BTreeSet::new());
    assert_eq!((decided.rows, decided.letters, taken), (vec![], vec![], 0));
}

#[test]
fn the_trace_says_what_was_decided_of_a_trigger_that_came_late() {
    use jarvis_rules::model::CatchUp;

    let mut bench = Bench::of(automation("  mode: single", WAIT));
    let late = Firing {
        slot: slot(),
        data: json!({ "id": "start", "idx": "0", "platform": "time" }),
        due_ms: Some(NOON_MS - 15_000),
        late: Some((15_000, CatchUp::CatchUp)),
    };
    // The second comes while the first runs: why it led to nothing is told after what was decided.
    bench.take([ToAutomation::Fired(late.clone()), ToAutomation::Fired(late)]);
    let is_told = |steps: &mut dyn Iterator<Item = &What>| {
        matches!(
            steps.next(),
            Some(What::Triggered {
                late_ms: Some(15_000),
                ..
            })
        ) && matches!(
            steps.next(),
            Some(What::Late {
                by_ms: 15_000,
                taken: CatchUp::CatchUp
            })
        )
    };
    let passed_over = bench.last_trace();
    assert!(
        is_told(&mut passed_over.trace.steps.iter().map(|step| &step.what)),
        "{passed_over:?}"
    );
    let (_, kept) = bench.book.runs.iter().next().expect("one is under way");
    assert!(
        is_told(&mut kept.run.trace.steps.iter().map(|step| &step.what)),
        "{:?}",
        kept.run.trace
    );
}
