//! Stores that are gone, in use, damaged or newer: each says what it is and what to do.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use jarvis_replica::StartError;
use jarvis_types::NodeId;

use support::{Cluster, create_session};

const NODE: NodeId = NodeId(1);

async fn one() -> Cluster {
    let mut cluster = Cluster::in_files();
    cluster.bootstrap().await;
    cluster.propose(create_session(1)).await.unwrap();
    cluster
}

#[tokio::test]
async fn a_missing_log_is_no_fresh_start() {
    let mut cluster = one().await;
    cluster.stop().await;
    let log = cluster.folder(NODE).join("raft/log.redb");
    std::fs::remove_file(&log).unwrap();
    let error = cluster.start(NODE, true).await.err().unwrap();
    assert!(
        matches!(error, StartError::LogMissing { node: NODE, .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("jarvis remove 1"), "{error}");

    // A file that is there but empty has forgotten as much.
    std::fs::write(&log, b"").unwrap();
    let error = cluster.start(NODE, true).await.err().unwrap();
    assert!(matches!(error, StartError::LogMissing { .. }), "{error:?}");
}

#[tokio::test]
async fn a_store_in_use_is_refused() {
    let mut cluster = one().await;
    let first = cluster.replicas[&NODE].clone();
    let error = cluster.start(NODE, true).await.err().unwrap();
    assert!(matches!(error, StartError::InUse { .. }), "{error:?}");
    first.stop().await;
}

#[tokio::test]
async fn a_damaged_file_is_named() {
    let mut cluster = one().await;
    cluster.stop().await;
    for file in ["raft/log.redb", "state/state.redb"] {
        let path = cluster.folder(NODE).join(file);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, vec![0x5a; 8192]).unwrap();
        let error = cluster.start(NODE, true).await.err().unwrap();
        assert!(matches!(error, StartError::Damaged { .. }), "{error:?}");
        std::fs::write(&path, whole).unwrap();
    }
    cluster.start(NODE, true).await.unwrap();
    cluster.stop().await;
}

#[tokio::test]
async fn a_newer_file_asks_for_an_upgrade() {
    let mut cluster = one().await;
    cluster.stop().await;
    for file in ["raft/log.redb", "state/state.redb"] {
        let path = cluster.folder(NODE).join(file);
        let whole = std::fs::read(&path).unwrap();
        make_newer(&path);
        let error = cluster.start(NODE, true).await.err().unwrap();
        assert!(
            matches!(&error, StartError::Newer { path, .. } if path.ends_with(file.split('/').next().unwrap()) || path.ends_with(file)),
            "{error:?}"
        );
        let text = error.to_string();
        assert!(
            text.contains("format is 99") && text.contains("upgrade jarvis on this node"),
            "{text}"
        );
        std::fs::write(&path, whole).unwrap();
    }
    cluster.start(NODE, true).await.unwrap();
    cluster.stop().await;
}

fn make_newer(path: &std::path::Path) {
    let db = redb::Database::open(path).unwrap();
    let txn = db.begin_write().unwrap();
    let numbers = redb::TableDefinition::<&str, u64>::new("numbers");
    txn.open_table(numbers).unwrap().insert("format", 99).unwrap();
    txn.commit().unwrap();
}

#[tokio::test]
async fn truncated_files_are_named_and_nothing_panics() {
    let mut cluster = one().await;
    cluster.stop().await;
    let path = cluster.folder(NODE).join("raft/log.redb");
    let whole = std::fs::read(&path).unwrap();
    for part in [1, 8] {
        std::fs::write(&path, &whole[..whole.len() * part / 9]).unwrap();
        let error = cluster.start(NODE, true).await.err().unwrap();
        assert!(matches!(error, StartError::Damaged { .. }), "{part}/9: {error:?}");
    }
    std::fs::write(&path, whole).unwrap();
    cluster.start(NODE, true).await.unwrap();
    cluster.stop().await;
}

#[tokio::test]
async fn tables_that_are_gone_are_not_taken_for_empty_ones() {
    let mut cluster = Cluster::in_files();
    cluster.snapshot_every = 20;
    cluster.bootstrap().await;
    for n in 0..60 {
        cluster.propose(create_session(n)).await.unwrap();
    }
    cluster.stop().await;
    let state = cluster.folder(NODE).join("state/state.redb");
    std::fs::remove_file(&state).unwrap();
    let error = cluster.start(NODE, true).await.err().unwrap();
    assert!(matches!(error, StartError::Damaged { .. }), "{error:?}");
    assert!(error.to_string().contains("join again"), "{error}");
}

#[tokio::test]
async fn a_folder_that_is_none_is_an_error_with_a_hint() {
    let mut cluster = Cluster::in_files();
    let folder = cluster.folder(NODE);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("raft"), b"in the way").unwrap();
    let error = cluster.start(NODE, false).await.err().unwrap();
    assert!(matches!(error, StartError::Io { .. }), "{error:?}");
    assert!(error.to_string().contains("check the folder"), "{error}");
}

#[tokio::test]
async fn a_power_cut_while_a_store_was_made_is_no_damage() {
    let mut cluster = Cluster::in_files();
    for (folder, file) in [("raft", "log.redb"), ("state", "state.redb")] {
        let folder = cluster.folder(NODE).join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{file}.unfinished")), vec![0; 8192]).unwrap();
    }
    cluster.bootstrap().await;
    cluster.propose(create_session(1)).await.unwrap();
    cluster.stop().await;
    cluster.start(NODE, true).await.unwrap();
    cluster.stop().await;
    for file in ["raft/log.redb.unfinished", "state/state.redb.unfinished"] {
        assert!(!cluster.folder(NODE).join(file).exists(), "{file} is left behind");
    }
}
