//! Tables in memory with a clock that tests turn by hand, and short ways to write the usual commands.

use jarvis_machine::change::Change;
use jarvis_machine::command::{Command, Fence, Move, MoveReason, NewNode, Origin, Proposal};
use jarvis_machine::query::partition_of_session;
use jarvis_machine::reply::{Outcome, Refusal, Reply};
use jarvis_machine::rows::{CredentialKind, NodeIntent, NodeRole};
use jarvis_machine::snapshot::{ChunkRow, export};
use jarvis_machine::storage::{Read, Table, TableStore};
use jarvis_machine::{Applied, MemoryStore, Query, apply};
use jarvis_types::{ClusterId, Epoch, KindId, NodeId, PartitionIndex, Seq, SessionId, UserId, limits};

pub(crate) const ADMIN: UserId = UserId(1);
pub(crate) const CHAT: SessionId = SessionId(77);

pub(crate) struct World {
    pub(crate) store: MemoryStore,
    pub(crate) now_ms: u64,
}

impl World {
    pub(crate) fn empty() -> Self {
        Self {
            store: MemoryStore::new(),
            now_ms: 1_000,
        }
    }

    /// A cluster of one node, named `one`, with the administrator `ada`.
    pub(crate) fn new() -> Self {
        let mut world = Self::empty();
        assert_eq!(world.run(initialise()), Ok(Reply::Joined { node: NodeId(1) }));
        world
    }

    /// Like [`World::new`], with as many active nodes, the session kind, and an empty session of the administrator's.
    pub(crate) fn with_nodes(count: u8) -> Self {
        let mut world = Self::new();
        for n in 2..=count {
            world.join(n, NodeRole::Voter);
        }
        world.run(sessions_kind()).unwrap();
        world
            .run(Command::CreateSession {
                session: CHAT,
                user: ADMIN,
            })
            .unwrap();
        world
    }

    /// Admits a node and has it report for work.
    pub(crate) fn join(&mut self, n: u8, role: NodeRole) -> NodeId {
        self.run(Command::CreateInvite {
            secret: [n; 32],
            role,
            expires_at_ms: self.now_ms + 1_000,
        })
        .unwrap();
        let reply = self.run(Command::ConsumeInvite {
            secret: [n; 32],
            node: new_node(&format!("node-{n}")),
        });
        let Ok(Reply::Joined { node }) = reply else {
            panic!("{reply:?}")
        };
        self.run(announce(node)).unwrap();
        node
    }

    pub(crate) fn run(&mut self, command: Command) -> Outcome {
        self.apply(&self.proposal(command)).outcome
    }

    pub(crate) fn changes(&mut self, command: Command) -> Vec<Change> {
        let applied = self.apply(&self.proposal(command));
        applied.outcome.unwrap();
        applied.changes
    }

    pub(crate) fn refuse(&mut self, command: Command, expected: Refusal) {
        assert_eq!(self.run(command), Err(expected));
    }

    /// Expects a refusal whose text has `part` in it.
    pub(crate) fn refuse_saying(&mut self, command: Command, part: &str) {
        let refusal = self.run(command).unwrap_err();
        assert!(
            matches!(refusal, Refusal::Invalid(_) | Refusal::LimitReached(_)),
            "{refusal:?}"
        );
        assert!(refusal.to_string().contains(part), "{part:?} is not in {refusal}");
    }

    pub(crate) fn run_fenced(&mut self, fence: Fence, command: Command) -> Outcome {
        self.apply(&Proposal {
            fence: Some(fence),
            ..self.proposal(command)
        })
        .outcome
    }

    pub(crate) fn proposal(&self, command: Command) -> Proposal {
        Proposal {
            origin: None,
            at_ms: self.now_ms,
            fence: None,
            request: None,
            command,
        }
    }

    /// Applies, and checks that what is refused leaves nothing but its remembered outcome and ledger time.
    pub(crate) fn apply(&mut self, proposal: &Proposal) -> Applied {
        let before = self.store.read().unwrap();
        let mut applied = None;
        self.store
            .write(false, &mut |tables| {
                applied = Some(apply(tables, proposal)?);
                Ok(())
            })
            .unwrap();
        let applied = applied.unwrap();
        if let Err(refusal) = &applied.outcome {
            assert_eq!(applied.changes, [], "{refusal} changed something");
            let after = self.store.read().unwrap();
            assert_eq!(state(&*before), state(&*after), "{refusal} changed something");
        }
        applied
    }

    pub(crate) fn read<T>(&self, read: impl FnOnce(&Query<'_>) -> T) -> T {
        read(&Query(&*self.store.read().unwrap()))
    }

    pub(crate) fn say(&mut self, id: &str, text: &str) -> Outcome {
        self.run(say(id, text))
    }

    pub(crate) fn revision(&self) -> u64 {
        self.read(|q| q.placement_revision().unwrap())
    }

    /// Places partitions of the session kind.
    pub(crate) fn place(&mut self, moves: &[(u16, u64)]) -> Outcome {
        let moves = moves
            .iter()
            .map(|&(partition, to)| session_move(partition, to))
            .collect();
        let based_on = self.revision();
        self.run(Command::Place {
            based_on,
            health: vec![],
            moves,
            reason: MoveReason::FirstPlacement,
        })
    }

    /// Gives the partition of [`CHAT`] to a node.
    pub(crate) fn place_chat(&mut self, to: u64) -> Outcome {
        self.place(&[(partition_of_session(CHAT).0, to)])
    }

    pub(crate) fn rows(&self, table: Table) -> usize {
        let read = self.store.read().unwrap();
        jarvis_machine::keys::scan_prefix(&*read, table, &[], false, usize::MAX)
            .unwrap()
            .len()
    }
}

/// All rows but those of which a refused command may change some.
fn state(read: &dyn Read) -> Vec<ChunkRow> {
    let mut rows = all_rows(read);
    rows.retain(|row| {
        let bookkeeping = [Table::Proposals as u8, Table::Proposers as u8].contains(&row.table);
        let ledger = row.table == Table::Meta as u8 && row.key == jarvis_machine::keys::META_LEDGER_MS;
        !bookkeeping && !ledger
    });
    rows
}

pub(crate) fn all_rows(read: &dyn Read) -> Vec<ChunkRow> {
    let mut rows = Vec::new();
    loop {
        let after = rows
            .last()
            .map(|row: &ChunkRow| (Table::ALL[usize::from(row.table)], row.key.clone()));
        let after = after.as_ref().map(|(table, key)| (*table, key.as_slice()));
        let chunk = export(read, after, usize::MAX).unwrap();
        rows.extend(chunk.rows);
        if chunk.last {
            return rows;
        }
    }
}

pub(crate) fn new_node(name: &str) -> NewNode {
    NewNode {
        name: name.parse().unwrap(),
        role: NodeRole::Voter,
        mesh_address: "10.0.0.1:8007".to_owned(),
        http_url: "http://10.0.0.1:8007".to_owned(),
        version: "0.1.0".to_owned(),
        level: 1,
    }
}

pub(crate) fn initialise() -> Command {
    Command::Initialise {
        cluster: ClusterId(5),
        node: new_node("one"),
        admin: "ada".to_owned(),
    }
}

pub(crate) fn sessions_kind() -> Command {
    let (kind, partitions) = (KindId::SESSION, limits::SESSION_PARTITIONS);
    Command::RegisterKind {
        kind,
        name: "session".to_owned(),
        partitions,
    }
}

pub(crate) fn announce(node: NodeId) -> Command {
    speaks(node.0, 1)
}

pub(crate) fn speaks(node: u64, level: u32) -> Command {
    Command::AnnounceNode {
        node: NodeId(node),
        mesh_address: "10.0.0.1:8007".to_owned(),
        http_url: "http://10.0.0.1:8007".to_owned(),
        version: "0.1.0".to_owned(),
        level,
    }
}

pub(crate) fn set_intent(node: u64, intent: NodeIntent) -> Command {
    Command::SetIntent {
        node: NodeId(node),
        intent,
    }
}

pub(crate) fn session_move(partition: u16, to: u64) -> Move {
    Move {
        kind: KindId::SESSION,
        partition: PartitionIndex(partition),
        to: NodeId(to),
    }
}

pub(crate) fn say(id: &str, text: &str) -> Command {
    Command::Say {
        session: CHAT,
        user: ADMIN,
        id: id.parse().unwrap(),
        text: text.to_owned(),
    }
}

pub(crate) fn notify(id: &str, text: &str) -> Command {
    Command::Notify {
        session: CHAT,
        id: id.parse().unwrap(),
        text: text.to_owned(),
    }
}

pub(crate) fn answer(to: u64, text: &str) -> Command {
    Command::Answer {
        session: CHAT,
        to: Seq(to),
        text: text.to_owned(),
        cancelled: false,
    }
}

pub(crate) fn create_user(name: &str) -> Command {
    Command::CreateUser {
        name: name.to_owned(),
        password: None,
        admin: false,
    }
}

pub(crate) fn credential(secret: u64, user: UserId, kind: CredentialKind, expires_at_ms: u64) -> Command {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&secret.to_be_bytes());
    Command::CreateCredential {
        secret: hash,
        user,
        kind,
        label: "phone".to_owned(),
        expires_at_ms,
    }
}

pub(crate) fn chat_fence(epoch: u64) -> Fence {
    Fence {
        kind: KindId::SESSION,
        partition: partition_of_session(CHAT),
        epoch: Epoch(epoch),
    }
}

pub(crate) fn origin(node: u64, incarnation: u64, sequence: u64, answered_below: u64) -> Option<Origin> {
    let incarnation = jarvis_types::Incarnation(incarnation);
    Some(Origin {
        node: NodeId(node),
        incarnation,
        sequence,
        answered_below,
    })
}
