//! What a run did, as lines for people.
//!
//! ```text
//! run 01J9… of night_lights: finished after 61.2 s
//! 21:00:00.014   +0.000  attic    trigger      triggered by 0
//! 21:00:00.021   +0.007  attic    action/0     called light.turn_on for light.hall
//! 21:00:00.055   +0.041  attic    action/1     waits until 21:01:00.055
//! 21:01:01.190  +61.176  kitchen  action/1     went on here; what it waited for came
//! ```

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::cli::output::table;
use crate::commands::cluster::{list, text};

/// A run in one line.
pub(super) fn headline(run: &Value) -> String {
    let mut out = format!("run {} of {}: ", text(run, "run"), text(run, "automation"));
    let began = when(run.get("started_ms"));
    match run["state"].as_str() {
        Some("ended") => {
            out.push_str(&text(run, "ended"));
            if let (Some(started), Some(ended)) = (run["started_ms"].as_i64(), run["ended_ms"].as_i64()) {
                out.push_str(&format!(" after {:.3} s", seconds(ended - started)));
            }
            if let Some(why) = run["why"].as_str() {
                out.push_str(&format!(" ({why})"));
            }
        }
        Some("queued") => out.push_str("it waits for the one before it"),
        _ => out.push_str("it is under way"),
    }
    out.push_str(&format!(", begun {began}"));
    if let Some(open) = run["open_intents"].as_u64().filter(|open| *open > 0) {
        out.push_str(&format!("; {open} of what it asked for is not known to be done"));
    }
    out
}

/// A run, step by step.
pub(super) fn describe(run: &Value) -> String {
    let started = run["started_ms"].as_i64().unwrap_or(0);
    let mut out = headline(run);
    if let Some(dropped) = run["steps_dropped"].as_u64().filter(|dropped| *dropped > 0) {
        out.push_str(&format!("\n({dropped} earlier steps are not kept any more)"));
    }
    let mut before: Option<String> = None;
    let rows: Vec<Vec<String>> = list(run, "steps")
        .iter()
        .map(|step| {
            let (at, node) = (step["at_ms"].as_i64().unwrap_or(0), text(step, "node"));
            let moved = before.as_ref().is_some_and(|before| *before != node);
            let what = match moved {
                true => format!("went on here; {}", what(step)),
                false => what(step),
            };
            before = Some(node.clone());
            vec![
                clock(at, true),
                format!("{:>9}", format!("{:+.3}", seconds(at - started))),
                node,
                indented(&text(step, "path")),
                what,
            ]
        })
        .collect();
    if !rows.is_empty() {
        out.push('\n');
        out.push_str(&table(&["TIME", "  SECONDS", "NODE", "STEP", "WHAT"], &rows));
    }
    if run["state"] != "ended" {
        for wait in list(run, "waits") {
            let since = clock(wait["since_ms"].as_i64().unwrap_or(0), true);
            let until = until(wait);
            out.push_str(&format!(
                "\nwaits for {} since {since}{until}",
                waited(&text(wait, "what"))
            ));
        }
    }
    out
}

/// A path, as far to the right as it is nested.
fn indented(path: &str) -> String {
    let depth = path
        .split('/')
        .filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
        .count()
        .saturating_sub(1);
    format!("{}{path}", "  ".repeat(depth.min(12)))
}

fn what(step: &Value) -> String {
    let held = |field: &str| step[field].as_str().map(str::to_owned);
    match step["what"].as_str().unwrap_or_default() {
        "triggered" => {
            let late = step["late_ms"].as_i64();
            let late = late.map(|ms| format!(", {:.3} s late", seconds(ms)));
            format!(
                "triggered by {}{}",
                text(step, "trigger"),
                late.unwrap_or_default()
            )
        }
        "queued" => "waits for the runs before it".to_owned(),
        "disabled" => "switched off".to_owned(),
        "condition" => match (held("error"), step["holds"].as_bool()) {
            (Some(error), _) => format!("the condition could not be looked at: {error}"),
            (None, Some(true)) => "the condition holds".to_owned(),
            (None, _) => "the condition does not hold".to_owned(),
        },
        "round" => format!("round {}", text(step, "index")),
        "called" => {
            let entities: Vec<_> = list(step, "entities").iter().filter_map(Value::as_str).collect();
            let service = text(step, "service");
            match entities.is_empty() {
                true => format!("called {service}"),
                false => format!("called {service} for {}", entities.join(", ")),
            }
        }
        "not_reached" => {
            let all = list(step, "entities").iter();
            let each = all.map(|one| {
                format!(
                    "{} ({})",
                    one[0].as_str().unwrap_or("?"),
                    one[1].as_str().unwrap_or("?")
                )
            });
            format!("did not reach {}", each.collect::<Vec<_>>().join(", "))
        }
        "answered" => "all that was asked for is done".to_owned(),
        "sent" => format!("sent the event {}", text(step, "event")),
        "waits" => format!("waits{}", until(step)),
        "came" => "what it waited for came".to_owned(),
        "timed_out" => "the time was over".to_owned(),
        "late" => {
            let late = seconds(step["by_ms"].as_i64().unwrap_or(0));
            let taken = step["taken"].as_str().unwrap_or("decided");
            format!("{late:.3} s late: {}", taken.replace('_', " "))
        }
        "passed_over" => format!("failed, and goes on: {}", text(step, "error")),
        "ended" => format!("ended: {}", text(step, "how")),
        other => other.replace('_', " "),
    }
}

fn waited(what: &str) -> &str {
    match what {
        "delay" => "the time",
        "template" => "a template",
        "triggers" => "triggers",
        "calls" => "what it asked for",
        "join" => "parallel sequences",
        other => other,
    }
}

fn until(wait: &Value) -> String {
    wait["until_ms"]
        .as_i64()
        .map_or_else(String::new, |ms| format!(" until {}", clock(ms, true)))
}

fn seconds(ms: i64) -> f64 {
    // Spans of a home's automations are far below what a float tells apart.
    ms as f64 / 1_000.0
}

/// A moment of a document, Unix milliseconds, by this machine's clock; a dash where there is none.
pub(super) fn when(ms: Option<&Value>) -> String {
    ms.and_then(Value::as_i64)
        .map_or_else(|| "-".to_owned(), |ms| clock(ms, false))
}

/// A moment in ISO, by this machine's clock.
pub(super) fn moment(iso: Option<&str>) -> String {
    let at = iso.and_then(|text| text.parse::<Timestamp>().ok());
    at.map_or_else(|| "-".to_owned(), |at| clock(at.as_millisecond(), false))
}

fn clock(ms: i64, fine: bool) -> String {
    let format = if fine { "%H:%M:%S%.3f" } else { "%Y-%m-%d %H:%M:%S" };
    Timestamp::from_millisecond(ms).map_or_else(
        |_| "-".to_owned(),
        |at| at.to_zoned(TimeZone::system()).strftime(format).to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_run_is_told_step_by_step_with_times_and_nodes() {
        let step = |path: &str, at_ms: i64, node: &str, mut fields: Value| {
            fields["path"] = path.into();
            fields["at_ms"] = at_ms.into();
            fields["node"] = node.into();
            fields
        };
        let run = json!({
            "run": "R1", "automation": "night", "started_ms": 1_000, "ended_ms": null, "state": "active",
            "open_intents": 1, "steps_dropped": 2,
            "waits": [{"what": "delay", "since_ms": 2_000, "until_ms": 62_000}],
            "steps": [
                step("trigger", 1_000, "a", json!({"what": "triggered", "trigger": "door", "late_ms": 1_500})),
                step("condition/0", 1_001, "a", json!({"what": "condition", "holds": true})),
                step("action/0/choose/1/sequence/2", 1_500, "a",
                    json!({"what": "called", "service": "light.turn_on", "entities": ["light.x"], "intents": [1]})),
                step("action/1", 2_000, "b", json!({"what": "waits", "until_ms": 62_000})),
                step("action/1", 62_000, "b", json!({"what": "late", "by_ms": 250, "taken": "catch_up"})),
            ],
        });
        let told = describe(&run);
        for part in [
            "run R1 of night: it is under way, begun ",
            "1 of what it asked for is not known to be done",
            "(2 earlier steps are not kept any more)",
            "triggered by door, 1.500 s late",
            "the condition holds",
            "    action/0/choose/1/sequence/2",
            "called light.turn_on for light.x",
            "+0.500",
            "went on here; waits until ",
            "0.250 s late: catch up",
            "waits for the time since ",
        ] {
            assert!(told.contains(part), "{part:?} is not in\n{told}");
        }
        let ended = json!({
            "run": "R2", "automation": "night", "started_ms": 1_000, "ended_ms": 3_500, "state": "ended", "ended": "failed",
            "why": "no broker", "open_intents": 0,
        });
        assert!(describe(&ended).starts_with("run R2 of night: failed after 2.500 s (no broker), begun "));
    }
}
