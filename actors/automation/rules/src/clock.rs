//! When the clock of a home shows something next: times of day, patterns, the sun. Pure arithmetic over an instant and a zone.
//!
//! ```text
//!  instant (Unix ms) ──► local clock (jiff, the home's zone) ──► next wall time that fits ──► instant
//! ```
//!
//! **Summer time.** A wall time that does not exist (02:30 in the night the clocks go forward) means the first moment after
//! the gap, once. One that exists twice (02:30 in the night they go back) means the first of both, only. So what is due daily
//! is due every day, and once. Patterns that name no hour follow real time instead: "every five minutes" is every five minutes
//! in the repeated hour too, and there is nothing to make up for in the hour that is left out.

pub mod sun;

mod kept;
mod pattern;
mod wall;

pub use self::kept::Kept;
pub(crate) use self::kept::time_of_day;
pub use self::pattern::next_pattern;
pub(crate) use self::wall::days_after_monday;
pub use self::wall::{instant_of, next_time_of_day, zoned};

#[cfg(test)]
mod tests;
