//! The bounds of what is loaded. What goes beyond one is refused with its name and number.

/// Automations a file.
pub(super) const AUTOMATIONS: usize = 5_000;

/// Problems told of one file; what comes after them is counted only.
pub(super) const PROBLEMS: usize = 200;

/// Triggers of an automation, or of a `wait_for_trigger`.
pub(super) const TRIGGERS: usize = 128;

/// Conditions of one list.
pub(super) const CONDITIONS: usize = 128;

/// Actions of an automation, nested ones included.
pub(super) const ACTIONS: usize = 1_000;

/// How deep conditions and actions stand in one another.
pub(super) const NESTING: usize = 16;

/// Branches of a `choose`, or of a `parallel`.
pub(super) const BRANCHES: usize = 64;

/// Entities, states, times or ids in one field.
pub(super) const ITEMS: usize = 256;

/// Variables of one scope.
pub(super) const VARIABLES: usize = 128;

/// Rounds that a `repeat` with a written count may have.
pub(super) const ROUNDS: u64 = 100_000;

/// Runs of one automation at a time, or waiting.
pub(super) const MAX_RUNS: u16 = 256;

/// Longest id, alias and name, in bytes.
pub(super) const NAME: usize = 128;

/// Longest description, in bytes.
pub(super) const DESCRIPTION: usize = 8 * 1024;

/// Longest duration: what waits longer than a year is a mistake more likely than not.
pub(super) const SPAN_MS: u64 = 366 * 24 * 60 * 60 * 1_000;
