//! `jarvis automation`: files without a node, and everything else with one.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use common::{Running, eventually, free_port, jarvis, stderr, stdout};
use serde_json::Value;

const NIGHT: &str = "
- id: night
  alias: Night lights
  triggers: [{trigger: webhook, webhook_id: s3cret}]
  actions:
    - choose:
        - conditions: \"{{ name == 'Ada' }}\"
          sequence: [{event: greeted, event_data: {who: \"{{ name }}\"}}]
    - delay: {milliseconds: 300}
- id: greeted
  triggers: [{trigger: event, event_type: greeted}]
  actions: [{stop: \"done\"}]
";

const WRONG: &str = "- alias: Wrong\n  triggers: [{trigger: nonsense}]\n  actions: []\n";

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

/// Runs it: its exit code, and what it wrote.
fn run(args: &[&str]) -> (Option<i32>, String, String) {
    let output = jarvis(args);
    let words = stderr(&output);
    assert!(!words.contains("panicked"), "{args:?}: {words}");
    (output.status.code(), stdout(&output), words)
}

/// Runs it with `--json`: it succeeds, and gives one document.
fn document(data: &Path, args: &[&str]) -> Value {
    let line = [&["automation"], args, &["--json", "--data", text(data)]].concat();
    let (code, out, words) = run(&line);
    assert_eq!(code, Some(0), "{args:?}: {words}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{args:?}: {error}: {out}"))
}

#[test]
fn files_are_checked_without_a_node() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).expect("written");
        path
    };
    let (right, wrong) = (at("a.yaml", NIGHT), at("b.yml", WRONG));
    let (code, out, _) = run(&["automation", "check", text(&right)]);
    assert_eq!(
        (code, out.as_str()),
        (Some(0), "2 automations in 1 file are right\n")
    );
    let (code, out, words) = run(&["automation", "check", text(folder.path())]);
    assert_eq!(code, Some(1), "{words}");
    let expected = format!("{}:2:", wrong.display());
    assert!(
        out.starts_with(&expected) && out.contains("nonsense") && out.contains("it knows `mqtt`"),
        "{out}"
    );
    assert!(words.contains("1 problem"), "{words}");
    let (code, out, words) = run(&["automation", "check", text(&wrong), "--json"]);
    let found: Value = serde_json::from_str(&out).expect("one document");
    let problem = &found["problems"][0];
    assert_eq!(
        (code, &found["ok"], &problem["line"], &problem["automation"]),
        (Some(1), &false.into(), &2.into(), &"Wrong".into()),
        "{found}"
    );
    assert!(serde_json::from_str::<Value>(&words).is_ok(), "{words}");

    let hostile = at(
        "hostile.yaml",
        &format!("{}{}", "[".repeat(20_000), "\u{1b}[2J\0"),
    );
    let bomb = at(
        "bomb.yaml",
        "a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\n",
    );
    for path in [&hostile, &bomb] {
        let (code, out, words) = run(&["automation", "check", text(path)]);
        assert_eq!(code, Some(1), "{out}{words}");
        assert!(!out.contains('\u{1b}'), "{out:?}");
    }
    let latin = folder.path().join("latin.txt");
    std::fs::write(&latin, [b'a', 0xe9]).expect("written");
    let (code, _, words) = run(&["automation", "check", text(&latin)]);
    assert!(code == Some(1) && words.contains("it is not UTF-8"), "{words}");
    let (code, _, words) = run(&["automation", "check", "/nowhere/a.yaml"]);
    assert!(
        code == Some(1) && words.contains("/nowhere/a.yaml cannot be read"),
        "{words}"
    );
}

#[test]
fn wrong_usage_is_told_as_such() {
    for line in [
        &["automation"][..],
        &["automation", "check"],
        &["automation", "load"],
        &["automation", "trigger", "x", "--var", "novalue"],
        &["automation", "call", "light"],
        &["automation", "call", "light.turn_on", "=3"],
        &["automation", "letters", "--replay", "a", "--forget", "b"],
    ] {
        let (code, _, words) = run(line);
        assert_eq!(code, Some(2), "{line:?}: {words}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (code, _, words) = run(&["automation", "list", "--data", text(folder.path())]);
    assert!(
        code == Some(1) && words.contains("belongs to no cluster yet"),
        "{words}"
    );
}

#[test]
fn automations_are_loaded_run_and_traced() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let port = free_port();
    let listen = format!("127.0.0.1:{port}");
    let made = jarvis(&[
        "init",
        "--name",
        "attic",
        "--data",
        text(&data),
        "--listen",
        &listen,
    ]);
    assert!(made.status.success(), "{}", stderr(&made));
    let _node = Running::start(&data);
    let file = folder.path().join("home.yaml");
    std::fs::write(&file, NIGHT).expect("written");
    // The bridge may be on its way up.
    eventually("loading", || {
        let line = ["automation", "load", text(&file), "--data", text(&data)];
        let (code, out, _) = run(&line);
        (code == Some(0)).then_some(out)
    });
    let listed = document(&data, &["list"]);
    let ids: Vec<_> = listed["automations"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| &one["id"])
        .collect();
    assert_eq!(ids, ["greeted", "night"]);
    assert_eq!(listed["automations"][1]["owner"], "attic");

    // A part of the file that is wrong does not keep the rest away, nor remove what was there.
    std::fs::write(&file, format!("{NIGHT}{WRONG}")).expect("written");
    let (code, out, words) = run(&["automation", "load", text(&file), "--data", text(&data)]);
    assert_eq!(code, Some(1), "{out}");
    assert!(
        out.contains("nonsense") && out.contains("unchanged: 2"),
        "{out}{words}"
    );
    let bad = folder.path().join("bad.yaml");
    std::fs::write(&bad, WRONG).expect("written");
    let (code, out, words) = run(&["automation", "load", text(&bad), "--data", text(&data)]);
    assert_eq!(code, Some(1), "{out}");
    assert!(
        out.contains("bad.yaml:2:") && words.contains("nothing could be loaded"),
        "{out}{words}"
    );

    let line = [
        "trigger",
        "night",
        "--var",
        "name=Ada",
        "--wait",
        "--timeout",
        "20s",
    ];
    let ran = document(&data, &line);
    assert_eq!(
        (&ran["settled"], &ran["trace"]["ended"]),
        (&true.into(), &"finished".into()),
        "{ran}"
    );
    let steps = ran["trace"]["steps"].as_array().expect("steps");
    assert!(steps.iter().all(|step| step["node"] == "attic"), "{ran}");
    for wanted in ["triggered", "condition", "sent", "waits", "ended"] {
        assert!(steps.iter().any(|step| step["what"] == wanted), "{wanted}: {ran}");
    }
    let run_id = ran["run"].as_str().expect("an id");
    let (_, out, _) = run(&["automation", "trace", "night", "--data", text(&data)]);
    assert!(
        out.contains(run_id) && out.contains("sent the event greeted") && out.contains("waits until"),
        "{out}"
    );
    let one = document(&data, &["trace", "night", "--run", run_id]);
    assert_eq!(one["run"], run_id);
    let (code, _, words) = run(&[
        "automation",
        "trace",
        "night",
        "--run",
        "X",
        "--data",
        text(&data),
    ]);
    assert!(code == Some(1) && words.contains(run_id), "{words}");
    eventually("the event's own automation", || {
        let traces = document(&data, &["trace", "greeted"]);
        (traces["traces"][0]["ended"] == "finished").then_some(())
    });

    let off = document(&data, &["disable", "night"]);
    assert_eq!(off["enabled"], false);
    let state = |wanted: &str| {
        eventually(wanted, || {
            let states = document(&data, &["states", "automation.night"]);
            (states[0]["state"] == wanted).then_some(())
        });
    };
    state("off");
    document(&data, &["enable", "night"]);
    state("on");
    // Its own path, without a credential: the id is the secret.
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connects");
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("set");
    let request =
        "POST /api/webhook/s3cret HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    eventually("the webhook's run", || {
        let traces = document(&data, &["trace", "night"]);
        (traces["traces"].as_array().map(Vec::len) == Some(2)).then_some(())
    });

    let (code, _, words) = run(&[
        "automation",
        "call",
        "light.fly",
        "entity_id=light.x",
        "--data",
        text(&data),
    ]);
    assert!(code == Some(1) && words.contains("light.fly"), "{words}");
    let letters = document(&data, &["letters"]);
    assert_eq!(letters["dead_letters"], serde_json::json!([]));
    let (code, _, words) = run(&["automation", "letters", "--replay", "x", "--data", text(&data)]);
    assert!(code == Some(1) && words.contains("no dead letter"), "{words}");
    document(&data, &["remove", "night"]);
    let (code, _, words) = run(&["automation", "show", "night", "--data", text(&data)]);
    assert!(
        code == Some(1) && words.contains("there is no automation \"night\""),
        "{words}"
    );
}
