//! A minority says `unavailable`: what is sent to it while it is cut off is neither committed nor answered until it is healed.

use std::time::Duration;

use tokio::time::Instant;

use super::Broken;

const LAW: &str = "a minority serves no write and says so";

/// A message said at a node that was cut off.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Its session.
    pub session: String,
    /// When it was sent.
    pub sent: Instant,
    /// When its socket was told `unavailable`, and whether with a time to try again.
    pub refused: Option<(Instant, bool)>,
    /// When its socket was told that it is committed, or answered.
    pub served: Option<Instant>,
}

/// How long the cut lasted, and how soon the refusal must come.
#[derive(Debug, Clone, Copy)]
pub struct Cut {
    /// From here on nothing went through.
    pub from: Instant,
    /// Until here.
    pub to: Instant,
    /// A refusal must come within this time.
    pub patience: Duration,
}

/// Checks what was sent during the cut. A message that had less than the patience before the cut was healed may have been
/// answered by neither.
pub fn check(attempts: &[Attempt], cut: &Cut) -> Vec<Broken> {
    let mut broken = Vec::new();
    for attempt in attempts {
        if !(cut.from..cut.to).contains(&attempt.sent) {
            continue;
        }
        let mut report = |what: String| {
            broken.push(Broken {
                law: LAW,
                session: attempt.session.clone(),
                what,
            });
        };
        if let Some(served) = attempt.served.filter(|served| *served < cut.to) {
            report(format!("served {:?} into the cut", served - cut.from));
            continue;
        }
        let deadline = attempt.sent + cut.patience;
        match attempt.refused {
            Some((at, _)) if at > deadline => report(format!("refused only after {:?}", at - attempt.sent)),
            Some((_, false)) => report("refused without a time to try again".to_owned()),
            None if deadline < cut.to => report(format!("neither served nor refused in {:?}", cut.patience)),
            _ => {}
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_minority_that_serves_or_keeps_silent_is_found() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let cut = Cut {
            from: at(1_000),
            to: at(6_000),
            patience: Duration::from_secs(2),
        };
        let attempt = |sent, refused: Option<(u64, bool)>, served: Option<u64>| Attempt {
            session: "s".into(),
            sent: at(sent),
            refused: refused.map(|(ms, hint)| (at(ms), hint)),
            served: served.map(at),
        };
        let good = [
            attempt(900, None, Some(1_010)),
            attempt(1_500, Some((3_000, true)), None),
            attempt(1_500, Some((3_000, true)), Some(6_100)),
            attempt(5_000, None, Some(6_100)),
        ];
        assert_eq!(check(&good, &cut), []);
        for bad in [
            attempt(1_500, None, Some(2_000)),
            attempt(1_500, Some((1_600, true)), Some(2_000)),
            attempt(1_500, None, None),
            attempt(1_500, None, Some(6_100)),
            attempt(1_500, Some((4_000, true)), None),
            attempt(1_500, Some((2_000, false)), None),
        ] {
            assert_eq!(check(std::slice::from_ref(&bad), &cut).len(), 1, "{bad:?}");
        }
    }
}
