//! Dialling: the node with the lower id keeps the pair connected. The other one knocks where it is not found: `knock.rs`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jarvis_types::NodeId;
use tokio::sync::Notify;

use crate::accept::peer_names;
use crate::close::{CloseCode, tls_refusal};
use crate::link::{GreetError, Link, greet};
use crate::mesh::{HANDSHAKE_TIMEOUT, MeshInner};
use crate::tls::SERVER_NAME;

/// How long a name may take to resolve.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection that lived this long was a good one: the next pause begins anew.
const GOOD_AFTER: Duration = Duration::from_secs(2);

/// Why a peer could not be reached.
#[derive(Debug, thiserror::Error)]
enum DialError {
    #[error("{address} does not resolve: {why}")]
    Resolve { address: String, why: String },
    #[error("{address}: {source}")]
    Connect {
        address: SocketAddr,
        source: quinn::ConnectError,
    },
    #[error("{address}: {source}")]
    Connection {
        address: SocketAddr,
        source: quinn::ConnectionError,
    },
    #[error("{address} shows a certificate that is not good here ({reason}): {source}")]
    NoTrust {
        address: SocketAddr,
        reason: &'static str,
        source: quinn::ConnectionError,
    },
    #[error("{address} refuses this node: {code}")]
    Refused { address: SocketAddr, code: CloseCode },
    #[error("{address} is not the node looked for: {code}")]
    NotIt { address: SocketAddr, code: CloseCode },
    #[error("{address}: no answer in time")]
    Timeout { address: SocketAddr },
    #[error("{address}: {source}")]
    Greet { address: SocketAddr, source: GreetError },
}

impl DialError {
    /// Whether trying again helps only once somebody has done something.
    fn needs_someone(&self) -> bool {
        matches!(
            self,
            Self::Refused { .. } | Self::NotIt { .. } | Self::NoTrust { .. }
        )
    }
}

/// Dials `node` whenever a connection is wanted, for ever.
pub(crate) async fn keep_connected(mesh: &Arc<MeshInner>, node: NodeId, wanted: &Notify) {
    let timers = mesh.timers;
    let mut pause = timers.redial_min;
    let mut last_error = String::new();
    let mut last_link: Option<Arc<Link>> = None;
    loop {
        let Some(addresses) = mesh.addresses_to_dial(node) else {
            wanted.notified().await;
            continue;
        };
        if let Some(link) = last_link.take() {
            if link.since.elapsed() < GOOD_AFTER && link.connection.close_reason().is_some() {
                sleep(mesh, &mut pause).await;
            } else {
                pause = timers.redial_min;
            }
        }
        match dial_any(mesh, node, &addresses).await {
            Ok(link) => {
                last_error.clear();
                last_link = Some(link);
            }
            Err(error) => {
                let text = error.to_string();
                // Said once for each reason: an absent peer is dialled twice a second.
                if text == last_error {
                    tracing::debug!(peer = %node, error = %text, "still cannot connect");
                } else if error.needs_someone() {
                    tracing::warn!(peer = %node, error = %text, "cannot connect; trying again");
                } else {
                    tracing::info!(peer = %node, error = %text, "cannot connect; trying again");
                }
                last_error = text;
                sleep(mesh, &mut pause).await;
            }
        }
    }
}

/// Dials one address after the other.
async fn dial_any(mesh: &Arc<MeshInner>, node: NodeId, addresses: &[String]) -> Result<Arc<Link>, DialError> {
    let mut last = DialError::Resolve {
        address: String::new(),
        why: "no address".to_owned(),
    };
    for address in addresses {
        match dial(mesh, node, address).await {
            Ok(link) => return Ok(link),
            Err(error) => last = error,
        }
        mesh.forget_heard(node, address);
    }
    Err(last)
}

/// Between half and all of the pause, which then doubles.
pub(crate) async fn sleep(mesh: &MeshInner, pause: &mut Duration) {
    let half = *pause / 2;
    let jitter_us = mesh.entropy.next_u64() % (half.as_micros() as u64).max(1);
    tokio::time::sleep(half + Duration::from_micros(jitter_us)).await;
    *pause = (*pause * 2).min(mesh.timers.redial_max);
}

/// The addresses behind a name.
pub(crate) async fn resolve(address: &str) -> Result<Vec<SocketAddr>, String> {
    match tokio::time::timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host(address)).await {
        Ok(Ok(found)) => Ok(found.collect()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no answer in time".to_owned()),
    }
}

async fn dial(mesh: &Arc<MeshInner>, node: NodeId, address: &str) -> Result<Arc<Link>, DialError> {
    let unresolved = |why: String| DialError::Resolve {
        address: address.to_owned(),
        why,
    };
    let resolved = resolve(address).await.map_err(&unresolved)?;
    let mut last = unresolved("no address".to_owned());
    for address in resolved {
        match tokio::time::timeout(HANDSHAKE_TIMEOUT, dial_one(mesh, node, address)).await {
            Ok(Ok(link)) => return Ok(link),
            Ok(Err(error)) => last = error,
            Err(_) => last = DialError::Timeout { address },
        }
    }
    Err(last)
}

async fn dial_one(mesh: &Arc<MeshInner>, node: NodeId, address: SocketAddr) -> Result<Arc<Link>, DialError> {
    let own_not_after_ms = mesh.own_not_after_ms();
    let connecting = mesh
        .endpoint
        .connect_with(mesh.client.clone(), address, SERVER_NAME)
        .map_err(|source| DialError::Connect { address, source })?;
    let connection = connecting.await.map_err(|source| match tls_refusal(&source) {
        Some(reason) => {
            crate::metrics::refused(reason);
            DialError::NoTrust {
                address,
                reason,
                source,
            }
        }
        None => DialError::Connection { address, source },
    })?;
    let not_it = |code: CloseCode| {
        crate::metrics::refused(code.label());
        code.close(&connection);
        DialError::NotIt { address, code }
    };
    let names = peer_names(&connection).map_err(not_it)?;
    if names.node != node {
        return Err(not_it(CloseCode::WrongNode));
    }
    mesh.admit(&names, address).map_err(not_it)?;
    // TLS lets a client believe that it is connected before the server has looked at its certificate: only the server's
    // greeting says that it is let in.
    let continues = mesh.has_live_link(node);
    let greeting = greet(&connection, mesh.life, Some(continues))
        .await
        .map_err(|source| match &source {
            GreetError::Connection(error) => match CloseCode::of(error) {
                Some(code) => {
                    mesh.refused_by(node, code);
                    DialError::Refused { address, code }
                }
                None => DialError::Greet { address, source },
            },
            _ => DialError::Greet { address, source },
        })?;
    let token = mesh.tasks.token().child_token();
    let link = Link::new(connection.clone(), names, &greeting, own_not_after_ms, token);
    mesh.install(link, greeting.control).map_err(not_it)
}
