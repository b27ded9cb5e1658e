//! Drills on clusters of real processes: what they find, when they refuse, what they leave behind.

mod common;

use std::path::Path;
use std::process::{Child, Stdio};

use common::{Up, command, eventually, free_port, jarvis, stderr};
use jarvis_client::{Api, ApiError};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

const FAULTS: &str = "/api/v1/drill/faults";

/// Runs one round of a drill on the cluster of a data folder; it must pass.
fn passes(name: &str, data: &Path, reports: &Path) -> Value {
    passes_rounds(name, 1, data, reports)
}

/// Runs so many rounds.
fn passes_rounds(name: &str, rounds: u32, data: &Path, reports: &Path) -> Value {
    let rounds = &rounds.to_string();
    let (data, reports) = (data.to_str().expect("text"), reports.to_str().expect("text"));
    let line = [
        "drill",
        name,
        "--rounds",
        rounds,
        "--sessions",
        "3",
        "--yes",
        "--json",
        "--data",
        data,
        "--report",
        reports,
    ];
    let output = jarvis(&line);
    assert!(output.status.success(), "{name}: {}", stderr(&output));
    let verdict: Value = serde_json::from_slice(&output.stdout).expect("one document");
    assert_eq!(
        (&verdict["drill"], &verdict["verdict"]),
        (&name.into(), &"passed".into())
    );
    for law in [
        "lost",
        "repeated",
        "unanswered",
        "seq_gaps",
        "times_backwards",
        "double_actions",
    ] {
        assert_eq!(verdict[law], 0, "{name}: {law}");
    }
    assert_eq!(verdict["transcripts_equal"], true);
    assert!(verdict["acts"]["done"].as_u64() > Some(0), "{verdict}");
    let rules = verdict["rules"].as_array().expect("rules");
    assert!(
        rules.len() > 8 && rules.iter().all(|rule| rule["held"] == true),
        "{verdict}"
    );
    verdict
}

/// A drill that must find a cluster of its own whole before and after.
fn passes_on_its_own(name: &str) -> Value {
    passes_rounds_on_its_own(name, 1)
}

/// So many rounds of it.
fn passes_rounds_on_its_own(name: &str, rounds: u32) -> Value {
    let folder = tempfile::tempdir().expect("a folder");
    let up = Up::start(&folder.path().join("up"), free_port(), 3);
    let before = up.state();
    let verdict = passes_rounds(name, rounds, &up.data, &folder.path().join("reports"));
    assert_eq!(
        up.state()["nodes"].as_array().map(Vec::len),
        before["nodes"].as_array().map(Vec::len)
    );
    for node in before["nodes"].as_array().expect("nodes") {
        assert_eq!(
            ask(node, &before, |api| async move { api.get(FAULTS).await }).expect("it answers")["faults"],
            json!([]),
            "{name} leaves nothing behind"
        );
    }
    verdict
}

/// Asks a node as the cluster's administrator.
fn ask<F: Future<Output = Result<Value, ApiError>>>(
    node: &Value,
    state: &Value,
    call: impl FnOnce(Api) -> F,
) -> Result<Value, ApiError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let url = node["url"].as_str().expect("a url");
    let api = Api::new(url, state["token"].as_str().map(str::to_owned)).expect("an address");
    runtime.block_on(call(api))
}

#[test]
fn a_drill_kills_a_gateway_and_reports() {
    let folder = tempfile::tempdir().expect("a folder");
    let up = Up::start(&folder.path().join("up"), free_port(), 3);
    let (dir, reports) = (up.data.to_str().expect("text"), folder.path().join("reports"));
    let refused = jarvis(&["drill", "kill-gateway", "--data", dir]);
    assert_eq!(
        refused.status.code(),
        Some(2),
        "nobody confirmed it: {}",
        stderr(&refused)
    );

    let verdict = passes("kill-gateway", &up.data, &reports);
    assert_eq!(verdict["rounds"][0]["round"], 1);
    assert!(
        verdict["gaps_ms"]["p50"].as_f64().is_some_and(|gap| gap > 0.0),
        "{verdict}"
    );

    let mut files: Vec<_> = std::fs::read_dir(&reports)
        .expect("written")
        .map(|entry| entry.expect("listed").path())
        .collect();
    files.sort();
    assert_eq!(files.len(), 2, "{files:?}");
    let html = std::fs::read_to_string(&files[0]).expect("readable");
    assert!(
        html.contains("<svg") && html.contains("passed") && !html.contains("src="),
        "{html}"
    );
    assert!(html.contains("no two owners act at once"), "{html}");
    let json: Value = serde_json::from_slice(&std::fs::read(&files[1]).expect("readable")).expect("JSON");
    assert_eq!(json, verdict);
}

/// What was done in each round.
fn kinds(verdict: &Value) -> Vec<&str> {
    let rounds = verdict["rounds"].as_array().expect("rounds");
    rounds.iter().filter_map(|round| round["kind"].as_str()).collect()
}

#[test]
fn a_node_that_stands_still_is_done_without_and_one_that_hesitates_is_waited_for() {
    let verdict = passes_rounds_on_its_own("pause", 2);
    assert_eq!(kinds(&verdict), ["long pause", "short pause"]);
}

#[test]
fn a_node_that_is_cut_off_is_done_without_whatever_the_cut() {
    let verdict = passes_rounds_on_its_own("partition", 5);
    let all = [
        "cut off from all nodes",
        "hears nothing",
        "is not heard",
        "leader cut off from its clients",
        "leader cut off from all nodes",
    ];
    assert_eq!(kinds(&verdict), all);
}

#[test]
fn a_node_whose_disk_is_full_stops_and_comes_back() {
    passes_on_its_own("full-disk");
}

#[test]
fn all_nodes_are_restarted_in_turn() {
    let verdict = passes_on_its_own("rolling-restart");
    assert_eq!(verdict["rounds"].as_array().map(Vec::len), Some(3));
}

#[test]
fn nothing_is_lost_when_the_power_is_cut() {
    passes_on_its_own("power-cut");
}

#[test]
fn what_needs_no_processes_works_through_any_node() {
    let folder = tempfile::tempdir().expect("a folder");
    let up = Up::start(&folder.path().join("up"), free_port(), 3);
    let reports = folder.path().join("reports");
    // The folder of one node says nothing of `jarvis up`, and its credential is good at that node only.
    let node = up.data.join("node2");
    passes("slow-disk", &node, &reports);
    let refused = jarvis(&["drill", "pause", "--yes", "--data", node.to_str().expect("text")]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        stderr(&refused).contains("is no cluster of `jarvis up`"),
        "{}",
        stderr(&refused)
    );
    let state = up.state();
    let tokens = ask(&state["nodes"][0], &state, |api| async move {
        api.get("/api/v1/tokens").await
    });
    let tokens = tokens.expect("they are listed").to_string();
    assert!(
        !tokens.contains("jarvis drill"),
        "what was made for the drill is taken back: {tokens}"
    );
}

#[test]
fn slow_links_and_a_wrong_clock_do_not_stop_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let up = Up::start(&folder.path().join("up"), free_port(), 3);
    let reports = folder.path().join("reports");
    passes("slow-network", &up.data, &reports);
    passes("clock-jump", &up.data, &reports);
}

#[test]
fn a_cluster_that_would_not_survive_is_left_alone() {
    let alike = [
        "kill-owner",
        "kill-leader",
        "kill-gateway",
        "pause",
        "partition",
        "slow-disk",
        "full-disk",
        "clock-jump",
    ];
    for nodes in [1, 2] {
        let folder = tempfile::tempdir().expect("a folder");
        let up = Up::start(&folder.path().join("up"), free_port(), nodes);
        let pids = up.state()["nodes"].clone();
        let dir = up.data.to_str().expect("text");
        let refused = |name: &str, why: &str| {
            let output = jarvis(&["drill", name, "--yes", "--data", dir]);
            let text = stderr(&output);
            assert_eq!(output.status.code(), Some(1), "{name}: {text}");
            assert!(text.contains(why) && text.contains("next:"), "{name}: {text}");
        };
        for name in alike {
            refused(name, &format!("1 of {nodes} nodes vote"));
        }
        if nodes == 1 {
            refused("slow-network", "there is one");
        }
        assert_eq!(up.state()["nodes"], pids, "nothing was stopped");
    }
}

#[test]
fn a_lone_node_survives_a_power_cut() {
    let folder = tempfile::tempdir().expect("a folder");
    let up = Up::start(&folder.path().join("up"), free_port(), 1);
    passes("power-cut", &up.data, &folder.path().join("reports"));
}

/// A drill that runs beside the test.
struct Running(Child);

impl Running {
    fn start(name: &str, up: &Up, reports: &Path) -> Self {
        let child = command()
            .args([
                "drill",
                name,
                "--rounds",
                "50",
                "--sessions",
                "3",
                "--yes",
                "--data",
            ])
            .arg(&up.data)
            .arg("--report")
            .arg(reports)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        Self(child)
    }

    fn end_by(mut self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).expect("it runs");
        let status = self.0.wait().expect("a child");
        assert!(!status.success(), "it was broken off");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The first fault that any node has.
fn a_fault(state: &Value) -> Option<Value> {
    let nodes = state["nodes"].as_array().expect("nodes");
    nodes.iter().find_map(|node| {
        let found = ask(node, state, |api| async move { api.get(FAULTS).await }).ok()?;
        found["faults"].as_array()?.first().cloned()
    })
}

#[test]
fn a_drill_that_is_broken_off_puts_everything_right() {
    let folder = tempfile::tempdir().expect("a folder");
    let up = Up::start(&folder.path().join("up"), free_port(), 3);
    let (state, reports) = (up.state(), folder.path().join("reports"));
    let drill = Running::start("partition", &up, &reports);
    eventually("a fault", || a_fault(&state));
    let dir = up.data.to_str().expect("text");
    let another = jarvis(&["drill", "kill-owner", "--yes", "--data", dir]);
    assert!(
        stderr(&another).contains("another drill runs"),
        "{}",
        stderr(&another)
    );
    drill.end_by(Signal::INT);
    assert_eq!(a_fault(&state), None, "it was ended, not left to end by itself");

    let pids: Vec<i64> = state["nodes"]
        .as_array()
        .expect("nodes")
        .iter()
        .filter_map(|node| node["pid"].as_i64())
        .collect();
    let drill = Running::start("pause", &up, &reports);
    let stopped = eventually("a pause", || pids.iter().copied().find(|pid| stands_still(*pid)));
    drill.end_by(Signal::TERM);
    assert!(!stands_still(stopped));

    // Nothing can be done by a drill that is killed; the fault knows its own end.
    let drill = Running::start("partition", &up, &reports);
    eventually("a fault", || a_fault(&state));
    drill.end_by(Signal::KILL);
    let left = a_fault(&state).expect("it is still there");
    let ends_in_ms = left["ends_in_ms"].as_u64().expect("an end");
    assert!((1..=60_000).contains(&ends_in_ms), "{left}");
    let next = jarvis(&["drill", "kill-owner", "--yes", "--data", dir]);
    let refused = stderr(&next);
    assert!(
        refused.contains("has a fault already") || refused.contains("not whole"),
        "{refused}"
    );
}

fn stands_still(pid: i64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .is_some_and(|rest| rest.trim_start().starts_with('T'))
}

#[test]
fn faults_are_passed_on_to_the_node_that_is_meant() {
    let folder = tempfile::tempdir().expect("a folder");
    let up = Up::start(&folder.path().join("up"), free_port(), 2);
    let state = up.state();
    let first = &state["nodes"][0];
    let set = |order: Value| ask(first, &state, |api| async move { api.post(FAULTS, order).await });
    let made = set(json!({"kind": "clock", "node": "node2", "offset_ms": 5_000, "lasts_ms": 60_000}));
    let made = made.expect("set");
    assert_eq!(
        (&made["node"], &made["ends_in_ms"]),
        (&json!("node2"), &json!(60_000))
    );
    let cut = set(
        json!({"kind": "network", "node": "node2", "peers": ["node1"], "loss_percent": 1, "lasts_ms": 60_000}),
    );
    let address = first["url"].as_str().expect("a url").replace("http://", "");
    assert!(
        cut.expect("set")["fault"]
            .as_str()
            .is_some_and(|text| text.contains(&address))
    );

    let get = |node: &Value, path: &'static str| {
        ask(node, &state, |api| async move { api.get(path).await }).expect("it answers")
    };
    assert_eq!(get(first, FAULTS)["faults"], json!([]), "it is not this node's");
    let listed = get(first, "/api/v1/drill/faults?node=node2");
    assert_eq!(listed["faults"].as_array().map(Vec::len), Some(2), "{listed}");
    let status = get(&state["nodes"][1], "/api/v1/cluster")["degraded"].to_string();
    assert!(status.contains("the wall clock is wrong by 5000 ms"), "{status}");

    let cleared = ask(first, &state, |api| async move {
        api.delete("/api/v1/drill/faults?node=node2&id=1").await
    });
    assert_eq!(cleared.expect("cleared")["cleared"], 1);
    let cleared = ask(first, &state, |api| async move {
        api.delete("/api/v1/drill/faults?node=node2").await
    });
    assert_eq!(cleared.expect("cleared")["cleared"], 1);

    for (order, status, why) in [
        (json!({"kind": "flood", "lasts_ms": 5}), 400, "allowed are"),
        (json!({"kind": "full_disk"}), 400, "lasts from 1 ms"),
        (
            json!({"kind": "full_disk", "lasts_ms": 600_001}),
            400,
            "lasts from 1 ms to 600 s",
        ),
        (
            json!({"kind": "network", "lasts_ms": 5}),
            400,
            "a network fault drops",
        ),
        (
            json!({"kind": "full_disk", "node": "attic", "lasts_ms": 5}),
            404,
            "the members are",
        ),
        (
            json!({"kind": "network", "drop": "in", "peers": [], "lasts_ms": 5}),
            400,
            "names nobody",
        ),
        (
            json!({"kind": "network", "drop": "in", "peers": ["node1"], "lasts_ms": 5}),
            400,
            "no link to itself",
        ),
        (
            json!({"kind": "network", "drop": "in", "peers": ["attic"], "lasts_ms": 5}),
            400,
            "the members are",
        ),
        (
            json!({"kind": "http_cut", "lasts_ms": 5}),
            409,
            "ask another node",
        ),
    ] {
        let error = set(order.clone()).expect_err("refused");
        assert_eq!(error.status(), Some(status), "{order}: {error}");
        assert!(error.to_string().contains(why), "{order}: {error}");
    }
}
