//! Ten thousand automations, and how many events a second one core takes through them: matching, conditions, the run's first
//! advance.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use jarvis_rules::facts::{EntityState, Facts, Group, Home};
use jarvis_rules::model::{
    Action, ActionKind, Automation, Bound, Condition, ConditionKind, Data, EntityId, Mode, Policy, Position,
    Template, Trigger, TriggerKind,
};
use jarvis_rules::program::Program;
use jarvis_rules::run::{Context, Env, Input, Limits, Run, RunId};
use jarvis_rules::template::Templates;
use jarvis_rules::triggers::{Change, Happening, Look, Subscriber, Watch};
use serde_json::json;

const RULES: usize = 10_000;
const NOW_MS: i64 = 1_768_042_800_000;

#[derive(Debug)]
struct World {
    home: Home,
    entities: BTreeMap<String, Arc<EntityState>>,
}

impl Facts for World {
    fn now_ms(&self) -> i64 {
        NOW_MS
    }

    fn home(&self) -> &Home {
        &self.home
    }

    fn entity(&self, id: &str) -> Option<Arc<EntityState>> {
        self.entities.get(id).cloned()
    }

    fn entities(&self, _: Option<&str>) -> Vec<(String, Arc<EntityState>)> {
        Vec::new()
    }

    fn members(&self, _: Group<'_>) -> Vec<String> {
        Vec::new()
    }
}

fn state(text: &str) -> Arc<EntityState> {
    Arc::new(EntityState {
        state: text.into(),
        attributes: BTreeMap::from([
            ("friendly_name".into(), json!("A thing")),
            ("battery".into(), json!(80)),
        ]),
        last_changed_ms: NOW_MS,
        last_updated_ms: NOW_MS,
    })
}

fn id(text: String) -> EntityId {
    EntityId(text)
}

/// A fifth of each: messages by topic, messages by wildcard, states, numbers, templates.
fn kind(index: usize) -> TriggerKind {
    match index % 5 {
        0 => TriggerKind::Mqtt {
            topic: Template(format!("zigbee2mqtt/remote{index}/action")),
            payload: Some(Template("single".into())),
            value_template: None,
        },
        1 => TriggerKind::Mqtt {
            topic: Template(format!("tasmota/+/button{index}")),
            payload: None,
            value_template: None,
        },
        2 => TriggerKind::State {
            entities: vec![id(format!("binary_sensor.s{index}"))],
            attribute: None,
            from: Some(vec!["off".into()]),
            not_from: vec![],
            to: Some(vec!["on".into()]),
            not_to: vec![],
            held_for: None,
        },
        3 => TriggerKind::NumericState {
            entities: vec![id(format!("sensor.n{index}"))],
            attribute: None,
            value_template: None,
            above: Some(Bound::Number(25.0)),
            below: None,
            held_for: None,
        },
        _ => TriggerKind::Template {
            template: Template(format!("{{{{ states('sensor.t{index}') | float(0) > 25 }}}}")),
            held_for: None,
        },
    }
}

fn automation(index: usize) -> Automation {
    Automation {
        id: format!("a{index}"),
        alias: format!("Automation {index}"),
        description: String::new(),
        file: "bench.yaml".into(),
        position: Position::default(),
        mode: Mode::Parallel,
        max: 10,
        enabled: true,
        policy: Policy::default(),
        trigger_variables: vec![],
        variables: vec![],
        triggers: vec![Trigger {
            id: "0".into(),
            enabled: true,
            variables: vec![],
            policy: None,
            position: Position::default(),
            kind: kind(index),
        }],
        conditions: vec![Condition {
            alias: None,
            enabled: true,
            position: Position::default(),
            kind: ConditionKind::State {
                entities: vec![id("input_boolean.home".into())],
                any: false,
                attribute: None,
                states: vec!["on".into()],
                held_for: None,
            },
        }],
        actions: vec![Action {
            alias: None,
            enabled: true,
            continue_on_error: false,
            position: Position::default(),
            kind: ActionKind::Call {
                service: Data::Plain("light.turn_on".into()),
                target: Data::Plain(json!({ "entity_id": format!("light.l{index}") })),
                data: Data::Plain(json!({ "brightness": 200 })),
                response_variable: None,
            },
        }],
    }
}

/// An event for one of the automations, and the states that go with it.
fn happening(index: usize, on: bool) -> Happening {
    let message = |topic: String| Happening::Mqtt {
        topic,
        payload: b"single".to_vec(),
        qos: 1,
        retain: false,
    };
    let change = |entity: String, off: &str, high: &str| {
        let (old, new) = if on { (off, high) } else { (high, off) };
        Happening::State {
            entity,
            old: Some(state(old)),
            new: Some(state(new)),
        }
    };
    match index % 5 {
        0 => message(format!("zigbee2mqtt/remote{index}/action")),
        1 => message(format!("tasmota/plug7/button{index}")),
        2 => change(format!("binary_sensor.s{index}"), "off", "on"),
        3 => change(format!("sensor.n{index}"), "20", "30"),
        _ => change(format!("sensor.t{index}"), "20", "30"),
    }
}

fn bench(criterion: &mut Criterion) {
    let home = Home {
        time_zone: jiff::tz::TimeZone::UTC,
        latitude: 48.9,
        longitude: 2.4,
        elevation_m: 35.0,
    };
    let world = |high: bool| {
        let mut entities = BTreeMap::from([("input_boolean.home".into(), state("on"))]);
        for index in 0..RULES {
            if let Happening::State { entity, new, .. } = happening(index, high) {
                entities.extend(new.map(|new| (entity, new)));
            }
        }
        let home = home.clone();
        Arc::new(World { home, entities }) as Arc<dyn Facts>
    };
    let (low, high) = (world(false), world(true));
    let templates = Templates::new();
    let limits = Limits::default();
    let programs: BTreeMap<String, Program> = (0..RULES)
        .map(|index| (format!("a{index}"), Program::compile(automation(index))))
        .collect();
    let fresh = || {
        let mut watch = Watch::new();
        let look = Look {
            facts: &low,
            templates: &templates,
        };
        for program in programs.values() {
            watch.insert_automation(program, NOW_MS, &look);
        }
        watch
    };

    let mut group = criterion.benchmark_group("rules");
    group.sample_size(20);
    group.throughput(Throughput::Elements(RULES as u64));
    // A change there and back for every automation: 20,000 events, of which the matching half starts runs.
    let there: Vec<Happening> = (0..RULES).map(|index| happening(index, true)).collect();
    let back: Vec<Happening> = (0..RULES).map(|index| happening(index, false)).collect();
    let mut watch = fresh();
    group.bench_function("event to call, 10,000 automations", |bencher| {
        let mut forth = false;
        bencher.iter(|| {
            forth = !forth;
            let (facts, events) = if forth { (&high, &there) } else { (&low, &back) };
            let look = Look {
                facts,
                templates: &templates,
            };
            let env = Env {
                facts,
                templates: &templates,
                node: "n1",
                limits: &limits,
            };
            let mut calls = 0;
            for event in events {
                for change in watch.happen(event, &look) {
                    let Change::Fire(firing) = change else { continue };
                    let Subscriber::Automation(id) = &firing.slot.subscriber else {
                        continue;
                    };
                    let Some(program) = programs.get(id) else { continue };
                    let Ok(begun) = Run::decide(program, firing.data, json!({}), None, false, &env) else {
                        continue;
                    };
                    let mut run = Run::new(RunId("r".into()), program, begun, Context::default());
                    calls += run.advance(program, Input::Begin, &env).effects.len();
                }
            }
            assert!(calls >= RULES * 2 / 5, "{calls}");
            black_box(calls)
        });
    });
    // Events that are for nobody.
    let idle: Vec<Happening> = (0..RULES)
        .map(|index| Happening::Mqtt {
            topic: format!("zigbee2mqtt/other{index}/state"),
            payload: b"{\"x\":1}".to_vec(),
            qos: 0,
            retain: false,
        })
        .collect();
    group.bench_function("events for nobody, 10,000 automations", |bencher| {
        let look = Look {
            facts: &low,
            templates: &templates,
        };
        bencher.iter(|| {
            for event in &idle {
                black_box(watch.happen(event, &look));
            }
        });
    });
    group.bench_function("insertion, 10,000 automations", |bencher| {
        bencher.iter(|| black_box(fresh().len()))
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
