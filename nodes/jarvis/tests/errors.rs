//! Each way in which a command is refused before anything runs: what, why, what next, and the exit code.

mod common;

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use common::{free_port, jarvis, stderr, stdout};

/// The command fails with `code`, and its words contain all of `parts`.
fn check(args: &[&str], code: i32, parts: &[&str]) {
    let output = jarvis(args);
    let words = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {words}");
    for part in parts {
        assert!(words.contains(part), "{args:?}: {part:?} is not in\n{words}");
    }
    assert!(!words.contains("panicked"), "{words}");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

#[test]
fn a_node_that_does_not_exist_is_told_as_such() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = text(folder.path());
    for command in ["run", "status", "chat", "invite"] {
        check(
            &[command, "--data", dir],
            1,
            &[
                "why: the data folder",
                "belongs to no cluster yet",
                "jarvis init",
                "jarvis join",
            ],
        );
    }
    check(
        &["drill", "kill-owner", "--yes", "--data", dir],
        1,
        &["holds no cluster of `jarvis up`"],
    );
    check(
        &["status", "--server", "http://127.0.0.1:1"],
        1,
        &["does not answer", "next:"],
    );
    check(&["status", "--server", "nonsense"], 2, &["is not an address"]);
    check(&["up", "--nodes", "0"], 2, &["--nodes"]);
    check(&["drill", "kill-onwer"], 2, &["did you mean kill-owner?"]);
}

#[test]
fn errors_are_json_where_json_was_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = jarvis(&["status", "--json", "--data", text(folder.path())]);
    assert!(output.stdout.is_empty());
    let document: serde_json::Value = serde_json::from_slice(&output.stderr).expect("JSON");
    assert!(
        document["error"]["why"]
            .as_str()
            .is_some_and(|why| why.contains("no cluster yet")),
        "{document}"
    );
}

#[test]
fn a_folder_that_is_taken_newer_damaged_or_wiped_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let dir = text(&data);
    let init = jarvis(&["init", "--name", "attic", "--data", dir, "--json"]);
    assert!(init.status.success(), "{}", stderr(&init));
    let made: serde_json::Value = serde_json::from_str(&stdout(&init)).expect("one document");
    assert_eq!((&made["name"], &made["node_id"]), (&"attic".into(), &1.into()));
    check(
        &["init", "--data", dir],
        1,
        &["already belongs to node attic", "jarvis run"],
    );
    check(&["join", "AAAA", "--data", dir], 1, &["not a join token"]);
    for secret in ["admin.token", "node.toml", "tls/node.key", "tls/ca.key"] {
        let mode = std::fs::metadata(data.join(secret))
            .expect("there")
            .permissions()
            .mode()
            & 0o777;
        assert_eq!(mode, 0o600, "{secret}");
    }

    let file = data.join("node.toml");
    let right = std::fs::read_to_string(&file).expect("there");
    let with = |text: String, parts: &[&str]| {
        std::fs::write(&file, text).expect("written");
        check(&["run", "--data", dir], 1, parts);
    };
    with(
        right.replace("format = 1", "format = 99"),
        &["has format 99", "install the newer jarvis"],
    );
    with("format = 1\n".to_owned(), &["is damaged"]);
    with(
        right.replace("has_log = false", "has_log = true"),
        &["the log of node attic is gone", "jarvis remove attic"],
    );
    let other = made["cluster_id"]
        .as_str()
        .expect("an id")
        .replace(|c: char| c.is_ascii_digit(), "0");
    with(
        right.replace(made["cluster_id"].as_str().expect("an id"), &other),
        &["the keys in tls/ are of cluster"],
    );

    std::fs::write(&file, &right).expect("written");
    std::fs::remove_file(data.join("tls/node.key")).expect("there");
    check(&["run", "--data", dir], 1, &["the keys of node attic are gone"]);
}

#[test]
fn a_port_in_use_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    assert!(
        jarvis(&["init", "--data", text(&data), "--listen", &address])
            .status
            .success()
    );
    check(
        &["run", "--data", text(&data)],
        1,
        &["is in use", "choose another port"],
    );
    let port = address.rsplit(':').next().expect("a port").to_owned();
    let up = folder.path().join("up");
    check(
        &["up", "--port", &port, "--data", text(&up)],
        1,
        &[&format!("port {port} is in use"), "--port"],
    );
    assert!(!up.join("node1").exists(), "nothing was begun");
}

#[test]
fn a_folder_that_cannot_be_made_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "x").expect("written");
    check(&["init", "--data", text(&file)], 1, &["cannot create", "next:"]);
    check(
        &["init", "--data", "/proc/nothing/here"],
        1,
        &["cannot create", "next:"],
    );
}

#[test]
fn a_wrong_configuration_stops_everything_before_a_port_opens() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("jarvis.toml");
    std::fs::write(&file, "[limits]\nmesage_chars = 5\n[node]\nlisten = \"x\"\n").expect("written");
    let parts = [
        "jarvis.toml:2: limits.mesage_chars",
        "did you mean \"message_chars\"?",
        "jarvis.toml:4: node.listen",
    ];
    check(&["config", "check", text(&file)], 1, &parts);
    let port = free_port().to_string();
    let up = folder.path().join("up");
    check(
        &[
            "up",
            "--config",
            text(&file),
            "--port",
            &port,
            "--data",
            text(&up),
        ],
        1,
        &parts,
    );
    check(&["init", "--data", text(folder.path())], 1, &parts);
    std::fs::write(&file, "[limits]\nmessage_chars = 5\n").expect("written");
    assert!(jarvis(&["config", "check", text(&file)]).status.success());
    let shown = jarvis(&["config", "show", "--data", text(folder.path())]);
    assert!(stdout(&shown).contains("message_chars = 5"), "{}", stdout(&shown));
}
