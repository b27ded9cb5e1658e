//! The `jarvis` binary: reads the command line and runs one command.

use std::process::ExitCode;

use clap::Parser;
use jarvis_node::cli::output::Output;
use jarvis_node::cli::{Cli, Command, usage_failure};
use jarvis_node::fail::Failure;
use jarvis_node::{commands, drill, up};

// Keeps memory that is free from lying about in per-thread pools. Its settings stand in .cargo/config.toml.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Worker threads: nodes are small machines, and three may share one. Measured idle, two cost less than one, which has to
/// be woken for everything.
const WORKER_THREADS: usize = 2;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => match usage_failure(&error, std::env::args_os()) {
            Some(failure) => {
                Output::new(true).failure(&failure);
                return failure.exit_code();
            }
            // Help and versions go to stdout, what is wrong to stderr, for people.
            None => error.exit(),
        },
    };
    let output = Output::new(cli.json);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(Box::pin(dispatch(cli.command, output)));
            // A thread that reads stdin cannot be broken off; it must not hold the process up.
            runtime.shutdown_background();
            result
        }
        Err(error) => Err(Failure::new("the program did not start", error)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.failure(&failure);
            failure.exit_code()
        }
    }
}

async fn dispatch(command: Command, output: Output) -> Result<(), Failure> {
    match command {
        Command::Up(args) => up::up(&args, output).await,
        Command::Init(args) => commands::init::init(&args, output),
        Command::Run(args) => commands::run::run(&args).await,
        Command::Invite(args) => commands::cluster::invite(&args, output).await,
        Command::Join(args) => match commands::join::join(&args, output).await? {
            Some(run) => commands::run::run(&run).await,
            None => Ok(()),
        },
        Command::Status(args) => commands::status::status(&args, output).await,
        Command::Drain(args) => commands::cluster::drain(&args, output).await,
        Command::Undrain(args) => commands::cluster::undrain(&args, output).await,
        Command::Remove(args) => commands::cluster::remove(&args, output).await,
        Command::Recover(args) => commands::recover::recover(&args, output).await,
        Command::Chat(args) => commands::chat::chat(&args, output).await,
        Command::Drill(args) => drill::drill(&args, output).await,
        Command::Why(args) => commands::cluster::why(&args, output).await,
        Command::User(command) => commands::credentials::user(&command, output).await,
        Command::Token(command) => commands::credentials::token(&command, output).await,
        Command::Automation(command) => commands::automation::automation(&command, output).await,
        Command::Config(command) => commands::config::config(&command, output),
        Command::WithParent(args) => Err(commands::with_parent::with_parent(&args)),
        Command::Completions { shell } => commands::completions::completions(shell, output),
    }
}
