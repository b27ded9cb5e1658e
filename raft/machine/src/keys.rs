//! Keys of the rows: fixed fields one after another, numbers big endian, so that byte order is number order and a
//! shorter key is the prefix of what belongs to it.

use std::ops::Bound;

use jarvis_types::{
    ClientMessageId, EntityId, Epoch, Incarnation, KindId, NodeId, PartitionIndex, Seq, SessionId, UserId,
};

use crate::command::SecretHash;
use crate::storage::{KeyValue, Read, StoreError, Table};

/// `Meta`: the [`crate::rows::ClusterRow`].
pub const META_CLUSTER: &[u8] = b"cluster";
/// `Meta`: ledger time, Unix milliseconds.
pub const META_LEDGER_MS: &[u8] = b"ledger_ms";
/// `Meta`: the highest node id given out.
pub const META_LAST_NODE: &[u8] = b"last_node";
/// `Meta`: the highest user id given out.
pub const META_LAST_USER: &[u8] = b"last_user";
/// `Meta`: the placement revision.
pub const META_PLACEMENT_REVISION: &[u8] = b"placement_revision";
/// `Meta`: the cluster level, once it is above the first.
pub const META_LEVEL: &[u8] = b"level";
/// `Meta`: prefix of the replica's own rows, which are no part of the replicated state.
pub const META_RAFT_PREFIX: &[u8] = b"raft/";

const META_SESSIONS_PREFIX: &[u8] = b"sessions_of/";

/// `Meta`: how many sessions a user has made.
pub fn session_count(user: UserId) -> Vec<u8> {
    [META_SESSIONS_PREFIX, &user.0.to_be_bytes()].concat()
}

/// `Nodes`, `RemovedNodes`, `NodeFacts`, `LogMarks` and `Proposers`.
pub fn node(node: NodeId) -> [u8; 8] {
    node.0.to_be_bytes()
}

/// `Kinds`; also the prefix of a kind's `Placement` and `PlacementLog`.
pub fn kind(kind: KindId) -> [u8; 1] {
    [kind.0]
}

/// `Placement`; also the prefix of a partition's `PlacementLog` and `PlacementNotes`.
pub fn placement(kind: KindId, partition: PartitionIndex) -> [u8; 3] {
    join(&[&[kind.0], &partition.0.to_be_bytes()])
}

/// `PlacementLog` and `PlacementNotes`.
pub fn placement_log(kind: KindId, partition: PartitionIndex, epoch: Epoch) -> [u8; 11] {
    join(&[&placement(kind, partition), &epoch.0.to_be_bytes()])
}

/// `Users`; also the prefix of a user's `UserCredentials` and `UserSessions`.
pub fn user(user: UserId) -> [u8; 8] {
    user.0.to_be_bytes()
}

/// `UserNames`: names that differ only in case are the same name.
pub fn user_name(name: &str) -> Vec<u8> {
    name.to_ascii_lowercase().into_bytes()
}

/// `UserCredentials`.
pub fn user_credential(owner: UserId, secret: &SecretHash) -> [u8; 40] {
    join(&[&user(owner), secret])
}

/// `Sessions`; also the prefix of a session's `Messages` and `MessageIds`.
pub fn session(session: SessionId) -> [u8; 16] {
    session.0.to_be_bytes()
}

/// `UserSessions`.
pub fn user_session(owner: UserId, id: SessionId) -> [u8; 24] {
    join(&[&user(owner), &session(id)])
}

/// `Messages`.
pub fn message(id: SessionId, seq: Seq) -> [u8; 24] {
    join(&[&session(id), &seq.0.to_be_bytes()])
}

/// `MessageIds`.
pub fn message_id(id: SessionId, client: &ClientMessageId) -> Vec<u8> {
    [&session(id)[..], client.as_str().as_bytes()].concat()
}

/// `MessageIds` of what was told unasked. No client's id begins with a zero byte, so neither takes the other's place.
pub fn told_id(id: SessionId, told: &ClientMessageId) -> Vec<u8> {
    [&session(id)[..], &[0], told.as_str().as_bytes()].concat()
}

/// Prefix of a partition's `OpenTurns`.
pub fn open_turns(partition: PartitionIndex) -> [u8; 2] {
    partition.0.to_be_bytes()
}

/// Prefix of a session's `OpenTurns`.
pub fn open_turns_of(partition: PartitionIndex, id: SessionId) -> [u8; 18] {
    join(&[&open_turns(partition), &session(id)])
}

/// `OpenTurns`.
pub fn open_turn(partition: PartitionIndex, id: SessionId, seq: Seq) -> [u8; 26] {
    join(&[&open_turns_of(partition, id), &seq.0.to_be_bytes()])
}

/// `Entities`.
pub fn entity(partition: PartitionIndex, id: &EntityId) -> Vec<u8> {
    [&placement(id.kind, partition)[..], id.key.as_bytes()].concat()
}

/// Prefix of an entity's `EntityRows` and `Letters`. Its key has no zero byte, so none is the prefix of another.
pub fn entity_prefix(partition: PartitionIndex, id: &EntityId) -> Vec<u8> {
    [&entity(partition, id)[..], &[0]].concat()
}

/// `EntityRows`.
pub fn entity_row(partition: PartitionIndex, id: &EntityId, name: &[u8]) -> Vec<u8> {
    [&entity_prefix(partition, id)[..], name].concat()
}

/// `Letters`.
pub fn letter(partition: PartitionIndex, id: &EntityId, number: u64) -> Vec<u8> {
    [&entity_prefix(partition, id)[..], &number.to_be_bytes()].concat()
}

/// `Proposals`.
pub fn proposal(proposer: NodeId, incarnation: Incarnation, sequence: u64) -> [u8; 24] {
    join(&[
        &node(proposer),
        &incarnation.0.to_be_bytes(),
        &sequence.to_be_bytes(),
    ])
}

fn join<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let mut out = [0; N];
    let mut at = 0;
    for part in parts {
        out[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    debug_assert_eq!(at, N, "the parts fill the key");
    out
}

/// Takes a key apart, field by field from its start.
pub struct KeyParts<'a>(&'a [u8]);

impl<'a> KeyParts<'a> {
    /// Begins at the start of `key`.
    pub fn new(key: &'a [u8]) -> Self {
        Self(key)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        let (first, rest) = self
            .0
            .split_first_chunk::<N>()
            .ok_or_else(|| StoreError(format!("a key ends {} bytes short", N - self.0.len())))?;
        self.0 = rest;
        Ok(*first)
    }

    /// A byte.
    ///
    /// # Errors
    /// The key ends before it, as with all of these.
    pub fn u8(&mut self) -> Result<u8, StoreError> {
        Ok(u8::from_be_bytes(self.take()?))
    }

    /// Two bytes.
    ///
    /// # Errors
    /// The key ends before them.
    pub fn u16(&mut self) -> Result<u16, StoreError> {
        Ok(u16::from_be_bytes(self.take()?))
    }

    /// Eight bytes.
    ///
    /// # Errors
    /// The key ends before them.
    pub fn u64(&mut self) -> Result<u64, StoreError> {
        Ok(u64::from_be_bytes(self.take()?))
    }

    /// Sixteen bytes.
    ///
    /// # Errors
    /// The key ends before them.
    pub fn u128(&mut self) -> Result<u128, StoreError> {
        Ok(u128::from_be_bytes(self.take()?))
    }

    /// A secret's hash.
    ///
    /// # Errors
    /// The key ends before it.
    pub fn secret(&mut self) -> Result<SecretHash, StoreError> {
        self.take()
    }
}

/// The first key after all that begin with `prefix`; none if there is no such key.
pub fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

/// Rows whose keys begin with `prefix`, ascending, or descending if `backwards`; at most `limit`.
///
/// # Errors
/// [`StoreError`].
pub fn scan_prefix(
    read: &dyn Read,
    table: Table,
    prefix: &[u8],
    backwards: bool,
    limit: usize,
) -> Result<Vec<KeyValue>, StoreError> {
    let end = after_prefix(prefix);
    let to = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    read.scan(table, Bound::Included(prefix), to, backwards, limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_big_endian_fields_one_after_another() {
        let session_id = SessionId(0x0102);
        assert_eq!(placement(KindId(1), PartitionIndex(0x0203)), [1, 2, 3]);
        assert_eq!(
            placement_log(KindId(1), PartitionIndex(2), Epoch(3)),
            [1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3]
        );
        let mut turn = [0; 26];
        (turn[1], turn[16], turn[17], turn[25]) = (7, 1, 2, 9);
        assert_eq!(open_turn(PartitionIndex(7), session_id, Seq(9)), turn);
        let mut message_key = [0; 24];
        (message_key[14], message_key[15], message_key[23]) = (1, 2, 9);
        assert_eq!(message(session_id, Seq(9)), message_key);
        let mut proposal_key = [0; 24];
        (proposal_key[7], proposal_key[15], proposal_key[23]) = (1, 2, 3);
        assert_eq!(proposal(NodeId(1), Incarnation(2), 3), proposal_key);
        assert_eq!(user_name("Ada@Home"), b"ada@home");
        assert_eq!(session_count(UserId(1)), b"sessions_of/\0\0\0\0\0\0\0\x01");
    }

    #[test]
    fn keys_come_apart_again_and_short_ones_are_refused() {
        let key = open_turn(PartitionIndex(7), SessionId(8), Seq(9));
        let mut parts = KeyParts::new(&key);
        assert_eq!((parts.u16(), parts.u128(), parts.u64()), (Ok(7), Ok(8), Ok(9)));
        assert!(parts.u8().is_err());
    }

    #[test]
    fn the_end_of_a_prefix() {
        assert_eq!(after_prefix(&[1, 2]), Some(vec![1, 3]));
        assert_eq!(after_prefix(&[1, 255]), Some(vec![2]));
        assert_eq!(after_prefix(&[255, 255]), None);
        assert_eq!(after_prefix(&[]), None);
    }
}
