//! `with-parent`: becomes another program that ends when this one's parent does, even where the parent is killed.

use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

use crate::cli::args::WithParentArgs;
use crate::fail::Failure;

/// `jarvis with-parent PID PROGRAM ARGS…`. Comes back only where it failed.
pub fn with_parent(args: &WithParentArgs) -> Failure {
    let what = "the program did not start";
    // Kept by the program that this process becomes.
    if let Err(error) = set_parent_process_death_signal(Some(Signal::TERM)) {
        return Failure::new(what, error);
    }
    let parent = getppid().map(Pid::as_raw_pid);
    if parent != Some(args.parent) {
        return Failure::new(what, "the process that it was to end with has ended");
    }
    let mut command = args.program.iter();
    let Some(program) = command.next() else {
        return Failure::new(what, "none was named").usage();
    };
    Failure::new(what, Command::new(program).args(command).exec())
}
