//! One supervisor a kind: hears of every entity's end and tells the host, which restarts it or sets it aside.

use async_trait::async_trait;
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::mpsc::UnboundedSender;

/// An entity's actor has ended.
pub(crate) struct Ended {
    pub(crate) actor: ActorId,
    /// What it died of; none: in order.
    pub(crate) fault: Option<String>,
}

/// The supervising actor.
///
/// Its channel has no bound of its own, since a supervisor must not wait for the host. It never holds more endings than
/// [`crate::api::EntityLimits::active_entities`]: each activation ends once, and counts as running until the host has taken
/// its ending from the channel, however long that takes.
pub(crate) struct Supervisor;

/// A supervisor takes no messages, only its children's news.
pub(crate) enum Nothing {}

impl ractor::Message for Nothing {}

#[async_trait]
impl Actor for Supervisor {
    type Msg = Nothing;
    type State = UnboundedSender<Ended>;
    type Arguments = UnboundedSender<Ended>;

    async fn pre_start(
        &self,
        _: ActorRef<Nothing>,
        ended: UnboundedSender<Ended>,
    ) -> Result<UnboundedSender<Ended>, ActorProcessingErr> {
        Ok(ended)
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Nothing>,
        event: SupervisionEvent,
        ended: &mut UnboundedSender<Ended>,
    ) -> Result<(), ActorProcessingErr> {
        let news = match event {
            SupervisionEvent::ActorFailed(who, error) => Ended {
                actor: who.get_id(),
                fault: Some(error.to_string()),
            },
            SupervisionEvent::ActorTerminated(who, _, _) => Ended {
                actor: who.get_id(),
                fault: None,
            },
            _ => return Ok(()),
        };
        if ended.send(news).is_err() {
            // The host is gone, and with it the node.
            myself.stop(None);
        }
        Ok(())
    }
}
