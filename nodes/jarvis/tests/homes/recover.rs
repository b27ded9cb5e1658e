//! The majority is gone for good: one node's disk is the cluster.

use serde_json::Value;

use crate::common::{eventually, jarvis, stderr, stdout};
use crate::home::{Home, document, node, refused};

fn three() -> Home {
    let home = Home::of(&["voter", "voter"]);
    home.until(0, "three voters", |status| {
        let nodes = status["nodes"].as_array().expect("nodes");
        nodes.len() == 3 && nodes.iter().all(|node| node["voter"] == true)
    });
    home
}

#[test]
fn what_the_survivor_had_is_there_and_the_others_are_out() {
    let mut home = three();
    let session = home.chat(0, None, "what is 6 times 7?");
    let before = eventually("the survivor has all of it", || {
        let texts = home.texts(2, &session);
        (texts.len() == 2).then_some(texts)
    });
    let (_, running) = refused(&["recover", "--yes", "--data", home.data(2)]);
    assert!(running.contains("in use by process"), "{running}");

    for index in 0..3 {
        home.kill(index);
    }
    // One machine is destroyed, one is only thought to be.
    std::fs::remove_dir_all(&home.members[0].data).expect("removed");
    let survivor = home.data(2).to_owned();
    let (statement, why) = refused(&["recover", "--data", &survivor]);
    for part in [
        "certain:",
        "may be lost:",
        "put out of the cluster for good: one, two",
        "node three (id 3, voter)",
    ] {
        assert!(statement.contains(part), "{part} is not in\n{statement}");
    }
    assert!(why.contains("nothing was changed"), "{why}");
    // To look at the log is not to write to it.
    let written = || {
        let (statement, _) = refused(&["recover", "--json", "--data", &survivor]);
        let statement: Value = serde_json::from_str(&statement).expect("one document");
        statement["last_write_at_ms"].as_u64().expect("a time")
    };
    assert_eq!(written(), written());

    let done = document(&["recover", "--yes", "--json", "--data", &survivor]);
    assert_eq!(done["recovered"], true, "{done}");
    assert_eq!(done["removed"], serde_json::json!(["one", "two"]), "{done}");
    let (certain, last) = (
        done["certain_index"].as_u64().expect("a number"),
        done["last_index"].as_u64().expect("a number"),
    );
    assert!(certain <= last && last > 0, "{done}");
    assert!(done["committed"].as_u64() > Some(last), "{done}");
    let backup = std::path::PathBuf::from(done["backup"].as_str().expect("a path"));
    assert!(backup.join("raft/log.redb").exists() && backup.join("state/state.redb").exists());
    // There is nothing to do twice.
    let (_, again) = refused(&["recover", "--yes", "--data", &survivor]);
    assert!(again.contains("nothing to recover"), "{again}");

    home.start(2);
    home.until(2, "it leads", |status| status["leader"] == "three");
    assert_eq!(home.texts(2, &session), before);
    home.chat(2, Some(&session), "what is 2 plus 3?");
    assert_eq!(home.texts(2, &session).len(), 4);

    // Those of before are refused; new ones are not.
    home.start(1);
    let new = home.join(2, "voter", "four");
    let status = home.status(2);
    assert!(
        node(&status, "one").is_none() && node(&status, "two").is_none(),
        "{status}"
    );
    eventually("the new node has what was there", || {
        (home.texts(new, &session).len() == 4).then_some(())
    });
    assert_eq!(home.get(1, "/readyz").0, 503, "who was put out finds nobody");
    assert!(home.members[1].name == "two" && home.status(1)["leader"].is_null());
    home.until(1, "it is told why", |status| status["removed_by"].is_string());
}

#[test]
fn a_node_that_lags_says_what_may_be_lost() {
    let mut home = three();
    let session = home.chat(0, None, "what is 6 times 7?");
    eventually("the node has it", || {
        (home.texts(2, &session).len() == 2).then_some(())
    });
    home.kill(2);
    home.chat(0, Some(&session), "what is 2 plus 3?");
    let truth = home.status(0)["commit_index"].as_u64().expect("a number");
    home.kill(0);
    home.kill(1);
    let done = document(&["recover", "--yes", "--json", "--data", home.data(2)]);
    let number = |field: &str| done[field].as_u64().expect("a number");
    assert!(number("last_index") < truth, "it lags: {done}, truth {truth}");
    assert_eq!(number("may_be_lost_after"), number("last_index"));
    assert!(number("certain_index") <= number("last_index"));
    assert!(number("last_entry_at_ms") <= number("as_of_ms"));
    home.start(2);
    home.until(2, "it leads", |status| status["leader"] == "three");
    assert_eq!(
        home.texts(2, &session).len(),
        2,
        "what it had is there, and no more"
    );
}

#[test]
fn interrupted_it_goes_on_and_nobody_starts_in_between() {
    let mut home = three();
    let session = home.chat(0, None, "what is 6 times 7?");
    eventually("the node has it", || {
        (home.texts(1, &session).len() == 2).then_some(())
    });
    for index in 0..3 {
        home.kill(index);
    }
    // As a crash after the first write leaves it.
    let identity = home.members[1].data.join("node.toml");
    let before = std::fs::read_to_string(&identity).expect("readable");
    let backup = home.members[1].data.join("before-recover-1");
    std::fs::create_dir_all(&backup).expect("made");
    let begun = before.replacen("format =", "recovering = \"before-recover-1\"\nformat =", 1);
    std::fs::write(&identity, begun).expect("written");
    let (_, why) = refused(&["run", "--data", home.data(1)]);
    assert!(why.contains("jarvis recover --data"), "{why}");
    let done = document(&["recover", "--yes", "--json", "--data", home.data(1)]);
    assert_eq!(done["resumed"], true, "{done}");
    assert_eq!(done["backup"].as_str(), backup.to_str());
    home.start(1);
    home.until(1, "it leads", |status| status["leader"] == "two");
    assert_eq!(home.texts(1, &session).len(), 2);
}

#[test]
fn where_the_others_live_it_says_so_loudly() {
    let mut home = three();
    home.kill(2);
    home.until(0, "the others go on", |status| !status["leader"].is_null());
    let (statement, why) = refused(&["recover", "--yes", "--data", home.data(2)]);
    assert!(statement.contains("ANSWERS AND SERVES"), "{statement}");
    assert!(why.contains("seems to be alive without this node"), "{why}");
    let output = jarvis(&["recover", "--yes", "--json", "--data", home.data(2)]);
    let document: Value = serde_json::from_slice(&output.stdout).expect("one document");
    assert_eq!(
        document["recovered"],
        false,
        "{}{}",
        stdout(&output),
        stderr(&output)
    );
    assert_eq!(
        document["others_answering"].as_array().map(Vec::len),
        Some(2),
        "{document}"
    );
    // Nothing was changed: it comes back as if nobody had asked.
    home.start(2);
    home.until(0, "it is back", |status| {
        node(status, "three").is_some_and(|node| node["state"] == "up")
    });
}
