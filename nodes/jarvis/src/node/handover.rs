//! Going away in order: the node's partitions and its leadership move before it stops.

use std::time::Duration;

use jarvis_machine::command::Command;
use jarvis_machine::rows::{NodeIntent, NodeRole};
use jarvis_replica::api::{ProposeOptions, Replica};
use tokio::sync::broadcast::error::RecvError;

use super::Keeper;

/// All of it together: a machine that shuts down does not wait for ever.
const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(4);
/// One decision.
const STEP_TIMEOUT: Duration = Duration::from_secs(2);

/// Moves what this node has to others, as far as there are any and they answer in time.
pub(super) async fn hand_over(replica: &Replica, keeper: &dyn Keeper) {
    if tokio::time::timeout(HAND_OVER_TIMEOUT, steps(replica, keeper))
        .await
        .is_err()
    {
        tracing::warn!("not everything was handed over in time; the others take the rest over by themselves");
    }
}

async fn steps(replica: &Replica, keeper: &dyn Keeper) {
    let node = replica.node();
    let Ok(nodes) = replica
        .local()
        .map_err(|e| e.to_string())
        .and_then(|view| view.query().nodes().map_err(|e| e.to_string()))
    else {
        return;
    };
    let can_take = nodes.iter().any(|(id, row)| {
        *id != node && row.healthy && row.intent == NodeIntent::Active && row.role != NodeRole::Witness
    });
    let active = nodes
        .iter()
        .any(|(id, row)| *id == node && row.intent == NodeIntent::Active);
    if can_take && active {
        // Written down first: after a crash in the middle the next start still knows that it is to serve again.
        if let Err(error) = keeper.save_handed_over(true) {
            return tracing::warn!(
                error,
                "this node cannot write down that it goes; its work is not handed over"
            );
        }
        let command = Command::SetIntent {
            node,
            intent: NodeIntent::Draining,
        };
        let options = ProposeOptions {
            fence: None,
            request: None,
            deadline: STEP_TIMEOUT,
        };
        let mut changes = replica.changes();
        match replica.propose(command, options).await {
            Ok(_) => {
                while owns_any(replica) {
                    if matches!(changes.recv().await, Err(RecvError::Closed)) {
                        return;
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "the cluster was not told that this node goes"),
        }
    }
    let leads = replica.state().borrow().leads;
    let others_vote = replica.state().borrow().voters.len() > 1;
    if leads
        && others_vote
        && let Err(error) = replica.transfer_leadership(None, STEP_TIMEOUT).await
    {
        tracing::warn!(%error, "the leadership was not handed over; the others elect someone");
    }
}

fn owns_any(replica: &Replica) -> bool {
    let read = || {
        let view = replica.local().ok()?;
        let query = view.query();
        for (kind, _) in query.kinds().ok()? {
            if query
                .placement(kind)
                .ok()?
                .iter()
                .any(|row| row.owner == Some(replica.node()))
            {
                return Some(true);
            }
        }
        Some(false)
    };
    read().unwrap_or(false)
}
