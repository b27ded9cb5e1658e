//! Drills that are started from Home Assistant: each in a process of its own, so that it outlives the node that it kills.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use jarvis_automation::Drills;
use tokio::process::Command;

use super::catalogue::DRILLS;
use crate::up::UpState;

/// Rounds of a drill that is started so: it is meant as a look, not as a measurement.
const ROUNDS: &str = "1";
/// Where reports go, below the data folder.
const REPORTS: &str = "reports";

/// All drills that can be started against the node whose data folder this is, with the cluster of `jarvis up` that it belongs to if
/// there is one: without, nobody starts again what a drill stops.
pub fn drills(data: &Path) -> Drills {
    let up = data.parent().filter(|up| UpState::path(up).exists());
    let target = up.unwrap_or(data).to_path_buf();
    let reports = data.join(REPORTS);
    let can_be_started = DRILLS.iter().filter(|about| up.is_some() || !about.processes);
    Drills {
        all: can_be_started
            .map(|about| (about.name.to_owned(), about.name.replace('-', " ")))
            .collect(),
        start: Arc::new(move |name| start(&target, &reports, name)),
    }
}

/// What comes of it is told by the drill itself, to any node that answers; what kept it from beginning stands beside its reports.
fn start(target: &Path, reports: &Path, name: &str) -> Result<(), String> {
    let log = reports.join(format!("{name}.log"));
    let file = std::fs::create_dir_all(reports).and_then(|()| File::create(&log));
    let file = file.map_err(|error| format!("{} cannot be written: {error}", log.display()))?;
    let program = program().map_err(|error| format!("this program is not found: {error}"))?;
    let mut command = Command::new(program);
    command
        .args(["drill", name, "--yes", "--rounds", ROUNDS, "--data"])
        .arg(target)
        .arg("--report")
        .arg(reports)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(file)
        // What is sent to the node's group is not meant for it.
        .process_group(0);
    // Dropped, it goes on, and is reaped when it has ended.
    let child = command
        .spawn()
        .map_err(|error| format!("the drill did not start: {error}"))?;
    tracing::info!(
        drill = name,
        pid = child.id(),
        log = %log.display(),
        "a drill was started from Home Assistant"
    );
    Ok(())
}

/// This very program; where it was replaced meanwhile, what stands in its place.
fn program() -> std::io::Result<PathBuf> {
    std::env::current_exe()
}

#[cfg(test)]
mod tests {
    use super::{DRILLS, drills};
    use crate::up::UpState;

    #[test]
    fn what_stops_processes_is_offered_where_somebody_starts_them_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("node1");
        std::fs::create_dir(&data).expect("a data folder");
        let offered = || drills(&data).all.len();
        let harmless = DRILLS.iter().filter(|about| !about.processes).count();
        assert!((1..DRILLS.len()).contains(&harmless));
        assert_eq!(offered(), harmless);
        UpState::default().save(folder.path()).expect("written");
        assert_eq!(offered(), DRILLS.len());
    }
}
