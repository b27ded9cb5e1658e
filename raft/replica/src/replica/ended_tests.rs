//! openraft may end without a word, by an assertion of its own: whoever still asks is told so at once.

use std::time::Duration;

use jarvis_host::{SystemClock, Tasks};
use jarvis_machine::command::Command;
use jarvis_types::{NodeId, SessionId, UserId};

use super::*;
use crate::api::{ProposeError, ProposeOptions, ReadError};
use crate::config::MemoryDisk;
use crate::testing::MemoryNetwork;

const NODE: NodeId = NodeId(1);
/// What an attempt may take, and how soon it has to be refused.
const LONG: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_a_raft_that_ended_by_a_panic_is_refused_without_trying_in_a_circle() {
    let config = ReplicaConfig::new(NODE, StoreChoice::Memory(MemoryDisk::new()));
    let deps = ReplicaDeps {
        transport: MemoryNetwork::new().join(NODE),
        faults: jarvis_host::Faults::new(),
        clock: Arc::new(SystemClock),
        tasks: Tasks::new(),
    };
    let replica = Replica::start(config, deps).await.expect("it starts");
    let initialise = full_disk_tests::initialise();
    let options = |deadline| ProposeOptions {
        fence: None,
        request: None,
        deadline,
    };
    replica
        .bootstrap(initialise, options(LONG))
        .await
        .expect("it leads");
    let mut state = replica.state();
    let leads = state.wait_for(|state| state.leads && state.caught_up);
    drop(
        tokio::time::timeout(SOON, leads)
            .await
            .expect("alone it leads")
            .expect("it runs"),
    );

    replica
        .inner
        .raft
        .external_request(|_| panic!("an assertion of openraft does not hold"))
        .await
        .expect("it is taken");
    let why = tokio::time::timeout(SOON, replica.failed()).await;
    assert!(!why.expect("it says so").is_empty());
    let over = state.wait_for(|state| state.leader.is_none() && !state.leads && !state.caught_up);
    drop(tokio::time::timeout(SOON, over).await.expect("told in time"));
    let leads_no_more = async {
        while replica.leading().is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, leads_no_more)
        .await
        .expect("it leads no more");

    let create = Command::CreateSession {
        session: SessionId(1),
        user: UserId(1),
    };
    let refused = tokio::time::timeout(SOON, replica.propose(create, options(LONG))).await;
    assert_eq!(refused.expect("at once"), Err(ProposeError::Stopping));
    let read = tokio::time::timeout(SOON, replica.linearizable(LONG)).await;
    assert!(matches!(
        read.expect("at once").err(),
        Some(ReadError::Unavailable { .. })
    ));
}
