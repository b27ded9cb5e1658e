//! What is an entity beside those of devices: automations and the sun, the same on every node.

use std::collections::BTreeMap;

pub(crate) use jarvis_devices::slug;
use jarvis_devices::{Change, Registry};
use jarvis_rules::clock::sun;
use jarvis_rules::facts::Home;
use jarvis_rules::model::SunEvent;
use serde_json::Value;

use crate::library::Definition;

/// A state with its attributes.
pub(crate) type Shown = (String, BTreeMap<String, Value>);

/// Shows an automation as it is now, none: no more, in the place of the entity that it was before.
pub(crate) fn show(
    registry: &mut Registry,
    before: Option<&Definition>,
    now: Option<&Definition>,
    now_ms: i64,
) -> Vec<Change> {
    let entity = now.map(entity_of);
    let gone = before.map(entity_of).filter(|gone| Some(gone) != entity.as_ref());
    let gone = gone.and_then(|gone| registry.put_state(&gone, None, now_ms));
    let state = now.map(state_of);
    let shown = entity.and_then(|entity| registry.put_state(&entity, state, now_ms));
    gone.into_iter().chain(shown).collect()
}

/// The state of an automation as other automations see it.
pub(crate) fn state_of(definition: &Definition) -> Shown {
    let state = if definition.enabled { "on" } else { "off" };
    let automation = &definition.automation;
    let attributes = BTreeMap::from([
        ("friendly_name".to_owned(), automation.alias.clone().into()),
        ("id".to_owned(), automation.id.clone().into()),
        (
            "mode".to_owned(),
            serde_json::to_value(automation.mode).unwrap_or_default(),
        ),
    ]);
    (state.to_owned(), attributes)
}

/// An automation as an entity: by its alias, as in Home Assistant, whose own ids of automations are numbers.
pub(crate) fn entity_of(definition: &Definition) -> String {
    let automation = &definition.automation;
    let name = match slug(&automation.alias) {
        name if name == NAMELESS => slug(&automation.id),
        name => name,
    };
    format!("automation.{name}")
}

/// What is left of a name in which nothing can be written in Latin letters.
const NAMELESS: &str = "unknown";

/// The sun as an entity, and when it next rises or sets.
pub(crate) fn sun_of(home: &Home, now_ms: i64) -> (Option<Shown>, Option<i64>) {
    let rises_ms = sun::next(home, SunEvent::Sunrise, 0, now_ms);
    let sets_ms = sun::next(home, SunEvent::Sunset, 0, now_ms);
    let Some(next_ms) = [rises_ms, sets_ms].into_iter().flatten().min() else {
        return (None, None);
    };
    let up = sets_ms == Some(next_ms);
    let state = if up { "above_horizon" } else { "below_horizon" };
    let mut attributes = BTreeMap::from([("friendly_name".to_owned(), Value::from("Sun"))]);
    for (name, at_ms) in [("next_rising", rises_ms), ("next_setting", sets_ms)] {
        if let Some(at_ms) = at_ms {
            attributes.insert(name.to_owned(), jarvis_devices::moment(at_ms).into());
        }
    }
    (Some((state.to_owned(), attributes)), Some(next_ms))
}
