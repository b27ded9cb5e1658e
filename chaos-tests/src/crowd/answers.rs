//! When a question was answered, and who owned the session then: how gaps are reckoned.

use std::time::Duration;

use tokio::time::Instant;

/// A time, and the session's epoch as its client knew it then.
pub type Moment = (Instant, u64);

/// What became of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// When it was first sent.
    pub sent: Instant,
    /// When it was first told to be committed.
    pub said: Option<Moment>,
    /// When its reply came.
    pub replied: Moment,
}

/// A fault in a node, from the point of view of one client.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// The last instant before it.
    pub before: Instant,
    /// The first instant at which it was certainly done.
    pub after: Instant,
    /// Epoch of the session before.
    pub epoch: u64,
}

impl Fault {
    /// Whether what was told at `moment` about a message sent at `sent` was certainly written by another owner than the
    /// one that was hit: it was asked when that one was gone, or a newer owner had been announced.
    fn is_of_the_next(&self, sent: Instant, (at, epoch): Moment) -> bool {
        at > self.after && (sent >= self.after || epoch > self.epoch)
    }

    /// From the fault to the first reply of the session's next owner.
    pub fn to_reply(&self, answers: &[Answer]) -> Option<Duration> {
        let mut next = answers
            .iter()
            .filter(|answer| self.is_of_the_next(answer.sent, answer.replied));
        Some(next.next()?.replied.0 - self.before)
    }

    /// From the fault to the first `said` of the session's next owner.
    pub fn to_said(&self, answers: &[Answer]) -> Option<Duration> {
        let said = answers
            .iter()
            .filter_map(|answer| Some((answer.sent, answer.said?)));
        let mut next = said.filter(|(sent, said)| self.is_of_the_next(*sent, *said));
        Some(next.next()?.1.0 - self.before)
    }
}

/// The longest time between two answers in a row, among those that came within `from..to`; the time from `from` to the first
/// and from the last to `to` count too.
pub fn longest_silence(answers: &[Answer], from: Instant, to: Instant) -> Duration {
    let within = answers.iter().map(|answer| answer.replied.0);
    let within = within.filter(|at| (from..to).contains(at)).chain([to]);
    let (longest, _) = within.fold((Duration::ZERO, from), |(longest, last), at| {
        (longest.max(at.saturating_duration_since(last)), at)
    });
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(start: Instant, sent: u64, said: (u64, u64), replied: (u64, u64)) -> Answer {
        let at = |ms| start + Duration::from_millis(ms);
        Answer {
            sent: at(sent),
            said: Some((at(said.0), said.1)),
            replied: (at(replied.0), replied.1),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_old_owner_still_wrote_does_not_end_the_gap() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let fault = Fault {
            before: at(100),
            after: at(102),
            epoch: 1,
        };
        let before = answer(start, 80, (85, 1), (90, 1));
        let on_its_way = answer(start, 98, (101, 1), (104, 1));
        assert_eq!(fault.to_reply(&[before, on_its_way]), None);
        let asked_after = answer(start, 105, (300, 1), (310, 1));
        let all = [before, on_its_way, asked_after];
        assert_eq!(fault.to_reply(&all), Some(Duration::from_millis(210)));
        assert_eq!(fault.to_said(&all), Some(Duration::from_millis(200)));
        // Committed by the old owner, answered by the next: the reply counts, the `said` does not.
        let taken_over = answer(start, 98, (101, 1), (280, 2));
        assert_eq!(fault.to_reply(&[taken_over]), Some(Duration::from_millis(180)));
        assert_eq!(fault.to_said(&[taken_over]), None);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_counts_to_both_ends() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let one = |ms| answer(start, ms - 1, (ms, 1), (ms, 1));
        let answers = [one(10), one(20), one(50), one(60)];
        let ms = Duration::from_millis;
        assert_eq!(longest_silence(&answers, at(0), at(70)), ms(30));
        assert_eq!(longest_silence(&answers, at(15), at(130)), ms(70));
        assert_eq!(longest_silence(&answers, at(200), at(300)), ms(100));
        assert_eq!(longest_silence(&[], at(0), at(5)), ms(5));
    }
}
