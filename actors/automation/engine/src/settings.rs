//! What a node gives the kinds of this crate.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jarvis_host::{Clock, Entropy};
use jarvis_mqtt::Dial;
use jarvis_rules::facts::Home;
use jarvis_rules::run::Limits;
use jarvis_rules::template::Templates;

use crate::mirror::Mirror;

/// What is set for automations.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// Where and when the home is.
    pub home: Home,
    /// Where devices speak.
    pub devices: jarvis_devices::Settings,
    /// The broker; none: automations go without.
    pub mqtt: Option<jarvis_mqtt::Options>,
    /// How long it is tried to publish what was asked for, before the run is told that it failed.
    pub publish_within: Duration,
    /// Traces that are kept of each automation.
    pub traces: usize,
    /// Whether Jarvis shows itself to Home Assistant.
    pub announce: bool,
    /// This node's name, for traces.
    pub node: String,
    /// This build.
    pub version: String,
}

/// How long it is tried to publish something, unless it is set otherwise: a broker that is started again is back by then.
pub const PUBLISH_WITHIN: Duration = Duration::from_secs(5 * 60);
/// Traces that are kept, unless it is set otherwise; as many as Home Assistant keeps.
pub const TRACES: usize = 5;

/// Starts a drill by its name.
pub type StartDrill = Arc<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// Drills that can be started from Home Assistant.
#[derive(Clone)]
pub struct Drills {
    /// Their names, and what each does.
    pub all: Vec<(String, String)>,
    /// Starts one. What comes of it is told by [`crate::wire::Told::Drill`].
    pub start: StartDrill,
}

/// What bridge, automations and the rest of a node share. Clones are of the same.
#[derive(Clone)]
pub struct Engine {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) settings: EngineSettings,
    pub(crate) templates: Arc<Templates>,
    pub(crate) mirror: Mirror,
    pub(crate) limits: Limits,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) dial: Arc<dyn Dial>,
    /// Tells this life of the process from others.
    pub(crate) boot: u64,
    pub(crate) drills: OnceLock<Drills>,
    /// Turns in which the bridge takes in one thing each: a step of it was refused, or deciding panicked.
    pub(crate) careful_turns: AtomicU32,
}

/// Careful turns after what went wrong once.
const CAREFUL_TURNS: u32 = 1_000;

impl Engine {
    /// Of these settings.
    pub fn new(
        settings: EngineSettings,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        dial: Arc<dyn Dial>,
    ) -> Self {
        crate::metrics::describe();
        let templates = Arc::new(Templates::new());
        let mirror = Mirror::new(
            settings.devices.clone(),
            Arc::clone(&templates),
            Arc::new(settings.home.clone()),
        );
        // A run is one row, and a row has its bound; the largest message that starts one fits.
        let limits = Limits {
            variables_bytes: jarvis_rules::triggers::MESSAGE_BYTES_MAX + 16 * 1_024,
            data_bytes: 24 * 1_024,
            trace_steps: 100,
            ..Limits::default()
        };
        let mut boot = [0; 8];
        entropy.fill(&mut boot);
        let boot = u64::from_le_bytes(boot);
        Self {
            shared: Arc::new(Shared {
                settings,
                templates,
                mirror,
                limits,
                clock,
                entropy,
                dial,
                boot,
                drills: OnceLock::new(),
                careful_turns: AtomicU32::new(0),
            }),
        }
    }

    /// Has drills shown to Home Assistant, and started from there; before the kinds are used, and once.
    #[must_use]
    pub fn with_drills(self, drills: Drills) -> Self {
        // A second time changes nothing.
        let _ = self.shared.drills.set(drills);
        self
    }

    /// What is set.
    pub fn settings(&self) -> &EngineSettings {
        &self.shared.settings
    }

    /// Compiled templates, for whoever renders or checks some.
    pub fn templates(&self) -> &Arc<Templates> {
        &self.shared.templates
    }
}

impl Shared {
    /// Has the bridge take in one thing at a time for a while.
    pub(crate) fn be_careful(&self) {
        self.careful_turns.store(CAREFUL_TURNS, Ordering::Relaxed);
    }

    /// Unix milliseconds.
    pub(crate) fn now_ms(&self) -> i64 {
        i64::try_from(self.clock.now_ms()).unwrap_or(i64::MAX)
    }
}
