//! Knocking: how a node is found that is not where it is listed.
//!
//! Of two nodes the one with the lower id dials, so that there is one connection and no race. It knows the other's address
//! from the replicated list; a node that comes back at another address can tell the list only once it is connected. So the
//! one with the higher id, when it has been alone for a while, knocks: it connects, shows its certificate and is closed
//! upon. The one with the lower id has seen by then from where, and dials there.
//!
//! ```text
//!  higher id                                   lower id
//!      │ alone for KNOCK_AFTER                    │
//!      ├── handshake, both certificates ─────────►│ a member: remembers the address
//!      │◄───────────────────────── closes: heard ─┤
//!      │◄─────────── dials there, as ever ────────┤
//! ```

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jarvis_types::NodeId;
use tokio::sync::Notify;

use crate::accept::peer_names;
use crate::close::CloseCode;
use crate::dial::{resolve, sleep};
use crate::mesh::{HANDSHAKE_TIMEOUT, MeshInner};
use crate::tls::SERVER_NAME;

/// How long a node is without a connection to a peer before it knocks there: a peer that is where it is listed is dialled
/// sooner.
pub(crate) const KNOCK_AFTER: Duration = Duration::from_secs(1);

/// Longest pause between two knocks.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Knocks at `node` whenever this node has been without a connection to it for a while, for ever.
pub(crate) async fn while_alone(mesh: &Arc<MeshInner>, node: NodeId, changed: &Notify) {
    let mut last_refusal = None;
    loop {
        let Some((address, since)) = mesh.alone_since(node) else {
            last_refusal = None;
            changed.notified().await;
            continue;
        };
        if since.elapsed() < KNOCK_AFTER {
            tokio::time::sleep_until(since + KNOCK_AFTER).await;
            continue;
        }
        match resolve(&address).await {
            Ok(found) => {
                for address in found {
                    let knocking = tokio::time::timeout(HANDSHAKE_TIMEOUT, knock(mesh, node, address));
                    let refusal = knocking.await.ok().flatten();
                    if let Some(code) = refusal {
                        mesh.refused_by(node, code);
                    }
                    if let Some(code) = refusal.filter(|code| code.is_refusal() && refusal != last_refusal) {
                        tracing::warn!(peer = %node, %address, reason = %code, "the peer refuses this node");
                    }
                    last_refusal = refusal.or(last_refusal);
                }
            }
            Err(error) => {
                tracing::debug!(peer = %node, %address, %error, "cannot knock: the address does not resolve")
            }
        }
        sleep(mesh, &mut LONGEST_PAUSE.clone()).await;
    }
}

/// Shows itself at `address`. Says with which code the other side closed, if it was there.
async fn knock(mesh: &MeshInner, node: NodeId, address: SocketAddr) -> Option<CloseCode> {
    let connecting = mesh
        .endpoint
        .connect_with(mesh.client.clone(), address, SERVER_NAME)
        .ok()?;
    let connection = connecting.await.ok()?;
    match peer_names(&connection) {
        Ok(names) if names.node == node => {}
        _ => {
            CloseCode::WrongNode.close(&connection);
            return None;
        }
    }
    let closed = connection.closed().await;
    tracing::debug!(peer = %node, %address, %closed, "knocked");
    CloseCode::of(&closed)
}
