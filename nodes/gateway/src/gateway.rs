//! The running gateway: start, drain, stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jarvis_host::StopReport;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::api::{GatewayDeps, GatewaySettings};
use crate::backend::BackendError;
use crate::listen::Listen;
use crate::shared::Shared;
use crate::ws::registry::{CLOSE, DRAIN};
use crate::{accept, http, metrics, watch};

/// How long sockets have to close after they were told to.
const CLOSE_GRACE: Duration = Duration::from_secs(3);

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The local tables could not be read.
    #[error("the gateway cannot read the cluster's members")]
    State(#[source] BackendError),
    /// The listener has no address.
    #[error("the listener is of no use")]
    Listener(#[source] std::io::Error),
}

/// HTTP and chat sockets of one node. Dropping it ends them all at once.
pub struct Gateway {
    shared: Arc<Shared>,
    address: SocketAddr,
    stopping: CancellationToken,
}

impl Gateway {
    /// Serves on `listener` from now on.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(
        settings: GatewaySettings,
        deps: GatewayDeps,
        listener: impl Into<Box<dyn Listen>>,
    ) -> Result<Self, StartError> {
        metrics::describe();
        let listener = listener.into();
        let address = listener.local_addr().map_err(StartError::Listener)?;
        let changes = deps.backend.changes();
        let shared = Shared::new(settings, deps).map_err(StartError::State)?;
        let stopping = shared.tasks.token().child_token();
        let tasks = shared.tasks.clone();
        tasks.spawn_until_cancelled(watch::run(Arc::clone(&shared), changes));
        let router = http::router(Arc::clone(&shared));
        tasks.spawn_until_cancelled(accept::run(
            Arc::clone(&shared),
            router,
            listener,
            stopping.clone(),
        ));
        info!(%address, "gateway serves");
        Ok(Self {
            shared,
            address,
            stopping,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many chat sockets are open.
    pub fn open_sockets(&self) -> usize {
        self.shared.sockets.len()
    }

    /// Why this node should get no requests, as `/readyz` says; empty when it should.
    pub fn not_ready(&self) -> Vec<&'static str> {
        self.shared.not_ready()
    }

    /// Tells every socket where else to go, gives them the grace time, then closes what is left. New sockets are refused
    /// from the first moment, plain requests are answered on.
    pub async fn drain(&self) {
        info!(sockets = self.open_sockets(), "gateway drains");
        self.shared.sockets.tell_all_from_now_on(DRAIN);
        let empty = self.shared.sockets.empty();
        if tokio::time::timeout(self.shared.settings.drain_grace, empty)
            .await
            .is_err()
        {
            self.shared.sockets.tell_all(CLOSE);
            let _ = tokio::time::timeout(CLOSE_GRACE, self.shared.sockets.empty()).await;
        }
    }

    /// Takes sockets again after [`Gateway::drain`].
    pub fn resume(&self) {
        self.shared.sockets.stay();
    }

    /// Accepts nothing more, closes the sockets, lets requests under way end, and waits for all that until `deadline`.
    pub async fn stop(self, deadline: Duration) -> StopReport {
        self.stopping.cancel();
        self.shared.sockets.tell_all_from_now_on(CLOSE);
        let _ = tokio::time::timeout(deadline.min(CLOSE_GRACE), self.shared.sockets.empty()).await;
        self.shared.tasks.stop(deadline).await
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.shared.tasks.cancel();
    }
}
