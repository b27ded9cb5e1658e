//! Automations, the home and webhooks over HTTP, with a home in memory behind them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use async_trait::async_trait;
use jarvis_automation::AutomationError;
use jarvis_automation::api::{LoadReport, Shown, Summary, check};
use jarvis_automation::wire::{BridgeStatus, Reminder, StateOf, Told};
use jarvis_devices::service::Target;
use jarvis_mqtt::{DeadLetter, Message as MqttMessage};
use jarvis_rules::model::Automation;
use jarvis_rules::run::{Run, RunId};
use jarvis_types::{NodeId, RequestId};
use serde_json::Map;

use super::*;
use crate::{AutomationBackend, PassedOver};

const FILE: &str = "
- id: night
  alias: Night lights
  triggers: [{trigger: webhook, webhook_id: s3cret}]
  actions: [{delay: 1}]
";

/// A home in memory, which writes down what it is asked for.
pub(crate) struct FakeHome {
    night: Automation,
    /// What was asked for, in words.
    asked: Mutex<Vec<String>>,
    told: Mutex<Vec<Told>>,
    /// No majority answers.
    unavailable: AtomicBool,
    /// How often traces are read before the run has settled.
    settles_after: AtomicUsize,
    /// Webhooks that are found at the second look.
    late: Mutex<Vec<String>>,
}

impl FakeHome {
    pub(crate) fn new() -> Arc<Self> {
        let mut loaded = check(&[("home.yaml".to_owned(), FILE.to_owned())]);
        assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
        Arc::new(Self {
            night: loaded.automations.remove(0),
            asked: Mutex::default(),
            told: Mutex::default(),
            unavailable: AtomicBool::new(false),
            settles_after: AtomicUsize::new(0),
            late: Mutex::default(),
        })
    }

    fn note(&self, what: String) -> Result<(), AutomationError> {
        if self.unavailable.load(Ordering::SeqCst) {
            return Err(AutomationError::Unavailable {
                what: "no majority".to_owned(),
                retry_after_ms: fake::RETRY_MS,
            });
        }
        self.asked.lock().expect("not poisoned").push(what);
        Ok(())
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().expect("not poisoned"))
    }

    fn take_told(&self) -> Vec<Told> {
        std::mem::take(&mut *self.told.lock().expect("not poisoned"))
    }

    fn known(&self, id: &str) -> Result<Summary, AutomationError> {
        if id != self.night.id {
            return Err(AutomationError::NotFound(format!(
                "there is no automation {id:?}"
            )));
        }
        Ok(Summary {
            id: self.night.id.clone(),
            alias: self.night.alias.clone(),
            enabled: true,
            mode: self.night.mode,
            file: self.night.file.clone(),
            line: 2,
            running: 1,
            last_triggered_ms: Some(5),
            owner: Some(NodeId(2)),
        })
    }

    fn run(&self, settled: bool) -> Run {
        let (state, wait) = if settled {
            (
                json!({ "ended": { "failed": { "error": "no broker" } } }),
                Value::Null,
            )
        } else {
            let wait = json!({ "id": 1, "since_ms": 7, "until_ms": 1_007, "kind": "delay" });
            (json!("active"), wait)
        };
        let thread = json!({ "place": 0, "frames": [], "wait": wait, "parent": null, "waited": null });
        let program = jarvis_rules::program::Program::compile(self.night.clone());
        serde_json::from_value(json!({
            "format": 1, "id": "RUN1", "automation": "night", "revision": program.revision(),
            "context": { "id": "RUN1", "parent": null }, "started_ms": 5, "state": state,
            "variables": { "trigger": { "webhook_id": "s3cret" } }, "threads": { "0": thread }, "intents": {},
            "next_intent": 0, "next_thread": 1, "next_wait": 2, "steps": 2, "steps_since_wait": 0,
            "trace": { "dropped": 3, "steps": [
                { "path": "trigger", "at_ms": 5, "node": "a", "what": { "triggered": { "trigger": "0", "late_ms": null } } },
                { "path": "action/0", "at_ms": 7, "node": "b", "what": { "waits": { "until_ms": 1_007 } } },
                { "path": "action/0", "at_ms": 9, "node": "b", "what": "done" },
            ] },
        }))
        .expect("a run")
    }
}

#[async_trait]
impl AutomationBackend for FakeHome {
    fn list(&self) -> Result<Vec<Summary>, AutomationError> {
        Ok(vec![self.known("night")?])
    }
    fn show(&self, id: &str) -> Result<Shown, AutomationError> {
        Ok(Shown {
            summary: self.known(id)?,
            loaded_ms: 3,
            definition: self.night.clone(),
            runs: vec![self.run(false)],
        })
    }
    fn traces(&self, id: &str) -> Result<Vec<Run>, AutomationError> {
        self.known(id)?;
        let left = self.settles_after.load(Ordering::SeqCst);
        self.settles_after.store(left.saturating_sub(1), Ordering::SeqCst);
        Ok(vec![self.run(left == 0)])
    }
    async fn load(
        &self,
        files: &[(String, String)],
        _: Option<RequestId>,
        _: Duration,
    ) -> Result<LoadReport, AutomationError> {
        let loaded = check(files);
        self.note(format!("load {}", loaded.automations.len()))?;
        Ok(LoadReport {
            added: loaded.automations.into_iter().map(|one| one.id).collect(),
            problems: loaded.problems,
            warnings: vec![("night".to_owned(), "it listens to nothing".to_owned())],
            ..LoadReport::default()
        })
    }
    async fn remove(&self, id: &str, _: Option<RequestId>, _: Duration) -> Result<(), AutomationError> {
        self.known(id)?;
        self.note(format!("remove {id}"))
    }
    async fn enable(
        &self,
        id: &str,
        on: bool,
        _: Option<RequestId>,
        _: Duration,
    ) -> Result<(), AutomationError> {
        self.known(id)?;
        self.note(format!("enable {id} {on}"))
    }
    async fn trigger(
        &self,
        id: &str,
        run: Option<RunId>,
        variables: Map<String, Value>,
        skip_conditions: bool,
        _: Option<RequestId>,
        _: Duration,
    ) -> Result<RunId, AutomationError> {
        self.known(id)?;
        let variables = Value::Object(variables);
        self.note(format!("trigger {id} {variables} {skip_conditions}"))?;
        Ok(run.unwrap_or(RunId("RUN1".to_owned())))
    }
    fn states(&self) -> Result<Vec<StateOf>, AutomationError> {
        Ok(self.state("light.hall")?.into_iter().collect())
    }
    fn state(&self, entity_id: &str) -> Result<Option<StateOf>, AutomationError> {
        let state = json!({
            "entity_id": "light.hall", "state": "on", "attributes": { "brightness": 9 },
            "last_changed_ms": START_MS, "last_updated_ms": START_MS + 1,
        });
        Ok((entity_id == "light.hall").then(|| serde_json::from_value(state).expect("a state")))
    }
    async fn call(
        &self,
        id: String,
        service: &str,
        target: Target,
        data: Map<String, Value>,
        _: Option<RequestId>,
        _: Duration,
    ) -> Result<PassedOver, AutomationError> {
        if service == "light.fly" {
            return Err(AutomationError::Invalid(
                "there is no service \"light.fly\"".to_owned(),
            ));
        }
        let (target, data) = (target.entity_id.join("+"), Value::Object(data));
        self.note(format!("{id}: {service} [{target}] {data}"))?;
        Ok(vec![(
            "light.attic".to_owned(),
            "it cannot be reached".to_owned(),
        )])
    }
    async fn tell(&self, told: Told, _: Option<RequestId>, _: Duration) -> Result<(), AutomationError> {
        self.note("tell".to_owned())?;
        self.told.lock().expect("not poisoned").push(told);
        Ok(())
    }
    fn knows_webhook(&self, id: &str) -> Result<bool, AutomationError> {
        let mut late = self.late.lock().expect("not poisoned");
        let known = id == "s3cret" || late.iter().any(|one| one == id);
        if let Some(id) = id.strip_prefix("late ") {
            late.push(format!("late {id}"));
        }
        Ok(known)
    }
    async fn bridge(&self, _: Duration) -> Result<BridgeStatus, AutomationError> {
        self.note("status".to_owned())?;
        Ok(BridgeStatus {
            node: "b".to_owned(),
            state: "connected".to_owned(),
            ..BridgeStatus::default()
        })
    }
    fn dead_letters(&self) -> Result<Vec<DeadLetter>, AutomationError> {
        Ok(vec![DeadLetter {
            id: 7,
            message: MqttMessage {
                id: None,
                replay_of: None,
                topic: "t/1".to_owned(),
                payload: vec![0xff; 5_000].into(),
                retained: false,
                copy: false,
                received_ms: 1,
            },
            why: "it is no JSON".to_owned(),
            attempts: 3,
            buried_ms: 2,
        }])
    }
    async fn replay(&self, letter: &str, _: Duration) -> Result<(), AutomationError> {
        self.note(format!("replay {letter}"))
    }
    async fn forget(&self, letter: &str, _: Duration) -> Result<(), AutomationError> {
        self.note(format!("forget {letter}"))
    }
    fn reminders(&self) -> Result<Vec<Reminder>, AutomationError> {
        let reminder = |id: &str, session: u128, due_ms| Reminder {
            id: id.to_owned(),
            session: jarvis_types::SessionId(session).to_string(),
            text: "tea".to_owned(),
            due_ms,
            asked_ms: 1,
        };
        // The first session that the fake backend makes has this id.
        Ok(vec![reminder("later", 100, 9), reminder("other's", 999, 5)])
    }
    async fn cancel_reminder(
        &self,
        id: &str,
        _: Option<RequestId>,
        _: Duration,
    ) -> Result<(), AutomationError> {
        self.note(format!("cancel {id}"))
    }
}

#[tokio::test]
async fn everybody_sees_automations_and_only_administrators_what_they_hold() {
    let rig = rig().await;
    let listed = rig.call("GET", "/api/v1/automations", ADA, None).await;
    assert_eq!(
        listed.json(),
        json!({ "automations": [{
            "id": "night", "alias": "Night lights", "enabled": true, "mode": "single", "file": "home.yaml", "line": 2,
            "running": 1, "last_triggered_ms": 5, "owner": "b",
        }] })
    );
    for path in ["/api/v1/automations/night", "/api/v1/automations/night/traces"] {
        let plain = rig.call("GET", path, ADA, None).await;
        assert_eq!(plain.status, 200);
        assert!(!plain.body.contains("s3cret"), "{plain:?}");
        let whole = rig.call("GET", path, ROOT, None).await;
        assert!(whole.body.contains("s3cret"), "{whole:?}");
    }
    let shown = rig
        .call("GET", "/api/v1/automations/night", ROOT, None)
        .await
        .json();
    let run = &shown["runs"][0];
    assert_eq!(
        (&run["state"], &run["settled"], &run["waits"]),
        (
            &json!("active"),
            &json!(false),
            &json!([{ "what": "delay", "since_ms": 7, "until_ms": 1_007 }])
        ),
        "{shown}"
    );
    let traces = rig
        .call("GET", "/api/v1/automations/night/traces", ROOT, None)
        .await
        .json();
    let run = &traces["traces"][0];
    assert_eq!(
        (&run["state"], &run["ended"], &run["why"], &run["ended_ms"]),
        (&json!("ended"), &json!("failed"), &json!("no broker"), &json!(9)),
        "{traces}"
    );
    assert_eq!(
        (&run["steps"][1], &run["steps_dropped"]),
        (
            &json!({ "path": "action/0", "at_ms": 7, "node": "b", "what": "waits", "until_ms": 1_007 }),
            &json!(3)
        ),
        "{traces}"
    );
    assert_eq!(run["steps"][2]["what"], "done");
    for path in ["/api/v1/automations/no", "/api/v1/automations/no/traces"] {
        rig.call("GET", path, ROOT, None)
            .await
            .is_problem(404, "not_found");
    }
}

#[tokio::test]
async fn files_are_loaded_or_checked_and_what_is_wrong_is_told() {
    let rig = rig().await;
    let path = "/api/v1/automations";
    let file = |name: &str, text: &str| json!({ "name": name, "text": text });
    let wrong = "- alias: Wrong\n  triggers: [{trigger: nonsense}]\n  actions: []\n";
    let good = rig
        .call(
            "POST",
            path,
            ROOT,
            Some(json!({ "files": [file("a.yaml", FILE), file("b.yaml", wrong)] })),
        )
        .await;
    assert_eq!(good.status, 200, "{good:?}");
    let report = good.json();
    let problem = &report["problems"][0];
    assert_eq!(
        (&report["added"], &problem["file"], &problem["line"]),
        (&json!(["night"]), &json!("b.yaml"), &json!(2)),
        "{report}"
    );
    for field in ["what", "instead", "path", "column"] {
        assert!(!problem[field].is_null(), "{field}: {report}");
    }
    assert_eq!(
        report["warnings"],
        json!([{ "automation": "night", "what": "it listens to nothing" }])
    );
    let nothing = rig
        .call(
            "POST",
            path,
            ROOT,
            Some(json!({ "files": [file("b.yaml", wrong)] })),
        )
        .await;
    nothing.is_problem(422, "nothing_loaded");
    assert_eq!(nothing.json()["problems"][0]["file"], "b.yaml");
    rig.home.take();
    let checked = rig
        .call(
            "POST",
            &format!("{path}?check=true"),
            ROOT,
            Some(json!({ "files": [file("a.yaml", FILE), file("b.yaml", wrong)] })),
        )
        .await;
    let checked = checked.json();
    assert_eq!(
        (&checked["automations"][0]["id"], &checked["problems"][0]["file"]),
        (&json!("night"), &json!("b.yaml"))
    );
    assert_eq!(rig.home.take(), [""; 0], "a check changes nothing");
    let many: Vec<_> = (0..1_001).map(|n| file(&n.to_string(), "")).collect();
    for (body, status, code) in [
        (json!({}), 400, "bad_request"),
        (json!({ "files": [] }), 400, "bad_request"),
        (json!({ "files": [file("", FILE)] }), 400, "bad_request"),
        (json!({ "files": [file("a\nb", FILE)] }), 400, "bad_request"),
        (
            json!({ "files": [file("a", ""), file("a", "")] }),
            400,
            "bad_request",
        ),
        (json!({ "files": many }), 413, "too_long"),
        (
            json!({ "files": [file("a", &"#".repeat(4_194_305))] }),
            413,
            "too_long",
        ),
        (
            json!({ "files": [file("a", &"#".repeat(8_500_000))] }),
            413,
            "too_long",
        ),
    ] {
        rig.call("POST", path, ROOT, Some(body))
            .await
            .is_problem(status, code);
    }
    let large = json!({ "files": [file("a", &"#".repeat(4_194_000))] });
    assert_eq!(rig.call("POST", path, ROOT, Some(large)).await.status, 200);
}

#[tokio::test]
async fn administrators_switch_run_and_remove_automations() {
    let rig = rig().await;
    let path = |rest: &str| format!("/api/v1/automations/night{rest}");
    for (method, rest, status) in [
        ("POST", "/enable", 200),
        ("POST", "/disable", 200),
        ("POST", "/trigger", 200),
        ("DELETE", "", 204),
    ] {
        let body = (method == "POST").then(|| json!({}));
        rig.call(method, &path(rest), ADA, body.clone())
            .await
            .is_problem(403, "forbidden");
        let done = rig.call(method, &path(rest), ROOT, body.clone()).await;
        assert_eq!(done.status, status, "{done:?}");
        rig.call(method, &format!("/api/v1/automations/no{rest}"), ROOT, body)
            .await
            .is_problem(404, "not_found");
    }
    assert_eq!(
        rig.home.take(),
        [
            "enable night true",
            "enable night false",
            "trigger night {} false",
            "remove night"
        ]
    );
    rig.home.settles_after.store(2, Ordering::SeqCst);
    let order = json!({ "variables": { "x": 1 }, "skip_conditions": true });
    let waited = rig
        .call("POST", &path("/trigger?wait=true"), ROOT, Some(order))
        .await
        .json();
    assert_eq!(
        (&waited["run"], &waited["settled"], &waited["trace"]["ended"]),
        (&json!("RUN1"), &json!(true), &json!("failed")),
        "{waited}"
    );
    assert_eq!(rig.home.take(), ["trigger night {\"x\":1} true"]);
    rig.home.settles_after.store(usize::MAX, Ordering::SeqCst);
    let unsettled = rig
        .call("POST", &path("/trigger?wait=true&timeout_s=0"), ROOT, None)
        .await
        .json();
    assert_eq!(
        (&unsettled["settled"], &unsettled["trace"]["state"]),
        (&json!(false), &json!("active")),
        "{unsettled}"
    );
    let own = "01J9ZQ5M3V8N2X4C6B7D8F9G0H";
    let named = rig
        .call("POST", &path("/trigger"), ROOT, Some(json!({ "run": own })))
        .await;
    assert_eq!(named.json(), json!({ "run": own }));
    rig.call("POST", &path("/trigger"), ROOT, Some(json!({ "run": "x" })))
        .await
        .is_problem(400, "bad_request");
    rig.call("POST", &path("/trigger?wait=maybe"), ROOT, None)
        .await
        .is_problem(400, "bad_request");
    rig.home.unavailable.store(true, Ordering::SeqCst);
    let refused = rig.call("POST", &path("/trigger"), ROOT, None).await;
    refused.is_problem(503, "unavailable");
    assert_eq!(refused.json()["retry_after_ms"], fake::RETRY_MS);
}

#[tokio::test]
async fn states_services_and_events_are_as_home_assistants() {
    let rig = rig().await;
    let hall = json!({
        "entity_id": "light.hall", "state": "on", "attributes": { "brightness": 9 },
        "last_changed": "2023-11-14T22:13:20Z", "last_updated": "2023-11-14T22:13:20.001Z",
    });
    let all = rig.call("GET", "/api/v1/states", ADA, None).await.json();
    assert_eq!(all, json!([hall]));
    let one = rig.call("GET", "/api/v1/states/light.hall", ADA, None).await;
    assert_eq!(one.json(), hall);
    rig.call("GET", "/api/v1/states/light.none", ADA, None)
        .await
        .is_problem(404, "not_found");
    let path = "/api/v1/services/light/turn_on";
    rig.call("POST", path, ADA, Some(json!({})))
        .await
        .is_problem(403, "forbidden");
    let called = rig
        .call(
            "POST",
            path,
            ROOT,
            Some(json!({ "id": "c1", "brightness": 3, "target": { "entity_id": ["light.hall"] } })),
        )
        .await;
    assert_eq!(
        called.json(),
        json!({
            "id": "c1", "service": "light.turn_on",
            "passed_over": [{ "entity_id": "light.attic", "why": "it cannot be reached" }],
        })
    );
    let bearer = format!("Bearer {ROOT}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("idempotency-key", "k 1"),
        ("x-request-id", "r-1"),
    ];
    rig.request("POST", path, &headers, r#"{"entity_id":"all"}"#)
        .await;
    rig.request("POST", path, &headers[..2], "").await;
    let asked = rig.home.take();
    assert_eq!(
        asked[..2],
        [
            "c1: light.turn_on [light.hall] {\"brightness\":3}",
            "k 1: light.turn_on [] {\"entity_id\":\"all\"}"
        ]
    );
    assert!(
        asked[2].len() > 26,
        "a call without a name gets the request's: {asked:?}"
    );
    for (path, body) in [
        ("/api/v1/services/light/fly", json!({})),
        (path, json!({ "target": "light.hall" })),
        (path, json!({ "target": { "entity_id": 3 } })),
        (path, json!({ "id": 3 })),
        (path, json!([])),
        ("/api/v1/events/x%0ay", json!({})),
        ("/api/v1/events/x", json!(3)),
        ("/api/v1/drills/ended", json!({ "name": "" , "passed": true })),
        ("/api/v1/drills/ended", json!({ "name": "kill-owner" })),
    ] {
        rig.call("POST", path, ROOT, Some(body))
            .await
            .is_problem(400, "bad_request");
    }
    let fired = rig
        .call("POST", "/api/v1/events/door_bell", ROOT, Some(json!({ "n": 1 })))
        .await;
    assert_eq!(fired.json(), json!({ "message": "Event door_bell fired." }));
    let ended = json!({ "name": "kill-owner", "passed": true });
    let ended = rig.call("POST", "/api/v1/drills/ended", ROOT, Some(ended)).await;
    assert_eq!(ended.status, 204);
    assert_eq!(
        rig.home.take_told(),
        [
            Told::Event {
                event_type: "door_bell".to_owned(),
                data: json!({ "n": 1 }).as_object().cloned().expect("an object"),
            },
            Told::Drill {
                name: "kill-owner".to_owned(),
                passed: true
            }
        ]
    );
}

#[tokio::test]
async fn the_bridge_its_dead_letters_and_reminders() {
    let rig = rig().await;
    let status = rig.call("GET", "/api/v1/bridge", ADA, None).await.json();
    assert_eq!(
        (&status["node"], &status["state"]),
        (&json!("b"), &json!("connected"))
    );
    let path = "/api/v1/bridge/dead-letters";
    rig.call("GET", path, ADA, None)
        .await
        .is_problem(403, "forbidden");
    let letters = rig.call("GET", path, ROOT, None).await.json();
    let letter = &letters["dead_letters"][0];
    let id = letter["id"].as_str().expect("an id").to_owned();
    assert_eq!(
        (&letter["payload_bytes"], &letter["why"], &letter["topic"]),
        (&json!(5_000), &json!("it is no JSON"), &json!("t/1"))
    );
    assert!(
        letter["payload"]
            .as_str()
            .is_some_and(|shown| shown.chars().count() == 2_048)
    );
    rig.home.take();
    let replayed = rig.call("POST", &format!("{path}/{id}/replay"), ROOT, None).await;
    assert_eq!(replayed.status, 204, "{replayed:?}");
    let forgotten = rig
        .call("DELETE", &format!("{path}/{}", id.to_lowercase()), ROOT, None)
        .await;
    assert_eq!(forgotten.status, 204, "{forgotten:?}");
    assert_eq!(rig.home.take(), [format!("replay {id}"), format!("forget {id}")]);
    rig.call("DELETE", &format!("{path}/nonsense"), ROOT, None)
        .await
        .is_problem(404, "not_found");

    rig.chat(ADA).await;
    let ids = |answer: Answer| -> Vec<Value> {
        let listed = answer.json();
        let all = listed["reminders"].as_array().expect("a list");
        all.iter().map(|one| one["id"].clone()).collect()
    };
    let path = "/api/v1/reminders";
    assert_eq!(ids(rig.call("GET", path, ROOT, None).await), ["other's", "later"]);
    assert_eq!(ids(rig.call("GET", path, ADA, None).await), ["later"]);
    assert_eq!(ids(rig.call("GET", path, BOB, None).await), [""; 0]);
    for (token, id, status) in [
        (BOB, "later", 404),
        (ADA, "other's", 404),
        (ADA, "later", 204),
        (ROOT, "other's", 204),
    ] {
        let cancelled = rig.call("DELETE", &format!("{path}/{id}"), token, None).await;
        assert_eq!(cancelled.status, status, "{id}: {cancelled:?}");
    }
    assert_eq!(rig.home.take(), ["cancel later", "cancel other's"]);
}

#[tokio::test]
async fn webhooks_need_no_credential_and_tell_nobody_which_ids_there_are() {
    let rig = rig().await;
    let json_type = ("content-type", "application/json; charset=utf-8");
    let form = ("content-type", "application/x-www-form-urlencoded");
    let mut answers = Vec::new();
    for id in [
        "s3cret",
        "late 1".replace(' ', "%20").as_str(),
        "unknown",
        &"x".repeat(3_000),
    ] {
        for method in ["GET", "HEAD", "POST", "PUT"] {
            let answer = rig.request(method, &format!("/api/webhook/{id}"), &[], "").await;
            answers.push((answer.status, answer.body.clone(), answer.headers.len()));
        }
    }
    assert!(
        answers
            .iter()
            .all(|one| *one == (200, String::new(), answers[0].2)),
        "{answers:?}"
    );
    let told = rig.home.take_told();
    assert_eq!(told.len(), 8, "those of unknown ids are not told: {told:?}");
    let methods: Vec<_> = told
        .iter()
        .map(|one| match one {
            Told::Webhook {
                id, method, local, ..
            } => {
                assert!(*local);
                format!("{id} {method}")
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        methods[..4],
        ["s3cret GET", "s3cret HEAD", "s3cret POST", "s3cret PUT"]
    );
    assert_eq!(methods[4], "late 1 GET");

    let path = "/api/webhook/s3cret?a=1&a=2&b=%C3%A9";
    rig.request("POST", path, &[json_type], r#"{"on":true}"#).await;
    rig.request("POST", path, &[form, ("x-forwarded-for", "8.8.8.8")], "c=3+4")
        .await;
    rig.request("POST", path, &[("content-type", "image/png")], "png")
        .await;
    let told: Vec<_> = rig
        .home
        .take_told()
        .into_iter()
        .map(|one| match one {
            Told::Webhook {
                json,
                data,
                query,
                local,
                ..
            } => {
                assert_eq!(Value::Object(query), json!({ "a": "1", "b": "é" }));
                (json, Value::Object(data), local)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        told,
        [
            (Some(json!({ "on": true })), json!({}), true),
            (None, json!({ "c": "3 4" }), false),
            (None, json!({}), true),
        ]
    );
    for id in ["s3cret", "unknown"] {
        let path = format!("/api/webhook/{id}");
        rig.request("POST", &path, &[json_type], "{")
            .await
            .is_problem(400, "bad_request");
        rig.request("POST", &path, &[], &"x".repeat(65_537))
            .await
            .is_problem(413, "too_long");
        rig.request("POST", "/api/webhook/%ff", &[], "")
            .await
            .is_problem(400, "bad_request");
        rig.set_unavailable(true);
        rig.home.unavailable.store(true, Ordering::SeqCst);
        rig.request("POST", &path, &[], "")
            .await
            .is_problem(503, "unavailable");
        rig.set_unavailable(false);
        rig.home.unavailable.store(false, Ordering::SeqCst);
    }
    assert_eq!(rig.home.take_told(), []);
}

#[tokio::test]
async fn webhooks_are_limited_by_address() {
    let rig = rig_with(GatewaySettings {
        webhooks_per_minute: 2,
        ..settings()
    })
    .await;
    for id in ["s3cret", "unknown"] {
        let answer = rig.request("POST", &format!("/api/webhook/{id}"), &[], "").await;
        assert_eq!(answer.status, 200);
    }
    for id in ["s3cret", "unknown"] {
        rig.request("POST", &format!("/api/webhook/{id}"), &[], "")
            .await
            .is_problem(429, "rate_limited");
    }
}

#[tokio::test]
async fn a_node_without_automations_says_so() {
    let rig = rig_of(settings(), None).await;
    for (method, path) in [
        ("GET", "/api/v1/automations"),
        ("GET", "/api/v1/states"),
        ("GET", "/api/v1/bridge"),
        ("GET", "/api/v1/reminders"),
        ("POST", "/api/v1/events/x"),
    ] {
        let answer = rig.call(method, path, ROOT, None).await;
        answer.is_problem(404, "not_found");
        assert!(answer.body.contains("ask another node"), "{answer:?}");
    }
    let hook = rig.request("POST", "/api/webhook/s3cret", &[], "").await;
    assert_eq!(hook.status, 200);
}
