//! What automations miss, do twice or do late around the death of a node: real processes and a real broker.

use std::time::Duration;

use anyhow::{Result, ensure};
use jarvis_chaos::cluster::{Options, find_jarvis};
use jarvis_chaos::home::{RECORDS, Rig, Saves, Sensor, Sight};
use rustix::process::Signal;
use serde_json::json;
use tokio::time::sleep;

/// How long what is to come may take.
const SETTLED: Duration = Duration::from_secs(30);
/// How long nothing may come for what is not to come.
const QUIET: Duration = Duration::from_secs(3);

fn options(nodes: u32) -> Result<Options> {
    Ok(Options {
        nodes,
        ..Options::unlimited(find_jarvis()?)
    })
}

/// Says that it was triggered, below [`RECORDS`].
fn says(id: &str, trigger: &str, more: &str) -> String {
    format!(
        "- id: {id}\n  alias: {id}\n  mode: parallel\n  max: 50\n  triggers:\n    - {trigger}\n  actions:\n{more}    - \
         {{action: mqtt.publish, data: {{topic: {RECORDS}/{id}, payload: said, qos: 1}}}}\n"
    )
}

fn count(sights: &[Sight], id: &str) -> usize {
    let topic = format!("{RECORDS}/{id}");
    sights.iter().filter(|sight| sight.topic == topic).count()
}

async fn until(rig: &Rig, id: &str, times: usize) -> Result<()> {
    let waited = rig
        .recorder
        .until(SETTLED, |sights| count(sights, id) >= times)
        .await;
    ensure!(
        waited.is_ok(),
        "{id}: {} of {times}",
        count(&rig.recorder.sights(), id)
    );
    Ok(())
}

#[tokio::test]
async fn what_the_broker_retains_fires_once_for_each_new_filter_whoever_dies() -> Result<()> {
    let mut rig = Rig::start(options(3)?, Saves::EverySecond).await?;
    let mut hand = Sensor::new(rig.broker.port, "hand");
    hand.publish("gap/door/command", "open", true).await?;
    hand.publish("gap/gate/command", "shut", true).await?;
    let waits = "    - wait_for_trigger:\n        - {trigger: mqtt, topic: gap/+/go}\n      timeout: 1\n";
    let mut yaml = says("one", "{trigger: mqtt, topic: gap/door/command}", waits);
    rig.load(&yaml).await?;
    until(&rig, "one", 1).await?;
    // A filter that covers it is new, it is not; and a wait of a run that it started is no reason to start another.
    yaml += &says("all", "{trigger: mqtt, topic: gap/+/command}", "");
    rig.load(&yaml).await?;
    until(&rig, "all", 2).await?;
    rig.kill_bridge().await?;
    yaml += &says("wide", "{trigger: mqtt, topic: 'gap/#'}", "");
    rig.load(&yaml).await?;
    until(&rig, "wide", 2).await?;
    let sights = rig.recorder.until_quiet(QUIET, SETTLED).await;
    let counts = ["one", "all", "wide"].map(|id| count(&sights, id));
    assert_eq!(counts, [1, 2, 2]);
    // What is said from now on is for all three, and comes once though filters took one another's place.
    hand.publish("gap/door/command", "open", false).await?;
    until(&rig, "one", 2).await?;
    let sights = rig.recorder.until_quiet(QUIET, SETTLED).await;
    let counts = ["one", "all", "wide"].map(|id| count(&sights, id));
    assert_eq!(counts, [2, 3, 3]);
    rig.cluster.stop().await
}

#[tokio::test]
async fn a_filter_of_the_time_before_a_restart_does_not_stay_subscribed() -> Result<()> {
    let mut rig = Rig::start(options(1)?, Saves::EverySecond).await?;
    let mut hand = Sensor::new(rig.broker.port, "hand");
    let mut yaml = says("narrow", "{trigger: mqtt, topic: gap/+/command}", "");
    rig.load(&yaml).await?;
    rig.until_bridge(|bridge| bridge["subscribed"] == true).await?;
    let victim = rig.bridge_node().await?;
    yaml += &says("wide", "{trigger: mqtt, topic: 'gap/#'}", "");
    rig.load(&yaml).await?;
    // Between the new subscription and the end of the old one, perhaps.
    rig.cluster.kill(&victim.name)?;
    rig.cluster.wait_restarted(&victim.name, victim.pid).await?;
    rig.until_bridge(|bridge| bridge["subscribed"] == true && bridge["state"] == "connected")
        .await?;
    for n in 0..10 {
        hand.publish("gap/door/command", &n.to_string(), false).await?;
    }
    until(&rig, "narrow", 10).await?;
    until(&rig, "wide", 10).await?;
    let sights = rig.recorder.until_quiet(QUIET, SETTLED).await;
    assert_eq!(["narrow", "wide"].map(|id| count(&sights, id)), [10, 10]);
    rig.cluster.stop().await
}

/// A sensor of motion, off after it was on, and an automation that says so when it was off for two seconds.
async fn off_for_two_seconds(rig: &Rig, hand: &mut Sensor) -> Result<()> {
    let config = json!({ "name": "Motion", "unique_id": "motion", "state_topic": "gap/motion", "object_id": "motion" });
    let topic = "homeassistant/binary_sensor/motion/config";
    hand.publish(topic, &config.to_string(), true).await?;
    let trigger = "{trigger: state, entity_id: binary_sensor.motion, to: 'off', for: 2, id: off}";
    rig.load(&says("still", trigger, "")).await?;
    hand.publish("gap/motion", "ON", false).await?;
    hand.publish("gap/motion", "OFF", false).await?;
    sleep(Duration::from_millis(1_600)).await;
    Ok(())
}

#[tokio::test]
async fn a_hold_is_judged_after_what_the_broker_kept_meanwhile() -> Result<()> {
    let mut rig = Rig::start(options(1)?, Saves::EverySecond).await?;
    let mut hand = Sensor::new(rig.broker.port, "hand");
    let node = rig.bridge_node().await?;
    off_for_two_seconds(&rig, &mut hand).await?;
    rig.cluster.kill(&node.name)?;
    hand.publish("gap/motion", "ON", false).await?;
    rig.cluster.wait_restarted(&node.name, node.pid).await?;
    rig.until_bridge(|bridge| bridge["state"] == "connected").await?;
    let sights = rig.recorder.until_quiet(QUIET, SETTLED).await;
    assert_eq!(count(&sights, "still"), 0, "it was not off for two seconds");
    // It is when nothing comes.
    hand.publish("gap/motion", "OFF", false).await?;
    until(&rig, "still", 1).await?;
    // A process that stood still has it in its socket.
    off_for_two_seconds(&rig, &mut hand).await?;
    rig.cluster.signal(&node.name, Signal::STOP)?;
    hand.publish("gap/motion", "ON", false).await?;
    sleep(Duration::from_millis(2_500)).await;
    rig.cluster.signal(&node.name, Signal::CONT)?;
    let sights = rig.recorder.until_quiet(QUIET, SETTLED).await;
    assert_eq!(count(&sights, "still"), 1, "it was not off for two seconds");
    rig.cluster.stop().await
}

#[tokio::test]
async fn what_a_stopped_machine_does_late_is_late() -> Result<()> {
    let mut rig = Rig::start(options(1)?, Saves::EverySecond).await?;
    let mut hand = Sensor::new(rig.broker.port, "hand");
    let yaml = says("soon", "{trigger: mqtt, topic: gap/go}", "    - delay: 2\n");
    let yaml = yaml.replace(
        "  triggers:",
        "  jarvis: {catch_up: skip, at_most_late: 1}\n  triggers:",
    );
    rig.load(&yaml).await?;
    hand.publish("gap/go", "first", false).await?;
    until(&rig, "soon", 1).await?;
    hand.publish("gap/go", "second", false).await?;
    sleep(Duration::from_millis(500)).await;
    let node = rig.bridge_node().await?;
    rig.cluster.signal(&node.name, Signal::STOP)?;
    sleep(Duration::from_secs(7)).await;
    rig.cluster.signal(&node.name, Signal::CONT)?;
    let sights = rig.recorder.until_quiet(QUIET, SETTLED).await;
    assert_eq!(count(&sights, "soon"), 1);
    let traces = rig.get("/api/v1/automations/soon/traces").await?.to_string();
    ensure!(traces.contains("missed: its wait was over"), "{traces}");
    rig.cluster.stop().await
}

#[tokio::test]
async fn a_message_of_64_kib_starts_a_run_and_a_larger_one_is_told_of() -> Result<()> {
    let rig = Rig::start(options(1)?, Saves::EverySecond).await?;
    let mut hand = Sensor::new(rig.broker.port, "hand");
    let more = "    - {variables: {size: '{{ trigger.payload_json.list | length }}'}}\n    - {condition: template, value_template: '{{ size == 5700 }}'}\n";
    rig.load(&says("large", "{trigger: mqtt, topic: gap/large}", more))
        .await?;
    let list: Vec<String> = (0..5_700).map(|n| format!("{n:08}")).collect();
    let payload = json!({ "list": list }).to_string();
    assert!((62_000..65_536).contains(&payload.len()), "{}", payload.len());
    hand.publish("gap/large", &payload, false).await?;
    let refused = format!("{payload}{}", " ".repeat(4_000));
    hand.publish("gap/large", &refused, false).await?;
    let told = rig
        .until_bridge(|bridge| {
            bridge["problems"]
                .to_string()
                .contains("gap/large triggers nothing")
        })
        .await?;
    let sights = rig.recorder.until_quiet(QUIET, SETTLED).await;
    assert_eq!(count(&sights, "large"), 1, "{told}");
    rig.cluster.stop().await
}
