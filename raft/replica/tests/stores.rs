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
    assert!(matches!(error, StartError::LogMissing { node: NODE, .. }), "{error:?}");
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
    let path = cluster.folder(NODE).join("raft/log.redb");
    {
        let db = redb::Database::open(&path).unwrap();
        let txn = db.begin_write().unwrap();
        let numbers = redb::TableDefinition::<&str, u64>::new("numbers");
        txn.open_table(numbers).unwrap().insert("format", 99).unwrap();
        txn.commit().unwrap();
    }
    let error = cluster.start(NODE, true).await.err().unwrap();
    assert!(matches!(error, StartError::Newer { .. }), "{error:?}");
    assert!(error.to_string().contains("upgrade"), "{error}");
}
