//! The automations of a soak, which record what they do, and when they are told of events.

use std::time::Duration;

use jarvis_bare::rules::{PATTERN, PATTERN_EVERY, Rule};

use super::RECORDS;
use crate::crowd::jitter::Jitter;

/// How long an event has it wait.
pub fn delay(rule: Rule, jitter: &mut Jitter) -> Duration {
    let ms = |from, to| Duration::from_millis(from)..Duration::from_millis(to);
    let is_long = jitter.below(100) < 15;
    jitter.within(&match rule {
        Rule::Queued => ms(50, 600),
        Rule::Repeats => ms(50, 1_500),
        _ if is_long => ms(4_000, 8_000),
        _ => ms(500, 4_000),
    })
}

/// Between two of its events.
pub fn pause(rule: Rule, jitter: &mut Jitter) -> Duration {
    let from = match rule {
        Rule::Queued => 600,
        _ => 200,
    };
    jitter.within(&(Duration::from_millis(from)..Duration::from_millis(3_000)))
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
    let mut yaml: String = Rule::ALL
        .into_iter()
        .map(|rule| {
            rule.yaml(256, |indent, what| {
                record(indent, rule.name(), what.unwrap_or("done"))
            })
        })
        .collect();
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
    fn each_rule_has_an_automation_of_its_name() {
        let yaml = rules();
        for name in Rule::ALL.map(Rule::name).into_iter().chain([PATTERN]) {
            assert!(yaml.contains(&format!("- id: {name}\n")), "{name}");
            assert!(yaml.contains(&format!("topic: {RECORDS}/{name}\n")), "{name}");
        }
    }
}
