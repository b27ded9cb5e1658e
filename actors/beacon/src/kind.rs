//! The kind of beacons, and its entity.

use std::io;
use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jarvis_entity::api::{Acting, Cx, Entity, EntityError, EntityKind, Inbound};
use jarvis_host::Clock;
use jarvis_replica::api::{ReadError, View};
use jarvis_types::limits::BEACON_PARTITIONS;
use jarvis_types::{EntityId, KindId, PartitionIndex};

use crate::api::{Acted, Order, PATIENCE};
use crate::recorder::Flash;

/// Longest time that sending one datagram takes: the lease must run that much longer.
const FLASH_TAKES: Duration = Duration::from_millis(20);

/// What a beacon acts with. It must not block.
pub trait Lamp: Send + Sync + 'static {
    /// Sends one datagram.
    ///
    /// # Errors
    /// The network's.
    fn flash(&self, to: SocketAddr, datagram: &[u8]) -> io::Result<()>;
}

/// Sends from sockets of its own, opened when first needed.
#[derive(Default)]
pub struct UdpLamp {
    sockets: Mutex<[Option<UdpSocket>; 2]>,
}

impl Lamp for UdpLamp {
    fn flash(&self, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        let own = &mut sockets[usize::from(to.is_ipv6())];
        let socket = match own {
            Some(socket) => socket,
            None => {
                let any = if to.is_ipv6() {
                    SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))
                } else {
                    SocketAddr::from(([0, 0, 0, 0], 0))
                };
                let socket = UdpSocket::bind(any)?;
                socket.set_nonblocking(true)?;
                own.insert(socket)
            }
        };
        socket.send_to(datagram, to).map(drop)
    }
}

/// The kind.
pub struct BeaconKind {
    lamp: Arc<dyn Lamp>,
    clock: Arc<dyn Clock>,
}

impl BeaconKind {
    /// Beacons that flash with `lamp`.
    pub fn new(lamp: Arc<dyn Lamp>, clock: Arc<dyn Clock>) -> Self {
        Self { lamp, clock }
    }
}

impl EntityKind for BeaconKind {
    type Entity = Beacon;

    fn id(&self) -> KindId {
        KindId::BEACON
    }

    fn since_level(&self) -> u32 {
        2
    }

    fn name(&self) -> &'static str {
        "beacon"
    }

    fn partitions(&self) -> u16 {
        BEACON_PARTITIONS
    }

    fn acts_on_world(&self) -> bool {
        true
    }

    fn create(&self, id: &EntityId) -> Beacon {
        Beacon {
            key: id.key.clone(),
            lamp: Arc::clone(&self.lamp),
            clock: Arc::clone(&self.clock),
        }
    }

    fn unfinished(&self, _: &View, _: PartitionIndex) -> Result<Vec<String>, ReadError> {
        // An order is whoever's gave it: it is given again.
        Ok(Vec::new())
    }
}

/// A beacon.
pub struct Beacon {
    key: String,
    lamp: Arc<dyn Lamp>,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Entity for Beacon {
    type Event = ();

    async fn on_start(&mut self, _: &Cx<()>) -> Result<(), EntityError> {
        Ok(())
    }

    async fn on_message(&mut self, cx: &Cx<()>, message: Inbound) -> Result<(), EntityError> {
        let Inbound { body, answer, .. } = message;
        let order = Order::decode(&body).map_err(|error| error.to_string());
        let order = match order.and_then(|order| order.check().map(|()| order)) {
            Ok(order) => order,
            Err(why) => {
                answer.refuse(why);
                return Ok(());
            }
        };
        let (node, epoch, n) = (cx.replica.node(), cx.epoch, order.n);
        let flashes = self.carry_out(&cx.acting(), cx, &order).await;
        let acted = match flashes {
            0 => Acted::NotActing { node, epoch, n },
            flashes => Acted::Done {
                node,
                epoch,
                n,
                flashes,
            },
        };
        match acted.encode() {
            Ok(body) => answer.send(body),
            Err(error) => answer.refuse(error.to_string()),
        }
        Ok(())
    }

    async fn on_event(&mut self, _: &Cx<()>, (): ()) -> Result<(), EntityError> {
        Ok(())
    }

    fn is_idle(&self) -> bool {
        true
    }
}

impl Beacon {
    /// Flashes as ordered for as long as that is permitted; gives how often.
    async fn carry_out(&self, acting: &Acting, cx: &Cx<()>, order: &Order) -> u16 {
        let mut done = 0;
        for i in 0..order.flashes {
            let mut waited = None;
            if i == 0 {
                waited = acting.wait(FLASH_TAKES, PATIENCE).await;
                if waited.is_none() {
                    return done;
                }
            } else {
                tokio::time::sleep(Duration::from_millis(u64::from(order.every_ms))).await;
            }
            let flash = Flash {
                key: self.key.clone(),
                partition: cx.partition,
                epoch: cx.epoch,
                node: cx.replica.node(),
                n: order.n,
                i,
                sent_at_ms: self.clock.now_ms(),
            };
            let datagram = flash.encode();
            // Last of all: a process that stands still after it was permitted acts late by so much.
            let Some(permit) = acting.permit(FLASH_TAKES) else {
                return done;
            };
            let sent = self.lamp.flash(order.recorder, &datagram);
            drop((permit, waited));
            if let Err(error) = sent {
                tracing::warn!(recorder = %order.recorder, %error, "a beacon's flash was not sent");
                return done;
            }
            done += 1;
        }
        done
    }
}
