//! The kind of the bridge: one entity that hears the home, watches what triggers what, and does what is asked for.
//!
//! ```text
//!            ┌──────────────── bridge/home ─────────────────┐
//!  broker ──►│ link ─► Desk ─► Home (PURE) ─► Draft ─► step │─► log ─► letters to automations
//!         ◄──│ perform ◄── acts ◄┘   ▲                      │
//!            └───────────────────────┴── letters, asks ─────┘
//! ```

mod act;
mod desk;
mod draft;
pub(crate) mod home;
mod link;
mod perform;
mod say;
mod topics;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt;
use jarvis_entity::api::{Cx, Entity, EntityError, EntityKind, Inbound};
use jarvis_replica::api::{ReadError, View};
use jarvis_types::limits::BRIDGE_PARTITIONS;
use jarvis_types::{EntityId, KindId, PartitionIndex};
use tokio::sync::{Notify, mpsc};

use self::desk::{Desk, MOST_WORK, Work};
pub(crate) use self::link::dead_letter;
use crate::settings::Engine;
use crate::wire::{Answered, Ask, decode, encode};

/// What a node should have to carry the bridge. Where none knows the way to a broker, webhooks, events and reminders still
/// want someone.
const PREFERS: &[&str] = &["mqtt"];

/// What becomes of a desk that should not have done it.
pub(crate) const PANICKED: &str = "deciding on something panicked";

/// The kind.
pub struct BridgeKind {
    engine: Engine,
}

impl BridgeKind {
    /// Of this node's engine.
    pub fn new(engine: Engine) -> Self {
        Self { engine }
    }
}

impl EntityKind for BridgeKind {
    type Entity = BridgeEntity;

    fn id(&self) -> KindId {
        KindId::BRIDGE
    }

    fn since_level(&self) -> u32 {
        3
    }

    fn name(&self) -> &'static str {
        "bridge"
    }

    fn partitions(&self) -> u16 {
        BRIDGE_PARTITIONS
    }

    fn acts_on_world(&self) -> bool {
        true
    }

    fn prefers(&self) -> &'static [&'static str] {
        PREFERS
    }

    fn create(&self, id: &EntityId) -> BridgeEntity {
        BridgeEntity {
            engine: self.engine.clone(),
            is_home: *id == EntityId::bridge(),
            desk: None,
            letters: Arc::new(Notify::new()),
        }
    }

    fn unfinished(&self, _: &View, partition: PartitionIndex) -> Result<Vec<String>, ReadError> {
        // It listens, whether or not anything is left undone.
        let _ = partition;
        Ok(vec![EntityId::bridge().key])
    }
}

/// What its own tasks tell the bridge.
#[derive(Debug)]
pub enum News {
    /// The desk has ended.
    Ended(EntityError),
}

/// The bridge: hands on to its desk, which works in a task of its own.
pub struct BridgeEntity {
    engine: Engine,
    /// There is one; other keys name nothing.
    is_home: bool,
    desk: Option<mpsc::Sender<Work>>,
    letters: Arc<Notify>,
}

#[async_trait]
impl Entity for BridgeEntity {
    type Event = News;

    async fn on_start(&mut self, cx: &Cx<News>) -> Result<(), EntityError> {
        if !self.is_home {
            return Ok(());
        }
        let shared = Arc::clone(&self.engine.shared);
        let (sender, receiver) = mpsc::channel(MOST_WORK);
        self.desk = Some(sender.clone());
        let letters = Arc::clone(&self.letters);
        let boot = shared.boot;
        let opening = Desk::open(cx.clone(), shared, (sender, receiver), letters, boot);
        let events = cx.events();
        let desk = opening.await?;
        let shared = Arc::clone(&self.engine.shared);
        cx.tasks.spawn_until_cancelled(async move {
            let ended = AssertUnwindSafe(desk.run()).catch_unwind().await;
            events(News::Ended(ended.unwrap_or_else(|_| {
                shared.be_careful();
                EntityError::Fault(PANICKED.to_owned())
            })));
        });
        Ok(())
    }

    async fn on_message(&mut self, _: &Cx<News>, message: Inbound) -> Result<(), EntityError> {
        let Inbound { body, answer, .. } = message;
        let refused = match (decode::<Ask>(&body), &self.desk) {
            (Ok(asked), Some(desk)) => match desk.try_send(Work::Ask { asked, answer }) {
                Ok(()) => return Ok(()),
                Err(full) => {
                    let (mpsc::error::TrySendError::Full(work) | mpsc::error::TrySendError::Closed(work)) =
                        full;
                    let Work::Ask { answer, .. } = work else {
                        return Ok(());
                    };
                    (
                        answer,
                        Answered::Unavailable("the bridge has too much to do".to_owned()),
                    )
                }
            },
            (Ok(_), None) => (answer, Answered::NotFound("there is no such bridge".to_owned())),
            (Err(error), _) => (answer, Answered::Refused(error.to_string())),
        };
        refused.0.send(encode(&refused.1).into());
        Ok(())
    }

    async fn on_event(&mut self, _: &Cx<News>, News::Ended(error): News) -> Result<(), EntityError> {
        Err(error)
    }

    async fn on_letters(&mut self, _: &Cx<News>) -> Result<(), EntityError> {
        self.letters.notify_one();
        Ok(())
    }

    fn is_idle(&self) -> bool {
        !self.is_home
    }
}
