//! Settings as data: read once, checked whole before a port opens, handed to each part as its own slice.
//!
//! ```text
//!  jarvis.toml ─┐                       ┌─► Settings
//!               ├─► Document ─► Reader ─┤
//!  JARVIS_A__B ─┘   (text with origin)  └─► every problem at once: file:line, key, what was expected
//! ```
//!
//! - [`Settings`]: what there is to set, with the defaults.
//! - [`MqttSettings`]: the section of the home's broker, and what its address says.
//! - [`HomeSettings`], [`AutomationSettings`]: where the home is, and how automations act.
//! - [`load`]: where settings come from; [`check_file`]: whether a file would do.
//! - [`Problem`], [`ConfigError`]: what is wrong with them, and where.
//! - `document`, `reader`, `value`: how text becomes settings.
//! - `reference`: what it names outside of itself.
mod automation;
mod document;
mod home;
mod load;
mod mqtt;
mod problem;
mod reader;
mod reference;
mod settings;
mod value;

pub use automation::AutomationSettings;
pub use home::HomeSettings;
pub use load::{Checked, Loaded, Lookup, check_file, check_text, load};
pub use mqtt::{MqttAddress, MqttSettings};
pub use problem::{ConfigError, Origin, Problem};
pub use settings::{
    LimitSettings, LogFormat, LogSettings, MeshSettings, NodeSettings, Profile, RaftSettings, ResponderKind,
    ResponderSettings, SessionSettings, Settings,
};
pub use value::{Secret, format_duration, parse_duration};
