//! Rows and letters of an entity: what it keeps and is sent in the tables, so that its next owner finds it.
//!
//! ```text
//!  sender's step ─► log ─► Letters ─► owner: Entity::on_letters ─► Ledger::write { rows, taken, letters } ─► log
//!                             └─ the next owner, if this one dies before its step is in the log
//! ```
//!
//! A step names the version of the entity that it was thought out on, and the machine refuses it on any other. So one whose
//! outcome is not known can be looked into, and is never done twice.

use std::time::Duration;

use jarvis_machine::command::{Command, Letter, RowChange};
use jarvis_machine::reply::Refusal;
use jarvis_machine::storage::KeyValue;
use jarvis_replica::api::{ProposeError, ReadError, View};
use jarvis_types::{KindId, PartitionIndex, RequestId};

use crate::api::{Cx, EntityError};

/// A step of an entity: all of it becomes so, or nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// Rows to set or remove.
    pub rows: Vec<RowChange>,
    /// Its letters up to and including this number are done with; 0: none.
    pub taken: u64,
    /// Letters to others, or to itself.
    pub letters: Vec<Letter>,
}

/// Where an entity stands in the tables, as its owner knows. What it holds in memory beside it must be what the rows say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ledger {
    version: u64,
    taken: u64,
}

/// Why a step was not written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Whether it was is not known: this activation has to end, and the next one reads what came of it.
    #[error("whether the step was written is not known: {0}")]
    Unknown(ProposeError),
    /// Another owner writes by now.
    #[error("the partition has moved on")]
    Deposed(EntityError),
    /// It was not, and nothing of it will be: the step is too large, or somebody who is sent to has too much waiting.
    #[error(transparent)]
    Refused(ProposeError),
}

impl From<LedgerError> for EntityError {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Deposed(deposed) => deposed,
            other => Self::Fault(other.to_string()),
        }
    }
}

impl Ledger {
    /// As the tables have it, for a start of the entity: whatever an earlier owner wrote has been applied here by then.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn open<E: Send + 'static>(cx: &Cx<E>) -> Result<Self, ReadError> {
        let row = cx
            .replica
            .local()?
            .query()
            .entity(&cx.entity)?
            .unwrap_or_default();
        Ok(Self {
            version: row.version,
            taken: row.taken,
        })
    }

    /// Letters that are not done with, with their numbers, the first ones first, as far as this node has applied.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn letters<E: Send + 'static>(
        &self,
        cx: &Cx<E>,
        limit: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, ReadError> {
        let view = cx.replica.local()?;
        // This node may not have applied yet what it wrote last, and still show letters that are done with.
        view.query()
            .letters(&cx.entity, self.taken, limit)
            .map_err(ReadError::from)
    }

    /// Writes a step; done when a majority has it. This node's own tables may show it a little later.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn write<E: Send + 'static>(
        &mut self,
        cx: &Cx<E>,
        step: Step,
        request: Option<RequestId>,
        deadline: Duration,
    ) -> Result<(), LedgerError> {
        let Step { rows, taken, letters } = step;
        let command = Command::WriteEntity {
            entity: cx.entity.clone(),
            based_on: self.version,
            rows,
            taken,
            letters,
        };
        match cx.propose(command, request, deadline).await {
            Ok(_) => {
                self.version += 1;
                self.taken = self.taken.max(taken);
                Ok(())
            }
            Err(ProposeError::Refused(Refusal::StaleEpoch { current, .. })) => {
                Err(LedgerError::Deposed(EntityError::Deposed(current)))
            }
            Err(ProposeError::Refused(Refusal::StaleIncarnation)) => {
                Err(LedgerError::Deposed(EntityError::Deposed(cx.epoch)))
            }
            // Only this activation writes: an earlier step of it that was given up has come all the same.
            Err(error @ ProposeError::Refused(Refusal::StaleVersion { .. } | Refusal::AlreadyAnswered)) => {
                Err(LedgerError::Unknown(error))
            }
            Err(
                error @ (ProposeError::Refused(_) | ProposeError::TooLarge { .. } | ProposeError::Overloaded),
            ) => Err(LedgerError::Refused(error)),
            Err(error) => Err(LedgerError::Unknown(error)),
        }
    }
}

/// Between tries of a step for which there was no room.
const ROOM_PAUSE: Duration = Duration::from_millis(100);

impl Ledger {
    /// As [`Ledger::write`], until it is known what became of the step: for an entity that cannot go on without it, while no
    /// majority is reachable perhaps. It is one proposal all the while, so the machine knows a step that was written by an
    /// earlier try from one that somebody else wrote.
    ///
    /// # Errors
    /// [`LedgerError`], `Unknown` never for want of a majority.
    pub async fn persist<E: Send + 'static>(
        &mut self,
        cx: &Cx<E>,
        step: Step,
        request: Option<RequestId>,
    ) -> Result<(), LedgerError> {
        loop {
            match self.write(cx, step.clone(), request.clone(), Duration::MAX).await {
                // Nothing was taken in, and there may be room soon.
                Err(LedgerError::Refused(ProposeError::Overloaded)) => tokio::time::sleep(ROOM_PAUSE).await,
                known => return known,
            }
        }
    }

    /// How often the entity was written, as far as is known.
    pub fn version(&self) -> u64 {
        self.version
    }
}

impl<E: Send + 'static> Cx<E> {
    /// Its rows whose names begin with `prefix`, by name, as far as this node has applied.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn rows(&self, prefix: &[u8], limit: usize) -> Result<Vec<KeyValue>, ReadError> {
        let view = self.replica.local()?;
        view.query()
            .entity_rows(&self.entity, prefix, limit)
            .map_err(ReadError::from)
    }

    /// Whether letters wait for it.
    pub(crate) fn has_letters(&self) -> Result<bool, ReadError> {
        let view = self.replica.local()?;
        let row = view.query().entity(&self.entity)?;
        Ok(row.is_some_and(|row| row.last_letter > row.taken))
    }
}

/// Keys of the entities of a partition for which letters wait.
pub(crate) fn waited_for(
    view: &View,
    kind: KindId,
    partition: PartitionIndex,
) -> Result<Vec<String>, ReadError> {
    let entities = view.query().entities_of(kind, partition)?;
    let waited_for = entities
        .into_iter()
        .filter(|(_, row)| row.last_letter > row.taken);
    Ok(waited_for.map(|(id, _)| id.key).collect())
}
