//! Joining: how someone without a certificate asks the cluster to become a node, and how the cluster hears it.
//!
//! The joiner knows the hash of the cluster's CA certificate from its invitation and sends nothing before the node it
//! reached has proved, by a certificate of that CA, that it belongs to the cluster.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use jarvis_host::{Clock, Entropy, SystemClock, SystemEntropy};
use jarvis_types::ClusterId;

use crate::accept::refuse;
use crate::close::CloseCode;
use crate::mesh::MeshInner;
use crate::tls::{self, ALPN_JOIN, JoinDoubt, JoinVerifier, SERVER_NAME};
use crate::transport::{MeshTimers, bind_udp, endpoint_config, transport_config};

/// Most bytes of a request to join.
pub const MAX_JOIN_REQUEST_BYTES: usize = 64 * 1024;

/// Most bytes of its answer: certificates and the members' addresses.
pub const MAX_JOIN_ANSWER_BYTES: usize = 256 * 1024;

/// Joins a node answers at a time: each may wait for a commit.
pub(crate) const MAX_JOINS: usize = 16;

/// How long a joiner may keep one of those places.
const JOIN_DEADLINE: Duration = Duration::from_secs(30);

/// How long its request may take to arrive.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

/// How much later than the one before each address is tried, so that the first good one usually wins alone.
const STAGGER: Duration = Duration::from_millis(250);

/// Most addresses that are tried.
const MAX_ADDRESSES: usize = 16;

/// Why a request to join was not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinTransportError {
    /// No address led to an answer.
    #[error("no node of the cluster could be reached: {}", list(tried))]
    Unreachable {
        /// Each address and what became of it.
        tried: Vec<(String, String)>,
    },
    /// Who answered does not belong to the cluster of the invitation.
    #[error("{address} belongs to another cluster than the one of the invitation")]
    WrongCluster {
        /// Where the answer came from.
        address: String,
    },
    /// By this machine's clock the cluster's certificates are not valid at this time.
    #[error(
        "this machine's clock is {} the cluster's by at least {}: set it right, then join again",
        if *behind { "behind" } else { "ahead of" },
        human(*at_least)
    )]
    ClocksDiffer {
        /// Whether this machine's clock is behind the cluster's.
        behind: bool,
        /// By how much, at least.
        at_least: Duration,
    },
    /// The node answers too many others.
    #[error("{address} answers too many joins at a time: try again")]
    Busy {
        /// The node.
        address: String,
    },
    /// The request was sent, but no answer came: whether it was granted is unknown.
    #[error("{address} took the request but did not answer: {why}")]
    NoAnswer {
        /// The node.
        address: String,
        /// What happened.
        why: String,
    },
    /// The request is too large.
    #[error("a request of {len} bytes exceeds the limit of {MAX_JOIN_REQUEST_BYTES}")]
    TooLarge {
        /// Its size.
        len: usize,
    },
    /// This machine could not even try.
    #[error("cannot open a port to join from: {0}")]
    Local(String),
}

fn list(tried: &[(String, String)]) -> String {
    tried
        .iter()
        .map(|(address, why)| format!("{address} ({why})"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// A duration for people, in one unit.
pub(crate) fn human(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// What a joiner is handed.
pub struct JoinDeps {
    /// Where datagrams go.
    pub socket: Arc<dyn quinn::AsyncUdpSocket>,
    /// Timers and tasks of QUIC.
    pub runtime: Arc<dyn quinn::Runtime>,
    /// Wall time, to judge certificates by.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
}

impl JoinDeps {
    /// The machine's own.
    ///
    /// # Errors
    /// `Local`.
    pub fn system() -> Result<Self, JoinTransportError> {
        // One socket for both families; machines without IPv6 have the other.
        let socket = bind_udp((Ipv6Addr::UNSPECIFIED, 0).into())
            .or_else(|_| bind_udp((Ipv4Addr::UNSPECIFIED, 0).into()))
            .map_err(|e| JoinTransportError::Local(e.to_string()))?;
        Ok(Self {
            socket,
            runtime: Arc::new(quinn::TokioRuntime),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy::default()),
        })
    }
}

/// Asks the first of `addresses` that proves to belong to `cluster`, by a CA certificate with the SHA-256
/// `ca_fingerprint`, and gives its answer. All addresses together may take `timeout` to connect, and the answer as long again.
///
/// # Errors
/// [`JoinTransportError`]; nothing was sent unless it is `NoAnswer`.
pub async fn join_request(
    addresses: &[String],
    ca_fingerprint: [u8; 32],
    cluster: ClusterId,
    request: Bytes,
    timeout: Duration,
) -> Result<Bytes, JoinTransportError> {
    join_request_with(
        JoinDeps::system()?,
        addresses,
        ca_fingerprint,
        cluster,
        request,
        timeout,
    )
    .await
}

/// [`join_request`] with everything it needs handed in.
///
/// # Errors
/// As [`join_request`].
pub async fn join_request_with(
    deps: JoinDeps,
    addresses: &[String],
    ca_fingerprint: [u8; 32],
    cluster: ClusterId,
    request: Bytes,
    timeout: Duration,
) -> Result<Bytes, JoinTransportError> {
    if request.len() > MAX_JOIN_REQUEST_BYTES {
        return Err(JoinTransportError::TooLarge { len: request.len() });
    }
    let mut secret = [0; 32];
    deps.entropy.fill(&mut secret);
    let config = endpoint_config(&secret, &deps.entropy);
    let endpoint = quinn::Endpoint::new_with_abstract_socket(config, None, deps.socket, deps.runtime)
        .map_err(|e| JoinTransportError::Local(e.to_string()))?;
    let result = async {
        let (address, connection) = first_good(
            &endpoint,
            &deps.clock,
            addresses,
            ca_fingerprint,
            cluster,
            timeout,
        )
        .await?;
        ask(&connection, address, request, timeout).await
    }
    .await;
    endpoint.close(
        (CloseCode::JoinDone as u32).into(),
        CloseCode::JoinDone.reason().as_bytes(),
    );
    let _late = tokio::time::timeout(STAGGER, endpoint.wait_idle()).await;
    result
}

async fn first_good(
    endpoint: &quinn::Endpoint,
    clock: &Arc<dyn Clock>,
    addresses: &[String],
    fingerprint: [u8; 32],
    cluster: ClusterId,
    timeout: Duration,
) -> Result<(String, quinn::Connection), JoinTransportError> {
    let deadline = tokio::time::Instant::now() + timeout;
    let mut attempts: FuturesUnordered<_> = (0u32..)
        .zip(addresses.iter().take(MAX_ADDRESSES))
        .map(|(n, address)| async move {
            let attempt = async {
                tokio::time::sleep(STAGGER * n).await;
                connect(endpoint, clock, address, fingerprint, cluster, ALPN_JOIN).await
            };
            let outcome = tokio::time::timeout_at(deadline, attempt).await;
            (
                address,
                outcome.unwrap_or_else(|_| Err(Failed::Why("no answer in time".to_owned()))),
            )
        })
        .collect();
    let (mut tried, mut doubted) = (Vec::new(), None);
    while let Some((address, outcome)) = attempts.next().await {
        match outcome {
            Ok(connection) => return Ok((address.clone(), connection)),
            Err(Failed::Why(why)) => tried.push((address.clone(), why)),
            Err(Failed::Doubt(JoinDoubt::OtherCluster)) => {
                doubted.get_or_insert(JoinTransportError::WrongCluster {
                    address: address.clone(),
                });
            }
            // A clock that is off explains more than an address that leads elsewhere.
            Err(Failed::Doubt(JoinDoubt::ClockBehind(at_least))) => {
                doubted = Some(JoinTransportError::ClocksDiffer {
                    behind: true,
                    at_least,
                });
            }
            Err(Failed::Doubt(JoinDoubt::ClockAhead(at_least))) => {
                doubted = Some(JoinTransportError::ClocksDiffer {
                    behind: false,
                    at_least,
                });
            }
        }
    }
    Err(doubted.unwrap_or(JoinTransportError::Unreachable { tried }))
}

/// Why an address did not lead to a connection.
pub(crate) enum Failed {
    Why(String),
    Doubt(JoinDoubt),
}

/// Connects without a certificate to whoever at `address` proves to belong to the cluster.
pub(crate) async fn connect(
    endpoint: &quinn::Endpoint,
    clock: &Arc<dyn Clock>,
    address: &str,
    fingerprint: [u8; 32],
    cluster: ClusterId,
    alpn: &[u8],
) -> Result<quinn::Connection, Failed> {
    let why = |e: &dyn std::fmt::Display| Failed::Why(e.to_string());
    let resolved = tokio::net::lookup_host(address)
        .await
        .map_err(|e| why(&format!("does not resolve: {e}")))?;
    let mut last = Failed::Why("does not resolve to any address".to_owned());
    for resolved in resolved {
        let verifier = Arc::new(JoinVerifier::new(fingerprint, cluster));
        let crypto = tls::join_client(Arc::clone(&verifier), clock, alpn).map_err(|e| why(&e))?;
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        // Patient by itself: the node's own idle timeout holds once both have spoken.
        let timers = MeshTimers {
            idle_timeout: Duration::from_secs(1),
            ..MeshTimers::lan()
        };
        config.transport_config(Arc::new(transport_config(&timers)));
        last = match endpoint.connect_with(config, resolved, SERVER_NAME) {
            Ok(connecting) => match connecting.await {
                Ok(connection) => return Ok(connection),
                Err(quinn::ConnectionError::TimedOut) => Failed::Why("no answer".to_owned()),
                Err(error) => verifier.doubt().map_or_else(|| why(&error), Failed::Doubt),
            },
            Err(error) => why(&error),
        };
    }
    Err(last)
}

/// Sends one request and reads its answer.
pub(crate) async fn exchange(
    connection: &quinn::Connection,
    request: Bytes,
    max_answer_bytes: usize,
) -> Result<Vec<u8>, String> {
    let (mut send, mut recv) = connection.open_bi().await.map_err(|e| e.to_string())?;
    send.write_chunk(request).await.map_err(|e| e.to_string())?;
    send.finish().map_err(|e| e.to_string())?;
    recv.read_to_end(max_answer_bytes)
        .await
        .map_err(|e| e.to_string())
}

async fn ask(
    connection: &quinn::Connection,
    address: String,
    request: Bytes,
    timeout: Duration,
) -> Result<Bytes, JoinTransportError> {
    match tokio::time::timeout(timeout, exchange(connection, request, MAX_JOIN_ANSWER_BYTES)).await {
        Ok(Ok(answer)) => Ok(answer.into()),
        Ok(Err(why)) => match connection.close_reason().as_ref().and_then(CloseCode::of) {
            Some(CloseCode::JoinBusy) => Err(JoinTransportError::Busy { address }),
            _ => Err(JoinTransportError::NoAnswer { address, why }),
        },
        Err(_) => Err(JoinTransportError::NoAnswer {
            address,
            why: "no answer in time".to_owned(),
        }),
    }
}

/// The node's side: one request, one answer, and the connection is over.
pub(crate) async fn answer(mesh: &Arc<MeshInner>, from: SocketAddr, connection: quinn::Connection) {
    let Ok(_place) = mesh.joins.try_acquire() else {
        return refuse(&connection, from, CloseCode::JoinBusy);
    };
    let Some(handler) = mesh.join_handler() else {
        return refuse(&connection, from, CloseCode::JoinBusy);
    };
    let exchange = async {
        let request = async {
            let (send, mut recv) = connection.accept_bi().await.map_err(|e| e.to_string())?;
            let request = recv
                .read_to_end(MAX_JOIN_REQUEST_BYTES)
                .await
                .map_err(|e| e.to_string())?;
            Ok::<_, String>((send, request))
        };
        // Whoever keeps a place without asking anything loses it soon.
        let (mut send, request) = tokio::time::timeout(REQUEST_TIMEOUT, request)
            .await
            .map_err(|_| "no request came".to_owned())??;
        let answer = handler.join(from, request.into()).await;
        send.write_chunk(answer).await.map_err(|e| e.to_string())?;
        send.finish().map_err(|e| e.to_string())?;
        // The joiner closes once it has everything.
        connection.closed().await;
        Ok::<(), String>(())
    };
    match tokio::time::timeout(JOIN_DEADLINE, exchange).await {
        Ok(Ok(())) => {}
        Ok(Err(why)) => tracing::info!(%from, why, "a join was broken off"),
        Err(_) => tracing::info!(%from, "a join took too long"),
    }
    CloseCode::JoinDone.close(&connection);
}
