//! Users, for administrators; each may change its own password.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jarvis_machine::apply::MIN_USER_NAME_CHARS;
use jarvis_machine::command::Command;
use jarvis_machine::reply::Reply;
use jarvis_machine::rows::UserRow;
use jarvis_types::UserId;
use jarvis_types::limits::MAX_NAME_CHARS;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::extract::{AdminCaller, Caller, JsonBody, PathOf, ReqId};
use super::login::propose_and_see;
use super::problem::Problem;
use crate::backend::Backend;
use crate::metrics;
use crate::shared::Shared;

/// `GET /api/v1/users`.
pub(crate) async fn list(State(shared): State<Arc<Shared>>, _: AdminCaller) -> Result<Json<Value>, Problem> {
    let users = shared.backend().users()?;
    let users = users.iter().map(|(user, row)| describe(*user, row));
    Ok(Json(json!({ "users": users.collect::<Vec<_>>() })))
}

fn describe(user: UserId, row: &UserRow) -> Value {
    json!({
        "id": user,
        "name": row.name,
        "admin": row.admin,
        "password": row.password.is_some(),
        "created_at_ms": row.created_at_ms,
    })
}

/// A user to be made.
#[derive(Deserialize)]
pub(crate) struct NewUser {
    name: String,
    password: Option<String>,
    #[serde(default)]
    admin: bool,
}

/// `POST /api/v1/users`.
pub(crate) async fn create(
    State(shared): State<Arc<Shared>>,
    ReqId(request): ReqId,
    _: AdminCaller,
    JsonBody(new): JsonBody<NewUser>,
) -> Result<Response, Problem> {
    check_name(&new.name)?;
    let password = match new.password {
        Some(password) => Some(shared.passwords.hash(password).await?),
        None => None,
    };
    let command = Command::CreateUser {
        name: new.name.clone(),
        password,
        admin: new.admin,
    };
    let there = |backend: &dyn Backend| backend.user_by_name(&new.name).is_ok_and(|found| found.is_some());
    match Box::pin(propose_and_see(&shared, command, request, there)).await? {
        Reply::User { user } => {
            let body = json!({ "id": user, "name": new.name, "admin": new.admin });
            Ok((StatusCode::CREATED, Json(body)).into_response())
        }
        other => Err(Problem::internal(format!(
            "CreateUser was answered with {other:?}"
        ))),
    }
}

fn check_name(name: &str) -> Result<(), Problem> {
    let shape = name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-_.@".contains(&b));
    if !(MIN_USER_NAME_CHARS..=MAX_NAME_CHARS).contains(&name.len()) || !shape {
        let rule = format!(
            "a user name has {MIN_USER_NAME_CHARS} to {MAX_NAME_CHARS} letters, digits, '-', '_', '.' or '@'"
        );
        return Err(Problem::bad_request(rule));
    }
    Ok(())
}

/// `DELETE /api/v1/users/{name}`.
pub(crate) async fn remove(
    State(shared): State<Arc<Shared>>,
    ReqId(request): ReqId,
    _: AdminCaller,
    Caller(me): Caller,
    PathOf(name): PathOf<String>,
) -> Result<StatusCode, Problem> {
    let (user, _) = find(&shared, &name)?;
    if user == me.user || user == UserId(1) {
        return Err(Problem::conflict(
            "neither you yourself nor the first administrator can be removed",
        ));
    }
    let gone = |backend: &dyn Backend| backend.user(user).is_ok_and(|row| row.is_none());
    Box::pin(propose_and_see(
        &shared,
        Command::RemoveUser { user },
        request,
        gone,
    ))
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A new password; who is no administrator shows the current one.
#[derive(Deserialize)]
pub(crate) struct NewPassword {
    password: String,
    current: Option<String>,
}

/// `PUT /api/v1/users/{name}/password`.
pub(crate) async fn set_password(
    State(shared): State<Arc<Shared>>,
    ReqId(request): ReqId,
    Caller(me): Caller,
    PathOf(name): PathOf<String>,
    JsonBody(new): JsonBody<NewPassword>,
) -> Result<StatusCode, Problem> {
    if !me.admin {
        if name != me.name {
            return Err(Problem::forbidden(
                "only an administrator may set others' passwords",
            ));
        }
        let key = (std::net::Ipv4Addr::UNSPECIFIED.into(), me.name.clone());
        shared
            .login_limit
            .take(key.clone(), Instant::now())
            .map_err(|wait| {
                metrics::rate_limit_hit("logins_per_minute");
                Problem::rate_limited("too many passwords were tried; wait before the next", wait)
            })?;
        let phc = find(&shared, &name)?.1.password;
        if !shared
            .passwords
            .verify(new.current.unwrap_or_default(), phc)
            .await?
        {
            return Err(Problem::forbidden("`current` is not the current password"));
        }
        shared.login_limit.give_back(&key);
    }
    let (user, _) = find(&shared, &name)?;
    let password = shared.passwords.hash(new.password).await?;
    let expected = password.clone();
    let there = move |backend: &dyn Backend| {
        backend
            .user(user)
            .is_ok_and(|row| row.is_some_and(|row| row.password.as_ref() == Some(&expected)))
    };
    Box::pin(propose_and_see(
        &shared,
        Command::SetPassword { user, password },
        request,
        there,
    ))
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

fn find(shared: &Shared, name: &str) -> Result<(UserId, UserRow), Problem> {
    let found = shared.backend().user_by_name(name)?;
    found.ok_or_else(|| Problem::not_found("there is no user of this name"))
}
