//! Two nodes and a witness: either of the two may go, and the third never carries anything.

use serde_json::Value;

use crate::common::eventually;
use crate::home::{Home, node};

fn home() -> Home {
    let home = Home::of(&["voter", "witness"]);
    home.until(0, "three voters", |status| {
        let nodes = status["nodes"].as_array().expect("nodes");
        nodes.len() == 3 && nodes.iter().all(|node| node["voter"] == true)
    });
    home
}

/// The owners of all partitions.
fn owners(status: &Value) -> Vec<&str> {
    let kinds = status["kinds"].as_object().expect("kinds");
    let partitions = kinds
        .values()
        .flat_map(|kind| kind["partitions"].as_array().expect("partitions"));
    partitions
        .map(|partition| partition["owner"].as_str().unwrap_or("nobody"))
        .collect()
}

fn serves_without(lost: usize) {
    let (mut home, left) = (home(), 1 - lost);
    let status = home.status(2);
    assert_eq!(node(&status, "three").expect("listed")["role"], "witness");
    let session = home.chat(lost, None, "what is 6 times 7?");
    home.kill(lost);
    let survivor = home.members[left].name.clone();
    let status = home.until(left, "everything is the survivor's", |status| {
        !status["leader"].is_null() && owners(status).iter().all(|owner| *owner == survivor)
    });
    assert!(!owners(&status).is_empty(), "{status}");
    home.chat(left, Some(&session), "what is 2 plus 3?");
    assert_eq!(home.texts(left, &session).len(), 4);
    // The witness is asked like any other.
    assert_eq!(home.get(2, "/healthz").0, 200);
    eventually("the witness is ready", || {
        (home.get(2, "/readyz").0 == 200).then_some(())
    });
    let (status, metrics) = home.get(2, "/metrics");
    assert!(
        status == 200 && metrics.contains("jarvis_raft_commit_index"),
        "{metrics}"
    );
    assert!(!owners(&home.status(2)).contains(&"three"));

    home.start(lost);
    let both = home.until(2, "both work again", |status| {
        let owners = owners(status);
        ["one", "two"].iter().all(|name| owners.contains(name))
    });
    assert!(!owners(&both).contains(&"three"), "{both}");
}

#[test]
fn the_first_node_may_go() {
    serves_without(0);
}

#[test]
fn the_second_node_may_go() {
    serves_without(1);
}
