//! Invitations: single use, with an end. Used and expired ones are kept a while, so that a late guest is told which.

use super::context::{Context, Halt, ends_before_it_begins, invalid};
use super::limits::{INVITE_KEPT_MS, MAX_INVITES, MAX_OPEN_INVITES};
use super::{cluster, nodes};
use crate::command::{NewNode, SecretHash};
use crate::keys;
use crate::reply::{Refusal, Reply};
use crate::row_codec::decode_row;
use crate::rows::{InviteRow, NodeIntent, NodeRole};
use crate::storage::Table;

pub(super) fn create(
    cx: &mut Context<'_>,
    secret: &SecretHash,
    role: NodeRole,
    expires_at_ms: u64,
) -> Result<Reply, Halt> {
    cluster::check_initialised(cx)?;
    let now_ms = cx.expiry_ms()?;
    if expires_at_ms <= now_ms {
        return Err(ends_before_it_begins("the invitation", expires_at_ms, now_ms));
    }
    let mut closed = Vec::new();
    let mut open = 0;
    for (key, row) in keys::scan_prefix(&*cx.tables, Table::Invites, &[], false, usize::MAX)? {
        if key == secret {
            return Err(invalid("this invitation was made before"));
        }
        let row: InviteRow = decode_row(&row)?;
        if row.used_by.is_none() && row.expires_at_ms > now_ms {
            open += 1;
        } else {
            closed.push((row.expires_at_ms, key));
        }
    }
    if open >= MAX_OPEN_INVITES {
        return Err(Refusal::LimitReached(format!("{MAX_OPEN_INVITES} open invitations")).into());
    }
    // The oldest go first, and more of them where there are too many in all.
    closed.sort_unstable();
    let too_many = (open + closed.len() + 1).saturating_sub(MAX_INVITES);
    for (index, (expired_at_ms, key)) in closed.iter().enumerate() {
        if index < too_many || expired_at_ms.saturating_add(INVITE_KEPT_MS) < now_ms {
            cx.delete(Table::Invites, key)?;
        }
    }
    cx.put(
        Table::Invites,
        secret,
        &InviteRow {
            role,
            expires_at_ms,
            used_by: None,
        },
    )?;
    Ok(Reply::Done)
}

pub(super) fn consume(cx: &mut Context<'_>, secret: &SecretHash, node: &NewNode) -> Result<Reply, Halt> {
    let invite = cx
        .get::<InviteRow>(Table::Invites, secret)?
        .ok_or(Refusal::InviteUnknown)?;
    if let Some(by) = invite.used_by {
        return Err(Refusal::InviteUsed { by }.into());
    }
    let now_ms = cx.expiry_ms()?;
    if invite.expires_at_ms <= now_ms {
        let expired_at_ms = invite.expires_at_ms;
        return Err(Refusal::InviteExpired {
            expired_at_ms,
            now_ms,
        }
        .into());
    }
    // The invitation says what the guest will be, whatever the guest says.
    let node = NewNode {
        role: invite.role,
        ..node.clone()
    };
    nodes::check_new(cx, &node)?;
    let used = InviteRow {
        used_by: Some(node.name.clone()),
        ..invite
    };
    cx.put(Table::Invites, secret, &used)?;
    let id = nodes::admit(cx, &node, NodeIntent::Joining)?;
    Ok(Reply::Joined { node: id })
}
