//! Zigbee2MQTT and Tasmota without Home Assistant's discovery.

use serde_json::json;

use super::*;
use crate::service::{Target, call};

fn device(address: &str, name: &str, exposes: Value) -> Value {
    json!({
        "ieee_address": address, "friendly_name": name, "type": "Router", "disabled": false,
        "definition": { "vendor": "Maker", "model": "M1", "exposes": exposes },
    })
}

fn lamp() -> Value {
    json!([
        { "type": "light", "features": [
            { "type": "binary", "name": "state", "property": "state", "value_on": "ON", "value_off": "OFF", "access": 7 },
            { "type": "numeric", "name": "brightness", "property": "brightness", "value_min": 0, "value_max": 254, "access": 7 },
            { "type": "numeric", "name": "color_temp", "property": "color_temp", "value_min": 153, "value_max": 500, "access": 7 },
        ] },
        { "type": "numeric", "name": "linkquality", "property": "linkquality", "unit": "lqi", "access": 1 },
    ])
}

fn climate() -> Value {
    let feature = |name: &str, more: Value| {
        let mut out = json!({ "type": "numeric", "name": name, "property": name, "access": 7 });
        out.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        out
    };
    json!([
        { "type": "climate", "features": [
            feature("occupied_heating_setpoint", json!({ "value_min": 5, "value_max": 30, "value_step": 0.5 })),
            feature("local_temperature", json!({})),
            feature("system_mode", json!({ "values": ["off", "heat"] })),
        ] },
        { "type": "binary", "name": "window_open", "property": "window_open", "value_on": true, "value_off": false, "access": 1 },
    ])
}

fn bridge(registry: &mut Registry, devices: &[Value]) -> Vec<Change> {
    let payload = json!(devices).to_string();
    registry.message("zigbee2mqtt/bridge/devices", payload.as_bytes(), true, NOW)
}

#[track_caller]
fn published(registry: &Registry, service: &str, id: &str, data: Value) -> Vec<(String, String)> {
    let data = data.as_object().cloned().unwrap_or_default();
    let out = call(
        service,
        &Target::entity(id),
        &data,
        &registry.view(NOW),
        &registry.templates,
    )
    .expect("it fits");
    out.publishes
        .into_iter()
        .map(|one| (one.topic, one.payload))
        .collect()
}

#[test]
fn zigbee_devices_are_read_from_their_bridge() {
    let mut registry = registry();
    let contact = json!([
        { "type": "binary", "name": "contact", "property": "contact", "value_on": false, "value_off": true, "access": 1 },
        { "type": "numeric", "name": "temperature", "property": "temperature", "unit": "°C", "access": 1 },
        { "type": "enum", "name": "action", "property": "action", "values": ["single", "double"], "access": 1 },
        { "type": "enum", "name": "sensitivity", "property": "sensitivity", "values": ["low", "high"], "access": 7 },
        { "type": "binary", "name": "led", "property": "led", "value_on": "ON", "value_off": "OFF", "access": 7 },
        { "type": "numeric", "name": "delay", "property": "delay", "value_min": 0, "value_max": 60, "access": 7 },
        { "type": "text", "name": "note", "property": "note", "access": 1 },
        { "type": "composite", "name": "c", "property": "c", "features": [], "access": 2 },
    ]);
    let coordinator = json!({ "ieee_address": "0x0", "friendly_name": "Coordinator", "type": "Coordinator" });
    bridge(
        &mut registry,
        &[
            coordinator,
            device("0x1", "Kitchen lamp", lamp()),
            device("0x2", "Front/door", contact),
            device("0x3", "Radiator", climate()),
        ],
    );
    assert_eq!(registry.problems().collect::<Vec<_>>(), Vec::<&Problem>::new());
    say(
        &mut registry,
        "zigbee2mqtt/Kitchen lamp",
        r#"{"state":"ON","brightness":127,"color_temp":370,"color_mode":"color_temp","linkquality":80}"#,
    );
    say(
        &mut registry,
        "zigbee2mqtt/Front/door",
        r#"{"contact":true,"temperature":19.5,"action":"","sensitivity":"high","led":"OFF","delay":5,"note":"hi"}"#,
    );
    say(
        &mut registry,
        "zigbee2mqtt/Radiator",
        r#"{"occupied_heating_setpoint":21,"local_temperature":19.2,"system_mode":"heat","window_open":false}"#,
    );
    for (id, expected) in [
        ("light.kitchen_lamp", "on"),
        ("sensor.kitchen_lamp_linkquality", "80"),
        ("binary_sensor.front_door_contact", "off"),
        ("sensor.front_door_temperature", "19.5"),
        ("event.front_door_action", "unknown"),
        ("select.front_door_sensitivity", "high"),
        ("switch.front_door_led", "off"),
        ("number.front_door_delay", "5"),
        ("sensor.front_door_note", "hi"),
        ("climate.radiator", "heat"),
        ("binary_sensor.radiator_window_open", "off"),
    ] {
        assert_eq!(state(&registry, id), expected, "{id}");
    }
    assert_eq!(attribute(&registry, "light.kitchen_lamp", "brightness"), 128);
    assert_eq!(
        attribute(&registry, "climate.radiator", "current_temperature"),
        19.2
    );
    let changes = say(&mut registry, "zigbee2mqtt/Front/door", r#"{"action":"double"}"#);
    assert!(
        matches!(changes.last(), Some(Change::Event { kind, .. }) if kind == "double"),
        "{changes:?}"
    );
    assert_eq!(
        published(
            &registry,
            "light.turn_on",
            "light.kitchen_lamp",
            json!({ "brightness_pct": 100, "transition": 2 })
        ),
        [(
            "zigbee2mqtt/Kitchen lamp/set".to_owned(),
            r#"{"state":"ON","transition":2,"brightness":254}"#.to_owned()
        )]
        .map(|(topic, payload)| (topic, sorted(&payload)))
    );
    assert_eq!(
        published(
            &registry,
            "climate.set_temperature",
            "climate.radiator",
            json!({ "temperature": 22.5 })
        ),
        [(
            "zigbee2mqtt/Radiator/set/occupied_heating_setpoint".to_owned(),
            "22.5".to_owned()
        )]
    );
    assert_eq!(
        published(
            &registry,
            "select.select_option",
            "select.front_door_sensitivity",
            json!({ "option": "low" })
        ),
        [(
            "zigbee2mqtt/Front/door/set/sensitivity".to_owned(),
            "low".to_owned()
        )]
    );
}

/// JSON in the order in which this build of it writes objects.
fn sorted(payload: &str) -> String {
    serde_json::from_str::<Value>(payload).expect("JSON").to_string()
}

#[test]
fn a_zigbee_device_that_is_gone_or_renamed() {
    let mut registry = registry();
    bridge(
        &mut registry,
        &[device("0x1", "Lamp", lamp()), device("0x2", "Other", lamp())],
    );
    assert_eq!(registry.len(), 4);
    bridge(
        &mut registry,
        &[device("0x1", "Lamp", lamp()), device("0x2", "Desk", lamp())],
    );
    assert_eq!(attribute(&registry, "light.other", "friendly_name"), "Desk");
    let changes = bridge(&mut registry, &[device("0x1", "Lamp", lamp())]);
    assert!(
        changes.contains(&Change::DeviceRemoved("zigbee2mqtt_0x2".into())),
        "{changes:?}"
    );
    say(&mut registry, "zigbee2mqtt/bridge/devices", "{spoilt");
    assert_eq!(registry.len(), 2);
    say(&mut registry, "zigbee2mqtt/bridge/devices", "");
    assert!(registry.is_empty());
}

#[test]
fn zigbee_availability_counts_where_it_is_told() {
    let mut registry = registry();
    bridge(&mut registry, &[device("0x1", "Lamp", lamp())]);
    assert_eq!(state(&registry, "light.lamp"), "unknown");
    say(
        &mut registry,
        "zigbee2mqtt/Lamp/availability",
        r#"{"state":"offline"}"#,
    );
    assert_eq!(state(&registry, "light.lamp"), "unavailable");
    say(&mut registry, "zigbee2mqtt/Lamp/availability", "online");
    assert_eq!(state(&registry, "light.lamp"), "unknown");
    say(
        &mut registry,
        "zigbee2mqtt/bridge/state",
        r#"{"state":"offline"}"#,
    );
    assert_eq!(state(&registry, "light.lamp"), "unavailable");
}

#[test]
fn zigbee_groups_are_lights_or_switches() {
    let mut registry = registry();
    let plug = json!([{ "type": "switch", "features": [
        { "type": "binary", "name": "state", "property": "state", "value_on": "ON", "value_off": "OFF", "access": 7 },
    ] }]);
    bridge(
        &mut registry,
        &[device("0x1", "Lamp", lamp()), device("0x2", "Plug", plug)],
    );
    let groups = json!([
        { "id": 1, "friendly_name": "Lamps", "members": [{ "ieee_address": "0x1", "endpoint": 1 }] },
        { "id": 2, "friendly_name": "Plugs", "members": [{ "ieee_address": "0x2", "endpoint": 1 }] },
    ]);
    registry.message(
        "zigbee2mqtt/bridge/groups",
        groups.to_string().as_bytes(),
        true,
        NOW,
    );
    assert_eq!(
        (state(&registry, "light.lamps"), state(&registry, "switch.plugs")),
        ("unknown".into(), "unknown".into())
    );
    assert_eq!(
        published(&registry, "switch.turn_on", "switch.plugs", json!({})),
        [("zigbee2mqtt/Plugs/set/state".to_owned(), "ON".to_owned())]
    );
}

#[test]
fn discovery_comes_before_what_a_bare_device_says() {
    let config = r#"{"name":null,"uniq_id":"0x1_light_zigbee2mqtt","schema":"json","cmd_t":"zigbee2mqtt/Lamp/set","stat_t":"zigbee2mqtt/Lamp",
        "dev":{"ids":["zigbee2mqtt_0x1"],"name":"Lamp"}}"#;
    let mut first = registry();
    tell(&mut first, "light/0x1/light", config);
    bridge(&mut first, &[device("0x1", "Lamp", lamp())]);
    let mut last = registry();
    bridge(&mut last, &[device("0x1", "Lamp", lamp())]);
    tell(&mut last, "light/0x1/light", config);
    for registry in [first, last] {
        let ids: Vec<String> = registry
            .view(NOW)
            .all_described()
            .iter()
            .map(|entity| entity.id.clone())
            .collect();
        assert_eq!(ids, ["light.lamp"]);
    }
}

const CONFIG: &str = r#"{"ip":"10.0.0.9","dn":"Desk","fn":["Desk lamp","Fan",null,null],"hn":"desk","mac":"AABBCCDDEEFF","md":"Sonoff",
    "ofln":"Offline","onln":"Online","state":["OFF","ON","TOGGLE","HOLD"],"sw":"14.1","t":"desk","ft":"%prefix%/%topic%/",
    "tp":["cmnd","stat","tele"],"rl":[2,1,3,3],"lt_st":3,"so":{"30":0},"ver":1}"#;
const SENSORS: &str = r#"{"sn":{"Time":"2026-03-01T12:00:00","ENERGY":{"Total":1.5,"Power":12},"DS18B20":{"Id":"0A","Temperature":20.5},
    "Switch1":"ON","TempUnit":"C","Shutter1":{"Position":0}},"ver":1}"#;

#[test]
fn tasmota_devices_are_read() {
    for reversed in [false, true] {
        let mut registry = registry();
        let mut messages = [("config", CONFIG), ("sensors", SENSORS)];
        if reversed {
            messages.reverse();
        }
        for (what, payload) in messages {
            registry.message(
                &format!("tasmota/discovery/AABBCCDDEEFF/{what}"),
                payload.as_bytes(),
                true,
                NOW,
            );
        }
        assert_eq!(registry.problems().collect::<Vec<_>>(), Vec::<&Problem>::new());
        say(&mut registry, "tele/desk/LWT", "Online");
        say(
            &mut registry,
            "tele/desk/STATE",
            r#"{"POWER1":"ON","POWER2":"OFF","Dimmer":50,"HSBColor":"120,100,50"}"#,
        );
        say(
            &mut registry,
            "tele/desk/SENSOR",
            r#"{"ENERGY":{"Total":1.6,"Power":13},"DS18B20":{"Temperature":21},"Switch1":"OFF","Shutter1":{"Position":30}}"#,
        );
        for (id, expected) in [
            ("light.desk_desk_lamp", "on"),
            ("switch.desk_fan", "off"),
            ("cover.desk_shutter_1", "open"),
            ("sensor.desk_energy_total", "1.6"),
            ("sensor.desk_energy_power", "13"),
            ("sensor.desk_ds18b20_temperature", "21"),
            ("binary_sensor.desk_switch1", "off"),
        ] {
            assert_eq!(state(&registry, id), expected, "{id}");
        }
        assert_eq!(registry.len(), 7);
        assert_eq!(attribute(&registry, "light.desk_desk_lamp", "brightness"), 128);
        assert_eq!(
            attribute(&registry, "light.desk_desk_lamp", "rgb_color"),
            json!([0, 255, 0])
        );
        assert_eq!(
            attribute(
                &registry,
                "sensor.desk_ds18b20_temperature",
                "unit_of_measurement"
            ),
            "°C"
        );
        say(&mut registry, "stat/desk/RESULT", r#"{"POWER2":"ON"}"#);
        assert_eq!(state(&registry, "switch.desk_fan"), "on");
        assert_eq!(
            published(&registry, "switch.turn_off", "switch.desk_fan", json!({})),
            [("cmnd/desk/POWER2".to_owned(), "OFF".to_owned())]
        );
        assert_eq!(
            published(
                &registry,
                "light.turn_on",
                "light.desk_desk_lamp",
                json!({ "rgb_color": [255, 0, 0], "brightness_pct": 40 })
            ),
            [
                ("cmnd/desk/Color2".to_owned(), "255,0,0".to_owned()),
                ("cmnd/desk/Dimmer".to_owned(), "40".to_owned()),
                ("cmnd/desk/POWER1".to_owned(), "ON".to_owned()),
            ]
        );
        assert_eq!(
            published(
                &registry,
                "cover.set_cover_position",
                "cover.desk_shutter_1",
                json!({ "position": 70 })
            ),
            [("cmnd/desk/ShutterPosition1".to_owned(), "70".to_owned())]
        );
        say(&mut registry, "tele/desk/LWT", "Offline");
        assert_eq!(state(&registry, "switch.desk_fan"), "unavailable");
        registry.message("tasmota/discovery/AABBCCDDEEFF/config", b"", true, NOW);
        assert!(registry.is_empty());
    }
}

#[test]
fn tasmota_with_one_relay_says_power() {
    let mut registry = registry();
    let config = r#"{"dn":"Plug","fn":["Plug",null],"t":"plug","ft":"home/%topic%/%prefix%/","tp":["c","s","t"],"rl":[1,0]}"#;
    registry.message(
        "tasmota/discovery/AABBCCDDEEFF/config",
        config.as_bytes(),
        true,
        NOW,
    );
    say(&mut registry, "home/plug/s/RESULT", r#"{"POWER":"ON"}"#);
    assert_eq!(state(&registry, "switch.plug"), "on");
    assert_eq!(
        published(&registry, "switch.toggle", "switch.plug", json!({})),
        [("home/plug/c/POWER".to_owned(), "OFF".to_owned())]
    );
    for (topic, payload, why) in [
        ("tasmota/discovery/nonsense/config", config, "twelve hexadecimal"),
        (
            "tasmota/discovery/AABBCCDDEE00/config",
            "{}",
            "t and ft are missing",
        ),
        ("tasmota/discovery/AABBCCDDEE00/sensors", "[", "not JSON"),
    ] {
        say(&mut registry, topic, payload);
        assert!(problem(&registry).contains(why), "{}", problem(&registry));
    }
}
