//! Home Assistant's discovery: names, ids, removal, refusals.

use super::*;

#[test]
fn an_entity_appears_with_its_device() {
    let mut registry = registry();
    let changes = tell(
        &mut registry,
        "light/kitchen",
        r#"{"~":"home/kitchen","uniq_id":"k1","name":null,"cmd_t":"~/set","stat_t":"~/state","bri_cmd_t":"~/bri/set",
            "avty_t":"~/lwt","dev":{"ids":"esp-1","name":"Kitchen lamp","mf":"Acme","mdl":"L1","sa":"Kitchen","sw":1.2}}"#,
    );
    assert_eq!(
        changes[..3],
        [
            Change::Device("esp_1".into()),
            Change::Appeared("light.kitchen_lamp".into()),
            changes[2].clone()
        ]
    );
    assert!(changes.contains(&Change::Subscribe("home/kitchen/state".into())));
    assert!(changes.contains(&Change::Subscribe("home/kitchen/lwt".into())));
    assert_eq!(state(&registry, "light.kitchen_lamp"), "unavailable");
    say(&mut registry, "home/kitchen/lwt", "online");
    assert_eq!(state(&registry, "light.kitchen_lamp"), "unknown");
    say(&mut registry, "home/kitchen/state", "ON");
    assert_eq!(state(&registry, "light.kitchen_lamp"), "on");
    assert_eq!(
        attribute(&registry, "light.kitchen_lamp", "friendly_name"),
        "Kitchen lamp"
    );
    let view = registry.view(NOW);
    assert_eq!(view.area_of("light.kitchen_lamp").as_deref(), Some("kitchen"));
    let device = view.device("esp_1").expect("it was told of");
    assert_eq!(
        (device.manufacturer.as_deref(), device.sw_version.as_deref()),
        (Some("Acme"), Some("1.2"))
    );
}

#[test]
fn names_and_ids_are_home_assistants() {
    let device = r#""unique_id":"u","device":{"identifiers":["d"],"name":"Hall"}"#;
    for (path, config, id, name) in [
        (
            "switch/a",
            r#"{"command_topic":"t","name":"Pump"}"#.to_owned(),
            "switch.pump",
            "Pump",
        ),
        (
            "switch/a",
            format!(r#"{{"command_topic":"t","name":"Pump",{device}}}"#),
            "switch.hall_pump",
            "Hall Pump",
        ),
        (
            "switch/a",
            format!(r#"{{"command_topic":"t","name":null,{device}}}"#),
            "switch.hall",
            "Hall",
        ),
        (
            "switch/a",
            format!(r#"{{"command_topic":"t","name":"Hall",{device}}}"#),
            "switch.hall_hall",
            "Hall Hall",
        ),
        (
            "switch/a",
            format!(r#"{{"command_topic":"t",{device}}}"#),
            "switch.hall_mqtt_switch",
            "Hall MQTT Switch",
        ),
        (
            "light/a",
            format!(r#"{{"command_topic":"t","schema":"json",{device}}}"#),
            "light.hall_mqtt_json_light",
            "Hall MQTT JSON Light",
        ),
        // Without an id of its own it is no part of a device.
        (
            "sensor/a",
            r#"{"state_topic":"t","name":"nouid","device":{"identifiers":["d"],"name":"Hall"}}"#.to_owned(),
            "sensor.nouid",
            "nouid",
        ),
        (
            "sensor/a",
            r#"{"state_topic":"t","name":"Температура на кухне"}"#.to_owned(),
            "sensor.temperatura_na_kukhne",
            "Температура на кухне",
        ),
        (
            "sensor/a",
            format!(r#"{{"state_topic":"t","device_class":"temperature",{device}}}"#),
            "sensor.hall_temperature",
            "Hall Temperature",
        ),
        (
            "switch/a",
            r#"{"command_topic":"t","name":"x","object_id":"My Pump"}"#.to_owned(),
            "switch.my_pump",
            "x",
        ),
        (
            "switch/a",
            r#"{"command_topic":"t","name":"x","object_id":"y","default_entity_id":"switch.z"}"#.to_owned(),
            "switch.z",
            "x",
        ),
        (
            "switch/node/a",
            r#"{"command_topic":"t","name":"Volet n° 2"}"#.to_owned(),
            "switch.volet_ndeg_2",
            "Volet n° 2",
        ),
    ] {
        let mut registry = registry();
        tell(&mut registry, path, &config);
        assert_eq!(attribute(&registry, id, "friendly_name"), name, "{config}");
    }
}

#[test]
fn collisions_are_numbered_and_ids_stay() {
    let mut registry = registry();
    for (path, unique) in [("switch/a", "u1"), ("switch/b", "u2"), ("switch/c", "u3")] {
        tell(
            &mut registry,
            path,
            &format!(r#"{{"command_topic":"t","name":"Pump","unique_id":"{unique}"}}"#),
        );
    }
    let ids = |registry: &Registry| -> Vec<String> {
        registry
            .view(NOW)
            .all_described()
            .iter()
            .map(|entity| entity.id.clone())
            .collect()
    };
    assert_eq!(ids(&registry), ["switch.pump", "switch.pump_2", "switch.pump_3"]);
    // Called otherwise, or told of elsewhere, it keeps its id.
    tell(
        &mut registry,
        "switch/b",
        r#"{"command_topic":"t","name":"Well","unique_id":"u2"}"#,
    );
    assert_eq!(attribute(&registry, "switch.pump_2", "friendly_name"), "Well");
    tell(
        &mut registry,
        "switch/elsewhere",
        r#"{"command_topic":"t2","name":"Well","unique_id":"u2"}"#,
    );
    assert_eq!(ids(&registry).len(), 3);
    // The old message has nothing left to take away.
    assert_eq!(say(&mut registry, "homeassistant/switch/b/config", ""), []);
    let changes = say(&mut registry, "homeassistant/switch/elsewhere/config", "");
    assert!(
        changes.contains(&Change::Removed("switch.pump_2".into())),
        "{changes:?}"
    );
    assert_eq!(ids(&registry), ["switch.pump", "switch.pump_3"]);
}

#[test]
fn one_message_tells_of_a_whole_device() {
    let mut registry = registry();
    let config = |cmps: &str| {
        format!(
            r#"{{"dev":{{"ids":"x","name":"Weather"}},"o":{{"name":"maker","sw":"1"}},"cmps":{{{cmps}}},"stat_t":"w/state","qos":1}}"#
        )
    };
    let two = r#""t":{"p":"sensor","uniq_id":"wt","dev_cla":"temperature","unit_of_meas":"°C","val_tpl":"{{ value_json.t }}"},
        "h":{"p":"sensor","uniq_id":"wh","dev_cla":"humidity","val_tpl":"{{ value_json.h }}"}"#;
    tell(&mut registry, "device/w", &config(two));
    say(&mut registry, "w/state", r#"{"t":21.5,"h":40}"#);
    assert_eq!(state(&registry, "sensor.weather_temperature"), "21.5");
    assert_eq!(state(&registry, "sensor.weather_humidity"), "40");
    // A component that says nothing but its platform is taken away.
    let one = r#""t":{"p":"sensor"},"h":{"p":"sensor","uniq_id":"wh","dev_cla":"humidity","val_tpl":"{{ value_json.h }}"}"#;
    let changes = tell(&mut registry, "device/w", &config(one));
    assert!(changes.contains(&Change::Removed("sensor.weather_temperature".into())));
    let changes = say(&mut registry, "homeassistant/device/w/config", "");
    assert!(changes.contains(&Change::DeviceRemoved("x".into())));
    assert!(changes.contains(&Change::Unsubscribe("w/state".into())));
    assert!(registry.is_empty());
}

#[test]
fn what_is_wrong_is_said() {
    for (path, config, why) in [
        ("light/a", "{", "not JSON"),
        ("light/a", "[]", "not a JSON object"),
        ("light/a", "{}", "command_topic is missing, which a light needs"),
        ("lihgt/a", "{}", "no kind of entity; did you mean light?"),
        (
            "sensor/a",
            r#"{"state_topic":"a/#/b"}"#,
            "state_topic is no topic",
        ),
        (
            "switch/a",
            r#"{"command_topic":"a/+"}"#,
            "command_topic is no topic",
        ),
        (
            "switch/a",
            r#"{"command_topic":7}"#,
            "command_topic is not a text",
        ),
        (
            "switch/a",
            r#"{"command_topic":"t","device":{"name":"x"}}"#,
            "neither identifiers nor connections",
        ),
        (
            "switch/a",
            r#"{"command_topic":"t","device":[]}"#,
            "device is not an object",
        ),
        (
            "light/a",
            r#"{"command_topic":"t","schema":"fancy"}"#,
            "none of basic, json, template",
        ),
        (
            "light/a",
            r#"{"command_topic":"t","supported_color_modes":["rgbz"]}"#,
            "\"rgbz\" is none of",
        ),
        (
            "number/a",
            r#"{"command_topic":"t","min":9,"max":1}"#,
            "min is above max",
        ),
        (
            "switch/a",
            r#"{"command_topic":"t","availability":[{"payload_available":"x"}]}"#,
            "has no topic",
        ),
        (
            "sensor/a",
            r#"{"state_topic":"t","value_template":"{{ value | "}"#,
            "value_template",
        ),
        ("device/a", r#"{"device":{"ids":"x"}}"#, "components is missing"),
        (
            "device/a",
            r#"{"device":{"ids":"x"},"cmps":{"a":{"name":"x"}}}"#,
            "component \"a\" has no platform",
        ),
        (
            "device/a",
            r#"{"device":{"ids":"x"},"cmps":{"a":{"p":"switch","cmd_t":"t"}}}"#,
            "unique_id is missing",
        ),
    ] {
        let mut registry = registry();
        let changes = registry.message(
            &format!("homeassistant/{path}/config"),
            config.as_bytes(),
            true,
            NOW,
        );
        assert_eq!(changes, [], "{config}");
        assert!(
            problem(&registry).contains(why),
            "{config}: {}",
            problem(&registry)
        );
        assert!(registry.is_empty() && registry.view(NOW).devices().next().is_none());
    }
}

#[test]
fn what_was_right_before_stays_when_it_is_spoilt() {
    let mut registry = registry();
    tell(
        &mut registry,
        "switch/a",
        r#"{"command_topic":"t","state_topic":"s","name":"Pump"}"#,
    );
    say(&mut registry, "homeassistant/switch/a/config", "{spoilt");
    say(&mut registry, "s", "ON");
    assert_eq!(state(&registry, "switch.pump"), "on");
}

#[test]
fn what_is_not_for_us_is_passed_over() {
    let mut registry = registry();
    for topic in [
        "homeassistant/camera/x/config",
        "homeassistant/device_automation/x/y/config",
        "homeassistant/status",
        "homeassistant/light/x/y/z/config",
        "homeassistant/light/x y/config",
        "elsewhere/light/x/config",
    ] {
        assert_eq!(
            registry.message(topic, br#"{"command_topic":"t"}"#, true, NOW),
            [],
            "{topic}"
        );
    }
    assert_eq!(registry.problems().count(), 0);
}

#[test]
fn switched_off_entities_listen_to_nothing() {
    let mut registry = registry();
    let changes = tell(
        &mut registry,
        "sensor/a",
        r#"{"state_topic":"s","name":"Signal","en":false}"#,
    );
    assert_eq!(changes, []);
    assert_eq!(state(&registry, "sensor.signal"), "(none)");
    let on = Assignment {
        enabled: Some(true),
        ..Assignment::default()
    };
    let changes = registry
        .assign(Thing::Entity("sensor.signal".into()), on, NOW)
        .expect("it exists");
    assert!(changes.contains(&Change::Appeared("sensor.signal".into())));
    assert!(changes.contains(&Change::Subscribe("s".into())));
    say(&mut registry, "s", "7");
    assert_eq!(state(&registry, "sensor.signal"), "7");
    let off = Assignment {
        enabled: Some(false),
        ..Assignment::default()
    };
    let changes = registry
        .assign(Thing::Entity("sensor.signal".into()), off, NOW)
        .expect("it exists");
    assert!(changes.contains(&Change::Unsubscribe("s".into())));
}

#[test]
fn a_device_that_is_renamed_renames_its_entities() {
    let mut registry = registry();
    let config = |part: &str, name: &str| {
        format!(
            r#"{{"command_topic":"t","name":"{part}","unique_id":"{part}","device":{{"identifiers":["d"],"name":"{name}"}}}}"#
        )
    };
    tell(&mut registry, "switch/a", &config("Pump", "Well"));
    tell(&mut registry, "switch/b", &config("Lamp", "Well"));
    tell(&mut registry, "switch/b", &config("Lamp", "Fountain"));
    assert_eq!(
        attribute(&registry, "switch.well_pump", "friendly_name"),
        "Fountain Pump"
    );
    assert_eq!(
        attribute(&registry, "switch.well_lamp", "friendly_name"),
        "Fountain Lamp"
    );
}

#[test]
fn there_is_an_end_to_everything() {
    let mut registry = registry();
    for at in 0..crate::limits::MAX_WILDCARDS + 5 {
        let config = format!(r#"{{"state_topic":"w{at}/+","name":"W {at}"}}"#);
        registry.message(
            &format!("homeassistant/sensor/w{at}/config"),
            config.as_bytes(),
            true,
            NOW,
        );
    }
    assert_eq!(registry.len(), crate::limits::MAX_WILDCARDS);
    assert!(problem(&registry).contains("wildcards"));
    let huge = format!(r#"{{"state_topic":"t","name":"{}"}}"#, "x".repeat(70_000));
    registry.message("homeassistant/sensor/huge/config", huge.as_bytes(), true, NOW);
    assert!(problem(&registry).contains("longer than"));
    let long = format!(r#"{{"state_topic":"t","name":"{}"}}"#, "x".repeat(300));
    registry.message("homeassistant/sensor/long/config", long.as_bytes(), true, NOW);
    assert!(problem(&registry).contains("name is not a text of at most 256 bytes"));
    for at in 0..crate::limits::MAX_PROBLEMS + 50 {
        registry.message(&format!("homeassistant/sensor/p{at}/config"), b"{", true, NOW);
    }
    assert_eq!(registry.problems().count(), crate::limits::MAX_PROBLEMS);
    registry.message("homeassistant/sensor/p249/config", b"{", true, NOW);
    assert_eq!(registry.problems().last().map(|problem| problem.times), Some(2));
}
