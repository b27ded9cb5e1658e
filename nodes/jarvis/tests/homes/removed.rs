//! A node is taken out of the cluster while it is away: it is told when it comes back, and what to do is what helps.

use crate::common::{eventually, jarvis, stderr, stdout};
use crate::home::{Home, degraded, node};

#[test]
fn who_was_removed_while_it_was_away_is_told_why_and_can_join_again() {
    let mut home = Home::of(&["voter", "voter"]);
    home.until(0, "three voters", |status| {
        let nodes = status["nodes"].as_array().expect("nodes");
        nodes.len() == 3 && nodes.iter().all(|node| node["voter"] == true)
    });
    // One that dials the others, and one that they dial.
    for index in [1, 2] {
        home.kill(index);
        let name = home.members[index].name.clone();
        eventually("it is removed", || {
            let removed = jarvis(&["remove", &name, "--force", "--data", home.data(0)]);
            removed.status.success().then_some(())
        });
        home.start(index);
        // By its name, or its id where this node's tables have not come to know the name again.
        let told = home.until(index, "it is told why", |status| status["removed_by"].is_string());
        let said = degraded(&told);
        assert!(
            said.contains("was removed from the cluster") && said.contains("jarvis join TOKEN"),
            "{said}"
        );
        let (status, alive) = home.get(index, "/healthz");
        assert!(status == 200 && alive.contains("\"removed\""), "{alive}");
        let (status, ready) = home.get(index, "/readyz");
        assert!(
            status == 503 && ready.contains("was removed from the cluster"),
            "{ready}"
        );
        let shown = stdout(&jarvis(&["status", "--data", home.data(index)]));
        assert!(
            shown.contains("jarvis join TOKEN") && !shown.contains("jarvis recover"),
            "{shown}"
        );

        // As it was told to.
        home.kill(index);
        let data = home.data(index).to_owned();
        std::fs::rename(&data, format!("{data}.aside")).expect("moved aside");
        let token = home.invite(0, "voter");
        let listen = home.members[index].url.trim_start_matches("http://").to_owned();
        let joined = jarvis(&[
            "join", &token, "--name", &name, "--listen", &listen, "--data", &data,
        ]);
        assert!(joined.status.success(), "{}", stderr(&joined));
        home.start(index);
        home.until(0, "it is up again", |status| {
            node(status, &name).is_some_and(|node| node["state"] == "up")
        });
    }
}
