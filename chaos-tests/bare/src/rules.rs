//! Automations that go by events, some of each way to run and to wait, and one that goes by the time; in Home Assistant's YAML. What
//! they do with a token is for who loads them: it is recorded, or said. PURE.
//!
//! | rule | what an event of it comes to |
//! |---|---|
//! | parallel | its token is done after its delay |
//! | queued | likewise, one after the other in the order of the events |
//! | single | likewise, unless an earlier run is under way |
//! | restart | likewise, unless a later event comes before |
//! | waits | its token is done with `heard` when an answer comes, with `waited` when none comes in time |
//! | repeats | its token is done three times, each after the delay |
//! | pattern | no event: the time is done, every five seconds |

use std::time::Duration;

/// The event that answers one of [`Rule::Waits`].
pub const ANSWER: &str = "answer";
/// What is done of a wait that was answered says so.
pub const HEARD: &str = "heard";
/// The automation that goes by the time.
pub const PATTERN: &str = "pattern";
/// How often a token of [`Rule::Repeats`] is done.
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

    /// Of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.name() == name)
    }

    /// What an event is known by, and what is done of it.
    pub fn token(self, n: u64) -> String {
        format!("{}-{n}", self.name())
    }

    /// Reads a token.
    pub fn of_token(token: &str) -> Option<(Self, u64)> {
        let (name, n) = token.rsplit_once('-')?;
        Some((Self::named(name)?, n.parse().ok()?))
    }

    /// How often an event of it is done, if at all.
    pub fn rounds(self) -> u64 {
        match self {
            Self::Repeats => ROUNDS,
            _ => 1,
        }
    }

    /// Whether its runs are one after the other, so that what is done is in the order of the events.
    pub fn is_in_order(self) -> bool {
        matches!(self, Self::Queued | Self::Single)
    }

    /// The automation, of at most `max` runs at a time. `act` is the step that does the event's token, with that many spaces before
    /// it, and what is told beside the token, if there is anything to tell.
    pub fn yaml(self, max: u16, act: impl Fn(&str, Option<&str>) -> String) -> String {
        let name = self.name();
        let mode = match self {
            Self::Queued | Self::Single | Self::Restart => name,
            Self::Parallel | Self::Waits | Self::Repeats => "parallel",
        };
        let max = match self {
            Self::Single | Self::Restart => String::new(),
            _ => format!("  max: {max}\n"),
        };
        let ms = "{milliseconds: \"{{ trigger.event.data.ms }}\"}";
        let actions = match self {
            Self::Waits => format!(
                "    - wait_for_trigger:\n        - trigger: event\n          event_type: {ANSWER}\n          \
                 event_data: {{token: \"{{{{ trigger.event.data.token }}}}\"}}\n      timeout: {ms}\n      \
                 continue_on_timeout: true\n{}",
                act(
                    "    ",
                    Some(&format!("{{{{ '{HEARD}' if wait.trigger else 'waited' }}}}"))
                )
            ),
            Self::Repeats => format!(
                "    - repeat:\n        count: {ROUNDS}\n        sequence:\n          - delay: {ms}\n{}",
                act("          ", Some("{{ repeat.index }}"))
            ),
            _ => format!("    - delay: {ms}\n{}", act("    ", None)),
        };
        format!(
            "- id: {name}\n  alias: {name}\n  mode: {mode}\n{max}  triggers:\n    - trigger: event\n      event_type: {name}\n  \
             actions:\n{actions}"
        )
    }
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
}
