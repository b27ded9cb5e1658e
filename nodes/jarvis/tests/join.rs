//! A node in this process, and everyone whom it does not let in.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jarvis_client::Api;
use jarvis_config::Settings;
use jarvis_host::{Clock, SystemClock, SystemEntropy, new_ulid};
use jarvis_mesh::identity::{ClusterCa, NodeIdentity, NodeKey};
use jarvis_mesh::join::{JoinTransportError, join_request};
use jarvis_node::data::KnownPeer;
use jarvis_node::node::protocol::{JoinAnswer, JoinRefusal, JoinRequest, LEVEL, open, seal};
use jarvis_node::node::{Keeper, Node, NodeConfig, NodeDeps, Sockets};
use jarvis_node::token::JoinToken;
use jarvis_replica::{MemoryDisk, StoreChoice};
use jarvis_types::{ClusterId, NodeId, NodeName};
use serde_json::json;

const ADMIN: &str = "jad_test";

#[derive(Default)]
struct Memory(Mutex<Vec<KnownPeer>>);

impl Keeper for Memory {
    fn save_peers(&self, peers: &[KnownPeer]) -> Result<(), String> {
        *self.0.lock().expect("nobody panics with it") = peers.to_vec();
        Ok(())
    }

    fn save_handed_over(&self, _: bool) -> Result<(), String> {
        Ok(())
    }
}

struct House {
    cluster: ClusterId,
    ca: ClusterCa,
    identity: NodeIdentity,
    disk: MemoryDisk,
}

impl House {
    fn new() -> Self {
        let entropy = SystemEntropy::default();
        let cluster = ClusterId(new_ulid(&SystemClock, &entropy));
        let ca = ClusterCa::create(cluster, &SystemClock, &entropy).expect("a CA");
        let day = Duration::from_secs(86_400);
        let identity = NodeIdentity::self_issued(
            &ca,
            cluster,
            NodeId(1),
            &name("first"),
            &SystemClock,
            &entropy,
            day,
        );
        Self {
            cluster,
            identity: identity.expect("an identity"),
            ca,
            disk: MemoryDisk::new(),
        }
    }

    async fn start(&self, expect_log: bool) -> (Node, Api) {
        let sockets = Sockets::bind("127.0.0.1:0".parse().expect("an address"))
            .await
            .expect("free");
        let address = sockets.address;
        let config = NodeConfig {
            cluster: self.cluster,
            node: NodeId(1),
            name: name("first"),
            role: jarvis_machine::rows::NodeRole::Voter,
            mesh_address: address.to_string(),
            http_url: format!("http://{address}"),
            founder: true,
            expect_log,
            speaks_level: jarvis_machine::LEVEL,
            known_peers: Vec::new(),
            store: StoreChoice::Memory(self.disk.clone()),
            settings: Settings::default(),
        };
        let deps = NodeDeps {
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy::default()),
            faults: jarvis_host::Faults::new(),
            lamp: Arc::new(jarvis_beacon::UdpLamp::default()),
            dial: Arc::new(jarvis_mqtt::Tcp),
            tcp: sockets.tcp.into(),
            udp: sockets.udp,
            quic: Arc::new(quinn::TokioRuntime),
            identity: self.identity.clone(),
            ca: Some(ClusterCa::from_pem(&self.ca.cert_pem(), &self.ca.key_pem()).expect("reads again")),
            admin_token: Some(ADMIN.to_owned()),
            handed_over: false,
            save_identity: Arc::new(|_| Ok(())),
            keeper: Arc::new(Memory::default()),
            metrics: Arc::new(String::new),
            disk: Arc::new(|| None),
            process: None,
        };
        let node = Node::run(config, deps).await.expect("it starts");
        let api = Api::new(&format!("http://{address}"), Some(ADMIN.to_owned())).expect("an address");
        let ready = async {
            while api.get("/readyz").await.is_err() || api.get("/api/v1/users").await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), ready)
            .await
            .expect("ready in time");
        (node, api)
    }
}

fn name(text: &str) -> NodeName {
    text.parse().expect("a name")
}

async fn invite(api: &Api, ttl_s: u64) -> JoinToken {
    let made = api
        .post("/api/v1/invites", json!({"role": "voter", "ttl_s": ttl_s}))
        .await
        .expect("invited");
    JoinToken::from_text(made["token"].as_str().expect("a token")).expect("it reads")
}

fn request(token: &JoinToken, who: &str, address: &str) -> JoinRequest {
    JoinRequest {
        cluster: token.cluster,
        secret: token.secret,
        name: name(who),
        signing_request: NodeKey::generate()
            .and_then(|key| key.signing_request())
            .expect("a request"),
        mesh_address: address.to_owned(),
        http_url: format!("http://{address}"),
        build: "test".to_owned(),
        level: LEVEL,
        clock_ms: SystemClock.now_ms(),
    }
}

async fn ask(token: &JoinToken, request: &JoinRequest) -> JoinAnswer {
    let bytes = seal(request).expect("encodes").into();
    let timeout = Duration::from_secs(5);
    let answer = join_request(&token.addresses, token.ca_sha256, token.cluster, bytes, timeout).await;
    open(&answer.expect("an answer")).expect("it reads")
}

async fn refusal(token: &JoinToken, request: &JoinRequest) -> JoinRefusal {
    match ask(token, request).await {
        JoinAnswer::Refused(refusal) => refusal,
        JoinAnswer::Admitted(_) => panic!("{} was let in", request.name),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_may_not_join_is_told_why_and_the_invitation_stays_good() {
    let house = House::new();
    let (node, api) = house.start(false).await;
    let token = invite(&api, 600).await;
    let address = "127.0.0.1:9";

    let ahead = JoinRequest {
        clock_ms: SystemClock.now_ms() + 900_000,
        ..request(&token, "b", address)
    };
    assert!(matches!(
        refusal(&token, &ahead).await,
        JoinRefusal::ClockOff {
            ahead: true,
            offset_ms: 890_000..=900_000
        }
    ));
    let elsewhere = JoinRequest {
        cluster: ClusterId(7),
        ..request(&token, "b", address)
    };
    assert!(matches!(
        refusal(&token, &elsewhere).await,
        JoinRefusal::WrongCluster { .. }
    ));
    let guessed = JoinRequest {
        secret: [1; 32],
        ..request(&token, "b", address)
    };
    assert_eq!(refusal(&token, &guessed).await, JoinRefusal::Unknown);
    let own = node.address().to_string();
    let taken = refusal(&token, &request(&token, "first", address)).await;
    assert_eq!(
        taken,
        JoinRefusal::NameTaken {
            name: name("first"),
            node: NodeId(1),
            address: own.clone()
        }
    );
    let wiped = refusal(&token, &request(&token, "first", &own)).await;
    assert_eq!(
        wiped,
        JoinRefusal::Wiped {
            name: name("first"),
            node: NodeId(1)
        }
    );
    let keyless = JoinRequest {
        signing_request: vec![1, 2, 3],
        ..request(&token, "b", address)
    };
    assert!(matches!(refusal(&token, &keyless).await, JoinRefusal::Invalid(_)));

    // After all that the invitation is still good: once.
    let JoinAnswer::Admitted(admission) = ask(&token, &request(&token, "b", address)).await else {
        panic!("not let in");
    };
    assert_eq!((admission.node, admission.members.len()), (NodeId(2), 2));
    assert!(admission.ca_key.is_some(), "a voter can let others in");
    let again = refusal(&token, &request(&token, "c", address)).await;
    assert_eq!(again, JoinRefusal::Used { by: name("b") });
    node.stop().await;
}

/// Entries that a mark of the log may be behind for good.
const UNMARKED: u64 = 2;

/// Up to where the log is marked as acknowledged by who has acknowledged least.
fn marked(node: &Node) -> u64 {
    let view = node.replica().local().expect("reads");
    let marks = view.query().log_marks().expect("reads");
    marks.iter().map(|(_, mark)| mark.index).min().unwrap_or(0)
}

/// The commit index, once nothing has been committed for a while, and nothing is left that the cluster itself would commit.
async fn settled(node: &Node) -> u64 {
    let mut state = node.replica().state();
    let quiet = Duration::from_millis(300);
    let settle = async {
        loop {
            let before = state.borrow_and_update().committed;
            tokio::time::sleep(quiet).await;
            if state.borrow_and_update().committed == before && before <= marked(node) + UNMARKED {
                return before;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), settle)
        .await
        .expect("an idle node commits nothing")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outsider_writes_nothing_and_is_slowed_down() {
    let house = House::new();
    let (node, api) = house.start(false).await;
    let token = invite(&api, 600).await;
    let before = settled(&node).await;
    // Guesses, each with a signing request that would do.
    for guess in 1..=10 {
        let guessed = JoinRequest {
            secret: [guess; 32],
            ..request(&token, "b", "127.0.0.1:9")
        };
        assert_eq!(refusal(&token, &guessed).await, JoinRefusal::Unknown);
    }
    assert_eq!(settled(&node).await, before, "a guess was written to the log");
    // From then on the address is not listened to, whatever it says.
    assert!(matches!(
        refusal(&token, &request(&token, "b", "127.0.0.1:9")).await,
        JoinRefusal::TooManyAttempts { wait_s: 1..=60 }
    ));
    assert_eq!(settled(&node).await, before);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_that_lead_nowhere_or_elsewhere_are_told_apart() {
    let (house, other) = (House::new(), House::new());
    let (node, api) = house.start(false).await;
    let token = invite(&api, 600).await;
    let bytes = seal(&request(&token, "b", "127.0.0.1:9")).expect("encodes");
    let timeout = Duration::from_secs(2);
    let elsewhere = join_request(
        &token.addresses,
        other.ca.fingerprint(),
        other.cluster,
        bytes.clone().into(),
        timeout,
    );
    assert!(matches!(
        elsewhere.await,
        Err(JoinTransportError::WrongCluster { .. })
    ));
    // A socket that never answers.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let nowhere: SocketAddr = silent.local_addr().expect("bound");
    let tried = join_request(
        &[nowhere.to_string()],
        token.ca_sha256,
        token.cluster,
        bytes.into(),
        timeout,
    )
    .await;
    let Err(JoinTransportError::Unreachable { tried }) = tried else {
        panic!("{tried:?}")
    };
    assert_eq!(tried[0].0, nowhere.to_string());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_killed_comes_back_with_what_it_had() {
    let house = House::new();
    let (node, api) = house.start(false).await;
    api.post(
        "/api/v1/users",
        json!({"name": "ada", "password": "correct horse"}),
    )
    .await
    .expect("made");
    // Dropped where it stands: what was not synced is lost.
    drop(node);
    tokio::time::sleep(Duration::from_millis(200)).await;
    house.disk.crash();
    let (node, api) = house.start(true).await;
    let users = api.get("/api/v1/users").await.expect("listed");
    assert!(
        users["users"]
            .as_array()
            .is_some_and(|users| users.iter().any(|user| user["name"] == "ada")),
        "{users}"
    );
    // Expired invitations are told as such.
    let token = invite(&api, 1).await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert!(matches!(
        refusal(&token, &request(&token, "b", "127.0.0.1:9")).await,
        JoinRefusal::Expired { .. }
    ));
    node.stop().await;
}
