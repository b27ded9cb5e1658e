//! A node is away while others join and come to lead: it learns of them from nobody but them.

use rustix::process::Signal;
use serde_json::Value;

use crate::common::{eventually, jarvis, stderr};
use crate::home::{Home, node};

const AWAY: usize = 1;

/// Two more nodes join, and one of them leads; all are voters but the one that is away, and the first is drained.
fn newcomers_lead(home: &mut Home) {
    home.until(0, "it is missed, so that it gets no vote", |status| {
        node(status, "two").is_some_and(|node| node["state"] == "down")
    });
    let three = home.join(0, "voter", "three");
    home.join(0, "voter", "four");
    home.until(0, "those that are there vote", |status| {
        ["one", "three", "four"]
            .iter()
            .all(|name| node(status, name).is_some_and(|node| node["voter"] == true))
    });
    let drained = jarvis(&["drain", "one", "--data", home.data(0)]);
    assert!(drained.status.success(), "{}", stderr(&drained));
    home.until(three, "a newcomer leads", |status| {
        status["leader"] == "three" || status["leader"] == "four"
    });
}

#[track_caller]
fn comes_back(home: &Home) {
    let up = |status: &Value| node(status, "two").is_some_and(|node| node["state"] == "up");
    home.until(2, "the others have it back", up);
    home.until(AWAY, "it knows all of them", |status| {
        status["nodes"].as_array().is_some_and(|nodes| nodes.len() == 4)
    });
    eventually("it is ready", || {
        (home.get(AWAY, "/readyz").0 == 200).then_some(())
    });
}

#[test]
fn a_node_that_was_off_while_its_leader_joined_comes_back() {
    let mut home = Home::of(&["voter"]);
    home.kill(AWAY);
    newcomers_lead(&mut home);
    home.start(AWAY);
    comes_back(&home);
}

/// It had the current list once, and does not know that it is old.
#[test]
fn a_node_that_was_cut_off_while_its_leader_joined_comes_back() {
    let mut home = Home::of(&["voter"]);
    home.signal(AWAY, Signal::STOP);
    newcomers_lead(&mut home);
    home.signal(AWAY, Signal::CONT);
    comes_back(&home);
}
