//! Topics and filters of MQTT: which are well formed, and which match.

use crate::limits::MAX_TOPIC_BYTES;

/// Whether it may be published to: not empty, not too long, no wildcards, no null.
pub fn is_topic(topic: &str) -> bool {
    !topic.is_empty() && topic.len() <= MAX_TOPIC_BYTES && !topic.contains(['+', '#', '\0'])
}

/// Whether it may be subscribed to: a wildcard fills its level, and `#` is the last one.
pub fn is_filter(filter: &str) -> bool {
    if filter.is_empty() || filter.len() > MAX_TOPIC_BYTES || filter.contains('\0') {
        return false;
    }
    let levels = filter.split('/').count();
    filter.split('/').enumerate().all(|(at, level)| match level {
        "+" => true,
        "#" => at + 1 == levels,
        other => !other.contains(['+', '#']),
    })
}

/// Whether a filter says anything but one topic.
pub fn has_wildcard(filter: &str) -> bool {
    filter.contains(['+', '#'])
}

/// Whether `filter` takes `topic` in. Topics that begin with `$` are not found by a wildcard in the first level.
pub fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        match (wanted, levels.next()) {
            ("#", _) => return true,
            (_, None) => return false,
            ("+", Some(_)) => {}
            (wanted, Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_match_topics() {
        for (filter, topic, expected) in [
            ("a/b", "a/b", true),
            ("a/b", "a/c", false),
            ("a/+", "a/b", true),
            ("a/+", "a/b/c", false),
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("#", "a/b", true),
            ("#", "$SYS/x", false),
            ("+/x", "$SYS/x", false),
            ("$SYS/#", "$SYS/x", true),
            ("+/+/config", "a/b/config", true),
            ("a/", "a", false),
            ("a/+/", "a/b/", true),
        ] {
            assert_eq!(matches(filter, topic), expected, "{filter} {topic}");
        }
    }

    #[test]
    fn shapes_are_checked() {
        for filter in ["a", "a/b", "+/a", "a/#", "#", "/", "a//b"] {
            assert!(is_filter(filter), "{filter}");
        }
        for filter in ["", "a/#/b", "a+", "a/b#", "a\0"] {
            assert!(!is_filter(filter), "{filter}");
        }
        assert!(is_topic("a/b") && !is_topic("a/+") && !is_topic("") && !is_topic(&"x".repeat(2_000)));
    }
}
