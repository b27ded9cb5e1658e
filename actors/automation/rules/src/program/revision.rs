//! What a program does, as a hash: of the automation without what people write for people.

use xxhash_rust::xxh64::xxh64;

use super::Revision;
use crate::model::{Action, ActionKind, Automation, Condition, ConditionKind, Position, Trigger, Until};

/// Changes whenever the meaning of steps does, so that no run goes on by numbers that mean something else.
const COMPILER: u64 = 1;

/// The revision of an automation.
pub(super) fn of(automation: &Automation) -> Revision {
    let mut bare = automation.clone();
    bare.description.clear();
    bare.alias.clear();
    bare.file.clear();
    bare.position = Position::default();
    bare.triggers.iter_mut().for_each(strip_trigger);
    bare.conditions.iter_mut().for_each(strip_condition);
    bare.actions.iter_mut().for_each(strip_action);
    // All keys of the model are strings, so that it can be written; should it not be, nothing but itself is like it.
    let bytes = serde_json::to_vec(&bare).unwrap_or_else(|_| format!("{automation:?}").into_bytes());
    Revision(format!("{:016x}", xxh64(&bytes, COMPILER)))
}

fn strip_trigger(trigger: &mut Trigger) {
    trigger.position = Position::default();
}

fn strip_condition(condition: &mut Condition) {
    condition.position = Position::default();
    condition.alias = None;
    match &mut condition.kind {
        ConditionKind::And(list) | ConditionKind::Or(list) | ConditionKind::Not(list) => {
            list.iter_mut().for_each(strip_condition);
        }
        _ => {}
    }
}

fn strip_action(action: &mut Action) {
    action.position = Position::default();
    action.alias = None;
    match &mut action.kind {
        ActionKind::WaitForTrigger { triggers, .. } => triggers.iter_mut().for_each(strip_trigger),
        ActionKind::Condition(condition) => strip_condition(condition),
        ActionKind::Choose { branches, default } => {
            for branch in branches {
                branch.alias = None;
                branch.conditions.iter_mut().for_each(strip_condition);
                branch.sequence.iter_mut().for_each(strip_action);
            }
            default.iter_mut().for_each(strip_action);
        }
        ActionKind::If {
            conditions,
            then,
            otherwise,
        } => {
            conditions.iter_mut().for_each(strip_condition);
            then.iter_mut().for_each(strip_action);
            otherwise.iter_mut().for_each(strip_action);
        }
        ActionKind::Repeat(repeat) => {
            match &mut repeat.until {
                Until::While(conditions) | Until::Until(conditions) => {
                    conditions.iter_mut().for_each(strip_condition)
                }
                Until::Count(_) | Until::ForEach(_) => {}
            }
            repeat.sequence.iter_mut().for_each(strip_action);
        }
        ActionKind::Parallel(sequences) => sequences.iter_mut().flatten().for_each(strip_action),
        ActionKind::Sequence(actions) => actions.iter_mut().for_each(strip_action),
        ActionKind::Call { .. }
        | ActionKind::Delay(_)
        | ActionKind::WaitTemplate { .. }
        | ActionKind::Variables(_)
        | ActionKind::Stop { .. }
        | ActionKind::Event { .. } => {}
    }
}
