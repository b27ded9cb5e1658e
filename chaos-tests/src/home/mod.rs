//! A home in which automations run: a real broker, sensors that publish, and a recorder of what is done, none of which knows
//! the product's own bridge.
//!
//! ```text
//!  sensors ──► Mosquitto ──► bridge ─► automations ─► bridge ──► Mosquitto ──► recorder ──► judge
//!  callers ──────── HTTP ──────┘                                                    └─────► timers
//! ```
mod broker;
mod caller;
mod clocks;
mod door;
mod judge;
mod recorder;
pub mod reminders;
mod rig;
pub mod rules;
mod sensor;
pub mod timers;
mod yaml;

use std::time::Duration;

use rumqttc::NetworkOptions;
use rumqttc::v5::MqttOptions;
use serde::{Deserialize, Serialize};

pub use broker::{Mosquitto, Reach, Saves};
pub use caller::{Callers, Told};
pub use clocks::{Clocks, Wall};
pub use door::Door;
pub use judge::{Expected, Verdict, judge};
pub use recorder::{Heard, Recorder, Sight};
pub use rig::Rig;
pub use sensor::{Said, Sensor, Sent, say_all};
pub use yaml::{delayed, devices, echo};

/// Below this, sensors speak; devices are told apart by the level after it.
pub const SENSORS: &str = "zigbee2mqtt";
/// Below this, automations of tests publish what they did.
pub const RECORDS: &str = "recorder";
/// Pause before a broker that went is tried again.
const RECONNECT_PAUSE: Duration = Duration::from_millis(20);
/// A session that is not used for so long is forgotten.
const SESSION_EXPIRY_S: u32 = 3_600;

/// What a sensor says, and what an automation says of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Word {
    /// Which device.
    pub device: String,
    /// Its message's number, from 0.
    pub n: u64,
}

/// A client of MQTT 5 at a broker on this machine.
fn options(port: u16, id: &str, keeps_session: bool) -> MqttOptions {
    let mut options = MqttOptions::new(id, "127.0.0.1", port);
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    network.set_connection_timeout(2);
    options.set_network_options(network);
    options.set_connection_timeout(2);
    options.set_keep_alive(Duration::from_secs(20));
    options.set_clean_start(!keeps_session);
    options.set_session_expiry_interval(keeps_session.then_some(SESSION_EXPIRY_S));
    options
}
