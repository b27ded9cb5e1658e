//! Accepting connections: a bounded number in all and from each address, each answered by the router over HTTP/1.1.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::http::extract::PeerAddress;
use crate::listen::{Connection, Listen};
use crate::metrics::{self, Gauged};
use crate::places::{Place, Places};
use crate::shared::Shared;

/// Largest head of a request that is buffered, in bytes.
const MAX_HEAD_BYTES: usize = 32 * 1024;

/// How long accepting rests when the system has no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Counts a connection while something of it lives: the HTTP connection, or the socket it became.
pub(crate) struct ConnectionGuard {
    _permit: OwnedSemaphorePermit,
    _place: Place,
    _counted: Gauged,
}

/// Accepts until `stopping`.
pub(crate) async fn run(
    shared: Arc<Shared>,
    router: Router,
    listener: Box<dyn Listen>,
    stopping: CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(shared.settings.max_connections));
    let places = Places::new(shared.settings.max_connections_per_address);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopping.cancelled() => return,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "a connection was not accepted; raise the limit of open files if this goes on");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
            metrics::connection_refused();
            debug!(%from, "too many connections are open");
            continue;
        };
        let Some(place) = places.take(from.ip()) else {
            metrics::connection_refused();
            debug!(%from, "too many connections of this address are open");
            continue;
        };
        let guard = Arc::new(ConnectionGuard {
            _permit: permit,
            _place: place,
            _counted: Gauged::connection(),
        });
        let serve = serve(
            Arc::clone(&shared),
            router.clone(),
            stream,
            PeerAddress(from.ip()),
            guard,
            stopping.clone(),
        );
        shared.tasks.spawn_until_cancelled(serve);
    }
}

async fn serve(
    shared: Arc<Shared>,
    router: Router,
    stream: Connection,
    from: PeerAddress,
    guard: Arc<ConnectionGuard>,
    stopping: CancellationToken,
) {
    let router = TowerToHyperService::new(router);
    let service = hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(from);
        request.extensions_mut().insert(Arc::clone(&guard));
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(shared.settings.header_read_timeout)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "connection ended");
    }
}
