//! Trusts nobody: sees what every node applies and what every client is told, and checks the laws as it happens.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jarvis_machine::command::Proposal;
use jarvis_machine::reply::Outcome;
use jarvis_replica::simulated::{AppliedEntry, Observer};
use jarvis_types::codec;

use crate::laws::acknowledged::Acknowledged;
use crate::laws::acts::OneActs;
use crate::laws::leader::OneLeader;
use crate::laws::log::LogsMatch;
use crate::laws::owner::SingleWriter;
use crate::laws::reads::{ReadBegun, Reads};
use crate::laws::removed::Removed;
use crate::laws::repeats::Repeats;
use crate::laws::time::ClusterTime;
use crate::laws::timers::Timers;
use crate::laws::transcript::Transcripts;
use crate::laws::{Broken, Entry};
use crate::trace::Trace;

/// The law of automations.
pub const TIMERS: &str = "every timer fires, once and not too early";
/// The version of encoded outcomes.
const OUTCOME_VERSION: u8 = 1;

/// Checks the laws.
pub struct Oracle {
    trace: Arc<Trace>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    broken: Vec<Broken>,
    log: LogsMatch,
    leaders: OneLeader,
    repeats: Repeats,
    removed: Removed,
    owners: SingleWriter,
    transcripts: Transcripts,
    acknowledged: Acknowledged,
    acts: OneActs,
    reads: Reads,
    timers: Timers,
    time: ClusterTime,
}

impl State {
    fn check(&mut self, law: &'static str, result: Result<(), String>) {
        if let Err(what) = result {
            self.broken.push(Broken { law, what });
        }
    }
}

impl Oracle {
    /// An oracle that has seen nothing.
    pub fn new(trace: Arc<Trace>) -> Self {
        Self {
            trace,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was broken so far, where nobody is in the middle of a check.
    pub fn broken_if_idle(&self) -> Vec<Broken> {
        self.state
            .try_lock()
            .map(|state| state.broken.clone())
            .unwrap_or_default()
    }

    /// What was broken so far.
    pub fn broken(&self) -> Vec<Broken> {
        self.state().broken.clone()
    }

    /// Something was found broken elsewhere.
    pub fn report(&self, law: &'static str, what: String) {
        self.state().broken.push(Broken { law, what });
    }

    /// A machine begins anew: it may apply again what it applied before.
    pub fn restarted(&self, machine: usize) {
        self.state().log.restarted(machine);
    }

    /// What a node says of who leads.
    pub fn leads(&self, term: u64, leader: u64, told_by: usize) {
        let mut state = self.state();
        let result = state.leaders.told(term, leader, told_by);
        state.check("one leader a term", result);
    }

    /// A client was shown an entry.
    pub fn shown(&self, session: &str, entry: &Entry) {
        let mut state = self.state();
        let State {
            acknowledged,
            transcripts,
            ..
        } = &mut *state;
        let result = acknowledged.shown(session, entry, transcripts);
        state.check("what a client is shown is committed", result);
    }

    /// A node acts on the world.
    pub fn acted(&self, partition: u16, epoch: u64, node: u64, at: Duration) {
        self.trace
            .event(format_args!("node {node} acts for {partition} in epoch {epoch}"));
        let mut state = self.state();
        let result = state.acts.acted(partition, epoch, node, at);
        state.check("no two nodes act at once", result);
        let result = state.removed.acted(node, at);
        state.check("who was removed is silent", result);
    }

    /// A message begins to be said.
    pub fn say_begins(&self, session: usize, talker: usize, id: &str) {
        self.state().reads.say_begins(session, talker as u64, id);
    }

    /// It was said, with this `seq`.
    pub fn say_ends(&self, session: usize, talker: usize, seq: u64) {
        self.state().reads.say_ends(session, talker as u64, seq);
    }

    /// The reader of a machine begins a linearizable read.
    pub fn read_begins(&self, session: usize, machine: usize) -> ReadBegun {
        self.state().reads.read_begins(session, machine as u64)
    }

    /// It ended, and saw these messages.
    pub fn read_ends(&self, session: usize, read: ReadBegun, ids: &[String]) {
        self.state().reads.read_ends(session, read, ids);
    }

    /// A caller was told that its event came.
    pub fn event_came(&self, event: &str, token: &str) {
        let mut state = self.state();
        let result = state.timers.came(event, token);
        state.check(TIMERS, result);
    }

    /// A caller was told that its event did not come.
    pub fn event_refused(&self, event: &str, token: &str) {
        let mut state = self.state();
        let result = state.timers.refused(event, token);
        state.check(TIMERS, result);
    }

    /// Whether an automation has said anything of a token.
    pub fn is_told(&self, token: &str) -> bool {
        self.state().timers.is_told(token)
    }

    /// A wall clock is so many milliseconds ahead of the time. One that is far off counts only where nobody outvotes it.
    pub fn clock(&self, ahead_ms: i64, is_far_off: bool) {
        let mut state = self.state();
        if !is_far_off || state.time.is_of_one() {
            state.timers.clock(ahead_ms);
        }
    }

    /// One node votes alone, or nearly, after the cluster has come into being.
    pub fn one_votes_alone(&self) {
        self.state().time.one_votes_alone();
    }

    /// Whether one node has voted alone.
    pub fn has_voted_alone(&self) -> bool {
        self.state().time.is_of_one()
    }

    /// What automations have still to do; nothing, once all is done. What goes by the time has to have been said since `calm`.
    pub fn timers_left(&self, calm: Option<Duration>) -> Option<String> {
        let state = self.state();
        if let Some(calm) = calm
            && state.timers.pattern_at().is_none_or(|at| at < calm)
        {
            return Some(format!("the time was not said since {calm:?}"));
        }
        state.timers.settled().err()
    }

    /// How much automations have said.
    pub fn told(&self) -> u64 {
        self.state().timers.len()
    }

    /// Checks what can be checked only at the end.
    pub fn finish(&self) {
        let mut state = self.state();
        let results = state.reads.check();
        for result in results {
            state.check("reads and writes are linearizable", result);
        }
        let result = state.transcripts.check_answered();
        state.check("every message is answered", result);
    }

    /// Whether a node was removed.
    pub fn is_removed(&self, node: u64) -> bool {
        self.state().removed.contains(node)
    }

    /// Entries applied, messages and replies in them, linearizable reads, acts.
    pub fn counts(&self) -> (u64, u64, u64, u64) {
        let state = self.state();
        (
            state.log.len(),
            state.transcripts.len(),
            state.reads.len(),
            state.acts.len(),
        )
    }

    fn applied(&self, machine: usize, entry: &AppliedEntry<'_>) {
        let mut state = self.state();
        let (hash, first) = match state.log.applied(machine, entry) {
            Ok(news) => news,
            Err(what) => {
                state.check("logs match", Err(what));
                return;
            }
        };
        drop(state);
        self.trace.event(format_args!(
            "m{} applies {} {hash:016x}",
            machine + 1,
            entry.index
        ));
        if !first {
            return;
        }
        let Some(proposal) = entry.proposal else { return };
        let Ok(proposal) = Proposal::decode(proposal) else {
            return self.report("logs match", format!("entry {} does not decode", entry.index));
        };
        let outcome: Outcome = match codec::decode(OUTCOME_VERSION, entry.outcome) {
            Ok(outcome) => outcome,
            Err(error) => return self.report("logs match", format!("outcome of {}: {error}", entry.index)),
        };
        let at = self.trace.now();
        let mut state = self.state();
        let is_new = match state.repeats.applied(entry.index, &proposal, &outcome) {
            Ok(is_new) => is_new,
            Err(what) => return state.check("what is tried again counts once", Err(what)),
        };
        if !is_new {
            return;
        }
        let result = state.time.applied(entry.index, at, &proposal);
        state.check("no single clock moves the cluster's time", result);
        state.removed.applied(&proposal, &outcome, at);
        let result = state.owners.applied(entry.index, &proposal, &outcome);
        state.check("one owner whose writes count", result);
        let result = state.transcripts.applied(entry.index, &proposal, &outcome);
        state.check("seq without gap or repeat, ids once", result);
        let result = state.timers.applied(entry.index, at, &proposal, &outcome);
        state.check(TIMERS, result);
    }
}

/// The oracle's eyes on one machine.
pub struct Witness {
    oracle: Arc<Oracle>,
    machine: usize,
}

impl Witness {
    /// On `machine`.
    pub fn new(oracle: &Arc<Oracle>, machine: usize) -> Self {
        Self {
            oracle: Arc::clone(oracle),
            machine,
        }
    }
}

impl Observer for Witness {
    fn applied(&self, entry: &AppliedEntry<'_>) {
        self.oracle.applied(self.machine, entry);
    }

    fn replaced(&self, index: u64) {
        self.oracle.trace.event(format_args!(
            "m{} takes a snapshot up to {index}",
            self.machine + 1
        ));
        self.oracle.state().log.replaced(self.machine, index);
    }
}
