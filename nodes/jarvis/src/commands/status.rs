//! `status`: the cluster as one node sees it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::cluster::{list, text};
use crate::cli::args::StatusArgs;
use crate::cli::output::{Output, complain, line, part, table};
use crate::fail::Failure;
use crate::target::Nodes;

const WATCH_INTERVAL: Duration = Duration::from_secs(1);
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
        let document = nodes.get(what, "/api/v1/cluster").await?;
        let disk = disk_of_others(&nodes, &document).await;
        output.answer(&document, |document| describe(document, &disk));
        return Ok(());
    }
    loop {
        // The nodes are sought anew: one that was asked may be gone, another may have come.
        let shown = match Nodes::find(&args.target) {
            Ok(nodes) => nodes.get(what, "/api/v1/cluster").await,
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
        out.push_str(&format!(
            "\n\n{kind}: {} partitions: {}",
            list(row, "partitions").len(),
            shares.join(", ")
        ));
    }
    let degraded = list(cluster, "degraded");
    let removed = cluster.get("removed_by").is_some_and(Value::is_string);
    if removed {
        // What to do where there is no majority would be wrong here: this node has none to wait for.
    } else if leader.is_none() {
        out.push_str(NO_MAJORITY);
    } else if degraded.is_empty() {
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
    out
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
    use serde_json::json;

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
