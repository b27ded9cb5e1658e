//! What the log and the metrics say of what the controller had decided.

use jarvis_machine::command::MoveReason;
use jarvis_types::NodeId;

use crate::metrics;

/// Said once the command was applied.
pub(super) enum Noted {
    Moves {
        reason: MoveReason,
        count: usize,
        health: Vec<(NodeId, bool)>,
    },
    Drained(NodeId),
    Level(u32),
}

impl Noted {
    pub(super) fn note(&self) {
        match self {
            Self::Moves {
                reason,
                count,
                health,
            } => {
                for (node, healthy) in health {
                    if *healthy {
                        tracing::info!(%node, "node answers again");
                    } else {
                        tracing::warn!(%node, "node does not answer; its work moves to the others");
                    }
                }
                if *count > 0 {
                    let name = format!("{reason:?}");
                    ::metrics::counter!(metrics::MOVES, "reason" => name).increment(*count as u64);
                    tracing::info!(?reason, partitions = count, "partitions placed");
                }
            }
            Self::Drained(node) => tracing::info!(%node, "node is drained and may be stopped"),
            Self::Level(level) => tracing::info!(level, "every member speaks it: the cluster level rises"),
        }
    }
}
