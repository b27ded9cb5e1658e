//! The history of a partition in words: who had it, since when, and why it moved.

use jarvis_machine::command::MoveReason;
use jarvis_machine::rows::{NodeNews, PlacementLogRow, PlacementNoteRow};
use jarvis_types::{Epoch, NodeId};
use serde_json::{Value, json};

/// What is known of a partition's moves.
pub(super) struct History {
    /// The last few, oldest first.
    pub(super) log: Vec<(Epoch, PlacementLogRow)>,
    /// What was kept beside some of them.
    pub(super) notes: Vec<(Epoch, PlacementNoteRow)>,
}

impl History {
    fn note(&self, epoch: Epoch) -> PlacementNoteRow {
        let found = self.notes.iter().find(|(noted, _)| *noted == epoch);
        found.map(|(_, note)| *note).unwrap_or_default()
    }

    /// The moves, oldest first.
    pub(super) fn moves(&self, name: &dyn Fn(NodeId) -> String) -> Vec<Value> {
        let one = |(epoch, row): &(Epoch, PlacementLogRow)| {
            let note = self.note(*epoch);
            json!({
                "epoch": epoch,
                "at_ms": row.at_ms,
                "at": time(row.at_ms),
                "from": row.from.map(name),
                "to": name(row.to),
                "reason": reason(row, note, name),
                "took_ms": note.took_ms,
            })
        };
        self.log.iter().map(one).collect()
    }

    /// The last move: what the owner is there for.
    pub(super) fn last(&self, name: &dyn Fn(NodeId) -> String) -> Value {
        self.moves(name).pop().unwrap_or(Value::Null)
    }
}

fn time(at_ms: u64) -> String {
    let at = i64::try_from(at_ms)
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    at.map(|at| at.to_string()).unwrap_or_default()
}

/// What was seen where that was kept, else what the kind of move says.
fn reason(row: &PlacementLogRow, note: PlacementNoteRow, name: &dyn Fn(NodeId) -> String) -> String {
    if let Some(cause) = note.cause {
        let node = name(cause.node);
        return match cause.news {
            NodeNews::Crashed => format!("node {node} did not answer (process crashed)"),
            NodeNews::Silent => format!("node {node} did not answer (nothing was heard of it)"),
            NodeNews::Closed => format!("node {node} did not answer (it had closed its connections)"),
            NodeNews::Removed => format!("node {node} was removed from the cluster"),
            NodeNews::Drained => format!("node {node} was drained"),
            NodeNews::Unfit => format!("node {node} lacks what this kind needs"),
            NodeNews::Returned => format!("balance after node {node} came back"),
            NodeNews::Joined => format!("balance after node {node} joined"),
        };
    }
    let from = row
        .from
        .map_or_else(|| "its owner".to_owned(), |from| format!("node {}", name(from)));
    match row.reason {
        MoveReason::FirstPlacement => "it had no owner yet".to_owned(),
        MoveReason::OwnerLost => format!("{from} did not answer"),
        MoveReason::Drain => format!("{from} was drained"),
        MoveReason::Balance => "to spread the load evenly".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jarvis_machine::rows::Cause;

    fn name(id: NodeId) -> String {
        ["a", "b", "c"][id.0 as usize - 1].to_owned()
    }

    #[test]
    fn every_move_says_in_words_why_it_was_made() {
        let row = |from: u64, to, reason| PlacementLogRow {
            from: (from > 0).then_some(NodeId(from)),
            to: NodeId(to),
            reason,
            at_ms: 1_700_000_000_000,
        };
        let note = |node, news, took_ms| PlacementNoteRow {
            cause: Some(Cause {
                node: NodeId(node),
                news,
            }),
            took_ms,
        };
        use MoveReason::{Balance, Drain, FirstPlacement, OwnerLost};
        let history = History {
            log: vec![
                (Epoch(1), row(0, 1, FirstPlacement)),
                (Epoch(2), row(1, 2, OwnerLost)),
                (Epoch(3), row(2, 3, OwnerLost)),
                (Epoch(4), row(3, 2, Balance)),
                (Epoch(5), row(2, 1, Balance)),
                (Epoch(6), row(1, 2, Drain)),
            ],
            notes: vec![
                (Epoch(3), note(2, NodeNews::Crashed, Some(87))),
                (Epoch(4), note(2, NodeNews::Returned, None)),
                (Epoch(6), note(1, NodeNews::Unfit, None)),
            ],
        };
        let moves = history.moves(&name);
        let reasons: Vec<_> = moves
            .iter()
            .map(|m| m["reason"].as_str().expect("words"))
            .collect();
        assert_eq!(
            reasons,
            [
                "it had no owner yet",
                "node a did not answer",
                "node b did not answer (process crashed)",
                "balance after node b came back",
                "to spread the load evenly",
                "node a lacks what this kind needs"
            ]
        );
        assert_eq!(
            (&moves[2]["took_ms"], &moves[1]["took_ms"]),
            (&json!(87), &Value::Null)
        );
        assert_eq!(moves[0]["at"], "2023-11-14T22:13:20Z");
        assert_eq!(history.last(&name)["epoch"], 6);
    }
}
