//! Who is kept out of the mesh, and how it is told and counted.
#![allow(clippy::unwrap_used, reason = "a test that fails says so by panicking")]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use jarvis_host::{ManualClock, SystemClock};
use jarvis_mesh::api::{Call, CallError, Lane, Member, Mesh, PeerState, Service};
use jarvis_mesh::identity::DEFAULT_NODE_TTL;
use jarvis_mesh::testing::{self, TestBed};
use jarvis_types::{ClusterId, NodeId};

const ECHO: Service = Service(0x0f01);
const PATIENCE: Duration = Duration::from_secs(10);
const NOW_MS: u64 = 1_800_000_000_000;

fn metrics() -> String {
    static HANDLE: OnceLock<metrics_exporter_prometheus::PrometheusHandle> = OnceLock::new();
    HANDLE
        .get_or_init(|| jarvis_host::telemetry::start_metrics().unwrap())
        .render()
}

/// Waits until a refusal for `reason` was counted.
async fn counted(reason: &str) {
    let line = format!("jarvis_mesh_refused_peers_total{{reason=\"{reason}\"}}");
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !metrics().contains(&line) {
        assert!(
            tokio::time::Instant::now() < deadline,
            "no {line} in\n{}",
            metrics()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn count(reason: &str) -> u64 {
    let line = format!("jarvis_mesh_refused_peers_total{{reason=\"{reason}\"}} ");
    metrics()
        .lines()
        .find_map(|l| l.strip_prefix(&line))
        .map_or(0, |n| n.parse().unwrap())
}

/// Makes `server` expect a node 1, and `intruder` dial `server` as if it were a member.
fn face(intruder: &Mesh, server: &Mesh) {
    server.set_members(vec![testing::member(intruder)]);
    intruder.set_members(vec![testing::member(server)]);
}

fn state(mesh: &Mesh, node: NodeId) -> PeerState {
    mesh.peers()
        .borrow()
        .iter()
        .find(|p| p.member.node == node)
        .unwrap()
        .state
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_with_another_clusters_certificate_is_refused() {
    metrics();
    let theirs = TestBed::of(ClusterId(99), Arc::new(SystemClock));
    let ours = TestBed::default();
    let (server, intruder) = (ours.mesh(NodeId(2)), theirs.mesh(NodeId(1)));
    face(&intruder, &server);
    // The dialer already sees that it is not its own cluster: nothing gets through in either direction.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(
        (state(&server, NodeId(1)), state(&intruder, NodeId(2))),
        (PeerState::Down, PeerState::Down)
    );
    counted("other_ca").await;
    intruder.stop().await;
    let before = count("other_ca");
    // One that believes anybody is refused by the server.
    let client = Client::new(Some(theirs.identity(NodeId(1), DEFAULT_NODE_TTL)));
    let reason = client.refused_by(&server).await;
    assert!(
        reason.contains("handshake") || reason.contains("UnknownCA"),
        "{reason}"
    );
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while count("other_ca") <= before {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the server counts what it refuses"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_without_a_certificate_is_refused() {
    metrics();
    let bed = TestBed::default();
    let server = bed.mesh(NodeId(2));
    let reason = Client::new(None).refused_by(&server).await;
    assert!(reason.contains("no certificate"), "{reason}");
    counted("no_certificate").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_not_a_member_is_refused_until_it_is() {
    metrics();
    let bed = TestBed::default();
    let (server, stranger) = (bed.mesh(NodeId(2)), bed.mesh(NodeId(1)));
    stranger.set_members(vec![testing::member(&server)]);
    counted("not_a_member").await;
    assert_eq!(state(&stranger, NodeId(2)), PeerState::Down);
    server.set_members(vec![testing::member(&stranger)]);
    testing::becomes(&stranger, NodeId(2), PeerState::Up).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_members_connection_is_closed_and_its_certificate_refused() {
    metrics();
    let bed = TestBed::default();
    let meshes = bed.cluster(3).await;
    let kept: Vec<Member> = [&meshes[1], &meshes[2]].map(testing::member).to_vec();
    meshes[1].set_members(kept.clone());
    meshes[2].set_members(kept);
    let gone = meshes[1].cast(NodeId(1), Lane::Actors, ECHO, 0, Bytes::new());
    assert_eq!(gone, Err(CallError::NotConnected(NodeId(1))));
    testing::becomes(&meshes[0], NodeId(2), PeerState::Down).await;
    testing::becomes(&meshes[0], NodeId(3), PeerState::Down).await;
    counted("removed").await;
    assert!(
        meshes[1]
            .peers()
            .borrow()
            .iter()
            .all(|p| p.member.node == NodeId(3))
    );
    assert_eq!(
        state(&meshes[1], NodeId(3)),
        PeerState::Up,
        "the others stay connected"
    );
}

/// Waits until `mesh` has been told that it is out for good, and says by whom.
async fn told(mesh: &Mesh) -> NodeId {
    let mut removal = mesh.removal();
    let told = tokio::time::timeout(PATIENCE, removal.wait_for(Option::is_some)).await;
    told.expect("told in time").unwrap().unwrap().by
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_removed_is_told_while_connected_when_it_dials_and_when_it_knocks() {
    metrics();
    let bed = TestBed::default();
    let meshes = bed.cluster(3).await;
    meshes[1].set_members(vec![testing::member(&meshes[1]), testing::member(&meshes[2])]);
    assert_eq!(told(&meshes[0]).await, NodeId(2), "it was connected");
    assert_eq!(*meshes[2].removal().borrow(), None);

    // Member 2 of another day: it never listed them, and has it from the table.
    let server = bed.mesh(NodeId(2));
    let (dialler, knocker) = (bed.mesh(NodeId(1)), bed.mesh(NodeId(3)));
    for mesh in [&dialler, &knocker] {
        mesh.set_members(vec![testing::member(&server)]);
    }
    counted("not_a_member").await;
    assert_eq!(
        (*dialler.removal().borrow(), *knocker.removal().borrow()),
        (None, None),
        "who is not known may be so soon"
    );
    server.set_removed([NodeId(1), NodeId(3)]);
    assert_eq!(told(&dialler).await, NodeId(2));
    assert_eq!(told(&knocker).await, NodeId(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_answers_for_another_is_not_taken_for_it() {
    metrics();
    let bed = TestBed::default();
    let (one, three) = (bed.mesh(NodeId(1)), bed.mesh(NodeId(3)));
    three.set_members(vec![testing::member(&one)]);
    // Node 3 stands at the address at which node 2 is looked for, both being members.
    let wrong = Member {
        node: NodeId(2),
        ..testing::member(&three)
    };
    let elsewhere = Member {
        address: "127.0.0.1:9".to_owned(),
        ..testing::member(&three)
    };
    one.set_members(vec![wrong, elsewhere]);
    counted("wrong_node").await;
    assert_eq!(state(&one, NodeId(2)), PeerState::Down);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_certificate_ends_its_connection_and_is_refused() {
    metrics();
    let clock = Arc::new(ManualClock::new(NOW_MS));
    let bed = TestBed::with_clock(Arc::clone(&clock) as Arc<dyn jarvis_host::Clock>);
    let short = bed.mesh_of(bed.identity(NodeId(1), Duration::from_secs(3_600)), "127.0.0.1:0");
    let meshes = [short, bed.mesh(NodeId(2))];
    testing::introduce(&meshes);
    testing::connected(&meshes).await;
    clock.advance_ms(3_700_000);
    testing::becomes(&meshes[1], NodeId(1), PeerState::Down).await;
    counted("certificate_expired").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(
        state(&meshes[1], NodeId(1)),
        PeerState::Down,
        "the expired certificate is not let in again"
    );
    meshes[0]
        .set_identity(bed.identity(NodeId(1), DEFAULT_NODE_TTL))
        .unwrap();
    testing::connected(&meshes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_higher_id_is_heard_but_does_not_dial() {
    let bed = TestBed::default();
    let server = bed.mesh(NodeId(2));
    let three = bed.mesh(NodeId(3));
    server.set_members(vec![testing::member(&three)]);
    let client = Client::new(Some(three.identity()));
    let reason = client.refused_by(&server).await;
    assert!(reason.contains("lower id dials back"), "{reason}");
    assert_eq!(state(&server, NodeId(3)), PeerState::Down);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_bytes_close_the_connection_and_nothing_else() {
    metrics();
    let bed = TestBed::default();
    let meshes = bed.cluster(2).await;
    meshes[1].serve(ECHO, Arc::new(|call: Call| call.answer.send(call.body)));
    let hostile_id = bed.identity(NodeId(0), DEFAULT_NODE_TTL);
    let hostile = Member {
        node: NodeId(0),
        name: "hostile".parse().unwrap(),
        address: "127.0.0.1:9".to_owned(),
    };
    meshes[1].set_members(vec![testing::member(&meshes[0]), hostile]);
    let control = [1, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let streams: [&[&[u8]]; 7] = [
        // An unknown version, lane, and index.
        &[&[9, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0]],
        &[&control, &[1, 99, 0, 0, 0, 0, 0, 0, 0, 0, 0]],
        &[&control, &[1, 1, 9, 0, 0, 0, 0, 0, 0, 0, 0]],
        // The same stream twice.
        &[&control, &control],
        // A frame that claims four gigabytes, one that is too short, and an unknown kind.
        &[&[&control[..], &[0xff; 4]].concat()],
        &[&[&control[..], &[3, 0, 0, 0, 1, 2, 3]].concat()],
        &[&[&control[..], &[11, 0, 0, 0, 200, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]].concat()],
    ];
    for bytes in streams {
        let client = Client::new(Some(hostile_id.clone()));
        let connection = client.connect(&meshes[1]).await.unwrap();
        let mut kept = Vec::new();
        for stream in bytes {
            let mut send = connection.open_uni().await.unwrap();
            let _closed = send.write_all(stream).await;
            kept.push(send);
        }
        let reason = tokio::time::timeout(PATIENCE, connection.closed()).await.unwrap();
        // A greeting that is not one is simply not answered; everything later is told.
        let text = reason.to_string();
        assert!(text.contains("closed by peer"), "{text}");
        let answer = meshes[0]
            .call(
                NodeId(2),
                Lane::Actors,
                ECHO,
                0,
                Bytes::from_static(b"x"),
                PATIENCE,
            )
            .await;
        assert_eq!(answer, Ok(Bytes::from_static(b"x")), "the others are not touched");
    }
    counted("protocol_error").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_session_can_be_resumed() {
    let bed = TestBed::default();
    let server = bed.mesh(NodeId(2));
    let spy = Arc::new(TicketSpy::default());
    let resumption =
        rustls::client::Resumption::store(Arc::clone(&spy) as Arc<dyn rustls::client::ClientSessionStore>);
    let client = Client::with(Some(bed.identity(NodeId(1), DEFAULT_NODE_TTL)), resumption);
    let connection = client.connect(&server).await.unwrap();
    // Refused as no member: by then everything that the server has to send with the handshake has come.
    connection.closed().await;
    assert!(
        spy.asked.load(Ordering::Relaxed),
        "the client would have liked to resume"
    );
    assert_eq!(spy.tickets.load(Ordering::Relaxed), 0);
}

#[derive(Debug, Default)]
struct TicketSpy {
    asked: AtomicBool,
    tickets: AtomicUsize,
}

impl rustls::client::ClientSessionStore for TicketSpy {
    fn set_kx_hint(&self, _: rustls_pki_types::ServerName<'static>, _: rustls::NamedGroup) {}

    fn kx_hint(&self, _: &rustls_pki_types::ServerName<'_>) -> Option<rustls::NamedGroup> {
        None
    }

    fn set_tls12_session(
        &self,
        _: rustls_pki_types::ServerName<'static>,
        _: rustls::client::Tls12ClientSessionValue,
    ) {
    }

    fn tls12_session(
        &self,
        _: &rustls_pki_types::ServerName<'_>,
    ) -> Option<rustls::client::Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &rustls_pki_types::ServerName<'static>) {}

    fn insert_tls13_ticket(
        &self,
        _: rustls_pki_types::ServerName<'static>,
        _: rustls::client::Tls13ClientSessionValue,
    ) {
        self.tickets.fetch_add(1, Ordering::Relaxed);
    }

    fn take_tls13_ticket(
        &self,
        _: &rustls_pki_types::ServerName<'static>,
    ) -> Option<rustls::client::Tls13ClientSessionValue> {
        self.asked.store(true, Ordering::Relaxed);
        None
    }
}

/// A client that believes any server and shows whatever certificate it likes.
struct Client {
    endpoint: quinn::Endpoint,
}

impl Client {
    fn new(identity: Option<jarvis_mesh::identity::NodeIdentity>) -> Self {
        Self::with(identity, rustls::client::Resumption::disabled())
    }

    fn with(
        identity: Option<jarvis_mesh::identity::NodeIdentity>,
        resumption: rustls::client::Resumption,
    ) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Gullible));
        let mut config = match identity {
            Some(identity) => {
                use rustls_pki_types::pem::PemObject;
                let key = rustls_pki_types::PrivateKeyDer::from_pem_slice(identity.key().to_pem().as_bytes());
                builder
                    .with_client_auth_cert(vec![identity.certificate().clone()], key.unwrap())
                    .unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"jarvis-mesh/1".to_vec()];
        config.resumption = resumption;
        let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(config).unwrap();
        let mut endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        let mut transport = quinn::TransportConfig::default();
        transport.keep_alive_interval(Some(Duration::from_millis(100)));
        config.transport_config(Arc::new(transport));
        endpoint.set_default_client_config(config);
        Self { endpoint }
    }

    async fn connect(&self, server: &Mesh) -> Result<quinn::Connection, quinn::ConnectionError> {
        self.endpoint
            .connect(server.local_addr().unwrap(), "node.jarvis.internal")
            .unwrap()
            .await
    }

    async fn refused_by(&self, server: &Mesh) -> String {
        let refused = async {
            match self.connect(server).await {
                Ok(connection) => connection.closed().await.to_string(),
                Err(error) => error.to_string(),
            }
        };
        tokio::time::timeout(PATIENCE, refused).await.unwrap()
    }
}

#[derive(Debug)]
struct Gullible;

impl rustls::client::danger::ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _: &rustls_pki_types::CertificateDer<'_>,
        _: &[rustls_pki_types::CertificateDer<'_>],
        _: &rustls_pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls_pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls_pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::HandshakeNotComplete)
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls_pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::ring::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
