//! Areas, labels, names and groups.

use jarvis_rules::facts::Group;

use super::*;

fn two() -> Registry {
    let mut registry = registry();
    for (name, area) in [("Lamp", "Kitchen"), ("Heater", "Living Room")] {
        let config = format!(
            r#"{{"name":"{name}","uniq_id":"{name}","cmd_t":"c","dev":{{"ids":"{name}","name":"{name} device","sa":"{area}"}}}}"#
        );
        tell(&mut registry, &format!("switch/{name}"), &config);
    }
    registry
}

fn into(area: &str) -> Assignment {
    Assignment {
        area: Some(area.to_owned()),
        ..Assignment::default()
    }
}

#[test]
fn areas_are_suggested_and_set() {
    let mut registry = two();
    let members = |registry: &Registry, area: &str| registry.view(NOW).members(Group::Area(area));
    assert_eq!(members(&registry, "kitchen"), ["switch.lamp_device_lamp"]);
    assert_eq!(members(&registry, "living_room"), ["switch.heater_device_heater"]);
    let area = registry
        .put_area("Cuisine", vec!["Kitchen".into()])
        .expect("a good name");
    assert_eq!(area.id, "cuisine");
    assert_eq!(members(&registry, "Kitchen"), ["switch.lamp_device_lamp"]);
    assert_eq!(members(&registry, "cuisine"), ["switch.lamp_device_lamp"]);
    registry.put_area("Cellar", vec![]).expect("a good name");
    registry
        .assign(Thing::Device("lamp".into()), into("cellar"), NOW)
        .expect("both exist");
    assert_eq!(members(&registry, "cuisine"), Vec::<String>::new());
    registry
        .assign(
            Thing::Entity("switch.lamp_device_lamp".into()),
            into("CUISINE"),
            NOW,
        )
        .expect("both exist");
    assert_eq!(members(&registry, "cuisine"), ["switch.lamp_device_lamp"]);
    registry.remove_area("cuisine").expect("it exists");
    assert_eq!(members(&registry, "Cellar"), ["switch.lamp_device_lamp"]);
}

#[test]
fn what_does_not_exist_is_refused() {
    let mut registry = two();
    let near = registry
        .assign(Thing::Device("lamb".into()), into("x"), NOW)
        .unwrap_err();
    assert_eq!(near.to_string(), "there is no lamb; did you mean lamp?");
    registry.put_area("Garage", vec![]).expect("a good name");
    let near = registry
        .assign(Thing::Device("lamp".into()), into("garrage"), NOW)
        .unwrap_err();
    assert_eq!(
        near.to_string(),
        "there is no area \"garrage\"; did you mean Garage?"
    );
    assert_eq!(registry.put_area("  ", vec![]), Err(PeopleError::NoName));
    assert!(matches!(
        registry.put_area(&"x".repeat(999), vec![]),
        Err(PeopleError::TooLong { .. })
    ));
}

#[test]
fn labels_names_and_groups() {
    let mut registry = two();
    let said = Assignment {
        labels: ["Night off".to_owned()].into(),
        name: Some("Reading lamp".into()),
        ..Assignment::default()
    };
    registry
        .assign(Thing::Entity("switch.lamp_device_lamp".into()), said, NOW)
        .expect("it exists");
    assert_eq!(
        attribute(&registry, "switch.lamp_device_lamp", "friendly_name"),
        "Reading lamp"
    );
    let view = registry.view(NOW);
    assert_eq!(
        view.members(Group::Label("night_off")),
        ["switch.lamp_device_lamp"]
    );
    assert_eq!(view.name("switch.lamp_device_lamp"), Some("Reading lamp"));
    let inner = registry
        .put_group(
            "Inner",
            vec!["switch.lamp_device_lamp".into(), "group.outer".into()],
        )
        .expect("a good name");
    registry
        .put_group("Outer", vec![inner, "switch.heater_device_heater".into()])
        .expect("a good name");
    // Groups may hold one another in a circle.
    let members = registry
        .view(NOW)
        .group_members("group.outer")
        .expect("it exists");
    assert_eq!(
        members,
        ["switch.lamp_device_lamp", "switch.heater_device_heater"]
    );
    registry.put_group("Outer", vec![]).expect("a good name");
    assert_eq!(registry.view(NOW).group_members("group.outer"), None);
}
