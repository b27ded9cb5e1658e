//! The rounds of each drill: whom it strikes, how, for how long, and what must be so before the next.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jarvis_host::{Clock, Entropy, SystemClock};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until};

use super::catalogue::{Cut, Drill};
use super::cluster::{Cluster, Standing, Victim};
use super::guard::{Paused, terminate};
use super::talker::Board;
use super::verdict::Round;
use super::{ANSWER_TIMEOUT, SETTLE, WHOLE_TIMEOUT};
use crate::cli::output::Progress;
use crate::fail::Failure;

/// Faults are ended by the drill; if it cannot, they end by themselves after this.
const FAULT_LASTS: Duration = Duration::from_secs(45);
/// A node is cut off for at least this long: several leases.
const CUT_FOR: Duration = Duration::from_secs(4);
/// Longer than the lease of any profile.
const LONG_PAUSE: Duration = Duration::from_secs(5);
/// Shorter than half a lease of any profile.
const SHORT_PAUSE: Duration = Duration::from_millis(120);
/// A failover that a short pause caused shows by then.
const SHORT_PAUSE_SHOWS: Duration = Duration::from_millis(1_500);
/// How long links or a disk are slow.
const SLOW_FOR: Duration = Duration::from_secs(4);
/// How much longer a sync of a slow disk takes, in milliseconds.
const SLOW_SYNC_MS: u64 = 300;
/// How long a disk is full.
const FULL_FOR: Duration = Duration::from_secs(5);
/// By how much a clock is wrong, in milliseconds. Connections that stand live through it; to a clock that is behind, a young
/// certificate looks as if it were not valid yet.
const CLOCK_OFFSET_MS: i64 = 2 * 3_600 * 1_000;
/// How long a clock is wrong.
const WRONG_FOR: Duration = Duration::from_secs(3);

/// Who may be struck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    /// Who leads.
    Leader,
    /// Who owns conversations whose clients are elsewhere.
    Owner,
    /// To whom clients are connected.
    Gateway,
    /// Anyone who does not lead.
    Follower,
    /// Anyone.
    Any,
}

/// Where a drill takes place.
pub(super) struct Field<'f> {
    pub(super) drill: Drill,
    pub(super) cluster: &'f Cluster,
    pub(super) board: &'f Arc<Board>,
    pub(super) entropy: &'f dyn Entropy,
    pub(super) progress: &'f Progress,
}

impl Field<'_> {
    /// All rounds, each noted when it is over.
    pub(super) async fn rounds(&self, count: u32, rounds: &mut Vec<Round>) -> Result<(), Failure> {
        self.board
            .until_all_answered_since(Instant::now(), ANSWER_TIMEOUT)
            .await?;
        for number in 1..=count {
            sleep(SETTLE).await;
            self.board.check()?;
            self.progress.say(&format!("round {number} of {count}"));
            match self.drill {
                Drill::KillOwner => rounds.push(self.kill(number, Who::Owner).await?),
                Drill::KillLeader => rounds.push(self.kill(number, Who::Leader).await?),
                Drill::KillGateway => rounds.push(self.kill(number, Who::Gateway).await?),
                Drill::Pause if number % 2 == 1 => rounds.push(self.long_pause(number).await?),
                Drill::Pause => rounds.push(self.short_pause(number).await?),
                Drill::Partition => rounds.push(self.partition(number).await?),
                Drill::SlowNetwork => rounds.push(self.slow_network(number).await?),
                Drill::SlowDisk => rounds.push(self.slow_disk(number).await?),
                Drill::FullDisk => rounds.push(self.full_disk(number).await?),
                Drill::ClockJump => rounds.push(self.clock_jump(number).await?),
                Drill::RollingRestart => self.rolling_restart(number, rounds).await?,
                Drill::PowerCut => rounds.push(self.power_cut(number).await?),
            }
        }
        Ok(())
    }

    async fn kill(&self, number: u32, who: Who) -> Result<Round, Failure> {
        let victim = self.pick(who).await?;
        let struck = self.board.those(|node, owner| match who {
            Who::Owner => owner == victim.name && node != victim.name,
            Who::Gateway => node == victim.name,
            Who::Leader | Who::Follower | Who::Any => node != victim.name,
        });
        let round = self.begin(number, "killed", &victim, struck);
        victim.pid.into_iter().for_each(crate::up::kill);
        self.board
            .until_all_answered_since(round.at, ANSWER_TIMEOUT)
            .await?;
        self.back(&[victim]).await?;
        Ok(round)
    }

    async fn long_pause(&self, number: u32) -> Result<Round, Failure> {
        let victim = self.pick(Who::Owner).await?;
        let mut round = self.begin(number, "long pause", &victim, self.served_elsewhere(&victim));
        round.cut_off = self.connected_to(&victim);
        let paused = Paused::stop(self.pid_of(&victim)?, LONG_PAUSE + ANSWER_TIMEOUT)?;
        sleep(LONG_PAUSE).await;
        self.answered_but(&round, round.at + LONG_PAUSE / 2).await?;
        drop(paused);
        self.whole_again().await?;
        Ok(round)
    }

    async fn short_pause(&self, number: u32) -> Result<Round, Failure> {
        let victim = self.pick(Who::Leader).await?;
        let before = self.cluster.standing().await?;
        let mut round = self.begin(number, "short pause", &victim, self.all());
        let paused = Paused::stop(self.pid_of(&victim)?, SHORT_PAUSE)?;
        sleep(SHORT_PAUSE).await;
        drop(paused);
        sleep(SHORT_PAUSE_SHOWS).await;
        let after = self.cluster.standing().await?;
        if let Some(lost) = after.lost_since(&before, &victim.name) {
            let ms = SHORT_PAUSE.as_millis();
            round.broken.push(format!(
                "round {number}: a pause of {ms} ms caused a failover: {lost}"
            ));
        }
        self.whole_again().await?;
        Ok(round)
    }

    async fn partition(&self, number: u32) -> Result<Round, Failure> {
        let cut = Cut::of_round(number);
        let who = match cut {
            Cut::LeaderFromClients | Cut::LeaderWhole => Who::Leader,
            Cut::Whole => Who::Owner,
            Cut::In | Cut::Out => Who::Any,
        };
        let victim = self.pick(who).await?;
        let drop = |direction: &str| json!({"kind": "network", "drop": direction});
        let (order, affected) = match cut {
            Cut::LeaderFromClients => (json!({"kind": "http_cut"}), self.connected_to(&victim)),
            Cut::Whole | Cut::LeaderWhole => (drop("both"), self.served_elsewhere(&victim)),
            Cut::In => (drop("in"), self.served_elsewhere(&victim)),
            Cut::Out => (drop("out"), self.served_elsewhere(&victim)),
        };
        let mut round = self.begin(number, cut.name(), &victim, affected);
        if cut != Cut::LeaderFromClients {
            // They have a gateway that cannot commit: that it says so is all they can ask for.
            round.cut_off = self.connected_to(&victim);
        }
        self.cluster.set_fault(&victim.name, order, FAULT_LASTS).await?;
        sleep_until(round.at + CUT_FOR).await;
        self.answered_but(&round, round.at + CUT_FOR / 2).await?;
        self.cluster.heal([victim.name.as_str()]).await;
        self.whole_again().await?;
        Ok(round)
    }

    async fn slow_network(&self, number: u32) -> Result<Round, Failure> {
        let round = self.begin(number, "slow links", &Victim::all(), self.all());
        let order = json!({"kind": "network", "delay_ms": 20, "jitter_ms": 20, "loss_percent": 5});
        let before = self.cluster.standing().await?;
        for (name, _) in self.cluster.apis() {
            self.cluster.set_fault(name, order.clone(), FAULT_LASTS).await?;
        }
        self.goes_on(&round, SLOW_FOR).await?;
        self.heal_all().await;
        self.whole_again().await?;
        self.with_elections(round, &before).await
    }

    async fn slow_disk(&self, number: u32) -> Result<Round, Failure> {
        let who = if number % 2 == 1 {
            Who::Follower
        } else {
            Who::Leader
        };
        let order = json!({"kind": "slow_disk", "sync_delay_ms": SLOW_SYNC_MS});
        self.wrong_node(number, "slow disk", who, order, SLOW_FOR).await
    }

    async fn clock_jump(&self, number: u32) -> Result<Round, Failure> {
        let (who, offset_ms, kind) = if number % 2 == 1 {
            (Who::Leader, CLOCK_OFFSET_MS, "clock forward")
        } else {
            (Who::Any, -CLOCK_OFFSET_MS, "clock back")
        };
        let order = json!({"kind": "clock", "offset_ms": offset_ms});
        self.wrong_node(number, kind, who, order, WRONG_FOR).await
    }

    /// Something is wrong with one node, and everything goes on.
    async fn wrong_node(
        &self,
        number: u32,
        kind: &'static str,
        who: Who,
        order: Value,
        lasts: Duration,
    ) -> Result<Round, Failure> {
        let victim = self.pick(who).await?;
        let before = self.cluster.standing().await?;
        let round = self.begin(number, kind, &victim, self.all());
        self.cluster.set_fault(&victim.name, order, FAULT_LASTS).await?;
        self.goes_on(&round, lasts).await?;
        self.cluster.heal([victim.name.as_str()]).await;
        self.whole_again().await?;
        self.with_elections(round, &before).await
    }

    async fn full_disk(&self, number: u32) -> Result<Round, Failure> {
        let who = if number % 2 == 1 {
            Who::Follower
        } else {
            Who::Leader
        };
        let victim = self.pick(who).await?;
        let mut affected = self.served_elsewhere(&victim);
        affected.extend(self.connected_to(&victim));
        let round = self.begin(number, "full disk", &victim, affected);
        let order = json!({"kind": "full_disk"});
        self.cluster.set_fault(&victim.name, order, FULL_FOR).await?;
        self.cluster.until_gone(&victim.name, ANSWER_TIMEOUT).await?;
        self.board
            .until_all_answered_since(Instant::now(), ANSWER_TIMEOUT)
            .await?;
        self.back(&[victim]).await?;
        Ok(round)
    }

    async fn rolling_restart(&self, number: u32, rounds: &mut Vec<Round>) -> Result<(), Failure> {
        for (name, _) in self.cluster.apis() {
            let victim = self.victim(name).await?;
            let round = self.begin(number, "restarted", &victim, self.all());
            terminate(self.pid_of(&victim)?);
            self.back(&[victim]).await?;
            rounds.push(round);
        }
        Ok(())
    }

    async fn power_cut(&self, number: u32) -> Result<Round, Failure> {
        let mut victims = Vec::new();
        for (name, _) in self.cluster.apis() {
            let pid = self.cluster.pid(name)?;
            victims.push(Victim {
                name: name.clone(),
                pid,
                leader: false,
            });
        }
        let round = self.begin(number, "power cut", &Victim::all(), self.all());
        victims
            .iter()
            .filter_map(|victim| victim.pid)
            .for_each(crate::up::kill);
        self.back(&victims).await?;
        Ok(round)
    }

    /// Chooses whom to strike; among equals the dice decide, and not the leader where it is not about that.
    async fn pick(&self, who: Who) -> Result<Victim, Failure> {
        let leader = self.cluster.leader().await?;
        let count = |holds: &dyn Fn(&str, &str) -> bool| !self.board.those(holds).is_empty();
        let fits = |name: &str| match who {
            Who::Leader => name == leader,
            Who::Owner => count(&|node, owner| owner == name && node != name),
            Who::Gateway => count(&|node, _| node == name),
            Who::Follower => name != leader && self.carries(name),
            Who::Any => true,
        };
        let names: Vec<&str> = self
            .cluster
            .apis()
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        let mut fit: Vec<&str> = names.iter().copied().filter(|name| fits(name)).collect();
        if fit.is_empty() && who == Who::Owner {
            // Few conversations may all be connected to the very nodes that own them.
            fit = names
                .into_iter()
                .filter(|name| count(&|_, owner| owner == *name))
                .collect();
        }
        if matches!(who, Who::Owner | Who::Gateway) && fit.iter().any(|name| *name != leader) {
            fit.retain(|name| *name != leader);
        }
        if fit.is_empty() {
            return Err(Failure::new(
                "the drill cannot go on",
                "no node carries any of its conversations",
            )
            .next("try again with more --sessions"));
        }
        self.victim(fit[(self.entropy.next_u64() % fit.len() as u64) as usize])
            .await
    }

    /// A witness carries nothing, and is struck by drills about anyone only.
    fn carries(&self, name: &str) -> bool {
        !self
            .board
            .those(|node, owner| node == name || owner == name)
            .is_empty()
    }

    async fn victim(&self, name: &str) -> Result<Victim, Failure> {
        Ok(Victim {
            name: name.to_owned(),
            pid: self.cluster.pid(name)?,
            leader: self.cluster.leader().await? == name,
        })
    }

    fn pid_of(&self, victim: &Victim) -> Result<u32, Failure> {
        victim.pid.ok_or_else(|| {
            let why = format!("the process of {} is not known", victim.name);
            Failure::new("the drill cannot go on", why)
        })
    }

    fn begin(&self, number: u32, kind: &'static str, victim: &Victim, affected: Vec<usize>) -> Round {
        self.progress
            .say(&format!("round {number}: {} ({kind})", victim.name));
        Round {
            number,
            kind,
            victim: victim.name.clone(),
            leader: victim.leader,
            at_ms: SystemClock.now_ms(),
            at: Instant::now(),
            affected,
            cut_off: Vec::new(),
            elections: None,
            broken: Vec::new(),
        }
    }

    fn all(&self) -> Vec<usize> {
        self.board.those(|_, _| true)
    }

    /// Those whose gateway is the victim.
    fn connected_to(&self, victim: &Victim) -> Vec<usize> {
        self.board.those(|node, _| node == victim.name)
    }

    /// Those of other gateways that need the victim: all of them where it leads, else those whose owner it is.
    fn served_elsewhere(&self, victim: &Victim) -> Vec<usize> {
        self.board
            .those(|node, owner| node != victim.name && (victim.leader || owner == victim.name))
    }

    /// Every conversation of a gateway that is not cut off is answered later than `since`.
    async fn answered_but(&self, round: &Round, since: Instant) -> Result<(), Failure> {
        let cut_off: BTreeSet<usize> = round.cut_off.iter().copied().collect();
        if cut_off.len() == self.all().len() {
            return Ok(());
        }
        self.board
            .until_answered_since(since, &cut_off, ANSWER_TIMEOUT)
            .await
    }

    /// Every conversation is answered in the second half of this time.
    async fn goes_on(&self, round: &Round, lasts: Duration) -> Result<(), Failure> {
        sleep_until(round.at + lasts).await;
        self.board
            .until_all_answered_since(round.at + lasts / 2, ANSWER_TIMEOUT)
            .await
    }

    /// Notes how many elections it took: nobody was to be elected.
    async fn with_elections(&self, mut round: Round, before: &Standing) -> Result<Round, Failure> {
        let after = self.cluster.standing().await?;
        round.elections = Some(after.term.saturating_sub(before.term));
        Ok(round)
    }

    /// Other processes are in the victims' places, and all is well.
    async fn back(&self, victims: &[Victim]) -> Result<(), Failure> {
        self.cluster.until_replaced(victims, WHOLE_TIMEOUT).await?;
        self.whole_again().await
    }

    async fn whole_again(&self) -> Result<(), Failure> {
        self.cluster.until_whole(WHOLE_TIMEOUT).await?;
        self.board
            .until_all_answered_since(Instant::now(), ANSWER_TIMEOUT)
            .await
    }

    async fn heal_all(&self) {
        let names = self.cluster.apis().iter().map(|(name, _)| name.as_str());
        self.cluster.heal(names).await;
    }
}
