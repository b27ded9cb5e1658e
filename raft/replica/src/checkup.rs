//! Every member tells its leader now and then how its disk does, and hears what the leader has to tell of the voters.
//!
//! ```text
//!  member ── SyncTime ──► leader: who is slow?
//!         ◄── notes ─────          what `status` says, whichever node is asked
//! ```
//!
//! Nothing rests on it: what is lost is told again. A leader of an earlier build does not know the question.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use jarvis_mesh::api::{CallError, Lane};
use jarvis_types::{NodeId, codec};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::absence::Disks;
use crate::log::{SyncMeter, SyncTime};
use crate::notes::Note;
use crate::replica::lock;
use crate::transport::{Transport, orders, services};
use crate::types::RPC_VERSION;

/// Between two tellings.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// A leader that has nothing to hide answers at once.
const TELL_TIMEOUT: Duration = Duration::from_secs(2);

/// Notes are not passed on for longer than this: who told them may lead no more.
pub(crate) const NOTES_GOOD_FOR: Duration = Duration::from_secs(15);

/// What a follower heard last, and when.
pub(crate) type Heard = Arc<Mutex<Option<(Instant, Vec<Note>)>>>;

/// The follower's side.
pub(crate) struct Checkup {
    pub(crate) node: NodeId,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) leader: watch::Receiver<Option<NodeId>>,
    pub(crate) own_disk: SyncMeter,
    pub(crate) heard: Heard,
}

impl Checkup {
    /// Until the replica ends.
    pub(crate) async fn run(self) {
        let mut leader = self.leader.clone();
        loop {
            let now = *leader.borrow_and_update();
            match now {
                // What another told before is no longer its to tell.
                Some(now) if now == self.node => *lock(&self.heard) = None,
                Some(now) => match self.tell(now).await {
                    Ok(notes) => *lock(&self.heard) = Some((Instant::now(), notes)),
                    Err(error) => {
                        tracing::debug!(leader = %now, error, "the leader was not told of this node's disk")
                    }
                },
                None => {}
            }
            tokio::select! {
                () = tokio::time::sleep(TELL_EVERY) => {}
                changed = leader.changed() => if changed.is_err() { return },
            }
        }
    }

    async fn tell(&self, leader: NodeId) -> Result<Vec<Note>, String> {
        let body = codec::encode_serde(RPC_VERSION, &self.own_disk.read()).map_err(|e| e.to_string())?;
        let (service, body) = (services::CHECKUP, Bytes::from(body));
        let call = self
            .transport
            .call(leader, Lane::Raft, service, orders::READ, body, TELL_TIMEOUT);
        let answer = call.await.map_err(|e: CallError| e.to_string())?;
        codec::decode_serde(RPC_VERSION, &answer).map_err(|e| e.to_string())
    }
}

/// The leader's side: takes what `from` told, and gives what there is to tell.
pub(crate) fn hear(
    from: NodeId,
    body: &[u8],
    disks: &Mutex<Disks>,
    slow_at: Duration,
    notes: &[Note],
) -> Result<Vec<u8>, String> {
    let sync: SyncTime = codec::decode_serde(RPC_VERSION, body).map_err(|e| e.to_string())?;
    lock(disks).note(from, sync, slow_at, Instant::now());
    codec::encode_serde(RPC_VERSION, &notes).map_err(|e| e.to_string())
}
