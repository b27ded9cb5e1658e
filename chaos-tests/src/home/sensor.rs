//! Sensors: each publishes one message after the other, and the next when the broker has confirmed the last.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{AsyncClient, Event, EventLoop};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::{RECONNECT_PAUSE, SENSORS, Word, options};

/// Requests that wait for the loop: there is never more than one.
const MOST_REQUESTS: usize = 4;

/// What became of one message.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// When it was first published.
    pub at: Instant,
    /// When the broker confirmed it.
    pub confirmed: Instant,
    /// Times that it was published: after a lost connection nobody knows whether the broker had it already.
    pub tries: u32,
}

/// What was said.
pub type Said = BTreeMap<Word, Sent>;

/// One sensor.
pub struct Sensor {
    port: u16,
    /// Its device.
    pub device: String,
    next: u64,
    connection: Option<(AsyncClient, EventLoop)>,
    connections: u32,
}

impl Sensor {
    /// One that has not said anything yet.
    pub fn new(port: u16, device: &str) -> Self {
        Self {
            port,
            device: device.to_owned(),
            next: 0,
            connection: None,
            connections: 0,
        }
    }

    /// One that goes on with this number.
    pub fn after(port: u16, device: &str, next: u64) -> Self {
        Self {
            next,
            ..Self::new(port, device)
        }
    }

    /// Publishes its next number, until the broker confirms it.
    ///
    /// # Errors
    /// Where the number cannot be written.
    pub async fn say(&mut self) -> Result<(Word, Sent)> {
        let word = Word {
            device: self.device.clone(),
            n: self.next,
        };
        self.next += 1;
        let payload = serde_json::to_vec(&word)?;
        let topic = format!("{SENSORS}/{}", self.device);
        let (at, mut tries) = (Instant::now(), 0);
        loop {
            tries += 1;
            if self.try_publish(&topic, &payload, false).await {
                let confirmed = Instant::now();
                return Ok((word, Sent { at, confirmed, tries }));
            }
            self.connection = None;
            sleep(RECONNECT_PAUSE).await;
        }
    }

    /// Publishes anything, once: its device says no number.
    ///
    /// # Errors
    /// Where the broker does not confirm it.
    pub async fn publish(&mut self, topic: &str, payload: &str, retain: bool) -> Result<()> {
        let confirmed = self.try_publish(topic, payload.as_bytes(), retain).await;
        ensure!(confirmed, "the broker does not confirm {topic}");
        Ok(())
    }

    /// Whether the broker confirmed it.
    async fn try_publish(&mut self, topic: &str, payload: &[u8], retain: bool) -> bool {
        let (client, events) = self.connection.get_or_insert_with(|| {
            self.connections += 1;
            let id = format!("sensor-{}-{}-{}", self.device, self.next, self.connections);
            AsyncClient::new(options(self.port, &id, false), MOST_REQUESTS)
        });
        let published = client.publish(topic, QoS::AtLeastOnce, retain, payload.to_vec());
        if published.await.is_err() {
            return false;
        }
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Packet::PubAck(_))) => return true,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
    }
}

/// Has `devices` sensors say `each` numbers, with a pause after each; gives when each was said.
///
/// # Errors
/// Where one fails.
pub async fn say_all(
    port: u16,
    devices: &[String],
    each: u64,
    pause: Duration,
) -> Result<BTreeMap<Word, Sent>> {
    let mut sensors = JoinSet::new();
    for device in devices {
        let mut sensor = Sensor::new(port, device);
        sensors.spawn(async move {
            let mut said = Vec::new();
            for _ in 0..each {
                said.push(sensor.say().await?);
                sleep(pause).await;
            }
            anyhow::Ok(said)
        });
    }
    let mut all = BTreeMap::new();
    while let Some(said) = sensors.join_next().await {
        all.extend(said.context("a sensor ended")??);
    }
    Ok(all)
}
