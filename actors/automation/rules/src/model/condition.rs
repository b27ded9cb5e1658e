//! What has to hold.

use serde::{Deserialize, Serialize};

use super::{Bound, EntityId, Position, Span, SunEvent, Template, TimeOfDay, Weekdays};

/// One condition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    /// `alias`.
    pub alias: Option<String>,
    /// `enabled`: one that is switched off always holds.
    pub enabled: bool,
    /// Where it begins.
    pub position: Position,
    /// What is looked at.
    pub kind: ConditionKind,
}

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ConditionKind {
    /// All of them hold.
    And(Vec<Condition>),
    /// One of them holds.
    Or(Vec<Condition>),
    /// None of them holds.
    Not(Vec<Condition>),
    /// An entity's state or attribute.
    State {
        /// All of these, or any.
        entities: Vec<EntityId>,
        /// `match: any`.
        any: bool,
        /// Of its attribute; none: of its state.
        attribute: Option<String>,
        /// It is one of these; an entity's id stands for its state.
        states: Vec<String>,
        /// Since this long at least.
        held_for: Option<Span>,
    },
    /// A number is between its bounds.
    NumericState {
        /// All of these.
        entities: Vec<EntityId>,
        /// Of its attribute; none: of its state.
        attribute: Option<String>,
        /// Makes the number; sees `state`.
        value_template: Option<Template>,
        /// More than this.
        above: Option<Bound>,
        /// Less than this.
        below: Option<Bound>,
    },
    /// The time of day is in `[after, before)`, which may span midnight.
    Time {
        /// From then.
        after: Option<Moment>,
        /// Until then.
        before: Option<Moment>,
        /// On these days.
        weekdays: Weekdays,
    },
    /// The sun.
    Sun {
        /// After it rose or set today, and so many milliseconds more.
        after: Option<(SunEvent, i64)>,
        /// Before it rises or sets today, and so many milliseconds more.
        before: Option<(SunEvent, i64)>,
    },
    /// Somebody is in a zone.
    Zone {
        /// All of these.
        entities: Vec<EntityId>,
        /// In one of these.
        zones: Vec<EntityId>,
    },
    /// A template comes to something true.
    Template(Template),
    /// One of these triggers, by id, started the run.
    Trigger(Vec<String>),
}

/// A time of day, written down or kept by an entity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Moment {
    /// That time.
    TimeOfDay(TimeOfDay),
    /// What an `input_datetime`, or a sensor of class `timestamp`, says.
    Entity(EntityId),
}
