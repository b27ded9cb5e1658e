//! Rows: what another node makes of them is the same.

use super::*;

fn busy() -> Registry {
    let mut registry = registry();
    registry
        .put_area("Kitchen", vec!["cuisine".into()])
        .expect("a good name");
    tell(
        &mut registry,
        "light/a",
        r#"{"name":"Lamp","uniq_id":"a","schema":"json","cmd_t":"c","stat_t":"s","avty_t":"av","dev":{"ids":"d","name":"D"}}"#,
    );
    tell(
        &mut registry,
        "sensor/b",
        r#"{"name":"Warmth","stat_t":"t","unit_of_meas":"°C","exp_aft":60}"#,
    );
    say(&mut registry, "s", r#"{"state":"ON","brightness":9}"#);
    say(&mut registry, "av", "online");
    say(&mut registry, "t", "21");
    let into = Assignment {
        area: Some("kitchen".into()),
        ..Assignment::default()
    };
    registry
        .assign(Thing::Device("d".into()), into, NOW)
        .expect("both exist");
    registry
        .put_group("All", vec!["light.d_lamp".into()])
        .expect("a good name");
    let config = r#"{"dn":"Plug","t":"plug","ft":"%prefix%/%topic%/","tp":["cmnd","stat","tele"],"rl":[1],"fn":["Plug"]}"#;
    registry.message(
        "tasmota/discovery/AABBCCDDEEFF/config",
        config.as_bytes(),
        true,
        NOW,
    );
    registry
}

fn seen(registry: &Registry) -> Vec<(String, Arc<EntityState>)> {
    registry.view(NOW).entities(None)
}

#[test]
fn all_rows_make_the_same_registry() {
    let registry = busy();
    let bytes: Vec<(String, Vec<u8>)> = registry
        .rows()
        .into_iter()
        .map(|(key, row)| (key.to_string(), row.to_bytes().expect("it encodes")))
        .collect();
    let rows = bytes.iter().map(|(key, bytes)| {
        (
            RowKey::parse(key).expect("a key"),
            Row::from_bytes(bytes).expect("it decodes"),
        )
    });
    let again = Registry::restore(Settings::default(), Arc::new(Templates::new()), home(), rows, NOW)
        .expect("good rows");
    assert_eq!(seen(&again), seen(&registry));
    assert_eq!(again.rows(), registry.rows());
    let sorted = |mut filters: Vec<String>| {
        filters.sort();
        filters
    };
    assert_eq!(sorted(again.filters()), sorted(registry.filters()));
    assert_eq!(
        again.view(NOW).area_of("light.d_lamp").as_deref(),
        Some("kitchen")
    );
    assert_eq!(again.next_deadline_ms(), Some(NOW + 60_000));
}

#[test]
fn changed_rows_keep_a_follower_up_to_date() {
    let mut leader = registry();
    let mut follower = registry();
    let steps: [(&str, &str); 7] = [
        (
            "homeassistant/switch/x/config",
            r#"{"name":"X","cmd_t":"c","stat_t":"s","dev":{"ids":"d","name":"D"}}"#,
        ),
        ("s", "ON"),
        ("s", "ON"),
        (
            "homeassistant/switch/x/config",
            r#"{"name":"X","cmd_t":"c","stat_t":"s2","dev":{"ids":"d","name":"D2"}}"#,
        ),
        ("s2", "OFF"),
        ("homeassistant/switch/x/config", ""),
        ("s2", "ON"),
    ];
    let mut counts = Vec::new();
    for (topic, payload) in steps {
        leader.message(topic, payload.as_bytes(), false, NOW);
        let rows = leader.changed_rows();
        counts.push(rows.len());
        for (key, row) in rows {
            follower.put_row(&key, row, NOW).expect("a good row");
        }
        assert_eq!(seen(&follower), seen(&leader), "{topic} {payload}");
        assert_eq!(follower.rows(), leader.rows());
        assert_eq!(follower.changed_rows(), []);
    }
    assert_eq!(counts[2], 0, "what says nothing new is no row");
    assert_eq!(counts[6], 0, "nobody listens any more");
}

#[test]
fn a_row_of_another_table_is_refused() {
    let mut registry = registry();
    let row = Row::Area(Area {
        id: "x".into(),
        name: "X".into(),
        aliases: vec![],
    });
    assert!(
        registry
            .put_row(&RowKey::new(Table::Device, "x"), Some(row), NOW)
            .is_err()
    );
    assert!(RowKey::parse("nothing/x").is_err() && RowKey::parse("area").is_err());
    assert!(Row::from_bytes(b"{").is_err());
}
