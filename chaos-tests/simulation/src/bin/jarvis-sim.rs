//! Runs seeds, each in a process of its own.
//!
//! ```text
//!  jarvis-sim --seed 7 --trace      one seed, with its whole trace
//!  jarvis-sim --seeds 1000          so many seeds from --from on, on all cores
//!  jarvis-sim --minutes 30          seeds for so long
//! ```

use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use jarvis_simulation::run::{Options, Report, run};

/// How long a seed may take before it is taken to hang.
const HANG: Duration = Duration::from_secs(300);
/// Between two looks at a seed that runs.
const LOOK: Duration = Duration::from_millis(20);

/// Runs seeds of the deterministic simulation.
#[derive(Debug, Parser)]
#[command(name = "jarvis-sim")]
struct Args {
    /// One seed, in this process.
    #[arg(long)]
    seed: Option<u64>,
    /// With --seed: write the whole trace to stderr.
    #[arg(long)]
    trace: bool,
    /// With --seed: log directives, such as `info,jarvis_replica=debug`, to stderr.
    #[arg(long)]
    log: Option<String>,
    /// How many seeds.
    #[arg(long)]
    seeds: Option<u64>,
    /// How long to go on with seeds.
    #[arg(long)]
    minutes: Option<u64>,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// How many at a time; as many as there are cores.
    #[arg(long)]
    jobs: Option<usize>,
    /// How long things go wrong in each, in virtual milliseconds.
    #[arg(long, default_value_t = jarvis_simulation::run::FAULTS_MS)]
    faults_ms: u64,
    /// A fault to put back; `list` names them.
    #[arg(long)]
    bite: Option<String>,
    /// Go on after a failure.
    #[arg(long)]
    keep_going: bool,
}

#[allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool")]
fn main() -> Result<ExitCode> {
    let args = Args::parse();
    if args.bite.as_deref() == Some("list") {
        for bite in jarvis_simulation::bites::ALL {
            println!("{:<24} {}", bite.name, bite.what);
        }
        return Ok(ExitCode::SUCCESS);
    }
    match args.seed {
        Some(seed) => one(&args, seed),
        None => many(&args),
    }
}

#[allow(clippy::print_stdout, reason = "a command line tool")]
fn one(args: &Args, seed: u64) -> Result<ExitCode> {
    if let Some(directives) = &args.log {
        tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::try_new(directives)?)
            .with_writer(std::io::stderr)
            .without_time()
            .with_ansi(false)
            .init();
    }
    let bite = match &args.bite {
        Some(name) => Some(jarvis_simulation::bites::named(name).context("no such fault; see --bite list")?),
        None => None,
    };
    let report = run(Options {
        seed,
        lines: args.trace,
        bite,
        faults_ms: args.faults_ms,
    });
    print_report(&report);
    if !report.broken.is_empty() {
        println!("  {REPEAT} {}", repeat(args, seed));
    }
    Ok(if report.broken.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

#[allow(clippy::print_stdout, reason = "a command line tool")]
fn print_report(report: &Report) {
    println!(
        "seed {} hash {:016x} events {} simulated_ms {} entries {} messages {} reads {} acts {} told {} {}",
        report.seed,
        report.hash,
        report.events,
        report.simulated.as_millis(),
        report.entries,
        report.messages,
        report.reads,
        report.acts,
        report.told,
        if report.broken.is_empty() { "ok" } else { "BROKEN" },
    );
    for broken in &report.broken {
        println!("  {broken}");
    }
}

/// What came of all seeds.
#[derive(Default)]
struct Sum {
    seeds: u64,
    simulated_ms: u64,
    entries: u64,
    failed: Vec<u64>,
}

#[allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a command line tool, in real time"
)]
fn many(args: &Args) -> Result<ExitCode> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = args.jobs.unwrap_or(cores);
    let began = std::time::Instant::now();
    let until = args
        .minutes
        .map(|minutes| began + Duration::from_secs(minutes * 60));
    let count = args.seeds.unwrap_or(if until.is_some() { u64::MAX } else { 100 });
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let sum = Mutex::new(Sum::default());
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed)
                    && until.is_none_or(|until| std::time::Instant::now() < until)
                {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= count {
                        return;
                    }
                    let seed = args.from + n;
                    let (ok, output) = child(args, seed);
                    let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
                    sum.seeds += 1;
                    sum.simulated_ms += figure(&output, "simulated_ms");
                    sum.entries += figure(&output, "entries");
                    if !ok {
                        print!("{output}");
                        if !output.contains(REPEAT) {
                            println!("  {REPEAT} {}", repeat(args, seed));
                        }
                        sum.failed.push(seed);
                        if !args.keep_going {
                            stop.store(true, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    let sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    let took = began.elapsed().as_secs_f64();
    println!(
        "{} seeds in {took:.1} s on {jobs} cores: {:.0} seeds a minute, {:.1} simulated seconds a second, {} entries; failed: {:?}",
        sum.seeds,
        sum.seeds as f64 / took * 60.0,
        sum.simulated_ms as f64 / 1e3 / took,
        sum.entries,
        sum.failed,
    );
    Ok(if sum.failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Before the command that repeats a failure.
const REPEAT: &str = "repeat it:";

/// The command that repeats a seed exactly, with its whole trace. What a seed does depends on the build's kind as well: the
/// assertions of a dev build are faults of their own.
fn repeat(args: &Args, seed: u64) -> String {
    let mut extra = if cfg!(debug_assertions) {
        " PROFILE=dev".to_owned()
    } else {
        String::new()
    };
    if let Some(bite) = &args.bite {
        extra += &format!(" BITE={bite}");
    }
    if args.faults_ms != jarvis_simulation::run::FAULTS_MS {
        extra += &format!(" FAULTS_MS={}", args.faults_ms);
    }
    format!("make sim SEED={seed}{extra}")
}

/// Runs one seed in a process of its own.
#[allow(clippy::disallowed_methods, reason = "in real time")]
fn child(args: &Args, seed: u64) -> (bool, String) {
    let attempt = || -> Result<(bool, String)> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([
            "--seed",
            &seed.to_string(),
            "--faults-ms",
            &args.faults_ms.to_string(),
        ]);
        if let Some(bite) = &args.bite {
            command.args(["--bite", bite]);
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let began = std::time::Instant::now();
        loop {
            if child.try_wait()?.is_some() {
                break;
            }
            if began.elapsed() > HANG {
                child.kill()?;
                child.wait()?;
                return Ok((false, format!("seed {seed} hangs\n")));
            }
            std::thread::sleep(LOOK);
        }
        let output = child.wait_with_output()?;
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        if text.is_empty() {
            text = format!("seed {seed} ended with {}\n", output.status);
        }
        Ok((output.status.success(), text))
    };
    attempt().unwrap_or_else(|error| (false, format!("seed {seed}: {error:#}\n")))
}

fn figure(output: &str, name: &str) -> u64 {
    let mut words = output.split_whitespace();
    words.find(|word| *word == name);
    words.next().and_then(|word| word.parse().ok()).unwrap_or(0)
}
