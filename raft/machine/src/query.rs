//! Typed reads of the tables.

use jarvis_types::{
    ClientMessageId, Epoch, KindId, NodeId, PartitionIndex, Seq, SessionId, UserId,
};

use crate::command::SecretHash;
use crate::rows::{
    ClusterRow, CredentialRow, KindRow, MessageRow, NodeRow, PlacementLogRow, PlacementRow, SessionRow, UserRow,
};
use crate::storage::{Read, StoreError};

/// Typed reads over any [`Read`].
pub struct Query<'a>(pub &'a dyn Read);

#[allow(unused_variables, missing_docs)]
impl Query<'_> {
    /// None before `Initialise` was applied.
    pub fn cluster(&self) -> Result<Option<ClusterRow>, StoreError> {
        unimplemented!()
    }
    /// The largest time any applied command carried, Unix milliseconds.
    pub fn ledger_ms(&self) -> Result<u64, StoreError> {
        unimplemented!()
    }
    /// Members, by id.
    pub fn nodes(&self) -> Result<Vec<(NodeId, NodeRow)>, StoreError> {
        unimplemented!()
    }
    pub fn node(&self, node: NodeId) -> Result<Option<NodeRow>, StoreError> {
        unimplemented!()
    }
    pub fn node_by_name(&self, name: &str) -> Result<Option<(NodeId, NodeRow)>, StoreError> {
        unimplemented!()
    }
    pub fn is_removed(&self, node: NodeId) -> Result<bool, StoreError> {
        unimplemented!()
    }
    pub fn kinds(&self) -> Result<Vec<(KindId, KindRow)>, StoreError> {
        unimplemented!()
    }
    /// Grows with every `Place`, and with every change of nodes that a plan depends on.
    pub fn placement_revision(&self) -> Result<u64, StoreError> {
        unimplemented!()
    }
    /// All partitions of a kind, by index.
    pub fn placement(&self, kind: KindId) -> Result<Vec<PlacementRow>, StoreError> {
        unimplemented!()
    }
    pub fn placement_of(&self, kind: KindId, partition: PartitionIndex) -> Result<Option<PlacementRow>, StoreError> {
        unimplemented!()
    }
    /// The last moves of a partition, oldest first.
    pub fn placement_log(
        &self,
        kind: KindId,
        partition: PartitionIndex,
    ) -> Result<Vec<(Epoch, PlacementLogRow)>, StoreError> {
        unimplemented!()
    }
    pub fn users(&self) -> Result<Vec<(UserId, UserRow)>, StoreError> {
        unimplemented!()
    }
    pub fn user(&self, user: UserId) -> Result<Option<UserRow>, StoreError> {
        unimplemented!()
    }
    pub fn user_by_name(&self, name: &str) -> Result<Option<(UserId, UserRow)>, StoreError> {
        unimplemented!()
    }
    /// Whoever asks compares `expires_at_ms` with the time itself.
    pub fn credential(&self, secret: &SecretHash) -> Result<Option<CredentialRow>, StoreError> {
        unimplemented!()
    }
    pub fn credentials(&self, user: UserId) -> Result<Vec<(SecretHash, CredentialRow)>, StoreError> {
        unimplemented!()
    }
    pub fn session(&self, session: SessionId) -> Result<Option<SessionRow>, StoreError> {
        unimplemented!()
    }
    /// The newest first.
    pub fn sessions_of(&self, user: UserId, limit: usize) -> Result<Vec<(SessionId, SessionRow)>, StoreError> {
        unimplemented!()
    }
    /// Entries later than `after`, in order.
    pub fn messages(&self, session: SessionId, after: Seq, limit: usize) -> Result<Vec<(Seq, MessageRow)>, StoreError> {
        unimplemented!()
    }
    /// The last entries, in order.
    pub fn last_messages(&self, session: SessionId, limit: usize) -> Result<Vec<(Seq, MessageRow)>, StoreError> {
        unimplemented!()
    }
    pub fn message(&self, session: SessionId, seq: Seq) -> Result<Option<MessageRow>, StoreError> {
        unimplemented!()
    }
    pub fn seq_of(&self, session: SessionId, id: &ClientMessageId) -> Result<Option<Seq>, StoreError> {
        unimplemented!()
    }
    /// Messages of a partition's sessions that are not answered yet.
    pub fn open_turns(&self, partition: PartitionIndex) -> Result<Vec<(SessionId, Seq)>, StoreError> {
        unimplemented!()
    }
    /// Messages of one session that are not answered yet, in order.
    pub fn open_turns_of(&self, session: SessionId) -> Result<Vec<Seq>, StoreError> {
        unimplemented!()
    }
}
