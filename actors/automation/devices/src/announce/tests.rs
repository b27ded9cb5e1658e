//! What is shown can be read by discovery, changes are small, and commands come back as what was meant.

use std::sync::Arc;

use jarvis_rules::facts::Facts;
use jarvis_rules::template::Templates;

use super::*;
use crate::registry::tests::home;
use crate::registry::{Registry, Settings};

fn announcer() -> Announcer {
    Announcer::new("1.2.3")
}

fn lamp() -> AutomationShown {
    AutomationShown {
        id: "Night lights/été".into(),
        alias: "Night lights".into(),
        enabled: true,
        last_triggered_ms: Some(1_772_366_700_123),
    }
}

/// All that is shown, of one of each.
fn all() -> Vec<Publish> {
    let us = announcer();
    let mut out = us.automation(&lamp());
    out.extend(us.node(&NodeShown {
        name: "nas".into(),
        state: "leader".into(),
        online: true,
        version: None,
    }));
    out.extend(us.drill(&DrillShown {
        name: "kill-leader".into(),
        title: "Kill the leader".into(),
        last: None,
    }));
    out.extend(us.timer(&TimerShown {
        id: "01J".into(),
        text: "eggs".into(),
        due_ms: 1_772_366_700_000,
    }));
    out
}

#[test]
fn discovery_reads_what_is_shown() {
    let mut registry = Registry::new(Settings::default(), Arc::new(Templates::new()), home());
    let foreign = |payload: &str| payload.replace("\"name\":\"Jarvis\"", "\"name\":\"Other\"");
    for shown in all() {
        assert!(
            shown.retain && crate::topic::is_topic(&shown.topic),
            "{}",
            shown.topic
        );
        // Of ourselves we read nothing.
        registry.message(&shown.topic, shown.payload.as_bytes(), true, 0);
        assert!(registry.is_empty());
    }
    for shown in all() {
        registry.message(&shown.topic, foreign(&shown.payload).as_bytes(), true, 0);
    }
    let status = announcer().status(true);
    registry.message(&status.topic, status.payload.as_bytes(), true, 0);
    for shown in all() {
        registry.message(&shown.topic, foreign(&shown.payload).as_bytes(), true, 0);
    }
    assert_eq!(
        registry.problems().collect::<Vec<_>>(),
        Vec::<&crate::Problem>::new()
    );
    let view = registry.view(0);
    let state = |id: &str| view.entity(id).map(|state| state.state.clone());
    for (id, expected) in [
        ("switch.night_lights", "on"),
        ("sensor.night_lights_last_triggered", "2026-03-01T12:05:00+00:00"),
        ("button.night_lights_run", "unknown"),
        ("sensor.jarvis_node_nas_state", "leader"),
        ("binary_sensor.jarvis_node_nas_online", "on"),
        ("button.jarvis_node_nas_drain", "unknown"),
        ("button.jarvis_node_nas_undrain", "unknown"),
        ("button.jarvis_drill_kill_the_leader_start", "unknown"),
        ("sensor.jarvis_drill_kill_the_leader_last_result", "unknown"),
        ("sensor.eggs_due", "2026-03-01T12:05:00+00:00"),
        ("button.eggs_cancel", "unknown"),
    ] {
        assert_eq!(state(id).as_deref(), Some(expected), "{id}");
    }
    for gone in removal(&all()) {
        assert_eq!((gone.payload.as_str(), gone.retain), ("", true));
        registry.message(&gone.topic, b"", true, 0);
    }
    assert!(registry.is_empty());
}

#[test]
fn only_what_changed_is_sent() {
    let us = announcer();
    let before = us.automation(&lamp());
    let after = us.automation(&AutomationShown {
        enabled: false,
        ..lamp()
    });
    let sent = difference(&before, &after);
    assert_eq!(sent.len(), 1);
    assert!(sent[0].topic.ends_with("/state") && sent[0].payload == "OFF");
    assert!(difference(&before, &before).is_empty());
    assert_eq!(difference(&[], &before), before);
}

#[test]
fn commands_come_back() {
    let us = announcer();
    let id = escape("Night lights/été");
    let asked = |topic: &str, payload: &str, kept: bool| us.asked(topic, payload.as_bytes(), kept);
    let automation = || "Night lights/été".to_owned();
    for (topic, payload, expected) in [
        (
            format!("jarvis/automation/{id}/set"),
            "ON",
            Asked::Enable {
                automation: automation(),
                on: true,
            },
        ),
        (
            format!("jarvis/automation/{id}/set"),
            "OFF",
            Asked::Enable {
                automation: automation(),
                on: false,
            },
        ),
        (
            format!("jarvis/automation/{id}/trigger"),
            "PRESS",
            Asked::Trigger {
                automation: automation(),
            },
        ),
        (
            "jarvis/node/nas/drain".into(),
            "PRESS",
            Asked::Drain { node: "nas".into() },
        ),
        (
            "jarvis/node/nas/undrain".into(),
            "PRESS",
            Asked::Undrain { node: "nas".into() },
        ),
        (
            "jarvis/drill/kill-2dleader/run".into(),
            "PRESS",
            Asked::Drill {
                name: "kill-leader".into(),
            },
        ),
        (
            "jarvis/timer/01J/cancel".into(),
            "PRESS",
            Asked::Cancel { timer: "01J".into() },
        ),
    ] {
        assert_eq!(asked(&topic, payload, false), Some(Ok(expected)), "{topic}");
        assert_eq!(
            asked(&topic, payload, true),
            Some(Err(AskError::Retained)),
            "{topic}"
        );
        assert!(
            us.filters()
                .iter()
                .any(|filter| crate::topic::matches(filter, &topic)),
            "{topic}"
        );
    }
    assert!(matches!(
        asked("jarvis/node/nas/drain", "ON", false),
        Some(Err(AskError::Payload { .. }))
    ));
    assert_eq!(
        asked("jarvis/node/-zz/drain", "PRESS", false),
        Some(Err(AskError::Id))
    );
    assert_eq!(asked("jarvis/node/nas/state", "x", false), None);
    assert_eq!(asked("elsewhere/node/nas/drain", "PRESS", false), None);
}
