//! Each way in which a command is refused before anything runs: what, why, what next, and the exit code.

mod common;

use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use common::{Running, command, free_port, jarvis, stderr, stdout};

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
        &["is no cluster of `jarvis up`"],
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
fn a_port_that_is_in_use_for_udp_only_is_named_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let port = free_port();
    let _taken = UdpSocket::bind(("127.0.0.1", port)).expect("free");
    let address = format!("127.0.0.1:{port}");
    assert!(
        jarvis(&["init", "--data", text(&data), "--listen", &address])
            .status
            .success()
    );
    check(
        &["run", "--data", text(&data)],
        1,
        &[&format!("udp port {port} is in use"), "choose another port"],
    );
    let up = folder.path().join("up");
    check(
        &["up", "--port", &port.to_string(), "--data", text(&up)],
        1,
        &[&format!("port {port} is in use"), "--port"],
    );
}

#[test]
fn a_second_node_on_a_folder_is_refused_with_the_pid_of_the_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let address = format!("127.0.0.1:{}", free_port());
    assert!(
        jarvis(&["init", "--data", text(&data), "--listen", &address])
            .status
            .success()
    );
    let first = Running::start(&data);
    let pid = first.pid();
    check(
        &["run", "--data", text(&data)],
        1,
        &[
            &format!("is in use by process {pid}"),
            &format!("stop that node first (kill {pid})"),
        ],
    );
    // The first goes on, and says who is not there.
    check(
        &["why", "session/zzz", "--data", text(&data)],
        1,
        &["nothing is known of session/zzz", "session \"zzz\"", "not found"],
    );
    check(
        &["why", "session/01J9ZQ5M3V8N2X4C6B7D8F9G0H", "--data", text(&data)],
        1,
        &["session \"01J9ZQ5M3V8N2X4C6B7D8F9G0H\" not found"],
    );
    check(
        &["why", "sesion/x", "--data", text(&data)],
        1,
        &["the kinds are session"],
    );
    drop(first);
    // Killed, it leaves the folder free.
    drop(Running::start(&data));
}

#[test]
fn the_data_of_another_cluster_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (one, other) = (folder.path().join("one"), folder.path().join("other"));
    for data in [&one, &other] {
        assert!(jarvis(&["init", "--data", text(data)]).status.success());
    }
    std::fs::remove_dir_all(one.join("tls")).expect("there");
    std::fs::rename(other.join("tls"), one.join("tls")).expect("moved");
    check(
        &["run", "--data", text(&one)],
        1,
        &["but the keys in tls/ are of cluster", "parts of two nodes"],
    );
}

#[test]
fn a_folder_where_a_file_must_be_is_refused_and_so_is_the_reverse() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    std::fs::create_dir_all(data.join("node.toml")).expect("made");
    for command in ["run", "init", "status"] {
        check(
            &[command, "--data", text(&data)],
            1,
            &["cannot read", "node.toml", "a folder is where a file must be"],
        );
    }
    let data = folder.path().join("fresh");
    assert!(jarvis(&["init", "--data", text(&data)]).status.success());
    let spool = std::fs::metadata(data.join("spool")).expect("made at init");
    assert!(spool.is_dir() && spool.permissions().mode() & 0o777 == 0o700);
    std::fs::remove_dir_all(data.join("tls")).expect("there");
    std::fs::write(data.join("tls"), "x").expect("written");
    check(
        &["run", "--data", text(&data)],
        1,
        &["the node cannot start", "tls"],
    );
}

#[test]
fn a_full_disk_stops_a_node_before_it_begins() {
    let folder = tempfile::tempdir().expect("a folder");
    // A small disk of its own, in a namespace that goes with the process; where this user may make none, the test of the
    // folder itself must do.
    let script = "mount -t tmpfs -o size=20m none \"$1\" || exit 77
        \"$0\" init --data \"$1/data\" >&2 || exit 78
        head -c 8000000 /dev/zero > \"$1/other\" || exit 79
        exec \"$0\" run --data \"$1/data\"";
    let output = command_of(
        "unshare",
        &["-m", "sh", "-c", script, common::JARVIS, text(folder.path())],
    );
    let Some(output) = output.filter(|output| !matches!(output.status.code(), Some(77 | 126 | 127))) else {
        return;
    };
    let words = stderr(&output);
    if words.starts_with("unshare:") {
        return;
    }
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(
        words.contains("bytes free, and a node needs") && words.contains("next: make room"),
        "{words}"
    );
}

/// Another program's output; none where there is no such program.
fn command_of(program: &str, args: &[&str]) -> Option<std::process::Output> {
    let mut clean = std::process::Command::new(program);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("JARVIS_")) {
        clean.env_remove(name);
    }
    clean.args(args).output().ok()
}

#[test]
fn programs_get_json_for_wrong_usage_and_for_completions() {
    let output = jarvis(&["up", "--json", "--nodes", "many"]);
    assert_eq!((output.status.code(), output.stdout.is_empty()), (Some(2), true));
    let document: serde_json::Value = serde_json::from_slice(&output.stderr).expect("JSON");
    assert!(
        document["error"]["why"]
            .as_str()
            .is_some_and(|why| why.contains("'many'")),
        "{document}"
    );
    check(
        &["up", "--port", "65530", "--data", "/nonexistent"],
        2,
        &["node3 would have port 65550", "choose --port 65515 or less"],
    );

    let output = jarvis(&["completions", "bash", "--json"]);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one document");
    assert_eq!(document["shell"], "bash");
    let script = document["script"].as_str().expect("text").trim_end().to_owned();
    assert!(script.contains("_jarvis()"), "{script}");
    assert_eq!(stdout(&jarvis(&["completions", "bash"])).trim_end(), script);
}

#[test]
fn what_run_would_refuse_config_check_does_not_pass() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("jarvis.toml");
    std::fs::write(&file, "[log]\nfilter = \"info,jarvis=loud\"\n").expect("written");
    check(
        &["config", "check", text(&file)],
        1,
        &["jarvis.toml:2: log.filter: expected directives"],
    );
    let responder = "[[responder]]\nkind = \"ollama\"\nurl = \"http://127.0.0.1:9\"\nmodel = \"m\"\n";
    std::fs::write(&file, format!("{responder}api_key_file = \"/nonexistent/key\"\n")).expect("written");
    check(
        &["config", "check", text(&file)],
        1,
        &["jarvis.toml:5: responder[0].api_key_file: /nonexistent/key cannot be read"],
    );
    std::fs::write(&file, format!("{responder}api_key_env = \"TEST_MODEL_KEY\"\n")).expect("written");
    let run = |with_key: bool| {
        let mut check = command();
        check.args(["config", "check", "--json", text(&file)]);
        check.env_remove("TEST_MODEL_KEY");
        if with_key {
            check.env("TEST_MODEL_KEY", "secret");
        }
        let output = check.output().expect("the binary runs");
        assert!(output.status.success(), "{}", stderr(&output));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).expect("one document")
    };
    let warned = run(false);
    assert!(
        warned["warnings"][0]
            .as_str()
            .is_some_and(|warning| warning.contains("TEST_MODEL_KEY is not set")),
        "{warned}"
    );
    assert_eq!(run(true)["warnings"], serde_json::json!([]));
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
