//! Automations: which there are, what they did, and what administrators do with them.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jarvis_automation::api::check;
use jarvis_rules::run::{Run, RunId};
use jarvis_types::SessionId;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};

use super::extract::{AdminCaller, Caller, JsonBody, PathOf, QueryOf, ReqId};
use super::problem::Problem;
use super::runs;
use crate::automations::AutomationBackend;
use crate::shared::Shared;

/// Largest body of a load, in bytes: its texts, as JSON writes them.
pub(crate) const MAX_LOAD_BODY_BYTES: usize = 2 * MAX_LOAD_BYTES;
/// Most bytes of files that are loaded at once.
const MAX_LOAD_BYTES: usize = 4 * 1_024 * 1_024;
/// Most files that are loaded at once.
const MAX_LOAD_FILES: usize = 1_000;
/// Longest name of a file, in bytes.
const MAX_FILE_NAME_BYTES: usize = 1_024;
/// How long loading may take: many automations are many commits.
const LOAD_DEADLINE: Duration = Duration::from_secs(60);
/// How long the bridge may take to answer: it may be moving to another node meanwhile.
pub(super) const ASK_DEADLINE: Duration = Duration::from_secs(10);
/// How long a run is waited for unless told otherwise, in seconds.
const DEFAULT_WAIT_S: u64 = 60;
/// How long a run may be waited for, in seconds.
const MAX_WAIT_S: u64 = 600;
/// How often it is looked whether a run has settled.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// The node's automations.
pub(super) fn of(shared: &Shared) -> Result<&dyn AutomationBackend, Problem> {
    let automations = shared.deps.automations.as_deref();
    automations.ok_or_else(|| {
        Problem::not_found(
            "this node has nothing to do with automations (a witness carries none); ask another node",
        )
    })
}

/// `GET /api/v1/automations`.
pub(crate) async fn list(State(shared): State<Arc<Shared>>, _: Caller) -> Result<Json<Value>, Problem> {
    let members = shared.members();
    let all = of(&shared)?.list()?;
    let all: Vec<_> = all.iter().map(|one| runs::summary(one, &members)).collect();
    Ok(Json(json!({ "automations": all })))
}

/// `GET /api/v1/automations/{id}`.
pub(crate) async fn show(
    State(shared): State<Arc<Shared>>,
    Caller(me): Caller,
    PathOf(id): PathOf<String>,
) -> Result<Json<Value>, Problem> {
    let shown = of(&shared)?.show(&id)?;
    Ok(Json(runs::shown(&shown, &shared.members(), me.admin)))
}

/// `GET /api/v1/automations/{id}/traces`.
pub(crate) async fn traces(
    State(shared): State<Arc<Shared>>,
    Caller(me): Caller,
    PathOf(id): PathOf<String>,
) -> Result<Json<Value>, Problem> {
    let all = of(&shared)?.traces(&id)?;
    let all: Vec<_> = all.iter().map(|run| runs::run(run, me.admin)).collect();
    Ok(Json(json!({ "automation": id, "traces": all })))
}

/// Files to be loaded.
#[derive(Debug, Deserialize)]
pub(crate) struct Files {
    files: Vec<NamedText>,
}

#[derive(Debug, Deserialize)]
struct NamedText {
    name: String,
    text: String,
}

/// Whether files are only checked.
#[derive(Debug, Deserialize)]
pub(crate) struct LoadQuery {
    check: Option<String>,
}

/// `POST /api/v1/automations`.
pub(crate) async fn load(
    State(shared): State<Arc<Shared>>,
    ReqId(request): ReqId,
    _: AdminCaller,
    QueryOf(query): QueryOf<LoadQuery>,
    JsonBody(Files { files }): JsonBody<Files>,
) -> Result<Json<Value>, Problem> {
    let files = sized(files)?;
    if flag("check", query.check.as_deref())? {
        let loaded = check(&files);
        let mut document = runs::problems(&loaded.problems);
        let found = loaded.automations.iter().map(
            |one| json!({ "id": one.id, "alias": one.alias, "file": one.file, "line": one.position.line }),
        );
        document["automations"] = found.collect();
        return Ok(Json(document));
    }
    let loading = of(&shared)?.load(&files, Some(request), LOAD_DEADLINE);
    let report = Box::pin(loading).await?;
    let anything = report.added.len() + report.changed.len() + report.removed.len() + report.unchanged;
    if let (0, Some(first)) = (anything, report.problems.first()) {
        let more = match report.problems.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        let problem = Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "nothing_loaded",
            format!("nothing could be loaded: {first}{more}"),
        );
        return Err(problem.with(runs::problems(&report.problems)));
    }
    Ok(Json(runs::report(&report)))
}

/// Names and texts, if they are not too many or too long.
fn sized(files: Vec<NamedText>) -> Result<Vec<(String, String)>, Problem> {
    let too_long = |detail: String| Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_long", detail);
    if files.is_empty() {
        return Err(Problem::bad_request("`files` is empty; give at least one file"));
    }
    if files.len() > MAX_LOAD_FILES {
        return Err(too_long(format!(
            "{} files, and {MAX_LOAD_FILES} are loaded at once",
            files.len()
        )));
    }
    let bytes: usize = files.iter().map(|file| file.text.len()).sum();
    if bytes > MAX_LOAD_BYTES {
        return Err(too_long(format!(
            "the files have {bytes} bytes together, and {MAX_LOAD_BYTES} are loaded at once"
        )));
    }
    let mut names = std::collections::BTreeSet::new();
    for NamedText { name, .. } in &files {
        if name.is_empty() || name.len() > MAX_FILE_NAME_BYTES || name.contains(char::is_control) {
            return Err(Problem::bad_request(format!(
                "a file's name has 1 to {MAX_FILE_NAME_BYTES} bytes, and no control characters"
            )));
        }
        if !names.insert(name.as_str()) {
            return Err(Problem::bad_request(format!("{name} is given twice")));
        }
    }
    Ok(files.into_iter().map(|file| (file.name, file.text)).collect())
}

/// `DELETE /api/v1/automations/{id}`.
pub(crate) async fn remove(
    State(shared): State<Arc<Shared>>,
    ReqId(request): ReqId,
    _: AdminCaller,
    PathOf(id): PathOf<String>,
) -> Result<Response, Problem> {
    of(&shared)?.remove(&id, Some(request), ASK_DEADLINE).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `POST /api/v1/automations/{id}/enable`.
pub(crate) async fn enable(
    state: State<Arc<Shared>>,
    request: ReqId,
    caller: AdminCaller,
    id: PathOf<String>,
) -> Result<Json<Value>, Problem> {
    switch(state, request, caller, id, true).await
}

/// `POST /api/v1/automations/{id}/disable`.
pub(crate) async fn disable(
    state: State<Arc<Shared>>,
    request: ReqId,
    caller: AdminCaller,
    id: PathOf<String>,
) -> Result<Json<Value>, Problem> {
    switch(state, request, caller, id, false).await
}

async fn switch(
    State(shared): State<Arc<Shared>>,
    ReqId(request): ReqId,
    _: AdminCaller,
    PathOf(id): PathOf<String>,
    on: bool,
) -> Result<Json<Value>, Problem> {
    of(&shared)?.enable(&id, on, Some(request), ASK_DEADLINE).await?;
    Ok(Json(json!({ "id": id, "enabled": on })))
}

/// How an automation is to run.
#[derive(Debug, Deserialize)]
pub(crate) struct TriggerBody {
    /// The run's id, where the caller names it so that asking twice runs it once.
    run: Option<String>,
    #[serde(default)]
    variables: Map<String, Value>,
    #[serde(default)]
    skip_conditions: bool,
}

/// Whether its end is waited for.
#[derive(Debug, Deserialize)]
pub(crate) struct TriggerQuery {
    wait: Option<String>,
    timeout_s: Option<u64>,
}

/// `POST /api/v1/automations/{id}/trigger`.
pub(crate) async fn trigger(
    State(shared): State<Arc<Shared>>,
    ReqId(request): ReqId,
    _: AdminCaller,
    PathOf(id): PathOf<String>,
    QueryOf(query): QueryOf<TriggerQuery>,
    JsonBody(body): JsonBody<TriggerBody>,
) -> Result<Json<Value>, Problem> {
    let wait = flag("wait", query.wait.as_deref())?;
    let named = body.run.as_deref().map(str::parse::<SessionId>).transpose();
    let named =
        named.map_err(|_| Problem::bad_request("`run` is a ULID, such as 01J9ZQ5M3V8N2X4C6B7D8F9G0H"))?;
    let named = named.map(|id| RunId(id.to_string()));
    let automations = of(&shared)?;
    let triggering = automations.trigger(
        &id,
        named,
        body.variables,
        body.skip_conditions,
        Some(request),
        shared.settings.propose_deadline,
    );
    let run = triggering.await?;
    if !wait {
        return Ok(Json(json!({ "run": run })));
    }
    let limit_s = query.timeout_s.unwrap_or(DEFAULT_WAIT_S).min(MAX_WAIT_S);
    let ends = Instant::now() + Duration::from_secs(limit_s);
    loop {
        let traces = automations.traces(&id)?;
        let found = traces.iter().find(|one| one.id == run);
        let settled = found.is_some_and(Run::is_settled);
        if settled || Instant::now() >= ends {
            let trace = found.map(|found| runs::run(found, true));
            return Ok(Json(json!({ "run": run, "settled": settled, "trace": trace })));
        }
        sleep(LOOK_INTERVAL).await;
    }
}

/// A query's yes or no: `?wait`, `?wait=true`.
pub(super) fn flag(name: &str, said: Option<&str>) -> Result<bool, Problem> {
    match said {
        None | Some("false" | "0") => Ok(false),
        Some("" | "true" | "1") => Ok(true),
        Some(_) => Err(Problem::bad_request(format!("{name} is true or false"))),
    }
}
