//! Handing partitions over warm: before the leader moves partitions between two nodes that live, the new owner makes
//! their entities ready, and the old one ends the turns that are under way.
//!
//! ```text
//!  leader: Controller ─ prepare(from, partitions) ─► new owner ─ leaving(partitions) ─► old owner: lets turns end
//!                                                        └─ standbys, on_standby ◄─ which entities run ┘
//!  leader: `Place` ─► applied at the new owner: standbys start and take messages
//! ```
//!
//! None of it is needed for a move to be right, and none of it may hold one up: everything has a deadline, and whatever
//! was not made ready starts when it is first needed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bincode::{Decode, Encode};
use bytes::Bytes;
use jarvis_host::Tasks;
use jarvis_machine::command::Move;
use jarvis_mesh::api::{Answer, Call, Lane, Mesh, Service};
use jarvis_replica::api::Replica;
use jarvis_types::{EntityId, KindId, NodeId, PartitionIndex, codec};
use tokio::time::Instant;

use crate::host::Host;

/// Asks a node to make ready for partitions.
pub(crate) const SERVICE_PREPARE: Service = Service(0x0303);
/// Asks a node which entities of its partitions run.
pub(crate) const SERVICE_LEAVING: Service = Service(0x0304);

const VERSION: u8 = 1;

/// All of it, on the leader: then the move is proposed, whatever is ready.
const PREPARE_WITHIN: Duration = Duration::from_millis(150);
/// How long the old owner waits for turns under way.
const TURNS_WITHIN: Duration = Duration::from_millis(60);
/// Between two looks at them.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How long the new owner waits until it has applied what the old one had.
const CATCH_UP_WITHIN: Duration = Duration::from_millis(60);
/// Most entities that are made ready for one move; the others start when they are needed.
pub(crate) const MAX_STANDBYS: usize = 4_096;

/// A partition by kind and index.
pub(crate) type Place = (KindId, PartitionIndex);

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
struct Prepare {
    from: NodeId,
    places: Vec<Place>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
struct Leaving {
    places: Vec<Place>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
struct Running {
    applied: u64,
    entities: Vec<EntityId>,
}

/// One node's part in it. Clones share it.
#[derive(Clone)]
pub(crate) struct Warm {
    parts: Arc<Parts>,
}

struct Parts {
    mesh: Mesh,
    replica: Replica,
    host: Weak<Host>,
    tasks: Tasks,
}

impl Warm {
    pub(crate) fn new(mesh: Mesh, replica: Replica, host: &Arc<Host>, tasks: Tasks) -> Self {
        let warm = Self {
            parts: Arc::new(Parts {
                mesh,
                replica,
                host: Arc::downgrade(host),
                tasks,
            }),
        };
        warm.serve(
            SERVICE_PREPARE,
            |warm, Prepare { from, places }, answer| async move {
                reply(answer, &warm.prepare_here(from, places).await);
            },
        );
        warm.serve(SERVICE_LEAVING, |warm, Leaving { places }, answer| async move {
            reply(answer, &warm.leaving_here(places).await);
        });
        warm
    }

    /// Answers calls of a service for as long as somebody else holds this: the mesh must not keep alive what holds it.
    fn serve<Q, F>(&self, service: Service, work: impl Fn(Self, Q, Answer) -> F + Send + Sync + 'static)
    where
        Q: Decode<()>,
        F: Future<Output = ()> + Send + 'static,
    {
        let weak = Arc::downgrade(&self.parts);
        let handle = move |call: Call| {
            let Call { body, answer, .. } = call;
            let Some(parts) = weak.upgrade() else {
                return answer.refuse("the node is stopping");
            };
            match codec::decode(VERSION, &body) {
                Ok(question) => {
                    let tasks = parts.tasks.clone();
                    tasks.spawn_until_cancelled(work(Self { parts }, question, answer));
                }
                Err(error) => answer.refuse(format!("malformed message: {error}")),
            }
        };
        self.parts.mesh.serve(service, Arc::new(handle));
    }

    /// The leader's part: has the new owners make ready for `moves`. `owner` gives who has a partition.
    pub(crate) async fn prepare(&self, moves: &[Move], owner: impl Fn(Place) -> Option<NodeId>) {
        let mut by_way: BTreeMap<(NodeId, NodeId), Vec<Place>> = BTreeMap::new();
        for &Move { kind, partition, to } in moves {
            if let Some(from) = owner((kind, partition)).filter(|from| *from != to) {
                by_way.entry((from, to)).or_default().push((kind, partition));
            }
        }
        let started = Instant::now();
        let ways = by_way.into_iter().map(|((from, to), places)| async move {
            if to == self.parts.mesh.node() {
                return Some(self.prepare_here(from, places).await);
            }
            let prepare = Prepare { from, places };
            self.ask::<_, u32>(to, SERVICE_PREPARE, &prepare).await
        });
        let all = futures_util::future::join_all(ways);
        match tokio::time::timeout(PREPARE_WITHIN, all).await {
            Ok(ready) => {
                let ready: u32 = ready.into_iter().flatten().sum();
                tracing::debug!(ready, elapsed = ?started.elapsed(), "entities stand by");
            }
            Err(_) => tracing::debug!("not everybody was ready in time for a move"),
        }
    }

    /// The new owner's part; gives how many entities stand by.
    async fn prepare_here(&self, from: NodeId, places: Vec<Place>) -> u32 {
        let Some(host) = self.parts.host.upgrade() else {
            return 0;
        };
        host.expect(&places);
        let running = if from == self.parts.mesh.node() {
            Some(self.leaving_here(places).await)
        } else {
            self.ask::<_, Running>(from, SERVICE_LEAVING, &Leaving { places })
                .await
        };
        let Some(Running { applied, entities }) = running else {
            return 0;
        };
        let mut state = self.parts.replica.state();
        let caught_up = state.wait_for(|state| state.applied >= applied);
        // What is read early may be old: whatever starts reads again when it takes over.
        let _ = tokio::time::timeout(CATCH_UP_WITHIN, caught_up).await;
        host.stand_by(&entities)
    }

    /// The old owner's part: lets turns end, and tells which entities run.
    async fn leaving_here(&self, places: Vec<Place>) -> Running {
        let places: BTreeSet<Place> = places.into_iter().collect();
        let end = Instant::now() + TURNS_WITHIN;
        let mut entities = Vec::new();
        if let Some(host) = self.parts.host.upgrade() {
            while host.is_busy(&places) && Instant::now() < end {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            entities = host.running(&places);
        }
        Running {
            applied: self.parts.replica.state().borrow().applied,
            entities,
        }
    }

    async fn ask<Q: Encode, A: Decode<()>>(&self, node: NodeId, service: Service, question: &Q) -> Option<A> {
        let body = Bytes::from(codec::encode(VERSION, question).ok()?);
        let asking = self
            .parts
            .mesh
            .call(node, Lane::Actors, service, 0, body, PREPARE_WITHIN);
        match asking.await {
            Ok(answer) => codec::decode(VERSION, &answer).ok(),
            Err(error) => {
                tracing::debug!(%node, %error, "a node did not make ready for a move");
                None
            }
        }
    }
}

fn reply<T: Encode>(answer: Answer, message: &T) {
    match codec::encode(VERSION, message) {
        Ok(body) => answer.send(Bytes::from(body)),
        Err(error) => answer.refuse(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes() {
        let place = (KindId(1), PartitionIndex(3));
        let prepare = Prepare {
            from: NodeId(2),
            places: vec![place],
        };
        assert_eq!(codec::encode(VERSION, &prepare).expect("small"), [1, 2, 1, 1, 3]);
        let leaving = Leaving { places: vec![place] };
        assert_eq!(codec::encode(VERSION, &leaving).expect("small"), [1, 1, 1, 3]);
        let running = Running {
            applied: 9,
            entities: vec![EntityId {
                kind: KindId(1),
                key: "k".into(),
            }],
        };
        let bytes = codec::encode(VERSION, &running).expect("small");
        assert_eq!(bytes, [1, 9, 1, 1, 1, b'k']);
        assert_eq!(codec::decode::<Running>(VERSION, &bytes), Ok(running));
    }
}
