//! Faults that drills put into this node, or into another through this one.
//!
//! ```text
//!  gateway ── order (JSON) ──► NodeFaults ─┬─ for this node: Faults
//!                                          └─ for another: mesh, control lane ──► its NodeFaults
//! ```
//!
//! A node that is cut off from this one cannot be told to mend; its faults have an end of their own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jarvis_gateway::AdminError;
use jarvis_host::faults::{MAX_CLOCK_OFFSET_MS, MAX_DELAY, MAX_FAULT_DURATION, MAX_SYNC_DELAY};
use jarvis_host::{Fault, FaultId, Faults, FaultyPeers, NetworkFault, Tasks};
use jarvis_mesh::api::{Call, CallError, Lane, Mesh, Service};
use jarvis_replica::api::Replica;
use jarvis_types::NodeId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;

/// Another node is to put a fault in, or end it; order and answer are JSON text.
const FAULTS: Service = Service(0x0502);
/// The other node answers at once or is not there.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How long a name may take to resolve.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);
/// When trying again makes sense after the other node did not answer, in milliseconds.
const RETRY_AFTER_MS: u64 = 500;

/// A fault to be put in, as it is asked for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Order {
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    lasts_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    peers: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    drop: Option<Direction>,
    #[serde(skip_serializing_if = "Option::is_none")]
    loss_percent: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jitter_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_order: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sync_delay_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset_ms: Option<i64>,
}

/// Which datagrams are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Direction {
    In,
    Out,
    Both,
}

/// What is asked of another node.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Ask {
    Set(Box<Order>),
    Clear(Option<u64>),
    List,
}

/// What is allowed, for whoever asked for something else.
fn allowed() -> String {
    format!(
        "allowed are {{\"kind\": \"network\", \"peers\": [NAME…] (else all), \"drop\": \"in\" | \"out\" | \"both\", \"loss_percent\": \
         0 to 100, \"delay_ms\" and \"jitter_ms\": up to {}, \"keep_order\": true | false}}, {{\"kind\": \"http_cut\"}}, {{\"kind\": \
         \"slow_disk\", \"sync_delay_ms\": 1 to {}}}, {{\"kind\": \"full_disk\"}}, {{\"kind\": \"clock\", \"offset_ms\": up to {} either \
         way}}, each with \"lasts_ms\": 1 to {} and, unless it is meant for the node that is asked, \"node\": NAME",
        MAX_DELAY.as_millis(),
        MAX_SYNC_DELAY.as_millis(),
        MAX_CLOCK_OFFSET_MS,
        MAX_FAULT_DURATION.as_millis()
    )
}

impl Order {
    fn read(order: Value) -> Result<Self, String> {
        let order: Self = serde_json::from_value(order).map_err(|error| format!("{error}; {}", allowed()))?;
        let stray = order.stray();
        if !stray.is_empty() {
            return Err(format!(
                "{} does not belong to kind {:?}; {}",
                stray.join(", "),
                shown(&order.kind),
                allowed()
            ));
        }
        Ok(order)
    }

    /// Fields that say nothing to this kind.
    fn stray(&self) -> Vec<&'static str> {
        let fields = [
            ("peers", self.peers.is_some(), "network"),
            ("drop", self.drop.is_some(), "network"),
            ("loss_percent", self.loss_percent.is_some(), "network"),
            ("delay_ms", self.delay_ms.is_some(), "network"),
            ("jitter_ms", self.jitter_ms.is_some(), "network"),
            ("keep_order", self.keep_order.is_some(), "network"),
            ("sync_delay_ms", self.sync_delay_ms.is_some(), "slow_disk"),
            ("offset_ms", self.offset_ms.is_some(), "clock"),
        ];
        let stray = fields
            .iter()
            .filter(|(_, given, kind)| *given && *kind != self.kind);
        stray.map(|(name, ..)| *name).collect()
    }

    /// The fault, for a node that finds its peers at `peers`.
    fn fault(&self, peers: FaultyPeers) -> Result<Fault, String> {
        let ms = |ms: Option<u64>| Duration::from_millis(ms.unwrap_or_default());
        match self.kind.as_str() {
            "network" => Ok(Fault::Network(NetworkFault {
                peers,
                drop_in: matches!(self.drop, Some(Direction::In | Direction::Both)),
                drop_out: matches!(self.drop, Some(Direction::Out | Direction::Both)),
                loss_percent: self.loss_percent.unwrap_or_default(),
                delay: ms(self.delay_ms),
                jitter: ms(self.jitter_ms),
                reorders: self.keep_order == Some(false),
            })),
            "http_cut" => Ok(Fault::HttpCut),
            "slow_disk" => Ok(Fault::SlowDisk {
                sync_delay: ms(self.sync_delay_ms),
            }),
            "full_disk" => Ok(Fault::FullDisk),
            "clock" => Ok(Fault::ClockOffset {
                offset_ms: self.offset_ms.unwrap_or_default(),
            }),
            other => Err(format!("kind {:?} is none; {}", shown(other), allowed())),
        }
    }
}

fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}

/// Puts faults in. Clones are the same.
#[derive(Clone)]
pub(super) struct NodeFaults {
    faults: Faults,
    replica: Replica,
    mesh: Mesh,
}

impl NodeFaults {
    pub(super) fn new(faults: Faults, replica: Replica, mesh: Mesh) -> Self {
        Self {
            faults,
            replica,
            mesh,
        }
    }

    /// Notes ends, and answers other nodes.
    pub(super) fn serve(&self, tasks: &Tasks) {
        tasks.spawn_until_cancelled(self.faults.clone().note_ends());
        let (own, tasks) = (self.clone(), tasks.clone());
        let handler = move |call: Call| {
            let own = own.clone();
            tasks.spawn_until_cancelled(async move {
                let done = match serde_json::from_slice::<Ask>(&call.body) {
                    Ok(ask) => own.here(ask).await,
                    Err(error) => Err(error.to_string()),
                };
                match done {
                    Ok(answer) => call.answer.send(Bytes::from(answer.to_string())),
                    Err(why) => call.answer.refuse(why),
                }
            });
        };
        self.mesh.serve(FAULTS, Arc::new(handler));
    }

    /// This node's faults, in words.
    pub(super) fn active(&self) -> Vec<String> {
        let active = self.faults.active().into_iter();
        active.map(|active| active.fault.to_string()).collect()
    }

    pub(super) async fn set(&self, order: Value) -> Result<Value, AdminError> {
        let order = Order::read(order).map_err(AdminError::Invalid)?;
        order.fault(FaultyPeers::All).map_err(AdminError::Invalid)?;
        let (node, _) = self.find(order.node.as_deref())?;
        if node == self.mesh.node() && order.kind == "http_cut" {
            let why = "this node's answer would be cut off too: ask another node, and give \"node\"";
            return Err(AdminError::Conflict(why.to_owned()));
        }
        self.ask(node, Ask::Set(Box::new(order))).await
    }

    pub(super) async fn clear(&self, node: Option<&str>, id: Option<u64>) -> Result<Value, AdminError> {
        let (node, _) = self.find(node)?;
        self.ask(node, Ask::Clear(id)).await
    }

    pub(super) async fn list(&self, node: Option<&str>) -> Result<Value, AdminError> {
        let (node, _) = self.find(node)?;
        self.ask(node, Ask::List).await
    }

    /// A member by its name, or by its id, with its address; none: this node.
    fn find(&self, name: Option<&str>) -> Result<(NodeId, String), AdminError> {
        let nodes = self
            .replica
            .local()
            .map_err(|error| AdminError::Internal(error.to_string()))?
            .query()
            .nodes()
            .map_err(|error| AdminError::Internal(error.to_string()))?;
        let own = self.mesh.node();
        let found = nodes.iter().find(|(id, row)| match name {
            None => *id == own,
            Some(name) => row.name.as_str() == name || id.to_string() == name,
        });
        match (found, name) {
            (Some((id, row)), _) => Ok((*id, row.mesh_address.clone())),
            (None, None) => Ok((own, String::new())),
            (None, Some(name)) => {
                let names: Vec<_> = nodes.iter().map(|(_, row)| row.name.to_string()).collect();
                let (name, names) = (shown(name), names.join(", "));
                Err(AdminError::NotFound(format!(
                    "node {name:?} (the members are {names})"
                )))
            }
        }
    }

    async fn ask(&self, node: NodeId, ask: Ask) -> Result<Value, AdminError> {
        if node == self.mesh.node() {
            return self.here(ask).await.map_err(AdminError::Invalid);
        }
        let body = serde_json::to_vec(&ask).map_err(|error| AdminError::Internal(error.to_string()))?;
        let asked = self
            .mesh
            .call(node, Lane::Control, FAULTS, 0, Bytes::from(body), TIMEOUT);
        match asked.await {
            Ok(answer) => {
                serde_json::from_slice(&answer).map_err(|error| AdminError::Internal(error.to_string()))
            }
            Err(CallError::Refused { message, .. }) => Err(AdminError::Invalid(message)),
            Err(error) => {
                tracing::info!(%node, %error, "a drill's order did not reach the node");
                Err(AdminError::Unavailable {
                    retry_after_ms: RETRY_AFTER_MS,
                })
            }
        }
    }

    /// Does it on this node.
    async fn here(&self, ask: Ask) -> Result<Value, String> {
        match ask {
            Ask::Set(order) => {
                let peers = self.addresses(order.peers.as_deref()).await?;
                let fault = order.fault(peers)?;
                let (text, lasts) = (fault.to_string(), Duration::from_millis(order.lasts_ms));
                let id = self.faults.set(fault, lasts).map_err(|error| error.to_string())?;
                Ok(json!({"id": id.0, "node": self.name(), "fault": text, "ends_in_ms": order.lasts_ms}))
            }
            Ask::Clear(None) => Ok(json!({"cleared": self.faults.clear_all(), "node": self.name()})),
            Ask::Clear(Some(id)) => {
                let cleared = usize::from(self.faults.clear(FaultId(id)));
                Ok(json!({"cleared": cleared, "node": self.name()}))
            }
            Ask::List => {
                let now = Instant::now();
                let active = self.faults.active().into_iter().map(|active| {
                    let left = active.until.saturating_duration_since(now);
                    json!({"id": active.id.0, "kind": active.fault.kind(), "fault": active.fault.to_string(),
                        "ends_in_ms": left.as_millis() as u64})
                });
                Ok(json!({"node": self.name(), "faults": active.collect::<Vec<_>>()}))
            }
        }
    }

    fn name(&self) -> String {
        let own = self.mesh.node();
        let view = self.replica.local().ok();
        let row = view.and_then(|view| view.query().node(own).ok().flatten());
        row.map_or_else(|| format!("node-{own}"), |row| row.name.to_string())
    }

    /// Where datagrams of these peers come from and go to.
    async fn addresses(&self, peers: Option<&[String]>) -> Result<FaultyPeers, String> {
        let Some(names) = peers else {
            return Ok(FaultyPeers::All);
        };
        let mut found = BTreeMap::new();
        for name in names {
            let (node, address) = self
                .find(Some(name))
                .map_err(|error| format!("{error}; {}", allowed()))?;
            if node == self.mesh.node() {
                return Err(format!("{name} has no link to itself; {}", allowed()));
            }
            found.insert(node, (name, address));
        }
        if found.is_empty() {
            return Err(format!("\"peers\" names nobody; {}", allowed()));
        }
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for (name, address) in found.into_values() {
            let resolving = tokio::time::timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host(&address));
            match resolving.await {
                Ok(Ok(found)) => addresses.extend(found),
                Ok(Err(error)) => return Err(format!("{address} of {name} does not resolve: {error}")),
                Err(_) => return Err(format!("{address} of {name} does not resolve in time")),
            }
        }
        Ok(FaultyPeers::At(addresses))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(order: Value) -> Result<Fault, String> {
        Order::read(order)?.fault(FaultyPeers::All)
    }

    #[test]
    fn orders_read_as_they_are_documented() {
        let cut = json!({"kind": "network", "peers": ["b"], "drop": "both", "lasts_ms": 5});
        let expected = NetworkFault {
            drop_in: true,
            drop_out: true,
            ..NetworkFault::default()
        };
        assert_eq!(read(cut), Ok(Fault::Network(expected)));
        let slow = json!({"kind": "network", "loss_percent": 5, "delay_ms": 50, "jitter_ms": 20, "keep_order": false});
        let expected = NetworkFault {
            loss_percent: 5,
            delay: Duration::from_millis(50),
            jitter: Duration::from_millis(20),
            reorders: true,
            ..NetworkFault::default()
        };
        assert_eq!(read(slow), Ok(Fault::Network(expected)));
        assert_eq!(
            read(json!({"kind": "clock", "offset_ms": -5})),
            Ok(Fault::ClockOffset { offset_ms: -5 })
        );
        assert_eq!(read(json!({"kind": "full_disk"})), Ok(Fault::FullDisk));
        assert_eq!(read(json!({"kind": "http_cut"})), Ok(Fault::HttpCut));
    }

    #[test]
    fn what_is_refused_says_what_is_allowed() {
        for order in [
            json!({}),
            json!({"kind": "flood"}),
            json!({"kind": "network", "drop": "sideways"}),
            json!({"kind": "network", "loss_percent": 256}),
            json!({"kind": "full_disk", "delay_ms": 3}),
            json!({"kind": "full_disk", "colour": "red"}),
            json!([1]),
        ] {
            let why = read(order.clone()).expect_err("refused");
            assert!(
                why.contains("allowed are") && why.contains("full_disk"),
                "{order}: {why}"
            );
        }
    }
}
