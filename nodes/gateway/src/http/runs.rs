//! Runs and automations as documents: what people and programs outside are told of them, whatever they look like inside.

use jarvis_automation::api::{LoadReport, Shown, Summary};
use jarvis_rules::load::Problem as FileProblem;
use jarvis_rules::run::{Ended, Run, RunState, TraceStep};
use serde_json::{Map, Value, json};

use crate::members::Members;

/// Most problems of files that one answer lists.
const MAX_PROBLEMS: usize = 500;

/// An automation in a list.
pub(super) fn summary(summary: &Summary, members: &Members) -> Value {
    json!({
        "id": summary.id,
        "alias": summary.alias,
        "enabled": summary.enabled,
        "mode": summary.mode,
        "file": summary.file,
        "line": summary.line,
        "running": summary.running,
        "last_triggered_ms": summary.last_triggered_ms,
        "owner": summary.owner.map(|node| members.name(node)),
    })
}

/// An automation with its runs. What it says may hold secrets, webhooks' names for one: it is for administrators.
pub(super) fn shown(shown: &Shown, members: &Members, admin: bool) -> Value {
    let mut document = summary(&shown.summary, members);
    document["description"] = shown.definition.description.clone().into();
    document["loaded_ms"] = shown.loaded_ms.into();
    document["runs"] = shown.runs.iter().map(|one| run(one, admin)).collect();
    if admin {
        document["definition"] = serde_json::to_value(&shown.definition).unwrap_or_default();
    }
    document
}

/// What a run did and what it waits for. Its variables hold whatever came in: they are for administrators.
pub(super) fn run(run: &Run, admin: bool) -> Value {
    let (state, how, why) = match &run.state {
        RunState::Queued => ("queued", None, None),
        RunState::Active => ("active", None, None),
        RunState::Ended(ended) => match ended {
            Ended::Finished { .. } => ("ended", Some("finished"), None),
            Ended::Aborted { why } => ("ended", Some("aborted"), Some(why)),
            Ended::Failed { error } => ("ended", Some("failed"), Some(error)),
            Ended::Stopped { why } => ("ended", Some("stopped"), Some(why)),
            Ended::Missed { why } => ("ended", Some("missed"), Some(why)),
        },
    };
    let waits: Vec<Value> = run
        .threads
        .values()
        .filter_map(|thread| thread.wait.as_ref())
        .map(|wait| {
            json!({
                "what": tagged(&wait.kind).0,
                "since_ms": wait.since_ms,
                "until_ms": wait.until_ms,
            })
        })
        .collect();
    let last_ms = run.trace.steps.back().map(|step| step.at_ms);
    let mut document = json!({
        "run": run.id,
        "automation": run.automation,
        "parent": run.context.parent,
        "started_ms": run.started_ms,
        "ended_ms": last_ms.filter(|_| run.has_ended()),
        "state": state,
        "ended": how,
        "why": why,
        "settled": run.is_settled(),
        "waits": waits,
        "open_intents": run.intents.len(),
        "steps": run.trace.steps.iter().map(step).collect::<Vec<_>>(),
        "steps_dropped": run.trace.dropped,
    });
    if admin {
        document["variables"] = Value::Object(run.variables.clone());
    }
    document
}

fn step(step: &TraceStep) -> Value {
    let (what, mut fields) = tagged(&step.what);
    fields.insert("path".to_owned(), step.path.clone().into());
    fields.insert("at_ms".to_owned(), step.at_ms.into());
    fields.insert("node".to_owned(), step.node.clone().into());
    fields.insert("what".to_owned(), what.into());
    Value::Object(fields)
}

/// The name of a variant, and what it holds.
fn tagged(value: &impl serde::Serialize) -> (String, Map<String, Value>) {
    match serde_json::to_value(value) {
        Ok(Value::String(name)) => (name, Map::new()),
        Ok(Value::Object(variant)) => match variant.into_iter().next() {
            Some((name, Value::Object(fields))) => (name, fields),
            Some((name, _)) => (name, Map::new()),
            None => Default::default(),
        },
        _ => Default::default(),
    }
}

/// What loading came to.
pub(super) fn report(report: &LoadReport) -> Value {
    let warnings = report
        .warnings
        .iter()
        .map(|(automation, what)| json!({ "automation": automation, "what": what }));
    let mut document = problems(&report.problems);
    document["added"] = json!(report.added);
    document["changed"] = json!(report.changed);
    document["removed"] = json!(report.removed);
    document["unchanged"] = report.unchanged.into();
    document["warnings"] = warnings.collect();
    document
}

/// What is wrong with files: the first of it, and how much more there is.
pub(super) fn problems(problems: &[FileProblem]) -> Value {
    let listed = problems.iter().take(MAX_PROBLEMS).map(|problem| {
        json!({
            "file": problem.file,
            "line": problem.position.line,
            "column": problem.position.column,
            "path": problem.path,
            "what": problem.what,
            "instead": problem.instead,
            "automation": problem.automation,
        })
    });
    json!({
        "problems": listed.collect::<Vec<_>>(),
        "problems_left_out": problems.len().saturating_sub(MAX_PROBLEMS),
    })
}
