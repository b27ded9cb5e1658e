//! Whatever comes on whatever topic: no panic, bounds hold, rows make the same registry.

use proptest::prelude::*;

use super::*;
use crate::limits::{MAX_ATTRIBUTES, MAX_STATE_CHARS};

/// A registry with one of everything, and the topics that it hears.
fn full() -> (Registry, Vec<String>) {
    let mut registry = registry();
    let all = r#""cmd_t":"c","avty":[{"t":"av","val_tpl":"{{ value_json.s }}"}],"json_attr_t":"j","brightness":true,"ops":["a"],
        "evt_typ":["press"],"hum_cmd_t":"hc","pos_t":"pos","set_pos_t":"sp","bri_stat_t":"b","rgb_stat_t":"rgb","clr_temp_stat_t":"ct",
        "pct_stat_t":"pct","temp_stat_t":"temp","l_ver_t":"lv","act_stat_t":"act","exp_aft":5,"off_dly":5,"tilt_status_t":"tilt","mode_stat_t":"m""#;
    for component in Component::ALL {
        let name = component.name();
        let config = format!(r#"{{"name":"{name}","stat_t":"s",{all}}}"#);
        registry.message(
            &format!("homeassistant/{name}/x/config"),
            config.as_bytes(),
            true,
            NOW,
        );
        let schema = format!(r#"{{"name":"{name} j","schema":"json","stat_t":"s",{all}}}"#);
        registry.message(
            &format!("homeassistant/{name}/j/config"),
            schema.as_bytes(),
            true,
            NOW,
        );
    }
    assert_eq!(registry.problems().count(), 0, "{:?}", registry.problems().last());
    let topics = registry.index.filters().map(str::to_owned).collect();
    (registry, topics)
}

fn assert_bounds(registry: &Registry) {
    for (_, state) in registry.view(NOW).entities(None) {
        assert!(state.state.chars().count() <= MAX_STATE_CHARS);
        assert!(state.attributes.len() <= 2 * MAX_ATTRIBUTES);
    }
    assert!(registry.problems().count() <= crate::limits::MAX_PROBLEMS);
    assert!(registry.len() <= crate::limits::MAX_ENTITIES);
}

fn assert_rows(registry: &Registry) {
    let rows = registry.rows().into_iter().map(|(key, row)| {
        (
            key,
            Row::from_bytes(&row.to_bytes().expect("it encodes")).expect("it decodes"),
        )
    });
    let again = Registry::restore(Settings::default(), Arc::new(Templates::new()), home(), rows, NOW)
        .expect("good rows");
    assert_eq!(again.view(NOW).entities(None), registry.view(NOW).entities(None));
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    let word = prop::sample::select(vec![
        "ON",
        "OFF",
        "None",
        "online",
        "1e999",
        "-5",
        "255,0,0",
        "nan",
        "{",
        "[]",
        "null",
        r#"{"state":"ON","position":1e308}"#,
        r#"{"event_type":"press"}"#,
        r#"{"s":"online"}"#,
        r#"{"color":{"r":-1,"g":1e300,"b":null},"brightness":1e300}"#,
        r#"{"color_temp":0}"#,
        r#"{"state":{"state":{}}}"#,
        "opening",
        "stopped",
        "100",
    ]);
    prop_oneof![
        word.prop_map(|word| word.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..64),
        "\\PC{0,300}".prop_map(String::into_bytes),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_payload_on_known_topics(messages in prop::collection::vec((any::<prop::sample::Index>(), payload(), any::<bool>()), 1..24)) {
        let (mut registry, topics) = full();
        for (at, (topic, payload, retained)) in messages.iter().enumerate() {
            let now = NOW + 1_000 * at as i64;
            registry.message(topic.get::<String>(&topics), payload, *retained, now);
            registry.tick(now);
        }
        assert_bounds(&registry);
        assert_rows(&registry);
    }

    #[test]
    fn any_payload_on_any_topic(messages in prop::collection::vec((
        prop_oneof![
            "homeassistant/(light|switch|sensor|device|x)/[a-z]{1,3}(/[a-z])?/config",
            Just("zigbee2mqtt/bridge/devices".to_owned()),
            Just("zigbee2mqtt/bridge/groups".to_owned()),
            "tasmota/discovery/[0-9A-F]{11,13}/(config|sensors)",
            "\\PC{0,40}",
        ],
        payload(),
    ), 1..16)) {
        let mut registry = registry();
        for (topic, payload) in &messages {
            registry.message(topic, payload, true, NOW);
        }
        assert_bounds(&registry);
        assert_rows(&registry);
    }
}
