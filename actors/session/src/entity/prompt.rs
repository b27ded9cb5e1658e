//! Gathers what a responder is shown: the message, the conversation before it, and what is known of the cluster.

use std::time::Duration;

use jarvis_machine::rows::{MessageBody, MessageRow};
use jarvis_replica::api::{ReadError, Replica, View};
use jarvis_types::{NodeId, Seq, SessionId};

use super::Shared;
use crate::logic::intents::{Facts, NodeFact};
use crate::responder::{Line, Prompt};

/// How often a message that is committed is looked for in this node's tables until it is applied.
const APPLY_POLL: Duration = Duration::from_millis(5);

/// Most characters of the conversation that a responder is shown: what small models can take in.
const MAX_HISTORY_CHARS: usize = 32_768;

/// What is to be answered.
pub(super) struct Asked {
    pub(super) session: SessionId,
    pub(super) to: Seq,
    /// The text, where this actor heard it itself.
    pub(super) text: Option<String>,
    /// The node it came through.
    pub(super) gateway: Option<NodeId>,
}

/// The prompt for a message.
pub(super) async fn gather(shared: &Shared, replica: &Replica, asked: Asked) -> Result<Prompt, ReadError> {
    let mut known = asked.text;
    let text = loop {
        if let Some(text) = known.take() {
            break text;
        }
        known = written(replica, asked.session, asked.to)?;
        if known.is_none() {
            tokio::time::sleep(APPLY_POLL).await;
        }
    };
    let view = replica.local()?;
    let rows = view
        .query()
        // Twice as many: messages that wait behind this one stand among them and are left out.
        .last_messages(asked.session, 2 * shared.history_entries + 2)?;
    let said_before = rows
        .iter()
        .rev()
        .find(|(seq, row)| *seq < asked.to && is_said(row))
        .map(|(_, row)| row.text.clone());
    let history = history(rows, asked.to, shared.history_entries);
    let facts = facts(shared, replica, &view, asked.gateway, said_before)?;
    Ok(Prompt {
        session: asked.session,
        seq: asked.to,
        text,
        history,
        facts,
    })
}

/// The message's text, once it is applied here.
fn written(replica: &Replica, session: SessionId, to: Seq) -> Result<Option<String>, ReadError> {
    Ok(replica.local()?.query().message(session, to)?.map(|row| row.text))
}

fn is_said(row: &MessageRow) -> bool {
    matches!(row.body, MessageBody::Said { .. })
}

/// The last `limit` entries before the message `to`, each reply behind its own message. What was said unasked is part of
/// the conversation: "turn it off again" may be about it.
fn history(rows: Vec<(Seq, MessageRow)>, to: Seq, limit: usize) -> Vec<Line> {
    let mut lines: Vec<((Seq, bool), Line)> = rows
        .into_iter()
        .filter_map(|(seq, row)| {
            let key = match row.body {
                MessageBody::Said { .. } if seq < to => (seq, false),
                MessageBody::Reply { to: answered, .. } if answered < to && !row.text.is_empty() => {
                    (answered, true)
                }
                // Where it stands: it belongs to no message.
                MessageBody::Told { .. } if seq < to => (seq, true),
                _ => return None,
            };
            Some((
                key,
                Line {
                    by_jarvis: key.1,
                    text: row.text,
                },
            ))
        })
        .collect();
    lines.sort_by_key(|(key, _)| *key);
    let mut room = MAX_HISTORY_CHARS;
    let fits = |line: &&((Seq, bool), Line)| {
        let chars = line.1.text.chars().count();
        let fits = chars <= room;
        room = room.saturating_sub(chars);
        fits
    };
    let kept = lines.iter().rev().take(limit).take_while(fits).count();
    lines.drain(..lines.len() - kept);
    lines.into_iter().map(|(_, line)| line).collect()
}

fn facts(
    shared: &Shared,
    replica: &Replica,
    view: &View,
    gateway: Option<NodeId>,
    said_before: Option<String>,
) -> Result<Facts, ReadError> {
    let nodes = view.query().nodes()?;
    let name = |id: NodeId| {
        let row = nodes.iter().find(|(node, _)| *node == id);
        row.map_or_else(|| format!("{id}"), |(_, row)| row.name.to_string())
    };
    let leader = replica.state().borrow().leader;
    Ok(Facts {
        now_ms: shared.clock.now_ms(),
        time_zone: shared.time_zone.clone(),
        owner: name(replica.node()),
        gateway: gateway.map(name),
        leader: leader.map(name),
        nodes: nodes
            .iter()
            .map(|(_, row)| NodeFact {
                name: row.name.to_string(),
                up: row.healthy,
            })
            .collect(),
        said_before,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_stand_behind_their_messages_and_later_messages_are_left_out() {
        let id = |n: u64| format!("m{n}").parse().expect("a valid id");
        let said = |seq: u64| {
            let body = MessageBody::Said {
                id: id(seq),
                reply: None,
            };
            (
                Seq(seq),
                MessageRow {
                    body,
                    text: format!("said {seq}"),
                    at_ms: 0,
                },
            )
        };
        let reply = |seq: u64, to: u64| {
            let body = MessageBody::Reply {
                to: Seq(to),
                to_id: id(to),
                cancelled: false,
            };
            (
                Seq(seq),
                MessageRow {
                    body,
                    text: format!("reply to {to}"),
                    at_ms: 0,
                },
            )
        };
        let rows = vec![said(1), said(2), said(3), reply(4, 1), reply(5, 2), said(6)];
        let texts = |limit| {
            history(rows.clone(), Seq(3), limit)
                .into_iter()
                .map(|l| l.text)
                .collect::<Vec<_>>()
        };
        assert_eq!(texts(10), ["said 1", "reply to 1", "said 2", "reply to 2"]);
        assert_eq!(texts(2), ["said 2", "reply to 2"]);
        assert!(texts(0).is_empty());
        let told = |seq: u64| {
            let (body, text) = (MessageBody::Told { id: id(seq) }, format!("told {seq}"));
            (Seq(seq), MessageRow { body, text, at_ms: 0 })
        };
        let with_told = vec![said(1), told(2), reply(3, 1), told(4), said(5), told(6)];
        let lines = history(with_told, Seq(5), 10);
        assert!(lines[1..].iter().all(|line| line.by_jarvis));
        assert_eq!(
            lines.iter().map(|line| &*line.text).collect::<Vec<_>>(),
            ["said 1", "reply to 1", "told 2", "told 4"],
            "what was told stands where it stands, and what came later is left out"
        );
        let mut long = rows.clone();
        long[1].1.text = "é".repeat(MAX_HISTORY_CHARS);
        let kept = history(long, Seq(3), 10);
        assert_eq!(
            kept.iter().map(|line| &*line.text).collect::<Vec<_>>(),
            ["reply to 2"]
        );
    }
}
