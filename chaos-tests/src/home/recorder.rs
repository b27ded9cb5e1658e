//! What is published in the end, as a device would see it: every copy, with the id that goes out with it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jarvis_host::Tasks;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, Publish};
use rumqttc::v5::{AsyncClient, Event, EventLoop};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::{RECONNECT_PAUSE, RECORDS, Word, options};

/// The user property by which a message says what it was asked for by. Part of the product's promise, written anew here.
const INTENT: &str = "jarvis-intent";
/// Requests that wait for the loop: subscriptions.
const MOST_REQUESTS: usize = 16;
/// How long the broker may take to let it in.
const PATIENCE: Duration = Duration::from_secs(10);

/// One message that came.
#[derive(Debug, Clone)]
pub struct Sight {
    /// Where to.
    pub topic: String,
    /// What it says.
    pub payload: String,
    /// What it says of itself, if it was made of a sensor's message.
    pub word: Option<Word>,
    /// The id that went out with it.
    pub intent: Option<String>,
    /// When it came here.
    pub at: Instant,
}

/// The last number that was recorded of each device, and when.
type Latest = Arc<Mutex<BTreeMap<String, watch::Sender<Option<(u64, Instant)>>>>>;

/// Hears of one device.
pub struct Heard(watch::Receiver<Option<(u64, Instant)>>);

impl Heard {
    /// Waits for that number; gives when it came.
    ///
    /// # Errors
    /// Where the recorder is gone.
    pub async fn until(&mut self, n: u64) -> Result<Instant> {
        let heard = self
            .0
            .wait_for(|heard| heard.is_some_and(|(heard, _)| heard == n));
        let found = *heard.await?;
        Ok(found.context("waited for")?.1)
    }

    /// Waits for that number or a later one.
    ///
    /// # Errors
    /// Where the recorder is gone.
    pub async fn at_least(&mut self, n: u64) -> Result<()> {
        let heard = self
            .0
            .wait_for(|heard| heard.is_some_and(|(heard, _)| heard >= n));
        Ok(heard.await.map(drop)?)
    }
}

/// Listens to all that automations publish below [`RECORDS`], over every end of the broker.
pub struct Recorder {
    sights: watch::Receiver<Vec<Sight>>,
    latest: Latest,
    tasks: Tasks,
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.tasks.cancel();
    }
}

impl Recorder {
    /// Starts one; it is subscribed when this returns.
    ///
    /// # Errors
    /// Where the broker does not let it in.
    pub async fn start(port: u16) -> Result<Self> {
        let (client, events) = AsyncClient::new(options(port, "recorder", true), MOST_REQUESTS);
        let (subscribed, mut is_subscribed) = watch::channel(false);
        let (sender, sights) = watch::channel(Vec::new());
        let latest = Latest::default();
        let tasks = Tasks::new();
        tasks.spawn_until_cancelled(listen(client, events, subscribed, sender, Arc::clone(&latest)));
        let recorder = Self {
            sights,
            latest,
            tasks,
        };
        timeout(PATIENCE, is_subscribed.wait_for(|is| *is))
            .await
            .context("the broker does not let the recorder in")??;
        Ok(recorder)
    }

    /// Tells of one device from here on, without looking through all that came.
    pub fn hear(&self, device: &str) -> Heard {
        let mut latest = lock(&self.latest);
        let device = latest.entry(device.to_owned());
        Heard(device.or_insert_with(|| watch::Sender::new(None)).subscribe())
    }

    /// All that came so far.
    pub fn sights(&self) -> Vec<Sight> {
        self.sights.borrow().clone()
    }

    /// Looks at all that came so far; what comes meanwhile waits.
    pub fn read<T>(&self, look: impl FnOnce(&[Sight]) -> T) -> T {
        look(&self.sights.borrow())
    }

    /// Waits until what came is enough.
    ///
    /// # Errors
    /// Where it is not in time, with how much it is.
    pub async fn until(&self, within: Duration, enough: impl Fn(&[Sight]) -> bool) -> Result<Vec<Sight>> {
        let mut sights = self.sights.clone();
        let waited = timeout(within, sights.wait_for(|sights| enough(sights))).await;
        ensure!(
            waited.is_ok(),
            "not in time; {} messages were recorded",
            self.sights.borrow().len()
        );
        Ok(self.sights())
    }

    /// Waits until nothing has come for a while, at most so long.
    pub async fn until_quiet(&self, quiet: Duration, within: Duration) -> Vec<Sight> {
        let mut sights = self.sights.clone();
        let ends = Instant::now() + within;
        while Instant::now() < ends && matches!(timeout(quiet, sights.changed()).await, Ok(Ok(()))) {}
        self.sights()
    }
}

async fn listen(
    client: AsyncClient,
    mut events: EventLoop,
    subscribed: watch::Sender<bool>,
    sights: watch::Sender<Vec<Sight>>,
    latest: Latest,
) {
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(answer))) => {
                let all = format!("{RECORDS}/#");
                if !answer.session_present && client.subscribe(all, QoS::AtLeastOnce).await.is_err() {
                    return;
                }
            }
            Ok(Event::Incoming(Packet::SubAck(_))) => {
                subscribed.send_replace(true);
            }
            Ok(Event::Incoming(Packet::Publish(message))) => {
                let sight = sight(&message);
                if let Some(word) = &sight.word
                    && let Some(device) = lock(&latest).get(&word.device)
                {
                    device.send_replace(Some((word.n, sight.at)));
                }
                sights.send_modify(|sights| sights.push(sight));
            }
            Ok(_) => {}
            // The next poll connects again.
            Err(_) => sleep(RECONNECT_PAUSE).await,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn sight(message: &Publish) -> Sight {
    let properties = message
        .properties
        .iter()
        .flat_map(|properties| &properties.user_properties);
    let intent = properties
        .filter(|(name, _)| name == INTENT)
        .map(|(_, id)| id.clone());
    Sight {
        topic: String::from_utf8_lossy(&message.topic).into_owned(),
        payload: String::from_utf8_lossy(&message.payload).into_owned(),
        word: serde_json::from_slice(&message.payload).ok(),
        intent: intent.last(),
        at: Instant::now(),
    }
}
