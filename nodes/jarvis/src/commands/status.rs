//! `status`: the cluster as one node sees it.

use std::collections::BTreeMap;
use std::time::Duration;

use jarvis_client::ApiError;
use serde_json::{Value, json};

use super::cluster::{list, text};
use crate::cli::args::StatusArgs;
use crate::cli::output::{Output, complain, line, part, table};
use crate::fail::Failure;
use crate::target::Nodes;

const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// How long the bridge to the home may take to say how it stands: the rest is shown without.
const HOME_TIMEOUT: Duration = Duration::from_secs(2);
/// Most sentences that are shown of what is wrong with devices and automations.
const MOST_PROBLEMS: usize = 3;
/// What keeps a broker from forgetting.
const REMEMBERING: &str = "have the broker keep sessions: in mosquitto.conf persistence true, autosave_interval 1 (seconds; or \
                           autosave_on_changes true with autosave_interval 100), max_queued_messages 100000; and [mqtt] \
                           session_expiry longer than the cluster is ever away";
/// What to do where the bridge was set aside.
const SILENT_BRIDGE: &str = "if it lasts: `jarvis why bridge/home` says whether it keeps crashing and why, and its node's log says over \
                             what; it is begun anew when that node is drained or started again";
/// Clears the screen and goes to its top left corner.
const CLEAR: &str = "\u{1b}[2J\u{1b}[H";

/// What matters most where there is no leader.
const NO_MAJORITY: &str = "\n\ndegraded: no majority answers; nothing can be committed\n  next: start the nodes that are \
                           down, or mend the network between them; what was committed is safe; it \
                           can be read here\n        only if a majority of the voters is gone for good: stop this node, then \
                           jarvis recover";

/// `jarvis status [--watch]`.
///
/// # Errors
/// Where no node answers.
pub async fn status(args: &StatusArgs, output: Output) -> Result<(), Failure> {
    let what = "the cluster's state is not known";
    if !args.watch {
        let nodes = Nodes::find(&args.target)?;
        let mut document = nodes.get(what, "/api/v1/cluster").await?;
        document["home"] = home(&nodes, &document).await;
        let disk = disk_of_others(&nodes, &document).await;
        output.answer(&document, |document| describe(document, &disk));
        return Ok(());
    }
    loop {
        // The nodes are sought anew: one that was asked may be gone, another may have come.
        let shown = match Nodes::find(&args.target) {
            Ok(nodes) => match nodes.get(what, "/api/v1/cluster").await {
                Ok(mut document) => {
                    document["home"] = home(&nodes, &document).await;
                    Ok(document)
                }
                Err(failure) => Err(failure),
            },
            Err(failure) => Err(failure),
        };
        match shown {
            Ok(document) if output.is_json() => line(&document.to_string()),
            Ok(document) => part(&format!("{CLEAR}{}\n", describe(&document, &BTreeMap::new()))),
            Err(failure) => complain(&failure.to_string()),
        }
        tokio::select! {
            () = tokio::time::sleep(WATCH_INTERVAL) => {}
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
    }
}

/// How the bridge to the home stands; null where nobody says so in time. Where every node that was asked says that it cannot be told,
/// why.
async fn home(nodes: &Nodes, cluster: &Value) -> Value {
    if cluster["leader"].is_null() || cluster["kinds"]["bridge"]["partitions"][0]["owner"].is_null() {
        // There is nobody to ask, which is told already.
        return Value::Null;
    }
    let asked = async {
        let mut silent = Value::Null;
        for api in nodes.apis() {
            match api.get("/api/v1/bridge").await {
                Ok(bridge) => return bridge,
                // A fault, rather than a node that cannot be reached or that has nothing to do with the home.
                Err(ApiError::Refused { status: 500, .. }) => silent = json!({ "silent": true }),
                Err(_) => {}
            }
        }
        silent
    };
    tokio::time::timeout(HOME_TIMEOUT, asked)
        .await
        .unwrap_or_default()
}

/// Each node knows what it writes itself: the others on this machine are asked as well.
async fn disk_of_others(nodes: &Nodes, document: &Value) -> BTreeMap<u64, u64> {
    let mut found = disk(document);
    for api in nodes.apis().iter().skip(1) {
        if let Ok(other) = api.get("/api/v1/cluster").await {
            found.extend(disk(&other));
        }
    }
    found
}

fn disk(document: &Value) -> BTreeMap<u64, u64> {
    let known = |node: &Value| {
        Some((
            node.get("id")?.as_u64()?,
            node.get("disk_written_per_day_bytes")?.as_u64()?,
        ))
    };
    list(document, "nodes").iter().filter_map(known).collect()
}

fn describe(cluster: &Value, disk_of_others: &BTreeMap<u64, u64>) -> String {
    let leader = cluster.get("leader").and_then(Value::as_str);
    let mut out = format!(
        "cluster {}   leader {}   term {}   committed {}   level {}\nas node {} sees it at {}\n\n",
        text(cluster, "cluster_id"),
        leader.unwrap_or("none"),
        text(cluster, "term"),
        text(cluster, "commit_index"),
        level(cluster),
        text(cluster, "from_node"),
        time(cluster),
    );
    let mut disk = disk(cluster);
    disk.extend(disk_of_others);
    let rows: Vec<Vec<String>> = list(cluster, "nodes")
        .iter()
        .map(|node| {
            let voter = if node["voter"] == true { "" } else { " (no vote)" };
            let mark = if leader.is_some() && node["name"].as_str() == leader {
                " *"
            } else {
                ""
            };
            let written = node["id"].as_u64().and_then(|id| disk.get(&id));
            vec![
                format!("{}{mark}", text(node, "name")),
                text(node, "id"),
                format!("{}{voter}", text(node, "role")),
                text(node, "state"),
                text(node, "address"),
                node["rtt_us"].as_u64().map_or_else(|| "-".to_owned(), round_trip),
                text(node, "version"),
                has(node),
                written.map_or_else(|| "-".to_owned(), |bytes| bytes_text(*bytes)),
            ]
        })
        .collect();
    out.push_str(&table(
        &[
            "NODE",
            "ID",
            "ROLE",
            "STATE",
            "ADDRESS",
            "ROUND TRIP",
            "VERSION",
            "HAS",
            "DISK/DAY",
        ],
        &rows,
    ));
    let mut between = "\n\n";
    let no_kinds = serde_json::Map::new();
    for (kind, row) in cluster
        .get("kinds")
        .and_then(Value::as_object)
        .unwrap_or(&no_kinds)
    {
        let mut owners: BTreeMap<String, usize> = BTreeMap::new();
        for partition in list(row, "partitions") {
            *owners
                .entry(partition["owner"].as_str().unwrap_or("(nobody)").to_owned())
                .or_default() += 1;
        }
        let shares: Vec<String> = owners
            .iter()
            .map(|(owner, count)| format!("{owner} {count}"))
            .collect();
        let (before, count) = (between, list(row, "partitions").len());
        let noun = if count == 1 { "partition" } else { "partitions" };
        out.push_str(&format!("{before}{kind}: {count} {noun}: {}", shares.join(", ")));
        between = "\n";
    }
    out.push_str(&home_line(&cluster["home"]));
    let at_home = home_problems(&cluster["home"]);
    let degraded = list(cluster, "degraded");
    let removed = cluster.get("removed_by").is_some_and(Value::is_string);
    if removed {
        // What to do where there is no majority would be wrong here: this node has none to wait for.
    } else if leader.is_none() {
        out.push_str(NO_MAJORITY);
    } else if degraded.is_empty() && at_home.is_empty() {
        out.push_str("\n\nnothing is degraded");
    }
    // That there is no leader has been said.
    let said = |problem: &&Value| leader.is_none() && text(problem, "what").starts_with("no leader");
    for problem in degraded.iter().filter(|problem| !said(problem)) {
        out.push_str(&format!(
            "\n\ndegraded: {}\n  next: {}",
            text(problem, "what"),
            text(problem, "do")
        ));
    }
    for (what, next) in at_home {
        out.push_str(&format!("\n\ndegraded: {what}\n  next: {next}"));
    }
    out
}

/// The bridge in a line; empty where nothing is known of it.
fn home_line(home: &Value) -> String {
    let Some(node) = home["node"].as_str() else {
        return String::new();
    };
    let mut line = match home["broker"].as_str() {
        None => format!("\n\nhome: bridge on {node}, no broker configured"),
        Some(broker) => {
            let protocol = home["protocol"].as_str();
            let spoken = protocol.map_or_else(String::new, |version| format!(" (MQTT {version})"));
            format!(
                "\n\nhome: bridge on {node}, {broker} {}{spoken}",
                text(home, "state")
            )
        }
    };
    for (key, name) in [
        ("devices", "devices"),
        ("entities", "entities"),
        ("automations", "automations"),
        ("reminders", "reminders"),
        ("acts", "acts under way"),
    ] {
        if let Some(count) = home[key].as_u64().filter(|count| *count > 0) {
            line.push_str(&format!(", {count} {name}"));
        }
    }
    line
}

/// What is wrong between the cluster and the home, and what to do about it.
fn home_problems(home: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    if home["silent"] == true {
        let what =
            "the bridge to the home does not answer: nothing is heard of the home, and nothing is done there";
        found.push((what.to_owned(), SILENT_BRIDGE.to_owned()));
    }
    if let Some(trouble) = home["trouble"].as_str() {
        // Trouble says what to do after what is wrong.
        let (what, next) = trouble.split_once("; ").unwrap_or((trouble, ""));
        let next = if next.is_empty() {
            "see whether the broker runs and what its log says; messages wait there until the bridge is back"
        } else {
            next
        };
        found.push((format!("the home's broker: {what}"), next.to_owned()));
    }
    let lost = home["sessions_lost"].as_u64().unwrap_or(0);
    if lost > 0 {
        let times = if lost == 1 {
            "once".to_owned()
        } else {
            format!("{lost} times")
        };
        found.push((
            format!(
                "the home's broker has forgotten {times} what it kept for the cluster: messages were lost"
            ),
            REMEMBERING.to_owned(),
        ));
    }
    let refused: Vec<&str> = list(home, "refused_topics")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    if !refused.is_empty() {
        found.push((
            format!(
                "the home's broker does not let the cluster read {}",
                refused.join(", ")
            ),
            "allow it in the broker's access list, or leave it out of [mqtt] topics".to_owned(),
        ));
    }
    let dead = home["dead_letters"].as_u64().unwrap_or(0);
    if dead > 0 {
        found.push((
            format!("{dead} messages of the home could not be decided on"),
            "see `jarvis automation letters`: each says why, and may be tried again or forgotten".to_owned(),
        ));
    }
    let problems = list(home, "problems");
    for problem in problems.iter().filter_map(Value::as_str).take(MOST_PROBLEMS) {
        let next = match problems.len().saturating_sub(MOST_PROBLEMS) {
            0 => "mend the automation or the device's announcement".to_owned(),
            more => {
                format!("mend the automation or the device's announcement; {more} more in GET /api/v1/bridge")
            }
        };
        found.push((problem.to_owned(), next));
    }
    found
}

/// The cluster level, and whose build holds it back.
fn level(cluster: &Value) -> String {
    let behind = list(cluster, "level_held_back_by");
    let behind: Vec<&str> = behind.iter().filter_map(Value::as_str).collect();
    let level = text(cluster, "level");
    if behind.is_empty() {
        level
    } else {
        format!("{level} (held back by {})", behind.join(", "))
    }
}

/// What a node has, and how much it carries where that is not the usual.
fn has(node: &Value) -> String {
    let mut has: Vec<String> = (list(node, "capabilities").iter())
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect();
    if let Some(capacity) = node["capacity"].as_u64().filter(|capacity| *capacity != 100) {
        has.push(format!("capacity {capacity}"));
    }
    if has.is_empty() {
        "-".to_owned()
    } else {
        has.join(" ")
    }
}

fn time(cluster: &Value) -> String {
    let at = cluster
        .get("as_of_ms")
        .and_then(Value::as_i64)
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    at.map_or_else(
        || "-".to_owned(),
        |at| {
            at.to_zoned(jiff::tz::TimeZone::system())
                .strftime("%H:%M:%S")
                .to_string()
        },
    )
}

fn round_trip(us: u64) -> String {
    match us {
        0 => "here".to_owned(),
        1..1_000 => format!("{us} µs"),
        _ => format!("{}.{} ms", us / 1_000, us % 1_000 / 100),
    }
}

fn bytes_text(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} kB", bytes / 1_000),
        1_000_000..1_000_000_000 => format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000),
        _ => format!(
            "{}.{} GB",
            bytes / 1_000_000_000,
            bytes % 1_000_000_000 / 100_000_000
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_see_nodes_leader_partitions_and_what_to_do() {
        let node = |id: u64, name: &str, state: &str| {
            json!({"id": id, "name": name, "role": "voter", "state": state, "voter": true, "address": "10.0.0.1:8007",
                "rtt_us": 1_234 * (id - 1), "version": "0.1.0", "capabilities": ["gpu", "stt"], "capacity": 250, "disk_written_per_day_bytes": if id == 1 { json!(5_300_000) } else { Value::Null }})
        };
        let cluster = json!({
            "cluster_id": "C", "as_of_ms": 0, "from_node": "a", "leader": "b", "term": 3, "commit_index": 17,
            "level": 1, "level_held_back_by": ["b"],
            "nodes": [node(1, "a", "up"), node(2, "b", "down")],
            "kinds": {"session": {"partitions": [{"owner": "a"}, {"owner": "a"}, {"owner": "b"}]}},
            "degraded": [{"what": "node b does not answer", "do": "start it"}],
        });
        let shown = describe(&cluster, &BTreeMap::new());
        for part in [
            "leader b   term 3   committed 17   level 1 (held back by b)",
            "gpu stt capacity 250",
            "b *   2",
            "here",
            "1.2 ms",
            "5.3 MB",
            "a 2, b 1",
            "degraded: node b does not answer\n  next: start it",
        ] {
            assert!(shown.contains(part), "{part} is not in\n{shown}");
        }
    }

    #[test]
    fn how_the_home_is_reached_is_told_and_what_to_do_where_it_is_not() {
        let shown = |home: Value| describe(&json!({"leader": "a", "home": home}), &BTreeMap::new());
        let well = shown(
            json!({"node": "a", "broker": "mqtt://h:1883", "state": "connected", "protocol": "5",
            "devices": 12, "automations": 3, "trouble": null, "sessions_lost": 0}),
        );
        assert!(
            well.contains("home: bridge on a, mqtt://h:1883 connected (MQTT 5), 12 devices, 3 automations")
                && well.contains("nothing is degraded"),
            "{well}"
        );
        let silent = shown(json!({ "silent": true }));
        assert!(
            silent.contains("degraded: the bridge to the home does not answer")
                && silent.contains("jarvis why bridge/home")
                && !silent.contains("nothing is degraded"),
            "{silent}"
        );
        let ill = shown(
            json!({"node": "a", "broker": "mqtt://h:1883", "state": "waiting", "sessions_lost": 2,
            "trouble": "h:1883 refuses connections; is the broker running, and is that its port?",
            "refused_topics": ["stat/#"], "dead_letters": 1, "problems": ["a", "b", "c", "d"]}),
        );
        for part in [
            "degraded: the home's broker: h:1883 refuses connections\n  next: is the broker running",
            "forgotten 2 times what it kept",
            "persistence true, autosave_interval 1",
            "does not let the cluster read stat/#",
            "1 messages of the home could not be decided on",
            "degraded: c\n  next: mend the automation or the device's announcement; 1 more",
        ] {
            assert!(ill.contains(part), "{part} is not in\n{ill}");
        }
        assert!(!ill.contains("nothing is degraded") && !ill.contains("degraded: d"));
        let none = shown(json!({"node": "a", "broker": null, "state": "none"}));
        assert!(none.contains("home: bridge on a, no broker configured"), "{none}");
        assert!(!shown(Value::Null).contains("home:"));
    }

    #[test]
    fn a_removed_node_is_not_told_to_recover() {
        let cluster = json!({
            "leader": null, "nodes": [], "kinds": {}, "removed_by": "b",
            "degraded": [{"what": "this node was removed from the cluster", "do": "jarvis join TOKEN"}],
        });
        let shown = describe(&cluster, &BTreeMap::new());
        assert!(
            shown.contains("degraded: this node was removed from the cluster\n  next: jarvis join TOKEN"),
            "{shown}"
        );
        assert!(
            !shown.contains("recover") && !shown.contains("no majority"),
            "{shown}"
        );
    }

    #[test]
    fn that_no_majority_answers_is_said_plainly_and_once() {
        let cluster = json!({
            "leader": null, "nodes": [], "kinds": {},
            "degraded": [
                {"what": "no leader: nothing can be committed until …", "do": "start the nodes"},
                {"what": "node b does not answer", "do": "start it"},
            ],
        });
        let shown = describe(&cluster, &BTreeMap::new());
        assert!(shown.contains("leader none"), "{shown}");
        assert!(
            shown
                .contains("degraded: no majority answers; nothing can be committed\n  next: start the nodes"),
            "{shown}"
        );
        assert!(
            shown.contains("degraded: node b") && !shown.contains("no leader:"),
            "{shown}"
        );
        let silent = describe(&json!({"leader": null}), &BTreeMap::new());
        assert!(silent.contains("no majority answers") && !silent.contains("nothing is degraded"));
    }
}
