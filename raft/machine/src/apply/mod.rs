//! The machine: a proposal and the tables in, an outcome and what changed out.
//!
//! ```text
//!  proposal ─► seen before? ─► ledger time ─► fence ─► command ─► outcome remembered
//!              dedupe.rs                      below    by topic    dedupe.rs
//! ```
//!
//! Every command checks all before it writes anything, so that a refused one leaves nothing but its remembered outcome
//! and the ledger's time. A [`StoreError`] means that the whole batch has to be dropped.

mod cluster;
mod context;
mod dedupe;
mod entities;
mod invites;
mod levels;
mod limits;
mod names;
mod nodes;
mod placement;
mod sessions;
mod users;

use crate::change::Change;
use crate::command::{Command, Fence, Proposal};
use crate::query::Query;
use crate::reply::{Outcome, Refusal, Reply};
use crate::storage::{StoreError, Write};

use self::context::{Context, Halt};
use self::dedupe::Seen;

pub use self::limits::*;

/// What came of a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// For who proposed it.
    pub outcome: Outcome,
    /// For who watches; empty where it was refused or repeated.
    pub changes: Vec<Change>,
}

/// Applies one proposal within one batch.
///
/// # Errors
/// The store's. What was written until then must be dropped with the batch.
pub fn apply(tables: &mut dyn Write, proposal: &Proposal) -> Result<Applied, StoreError> {
    let seen = match proposal.origin {
        Some(origin) => dedupe::look(tables, origin)?,
        None => Seen::Never,
    };
    if let Seen::Before(outcome) = seen {
        return Ok(Applied {
            outcome,
            changes: Vec::new(),
        });
    }
    let mut cx = Context::begin(tables, proposal.at_ms)?;
    let outcome = match decide(&mut cx, proposal) {
        Ok(reply) => Ok(reply),
        Err(Halt::Refused(refusal)) => Err(refusal),
        Err(Halt::Store(error)) => return Err(error),
    };
    let changes = cx.changes;
    debug_assert!(
        outcome.is_ok() || changes.is_empty(),
        "a refused command changes nothing"
    );
    if let Some(origin) = proposal.origin {
        dedupe::remember(tables, origin, &outcome)?;
    }
    Ok(Applied { outcome, changes })
}

fn decide(cx: &mut Context<'_>, proposal: &Proposal) -> Result<Reply, Halt> {
    if let Some(fence) = proposal.fence {
        check_fence(&cx.query(), fence)?;
    }
    levels::check(&cx.query(), &proposal.command)?;
    let fence = proposal.fence;
    match &proposal.command {
        Command::Initialise { cluster, node, admin } => cluster::initialise(cx, *cluster, node, admin),
        Command::RegisterKind {
            kind,
            name,
            partitions,
        } => cluster::register_kind(cx, *kind, name, *partitions),
        Command::CreateInvite {
            secret,
            role,
            expires_at_ms,
        } => invites::create(cx, secret, *role, *expires_at_ms),
        Command::ConsumeInvite { secret, node } => invites::consume(cx, secret, node),
        Command::AnnounceNode {
            node,
            mesh_address,
            http_url,
            version,
            level,
        } => {
            let found = nodes::Found {
                mesh_address,
                http_url,
                version,
                level: *level,
            };
            nodes::announce(cx, *node, found)
        }
        Command::SetIntent { node, intent } => nodes::set_intent(cx, *node, *intent),
        Command::RemoveNode { node, force } => nodes::remove(cx, *node, *force),
        Command::Place {
            based_on,
            health,
            moves,
            reason,
        } => placement::place(cx, *based_on, health, moves, *reason, None),
        Command::CreateUser {
            name,
            password,
            admin,
        } => users::create(cx, name, password.as_deref(), *admin),
        Command::SetPassword { user, password } => users::set_password(cx, *user, password),
        Command::RemoveUser { user } => users::remove(cx, *user),
        Command::CreateCredential {
            secret,
            user,
            kind,
            label,
            expires_at_ms,
        } => users::create_credential(cx, secret, *user, *kind, label, *expires_at_ms),
        Command::RevokeCredential { secret } => users::revoke_credential(cx, secret),
        Command::CreateSession { session, user } => sessions::create(cx, *session, *user),
        Command::Say {
            session,
            user,
            id,
            text,
        } => sessions::say(cx, fence, *session, *user, id, text),
        Command::Answer {
            session,
            to,
            text,
            cancelled,
        } => sessions::answer(cx, fence, *session, *to, text, *cancelled),
        Command::RaiseLevel { to } => levels::raise(cx, *to),
        Command::DescribeNode { node, facts } => nodes::describe(cx, *node, facts),
        Command::PlaceBecause {
            based_on,
            health,
            moves,
            reason,
            causes,
        } => placement::place(cx, *based_on, health, moves, *reason, Some(causes)),
        Command::NoteTakeOver { moves, took_ms } => placement::note_take_over(cx, moves, *took_ms),
        Command::WriteEntity {
            entity,
            based_on,
            rows,
            taken,
            letters,
        } => {
            let step = entities::Step {
                based_on: *based_on,
                rows,
                taken: *taken,
                letters,
            };
            entities::write(cx, fence, entity, step)
        }
        Command::Post { letters } => entities::post(cx, letters),
        Command::Notify { session, id, text } => sessions::notify(cx, fence, *session, id, text),
        Command::RemoveNodeAt {
            based_on,
            node,
            force,
        } => nodes::remove_at(cx, *based_on, *node, *force),
        Command::CorrectTime { found_ms, to_ms } => cluster::correct_time(cx, *found_ms, *to_ms),
        Command::NoteLogs { marks } => nodes::note_logs(cx, marks),
    }
}

fn check_fence(query: &Query<'_>, fence: Fence) -> Result<(), Halt> {
    let (current, owner) = match query.placement_of(fence.kind, fence.partition)? {
        Some(row) => (row.epoch, row.owner),
        None => Default::default(),
    };
    // Epoch 0 means that nobody owns it, so nobody can have become its owner in it.
    if owner.is_some() && current == fence.epoch {
        Ok(())
    } else {
        Err(Refusal::StaleEpoch { current, owner }.into())
    }
}
