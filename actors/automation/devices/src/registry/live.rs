//! What is known of an entity at the moment, and what people and rules see of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jarvis_rules::facts::EntityState;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::apply::Known;
use crate::component::Component;
use crate::plan::{Mode, Plan};

/// The state of what cannot be reached.
pub const UNAVAILABLE: &str = "unavailable";

/// The state of what has not been heard of.
pub const UNKNOWN: &str = "unknown";

/// Attributes that a light has only while it is on.
const LIT: &[&str] = &[
    "brightness",
    "color_mode",
    "color_temp",
    "color_temp_kelvin",
    "effect",
    "hs_color",
    "rgb_color",
    "rgbw_color",
    "rgbww_color",
    "xy_color",
];

/// What is known of an entity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Live {
    /// What its messages said.
    pub known: Known,
    /// What each of its availability topics said last.
    pub heard: Vec<Option<bool>>,
    /// What any of them said last.
    pub latest: Option<bool>,
    /// Whether nothing was heard of it for too long.
    pub expired: bool,
    /// When it will not have been heard of for too long.
    pub expires_at_ms: Option<i64>,
    /// When it is off again.
    pub off_at_ms: Option<i64>,
    /// What is seen of it.
    pub shown: Arc<EntityState>,
}

impl Live {
    /// Of an entity that has not been heard of.
    pub(crate) fn new(plan: &Plan, now_ms: i64) -> Self {
        let mut live = Self {
            known: Known::default(),
            heard: vec![None; plan.availability.len()],
            latest: None,
            expired: false,
            expires_at_ms: None,
            off_at_ms: None,
            shown: Arc::new(EntityState {
                state: String::new(),
                attributes: BTreeMap::new(),
                last_changed_ms: now_ms,
                last_updated_ms: now_ms,
            }),
        };
        // With something that expires, Home Assistant begins with unavailable; here unknown, since nothing was missed yet.
        live.expires_at_ms = plan.expire_after_ms.map(|after| now_ms.saturating_add(after));
        live
    }

    /// Whether the same is known, whatever is seen of it.
    pub(crate) fn knows_the_same(&self, other: &Self) -> bool {
        self.known == other.known
            && self.heard == other.heard
            && self.latest == other.latest
            && self.expired == other.expired
            && self.expires_at_ms == other.expires_at_ms
            && self.off_at_ms == other.off_at_ms
    }

    /// Whether it can be reached.
    pub(crate) fn is_reachable(&self, plan: &Plan) -> bool {
        if self.expired {
            return false;
        }
        if plan.availability.is_empty() {
            return true;
        }
        let says = |heard: &Option<bool>| heard.unwrap_or(plan.assumed);
        match plan.mode {
            Mode::All => self.heard.iter().all(says),
            Mode::Any => self.heard.iter().any(says),
            Mode::Latest => self.latest.unwrap_or(plan.assumed),
        }
    }

    /// Brings what is seen up to date. The state that was seen before, where it is another.
    pub(crate) fn show(
        &mut self,
        plan: &Plan,
        component: Component,
        now_ms: i64,
        force: bool,
    ) -> Option<Arc<EntityState>> {
        let reachable = self.is_reachable(plan);
        let stateless = matches!(
            component,
            Component::Button | Component::Scene | Component::Notify | Component::Event
        );
        let state = match &self.known.state {
            _ if !reachable => UNAVAILABLE,
            None if !stateless && self.is_assumed(plan) => assumed_state(component).unwrap_or(UNKNOWN),
            None => UNKNOWN,
            Some(state) => state,
        };
        let hides = component == Component::Light && state != "on";
        let attributes = || {
            let mut out = plan.fixed.clone();
            if reachable {
                out.extend(
                    self.known
                        .extra
                        .iter()
                        .map(|(key, value)| (key.clone(), value.clone())),
                );
                let dark = |key: &String| hides && LIT.contains(&key.as_str());
                out.extend(plan.blank.iter().map(|(key, value)| match dark(key) {
                    true => (key.clone(), Value::Null),
                    false => (key.clone(), value.clone()),
                }));
                let own = self.known.attributes.iter().filter(|(key, _)| !dark(key));
                out.extend(own.map(|(key, value)| (key.clone(), value.clone())));
                // What discovery says stands, whatever a device says of itself.
                if let Some(name) = plan.fixed.get("friendly_name") {
                    out.insert("friendly_name".to_owned(), name.clone());
                }
            }
            out
        };
        let same_state = self.shown.state == state;
        let attributes = attributes();
        if same_state && !force && self.shown.attributes == attributes {
            return None;
        }
        let changed = if same_state && !force {
            self.shown.last_changed_ms
        } else {
            now_ms
        };
        let new = EntityState {
            state: state.to_owned(),
            attributes,
            last_changed_ms: changed,
            last_updated_ms: now_ms,
        };
        Some(std::mem::replace(&mut self.shown, Arc::new(new)))
    }

    fn is_assumed(&self, plan: &Plan) -> bool {
        plan.fixed.get("assumed_state") == Some(&Value::Bool(true))
    }
}

/// What is taken for the state of something that never says it.
fn assumed_state(component: Component) -> Option<&'static str> {
    matches!(
        component,
        Component::Light | Component::Switch | Component::Fan | Component::Siren | Component::Humidifier
    )
    .then_some("off")
}
