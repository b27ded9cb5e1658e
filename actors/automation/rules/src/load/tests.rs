//! What every construct becomes.

use serde_json::json;

use super::*;
use crate::model::*;

fn check(text: &str) -> Loaded {
    load(&[("test.yaml", text)])
}

fn whole(text: &str) -> Automation {
    let loaded = check(text);
    let told: Vec<_> = loaded.problems.iter().map(ToString::to_string).collect();
    assert_eq!(told, Vec::<String>::new(), "{text}");
    loaded.automations.into_iter().next().expect("one automation")
}

/// Indents what stands in a list of an automation.
fn indent(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

fn trigger(text: &str) -> TriggerKind {
    let text = format!("- id: a\n  triggers:\n{}  actions: []\n", indent(text));
    whole(&text).triggers.remove(0).kind
}

fn condition(text: &str) -> ConditionKind {
    let text = format!(
        "- id: a\n  triggers: []\n  conditions:\n{}  actions: []\n",
        indent(text)
    );
    whole(&text).conditions.remove(0).kind
}

fn action(text: &str) -> ActionKind {
    let text = format!("- id: a\n  triggers: []\n  actions:\n{}", indent(text));
    whole(&text).actions.remove(0).kind
}

fn id(text: &str) -> EntityId {
    EntityId(text.to_owned())
}

fn plain(value: serde_json::Value) -> Data {
    Data::Plain(value)
}

fn template(text: &str) -> Template {
    Template(text.to_owned())
}

fn problem(text: &str) -> String {
    let loaded = check(text);
    loaded
        .problems
        .first()
        .map(ToString::to_string)
        .unwrap_or_default()
}

#[test]
fn an_automation_has_its_fields() {
    let automation = whole(
        "- id: '17'\n  alias: Name\n  description: What\n  mode: queued\n  max: 7\n  max_exceeded: Silent\n  \
         initial_state: off\n  trigger_variables: {t: 1}\n  variables: {b: '{{ t }}', a: [1, x]}\n  \
         trace: {stored_traces: 3}\n  jarvis: {catch_up: recheck, at_most_late: '00:10'}\n  triggers: []\n  actions: []\n",
    );
    assert_eq!(
        (automation.id.as_str(), automation.alias.as_str()),
        ("17", "Name")
    );
    assert_eq!(
        (automation.mode, automation.max, automation.enabled),
        (Mode::Queued, 7, false)
    );
    assert_eq!(automation.file, "test.yaml");
    assert_eq!(automation.position, Position { line: 1, column: 3 });
    assert_eq!(
        automation.policy,
        Policy {
            catch_up: CatchUp::Recheck,
            at_most_late_ms: 600_000
        }
    );
    assert_eq!(automation.trigger_variables, [("t".to_owned(), plain(json!(1)))]);
    let wanted = [
        ("b".to_owned(), Data::Template(template("{{ t }}"))),
        ("a".to_owned(), plain(json!([1, "x"]))),
    ];
    assert_eq!(automation.variables, wanted);
    let bare = whole("- alias: Über's  Flur-Licht!\n  triggers: []\n  actions: []\n");
    assert_eq!((bare.id.as_str(), bare.max), ("über_s_flur_licht", 1));
    let parallel = whole("- alias: p\n  mode: parallel\n  triggers: []\n  actions: []\n");
    assert_eq!(parallel.max, 10);
}

#[test]
fn triggers_become_what_they_say() {
    let state = |change: fn(&mut TriggerKind)| {
        let mut kind = TriggerKind::State {
            entities: vec![id("light.a")],
            attribute: None,
            from: None,
            not_from: vec![],
            to: None,
            not_to: vec![],
            held_for: None,
        };
        change(&mut kind);
        kind
    };
    assert_eq!(trigger("- trigger: state\n  entity_id: light.a"), state(|_| {}));
    assert_eq!(trigger("- platform: state\n  entity_id: Light.A"), state(|_| {}));
    let wanted = state(|kind| {
        if let TriggerKind::State {
            from,
            to,
            held_for,
            entities,
            ..
        } = kind
        {
            *entities = vec![EntityId("light.a".into()), EntityId("light.b".into())];
            *from = Some(vec![]);
            *to = Some(vec!["on".into(), "5".into()]);
            *held_for = Some(Span::Millis(90_000));
        }
    });
    let text = "- trigger: state\n  entity_id: light.a, light.b\n  from:\n  to: [on, 5]\n  for: '00:01:30'";
    assert_eq!(trigger(text), wanted);
    let wanted = TriggerKind::NumericState {
        entities: vec![id("sensor.a")],
        attribute: Some("x".into()),
        value_template: Some(template("{{ 1 }}")),
        above: Some(Bound::Number(-3.5)),
        below: Some(Bound::Entity(id("input_number.b"))),
        held_for: Some(Span::Dynamic(Data::Mapping(vec![(
            "minutes".into(),
            Data::Template(template("{{ m }}")),
        )]))),
    };
    let text = "- trigger: numeric_state\n  entity_id: sensor.a\n  attribute: x\n  value_template: '{{ 1 }}'\n  \
                above: '-3.5'\n  below: input_number.b\n  for: {minutes: '{{ m }}'}";
    assert_eq!(trigger(text), wanted);
    let clock = |hour, minute, second| TimeOfDay { hour, minute, second };
    let wanted = TriggerKind::Time {
        at: vec![
            At::TimeOfDay(clock(7, 30, 0)),
            At::TimeOfDay(clock(23, 59, 58)),
            At::Entity {
                entity: id("input_datetime.a"),
                offset_ms: 0,
            },
            At::Entity {
                entity: id("sensor.b"),
                offset_ms: -900_000,
            },
        ],
        weekdays: Weekdays(0b100_0001),
    };
    let text = "- trigger: time\n  at:\n    - '07:30'\n    - 23:59:58\n    - input_datetime.a\n    \
                - {entity_id: sensor.b, offset: '-00:15'}\n  weekday: [mon, sun]";
    assert_eq!(trigger(text), wanted);
    let wanted = TriggerKind::TimePattern {
        hours: Pattern::Any,
        minutes: Pattern::Every(5),
        seconds: Pattern::Exactly(7),
    };
    assert_eq!(
        trigger("- trigger: time_pattern\n  hours: '*'\n  minutes: /5\n  seconds: 7"),
        wanted
    );
    let wanted = TriggerKind::Sun {
        event: SunEvent::Sunset,
        offset_ms: -3_600_000,
    };
    assert_eq!(
        trigger("- trigger: sun\n  event: sunset\n  offset: -01:00:00"),
        wanted
    );
    let wanted = TriggerKind::Event {
        types: vec![template("a"), template("{{ b }}")],
        data: vec![("k".into(), plain(json!(1)))],
    };
    assert_eq!(
        trigger("- trigger: event\n  event_type: [a, '{{ b }}']\n  event_data: {k: 1}"),
        wanted
    );
    let wanted = TriggerKind::Mqtt {
        topic: template("a/+/#"),
        payload: Some(template("on")),
        value_template: Some(template("{{ value_json.x }}")),
    };
    let text =
        "- trigger: mqtt\n  topic: a/+/#\n  payload: on\n  value_template: '{{ value_json.x }}'\n  qos: 1";
    assert_eq!(trigger(text), wanted);
    let wanted = TriggerKind::Template {
        template: template("{{ x }}"),
        held_for: Some(Span::Millis(1_500)),
    };
    assert_eq!(
        trigger("- trigger: template\n  value_template: '{{ x }}'\n  for: 1.5"),
        wanted
    );
    assert_eq!(
        trigger("- trigger: homeassistant\n  event: start"),
        TriggerKind::Start
    );
    assert_eq!(
        trigger("- trigger: homeassistant\n  event: shutdown"),
        TriggerKind::Shutdown
    );
    let wanted = TriggerKind::Webhook {
        id: "h".into(),
        methods: vec!["POST".into(), "PUT".into()],
        local_only: true,
    };
    assert_eq!(trigger("- trigger: webhook\n  webhook_id: h"), wanted);
    let wanted = TriggerKind::Zone {
        entities: vec![id("person.a")],
        zone: id("zone.home"),
        event: ZoneEvent::Leave,
    };
    assert_eq!(
        trigger("- trigger: zone\n  entity_id: person.a\n  zone: zone.home\n  event: leave"),
        wanted
    );
    for (text, wanted) in [
        ("event: node_down", JarvisEvent::NodeDown(None)),
        (
            "event: node_up\n  node: attic",
            JarvisEvent::NodeUp(Some("attic".into())),
        ),
        ("event: drill\n  drill: d", JarvisEvent::Drill(Some("d".into()))),
        ("event: intent\n  intent: i", JarvisEvent::Intent("i".into())),
    ] {
        assert_eq!(
            trigger(&format!("- trigger: jarvis\n  {text}")),
            TriggerKind::Jarvis(wanted)
        );
    }
}

#[test]
fn triggers_have_ids_variables_and_policies() {
    let automation = whole(
        "- id: a\n  triggers:\n    - {trigger: event, event_type: x}\n    - {trigger: event, event_type: y, id: b, \
         enabled: no, variables: {v: 1}, jarvis: {catch_up: skip}}\n    - triggers: [{trigger: event, event_type: z}]\n  \
         actions: []\n",
    );
    let ids: Vec<_> = automation
        .triggers
        .iter()
        .map(|trigger| trigger.id.as_str())
        .collect();
    assert_eq!(ids, ["0", "b", "2"]);
    let second = &automation.triggers[1];
    assert!(!second.enabled);
    assert_eq!(second.variables, [("v".to_owned(), plain(json!(1)))]);
    assert_eq!(second.policy.map(|policy| policy.catch_up), Some(CatchUp::Skip));
}

#[test]
fn conditions_become_what_they_say() {
    let held = |kind: &ConditionKind| match kind {
        ConditionKind::And(inner) | ConditionKind::Or(inner) | ConditionKind::Not(inner) => inner.len(),
        _ => 0,
    };
    let yes = "['{{ a }}', '{{ b }}']";
    for name in ["and", "or", "not"] {
        let long = condition(&format!("- condition: {name}\n  conditions: {yes}"));
        let short = condition(&format!("- {name}: {yes}"));
        assert_eq!((held(&long), held(&short)), (2, 2));
        assert_eq!(std::mem::discriminant(&long), std::mem::discriminant(&short));
    }
    let wanted = ConditionKind::Template(template("{{ a }}"));
    for text in [
        "- '{{ a }}'",
        "- condition: template\n  value_template: '{{ a }}'",
        "- condition: '{{ a }}'",
        "- condition: '{{ a }}'\n  alias: x\n  enabled: true",
    ] {
        assert_eq!(condition(text), wanted, "{text}");
    }
    let wanted = ConditionKind::State {
        entities: vec![id("light.a"), id("light.b")],
        any: true,
        attribute: Some("brightness".into()),
        states: vec!["255".into(), "on".into()],
        held_for: Some(Span::Millis(5_000)),
    };
    let text = "- condition: state\n  entity_id: [light.a, light.b]\n  match: any\n  attribute: brightness\n  \
                state: [255, on]\n  for: 5";
    assert_eq!(condition(text), wanted);
    let wanted = ConditionKind::NumericState {
        entities: vec![id("sensor.a")],
        attribute: None,
        value_template: None,
        above: Some(Bound::Number(5.0)),
        below: None,
    };
    assert_eq!(
        condition("- condition: numeric_state\n  entity_id: sensor.a\n  above: 5"),
        wanted
    );
    let wanted = ConditionKind::Time {
        after: Some(Moment::TimeOfDay(TimeOfDay {
            hour: 22,
            minute: 0,
            second: 0,
        })),
        before: Some(Moment::Entity(id("input_datetime.x"))),
        weekdays: Weekdays(1),
    };
    let text = "- condition: time\n  after: '22:00'\n  before: input_datetime.x\n  weekday: mon";
    assert_eq!(condition(text), wanted);
    let wanted = ConditionKind::Sun {
        after: Some((SunEvent::Sunset, -1_800_000)),
        before: Some((SunEvent::Sunrise, 0)),
    };
    let text = "- condition: sun\n  after: sunset\n  after_offset: -00:30:00\n  before: sunrise";
    assert_eq!(condition(text), wanted);
    let wanted = ConditionKind::Zone {
        entities: vec![id("person.a")],
        zones: vec![id("zone.a"), id("zone.b")],
    };
    assert_eq!(
        condition("- condition: zone\n  entity_id: person.a\n  zone: [zone.a, zone.b]"),
        wanted
    );
    let wanted = ConditionKind::Trigger(vec!["a".into(), "1".into()]);
    assert_eq!(condition("- condition: trigger\n  id: [a, 1]"), wanted);
}

#[test]
fn calls_are_the_same_in_every_spelling() {
    let wanted = ActionKind::Call {
        service: plain(json!("light.turn_on")),
        target: plain(json!({ "entity_id": ["light.a"] })),
        data: plain(json!({ "brightness": 5 })),
        response_variable: None,
    };
    for text in [
        "- action: light.turn_on\n  target: {entity_id: light.a}\n  data: {brightness: 5}",
        "- service: light.turn_on\n  target: {entity_id: [light.a]}\n  data: {brightness: 5}",
        "- service: light.turn_on\n  entity_id: light.a\n  data: {brightness: 5}",
        "- service: light.turn_on\n  data: {brightness: 5, entity_id: light.a}",
        "- service: light.turn_on\n  data_template: {brightness: 5}\n  entity_id: light.a",
        "- service_template: light.turn_on\n  data_template: {brightness: 5}\n  target: {entity_id: light.a}\n  metadata: {}",
    ] {
        assert_eq!(action(text), wanted, "{text}");
    }
    let wanted = ActionKind::Call {
        service: Data::Template(template("{{ s }}")),
        target: Data::Mapping(vec![
            ("entity_id".into(), Data::Template(template("{{ e }}"))),
            ("area_id".into(), plain(json!(["kitchen"]))),
        ]),
        data: Data::Template(template("{{ d }}")),
        response_variable: Some("r".into()),
    };
    let text = "- action: '{{ s }}'\n  target: {entity_id: '{{ e }}', area_id: kitchen}\n  data: '{{ d }}'\n  \
                response_variable: r";
    assert_eq!(action(text), wanted);
    let wanted = ActionKind::Call {
        service: plain(json!("scene.turn_on")),
        target: plain(json!({ "entity_id": ["scene.x"] })),
        data: plain(json!({})),
        response_variable: None,
    };
    assert_eq!(action("- scene: scene.x"), wanted);
}

#[test]
fn durations_have_many_shapes() {
    for (text, ms) in [
        ("5", 5_000),
        ("'5'", 5_000),
        ("0.25", 250),
        ("'00:05'", 300_000),
        ("00:00:05", 5_000),
        ("'1:02:03.5'", 3_723_500),
        ("'100:00:00'", 360_000_000),
        ("{seconds: 5}", 5_000),
        (
            "{days: 1, hours: 1, minutes: 1, seconds: 1, milliseconds: 1}",
            90_061_001,
        ),
        ("{minutes: 1.5}", 90_000),
        ("{minutes: '2'}", 120_000),
        ("{weeks: 1}", 604_800_000),
    ] {
        assert_eq!(
            action(&format!("- delay: {text}")),
            ActionKind::Delay(Span::Millis(ms)),
            "{text}"
        );
    }
    let wanted = ActionKind::Delay(Span::Dynamic(Data::Template(template("{{ x }}"))));
    assert_eq!(action("- delay: '{{ x }}'"), wanted);
    for text in [
        "", "x", "1:2:3:4", "1:60", "1:00:60", "-", "1e400", "0x5", "::", "1:",
    ] {
        assert_eq!(span_text(text), None, "{text}");
    }
    for text in ["24:00", "7", "07:60", "7:5:60", "", "a:b", "007:00"] {
        assert_eq!(time_of_day(text), None, "{text}");
    }
}

#[test]
fn control_becomes_what_it_says() {
    let count = |kind: ActionKind| match kind {
        ActionKind::Repeat(repeat) => repeat.until,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        count(action("- repeat: {count: '3', sequence: []}")),
        Until::Count(plain(json!(3)))
    );
    let wanted = Until::ForEach(plain(json!(["a", 1])));
    assert_eq!(
        count(action("- repeat: {for_each: [a, 1], sequence: []}")),
        wanted
    );
    assert!(
        matches!(count(action("- repeat: {while: '{{ a }}', sequence: []}")), Until::While(inner) if inner.len() == 1)
    );
    assert!(
        matches!(count(action("- repeat: {until: ['{{ a }}'], sequence: []}")), Until::Until(inner) if inner.len() == 1)
    );
    let ActionKind::Choose { branches, default } = action(
        "- choose:\n    - {alias: x, conditions: '{{ a }}', sequence: {delay: 1}}\n  default:\n    - delay: 2",
    ) else {
        panic!("no choose");
    };
    assert_eq!(
        (branches.len(), branches[0].sequence.len(), default.len()),
        (1, 1, 1)
    );
    let ActionKind::If {
        conditions,
        then,
        otherwise,
    } = action("- if: '{{ a }}'\n  then: {delay: 1}\n  else: [{delay: 1}]")
    else {
        panic!("no if");
    };
    assert_eq!((conditions.len(), then.len(), otherwise.len()), (1, 1, 1));
    let ActionKind::Parallel(branches) =
        action("- parallel:\n    - delay: 1\n    - [{delay: 1}, {delay: 2}]\n    - sequence: []")
    else {
        panic!("no parallel");
    };
    assert_eq!(branches.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2, 1]);
    let wanted = ActionKind::WaitTemplate {
        template: template("{{ a }}"),
        timeout: Some(Span::Millis(5_000)),
        continue_on_timeout: false,
    };
    assert_eq!(
        action("- wait_template: '{{ a }}'\n  timeout: 5\n  continue_on_timeout: false"),
        wanted
    );
    let wait = action("- wait_for_trigger: {trigger: event, event_type: x}");
    assert!(
        matches!(wait, ActionKind::WaitForTrigger { triggers, timeout: None, continue_on_timeout: true } if triggers.len() == 1)
    );
    let wanted = ActionKind::Stop {
        reason: plain(json!("why")),
        error: true,
        response_variable: Some("r".into()),
    };
    assert_eq!(
        action("- stop: why\n  error: true\n  response_variable: r"),
        wanted
    );
    let wanted = ActionKind::Event {
        event: plain(json!("e")),
        data: plain(json!({ "a": 1 })),
    };
    assert_eq!(action("- event: e\n  event_data: {a: 1}"), wanted);
    let wanted = ActionKind::Variables(vec![
        ("b".into(), plain(json!(1))),
        ("a".into(), plain(json!(true))),
    ]);
    assert_eq!(action("- variables: {b: 1, a: on}"), wanted);
    let text = "- id: a\n  triggers: []\n  actions:\n    - {delay: 1, alias: x, enabled: false, continue_on_error: true}\n";
    let automation = whole(text);
    let only = &automation.actions[0];
    assert_eq!(
        (only.alias.as_deref(), only.enabled, only.continue_on_error),
        (Some("x"), false, true)
    );
    assert_eq!(only.position, Position { line: 4, column: 7 });
}

#[test]
fn documents_have_many_shapes() {
    let one = "alias: a\ntriggers: []\nactions: []\n";
    let ids = |text: &str| {
        let loaded = check(text);
        assert_eq!(loaded.problems, [], "{text}");
        loaded
            .automations
            .into_iter()
            .map(|automation| automation.id)
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(one), ["a"]);
    assert_eq!(
        ids(&format!("---\n{one}---\n{}", one.replace("alias: a", "alias: b"))),
        ["a", "b"]
    );
    assert_eq!(
        ids("automation:\n  - {alias: a, trigger: [], action: []}\nother: 1\n"),
        ["a"]
    );
    assert_eq!(
        ids("automation x: {alias: a, trigger: [], action: []}\nautomation: []\n"),
        ["a"]
    );
    assert_eq!(ids("automation:\n"), Vec::<String>::new());
    assert_eq!(ids(""), Vec::<String>::new());
    assert_eq!(ids("# nothing\n"), Vec::<String>::new());
    assert_eq!(ids(&one.replace('\n', "\r\n")), ["a"]);
}

#[test]
fn ids_are_of_one_automation_in_all_files() {
    let one = "- {alias: A b, triggers: [], actions: []}\n";
    let loaded = load(&[
        ("x.yaml", one),
        ("y.yaml", "\n- {id: a_b, triggers: [], actions: []}\n"),
    ]);
    assert_eq!(loaded.automations.len(), 1);
    let told: Vec<_> = loaded.problems.iter().map(ToString::to_string).collect();
    let wanted = "y.yaml:2:3: “a_b”: id: the id `a_b` is that of the automation in x.yaml:1; write another `id`; where there \
                  is none, it is made of the alias";
    assert_eq!(told, [wanted]);
}

#[test]
fn bounds_hold() {
    let many: String = (0..5_001)
        .map(|n| format!("- {{id: a{n}, triggers: [], actions: []}}\n"))
        .collect();
    let loaded = check(&many);
    assert_eq!((loaded.automations.len(), loaded.problems.len()), (5_000, 1));
    let wrong = "- {id: a, triggers: [], actions: [{x: 1}]}\n".repeat(1_000);
    let told = check(&wrong).problems;
    assert_eq!(told.len(), limits::PROBLEMS + 1);
    assert!(
        told.last()
            .expect("the last")
            .to_string()
            .contains("800 more problems are not told")
    );
    let of = |part: &str| problem(&format!("- id: a\n  triggers: []\n  {part}\n"));
    assert!(of(&format!("actions: [{}]", "{delay: 1},".repeat(1_001))).contains("1001 actions"));
    let nested = format!("actions: [{}]", "{sequence: [".repeat(17) + &"]}".repeat(17));
    assert!(
        of(&nested).contains("deeper in others than 16"),
        "{}",
        of(&nested)
    );
    let nested = format!(
        "actions: []\n  conditions: [{}'{{{{ a }}}}'{}]",
        "{and: [".repeat(20),
        "]}".repeat(20)
    );
    assert!(
        of(&nested).contains("deeper in others than 16"),
        "{}",
        of(&nested)
    );
    assert!(
        of(&format!(
            "actions: [{{parallel: [{}]}}]",
            "{delay: 1},".repeat(65)
        ))
        .contains("65 branches")
    );
    assert!(of("actions: [{repeat: {count: 100001, sequence: []}}]").contains("100000 rounds"));
    let triggers = format!(
        "- id: a\n  triggers: [{}]\n  actions: []\n",
        "{trigger: event, event_type: x},".repeat(129)
    );
    assert!(problem(&triggers).contains("129 triggers"));
    let within = format!(
        "actions: [{{repeat: {{count: 2, sequence: [{}]}}}}]",
        "{sequence: [{delay: 1}]},".repeat(600)
    );
    assert!(of(&within).contains("more than 1000 actions"), "{}", of(&within));
}

#[test]
fn templates_are_told_of_where_they_stand() {
    let text = "- id: a\n  triggers: []\n  actions:\n    - event: x\n      event_data:\n        m: |\n          fine\n          {{ 1 + }}\n";
    assert!(
        problem(text).starts_with("test.yaml:8:1: “a”: actions[0].event_data.m: the template is wrong"),
        "{}",
        problem(text)
    );
    let text = "- id: a\n  triggers: []\n  actions:\n    - event: '{{ 1 + }}'\n";
    assert!(
        problem(text).starts_with("test.yaml:4:14: “a”: actions[0].event: the template is wrong"),
        "{}",
        problem(text)
    );
}
