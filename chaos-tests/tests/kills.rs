//! A conversation goes on when any node is killed, over real processes.

use std::time::Duration;

use anyhow::{Context, Result};
use jarvis_chaos::chat::Chat;
use jarvis_chaos::cluster::{Cluster, Options, find_jarvis, socket_of};
use jarvis_chaos::faults::Victim;
use jarvis_chaos::gaps::percentile;
use jarvis_chaos::storm::{self, Plan};
use serde_json::json;
use tokio::time::Instant;

async fn cluster(data: &tempfile::TempDir) -> Result<Cluster> {
    Cluster::start(data, Options::unlimited(find_jarvis()?)).await
}

#[tokio::test]
async fn nothing_is_lost_or_said_twice_when_owner_leader_and_gateway_are_killed() -> Result<()> {
    let data = tempfile::tempdir()?;
    let mut cluster = cluster(&data).await?;
    let plan = Plan {
        sessions: 9,
        messages: usize::MAX,
        pause: Duration::from_millis(20),
        kills: vec![Victim::Owner, Victim::Leader, Victim::Gateway],
        calm: Duration::from_millis(1_500),
        stop_after_kills: true,
    };
    let verdict = storm::run(&mut cluster, &plan).await?.into_result()?;
    assert_eq!(verdict.kills.len(), 3);
    assert!(
        verdict.answered > 100,
        "only {} answers: the load was no load",
        verdict.answered
    );
    for kill in &verdict.kills {
        let mut gaps = kill.gaps.clone();
        gaps.sort();
        let (p50, max) = (percentile(&gaps, 0.5), percentile(&gaps, 1.0));
        assert!(
            !gaps.is_empty(),
            "the {} kill concerned nobody",
            kill.victim.name()
        );
        println!(
            "{}: {} gaps, p50 {p50:?}, longest {max:?}, whole after {:?}",
            kill.victim.name(),
            gaps.len(),
            kill.whole_after
        );
    }
    cluster.stop().await?;
    Ok(())
}

#[tokio::test]
async fn without_a_majority_it_says_unavailable_and_comes_back_by_itself() -> Result<()> {
    let data = tempfile::tempdir()?;
    let mut options = Options::unlimited(find_jarvis()?);
    options.restart = false;
    let mut cluster = Cluster::start(&data, options.clone()).await?;
    let survivor = cluster.nodes.first().context("three nodes")?.clone();
    let (mut chat, _) = Chat::hello(&socket_of(&survivor.url), &cluster.token, None, None).await?;
    chat.say("before", "help").await?;
    chat.next_of("reply", Duration::from_secs(10)).await?;
    let lost: Vec<_> = cluster.nodes.iter().skip(1).cloned().collect();
    for node in &lost {
        cluster.kill(&node.name)?;
    }
    let asked = Instant::now();
    chat.say("during", "1 + 1").await?;
    // The promise is two seconds; a debug build on a busy machine is given one more.
    let error = chat.next_of("error", Duration::from_secs(3)).await?;
    let waited = asked.elapsed();
    assert_eq!(error["code"], "unavailable");
    assert_eq!(error["id"], "during");
    assert!(
        error["retry_after_ms"].as_u64().is_some_and(|ms| ms > 0),
        "{error}"
    );
    println!("unavailable after {waited:?}");
    // What was said before can still be read.
    let page = storm::transcript(&cluster, &survivor, &session_of(&cluster, &survivor).await?).await?;
    assert_eq!(page.iter().filter(|entry| entry.about == "before").count(), 2);
    let mut back = Vec::new();
    for node in &lost {
        let mut run = tokio::process::Command::new(&options.jarvis);
        run.arg("run")
            .arg("--data")
            .arg(&node.data)
            .envs(options.env.iter().map(|(k, v)| (k, v)));
        back.push(
            run.stderr(std::process::Stdio::null())
                .kill_on_drop(true)
                .spawn()?,
        );
    }
    let returned = Instant::now();
    let reply = loop {
        chat.send(&json!({"type": "say", "id": "during", "text": "1 + 1"}))
            .await?;
        match chat.next_of("reply", Duration::from_secs(2)).await {
            Ok(reply) => break reply,
            Err(error) => assert!(returned.elapsed() < Duration::from_secs(8), "{error:#}"),
        }
    };
    println!(
        "answered {:?} after the majority was started again",
        returned.elapsed()
    );
    assert_eq!(reply["reply_to"], "during");
    let entries = storm::transcript(&cluster, &survivor, &session_of(&cluster, &survivor).await?).await?;
    assert_eq!(
        entries.iter().filter(|entry| entry.about == "during").count(),
        2,
        "one message, one reply: {entries:?}"
    );
    for mut node in back {
        let pid = node.id().context("it runs")?;
        jarvis_chaos::cluster::signal(pid, rustix::process::Signal::TERM)?;
        node.wait().await?;
    }
    cluster.stop().await?;
    Ok(())
}

async fn session_of(cluster: &Cluster, node: &jarvis_chaos::cluster::NodeProcess) -> Result<String> {
    let sessions = cluster.get(node, "/api/v1/sessions").await?;
    let list = sessions["sessions"]
        .as_array()
        .or(sessions.as_array())
        .context("a list of sessions")?
        .clone();
    let id = list
        .first()
        .and_then(|session| session["id"].as_str())
        .context("a session with an id")?;
    Ok(id.to_owned())
}

#[tokio::test]
async fn all_nodes_killed_at_once_keep_every_acknowledged_message() -> Result<()> {
    let data = tempfile::tempdir()?;
    let cluster = cluster(&data).await?;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut talkers = tokio::task::JoinSet::new();
    for n in 0..6 {
        let manner = jarvis_chaos::talker::Manner {
            messages: usize::MAX,
            pause: Duration::from_millis(5),
            first_socket: n,
            name: format!("t{n}"),
            board: jarvis_chaos::talker::Board::default(),
        };
        let sockets = cluster.sockets();
        talkers.spawn(jarvis_chaos::talker::talk(
            sockets,
            cluster.token.clone(),
            manner,
            stopped.clone(),
        ));
    }
    // Under load, not after it: the talkers go on through the cut and find their sessions again.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let remains = cluster.power_cut().await?;
    let mut cluster = Cluster::start_again(remains).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    stop.send_replace(true);
    let mut histories = Vec::new();
    while let Some(history) = talkers.join_next().await {
        histories.push(history??);
    }
    assert!(
        histories.iter().all(|h| h.reconnects > 0),
        "every talker lived through the cut"
    );
    let verdict = storm::judge(&mut cluster, histories, Vec::new())
        .await?
        .into_result()?;
    assert!(
        verdict.said > 50,
        "only {} messages: the load was no load",
        verdict.said
    );
    cluster.stop().await?;
    Ok(())
}
