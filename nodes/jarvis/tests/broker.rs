//! The broker that `jarvis up` brings along: it is there, it comes back, it ends with `up`, and nobody needs it.

mod common;

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use common::{Up, command, eventually, free_port, is_running, jarvis};
use jarvis_mqtt::broker::Broker;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// The process of the broker below this folder.
fn broker_of(data: &Path) -> Option<i64> {
    let config = data.join("broker/mosquitto.conf");
    let config = config.to_str().expect("text").as_bytes();
    std::fs::read_dir("/proc")
        .expect("/proc")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i64>().ok())
        .find(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let mut words = line.split(|byte| *byte == 0);
            words.next().is_some_and(|first| first.ends_with(b"mosquitto"))
                && words.any(|word| word == config)
                && is_running(*pid)
        })
}

fn signal(pid: i64, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("a pid");
    kill_process(pid, signal).expect("it runs");
}

fn address(state: &Value) -> SocketAddr {
    let url = state["mqtt"].as_str().expect("a broker");
    url.strip_prefix("mqtt://")
        .expect("its address")
        .parse()
        .expect("an address")
}

/// What the first node says of itself.
fn capabilities(data: &Path) -> Option<Value> {
    let output = jarvis(&["status", "--json", "--data", data.to_str().expect("text")]);
    let status: Value = serde_json::from_slice(&output.stdout).ok()?;
    Some(status["nodes"][0]["capabilities"].clone())
}

#[test]
fn a_broker_comes_with_the_cluster_and_goes_with_it() {
    assert!(Broker::program().is_some(), "mosquitto has to be installed");
    let folder = tempfile::tempdir().expect("a folder");
    let (data, port) = (folder.path().join("up"), free_port());
    let mut up = Up::start(&data, port, 1);
    let listens = address(&up.ready);
    assert!(listens.ip().is_loopback());
    TcpStream::connect(listens).expect("it listens");
    eventually("nodes know of it", || {
        (capabilities(&data)? == serde_json::json!(["mqtt"])).then_some(())
    });

    // Killed, it comes back where it was.
    let first = broker_of(&data).expect("it runs");
    signal(first, Signal::KILL);
    let second = eventually("another broker", || broker_of(&data).filter(|pid| *pid != first));
    eventually("it listens", || TcpStream::connect(listens).ok());

    // In order, it ends with the cluster; the next start has it at the same place.
    up.signal(Signal::TERM);
    assert!(up.wait().success());
    assert!(!is_running(second) && broker_of(&data).is_none());
    let up = Up::start(&data, port, 1);
    assert_eq!(address(&up.ready), listens);

    // It does not outlive an `up` that is killed.
    let third = broker_of(&data).expect("it runs");
    drop(up);
    eventually("the broker's end", || (!is_running(third)).then_some(()));
}

#[test]
fn a_cluster_needs_no_broker() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, port) = (folder.path().join("up"), free_port());
    let missing = folder.path().join("mosquitto");
    let mut child = command()
        .args([
            "up",
            "--json",
            "--nodes",
            "1",
            "--port",
            &port.to_string(),
            "--data",
        ])
        .arg(&data)
        .arg("--mosquitto")
        .arg(missing)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut ready = String::new();
    let mut lines = BufReader::new(child.stdout.take().expect("piped"));
    lines.read_line(&mut ready).expect("a line");
    kill_process(Pid::from_child(&child), Signal::TERM).expect("it runs");
    let mut told = String::new();
    let mut stderr = child.stderr.take().expect("piped");
    stderr.read_to_string(&mut told).expect("text");
    assert!(child.wait().expect("it ends").success(), "{told}");
    let ready: Value = serde_json::from_str(&ready).expect("one document");
    assert_eq!((&ready["ready"], &ready["mqtt"]), (&true.into(), &Value::Null));
    assert!(
        told.contains("mosquitto is not installed") && told.contains("apt-get install mosquitto"),
        "{told}"
    );

    // Told to have none, it has none, and says nothing of it.
    let up = Up::start_with(&data, port, 1, &["--no-broker"]);
    assert_eq!(up.ready["mqtt"], Value::Null);
    assert_eq!(broker_of(&data), None);
}

#[test]
fn a_configured_broker_is_the_only_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, config) = (folder.path().join("up"), folder.path().join("jarvis.toml"));
    std::fs::write(&config, "[mqtt]\nurl = \"mqtt://127.0.0.1:9\"\n").expect("written");
    let config = config.to_str().expect("text");
    let up = Up::start_with(&data, free_port(), 1, &["--config", config]);
    assert_eq!(up.ready["mqtt"], "mqtt://127.0.0.1:9");
    assert_eq!(broker_of(&data), None);
}

#[test]
fn a_program_ends_with_its_parent() {
    let orphan = format!("{} with-parent 1 sleep 60", common::JARVIS);
    let refused = Command::new("sh")
        .args(["-c", &orphan])
        .output()
        .expect("a shell");
    assert_eq!(refused.status.code(), Some(1));
    let text = String::from_utf8_lossy(&refused.stderr);
    assert!(text.contains("has ended"), "{text}");
    let of_own = format!(
        "exec {} with-parent {} echo held",
        common::JARVIS,
        std::process::id()
    );
    let held = Command::new("sh")
        .args(["-c", &of_own])
        .output()
        .expect("a shell");
    assert_eq!(String::from_utf8_lossy(&held.stdout), "held\n");
}
