//! Whether the other side of a socket is there: when it is asked for a sign of life, when another node is sought besides,
//! when the socket counts as lost. Pure.
//!
//! ```text
//!   sign ── silence ──► ask ── no sign ──► seek another node, hold on to this one ── no sign ──► lost
//!    ▲                                       │ a sign meanwhile: the search is given up
//!    └───────────────────────────────────────┘
//! ```
//!
//! A slow node must not be mistaken for a dead one, and a dead one must not cost seconds. So suspicion alone ends nothing: it
//! only begins a search, and whoever answers first is stayed with.

use std::time::Duration;

use tokio::time::Instant;

/// Silence before the other side is asked for a sign of life, while nobody waits for anything.
pub(super) const CALM_INTERVAL: Duration = Duration::from_secs(2);
/// The same, while an answer is waited for.
pub(super) const WAITING_INTERVAL: Duration = Duration::from_millis(500);
/// Asked and silent for this long: another node is sought. A gateway answers in a millisecond, over bad radio in a few hundred.
pub(super) const SUSPECT_AFTER: Duration = Duration::from_millis(500);
/// Without any sign for this long the socket counts as lost, even if no other node answers.
pub(super) const SILENCE_LIMIT: Duration = Duration::from_secs(6);

/// What is known of a socket's other side.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pulse {
    /// The last sign of life.
    heard: Instant,
    /// The first question since, and the last.
    asked: Option<(Instant, Instant)>,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beat {
    /// Nothing before this instant.
    Wait(Instant),
    /// Ask for a sign of life.
    Ask,
    /// It is gone.
    Lost,
}

impl Pulse {
    /// Of a socket that has just come about.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            heard: now,
            asked: None,
        }
    }

    /// Something came.
    pub(super) fn hear(&mut self, now: Instant) {
        *self = Self::new(now);
    }

    /// It is asked.
    pub(super) fn ask(&mut self, now: Instant) {
        let first = self.asked.map_or(now, |(first, _)| first);
        self.asked = Some((first, now));
    }

    /// How long it has been silent.
    pub(super) fn silence(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.heard)
    }

    /// What is to be done at `now`.
    pub(super) fn beat(&self, now: Instant, waiting: bool) -> Beat {
        let interval = if waiting { WAITING_INTERVAL } else { CALM_INTERVAL };
        let lost_at = self.heard + SILENCE_LIMIT;
        let ask_at = self.asked.map_or(self.heard, |(_, last)| last) + interval;
        // A client that stood still itself has heard nothing either: it asks before it judges.
        match self.asked {
            Some(_) if lost_at <= now => Beat::Lost,
            _ if ask_at <= now => Beat::Ask,
            Some(_) => Beat::Wait(ask_at.min(lost_at)),
            None => Beat::Wait(ask_at),
        }
    }

    /// When it becomes suspect, if it stays silent; none before it is asked.
    pub(super) fn suspect_at(&self) -> Option<Instant> {
        self.asked.map(|(first, _)| first + SUSPECT_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_asked_about_then_suspect_then_the_end() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut pulse = Pulse::new(start);
        assert_eq!(pulse.beat(at(0), false), Beat::Wait(at(2_000)));
        assert_eq!(pulse.beat(at(0), true), Beat::Wait(at(500)));
        assert_eq!(pulse.suspect_at(), None);
        assert_eq!(pulse.beat(at(500), true), Beat::Ask);
        pulse.ask(at(500));
        assert_eq!(pulse.suspect_at(), Some(at(1_000)));
        assert_eq!(pulse.beat(at(600), true), Beat::Wait(at(1_000)));
        assert_eq!(pulse.beat(at(1_000), true), Beat::Ask);
        pulse.ask(at(1_000));
        assert_eq!(
            pulse.suspect_at(),
            Some(at(1_000)),
            "asking again is no reason to wait longer"
        );
        pulse.ask(at(5_900));
        assert_eq!(pulse.beat(at(5_950), true), Beat::Wait(at(6_000)));
        assert_eq!(pulse.beat(at(6_000), true), Beat::Lost);
        pulse.hear(at(6_000));
        assert_eq!(pulse.suspect_at(), None, "a sign ends the suspicion");
        assert_eq!(pulse.beat(at(6_000), false), Beat::Wait(at(8_000)));
    }

    #[test]
    fn who_stood_still_asks_before_judging() {
        let start = Instant::now();
        let late = start + Duration::from_secs(60);
        let mut pulse = Pulse::new(start);
        assert_eq!(pulse.beat(late, false), Beat::Ask);
        assert_eq!(pulse.suspect_at(), None);
        pulse.ask(late);
        assert_eq!(pulse.suspect_at(), Some(late + SUSPECT_AFTER));
    }
}
