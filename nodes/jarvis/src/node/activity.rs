//! What only an actor's own node knows: whether it runs, how often it crashed, whether it was set aside, what was taken up again
//! when the node gained it.

use std::time::Duration;

use bytes::Bytes;
use jarvis_entity::api::Router;
use jarvis_mesh::api::{Call, Lane, Mesh, Service};
use jarvis_types::{EntityId, NodeId};
use serde_json::{Value, json};

use super::protocol::{open, seal};

/// Asks an owner about one of its actors; the answer is JSON text, for people.
const ACTIVITY: Service = Service(0x0501);
/// The answer is for a person who waits.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Answers other nodes' questions.
pub(super) fn serve(mesh: &Mesh, router: Router) {
    let handler = move |call: Call| match open::<EntityId>(&call.body) {
        Ok(entity) if entity.is_valid() => call.answer.send(Bytes::from(local(&router, &entity).to_string())),
        Ok(_) => call.answer.refuse("the key is too long"),
        Err(error) => call.answer.refuse(error.to_string()),
    };
    mesh.serve(ACTIVITY, std::sync::Arc::new(handler));
}

/// What the owner knows of the actor; null where it did not answer.
pub(super) async fn ask(mesh: &Mesh, router: &Router, owner: NodeId, entity: &EntityId) -> Value {
    if owner == router.node() {
        return local(router, entity);
    }
    let Ok(body) = seal(entity) else {
        return Value::Null;
    };
    match mesh
        .call(owner, Lane::Control, ACTIVITY, 0, Bytes::from(body), TIMEOUT)
        .await
    {
        Ok(answer) => serde_json::from_slice(&answer).unwrap_or(Value::Null),
        Err(_) => Value::Null,
    }
}

fn local(router: &Router, entity: &EntityId) -> Value {
    let (active, crashes) = router.activity(entity);
    let aside = router.quarantined().into_iter().find(|one| one.entity == *entity);
    let aside = aside.map(|one| json!({"restarts": one.restarts, "last_error": one.last_error}));
    let taken_up = router.taken_up(entity).map(|taken| {
        json!({
            "epoch": taken.epoch,
            "ago_ms": taken.ago.as_millis() as u64,
            "resumed": taken.resumed,
            "resumed_this": taken.resumed_this,
        })
    });
    json!({"active": active, "restarts": crashes, "set_aside": aside, "taken_up": taken_up})
}
