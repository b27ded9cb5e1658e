//! The cluster level: what it allows, and how it rises.

use super::cluster;
use super::context::{Context, Halt, invalid};
use crate::change::Change;
use crate::command::Command;
use crate::keys;
use crate::level::FIRST_LEVEL;
use crate::query::Query;
use crate::reply::{Refusal, Reply};
use crate::storage::Table;

/// Refuses commands that builds of the cluster's level do not know.
pub(super) fn check(query: &Query<'_>, command: &Command) -> Result<(), Halt> {
    let needs = command.needs_level();
    if needs == FIRST_LEVEL {
        return Ok(());
    }
    let level = query.cluster_level()?;
    if needs <= level {
        Ok(())
    } else {
        Err(Refusal::LevelTooLow { needs, level }.into())
    }
}

pub(super) fn raise(cx: &mut Context<'_>, to: u32) -> Result<Reply, Halt> {
    cluster::check_initialised(cx)?;
    if to <= cx.query().cluster_level()? {
        return Ok(Reply::Done);
    }
    let members = cx.query().nodes()?;
    let by: Vec<_> = (members.into_iter())
        .filter(|(_, row)| row.level < to)
        .map(|(_, row)| row.name)
        .collect();
    if !by.is_empty() {
        return Err(Refusal::LevelHeldBack { to, by }.into());
    }
    cx.put(Table::Meta, keys::META_LEVEL, &to)?;
    cx.changes.push(Change::LevelRaised(to));
    Ok(Reply::Done)
}

/// Refuses a node that would not understand the log. Its build may know no later refusal than this one.
pub(super) fn check_speaks(cx: &Context<'_>, level: u32) -> Result<(), Halt> {
    let here = cx.query().cluster_level()?;
    // At the first level nobody was ever refused.
    if here == FIRST_LEVEL || level >= here {
        return Ok(());
    }
    Err(invalid(format!(
        "the node speaks cluster level {level} and the cluster is at level {here}; install the jarvis on it that the other nodes run"
    )))
}
