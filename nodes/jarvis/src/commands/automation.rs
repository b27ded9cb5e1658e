//! `automation …`: files of automations, what they do and did, and the home that they act on.
mod files;
mod trace;

use std::path::PathBuf;
use std::time::Duration;

use jarvis_automation::api::check;
use jarvis_host::{SystemClock, SystemEntropy, new_ulid};
use jarvis_types::SessionId;
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::cluster::{list, segment, text};
use crate::cli::args::Target;
use crate::cli::automation::AutomationCommand;
use crate::cli::output::{Output, printable, table};
use crate::fail::Failure;
use crate::target::Nodes;

/// How long a call may take.
const TIMEOUT: Duration = Duration::from_secs(20);
/// How long loading may take: many automations are many commits.
const LOAD_TIMEOUT: Duration = Duration::from_secs(90);
/// How long a service may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(45);
/// What waiting for a run may take beyond the wait itself.
const MARGIN: Duration = Duration::from_secs(15);
/// Where automations are.
const PATH: &str = "/api/v1/automations";

/// `jarvis automation …`.
///
/// # Errors
/// Where no node answers or it refuses, and where something is wrong with files.
pub async fn automation(command: &AutomationCommand, output: Output) -> Result<(), Failure> {
    match command {
        AutomationCommand::List { target } => {
            let all = get(target, "the automations were not listed", PATH).await?;
            output.answer(&all, list_text);
        }
        AutomationCommand::Show { id, target } => {
            let shown = get(target, &format!("{id} cannot be shown"), &path(id, "")).await?;
            output.answer(&shown, show_text);
        }
        AutomationCommand::Check { files } => check_files(files, output)?,
        AutomationCommand::Load { files, target } => load(files, target, output).await?,
        AutomationCommand::Enable { id, target } => {
            let what = format!("{id} was not switched on");
            let done = post(target, &what, &path(id, "/enable"), json!({}), TIMEOUT).await?;
            output.answer(&done, |_| format!("{id} is on"));
        }
        AutomationCommand::Disable { id, target } => {
            let what = format!("{id} was not switched off");
            let done = post(target, &what, &path(id, "/disable"), json!({}), TIMEOUT).await?;
            output.answer(&done, |_| format!("{id} is off; runs under way end"));
        }
        AutomationCommand::Trigger {
            id,
            variables,
            skip_conditions,
            wait,
            timeout,
            target,
        } => {
            let variables: Map<String, Value> = variables.iter().cloned().collect();
            // Named here, so that another node which is asked instead does not run it a second time.
            let order = json!({"run": new_id(), "variables": variables, "skip_conditions": skip_conditions});
            trigger(id, order, wait.then_some(*timeout), target, output).await?;
        }
        AutomationCommand::Trace { id, run, target } => {
            show_trace(id, run.as_deref(), target, output).await?;
        }
        AutomationCommand::Remove { id, target } => {
            let what = format!("{id} was not removed");
            call(target, &what, Method::DELETE, &path(id, ""), None, TIMEOUT).await?;
            output.answer(&json!({"id": id, "removed": true}), |_| {
                format!("{id} is removed; its runs end")
            });
        }
        AutomationCommand::Letters {
            replay,
            forget,
            target,
        } => letters(replay.as_deref(), forget.as_deref(), target, output).await?,
        AutomationCommand::States { filter, target } => {
            let states = get(target, "the states were not listed", "/api/v1/states").await?;
            let states = matching(states, filter.as_deref());
            output.answer(&states, states_text);
        }
        AutomationCommand::Call {
            service: (domain, service),
            fields,
            target,
        } => {
            let mut data: Map<String, Value> = fields.iter().cloned().collect();
            data.entry("id").or_insert_with(|| new_id().into());
            let what = format!("{domain}.{service} was not called");
            let path = format!("/api/v1/services/{}/{}", segment(domain), segment(service));
            let called = post(target, &what, &path, data.into(), CALL_TIMEOUT).await?;
            output.answer(&called, |called| {
                let mut out = format!("{domain}.{service} is done");
                for one in list(called, "passed_over") {
                    out.push_str(&format!(
                        "\npassed over {}: {}",
                        text(one, "entity_id"),
                        text(one, "why")
                    ));
                }
                out
            });
        }
    }
    Ok(())
}

fn path(id: &str, rest: &str) -> String {
    format!("{PATH}/{}{rest}", segment(id))
}

fn new_id() -> String {
    SessionId(new_ulid(&SystemClock, &SystemEntropy::default())).to_string()
}

async fn get(target: &Target, what: &str, path: &str) -> Result<Value, Failure> {
    call(target, what, Method::GET, path, None, TIMEOUT).await
}

async fn post(
    target: &Target,
    what: &str,
    path: &str,
    body: Value,
    timeout: Duration,
) -> Result<Value, Failure> {
    call(target, what, Method::POST, path, Some(body), timeout).await
}

async fn call(
    target: &Target,
    what: &str,
    method: Method,
    path: &str,
    body: Option<Value>,
    timeout: Duration,
) -> Result<Value, Failure> {
    Nodes::find(target)?.call(what, method, path, body, timeout).await
}

fn list_text(all: &Value) -> String {
    let rows: Vec<_> = list(all, "automations")
        .iter()
        .map(|one| {
            let state = if one["enabled"] == true { "on" } else { "off" };
            vec![
                printable(&text(one, "id")),
                state.to_owned(),
                text(one, "mode"),
                text(one, "running"),
                trace::when(one.get("last_triggered_ms")),
                text(one, "owner"),
                printable(&text(one, "alias")),
            ]
        })
        .collect();
    if rows.is_empty() {
        return "there are no automations; load some: jarvis automation load FILE".to_owned();
    }
    table(&["ID", "STATE", "MODE", "RUNS", "LAST", "NODE", "NAME"], &rows)
}

fn show_text(shown: &Value) -> String {
    let state = if shown["enabled"] == true { "on" } else { "off" };
    let mut out = format!(
        "{} ({}) is {state}, mode {}, from {}:{}\nruns on {}, last triggered {}, loaded {}",
        text(shown, "alias"),
        text(shown, "id"),
        text(shown, "mode"),
        text(shown, "file"),
        text(shown, "line"),
        text(shown, "owner"),
        trace::when(shown.get("last_triggered_ms")),
        trace::when(shown.get("loaded_ms")),
    );
    if let Some(description) = shown["description"].as_str().filter(|text| !text.is_empty()) {
        out.push_str(&format!("\n{description}"));
    }
    for run in list(shown, "runs") {
        out.push_str("\n\n");
        out.push_str(&trace::describe(run));
    }
    printable(&out)
}

fn check_files(paths: &[PathBuf], output: Output) -> Result<(), Failure> {
    let files = files::gather(paths)?;
    let loaded = check(&files);
    let found: Vec<Value> = loaded
        .automations
        .iter()
        .map(|one| json!({"id": one.id, "alias": one.alias, "file": one.file, "line": one.position.line}))
        .collect();
    let problems: Vec<Value> = loaded
        .problems
        .iter()
        .map(|problem| {
            json!({
                "file": problem.file, "line": problem.position.line, "column": problem.position.column,
                "path": problem.path, "what": problem.what, "instead": problem.instead, "automation": problem.automation,
            })
        })
        .collect();
    let (right, wrong) = (found.len(), problems.len());
    let answer = json!({"ok": wrong == 0, "automations": found, "problems": problems});
    output.answer(&answer, |answer| {
        let mut lines = problem_lines(answer);
        lines.push(format!(
            "{} in {} {} right",
            counted(right, "automation"),
            counted(files.len(), "file"),
            if right == 1 { "is" } else { "are" }
        ));
        lines.join("\n")
    });
    refuse_problems(wrong, "the automations are not all right")
}

/// A line for each problem: `file:line:column: what; write …`.
fn problem_lines(document: &Value) -> Vec<String> {
    let line = |problem: &Value| {
        let mut out = format!(
            "{}:{}:{}: ",
            text(problem, "file"),
            text(problem, "line"),
            text(problem, "column")
        );
        for (field, before, after) in [("automation", "“", "”: "), ("path", "", ": ")] {
            if let Some(value) = problem[field].as_str().filter(|value| !value.is_empty()) {
                out.push_str(&format!("{before}{value}{after}"));
            }
        }
        out.push_str(&text(problem, "what"));
        if let Some(instead) = problem["instead"].as_str().filter(|value| !value.is_empty()) {
            out.push_str(&format!("; {instead}"));
        }
        printable(&out)
    };
    let mut lines: Vec<_> = list(document, "problems").iter().map(line).collect();
    if let Some(more) = document["problems_left_out"].as_u64().filter(|more| *more > 0) {
        lines.push(format!("and {more} more problems"));
    }
    lines
}

fn refuse_problems(count: usize, what: &str) -> Result<(), Failure> {
    if count == 0 {
        return Ok(());
    }
    Err(Failure::new(what, counted(count, "problem"))
        .next("mend these lines; `jarvis automation check FILE` tells when all is right"))
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

async fn load(paths: &[PathBuf], target: &Target, output: Output) -> Result<(), Failure> {
    let files: Vec<Value> = files::gather(paths)?
        .into_iter()
        .map(|(name, text)| json!({"name": name, "text": text}))
        .collect();
    let what = "nothing was loaded";
    let progress = output.progress(&format!("loading {}", counted(files.len(), "file")));
    let loading = Nodes::find(target)?
        .call_or_refusal(
            what,
            Method::POST,
            PATH,
            Some(json!({"files": files})),
            LOAD_TIMEOUT,
        )
        .await;
    progress.done();
    let report = match loading? {
        Ok(report) => report,
        Err((failure, document)) => {
            for line in problem_lines(&document) {
                output.note(&line);
            }
            return Err(failure);
        }
    };
    output.answer(&report, |report| {
        let mut lines = problem_lines(report);
        for one in list(report, "warnings") {
            let warning = format!("warning: {}: {}", text(one, "automation"), text(one, "what"));
            lines.push(printable(&warning));
        }
        for field in ["added", "changed", "removed"] {
            let ids: Vec<_> = list(report, field).iter().filter_map(Value::as_str).collect();
            if !ids.is_empty() {
                lines.push(printable(&format!("{field}: {}", ids.join(", "))));
            }
        }
        if report["unchanged"].as_u64().is_some_and(|count| count > 0) {
            lines.push(format!("unchanged: {}", text(report, "unchanged")));
        }
        if lines.is_empty() {
            lines.push("there was nothing to load".to_owned());
        }
        lines.join("\n")
    });
    let left_out = report["problems_left_out"].as_u64().unwrap_or(0);
    let wrong = list(&report, "problems").len() + usize::try_from(left_out).unwrap_or(usize::MAX);
    refuse_problems(wrong, "not all automations were loaded")
}

async fn trigger(
    id: &str,
    order: Value,
    wait: Option<Duration>,
    target: &Target,
    output: Output,
) -> Result<(), Failure> {
    let what = format!("{id} was not triggered");
    let Some(wait) = wait else {
        let done = post(target, &what, &path(id, "/trigger"), order, TIMEOUT).await?;
        output.answer(&done, |done| {
            format!(
                "run {} begins; see: jarvis automation trace {id}",
                text(done, "run")
            )
        });
        return Ok(());
    };
    let seconds = wait.as_secs().max(1);
    let query = format!("/trigger?wait=true&timeout_s={seconds}");
    let progress = output.progress(&format!("waiting for {id} to end"));
    let done = post(target, &what, &path(id, &query), order, wait + MARGIN).await;
    progress.done();
    let done = done?;
    output.answer(&done, |done| match &done["trace"] {
        Value::Null => format!("run {} has not begun", text(done, "run")),
        run => printable(&trace::describe(run)),
    });
    if done["settled"] != true {
        let why = format!("it had not ended after {seconds} s");
        return Err(Failure::new(format!("{id} was not waited for to its end"), why)
            .next(format!("it goes on; see: jarvis automation trace {id}")));
    }
    match done["trace"]["ended"].as_str() {
        Some("failed") => Err(Failure::new(
            format!("{id} failed"),
            printable(&text(&done["trace"], "why")),
        )),
        _ => Ok(()),
    }
}

async fn show_trace(id: &str, run: Option<&str>, target: &Target, output: Output) -> Result<(), Failure> {
    let what = format!("nothing is known of what {id} did");
    let traces = get(target, &what, &path(id, "/traces")).await?;
    let all = list(&traces, "traces");
    let Some(run) = run else {
        output.answer(&traces, |traces| {
            let mut runs = list(traces, "traces").iter();
            let Some(latest) = runs.next() else {
                return format!("{id} has not run yet");
            };
            let mut out = trace::describe(latest);
            for (n, earlier) in runs.enumerate() {
                let before = if n == 0 { "\n\n" } else { "\n" };
                out.push_str(&format!("{before}earlier: {}", trace::headline(earlier)));
            }
            printable(&out)
        });
        return Ok(());
    };
    let found = all.iter().find(|one| one["run"].as_str() == Some(run));
    let Some(found) = found else {
        let known: Vec<_> = all.iter().map(|one| text(one, "run")).collect();
        let next = match known.is_empty() {
            true => format!("it has not run yet; run it: jarvis automation trigger {id}"),
            false => format!("these are kept: {}", known.join(", ")),
        };
        return Err(Failure::new(what, format!("no trace of run {run} is kept")).next(next));
    };
    output.answer(found, |found| printable(&trace::describe(found)));
    Ok(())
}

async fn letters(
    replay: Option<&str>,
    forget: Option<&str>,
    target: &Target,
    output: Output,
) -> Result<(), Failure> {
    const LETTERS: &str = "/api/v1/bridge/dead-letters";
    if let Some(id) = replay {
        let what = format!("{id} was not tried again");
        let path = format!("{LETTERS}/{}/replay", segment(id));
        call(target, &what, Method::POST, &path, None, TIMEOUT).await?;
        output.answer(&json!({"id": id, "replayed": true}), |_| {
            format!("{id} is tried again")
        });
    } else if let Some(id) = forget {
        let what = format!("{id} was not forgotten");
        let path = format!("{LETTERS}/{}", segment(id));
        call(target, &what, Method::DELETE, &path, None, TIMEOUT).await?;
        output.answer(&json!({"id": id, "forgotten": true}), |_| {
            format!("{id} is forgotten")
        });
    } else {
        let letters = get(target, "the dead letters were not listed", LETTERS).await?;
        output.answer(&letters, |letters| {
            let rows: Vec<_> = list(letters, "dead_letters")
                .iter()
                .map(|one| {
                    vec![
                        text(one, "id"),
                        trace::when(one.get("buried_ms")),
                        printable(&text(one, "topic")),
                        format!("{} bytes", text(one, "payload_bytes")),
                        printable(&text(one, "why")),
                    ]
                })
                .collect();
            if rows.is_empty() {
                return "there are no dead letters".to_owned();
            }
            table(&["ID", "GIVEN UP", "TOPIC", "PAYLOAD", "BECAUSE"], &rows)
        });
    }
    Ok(())
}

/// The states whose id or name has `filter` in it.
fn matching(states: Value, filter: Option<&str>) -> Value {
    let (Value::Array(all), Some(filter)) = (&states, filter) else {
        return states;
    };
    let filter = filter.to_lowercase();
    let has = |text: &Value| {
        text.as_str()
            .is_some_and(|text| text.to_lowercase().contains(&filter))
    };
    let kept = all
        .iter()
        .filter(|one| has(&one["entity_id"]) || has(&one["attributes"]["friendly_name"]));
    Value::Array(kept.cloned().collect())
}

fn states_text(states: &Value) -> String {
    let all = states.as_array().map_or(&[][..], Vec::as_slice);
    let rows: Vec<_> = all
        .iter()
        .map(|one| {
            vec![
                printable(&text(one, "entity_id")),
                printable(&text(one, "state")),
                trace::moment(one["last_changed"].as_str()),
                printable(&text(&one["attributes"], "friendly_name")),
            ]
        })
        .collect();
    if rows.is_empty() {
        return "there are no such entities".to_owned();
    }
    table(&["ENTITY", "STATE", "CHANGED", "NAME"], &rows)
}
