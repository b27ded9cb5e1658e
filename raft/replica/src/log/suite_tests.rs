//! openraft's own suite, and what it does not ask: damage, crashes, the tail in memory.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use jarvis_host::Tasks;
use openraft::StorageError;
use openraft::entry::RaftEntry;
use openraft::storage::{RaftLogReader, RaftLogStorage, RaftLogStorageExt};
use openraft::testing::log::{StoreBuilder, Suite};
use redb::{Database, TableDefinition};
use tempfile::TempDir;

use super::disk::LogDisk;
use super::tail::TAIL_BYTES;
use super::{LogStore, MemoryLog, RedbLog, Runner};
use crate::config::MemoryDisk;
use crate::state::{StateMachine, StateShared, StateStore};
use crate::types::tests::{entry, log_id};
use crate::types::{TypeConfig, Vote};

struct InMemory;
struct InFiles;

fn machine(store: StateStore) -> StateMachine {
    StateMachine::new(Arc::new(StateShared::new(store, 16).expect("opens"))).expect("opens")
}

impl StoreBuilder<TypeConfig, LogStore, StateMachine, Tasks> for InMemory {
    async fn build(&self) -> Result<(Tasks, LogStore, StateMachine), StorageError<TypeConfig>> {
        let tasks = Tasks::new();
        let runner = Runner::Task(tasks.clone(), Duration::ZERO, MemoryLog::new());
        let log = LogStore::open(Arc::new(MemoryLog::new()), &runner).expect("opens");
        Ok((tasks, log, machine(StateStore::memory(&MemoryDisk::new()))))
    }
}

impl StoreBuilder<TypeConfig, LogStore, StateMachine, TempDir> for InFiles {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError<TypeConfig>> {
        let folder = tempfile::tempdir().expect("a folder");
        let log = RedbLog::open(&folder.path().join("log.redb")).expect("opens");
        let log = LogStore::open(Arc::new(log), &Runner::Thread).expect("opens");
        let state = StateStore::open(&folder.path().join("state")).expect("opens");
        Ok((folder, log, machine(state)))
    }
}

// The suite sleeps for seconds on end: not for real.
#[tokio::test(start_paused = true)]
async fn openrafts_suite_in_memory() {
    Suite::test_all(InMemory).await.expect("passes");
}

// The suite sleeps for seconds on end: not for real.
#[tokio::test(start_paused = true)]
async fn openrafts_suite_in_files() {
    Suite::test_all(InFiles).await.expect("passes");
}

fn open(path: &std::path::Path) -> io::Result<LogStore> {
    LogStore::open(Arc::new(RedbLog::open(path).expect("opens")), &Runner::Thread)
}

#[tokio::test]
async fn what_was_synced_is_there_after_opening_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log.redb");
    let mut log = open(&path).expect("opens");
    log.save_vote(&Vote::new(3, 1)).await.expect("saves");
    log.blocking_append((1..=5).map(|index| entry(3, index, b"body")))
        .await
        .expect("appends");
    log.save_committed(Some(log_id(3, 4))).await.expect("saves");
    log.truncate_after(Some(log_id(3, 4))).await.expect("truncates");
    log.purge(log_id(3, 2)).await.expect("purges");
    log.close().await;

    let mut log = open(&path).expect("opens again");
    assert_eq!(log.read_vote().await.expect("reads"), Some(Vote::new(3, 1)));
    assert_eq!(log.read_committed().await.expect("reads"), Some(log_id(3, 4)));
    let state = log.get_log_state().await.expect("reads");
    assert_eq!(
        (state.last_purged_log_id, state.last_log_id),
        (Some(log_id(3, 2)), Some(log_id(3, 4)))
    );
    let found = log.try_get_log_entries(0..100).await.expect("reads");
    assert_eq!(found, [entry(3, 3, b"body"), entry(3, 4, b"body")]);
}

#[tokio::test]
async fn a_damaged_record_is_named() {
    const LOG: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("log");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log.redb");
    let mut log = open(&path).expect("opens");
    log.blocking_append((1..=5).map(|index| entry(3, index, b"body")))
        .await
        .expect("appends");
    log.close().await;
    let damage = |index: u64| {
        let db = Database::open(&path).expect("opens");
        let txn = db.begin_write().expect("writes");
        let sealed = crate::types::seal_record(&entry(3, index, b"body")).expect("seals");
        let torn = &sealed[..sealed.len() - 2];
        txn.open_table(LOG)
            .expect("opens")
            .insert(index, torn)
            .expect("inserts");
        txn.commit().expect("commits");
    };

    damage(3);
    let mut log = open(&path).expect("opens: the last record is whole");
    let error = log.try_get_log_entries(2..5).await.expect_err("entry 3 is torn");
    assert!(error.to_string().starts_with("log entry 3 is damaged"), "{error}");
    log.close().await;

    damage(5);
    let error = open(&path).err().expect("the last record is torn");
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert!(error.to_string().starts_with("log entry 5 is damaged"), "{error}");
}

#[tokio::test]
async fn memory_loses_what_was_not_synced() {
    let disk = MemoryLog::new();
    let tasks = Tasks::new();
    let runner = Runner::Task(tasks.clone(), Duration::from_secs(3600), disk.clone());
    tokio::time::pause();
    let mut log = LogStore::open(Arc::new(disk.clone()), &runner).expect("opens");
    log.blocking_append([entry(1, 1, b"kept")])
        .await
        .expect("appends");
    let lost = openraft::storage::IOFlushed::noop();
    log.append([entry(1, 2, b"lost")], lost).await.expect("is queued");
    assert_eq!(
        log.try_get_log_entries(1..3).await.expect("reads").len(),
        2,
        "readable before it is synced"
    );
    tasks.cancel();
    disk.crash(0);
    assert_eq!(disk.head().expect("reads").last.map(|(index, _)| index), Some(1));
}

#[tokio::test]
async fn after_a_write_that_failed_nothing_more_is_written() {
    let disk = MemoryLog::new();
    let tasks = Tasks::new();
    let runner = Runner::Task(tasks.clone(), Duration::ZERO, disk.clone());
    let mut log = LogStore::open(Arc::new(disk.clone()), &runner).expect("opens");
    log.blocking_append([entry(1, 1, b"before")])
        .await
        .expect("appends");
    disk.fill(true);
    // Nobody waits for a purge; that it failed must show all the same.
    let purged = entry(1, 5, b"").log_id;
    log.purge(purged).await.expect("is queued");
    tokio::task::yield_now().await;
    disk.fill(false);
    let after = log.blocking_append([entry(1, 6, b"after")]).await;
    let refused = after.expect_err("there would be a gap").to_string();
    assert!(refused.contains("an earlier write"), "{refused}");
    assert_eq!(disk.head().expect("reads").last.map(|(index, _)| index), Some(1));
    tasks.cancel();
}

#[tokio::test]
async fn reads_go_on_from_the_disk_to_the_tail() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut log = open(&folder.path().join("log.redb")).expect("opens");
    let body = vec![7; 64 * 1024];
    let count = 2 * TAIL_BYTES / body.len() + 8;
    for index in 1..=count as u64 {
        log.blocking_append([entry(1, index, &body)])
            .await
            .expect("appends");
    }
    let held = log.shared.tail().first().expect("holds some");
    assert!(held > 2, "the tail lets go of what is synced");
    let all = log.try_get_log_entries(..).await.expect("reads");
    assert!(
        all.iter().map(|e| e.log_id.index).eq(1..=count as u64),
        "no gap between disk and tail"
    );
    let some = log
        .limited_get_log_entries(held - 2, count as u64 + 1)
        .await
        .expect("reads");
    assert!(
        some.iter()
            .map(|e| e.log_id.index)
            .eq(held - 2..held - 2 + some.len() as u64),
        "no gap in a part"
    );
    assert!(!some.is_empty() && some.len() < all.len());
    let one = log.limited_get_log_entries(1, 2).await.expect("reads");
    assert_eq!(one.len(), 1);
}

/// A log of five entries of which the last three were replaced: before the first batch was synced, or, where the tail is small,
/// right after the second was.
async fn overwritten(small: bool, body: &[u8]) -> (Tasks, LogStore) {
    const SYNC: Duration = Duration::from_millis(300);
    let tasks = Tasks::new();
    let disk = MemoryLog::new();
    let runner = Runner::Task(tasks.clone(), SYNC, disk.clone());
    let log = LogStore::open(Arc::new(disk), &runner).expect("opens");
    if small {
        log.be_small();
    }
    let mut writing = log.clone();
    let noop = openraft::storage::IOFlushed::noop;
    let first = (1..=5).map(|index| entry(1, index, b"old"));
    writing.append(first, noop()).await.expect("appends");
    // The writer has taken the first batch and syncs it.
    tokio::time::sleep(Duration::from_millis(1)).await;
    if !small {
        tokio::time::sleep(SYNC).await;
    }
    writing
        .truncate_after(Some(log_id(1, 2)))
        .await
        .expect("truncates");
    let second = (3..=5).map(|index| entry(2, index, body));
    writing.append(second, noop()).await.expect("appends");
    if small {
        tokio::time::sleep(SYNC).await;
    } else {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    (tasks, log)
}

#[tokio::test(start_paused = true)]
async fn what_replaced_a_synced_entry_is_not_synced_itself() {
    let (_tasks, log) = overwritten(false, b"new").await;
    assert!(
        !log.has_synced(Some(log_id(2, 5))).expect("reads"),
        "it is on no disk yet"
    );
    assert_eq!(log.synced_index(), 2);
    log.flush().await.expect("syncs");
    assert!(log.has_synced(Some(log_id(2, 5))).expect("reads"));
}

#[tokio::test(start_paused = true)]
async fn a_sync_queued_before_a_truncation_does_not_make_a_small_tail_read_what_was_truncated() {
    let (_tasks, mut log) = overwritten(true, &[7; 100 * 1024]).await;
    let found = log.try_get_log_entries(3..4).await.expect("reads");
    assert_eq!(found[0].log_id(), log_id(2, 3));
}
