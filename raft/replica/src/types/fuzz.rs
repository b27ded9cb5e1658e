//! Hostile records, as a damaged disk gives them, and hostile messages between replicas.

use std::fmt::Debug;

use jarvis_fuzz::fuzz;
use openraft::entry::RaftEntry;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest, VoteResponse,
};

use super::tests::{entry, log_id};
use super::*;
use crate::log::open_entry;

/// serde reserves up to a mebibyte for a list whose length is not known to be true, one within the other.
const MOST_BYTES: u64 = 4 * 1024 * 1024;

fn membership() -> StoredMembership {
    let members = openraft::Membership::new_with_defaults(vec![[1, 2].into()], [3]);
    StoredMembership::new(Some(log_id(1, 4)), members)
}

fn entries() -> Vec<Entry> {
    let members = openraft::Membership::new_with_defaults(vec![[1, 2].into(), [2, 3].into()], [4]);
    vec![
        entry(3, 300, b"abc"),
        RaftEntry::new(log_id(1, 1), openraft::EntryPayload::Blank),
        RaftEntry::new(log_id(2, 7), openraft::EntryPayload::Membership(members)),
    ]
}

fn seal_again(bytes: &mut Vec<u8>) {
    let plain = bytes.get(4..).unwrap_or_default();
    *bytes = codec::seal(plain);
}

/// Reads a record; what was read is written and read again as the same. Records are compared as bytes, since not all of
/// openraft's types can be compared.
fn holds<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<(), io::ErrorKind> {
    let value: T = open_record("a record", bytes).map_err(|error| error.kind())?;
    let sealed = seal_record(&value).expect("what was read can be written");
    let again: T = open_record("a record", &sealed).expect("and read");
    assert_eq!(seal_record(&again).expect("and written"), sealed);
    Ok(())
}

#[test]
fn fuzz_log_records() {
    let sealed = entries()
        .into_iter()
        .map(|entry| seal_record(&entry).expect("encodes"));
    fuzz!()
        .seeds(sealed)
        .seed(seal_record(&Vote::new_committed(7, 2)).expect("encodes"))
        .seed(seal_record(&Vote::new(8, 3)).expect("encodes"))
        .seed(seal_record(&log_id(7, 300)).expect("encodes"))
        .seed(seal_record(&Some(log_id(7, 300))).expect("encodes"))
        .seed(seal_record(&membership()).expect("encodes"))
        .mend(seal_again)
        .memory(MOST_BYTES, 64)
        .run(|bytes| {
            let entry = open_entry(300, bytes).map_err(|error| error.kind());
            if let Ok(entry) = &entry {
                assert_eq!(entry.index(), 300, "an entry is at its own place");
            }
            (
                entry.is_ok(),
                holds::<Entry>(bytes),
                holds::<Vote>(bytes),
                holds::<LogId>(bytes),
                holds::<Option<LogId>>(bytes),
                holds::<StoredMembership>(bytes),
            )
        });
}

/// The first bytes say which record is damaged, where and how.
#[test]
fn fuzz_damage_to_log_records() {
    let records: Vec<Vec<u8>> = entries()
        .into_iter()
        .map(|entry| seal_record(&entry).expect("encodes"))
        .collect();
    fuzz!()
        .seeds([[0, 0, 1], [1, 7, 0x80], [2, 200, 0xff]])
        .run(|bytes| {
            let [which, at, damage @ ..] = bytes else {
                return "short";
            };
            let record = &records[usize::from(*which) % records.len()];
            let mut damaged = record.clone();
            let at = usize::from(*at) % record.len();
            for (byte, damage) in damaged[at..].iter_mut().zip(damage.iter().take(4)) {
                *byte ^= damage;
            }
            if damaged == *record {
                return "unharmed";
            }
            let error = open_record::<Entry>("a record", &damaged).expect_err("damage is noticed");
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            "noticed"
        });
}

/// Reads a message of another replica, as services do.
fn speaks<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> bool {
    let Ok(value) = codec::decode_serde::<T>(RPC_VERSION, bytes) else {
        return false;
    };
    let plain = codec::encode_serde(RPC_VERSION, &value).expect("what was read can be written");
    let again: T = codec::decode_serde(RPC_VERSION, &plain).expect("and read");
    assert_eq!(
        codec::encode_serde(RPC_VERSION, &again).expect("and written"),
        plain
    );
    true
}

fn plain(value: &(impl Serialize + Debug)) -> Vec<u8> {
    codec::encode_serde(RPC_VERSION, value).expect("encodes")
}

#[test]
fn fuzz_messages_between_replicas() {
    let append = AppendEntriesRequest::<TypeConfig> {
        vote: Vote::new_committed(7, 2),
        prev_log_id: Some(log_id(6, 9)),
        entries: entries(),
        leader_commit: Some(log_id(6, 8)),
    };
    let vote = VoteRequest::<TypeConfig>::new(Vote::new(8, 3), Some(log_id(7, 10)));
    let voted = VoteResponse::<TypeConfig>::new(Vote::new(8, 3), Some(log_id(7, 10)), true);
    let transfer =
        TransferLeaderRequest::<TypeConfig>::new(Vote::new_committed(7, 2), 3, Some(log_id(7, 10)));
    let answers: Vec<Option<Blob>> = vec![None, Some(Blob(Bytes::from_static(b"outcome")))];
    fuzz!()
        .seeds([
            plain(&append),
            plain(&vote),
            plain(&voted),
            plain(&transfer),
            plain(&answers),
        ])
        .seeds([
            plain(&AppendEntriesResponse::<TypeConfig>::Conflict),
            plain(&Some(3u64)),
        ])
        .memory(MOST_BYTES, 64)
        .run(|bytes| {
            (
                speaks::<AppendEntriesRequest<TypeConfig>>(bytes),
                speaks::<AppendEntriesResponse<TypeConfig>>(bytes),
                speaks::<VoteRequest<TypeConfig>>(bytes),
                speaks::<VoteResponse<TypeConfig>>(bytes),
                speaks::<TransferLeaderRequest<TypeConfig>>(bytes),
                speaks::<Vec<Blob>>(bytes),
                speaks::<Vec<Option<Blob>>>(bytes),
                speaks::<Option<u64>>(bytes),
            )
        });
}
