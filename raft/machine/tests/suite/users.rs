//! Users and credentials.

use jarvis_machine::change::Change;
use jarvis_machine::command::Command;
use jarvis_machine::reply::{Refusal, Reply};
use jarvis_machine::rows::CredentialKind::{Bearer, Login};
use jarvis_machine::storage::Table;
use jarvis_types::UserId;

use crate::world::{ADMIN, World, create_user, credential};

#[test]
fn users_are_made_with_ids_and_names_of_their_own() {
    let mut world = World::new();
    let bob = Command::CreateUser {
        name: "Bob".to_owned(),
        password: Some("$argon2id$x".to_owned()),
        admin: true,
    };
    assert_eq!(world.run(bob), Ok(Reply::User { user: UserId(2) }));
    assert_eq!(
        world.changes(create_user("eve@home")),
        [Change::Credentials(UserId(3))]
    );
    world.read(|q| {
        let (id, row) = q.user_by_name("bOB").unwrap().unwrap();
        assert_eq!((id, row.name.as_str(), row.admin), (UserId(2), "Bob", true));
        assert_eq!(row.password.as_deref(), Some("$argon2id$x"));
        assert_eq!(q.users().unwrap().len(), 3);
    });
    world.refuse(create_user("BOB"), Refusal::NameTaken("BOB".to_owned()));
}

#[test]
fn names_have_a_rule() {
    let mut world = World::new();
    for bad in ["", "ab", "a b", "ä-b", "a/b", &"x".repeat(64)] {
        world.refuse_saying(create_user(bad), "user name");
    }
    for good in ["abc", "a.b_c-d@e", &"x".repeat(63)] {
        world.run(create_user(good)).unwrap();
    }
}

#[test]
fn there_are_at_most_a_thousand_users() {
    let mut world = World::new();
    for n in 2..=1_000 {
        world.run(create_user(&format!("user-{n}"))).unwrap();
    }
    world.refuse_saying(create_user("one-more"), "1000 users");
}

#[test]
fn a_new_password_ends_log_ins_and_leaves_tokens() {
    let mut world = World::new();
    world.run(credential(1, ADMIN, Login, 9_000)).unwrap();
    world.run(credential(2, ADMIN, Bearer, 9_000)).unwrap();
    let set = |user, password: &str| Command::SetPassword {
        user: UserId(user),
        password: password.to_owned(),
    };
    assert_eq!(
        world.changes(set(1, "$argon2id$new")),
        [Change::Credentials(ADMIN)]
    );
    world.read(|q| {
        let left = q.credentials(ADMIN).unwrap();
        assert_eq!(left.iter().map(|(_, row)| row.kind).collect::<Vec<_>>(), [Bearer]);
        assert_eq!(
            q.user(ADMIN).unwrap().unwrap().password.as_deref(),
            Some("$argon2id$new")
        );
    });
    world.refuse(set(9, "$argon2id$new"), Refusal::NotFound("user 9".to_owned()));
    world.refuse_saying(set(1, ""), "empty");
    world.refuse_saying(set(1, &"x".repeat(513)), "512 bytes");
}

#[test]
fn a_removed_user_takes_credentials_along() {
    let mut world = World::new();
    world.run(create_user("bob")).unwrap();
    world.run(credential(1, UserId(2), Bearer, 9_000)).unwrap();
    let remove = |user| Command::RemoveUser { user: UserId(user) };
    assert_eq!(world.changes(remove(2)), [Change::Credentials(UserId(2))]);
    assert_eq!(
        (world.rows(Table::Credentials), world.rows(Table::UserCredentials)),
        (0, 0)
    );
    assert_eq!(world.read(|q| q.user_by_name("bob").unwrap()), None);
    world.refuse(remove(2), Refusal::NotFound("user 2".to_owned()));
    world.refuse_saying(remove(1), "last administrator");
    assert_eq!(
        world.run(create_user("bob")),
        Ok(Reply::User { user: UserId(3) }),
        "names return, ids do not"
    );
}

#[test]
fn credentials_are_made_and_revoked() {
    let mut world = World::new();
    let command = credential(1, ADMIN, Bearer, 9_000);
    let Command::CreateCredential { secret, .. } = command else {
        unreachable!()
    };
    assert_eq!(world.changes(command.clone()), [Change::Credentials(ADMIN)]);
    let row = world.read(|q| q.credential(&secret).unwrap().unwrap());
    assert_eq!(
        (row.user, row.label.as_str(), row.created_at_ms, row.expires_at_ms),
        (ADMIN, "phone", 1_000, 9_000)
    );
    world.refuse_saying(command, "made before");
    world.refuse_saying(
        credential(2, ADMIN, Bearer, 1_000),
        "the credential would have expired 0 s ago",
    );
    world.refuse(
        credential(2, UserId(9), Bearer, 9_000),
        Refusal::NotFound("user 9".to_owned()),
    );
    let label = "x".repeat(257);
    let long = Command::CreateCredential {
        secret: [2; 32],
        user: ADMIN,
        kind: Bearer,
        label,
        expires_at_ms: 9_000,
    };
    world.refuse_saying(long, "label");

    let revoke = Command::RevokeCredential { secret };
    assert_eq!(world.changes(revoke.clone()), [Change::Credentials(ADMIN)]);
    assert_eq!(
        (world.rows(Table::Credentials), world.rows(Table::UserCredentials)),
        (0, 0)
    );
    world.refuse(revoke, Refusal::NotFound("the credential".to_owned()));
}

#[test]
fn a_user_has_at_most_200_credentials_and_expired_ones_make_room() {
    let mut world = World::new();
    for n in 0..200 {
        world.run(credential(n, ADMIN, Login, 2_000 + n)).unwrap();
    }
    world.refuse_saying(credential(200, ADMIN, Login, 9_000), "200 credentials");
    world.run(create_user("bob")).unwrap();
    world.run(credential(201, UserId(2), Login, 9_000)).unwrap();
    world.now_ms = 2_009;
    world.run(credential(202, ADMIN, Login, 9_000)).unwrap();
    assert_eq!(
        world.read(|q| q.credentials(ADMIN).unwrap().len()),
        191,
        "ten expired ones were pruned"
    );
}
