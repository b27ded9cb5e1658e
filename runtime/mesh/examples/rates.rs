//! Measures calls and casts between two processes on loopback: `cargo run --release -p jarvis-mesh --example rates`.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "a measurement, not a part of the product"
)]

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use jarvis_host::{Clock, Entropy, SystemClock, SystemEntropy, Tasks};
use jarvis_mesh::api::{Call, Lane, Member, Mesh, Service};
use jarvis_mesh::identity::{ClusterCa, NodeIdentity};
use jarvis_mesh::mesh::{MeshConfig, MeshDeps};
use jarvis_mesh::testing::{self, TEST_CLUSTER};
use jarvis_mesh::transport::{MeshTimers, bind_udp};
use jarvis_types::NodeId;
use tokio::io::AsyncBufReadExt;
use tokio::time::Instant;

const ECHO: Service = Service(0x0f01);
const SINK: Service = Service(0x0f02);
const BODY: &[u8] = &[7; 100];
const RUN: Duration = Duration::from_secs(3);

fn mesh(node: u64, ca: &ClusterCa) -> Mesh {
    let (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>) =
        (Arc::new(SystemClock), Arc::new(SystemEntropy::default()));
    let (node, name) = (NodeId(node), format!("node-{node}").parse().unwrap());
    let ttl = Duration::from_secs(3_600);
    let identity = NodeIdentity::self_issued(ca, TEST_CLUSTER, node, &name, &*clock, &*entropy, ttl).unwrap();
    let deps = MeshDeps {
        identity,
        socket: bind_udp("127.0.0.1:0".parse().unwrap()).unwrap(),
        runtime: Arc::new(quinn::TokioRuntime),
        clock,
        entropy,
        tasks: Tasks::new(),
    };
    Mesh::start(
        MeshConfig {
            cluster: TEST_CLUSTER,
            node,
            timers: MeshTimers::lan(),
        },
        deps,
    )
    .unwrap()
}

/// The other process: serves until its standard input ends. Arguments: CA certificate, CA key, address of node 1.
async fn serve(args: &[String]) {
    let ca = ClusterCa::from_pem(&args[0], &args[1]).unwrap();
    let mesh = mesh(2, &ca);
    mesh.serve(ECHO, Arc::new(|call: Call| call.answer.send(call.body)));
    let sunk = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&sunk);
    mesh.serve(
        SINK,
        Arc::new(move |call: Call| {
            let n = counter.fetch_add(1, Ordering::Relaxed);
            call.answer.send(Bytes::copy_from_slice(&n.to_le_bytes()));
        }),
    );
    let one = Member {
        node: NodeId(1),
        name: "node-1".parse().unwrap(),
        address: args[2].clone(),
    };
    mesh.set_members(vec![one]);
    println!("{}", mesh.local_addr().unwrap());
    let mut line = String::new();
    tokio::io::BufReader::new(tokio::io::stdin())
        .read_line(&mut line)
        .await
        .unwrap();
}

fn percentile(sorted: &[Duration], p: f64) -> Duration {
    sorted[((sorted.len() - 1) as f64 * p) as usize]
}

async fn measure() {
    let (clock, entropy) = (SystemClock, SystemEntropy::default());
    let ca = ClusterCa::create(TEST_CLUSTER, &clock, &entropy).unwrap();
    let mesh = mesh(1, &ca);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "serve",
            &ca.cert_pem(),
            &ca.key_pem(),
            &mesh.local_addr().unwrap().to_string(),
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut address = String::new();
    std::io::BufRead::read_line(
        &mut std::io::BufReader::new(child.stdout.take().unwrap()),
        &mut address,
    )
    .unwrap();
    let two = Member {
        node: NodeId(2),
        name: "node-2".parse().unwrap(),
        address: address.trim().to_owned(),
    };
    mesh.set_members(vec![two]);
    testing::becomes(&mesh, NodeId(2), jarvis_mesh::api::PeerState::Up).await;
    let body = Bytes::from_static(BODY);
    let patience = Duration::from_secs(5);

    let (mut times, began) = (Vec::new(), Instant::now());
    while began.elapsed() < RUN {
        let at = Instant::now();
        mesh.call(NodeId(2), Lane::Actors, ECHO, 0, body.clone(), patience)
            .await
            .unwrap();
        times.push(at.elapsed());
    }
    times.sort();
    println!(
        "sequential calls: p50 {:?}, p99 {:?}, {:.0}/s",
        percentile(&times, 0.5),
        percentile(&times, 0.99),
        times.len() as f64 / RUN.as_secs_f64()
    );
    for callers in [64u64, 512] {
        let count = Arc::new(AtomicU64::new(0));
        let began = Instant::now();
        let tasks: Vec<_> = (0..callers)
            .map(|order| {
                let (mesh, count, body) = (mesh.clone(), Arc::clone(&count), body.clone());
                tokio::spawn(async move {
                    while began.elapsed() < RUN {
                        mesh.call(NodeId(2), Lane::Actors, ECHO, order, body.clone(), patience)
                            .await
                            .unwrap();
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let rate = count.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
        println!("{callers} callers: {rate:.0} calls/s");
    }
    let (mut sent, began) = (0u64, Instant::now());
    while began.elapsed() < RUN {
        match mesh.cast(NodeId(2), Lane::Actors, SINK, 0, body.clone()) {
            Ok(()) => sent += 1,
            Err(_) => tokio::task::yield_now().await,
        }
    }
    while mesh
        .call(NodeId(2), Lane::Actors, SINK, 0, body.clone(), patience)
        .await
        .is_err()
    {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    println!(
        "one way: {:.0} casts/s",
        sent as f64 / began.elapsed().as_secs_f64()
    );
    println!("round trip by QUIC: {:?}", mesh.peers().borrow()[0].rtt);
    drop(child.stdin.take());
    child.wait().unwrap();
}

/// Three connected nodes that have nothing to say.
async fn idle() {
    let meshes = testing::cluster(3).await;
    meshes.iter().for_each(Mesh::probe_silent_peers);
    let used = || {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let fields: Vec<i64> = stat
            .rsplit(')')
            .next()
            .unwrap()
            .split_whitespace()
            .filter_map(|f| f.parse().ok())
            .collect();
        // User and system time, in hundredths of a second; the state's letter before them is no number.
        fields[10] + fields[11]
    };
    let before = used();
    let seconds = 10;
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let percent = (used() - before) as f64 / seconds as f64;
    println!(
        "idle: {:.2} % of a core a node, of {} nodes",
        percent / meshes.len() as f64,
        meshes.len()
    );
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let args: Vec<String> = std::env::args().skip(1).collect();
    runtime.block_on(async {
        match args.split_first() {
            Some((first, rest)) if first == "serve" => serve(rest).await,
            _ => {
                idle().await;
                measure().await;
            }
        }
    });
}
