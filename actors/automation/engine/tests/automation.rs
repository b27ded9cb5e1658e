//! Automations over nodes that die, with a bridge that the test drives.

mod cluster;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use jarvis_automation::wire::{OutcomeOf, RunOf, ToAutomation, ToBridge, Told, decode, encode};
use jarvis_machine::command::{Command, Letter};
use jarvis_rules::run::{Context, Deed, Ended, Event, Intent, RunId, RunState, What};
use jarvis_types::{EntityId, NodeId};
use serde_json::{Map, json};

use self::cluster::{Cluster, PATIENCE, Real, automation, fired, options, runs};

/// Two things that are asked for, with a delay between them.
fn delayed(id: &str, head: &str, delay: &str) -> jarvis_automation::Definition {
    automation(
        id,
        head,
        &format!("    - {{event: begun}}\n    - {{delay: {delay}}}\n    - {{event: over}}\n"),
    )
}

fn how(state: &RunState) -> String {
    match state {
        RunState::Ended(Ended::Finished { .. }) => "finished".to_owned(),
        RunState::Ended(
            Ended::Aborted { why }
            | Ended::Stopped { why }
            | Ended::Missed { why }
            | Ended::Failed { error: why },
        ) => why.clone(),
        other => format!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_asked_for_done_and_traced() {
    let cluster = Cluster::of(1).await;
    let light = "    - {action: mqtt.publish, data: {topic: lamp, payload: 'on'}}\n    - {delay: {milliseconds: 50}}\n    - {event: done}\n";
    let definition = automation("light", "  mode: queued", light);
    cluster
        .bridge(
            &[("light", Some(definition))],
            vec![fired("light"), fired("light")],
        )
        .await;
    let asked = cluster.asked(1).await;
    assert_eq!(asked.len(), 1, "the other one waits for its turn");
    let automations = &cluster.any().automations;
    let shown = automations.show("light").expect("is there");
    assert_eq!(shown.summary.running, 2);
    let failed = ToAutomation::Outcome {
        run: asked[0].0.clone(),
        number: 1,
        outcome: OutcomeOf::Failed("the lamp does not answer".into()),
        not_reached: vec![("lamp.attic".into(), "there is no such lamp".into())],
    };
    cluster.manners.obliging.store(true, Ordering::SeqCst);
    cluster.post([("light".to_owned(), failed)]).await;
    let asked = cluster.asked(3).await;
    assert_eq!(asked[1].1, 1);
    assert_eq!(asked[2], (asked[1].0.clone(), 2));
    let traces = cluster.traces("light", 2).await;
    let how: Vec<String> = traces.iter().map(|run| how(&run.state)).collect();
    assert!(how.contains(&"the lamp does not answer".to_owned()), "{how:?}");
    assert!(how.contains(&"finished".to_owned()), "{how:?}");
    let told = traces
        .iter()
        .flat_map(|run| &run.trace.steps)
        .find_map(|step| match &step.what {
            What::NotReached { entities } => Some((step.path.as_str(), entities[0].0.as_str())),
            _ => None,
        });
    assert_eq!(told, Some(("action/0", "lamp.attic")), "{traces:?}");
    // By hand, once.
    let given = Map::from_iter([("who".to_owned(), json!("me"))]);
    let run = automations
        .trigger("light", given.clone(), true, None, PATIENCE)
        .await
        .expect("begun");
    cluster
        .post([(
            "light".to_owned(),
            ToAutomation::Trigger {
                run: run.clone(),
                variables: given,
                skip_conditions: true,
                by: "person".into(),
            },
        )])
        .await;
    let traces = cluster.traces("light", 3).await;
    let by_hand: Vec<_> = traces.iter().filter(|trace| trace.id == run).collect();
    assert_eq!(by_hand.len(), 1);
    assert_eq!(by_hand[0].variables["who"], "me");
    assert_eq!(automations.show("light").expect("is there").summary.running, 0);
    // It goes, and nothing of it stays.
    cluster.bridge(&[("light", None)], vec![fired("light")]).await;
    cluster
        .until("all rows are gone", |view| {
            let row = view
                .query()
                .entity(&EntityId::automation("light"))
                .expect("reads")?;
            (row.rows == 0 && row.taken == row.last_letter).then_some(())
        })
        .await;
    assert_eq!(cluster.asked(5).await.len(), 5, "and nothing more was asked for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delay_outlives_its_node() {
    let mut cluster = Cluster::of(3).await;
    cluster.manners.obliging.store(true, Ordering::SeqCst);
    cluster
        .bridge(
            &[("night", Some(delayed("night", "", "3600")))],
            vec![fired("night")],
        )
        .await;
    let began = cluster.asked(1).await;
    let died = cluster.owner("night");
    cluster.kill(died);
    let heir = cluster.living_owner(&EntityId::automation("night")).await;
    assert_ne!(heir, died);
    // The time comes while somebody looks, who sleeps for a minute at most and is told of a letter before that.
    cluster.clock.forward(Duration::from_secs(3_600));
    let look = ToAutomation::Look {
        run: began[0].0.clone(),
    };
    cluster.post([("night".to_owned(), look)]).await;
    let traces = cluster.traces("night", 1).await;
    assert_eq!(how(&traces[0].state), "finished");
    assert_eq!(
        cluster.asked(2).await,
        [began[0].clone(), (began[0].0.clone(), 2)]
    );
    let nodes: BTreeSet<&str> = traces[0]
        .trace
        .steps
        .iter()
        .map(|step| step.node.as_str())
        .collect();
    assert_eq!(nodes.len(), 2, "the trace says where each step ran: {nodes:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fell_due_while_its_node_was_dead_is_done_by_its_policy() {
    let mut cluster = Cluster::of(3).await;
    cluster.manners.obliging.store(true, Ordering::SeqCst);
    let victim = NodeId(3);
    // Of each policy one that the victim runs.
    let mine = |policy: &str| {
        let ids = (0..).map(|n| format!("{policy}{n}"));
        ids.into_iter()
            .find(|id| cluster.owner(id) == victim)
            .expect("it runs some")
    };
    let policies = ["catch_up", "skip", "recheck"].map(|policy| (policy, mine(policy)));
    for (policy, id) in &policies {
        let head = format!(
            "  conditions: [\"{{{{ is_state('automation.{id}', 'on') }}}}\"]\n  jarvis: {{catch_up: {policy}}}"
        );
        let definition = delayed(id, &head, "1800");
        cluster.bridge(&[(id, Some(definition))], vec![fired(id)]).await;
    }
    cluster.asked(3).await;
    for (_, id) in &policies {
        let sleeps = |run: &jarvis_rules::run::Run| run.intents.is_empty() && run.wake_at_ms().is_some();
        let all_sleep = cluster.until("they sleep", |view| {
            runs(view, id, "r/").iter().all(sleeps).then_some(())
        });
        all_sleep.await;
    }
    // Their nodes sleep on, and do not see that the time has come.
    cluster.clock.forward(Duration::from_secs(1_900));
    cluster.kill(victim);
    for (policy, id) in &policies {
        let trace = &cluster.traces(id, 1).await[0];
        let late = trace.trace.steps.iter().find_map(|step| match &step.what {
            What::Late { by_ms, taken } => Some((*by_ms, json!(taken))),
            _ => None,
        });
        let (by_ms, taken) = late.expect("the trace says so");
        assert!((90_000..120_000).contains(&by_ms), "{by_ms}");
        assert_eq!(taken, *policy);
        let skipped = how(&trace.state).contains("its policy is skip");
        assert_eq!(skipped, *policy == "skip", "{:?}", trace.state);
    }
    assert_eq!(cluster.asked(5).await.len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_delays_go_on_once_each_while_nodes_die() {
    let mut cluster = Cluster::of(5).await;
    cluster.manners.obliging.store(true, Ordering::SeqCst);
    let ids: Vec<String> = (0..50).map(|n| format!("lamp{n}")).collect();
    for some in ids.chunks(10) {
        let defined: Vec<_> = some
            .iter()
            .enumerate()
            .map(|(n, id)| {
                (
                    id.as_str(),
                    Some(delayed(id, "", &format!("{{milliseconds: {}}}", 200 + n * 150))),
                )
            })
            .collect();
        cluster
            .bridge(&defined, some.iter().map(|id| fired(id)).collect())
            .await;
    }
    cluster.asked(60).await;
    for _ in 0..2 {
        // The one that the bridge runs on, and with it what was asked for and not taken.
        let victim = cluster.living_owner(&EntityId::bridge()).await;
        cluster.kill(victim);
        let so_far = cluster
            .until("what was asked for", |view| Some(cluster::asked(view).len()))
            .await;
        cluster.asked((so_far + 5).min(100)).await;
    }
    for id in &ids {
        let traces = cluster.traces(id, 1).await;
        assert_eq!(traces.len(), 1, "{id}");
        assert_eq!(how(&traces[0].state), "finished", "{id}");
    }
    let mut times: BTreeMap<(RunId, u64), u32> = BTreeMap::new();
    for one in cluster.asked(100).await {
        *times.entry(one).or_default() += 1;
    }
    assert_eq!(times.len(), 100, "each asks for two things");
    assert!(times.values().all(|times| *times == 1), "{times:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_definition_that_changes_stops_runs() {
    let cluster = Cluster::of(1).await;
    cluster.manners.obliging.store(true, Ordering::SeqCst);
    cluster
        .bridge(&[("a", Some(delayed("a", "", "3600")))], vec![fired("a")])
        .await;
    cluster.asked(1).await;
    cluster.runs("a", 1).await;
    cluster
        .bridge(&[("a", Some(delayed("a", "", "7200")))], vec![])
        .await;
    let traces = cluster.traces("a", 1).await;
    assert_eq!(how(&traces[0].state), "the automation was changed while this ran");
    cluster.bridge(&[], vec![fired("a")]).await;
    cluster.runs("a", 1).await;
    // One that this build does not understand is no removal: what there is waits.
    let newer = Some(br#"{"sings":true}"#.to_vec());
    cluster
        .write(vec![("a/a".to_owned(), newer)], vec![fired("a")])
        .await;
    let definition = delayed("a", "  mode: parallel", "7200");
    cluster.bridge(&[("a", Some(definition))], vec![]).await;
    // It was taken up with the one that is understood: so one run was stopped, and one began.
    let traces = cluster.traces("a", 2).await;
    assert_eq!(how(&traces[1].state), "the automation was changed while this ran");
    cluster.runs("a", 1).await;
    assert_eq!(cluster.asked(3).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_too_much_waits_at_the_bridge_an_automation_waits_too() {
    let cluster = Cluster::of(1).await;
    cluster
        .bridge(&[("a", Some(delayed("a", "", "{milliseconds: 1}")))], vec![])
        .await;
    cluster.manners.deaf.store(true, Ordering::SeqCst);
    cluster.manners.obliging.store(true, Ordering::SeqCst);
    let told = ToBridge::Told(Told::Event {
        event_type: "noise".into(),
        data: Map::new(),
    });
    let noise = Letter {
        to: EntityId::bridge(),
        body: encode(&told),
    };
    let replica = &cluster.any().replica;
    for _ in 0..8 {
        let letters = vec![noise.clone(); 1_024];
        replica
            .propose(Command::Post { letters }, options())
            .await
            .expect("posted");
    }
    cluster.post([fired("a")]).await;
    // What it cannot ask for it has not begun: the letter waits.
    let refused = replica
        .propose(Command::Post { letters: vec![noise] }, options())
        .await;
    assert!(refused.is_err(), "as many wait as may");
    let row = cluster
        .until("it was told of what is defined", |view| {
            let row = view.query().entity(&EntityId::automation("a")).expect("reads")?;
            (row.taken == 1).then_some(row)
        })
        .await;
    assert_eq!(row.last_letter, 2);
    assert_eq!(
        cluster.until("no run", |view| Some(runs(view, "a", "r/"))).await,
        []
    );
    cluster.manners.deaf.store(false, Ordering::SeqCst);
    cluster.bridge(&[], vec![]).await;
    let traces = cluster.traces("a", 1).await;
    assert_eq!(how(&traces[0].state), "finished");
    assert_eq!(cluster.asked(2).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_cluster_refuses_to_keep_is_set_aside_and_the_bridge_goes_on() {
    let cluster = Cluster::with(1, Real::Bridge).await;
    cluster.manners.deaf.store(true, Ordering::SeqCst);
    let replica = &cluster.any().replica;
    for _ in 0..8 {
        cluster.post(vec![fired("full"); 1_024]).await;
    }
    // The first of these cannot be answered, and all are read at once.
    let event = |automation: &str| Letter {
        to: EntityId::bridge(),
        body: encode(&ToBridge::Asked {
            by: RunOf {
                automation: automation.to_owned(),
                run: RunId("01RUN".to_owned()),
            },
            number: 1,
            intent: Intent {
                deed: Deed::Event(Event {
                    intent: 1,
                    event_type: "e".to_owned(),
                    data: Map::new(),
                    context: Context::default(),
                }),
                thread: None,
                asked_ms: 1,
            },
        }),
    };
    let letters = vec![event("lively"), event("full"), event("lively")];
    let posted = replica.propose(Command::Post { letters }, options()).await;
    posted.expect("posted");
    let answers = cluster
        .until("both answers", |view| {
            let letters = view.query().letters(&EntityId::automation("lively"), 0, 10);
            Some(letters.expect("reads")).filter(|letters| letters.len() >= 2)
        })
        .await;
    for (_, answer) in &answers {
        let answer = decode::<ToAutomation>(answer).expect("a letter");
        assert!(
            matches!(
                answer,
                ToAutomation::Outcome {
                    outcome: OutcomeOf::Done(_),
                    ..
                }
            ),
            "{answer:?}"
        );
    }
    assert_eq!(answers.len(), 2, "once each");
    let taken = cluster.until("all are taken", |view| {
        let row = view.query().entity(&EntityId::bridge()).expect("reads")?;
        (row.taken == 3).then_some(row.last_letter)
    });
    assert_eq!(taken.await, 3);
    let status = cluster.any().automations.bridge(PATIENCE).await;
    assert_eq!(status.expect("it answers").automations, 0);
}
