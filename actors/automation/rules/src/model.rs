//! What an automation says, after its file was read and checked: Home Assistant's terms, one type each.
//!
//! Nothing here is wrong in itself any more: entity ids are well formed, templates parse, numbers are in range. Times and
//! templates that depend on the moment stay as they were written until a run comes to them.

mod action;
mod condition;
mod policy;
mod trigger;

use serde::{Deserialize, Serialize};

pub use self::action::{Action, ActionKind, Branch, Repeat, Until};
pub use self::condition::{Condition, ConditionKind, Moment};
pub use self::policy::{CatchUp, Policy};
pub use self::trigger::{At, JarvisEvent, Pattern, SunEvent, Trigger, TriggerKind, ZoneEvent};

/// Where something stands in its file, for messages to people. Lines and columns count from 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// Line.
    pub line: u32,
    /// Column, in characters.
    pub column: u32,
}

/// One automation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Automation {
    /// `id`; where none was written, made of the alias: lower case, other characters than letters and digits as `_`.
    pub id: String,
    /// `alias`, else the id.
    pub alias: String,
    /// `description`.
    pub description: String,
    /// The name of the file that it stands in.
    pub file: String,
    /// Where it begins.
    pub position: Position,
    /// What happens when it is triggered while it runs.
    pub mode: Mode,
    /// `max`: runs at a time (parallel), or under way and waiting together (queued).
    pub max: u16,
    /// `initial_state`: whether it is switched on when it is first loaded.
    pub enabled: bool,
    /// What becomes of triggers that could not be seen in time, unless the trigger says otherwise.
    pub policy: Policy,
    /// `trigger_variables`: for templates in triggers; no states in them.
    pub trigger_variables: Vec<(String, Data)>,
    /// `variables`, in the order in which they were written; later ones see earlier ones.
    pub variables: Vec<(String, Data)>,
    /// Any of these starts it.
    pub triggers: Vec<Trigger>,
    /// All of these must hold when it is triggered.
    pub conditions: Vec<Condition>,
    /// What it does, in order.
    pub actions: Vec<Action>,
}

/// What happens when an automation is triggered while it runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The new trigger is passed over.
    #[default]
    Single,
    /// The run under way is stopped, a new one begins.
    Restart,
    /// It begins when the one before has ended.
    Queued,
    /// It runs beside the others.
    Parallel,
}

/// `domain.object`, lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EntityId(pub String);

impl EntityId {
    /// What stands before the dot: `light`.
    pub fn domain(&self) -> &str {
        self.0.split_once('.').map_or("", |(domain, _)| domain)
    }

    /// What stands after it: `kitchen`.
    pub fn object(&self) -> &str {
        self.0.split_once('.').map_or("", |(_, object)| object)
    }
}

/// A template's source, which was seen to parse.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Template(pub String);

/// What YAML holds where templates may stand in it at any depth: rendered when a run comes to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Data {
    /// As it is.
    Plain(serde_json::Value),
    /// Rendered; what comes out is read as a number, truth value, list or mapping where it looks like one, as Home Assistant
    /// does. Where a service takes a text it stays one.
    Template(Template),
    /// Each of them.
    List(Vec<Data>),
    /// Each of them, in the order in which they were written.
    Mapping(Vec<(String, Data)>),
}

/// How long: written as seconds, `HH:MM:SS`, a mapping of days to milliseconds, or a template that comes to one of these.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Span {
    /// Milliseconds.
    Millis(u64),
    /// Known when a run comes to it.
    Dynamic(Data),
}

/// A bound of a number: written down, or the state of an entity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Bound {
    /// This number.
    Number(f64),
    /// The number that is the state of this entity.
    Entity(EntityId),
}

/// Days of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weekdays(
    /// Bit 0 is Monday.
    pub u8,
);

impl Weekdays {
    /// Every day.
    pub const ALL: Self = Self(0b111_1111);

    /// Whether it holds the day that comes so many days after Monday.
    pub fn has(self, days_after_monday: u8) -> bool {
        days_after_monday < 7 && self.0 & (1 << days_after_monday) != 0
    }
}

/// A time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TimeOfDay {
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
}
