//! The way into namespaces of the tool's own, and out of them.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep};

/// Set in the tool that was started inside.
const MARK: &str = "JARVIS_LOAD_INSIDE";

/// What a shell says of a command that a key ended.
pub const INTERRUPTED: i32 = 130;

/// How long processes inside may take to end when what keeps them has ended.
const REMOVAL_PATIENCE: Duration = Duration::from_secs(5);

/// Between two tries to remove their files.
const REMOVAL_PAUSE: Duration = Duration::from_millis(10);

/// Where [`enter`] has led.
#[derive(Debug)]
pub enum Way {
    /// This process is inside: go on.
    Inside,
    /// This process was outside; the one inside has ended with this exit code.
    Ended(i32),
}

/// The command that runs `program` inside: every namespace, and every process in them, ends with this process. Other users
/// than root get a user namespace besides, where the kernel allows that.
fn command(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "unshare"]);
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args([
        "--net",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
    ]);
    command.arg("--").arg(program).kill_on_drop(true);
    command
}

/// Whether this process says of itself that it is inside.
pub fn is_inside() -> bool {
    std::env::var_os(MARK).is_some()
}

/// Runs this very command again inside namespaces of its own, unless this is already the one inside.
///
/// # Errors
/// Where this machine does not allow it; with what to do.
pub async fn enter() -> Result<Way> {
    if is_inside() {
        prepare().await?;
        return Ok(Way::Inside);
    }
    possible().await?;
    // Removed by the process that stays outside, since the one inside may be ended at any time.
    let files = tempfile::tempdir()?;
    let mut tool = command(&std::env::current_exe()?);
    tool.args(std::env::args_os().skip(1));
    tool.env(MARK, "1").env("TMPDIR", files.path());
    let mut child = tool
        .spawn()
        .context("setpriv does not start: install util-linux")?;
    let code = tokio::select! {
        status = child.wait() => status?.code().unwrap_or(1),
        // `unshare` itself waits signals out; its end is the end of everything inside.
        told = interrupted() => {
            told?;
            child.kill().await?;
            INTERRUPTED
        }
    };
    remove(files).await?;
    Ok(Way::Ended(code))
}

/// Removes files that processes which are just ending may still add to.
async fn remove(files: TempDir) -> Result<()> {
    let path = files.keep();
    let until = Instant::now() + REMOVAL_PATIENCE;
    loop {
        match std::fs::remove_dir_all(&path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(_) if Instant::now() < until => sleep(REMOVAL_PAUSE).await,
            Err(error) => return Err(error).with_context(|| format!("{} is left", path.display())),
        }
    }
}

/// Completes when a key or another program asks this process to end.
///
/// # Errors
/// Where signals cannot be listened to.
pub async fn interrupted() -> Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// Whether namespaces, a bridge and nftables can be had here.
///
/// # Errors
/// Where they cannot; with what to do.
pub async fn possible() -> Result<()> {
    let script = "mount -t tmpfs tmpfs /run && ip link set lo up && ip link add jarvis0 type bridge \
                  && nft add table inet jarvis";
    let mut probe = command(Path::new("sh"));
    let said = match probe.args(["-c", script]).output().await {
        Ok(output) if output.status.success() => return Ok(()),
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) if error.kind() == ErrorKind::NotFound => "setpriv is missing".to_owned(),
        Err(error) => error.to_string(),
    };
    let who = if rustix::process::geteuid().is_root() {
        "this machine does not let root make them (in a container: --privileged)"
    } else {
        "run it as root, or allow user namespaces (sysctl kernel.unprivileged_userns_clone=1)"
    };
    bail!(
        "this measurement needs network namespaces and nftables of its own, and cannot have them: {said}\n\
         Install iproute2, nftables and util-linux if they are missing; else {who}."
    )
}

/// Makes the first process inside ready: its own `/run`, and loopback.
///
/// # Errors
/// Where this process is not alone in its namespaces, which would change somebody else's machine.
async fn prepare() -> Result<()> {
    ensure!(
        std::process::id() == 1,
        "{MARK} is set, but this process is not the first of a namespace of its own: unset it"
    );
    run("mount", &["-t", "tmpfs", "tmpfs", "/run"]).await?;
    run("ip", &["link", "set", "lo", "up"]).await
}

/// Runs a command to its end.
///
/// # Errors
/// Where it fails; with what it said.
pub(super) async fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let ran = Command::new(program).args(arguments).kill_on_drop(true).output();
    let output = ran
        .await
        .with_context(|| format!("{program} does not start: is it installed?"))?;
    ensure!(
        output.status.success(),
        "{program} {} failed: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
