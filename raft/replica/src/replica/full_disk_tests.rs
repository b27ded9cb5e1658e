//! Disks without room: at start, and while the node runs.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use jarvis_host::{SystemClock, Tasks};
use jarvis_machine::command::{Command, NewNode};
use jarvis_machine::rows::NodeRole;
use jarvis_types::{ClusterId, NodeId, Seq, SessionId, UserId};

use super::*;
use crate::api::{ProposeError, ProposeOptions};
use crate::config::MemoryDisk;
use crate::log::bad_disk::BadDisk;
use crate::testing::MemoryNetwork;

const NODE: NodeId = NodeId(1);
const PATIENCE: Duration = Duration::from_secs(10);
const MIB: usize = 1024 * 1024;
const SESSIONS: u128 = 8;

/// A replica whose log is on `log`.
async fn start(log: &BadDisk, rest: &MemoryDisk) -> Result<Replica, StartError> {
    let config = ReplicaConfig::new(NODE, StoreChoice::Memory(rest.clone()));
    let opened = RedbLog::on(log.clone()).map_err(|e| StartError::from_open(Path::new("log"), e))?;
    let stores = Stores {
        disk: Arc::new(opened),
        runner: Runner::Thread,
        state: StateStore::memory(rest),
    };
    let tasks = Tasks::new();
    let deps = ReplicaDeps {
        transport: MemoryNetwork::new().join(NODE),
        faults: jarvis_host::Faults::new(),
        clock: Arc::new(SystemClock),
        tasks: tasks.clone(),
    };
    Replica::start_on(config, deps, tasks, stores).await
}

fn options(deadline: Duration) -> ProposeOptions {
    ProposeOptions {
        fence: None,
        request: None,
        deadline,
    }
}

pub(super) fn initialise() -> Command {
    let node = NewNode {
        name: "node-1".parse().expect("a name"),
        role: NodeRole::Voter,
        mesh_address: "127.0.0.1:1".to_owned(),
        http_url: "http://127.0.0.1:1".to_owned(),
        version: "0".to_owned(),
        level: 1,
    };
    Command::Initialise {
        cluster: ClusterId(7),
        node,
        admin: "admin".to_owned(),
    }
}

fn create_session(session: u128) -> Command {
    Command::CreateSession {
        session: SessionId(session),
        user: UserId(1),
    }
}

/// The nth message; a hundred go into one session.
fn say(n: u32) -> Command {
    Command::Say {
        session: SessionId(u128::from(n / 100)),
        user: UserId(1),
        id: format!("m-{n}").parse().expect("an id"),
        text: "x".repeat(20_000),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fills_ends_the_node_and_loses_nothing_acknowledged() {
    for sparse in [false, true] {
        let (log, rest) = (BadDisk::with_room(4 * MIB, sparse), MemoryDisk::new());
        let replica = start(&log, &rest).await.expect("there is room");
        replica
            .bootstrap(initialise(), options(PATIENCE))
            .await
            .expect("there is room");
        for session in 0..SESSIONS {
            let create = create_session(session);
            replica
                .propose(create, options(PATIENCE))
                .await
                .expect("there is room");
        }
        let mut acknowledged = 0;
        let refused = loop {
            match replica
                .propose(say(acknowledged), options(Duration::from_secs(1)))
                .await
            {
                Ok(_) => acknowledged += 1,
                Err(error) => break error,
            }
            assert!(acknowledged < 700, "the disk never fills");
        };
        assert!(acknowledged > 10, "{acknowledged}");
        assert!(
            matches!(refused, ProposeError::Unavailable { .. } | ProposeError::Stopping),
            "{refused:?}"
        );
        let why = tokio::time::timeout(PATIENCE, replica.failed())
            .await
            .expect("a node that cannot write says so");
        assert!(
            why.contains("the disk is full: free some space and start this node again"),
            "{why}"
        );
        replica.kill();
        drop(replica);

        // With the power lost on top of it, and room again.
        rest.crash();
        let log = log.after_power_cut(&jarvis_host::SeededEntropy::new(1));
        let replica = start(&log, &rest).await.expect("there is room again");
        let view = replica.linearizable(PATIENCE).await.expect("it leads again");
        let messages = |session| {
            let found = view.query().messages(SessionId(session), Seq(0), usize::MAX);
            found.expect("reads").len()
        };
        let found: usize = (0..SESSIONS).map(messages).sum();
        // The one that was refused may be there: nobody was told that it is not.
        assert!(
            (acknowledged as usize..=acknowledged as usize + 1).contains(&found),
            "{found} of {acknowledged}"
        );
        replica
            .propose(say(acknowledged + 1), options(PATIENCE))
            .await
            .expect("it works again");
        replica.stop().await;
    }
}

#[tokio::test]
async fn a_full_disk_at_start_says_so() {
    let rest = MemoryDisk::new();
    let none = BadDisk::with_room(0, false);
    let error = start(&none, &rest)
        .await
        .err()
        .expect("there is no room for a file");
    assert!(matches!(error, StartError::Full { .. }), "{error:?}");
    assert!(error.to_string().contains("free some space"), "{error}");

    let log = BadDisk::default();
    drop(RedbLog::on(log.clone()).expect("there is room"));
    log.set_room(Some(0));
    let error = start(&log, &rest).await.err().expect("a life cannot begin");
    assert!(matches!(error, StartError::Full { .. }), "{error:?}");
    log.set_room(None);
    start(&log, &rest).await.expect("there is room").stop().await;
}

#[test]
fn the_systems_words_for_a_full_disk_are_understood() {
    const ENOSPC: i32 = 28;
    let error = StartError::from_io(Path::new("x"), io::Error::from_raw_os_error(ENOSPC));
    assert!(matches!(error, StartError::Full { .. }), "{error:?}");
}
