//! Doing what is to be done: each act is a task that says what came of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jarvis_entity::api::Cx;
use jarvis_machine::command::Command;
use jarvis_machine::rows::NodeIntent;
use jarvis_mqtt::{Confirmation, Publication, PublishError, Publisher};
use jarvis_replica::api::{ProposeError, ProposeOptions, Replica};
use tokio::sync::{mpsc, oneshot};

use super::News;
use super::act::{Act, Deed, Ended};
use super::desk::Work;
use super::say;
use crate::settings::Shared;

/// The least time that an act is given, however long ago it was asked for.
const LEAST_PATIENCE: Duration = Duration::from_secs(5);
/// How long one try of saying something may take.
const SAY_DEADLINE: Duration = Duration::from_secs(3);
/// Between two such tries.
const SAY_PAUSE: Duration = Duration::from_millis(200);

/// By automation, what ends when what it said last is said: sayings are proposals that could overtake each other.
pub(super) type Sayings = BTreeMap<String, oneshot::Receiver<()>>;

/// Begins an act. Given back: there is no room at the moment; it may begin when another is over.
pub(super) fn begin(
    cx: &Cx<News>,
    shared: &Arc<Shared>,
    publisher: Option<&Publisher>,
    desk: &mpsc::Sender<Work>,
    sayings: &mut Sayings,
    act: Act,
) -> Result<(), Box<Act>> {
    let patience = patience(shared, &act);
    let id = act.id.clone();
    let desk = desk.clone();
    let tell = move |ended: Ended| async move {
        let act = id;
        // A desk that has ended leaves the act to the next one.
        let _ = desk.send(Work::Ended { act, ended }).await;
    };
    match &act.deed {
        Deed::Publish { publishes, .. } => {
            let Some(publisher) = publisher else {
                let why = "no broker is configured on the node that has the bridge".to_owned();
                cx.tasks.spawn_until_cancelled(tell(Ended::Failed(why)));
                return Ok(());
            };
            let many = publishes.len() > 1;
            let mut parts = publishes.iter().enumerate().map(|(n, publish)| Publication {
                intent: if many {
                    format!("{}.{n}", act.id)
                } else {
                    act.id.clone()
                },
                topic: publish.topic.clone(),
                payload: Bytes::from(publish.payload.clone()),
                retain: publish.retain,
            });
            if publisher.room() == 0 {
                return Err(Box::new(act));
            }
            // Handed over here and not in the task, so that what was asked for first is sent first.
            let mut handed: Vec<Confirmation> = Vec::new();
            let mut left: Vec<Publication> = Vec::new();
            for part in parts.by_ref() {
                match publisher.offer(part.clone()) {
                    Ok(Some(confirmation)) => handed.push(confirmation),
                    Ok(None) => {
                        left.push(part);
                        break;
                    }
                    Err(error) => {
                        cx.tasks.spawn_until_cancelled(tell(ended(Err(error))));
                        return Ok(());
                    }
                }
            }
            left.extend(parts);
            let publisher = publisher.clone();
            cx.tasks.spawn_until_cancelled(async move {
                let mut came = Ok(());
                for one in handed {
                    came = came.and(one.wait(patience).await);
                }
                for one in left {
                    came = came.and(publisher.publish(one, patience).await);
                }
                tell(ended(came)).await;
            });
        }
        Deed::Say { service, data } => {
            let (service, data, id) = (service.clone(), data.clone(), act.id.clone());
            let replica = cx.replica.clone();
            let (said, next) = oneshot::channel();
            let before = act
                .by
                .as_ref()
                .and_then(|(by, _)| sayings.insert(by.automation.clone(), next));
            cx.tasks.spawn_until_cancelled(async move {
                let _said = said;
                let came = match sessions(&replica, &service, &data) {
                    Ok((sessions, text)) => say_in(&replica, before, &sessions, &id, &text, patience).await,
                    Err(why) => Ended::Failed(why),
                };
                tell(came).await;
            });
        }
        Deed::Remind { session, text } => {
            let (text, id, replica) = (text.clone(), act.id.clone(), cx.replica.clone());
            let session = session.parse();
            cx.tasks.spawn_until_cancelled(async move {
                let came = match session {
                    Ok(session) => say_in(&replica, None, &[session], &id, &text, patience).await,
                    Err(_) => Ended::Failed("it names no chat session".to_owned()),
                };
                tell(came).await;
            });
        }
        Deed::Drill { name } => {
            let begun = match shared.drills.get() {
                Some(drills) if drills.all.iter().any(|(known, _)| known == name) => (drills.start)(name),
                _ => Err(format!(
                    "no drill {name:?} can be started from here; see `jarvis drill list`"
                )),
            };
            let ended = begun.map_or_else(Ended::Failed, |()| Ended::Done);
            cx.tasks.spawn_until_cancelled(tell(ended));
        }
        Deed::Drain { node } => {
            let (node, replica) = (node.clone(), cx.replica.clone());
            let draining = async move { tell(intend(&replica, &node, NodeIntent::Draining).await).await };
            cx.tasks.spawn_until_cancelled(draining);
        }
        Deed::Undrain { node } => {
            let (node, replica) = (node.clone(), cx.replica.clone());
            let ending = async move { tell(intend(&replica, &node, NodeIntent::Active).await).await };
            cx.tasks.spawn_until_cancelled(ending);
        }
    }
    Ok(())
}

/// How long an act may still take.
fn patience(shared: &Shared, act: &Act) -> Duration {
    let age_ms = u64::try_from(shared.now_ms() - act.asked_ms).unwrap_or(0);
    let left = shared
        .settings
        .publish_within
        .saturating_sub(Duration::from_millis(age_ms));
    left.max(LEAST_PATIENCE)
}

fn ended(came: Result<(), PublishError>) -> Ended {
    match came {
        Ok(()) => Ended::Done,
        Err(PublishError::TimedOut { .. }) => Ended::TimedOut,
        Err(PublishError::Released) => Ended::Released,
        Err(error) => Ended::Failed(error.to_string()),
    }
}

type Sessions = (Vec<jarvis_types::SessionId>, String);

fn sessions(
    replica: &Replica,
    service: &str,
    data: &serde_json::Map<String, serde_json::Value>,
) -> Result<Sessions, String> {
    let tables = replica.local().map_err(|error| error.to_string())?;
    say::sessions_for(&tables, service, data)
}

/// Says something in each of these sessions, once, until a majority has it.
async fn say_in(
    replica: &Replica,
    before: Option<oneshot::Receiver<()>>,
    sessions: &[jarvis_types::SessionId],
    id: &str,
    text: &str,
    patience: Duration,
) -> Ended {
    let said = async {
        if let Some(before) = before {
            // It is dropped when that was said or cannot be.
            let _ = before.await;
        }
        for session in sessions {
            loop {
                match say::say(replica, *session, id, text, SAY_DEADLINE).await {
                    Ok(()) => break,
                    Err(say::SayError::Never(why)) => return Ended::Failed(why),
                    Err(say::SayError::NotNow(_)) => tokio::time::sleep(SAY_PAUSE).await,
                }
            }
        }
        Ended::Done
    };
    let ended = tokio::time::timeout(patience, said).await;
    ended.unwrap_or(Ended::TimedOut)
}

/// Has a node hand over what it has.
async fn intend(replica: &Replica, name: &str, intent: NodeIntent) -> Ended {
    let found = replica.local().ok().and_then(|view| {
        let nodes = view.query().nodes().ok()?;
        nodes.into_iter().find(|(_, row)| row.name.as_str() == name)
    });
    let Some((node, _)) = found else {
        return Ended::Failed(format!("there is no node {name:?}"));
    };
    let command = Command::SetIntent { node, intent };
    let options = ProposeOptions {
        fence: None,
        request: None,
        deadline: SAY_DEADLINE,
    };
    match replica.propose(command, options).await {
        Ok(_) => Ended::Done,
        Err(error @ ProposeError::Refused(_)) => Ended::Failed(error.to_string()),
        Err(_) => Ended::TimedOut,
    }
}
