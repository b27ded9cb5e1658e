//! What starts an automation, or ends a `wait_for_trigger`.

use serde::{Deserialize, Serialize};

use super::{Bound, Data, EntityId, Policy, Position, Span, Template, TimeOfDay, Weekdays};

/// One trigger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trigger {
    /// `id`, else its place in the list, from 0.
    pub id: String,
    /// `enabled`: a trigger that is switched off starts nothing.
    pub enabled: bool,
    /// `variables`, for this trigger alone.
    pub variables: Vec<(String, Data)>,
    /// Its own policy; else the automation's.
    pub policy: Option<Policy>,
    /// Where it begins.
    pub position: Position,
    /// What is waited for.
    pub kind: TriggerKind,
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum TriggerKind {
    /// A message.
    Mqtt {
        /// A filter, with `+` and `#`.
        topic: Template,
        /// What the payload, or what `value_template` makes of it, has to be; none: anything.
        payload: Option<Template>,
        /// Sees `value` and `value_json`.
        value_template: Option<Template>,
    },
    /// An entity's state or attribute changed.
    State {
        /// Any of these.
        entities: Vec<EntityId>,
        /// Of its attribute; none: of its state.
        attribute: Option<String>,
        /// Before it was one of these. None: not looked at. `Some(vec![])` stands for `from: null`: any, but only where the
        /// state itself changed.
        from: Option<Vec<String>>,
        /// Before it was none of these.
        not_from: Vec<String>,
        /// Now it is one of these.
        to: Option<Vec<String>>,
        /// Now it is none of these.
        not_to: Vec<String>,
        /// And stays so for this long.
        held_for: Option<Span>,
    },
    /// A number came between its bounds.
    NumericState {
        /// Any of these.
        entities: Vec<EntityId>,
        /// Of its attribute; none: of its state.
        attribute: Option<String>,
        /// Makes the number; sees `state`.
        value_template: Option<Template>,
        /// More than this.
        above: Option<Bound>,
        /// Less than this.
        below: Option<Bound>,
        /// And stays so for this long.
        held_for: Option<Span>,
    },
    /// A time of day.
    Time {
        /// Any of these.
        at: Vec<At>,
        /// On these days.
        weekdays: Weekdays,
    },
    /// Whenever the clock shows what fits: a field that was not written is any, unless a finer one was written, then 0.
    TimePattern {
        /// 0 to 23.
        hours: Pattern,
        /// 0 to 59.
        minutes: Pattern,
        /// 0 to 59.
        seconds: Pattern,
    },
    /// The sun rises or sets.
    Sun {
        /// Which of both.
        event: SunEvent,
        /// So many milliseconds after it; less than 0: before.
        offset_ms: i64,
    },
    /// An event of that type.
    Event {
        /// Any of these types.
        types: Vec<Template>,
        /// What its data has to hold at least.
        data: Vec<(String, Data)>,
    },
    /// A template became true.
    Template {
        /// Looked at whenever something it read has changed.
        template: Template,
        /// And stays so for this long.
        held_for: Option<Span>,
    },
    /// `homeassistant: start`: automations are loaded and states known, for the first time since the whole cluster was up.
    Start,
    /// `homeassistant: shutdown`: the last node goes in order.
    Shutdown,
    /// An HTTP request to `/api/webhook/ID`.
    Webhook {
        /// Its secret name.
        id: String,
        /// Allowed methods, upper case.
        methods: Vec<String>,
        /// Only from this machine and private networks.
        local_only: bool,
    },
    /// A person or thing comes into a zone or leaves it.
    Zone {
        /// Whose `latitude` and `longitude` are looked at.
        entities: Vec<EntityId>,
        /// The zone.
        zone: EntityId,
        /// Which of both.
        event: ZoneEvent,
    },
    /// Something of the cluster's own.
    Jarvis(JarvisEvent),
}

/// What a `time` trigger waits for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum At {
    /// That time of day, by the home's clock.
    TimeOfDay(TimeOfDay),
    /// What an `input_datetime`, or a sensor of class `timestamp`, says, and so many milliseconds after it.
    Entity {
        /// Which.
        entity: EntityId,
        /// Milliseconds; less than 0: before.
        offset_ms: i64,
    },
}

/// What a field of a clock has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pattern {
    /// Was not written.
    Unset,
    /// `*`.
    Any,
    /// This.
    Exactly(u8),
    /// `/n`: divisible by this, which is not 0.
    Every(u8),
}

/// What the sun does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SunEvent {
    /// It rises.
    Sunrise,
    /// It sets.
    Sunset,
}

/// What somebody does about a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ZoneEvent {
    /// Comes in.
    Enter,
    /// Goes out.
    Leave,
}

/// Something of the cluster's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JarvisEvent {
    /// A node no longer answers; one of that name, or any.
    NodeDown(Option<String>),
    /// A node answers again.
    NodeUp(Option<String>),
    /// A drill has ended; one of that name, or any.
    Drill(Option<String>),
    /// A chat session asks for that intent: `trigger.slots` holds what was understood.
    Intent(String),
}
