//! Activation on one node: which entities run here, their mailboxes, crashes and passivation.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jarvis_host::Tasks;
use jarvis_mesh::api::Answer;
use jarvis_replica::api::{ReadError, Replica, View};
use jarvis_types::{EntityId, Epoch, KindId, NodeId, PartitionIndex};
use ractor::{Actor, ActorCell, ActorId, SpawnErr};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::api::{EntityKind, Inbound, Leases, Ownership};
use crate::gains::{Gains, TakenUp};
use crate::letters;
use crate::metrics;
use crate::placement::{Moved, Placement};
use crate::shell::{self, Activation, Seat};
use crate::supervisor::{Ended, Supervisor};
use crate::warm::{MAX_STANDBYS, Place};
use crate::wire::{AskFrame, AskReply};

/// Bounds and times of a node's entities.
#[derive(Debug, Clone)]
pub struct EntityLimits {
    /// Most messages and events of its own that wait for one entity; further messages are refused as overloaded.
    pub mailbox_messages: usize,
    /// Most entities that run on a node; more are refused as overloaded.
    pub active_entities: usize,
    /// Crashes of one entity within `crash_window` before it is set aside.
    pub crashes: usize,
    /// See `crashes`.
    pub crash_window: Duration,
    /// Wait before the first restart; doubles with every further crash in the window.
    pub restart_delay: Duration,
    /// How long an entity stays aside before it is tried again.
    pub aside_for: Duration,
    /// An entity that nobody used for this long is passivated (at the latest after twice as long).
    pub passivate_after: Duration,
}

impl Default for EntityLimits {
    fn default() -> Self {
        Self {
            mailbox_messages: 256,
            active_entities: 100_000,
            crashes: 5,
            crash_window: Duration::from_secs(60),
            restart_delay: Duration::from_millis(50),
            aside_for: Duration::from_secs(600),
            passivate_after: Duration::from_secs(30),
        }
    }
}

/// How long messages wait for a partition that is announced.
const EXPECT_FOR: Duration = Duration::from_millis(300);
/// Most messages that wait so; others are sent on to whoever still owns it.
const MAX_HELD: usize = 1_024;
/// How long an entity whose partition has gone may take to answer the message at hand.
const RETIRE_WITHIN: Duration = Duration::from_secs(1);

/// How long a majority may take to confirm what an entity that is started again has to have applied.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(1);
/// Before it is asked again.
const CATCH_UP_PAUSE: Duration = Duration::from_millis(100);

/// How often the metrics are told.
const COUNT_EVERY: Duration = Duration::from_secs(5);

/// What an answer says when its holder dropped it: the mesh's own words.
const DROPPED: &str = "dropped without an answer";

/// A kind with its entity's type erased.
trait AnyKind: Send + Sync {
    fn activate(&self, seat: Seat, supervisor: ActorCell, stands_by: bool) -> Result<Activation, SpawnErr>;
    fn unfinished(&self, view: &View, partition: PartitionIndex) -> Result<Vec<String>, ReadError>;
}

impl<K: EntityKind> AnyKind for K {
    fn activate(&self, seat: Seat, supervisor: ActorCell, stands_by: bool) -> Result<Activation, SpawnErr> {
        shell::activate(self.create(&seat.entity), seat, supervisor, stands_by)
    }

    fn unfinished(&self, view: &View, partition: PartitionIndex) -> Result<Vec<String>, ReadError> {
        let mut keys = EntityKind::unfinished(self, view, partition)?;
        for key in letters::waited_for(view, self.id(), partition)? {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        Ok(keys)
    }
}

/// A kind as the leader registers it with the machine.
#[derive(Debug, Clone)]
pub(crate) struct KindSpec {
    pub(crate) id: KindId,
    pub(crate) name: &'static str,
    pub(crate) partitions: u16,
    pub(crate) acts: bool,
    pub(crate) needs: &'static [&'static str],
    pub(crate) prefers: &'static [&'static str],
    pub(crate) since_level: u32,
}

/// The kinds of a node before it starts.
#[derive(Default)]
pub(crate) struct Kinds(Vec<(KindSpec, Arc<dyn AnyKind>)>);

impl Kinds {
    pub(crate) fn add<K: EntityKind>(&mut self, kind: K) {
        let spec = KindSpec {
            id: kind.id(),
            name: kind.name(),
            partitions: kind.partitions(),
            acts: kind.acts_on_world(),
            needs: kind.needs(),
            prefers: kind.prefers(),
            since_level: kind.since_level(),
        };
        self.0.push((spec, Arc::new(kind)));
    }

    pub(crate) fn specs(&self) -> Vec<KindSpec> {
        self.0.iter().map(|(spec, _)| spec.clone()).collect()
    }
}

struct KindSlot {
    name: &'static str,
    acts: bool,
    needs: &'static [&'static str],
    kind: Arc<dyn AnyKind>,
    supervisor: ActorCell,
}

/// What is known of one entity here.
#[derive(Default)]
struct Slot {
    activation: Option<Activation>,
    crashes: VecDeque<Instant>,
    restarting: bool,
    aside: Option<SetAside>,
}

#[derive(Clone)]
struct SetAside {
    since: Instant,
    restarts: u32,
    last_error: String,
}

#[derive(Default)]
struct Entities {
    slots: HashMap<EntityId, Slot>,
    by_actor: HashMap<ActorId, EntityId>,
}

impl Entities {
    /// What runs of these partitions.
    fn activations(&self, places: &BTreeSet<Place>) -> impl Iterator<Item = (&EntityId, &Activation)> {
        let running = self.slots.iter().filter_map(|(id, slot)| {
            let activation = slot.activation.as_ref()?;
            (!activation.stands_by()).then_some((id, activation))
        });
        running.filter(|(id, activation)| places.contains(&(id.kind, activation.partition)))
    }
}

/// An entity that was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantinedEntity {
    /// Which.
    pub entity: EntityId,
    /// How often it had been restarted.
    pub restarts: u32,
    /// What it died of last.
    pub last_error: String,
}

/// The entities of one node.
pub(crate) struct Host {
    node: NodeId,
    replica: Replica,
    placement: Arc<Placement>,
    leases: Leases,
    limits: EntityLimits,
    tasks: Tasks,
    kinds: BTreeMap<KindId, KindSlot>,
    entities: Mutex<Entities>,
    ready: AtomicBool,
    gains: Gains,
    /// Partitions that are to come here, and until when messages wait for them.
    expected: Mutex<HashMap<Place, Instant>>,
    /// How many messages wait.
    held: AtomicUsize,
    /// There was no room for an entity with work left undone.
    turned_away: AtomicBool,
    room: Notify,
}

/// Who waits for an answer.
pub(crate) type ReplyTo = Box<dyn FnOnce(AskReply) + Send>;

impl Host {
    pub(crate) async fn start(
        replica: Replica,
        (placement, leases): (Arc<Placement>, Leases),
        kinds: Kinds,
        limits: EntityLimits,
        tasks: Tasks,
    ) -> Result<Arc<Self>, SpawnErr> {
        // Bounded by `active_entities`: an activation ends once, and stays in `by_actor`, by which the limit counts, until
        // its ending was taken from here.
        let (ended, mut endings) = mpsc::unbounded_channel::<Ended>();
        let mut slots = BTreeMap::new();
        for (spec, kind) in kinds.0 {
            let (supervisor, _) = Supervisor::spawn(None, Supervisor, ended.clone()).await?;
            slots.insert(
                spec.id,
                KindSlot {
                    name: spec.name,
                    acts: spec.acts,
                    needs: spec.needs,
                    kind,
                    supervisor: supervisor.get_cell(),
                },
            );
        }
        let node = replica.node();
        let entities = Mutex::default();
        let ready = AtomicBool::new(false);
        let host = Arc::new(Self {
            node,
            replica,
            placement,
            leases,
            limits,
            tasks,
            kinds: slots,
            entities,
            ready,
            gains: Gains::default(),
            expected: Mutex::default(),
            held: AtomicUsize::new(0),
            turned_away: AtomicBool::new(false),
            room: Notify::new(),
        });
        let weak = Arc::downgrade(&host);
        host.tasks.spawn_until_cancelled(async move {
            while let Some(news) = endings.recv().await {
                let Some(host) = weak.upgrade() else { return };
                host.ended(news);
            }
        });
        let weak = Arc::downgrade(&host);
        let every = host.limits.passivate_after;
        let mut swept = Instant::now();
        host.tasks.spawn_until_cancelled(async move {
            loop {
                let Some(host) = weak.upgrade() else { return };
                host.count();
                if swept.elapsed() >= every {
                    host.sweep();
                    if host.turned_away.swap(false, Ordering::AcqRel) {
                        host.room.notify_one();
                    }
                    swept = Instant::now();
                }
                drop(host);
                tokio::time::sleep(every.min(COUNT_EVERY)).await;
            }
        });
        Ok(host)
    }

    pub(crate) fn node(&self) -> NodeId {
        self.node
    }

    /// Takes a message for an entity: queues it, or says at once why not.
    pub(crate) fn deliver(self: &Arc<Self>, from: NodeId, frame: AskFrame, reply: ReplyTo) {
        let span = tracing::debug_span!(
            "deliver",
            request_id = frame.request.as_ref().map(tracing::field::display),
            entity = %frame.to,
            %from,
        );
        let _entered = span.enter();
        if self.held.load(Ordering::Acquire) < MAX_HELD
            && let Some(until) = self.expected_until(&frame.to)
        {
            return self.hold(until, from, frame, reply);
        }
        if let Err((reply, refusal)) = self.try_deliver(from, frame, reply) {
            tracing::debug!(?refusal, "the message was not taken");
            reply(refusal);
        }
    }

    fn try_deliver(
        self: &Arc<Self>,
        from: NodeId,
        frame: AskFrame,
        reply: ReplyTo,
    ) -> Result<(), (ReplyTo, AskReply)> {
        let AskFrame { to, request, body } = frame;
        if !to.is_valid() {
            return Err((
                reply,
                AskReply::Refused("the entity's key is empty or too long".to_owned()),
            ));
        }
        // Looked up under the lock: whoever follows a move stops what runs under it, after the placement shows it.
        let mut entities = self.lock();
        let (partition, epoch) = match self.seat_of(&to) {
            Ok(seat) => seat,
            Err(refusal) => return Err((reply, refusal)),
        };
        if let Err(refusal) = self.activate_in(&mut entities, &to, partition, epoch) {
            return Err((reply, refusal));
        }
        let Some(activation) = entities.slots.get(&to).and_then(|slot| slot.activation.as_ref()) else {
            return Err((reply, AskReply::NotReady));
        };
        if activation.pulse.depth.load(Ordering::Acquire) >= self.limits.mailbox_messages {
            return Err((reply, AskReply::Overloaded));
        }
        let answer = Answer::local(move |result| {
            reply(match result {
                Ok(bytes) => AskReply::Answer(bytes.to_vec()),
                // It crashed or was moved with the message in hand: whoever sent it tries again.
                Err(words) if words == DROPPED => AskReply::NotReady,
                Err(words) => AskReply::Refused(words),
            });
        });
        tracing::debug!(%epoch, "the message waits for the entity");
        // An actor that ends at this instant drops the message, and the drop is the answer.
        let _ = activation.deliver(Inbound {
            from,
            request,
            body: body.into(),
            answer,
        });
        Ok(())
    }

    /// Partition and epoch under which this node may run the entity.
    fn seat_of(&self, entity: &EntityId) -> Result<(PartitionIndex, Epoch), AskReply> {
        let (partition, own) = self.placement.of(entity).ok_or(AskReply::NotReady)?;
        if own.owner != Some(self.node) {
            return Err(AskReply::NotOwner {
                epoch: own.epoch,
                owner: own.owner,
            });
        }
        if !self.kinds.contains_key(&entity.kind) {
            return Err(AskReply::Refused(format!(
                "this build does not know the kind of {entity}"
            )));
        }
        if self.ready.load(Ordering::Acquire) {
            Ok((partition, own.epoch))
        } else {
            Err(AskReply::NotReady)
        }
    }

    fn activate_in(
        &self,
        entities: &mut Entities,
        id: &EntityId,
        partition: PartitionIndex,
        epoch: Epoch,
    ) -> Result<(), AskReply> {
        let running = entities.by_actor.len();
        let slot = match entities.slots.get_mut(id) {
            Some(slot) => slot,
            None => entities.slots.entry(id.clone()).or_default(),
        };
        if let Some(aside) = &slot.aside {
            if aside.since.elapsed() < self.limits.aside_for {
                let SetAside {
                    restarts, last_error, ..
                } = aside.clone();
                return Err(AskReply::Quarantined { restarts, last_error });
            }
            *slot = Slot::default();
        }
        match &mut slot.activation {
            Some(activation) if activation.epoch == epoch => {
                activation.begin();
                return Ok(());
            }
            Some(outdated) => outdated.kill(),
            None if slot.restarting => return Err(AskReply::NotReady),
            None => {}
        }
        if running >= self.limits.active_entities {
            return Err(AskReply::Overloaded);
        }
        self.spawn(entities, id, partition, epoch, false)
    }

    fn spawn(
        &self,
        entities: &mut Entities,
        id: &EntityId,
        partition: PartitionIndex,
        epoch: Epoch,
        stands_by: bool,
    ) -> Result<(), AskReply> {
        let kind = self.kinds.get(&id.kind).ok_or(AskReply::NotReady)?;
        let seat = Seat {
            entity: id.clone(),
            partition,
            epoch,
            replica: self.replica.clone(),
            tasks: self.tasks.child(),
            leases: self.leases.clone(),
        };
        match kind.kind.activate(seat, kind.supervisor.clone(), stands_by) {
            Ok(activation) => {
                entities.by_actor.insert(activation.cell.get_id(), id.clone());
                entities.slots.entry(id.clone()).or_default().activation = Some(activation);
                Ok(())
            }
            Err(error) => {
                tracing::error!(entity = %id, %error, "entity did not start");
                Err(AskReply::NotReady)
            }
        }
    }

    /// An actor has ended: forgets it, restarts it after a while, or sets it aside.
    fn ended(self: &Arc<Self>, news: Ended) {
        let mut entities = self.lock();
        let Some(id) = entities.by_actor.remove(&news.actor) else {
            return;
        };
        let Some(slot) = entities.slots.get_mut(&id) else {
            return;
        };
        if slot
            .activation
            .as_ref()
            .is_some_and(|a| a.cell.get_id() == news.actor)
        {
            slot.activation = None;
        } else {
            // A later activation has taken its place.
            return;
        }
        let Some(fault) = news.fault else {
            entities.slots.remove(&id);
            return;
        };
        let now = Instant::now();
        slot.crashes.push_back(now);
        while slot
            .crashes
            .front()
            .is_some_and(|&at| now - at > self.limits.crash_window)
        {
            slot.crashes.pop_front();
        }
        let crashes = slot.crashes.len();
        let is_set_aside = crashes > self.limits.crashes;
        let delay = if is_set_aside {
            let restarts = u32::try_from(crashes - 1).unwrap_or(u32::MAX);
            tracing::error!(entity = %id, restarts, error = %fault, "entity keeps crashing and is set aside; see `jarvis why`");
            slot.aside = Some(SetAside {
                since: now,
                restarts,
                last_error: fault,
            });
            self.limits.aside_for
        } else {
            tracing::warn!(entity = %id, crashes, error = %fault, "entity crashed and is restarted");
            ::metrics::counter!(metrics::RESTARTS, "kind" => self.kind_name(id.kind)).increment(1);
            slot.restarting = true;
            self.limits.restart_delay * 2u32.pow(u32::try_from(crashes - 1).unwrap_or(0).min(10))
        };
        drop(entities);
        let (weak, replica) = (Arc::downgrade(self), self.replica.clone());
        self.tasks.spawn_until_cancelled(async move {
            tokio::time::sleep(delay).await;
            // What it has written may not be applied here yet: begun anew before that, it would do again what it knows as done.
            while replica.linearizable(CATCH_UP_WITHIN).await.is_err() {
                tokio::time::sleep(CATCH_UP_PAUSE).await;
            }
            let Some(host) = weak.upgrade() else { return };
            if !is_set_aside && let Some(slot) = host.lock().slots.get_mut(&id) {
                slot.restarting = false;
            }
            // One that was set aside may act by itself and wait for no message. One that runs, crashed or was set aside
            // again since then is left as it is.
            host.activate(&id);
        });
    }

    /// Starts an entity without a message, if it is this node's.
    fn activate(&self, id: &EntityId) {
        let mut entities = self.lock();
        if let Ok((partition, epoch)) = self.seat_of(id) {
            self.activate_unasked(&mut entities, id, partition, epoch);
        }
    }

    /// Starts an entity for which nobody waits. One for which there was no room is looked for again once there may be.
    fn activate_unasked(
        &self,
        entities: &mut Entities,
        id: &EntityId,
        partition: PartitionIndex,
        epoch: Epoch,
    ) {
        // Other refusals are not news: whoever needs the entity asks again.
        if self.activate_in(entities, id, partition, epoch) == Err(AskReply::Overloaded) {
            self.turned_away.store(true, Ordering::Release);
        }
    }

    /// Completes when there may be room again for entities that were turned away. For one waiter.
    pub(crate) async fn has_room(&self) {
        self.room.notified().await;
    }

    /// Letters have come for an entity: starts it if it is this node's, and tells it.
    pub(crate) fn tell(&self, id: &EntityId) {
        if !self.is_open() {
            // Whoever has letters is started when this node begins to act.
            return;
        }
        let mut entities = self.lock();
        let Ok((partition, epoch)) = self.seat_of(id) else {
            return;
        };
        let running = (entities.slots.get(id))
            .and_then(|slot| slot.activation.as_ref())
            .filter(|activation| activation.epoch == epoch && !activation.stands_by());
        if let Some(activation) = running {
            activation.tell();
        } else {
            // A start looks for letters by itself; one that crashed or was set aside looks when it starts again.
            self.activate_unasked(&mut entities, id, partition, epoch);
        }
    }

    /// This node has caught up with what was committed when it started: it may act.
    pub(crate) fn open(&self) {
        self.ready.store(true, Ordering::Release);
    }

    pub(crate) fn is_open(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Stops what moved away; starts what has come with work left undone.
    pub(crate) fn follow(&self, view: &View, moved: &[Moved]) {
        self.stop_deposed(moved);
        self.resume(view, moved);
    }

    /// Starts, or tells of letters, the entities of this node's partitions among these that have work left undone. Those that
    /// run go on, and those that are set aside stay so.
    pub(crate) fn resume(&self, view: &View, partitions: &[Moved]) {
        if !self.is_open() {
            return;
        }
        for own in partitions.iter().filter(|m| m.now.owner == Some(self.node)) {
            let Some(kind) = self.kinds.get(&own.kind) else {
                continue;
            };
            match kind.kind.unfinished(view, own.partition) {
                Ok(keys) => {
                    self.gains.note(own.kind, own.partition, own.now.epoch, &keys);
                    for key in keys {
                        self.tell(&EntityId { kind: own.kind, key });
                    }
                }
                Err(error) => {
                    tracing::error!(kind = kind.name, partition = %own.partition, %error, "unfinished work could not be read");
                }
            }
        }
    }

    /// Ends what runs here and has another owner; starts what stood by for what has come.
    fn stop_deposed(&self, moved: &[Moved]) {
        if moved.is_empty() {
            return;
        }
        let moved: HashMap<Place, Ownership> =
            (moved.iter()).map(|m| ((m.kind, m.partition), m.now)).collect();
        let mut retired = Vec::new();
        self.lock().slots.retain(|id, slot| {
            let Some(activation) = &mut slot.activation else {
                // Crashes and quarantine are of this ownership; the next owner begins anew.
                let place = self.placement.of(id).map(|(partition, _)| (id.kind, partition));
                return slot.restarting || place.is_none_or(|place| !moved.contains_key(&place));
            };
            let Some(now) = moved.get(&(id.kind, activation.partition)) else {
                return true;
            };
            if now.owner == Some(self.node) && now.epoch == activation.epoch {
                activation.begin();
                return true;
            }
            let acts = self.kinds.get(&id.kind).is_none_or(|kind| kind.acts);
            if acts || activation.stands_by() {
                activation.kill();
            } else {
                // The machine refuses what it still proposes, so the message at hand may have its answer.
                activation.stop();
                retired.extend(slot.activation.take());
            }
            false
        });
        if !retired.is_empty() {
            self.tasks.spawn_until_cancelled(async move {
                tokio::time::sleep(RETIRE_WITHIN).await;
                retired.iter().for_each(Activation::kill);
            });
        }
    }

    /// Partitions are to come here soon: messages for them wait a little.
    pub(crate) fn expect(&self, places: &[Place]) {
        let now = Instant::now();
        let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        expected.retain(|_, until| *until > now);
        expected.extend(places.iter().map(|place| (*place, now + EXPECT_FOR)));
    }

    /// Until when a message for an entity waits for its partition to come; none if that is not expected.
    fn expected_until(&self, id: &EntityId) -> Option<Instant> {
        let (partition, own) = self.placement.of(id)?;
        if own.owner == Some(self.node) {
            return None;
        }
        let expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        let until = expected.get(&(id.kind, partition)).copied()?;
        (until > Instant::now()).then_some(until)
    }

    /// Keeps a message until its partition is here.
    fn hold(self: &Arc<Self>, until: Instant, from: NodeId, frame: AskFrame, reply: ReplyTo) {
        let mut placement = self.placement.watch();
        let weak = Arc::downgrade(self);
        let placed = Arc::clone(&self.placement);
        let node = self.node;
        self.held.fetch_add(1, Ordering::AcqRel);
        self.tasks.spawn_until_cancelled(async move {
            let own = |id| placed.of(id).is_some_and(|(_, own)| own.owner == Some(node));
            let comes = async {
                loop {
                    placement.mark_unchanged();
                    if own(&frame.to) || placement.changed().await.is_err() {
                        return;
                    }
                }
            };
            let _ = tokio::time::timeout_at(until, comes).await;
            let Some(host) = weak.upgrade() else { return };
            host.held.fetch_sub(1, Ordering::AcqRel);
            if let Err((reply, refusal)) = host.try_deliver(from, frame, reply) {
                reply(refusal);
            }
        });
    }

    /// Has entities stand by whose partitions are to come here; gives how many do.
    pub(crate) fn stand_by(&self, ids: &[EntityId]) -> u32 {
        if !self.is_open() {
            return 0;
        }
        let mut entities = self.lock();
        let mut ready = 0;
        for id in ids.iter().take(MAX_STANDBYS).filter(|id| id.is_valid()) {
            let Some((partition, own)) = self.placement.of(id) else {
                continue;
            };
            if own.owner == Some(self.node)
                || entities.slots.contains_key(id)
                || entities.by_actor.len() >= self.limits.active_entities
            {
                continue;
            }
            // The epoch that the move will give it. One that turns out otherwise finds the standby useless, and no more.
            let epoch = Epoch(own.epoch.0 + 1);
            ready += u32::from(self.spawn(&mut entities, id, partition, epoch, true).is_ok());
        }
        ready
    }

    /// Whether some entity of these partitions has a turn under way.
    pub(crate) fn is_busy(&self, places: &BTreeSet<Place>) -> bool {
        let entities = self.lock();
        let mut of = entities.activations(places);
        of.any(|(_, activation)| {
            activation.pulse.depth.load(Ordering::Acquire) > 0
                || !activation.pulse.idle.load(Ordering::Acquire)
        })
    }

    /// The entities of these partitions that run here.
    pub(crate) fn running(&self, places: &BTreeSet<Place>) -> Vec<EntityId> {
        let entities = self.lock();
        let of = entities.activations(places).map(|(id, _)| id.clone());
        of.take(MAX_STANDBYS).collect()
    }

    /// Passivates what nobody used since the last sweep, and counts.
    fn sweep(&self) {
        let mut entities = self.lock();
        let limits = &self.limits;
        entities.slots.retain(|_, slot| {
            if let Some(aside) = &slot.aside {
                return aside.since.elapsed() < limits.aside_for;
            }
            let Some(activation) = &slot.activation else {
                return slot.restarting;
            };
            let depth = activation.pulse.depth.load(Ordering::Acquire);
            let used = activation.pulse.used.swap(false, Ordering::AcqRel);
            if !used && depth == 0 && activation.pulse.idle.load(Ordering::Acquire) {
                if activation.stands_by() {
                    activation.kill();
                } else {
                    activation.stop();
                }
                return false;
            }
            true
        });
    }

    /// Tells the metrics how many entities run, are set aside, and how deep the deepest mailbox is.
    fn count(&self) {
        let mut counts: BTreeMap<KindId, (u32, u32, usize)> =
            self.kinds.keys().map(|&kind| (kind, (0, 0, 0))).collect();
        for (id, slot) in &self.lock().slots {
            let count = counts.entry(id.kind).or_default();
            count.1 += u32::from(slot.aside.is_some());
            if let Some(activation) = &slot.activation {
                count.0 += 1;
                count.2 = count.2.max(activation.pulse.depth.load(Ordering::Acquire));
            }
        }
        for (kind, (running, aside, depth)) in counts {
            let name = self.kind_name(kind);
            ::metrics::gauge!(metrics::ACTIVE, "kind" => name).set(running);
            ::metrics::gauge!(metrics::QUARANTINED, "kind" => name).set(aside);
            ::metrics::gauge!(metrics::MAILBOX, "kind" => name).set(depth as f64);
            ::metrics::counter!(metrics::RESTARTS, "kind" => name).increment(0);
        }
    }

    /// Entities that were set aside here.
    pub(crate) fn quarantined(&self) -> Vec<QuarantinedEntity> {
        let entities = self.lock();
        let mut all: Vec<_> = entities
            .slots
            .iter()
            .filter_map(|(id, slot)| {
                let aside = slot.aside.as_ref()?;
                let SetAside {
                    restarts, last_error, ..
                } = aside.clone();
                Some(QuarantinedEntity {
                    entity: id.clone(),
                    restarts,
                    last_error,
                })
            })
            .collect();
        all.sort_by(|a, b| a.entity.cmp(&b.entity));
        all
    }

    /// Whether the entity runs here, how often it crashed lately.
    pub(crate) fn activity(&self, id: &EntityId) -> (bool, usize) {
        let entities = self.lock();
        entities.slots.get(id).map_or((false, 0), |slot| {
            let runs = (slot.activation.as_ref()).is_some_and(|activation| !activation.stands_by());
            (runs, slot.crashes.len())
        })
    }

    /// What a node must have to carry each kind.
    pub(crate) fn needs(&self) -> BTreeMap<KindId, &'static [&'static str]> {
        self.kinds
            .iter()
            .map(|(&kind, slot)| (kind, slot.needs))
            .collect()
    }

    /// How this node took up the partition of an entity that it owns.
    pub(crate) fn taken_up(&self, id: &EntityId) -> Option<TakenUp> {
        let (partition, own) = self.placement.of(id)?;
        if own.owner != Some(self.node) {
            return None;
        }
        self.gains.of(id.kind, partition, own.epoch, &id.key)
    }

    fn kind_name(&self, kind: KindId) -> &'static str {
        self.kinds.get(&kind).map_or("unknown", |slot| slot.name)
    }

    fn lock(&self) -> MutexGuard<'_, Entities> {
        self.entities.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for slot in self.lock().slots.values() {
            if let Some(activation) = &slot.activation {
                activation.kill();
            }
        }
        for kind in self.kinds.values() {
            kind.supervisor.kill();
        }
    }
}
