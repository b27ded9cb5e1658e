//! `this` and `trigger`, as an automation's own templates see them.

use std::sync::Arc;

use jarvis_rules::facts::{EntityState, Facts};
use jarvis_rules::template;
use serde_json::{Map, Value};

use crate::library::Definition;
use crate::shown::{entity_of, state_of};

/// The automation's own state at the moment in which it is triggered.
pub(super) fn this(definition: &Definition, facts: &Arc<dyn Facts>, ran: [(String, Value); 2]) -> Value {
    let id = entity_of(definition);
    let (state, attributes) = state_of(definition);
    let known = facts.entity(&id);
    let since = |pick: fn(&EntityState) -> i64| known.as_deref().map_or(definition.loaded_ms, pick);
    let mut own = EntityState {
        state,
        attributes,
        last_changed_ms: since(|state| state.last_changed_ms),
        last_updated_ms: since(|state| state.last_updated_ms),
    };
    own.attributes.extend(ran);
    template::state(&id, &own)
}

/// `trigger` of a run that somebody starts. As in Home Assistant its platform is none; who tries out what a trigger does gives
/// a mapping of that name.
pub(super) fn by_hand(given: &mut Map<String, Value>) -> Value {
    let mut trigger = Map::new();
    trigger.insert("platform".into(), Value::Null);
    if let Some(Value::Object(own)) = given.remove("trigger") {
        trigger.extend(own);
    }
    Value::Object(trigger)
}
