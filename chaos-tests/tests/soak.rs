//! A little of the soak: a few phases whose schedules are known, on one loopback and on machines of the tool's own.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jarvis_chaos::cluster::{find_jarvis, signal};
use jarvis_chaos::measure::Tool;
use jarvis_chaos::measure::soak::{self, Bounds, Plan};
use jarvis_chaos::net::possible;
use rustix::process::Signal;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(60);

/// Debug builds on a busy machine are given more time than users are.
const BOUNDS: Bounds = Bounds {
    answer_s: 30,
    owners_s: 45,
};

/// Short phases: the whole is to take less than a minute.
const PHASE_S: u64 = 8;

fn judge(report: &std::path::Path) -> Result<()> {
    let text = std::fs::read(report.join("soak.json")).context("a report is kept")?;
    let report: serde_json::Value = serde_json::from_slice(&text)?;
    assert_eq!(report["laws_broken"], serde_json::json!([]));
    assert_eq!(report["failed"], serde_json::Value::Null);
    assert!(report["acts_done"].as_u64() > Some(0), "nothing acted");
    let home = &report["home"];
    for told in [
        "/messages/decided",
        "/events/came_before_calm",
        "/times",
        "/reminders/said",
    ] {
        let count = home.pointer(told).and_then(serde_json::Value::as_u64);
        assert!(count > Some(0), "{told}: {home}");
    }
    let phases = report["phases"].as_array().context("phases")?;
    assert_eq!(phases.len(), 1);
    for phase in phases {
        assert!(phase["answered"].as_u64() > Some(0), "the load was no load");
        assert_eq!(
            phase["to_answer"]["count"], 12,
            "every session answered after the heal"
        );
        assert!(
            phase["hits"].as_array().is_some_and(|hits| hits.len() > 3),
            "{phase}"
        );
    }
    let repeat = report["repeat"].as_str().context("how to repeat it")?;
    assert!(
        repeat.contains("soak --seed") && repeat.contains("--phases 1"),
        "{repeat}"
    );
    Ok(())
}

#[tokio::test]
async fn a_phase_of_faults_on_one_loopback_is_borne() -> Result<()> {
    let report = tempfile::tempdir()?;
    let tool = Tool::on_loopback(report.path())?;
    let plan = Plan {
        seed: 4,
        lasting: Duration::MAX,
        phases: 1,
        phase_s: PHASE_S,
        sessions: 12,
        bounds: BOUNDS,
    };
    Box::pin(soak::run(&tool, "soak", &plan)).await?;
    judge(report.path())
}

#[tokio::test]
async fn a_phase_of_faults_between_machines_is_borne() -> Result<()> {
    if let Err(why) = possible().await {
        println!("no machines here: {why:#}");
        return Ok(());
    }
    let (files, report) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let mut tool = Command::new(env!("CARGO_BIN_EXE_jarvis-load"));
    tool.args(["soak", "--seed", "5", "--phases", "1", "--sessions", "12"]);
    tool.args(["--phase-s", &PHASE_S.to_string()]);
    tool.args(["--answer-s", &BOUNDS.answer_s.to_string()]);
    tool.args(["--owners-s", &BOUNDS.owners_s.to_string()]);
    tool.arg("--jarvis").arg(find_jarvis()?);
    tool.arg("--report").arg(report.path());
    tool.env("TMPDIR", files.path()).kill_on_drop(true);
    let output = tool.stdout(Stdio::null()).output().await?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    judge(report.path())?;
    assert_eq!(std::fs::read_dir(files.path())?.count(), 0, "files are left");
    Ok(())
}

/// Processes whose command line names that folder.
fn processes_of(folder: &Path) -> usize {
    let folder = folder.display().to_string();
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let lines = all.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    lines
        .filter(|line| String::from_utf8_lossy(line).contains(&folder))
        .count()
}

async fn wait_processes(folder: &Path, what: impl Fn(usize) -> bool) -> Result<()> {
    let started = Instant::now();
    while !what(processes_of(folder)) {
        let (count, folder) = (processes_of(folder), folder.display());
        ensure!(
            started.elapsed() < PATIENCE,
            "there are {count} processes of {folder}"
        );
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

#[tokio::test]
async fn a_soak_that_is_interrupted_leaves_nothing_running() -> Result<()> {
    let (files, report) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let mut tool = Command::new(env!("CARGO_BIN_EXE_jarvis-load"));
    tool.args(["soak", "--no-machines", "--sessions", "6"]);
    tool.arg("--jarvis").arg(find_jarvis()?);
    tool.arg("--report").arg(report.path());
    tool.env("TMPDIR", files.path()).kill_on_drop(true);
    let mut child = tool.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    // Three nodes and what keeps them, each named by its data folder.
    wait_processes(files.path(), |running| running >= 4).await?;
    signal(child.id().context("it runs")?, Signal::INT)?;
    let status = timeout(PATIENCE, child.wait()).await??;
    assert!(!status.success(), "it was broken off");
    wait_processes(files.path(), |left| left == 0).await
}
