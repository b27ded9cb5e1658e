//! A house for the tests: states, a clock that is set by hand, and short ways to write automations down.

use std::collections::BTreeMap;
use std::sync::Arc;

use jarvis_rules::facts::{EntityState, Facts, Group, Home};
use jarvis_rules::model::{
    Action, ActionKind, Automation, Condition, ConditionKind, Data, EntityId, Mode, Policy, Position, Span,
    Template, Trigger, TriggerKind,
};
use jarvis_rules::program::Program;
use jarvis_rules::run::{Context, Effect, Env, Input, Level, Limits, Outcome, PassedOver, Run, RunId};
use jarvis_rules::template::Templates;
use jarvis_rules::triggers::{Change, Happening, Look, Watch};
use serde_json::{Map, Value, json};

/// 2026-01-10, a Saturday, 12:00 in Paris.
pub(crate) const NOON_MS: i64 = 1_768_042_800_000;

/// What is known of the house.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) now_ms: i64,
    pub(crate) home: Home,
    pub(crate) entities: BTreeMap<String, Arc<EntityState>>,
    pub(crate) groups: BTreeMap<String, Vec<String>>,
}

impl Facts for World {
    fn now_ms(&self) -> i64 {
        self.now_ms
    }

    fn home(&self) -> &Home {
        &self.home
    }

    fn entity(&self, id: &str) -> Option<Arc<EntityState>> {
        self.entities.get(id).cloned()
    }

    fn entities(&self, domain: Option<&str>) -> Vec<(String, Arc<EntityState>)> {
        self.entities
            .iter()
            .filter(|(id, _)| {
                domain.is_none_or(|domain| id.split_once('.').is_some_and(|(own, _)| own == domain))
            })
            .map(|(id, state)| (id.clone(), Arc::clone(state)))
            .collect()
    }

    fn members(&self, of: Group<'_>) -> Vec<String> {
        let key = match of {
            Group::Device(id) => format!("device {id}"),
            Group::Area(id) => format!("area {id}"),
            Group::Label(id) => format!("label {id}"),
        };
        self.groups.get(&key).cloned().unwrap_or_default()
    }
}

/// A house in which things happen.
#[derive(Debug)]
pub(crate) struct House {
    pub(crate) world: World,
    pub(crate) templates: Templates,
    pub(crate) limits: Limits,
    pub(crate) watch: Watch,
}

impl House {
    pub(crate) fn new() -> Self {
        Self {
            world: World {
                now_ms: NOON_MS,
                home: Home {
                    time_zone: jiff::tz::TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap(),
                    latitude: 48.8566,
                    longitude: 2.3522,
                    elevation_m: 35.0,
                },
                entities: BTreeMap::new(),
                groups: BTreeMap::new(),
            },
            templates: Templates::new(),
            limits: Limits::default(),
            watch: Watch::new(),
        }
    }

    pub(crate) fn facts(&self) -> Arc<dyn Facts> {
        Arc::new(self.world.clone())
    }

    /// Sets a state, without anybody being told.
    pub(crate) fn set(&mut self, id: &str, state: &str) {
        self.set_with(id, state, json!({}));
    }

    pub(crate) fn set_with(&mut self, id: &str, state: &str, attributes: Value) {
        let now_ms = self.world.now_ms;
        let changed = self
            .world
            .entities
            .get(id)
            .filter(|old| old.state == state)
            .map(|old| old.last_changed_ms);
        let state = EntityState {
            state: state.into(),
            attributes: attributes.as_object().unwrap().clone().into_iter().collect(),
            last_changed_ms: changed.unwrap_or(now_ms),
            last_updated_ms: now_ms,
        };
        self.world.entities.insert(id.into(), Arc::new(state));
    }

    /// Sets a state and tells the watch; what came of it, in words.
    pub(crate) fn becomes(&mut self, id: &str, state: &str) -> Vec<String> {
        self.becomes_with(id, state, json!({}))
    }

    pub(crate) fn becomes_with(&mut self, id: &str, state: &str, attributes: Value) -> Vec<String> {
        words(&self.change(id, state, attributes))
    }

    pub(crate) fn change(&mut self, id: &str, state: &str, attributes: Value) -> Vec<Change> {
        let old = self.world.entities.get(id).cloned();
        self.set_with(id, state, attributes);
        let new = self.world.entities.get(id).cloned();
        let entity = id.to_owned();
        self.happens(&Happening::State { entity, old, new })
    }

    pub(crate) fn vanishes(&mut self, id: &str) -> Vec<String> {
        let old = self.world.entities.remove(id);
        let entity = id.to_owned();
        words(&self.happens(&Happening::State {
            entity,
            old,
            new: None,
        }))
    }

    pub(crate) fn happens(&mut self, happening: &Happening) -> Vec<Change> {
        let facts = self.facts();
        self.watch.happen(happening, &look(&facts, &self.templates))
    }

    /// So many milliseconds pass; what fell due, in words.
    pub(crate) fn pass(&mut self, ms: i64) -> Vec<String> {
        words(&self.tick(ms))
    }

    pub(crate) fn tick(&mut self, ms: i64) -> Vec<Change> {
        self.world.now_ms += ms;
        let facts = self.facts();
        self.watch.tick(&look(&facts, &self.templates))
    }

    /// Watches triggers under the name `a`.
    pub(crate) fn watch(&mut self, triggers: Vec<Trigger>) {
        let mut automation = automation(vec![]);
        automation.triggers = triggers;
        let program = Program::compile(automation);
        let facts = self.facts();
        let look = look(&facts, &self.templates);
        let problems = self.watch.insert_automation(&program, self.world.now_ms, &look);
        assert_eq!(problems, Vec::<String>::new());
    }

    /// Begins a run of these actions.
    pub(crate) fn run(self, actions: Vec<Action>) -> Running {
        self.run_of(automation(actions))
    }

    pub(crate) fn run_of(self, automation: Automation) -> Running {
        let program = Program::compile(automation);
        let trigger = json!({ "id": "0", "idx": "0", "platform": "test" });
        let run = self.start(&program, trigger).unwrap();
        let mut running = Running {
            house: self,
            program,
            run,
            said: Vec::new(),
        };
        running.input(Input::Begin);
        running
    }

    pub(crate) fn start(&self, program: &Program, trigger: Value) -> Result<Run, PassedOver> {
        let facts = self.facts();
        let begun = Run::decide(
            program,
            trigger,
            json!({ "entity_id": "automation.a" }),
            None,
            false,
            &self.env(&facts),
        )?;
        let context = Context {
            id: "ctx".into(),
            parent: None,
        };
        Ok(Run::new(RunId("run-1".into()), program, begun, context))
    }

    pub(crate) fn env<'e>(&'e self, facts: &'e Arc<dyn Facts>) -> Env<'e> {
        Env {
            facts,
            templates: &self.templates,
            node: "n1",
            limits: &self.limits,
        }
    }
}

pub(crate) fn look<'l>(facts: &'l Arc<dyn Facts>, templates: &'l Templates) -> Look<'l> {
    Look { facts, templates }
}

/// A run under way, which is written down and read again after every step.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) house: House,
    pub(crate) program: Program,
    pub(crate) run: Run,
    pub(crate) said: Vec<String>,
}

impl Running {
    /// Gives it an input; what came of it, in words.
    pub(crate) fn input(&mut self, input: Input) -> Vec<String> {
        let facts = self.house.facts();
        let mut said = Vec::new();
        let mut next = input;
        loop {
            let env = self.house.env(&facts);
            let advanced = self.run.advance(&self.program, next, &env);
            said.extend(advanced.effects.iter().map(effect_in_words));
            let kept = serde_json::to_vec(&self.run).unwrap();
            let read: Run = serde_json::from_slice(&kept).unwrap();
            assert_eq!(read, self.run);
            self.run = read;
            if !advanced.again {
                break;
            }
            next = Input::Continue;
        }
        self.said.extend(said.clone());
        said
    }

    pub(crate) fn done(&mut self, intent: u64) -> Vec<String> {
        self.outcome(intent, Outcome::Done(None))
    }

    pub(crate) fn outcome(&mut self, intent: u64, outcome: Outcome) -> Vec<String> {
        self.input(Input::Outcome {
            intent,
            outcome,
            not_reached: Vec::new(),
        })
    }

    /// Does all that it asks for until it waits for something else or has ended; all it ever said.
    pub(crate) fn settle(&mut self) -> Vec<String> {
        while let Some(intent) = self.run.intents.keys().next().copied() {
            self.done(intent);
        }
        self.said.clone()
    }

    pub(crate) fn pass(&mut self, ms: i64) -> Vec<String> {
        self.house.world.now_ms += ms;
        self.input(Input::Wake)
    }

    pub(crate) fn variable(&self, name: &str) -> Value {
        self.run.variables.get(name).cloned().unwrap_or(Value::Null)
    }

    /// How it stands: `active`, or how it ended.
    pub(crate) fn state(&self) -> String {
        use jarvis_rules::run::{Ended, RunState};
        match &self.run.state {
            RunState::Queued => "queued".into(),
            RunState::Active => "active".into(),
            RunState::Ended(Ended::Finished { response: None }) => "finished".into(),
            RunState::Ended(Ended::Finished {
                response: Some(value),
            }) => format!("finished {value}"),
            RunState::Ended(Ended::Aborted { why }) => format!("aborted: {why}"),
            RunState::Ended(Ended::Failed { error }) => format!("failed: {error}"),
            RunState::Ended(Ended::Stopped { why }) => format!("stopped: {why}"),
            RunState::Ended(Ended::Missed { why }) => format!("missed: {why}"),
        }
    }
}

pub(crate) fn effect_in_words(effect: &Effect) -> String {
    match effect {
        Effect::Call(call) => {
            let data = Value::Object(call.data.clone());
            let data = if call.data.is_empty() {
                String::new()
            } else {
                format!(" {data}")
            };
            format!(
                "#{} {} {}{data}",
                call.intent,
                call.service,
                call.entities.join(",")
            )
            .trim_end()
            .into()
        }
        Effect::FireEvent(event) => format!(
            "#{} event {} {}",
            event.intent,
            event.event_type,
            Value::Object(event.data.clone())
        ),
        Effect::Log { level, message } => {
            let level = match level {
                Level::Info => "info",
                Level::Warning => "warning",
                Level::Error => "error",
            };
            format!("{level}: {message}")
        }
    }
}

/// What came of something, in words: `fire 0 by light.a`, `keep`, `forget`, `missed: …`, `log: …`.
pub(crate) fn words(changes: &[Change]) -> Vec<String> {
    changes
        .iter()
        .map(|change| match change {
            Change::Fire(firing) => {
                let by = firing
                    .data
                    .get("entity_id")
                    .and_then(Value::as_str)
                    .map(|id| format!(" by {id}"));
                let late = firing
                    .late
                    .map(|(ms, taken)| format!(", {ms} ms late, {taken:?}"));
                format!(
                    "fire {}{}{}",
                    firing.data["id"].as_str().unwrap(),
                    by.unwrap_or_default(),
                    late.unwrap_or_default()
                )
            }
            Change::Keep(hold) => format!("keep {}", hold.id.entity).trim_end().into(),
            Change::Forget(id) => format!("forget {}", id.entity).trim_end().into(),
            Change::Missed(missed) => format!("missed: {}", missed.why),
            Change::Rearmed | Change::Retained { .. } => String::new(),
            Change::Unheard { topic, why } => format!("unheard {topic}: {why}"),
            Change::Log(message) => format!("log: {message}"),
        })
        .filter(|word| !word.is_empty())
        .collect()
}

pub(crate) fn automation(actions: Vec<Action>) -> Automation {
    Automation {
        id: "a".into(),
        alias: "A".into(),
        description: String::new(),
        file: "test.yaml".into(),
        position: Position::default(),
        mode: Mode::Single,
        max: 10,
        enabled: true,
        policy: Policy::default(),
        trigger_variables: vec![],
        variables: vec![],
        triggers: vec![],
        conditions: vec![],
        actions,
    }
}

pub(crate) fn action(kind: ActionKind) -> Action {
    Action {
        alias: None,
        enabled: true,
        continue_on_error: false,
        position: Position::default(),
        kind,
    }
}

/// Goes on if it fails.
pub(crate) fn pardoned(kind: ActionKind) -> Action {
    Action {
        continue_on_error: true,
        ..action(kind)
    }
}

pub(crate) fn plain(value: Value) -> Data {
    Data::Plain(value)
}

pub(crate) fn tpl(text: &str) -> Data {
    Data::Template(Template(text.into()))
}

pub(crate) fn call_kind(service: &str, target: Value, data: Value) -> ActionKind {
    ActionKind::Call {
        service: plain(service.into()),
        target: plain(target),
        data: plain(data),
        response_variable: None,
    }
}

/// Calls a service without entities, so that it is seen.
pub(crate) fn say(service: &str) -> Action {
    action(call_kind(service, json!({}), json!({})))
}

pub(crate) fn say_tpl(template: &str) -> Action {
    action(ActionKind::Call {
        service: plain("test.say".into()),
        target: plain(json!({})),
        data: Data::Mapping(vec![("it".into(), tpl(template))]),
        response_variable: None,
    })
}

pub(crate) fn delay(ms: u64) -> Action {
    action(ActionKind::Delay(Span::Millis(ms)))
}

pub(crate) fn set(name: &str, data: Data) -> Action {
    action(ActionKind::Variables(vec![(name.into(), data)]))
}

pub(crate) fn condition(kind: ConditionKind) -> Condition {
    Condition {
        alias: None,
        enabled: true,
        position: Position::default(),
        kind,
    }
}

pub(crate) fn is(entity: &str, state: &str) -> Condition {
    condition(ConditionKind::State {
        entities: vec![id(entity)],
        any: false,
        attribute: None,
        states: vec![state.into()],
        held_for: None,
    })
}

pub(crate) fn holds(template: &str) -> Condition {
    condition(ConditionKind::Template(Template(template.into())))
}

pub(crate) fn id(text: &str) -> EntityId {
    EntityId(text.into())
}

pub(crate) fn trigger(kind: TriggerKind) -> Trigger {
    Trigger {
        id: "0".into(),
        enabled: true,
        variables: vec![],
        policy: None,
        position: Position::default(),
        kind,
    }
}

pub(crate) fn map(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}
