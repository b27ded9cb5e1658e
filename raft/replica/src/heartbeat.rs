//! Answering the leader's heartbeats while the disk is slow.
//!
//! openraft answers a heartbeat when everything before it is synced. On a card that takes 300 ms for that, a leader hears
//! from nobody within its lease and takes itself for cut off. What a heartbeat asks is less: is this node still with the
//! leader, and does its log hold a certain entry? Both can be told without the sync that is under way:
//!
//! - A question put to openraft behind the heartbeat is answered when the heartbeat has been taken, the lease renewed by it
//!   included. A node whose vote is just being saved answers neither.
//! - The entry must be synced itself: then a leader may count on it.

use std::time::Duration;

use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};

use crate::log::LogStore;
use crate::types::{Raft, TypeConfig};

/// How long openraft's own answer is waited for: most disks are quicker, and the question costs a little.
const PATIENCE: Duration = Duration::from_millis(20);

/// Answers an append without entries.
pub(crate) async fn answer(
    raft: &Raft,
    log: &LogStore,
    request: AppendEntriesRequest<TypeConfig>,
) -> Result<AppendEntriesResponse<TypeConfig>, String> {
    let (vote, entry) = (request.vote, request.prev_log_id);
    let appending = raft.append_entries(request);
    tokio::pin!(appending);
    if let Ok(answered) = tokio::time::timeout(PATIENCE, &mut appending).await {
        return answered.map_err(|e| e.to_string());
    }
    let with_the_leader = raft.with_raft_state(move |state| *state.vote_ref() == vote);
    tokio::select! {
        biased;
        answered = &mut appending => return answered.map_err(|e| e.to_string()),
        taken = with_the_leader => {
            if taken.is_ok_and(|yes| yes) && log.has_synced(entry).map_err(|e| e.to_string())? {
                return Ok(AppendEntriesResponse::Success);
            }
        }
    }
    appending.await.map_err(|e| e.to_string())
}
