//! Messages a second with 2,000 entities: what a home's broker may send, and what a decision over it costs.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use jarvis_devices::service::{Target, call};
use jarvis_devices::words::{Language, understand};
use jarvis_devices::{Registry, Settings};
use jarvis_rules::facts::{Facts, Home};
use jarvis_rules::template::Templates;
use jiff::tz::TimeZone;
use serde_json::Map;

/// Devices, of five entities each.
const DEVICES: usize = 400;

/// Messages of one round.
const MESSAGES: usize = 4_000;

fn home() -> Arc<Home> {
    Arc::new(Home {
        time_zone: TimeZone::UTC,
        latitude: 48.85,
        longitude: 2.35,
        elevation_m: 35.0,
    })
}

/// Devices as Zigbee2MQTT announces them: a lamp, three measurements picked from its JSON, and one that is calculated.
fn registry() -> Registry {
    let mut registry = Registry::new(Settings::default(), Arc::new(Templates::new()), home());
    for at in 0..DEVICES {
        let device = format!(
            r#""stat_t":"z/{at}","dev":{{"ids":"d{at}","name":"Device {at}","sa":"Room {}"}}"#,
            at % 12
        );
        let mut tell = |component: &str, part: &str, more: &str| {
            let config = format!(r#"{{"uniq_id":"{at}{part}",{more},{device}}}"#);
            registry.message(
                &format!("homeassistant/{component}/{at}/{part}/config"),
                config.as_bytes(),
                true,
                0,
            );
        };
        tell(
            "light",
            "l",
            &format!(r#""name":null,"schema":"json","brightness":true,"cmd_t":"z/{at}/set""#),
        );
        tell(
            "sensor",
            "t",
            r#""dev_cla":"temperature","unit_of_meas":"°C","val_tpl":"{{ value_json.temperature }}""#,
        );
        tell(
            "sensor",
            "h",
            r#""dev_cla":"humidity","unit_of_meas":"%","val_tpl":"{{ value_json.humidity }}""#,
        );
        tell(
            "sensor",
            "p",
            r#""name":"Power","unit_of_meas":"W","val_tpl":"{{ value_json.power }}""#,
        );
        tell(
            "binary_sensor",
            "w",
            r#""name":"Warm","val_tpl":"{{ 'ON' if value_json.temperature | float > 25 else 'OFF' }}""#,
        );
    }
    assert_eq!(registry.len(), 5 * DEVICES);
    registry
}

fn messages() -> Vec<(String, Vec<u8>)> {
    (0..MESSAGES)
        .map(|at| {
            let payload = format!(
                r#"{{"state":"ON","brightness":{},"temperature":{}.5,"humidity":{},"power":{},"linkquality":80}}"#,
                at % 255,
                at % 40,
                at % 100,
                at % 2_000
            );
            (format!("z/{}", at * 7 % DEVICES), payload.into_bytes())
        })
        .collect()
}

fn benches(criterion: &mut Criterion) {
    let messages = messages();
    let mut group = criterion.benchmark_group("devices");
    group
        .sample_size(10)
        .throughput(Throughput::Elements(MESSAGES as u64));
    let mut registry_one = registry();
    let mut now = 0;
    group.bench_function("messages, each for five of 2,000 entities", |bencher| {
        bencher.iter(|| {
            for (topic, payload) in &messages {
                now += 1;
                black_box(registry_one.message(topic, payload, false, now));
            }
        });
    });
    let mut registry_two = registry();
    group.bench_function("messages, each looked at in a view", |bencher| {
        bencher.iter(|| {
            for (topic, payload) in &messages {
                now += 1;
                let changes = registry_two.message(topic, payload, false, now);
                let view = registry_two.view(now);
                black_box((changes, view.entity("light.device_7")));
            }
        });
    });
    let single = {
        let mut registry = Registry::new(Settings::default(), Arc::new(Templates::new()), home());
        for at in 0..5 * DEVICES {
            let config = format!(r#"{{"name":"S {at}","stat_t":"s/{at}","unit_of_meas":"W"}}"#);
            registry.message(
                &format!("homeassistant/sensor/s{at}/config"),
                config.as_bytes(),
                true,
                0,
            );
        }
        registry
    };
    let mut registry_three = single;
    let plain: Vec<(String, String)> = (0..MESSAGES)
        .map(|at| (format!("s/{}", at * 7 % (5 * DEVICES)), (at % 3_001).to_string()))
        .collect();
    group.bench_function("plain sensors, each for one of 2,000 entities", |bencher| {
        bencher.iter(|| {
            for (topic, payload) in &plain {
                now += 1;
                black_box(registry_three.message(topic, payload.as_bytes(), false, now));
            }
        });
    });
    group.finish();

    let mut full = registry();
    for (topic, payload) in &messages {
        full.message(topic, payload, false, now);
    }
    let (view, templates) = (full.view(now), Templates::new());
    let mut group = criterion.benchmark_group("decisions");
    group.sample_size(10);
    group.bench_function("one lamp", |bencher| {
        let target = Target::entity("light.device_7");
        bencher.iter(|| black_box(call("light.toggle", &target, &Map::new(), &view, &templates)));
    });
    group.bench_function("all 34 lamps of a room", |bencher| {
        let target = Target::area("Room 3");
        bencher.iter(|| black_box(call("light.turn_off", &target, &Map::new(), &view, &templates)));
    });
    group.bench_function("words", |bencher| {
        bencher.iter(|| {
            black_box(understand(
                "turn off the lights in room 3",
                Language::English,
                &view,
            ))
        });
    });
    group.finish();
    // Nothing was measured that did not happen.
    let states: BTreeMap<String, _> = full
        .view(now)
        .entities(Some("binary_sensor"))
        .into_iter()
        .collect();
    assert!(
        states.values().any(|state| state.state == "on") && states.values().any(|state| state.state == "off")
    );
}

criterion_group!(all, benches);
criterion_main!(all);
