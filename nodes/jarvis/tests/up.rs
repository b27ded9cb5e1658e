//! A cluster of real processes: it comes up, talks, survives a kill, stops and comes back with all it had.

mod common;

use std::io::{BufRead, BufReader};

use common::{Up, eventually, free_port, is_running, jarvis, jarvis_with, stderr, stdout};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

fn json(output: &std::process::Output) -> Value {
    assert!(output.status.success(), "{}", stderr(output));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("not one document: {}", stdout(output)))
}

fn pids(state: &Value) -> Vec<i64> {
    state["nodes"]
        .as_array()
        .expect("nodes")
        .iter()
        .filter_map(|node| node["pid"].as_i64())
        .collect()
}

#[test]
fn a_conversation_goes_on_when_a_node_is_killed_and_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, port) = (folder.path().join("up"), free_port());
    let dir = data.to_str().expect("text");
    let mut up = Up::start(&data, port, 3);

    // The line is exactly what was promised, and so is the file.
    let keys: Vec<_> = up
        .ready
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(keys, ["mqtt", "nodes", "ready", "token", "url"]);
    assert_eq!(up.ready["url"], format!("http://127.0.0.1:{port}"));
    let names: Vec<_> = up.ready["nodes"]
        .as_array()
        .expect("nodes")
        .iter()
        .map(|n| (n["name"].clone(), n["id"].clone()))
        .collect();
    assert_eq!(
        names,
        [
            ("node1".into(), 1.into()),
            ("node2".into(), 2.into()),
            ("node3".into(), 3.into())
        ]
    );
    assert_eq!(up.state(), up.ready);
    for node in ["node1", "node2", "node3"] {
        assert!(data.join(node).join("spool").is_dir(), "{node} has no spool");
    }

    let status = json(&jarvis(&["status", "--json", "--data", dir]));
    assert!(
        status["nodes"]
            .as_array()
            .expect("nodes")
            .iter()
            .all(|node| node["state"] == "up" && node["voter"] == true)
    );

    let said = json(&jarvis_with(
        &["chat", "--json", "--data", dir],
        "what is 6 times 7?\n",
    ));
    let session = said["session"].as_str().expect("a session").to_owned();
    assert!(
        said["messages"][1]["text"]
            .as_str()
            .expect("a reply")
            .contains("42"),
        "{said}"
    );

    // A second one on the same folder is refused, naming the first.
    let second = jarvis(&["up", "--data", dir]);
    assert_eq!(second.status.code(), Some(1));
    assert!(
        stderr(&second).contains(&format!("in use by process {}", up.pid())),
        "{}",
        stderr(&second)
    );

    // The leader is killed; the same conversation goes on.
    let leader = status["leader"].as_str().expect("a leader").to_owned();
    let index = up.ready["nodes"]
        .as_array()
        .expect("nodes")
        .iter()
        .position(|n| n["name"] == *leader)
        .expect("listed");
    let killed = pids(&up.ready)[index];
    kill_process(Pid::from_raw(killed as i32).expect("a pid"), Signal::KILL).expect("it runs");
    let said = json(&jarvis_with(
        &["chat", "--json", "--data", dir, "--session", &session],
        "what is 2 plus 3?\n",
    ));
    let texts: Vec<_> = said["messages"]
        .as_array()
        .expect("messages")
        .iter()
        .map(|m| m["seq"].as_u64())
        .collect();
    assert_eq!(texts, [Some(1), Some(2), Some(3), Some(4)], "{said}");
    assert!(
        said["messages"][3]["text"]
            .as_str()
            .expect("a reply")
            .contains('5'),
        "{said}"
    );

    // For people a pipe gets the answers to its own lines, nothing of before.
    let plain = jarvis_with(
        &["chat", "--data", dir, "--session", &session],
        "what is 20 plus 3?\n",
    );
    assert_eq!(stdout(&plain).trim().lines().count(), 1, "{}", stdout(&plain));
    assert!(stdout(&plain).contains("23"), "{}", stdout(&plain));

    // What steers a terminal does not reach it, though programs get the text as it was said.
    let hostile = "\u{1b}]0;title\u{7}open the door\n";
    let said = json(&jarvis_with(&["chat", "--json", "--data", dir], hostile));
    let reply = said["messages"][1]["text"].as_str().expect("a reply");
    assert!(reply.contains("\u{1b}]0;title"), "{reply:?}");
    let plain = stdout(&jarvis_with(&["chat", "--data", dir], hostile));
    assert!(
        plain.contains("open the door") && !plain.contains(['\u{1b}', '\u{7}']),
        "{plain:?}"
    );

    // It is started again, under another pid.
    let state = eventually("the node's return", || {
        let state = up.state();
        state["nodes"][index]["pid"]
            .as_i64()
            .is_some_and(|pid| pid != killed)
            .then_some(state)
    });
    eventually("the cluster's wholeness", || {
        let status = json(&jarvis(&["status", "--json", "--data", dir]));
        status["nodes"]
            .as_array()?
            .iter()
            .all(|node| node["state"] == "up")
            .then_some(())
    });

    // Ctrl-C stops all of it, cleanly.
    up.signal(Signal::INT);
    assert!(up.wait().success());
    assert!(pids(&state).into_iter().all(|pid| !is_running(pid)));
    assert_eq!(up.state()["ready"], false);
    let stopped = jarvis(&["status", "--data", dir]);
    assert!(stderr(&stopped).contains("jarvis up"), "{}", stderr(&stopped));

    // And started again it has everything it had.
    let again = Up::start(&data, port, 3);
    assert_eq!(again.ready["token"], up.ready["token"]);
    let server = again.ready["url"].as_str().expect("a URL");
    let token = again.ready["token"].as_str().expect("a token");
    let said = json(&jarvis_with(
        &[
            "chat",
            "--json",
            "--server",
            server,
            "--token",
            token,
            "--session",
            &session,
        ],
        "hello\n",
    ));
    assert_eq!(said["messages"].as_array().expect("messages").len(), 8, "{said}");
}

#[test]
fn a_cluster_is_not_started_with_fewer_nodes_than_it_has() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, port) = (folder.path().join("up"), free_port());
    let mut up = Up::start(&data, port, 2);
    up.signal(Signal::TERM);
    assert!(up.wait().success());
    let dir = data.to_str().expect("text");
    let fewer = jarvis(&["up", "--nodes", "1", "--port", &port.to_string(), "--data", dir]);
    assert!(
        stderr(&fewer).contains("start it with --nodes 2"),
        "{}",
        stderr(&fewer)
    );
    drop(Up::start(&data, port, 3));
}

#[test]
fn nodes_do_not_outlive_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, port) = (folder.path().join("up"), free_port());
    let mut up = Up::start(&data, port, 1);
    let pid = pids(&up.ready)[0];
    up.signal(Signal::KILL);
    up.wait();
    // Started again at once, it waits until they are gone.
    drop(Up::start(&data, port, 1));
    eventually("the node's end", || (!is_running(pid)).then_some(()));
}

#[test]
fn reset_waits_for_the_nodes_of_an_up_that_was_killed() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, port) = (folder.path().join("up"), free_port());
    let mut up = Up::start(&data, port, 1);
    let pid = pids(&up.ready)[0];
    up.signal(Signal::KILL);
    up.wait();
    let again = Up::start_with(&data, port, 1, &["--reset", "--yes"]);
    assert!(!is_running(pid), "its folder was deleted below it");
    assert_ne!(again.ready["token"], up.ready["token"]);
}

#[test]
fn people_see_what_a_start_waits_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, port) = (folder.path().join("up"), free_port());
    let mut child = common::command()
        .args(["up", "--nodes", "2", "--port", &port.to_string(), "--data"])
        .arg(&data)
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut shown = String::new();
    let mut lines = BufReader::new(child.stdout.take().expect("piped"));
    while !shown.contains("Ctrl-C") && lines.read_line(&mut shown).expect("text") > 0 {}
    kill_process(Pid::from_child(&child), Signal::TERM).expect("it runs");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{shown}{}", stderr(&output));
    for part in [
        "2 nodes are ready",
        "page:",
        "login: admin /",
        "jarvis chat --data",
    ] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
    // Not on a terminal: plain lines.
    let progress = stderr(&output);
    let expected = [
        "starting the cluster",
        "waiting until node1 serves",
        "node2 joins",
        "waiting until every",
    ];
    let found: Vec<_> = expected.iter().map(|part| progress.find(part)).collect();
    assert!(
        found.iter().all(Option::is_some) && found.is_sorted(),
        "{progress}"
    );
}

#[test]
fn a_minority_says_that_nothing_can_be_committed() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, port) = (folder.path().join("up"), free_port());
    let dir = data.to_str().expect("text");
    let up = Up::start_with(&data, port, 3, &["--no-restart"]);
    for pid in &pids(&up.ready)[1..] {
        kill_process(Pid::from_raw(*pid as i32).expect("a pid"), Signal::KILL).expect("it runs");
    }
    let status = eventually("the leader's end", || {
        let status = json(&jarvis(&["status", "--json", "--data", dir]));
        status["leader"].is_null().then_some(status)
    });
    assert!(
        status["degraded"]
            .as_array()
            .is_some_and(|degraded| degraded.iter().any(|problem| problem["what"]
                .as_str()
                .is_some_and(|what| what.starts_with("no leader")))),
        "{status}"
    );
    let shown = jarvis(&["status", "--data", dir]);
    assert!(shown.status.success(), "{}", stderr(&shown));
    assert!(
        stdout(&shown).contains("degraded: no majority answers; nothing can be committed\n  next: "),
        "{}",
        stdout(&shown)
    );
}

#[test]
fn reset_begins_anew_and_another_port_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, port) = (folder.path().join("up"), free_port());
    let dir = data.to_str().expect("text");
    let mut up = Up::start(&data, port, 1);
    let cluster = |up: &Up| {
        let status = json(&jarvis(&[
            "status",
            "--json",
            "--data",
            up.data.to_str().expect("text"),
        ]));
        status["cluster_id"].as_str().expect("an id").to_owned()
    };
    let before = cluster(&up);
    up.signal(Signal::TERM);
    assert!(up.wait().success());
    let moved = jarvis(&[
        "up",
        "--nodes",
        "1",
        "--port",
        &free_port().to_string(),
        "--data",
        dir,
    ]);
    assert_eq!(moved.status.code(), Some(1));
    assert!(stderr(&moved).contains("--port of before"), "{}", stderr(&moved));

    let mut child = common::command()
        .args([
            "up",
            "--json",
            "--nodes",
            "1",
            "--reset",
            "--yes",
            "--port",
            &port.to_string(),
            "--data",
            dir,
        ])
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut line = String::new();
    let stdout = child.stdout.as_mut().expect("piped");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).expect("a line");
    let status = json(&jarvis(&["status", "--json", "--data", dir]));
    assert_ne!(status["cluster_id"], *before);
    kill_process(Pid::from_child(&child), Signal::TERM).expect("it runs");
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn what_is_left_of_a_cluster_lets_a_lost_node_in_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, port) = (folder.path().join("up"), free_port());
    let dir = data.to_str().expect("text");
    let mut up = Up::start(&data, port, 2);
    let said = json(&jarvis_with(
        &["chat", "--json", "--data", dir],
        "what is 6 times 7?\n",
    ));
    let session = said["session"].as_str().expect("a session").to_owned();
    let index = |node: &str, which: &str| {
        let data = data.join(node);
        let output = jarvis(&["status", "--json", "--data", data.to_str().expect("text")]);
        let status: Value = serde_json::from_slice(&output.stdout).ok()?;
        status[which].as_u64()
    };
    let committed = index("node1", "commit_index").expect("it leads");
    eventually("the other has it", || {
        (index("node2", "applied_index")? >= committed).then_some(())
    });
    up.signal(Signal::INT);
    up.wait();

    // The disk of the one that voted is gone.
    std::fs::remove_dir_all(data.join("node1")).expect("removed");
    let left = data.join("node2");
    let left = left.to_str().expect("text");
    json(&jarvis(&["recover", "--yes", "--json", "--data", left]));
    let up = Up::start(&data, port, 2);
    let ids: Vec<_> = up.ready["nodes"].as_array().expect("nodes").iter().collect();
    assert_eq!(ids.len(), 2);
    assert_eq!((&ids[0]["name"], &ids[0]["id"]), (&"node1".into(), &3.into()));
    let again = json(&jarvis_with(
        &["chat", "--json", "--data", dir, "--session", &session],
        "what is 2 plus 3?\n",
    ));
    let seqs: Vec<_> = again["messages"]
        .as_array()
        .expect("messages")
        .iter()
        .map(|m| m["seq"].as_u64())
        .collect();
    assert_eq!(seqs, [Some(1), Some(2), Some(3), Some(4)], "{again}");
}
