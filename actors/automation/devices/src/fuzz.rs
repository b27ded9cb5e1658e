//! Bytes from a broker and words from people: all are taken, refused or passed over, within bounds.

use std::sync::Arc;

use jarvis_fuzz::fuzz;
use jarvis_rules::facts::Facts;
use jarvis_rules::template::Templates;

use crate::announce::Announcer;
use crate::registry::tests::{NOW, home, registry, say, tell};
use crate::registry::{Registry, Row, Settings};
use crate::service::{Target, call};
use crate::words::{Language, Understood, remind, understand};

const LIGHT: &str = r#"{"~":"home/k","name":null,"uniq_id":"k","schema":"json","cmd_t":"~/set","stat_t":"~/state","brightness":true,
    "sup_clrm":["color_temp","xy"],"avty":[{"t":"~/av","val_tpl":"{{ value_json.s }}"}],"dev":{"ids":"k","name":"Kitchen lamp","sa":"Kitchen"}}"#;
const DEVICE: &str = r#"{"dev":{"ids":"w","name":"Weather"},"o":{"name":"x"},"stat_t":"w/s","cmps":{"t":{"p":"sensor","uniq_id":"t","dev_cla":"temperature",
    "val_tpl":"{{ value_json['t'] }}"},"c":{"p":"cover","uniq_id":"c","cmd_t":"w/c","pos_t":"w/p","set_pos_t":"w/sp"}}}"#;

/// What a registry says of itself, so that inputs which come to something new are gone on from.
fn outcome(registry: &Registry) -> (usize, Option<String>) {
    let why = registry
        .problems()
        .last()
        .map(|problem| problem.why.chars().take(40).collect());
    (registry.len(), why)
}

fn assert_rows(registry: &Registry) {
    let rows: Vec<_> = registry
        .rows()
        .into_iter()
        .map(|(key, row)| {
            (
                key,
                Row::from_bytes(&row.to_bytes().expect("it encodes")).expect("it decodes"),
            )
        })
        .collect();
    let again = Registry::restore(Settings::default(), Arc::new(Templates::new()), home(), rows, NOW)
        .expect("good rows");
    assert_eq!(again.view(NOW).entities(None), registry.view(NOW).entities(None));
}

/// The first line of the input is the topic's kind of entity, the rest what is told of it.
#[test]
fn fuzz_discovery() {
    let seed = |component: &str, config: &str| format!("{component}\n{config}");
    fuzz!()
        .words([
            "\"~\"",
            "cmd_t",
            "stat_t",
            "val_tpl",
            "{{ value_json.",
            "null",
            "cmps",
            "\"p\":\"sensor\"",
            "ids",
            "avty",
            "#",
            "+",
            "{%",
        ])
        .seeds([
            seed("light", LIGHT),
            seed("device", DEVICE),
            seed(
                "climate",
                r#"{"name":"C","mode_cmd_t":"m","modes":["off"],"temp_cmd_t":"t","min_temp":5}"#,
            ),
            seed("select", r#"{"name":"S","cmd_t":"c","ops":["a","b"]}"#),
        ])
        .runs(1_500)
        .memory(4 * 1024 * 1024, 2_048)
        .run(|bytes| {
            let line = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(0);
            let component = String::from_utf8_lossy(&bytes[..line]);
            let mut registry = registry();
            let topic = format!("homeassistant/{component}/x/config");
            registry.message(&topic, &bytes[line..], true, NOW);
            registry.message("home/k/state", br#"{"state":"ON"}"#, false, NOW);
            let found = outcome(&registry);
            assert_rows(&registry);
            registry.message(&topic, b"", true, NOW);
            assert!(registry.is_empty(), "what was told of can be taken away");
            found
        });
}

/// The first byte says which topic, the rest is the payload.
#[test]
fn fuzz_states() {
    let config = r#""cmd_t":"c","avty_t":"a","json_attr_t":"j","pos_t":"p","set_pos_t":"sp","bri_stat_t":"b","rgb_stat_t":"r","clr_temp_stat_t":"t",
        "hum_cmd_t":"h","pct_stat_t":"pc","l_ver_t":"l","ops":["a"],"evt_typ":["press"],"act_stat_t":"s","exp_aft":5"#;
    let mut full = registry();
    for component in crate::component::Component::ALL {
        let name = component.name();
        tell(
            &mut full,
            &format!("{name}/x"),
            &format!(r#"{{"name":"X","stat_t":"s",{config}}}"#),
        );
        tell(
            &mut full,
            &format!("{name}/j"),
            &format!(r#"{{"name":"J","stat_t":"s","schema":"json","brightness":true,{config}}}"#),
        );
    }
    let rows = full.rows();
    let topics = ["s", "a", "j", "p", "b", "r", "t", "pc", "l"];
    let templates = Arc::new(Templates::new());
    fuzz!()
        .words([
            "ON",
            "OFF",
            "online",
            "None",
            "{\"state\":",
            "1e308",
            "-1",
            "255,0,0",
            "\"color\":{\"x\":",
            "event_type",
            "position",
        ])
        .seeds([
            "\0ON",
            "\0{\"state\":\"ON\",\"brightness\":3}",
            "\x01online",
            "\x02{\"a\":1}",
            "\x0345",
            "\x04100",
            "\x051,2,3",
            "\x06370",
        ])
        .runs(400)
        .memory(24 * 1024 * 1024, 4_096)
        .run(|bytes| {
            let mut registry =
                Registry::restore(Settings::default(), templates.clone(), home(), rows.clone(), NOW)
                    .expect("good rows");
            let (first, payload) = bytes.split_first().unwrap_or((&0, &[]));
            registry.message("a", b"online", false, NOW);
            let changes = registry.message(topics[usize::from(*first) % topics.len()], payload, false, NOW);
            for (id, state) in registry.view(NOW).entities(None) {
                assert!(
                    state.state.chars().count() <= crate::limits::MAX_STATE_CHARS,
                    "{id}"
                );
            }
            (changes.len(), outcome(&registry).1)
        });
}

/// Lists of bare devices.
#[test]
fn fuzz_bare_devices() {
    let zigbee = r#"[{"ieee_address":"0x1","friendly_name":"Lamp","type":"Router","definition":{"vendor":"V","model":"M","exposes":[
        {"type":"light","features":[{"name":"state","property":"state"},{"name":"brightness","property":"brightness","value_max":254}]},
        {"type":"enum","name":"action","property":"action","values":["on"]},{"type":"numeric","name":"power","property":"power","access":1}]}}]"#;
    let tasmota = r#"{"dn":"Plug","fn":["Plug"],"t":"plug","ft":"%prefix%/%topic%/","tp":["cmnd","stat","tele"],"rl":[1,2,3,3],"lt_st":5,"so":{"30":1}}"#;
    let sensors = r#"{"sn":{"ENERGY":{"Total":1,"Power":[1,2]},"DS18B20":{"Temperature":2},"Switch1":"ON","TempUnit":"C"}}"#;
    let groups = r#"[{"id":1,"friendly_name":"All","members":[{"ieee_address":"0x1"}]}]"#;
    fuzz!()
        .words([
            "exposes",
            "features",
            "property",
            "values",
            "\"access\":7",
            "%topic%",
            "climate",
            "cover",
            "null",
            "'",
            "endpoint",
        ])
        .seeds([
            format!("\0{zigbee}"),
            format!("\x01{groups}"),
            format!("\x02{tasmota}"),
            format!("\x03{sensors}"),
        ])
        .runs(800)
        .memory(4 * 1024 * 1024, 4_096)
        .run(|bytes| {
            let mut registry = registry();
            let (first, payload) = bytes.split_first().unwrap_or((&0, &[]));
            let topics = [
                "zigbee2mqtt/bridge/devices",
                "zigbee2mqtt/bridge/groups",
                "tasmota/discovery/AABBCCDDEEFF/config",
                "tasmota/discovery/AABBCCDDEEFF/sensors",
            ];
            if first % 4 == 3 {
                registry.message(topics[2], tasmota.as_bytes(), true, NOW);
            }
            registry.message(topics[usize::from(first % 4)], payload, true, NOW);
            assert_rows(&registry);
            outcome(&registry)
        });
}

/// Rows that another node, or a damaged store, may hold.
#[test]
fn fuzz_rows() {
    let mut registry = registry();
    tell(&mut registry, "light/k", LIGHT);
    say(&mut registry, "home/k/state", r#"{"state":"ON"}"#);
    let seeds: Vec<Vec<u8>> = registry
        .rows()
        .iter()
        .map(|(_, row)| row.to_bytes().expect("it encodes"))
        .collect();
    fuzz!()
        .seeds(seeds)
        .runs(1_500)
        .memory(1024 * 1024, 512)
        .run(|bytes| {
            let row = Row::from_bytes(bytes).ok()?;
            let again = Row::from_bytes(&row.to_bytes().expect("it encodes")).expect("it decodes");
            assert_eq!(again, row);
            Some(std::mem::discriminant(&row))
        });
}

/// What people say: both languages, with and without sense.
#[test]
fn fuzz_words_of_people() {
    let mut registry = registry();
    tell(&mut registry, "light/k", LIGHT);
    tell(&mut registry, "device/w", DEVICE);
    tell(
        &mut registry,
        "lock/f",
        r#"{"name":"Front door","cmd_t":"l","stat_t":"ls"}"#,
    );
    say(&mut registry, "home/k/av", r#"{"s":"online"}"#);
    let view = registry.view(NOW);
    let templates = Templates::new();
    let zone = &home().time_zone;
    fuzz!()
        .text()
        .words([
            "turn on ",
            "éteins ",
            "the kitchen",
            "la cuisine",
            " lamp",
            "all the ",
            "set ",
            " to 21 degrees",
            "50%",
            "remind me ",
            "in ten minutes",
            "dans ",
            "tomorrow ",
            "demain ",
            "at 7:30",
            "à 7h30",
            "unlock ",
            "front door",
            "is ",
            " closed",
            "est-ce que ",
            " half ",
            "quatre-vingt",
            "un quart d'heure",
            "monday ",
            "pm",
        ])
        .seeds([
            "turn off the kitchen lights",
            "éteins la cuisine",
            "set the kitchen lamp to 50 %",
            "remind me tomorrow at 8 to call",
            "unlock the front door",
            "rappelle-moi dans une heure et demie de partir",
            "is the front door locked?",
            "quelle est la température dans la cuisine",
        ])
        .runs(1_500)
        .memory(2 * 1024 * 1024, 4_096)
        .run(|bytes| {
            let text = std::str::from_utf8(bytes).expect("only text is handed in");
            let reminder = remind(text, Language::French, NOW, zone);
            if let Some(reminder) = &reminder {
                let at = reminder.at_ms(NOW);
                assert!(at > NOW && at - NOW <= 367 * 86_400_000, "{text}");
            }
            let understood = understand(text, Language::English, &view);
            if let Some(Understood::Do(commands)) = &understood {
                for command in commands {
                    // A number may be beyond what the device takes; but what is called exists and is aimed at what exists.
                    let out = call(
                        &command.service,
                        &command.target,
                        &command.data,
                        &view,
                        &templates,
                    );
                    assert!(
                        matches!(
                            &out,
                            Ok(_)
                                | Err(crate::service::CallError::Data { .. }
                                    | crate::service::CallError::Unfit { .. })
                        ),
                        "{text}: {out:?}"
                    );
                    let named = text.to_lowercase().contains("front") && text.to_lowercase().contains("door");
                    assert!(named || !command.service.starts_with("lock."), "{text}");
                }
            }
            (
                reminder.is_some(),
                understood.map(|understood| std::mem::discriminant(&understood)),
            )
        });
}

/// Targets and data of calls, as JSON.
#[test]
fn fuzz_calls() {
    let mut registry = registry();
    tell(&mut registry, "light/k", LIGHT);
    tell(&mut registry, "device/w", DEVICE);
    tell(
        &mut registry,
        "number/n",
        r#"{"name":"N","cmd_t":"n","min":0,"max":1,"step":0.1,"cmd_tpl":"{{ value }}"}"#,
    );
    say(&mut registry, "home/k/av", r#"{"s":"online"}"#);
    let view = registry.view(NOW);
    let templates = Templates::new();
    fuzz!()
        .text()
        .words([
            "entity_id",
            "light.kitchen_lamp",
            "cover.weather_c",
            "area_id",
            "all",
            "brightness",
            "rgb_color",
            "[255,0,0]",
            "1e308",
            "position",
            "-1",
            "null",
        ])
        .seeds([
            "light.turn_on\n{\"entity_id\":\"light.kitchen_lamp\",\"brightness\":7,\"rgb_color\":[1,2,3]}",
            "cover.toggle\n{\"entity_id\":\"all\"}",
            "homeassistant.toggle\n{\"area_id\":[\"kitchen\"]}",
            "number.set_value\n{\"entity_id\":\"number.n\",\"value\":0.3}",
            "mqtt.publish\n{\"topic\":\"a\",\"payload\":{\"x\":1}}",
        ])
        .runs(1_500)
        .memory(1024 * 1024, 1_024)
        .run(|bytes| {
            let text = std::str::from_utf8(bytes).expect("only text is handed in");
            let (service, data) = text.split_once('\n')?;
            let data: serde_json::Map<String, serde_json::Value> = serde_json::from_str(data).ok()?;
            match call(service, &Target::default(), &data, &view, &templates) {
                Ok(out) => {
                    assert!(out.publishes.iter().all(|one| crate::topic::is_topic(&one.topic)));
                    Some((out.publishes.len(), String::new()))
                }
                Err(error) => Some((0, error.to_string().chars().take(30).collect())),
            }
        });
}

/// Topics on which commands for us come.
#[test]
fn fuzz_commands_for_us() {
    let us = Announcer::new("1");
    fuzz!()
        .text()
        .words([
            "jarvis/",
            "automation/",
            "/set",
            "-20",
            "-zz",
            "/drain",
            "PRESS",
            "ON",
            "\n",
        ])
        .seeds([
            "jarvis/automation/a-20b/set\nON",
            "jarvis/node/nas/drain\nPRESS",
            "jarvis/drill/x/run\nPRESS",
        ])
        .runs(2_000)
        .run(|bytes| {
            let text = std::str::from_utf8(bytes).expect("only text is handed in");
            let (topic, payload) = text.split_once('\n').unwrap_or((text, ""));
            let asked = us.asked(topic, payload.as_bytes(), false);
            asked.map(|asked| {
                asked
                    .map(|asked| std::mem::discriminant(&asked))
                    .map_err(|error| std::mem::discriminant(&error))
            })
        });
}
