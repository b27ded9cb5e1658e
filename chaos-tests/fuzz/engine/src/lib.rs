//! What drives the fuzz tests of every crate: a dev-dependency, and never part of the product. Crates use it through
//! `jarvis-fuzz`, which measures memory as well; one whose tests bring their own allocator uses it as it is.
//!
//! A target is a function of bytes that panics when something is wrong, and says briefly what became of the input. It
//! lives beside what it tests, so private parsers stay private:
//!
//! ```
//! # fn parse(bytes: &[u8]) -> Result<(u8, u8), &'static str> {
//! #     <[u8; 2]>::try_from(bytes).map(|[a, b]| (a, b)).map_err(|_| "not two bytes")
//! # }
//! // Within a test named fuzz_…:
//! jarvis_fuzz_engine::fuzz!()
//!     .seed([1, 2])
//!     .run(|bytes| parse(bytes).map(|(a, b)| assert_eq!([a, b], bytes)));
//! ```
//!
//! ```text
//!             corpus/NAME/*  ─┐
//!  valid encodings (seeds) ───┼─► pool ─► mutate ─► mend (checksums) ─► target ─► panic, memory, time ─► shrink, report
//!                             └────◄──────── inputs with a new outcome ────┘
//! ```
//!
//! Under `cargo test` each target runs its kept corpus, its seeds and a fixed number of mutations from a fixed seed. With
//! `JARVIS_FUZZ_MS` it runs for that long from a seed that is told, and that `JARVIS_FUZZ_SEED` gives back.
//!
//! - [`target`]: what a target is made of and how it is run.
//! - [`watched`]: one execution, with its panic, its memory and its time.
//! - [`shrink`]: how a finding is made small.
//! - [`mutate`]: how a valid input is spoilt.
//! - [`random`]: the numbers behind it, the same for the same seed.
pub mod mutate;
pub mod random;
pub mod shrink;
pub mod target;
pub mod watched;

pub use target::{Finding, Memory, Report, Target};

/// A [`Target`] that knows which test it stands in, and measures no memory.
#[macro_export]
macro_rules! fuzz {
    () => {
        $crate::fuzz!($crate::watched::unmeasured)
    };
    ($meter:path) => {{
        fn here() {}
        fn path_of<T>(_: T) -> &'static str {
            ::core::any::type_name::<T>()
        }
        $crate::Target::new(
            env!("CARGO_PKG_NAME"),
            env!("CARGO_MANIFEST_DIR"),
            path_of(here),
            $meter,
        )
    }};
}
