//! The home: states, service calls, events, reminders, and the bridge that hears and does all this.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use jarvis_automation::wire::{Reminder, StateOf, Told};
use jarvis_devices::service::Target;
use jarvis_mqtt::DeadLetter;
use jarvis_types::{Seq, SessionId};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::automations::{ASK_DEADLINE, of};
use super::extract::{AdminCaller, Caller, JsonBody, PathOf, ReqId};
use super::problem::Problem;
use crate::auth::Identity;
use crate::shared::Shared;

/// How long a service may take until it is done.
const CALL_DEADLINE: Duration = Duration::from_secs(30);
/// Longest name of a service, an event, a drill, a call, in bytes.
const MAX_NAME_BYTES: usize = 200;
/// How much of a dead letter is shown, in bytes.
const SHOWN_PAYLOAD_BYTES: usize = 2_048;
/// The header by which a caller names a call, so that it is done once however often it is sent.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// `GET /api/v1/states`.
pub(crate) async fn states(State(shared): State<Arc<Shared>>, _: Caller) -> Result<Json<Value>, Problem> {
    let all = of(&shared)?.states()?;
    Ok(Json(all.iter().map(state_of).collect()))
}

/// `GET /api/v1/states/{entity_id}`.
pub(crate) async fn state(
    State(shared): State<Arc<Shared>>,
    _: Caller,
    PathOf(entity_id): PathOf<String>,
) -> Result<Json<Value>, Problem> {
    let found = of(&shared)?.state(&entity_id)?;
    let found = found.ok_or_else(|| {
        let shown: String = entity_id.chars().take(100).collect();
        Problem::not_found(format!(
            "there is no entity {shown:?}; see `jarvis automation states`"
        ))
    })?;
    Ok(Json(state_of(&found)))
}

/// As Home Assistant's REST API shows a state.
fn state_of(state: &StateOf) -> Value {
    json!({
        "entity_id": state.entity_id,
        "state": state.state.state,
        "attributes": state.state.attributes,
        "last_changed": iso(state.state.last_changed_ms),
        "last_updated": iso(state.state.last_updated_ms),
    })
}

fn iso(ms: i64) -> Option<String> {
    Timestamp::from_millisecond(ms).ok().map(|at| at.to_string())
}

/// `POST /api/v1/services/{domain}/{service}`.
pub(crate) async fn call(
    State(shared): State<Arc<Shared>>,
    ReqId(request): ReqId,
    _: AdminCaller,
    headers: HeaderMap,
    PathOf((domain, service)): PathOf<(String, String)>,
    JsonBody(mut data): JsonBody<Map<String, Value>>,
) -> Result<Json<Value>, Problem> {
    named("a domain", &domain)?;
    named("a service", &service)?;
    let header = headers.get(IDEMPOTENCY_KEY).map(|value| {
        let text = value.to_str().ok().map(str::to_owned);
        text.ok_or_else(|| Problem::bad_request("Idempotency-Key is no plain text"))
    });
    let id = match (header.transpose()?, data.remove("id")) {
        (Some(id), _) | (None, Some(Value::String(id))) => id,
        (None, None) => request.as_str().to_owned(),
        (None, Some(_)) => return Err(Problem::bad_request("`id` is a text that names the call")),
    };
    named("the call's id", &id)?;
    let target = match data.remove("target") {
        None => Target::default(),
        Some(Value::Object(said)) => {
            Target::of(&said).map_err(|error| Problem::bad_request(error.to_string()))?
        }
        Some(_) => {
            return Err(Problem::bad_request(
                "`target` is an object: {\"entity_id\": [\"light.kitchen\"]}",
            ));
        }
    };
    let service = format!("{domain}.{service}");
    let calling = of(&shared)?.call(id.clone(), &service, target, data, Some(request), CALL_DEADLINE);
    let passed_over = Box::pin(calling).await?;
    let passed_over = passed_over
        .iter()
        .map(|(entity_id, why)| json!({ "entity_id": entity_id, "why": why }));
    Ok(Json(json!({
        "id": id,
        "service": service,
        "passed_over": passed_over.collect::<Vec<_>>(),
    })))
}

/// `POST /api/v1/events/{event_type}`.
pub(crate) async fn event(
    State(shared): State<Arc<Shared>>,
    ReqId(request): ReqId,
    _: AdminCaller,
    PathOf(event_type): PathOf<String>,
    JsonBody(data): JsonBody<Map<String, Value>>,
) -> Result<Json<Value>, Problem> {
    named("an event's type", &event_type)?;
    let message = format!("Event {event_type} fired.");
    let told = Told::Event { event_type, data };
    let deadline = shared.settings.propose_deadline;
    of(&shared)?.tell(told, Some(request), deadline).await?;
    Ok(Json(json!({ "message": message })))
}

/// How a drill ended.
#[derive(Debug, Deserialize)]
pub(crate) struct DrillEnded {
    name: String,
    passed: bool,
}

/// `POST /api/v1/drills/ended`.
pub(crate) async fn drill_ended(
    State(shared): State<Arc<Shared>>,
    ReqId(request): ReqId,
    _: AdminCaller,
    JsonBody(DrillEnded { name, passed }): JsonBody<DrillEnded>,
) -> Result<Response, Problem> {
    named("a drill", &name)?;
    let told = Told::Drill { name, passed };
    let deadline = shared.settings.propose_deadline;
    of(&shared)?.tell(told, Some(request), deadline).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn named(what: &str, name: &str) -> Result<(), Problem> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES || name.contains(char::is_control) {
        return Err(Problem::bad_request(format!(
            "{what} has 1 to {MAX_NAME_BYTES} bytes, and no control characters"
        )));
    }
    Ok(())
}

/// `GET /api/v1/bridge`.
pub(crate) async fn bridge(State(shared): State<Arc<Shared>>, _: Caller) -> Result<Json<Value>, Problem> {
    let status = of(&shared)?.bridge(ASK_DEADLINE).await?;
    Ok(Json(serde_json::to_value(status).unwrap_or_default()))
}

/// `GET /api/v1/bridge/dead-letters`.
pub(crate) async fn letters(
    State(shared): State<Arc<Shared>>,
    _: AdminCaller,
) -> Result<Json<Value>, Problem> {
    let letters = of(&shared)?.dead_letters()?;
    let letters: Vec<_> = letters.iter().map(letter).collect();
    Ok(Json(json!({ "dead_letters": letters })))
}

fn letter(letter: &DeadLetter) -> Value {
    let payload = &letter.message.payload;
    let shown = payload.get(..SHOWN_PAYLOAD_BYTES).unwrap_or(payload);
    json!({
        "id": SessionId(letter.id).to_string(),
        "topic": letter.message.topic,
        "payload": String::from_utf8_lossy(shown),
        "payload_bytes": payload.len(),
        "retained": letter.message.retained,
        "why": letter.why,
        "attempts": letter.attempts,
        "received_ms": letter.message.received_ms,
        "buried_ms": letter.buried_ms,
    })
}

/// `POST /api/v1/bridge/dead-letters/{id}/replay`.
pub(crate) async fn replay(
    State(shared): State<Arc<Shared>>,
    _: AdminCaller,
    PathOf(id): PathOf<String>,
) -> Result<Response, Problem> {
    let id = letter_id(&id)?;
    of(&shared)?.replay(&id, ASK_DEADLINE).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `DELETE /api/v1/bridge/dead-letters/{id}`.
pub(crate) async fn forget(
    State(shared): State<Arc<Shared>>,
    _: AdminCaller,
    PathOf(id): PathOf<String>,
) -> Result<Response, Problem> {
    let id = letter_id(&id)?;
    of(&shared)?.forget(&id, ASK_DEADLINE).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// An id as it was shown, in whatever case it came.
fn letter_id(text: &str) -> Result<String, Problem> {
    let id = text.parse::<SessionId>();
    id.map(|id| id.to_string()).map_err(|_| {
        Problem::not_found("there is no dead letter of this id; see `jarvis automation letters`")
    })
}

/// `GET /api/v1/reminders`: all for administrators, else those of the caller's own conversations.
pub(crate) async fn reminders(
    State(shared): State<Arc<Shared>>,
    Caller(me): Caller,
) -> Result<Json<Value>, Problem> {
    let mut all = of(&shared)?.reminders()?;
    all.retain(|one| may_see(&shared, &me, one));
    all.sort_by(|one, other| (one.due_ms, &one.id).cmp(&(other.due_ms, &other.id)));
    Ok(Json(json!({ "reminders": all })))
}

/// `DELETE /api/v1/reminders/{id}`.
pub(crate) async fn cancel_reminder(
    State(shared): State<Arc<Shared>>,
    ReqId(request): ReqId,
    Caller(me): Caller,
    PathOf(id): PathOf<String>,
) -> Result<Response, Problem> {
    let automations = of(&shared)?;
    let all = automations.reminders()?;
    if !all.iter().any(|one| one.id == id && may_see(&shared, &me, one)) {
        return Err(Problem::not_found("there is no reminder of this id"));
    }
    automations
        .cancel_reminder(&id, Some(request), ASK_DEADLINE)
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn may_see(shared: &Shared, me: &Identity, reminder: &Reminder) -> bool {
    let own = |session: SessionId| shared.backend().messages(me.user, session, Seq(0), 1).is_ok();
    me.admin || reminder.session.parse().is_ok_and(own)
}
