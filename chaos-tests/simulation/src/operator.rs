//! The person who looks after the cluster: invites, drains, removes, over HTTP like everybody.

use std::sync::Arc;
use std::time::Duration;

use jarvis_node::token::JoinToken;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::chat::http;
use crate::rng::Rng;
use crate::world::World;

/// How long a request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(4);
/// How long an order is tried.
const PATIENCE: Duration = Duration::from_secs(15);
/// Between two tries, and two looks for an order.
const PAUSE: Duration = Duration::from_millis(250);

/// Something to be done, with the numbers of machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Invite a machine.
    Add(usize),
    /// Move everything away from its node.
    Drain(usize),
    /// Let it serve again.
    Undrain(usize),
    /// Out of the cluster for good.
    Remove(usize),
}

/// Does what is ordered, for ever.
pub async fn work(world: Arc<World>) {
    let rng = Rng::new(world.seed, "operator");
    loop {
        let Some(order) = world.next_order() else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let give_up = Instant::now() + PATIENCE;
        loop {
            let mut machine = rng.pick(&world.machines);
            while order == Order::Remove(machine.index) {
                // Who is to go may know least of all that it is there.
                machine = rng.pick(&world.machines);
            }
            let outcome = carry_out(&world, machine.ip, order).await;
            world.trace.event(format_args!(
                "operator: {order:?} at {}: {outcome:?}",
                machine.name
            ));
            match outcome {
                Ok(true) => break,
                _ if Instant::now() >= give_up => break,
                _ => tokio::time::sleep(PAUSE).await,
            }
        }
    }
}

/// True when nothing more needs to be tried.
async fn carry_out(world: &World, at: std::net::IpAddr, order: Order) -> Result<bool, String> {
    let name = |machine: usize| world.machines[machine].name.as_str();
    let (method, path, body) = match order {
        Order::Add(machine) => {
            let role = if world.witness == Some(machine) {
                "witness"
            } else {
                "voter"
            };
            let body = json!({"role": role, "ttl_s": 600});
            ("POST", "/api/v1/invites".to_owned(), Some(body))
        }
        Order::Drain(machine) => (
            "POST",
            format!("/api/v1/nodes/{}/drain?timeout_s=3", name(machine)),
            None,
        ),
        Order::Undrain(machine) => ("POST", format!("/api/v1/nodes/{}/undrain", name(machine)), None),
        Order::Remove(machine) => (
            "DELETE",
            format!("/api/v1/nodes/{}?force=true", name(machine)),
            None,
        ),
    };
    let asked = http(at, method, &path, body.as_ref(), REQUEST_TIMEOUT).await;
    let (status, answer): (u16, Value) = asked.map_err(|error| format!("{error:#}"))?;
    if let (Order::Add(machine), 201) = (order, status) {
        let text = answer["token"].as_str().unwrap_or_default();
        let token = JoinToken::from_text(text).map_err(|error| error.to_string())?;
        world.machines[machine].invite(token);
        return Ok(true);
    }
    match status {
        200..300 => Ok(true),
        503 => Ok(false),
        // The first node has not brought the cluster into being yet.
        _ if matches!(order, Order::Add(_)) => Ok(false),
        // What cannot be done as things stand is no fault: the last node that could take the work over, for instance.
        400..500 => {
            world.trace.event(format_args!("operator: {status} {answer}"));
            Ok(true)
        }
        _ => Err(format!("{status} {answer}")),
    }
}
