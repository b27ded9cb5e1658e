//! Sessions and their transcripts without a socket.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jarvis_session::api::FeedEvent;
use jarvis_types::chat::ServerFrame;
use jarvis_types::limits::MAX_PAGE_MESSAGES;
use jarvis_types::{Seq, SessionId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::extract::{Caller, JsonBody, PathOf, QueryOf, ReqId};
use super::problem::{Problem, RETRY_AFTER_MS};
use crate::shared::Shared;
use crate::ws::say;

/// Most sessions one answer lists.
const MAX_SESSIONS: usize = 500;

/// How long this node may lag behind the cluster with what it answers about a commit.
const APPLY_DEADLINE: Duration = Duration::from_secs(2);

/// How many sessions.
#[derive(Debug, Deserialize)]
pub(crate) struct ListQuery {
    limit: Option<usize>,
}

/// `GET /api/v1/sessions`.
pub(crate) async fn list(
    State(shared): State<Arc<Shared>>,
    Caller(me): Caller,
    QueryOf(query): QueryOf<ListQuery>,
) -> Result<Json<Value>, Problem> {
    let limit = page_limit(query.limit, MAX_SESSIONS)?;
    let members = shared.members();
    // One more than is shown tells whether there are more.
    let found = shared.backend().sessions(me.user, limit + 1)?;
    let more = found.len() > limit;
    let sessions = found.into_iter().take(limit).map(|(id, row)| {
        let (owner, epoch) = shared.backend().owner(id);
        json!({
            "id": id,
            "title": row.title,
            "created_at_ms": row.created_at_ms,
            "last_seq": row.last_seq,
            "last_at_ms": row.last_at_ms,
            "owner": owner.map(|node| members.name(node)),
            "epoch": epoch,
        })
    });
    Ok(Json(
        json!({ "sessions": sessions.collect::<Vec<_>>(), "more": more }),
    ))
}

/// `POST /api/v1/sessions`.
pub(crate) async fn create(
    State(shared): State<Arc<Shared>>,
    ReqId(request): ReqId,
    Caller(me): Caller,
) -> Result<Response, Problem> {
    let create = shared
        .backend()
        .create_session(me.user, Some(request), shared.settings.say_deadline);
    let session = Box::pin(create).await?;
    let (owner, epoch) = shared.backend().owner(session);
    let owner = owner.map(|node| shared.members().name(node));
    let body = json!({ "id": session, "session": session, "last_seq": 0, "owner": owner, "epoch": epoch });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

/// Which part of a transcript.
#[derive(Debug, Deserialize)]
pub(crate) struct PageQuery {
    #[serde(default)]
    after: u64,
    limit: Option<usize>,
}

/// `GET /api/v1/sessions/{id}/messages`.
pub(crate) async fn messages(
    State(shared): State<Arc<Shared>>,
    Caller(me): Caller,
    PathOf(session): PathOf<String>,
    QueryOf(query): QueryOf<PageQuery>,
) -> Result<Json<Value>, Problem> {
    let session = parse_session(&session)?;
    let limit = page_limit(query.limit, MAX_PAGE_MESSAGES)?;
    // Opening sees what was committed before this request, wherever that was.
    Box::pin(
        shared
            .backend()
            .open_session(me.user, session, shared.settings.open_deadline),
    )
    .await?;
    let page = shared
        .backend()
        .messages(me.user, session, Seq(query.after), limit)?;
    Ok(Json(
        json!({ "messages": page.messages, "last_seq": page.last_seq }),
    ))
}

/// A message.
#[derive(Debug, Deserialize)]
pub(crate) struct SayBody {
    id: String,
    text: String,
}

/// What to wait for.
#[derive(Debug, Deserialize)]
pub(crate) struct SayQuery {
    wait: Option<Wait>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Wait {
    Said,
    Reply,
}

/// `POST /api/v1/sessions/{id}/messages`.
pub(crate) async fn say(
    State(shared): State<Arc<Shared>>,
    ReqId(request): ReqId,
    Caller(me): Caller,
    PathOf(session): PathOf<String>,
    QueryOf(query): QueryOf<SayQuery>,
    JsonBody(body): JsonBody<SayBody>,
) -> Result<Json<ServerFrame>, Problem> {
    let session = parse_session(&session)?;
    let id = say::check(&shared, me.user, &body.id, &body.text).map_err(say_problem)?;
    let say = shared.backend().say(
        me.user,
        session,
        id.clone(),
        body.text,
        Some(request),
        shared.settings.say_deadline,
    );
    let outcome = Box::pin(say).await;
    say::count(&shared, me.user, outcome.as_ref());
    let said = outcome?;
    let mut feed = shared
        .backend()
        .follow(session, Seq(said.seq.0.saturating_sub(1)));
    let wanted = |frame: &ServerFrame| match (&query.wait, frame) {
        (Some(Wait::Reply), ServerFrame::Reply { reply_to, .. }) => reply_to.as_deref() == Some(id.as_str()),
        (Some(Wait::Reply), _) => false,
        (_, ServerFrame::Said { seq, .. }) => *seq == said.seq.0,
        _ => false,
    };
    let waiting = async {
        loop {
            if let FeedEvent::Frame(frame) = feed.next().await
                && wanted(&frame)
            {
                return frame;
            }
        }
    };
    let waits_for_reply = matches!(query.wait, Some(Wait::Reply));
    let deadline = if waits_for_reply {
        shared.settings.reply_deadline
    } else {
        APPLY_DEADLINE
    };
    tokio::time::timeout(deadline, waiting)
        .await
        .map(Json)
        .map_err(|_| {
            let detail = format!(
                "the message is committed as {}; read what follows it later",
                said.seq
            );
            Problem {
                status: StatusCode::GATEWAY_TIMEOUT,
                ..Problem::unavailable(detail, RETRY_AFTER_MS)
            }
        })
}

/// How many entries an answer has: as many as were asked for, and no more than it may have.
fn page_limit(asked: Option<usize>, max: usize) -> Result<usize, Problem> {
    match asked {
        Some(0) => Err(Problem::bad_request(format!("limit is 1 to {max}"))),
        limit => Ok(limit.unwrap_or(max).min(max)),
    }
}

fn parse_session(text: &str) -> Result<SessionId, Problem> {
    text.parse()
        .map_err(|_| Problem::not_found("you have no session of this id"))
}

fn say_problem(refused: say::Refused) -> Problem {
    match refused {
        say::Refused::BadFrame(detail) => Problem::bad_request(detail),
        say::Refused::TooLong(detail) => Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_long", detail),
        say::Refused::RateLimited(wait) => Problem::rate_limited("too many messages a minute", wait),
    }
}
