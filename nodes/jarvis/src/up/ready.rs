//! When a cluster counts as started: every node serves, every member is up and votes, every partition has an owner.

use std::time::Duration;

use jarvis_client::Api;
use reqwest::Method;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{Fleet, Spec};
use crate::commands::cluster::{list, text};
use crate::fail::Failure;

/// How often is asked: starting takes a second or two.
const ASK_INTERVAL: Duration = Duration::from_millis(20);
/// How long one answer may take.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);

/// Waits until a node serves.
///
/// # Errors
/// Where its process ends, or the time does.
pub(super) async fn until_ready(
    api: &Api,
    fleet: &Fleet,
    name: &str,
    deadline: Instant,
) -> Result<(), Failure> {
    let mut last = String::from("it does not answer");
    loop {
        match api.raw(Method::GET, "/readyz", None, ASK_TIMEOUT).await {
            Ok((status, _)) if status.is_success() => return Ok(()),
            Ok((_, body)) => last = format!("it is not ready: {}", body.trim()),
            Err(_) => {}
        }
        wait(fleet, name, deadline, &last).await?;
    }
}

/// Waits until all nodes serve and the first of them sees all of it whole.
///
/// # Errors
/// Where a process ends, or the time does.
pub(super) async fn until_whole(specs: &[Spec], fleet: &Fleet, deadline: Instant) -> Result<(), Failure> {
    for spec in specs {
        until_ready(&spec.api()?, fleet, &spec.name, deadline).await?;
    }
    for spec in specs {
        let api = spec.api()?;
        loop {
            let last = match api.get("/api/v1/cluster").await {
                Ok(cluster) => match missing(&cluster, specs.len()) {
                    None => break,
                    Some(missing) => missing,
                },
                Err(error) => error.to_string(),
            };
            wait(fleet, &spec.name, deadline, &last).await?;
        }
    }
    Ok(())
}

async fn wait(fleet: &Fleet, name: &str, deadline: Instant, last: &str) -> Result<(), Failure> {
    let log = fleet.folder().join(name).join("jarvis.log");
    if !fleet.is_alive(name) {
        let why = format!("{name} ended; the end of its log:\n{}", tail(&log));
        return Err(Failure::new("the cluster did not start", why).next(format!("see {}", log.display())));
    }
    if Instant::now() >= deadline {
        let why = format!("{name} was not ready in time: {last}");
        let mut next = format!("see {}", log.display());
        if last.contains("no majority") {
            next.push_str(&format!(
                "; only if the data of the nodes that voted is gone for good: jarvis recover --data {}",
                fleet.folder().join(name).display()
            ));
        }
        return Err(Failure::new("the cluster did not start", why).next(next));
    }
    sleep(ASK_INTERVAL).await;
    Ok(())
}

/// What is not as it should be; none: it is whole.
pub(crate) fn missing(cluster: &Value, count: usize) -> Option<String> {
    let nodes = list(cluster, "nodes");
    if nodes.len() < count {
        return Some(format!("{} of {count} nodes are members", nodes.len()));
    }
    if let Some(node) = nodes.iter().find(|node| node["state"] != "up") {
        return Some(format!("{} is {}", text(node, "name"), text(node, "state")));
    }
    if cluster["leader"].is_null() {
        return Some("there is no leader".to_owned());
    }
    let (able, voters) = (
        nodes.iter().filter(|n| n["role"] != "worker").count(),
        nodes.iter().filter(|n| n["voter"] == true).count(),
    );
    // An even number of voters is one too many.
    let wanted = if able % 2 == 0 {
        able.saturating_sub(1)
    } else {
        able
    }
    .clamp(1, 5);
    if voters < wanted {
        return Some(format!("{voters} of {wanted} nodes vote"));
    }
    let kinds = cluster.get("kinds").and_then(Value::as_object);
    if kinds.is_none_or(serde_json::Map::is_empty) {
        return Some("no kind of actor is registered".to_owned());
    }
    let orphans = kinds
        .into_iter()
        .flatten()
        .flat_map(|(_, kind)| list(kind, "partitions"))
        .filter(|p| p["owner"].is_null());
    match orphans.count() {
        0 => None,
        count => Some(format!("{count} partitions have no owner")),
    }
}

/// The last lines of a log.
fn tail(path: &std::path::Path) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(8)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_missing_is_named() {
        let node =
            |state: &str, voter: bool| json!({"name": "a", "state": state, "role": "voter", "voter": voter});
        let cluster = |nodes: Vec<Value>, owner: Value| json!({"leader": "a", "nodes": nodes, "kinds": {"session": {"partitions": [{"owner": owner}]}}});
        let whole = cluster(
            vec![node("up", true), node("up", true), node("up", true)],
            json!("a"),
        );
        assert_eq!(missing(&whole, 3), None);
        assert_eq!(missing(&whole, 4).as_deref(), Some("3 of 4 nodes are members"));
        let down = cluster(
            vec![node("up", true), node("down", true), node("up", true)],
            json!("a"),
        );
        assert_eq!(missing(&down, 3).as_deref(), Some("a is down"));
        let learner = cluster(
            vec![node("up", true), node("up", false), node("up", true)],
            json!("a"),
        );
        assert_eq!(missing(&learner, 3).as_deref(), Some("2 of 3 nodes vote"));
        let orphan = cluster(vec![node("up", true)], Value::Null);
        assert_eq!(missing(&orphan, 1).as_deref(), Some("1 partitions have no owner"));
    }
}
