//! What becomes of a trigger while the automation runs: its mode.

use super::RunId;
use crate::model::Mode;

/// What is known of a run of the automation that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunSeen {
    /// Its id.
    pub id: RunId,
    /// Whether it has not begun yet.
    pub queued: bool,
    /// Whether it does nothing more but hear what came of what it asked for last: see [`Run::is_finishing`](super::Run::is_finishing).
    pub finishing: bool,
}

/// Most runs of an automation that only hear what came of their last calls and stand in nobody's way. In Home Assistant a run is
/// over as soon as its last message is sent; here it is when the broker has it, and what comes between must not be passed over.
pub const MOST_FINISHING: usize = 64;

/// Those of an automation's runs that its mode is about.
fn in_the_way(runs: &[RunSeen]) -> Vec<&RunSeen> {
    let finishing = runs.iter().filter(|run| run.finishing).count();
    let counts = |run: &&RunSeen| !run.finishing || finishing > MOST_FINISHING;
    runs.iter().filter(counts).collect()
}

/// What is done about a trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// These are stopped first.
    pub stop: Vec<RunId>,
    /// And then.
    pub admitted: Admitted,
}

/// What becomes of a trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admitted {
    /// It begins at once.
    Begin,
    /// It is kept, and begins when those before it have ended: see [`next_queued`].
    Queue,
    /// Nothing; why, in a sentence.
    PassOver(String),
}

/// Decides what becomes of a trigger. `runs` are those of the automation that have not ended, oldest first.
pub fn admit(mode: Mode, max: u16, runs: &[RunSeen]) -> Admission {
    let runs = in_the_way(runs);
    let (stop, admitted) = match mode {
        Mode::Single if runs.is_empty() => (Vec::new(), Admitted::Begin),
        Mode::Single => (
            Vec::new(),
            Admitted::PassOver("it runs already, and its mode is single".into()),
        ),
        Mode::Restart => (runs.iter().map(|run| run.id.clone()).collect(), Admitted::Begin),
        Mode::Queued | Mode::Parallel if runs.len() >= usize::from(max) => (
            Vec::new(),
            Admitted::PassOver(format!(
                "{} runs are under way or waiting, and its max is {max}",
                runs.len()
            )),
        ),
        Mode::Queued if runs.is_empty() => (Vec::new(), Admitted::Begin),
        Mode::Queued => (Vec::new(), Admitted::Queue),
        Mode::Parallel => (Vec::new(), Admitted::Begin),
    };
    Admission { stop, admitted }
}

/// The run that begins next, if none is under way. `runs` are those that have not ended, oldest first.
pub fn next_queued(runs: &[RunSeen]) -> Option<&RunId> {
    let runs = in_the_way(runs);
    if runs.iter().any(|run| !run.queued) {
        return None;
    }
    runs.first().map(|run| &run.id)
}

#[cfg(test)]
mod tests {
    use super::{Admitted, MOST_FINISHING, RunId, RunSeen, admit, next_queued};
    use crate::model::Mode;

    fn runs(list: &[(&str, bool)]) -> Vec<RunSeen> {
        list.iter()
            .map(|(id, queued)| RunSeen {
                id: RunId((*id).into()),
                queued: *queued,
                finishing: id.starts_with("finishing"),
            })
            .collect()
    }

    #[test]
    fn modes() {
        let one = &[("a", false)][..];
        let two = &[("a", false), ("b", true)][..];
        #[rustfmt::skip]
        let table = [
            (Mode::Single, 1, &[][..], "begin", &[][..]),
            (Mode::Single, 1, one, "pass over", &[]),
            (Mode::Restart, 1, &[], "begin", &[]),
            (Mode::Restart, 1, one, "begin", &["a"]),
            (Mode::Restart, 1, two, "begin", &["a", "b"]),
            (Mode::Queued, 2, &[], "begin", &[]),
            (Mode::Queued, 2, one, "queue", &[]),
            (Mode::Queued, 2, two, "pass over", &[]),
            (Mode::Queued, 3, two, "queue", &[]),
            (Mode::Parallel, 2, one, "begin", &[]),
            (Mode::Parallel, 2, &[("a", false), ("b", false)], "pass over", &[]),
            (Mode::Single, 1, &[("finishing", false)], "begin", &[]),
            (Mode::Single, 1, &[("finishing", false), ("a", false)], "pass over", &[]),
            (Mode::Restart, 1, &[("finishing", false), ("a", false)], "begin", &["a"]),
            (Mode::Queued, 2, &[("finishing", false)], "begin", &[]),
            (Mode::Queued, 2, &[("finishing", false), ("a", false), ("b", true)], "pass over", &[]),
            (Mode::Parallel, 2, &[("finishing", false), ("a", false)], "begin", &[]),
            (Mode::Single, 1, &[("finishing", false); MOST_FINISHING], "begin", &[]),
            (Mode::Single, 1, &[("finishing", false); MOST_FINISHING + 1], "pass over", &[]),
        ];
        for (mode, max, under_way, expected, stopped) in table {
            let admission = admit(mode, max, &runs(under_way));
            let is = match admission.admitted {
                Admitted::Begin => "begin",
                Admitted::Queue => "queue",
                Admitted::PassOver(why) => {
                    assert!(
                        why.contains("mode is single") || why.contains("its max is"),
                        "{why}"
                    );
                    "pass over"
                }
            };
            assert_eq!(is, expected, "{mode:?} {max} {under_way:?}");
            let stop: Vec<&str> = admission.stop.iter().map(|id| id.0.as_str()).collect();
            assert_eq!(stop, stopped);
        }
    }

    #[test]
    fn the_oldest_that_waits_is_next_when_none_runs() {
        assert_eq!(next_queued(&[]), None);
        assert_eq!(next_queued(&runs(&[("a", false), ("b", true)])), None);
        assert_eq!(
            next_queued(&runs(&[("b", true), ("c", true)])),
            Some(&RunId("b".into()))
        );
        assert_eq!(
            next_queued(&runs(&[("finishing", false), ("b", true)])),
            Some(&RunId("b".into()))
        );
    }
}
