//! Typed reads of the tables.

use std::ops::Bound;

use bincode::Decode;
use jarvis_types::{
    ClientMessageId, EntityId, Epoch, KindId, NodeId, PartitionIndex, Seq, SessionId, UserId, limits,
    partition_of,
};

use crate::command::SecretHash;
use crate::keys::{self, KeyParts};
use crate::level::FIRST_LEVEL;
use crate::row_codec::{decode_row, get_row};
use crate::rows::{
    ClusterRow, CredentialRow, EntityRow, KindRow, LogMark, MessageRow, NodeFacts, NodeRow, PlacementLogRow,
    PlacementNoteRow, PlacementRow, SessionRow, UserRow,
};
use crate::storage::{KeyValue, Read, StoreError, Table};

/// Typed reads over any [`Read`]. Every read fails only where the store does, or where a row does not decode.
pub struct Query<'a>(pub &'a dyn Read);

/// The partition of a session's actor.
pub fn partition_of_session(session: SessionId) -> PartitionIndex {
    partition_of(&session.to_string(), limits::SESSION_PARTITIONS)
}

#[allow(clippy::missing_errors_doc, reason = "said once, at the type")]
impl Query<'_> {
    /// None before `Initialise` was applied.
    pub fn cluster(&self) -> Result<Option<ClusterRow>, StoreError> {
        get_row(self.0, Table::Meta, keys::META_CLUSTER)
    }

    /// The largest time any applied command carried, Unix milliseconds.
    pub fn ledger_ms(&self) -> Result<u64, StoreError> {
        self.counter(keys::META_LEDGER_MS)
    }

    /// Which commands and rows may be used.
    pub fn cluster_level(&self) -> Result<u32, StoreError> {
        Ok(get_row(self.0, Table::Meta, keys::META_LEVEL)?.unwrap_or(FIRST_LEVEL))
    }

    /// What a node has; none where it has not said so.
    pub fn node_facts(&self, node: NodeId) -> Result<Option<NodeFacts>, StoreError> {
        get_row(self.0, Table::NodeFacts, &keys::node(node))
    }

    /// What nodes have that have said so, by id.
    pub fn all_node_facts(&self) -> Result<Vec<(NodeId, NodeFacts)>, StoreError> {
        self.all(Table::NodeFacts, &[], |key| Ok(NodeId(key.u64()?)))
    }

    /// How much of the log voters have acknowledged, by id; nothing below level 4.
    pub fn log_marks(&self) -> Result<Vec<(NodeId, LogMark)>, StoreError> {
        self.all(Table::LogMarks, &[], |key| Ok(NodeId(key.u64()?)))
    }

    /// Members, by id.
    pub fn nodes(&self) -> Result<Vec<(NodeId, NodeRow)>, StoreError> {
        self.all(Table::Nodes, &[], |key| Ok(NodeId(key.u64()?)))
    }

    /// A member.
    pub fn node(&self, node: NodeId) -> Result<Option<NodeRow>, StoreError> {
        get_row(self.0, Table::Nodes, &keys::node(node))
    }

    /// The member of that name; names that differ only in case are the same name.
    pub fn node_by_name(&self, name: &str) -> Result<Option<(NodeId, NodeRow)>, StoreError> {
        Ok(self
            .nodes()?
            .into_iter()
            .find(|(_, row)| row.name.as_str().eq_ignore_ascii_case(name)))
    }

    /// Whether the node was a member and is out for good.
    pub fn is_removed(&self, node: NodeId) -> Result<bool, StoreError> {
        Ok(self.0.get(Table::RemovedNodes, &keys::node(node))?.is_some())
    }

    /// All nodes that were members and are out for good.
    pub fn removed_nodes(&self) -> Result<Vec<NodeId>, StoreError> {
        let rows = keys::scan_prefix(self.0, Table::RemovedNodes, &[], false, usize::MAX)?;
        rows.iter()
            .map(|(key, _)| Ok(NodeId(KeyParts::new(key).u64()?)))
            .collect()
    }

    /// Kinds, by number.
    pub fn kinds(&self) -> Result<Vec<(KindId, KindRow)>, StoreError> {
        let kinds = self.all(Table::Kinds, &[], |key| Ok(KindId(key.u8()?)))?;
        kinds.iter().try_for_each(|(_, row)| with_partitions(row))?;
        Ok(kinds)
    }

    /// A kind.
    pub fn kind(&self, kind: KindId) -> Result<Option<KindRow>, StoreError> {
        let row = get_row(self.0, Table::Kinds, &keys::kind(kind))?;
        row.iter().try_for_each(with_partitions)?;
        Ok(row)
    }

    /// Grows with every `Place`, and with every change of nodes that a plan depends on.
    pub fn placement_revision(&self) -> Result<u64, StoreError> {
        self.counter(keys::META_PLACEMENT_REVISION)
    }

    /// All partitions of a kind, by index.
    pub fn placement(&self, kind: KindId) -> Result<Vec<PlacementRow>, StoreError> {
        let rows = self.all(Table::Placement, &keys::kind(kind), |_| Ok(()))?;
        Ok(rows.into_iter().map(|((), row)| row).collect())
    }

    /// Who owns a partition; none for a kind or partition that is not known.
    pub fn placement_of(
        &self,
        kind: KindId,
        partition: PartitionIndex,
    ) -> Result<Option<PlacementRow>, StoreError> {
        get_row(self.0, Table::Placement, &keys::placement(kind, partition))
    }

    /// The last moves of a partition, oldest first.
    pub fn placement_log(
        &self,
        kind: KindId,
        partition: PartitionIndex,
    ) -> Result<Vec<(Epoch, PlacementLogRow)>, StoreError> {
        self.all(Table::PlacementLog, &keys::placement(kind, partition), |key| {
            let _kind_and_partition = (key.u8()?, key.u16()?);
            Ok(Epoch(key.u64()?))
        })
    }

    /// What is kept beside the last moves of a partition, oldest first; nothing of moves at the first level.
    pub fn placement_notes(
        &self,
        kind: KindId,
        partition: PartitionIndex,
    ) -> Result<Vec<(Epoch, PlacementNoteRow)>, StoreError> {
        self.all(Table::PlacementNotes, &keys::placement(kind, partition), |key| {
            let _kind_and_partition = (key.u8()?, key.u16()?);
            Ok(Epoch(key.u64()?))
        })
    }

    /// Whether the node owned any partition, as far as moves of the past are known.
    pub fn has_owned(&self, node: NodeId) -> Result<bool, StoreError> {
        let rows: Vec<((), PlacementLogRow)> = self.all(Table::PlacementLog, &[], |_| Ok(()))?;
        Ok(rows
            .iter()
            .any(|((), row)| row.to == node || row.from == Some(node)))
    }

    /// How many partitions of all kinds a node owns.
    pub fn partitions_owned(&self, node: NodeId) -> Result<u32, StoreError> {
        let rows: Vec<((), PlacementRow)> = self.all(Table::Placement, &[], |_| Ok(()))?;
        let owned = rows.iter().filter(|((), row)| row.owner == Some(node)).count();
        Ok(u32::try_from(owned).unwrap_or(u32::MAX))
    }

    /// Users, by id.
    pub fn users(&self) -> Result<Vec<(UserId, UserRow)>, StoreError> {
        self.all(Table::Users, &[], |key| Ok(UserId(key.u64()?)))
    }

    /// A user.
    pub fn user(&self, user: UserId) -> Result<Option<UserRow>, StoreError> {
        get_row(self.0, Table::Users, &keys::user(user))
    }

    /// The user of that name; names that differ only in case are the same name.
    pub fn user_by_name(&self, name: &str) -> Result<Option<(UserId, UserRow)>, StoreError> {
        let Some(id) = get_row::<UserId>(self.0, Table::UserNames, &keys::user_name(name))? else {
            return Ok(None);
        };
        Ok(self.user(id)?.map(|row| (id, row)))
    }

    /// Whoever asks compares `expires_at_ms` with the time itself.
    pub fn credential(&self, secret: &SecretHash) -> Result<Option<CredentialRow>, StoreError> {
        get_row(self.0, Table::Credentials, secret)
    }

    /// A user's credentials, expired ones that were not pruned yet included.
    pub fn credentials(&self, user: UserId) -> Result<Vec<(SecretHash, CredentialRow)>, StoreError> {
        let keys = keys::scan_prefix(
            self.0,
            Table::UserCredentials,
            &keys::user(user),
            false,
            usize::MAX,
        )?;
        let mut found = Vec::with_capacity(keys.len());
        for (key, _) in keys {
            let mut parts = KeyParts::new(&key);
            let (_user, secret) = (parts.u64()?, parts.secret()?);
            found.extend(self.credential(&secret)?.map(|row| (secret, row)));
        }
        Ok(found)
    }

    /// A session.
    pub fn session(&self, session: SessionId) -> Result<Option<SessionRow>, StoreError> {
        get_row(self.0, Table::Sessions, &keys::session(session))
    }

    /// The newest first.
    pub fn sessions_of(
        &self,
        user: UserId,
        limit: usize,
    ) -> Result<Vec<(SessionId, SessionRow)>, StoreError> {
        let keys = keys::scan_prefix(self.0, Table::UserSessions, &keys::user(user), true, limit)?;
        let mut found = Vec::with_capacity(keys.len());
        for (key, _) in keys {
            let mut parts = KeyParts::new(&key);
            let (_user, session) = (parts.u64()?, SessionId(parts.u128()?));
            found.extend(self.session(session)?.map(|row| (session, row)));
        }
        Ok(found)
    }

    /// Entries later than `after`, in order.
    pub fn messages(
        &self,
        session: SessionId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<(Seq, MessageRow)>, StoreError> {
        let (from, to) = (
            keys::message(session, after),
            keys::message(session, Seq(u64::MAX)),
        );
        let rows = self.0.scan(
            Table::Messages,
            Bound::Excluded(&from),
            Bound::Included(&to),
            false,
            limit,
        )?;
        rows.iter().map(message).collect()
    }

    /// The last entries, in order.
    pub fn last_messages(
        &self,
        session: SessionId,
        limit: usize,
    ) -> Result<Vec<(Seq, MessageRow)>, StoreError> {
        let rows = keys::scan_prefix(self.0, Table::Messages, &keys::session(session), true, limit)?;
        rows.iter().rev().map(message).collect()
    }

    /// An entry.
    pub fn message(&self, session: SessionId, seq: Seq) -> Result<Option<MessageRow>, StoreError> {
        get_row(self.0, Table::Messages, &keys::message(session, seq))
    }

    /// Place of the message to which the client gave that id.
    pub fn seq_of(&self, session: SessionId, id: &ClientMessageId) -> Result<Option<Seq>, StoreError> {
        get_row(self.0, Table::MessageIds, &keys::message_id(session, id))
    }

    /// Place of what was told unasked under this id.
    pub fn seq_of_told(&self, session: SessionId, id: &ClientMessageId) -> Result<Option<Seq>, StoreError> {
        get_row(self.0, Table::MessageIds, &keys::told_id(session, id))
    }

    /// Messages of a partition's sessions that are not answered yet.
    pub fn open_turns(&self, partition: PartitionIndex) -> Result<Vec<(SessionId, Seq)>, StoreError> {
        let rows = keys::scan_prefix(
            self.0,
            Table::OpenTurns,
            &keys::open_turns(partition),
            false,
            usize::MAX,
        )?;
        rows.iter().map(open_turn).collect()
    }

    /// Messages of one session that are not answered yet, in order.
    pub fn open_turns_of(&self, session: SessionId) -> Result<Vec<Seq>, StoreError> {
        let prefix = keys::open_turns_of(partition_of_session(session), session);
        let rows = keys::scan_prefix(self.0, Table::OpenTurns, &prefix, false, usize::MAX)?;
        rows.iter().map(|row| Ok(open_turn(row)?.1)).collect()
    }

    /// The partition of an entity; none where its kind is not known.
    pub fn partition_of_entity(&self, entity: &EntityId) -> Result<Option<PartitionIndex>, StoreError> {
        let kind = self.kind(entity.kind)?;
        Ok(kind.map(|kind| partition_of(&entity.key, kind.partitions)))
    }

    /// What is known of an entity; none where it never kept anything and was never sent anything.
    pub fn entity(&self, entity: &EntityId) -> Result<Option<EntityRow>, StoreError> {
        let Some(partition) = self.partition_of_entity(entity)? else {
            return Ok(None);
        };
        get_row(self.0, Table::Entities, &keys::entity(partition, entity))
    }

    /// The entities of a partition that keep something or were sent something, by key.
    pub fn entities_of(
        &self,
        kind: KindId,
        partition: PartitionIndex,
    ) -> Result<Vec<(EntityId, EntityRow)>, StoreError> {
        let prefix = keys::placement(kind, partition);
        let rows = keys::scan_prefix(self.0, Table::Entities, &prefix, false, usize::MAX)?;
        rows.iter()
            .map(|(key, row)| {
                let name = key.get(prefix.len()..).unwrap_or_default();
                let key = String::from_utf8(name.to_vec())
                    .map_err(|_| StoreError("a key of an entity is not UTF-8".to_owned()))?;
                Ok((EntityId { kind, key }, decode_row(row)?))
            })
            .collect()
    }

    /// Rows that an entity keeps, by name, of those whose names begin with `prefix`.
    pub fn entity_rows(
        &self,
        entity: &EntityId,
        prefix: &[u8],
        limit: usize,
    ) -> Result<Vec<KeyValue>, StoreError> {
        let Some(partition) = self.partition_of_entity(entity)? else {
            return Ok(Vec::new());
        };
        let cut = keys::entity_prefix(partition, entity).len();
        let key = keys::entity_row(partition, entity, prefix);
        let mut rows = keys::scan_prefix(self.0, Table::EntityRows, &key, false, limit)?;
        rows.iter_mut().for_each(|(key, _)| drop(key.drain(..cut)));
        Ok(rows)
    }

    /// One row that an entity keeps.
    pub fn entity_row(&self, entity: &EntityId, name: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.partition_of_entity(entity)? {
            Some(partition) => (self.0).get(Table::EntityRows, &keys::entity_row(partition, entity, name)),
            None => Ok(None),
        }
    }

    /// Letters that wait for an entity and have a number above `after`, with their numbers, in order.
    pub fn letters(
        &self,
        entity: &EntityId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        let Some(partition) = self.partition_of_entity(entity)? else {
            return Ok(Vec::new());
        };
        let prefix = keys::entity_prefix(partition, entity);
        let (from, to) = (
            keys::letter(partition, entity, after),
            keys::letter(partition, entity, u64::MAX),
        );
        let (from, to) = (Bound::Excluded(from.as_slice()), Bound::Included(to.as_slice()));
        let rows = self.0.scan(Table::Letters, from, to, false, limit)?;
        rows.into_iter()
            .map(|(key, body)| {
                let number = KeyParts::new(key.get(prefix.len()..).unwrap_or_default()).u64()?;
                Ok((number, body))
            })
            .collect()
    }

    /// A number in `Meta`; 0 until it is first set.
    pub(crate) fn counter(&self, name: &[u8]) -> Result<u64, StoreError> {
        Ok(get_row(self.0, Table::Meta, name)?.unwrap_or(0))
    }

    fn all<K, R: Decode<()>>(
        &self,
        table: Table,
        prefix: &[u8],
        id: impl Fn(&mut KeyParts<'_>) -> Result<K, StoreError>,
    ) -> Result<Vec<(K, R)>, StoreError> {
        let rows = keys::scan_prefix(self.0, table, prefix, false, usize::MAX)?;
        rows.iter()
            .map(|(key, row)| Ok((id(&mut KeyParts::new(key))?, decode_row(row)?)))
            .collect()
    }
}

/// A kind is registered with a partition at least; another row is not ours, and its keys would belong nowhere.
fn with_partitions(row: &KindRow) -> Result<(), StoreError> {
    match row.partitions {
        0 => Err(StoreError(format!("the kind {:?} has no partitions", row.name))),
        _ => Ok(()),
    }
}

fn message((key, row): &KeyValue) -> Result<(Seq, MessageRow), StoreError> {
    let mut parts = KeyParts::new(key);
    let _session = parts.u128()?;
    Ok((Seq(parts.u64()?), decode_row(row)?))
}

fn open_turn((key, _): &KeyValue) -> Result<(SessionId, Seq), StoreError> {
    let mut parts = KeyParts::new(key);
    let _partition = parts.u16()?;
    Ok((SessionId(parts.u128()?), Seq(parts.u64()?)))
}
