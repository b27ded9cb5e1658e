//! Has beacons flash for an administrator: the acts by which drills prove that no two nodes act at once.

use std::net::SocketAddr;
use std::time::Duration;

use jarvis_beacon::{Acted, Beacons, Order, TellError};
use jarvis_entity::api::{AskError, Router};
use jarvis_gateway::AdminError;
use jarvis_types::RequestId;
use serde::Deserialize;
use serde_json::{Value, json};

/// How long an owner may take to act: a lease that is waited out, and the order itself.
const ACT_DEADLINE: Duration = Duration::from_secs(5);
/// When trying again makes sense, in milliseconds.
const RETRY_AFTER_MS: u64 = 50;

/// An order as it comes over HTTP.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ordered {
    recorder: SocketAddr,
    n: u64,
    flashes: Option<u16>,
    every_ms: Option<u16>,
}

/// Carries out an order.
pub(super) async fn flash(
    router: &Router,
    key: &str,
    order: Value,
    request: Option<RequestId>,
) -> Result<Value, AdminError> {
    let ordered: Ordered = serde_json::from_value(order)
        .map_err(|error| AdminError::Invalid(format!("not an order to a beacon: {error}")))?;
    let order = Order {
        recorder: ordered.recorder,
        n: ordered.n,
        flashes: ordered.flashes.unwrap_or(1),
        every_ms: ordered.every_ms.unwrap_or(0),
    };
    let beacons = Beacons::new(router.clone());
    match beacons.tell(key, &order, request, ACT_DEADLINE).await {
        Ok(Acted::Done {
            node,
            epoch,
            n,
            flashes,
        }) => Ok(json!({"acted": true, "node": node, "epoch": epoch, "n": n, "flashes": flashes})),
        Ok(Acted::NotActing { node, epoch, n }) => {
            Ok(json!({"acted": false, "node": node, "epoch": epoch, "n": n, "flashes": 0}))
        }
        Err(TellError::Order(why) | TellError::Ask(AskError::Refused(why))) => Err(AdminError::Invalid(why)),
        Err(TellError::Ask(AskError::Unavailable { .. } | AskError::Overloaded(_))) => {
            Err(AdminError::Unavailable {
                retry_after_ms: RETRY_AFTER_MS,
            })
        }
        Err(error @ (TellError::Ask(AskError::Quarantined { .. }) | TellError::Answer(_))) => {
            Err(AdminError::Internal(error.to_string()))
        }
    }
}
