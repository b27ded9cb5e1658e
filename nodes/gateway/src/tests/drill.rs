//! What drills do over HTTP.

use serde_json::json;

use super::{ADA, LOCAL_ADMIN, ROOT, rig};

const PATH: &str = "/api/v1/drill/faults";

#[tokio::test]
async fn only_administrators_put_faults_in() {
    let rig = rig().await;
    let order = json!({ "kind": "full_disk", "lasts_ms": 5, "node": "b" });
    for method in ["GET", "POST", "DELETE"] {
        rig.call(method, PATH, ADA, Some(order.clone()))
            .await
            .is_problem(403, "forbidden");
    }
    for admin in [ROOT, LOCAL_ADMIN] {
        let set = rig.call("POST", PATH, admin, Some(order.clone())).await;
        assert_eq!((set.status, &set.json()["order"]), (201, &order));
    }
    rig.call("POST", PATH, ROOT, Some(json!({ "lasts_ms": 5 })))
        .await
        .is_problem(400, "bad_request");
    let cleared = rig
        .call("DELETE", &format!("{PATH}?node=b&id=7"), ROOT, None)
        .await;
    assert_eq!(cleared.json(), json!({ "cleared": 1, "node": "b", "id": 7 }));
    rig.call("DELETE", &format!("{PATH}?id=x"), ROOT, None)
        .await
        .is_problem(400, "bad_request");
    let listed = rig.call("GET", PATH, ROOT, None).await;
    assert_eq!(listed.json(), json!({ "faults": [], "node": null }));
}

#[tokio::test]
async fn a_fault_shows_in_the_status() {
    let rig = rig().await;
    let view = rig.call("GET", "/api/v1/cluster", ADA, None).await.json();
    let degraded = view["degraded"].as_array().expect("a list");
    assert!(
        degraded.iter().any(|found| {
            let text = found["what"].as_str().unwrap_or_default();
            text.contains("a drill") && text.contains("the log's disk is full")
        }),
        "{view}"
    );
}

#[tokio::test]
async fn only_administrators_have_beacons_flash() {
    let rig = rig().await;
    let path = "/api/v1/drill/beacon/k1";
    let order = json!({ "recorder": "127.0.0.1:9", "n": 7 });
    rig.call("POST", path, ADA, Some(order.clone()))
        .await
        .is_problem(403, "forbidden");
    let acted = rig.call("POST", path, ROOT, Some(order)).await;
    assert_eq!(
        (acted.status, acted.json()),
        (200, json!({ "key": "k1", "n": 7 }))
    );
    rig.call("POST", path, ROOT, Some(json!({ "n": 7 })))
        .await
        .is_problem(400, "bad_request");
}
