//! Which wall clocks were wrong, when and by how much: a wait that begins by one clock and ends by another is longer or
//! shorter by what they are apart. PURE.

use std::time::Duration;

use tokio::time::Instant;

/// A moment by the wall clock that is right, by which others are told.
#[derive(Debug, Clone, Copy)]
pub struct Wall {
    /// The moment.
    pub at: Instant,
    /// The same, in Unix milliseconds.
    pub unix_ms: u64,
}

impl Wall {
    /// When the clock shows that, in Unix milliseconds; what was before the moment is taken for the moment.
    pub fn when(&self, unix_ms: u64) -> Instant {
        self.at + Duration::from_millis(unix_ms.saturating_sub(self.unix_ms))
    }

    /// What the clock shows then, in Unix milliseconds.
    pub fn shows(&self, at: Instant) -> u64 {
        self.unix_ms + at.saturating_duration_since(self.at).as_millis() as u64
    }
}

/// A clock that was wrong for a while.
#[derive(Debug, Clone, Copy)]
struct Wrong {
    from: Instant,
    to: Instant,
    offset_ms: i64,
}

/// All that were wrong.
#[derive(Debug, Clone, Default)]
pub struct Clocks(Vec<Wrong>);

impl Clocks {
    /// Some node's clock was wrong, between these moments at the most.
    pub fn wrong(&mut self, from: Instant, to: Instant, offset_ms: i64) {
        self.0.push(Wrong { from, to, offset_ms });
    }

    /// How far any two clocks were apart at the most between two moments, each at its own moment.
    pub fn apart(&self, from: Instant, to: Instant) -> Duration {
        let meanwhile = self.0.iter().filter(|wrong| wrong.from <= to && from <= wrong.to);
        let (least, most) = meanwhile.fold((0, 0), |(least, most): (i64, i64), wrong| {
            (least.min(wrong.offset_ms), most.max(wrong.offset_ms))
        });
        Duration::from_millis(most.abs_diff(least))
    }

    /// How long after `now` something that waits may be held up by clocks that were wrong, once they all are right: what one of
    /// them dated, or a sleep that was measured by it, in turn after one another.
    pub fn holds_up(&self, now: Instant) -> Duration {
        let each = self.0.iter().map(|wrong| {
            let until = wrong.to + Duration::from_millis(wrong.offset_ms.unsigned_abs());
            until.saturating_duration_since(now)
        });
        each.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_clocks_that_were_wrong_meanwhile_count() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut clocks = Clocks::default();
        clocks.wrong(at(10), at(15), 2_000);
        clocks.wrong(at(14), at(20), -3_000);
        let apart = |from, to| clocks.apart(at(from), at(to)).as_secs();
        assert_eq!((apart(0, 9), apart(21, 30)), (0, 0));
        assert_eq!((apart(0, 11), apart(16, 30), apart(0, 30)), (2, 3, 5));
        let held_up = |s| clocks.holds_up(at(s)).as_secs();
        assert_eq!((held_up(16), held_up(20), held_up(23)), (1 + 7, 3, 0));
    }
}
