//! Watches the applied log for what sockets and pages must know: members, credentials.

use std::collections::BTreeSet;
use std::sync::Arc;

use jarvis_machine::change::Change;
use jarvis_replica::api::Applied;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tracing::warn;

use crate::shared::Shared;
use crate::ws::registry::{DRAIN, RECHECK};

/// Runs until the replica is gone.
pub(crate) async fn run(shared: Arc<Shared>, mut changes: Receiver<Applied>) {
    loop {
        match changes.recv().await {
            Ok(applied) => apply(&shared, &applied.changes),
            Err(RecvError::Lagged(_)) => apply(&shared, &[Change::Replaced]),
            Err(RecvError::Closed) => return,
        }
    }
}

fn apply(shared: &Shared, changes: &[Change]) {
    let (mut members, mut users) = (false, BTreeSet::new());
    for change in changes {
        match change {
            Change::Node(_) | Change::NodeRemoved(_) => members = true,
            Change::Credentials(user) => {
                users.insert(*user);
            }
            Change::Replaced => {
                members = true;
                shared.sockets.tell_all(RECHECK);
            }
            Change::Placed { .. }
            | Change::KindRegistered(_)
            | Change::SessionCreated { .. }
            | Change::Appended { .. }
            | Change::Letters { .. }
            | Change::EntityWritten(_)
            | Change::LevelRaised(_) => {}
        }
    }
    users
        .into_iter()
        .for_each(|user| shared.sockets.tell_user(user, RECHECK));
    if !members {
        return;
    }
    let retired = shared.members().this_retires();
    if let Err(error) = shared.refresh_members() {
        warn!(%error, "the members cannot be read; check the disk");
    }
    // Who is here may stay as long as the node runs, but had better go while nothing hurries it.
    if !retired && shared.members().this_retires() && !shared.is_draining() {
        shared.sockets.tell_all(DRAIN);
    }
}
