//! Calls and what is published: one table for each kind of entity.

use serde_json::json;

use super::*;
use crate::registry::tests::{NOW, registry, say, tell};
use crate::registry::{Assignment, Registry, Thing};

/// An entity called X of a kind, which has heard something.
fn with(component: &str, config: &str, heard: &[(&str, &str)]) -> Registry {
    let mut registry = registry();
    tell(
        &mut registry,
        &format!("{component}/x"),
        &format!("{{\"name\":\"X\",{config}}}"),
    );
    for (topic, payload) in heard {
        say(&mut registry, topic, payload);
    }
    registry
}

fn run(registry: &Registry, service: &str, target: &Target, data: Value) -> Result<Outcome, CallError> {
    let data = data.as_object().cloned().unwrap_or_default();
    call(service, target, &data, &registry.view(NOW), &Templates::new())
}

/// What is published, as `topic payload`.
fn sent(out: &Outcome) -> Vec<String> {
    out.publishes
        .iter()
        .map(|one| format!("{} {}", one.topic, tidied(&one.payload)))
        .collect()
}

/// JSON in an order that does not depend on how this build keeps objects.
fn tidied(payload: &str) -> String {
    match serde_json::from_str::<BTreeMap<String, Value>>(payload) {
        Ok(object) => serde_json::to_string(&object).expect("it was JSON"),
        Err(_) => payload.to_owned(),
    }
}

#[track_caller]
fn check(component: &str, config: &str, heard: &[(&str, &str)], calls: &[(&str, Value, &[&str])]) {
    let registry = with(component, config, heard);
    for (service, data, expected) in calls {
        let service = if service.contains('.') {
            (*service).to_owned()
        } else {
            format!("{component}.{service}")
        };
        let out = run(
            &registry,
            &service,
            &Target::entity(format!("{component}.x")),
            data.clone(),
        );
        match out {
            Ok(out) => assert_eq!(sent(&out), *expected, "{service} {data}"),
            Err(error) => panic!("{service} {data}: {error}"),
        }
    }
}

#[track_caller]
fn refused(component: &str, config: &str, service: &str, data: Value, why: &str) {
    let registry = with(component, config, &[]);
    let target = Target::entity(format!("{component}.x"));
    let error = run(
        &registry,
        &format!("{component}.{service}"),
        &target,
        data.clone(),
    )
    .expect_err("it is refused");
    assert!(error.to_string().contains(why), "{service} {data}: {error}");
}

#[test]
fn switches() {
    let plain = r#""cmd_t":"c","stat_t":"s","qos":1,"ret":true"#;
    check(
        "switch",
        plain,
        &[("s", "ON")],
        &[
            ("turn_on", json!({}), &["c ON"]),
            ("turn_off", json!({}), &["c OFF"]),
            // Decided by what is known: sent again, it does the same.
            ("toggle", json!({}), &["c OFF"]),
            ("homeassistant.turn_on", json!({}), &["c ON"]),
            ("homeassistant.toggle", json!({}), &["c OFF"]),
        ],
    );
    check("switch", plain, &[], &[("toggle", json!({}), &["c ON"])]);
    let out = run(
        &with("switch", plain, &[]),
        "switch.turn_on",
        &Target::entity("switch.x"),
        json!({}),
    )
    .expect("it fits");
    assert_eq!((out.publishes[0].qos, out.publishes[0].retain), (1, true));
    assert_eq!(out.publishes[0].entity.as_deref(), Some("switch.x"));
    assert_eq!(out.assumed, []);
    let own = r#""cmd_t":"c","stat_t":"s","pl_on":1,"pl_off":0,"cmd_tpl":"{\"v\":{{ value }}}""#;
    check("switch", own, &[], &[("turn_on", json!({}), &[r#"c {"v":1}"#])]);
}

#[test]
fn what_does_not_tell_is_assumed() {
    let mut registry = with("switch", r#""cmd_t":"c""#, &[]);
    let out = run(&registry, "switch.toggle", &Target::entity("switch.x"), json!({})).expect("it fits");
    assert_eq!(sent(&out), ["c ON"]);
    let changes = registry.assume(&out.assumed, NOW);
    assert_eq!(changes.len(), 1);
    let out = run(&registry, "switch.toggle", &Target::entity("switch.x"), json!({})).expect("it fits");
    assert_eq!(sent(&out), ["c OFF"]);
}

#[test]
fn basic_lights() {
    let config = r#""cmd_t":"c","stat_t":"s","bri_cmd_t":"b","bri_stat_t":"bs","bri_scl":100,"clr_temp_cmd_t":"t","clr_temp_stat_t":"ts",
        "rgb_cmd_t":"rgb","rgb_stat_t":"rs","fx_cmd_t":"fx","fx_list":["rainbow"]"#;
    check(
        "light",
        config,
        &[("s", "ON"), ("bs", "50")],
        &[
            ("turn_on", json!({}), &["c ON"]),
            ("turn_on", json!({ "brightness": 128 }), &["b 50", "c ON"]),
            ("turn_on", json!({ "brightness_pct": 1 }), &["b 1", "c ON"]),
            ("turn_on", json!({ "brightness_step_pct": 10 }), &["b 60", "c ON"]),
            ("turn_on", json!({ "brightness_step_pct": -80 }), &["c OFF"]),
            ("turn_on", json!({ "brightness": 0 }), &["c OFF"]),
            (
                "turn_on",
                json!({ "color_temp_kelvin": 2700 }),
                &["t 370", "c ON"],
            ),
            ("turn_on", json!({ "color_temp": 250 }), &["t 250", "c ON"]),
            (
                "turn_on",
                json!({ "color_temp_kelvin": 1500 }),
                &["t 500", "c ON"],
            ),
            (
                "turn_on",
                json!({ "rgb_color": [1, 2, 3] }),
                &["rgb 1,2,3", "c ON"],
            ),
            (
                "turn_on",
                json!({ "hs_color": [120, 100] }),
                &["rgb 0,255,0", "c ON"],
            ),
            (
                "turn_on",
                json!({ "color_name": "red", "brightness_pct": 50 }),
                &["rgb 255,0,0", "b 50", "c ON"],
            ),
            ("turn_on", json!({ "effect": "rainbow" }), &["fx rainbow", "c ON"]),
            ("turn_on", json!({ "effect": "disco" }), &["c ON"]),
            ("turn_on", json!({ "brightness": 300 }), &["b 100", "c ON"]),
            ("turn_on", json!({ "brightness": 0.9 }), &["c OFF"]),
            ("turn_on", json!({ "brightness_step": -999 }), &["c OFF"]),
            (
                "turn_on",
                json!({ "color_temp_kelvin": 4300 }),
                &["t 232", "c ON"],
            ),
            ("turn_on", json!({ "color_temp": 9 }), &["t 153", "c ON"]),
            ("turn_on", json!({ "transition": 99_999 }), &["c ON"]),
            ("turn_off", json!({ "transition": 2 }), &["c OFF"]),
            ("toggle", json!({}), &["c OFF"]),
        ],
    );
    check(
        "light",
        r#""cmd_t":"c","bri_cmd_t":"b","on_cmd_type":"brightness""#,
        &[],
        &[
            ("turn_on", json!({}), &["b 255"]),
            ("turn_on", json!({ "brightness": 10 }), &["b 10"]),
            ("turn_off", json!({}), &["c OFF"]),
        ],
    );
    check(
        "light",
        r#""cmd_t":"c","bri_cmd_t":"b","on_cmd_type":"first""#,
        &[],
        &[("turn_on", json!({ "brightness": 10 }), &["c ON", "b 10"])],
    );
    // Brightness without a topic of its own is in the colour.
    check(
        "light",
        r#""cmd_t":"c","rgb_cmd_t":"rgb""#,
        &[],
        &[
            (
                "turn_on",
                json!({ "rgb_color": [255, 0, 0], "brightness": 128 }),
                &["rgb 128,0,0", "c ON"],
            ),
            ("turn_on", json!({ "brightness": 51 }), &["rgb 51,51,51", "c ON"]),
        ],
    );
    check(
        "light",
        r#""cmd_t":"c","hs_cmd_t":"hs","xy_cmd_t":"xy","rgbw_cmd_t":"w","rgb_cmd_tpl":"x""#,
        &[],
        &[
            (
                "turn_on",
                json!({ "hs_color": [30.5, 50] }),
                &["hs 30.5,50.0", "c ON"],
            ),
            (
                "turn_on",
                json!({ "xy_color": [0.3, 0.4] }),
                &["xy 0.3,0.4", "c ON"],
            ),
            (
                "turn_on",
                json!({ "rgbw_color": [1, 2, 3, 4] }),
                &["w 1,2,3,4", "c ON"],
            ),
        ],
    );
    // A plain lamp among others in a room takes what it can.
    check(
        "light",
        r#""cmd_t":"c""#,
        &[],
        &[(
            "turn_on",
            json!({ "brightness": 10, "rgb_color": [1, 2, 3], "effect": "x" }),
            &["c ON"],
        )],
    );
}

#[test]
fn json_and_template_lights() {
    let config = r#""schema":"json","cmd_t":"c","stat_t":"s","brightness":true,"supported_color_modes":["color_temp","xy"],"effect":true,"bri_scl":254"#;
    check(
        "light",
        config,
        &[("s", r#"{"state":"ON","brightness":100}"#)],
        &[
            ("turn_on", json!({}), &[r#"c {"state":"ON"}"#]),
            (
                "turn_on",
                json!({ "brightness": 255, "transition": 1.5 }),
                &[r#"c {"brightness":254,"state":"ON","transition":1.5}"#],
            ),
            (
                "turn_on",
                json!({ "color_temp_kelvin": 4000 }),
                &[r#"c {"color_temp":250,"state":"ON"}"#],
            ),
            (
                "turn_on",
                json!({ "rgb_color": [255, 0, 0] }),
                &[r#"c {"color":{"x":0.701,"y":0.299},"state":"ON"}"#],
            ),
            (
                "turn_on",
                json!({ "xy_color": [0.3127, 0.329] }),
                &[r#"c {"color":{"x":0.3127,"y":0.329},"state":"ON"}"#],
            ),
            (
                "turn_on",
                json!({ "brightness": 300 }),
                &[r#"c {"brightness":254,"state":"ON"}"#],
            ),
            (
                "turn_on",
                json!({ "effect": "blink", "flash": "short" }),
                &[r#"c {"effect":"blink","flash":2,"state":"ON"}"#],
            ),
            (
                "turn_off",
                json!({ "transition": 3 }),
                &[r#"c {"state":"OFF","transition":3}"#],
            ),
            ("toggle", json!({}), &[r#"c {"state":"OFF"}"#]),
        ],
    );
    for (mode, expected) in [
        ("hs", r#"c {"color":{"h":0.0,"s":100.0},"state":"ON"}"#),
        ("rgb", r#"c {"color":{"b":0,"g":0,"r":255},"state":"ON"}"#),
        ("rgbw", r#"c {"color":{"b":0,"g":0,"r":255,"w":0},"state":"ON"}"#),
        (
            "rgbww",
            r#"c {"color":{"b":0,"c":0,"g":0,"r":255,"w":0},"state":"ON"}"#,
        ),
    ] {
        let config = format!(r#""schema":"json","cmd_t":"c","supported_color_modes":["{mode}"]"#);
        let registry = with("light", &config, &[]);
        let out = run(
            &registry,
            "light.turn_on",
            &Target::entity("light.x"),
            json!({ "rgb_color": [255, 0, 0] }),
        )
        .expect("it fits");
        let deep: Value = serde_json::from_str(&out.publishes[0].payload).expect("JSON");
        let wanted: Value = serde_json::from_str(&expected[2..]).expect("JSON");
        assert_eq!(deep, wanted, "{mode}");
    }
    let templates = r#""schema":"template","cmd_t":"c","command_off_template":"off",
        "command_on_template":"on{% if brightness is defined %},{{ brightness }}{% endif %}{% if red is defined %},{{ red }}-{{ green }}-{{ blue }}{% endif %}",
        "brightness_template":"{{ 1 }}","red_template":"{{ 1 }}","green_template":"{{ 1 }}","blue_template":"{{ 1 }}""#;
    check(
        "light",
        templates,
        &[],
        &[
            ("turn_on", json!({}), &["c on"]),
            ("turn_on", json!({ "brightness": 7 }), &["c on,7"]),
            ("turn_on", json!({ "rgb_color": [1, 2, 3] }), &["c on,1-2-3"]),
            ("turn_off", json!({}), &["c off"]),
        ],
    );
}

#[test]
fn colours_become_whites_where_a_lamp_has_no_colours() {
    let config = r#""schema":"json","cmd_t":"c","brightness":true,"supported_color_modes":["color_temp"]"#;
    check(
        "light",
        config,
        &[],
        &[
            (
                "turn_on",
                json!({ "rgb_color": [255, 200, 150] }),
                &[r#"c {"color_temp":370,"state":"ON"}"#],
            ),
            (
                "turn_on",
                json!({ "hs_color": [30, 40] }),
                &[r#"c {"color_temp":354,"state":"ON"}"#],
            ),
            (
                "turn_on",
                json!({ "xy_color": [0.4448, 0.4066] }),
                &[r#"c {"color_temp":345,"state":"ON"}"#],
            ),
            // Far from white, as warm or cold as the lamp can be.
            (
                "turn_on",
                json!({ "rgb_color": [0, 0, 255] }),
                &[r#"c {"color_temp":500,"state":"ON"}"#],
            ),
            (
                "turn_on",
                json!({ "color_name": "white", "brightness_pct": 30 }),
                &[r#"c {"brightness":76,"color_temp":167,"state":"ON"}"#],
            ),
        ],
    );
    check(
        "light",
        r#""cmd_t":"c","rgbw_cmd_t":"w","bri_cmd_t":"b""#,
        &[],
        &[(
            "turn_on",
            json!({ "rgb_color": [255, 128, 128] }),
            &["w 253,0,0,255", "c ON"],
        )],
    );
}

#[test]
fn covers_and_valves() {
    let plain = r#""cmd_t":"c","stat_t":"s""#;
    check(
        "cover",
        plain,
        &[("s", "closed")],
        &[
            ("open_cover", json!({}), &["c OPEN"]),
            ("close_cover", json!({}), &["c CLOSE"]),
            ("stop_cover", json!({}), &["c STOP"]),
            ("toggle", json!({}), &["c OPEN"]),
            ("set_cover_position", json!({ "position": 100 }), &["c OPEN"]),
            ("homeassistant.toggle", json!({}), &["c OPEN"]),
        ],
    );
    refused(
        "cover",
        plain,
        "set_cover_position",
        json!({ "position": 50 }),
        "can be opened, closed and stopped only",
    );
    let positions = r#""pos_t":"p","set_pos_t":"sp","pos_open":0,"pos_clsd":200,"tilt_cmd_t":"t","tilt_max":180,"tilt_opnd_val":90"#;
    check(
        "cover",
        positions,
        &[("p", "0")],
        &[
            ("set_cover_position", json!({ "position": 25 }), &["sp 150"]),
            ("open_cover", json!({}), &["sp 0"]),
            ("toggle", json!({}), &["sp 200"]),
            (
                "set_cover_tilt_position",
                json!({ "tilt_position": 50 }),
                &["t 90"],
            ),
            ("open_cover_tilt", json!({}), &["t 90"]),
            ("close_cover_tilt", json!({}), &["t 0"]),
            ("stop_cover_tilt", json!({}), &["t STOP"]),
        ],
    );
    refused(
        "cover",
        positions,
        "stop_cover",
        json!({}),
        "it has no command_topic",
    );
    refused(
        "cover",
        positions,
        "set_cover_position",
        json!({ "position": 101 }),
        "position: a number from 0 to 100",
    );
    refused(
        "cover",
        positions,
        "set_cover_position",
        json!({}),
        "position: cover.set_cover_position needs it",
    );
    check(
        "valve",
        r#""cmd_t":"c","pos":true"#,
        &[],
        &[
            ("open_valve", json!({}), &["c 100"]),
            ("set_valve_position", json!({ "position": 30 }), &["c 30"]),
        ],
    );
    check(
        "valve",
        r#""cmd_t":"c""#,
        &[],
        &[
            ("close_valve", json!({}), &["c CLOSE"]),
            ("stop_valve", json!({}), &["c STOP"]),
        ],
    );
}

#[test]
fn heating_fans_and_humidifiers() {
    let climate = r#""mode_cmd_t":"m","mode_stat_t":"ms","modes":["off","heat","cool"],"temp_cmd_t":"t","temp_cmd_tpl":"{{ value }}C","temp_stat_t":"ts",
        "temp_hi_cmd_t":"hi","temp_lo_cmd_t":"lo","min_temp":5,"max_temp":30,"fan_mode_cmd_t":"f","pr_mode_cmd_t":"p","pr_modes":["eco"]"#;
    check(
        "climate",
        climate,
        &[("ms", "heat")],
        &[
            ("set_temperature", json!({ "temperature": 21.5 }), &["t 21.5C"]),
            // As Home Assistant sends it, which templates and firmware were written for.
            ("set_temperature", json!({ "temperature": "19" }), &["t 19.0C"]),
            (
                "set_temperature",
                json!({ "temperature": 21, "hvac_mode": "cool" }),
                &["m cool", "t 21.0C"],
            ),
            (
                "set_temperature",
                json!({ "target_temp_low": 19, "target_temp_high": 23 }),
                &["lo 19.0", "hi 23.0"],
            ),
            ("set_hvac_mode", json!({ "hvac_mode": "off" }), &["m off"]),
            ("set_preset_mode", json!({ "preset_mode": "eco" }), &["p eco"]),
            ("set_fan_mode", json!({ "fan_mode": "low" }), &["f low"]),
            ("turn_off", json!({}), &["m off"]),
            ("turn_on", json!({}), &["m heat"]),
            ("toggle", json!({}), &["m off"]),
        ],
    );
    refused(
        "climate",
        climate,
        "set_temperature",
        json!({ "temperature": 35 }),
        "temperature: a number from 5 to 30",
    );
    refused("climate", climate, "set_temperature", json!({}), "needs it");
    refused(
        "climate",
        climate,
        "set_hvac_mode",
        json!({ "hvac_mode": "hot" }),
        "\"hot\" is none of off, heat, cool of climate.x",
    );
    refused(
        "climate",
        climate,
        "set_temperature",
        json!({ "target_temp_low": 25, "target_temp_high": 20 }),
        "above target_temp_high",
    );
    check(
        "climate",
        r#""pow_cmd_t":"p","mode_cmd_t":"m""#,
        &[],
        &[
            ("turn_on", json!({}), &["p ON"]),
            ("turn_off", json!({}), &["p OFF"]),
        ],
    );
    let fan = r#""cmd_t":"c","stat_t":"s","pct_cmd_t":"p","pct_stat_t":"ps","spd_rng_max":4,"pr_mode_cmd_t":"m","pr_modes":["auto"],"osc_cmd_t":"o","dir_cmd_t":"d""#;
    check(
        "fan",
        fan,
        &[("s", "ON"), ("ps", "2")],
        &[
            ("turn_on", json!({ "percentage": 60 }), &["c ON", "p 3"]),
            ("set_percentage", json!({ "percentage": 25 }), &["p 1"]),
            ("set_percentage", json!({ "percentage": 0 }), &["c OFF"]),
            ("increase_speed", json!({}), &["p 3"]),
            ("decrease_speed", json!({ "percentage_step": 50 }), &["c OFF"]),
            ("set_preset_mode", json!({ "preset_mode": "auto" }), &["m auto"]),
            ("oscillate", json!({ "oscillating": true }), &["o oscillate_on"]),
            ("set_direction", json!({ "direction": "reverse" }), &["d reverse"]),
            ("toggle", json!({}), &["c OFF"]),
        ],
    );
    check(
        "humidifier",
        r#""cmd_t":"c","hum_cmd_t":"h","mode_cmd_t":"m","modes":["baby"],"min_hum":30"#,
        &[],
        &[
            ("turn_on", json!({}), &["c ON"]),
            ("set_humidity", json!({ "humidity": 45 }), &["h 45"]),
            ("set_mode", json!({ "mode": "baby" }), &["m baby"]),
        ],
    );
}

#[test]
fn all_others() {
    check(
        "lock",
        r#""cmd_t":"c","pl_open":"UNLATCH","cmd_tpl":"{{ value }}/{{ code }}""#,
        &[],
        &[
            ("lock", json!({ "code": "12" }), &["c LOCK/12"]),
            ("unlock", json!({ "code": 12 }), &["c UNLOCK/12"]),
            ("open", json!({ "code": "1" }), &["c UNLATCH/1"]),
        ],
    );
    refused("lock", r#""cmd_t":"c""#, "open", json!({}), "cannot be opened");
    check(
        "button",
        r#""cmd_t":"c""#,
        &[],
        &[("press", json!({}), &["c PRESS"])],
    );
    check(
        "scene",
        r#""cmd_t":"c","pl_on":"GO""#,
        &[],
        &[("turn_on", json!({}), &["c GO"])],
    );
    check(
        "number",
        r#""cmd_t":"c","min":0,"max":1,"step":0.1"#,
        &[],
        &[(
            "set_value",
            json!({ "value": 0.300_000_000_000_000_04 }),
            &["c 0.3"],
        )],
    );
    refused(
        "number",
        r#""cmd_t":"c","min":0,"max":1"#,
        "set_value",
        json!({ "value": "2" }),
        "a number from 0 to 1",
    );
    let select = r#""cmd_t":"c","stat_t":"s","ops":["a","b","c"]"#;
    check(
        "select",
        select,
        &[("s", "c")],
        &[
            ("select_option", json!({ "option": "b" }), &["c b"]),
            ("select_next", json!({}), &["c a"]),
            ("select_next", json!({ "cycle": false }), &["c c"]),
            ("select_previous", json!({}), &["c b"]),
            ("select_first", json!({}), &["c a"]),
            ("select_last", json!({}), &["c c"]),
        ],
    );
    refused(
        "select",
        select,
        "select_option",
        json!({ "option": "d" }),
        "\"d\" is none of a, b, c of select.x",
    );
    check(
        "text",
        r#""cmd_t":"c","max":5"#,
        &[],
        &[("set_value", json!({ "value": "hello" }), &["c hello"])],
    );
    refused(
        "text",
        r#""cmd_t":"c","max":5"#,
        "set_value",
        json!({ "value": "toolong" }),
        "a text of 0 to 5 characters",
    );
    check(
        "siren",
        r#""cmd_t":"c","av_tones":["bell"]"#,
        &[],
        &[
            (
                "turn_on",
                json!({ "tone": "bell", "duration": 5, "volume_level": 0.5 }),
                &[r#"c {"duration":5,"state":"ON","tone":"bell","volume_level":0.5}"#],
            ),
            ("turn_off", json!({}), &[r#"c {"state":"OFF"}"#]),
        ],
    );
    let alarm = r#""cmd_t":"c","stat_t":"s","code":"1234","sup_feat":["arm_away"],"cod_arm_req":false"#;
    check(
        "alarm_control_panel",
        alarm,
        &[],
        &[
            ("alarm_arm_away", json!({}), &["c ARM_AWAY"]),
            ("alarm_disarm", json!({ "code": "1234" }), &["c DISARM"]),
        ],
    );
    refused(
        "alarm_control_panel",
        alarm,
        "alarm_disarm",
        json!({}),
        "code: it needs one",
    );
    refused(
        "alarm_control_panel",
        alarm,
        "alarm_disarm",
        json!({ "code": "0" }),
        "code: it is another",
    );
    refused(
        "alarm_control_panel",
        alarm,
        "alarm_arm_home",
        json!({}),
        "its features are arm_away",
    );
    check(
        "vacuum",
        r#""cmd_t":"c","set_fan_spd_t":"f","fanspd_lst":["max"],"send_cmd_t":"s""#,
        &[],
        &[
            ("start", json!({}), &["c start"]),
            ("return_to_base", json!({}), &["c return_to_base"]),
            ("set_fan_speed", json!({ "fan_speed": "max" }), &["f max"]),
            (
                "send_command",
                json!({ "command": "go", "params": { "room": 1 } }),
                &[r#"s {"command":"go","room":1}"#],
            ),
        ],
    );
    check(
        "lawn_mower",
        r#""dock_cmd_t":"d""#,
        &[],
        &[("dock", json!({}), &["d dock"])],
    );
    check(
        "update",
        r#""cmd_t":"c","pl_inst":"now""#,
        &[],
        &[("install", json!({}), &["c now"])],
    );
    check(
        "notify",
        r#""cmd_t":"c""#,
        &[],
        &[("send_message", json!({ "message": "hello" }), &["c hello"])],
    );
}

#[test]
fn unknown_services_are_refused_with_what_may_have_been_meant() {
    let registry = with("light", r#""cmd_t":"c""#, &[]);
    for (service, target, data, why) in [
        (
            "light.turnon",
            "light.x",
            json!({}),
            "no service \"light.turnon\"; did you mean light.turn_on?",
        ),
        (
            "ligth.turn_on",
            "light.x",
            json!({}),
            "did you mean light.turn_on?",
        ),
        ("sensor.turn_on", "light.x", json!({}), "no service"),
        ("light", "light.x", json!({}), "no service"),
        (
            "light.turn_on",
            "light.y",
            json!({}),
            "there is no entity \"light.y\"; did you mean light.x?",
        ),
        (
            "switch.turn_on",
            "light.x",
            json!({}),
            "a light has light.turn_on, light.turn_off, light.toggle",
        ),
        (
            "light.turn_on",
            "light.x",
            json!({ "brightnes": 3 }),
            "did you mean brightness?",
        ),
        (
            "light.turn_on",
            "light.x",
            json!({ "brightness": "bright" }),
            "brightness: a number",
        ),
        (
            "light.turn_on",
            "light.x",
            json!({ "brightness_pct": 101 }),
            "brightness_pct: a number from 0 to 100",
        ),
        (
            "light.turn_on",
            "light.x",
            json!({ "rgb_color": [1, 2] }),
            "rgb_color: 3 numbers",
        ),
        (
            "light.turn_on",
            "light.x",
            json!({ "color_name": "rouge" }),
            "a colour's English name",
        ),
        (
            "light.turn_on",
            "light.x",
            json!({ "flash": "often" }),
            "short or long",
        ),
        ("light.turn_on", "", json!({}), "needs a target"),
        (
            "light.turn_on",
            "",
            json!({ "area_id": "attic" }),
            "there is no area \"attic\"",
        ),
        (
            "light.turn_on",
            "",
            json!({ "device_id": "d" }),
            "there is no device \"d\"",
        ),
        (
            "light.turn_on",
            "",
            json!({ "label_id": "l" }),
            "there is no label \"l\"",
        ),
        (
            "light.turn_on",
            "",
            json!({ "entity_id": 5 }),
            "an id, or a list of ids",
        ),
    ] {
        let target = if target.is_empty() {
            Target::default()
        } else {
            Target::entity(target)
        };
        let error = run(&registry, service, &target, data).expect_err("it is refused");
        assert!(error.to_string().contains(why), "{service}: {error}");
    }
    let tells = with("sensor", r#""stat_t":"s""#, &[]);
    let error = run(
        &tells,
        "homeassistant.turn_on",
        &Target::entity("sensor.x"),
        json!({}),
    )
    .expect_err("it is refused");
    assert!(error.to_string().contains("only tells"), "{error}");
}

#[test]
fn anything_can_be_published() {
    let registry = registry();
    let publish = |data: Value| run(&registry, "mqtt.publish", &Target::default(), data);
    let out = publish(json!({ "topic": "a/b", "payload": { "x": 1 }, "qos": "1", "retain": true }))
        .expect("it fits");
    assert_eq!(sent(&out), [r#"a/b {"x":1}"#]);
    assert_eq!(
        (
            out.publishes[0].qos,
            out.publishes[0].retain,
            out.publishes[0].entity.clone()
        ),
        (1, true, None)
    );
    for (data, why) in [
        (json!({}), "topic"),
        (json!({ "topic": "a/#" }), "without wildcards"),
        (json!({ "topic": "a", "paylaod": "x" }), "mqtt.publish knows"),
        (json!({ "topic": "a", "payload": "x".repeat(300_000) }), "at most"),
    ] {
        assert!(
            publish(data)
                .expect_err("it is refused")
                .to_string()
                .contains(why)
        );
    }
}

/// Three lamps, a switch and a thermostat in two rooms.
fn rooms() -> Registry {
    let mut registry = registry();
    for (id, component, area, more) in [
        ("a", "light", "Kitchen", ""),
        ("b", "light", "Kitchen", r#","avty_t":"b/av""#),
        ("c", "light", "Hall", ""),
        ("d", "switch", "Kitchen", r#","entity_category":"config""#),
        ("e", "switch", "Kitchen", ""),
    ] {
        let config = format!(
            r#"{{"name":null,"uniq_id":"{id}","cmd_t":"{id}"{more},"dev":{{"ids":"{id}","name":"{id}","sa":"{area}"}}}}"#
        );
        tell(&mut registry, &format!("{component}/{id}"), &config);
    }
    registry
        .put_group(
            "Some",
            vec!["light.c".into(), "switch.e".into(), "light.gone".into()],
        )
        .expect("a good name");
    let said = Assignment {
        labels: ["Night".to_owned()].into(),
        ..Assignment::default()
    };
    registry
        .assign(Thing::Device("c".into()), said, NOW)
        .expect("it exists");
    registry
}

#[test]
fn targets_of_every_kind() {
    let registry = rooms();
    let lights = |target: Value| -> Outcome {
        run(&registry, "light.turn_on", &Target::default(), target).expect("it fits")
    };
    for (target, expected) in [
        (json!({ "entity_id": "light.a, light.c" }), vec!["a ON", "c ON"]),
        (
            json!({ "entity_id": ["light.c", "light.a", "light.c"] }),
            vec!["c ON", "a ON"],
        ),
        (json!({ "entity_id": "all" }), vec!["a ON", "c ON"]),
        (json!({ "area_id": "Kitchen" }), vec!["a ON"]),
        (json!({ "area_id": ["kitchen", "hall"] }), vec!["a ON", "c ON"]),
        (json!({ "device_id": "a" }), vec!["a ON"]),
        (json!({ "label_id": "night" }), vec!["c ON"]),
        (json!({ "entity_id": "group.some" }), vec!["c ON"]),
        (json!({ "entity_id": "none", "area_id": "hall" }), vec!["c ON"]),
    ] {
        assert_eq!(sent(&lights(target.clone())), expected, "{target}");
    }
    let out = lights(json!({ "area_id": "kitchen" }));
    assert_eq!(
        out.passed_over,
        [("light.b".to_owned(), "it is unavailable".to_owned())]
    );
    let out = lights(json!({ "entity_id": "group.some" }));
    assert_eq!(out.passed_over[0].0, "light.gone");
    // What is set up once is not switched along with its room, unless it is named.
    let switches = run(
        &registry,
        "homeassistant.turn_on",
        &Target::area("kitchen"),
        json!({}),
    )
    .expect("it fits");
    assert_eq!(sent(&switches), ["a ON", "e ON"]);
    let named = run(
        &registry,
        "switch.turn_on",
        &Target::entity("switch.d"),
        json!({}),
    )
    .expect("it fits");
    assert_eq!(sent(&named), ["d ON"]);
}

#[test]
fn what_of_a_target_is_not_there_or_cannot_is_passed_over() {
    let mut registry = rooms();
    tell(&mut registry, "cover/f", r#"{"name":"F","cmd_t":"f"}"#);
    tell(&mut registry, "valve/g", r#"{"name":"G","cmd_t":"g"}"#);
    tell(&mut registry, "lock/h", r#"{"name":"H","cmd_t":"h"}"#);
    for (service, target, expected, passed_over) in [
        (
            "light.turn_on",
            json!({ "entity_id": ["light.a", "light.missing", "light.missing"] }),
            &["a ON"][..],
            &[("light.missing", "there is no entity \"light.missing\"")][..],
        ),
        (
            "light.turn_on",
            json!({ "entity_id": ["light.aa", "light.a"] }),
            &["a ON"],
            &[("light.aa", "did you mean light.a?")],
        ),
        (
            "light.turn_on",
            json!({ "entity_id": ["switch.e", "light.a"] }),
            &["a ON"],
            &[(
                "switch.e",
                "a switch has switch.turn_on, switch.turn_off, switch.toggle",
            )],
        ),
        (
            "light.turn_on",
            json!({ "entity_id": "light.c", "area_id": "attic", "device_id": "none_such", "label_id": "l" }),
            &["c ON"],
            &[
                ("none_such", "there is no device \"none_such\""),
                ("attic", "there is no area \"attic\""),
                ("l", "there is no label \"l\""),
            ],
        ),
        // A room without lights is known all the same.
        (
            "cover.open_cover",
            json!({ "area_id": "hall", "entity_id": "cover.missing" }),
            &[],
            &[("cover.missing", "there is no entity \"cover.missing\"")],
        ),
        (
            "homeassistant.turn_on",
            json!({ "entity_id": ["cover.f", "valve.g", "lock.h", "light.a"] }),
            &["a ON"],
            &[
                (
                    "cover.f",
                    "a cover cannot be switched; a cover has cover.open_cover",
                ),
                ("valve.g", "a valve cannot be switched"),
                ("lock.h", "a lock cannot be switched"),
            ],
        ),
        (
            "homeassistant.toggle",
            json!({ "entity_id": ["cover.f", "valve.g", "lock.h", "light.a"] }),
            &["f CLOSE", "g CLOSE", "a ON"],
            &[("lock.h", "a lock cannot be switched")],
        ),
    ] {
        let out = run(&registry, service, &Target::default(), target.clone()).expect("it fits");
        assert_eq!(sent(&out), expected, "{service} {target}");
        let got = &out.passed_over;
        assert_eq!(got.len(), passed_over.len(), "{service} {target}: {got:?}");
        for ((id, reason), (wanted, part)) in got.iter().zip(passed_over) {
            assert!(
                id == wanted && reason.contains(part),
                "{service} {target}: {id}: {reason}"
            );
        }
    }
    for (service, target, why) in [
        (
            "light.turn_on",
            json!({ "entity_id": ["light.missing", "light.gone"], "area_id": "attic" }),
            "there is no entity \"light.missing\"",
        ),
        (
            "homeassistant.turn_on",
            json!({ "entity_id": "cover.f" }),
            "cover.f cannot homeassistant.turn_on: a cover cannot be switched",
        ),
        (
            "homeassistant.turn_off",
            json!({ "entity_id": "lock.h" }),
            "a lock has lock.lock",
        ),
    ] {
        let error = run(&registry, service, &Target::default(), target).expect_err("it is refused");
        assert!(error.to_string().contains(why), "{service}: {error}");
    }
}

#[test]
fn every_service_of_the_table_does_something() {
    let all = r#""cmd_t":"c","stat_t":"s","ops":["a"],"evt_typ":["e"],"hum_cmd_t":"h","pos_t":"p","set_pos_t":"sp","tilt_cmd_t":"t","temp_cmd_t":"tc",
        "mode_cmd_t":"m","pr_mode_cmd_t":"pm","fan_mode_cmd_t":"fm","swing_mode_cmd_t":"sm","swing_h_mode_cmd_t":"shm","pct_cmd_t":"pc","osc_cmd_t":"o",
        "dir_cmd_t":"d","set_fan_spd_t":"fs","send_cmd_t":"sc","pl_open":"OPEN","pos":true,"start_mowing_command_topic":"a","pause_cmd_t":"a","dock_cmd_t":"a""#;
    let data = json!({
        "position": 50, "tilt_position": 50, "temperature": 20, "hvac_mode": "heat", "preset_mode": "none", "fan_mode": "low", "swing_mode": "on",
        "swing_horizontal_mode": "on", "humidity": 50, "percentage": 50, "oscillating": true, "direction": "forward", "value": 5, "option": "a",
        "mode": "x", "fan_speed": "max", "command": "go", "message": "m", "brightness": 5,
    });
    for component in Component::ALL {
        let registry = with(component.name(), all, &[]);
        for (name, keys) in services(*component) {
            let mut given = data.clone();
            given
                .as_object_mut()
                .expect("an object")
                .retain(|key, _| keys.contains(&key.as_str()));
            // A fan has no "none" among its presets.
            if *component == Component::Fan && *name == "turn_on" {
                given.as_object_mut().expect("an object").remove("preset_mode");
            }
            let service = format!("{}.{name}", component.name());
            let target = Target::entity(format!("{}.x", component.name()));
            match run(&registry, &service, &target, given) {
                Ok(out) => assert!(!out.publishes.is_empty(), "{service}"),
                Err(error) => panic!("{service}: {error}"),
            }
        }
    }
}

#[test]
fn a_range_of_speeds_that_holds_nothing_says_nothing() {
    for range in [
        r#""speed_range_min":100,"speed_range_max":1"#,
        r#""speed_range_min":200"#,
        r#""speed_range_max":-5"#,
    ] {
        check(
            "fan",
            &format!(r#""cmd_t":"c","pct_cmd_t":"p",{range}"#),
            &[],
            &[
                ("set_percentage", json!({ "percentage": 50 }), &["p 50"]),
                ("turn_on", json!({ "percentage": 20 }), &["c ON", "p 20"]),
            ],
        );
    }
}

#[test]
fn a_target_is_bounded_however_it_is_written() {
    let many = vec!["attic"; crate::limits::MAX_TARGETS + 1].join(",");
    for value in [json!(many), json!([many])] {
        let said = json!({ "area_id": value });
        let error = Target::of(said.as_object().unwrap()).expect_err("too many");
        assert!(
            error
                .to_string()
                .contains(&crate::limits::MAX_TARGETS.to_string()),
            "{error}"
        );
    }
}
