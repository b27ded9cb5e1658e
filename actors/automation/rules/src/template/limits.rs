//! The bounds of templates. What comes to one ends with a sentence that names it.

/// Longest source, in bytes.
pub(super) const SOURCE: usize = 16 * 1024;

/// Operators, brackets and dots of one expression that stand in one another.
pub(super) const OPERATORS: usize = 250;

/// `elif`s of a template.
pub(super) const ELIFS: usize = 50;

/// Instructions of one rendering.
pub(super) const FUEL: u64 = 100_000;

/// How deep macros and loops call one another.
pub(super) const RECURSION: usize = 50;

/// Bytes and items that one rendering may read and make: bounds time and memory alike.
pub(super) const WORK: u64 = 4 * 1024 * 1024;

/// Longest text that a rendering makes, its output too, in bytes.
pub(super) const TEXT: usize = 256 * 1024;

/// Widest field of a format, and most places after its point: no number has more digits that say something.
pub(super) const WIDTH: usize = 1_000;

/// Most items that a list or mapping has.
pub(super) const ITEMS: usize = 20_000;

/// How deep lists and mappings stand in one another.
pub(super) const DEPTH: usize = 32;

/// Longest regular expression, in bytes, and what it may take when compiled.
pub(super) const PATTERN: usize = 512;

/// What a regular expression may take when compiled, in bytes.
pub(super) const PATTERN_COMPILED: usize = 256 * 1024;

/// Compiled templates that are kept at least; at most twice as many.
pub(super) const KEPT: usize = 8_192;
