//! The cluster as this node sees it: what `jarvis status` prints and the page draws.
//!
//! A page whose own node died asks another member's gateway, which is another origin: this path, and only this one,
//! lets the origins of members read it, by bearer token.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jarvis_machine::rows::{NodeIntent, NodeRole, NodeRow};
use jarvis_mesh::api::PeerState;
use jarvis_types::NodeId;
use serde_json::{Map, Value, json};

use super::extract::Caller;
use super::fitness;
use super::problem::Problem;
use super::voters;
use crate::auth::AuthError;
use crate::backend::ClusterView;
use crate::removal::{REJOIN_ADVICE, REMOVED};
use crate::shared::Shared;

/// `GET /api/v1/cluster`.
pub(crate) async fn cluster(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    _: Caller,
) -> Result<Response, Problem> {
    let view = shared.backend().cluster()?;
    let this = shared.backend().node();
    let disk = (shared.deps.disk_written_per_day_bytes)();
    let mut body = describe(
        &view,
        this,
        shared.deps.clock.now_ms(),
        &shared.settings.version,
        disk,
    );
    let faults = shared.deps.admin.active_faults();
    if let Some(found) = body.get_mut("degraded").and_then(Value::as_array_mut) {
        found.extend(faults.into_iter().map(|fault| {
            let advice = "it ends by itself; at once: DELETE /api/v1/drill/faults";
            json!({ "what": format!("a drill has put a fault into this node: {fault}"), "do": advice })
        }));
    }
    let mut response = Json(body).into_response();
    allow_members(&shared, &headers, &mut response);
    Ok(response)
}

/// `OPTIONS /api/v1/cluster`: a browser asks whether a member's page may read it.
pub(crate) async fn preflight(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut response = StatusCode::NO_CONTENT.into_response();
    if !allow_members(&shared, &headers, &mut response) {
        return Err(AuthError::Missing.into());
    }
    let allowed = HeaderValue::from_static("authorization");
    response
        .headers_mut()
        .insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    response
        .headers_mut()
        .insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    Ok(response)
}

fn allow_members(shared: &Shared, headers: &HeaderMap, response: &mut Response) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return false;
    };
    let known = origin
        .to_str()
        .is_ok_and(|origin| shared.members().has_origin(origin));
    if known {
        response
            .headers_mut()
            .insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        response
            .headers_mut()
            .insert(header::VARY, HeaderValue::from_static("Origin"));
    }
    known
}

/// The answer's body. Pure.
fn describe(view: &ClusterView, this: NodeId, now_ms: u64, version: &str, disk: Option<u64>) -> Value {
    let name = |node: NodeId| {
        let row = view.nodes.iter().find(|(id, _)| *id == node);
        row.map_or_else(|| format!("node-{node}"), |(_, row)| row.name.to_string())
    };
    let nodes = view.nodes.iter().map(|(id, row)| {
        let rtt_us = if *id == this { Some(0) } else { rtt_us(view, *id) };
        json!({
            "id": id,
            "name": row.name,
            "role": role_name(row.role),
            "state": state(view, this, *id, row),
            "voter": view.replica.voters.contains(id),
            "address": row.mesh_address,
            "http_url": row.http_url,
            "rtt_us": rtt_us,
            "version": row.version,
            "level": row.level,
            "capabilities": fitness::facts(view, *id).capabilities,
            "capacity": fitness::facts(view, *id).capacity,
            "disk_written_per_day_bytes": disk.filter(|_| *id == this),
        })
    });
    let leader = view.leader(this);
    let mut kinds = Map::new();
    for (kind, row, partitions) in &view.kinds {
        let needs = view.needs.get(kind).copied().unwrap_or_default();
        let partitions = partitions.iter().enumerate().map(|(index, placed)| {
            let owner = placed.owner.map(name);
            json!({ "index": index, "owner": owner, "owner_id": placed.owner, "epoch": placed.epoch })
        });
        kinds.insert(
            row.name.clone(),
            json!({ "partitions": partitions.collect::<Vec<_>>(), "needs": needs }),
        );
    }
    json!({
        "cluster_id": view.cluster,
        "as_of_ms": now_ms,
        "from_node": name(this),
        "from_node_id": this,
        "version": version,
        "level": view.level,
        "level_held_back_by": fitness::held_back_by(view),
        "leader": leader.map(name),
        "leader_id": leader,
        "term": view.replica.term,
        "commit_index": view.replica.committed,
        "applied_index": view.replica.applied,
        "removed_by": view.removed_by.map(name),
        "nodes": nodes.collect::<Vec<_>>(),
        "kinds": kinds,
        "degraded": degraded(view, this),
    })
}

/// What a node does, in the words of the command line.
pub(crate) fn role_name(role: NodeRole) -> &'static str {
    match role {
        NodeRole::Voter => "voter",
        NodeRole::Worker => "worker",
        NodeRole::Witness => "witness",
    }
}

fn rtt_us(view: &ClusterView, node: NodeId) -> Option<u64> {
    let peer = view
        .peers
        .iter()
        .find(|peer| peer.member.node == node && peer.state == PeerState::Up)?;
    peer.rtt.map(|rtt| rtt.as_micros() as u64)
}

/// A node is up only where both the leader and this node's own connection say so: what either misses, people should see.
fn state(view: &ClusterView, this: NodeId, node: NodeId, row: &NodeRow) -> &'static str {
    let connected = node == this
        || view
            .peers
            .iter()
            .any(|peer| peer.member.node == node && peer.state == PeerState::Up);
    let heard = node == this || row.healthy;
    match row.intent {
        NodeIntent::Joining => "joining",
        _ if !connected || !heard => "down",
        NodeIntent::Active => "up",
        NodeIntent::Draining => "draining",
        NodeIntent::Drained => "drained",
    }
}

/// What is not as it should be, and what to do about it.
fn degraded(view: &ClusterView, this: NodeId) -> Vec<Value> {
    let mut found = Vec::new();
    let mut add = |what: String, advice: String| found.push(json!({ "what": what, "do": advice }));
    let down = |id: NodeId| {
        view.nodes
            .iter()
            .any(|(n, row)| *n == id && state(view, this, id, row) == "down")
    };
    if let Some(by) = view.removed_by {
        // Nothing else that could be said helps: it would be advice for a member.
        let by = view.nodes.iter().find(|(id, _)| *id == by);
        let by = by.map_or("a member", |(_, row)| row.name.as_str());
        add(format!("{REMOVED} (told by {by})"), REJOIN_ADVICE.to_owned());
        return found;
    }
    if view.leader(this).is_none() {
        add(voters::NO_LEADER.to_owned(), voters::NO_LEADER_ADVICE.to_owned());
    }
    if !view.replica.caught_up {
        add(
            "this node has not caught up with the cluster yet".to_owned(),
            "wait; it serves once it has".to_owned(),
        );
    }
    let somebody_serves = view
        .nodes
        .iter()
        .any(|(id, row)| row.role != NodeRole::Witness && state(view, this, *id, row) == "up");
    for (id, row) in &view.nodes {
        let name = &row.name;
        match state(view, this, *id, row) {
            "down" => add(
                format!("node {name} does not answer"),
                // Nobody can be removed where nothing can be decided.
                match view.leader(this) {
                    Some(_) => {
                        format!(
                            "start it (`jarvis run`), or `jarvis remove {name} --force` if it is gone for good"
                        )
                    }
                    None => "start it (`jarvis run`)".to_owned(),
                },
            ),
            "drained" => add(
                format!("node {name} is drained"),
                format!("`jarvis undrain {name}` when it may work again"),
            ),
            "draining" if !somebody_serves => add(
                format!("node {name} cannot be drained: no other node may take its work"),
                "`jarvis undrain` one of the nodes, or add another".to_owned(),
            ),
            _ => {}
        }
    }
    let (voters, up) = (
        &view.replica.voters,
        view.replica.voters.iter().filter(|id| !down(**id)).count(),
    );
    if view.nodes.len() == 1 {
        let advice = "`jarvis invite` here, then `jarvis join` on two more machines".to_owned();
        add(
            "there is one node: if it fails, everything stops".to_owned(),
            advice,
        );
    } else if up < voters.len() && up == voters.len() / 2 + 1 {
        let what = format!(
            "{up} of {} voters answer: one more failure stops all writes",
            voters.len()
        );
        add(
            what,
            "bring the missing voters back, or remove them and join others".to_owned(),
        );
    }
    voters::degraded(view, &mut add);
    let fit = |id: NodeId, row: &NodeRow| state(view, this, id, row) == "up";
    fitness::degraded(view, &fit, &mut add);
    for (kind, row, partitions) in &view.kinds {
        if fitness::nobody_has(view, *kind, &fit) {
            // That has been said.
            continue;
        }
        let orphans = partitions.iter().filter(|p| p.owner.is_none_or(down)).count();
        if orphans > 0 {
            let what = format!("{orphans} partitions of {} have no running owner", row.name);
            add(
                what,
                "they are placed again by themselves while a majority is reachable".to_owned(),
            );
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::tests::row;
    use crate::tests::fake::peer;
    use jarvis_machine::rows::{KindRow, NodeFacts, PlacementRow};
    use jarvis_replica::api::ReplicaState;
    use jarvis_types::{Epoch, KindId};

    fn view() -> ClusterView {
        let mut c = row("c", "http://10.0.0.3:8007");
        c.healthy = false;
        let placed = |owner| PlacementRow {
            owner: Some(NodeId(owner)),
            epoch: Epoch(2),
        };
        ClusterView {
            cluster: None,
            nodes: vec![
                (NodeId(1), row("a", "http://10.0.0.1:8007")),
                (NodeId(2), row("b", "http://10.0.0.2:8007")),
                (NodeId(3), c),
            ],
            kinds: vec![(
                KindId::SESSION,
                KindRow {
                    name: "session".to_owned(),
                    partitions: 2,
                },
                vec![placed(1), placed(3)],
            )],
            replica: ReplicaState {
                leader: Some(NodeId(2)),
                term: 4,
                committed: 17,
                applied: 16,
                voters: vec![NodeId(1), NodeId(2), NodeId(3)],
                caught_up: true,
                ..ReplicaState::default()
            },
            peers: Arc::new(vec![peer(2, "b", true), peer(3, "c", true)]),
            removed_by: None,
            notes: Vec::new(),
            level: 1,
            facts: Default::default(),
            needs: Default::default(),
        }
    }

    #[test]
    fn the_answer_has_the_fields_of_the_interface() {
        let body = describe(&view(), NodeId(1), 5, "0.1.0", Some(9));
        let text = |path: &str| {
            body.pointer(path)
                .cloned()
                .unwrap_or_else(|| panic!("{path} is missing"))
        };
        assert_eq!(text("/from_node"), "a");
        assert_eq!((text("/leader"), text("/leader_id")), (json!("b"), json!(2)));
        assert_eq!(
            (text("/term"), text("/commit_index"), text("/as_of_ms")),
            (json!(4), json!(17), json!(5))
        );
        assert_eq!(text("/nodes/0/disk_written_per_day_bytes"), 9);
        assert_eq!(text("/nodes/1/disk_written_per_day_bytes"), Value::Null);
        assert_eq!(
            (
                text("/nodes/0/state"),
                text("/nodes/1/state"),
                text("/nodes/2/state")
            ),
            (json!("up"), json!("up"), json!("down"))
        );
        assert_eq!(
            (text("/nodes/1/rtt_us"), text("/nodes/1/voter")),
            (json!(150), json!(true))
        );
        assert_eq!(
            (text("/nodes/1/role"), text("/nodes/1/address")),
            (json!("voter"), json!("10.0.0.2:8007"))
        );
        assert_eq!(
            text("/kinds/session/partitions/1"),
            json!({ "index": 1, "owner": "c", "owner_id": 3, "epoch": 2 })
        );
        for key in ["cluster_id", "version"] {
            assert!(body.get(key).is_some(), "{key}");
        }
    }

    #[test]
    fn a_leader_that_is_cut_off_is_none() {
        let leader = |leader, leads, connected| {
            let mut view = view();
            view.replica.leader = Some(NodeId(leader));
            view.replica.leads = leads;
            view.peers = Arc::new(vec![peer(2, "b", connected)]);
            describe(&view, NodeId(1), 5, "0.1.0", None)["leader"].clone()
        };
        assert_eq!(
            (leader(1, true, false), leader(1, false, true)),
            (json!("a"), Value::Null)
        );
        assert_eq!(
            (leader(2, false, true), leader(2, false, false)),
            (json!("b"), Value::Null)
        );
    }

    #[test]
    fn nobody_is_told_to_remove_what_cannot_be_removed_nor_to_wait_for_a_drain_that_cannot_end() {
        let said = |view: &ClusterView| Value::from(degraded(view, NodeId(1))).to_string();
        let mut view = view();
        assert!(said(&view).contains("jarvis remove c --force"));
        view.replica.leader = None;
        assert!(said(&view).contains("node c does not answer") && !said(&view).contains("remove c"));
        view.nodes[0].1.intent = NodeIntent::Draining;
        assert!(!said(&view).contains("cannot be drained"), "b takes its work");
        view.nodes[1].1.intent = NodeIntent::Drained;
        assert!(
            said(&view).contains("node a cannot be drained"),
            "{}",
            said(&view)
        );
    }

    #[test]
    fn what_is_degraded_says_what_to_do() {
        let found = degraded(&view(), NodeId(1));
        let what: Vec<_> = found
            .iter()
            .map(|d| d["what"].as_str().unwrap_or_default())
            .collect();
        assert_eq!(
            what,
            [
                "node c does not answer",
                "2 of 3 voters answer: one more failure stops all writes",
                "1 partitions of session have no running owner"
            ]
        );
        assert!(
            found
                .iter()
                .all(|d| d["do"].as_str().is_some_and(|text| !text.is_empty()))
        );
        let mut alone = view();
        alone.replica.leader = None;
        alone.replica.caught_up = false;
        assert_eq!(degraded(&alone, NodeId(1)).len(), 5);
    }

    #[test]
    fn who_holds_the_level_back_is_named() {
        let mut view = view();
        for (_, row) in &mut view.nodes {
            row.level = 2;
        }
        assert_eq!(
            describe(&view, NodeId(1), 5, "0.1.0", None)["level_held_back_by"],
            json!([]),
            "it is about to rise"
        );
        view.nodes[1].1.level = 1;
        let body = describe(&view, NodeId(1), 5, "0.1.0", None);
        assert_eq!(
            (&body["level"], &body["nodes"][1]["level"]),
            (&json!(1), &json!(1))
        );
        assert_eq!(body["level_held_back_by"], json!(["b"]));
        let said = body["degraded"].as_array().expect("a list").iter();
        let said: Vec<_> = said
            .filter(|d| d["what"] == "the cluster stays at level 1: b runs an earlier jarvis")
            .collect();
        assert_eq!(said.len(), 1);
        assert!(
            said[0]["do"]
                .as_str()
                .is_some_and(|advice| advice.contains("on b"))
        );
    }

    #[test]
    fn what_waits_for_a_device_is_said_with_what_to_do() {
        let mut view = view();
        view.needs.insert(KindId::SESSION, &["microphone"]);
        let waits = |view: &ClusterView| {
            let found = degraded(view, NodeId(1));
            let found = found
                .iter()
                .find(|d| d["what"] == "2 partitions of session wait for a node that has microphone");
            found.and_then(|d| d["do"].as_str().map(str::to_owned))
        };
        let advice = waits(&view).expect("nobody has one");
        assert!(advice.starts_with("add it to `[node] capabilities`"), "{advice}");
        let has = |names: &[&str]| NodeFacts {
            capabilities: names.iter().map(|&name| name.to_owned()).collect(),
            capacity: 250,
        };
        view.facts.insert(NodeId(3), has(&["microphone"]));
        let advice = waits(&view).expect("who has it is down");
        assert!(advice.starts_with("bring c back"), "{advice}");
        view.facts.insert(NodeId(2), has(&["gpu", "microphone"]));
        assert_eq!(waits(&view), None);
        let body = describe(&view, NodeId(1), 5, "0.1.0", None);
        assert_eq!(
            (&body["nodes"][1]["capabilities"], &body["nodes"][1]["capacity"]),
            (&json!(["gpu", "microphone"]), &json!(250))
        );
        assert_eq!(body["kinds"]["session"]["needs"], json!(["microphone"]));
    }
}
