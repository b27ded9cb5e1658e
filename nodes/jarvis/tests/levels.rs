//! A cluster is upgraded machine by machine: three whole nodes in this process, one of which speaks the previous level at first.

use std::sync::Arc;
use std::time::Duration;

use jarvis_client::Api;
use jarvis_config::Settings;
use jarvis_host::{SystemClock, SystemEntropy, new_ulid};
use jarvis_machine::command::{Command, NewNode};
use jarvis_machine::reply::{Refusal, Reply};
use jarvis_machine::rows::NodeRole;
use jarvis_mesh::identity::{ClusterCa, NodeIdentity};
use jarvis_node::data::KnownPeer;
use jarvis_node::node::{Keeper, Node, NodeConfig, NodeDeps, Sockets};
use jarvis_replica::api::{ProposeError, ProposeOptions};
use jarvis_replica::{MemoryDisk, StoreChoice};
use jarvis_types::{ClusterId, NodeId, NodeName};
use serde_json::{Value, json};

const ADMIN: &str = "jad_test";
const PATIENCE: Duration = Duration::from_secs(20);
const NAMES: [&str; 3] = ["first", "second", "third"];

struct Nothing;

impl Keeper for Nothing {
    fn save_peers(&self, _: &[KnownPeer]) -> Result<(), String> {
        Ok(())
    }

    fn save_handed_over(&self, _: bool) -> Result<(), String> {
        Ok(())
    }
}

/// A machine: what is left of its node while that does not run.
struct Machine {
    node: NodeId,
    name: NodeName,
    identity: NodeIdentity,
    disk: MemoryDisk,
    address: std::net::SocketAddr,
}

struct House {
    cluster: ClusterId,
    ca: ClusterCa,
}

impl House {
    fn new() -> Self {
        let entropy = SystemEntropy::default();
        let cluster = ClusterId(new_ulid(&SystemClock, &entropy));
        let ca = ClusterCa::create(cluster, &SystemClock, &entropy).expect("a CA");
        Self { cluster, ca }
    }

    async fn machine(&self, id: u64) -> (Machine, Sockets) {
        let sockets = Sockets::bind("127.0.0.1:0".parse().expect("an address"))
            .await
            .expect("free");
        let (node, name): (_, NodeName) = (NodeId(id), NAMES[id as usize - 1].parse().expect("a name"));
        let (entropy, day) = (SystemEntropy::default(), Duration::from_secs(86_400));
        let identity =
            NodeIdentity::self_issued(&self.ca, self.cluster, node, &name, &SystemClock, &entropy, day);
        let machine = Machine {
            node,
            name,
            identity: identity.expect("an identity"),
            disk: MemoryDisk::new(),
            address: sockets.address,
        };
        (machine, sockets)
    }

    async fn run(
        &self,
        machine: &Machine,
        sockets: Sockets,
        known: &[&Machine],
        speaks_level: u32,
        expect_log: bool,
    ) -> (Node, Api) {
        let mut settings = Settings::default();
        settings.limits.messages_per_minute = 0;
        if machine.node == NodeId(3) {
            settings.node.capabilities = ["gpu".to_owned(), "microphone".to_owned()].into();
            settings.node.capacity = 300;
        }
        let address = sockets.address;
        let config = NodeConfig {
            cluster: self.cluster,
            node: machine.node,
            name: machine.name.clone(),
            mesh_address: address.to_string(),
            http_url: format!("http://{address}"),
            founder: machine.node == NodeId(1),
            role: NodeRole::Voter,
            expect_log,
            speaks_level,
            known_peers: (known.iter())
                .map(|peer| KnownPeer {
                    node: peer.node,
                    name: peer.name.clone(),
                    address: peer.address.to_string(),
                })
                .collect(),
            store: StoreChoice::Memory(machine.disk.clone()),
            settings,
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
            identity: machine.identity.clone(),
            ca: Some(ClusterCa::from_pem(&self.ca.cert_pem(), &self.ca.key_pem()).expect("reads again")),
            admin_token: Some(ADMIN.to_owned()),
            handed_over: false,
            save_identity: Arc::new(|_| Ok(())),
            keeper: Arc::new(Nothing),
            metrics: Arc::new(String::new),
            disk: Arc::new(|| None),
            process: None,
        };
        let node = Box::pin(Node::run(config, deps)).await.expect("it starts");
        let api = Api::new(&format!("http://{address}"), Some(ADMIN.to_owned())).expect("an address");
        (node, api)
    }

    /// Admits the machine as its certificate says.
    async fn admit(&self, first: &Node, machine: &Machine, level: u32) {
        let options = || ProposeOptions {
            fence: None,
            request: None,
            deadline: PATIENCE,
        };
        let secret = [machine.node.0 as u8; 32];
        let invite = Command::CreateInvite {
            secret,
            role: NodeRole::Voter,
            expires_at_ms: u64::MAX,
        };
        first.replica().propose(invite, options()).await.expect("invites");
        let node = NewNode {
            name: machine.name.clone(),
            role: NodeRole::Voter,
            mesh_address: machine.address.to_string(),
            http_url: format!("http://{}", machine.address),
            version: "0.0.9".to_owned(),
            level,
        };
        let join = Command::ConsumeInvite { secret, node };
        let joined = first.replica().propose(join, options()).await;
        assert_eq!(joined, Ok(Reply::Joined { node: machine.node }));
    }
}

/// Asks until the answer is as wanted.
async fn until(api: &Api, path: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    let asked = async {
        loop {
            if let Ok(answer) = api.get(path).await {
                if wanted(&answer) {
                    return answer;
                }
                last = answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(answer) => answer,
        Err(_) => panic!("{what}: {last}"),
    }
}

async fn say(api: &Api, session: &str, id: &str) -> Value {
    let path = format!("/api/v1/sessions/{session}/messages?wait=reply");
    let said = async {
        loop {
            match api.post(&path, json!({"id": id, "text": "hello"})).await {
                Ok(reply) => return reply,
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, said)
        .await
        .expect("a reply in time")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_level_rises_when_the_last_machine_is_upgraded() {
    let house = House::new();
    let (one, sockets) = house.machine(1).await;
    // The cluster was made by an earlier build.
    let (first, old_api) = house.run(&one, sockets, &[], 1, false).await;
    until(&old_api, "/api/v1/cluster", "a leader", |now| {
        now["leader"] == "first"
    })
    .await;
    let (two, sockets) = house.machine(2).await;
    house.admit(&first, &two, 2).await;
    let (second, api) = house.run(&two, sockets, &[&one], 2, false).await;
    let (three, sockets) = house.machine(3).await;
    house.admit(&first, &three, 2).await;
    let (third, _) = house.run(&three, sockets, &[&one, &two], 2, false).await;
    let is_whole = |now: &Value| {
        let owners = now["kinds"]["session"]["partitions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let has_work = |name: &str| owners.iter().any(|p| p["owner"] == name);
        now["nodes"]
            .as_array()
            .is_some_and(|nodes| nodes.iter().all(|n| n["state"] == "up" && n["voter"] == true))
            && NAMES.iter().all(|name| has_work(name))
    };
    let now = until(&api, "/api/v1/cluster", "three voters with work", is_whole).await;
    assert_eq!(
        (&now["level"], &now["level_held_back_by"]),
        (&json!(1), &json!(["first"]))
    );
    let levels: Vec<_> = (0..3).map(|n| now["nodes"][n]["level"].clone()).collect();
    assert_eq!(levels, [1, 2, 2]);
    let said = now["degraded"].as_array().expect("a list").iter();
    let said: Vec<_> = said.filter_map(|d| d["what"].as_str()).collect();
    assert!(
        said.contains(&"the cluster stays at level 1: first runs an earlier jarvis"),
        "{said:?}"
    );
    assert!(
        now["kinds"].get("beacon").is_none(),
        "no kind that the earlier build does not know"
    );

    // All of it works meanwhile, whoever is asked.
    let session = api.post("/api/v1/sessions", json!({})).await.expect("a session");
    let session = session["id"].as_str().expect("an id").to_owned();
    assert_eq!(say(&api, &session, "a").await["reply_to"], "a");
    assert_eq!(say(&old_api, &session, "b").await["reply_to"], "b");

    // The machine is upgraded.
    first.stop().await;
    let sockets = loop {
        match Sockets::bind(one.address).await {
            Ok(sockets) => break sockets,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    let (first, new_api) = house.run(&one, sockets, &[&two, &three], 2, true).await;
    let risen = |now: &Value| {
        now["level"] == 2 && now["nodes"][2]["capacity"] == 300 && now["nodes"][0]["level"] == 2
    };
    let now = until(&api, "/api/v1/cluster", "the second level, with facts", risen).await;
    assert_eq!(now["level_held_back_by"], json!([]));
    assert_eq!(now["nodes"][2]["capabilities"], json!(["gpu", "microphone"]));
    assert_eq!(
        (&now["nodes"][0]["capabilities"], &now["nodes"][0]["capacity"]),
        (&json!([]), &json!(100))
    );
    assert_eq!(say(&new_api, &session, "c").await["reply_to"], "c");

    // From here on an earlier build is turned away, in words that it can read.
    let (node, options) = (
        NewNode {
            name: "old".parse().expect("a name"),
            role: NodeRole::Voter,
            mesh_address: String::new(),
            http_url: String::new(),
            version: "0.0.9".to_owned(),
            level: 1,
        },
        || ProposeOptions {
            fence: None,
            request: None,
            deadline: PATIENCE,
        },
    );
    let secret = [9; 32];
    let role = NodeRole::Voter;
    let expires_at_ms = u64::MAX;
    let invite = Command::CreateInvite {
        secret,
        role,
        expires_at_ms,
    };
    second
        .replica()
        .propose(invite, options())
        .await
        .expect("invites");
    let refused = second
        .replica()
        .propose(Command::ConsumeInvite { secret, node }, options())
        .await
        .expect_err("it speaks too little");
    assert!(
        matches!(&refused, ProposeError::Refused(Refusal::Invalid(words)) if words.contains("install the jarvis")),
        "{refused:?}"
    );

    // A node's end is kept in words.
    let owned_by = |now: &Value, name: &str| {
        let partitions = now["kinds"]["session"]["partitions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        partitions.iter().position(|p| p["owner"] == name)
    };
    let now = api.get("/api/v1/cluster").await.expect("answers");
    assert!(owned_by(&now, "third").is_some(), "{now}");
    let mut of_third = None;
    while of_third.is_none() {
        let made = api.post("/api/v1/sessions", json!({})).await.expect("a session");
        let id = made["id"].as_str().expect("an id").to_owned();
        let why = api.get(&format!("/api/v1/why/session/{id}")).await.expect("told");
        of_third = (why["owner"] == "third").then_some(id);
    }
    let path = format!("/api/v1/why/session/{}", of_third.expect("one was found"));
    drop(third);
    let moved = |why: &Value| {
        why["owner"].as_str().is_some_and(|owner| owner != "third")
            && why["took_ms"].is_u64()
            && !why["activity"]["taken_up"].is_null()
    };
    let why = until(&api, &path, "taken over, and how long it took", moved).await;
    let because = why["because"].as_str().expect("words");
    assert!(because.starts_with("node third did not answer ("), "{because}");
    let last = why["moves"]
        .as_array()
        .and_then(|moves| moves.last())
        .expect("a move");
    assert_eq!(
        (&last["from"], &last["reason"], &last["epoch"]),
        (&json!("third"), &why["because"], &why["epoch"])
    );
    assert_eq!(why["activity"]["taken_up"]["epoch"], why["epoch"]);
    second.stop().await;
    first.stop().await;
}
