//! Automations that go by events, some of each way to run and to wait, and one that goes by the time; in Home Assistant's
//! YAML. What they do is recorded. PURE.
//!
//! | rule | what an event of it comes to |
//! |---|---|
//! | parallel | its token is recorded after its delay |
//! | queued | likewise, one after the other in the order of the events |
//! | single | likewise, unless an earlier run is under way |
//! | restart | likewise, unless a later event comes before |
//! | waits | its token is recorded with `heard` when an answer comes, with `waited` when none comes in time |
//! | repeats | its token is recorded three times, each after the delay |
//! | pattern | no event: the time is recorded, every five seconds |

use std::time::Duration;

use super::RECORDS;
use crate::crowd::jitter::Jitter;

/// The event that answers one of [`Rule::Waits`].
pub const ANSWER: &str = "answer";
/// What is recorded of a wait that was answered.
pub const HEARD: &str = "heard";
/// The automation that goes by the time.
pub const PATTERN: &str = "pattern";
/// How often a token of [`Rule::Repeats`] is recorded.
pub const ROUNDS: u64 = 3;
/// Between two times of the pattern.
pub const PATTERN_EVERY: Duration = Duration::from_secs(5);

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

    /// What an event is known by, and what is recorded of it.
    pub fn token(self, n: u64) -> String {
        format!("{}-{n}", self.name())
    }

    /// Reads a token.
    pub fn of_token(token: &str) -> Option<(Self, u64)> {
        let (name, n) = token.rsplit_once('-')?;
        let rule = Self::ALL.into_iter().find(|rule| rule.name() == name)?;
        Some((rule, n.parse().ok()?))
    }

    /// How often an event of it is recorded, if at all.
    pub fn rounds(self) -> u64 {
        match self {
            Self::Repeats => ROUNDS,
            _ => 1,
        }
    }

    /// Whether its runs are one after the other, so that what is recorded is in the order of the events.
    pub fn is_in_order(self) -> bool {
        matches!(self, Self::Queued | Self::Single)
    }

    /// How long an event has it wait.
    pub fn delay(self, jitter: &mut Jitter) -> Duration {
        let ms = |from, to| Duration::from_millis(from)..Duration::from_millis(to);
        let is_long = jitter.below(100) < 15;
        jitter.within(&match self {
            Self::Queued => ms(50, 600),
            Self::Repeats => ms(50, 1_500),
            _ if is_long => ms(4_000, 8_000),
            _ => ms(500, 4_000),
        })
    }

    /// Between two of its events.
    pub fn pause(self, jitter: &mut Jitter) -> Duration {
        let from = match self {
            Self::Queued => 600,
            _ => 200,
        };
        jitter.within(&(Duration::from_millis(from)..Duration::from_millis(3_000)))
    }

    fn yaml(self) -> String {
        let name = self.name();
        let mode = match self {
            Self::Queued | Self::Single | Self::Restart => name,
            Self::Parallel | Self::Waits | Self::Repeats => "parallel",
        };
        let max = match self {
            Self::Single | Self::Restart => "",
            _ => "  max: 256\n",
        };
        let ms = "{milliseconds: \"{{ trigger.event.data.ms }}\"}";
        let actions = match self {
            Self::Waits => format!(
                "    - wait_for_trigger:\n        - trigger: event\n          event_type: {ANSWER}\n          \
                 event_data: {{token: \"{{{{ trigger.event.data.token }}}}\"}}\n      timeout: {ms}\n      \
                 continue_on_timeout: true\n{}",
                record(
                    "    ",
                    name,
                    &format!("{{{{ '{HEARD}' if wait.trigger else 'waited' }}}}")
                )
            ),
            Self::Repeats => format!(
                "    - repeat:\n        count: {ROUNDS}\n        sequence:\n          - delay: {ms}\n{}",
                record("          ", name, "{{ repeat.index }}")
            ),
            _ => format!("    - delay: {ms}\n{}", record("    ", name, "done")),
        };
        format!(
            "- id: {name}\n  alias: {name}\n  mode: {mode}\n{max}  triggers:\n    - trigger: event\n      event_type: {name}\n  \
             actions:\n{actions}"
        )
    }
}

/// The step that has a token recorded.
fn record(indent: &str, name: &str, what: &str) -> String {
    format!(
        "{indent}- action: mqtt.publish\n{indent}  data:\n{indent}    topic: {RECORDS}/{name}\n{indent}    \
         payload: \"{{{{ trigger.event.data.token }}}} {what}\"\n{indent}    qos: 1\n"
    )
}

/// All of them, and the one that goes by the time.
pub fn rules() -> String {
    let mut yaml: String = Rule::ALL.into_iter().map(Rule::yaml).collect();
    let every = PATTERN_EVERY.as_secs();
    yaml += &format!(
        "- id: {PATTERN}\n  alias: {PATTERN}\n  mode: parallel\n  max: 50\n  triggers:\n    - trigger: time_pattern\n      \
         seconds: \"/{every}\"\n  actions:\n    - action: mqtt.publish\n      data:\n        topic: {RECORDS}/{PATTERN}\n        \
         payload: \"{PATTERN}-{{{{ (as_timestamp(trigger.now) / {every}) | int }}}} done\"\n        qos: 1\n"
    );
    yaml
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_written() {
        for rule in Rule::ALL {
            assert_eq!(Rule::of_token(&rule.token(17)), Some((rule, 17)));
        }
        for other in ["parallel", "parallel-", "other-3", "-3", ""] {
            assert_eq!(Rule::of_token(other), None, "{other}");
        }
    }

    #[test]
    fn each_rule_has_an_automation_of_its_name() {
        let yaml = rules();
        for name in Rule::ALL.map(Rule::name).into_iter().chain([PATTERN]) {
            assert!(yaml.contains(&format!("- id: {name}\n")), "{name}");
            assert!(yaml.contains(&format!("topic: {RECORDS}/{name}\n")), "{name}");
        }
    }
}
