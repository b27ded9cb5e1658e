//! The fuzz engine with every execution's memory measured, by an allocator that counts for each thread by itself. It stands
//! in a crate of its own because a program has one allocator.
pub use jarvis_fuzz_engine::{Finding, Memory, Report, Target, mutate, random, shrink, watched};

#[doc(hidden)]
pub use jarvis_fuzz_engine as engine;

use watched::Used;

/// Runs `work` and tells what it used.
pub fn measure(work: &mut dyn FnMut()) -> Used {
    let counted = allocation_counter::measure(work);
    Used {
        most_bytes: counted.bytes_max,
        allocations: counted.count_total,
    }
}

/// A [`Target`] that knows which test it stands in.
#[macro_export]
macro_rules! fuzz {
    () => {
        $crate::engine::fuzz!($crate::measure)
    };
}
