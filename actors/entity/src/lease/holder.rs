//! What the holder decides: whether this node may act at a moment. Pure.

use std::time::Duration;

use super::terms::{Moment, millis, remembered};

/// The lease that this node holds, and how far every other node is known to be.
#[derive(Debug, Clone, Default)]
pub(crate) struct Holder {
    lease: Option<Lease>,
    past: u64,
    under: Option<Under>,
}

/// The leader of the latest term by whom this node was granted a lease.
#[derive(Debug, Clone, Copy)]
struct Under {
    term: u64,
    /// When it had been elected, at the latest.
    since: Duration,
    /// The longest that it granted.
    longest: Duration,
}

/// A lease by both clocks: neither alone notices everything (a suspended machine's monotonic clock may stand, a wall clock
/// may be set).
#[derive(Debug, Clone, Copy)]
struct Lease {
    until: Duration,
    from_wall_ms: u64,
    until_wall_ms: u64,
}

impl Holder {
    /// A grant that was asked for at `asked` has come: it counts from then, not from when it came.
    pub(crate) fn granted(&mut self, asked: Moment, length: Duration, past: u64) {
        // That nobody acts by anything older than `past` stays true for ever, whoever granted and however late.
        self.past = self.past.max(past);
        let lease = Lease {
            until: asked.mono + length,
            from_wall_ms: asked.wall_ms,
            until_wall_ms: asked.wall_ms.saturating_add(millis(length)),
        };
        if self.lease.is_none_or(|held| held.until < lease.until) {
            self.lease = Some(lease);
        }
    }

    /// The leader of `term` granted so much, as was heard at `now`. True: it is the first that is heard of this leader.
    pub(crate) fn granted_in(&mut self, term: u64, length: Duration, now: Duration) -> bool {
        match &mut self.under {
            Some(under) if under.term > term => false,
            Some(under) if under.term == term => {
                under.longest = under.longest.max(length);
                false
            }
            under => {
                let (since, longest) = (now, length);
                *under = Some(Under { term, since, longest });
                true
            }
        }
    }

    /// The longest lease that may still run when this node begins to lead in `term`. `lengths`: those that leaders grant in
    /// full, according to how they are configured; whatever one grants tells which of them is its own. Where it is not
    /// certain who granted before, the longest of all.
    pub(crate) fn longest_before(&self, term: u64, now: Duration, lengths: &[Duration]) -> Duration {
        let longest = lengths.iter().copied().max().unwrap_or_default();
        // Between that leader and this one there was none, and what was granted before that one is over.
        let certain =
            |under: &Under| under.term + 1 == term && now.saturating_sub(under.since) >= remembered(longest);
        let full = |under: Under| {
            lengths
                .iter()
                .copied()
                .filter(|full| *full >= under.longest)
                .min()
        };
        self.under.filter(certain).and_then(full).unwrap_or(longest)
    }

    /// Gives it up.
    pub(crate) fn let_go(&mut self) {
        self.lease = None;
    }

    /// Whether the lease runs at `now` and for `takes` longer.
    pub(crate) fn runs(&self, now: Moment, takes: Duration) -> bool {
        self.lease.is_some_and(|lease| {
            now.mono + takes < lease.until
                && now.wall_ms >= lease.from_wall_ms
                && now.wall_ms.saturating_add(millis(takes)) < lease.until_wall_ms
        })
    }

    /// No other node acts, or ever will, by an ownership that was applied before this index.
    pub(crate) fn past(&self) -> u64 {
        self.past
    }
}

/// How long the leases of a leader are which granted so much.
pub(crate) fn full_length(granted: Duration, lengths: &[Duration]) -> Option<Duration> {
    lengths.iter().copied().filter(|full| *full >= granted).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(mono_ms: u64, wall_ms: u64) -> Moment {
        Moment {
            mono: Duration::from_millis(mono_ms),
            wall_ms,
        }
    }

    const LENGTH: Duration = Duration::from_millis(800);

    #[test]
    fn a_lease_runs_from_its_asking_by_both_clocks() {
        let mut holder = Holder::default();
        assert!(!holder.runs(at(0, 0), Duration::ZERO));
        holder.granted(at(1_000, 50_000), LENGTH, 7);
        let cases = [
            ("at once", at(1_000, 50_000), 0, true),
            ("just before its end", at(1_799, 50_799), 0, true),
            ("at its end", at(1_800, 50_800), 0, false),
            ("for an act that would outlast it", at(1_790, 50_790), 20, false),
            ("the machine slept", at(1_001, 55_000), 0, false),
            ("the wall clock was put back", at(1_100, 49_000), 0, false),
        ];
        for (what, now, takes_ms, runs) in cases {
            assert_eq!(holder.runs(now, Duration::from_millis(takes_ms)), runs, "{what}");
        }
        assert_eq!(holder.past(), 7);
    }

    #[test]
    fn what_the_leader_before_granted_is_known_after_a_while() {
        let ms = Duration::from_millis;
        let lengths = [ms(800), ms(2_000), ms(3_000)];
        let mut holder = Holder::default();
        let before = |holder: &Holder, term, now| holder.longest_before(term, ms(now), &lengths);
        assert_eq!(before(&holder, 1, 9_000), ms(3_000), "nothing is known");
        holder.granted_in(4, ms(640), ms(10_000));
        holder.granted_in(4, ms(790), ms(10_200));
        assert_eq!(
            before(&holder, 5, 12_000),
            ms(3_000),
            "the one before that may have granted more"
        );
        assert_eq!(before(&holder, 5, 13_400), ms(800));
        assert_eq!(
            before(&holder, 6, 13_400),
            ms(3_000),
            "another may have led in between"
        );
        holder.granted_in(3, ms(3_000), ms(13_500));
        assert_eq!(
            before(&holder, 5, 13_500),
            ms(800),
            "of an earlier leader, over by now"
        );
        holder.granted_in(7, ms(2_500), ms(20_000));
        assert_eq!(before(&holder, 8, 30_000), ms(3_000));
        holder.granted_in(9, ms(900), ms(40_000));
        assert_eq!(before(&holder, 10, 50_000), ms(2_000));
    }

    #[test]
    fn a_late_answer_to_an_earlier_question_takes_nothing_away() {
        let mut holder = Holder::default();
        holder.granted(at(1_000, 1_000), LENGTH, 9);
        holder.granted(at(500, 500), LENGTH, 4);
        assert!(holder.runs(at(1_700, 1_700), Duration::ZERO));
        assert_eq!(holder.past(), 9);
        holder.let_go();
        assert!(!holder.runs(at(1_001, 1_001), Duration::ZERO));
    }
}
