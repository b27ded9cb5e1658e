//! Who tells beacons to act, over HTTP: the acts come back by the lamp, which is the oracle's.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jarvis_beacon::{Flash, Lamp};
use serde_json::json;

use crate::chat::http;
use crate::rng::Rng;
use crate::world::{Phase, World};

/// How long an order may take.
const ORDER_TIMEOUT: Duration = Duration::from_secs(6);

/// How many beacons are told.
pub const BEACONS: usize = 2;

/// What nodes of one machine flash with.
pub struct SimLamp(pub Arc<World>);

impl Lamp for SimLamp {
    fn flash(&self, _: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        match Flash::decode(datagram) {
            Some(flash) => {
                self.0
                    .oracle
                    .acted(flash.partition.0, flash.epoch.0, flash.node.0, self.0.trace.now())
            }
            None => self
                .0
                .oracle
                .report("no two nodes act at once", "a flash does not decode".to_owned()),
        }
        Ok(())
    }
}

/// Tells one beacon again and again, until it has acted in the calm.
pub async fn tell(world: Arc<World>, beacon: usize) {
    let rng = Rng::new(world.seed, &format!("teller {beacon}"));
    let mut n = 0;
    loop {
        n += 1;
        let calm = world.phase() == Phase::Calm;
        let machine = rng.pick(&world.machines);
        let order = json!({
            "recorder": "10.0.1.1:9", "n": n, "flashes": rng.range(1, 60), "every_ms": rng.range(1, 30),
        });
        let path = format!("/api/v1/drill/beacon/b{beacon}");
        match http(machine.ip, "POST", &path, Some(&order), ORDER_TIMEOUT).await {
            Ok((_, answer)) if calm && answer["acted"] == true => {
                world.trace.event(format_args!("teller b{beacon} is content"));
                return world.one_is_content();
            }
            Ok((status, _)) => world
                .trace
                .event(format_args!("teller b{beacon} at {}: {status}", machine.name)),
            Err(error) => world
                .trace
                .event(format_args!("teller b{beacon} at {}: {error:#}", machine.name)),
        }
        tokio::time::sleep(Duration::from_millis(rng.range(10, 200))).await;
    }
}
