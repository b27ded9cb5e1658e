//! What discovery says of an entity, made ready to be used for thousands of messages a second: which topics it hears, what
//! their payloads become, and what always stands among its attributes.

mod attributes;
mod feeds;

pub(crate) use self::attributes::{assumed, colour_modes, hvac_modes, kelvins};
pub(crate) use self::feeds::{ends, speeds, tilts};

use std::collections::BTreeMap;

use jarvis_rules::template::Templates;
use serde_json::{Map, Value};

use crate::config::Config;
use crate::entity::Entity;
use crate::template::Template;

/// How an entity is read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    /// What it hears.
    pub feeds: Vec<Feed>,
    /// Where it hears whether it can be reached.
    pub availability: Vec<Availability>,
    /// What these come to together.
    pub mode: Mode,
    /// Whether it counts as reachable until it is said not to be.
    pub assumed: bool,
    /// Whether its messages tell only what changed: what one leaves out is as it was.
    pub sparse: bool,
    /// Attributes that do not change.
    pub fixed: BTreeMap<String, Value>,
    /// Attributes as they are while it can be reached and has not told them.
    pub blank: BTreeMap<String, Value>,
    /// What templates see of it.
    pub variables: Map<String, Value>,
    /// After how long without a message it counts as unreachable.
    pub expire_after_ms: Option<i64>,
    /// After how long it is off again.
    pub off_delay_ms: Option<i64>,
}

/// One topic, and what its payloads become.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Feed {
    /// The topic or filter.
    pub topic: String,
    /// What is made of the payload first.
    pub template: Option<Template>,
    /// What it becomes.
    pub slot: Slot,
}

/// A topic that tells whether an entity can be reached.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Availability {
    /// The topic.
    pub topic: String,
    /// What is made of the payload first.
    pub template: Option<Template>,
    /// The payload that says that it can.
    pub online: String,
    /// The payload that says that it cannot.
    pub offline: String,
}

/// What several availability topics come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// All must say so.
    All,
    /// One is enough.
    Any,
    /// The last that was heard counts.
    Latest,
}

/// What a payload becomes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Slot {
    /// The state, by what each payload stands for. Others are refused.
    State(Vec<(String, &'static str)>),
    /// The state as it is, one of these.
    Choice(Vec<String>),
    /// The state of a sensor.
    Sensor(Reading),
    /// The state is any text, an empty one too.
    Text,
    /// The state is a number.
    Number,
    /// An attribute.
    Attribute(&'static str, Kind),
    /// `brightness` of 255, sent as a part of this.
    Brightness(f64),
    /// The colour temperature; whether it is sent in kelvin.
    ColourTemperature(bool),
    /// The colour.
    Colour(Space),
    /// A light's state in one JSON object.
    JsonLight {
        /// What full brightness is.
        scale: f64,
        /// Whether colour temperatures are in kelvin.
        kelvin: bool,
    },
    /// A light's state, of which templates pick the parts.
    TemplateLight(Box<LightTemplates>),
    /// A cover's or valve's state, or its position in JSON.
    Cover {
        /// What each payload stands for.
        states: Vec<(String, &'static str)>,
        /// Position that is open.
        open: f64,
        /// Position that is closed.
        closed: f64,
        /// Whether a bare number is a position.
        numbers: bool,
    },
    /// A cover's position.
    Position {
        /// Position that is open.
        open: f64,
        /// Position that is closed.
        closed: f64,
    },
    /// How far a cover's slats are turned.
    Tilt {
        /// Value that is closed.
        min: f64,
        /// Value that is open.
        max: f64,
    },
    /// A fan's speed.
    Percentage {
        /// Slowest.
        min: f64,
        /// Fastest.
        max: f64,
    },
    /// On or off, bare or as JSON with more.
    Siren {
        /// Payload of on.
        on: String,
        /// Payload of off.
        off: String,
    },
    /// Something happened.
    Event(Vec<String>),
    /// Versions of firmware.
    Update,
    /// The version that could be installed.
    LatestVersion,
    /// A vacuum cleaner's state in one JSON object.
    Vacuum,
    /// Where something is, by what each payload stands for; others are names of places.
    Place(Vec<(String, &'static str)>),
    /// More attributes, a JSON object.
    Attributes,
}

/// What a sensor says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Numbers.
    Number,
    /// Text, one of these where there are any. Without a list an empty text is a state too: a button that was let go.
    Text(Vec<String>),
    /// Moments, which are shown by UTC's clock.
    Moment,
    /// Days.
    Day,
}

/// What an attribute holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    /// Text as it is.
    Text,
    /// A number.
    Number,
    /// True or false, by payload.
    Flag(String, String),
}

/// In which way a colour is sent, numbers with commas between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Space {
    /// Hue, saturation.
    Hs,
    /// Red, green, blue.
    Rgb,
    /// And white.
    Rgbw,
    /// And cold and warm white.
    Rgbww,
    /// x, y.
    Xy,
}

/// What picks the parts of a light's state out of a payload.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct LightTemplates {
    /// `on` or `off`.
    pub state: Option<Template>,
    /// 0 to 255.
    pub brightness: Option<Template>,
    /// Mired or kelvin.
    pub temperature: Option<Template>,
    /// Whether it is kelvin.
    pub kelvin: bool,
    /// Red, green, blue.
    pub rgb: Option<[Template; 3]>,
    /// By name.
    pub effect: Option<Template>,
}

impl Plan {
    /// Of an entity.
    ///
    /// # Errors
    /// The template that does not parse, or the list that is too long.
    pub(crate) fn of(entity: &Entity, templates: &Templates) -> Result<Self, String> {
        let config = &entity.config;
        let (availability, mode) = feeds::availability(config, templates)?;
        let seconds = |key: &str| {
            let seconds = config.number(key).filter(|seconds| *seconds > 0.0)?;
            // A year is as good as never.
            Some((seconds.min(31_536_000.0) * 1_000.0) as i64)
        };
        let device = entity.device.clone();
        let variables = [
            ("entity_id", Value::from(entity.id.clone())),
            ("name", Value::from(entity.name.clone())),
            ("device_id", Value::from(device)),
        ];
        Ok(Self {
            feeds: feeds::feeds(entity.component, config, templates)?,
            availability,
            mode,
            assumed: config.flag(ASSUMED).unwrap_or(false),
            sparse: config.get(ASSUMED).is_some(),
            fixed: attributes::fixed(entity),
            blank: attributes::blank(entity),
            variables: variables
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect(),
            expire_after_ms: seconds("expire_after"),
            off_delay_ms: seconds("off_delay"),
        })
    }

    /// All topics and filters.
    pub(crate) fn topics(&self) -> impl Iterator<Item = &str> {
        let feeds = self.feeds.iter().map(|feed| feed.topic.as_str());
        feeds.chain(self.availability.iter().map(|one| one.topic.as_str()))
    }
}

/// A setting of our own for bare devices, of which it is not known whether they tell of their availability at all. Their
/// messages tell only what changed.
pub(crate) const ASSUMED: &str = "jarvis_assume_available";

/// A template of a setting, where there is one.
///
/// # Errors
/// It does not parse.
pub(crate) fn template(
    config: &Config,
    key: &str,
    templates: &Templates,
) -> Result<Option<Template>, String> {
    match config.text(key) {
        None | Some("") => Ok(None),
        Some(source) => Template::parse(source, templates)
            .map(Some)
            .map_err(|error| format!("{key}: {error}")),
    }
}
