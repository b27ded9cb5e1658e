//! Machines of the tool's own: cables are cut and healed, and nothing stays behind, however the tool ends.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jarvis_chaos::cluster::{find_jarvis, signal};
use jarvis_chaos::net::possible;
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(60);

struct Run {
    child: Child,
    files: TempDir,
    report: TempDir,
}

/// Starts the tool; its files are known by their folder.
fn start(arguments: &[&str]) -> Result<Run> {
    let (files, report) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let mut tool = Command::new(env!("CARGO_BIN_EXE_jarvis-load"));
    tool.args(arguments)
        .arg("--jarvis")
        .arg(find_jarvis()?)
        .arg("--report")
        .arg(report.path());
    tool.env("TMPDIR", files.path()).kill_on_drop(true);
    let child = tool.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    Ok(Run { child, files, report })
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
        ensure!(
            started.elapsed() < PATIENCE,
            "there are {} processes of {}",
            processes_of(folder),
            folder.display()
        );
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Where machines cannot be had the tool must refuse, and say what to do; anything else is not to be tested here.
async fn refused(run: Run, why: &anyhow::Error) -> Result<()> {
    let output = timeout(PATIENCE, run.child.wait_with_output()).await??;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "it must fail where this holds: {why:#}");
    assert!(said.contains("nftables") && said.contains("root"), "{said}");
    println!("no machines here, and the tool says so: {said}");
    Ok(())
}

#[tokio::test]
async fn a_split_leaves_neither_twin_nor_orphan() -> Result<()> {
    let run = start(&[
        "netsplit",
        "--sessions",
        "30",
        "--rounds",
        "2",
        "--cut-ms",
        "3000",
    ])?;
    if let Err(why) = possible().await {
        return refused(run, &why).await;
    }
    let (files, report) = (run.files, run.report);
    let output = run.child.wait_with_output().await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    let text = std::fs::read(report.path().join("netsplit.json")).context("a report is kept")?;
    let text: serde_json::Value = serde_json::from_slice(&text)?;
    let rounds = text["rounds"].as_array().context("rounds")?;
    assert_eq!(
        (text["twins"].as_u64(), text["orphans"].as_u64()),
        (Some(0), Some(0))
    );
    assert_eq!(rounds.len(), 2);
    for round in rounds {
        assert_eq!(round["sessions_reachable"], 30);
        assert!(round["refused_by_the_minority"].as_u64() > Some(0), "{round}");
    }
    wait_processes(files.path(), |left| left == 0).await?;
    assert_eq!(std::fs::read_dir(files.path())?.count(), 0, "files are left");
    Ok(())
}

#[tokio::test]
async fn nothing_outlives_the_tool_however_it_ends() -> Result<()> {
    for how in [Signal::INT, Signal::TERM, Signal::KILL] {
        let mut run = start(&["netsplit", "--sessions", "10", "--rounds", "100"])?;
        if let Err(why) = possible().await {
            return refused(run, &why).await;
        }
        // Three nodes, each named by its data folder.
        wait_processes(run.files.path(), |running| running >= 3).await?;
        signal(run.child.id().context("it runs")?, how)?;
        let status = timeout(PATIENCE, run.child.wait()).await??;
        ensure!(!status.success(), "{how:?} is no success");
        wait_processes(run.files.path(), |left| left == 0).await?;
        if how != Signal::KILL {
            assert_eq!(
                std::fs::read_dir(run.files.path())?.count(),
                0,
                "files are left after {how:?}"
            );
        }
    }
    Ok(())
}
