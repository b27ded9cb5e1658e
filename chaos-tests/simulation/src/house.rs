//! The automations of a run: some of each way to run and to wait, written as people write them.
//!
//! | rule | what an event of it comes to |
//! |---|---|
//! | parallel | its token is said after its delay |
//! | queued | likewise, one after the other in the order of the events |
//! | single | likewise, unless an earlier run is under way |
//! | restart | likewise, unless a later event comes before |
//! | waits | its token is said with `heard` when an answer comes, with `waited` when none comes in time |
//! | repeats | its token is said three times, each after the delay |
//! | pattern | no event: the time is said, every five seconds |

use std::time::Duration;

use crate::rng::Rng;

/// The event that answers one of [`Rule::Waits`].
pub const ANSWER: &str = "answer";
/// The automation that goes by the time.
pub const PATTERN: &str = "pattern";
/// How often a token of [`Rule::Repeats`] is said.
pub const ROUNDS: u64 = 3;
/// Between two times of the pattern.
pub const PATTERN_EVERY_S: u64 = 5;
/// One run in so many has an automation that goes by the time.
const PATTERN_PPM: u64 = 400_000;

/// How an automation runs, and what it waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// All at once.
    Parallel,
    /// One after the other.
    Queued,
    /// One, and none besides.
    Single,
    /// The last.
    Restart,
    /// For another event.
    Waits,
    /// Several times.
    Repeats,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Parallel,
        Self::Queued,
        Self::Single,
        Self::Restart,
        Self::Waits,
        Self::Repeats,
    ];

    /// The automation's id, and the type of its events.
    pub fn name(self) -> &'static str {
        match self {
            Self::Parallel => "parallel",
            Self::Queued => "queued",
            Self::Single => "single",
            Self::Restart => "restart",
            Self::Waits => "waits",
            Self::Repeats => "repeats",
        }
    }

    /// Of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.name() == name)
    }

    /// How long an event has it wait, in milliseconds.
    pub fn delay_ms(self, rng: &Rng, is_last: bool) -> u64 {
        match self {
            _ if is_last => rng.range(100, 1_500),
            Self::Queued => rng.range(50, 600),
            Self::Repeats => rng.range(50, 1_500),
            _ if rng.chance_ppm(150_000) => rng.range(4_000, 8_000),
            _ => rng.range(500, 4_000),
        }
    }

    /// Between two of its events.
    pub fn pause(self, rng: &Rng) -> Duration {
        Duration::from_millis(match self {
            Self::Queued => rng.range(200, 2_500),
            _ => rng.range(100, 3_000),
        })
    }

    fn text(self) -> String {
        let mode = match self {
            Self::Queued | Self::Single | Self::Restart => self.name(),
            Self::Parallel | Self::Waits | Self::Repeats => "parallel",
        };
        let max = match self {
            Self::Single | Self::Restart => "",
            _ => "  max: 200\n",
        };
        let ms = "{milliseconds: \"{{ trigger.event.data.ms }}\"}";
        let actions = match self {
            Self::Waits => format!(
                "    - wait_for_trigger:\n        - trigger: event\n          event_type: {ANSWER}\n          \
                 event_data: {{token: \"{{{{ trigger.event.data.token }}}}\"}}\n      timeout: {ms}\n      \
                 continue_on_timeout: true\n{}",
                say("    ", " {{ 'heard' if wait.trigger else 'waited' }}")
            ),
            Self::Repeats => format!(
                "    - repeat:\n        count: {ROUNDS}\n        sequence:\n          - delay: {ms}\n{}",
                say("          ", " {{ repeat.index }}")
            ),
            _ => format!("    - delay: {ms}\n{}", say("    ", "")),
        };
        let name = self.name();
        format!(
            "- id: {name}\n  alias: {name}\n  mode: {mode}\n{max}  triggers:\n    - trigger: event\n      event_type: {name}\n  \
             actions:\n{actions}"
        )
    }
}

/// The step that says a token.
fn say(indent: &str, more: &str) -> String {
    format!(
        "{indent}- action: jarvis.say\n{indent}  data:\n{indent}    session: \"{{{{ trigger.event.data.session }}}}\"\n\
         {indent}    message: \"{{{{ trigger.event.data.token }}}}{more}\"\n"
    )
}

/// The automations of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct House {
    /// Those that go by events.
    pub rules: Vec<Rule>,
    /// Whether there is one that goes by the time.
    pub pattern: bool,
}

impl House {
    /// Those of a seed.
    pub fn of(seed: u64) -> Self {
        let rng = Rng::new(seed, "house");
        let modes = [Rule::Queued, Rule::Single, Rule::Restart];
        let mut rules = vec![Rule::Parallel, *rng.pick(&modes)];
        let more = [Rule::Waits, Rule::Repeats];
        rules.extend(more.into_iter().filter(|_| rng.chance_ppm(700_000)));
        Self {
            rules,
            pattern: rng.chance_ppm(PATTERN_PPM),
        }
    }

    /// How many automations there are.
    pub fn len(&self) -> usize {
        self.rules.len() + usize::from(self.pattern)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The file they stand in; what goes by the time is said in `session`.
    pub fn text(&self, session: &str) -> String {
        let mut text: String = self.rules.iter().map(|rule| rule.text()).collect();
        if self.pattern {
            text += &format!(
                "- id: {PATTERN}\n  alias: {PATTERN}\n  mode: parallel\n  max: 50\n  triggers:\n    - trigger: time_pattern\n      \
                 seconds: \"/{PATTERN_EVERY_S}\"\n  actions:\n    - action: jarvis.say\n      data:\n        \
                 session: \"{session}\"\n        \
                 message: \"{PATTERN} {{{{ (as_timestamp(trigger.now) / {PATTERN_EVERY_S}) | int }}}}\"\n"
            );
        }
        text
    }
}
