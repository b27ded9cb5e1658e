//! Connections that others make: handshakes, and who is let in.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use quinn::crypto::rustls::HandshakeData;
use rustls_pki_types::CertificateDer;

use crate::close::{CloseCode, tls_refusal};
use crate::identity::CertificateNames;
use crate::link::{Link, greet};
use crate::mesh::{HANDSHAKE_TIMEOUT, MAX_HANDSHAKES, MeshInner};
use crate::tls::{ALPN_JOIN, ALPN_MESH, ALPN_RENEW};
use crate::{join, late, metrics};

/// From so many handshakes under way on, a newcomer must first show that it can be reached at its address.
const UNCHECKED_HANDSHAKES: usize = 16;

impl MeshInner {
    pub(crate) async fn accept(self: Arc<Self>) {
        while let Some(incoming) = self.endpoint.accept().await {
            let busy = self.handshakes.load(Ordering::Relaxed);
            if busy >= MAX_HANDSHAKES {
                metrics::refused("handshakes_busy");
                incoming.refuse();
                continue;
            }
            if busy >= UNCHECKED_HANDSHAKES && incoming.may_retry() {
                // Whoever forges the address it comes from never answers this.
                let _sent = incoming.retry();
                continue;
            }
            self.handshakes.fetch_add(1, Ordering::Relaxed);
            let inner = Arc::clone(&self);
            self.tasks.spawn_until_cancelled(async move {
                let from = incoming.remote_address();
                let accepted = inner.handshake(incoming).await;
                inner.handshakes.fetch_sub(1, Ordering::Relaxed);
                match accepted {
                    Some(Accepted::Joiner(connection)) => join::answer(&inner, from, connection).await,
                    Some(Accepted::Late(connection)) => late::answer(&inner, from, connection).await,
                    Some(Accepted::Peer) | None => {}
                }
            });
        }
    }

    async fn handshake(self: &Arc<Self>, incoming: quinn::Incoming) -> Option<Accepted> {
        let from = incoming.remote_address();
        let deadline = tokio::time::Instant::now() + HANDSHAKE_TIMEOUT;
        let connecting = incoming.accept().ok()?;
        let connection = match tokio::time::timeout_at(deadline, connecting).await.ok()? {
            Ok(connection) => connection,
            Err(error) => {
                if let Some(reason) = tls_refusal(&error) {
                    metrics::refused(reason);
                    tracing::warn!(%from, reason, %error, "refused a connection: its certificate is not good here");
                }
                return None;
            }
        };
        let protocol = connection
            .handshake_data()
            .and_then(|data| data.downcast::<HandshakeData>().ok())
            .and_then(|data| data.protocol);
        match protocol.as_deref() {
            Some(ALPN_JOIN) => Some(Accepted::Joiner(connection)),
            Some(ALPN_RENEW) => Some(Accepted::Late(connection)),
            Some(ALPN_MESH) => {
                let accepted = tokio::time::timeout_at(deadline, self.accept_peer(&connection))
                    .await
                    .unwrap_or(Ok(()));
                if let Err(code) = accepted {
                    refuse(&connection, from, code);
                }
                Some(Accepted::Peer)
            }
            _ => None,
        }
    }

    async fn accept_peer(self: &Arc<Self>, connection: &quinn::Connection) -> Result<(), CloseCode> {
        let own_not_after_ms = self.own_not_after_ms();
        let names = peer_names(connection)?;
        if names.node > self.node {
            self.take_knock(&names, connection);
            return Ok(());
        }
        if names.node == self.node {
            return Err(CloseCode::WrongSide);
        }
        self.admit(&names, connection.remote_address())?;
        let greeting = match greet(connection, self.life, None).await {
            Ok(greeting) => greeting,
            Err(error) => {
                tracing::debug!(peer = %names.node, %error, "a connection ended before it was in use");
                return Ok(());
            }
        };
        let token = self.tasks.token().child_token();
        let link = Link::new(connection.clone(), names, &greeting, own_not_after_ms, token);
        self.install(link, greeting.control).map(drop)
    }

    /// It is this node that dials: it learns where.
    fn take_knock(self: &Arc<Self>, names: &CertificateNames, connection: &quinn::Connection) {
        let address = connection.remote_address();
        let code = match self.admit(names, address) {
            Ok(()) => {
                self.heard_from(names.node, address);
                CloseCode::Heard
            }
            // Not worth a warning here: it knocks every other second, and says on its own side why it is refused.
            Err(code) => {
                metrics::refused(code.label());
                tracing::debug!(peer = %names.node, reason = %code, "refused a peer that knocked");
                code
            }
        };
        code.close(connection);
    }
}

enum Accepted {
    Joiner(quinn::Connection),
    Late(quinn::Connection),
    Peer,
}

/// Closes a connection for a reason that somebody should know of.
pub(crate) fn refuse(connection: &quinn::Connection, from: SocketAddr, code: CloseCode) {
    metrics::refused(code.label());
    tracing::warn!(%from, reason = %code, "refused a peer");
    code.close(connection);
}

/// Whom the other side's certificate names. TLS has checked by then that our CA signed it.
pub(crate) fn peer_names(connection: &quinn::Connection) -> Result<CertificateNames, CloseCode> {
    let chain = connection
        .peer_identity()
        .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok())
        .ok_or(CloseCode::NoCertificate)?;
    let leaf = chain.first().ok_or(CloseCode::NoCertificate)?;
    CertificateNames::parse(leaf).map_err(|_| CloseCode::BadCertificate)
}
