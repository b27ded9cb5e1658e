//! What a message comes to: one change for each entity, templates that see the state before it, what says nothing.

use serde_json::json;

use super::*;

/// Tells of an entity called X.
#[track_caller]
fn with(component: &str, config: &str) -> Registry {
    let mut registry = registry();
    tell(
        &mut registry,
        &format!("{component}/x"),
        &format!("{{\"name\":\"X\",{config}}}"),
    );
    registry
}

/// The changes of states that a message makes, `old>new`, each with these attributes behind it.
fn heard(registry: &mut Registry, topic: &str, payload: &str, attributes: &[&str]) -> Vec<String> {
    let seen = |state: &Option<Arc<EntityState>>| {
        let state = state.as_ref().expect("it is there before and after");
        let mut out = state.state.clone();
        for name in attributes {
            out.push('/');
            out.push_str(
                &state
                    .attributes
                    .get(*name)
                    .map_or_else(String::new, Value::to_string),
            );
        }
        out
    };
    let changes = say(registry, topic, payload);
    changes
        .iter()
        .filter_map(|change| match change {
            Change::State { old, new, .. } => Some(format!("{}>{}", seen(old), seen(new))),
            _ => None,
        })
        .collect()
}

#[test]
fn a_button_can_be_pressed_again() {
    let single = r#"{"action":"single"}"#;
    for let_go in [r#"{"action":""}"#, r#"{"battery":5}"#] {
        let mut registry = with("sensor", r#""stat_t":"s","val_tpl":"{{ value_json.action }}""#);
        let mut all = Vec::new();
        for _ in 0..3 {
            all.extend(heard(&mut registry, "s", single, &[]));
            all.extend(heard(&mut registry, "s", let_go, &[]));
        }
        assert_eq!(
            all,
            [
                "unknown>single",
                "single>",
                ">single",
                "single>",
                ">single",
                "single>"
            ],
            "{let_go}"
        );
        assert_eq!(problem(&registry), "");
    }
}

#[test]
fn an_empty_value_is_a_state_only_of_what_says_text() {
    for (component, config, before, after) in [
        ("sensor", r#""stat_t":"s""#, "21", ""),
        ("sensor", r#""stat_t":"s","dev_cla":"enum""#, "21", ""),
        (
            "sensor",
            r#""stat_t":"s","dev_cla":"enum","ops":["21"]"#,
            "21",
            "21",
        ),
        ("sensor", r#""stat_t":"s","unit_of_meas":"°C""#, "21", "21"),
        ("sensor", r#""stat_t":"s","stat_cla":"measurement""#, "21", "21"),
        ("sensor", r#""stat_t":"s","sug_dsp_prc":1"#, "21", "21"),
        ("sensor", r#""stat_t":"s","dev_cla":"temperature""#, "21", "21"),
        (
            "sensor",
            r#""stat_t":"s","dev_cla":"timestamp""#,
            "2024-06-01T12:00:00Z",
            "unknown",
        ),
        (
            "sensor",
            r#""stat_t":"s","dev_cla":"date""#,
            "2024-06-01",
            "unknown",
        ),
        ("text", r#""cmd_t":"c","stat_t":"s""#, "hello", ""),
        ("select", r#""cmd_t":"c","stat_t":"s","ops":["a",""]"#, "a", "a"),
        ("number", r#""cmd_t":"c","stat_t":"s""#, "5", "5"),
        ("binary_sensor", r#""stat_t":"s""#, "ON", "on"),
        ("switch", r#""cmd_t":"c","stat_t":"s""#, "ON", "on"),
        ("lock", r#""cmd_t":"c","stat_t":"s""#, "LOCKED", "locked"),
        ("cover", r#""cmd_t":"c","stat_t":"s""#, "open", "open"),
        ("climate", r#""mode_cmd_t":"c","mode_stat_t":"s""#, "heat", "heat"),
        ("device_tracker", r#""stat_t":"s""#, "home", "home"),
    ] {
        for (empty, template) in [("", ""), (r#"{"other":1}"#, r#","val_tpl":"{{ value_json.v }}""#)] {
            let mut registry = with(component, &format!("{config}{template}"));
            let said = if template.is_empty() {
                before.to_owned()
            } else {
                json!({ "v": before }).to_string()
            };
            say(&mut registry, "s", &said);
            say(&mut registry, "s", empty);
            let id = format!("{component}.x");
            assert_eq!(state(&registry, &id), after, "{component} {config} {template}");
        }
    }
}

#[test]
fn none_is_not_known_but_where_it_is_text() {
    for (component, config, said, expected) in [
        ("sensor", r#""stat_t":"s""#, "None", "unknown"),
        ("sensor", r#""stat_t":"s","unit_of_meas":"W""#, "None", "unknown"),
        (
            "sensor",
            r#""stat_t":"s","dev_cla":"timestamp""#,
            "None",
            "unknown",
        ),
        (
            "select",
            r#""cmd_t":"c","stat_t":"s","ops":["a"]"#,
            "none",
            "unknown",
        ),
        ("number", r#""cmd_t":"c","stat_t":"s""#, "None", "unknown"),
        (
            "climate",
            r#""mode_cmd_t":"c","mode_stat_t":"s""#,
            "None",
            "unknown",
        ),
        ("text", r#""cmd_t":"c","stat_t":"s""#, "None", "None"),
    ] {
        let mut registry = with(component, config);
        say(&mut registry, "s", said);
        let id = format!("{component}.x");
        assert_eq!(
            (state(&registry, &id), problem(&registry)),
            (expected.to_owned(), String::new()),
            "{component} {config}"
        );
    }
}

#[test]
fn moments_are_shown_by_utcs_clock() {
    let mut registry = with("sensor", r#""stat_t":"s","dev_cla":"timestamp""#);
    say(&mut registry, "s", "2026-07-01T10:30:00+02:00");
    assert_eq!(state(&registry, "sensor.x"), "2026-07-01T08:30:00+00:00");
    say(&mut registry, "s", "2026-07-01T11:30:00");
    assert_eq!(state(&registry, "sensor.x"), "2026-07-01T08:30:00+00:00");
    assert!(problem(&registry).contains("time zone"), "{}", problem(&registry));
    say(&mut registry, "s", "soon");
    assert_eq!(state(&registry, "sensor.x"), "unknown");
    assert!(
        problem(&registry).contains("not a date and time"),
        "{}",
        problem(&registry)
    );
}

#[test]
fn one_message_is_one_change() {
    let own = |names: &str| format!(r#""json_attr_t":"s",{names}"#);
    for (component, config, attributes, first, second, changes) in [
        (
            "sensor",
            own(r#""stat_t":"s","val_tpl":"{{ value_json.t }}""#),
            &["h"][..],
            r#"{"t":2,"h":2}"#,
            r#"{"t":3,"h":3}"#,
            ["unknown/>2/2", "2/2>3/3"],
        ),
        (
            "climate",
            r#""mode_cmd_t":"c","mode_stat_t":"s","mode_stat_tpl":"{{ value_json.m }}","temp_stat_t":"s","temp_stat_tpl":"{{ value_json.t }}",
                "curr_temp_t":"s","curr_temp_tpl":"{{ value_json.n }}""#
                .to_owned(),
            &["temperature", "current_temperature"],
            r#"{"m":"heat","t":21,"n":18}"#,
            r#"{"m":"auto","t":22,"n":19}"#,
            ["unknown//>heat/21/18", "heat/21/18>auto/22/19"],
        ),
        (
            "light",
            r#""cmd_t":"c","stat_t":"s","stat_val_tpl":"{{ value_json.s }}","bri_cmd_t":"b","bri_stat_t":"s","bri_val_tpl":"{{ value_json.b }}",
                "clr_temp_cmd_t":"t","clr_temp_stat_t":"s","clr_temp_val_tpl":"{{ value_json.t }}""#
                .to_owned(),
            &["brightness", "color_temp"],
            r#"{"s":"ON","b":10,"t":250}"#,
            r#"{"s":"ON","b":20,"t":300}"#,
            ["unknown/null/null>on/10/250", "on/10/250>on/20/300"],
        ),
        (
            "fan",
            r#""cmd_t":"c","stat_t":"s","stat_val_tpl":"{{ value_json.s }}","pct_cmd_t":"p","pct_stat_t":"s","pct_val_tpl":"{{ value_json.p }}""#
                .to_owned(),
            &["percentage"],
            r#"{"s":"ON","p":10}"#,
            r#"{"s":"OFF","p":0}"#,
            ["unknown/>on/10", "on/10>off/0"],
        ),
        (
            "cover",
            r#""cmd_t":"c","stat_t":"s","val_tpl":"{{ value_json.s }}","pos_t":"s","pos_tpl":"{{ value_json.p }}","set_pos_t":"sp",
                "tilt_status_t":"s","tilt_status_tpl":"{{ value_json.t }}","tilt_cmd_t":"tc""#
                .to_owned(),
            &["current_position", "current_tilt_position"],
            r#"{"s":"open","p":40,"t":5}"#,
            r#"{"s":"closed","p":0,"t":0}"#,
            ["unknown//>open/40/5", "open/40/5>closed/0/0"],
        ),
    ] {
        let mut registry = with(component, &config);
        let mut all = heard(&mut registry, "s", first, attributes);
        all.extend(heard(&mut registry, "s", second, attributes));
        all.extend(heard(&mut registry, "s", second, attributes));
        assert_eq!(all, changes, "{component}: {}", problem(&registry));
    }
}

#[test]
fn what_can_be_reached_again_says_its_state_at_once() {
    let mut registry = with(
        "switch",
        r#""cmd_t":"c","stat_t":"s","val_tpl":"{{ value_json.s }}","avty_t":"s","avty_tpl":"{{ value_json.a }}""#,
    );
    let changes = say(&mut registry, "s", r#"{"a":"online","s":"ON"}"#);
    let [
        Change::Reachable { reachable: true, .. },
        Change::State { old, new, .. },
    ] = changes.as_slice()
    else {
        panic!("{changes:?}")
    };
    let shown = [old, new].map(|state| state.as_ref().map(|state| state.state.clone()));
    assert_eq!(shown, [Some("unavailable".to_owned()), Some("on".to_owned())]);
}

#[test]
fn changes_come_by_id_and_see_what_was_before() {
    let mut registry = registry();
    // Told of against the order of their ids.
    for (name, template) in [
        ("c", "{{ states('sensor.a') }}{{ states('sensor.b') }}"),
        ("b", "{{ states('sensor.a') }}"),
        ("a", "{{ value }}"),
    ] {
        let config = json!({ "name": name, "stat_t": "s", "val_tpl": template });
        tell(&mut registry, &format!("sensor/{name}"), &config.to_string());
    }
    assert_eq!(
        heard(&mut registry, "s", "1", &["friendly_name"]),
        [r#"unknown/"a">1/"a""#, r#"unknown/"c">unknownunknown/"c""#]
    );
    assert_eq!(
        heard(&mut registry, "s", "2", &["friendly_name"]),
        [
            r#"1/"a">2/"a""#,
            r#"unknown/"b">1/"b""#,
            r#"unknownunknown/"c">1unknown/"c""#
        ]
    );
}

#[test]
fn what_spoils_one_part_leaves_the_others() {
    let mut registry = with(
        "sensor",
        r#""stat_t":"s","val_tpl":"{{ value_json.v }}","unit_of_meas":"W","json_attr_t":"s""#,
    );
    assert_eq!(
        heard(&mut registry, "s", r#"{"v":"high","a":1}"#, &["a"]),
        ["unknown/>unknown/1"]
    );
    assert!(problem(&registry).contains("\"high\" is not a number"));
    let mut registry = with(
        "light",
        r#""schema":"template","cmd_t":"c","stat_t":"s","cmd_on_tpl":"on","cmd_off_tpl":"off","stat_tpl":"{{ value_json.s }}",
            "bri_tpl":"{{ value_json.b.c }}""#,
    );
    assert_eq!(heard(&mut registry, "s", r#"{"s":"on"}"#, &[]), ["unknown>on"]);
    assert!(
        problem(&registry).contains("there is no \"b\""),
        "{}",
        problem(&registry)
    );
}

#[test]
fn templates_see_their_own_entity_as_it_was() {
    for (template, first, second) in [
        ("{{ this.attributes.friendly_name }}", "X", "X"),
        ("{{ this.name }}", "X", "X"),
        ("{{ this.entity_id }}", "sensor.x", "sensor.x"),
        ("{{ this.state }}{{ value }}", "unknown1", "unknown12"),
        ("{{ this.attributes.a | default('none') }}", "none", "1"),
        (
            "{{ this.last_changed.isoformat() }}",
            "2026-03-01T12:05:00+00:00",
            "2026-03-01T12:05:00+00:00",
        ),
        (
            "{{ (this.last_updated | as_timestamp) | int }}",
            "1772366700",
            "1772366700",
        ),
    ] {
        let mut registry = registry();
        let config = json!({ "name": "X", "stat_t": "s", "val_tpl": template, "json_attr_t": "s", "json_attr_tpl": "{\"a\": {{ value }}}" });
        tell(&mut registry, "sensor/x", &config.to_string());
        for (payload, expected) in [("1", first), ("2", second)] {
            say(&mut registry, "s", payload);
            assert_eq!(
                (state(&registry, "sensor.x").as_str(), problem(&registry).as_str()),
                (expected, ""),
                "{template} {payload}"
            );
        }
    }
}

#[test]
fn attributes_and_commands_see_it_too() {
    let mut registry = with(
        "switch",
        r#""cmd_t":"c","stat_t":"s","json_attr_t":"s","json_attr_tpl":"{\"was\": {{ this.state | tojson }}}",
            "cmd_tpl":"{{ this.state }} {{ this.attributes.was }} {{ value }}""#,
    );
    say(&mut registry, "s", "ON");
    assert_eq!(attribute(&registry, "switch.x", "was"), "unknown");
    say(&mut registry, "s", "OFF");
    assert_eq!(attribute(&registry, "switch.x", "was"), "on");
    let outcome = crate::service::call(
        "switch.turn_on",
        &crate::service::Target::entity("switch.x"),
        &Map::new(),
        &registry.view(NOW),
        &Templates::new(),
    )
    .expect("it can be switched");
    assert_eq!(outcome.publishes[0].payload, "off on ON");
}

#[test]
fn failing_templates_are_told_of() {
    for (template, payload, why) in [
        ("{{ value_json.v }}", "plain", "the payload is not JSON"),
        ("{{ value_json.a.b }}", "{}", "there is no \"a\" in the message"),
        (
            "{{ value_json.a[3].b }}",
            r#"{"a":[]}"#,
            "there is no [3] in the message",
        ),
        (
            "{{ value | float }}",
            "warm",
            "its template \"{{ value | float }}\" fails",
        ),
        ("{{ that.state }}", "1", "not defined"),
    ] {
        let mut registry = registry();
        let config = json!({ "name": "X", "stat_t": "s", "val_tpl": template });
        tell(&mut registry, "sensor/x", &config.to_string());
        for _ in 0..3 {
            assert_eq!(say(&mut registry, "s", payload), [], "{template}");
        }
        let problems: Vec<&Problem> = registry.problems().collect();
        assert_eq!(problems.len(), 1, "{template}: {problems:?}");
        assert!(
            problems[0].why.starts_with("sensor.x: "),
            "{template}: {problems:?}"
        );
        assert!(problems[0].why.contains(why), "{template}: {problems:?}");
        assert_eq!(problems[0].times, 3);
    }
    // A payload that is one of those that are known is taken as it is, as Home Assistant does.
    let mut registry = with(
        "switch",
        r#""cmd_t":"c","stat_t":"s","val_tpl":"{{ value_json.state }}""#,
    );
    say(&mut registry, "s", "ON");
    assert_eq!(
        (state(&registry, "switch.x"), problem(&registry)),
        ("on".into(), String::new())
    );
    // However long what a template fails by is.
    let mut registry = with("sensor", r#""stat_t":"s","val_tpl":"{{ value | float }}""#);
    say(&mut registry, "s", &"x".repeat(10_000));
    let why = problem(&registry);
    assert!(
        !why.is_empty() && why.chars().count() < 2 * crate::limits::MAX_WHY_CHARS,
        "{why}"
    );
}

#[test]
fn bare_devices_leave_out_what_did_not_change() {
    let mut registry = registry();
    let device = r#"[{"ieee_address":"0x1","friendly_name":"Remote","type":"EndDevice","definition":{"exposes":[
        {"type":"text","name":"note","property":"note","access":1}]}}]"#;
    registry.message("zigbee2mqtt/bridge/devices", device.as_bytes(), true, NOW);
    let id = "sensor.remote_note";
    for (payload, expected) in [
        (r#"{"note":"low"}"#, "low"),
        (r#"{"linkquality":7}"#, "low"),
        ("plain", "low"),
        (r#"{"note":""}"#, ""),
    ] {
        say(&mut registry, "zigbee2mqtt/Remote", payload);
        assert_eq!(
            (state(&registry, id).as_str(), problem(&registry).as_str()),
            (expected, ""),
            "{payload}"
        );
    }
}

#[test]
fn hearing_anything_of_its_state_keeps_it_from_expiring() {
    let config =
        r#""stat_t":"s","val_tpl":"{{ value_json.v }}","unit_of_meas":"W","exp_aft":60,"json_attr_t":"a""#;
    for (topic, payload, until) in [
        ("s", r#"{"v":1}"#, 90_000),
        ("s", r#"{"other":1}"#, 90_000),
        ("s", "spoilt", 90_000),
        ("a", r#"{"more":1}"#, 60_000),
    ] {
        let mut registry = with("sensor", config);
        registry.message("s", br#"{"v":1}"#, false, NOW);
        registry.message(topic, payload.as_bytes(), false, NOW + 30_000);
        assert_eq!(
            registry.next_deadline_ms(),
            Some(NOW + until),
            "{topic} {payload}"
        );
    }
}

#[test]
fn attributes_of_their_own_do_not_prolong_a_motion() {
    let mut registry = with("binary_sensor", r#""stat_t":"s","off_dly":5,"json_attr_t":"a""#);
    registry.message("s", b"ON", false, NOW);
    registry.message("a", br#"{"lux":3}"#, false, NOW + 3_000);
    assert_eq!(registry.next_deadline_ms(), Some(NOW + 5_000));
}

#[test]
fn thermostats_and_fans_tell_what_they_can_be_set_to() {
    for (component, config, expected) in [
        (
            "climate",
            r#""mode_cmd_t":"m","fan_mode_cmd_t":"f","swing_mode_cmd_t":"s","pr_mode_cmd_t":"p","pr_modes":["eco"]"#,
            json!({
                "fan_modes": ["auto", "low", "medium", "high"], "swing_modes": ["on", "off"],
                "preset_modes": ["none", "eco"], "preset_mode": "none",
            }),
        ),
        (
            "climate",
            r#""mode_cmd_t":"m","fan_mode_cmd_t":"f","fan_modes":["one"],"swing_modes":["left"],"pr_modes":["eco"]"#,
            json!({ "fan_modes": ["one"], "swing_modes": null, "preset_modes": null, "preset_mode": null }),
        ),
        (
            "fan",
            r#""cmd_t":"c","pct_cmd_t":"p","spd_rng_max":4"#,
            json!({ "percentage_step": 25.0, "preset_modes": [] }),
        ),
        (
            "fan",
            r#""cmd_t":"c","pct_cmd_t":"p","pr_mode_cmd_t":"m","pr_modes":["eco"]"#,
            json!({ "percentage_step": 1.0, "preset_modes": ["eco"] }),
        ),
        (
            "fan",
            r#""cmd_t":"c""#,
            json!({ "percentage_step": null, "preset_modes": null }),
        ),
    ] {
        let registry = with(component, config);
        let id = format!("{component}.x");
        for (name, value) in expected.as_object().into_iter().flatten() {
            assert_eq!(attribute(&registry, &id, name), *value, "{config}: {name}");
        }
    }
}

#[test]
fn lights_tell_how_they_are_lit() {
    let basic = r#""cmd_t":"c","stat_t":"s""#;
    let json_schema = r#""schema":"json","cmd_t":"c","stat_t":"s""#;
    let template = r#""schema":"template","cmd_t":"c","stat_t":"s","cmd_on_tpl":"on","cmd_off_tpl":"off","stat_tpl":"{{ value }}""#;
    for (config, on, mode, absent) in [
        (
            basic.to_owned(),
            "ON",
            "onoff",
            &["brightness", "hs_color", "effect", "color_temp"][..],
        ),
        (
            format!(r#"{basic},"bri_cmd_t":"b""#),
            "ON",
            "brightness",
            &["hs_color", "color_temp"],
        ),
        (
            format!(r#"{basic},"hs_cmd_t":"h""#),
            "ON",
            "hs",
            &["color_temp", "rgbw_color"],
        ),
        (
            format!(r#"{basic},"hs_cmd_t":"h","rgbw_cmd_t":"w""#),
            "ON",
            "unknown",
            &["color_temp", "rgbww_color"],
        ),
        (
            format!(r#"{json_schema},"brightness":true"#),
            r#"{"state":"ON"}"#,
            "brightness",
            &["hs_color"],
        ),
        (template.to_owned(), "on", "onoff", &["brightness"]),
    ] {
        let mut registry = with("light", &config);
        say(&mut registry, "s", on);
        assert_eq!(
            state(&registry, "light.x"),
            "on",
            "{config}: {}",
            problem(&registry)
        );
        assert_eq!(attribute(&registry, "light.x", "color_mode"), mode, "{config}");
        let shown = registry.view(NOW).entity("light.x").expect("it was told of");
        for name in absent {
            assert!(!shown.attributes.contains_key(*name), "{config}: {name}");
        }
    }
}

#[test]
fn a_light_that_is_off_has_its_attributes_empty() {
    let mut registry = with(
        "light",
        r#""schema":"json","cmd_t":"c","stat_t":"s","brightness":true,"supported_color_modes":["xy","color_temp"],"effect":true,
            "max_mireds":500,"min_mireds":153,"avty_t":"a""#,
    );
    let seen = |registry: &Registry| registry.view(NOW).entity("light.x").expect("it was told of");
    let names = [
        "brightness",
        "color_mode",
        "color_temp",
        "color_temp_kelvin",
        "effect",
        "hs_color",
        "rgb_color",
        "xy_color",
    ];
    // What it is able to stands also while it cannot be reached, what it is does not.
    assert_eq!(
        seen(&registry).attributes,
        BTreeMap::from_iter(
            json!({
                "friendly_name": "X", "supported_color_modes": ["color_temp", "xy"],
                "min_color_temp_kelvin": 2000, "max_color_temp_kelvin": 6535, "min_mireds": 153, "max_mireds": 500,
            })
            .as_object()
            .cloned()
            .unwrap_or_default()
        )
    );
    say(&mut registry, "a", "online");
    say(
        &mut registry,
        "s",
        r#"{"state":"ON","brightness":10,"color_mode":"xy","color":{"x":0.3,"y":0.3},"effect":"a"}"#,
    );
    let lit = [
        "brightness",
        "color_mode",
        "effect",
        "hs_color",
        "rgb_color",
        "xy_color",
    ];
    assert!(
        lit.iter()
            .all(|name| !attribute(&registry, "light.x", name).is_null())
    );
    say(&mut registry, "s", r#"{"state":"OFF"}"#);
    let off = seen(&registry);
    for name in names {
        assert_eq!(off.attributes.get(name), Some(&Value::Null), "{name}");
    }
}
