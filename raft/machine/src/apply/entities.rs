//! What entities keep, and the letters between them.
//!
//! An entity's rows are written by its owner alone, fenced by its partition's epoch. A letter waits in the tables until that
//! owner has taken it: what it decided because of the letter, what it sends on, and that the letter is done with are one
//! entry of the log. So whatever is sent once is decided on once, on whichever node the entity runs by then.

use std::collections::BTreeMap;

use jarvis_types::{EntityId, PartitionIndex, partition_of};

use super::context::{Context, Halt, invalid, not_found};
use super::limits::{
    MAX_ENTITY_BYTES, MAX_ENTITY_ROWS, MAX_LETTER_BYTES, MAX_ROW_NAME_BYTES, MAX_ROW_VALUE_BYTES,
    MAX_WAITING_LETTERS,
};
use crate::change::Change;
use crate::command::{Fence, Letter, RowChange};
use crate::keys;
use crate::reply::{Refusal, Reply};
use crate::rows::EntityRow;
use crate::storage::Table;

/// An entity as it will be, and where it stands.
struct Head {
    partition: PartitionIndex,
    row: EntityRow,
}

/// Heads of all entities that a command touches, by entity: read once, written once.
type Heads = BTreeMap<EntityId, Head>;

/// What an entity writes in one step.
pub(super) struct Step<'s> {
    pub(super) based_on: u64,
    pub(super) rows: &'s [RowChange],
    pub(super) taken: u64,
    pub(super) letters: &'s [Letter],
}

pub(super) fn write(
    cx: &mut Context<'_>,
    fence: Option<Fence>,
    entity: &EntityId,
    step: Step<'_>,
) -> Result<Reply, Halt> {
    let Step {
        based_on,
        rows,
        taken,
        letters,
    } = step;
    let mut heads = Heads::new();
    let own = head(cx, &mut heads, entity)?;
    let partition = own.partition;
    let fits = |fence: &Fence| (fence.kind, fence.partition) == (entity.kind, partition);
    if !fence.as_ref().is_some_and(fits) {
        return Err(invalid(format!(
            "only the owner of partition {partition} writes {entity}"
        )));
    }
    if own.row.version != based_on {
        let current = own.row.version;
        return Err(Refusal::StaleVersion { current }.into());
    }
    own.row.version += 1;
    let before = own.row.taken;
    if taken > own.row.last_letter {
        return Err(invalid(format!(
            "{entity} was sent {} letters, not {taken}",
            own.row.last_letter
        )));
    }
    let lasting = last_of_each(rows)?;
    for (name, value) in &lasting {
        count(cx, own, entity, name, *value)?;
    }
    if own.row.rows > MAX_ENTITY_ROWS || own.row.row_bytes > MAX_ENTITY_BYTES {
        return Err(Refusal::LimitReached(format!(
            "{entity} would keep {} rows of {} bytes together; {MAX_ENTITY_ROWS} and {MAX_ENTITY_BYTES} are allowed",
            own.row.rows, own.row.row_bytes
        ))
        .into());
    }
    own.row.taken = before.max(taken);
    address(cx, &mut heads, letters)?;

    // Nothing is refused from here on.
    for (name, value) in lasting {
        let key = keys::entity_row(partition, entity, name);
        match value {
            Some(value) => cx.tables.put(Table::EntityRows, &key, value)?,
            None => cx.delete(Table::EntityRows, &key)?,
        }
    }
    for number in before + 1..=taken {
        cx.delete(Table::Letters, &keys::letter(partition, entity, number))?;
    }
    if !rows.is_empty() {
        cx.changes.push(Change::EntityWritten(entity.clone()));
    }
    deliver(cx, heads, letters)
}

pub(super) fn post(cx: &mut Context<'_>, letters: &[Letter]) -> Result<Reply, Halt> {
    let mut heads = Heads::new();
    address(cx, &mut heads, letters)?;
    deliver(cx, heads, letters)
}

/// The head of an entity; an empty one if nothing was kept of it so far.
fn head<'h>(cx: &Context<'_>, heads: &'h mut Heads, entity: &EntityId) -> Result<&'h mut Head, Halt> {
    if !heads.contains_key(entity) {
        if !entity.is_valid() || entity.key.as_bytes().contains(&0) {
            return Err(invalid(format!("{:?} is no key of an entity", entity.key)));
        }
        let kind = cx.query().kind(entity.kind)?;
        let kind = kind.ok_or_else(|| not_found(format!("kind {}", entity.kind)))?;
        let partition = partition_of(&entity.key, kind.partitions);
        let row = cx.get(Table::Entities, &keys::entity(partition, entity))?;
        let row = row.unwrap_or_default();
        heads.insert(entity.clone(), Head { partition, row });
    }
    heads
        .get_mut(entity)
        .ok_or_else(|| invalid("an entity was lost on the way"))
}

/// Of changes to the same row the last counts.
fn last_of_each(rows: &[RowChange]) -> Result<BTreeMap<&[u8], Option<&[u8]>>, Halt> {
    let mut lasting = BTreeMap::new();
    for RowChange { name, value } in rows {
        if name.is_empty() || name.len() > MAX_ROW_NAME_BYTES {
            return Err(invalid(format!(
                "a row's name has {} bytes; 1 to {MAX_ROW_NAME_BYTES} are allowed",
                name.len()
            )));
        }
        let len = value.as_ref().map_or(0, Vec::len);
        if len > MAX_ROW_VALUE_BYTES {
            return Err(invalid(format!(
                "a row has {len} bytes; {MAX_ROW_VALUE_BYTES} are allowed"
            )));
        }
        lasting.insert(name.as_slice(), value.as_deref());
    }
    Ok(lasting)
}

/// Brings the sums of an entity's rows up to what one change makes of them.
fn count(
    cx: &Context<'_>,
    head: &mut Head,
    entity: &EntityId,
    name: &[u8],
    value: Option<&[u8]>,
) -> Result<(), Halt> {
    let key = keys::entity_row(head.partition, entity, name);
    let row = &mut head.row;
    if let Some(old) = cx.tables.get(Table::EntityRows, &key)? {
        row.rows = row.rows.saturating_sub(1);
        row.row_bytes = row.row_bytes.saturating_sub((name.len() + old.len()) as u64);
    }
    if let Some(value) = value {
        row.rows = row.rows.saturating_add(1);
        row.row_bytes += (name.len() + value.len()) as u64;
    }
    Ok(())
}

/// Sees that all letters can be delivered, and counts them.
fn address(cx: &Context<'_>, heads: &mut Heads, letters: &[Letter]) -> Result<(), Halt> {
    for letter in letters {
        if letter.body.len() > MAX_LETTER_BYTES {
            return Err(invalid(format!(
                "a letter to {} has {} bytes; {MAX_LETTER_BYTES} are allowed",
                letter.to,
                letter.body.len()
            )));
        }
        let row = &mut head(cx, heads, &letter.to)?.row;
        row.last_letter += 1;
        if row.last_letter - row.taken > MAX_WAITING_LETTERS {
            return Err(Refusal::LimitReached(format!(
                "{MAX_WAITING_LETTERS} letters wait for {}",
                letter.to
            ))
            .into());
        }
    }
    Ok(())
}

/// Writes letters, which [`address`] has counted, and the heads.
fn deliver(cx: &mut Context<'_>, heads: Heads, letters: &[Letter]) -> Result<Reply, Halt> {
    let mut come: BTreeMap<&EntityId, u64> = BTreeMap::new();
    for letter in letters {
        *come.entry(&letter.to).or_default() += 1;
    }
    // The first of an entity's new letters has the number after the last one before them.
    let mut numbers: BTreeMap<&EntityId, u64> = BTreeMap::new();
    for (to, count) in &come {
        if let Some(head) = heads.get(*to) {
            numbers.insert(to, head.row.last_letter - count);
        }
    }
    for letter in letters {
        if let (Some(number), Some(head)) = (numbers.get_mut(&letter.to), heads.get(&letter.to)) {
            *number += 1;
            let key = keys::letter(head.partition, &letter.to, *number);
            cx.tables.put(Table::Letters, &key, &letter.body)?;
        }
    }
    for (entity, head) in &heads {
        cx.put(Table::Entities, &keys::entity(head.partition, entity), &head.row)?;
    }
    for (to, last) in numbers {
        let to = to.clone();
        cx.changes.push(Change::Letters { to, last });
    }
    Ok(Reply::Done)
}
