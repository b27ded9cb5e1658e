//! Sessions and their transcripts. A transcript only grows: 1, 2, 3, … and every message has at most one reply.

use jarvis_types::{ClientMessageId, KindId, Seq, SessionId, UserId};

use super::context::{Context, Halt, invalid, not_found};
use super::limits::{MAX_OPEN_TURNS, MAX_SESSIONS, MAX_TITLE_CHARS};
use super::{names, users};
use crate::change::Change;
use crate::command::Fence;
use crate::keys;
use crate::query::partition_of_session;
use crate::reply::{Refusal, Reply};
use crate::row_codec::EMPTY;
use crate::rows::{MessageBody, MessageRow, SessionRow};
use crate::storage::Table;

pub(super) fn create(cx: &mut Context<'_>, session: SessionId, user: UserId) -> Result<Reply, Halt> {
    users::known(cx, user)?;
    if let Some(row) = cx.query().session(session)? {
        return if row.user == user {
            Ok(Reply::Done)
        } else {
            Err(no_session(session))
        };
    }
    let counter = keys::session_count(user);
    if cx.query().counter(&counter)? >= MAX_SESSIONS {
        return Err(Refusal::LimitReached(format!("{MAX_SESSIONS} sessions of user {user}")).into());
    }
    cx.count_up(&counter)?;
    let row = SessionRow {
        user,
        created_at_ms: cx.now_ms,
        last_seq: Seq(0),
        last_at_ms: cx.now_ms,
        title: String::new(),
    };
    cx.put(Table::Sessions, &keys::session(session), &row)?;
    cx.tables
        .put(Table::UserSessions, &keys::user_session(user, session), EMPTY)?;
    cx.changes.push(Change::SessionCreated { session, user });
    Ok(Reply::Done)
}

pub(super) fn say(
    cx: &mut Context<'_>,
    fence: Option<Fence>,
    session: SessionId,
    user: UserId,
    id: &ClientMessageId,
    text: &str,
) -> Result<Reply, Halt> {
    check_partition(fence, session)?;
    let mut row = cx.query().session(session)?.ok_or_else(|| no_session(session))?;
    if row.user != user {
        return Err(no_session(session));
    }
    if let Some(seq) = cx.query().seq_of(session, id)? {
        return repeated(cx, session, seq);
    }
    names::check_client_id(id)?;
    if text.is_empty() {
        return Err(invalid("the text is empty"));
    }
    names::check_text(text)?;
    let turns = keys::open_turns_of(partition_of_session(session), session);
    if keys::scan_prefix(&*cx.tables, Table::OpenTurns, &turns, false, MAX_OPEN_TURNS)?.len()
        >= MAX_OPEN_TURNS
    {
        return Err(Refusal::LimitReached(format!("{MAX_OPEN_TURNS} messages that wait for a reply")).into());
    }
    if row.title.is_empty() {
        row.title = title_of(text);
    }
    let body = MessageBody::Said {
        id: id.clone(),
        reply: None,
    };
    let (seq, at_ms) = append(cx, session, row, body, text)?;
    cx.put(Table::MessageIds, &keys::message_id(session, id), &seq)?;
    cx.tables.put(
        Table::OpenTurns,
        &keys::open_turn(partition_of_session(session), session, seq),
        EMPTY,
    )?;
    Ok(Reply::Appended {
        seq,
        at_ms,
        repeated: false,
    })
}

pub(super) fn answer(
    cx: &mut Context<'_>,
    fence: Option<Fence>,
    session: SessionId,
    to: Seq,
    text: &str,
    cancelled: bool,
) -> Result<Reply, Halt> {
    check_partition(fence, session)?;
    let row = cx.query().session(session)?.ok_or_else(|| no_session(session))?;
    let nothing_there = || not_found(format!("message {to} of session {session}"));
    let message = cx.query().message(session, to)?.ok_or_else(nothing_there)?;
    let MessageBody::Said { id, reply } = message.body else {
        return Err(invalid(format!(
            "entry {to} of session {session} is itself a reply"
        )));
    };
    if let Some(seq) = reply {
        return repeated(cx, session, seq);
    }
    names::check_text(text)?;
    let body = MessageBody::Reply {
        to,
        to_id: id.clone(),
        cancelled,
    };
    let (seq, at_ms) = append(cx, session, row, body, text)?;
    let answered = MessageRow {
        body: MessageBody::Said { id, reply: Some(seq) },
        ..message
    };
    cx.put(Table::Messages, &keys::message(session, to), &answered)?;
    cx.delete(
        Table::OpenTurns,
        &keys::open_turn(partition_of_session(session), session, to),
    )?;
    Ok(Reply::Appended {
        seq,
        at_ms,
        repeated: false,
    })
}

pub(super) fn notify(
    cx: &mut Context<'_>,
    fence: Option<Fence>,
    session: SessionId,
    id: &ClientMessageId,
    text: &str,
) -> Result<Reply, Halt> {
    check_partition(fence, session)?;
    let row = cx.query().session(session)?.ok_or_else(|| no_session(session))?;
    names::check_client_id(id)?;
    let key = keys::told_id(session, id);
    if let Some(seq) = cx.get(Table::MessageIds, &key)? {
        return repeated(cx, session, seq);
    }
    if text.is_empty() {
        return Err(invalid("the text is empty"));
    }
    names::check_text(text)?;
    let (seq, at_ms) = append(cx, session, row, MessageBody::Told { id: id.clone() }, text)?;
    cx.put(Table::MessageIds, &key, &seq)?;
    Ok(Reply::Appended {
        seq,
        at_ms,
        repeated: false,
    })
}

/// Writes the next entry of a transcript and the session's row, which the caller has read. Within a transcript time never
/// decreases, even where ledger time was corrected.
fn append(
    cx: &mut Context<'_>,
    session: SessionId,
    mut row: SessionRow,
    body: MessageBody,
    text: &str,
) -> Result<(Seq, u64), Halt> {
    let (seq, at_ms) = (Seq(row.last_seq.0 + 1), cx.now_ms.max(row.last_at_ms));
    let entry = MessageRow {
        body,
        text: text.to_owned(),
        at_ms,
    };
    cx.put(Table::Messages, &keys::message(session, seq), &entry)?;
    (row.last_seq, row.last_at_ms) = (seq, at_ms);
    cx.put(Table::Sessions, &keys::session(session), &row)?;
    cx.changes.push(Change::Appended { session, seq });
    Ok((seq, at_ms))
}

/// The answer to what stands in the transcript already.
fn repeated(cx: &Context<'_>, session: SessionId, seq: Seq) -> Result<Reply, Halt> {
    let entry = cx.query().message(session, seq)?;
    let entry = entry.ok_or_else(|| not_found(format!("message {seq} of session {session}")))?;
    Ok(Reply::Appended {
        seq,
        at_ms: entry.at_ms,
        repeated: true,
    })
}

fn check_partition(fence: Option<Fence>, session: SessionId) -> Result<(), Halt> {
    let Some(fence) = fence else { return Ok(()) };
    let partition = partition_of_session(session);
    if fence.kind == KindId::SESSION && fence.partition == partition {
        Ok(())
    } else {
        Err(invalid(format!(
            "session {session} is in partition {partition} of kind {}",
            KindId::SESSION.0
        )))
    }
}

/// Another's session is as little there as one that never was.
fn no_session(session: SessionId) -> Halt {
    not_found(format!("session {session}"))
}

/// The start of the first line that says something.
fn title_of(text: &str) -> String {
    let line = text
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or_default();
    line.chars().take(MAX_TITLE_CHARS).collect()
}
