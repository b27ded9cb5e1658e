//! Automations over real processes and a real broker: none is lost, none is decided on twice, whoever dies.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use jarvis_chaos::cluster::{Options, find_jarvis};
use jarvis_chaos::home::{Expected, Rig, Saves, Sent, Word, delayed, devices, echo, judge, say_all};
use tokio::time::Instant;

/// How long what was said may take to be recorded, after the last fault.
const SETTLED: Duration = Duration::from_secs(40);

fn expected(said: &BTreeMap<Word, Sent>) -> Expected {
    said.iter()
        .map(|(word, sent)| (word.clone(), sent.tries))
        .collect()
}

/// Waits until something is recorded of all that was said, and judges.
async fn settle(rig: &Rig, said: &BTreeMap<Word, Sent>) -> Result<()> {
    let expected = expected(said);
    let waited = rig
        .recorder
        .until(SETTLED, |sights| judge(&expected, sights).lost.is_empty())
        .await;
    let verdict = judge(&expected, &rig.recorder.sights());
    let broken = verdict.broken();
    ensure!(
        broken.is_empty(),
        "{broken:?}; {waited:?}; {:?}",
        rig.get("/api/v1/bridge").await
    );
    Ok(())
}

#[tokio::test]
async fn every_message_is_decided_on_once_though_the_bridges_node_is_killed() -> Result<()> {
    let mut rig = Rig::start(Options::unlimited(find_jarvis()?), Saves::EverySecond).await?;
    let devices = devices("d", 4);
    rig.load(&echo(&devices)).await?;
    let talk = rig.talk(&devices, 30, Duration::from_millis(50));
    rig.kill_bridge().await?;
    let said = talk.await??;
    assert_eq!(said.len(), 120);
    settle(&rig, &said).await?;
    rig.cluster.stop().await?;
    Ok(())
}

#[tokio::test]
async fn every_message_is_decided_on_once_though_the_broker_ends_and_comes_back() -> Result<()> {
    let mut rig = Rig::start(Options::unlimited(find_jarvis()?), Saves::EverySecond).await?;
    let devices = devices("d", 4);
    rig.load(&echo(&devices)).await?;
    let talk = rig.talk(&devices, 30, Duration::from_millis(40));
    let first = rig.recorder.until(SETTLED, |sights| sights.len() >= 20).await?;
    assert!(first.iter().all(|sight| sight.intent.is_some()));
    rig.broker.stop().await?;
    // The bridge says what is wrong, and where.
    let bridge = rig.until_bridge(|bridge| bridge["trouble"].is_string()).await?;
    assert_eq!(bridge["broker"], rig.broker.url());
    rig.broker.start_again().await?;
    let said = talk.await??;
    settle(&rig, &said).await?;
    let bridge = rig.until_bridge(|bridge| bridge["state"] == "connected").await?;
    assert_eq!(
        (&bridge["trouble"], &bridge["sessions_lost"]),
        (&serde_json::Value::Null, &0.into())
    );
    rig.cluster.stop().await?;
    Ok(())
}

#[tokio::test]
async fn waits_go_on_where_their_node_was_killed() -> Result<()> {
    let mut rig = Rig::start(Options::unlimited(find_jarvis()?), Saves::EverySecond).await?;
    let devices = devices("w", 12);
    let yaml: String = devices.iter().map(|device| delayed(device, 5)).collect();
    rig.load(&yaml).await?;
    let said = say_all(rig.broker.port, &devices, 1, Duration::ZERO).await?;
    // All of them run before the first node is killed, and none has ended.
    let list = "/api/v1/automations";
    let running = |list: &serde_json::Value| {
        let all = list["automations"].as_array().cloned().unwrap_or_default();
        all.iter()
            .filter(|one| one["running"].as_u64() == Some(1))
            .count()
    };
    let began = Instant::now();
    while running(&rig.get(list).await?) < devices.len() {
        ensure!(began.elapsed() < SETTLED, "{}", rig.get(list).await?);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    rig.kill_bridge().await?;
    settle(&rig, &said).await?;
    let early = rig.recorder.sights().into_iter().filter(|sight| {
        let sent = sight.word.as_ref().and_then(|word| said.get(word));
        sent.is_none_or(|sent| sight.at - sent.at < Duration::from_secs(5))
    });
    assert_eq!(early.count(), 0);
    rig.cluster.stop().await?;
    Ok(())
}
