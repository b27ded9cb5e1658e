//! Payloads of every kind of entity, and what is seen of it.

use serde_json::json;

use super::*;

/// Tells of an entity called X, lets it hear messages, and looks at it.
#[track_caller]
fn check(component: &str, config: &str, heard: &[(&str, &str)], expected: &str, attributes: Value) {
    let mut registry = registry();
    let config = format!("{{\"name\":\"X\",{config}}}");
    tell(&mut registry, &format!("{component}/x"), &config);
    for (topic, payload) in heard {
        say(&mut registry, topic, payload);
    }
    let id = format!("{component}.x");
    assert_eq!(
        state(&registry, &id),
        expected,
        "{component} {heard:?}: {}",
        problem(&registry)
    );
    for (name, value) in attributes.as_object().into_iter().flatten() {
        assert_eq!(
            attribute(&registry, &id, name),
            *value,
            "{component} {heard:?}: {name}"
        );
    }
}

#[test]
fn switches_and_sensors() {
    let switch = r#""command_topic":"c","state_topic":"s""#;
    check("switch", switch, &[], "unknown", json!({ "friendly_name": "X" }));
    check("switch", switch, &[("s", "ON")], "on", json!({}));
    check(
        "switch",
        switch,
        &[("s", "ON"), ("s", "None")],
        "unknown",
        json!({}),
    );
    check("switch", switch, &[("s", "ON"), ("s", "what")], "on", json!({}));
    check(
        "switch",
        r#""command_topic":"c""#,
        &[],
        "off",
        json!({ "assumed_state": true }),
    );
    let own = r#""command_topic":"c","state_topic":"s","payload_on":true,"payload_off":false,"val_tpl":"{{ value_json.on }}""#;
    check("switch", own, &[("s", r#"{"on":true}"#)], "on", json!({}));
    check(
        "switch",
        own,
        &[("s", r#"{"on":true}"#), ("s", r#"{"other":1}"#)],
        "on",
        json!({}),
    );
    check(
        "binary_sensor",
        r#""stat_t":"s","pl_on":"1","pl_off":"0","dev_cla":"motion""#,
        &[("s", "1")],
        "on",
        json!({ "device_class": "motion" }),
    );
    check(
        "sensor",
        r#""stat_t":"s","unit_of_meas":"°C""#,
        &[("s", "21.50")],
        "21.50",
        json!({ "unit_of_measurement": "°C" }),
    );
    check(
        "sensor",
        r#""stat_t":"s","unit_of_meas":"°C""#,
        &[("s", "21"), ("s", "warm")],
        "21",
        json!({}),
    );
    check(
        "sensor",
        r#""stat_t":"s","unit_of_meas":"°C""#,
        &[("s", "21"), ("s", "")],
        "21",
        json!({}),
    );
    check("sensor", r#""stat_t":"s""#, &[("s", "warm")], "warm", json!({}));
    check(
        "sensor",
        r#""stat_t":"s","options":["a","b"]"#,
        &[("s", "a"), ("s", "c")],
        "a",
        json!({ "options": ["a", "b"] }),
    );
    let nested = r#""stat_t":"s","val_tpl":"{{ value_json['ENERGY']['Power'][1] }}""#;
    check(
        "sensor",
        nested,
        &[("s", r#"{"ENERGY":{"Power":[1,2.5]}}"#)],
        "2.5",
        json!({}),
    );
    check("sensor", r#""stat_t":"+/s""#, &[("any/s", "7")], "7", json!({}));
}

#[test]
fn templates_that_calculate() {
    check(
        "sensor",
        r#""stat_t":"s","val_tpl":"{{ (value | float / 10) | round(1) }}""#,
        &[("s", "215")],
        "21.5",
        json!({}),
    );
    check(
        "binary_sensor",
        r#""stat_t":"s","val_tpl":"{{ 'ON' if value_json.level > 50 else 'OFF' }}""#,
        &[("s", r#"{"level":60}"#)],
        "on",
        json!({}),
    );
}

#[test]
fn lights() {
    let basic = r#""cmd_t":"c","stat_t":"s","bri_stat_t":"b","bri_cmd_t":"bc","bri_scl":100,"clr_temp_stat_t":"t","clr_temp_cmd_t":"tc","rgb_stat_t":"rgb","rgb_cmd_t":"rc""#;
    check(
        "light",
        basic,
        &[("s", "ON"), ("b", "50")],
        "on",
        json!({
            "brightness": 128, "supported_color_modes": ["color_temp", "rgb"],
        }),
    );
    // Off, a light has neither brightness nor colour; on again, it has what it had.
    check(
        "light",
        basic,
        &[("s", "ON"), ("b", "50"), ("s", "OFF")],
        "off",
        json!({ "brightness": null }),
    );
    check(
        "light",
        basic,
        &[("s", "ON"), ("b", "50"), ("s", "OFF"), ("s", "ON")],
        "on",
        json!({ "brightness": 128 }),
    );
    check(
        "light",
        basic,
        &[("s", "ON"), ("t", "370")],
        "on",
        json!({
            "color_temp_kelvin": 2702, "color_temp": 370, "color_mode": "color_temp",
        }),
    );
    check(
        "light",
        basic,
        &[("s", "ON"), ("rgb", "255,0,0")],
        "on",
        json!({
            "rgb_color": [255, 0, 0], "hs_color": [0.0, 100.0], "color_mode": "rgb",
        }),
    );
    check(
        "light",
        basic,
        &[("s", "ON"), ("rgb", "255,0")],
        "on",
        json!({ "rgb_color": null }),
    );
    let schema = r#""schema":"json","cmd_t":"c","stat_t":"s","brightness":true,"supported_color_modes":["color_temp","xy"],"effect_list":["a"]"#;
    check(
        "light",
        schema,
        &[(
            "s",
            r#"{"state":"ON","brightness":254,"color_mode":"xy","color":{"x":0.7,"y":0.3},"effect":"a"}"#,
        )],
        "on",
        json!({ "brightness": 254, "color_mode": "xy", "xy_color": [0.7, 0.3], "effect": "a", "effect_list": ["a"] }),
    );
    check(
        "light",
        schema,
        &[(
            "s",
            r#"{"state":"ON","color_mode":"color_temp","color_temp":250,"color":{"x":0.4,"y":0.4}}"#,
        )],
        "on",
        json!({
            "color_temp_kelvin": 4000, "color_mode": "color_temp",
        }),
    );
    check("light", schema, &[("s", "ON")], "unknown", json!({}));
    let templates = r#""schema":"template","cmd_t":"c","stat_t":"s","command_on_template":"on","command_off_template":"off",
        "state_template":"{{ value_json.s }}","brightness_template":"{{ value_json.b }}","red_template":"{{ value_json.c[0] }}",
        "green_template":"{{ value_json.c[1] }}","blue_template":"{{ value_json.c[2] }}""#;
    check(
        "light",
        templates,
        &[("s", r#"{"s":"on","b":10,"c":[0,0,255]}"#)],
        "on",
        json!({ "brightness": 10, "rgb_color": [0, 0, 255] }),
    );
}

#[test]
fn covers_and_valves() {
    let states = r#""cmd_t":"c","stat_t":"s""#;
    check("cover", states, &[("s", "opening")], "opening", json!({}));
    check(
        "cover",
        states,
        &[("s", "closed"), ("s", "stopped")],
        "closed",
        json!({}),
    );
    let positions = r#""cmd_t":"c","pos_t":"p","set_pos_t":"sp","pos_open":0,"pos_clsd":100,"tilt_status_t":"tilt","tilt_cmd_t":"tc","tilt_max":50"#;
    check(
        "cover",
        positions,
        &[("p", "100")],
        "closed",
        json!({ "current_position": 0 }),
    );
    check(
        "cover",
        positions,
        &[("p", "25"), ("tilt", "25")],
        "open",
        json!({ "current_position": 75, "current_tilt_position": 50 }),
    );
    check(
        "cover",
        positions,
        &[("p", r#"{"position":0,"tilt_position":10}"#)],
        "open",
        json!({ "current_position": 100, "current_tilt_position": 10 }),
    );
    let both = r#""cmd_t":"c","stat_t":"s","pos_t":"p","set_pos_t":"sp""#;
    check(
        "cover",
        both,
        &[("s", "closing"), ("p", "40")],
        "closing",
        json!({ "current_position": 40 }),
    );
    check(
        "cover",
        both,
        &[("s", "closing"), ("p", "40"), ("s", "stopped")],
        "open",
        json!({}),
    );
    check("cover", both, &[("p", "far")], "unknown", json!({}));
    check(
        "valve",
        r#""cmd_t":"c","stat_t":"s","pos":true"#,
        &[("s", "60")],
        "open",
        json!({ "current_position": 60 }),
    );
    check(
        "valve",
        r#""cmd_t":"c","stat_t":"s","pos":true"#,
        &[("s", r#"{"state":"closing","position":10}"#)],
        "closing",
        json!({ "current_position": 10 }),
    );
}

#[test]
fn heating_fans_and_humidifiers() {
    let climate = r#""mode_cmd_t":"mc","mode_stat_t":"m","modes":["off","heat"],"temp_stat_t":"t","temp_cmd_t":"tc","curr_temp_t":"now",
        "act_t":"a","pr_mode_stat_t":"p","pr_mode_cmd_t":"pc","pr_modes":["eco"],"min_temp":5,"max_temp":30,"temp_step":0.5"#;
    check(
        "climate",
        climate,
        &[
            ("m", "heat"),
            ("t", "21.5"),
            ("now", "19"),
            ("a", "heating"),
            ("p", "eco"),
        ],
        "heat",
        json!({
            "temperature": 21.5, "current_temperature": 19, "hvac_action": "heating", "preset_mode": "eco",
            "hvac_modes": ["off", "heat"], "min_temp": 5.0, "max_temp": 30.0, "target_temp_step": 0.5,
        }),
    );
    let fan = r#""cmd_t":"c","stat_t":"s","pct_stat_t":"p","pct_cmd_t":"pc","spd_rng_max":4,"osc_stat_t":"o","osc_cmd_t":"oc","dir_stat_t":"d""#;
    check(
        "fan",
        fan,
        &[("s", "ON"), ("p", "2"), ("o", "oscillate_on"), ("d", "reverse")],
        "on",
        json!({
            "percentage": 50, "oscillating": true, "direction": "reverse",
        }),
    );
    check("fan", fan, &[("p", "0")], "unknown", json!({ "percentage": 0 }));
    check(
        "humidifier",
        r#""cmd_t":"c","stat_t":"s","hum_cmd_t":"hc","hum_stat_t":"h","mode_stat_t":"m","modes":["auto"]"#,
        &[("s", "ON"), ("h", "45"), ("m", "auto")],
        "on",
        json!({ "humidity": 45, "mode": "auto", "available_modes": ["auto"] }),
    );
}

#[test]
fn all_others() {
    check(
        "lock",
        r#""cmd_t":"c","stat_t":"s""#,
        &[("s", "LOCKED")],
        "locked",
        json!({}),
    );
    check(
        "lock",
        r#""cmd_t":"c","stat_t":"s","stat_jam":"stuck""#,
        &[("s", "stuck")],
        "jammed",
        json!({}),
    );
    check(
        "number",
        r#""cmd_t":"c","stat_t":"s","min":0,"max":10"#,
        &[("s", "5")],
        "5",
        json!({ "min": 0.0, "max": 10.0 }),
    );
    check(
        "select",
        r#""cmd_t":"c","stat_t":"s","ops":["a","b"]"#,
        &[("s", "b"), ("s", "z")],
        "b",
        json!({}),
    );
    check(
        "text",
        r#""cmd_t":"c","stat_t":"s""#,
        &[("s", "hello")],
        "hello",
        json!({ "max": 255.0 }),
    );
    check(
        "siren",
        r#""cmd_t":"c","stat_t":"s""#,
        &[("s", r#"{"state":"ON","tone":"bell"}"#)],
        "on",
        json!({ "tone": "bell" }),
    );
    check(
        "siren",
        r#""cmd_t":"c","stat_t":"s""#,
        &[("s", "ON")],
        "on",
        json!({}),
    );
    check(
        "alarm_control_panel",
        r#""cmd_t":"c","stat_t":"s""#,
        &[("s", "armed_away"), ("s", "nonsense")],
        "armed_away",
        json!({}),
    );
    check(
        "device_tracker",
        r#""stat_t":"s","pl_home":"in","json_attr_t":"a""#,
        &[("s", "in"), ("a", r#"{"latitude":48.8}"#)],
        "home",
        json!({ "latitude": 48.8 }),
    );
    check(
        "device_tracker",
        r#""stat_t":"s""#,
        &[("s", "office")],
        "office",
        json!({}),
    );
    check(
        "update",
        r#""stat_t":"s""#,
        &[(
            "s",
            r#"{"installed_version":"1","latest_version":"2","title":"Firmware"}"#,
        )],
        "on",
        json!({ "title": "Firmware" }),
    );
    check(
        "update",
        r#""stat_t":"s","l_ver_t":"l""#,
        &[("s", "2"), ("l", "2")],
        "off",
        json!({}),
    );
    check(
        "vacuum",
        r#""cmd_t":"c","stat_t":"s""#,
        &[("s", r#"{"state":"docked","fan_speed":"max"}"#)],
        "docked",
        json!({ "fan_speed": "max" }),
    );
    check(
        "lawn_mower",
        r#""act_stat_t":"s""#,
        &[("s", "mowing")],
        "mowing",
        json!({}),
    );
    check("button", r#""cmd_t":"c""#, &[], "unknown", json!({}));
    check("scene", r#""cmd_t":"c""#, &[], "unknown", json!({}));
    check("notify", r#""cmd_t":"c""#, &[], "unknown", json!({}));
}

#[test]
fn events_happen_once() {
    let mut registry = registry();
    tell(
        &mut registry,
        "event/x",
        r#"{"name":"Bell","stat_t":"s","evt_typ":["press"],"dev_cla":"doorbell"}"#,
    );
    let changes = say(&mut registry, "s", r#"{"event_type":"press","times":2}"#);
    let data = Map::from_iter([("times".to_owned(), json!(2))]);
    assert_eq!(
        changes.last(),
        Some(&Change::Event {
            entity: "event.bell".into(),
            kind: "press".into(),
            data
        })
    );
    assert_eq!(state(&registry, "event.bell"), "2026-03-01T12:05:00.000+00:00");
    assert_eq!(attribute(&registry, "event.bell", "event_type"), "press");
    // What the broker kept happened some other time.
    assert_eq!(
        registry.message("s", br#"{"event_type":"press"}"#, true, NOW + 5),
        []
    );
    assert_eq!(say(&mut registry, "s", r#"{"event_type":"knock"}"#), []);
    assert!(problem(&registry).contains("knock"));
}

#[test]
fn availability_in_all_its_ways() {
    let list = r#""avty":[{"t":"a"},{"t":"b","pl_avail":"up","pl_not_avail":"down","val_tpl":"{{ value_json.s }}"}]"#;
    for (mode, heard, reachable) in [
        ("all", vec![("a", "online")], false),
        ("all", vec![("a", "online"), ("b", r#"{"s":"up"}"#)], true),
        (
            "all",
            vec![("a", "online"), ("b", r#"{"s":"up"}"#), ("a", "offline")],
            false,
        ),
        ("any", vec![("a", "online")], true),
        ("any", vec![("a", "online"), ("a", "offline")], false),
        ("latest", vec![("a", "online"), ("b", r#"{"s":"down"}"#)], false),
        ("latest", vec![("b", r#"{"s":"down"}"#), ("a", "online")], true),
        ("latest", vec![("a", "online"), ("a", "nonsense")], true),
    ] {
        let mut registry = registry();
        let config = format!(r#"{{"name":"X","cmd_t":"c","stat_t":"s",{list},"avty_mode":"{mode}"}}"#);
        tell(&mut registry, "switch/x", &config);
        say(&mut registry, "s", "ON");
        for (topic, payload) in &heard {
            say(&mut registry, topic, payload);
        }
        let expected = if reachable { "on" } else { "unavailable" };
        assert_eq!(state(&registry, "switch.x"), expected, "{mode} {heard:?}");
        assert_eq!(registry.view(NOW).is_reachable("switch.x"), reachable);
    }
}

#[test]
fn changes_tell_of_old_and_new() {
    let mut registry = registry();
    tell(
        &mut registry,
        "switch/x",
        r#"{"name":"X","cmd_t":"c","stat_t":"s","avty_t":"a"}"#,
    );
    let changes = say(&mut registry, "a", "online");
    assert_eq!(
        changes[0],
        Change::Reachable {
            entity: "switch.x".into(),
            reachable: true
        }
    );
    let changes = registry.message("s", b"ON", false, NOW + 1_000);
    let [
        Change::State {
            entity,
            old: Some(old),
            new: Some(new),
        },
    ] = changes.as_slice()
    else {
        panic!("{changes:?}")
    };
    assert_eq!(
        (entity.as_str(), old.state.as_str(), new.state.as_str()),
        ("switch.x", "unknown", "on")
    );
    assert_eq!(
        (new.last_changed_ms, new.last_updated_ms),
        (NOW + 1_000, NOW + 1_000)
    );
    assert_eq!(registry.message("s", b"ON", false, NOW + 2_000), []);
    let changes = registry.message("a", b"offline", false, NOW + 3_000);
    assert!(matches!(&changes[1], Change::State { new: Some(new), .. } if new.state == "unavailable"));
}

#[test]
fn attributes_change_without_the_state() {
    let mut registry = registry();
    tell(
        &mut registry,
        "sensor/x",
        r#"{"name":"X","stat_t":"s","json_attr_t":"s","val_tpl":"{{ value_json.v }}","json_attr_tpl":"{{ value_json.more | tojson }}"}"#,
    );
    registry.message("s", br#"{"v":1,"more":{"a":1,"friendly_name":"Y"}}"#, false, NOW);
    let changes = registry.message("s", br#"{"v":1,"more":{"a":2}}"#, false, NOW + 10);
    let [Change::State { new: Some(new), .. }] = changes.as_slice() else {
        panic!("{changes:?}")
    };
    assert_eq!((new.last_changed_ms, new.last_updated_ms), (NOW, NOW + 10));
    assert_eq!(
        (
            attribute(&registry, "sensor.x", "a"),
            attribute(&registry, "sensor.x", "friendly_name")
        ),
        (json!(2), json!("X"))
    );
    let many: String = (0..300).map(|at| format!("\"k{at}\":1,")).collect();
    say(
        &mut registry,
        "s",
        &format!(r#"{{"v":1,"more":{{{many}"z":1}}}}"#),
    );
    assert!(
        problem(&registry).contains("301 attributes"),
        "{}",
        problem(&registry)
    );
    assert_eq!(attribute(&registry, "sensor.x", "a"), 2);
}

#[test]
fn what_is_not_heard_of_expires() {
    let mut registry = registry();
    tell(
        &mut registry,
        "sensor/x",
        r#"{"name":"X","stat_t":"s","exp_aft":60}"#,
    );
    registry.message("s", b"1", false, NOW);
    assert_eq!(registry.next_deadline_ms(), Some(NOW + 60_000));
    registry.message("s", b"1", false, NOW + 30_000);
    assert_eq!(registry.next_deadline_ms(), Some(NOW + 90_000));
    assert_eq!(registry.tick(NOW + 60_000), []);
    let changes = registry.tick(NOW + 90_000);
    assert_eq!(
        changes[0],
        Change::Reachable {
            entity: "sensor.x".into(),
            reachable: false
        }
    );
    assert_eq!(
        (state(&registry, "sensor.x"), registry.next_deadline_ms()),
        ("unavailable".into(), None)
    );
    registry.message("s", b"1", false, NOW + 100_000);
    assert_eq!(state(&registry, "sensor.x"), "1");
}

#[test]
fn motion_ends_by_itself() {
    let mut registry = registry();
    tell(
        &mut registry,
        "binary_sensor/x",
        r#"{"name":"X","stat_t":"s","off_dly":5}"#,
    );
    registry.message("s", b"ON", false, NOW);
    registry.message("s", b"ON", false, NOW + 3_000);
    assert_eq!(registry.tick(NOW + 5_000), []);
    assert_eq!(registry.tick(NOW + 8_000).len(), 1);
    assert_eq!(state(&registry, "binary_sensor.x"), "off");
    registry.message("s", b"ON", false, NOW + 9_000);
    registry.message("s", b"OFF", false, NOW + 9_500);
    assert_eq!(registry.next_deadline_ms(), None);
}

#[test]
fn payloads_that_are_no_text_are_told_of() {
    let mut registry = registry();
    tell(&mut registry, "sensor/x", r#"{"name":"X","stat_t":"s"}"#);
    for payload in [&b"\xff\xfe"[..], &vec![b'x'; 100_000], &vec![b'x'; 300]] {
        assert_eq!(registry.message("s", payload, false, NOW), []);
    }
    let why: Vec<&str> = registry.problems().map(|problem| problem.why.as_str()).collect();
    assert_eq!(why.len(), 3, "{why:?}");
    assert!(why[0].contains("UTF-8") && why[1].contains("100000 bytes") && why[2].contains("255 characters"));
}

#[test]
fn a_view_does_not_change() {
    let mut registry = registry();
    tell(
        &mut registry,
        "switch/x",
        r#"{"name":"X","cmd_t":"c","stat_t":"s"}"#,
    );
    let before = registry.view(NOW);
    say(&mut registry, "s", "ON");
    say(&mut registry, "homeassistant/switch/x/config", "");
    assert_eq!(before.entity("switch.x").expect("it was there").state, "unknown");
    assert!(registry.view(NOW).entity("switch.x").is_none());
}

#[test]
fn states_of_our_own_stand_beside() {
    let mut registry = registry();
    let put = |registry: &mut Registry, state: &str, now| {
        registry.put_state("sun.sun", Some((state.to_owned(), BTreeMap::new())), now)
    };
    assert!(put(&mut registry, "below_horizon", NOW).is_some());
    assert!(put(&mut registry, "below_horizon", NOW + 1).is_none());
    assert!(put(&mut registry, "above_horizon", NOW + 2).is_some());
    let view = registry.view(NOW + 3);
    assert_eq!(
        view.entity("sun.sun").map(|sun| sun.last_changed_ms),
        Some(NOW + 2)
    );
    assert_eq!(view.entities(Some("sun")).len(), 1);
    assert!(registry.put_state("sun.sun", None, NOW).is_some());
    assert_eq!(state(&registry, "sun.sun"), "(none)");
}
