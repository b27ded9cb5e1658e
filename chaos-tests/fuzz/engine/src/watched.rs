//! One execution, with its panic, its memory and its time.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::time::{Duration, Instant};

/// What an execution took of memory.
#[derive(Debug, Clone, Copy, Default)]
pub struct Used {
    /// Most bytes it held at once.
    pub most_bytes: u64,
    /// How many times it allocated.
    pub allocations: u64,
}

/// Runs something and tells what memory it took.
pub type Meter = fn(&mut dyn FnMut()) -> Used;

/// A [`Meter`] that does not look.
pub fn unmeasured(work: &mut dyn FnMut()) -> Used {
    work();
    Used::default()
}

/// What an execution did and used.
#[derive(Debug)]
pub struct Watched<R> {
    /// What it answered, or what panicked in it and where, even if that was caught.
    pub outcome: Result<R, String>,
    /// What it took of memory.
    pub used: Used,
    /// How long it took.
    pub took: Duration,
}

thread_local! {
    /// The last panic of this thread; outside of an execution, panics are none of ours.
    static PANIC: RefCell<Option<Option<String>>> = const { RefCell::new(None) };
}

/// Runs `target` once, and tells instead of panicking.
pub fn watch<R>(meter: Meter, target: impl Fn() -> R) -> Watched<R> {
    hook();
    let mut outcome = None;
    PANIC.set(Some(None));
    let began = now();
    let used = meter(&mut || outcome = catch_unwind(AssertUnwindSafe(&target)).ok());
    let took = began.elapsed();
    let panicked = PANIC.take().flatten();
    Watched {
        outcome: match (outcome, panicked) {
            (Some(outcome), None) => Ok(outcome),
            (_, panicked) => Err(panicked.unwrap_or_else(|| "it panicked".to_owned())),
        },
        used,
        took,
    }
}

/// Keeps panics of executions off the terminal, where thousands of them may come while a finding is made small.
fn hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let ours = PANIC.with_borrow_mut(|slot| match slot {
                Some(last) => {
                    *last = Some(panic.to_string());
                    true
                }
                None => false,
            });
            if !ours {
                before(panic);
            }
        }));
    });
}

#[allow(
    clippy::disallowed_methods,
    reason = "fuzz tests run without a runtime, in real time"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
