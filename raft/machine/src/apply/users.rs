//! Users and their credentials.

use jarvis_types::UserId;

use super::context::{Context, Halt, ends_before_it_begins, invalid, not_found};
use super::limits::{MAX_CREDENTIALS, MAX_LABEL_BYTES, MAX_PASSWORD_HASH_BYTES, MAX_USERS};
use super::{cluster, names};
use crate::change::Change;
use crate::command::SecretHash;
use crate::keys;
use crate::reply::{Refusal, Reply};
use crate::row_codec::EMPTY;
use crate::rows::{CredentialKind, CredentialRow, UserRow};
use crate::storage::Table;

pub(super) fn create(
    cx: &mut Context<'_>,
    name: &str,
    password: Option<&str>,
    admin: bool,
) -> Result<Reply, Halt> {
    cluster::check_initialised(cx)?;
    names::check_user_name(name)?;
    check_password(password.unwrap_or_default())?;
    if cx.query().user_by_name(name)?.is_some() {
        return Err(Refusal::NameTaken(name.to_owned()).into());
    }
    if cx.query().users()?.len() >= MAX_USERS {
        return Err(Refusal::LimitReached(format!("{MAX_USERS} users")).into());
    }
    let user = insert(cx, name, password, admin)?;
    Ok(Reply::User { user })
}

/// Makes a user whose name was checked.
pub(super) fn insert(
    cx: &mut Context<'_>,
    name: &str,
    password: Option<&str>,
    admin: bool,
) -> Result<UserId, Halt> {
    let id = UserId(cx.count_up(keys::META_LAST_USER)?);
    let row = UserRow {
        name: name.to_owned(),
        password: password.map(str::to_owned),
        admin,
        created_at_ms: cx.now_ms,
    };
    cx.put(Table::Users, &keys::user(id), &row)?;
    cx.put(Table::UserNames, &keys::user_name(name), &id)?;
    cx.changes.push(Change::Credentials(id));
    Ok(id)
}

pub(super) fn set_password(cx: &mut Context<'_>, id: UserId, password: &str) -> Result<Reply, Halt> {
    let row = known(cx, id)?;
    if password.is_empty() {
        return Err(invalid("the password's hash is empty"));
    }
    check_password(password)?;
    cx.put(
        Table::Users,
        &keys::user(id),
        &UserRow {
            password: Some(password.to_owned()),
            ..row
        },
    )?;
    for (secret, credential) in cx.query().credentials(id)? {
        if credential.kind == CredentialKind::Login {
            delete_credential(cx, id, &secret)?;
        }
    }
    cx.changes.push(Change::Credentials(id));
    Ok(Reply::Done)
}

pub(super) fn remove(cx: &mut Context<'_>, id: UserId) -> Result<Reply, Halt> {
    let row = known(cx, id)?;
    if row.admin
        && !cx
            .query()
            .users()?
            .iter()
            .any(|(other, row)| *other != id && row.admin)
    {
        return Err(invalid("the last administrator cannot be removed"));
    }
    for (secret, _) in cx.query().credentials(id)? {
        delete_credential(cx, id, &secret)?;
    }
    cx.delete(Table::UserNames, &keys::user_name(&row.name))?;
    cx.delete(Table::Users, &keys::user(id))?;
    cx.changes.push(Change::Credentials(id));
    Ok(Reply::Done)
}

pub(super) fn create_credential(
    cx: &mut Context<'_>,
    secret: &SecretHash,
    user: UserId,
    kind: CredentialKind,
    label: &str,
    expires_at_ms: u64,
) -> Result<Reply, Halt> {
    known(cx, user)?;
    if label.len() > MAX_LABEL_BYTES {
        return Err(invalid(format!(
            "the label has {} bytes, more than {MAX_LABEL_BYTES}",
            label.len()
        )));
    }
    let now_ms = cx.expiry_ms()?;
    if expires_at_ms <= now_ms {
        return Err(ends_before_it_begins("the credential", expires_at_ms, now_ms));
    }
    if cx.query().credential(secret)?.is_some() {
        return Err(invalid("this credential was made before"));
    }
    let all = cx.query().credentials(user)?;
    let count = all.len();
    let expired: Vec<_> = all
        .into_iter()
        .filter(|(_, row)| row.expires_at_ms <= now_ms)
        .collect();
    if count - expired.len() >= MAX_CREDENTIALS {
        return Err(Refusal::LimitReached(format!("{MAX_CREDENTIALS} credentials of user {user}")).into());
    }
    for (secret, _) in expired {
        delete_credential(cx, user, &secret)?;
    }
    let row = CredentialRow {
        user,
        kind,
        label: label.to_owned(),
        created_at_ms: cx.now_ms,
        expires_at_ms,
    };
    cx.put(Table::Credentials, secret, &row)?;
    cx.tables.put(
        Table::UserCredentials,
        &keys::user_credential(user, secret),
        EMPTY,
    )?;
    cx.changes.push(Change::Credentials(user));
    Ok(Reply::Done)
}

pub(super) fn revoke_credential(cx: &mut Context<'_>, secret: &SecretHash) -> Result<Reply, Halt> {
    let row = cx
        .query()
        .credential(secret)?
        .ok_or_else(|| not_found("the credential"))?;
    delete_credential(cx, row.user, secret)?;
    cx.changes.push(Change::Credentials(row.user));
    Ok(Reply::Done)
}

/// The row of a user; refused if there is none.
pub(super) fn known(cx: &Context<'_>, id: UserId) -> Result<UserRow, Halt> {
    cx.query()
        .user(id)?
        .ok_or_else(|| not_found(format!("user {id}")))
}

fn delete_credential(cx: &mut Context<'_>, user: UserId, secret: &SecretHash) -> Result<(), Halt> {
    cx.delete(Table::Credentials, secret)?;
    cx.delete(Table::UserCredentials, &keys::user_credential(user, secret))?;
    Ok(())
}

fn check_password(hash: &str) -> Result<(), Halt> {
    if hash.len() <= MAX_PASSWORD_HASH_BYTES {
        Ok(())
    } else {
        Err(invalid(format!(
            "the password's hash has more than {MAX_PASSWORD_HASH_BYTES} bytes"
        )))
    }
}
