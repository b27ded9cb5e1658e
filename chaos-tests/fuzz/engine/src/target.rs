//! What a target is made of, and how it is run.

use std::collections::BTreeSet;
use std::fmt::{self, Debug};
use std::path::PathBuf;
use std::time::Duration;

use crate::mutate::spoil;
use crate::random::{Random, seed_of};
use crate::shrink::shrink;
use crate::watched::{Meter, now, watch};

/// How long to run, in milliseconds; without it, a fixed number of executions from a fixed seed.
pub const TIME_VARIABLE: &str = "JARVIS_FUZZ_MS";

/// Which mutations to run.
pub const SEED_VARIABLE: &str = "JARVIS_FUZZ_SEED";

/// Executions of mutated inputs where no time is given.
const RUNS: usize = 10_000;

/// Longest input.
const LONGEST_BYTES: usize = 4_096;

/// Inputs that mutations start from; of those found on the way the oldest give way to new ones.
const POOL: usize = 2_048;

/// How much of a finding is shown.
const SHOWN_BYTES: usize = 512;

/// How long one execution may take in a timed run, of a build without optimisation on a busy machine.
const PATIENCE: Duration = Duration::from_secs(5);

/// What one execution may hold in memory at its peak.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// Whatever the input.
    pub base_bytes: u64,
    /// For every byte of it.
    pub per_byte: u64,
}

/// A fuzz target: where its inputs come from and what it may use.
pub struct Target {
    package: &'static str,
    folder: PathBuf,
    name: String,
    seeds: Vec<Vec<u8>>,
    words: Vec<Vec<u8>>,
    mend: Option<fn(&mut Vec<u8>)>,
    text: bool,
    runs: usize,
    longest: usize,
    memory: Memory,
    meter: Meter,
}

/// What a run without findings did.
#[derive(Debug, Clone)]
pub struct Report {
    /// Executions, kept inputs and seeds included.
    pub executions: u64,
    /// Inputs whose outcome nothing before them had, and which mutations went on from.
    pub outcomes: usize,
    /// Largest memory held at once.
    pub most_bytes: u64,
    /// The slowest execution.
    pub slowest: Duration,
    /// How long all took.
    pub took: Duration,
    /// The seed of the mutations.
    pub seed: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} executions in {:.1} s, {} outcomes, at most {} KiB at once, slowest {:.1} ms, seed {}",
            self.executions,
            self.took.as_secs_f64(),
            self.outcomes,
            self.most_bytes.div_ceil(1_024),
            self.slowest.as_secs_f64() * 1_000.0,
            self.seed
        )
    }
}

/// An input at which the target failed.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The input, made as small as could be.
    pub input: Vec<u8>,
    /// What the target said.
    pub why: String,
    /// The seed of the mutations that led there.
    pub seed: u64,
    /// Executions until then.
    pub executions: u64,
}

impl Target {
    /// A target without seeds; see [`crate::fuzz`]. `path` is of something within the test's function.
    #[must_use]
    pub fn new(package: &'static str, crate_folder: &str, path: &str, meter: Meter) -> Self {
        let name = path
            .rsplit("::")
            .find(|part| *part != "here" && *part != "{{closure}}");
        let name = name.unwrap_or(path).to_owned();
        Self {
            package,
            folder: PathBuf::from(crate_folder).join("corpus").join(&name),
            name,
            seeds: Vec::new(),
            words: Vec::new(),
            mend: None,
            text: false,
            runs: RUNS,
            longest: LONGEST_BYTES,
            memory: Memory {
                base_bytes: 256 * 1_024,
                per_byte: 64,
            },
            meter,
        }
    }

    /// A valid input to start from.
    #[must_use]
    pub fn seed(mut self, seed: impl AsRef<[u8]>) -> Self {
        self.seeds.push(seed.as_ref().to_vec());
        self
    }

    /// Valid inputs to start from.
    #[must_use]
    pub fn seeds<S: AsRef<[u8]>>(self, seeds: impl IntoIterator<Item = S>) -> Self {
        seeds.into_iter().fold(self, Self::seed)
    }

    /// Pieces that the format reacts to.
    #[must_use]
    pub fn words<S: AsRef<[u8]>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.words
            .extend(words.into_iter().map(|word| word.as_ref().to_vec()));
        self
    }

    /// What makes a spoilt input pass an outer check, a checksum for instance. Some inputs are left as they are.
    #[must_use]
    pub fn mend(mut self, mend: fn(&mut Vec<u8>)) -> Self {
        self.mend = Some(mend);
        self
    }

    /// Only inputs that are UTF-8.
    #[must_use]
    pub fn text(mut self) -> Self {
        self.text = true;
        self
    }

    /// How many mutated inputs are run where no time is given: fewer for slow targets.
    #[must_use]
    pub fn runs(mut self, runs: usize) -> Self {
        self.runs = runs;
        self
    }

    /// Longest input, in bytes.
    #[must_use]
    pub fn longest(mut self, bytes: usize) -> Self {
        self.longest = bytes;
        self
    }

    /// What one execution may hold in memory at once, the target's own checks included.
    #[must_use]
    pub fn memory(mut self, base_bytes: u64, per_byte: u64) -> Self {
        self.memory = Memory { base_bytes, per_byte };
        self
    }

    /// Runs `target`, whose answer says briefly what became of an input: inputs with a new answer are gone on from.
    ///
    /// # Panics
    /// Where a finding was made; it says which and how to repeat it.
    pub fn run<R: Debug>(self, target: impl Fn(&[u8]) -> R) {
        let time = variable(TIME_VARIABLE).map(Duration::from_millis);
        // Hash maps are seeded by the system: a new seed for each timed run.
        let fresh = || std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0u8);
        let usual = || {
            if time.is_some() {
                fresh()
            } else {
                seed_of(&self.name)
            }
        };
        match self.find(variable(SEED_VARIABLE).unwrap_or_else(usual), time, target) {
            Ok(report) => println!("{} {}: {report}", self.package, self.name),
            Err(finding) => panic!("{}", self.tell(&finding, time)),
        }
    }

    /// Looks for an input at which `target` fails.
    ///
    /// # Errors
    /// The [`Finding`].
    pub fn find<R: Debug>(
        &self,
        seed: u64,
        time: Option<Duration>,
        target: impl Fn(&[u8]) -> R,
    ) -> Result<Report, Box<Finding>> {
        let began = now();
        let mut random = Random::new(seed);
        let mut pool: Vec<Vec<u8>> = self
            .kept()
            .into_iter()
            .chain(self.seeds.iter().cloned())
            .collect();
        if pool.is_empty() {
            pool.push(Vec::new());
        }
        let given = pool.len();
        let mut known = BTreeSet::new();
        let mut report = Report {
            executions: 0,
            outcomes: 0,
            most_bytes: 0,
            slowest: Duration::ZERO,
            took: Duration::ZERO,
            seed,
        };
        for run in 0.. {
            let mut input;
            if run < given {
                input = pool[run].clone();
            } else if time.map_or(run - given >= self.runs, |time| began.elapsed() >= time) {
                break;
            } else {
                input = random.pick(&pool).clone();
                spoil(
                    &mut random,
                    &mut input,
                    &pool,
                    &self.words,
                    self.text,
                    self.longest,
                );
                if let Some(mend) = self.mend.filter(|_| !random.one_in(4)) {
                    mend(&mut input);
                }
                input = self.readable(input);
            }
            let outcome = self
                .once(&target, &input, time.is_some(), &mut report)
                .map_err(|why| {
                    let fault = |bytes: &[u8]| {
                        self.once(&target, bytes, time.is_some(), &mut report.clone())
                            .err()
                    };
                    let mut small = shrink(&input, |bytes| {
                        self.variants(bytes).iter().any(|input| fault(input).is_some())
                    });
                    small = self
                        .variants(&small)
                        .into_iter()
                        .find(|small| fault(small).is_some())
                        .unwrap_or(input.clone());
                    let why = fault(&small).unwrap_or(why);
                    Box::new(Finding {
                        input: small,
                        why,
                        seed,
                        executions: report.executions,
                    })
                })?;
            if known.insert(outcome) && run >= given {
                if pool.len() >= POOL.max(given + 1) {
                    pool.remove(given);
                }
                pool.push(input);
            }
        }
        report.outcomes = known.len();
        report.took = began.elapsed();
        Ok(report)
    }

    /// Runs `target` once within its bounds, and tells the input's outcome.
    fn once<R: Debug>(
        &self,
        target: &impl Fn(&[u8]) -> R,
        input: &[u8],
        timed: bool,
        report: &mut Report,
    ) -> Result<(String, u32), String> {
        report.executions += 1;
        let watched = watch(self.meter, || target(input));
        let outcome = watched.outcome?;
        let (used, len) = (watched.used.most_bytes, input.len());
        let allowed = self.memory.base_bytes + self.memory.per_byte * len as u64;
        if used > allowed {
            return Err(format!(
                "an input of {len} bytes made it hold {used} bytes at once, which is more than {allowed}"
            ));
        }
        if timed && watched.took > PATIENCE {
            return Err(format!("an input of {len} bytes took {:?}", watched.took));
        }
        report.most_bytes = report.most_bytes.max(used);
        report.slowest = report.slowest.max(watched.took);
        // How many allocations it took tells paths apart that end alike. What is allocated once a process would make it
        // differ from run to run, so it is left out where runs must be the same.
        let work = if timed {
            (watched.used.allocations + 1).ilog2()
        } else {
            0
        };
        Ok((brief(&outcome), work))
    }

    /// What a candidate for a smaller finding may be: as it is, and mended.
    fn variants(&self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut all = vec![self.readable(bytes.to_vec())];
        if let Some(mend) = self.mend {
            let mut mended = bytes.to_vec();
            mend(&mut mended);
            all.push(self.readable(mended));
        }
        all
    }

    /// The input as UTF-8, where the target takes only that.
    fn readable(&self, input: Vec<u8>) -> Vec<u8> {
        if self.text {
            String::from_utf8_lossy(&input).into_owned().into_bytes()
        } else {
            input
        }
    }

    /// Inputs that were findings once, in the order of their names.
    fn kept(&self) -> Vec<Vec<u8>> {
        let Ok(folder) = std::fs::read_dir(&self.folder) else {
            return Vec::new();
        };
        let mut paths: Vec<_> = folder.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.sort();
        let read = |path: PathBuf| {
            std::fs::read(&path).unwrap_or_else(|e| panic!("{} is not readable: {e}", path.display()))
        };
        paths.into_iter().map(read).collect()
    }

    /// What a person needs to know of a finding. A timed run keeps the input among the tests.
    fn tell(&self, finding: &Finding, time: Option<Duration>) -> String {
        let name = &self.name;
        let kept = time.map(|_| {
            let path = self
                .folder
                .join(format!("{:016x}", seed_of(&format!("{:?}", finding.input))));
            match std::fs::create_dir_all(&self.folder).and_then(|()| std::fs::write(&path, &finding.input)) {
                Ok(()) => format!("kept as {}: every test run tries it from here on", path.display()),
                Err(error) => format!("could not be kept as {}: {error}", path.display()),
            }
        });
        let shown = &finding.input[..finding.input.len().min(SHOWN_BYTES)];
        format!(
            "{name} failed after {} executions: {}\n  input ({} bytes): {}\n  as text: {:?}\n  {}\n  to repeat: \
             {SEED_VARIABLE}={} cargo nextest run -p {} -E 'test({name})'",
            finding.executions,
            finding.why,
            finding.input.len(),
            shown.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
            String::from_utf8_lossy(shown),
            kept.as_deref().unwrap_or("run `make fuzz` to have it kept"),
            finding.seed,
            self.package,
        )
    }
}

/// An outcome without its large figures, which differ too easily.
fn brief(outcome: &impl Debug) -> String {
    const LONGEST: usize = 120;
    let text = format!("{outcome:?}");
    let mut kept = String::new();
    for part in text.split_inclusive(|c: char| !c.is_ascii_digit()) {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        kept.push_str(if digits > 1 { &part[digits..] } else { part });
    }
    kept.chars().take(LONGEST).collect()
}

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text} is not a number")),
    )
}
