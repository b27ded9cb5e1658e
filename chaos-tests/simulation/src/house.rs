//! The automations of a run, which say what they do in chat, and when they are told of events.

use std::time::Duration;

use jarvis_bare::rules::{PATTERN, PATTERN_EVERY, Rule};

use crate::rng::Rng;

/// One run in so many has an automation that goes by the time.
const PATTERN_PPM: u64 = 400_000;

/// How long an event has it wait, in milliseconds.
pub fn delay_ms(rule: Rule, rng: &Rng, is_last: bool) -> u64 {
    match rule {
        _ if is_last => rng.range(100, 1_500),
        Rule::Queued => rng.range(50, 600),
        Rule::Repeats => rng.range(50, 1_500),
        _ if rng.chance_ppm(150_000) => rng.range(4_000, 8_000),
        _ => rng.range(500, 4_000),
    }
}

/// Between two of its events.
pub fn pause(rule: Rule, rng: &Rng) -> Duration {
    Duration::from_millis(match rule {
        Rule::Queued => rng.range(200, 2_500),
        _ => rng.range(100, 3_000),
    })
}

/// The step that says a token.
fn say(indent: &str, what: Option<&str>) -> String {
    let more = what.map_or_else(String::new, |what| format!(" {what}"));
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
        let mut text: String = self.rules.iter().map(|rule| rule.yaml(200, say)).collect();
        if self.pattern {
            let every = PATTERN_EVERY.as_secs();
            text += &format!(
                "- id: {PATTERN}\n  alias: {PATTERN}\n  mode: parallel\n  max: 50\n  triggers:\n    - trigger: time_pattern\n      \
                 seconds: \"/{every}\"\n  actions:\n    - action: jarvis.say\n      data:\n        \
                 session: \"{session}\"\n        \
                 message: \"{PATTERN} {{{{ (as_timestamp(trigger.now) / {every}) | int }}}}\"\n"
            );
        }
        text
    }
}
