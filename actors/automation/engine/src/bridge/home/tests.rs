//! What the bridge decides, without a cluster or a broker: rows stand in a map, and owners follow one another.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jarvis_devices::service::Target;
use jarvis_entity::api::Step;
use jarvis_host::{ManualClock, SeededEntropy};
use jarvis_machine::apply::{MAX_LETTER_BYTES, MAX_ROW_NAME_BYTES, MAX_ROW_VALUE_BYTES};
use jarvis_machine::command::RowChange;
use jarvis_mqtt::{Digest, Message, MessageId, Outcome, Tcp};
use jarvis_rules::facts::Facts;
use jarvis_rules::load::load;
use jarvis_rules::model::Automation;
use jarvis_rules::run::{Call, Context, Deed as Wanted, Intent, RunId};
use jarvis_rules::triggers::Subscriber;
use serde_json::{Map, Value, json};

use super::super::act::{Act, Deed, Ended};
use super::super::draft::Draft;
use super::super::link::Buried;
use super::room::{MIB, Room};
use super::{Beside, Called, Came, Home, Kept, Loading};
use crate::ran::Runs;
use crate::rows;
use crate::settings::{Engine, EngineSettings, PUBLISH_WITHIN};
use crate::wire::{OutcomeOf, Reminder, RunOf, ToAutomation, Told, decode};

/// 2026-01-10, 12:00 UTC.
const NOON_MS: i64 = 1_768_046_400_000;

/// Rows and letters as they would be in the tables, and the bridge that wrote them.
struct House {
    engine: Engine,
    home: Home,
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    sent: Vec<(String, ToAutomation)>,
    version: u64,
    now_ms: i64,
    sequence: u64,
}

fn engine(has_broker: bool) -> Engine {
    let home = jarvis_rules::facts::Home {
        time_zone: jiff::tz::TimeZone::UTC,
        latitude: 48.86,
        longitude: 2.35,
        elevation_m: 35.0,
    };
    let mqtt = jarvis_config::MqttSettings {
        url: has_broker.then(|| "mqtt://127.0.0.1:1".to_owned()),
        ..Default::default()
    };
    let settings = EngineSettings {
        home,
        devices: jarvis_devices::Settings::default(),
        mqtt: jarvis_mqtt::Options::from_settings(&mqtt).expect("there are no files to read"),
        publish_within: PUBLISH_WITHIN,
        traces: 5,
        announce: true,
        node: "node1".to_owned(),
        version: "test".to_owned(),
    };
    let clock = Arc::new(ManualClock::new(NOON_MS as u64));
    Engine::new(settings, clock, Arc::new(SeededEntropy::new(7)), Arc::new(Tcp))
}

/// Nothing has run but `door`, when 1970 began.
struct DoorRan;

impl Runs for DoorRan {
    fn last_triggered_ms(&self, id: &str) -> Option<i64> {
        (id == "door").then_some(0)
    }

    fn current(&self, _: &str) -> usize {
        0
    }
}

fn beside() -> Beside {
    Beside {
        waiting: Arc::new(|_| 0),
        runs: Arc::new(DoorRan),
    }
}

impl House {
    fn new() -> Self {
        Self::with(engine(true))
    }

    fn with(engine: Engine) -> Self {
        let kept = Kept {
            rows: Vec::new(),
            runs: Vec::new(),
        };
        let mut draft = Draft::default();
        let shared = Arc::clone(&engine.shared);
        let home = Home::restore(shared, kept, beside(), NOON_MS, &mut draft);
        let mut house = Self {
            engine,
            home,
            rows: BTreeMap::new(),
            sent: Vec::new(),
            version: 0,
            now_ms: NOON_MS,
            sequence: 0,
        };
        house.write(draft);
        house.heard_backlog();
        house
    }

    /// Writes a step.
    fn write(&mut self, draft: Draft) {
        let watched_ms = self.home.watched_until(self.now_ms);
        for Step { rows, letters, .. } in draft.into_steps(self.version + 1, watched_ms) {
            self.version += 1;
            let of_row = |row: &RowChange| row.name.len() + row.value.as_ref().map_or(0, Vec::len) + 16;
            let bytes: usize = rows.iter().map(of_row).sum();
            let bytes = bytes + letters.iter().map(|letter| letter.body.len()).sum::<usize>();
            assert!(bytes < jarvis_types::limits::MAX_COMMAND_BYTES, "{bytes}");
            for row in rows {
                assert!(row.name.len() <= MAX_ROW_NAME_BYTES);
                let bytes = row.value.as_ref().map_or(0, Vec::len);
                assert!(bytes <= MAX_ROW_VALUE_BYTES, "{bytes}");
                match row.value {
                    Some(value) => drop(self.rows.insert(row.name, value)),
                    None => drop(self.rows.remove(&row.name)),
                }
            }
            for letter in letters {
                assert!(letter.body.len() <= MAX_LETTER_BYTES);
                let body = decode(&letter.body).expect("a letter to an automation");
                self.sent.push((letter.to.key, body));
            }
        }
    }

    fn step<T>(&mut self, act: impl FnOnce(&mut Home, i64, &mut Draft) -> T) -> T {
        let mut draft = Draft::default();
        let came = act(&mut self.home, self.now_ms, &mut draft);
        self.write(draft);
        came
    }

    /// The owner dies without a word; the next one goes on with what was written, `later` after that, and has taken in all that
    /// the broker kept.
    fn next_owner(&mut self, later: Duration) {
        self.take_over(later);
        self.heard_backlog();
    }

    fn heard_backlog(&mut self) {
        self.home.heard_backlog();
        self.tick(Duration::ZERO);
    }

    fn take_over(&mut self, later: Duration) {
        self.now_ms += later.as_millis() as i64;
        let kept = Kept {
            rows: self.rows.clone().into_iter().collect(),
            runs: Vec::new(),
        };
        let mut draft = Draft::default();
        let shared = Arc::clone(&self.engine.shared);
        self.home = Home::restore(shared, kept, beside(), self.now_ms, &mut draft);
        self.write(draft);
    }

    fn load(&mut self, yaml: &str) -> Loading {
        let mut loading = Loading::default();
        for automation in automations(yaml) {
            self.step(|home, now_ms, draft| home.load(automation, now_ms, &mut loading, draft));
        }
        loading
    }

    fn message(&mut self, topic: &str, payload: &str) -> (Message, Outcome) {
        self.message_with(topic, payload, false)
    }

    fn message_with(&mut self, topic: &str, payload: &str, retained: bool) -> (Message, Outcome) {
        self.sequence += 1;
        let message = Message {
            id: Some(MessageId {
                sequence: self.sequence,
                epoch: 0,
                packet_id: self.sequence as u16,
                digest: Digest::of(topic, payload.as_bytes(), retained),
            }),
            replay_of: None,
            topic: topic.to_owned(),
            payload: Bytes::from(payload.to_owned()),
            retained,
            copy: false,
            received_ms: self.now_ms as u64,
        };
        let outcome = self.step(|home, now_ms, draft| home.message(&message, now_ms, draft));
        (message, outcome)
    }

    fn tick(&mut self, later: Duration) {
        self.now_ms += later.as_millis() as i64;
        self.step(|home, now_ms, draft| home.tick(now_ms, draft));
    }

    fn sent(&mut self) -> Vec<(String, ToAutomation)> {
        std::mem::take(&mut self.sent)
    }

    fn rows_of(&self, prefix: &str) -> Vec<String> {
        let names = self
            .rows
            .keys()
            .filter(|name| name.starts_with(prefix.as_bytes()));
        names
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect()
    }

    fn state(&self, entity: &str) -> Option<String> {
        let view = self.home.view(self.now_ms);
        view.entity(entity).map(|entity| entity.state.clone())
    }
}

fn automations(yaml: &str) -> Vec<Automation> {
    let loaded = load(&[("house.yaml", yaml)]);
    assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
    loaded.automations
}

fn fired(sent: &[(String, ToAutomation)]) -> Vec<&str> {
    let fired = sent
        .iter()
        .filter(|(_, letter)| matches!(letter, ToAutomation::Fired(_)));
    fired.map(|(id, _)| id.as_str()).collect()
}

const DOOR: &str = r#"
- id: door
  alias: Door
  triggers: [{trigger: mqtt, topic: door/+}]
  actions: [{action: mqtt.publish, data: {topic: bell, payload: ring}}]
"#;

const LAMP: &str = r#"{"name":"Lamp","unique_id":"lamp1","command_topic":"lamp/set","state_topic":"lamp/state","object_id":"lamp"}"#;

fn with_lamp() -> House {
    let mut house = House::new();
    house.message("homeassistant/switch/lamp1/config", LAMP);
    house.message("lamp/state", "OFF");
    assert_eq!(house.state("switch.lamp").as_deref(), Some("off"));
    house
}

fn intent(service: &str, target: Value, data: Value, now_ms: i64) -> Intent {
    let map = |value: Value| match value {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    let target = map(target);
    let entities = target.get("entity_id").and_then(Value::as_str);
    Intent {
        deed: Wanted::Call(Call {
            intent: 1,
            service: service.to_owned(),
            entities: entities.map(str::to_owned).into_iter().collect(),
            target,
            data: map(data),
            wants_response: false,
            context: Context::default(),
        }),
        thread: Some(0),
        asked_ms: now_ms,
    }
}

fn by(automation: &str) -> RunOf {
    RunOf {
        automation: automation.to_owned(),
        run: RunId("01RUN".to_owned()),
    }
}

#[test]
fn a_message_is_decided_on_once_whoever_is_asked() {
    let mut house = House::new();
    house.load(DOOR);
    let (message, outcome) = house.message("door/front", "open");
    assert_eq!(outcome, Outcome::Done);
    assert_eq!(fired(&house.sent()), ["door"]);
    // The acknowledgement was lost: the broker sends it again, to this owner or the next.
    for _ in 0..2 {
        let again = house.step(|home, now_ms, draft| home.message(&message, now_ms, draft));
        assert_eq!((again, fired(&house.sent()).len()), (Outcome::Done, 0));
        house.next_owner(Duration::from_secs(1));
    }
    house.message("door/front", "open");
    assert_eq!(fired(&house.sent()), ["door"]);
}

#[test]
fn what_was_decided_on_takes_no_more_room_than_is_remembered() {
    let mut house = House::new();
    for n in 0..2_500 {
        house.message("noise", &n.to_string());
    }
    assert_eq!(house.rows_of(rows::PACKET).len(), jarvis_mqtt::MAX_REMEMBERED);
    let before = house.home.remembered().clone();
    house.next_owner(Duration::from_secs(1));
    assert_eq!(*house.home.remembered(), before);
    house.step(|home, _, draft| home.began(3, draft));
    house.next_owner(Duration::from_secs(1));
    let remembered = house.home.remembered();
    assert_eq!((remembered.epoch, remembered.decided.len()), (3, 0));
    assert_eq!(
        remembered.last_sequence, before.last_sequence,
        "numbers are never given out twice"
    );
}

#[test]
fn a_state_that_lasts_fires_after_its_owner_died() {
    let mut house = with_lamp();
    let yaml = "- {id: left_on, alias: Left on, triggers: [{trigger: state, entity_id: switch.lamp, to: 'on', for: 60}], actions: [{delay: 1}]}";
    house.load(yaml);
    house.message("lamp/state", "ON");
    assert_eq!(house.rows_of(rows::HOLD).len(), 1);
    house.next_owner(Duration::from_secs(20));
    assert_eq!(fired(&house.sent()).len(), 0);
    house.tick(Duration::from_secs(39));
    assert_eq!(fired(&house.sent()).len(), 0);
    // It falls due while nobody looks: by its policy it is made up for.
    house.next_owner(Duration::from_secs(11));
    let sent = house.sent();
    let [(id, ToAutomation::Fired(firing))] = sent.as_slice() else {
        panic!("{sent:?}");
    };
    assert_eq!(id, "left_on");
    assert_eq!(firing.late.map(|(by_ms, _)| by_ms), Some(10_000));
    assert_eq!(house.rows_of(rows::HOLD).len(), 0, "it is kept no more");
    house.next_owner(Duration::from_secs(1));
    assert_eq!(fired(&house.sent()).len(), 0, "once");
}

#[test]
fn a_state_that_did_not_last_is_forgotten() {
    let mut house = with_lamp();
    let yaml = "- {id: left_on, alias: Left on, triggers: [{trigger: state, entity_id: switch.lamp, to: 'on', for: 60}], actions: [{delay: 1}]}";
    house.load(yaml);
    house.message("lamp/state", "ON");
    house.message("lamp/state", "OFF");
    assert_eq!(house.rows_of(rows::HOLD).len(), 0);
    house.message("lamp/state", "ON");
    assert!(house.step(|home, now_ms, draft| home.remove("left_on", now_ms, draft)));
    assert_eq!(house.rows_of(rows::HOLD).len(), 0, "with what it is of");
    house.tick(Duration::from_secs(100));
    assert_eq!(fired(&house.sent()).len(), 0);
}

#[test]
fn what_the_broker_retains_is_for_a_trigger_once_when_its_filter_is_new() {
    let mut house = House::new();
    house.load(DOOR);
    let wish = house
        .step(|home, _, draft| home.wish(draft))
        .expect("something new");
    assert!(wish.filters.contains("door/+"));
    assert_eq!(wish.retained.keys().collect::<Vec<_>>(), ["door/+"]);
    assert!(house.rows_of(rows::FILTER).len() >= wish.filters.len());
    let retained = |house: &mut House, topic: &str| {
        house.message_with(topic, "open", true);
        fired(&house.sent()).len()
    };
    assert_eq!(
        (retained(&mut house, "door/a"), retained(&mut house, "door/a")),
        (1, 0)
    );
    // That it had this one is known to whoever goes on.
    house.next_owner(Duration::from_secs(1));
    let again = house
        .step(|home, _, draft| home.wish(draft))
        .expect("asked again");
    assert_eq!(again.retained.len(), 1, "not all of it may have come");
    assert_eq!(
        (retained(&mut house, "door/a"), retained(&mut house, "door/b")),
        (0, 1)
    );
    house.step(|home, _, draft| home.retained_has_come(draft));
    assert_eq!(house.rows_of(rows::NEW_FILTERS).len(), 0);
    assert_eq!(retained(&mut house, "door/c"), 0);
    // Another automation's filter is new; this one's is not, whatever it is joined with.
    let other = "- {id: any, alias: Any, triggers: [{trigger: mqtt, topic: +/a}], actions: [{delay: 1}]}";
    house.load(other);
    let wish = house
        .step(|home, _, draft| home.wish(draft))
        .expect("something new");
    assert!(!wish.filters.contains("door/+"), "a wider one takes its place");
    assert_eq!(wish.retained.keys().collect::<Vec<_>>(), ["+/a"]);
    house.message_with("door/a", "open", true);
    assert_eq!(fired(&house.sent()), ["any"]);
    // What an automation listens to does not become new with what it does.
    house.step(|home, _, draft| home.retained_has_come(draft));
    house.load(&other.replace("delay: 1", "delay: 2"));
    let wish = house.step(|home, _, draft| home.wish(draft));
    assert!(wish.is_none_or(|wish| wish.retained.is_empty()));
    assert_eq!(retained(&mut house, "door/a"), 0);
    house.message("door/a", "open");
    assert_eq!(fired(&house.sent()), ["door", "any"], "what is said is for all");
}

#[test]
fn filters_stand_in_rows_for_as_long_as_they_may_be_subscribed_to() {
    let mut house = House::new();
    house.load(DOOR);
    let first = house
        .step(|home, _, draft| home.wish(draft))
        .expect("something new");
    let any = "- {id: any, alias: Any, triggers: [{trigger: mqtt, topic: +/a}], actions: [{delay: 1}]}";
    house.load(any);
    let wish = house
        .step(|home, _, draft| home.wish(draft))
        .expect("something new");
    assert!(!wish.filters.contains("door/+"));
    house.step(|home, _, draft| home.settled(first.version, draft));
    assert!(house.home.held_filters().contains("door/+"), "not answered yet");
    // Whoever takes over has to give it up.
    house.next_owner(Duration::from_secs(1));
    assert!(house.home.held_filters().contains("door/+"));
    let wish = house.step(|home, _, draft| home.wish(draft)).expect("all");
    house.step(|home, _, draft| home.settled(wish.version, draft));
    assert_eq!(house.home.held_filters(), wish.filters);
    assert_eq!(house.rows_of(rows::FILTER).len(), wish.filters.len());
}

#[test]
fn a_message_that_came_by_two_subscriptions_is_decided_on_once() {
    let mut house = House::new();
    house.load(DOOR);
    let (mut copy, _) = house.message("door/a", "open");
    assert_eq!(fired(&house.sent()), ["door"]);
    let id = copy.id.as_mut().expect("of QoS 1");
    (id.sequence, id.packet_id, copy.copy) = (id.sequence + 1, id.packet_id + 1, true);
    let outcome = house.step(|home, now_ms, draft| home.message(&copy, now_ms, draft));
    assert_eq!((outcome, house.sent().len()), (Outcome::Done, 0));
    house.next_owner(Duration::from_secs(1));
    assert!(
        house.home.remembered().has(&copy.id.expect("of QoS 1")),
        "should it come again"
    );
}

#[test]
fn what_falls_due_unless_a_message_comes_waits_for_what_the_broker_kept() {
    for policy in ["catch_up", "recheck"] {
        let mut house = with_lamp();
        let delayed = json!({"name": "Motion", "unique_id": "m1", "state_topic": "motion", "off_delay": 5, "object_id": "motion"});
        house.message("homeassistant/binary_sensor/m1/config", &delayed.to_string());
        let yaml = format!(
            "- {{id: off, alias: Off, jarvis: {{catch_up: {policy}}}, triggers: [{{trigger: state, entity_id: switch.lamp, to: 'off', for: 8}}], actions: [{{delay: 1}}]}}"
        );
        house.load(&yaml);
        house.message("lamp/state", "ON");
        house.message("lamp/state", "OFF");
        house.message("motion", "ON");
        house.sent();
        house.take_over(Duration::from_secs(7));
        house.tick(Duration::from_secs(2));
        assert_eq!(fired(&house.sent()).len(), 0, "it waits");
        assert_eq!(
            house.state("binary_sensor.motion").as_deref(),
            Some("on"),
            "so does this"
        );
        // What it says next may be later than anything that the broker kept.
        assert!(
            house
                .home
                .next_due_ms()
                .is_none_or(|due_ms| due_ms > house.now_ms)
        );
        house.message("lamp/state", "ON");
        house.message("motion", "ON");
        house.heard_backlog();
        assert_eq!(
            fired(&house.sent()).len(),
            0,
            "{policy}: it was not off for so long"
        );
        assert_eq!(house.state("binary_sensor.motion").as_deref(), Some("on"));
        house.tick(Duration::from_secs(5));
        assert_eq!(house.state("binary_sensor.motion").as_deref(), Some("off"));
        // Where nothing came it fires, and is not late for that.
        house.message("lamp/state", "OFF");
        house.take_over(Duration::from_secs(9));
        house.heard_backlog();
        let sent = house.sent();
        let [(_, ToAutomation::Fired(firing))] = sent.as_slice() else {
            panic!("{sent:?}");
        };
        assert_eq!(firing.late, None);
    }
}

#[test]
fn an_edge_that_came_with_the_time_while_nobody_watched_fires_once() {
    let yaml = "
- {id: clock, alias: Clock, triggers: [{trigger: template, value_template: '{{ now().hour >= 13 }}'}], actions: [{delay: 1}]}
- {id: sleepy, alias: Sleepy, jarvis: {catch_up: skip}, triggers: [{trigger: template, value_template: '{{ now().hour >= 13 }}'}], actions: [{delay: 1}]}
- {id: evening, alias: Evening, triggers: [{trigger: state, entity_id: sun.sun, to: below_horizon}], actions: [{delay: 1}]}
";
    let mut house = House::new();
    house.load(yaml);
    house.tick(Duration::from_secs(59 * 60));
    house.next_owner(Duration::from_secs(20 * 60));
    let sent = house.sent();
    assert_eq!(fired(&sent), ["clock"]);
    let late = sent.iter().find_map(|(_, letter)| match letter {
        ToAutomation::Fired(firing) => firing.late,
        _ => None,
    });
    assert_eq!(
        late.map(|(by_ms, _)| by_ms),
        Some(19 * 60_000),
        "from when it became true"
    );
    assert!(
        sent.iter()
            .any(|(id, letter)| id == "sleepy" && matches!(letter, ToAutomation::Missed(_))),
        "{sent:?}"
    );
    // The sun sets at 16:17.
    house.next_owner(Duration::from_secs(4 * 3_600));
    assert_eq!(fired(&house.sent()), ["evening"]);
    house.next_owner(Duration::from_secs(60));
    assert_eq!(fired(&house.sent()), [""; 0], "once");
    // It became false and true again, the one seen and the other not.
    house.tick(Duration::from_secs(10 * 3_600));
    assert_eq!(fired(&house.sent()), [""; 0]);
    house.next_owner(Duration::from_secs(10 * 3_600));
    assert_eq!(fired(&house.sent()), ["clock"]);
}

#[test]
fn what_a_person_asks_for_begins_once_it_is_written() {
    let mut house = with_lamp();
    let now_ms = house.now_ms;
    let ask = |house: &mut House, id: &str| {
        let target = Target::entities(["switch.lamp".to_owned()]);
        let data = Map::new();
        let id = id.to_owned();
        house.step(|home, now_ms, draft| {
            let called = Called {
                service: "switch.toggle",
                target,
                data: &data,
            };
            drop(home.call(id, None, called, now_ms, now_ms, draft));
        });
    };
    ask(&mut house, "person");
    let turn_on = intent(
        "switch.turn_on",
        json!({"entity_id": "switch.lamp"}),
        json!({}),
        now_ms,
    );
    house.step(|home, now_ms, draft| home.asked(by("door"), 1, turn_on, now_ms, draft));
    assert_eq!(house.home.take_begun(false), [], "nor what came after it");
    assert_eq!(house.home.take_begun(true).len(), 2);
    let turn_on = intent(
        "switch.turn_on",
        json!({"entity_id": "switch.lamp"}),
        json!({}),
        now_ms,
    );
    house.step(|home, now_ms, draft| home.asked(by("door"), 2, turn_on, now_ms, draft));
    assert_eq!(
        house.home.take_begun(false).len(),
        1,
        "a letter is in the log already"
    );
}

#[test]
fn what_a_run_asks_for_is_gone_on_with_until_it_is_known() {
    let mut house = with_lamp();
    let now_ms = house.now_ms;
    let asked = intent(
        "switch.turn_on",
        json!({"entity_id": "switch.lamp"}),
        json!({}),
        now_ms,
    );
    house.step(|home, now_ms, draft| home.asked(by("door"), 1, asked, now_ms, draft));
    let begun = house.home.take_begun(true);
    let [
        Act {
            id,
            deed: Deed::Publish { publishes, .. },
            ..
        },
    ] = begun.as_slice()
    else {
        panic!("{begun:?}");
    };
    assert_eq!((id.as_str(), publishes.len()), ("01RUN.1", 1));
    assert_eq!(
        (publishes[0].topic.as_str(), publishes[0].payload.as_str()),
        ("lamp/set", "ON")
    );
    // Not known what came of it: the next owner does it again under the same name.
    house.next_owner(Duration::from_millis(300));
    let again = house.home.take_begun(true);
    assert_eq!(again, begun);
    assert!(house.sent().is_empty());
    house.step(|home, now_ms, draft| home.ended("01RUN.1", &Ended::Released, now_ms, draft));
    assert_eq!(house.rows_of(rows::ACT).len(), 1, "another owner's matter by now");
    house.step(|home, now_ms, draft| home.ended("01RUN.1", &Ended::Done, now_ms, draft));
    let sent = house.sent();
    let [
        (
            automation,
            ToAutomation::Outcome {
                number: 1, outcome, ..
            },
        ),
    ] = sent.as_slice()
    else {
        panic!("{sent:?}");
    };
    assert_eq!((automation.as_str(), outcome), ("door", &OutcomeOf::Done(None)));
    assert_eq!(house.rows_of(rows::ACT).len(), 0);
    house.step(|home, now_ms, draft| home.ended("01RUN.1", &Ended::Done, now_ms, draft));
    assert!(house.sent().is_empty(), "once");
}

#[test]
fn what_cannot_be_done_is_told_and_not_kept() {
    #[rustfmt::skip]
    let table = [
        ("switch.turn_on", json!({"entity_id": "switch.nowhere"}), json!({}), "nowhere"),
        ("light.dance", json!({"entity_id": "switch.lamp"}), json!({}), "there is no service"),
        ("automation.explode", json!({"entity_id": "automation.door"}), json!({}), "turn_on, turn_off, toggle and trigger"),
        ("mqtt.publish", json!({}), json!({"topic": "a/#", "payload": "x"}), "topic"),
    ];
    let mut house = with_lamp();
    house.load(DOOR);
    for (service, target, data, why) in table {
        let asked = intent(service, target, data, house.now_ms);
        house.step(|home, now_ms, draft| home.asked(by("door"), 7, asked, now_ms, draft));
        let sent = house.sent();
        let [
            (
                _,
                ToAutomation::Outcome {
                    outcome: OutcomeOf::Failed(said),
                    ..
                },
            ),
        ] = sent.as_slice()
        else {
            panic!("{service}: {sent:?}");
        };
        assert!(said.contains(why), "{service}: {said}");
        assert_eq!(house.rows_of(rows::ACT).len(), 0);
    }
    let mut without = House::with(engine(false));
    let asked = intent(
        "mqtt.publish",
        json!({}),
        json!({"topic": "a", "payload": "x"}),
        NOON_MS,
    );
    without.step(|home, now_ms, draft| home.asked(by("door"), 1, asked, now_ms, draft));
    let sent = without.sent();
    assert!(
        matches!(&sent[..], [(_, ToAutomation::Outcome { outcome: OutcomeOf::Failed(why), .. })] if why.contains("[mqtt] url")),
        "{sent:?}"
    );
}

#[test]
fn events_reach_who_waits_for_them_and_who_sent_them() {
    let mut house = House::new();
    house.load(
        "- {id: heard, alias: Heard, triggers: [{trigger: event, event_type: bell}], actions: [{delay: 1}]}",
    );
    let event = Intent {
        deed: Wanted::Event(jarvis_rules::run::Event {
            intent: 1,
            event_type: "bell".to_owned(),
            data: Map::new(),
            context: Context::default(),
        }),
        thread: Some(0),
        asked_ms: NOON_MS,
    };
    house.step(|home, now_ms, draft| home.asked(by("door"), 1, event, now_ms, draft));
    let sent = house.sent();
    assert_eq!(fired(&sent), ["heard"]);
    assert!(
        matches!(&sent[1], (id, ToAutomation::Outcome { outcome: OutcomeOf::Done(None), .. }) if id == "door")
    );
    let told = Told::Event {
        event_type: "bell".to_owned(),
        data: Map::new(),
    };
    house.step(|home, now_ms, draft| home.told(told, now_ms, draft));
    assert_eq!(fired(&house.sent()), ["heard"]);
}

#[test]
fn loading_says_what_it_changes() {
    let mut house = House::new();
    assert_eq!(house.load(DOOR).added, ["door"]);
    assert_eq!(house.load(DOOR).unchanged, 1);
    assert!(house.sent().is_empty());
    let moved = format!("# a line more\n{DOOR}");
    assert_eq!(house.load(&moved).unchanged, 1, "what it does is as it was");
    let changed = house.load(&DOOR.replace("ring", "knock"));
    assert_eq!(changed.changed, ["door"]);
    assert_eq!(house.sent(), [("door".to_owned(), ToAutomation::Defined)]);
    assert_eq!(house.state("automation.door").as_deref(), Some("on"));
    // Switched off it hears nothing, also under the next owner.
    assert!(house.step(|home, now_ms, draft| home.enable("door", false, true, now_ms, draft)));
    assert!(matches!(&house.sent()[..], [(_, ToAutomation::Stop { .. })]));
    house.next_owner(Duration::from_secs(1));
    house.message("door/front", "open");
    assert_eq!(house.sent(), []);
    assert_eq!(house.state("automation.door").as_deref(), Some("off"));
    // It stays off when it is loaded again.
    house.load(&DOOR.replace("ring", "hammer"));
    house.sent();
    house.message("door/front", "open");
    assert_eq!(house.sent(), []);
    assert!(house.step(|home, now_ms, draft| home.remove("door", now_ms, draft)));
    assert!(!house.step(|home, now_ms, draft| home.remove("door", now_ms, draft)));
    assert_eq!(house.rows_of(rows::DEFINITION).len(), 0);
    assert_eq!(house.state("automation.door"), None);
}

#[test]
fn home_assistant_switches_and_starts_automations() {
    let mut house = House::new();
    house.load(DOOR);
    house.message("jarvis/automation/door/set", "OFF");
    assert_eq!(house.state("automation.door").as_deref(), Some("off"));
    house.message("jarvis/automation/door/set", "ON");
    house.sent();
    house.message("jarvis/automation/door/trigger", "PRESS");
    assert!(matches!(&house.sent()[..], [(id, ToAutomation::Trigger { .. })] if id == "door"));
    house.message("jarvis/automation/nowhere/trigger", "PRESS");
    house.message("jarvis/automation/door/set", "MAYBE");
    assert_eq!(house.sent(), []);
    house.message("jarvis/node/node2/undrain", "PRESS");
    assert!(
        matches!(&house.home.take_begun(true)[..], [Act { deed: Deed::Undrain { node }, .. }] if node == "node2")
    );
    house.message("jarvis/node/node2/drain", "PRESS");
    assert!(
        matches!(&house.home.take_begun(true)[..], [Act { deed: Deed::Drain { node }, .. }] if node == "node2")
    );
    house.message("jarvis/drill/kill-2dleader/run", "PRESS");
    assert!(
        matches!(&house.home.take_begun(true)[..], [Act { deed: Deed::Drill { name }, .. }] if name == "kill-leader")
    );
    let mut acts = house.home.acts().iter();
    let drill = acts.find(|(_, act)| matches!(act.deed, Deed::Drill { .. }));
    let drill = drill.map(|(id, _)| id.clone()).expect("it is under way");
    let why = Ended::Failed("no room for its log".to_owned());
    house.step(|home, now_ms, draft| home.ended(&drill, &why, now_ms, draft));
    let last = |house: &House| {
        house
            .rows
            .get(&b"k/kill-leader"[..])
            .map(|row| decode::<String>(row).unwrap())
    };
    assert!(
        last(&house).is_some_and(|last| last.starts_with("failed ")),
        "{:?}",
        last(&house)
    );
    let told = Told::Drill {
        name: "kill-leader".to_owned(),
        passed: true,
    };
    house.step(|home, now_ms, draft| home.told(told, now_ms, draft));
    assert!(last(&house).is_some_and(|last| last.starts_with("passed ")));
    house.next_owner(Duration::from_secs(1));
    let start: crate::settings::StartDrill = Arc::new(|_| Ok(()));
    let all = vec![("kill-leader".to_owned(), "kill leader".to_owned())];
    let _ = house.engine.clone().with_drills(crate::Drills { all, start });
    let shown = house.home.shown(&[]);
    let last = shown
        .iter()
        .find(|one| one.topic == "jarvis/drill/kill-2dleader/last");
    assert!(
        last.is_some_and(|last| last.payload.starts_with("passed 2026-01-10T12:00:0")),
        "{shown:?}"
    );
    let topics: BTreeSet<&str> = shown.iter().map(|one| one.topic.as_str()).collect();
    assert!(
        topics.contains("homeassistant/device/jarvis_automation_door/config"),
        "{topics:?}"
    );
    assert!(house.home.filters().contains("jarvis/automation/+/set"));
    // Its own discovery makes no devices of Jarvis's own.
    let own = shown
        .iter()
        .find(|one| one.topic.ends_with("/config"))
        .expect("shown");
    house.message(&own.topic.clone(), &own.payload.clone());
    assert_eq!(house.home.counts().0, 0);
}

#[test]
fn nodes_that_go_are_told_of_once() {
    let mut house = House::new();
    house.load(
        "- {id: down, alias: Down, triggers: [{trigger: jarvis, event: node_down}], actions: [{delay: 1}]}",
    );
    let nodes = |up: bool| [("node1".to_owned(), true), ("node2".to_owned(), up)];
    let see =
        |house: &mut House, up| house.step(|home, now_ms, draft| home.saw_nodes(&nodes(up), now_ms, draft));
    see(&mut house, true);
    assert_eq!(house.sent(), []);
    see(&mut house, false);
    assert_eq!(fired(&house.sent()), ["down"]);
    house.next_owner(Duration::from_secs(1));
    see(&mut house, false);
    assert_eq!(house.sent(), [], "the last owner told of it");
    see(&mut house, true);
    see(&mut house, false);
    assert_eq!(fired(&house.sent()), ["down"]);
}

#[test]
fn reminders_outlive_their_owner_and_are_said_once() {
    let mut house = House::new();
    let reminder = Reminder {
        id: "r1".to_owned(),
        session: "01SESSION".to_owned(),
        text: "Reminder: tea".to_owned(),
        due_ms: NOON_MS + 60_000,
        asked_ms: NOON_MS,
    };
    for _ in 0..2 {
        house.step(|home, _, draft| home.keep_reminder(reminder.clone(), draft));
    }
    assert_eq!(house.home.next_due_ms(), Some(NOON_MS + 60_000));
    house.next_owner(Duration::from_secs(90));
    let begun = house.home.take_begun(true);
    assert!(
        matches!(&begun[..], [Act { id, deed: Deed::Remind { .. }, .. }] if id == "reminder-r1"),
        "{begun:?}"
    );
    assert_eq!(house.rows_of(rows::REMINDER).len(), 0);
    house.next_owner(Duration::from_secs(1));
    assert_eq!(
        house.home.take_begun(true),
        begun,
        "under the same name, until it is said"
    );
    house.step(|home, now_ms, draft| home.ended("reminder-r1", &Ended::Done, now_ms, draft));
    house.next_owner(Duration::from_secs(1));
    assert_eq!(house.home.take_begun(true), []);
    let mut other = reminder;
    other.id = "r2".to_owned();
    house.step(|home, _, draft| home.keep_reminder(other, draft));
    assert!(house.step(|home, _, draft| home.cancel_reminder("r2", draft)));
    assert!(!house.step(|home, _, draft| home.cancel_reminder("r2", draft)));
}

#[test]
fn people_call_services_and_hear_what_came_of_them() {
    let mut house = with_lamp();
    let target = jarvis_devices::service::Target::entity("switch.lamp");
    let data = Map::new();
    let called = |service| Called {
        service,
        target: target.clone(),
        data: &data,
    };
    let came = house.step(|home, now_ms, draft| {
        home.call(
            "call-1".to_owned(),
            None,
            called("switch.turn_on"),
            now_ms,
            now_ms,
            draft,
        )
    });
    assert!(matches!(came, Came::Begun(passed_over) if passed_over.is_empty()));
    let came = house.step(|home, now_ms, draft| {
        home.call(
            "call-2".to_owned(),
            None,
            called("switch.bounce"),
            now_ms,
            now_ms,
            draft,
        )
    });
    assert!(matches!(came, Came::Refused(why) if why.contains("there is no service")));
    // The answer was lost with its owner: asked again under the same name, it is known to be done.
    assert_eq!(house.home.finished("call-1"), None);
    house.step(|home, now_ms, draft| home.ended("call-1", &Ended::Done, now_ms, draft));
    for n in 0..300 {
        house.next_owner(Duration::from_millis(1));
        assert_eq!(house.home.finished("call-1"), (n < 256).then_some(Ok(())), "{n}");
        house.step(|home, _, draft| home.finish(&format!("other-{n}"), Some("why".to_owned()), draft));
    }
    assert_eq!(house.home.finished("other-299"), Some(Err("why".to_owned())));
    assert_eq!(house.rows_of(rows::FINISHED).len(), 256);
}

#[test]
fn a_sentence_that_is_told_twice_starts_an_automation_once() {
    let mut house = House::new();
    house.load("- {id: night, alias: Night, triggers: [{trigger: jarvis, event: intent, intent: good night}], actions: [{delay: 1}]}");
    let told = |id: Option<&str>| Told::Intent {
        name: "good night".to_owned(),
        slots: Map::new(),
        session: "01SESSION".to_owned(),
        id: id.map(str::to_owned),
    };
    for (id, expected) in [
        (Some("s-1"), 1),
        (Some("s-1"), 0),
        (Some("s-2"), 1),
        (None, 1),
        (None, 1),
    ] {
        house.step(|home, now_ms, draft| home.told(told(id), now_ms, draft));
        house.next_owner(Duration::from_secs(1));
        assert_eq!(fired(&house.sent()).len(), expected, "{id:?}");
    }
}

#[test]
fn dead_letters_are_bounded_and_replayed_once() {
    let mut house = House::new();
    house.home.rooms.dead = Room::new((MIB, 3));
    house.load(DOOR);
    let (message, _) = house.message("other", "x");
    let letter = |n: u128| jarvis_mqtt::DeadLetter {
        id: n,
        message: Message {
            topic: "door/front".to_owned(),
            ..message.clone()
        },
        why: "a test".to_owned(),
        attempts: 5,
        buried_ms: 1,
    };
    for n in 1..=4 {
        let name = crate::api::ulid::text(n);
        let buried = Buried::new(&letter(n));
        house.step(|home, _, draft| home.bury(&name, &buried, draft));
    }
    assert_eq!(house.rows_of(rows::DEAD).len(), 3, "the oldest went");
    let read: Vec<_> = house
        .rows
        .iter()
        .filter_map(|(name, value)| crate::bridge::dead_letter(name, value))
        .collect();
    assert_eq!(read.iter().map(|letter| letter.id).collect::<Vec<_>>(), [2, 3, 4]);
    assert_eq!(
        (read[0].message.topic.as_str(), read[0].attempts),
        ("door/front", 5)
    );
    for _ in 0..2 {
        house.step(|home, now_ms, draft| home.message(&read[0].message, now_ms, draft));
        house.next_owner(Duration::from_secs(1));
    }
    assert_eq!(
        fired(&house.sent()),
        ["door"],
        "the second time it was decided on already"
    );
    assert_eq!(house.rows_of(rows::DEAD).len(), 2);
}

#[test]
fn the_sun_is_an_entity() {
    let mut house = House::new();
    assert_eq!(house.state("sun.sun").as_deref(), Some("above_horizon"));
    house.load("- {id: dusk, alias: Dusk, triggers: [{trigger: state, entity_id: sun.sun, to: below_horizon}], actions: [{delay: 1}]}");
    house.tick(Duration::from_secs(3_600));
    assert_eq!(house.sent(), []);
    let due_ms = house.home.next_due_ms().expect("the sun sets");
    house.tick(Duration::from_millis((due_ms - house.now_ms) as u64));
    assert_eq!(house.state("sun.sun").as_deref(), Some("below_horizon"));
    assert_eq!(fired(&house.sent()), ["dusk"]);
}

#[test]
fn more_than_a_step_holds_is_not_sent_and_nothing_else_is_lost() {
    let mut house = House::new();
    let yaml: String = (0..300)
        .map(|n| format!("- {{id: a{n}, alias: A{n}, triggers: [{{trigger: mqtt, topic: flood}}], actions: [{{delay: 1}}]}}\n"))
        .collect();
    house.load(&yaml);
    let big = "x".repeat(20_000);
    let mut draft = Draft::default();
    let message = Message {
        id: None,
        replay_of: None,
        topic: "flood".to_owned(),
        payload: Bytes::from(big),
        retained: false,
        copy: false,
        received_ms: 0,
    };
    house.home.message(&message, NOON_MS, &mut draft);
    let mut steps = draft.into_steps(9, NOON_MS);
    let step = steps.pop().expect("one");
    assert!(steps.is_empty());
    let bytes: usize = step.letters.iter().map(|letter| letter.body.len()).sum();
    assert!((10..300).contains(&step.letters.len()), "{}", step.letters.len());
    assert!(
        bytes < jarvis_types::limits::MAX_COMMAND_BYTES - 32 * 1_024,
        "{bytes}"
    );
}

#[test]
fn what_fell_due_unseen_reaches_each_of_many_automations() {
    let mut house = House::new();
    for id in ["a", "b", "c"] {
        house.load(&format!(
            "- {{id: {id}, alias: {id}, triggers: [{{trigger: time_pattern, minutes: '/1'}}], actions: [{{delay: 1}}]}}"
        ));
    }
    house.sent();
    house.next_owner(Duration::from_secs(90));
    let sent = house.sent();
    assert_eq!(fired(&sent), ["a", "b", "c"]);
    assert!(sent.iter().all(|(_, letter)| match letter {
        ToAutomation::Fired(firing) => firing.late.is_some(),
        _ => true,
    }));
}

#[test]
fn devices_that_say_without_end_are_kept_up_to_a_bound() {
    let mut house = House::new();
    house.home.rooms.registry = Room::new((MIB, 40_000));
    for device in 0..12 {
        let parts: Map<String, Value> = (0..25)
            .map(|n| {
                let part = json!({"p": "sensor", "name": format!("s{n}"), "unique_id": format!("u{device}_{n}"),
                    "stat_t": format!("d/{device}"), "json_attributes_topic": format!("d/{device}")});
                (format!("s{n}"), part)
            })
            .collect();
        let config = json!({"dev": {"ids": [format!("d{device}")]}, "o": {"name": "x"}, "cmps": parts});
        house.message(
            &format!("homeassistant/device/d{device}/config"),
            &config.to_string(),
        );
        house.message(
            &format!("d/{device}"),
            &json!({"a": "x".repeat(15_000)}).to_string(),
        );
    }
    let bytes: usize = house.rows.values().map(Vec::len).sum();
    assert!((900_000..1_200_000).contains(&bytes), "{bytes}");
    let told = |house: &House| house.home.problems(1);
    assert!(
        told(&house)[0].contains("more of themselves"),
        "{:?}",
        told(&house)
    );
}

#[test]
fn what_watches_templates_sees_when_an_automation_ran_and_so_does_home_assistant() {
    let mut house = with_lamp();
    house.load(DOOR);
    house.load(
        "- {id: seen, alias: Seen, triggers: [{trigger: template, value_template: \"{{ is_state('switch.lamp', 'on') and state_attr('automation.door', 'last_triggered').year == 1970 }}\"}], actions: [{delay: 1}]}",
    );
    house.message("lamp/state", "ON");
    assert_eq!(fired(&house.sent()), ["seen"]);
    let shown = house.home.shown(&[]);
    let of = |id: &str| {
        let topic = format!("{id}/last_triggered");
        let one = shown
            .iter()
            .find(|one| one.topic.ends_with(&topic))
            .expect("is shown");
        one.payload.clone()
    };
    assert_eq!(of("door"), "1970-01-01T00:00:00.000+00:00");
    assert_eq!(of("seen"), "None");
}

#[test]
fn whoever_goes_on_with_acts_keeps_to_their_order() {
    let mut house = with_lamp();
    let asked = |house: &mut House, run: &str, number: u64| {
        let by = RunOf {
            run: RunId(run.to_owned()),
            ..by("a")
        };
        let intent = intent(
            "mqtt.publish",
            json!({}),
            json!({"topic": "t", "payload": run}),
            house.now_ms,
        );
        house.step(|home, now_ms, draft| home.asked(by, number, intent, now_ms, draft));
    };
    let order = [("Z", 1), ("Z", 2), ("Z", 10), ("A", 1)];
    for (run, number) in order {
        asked(&mut house, run, number);
    }
    let ids = |acts: Vec<Act>| acts.into_iter().map(|act| act.id).collect::<Vec<_>>();
    let begun = ids(house.home.take_begun(true));
    assert_eq!(begun, ["Z.1", "Z.2", "Z.10", "A.1"]);
    for _ in 0..2 {
        house.next_owner(Duration::from_secs(1));
        assert_eq!(ids(house.home.take_begun(true)), begun);
    }
    asked(&mut house, "0", 1);
    house.next_owner(Duration::from_secs(1));
    assert_eq!(
        ids(house.home.take_begun(true)).last().map(String::as_str),
        Some("0.1")
    );
}

#[test]
fn automations_together_have_a_bound_and_one_that_grows_beyond_it_stays_as_it_was() {
    let mut house = House::new();
    house.home.rooms.definitions = Room::new((8_000, 2));
    let yaml = |id: &str, bytes: usize| {
        format!(
            "- {{id: {id}, alias: {id}, triggers: [], actions: [{{event: e, event_data: {{text: {}}}}}]}}",
            "a".repeat(bytes)
        )
    };
    assert!(house.load(&yaml("one", 200)).problems.is_empty());
    for (id, what) in [("two", "a new one"), ("one", "one that is there")] {
        let loaded = house.load(&yaml(id, 7_900));
        let [(of, why)] = loaded.problems.as_slice() else {
            panic!("{what}: {:?}", loaded.problems);
        };
        assert_eq!(of, id);
        assert!(why.contains("remove some"), "{why}");
    }
    assert_eq!(house.rows_of(rows::DEFINITION), ["a/one"]);
    assert!(house.load(&yaml("two", 300)).problems.is_empty());
    assert_eq!(house.load(&yaml("three", 1)).problems.len(), 1);
    assert!(house.step(|home, now_ms, draft| home.remove("one", now_ms, draft)));
    assert!(
        house.load(&yaml("three", 1)).problems.is_empty(),
        "what is gone gives its room back"
    );
}

#[test]
fn more_than_can_wait_for_the_broker_is_refused_and_said_so() {
    let mut house = with_lamp();
    house.home.rooms.acts = Room::new((MIB, 3));
    let turn_on = |house: &mut House, number: u64| {
        let asked = intent(
            "switch.turn_on",
            json!({"entity_id": "switch.lamp"}),
            json!({}),
            house.now_ms,
        );
        house.step(|home, now_ms, draft| home.asked(by("a"), number, asked, now_ms, draft));
        house.sent()
    };
    for number in 0..3 {
        assert_eq!(turn_on(&mut house, number), []);
    }
    let told = turn_on(&mut house, 3);
    let [
        (
            _,
            ToAutomation::Outcome {
                outcome: OutcomeOf::Failed(why),
                ..
            },
        ),
    ] = told.as_slice()
    else {
        panic!("{told:?}");
    };
    assert!(why.contains("3 actions wait"), "{why}");
    assert_eq!(house.rows_of(rows::ACT).len(), 3);
    let first = house.home.acts().keys().next().cloned().unwrap();
    house.step(|home, now_ms, draft| home.ended(&first, &Ended::Done, now_ms, draft));
    house.sent();
    assert_eq!(turn_on(&mut house, 4), [], "what is over makes room");
}

#[test]
fn a_payload_that_no_letter_holds_is_for_nobody_and_stops_nothing() {
    let mut house = House::new();
    house.load("- {id: all, alias: All, triggers: [{trigger: mqtt, topic: noise}], actions: [{delay: 1}]}");
    // As JSON each of these takes six bytes.
    house.message("noise", &"\u{1}".repeat(60_000));
    assert_eq!(fired(&house.sent()), <[&str; 0]>::default());
    house.message("noise", "quiet");
    assert_eq!(fired(&house.sent()), ["all"]);
}

#[test]
fn a_whole_house_in_one_message_is_written_in_steps_that_fit() {
    let mut house = House::new();
    let numbers: Vec<_> = (0..12)
        .map(|n| json!({"type": "numeric", "name": format!("n{n}"), "property": format!("n{n}"), "access": 1, "unit": "x"}))
        .collect();
    let devices: Vec<_> = (0..100)
        .map(|n| {
            json!({
                "ieee_address": format!("0x{n:016x}"), "friendly_name": format!("device {n}"), "type": "Router",
                "supported": true, "interview_completed": true,
                "definition": {"model": "M", "vendor": "V", "description": "d", "exposes": numbers},
            })
        })
        .collect();
    house.message("zigbee2mqtt/bridge/devices", &json!(devices).to_string());
    assert!(house.version > 2, "{}", house.version);
    let known = house.home.counts().0;
    assert!(known >= 1_200, "{known}");
    house.next_owner(Duration::from_secs(1));
    assert_eq!(house.home.counts().0, known);
}

#[test]
fn what_is_too_large_to_be_kept_is_refused_with_the_reason() {
    let mut house = with_lamp();
    let data = json!({"topic": "t", "payload": "x".repeat(200_000)});
    let came = house.step(|home, now_ms, draft| {
        let called = Called {
            service: "mqtt.publish",
            target: Target::default(),
            data: data.as_object().expect("an object"),
        };
        home.call("large".to_owned(), None, called, now_ms, now_ms, draft)
    });
    assert!(matches!(came, Came::Refused(why) if why.contains("may be asked for at a time")));
    assert!(house.home.acts().is_empty());
}

#[test]
fn a_letter_box_that_is_full_is_sent_no_more() {
    let engine = engine(true);
    let kept = Kept {
        rows: Vec::new(),
        runs: Vec::new(),
    };
    let full = Beside {
        waiting: Arc::new(|automation: &str| if automation == "door" { 2_000 } else { 0 }),
        ..beside()
    };
    let mut draft = Draft::default();
    let home = Home::restore(Arc::clone(&engine.shared), kept, full, NOON_MS, &mut draft);
    let mut house = House::with(engine);
    house.home = home;
    house.load(DOOR);
    house.load(
        "- {id: other, alias: Other, triggers: [{trigger: mqtt, topic: door/+}], actions: [{delay: 1}]}",
    );
    house.message("door/front", "open");
    assert_eq!(fired(&house.sent()), ["other"]);
}

#[test]
fn what_waits_are_for_is_watched_and_looked_at() {
    let mut house = with_lamp();
    let yaml = "- {id: waits, alias: Waits, triggers: [{trigger: event, event_type: go}], actions: [{wait_for_trigger: [{trigger: state, entity_id: switch.lamp, to: 'on'}]}]}";
    house.load(yaml);
    let definition = house.home.library().get("waits").cloned().expect("it was loaded");
    let program = Arc::clone(definition.program());
    let facts: Arc<dyn Facts> = Arc::new(house.home.view(NOON_MS));
    let shared = Arc::clone(&house.engine.shared);
    let env = jarvis_rules::run::Env {
        facts: &facts,
        templates: &shared.templates,
        node: "node1",
        limits: &shared.limits,
    };
    let trigger = json!({"id": "0", "idx": "0", "platform": "event"});
    let begun = jarvis_rules::run::Run::decide(&program, trigger, json!({}), None, false, &env)
        .expect("no conditions");
    let mut run = jarvis_rules::run::Run::new(RunId("01RUN".to_owned()), &program, begun, Context::default());
    run.advance(&program, jarvis_rules::run::Input::Begin, &env);
    house.step(|home, now_ms, draft| home.watch_waits("waits", &run, now_ms, draft));
    assert!(matches!(&house.sent()[..], [(_, ToAutomation::Look { .. })]));
    // Told again of the same: nothing is new.
    house.step(|home, now_ms, draft| home.watch_waits("waits", &run, now_ms, draft));
    assert_eq!(house.sent(), []);
    house.message("lamp/state", "ON");
    let sent = house.sent();
    assert!(
        matches!(&sent[..], [(id, ToAutomation::Triggered { wait: 1, .. })] if id == "waits"),
        "{sent:?}"
    );
    house.step(|home, _, draft| home.unwatch_waits(&run.id, &BTreeSet::new(), draft));
    house.message("lamp/state", "OFF");
    house.message("lamp/state", "ON");
    assert_eq!(house.sent(), []);
    let subscriber = Subscriber::Automation("waits".to_owned());
    assert!(
        !house.home.watch.is_empty(),
        "{subscriber:?} is watched all along"
    );
}

#[test]
fn a_time_that_was_seen_is_not_seen_again_by_a_clock_that_is_behind() {
    let mut house = House::new();
    house.load("- {id: minute, alias: Minute, triggers: [{trigger: time_pattern, minutes: '/1'}], actions: [{delay: 1}]}");
    house.tick(Duration::from_secs(60));
    assert_eq!(fired(&house.sent()), ["minute"]);
    // The next owner's clock shows 20 s less, and its successor's as well.
    house.now_ms -= 20_000;
    for _ in 0..2 {
        house.next_owner(Duration::ZERO);
    }
    house.tick(Duration::from_secs(20));
    assert_eq!(fired(&house.sent()).len(), 0, "the minute that was seen");
    house.tick(Duration::from_secs(60));
    assert_eq!(fired(&house.sent()), ["minute"], "the next one");
    // A clock that was wrong by days does not silence the house for days.
    house.now_ms -= 3 * 86_400_000;
    house.next_owner(Duration::ZERO);
    house.tick(Duration::from_secs(60));
    assert_eq!(fired(&house.sent()), ["minute"]);
}

#[test]
fn an_automation_is_an_entity_by_its_alias() {
    let mut house = House::new();
    let yaml = |alias: &str| {
        format!(
            "- {{id: '1690000000001', alias: {alias}, triggers: [{{trigger: mqtt, topic: x}}], actions: [{{delay: 1}}]}}"
        )
    };
    house.load(&yaml("Named Thing"));
    assert_eq!(house.state("automation.named_thing").as_deref(), Some("on"));
    let asked = intent(
        "automation.trigger",
        json!({"entity_id": "automation.named_thing"}),
        json!({}),
        NOON_MS,
    );
    house.step(|home, now_ms, draft| home.asked(by("door"), 1, asked, now_ms, draft));
    let sent = house.sent();
    assert!(
        matches!(&sent[0], (id, ToAutomation::Trigger { .. }) if id == "1690000000001"),
        "{sent:?}"
    );
    house.load(&yaml("Other Name"));
    assert_eq!(house.state("automation.named_thing"), None);
    house.next_owner(Duration::from_secs(1));
    assert_eq!(house.state("automation.other_name").as_deref(), Some("on"));
    house.step(|home, now_ms, draft| home.remove("1690000000001", now_ms, draft));
    assert_eq!(house.state("automation.other_name"), None);
}
