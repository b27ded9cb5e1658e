//! `user …` and `token …`.

use std::io::{IsTerminal, Read};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};

use super::cluster::{list, segment, text};
use crate::cli::args::{Target, TokenCommand, UserCommand};
use crate::cli::output::{Output, table};
use crate::fail::Failure;
use crate::target::Nodes;

/// Hashing a password takes its time on a small board.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Shortest password.
const MIN_PASSWORD_CHARS: usize = 8;
/// Longest password read, in bytes.
const MAX_PASSWORD_BYTES: u64 = 1_024;

/// `jarvis user …`.
///
/// # Errors
/// Where no node answers or it refuses.
pub async fn user(command: &UserCommand, output: Output) -> Result<(), Failure> {
    match command {
        UserCommand::Add { name, admin, target } => {
            let password = read_password(name)?;
            let body = json!({"name": name, "password": password, "admin": admin});
            let made = call(
                target,
                &format!("{name} was not added"),
                Method::POST,
                "/api/v1/users",
                Some(body),
            )
            .await?;
            output.answer(&made, |_| format!("{name} may log in"));
        }
        UserCommand::List { target } => {
            let users = call(
                target,
                "the users were not listed",
                Method::GET,
                "/api/v1/users",
                None,
            )
            .await?;
            output.answer(&users, |users| {
                let rows: Vec<_> = list(users, "users")
                    .iter()
                    .map(|u| {
                        vec![
                            text(u, "id"),
                            text(u, "name"),
                            yes(u, "admin"),
                            yes(u, "password"),
                            day(u, "created_at_ms"),
                        ]
                    })
                    .collect();
                table(&["ID", "NAME", "ADMIN", "PASSWORD", "SINCE"], &rows)
            });
        }
        UserCommand::Remove { name, target } => {
            let path = format!("/api/v1/users/{}", segment(name));
            call(
                target,
                &format!("{name} was not removed"),
                Method::DELETE,
                &path,
                None,
            )
            .await?;
            output.answer(&json!({"removed": name}), |_| {
                format!("{name} is removed, with all credentials")
            });
        }
        UserCommand::Password { name, target } => {
            let password = read_password(name)?;
            let path = format!("/api/v1/users/{}/password", segment(name));
            let body = json!({"password": password});
            call(
                target,
                &format!("{name}'s password was not set"),
                Method::PUT,
                &path,
                Some(body),
            )
            .await?;
            output.answer(&json!({"changed": name}), |_| format!("{name}'s password is set"));
        }
    }
    Ok(())
}

/// `jarvis token …`.
///
/// # Errors
/// Where no node answers or it refuses.
pub async fn token(command: &TokenCommand, output: Output) -> Result<(), Failure> {
    match command {
        TokenCommand::Create {
            label,
            ttl,
            user,
            target,
        } => {
            let mut body = json!({"label": label, "ttl_s": ttl.as_secs().max(1)});
            if let Some(user) = user {
                body["user"] = json!(user);
            }
            let made = call(
                target,
                "no token was made",
                Method::POST,
                "/api/v1/tokens",
                Some(body),
            )
            .await?;
            output.answer(&made, |made| {
                format!(
                    "{}\nIt is shown this once. Good until {}.",
                    text(made, "token"),
                    day(made, "expires_at_ms")
                )
            });
        }
        TokenCommand::List { target } => {
            let tokens = call(
                target,
                "the tokens were not listed",
                Method::GET,
                "/api/v1/tokens",
                None,
            )
            .await?;
            output.answer(&tokens, |tokens| {
                let rows: Vec<_> = list(tokens, "tokens")
                    .iter()
                    .map(|t| {
                        let end = if t["expired"] == true {
                            "expired".to_owned()
                        } else {
                            day(t, "expires_at_ms")
                        };
                        vec![
                            text(t, "id"),
                            text(t, "kind"),
                            text(t, "label"),
                            day(t, "created_at_ms"),
                            end,
                        ]
                    })
                    .collect();
                table(&["ID", "KIND", "LABEL", "SINCE", "UNTIL"], &rows)
            });
        }
        TokenCommand::Revoke { id, target } => {
            let path = format!("/api/v1/tokens/{}", segment(id));
            call(
                target,
                &format!("token {id} was not revoked"),
                Method::DELETE,
                &path,
                None,
            )
            .await?;
            output.answer(&json!({"revoked": id}), |_| {
                format!("token {id} is good for nothing any more")
            });
        }
    }
    Ok(())
}

async fn call(
    target: &Target,
    what: &str,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> Result<Value, Failure> {
    Nodes::find(target)?.call(what, method, path, body, TIMEOUT).await
}

/// Asks twice on a terminal; else takes stdin's first line.
fn read_password(name: &str) -> Result<String, Failure> {
    let what = "no password was set";
    let password = if std::io::stdin().is_terminal() {
        let ask = |prompt: String| rpassword::prompt_password(prompt).map_err(|e| Failure::new(what, e));
        let first = ask(format!("Password for {name}: "))?;
        if ask("Again: ".to_owned())? != first {
            return Err(Failure::new(what, "the two are not the same").next("try again"));
        }
        first
    } else {
        let mut text = String::new();
        let read = std::io::stdin()
            .lock()
            .take(MAX_PASSWORD_BYTES)
            .read_to_string(&mut text);
        read.map_err(|e| Failure::new(what, e))?;
        text.lines().next().unwrap_or_default().to_owned()
    };
    if password.chars().count() < MIN_PASSWORD_CHARS {
        let why = format!("a password has at least {MIN_PASSWORD_CHARS} characters");
        return Err(
            Failure::new(what, why).next("choose a longer one; from a pipe it is read as stdin's first line")
        );
    }
    Ok(password)
}

fn yes(document: &Value, field: &str) -> String {
    if document.get(field) == Some(&Value::Bool(true)) {
        "yes".to_owned()
    } else {
        "no".to_owned()
    }
}

/// A time as a day and minute, in this machine's zone.
fn day(document: &Value, field: &str) -> String {
    let time = document
        .get(field)
        .and_then(Value::as_i64)
        .and_then(|ms| Timestamp::from_millisecond(ms).ok());
    time.map_or_else(
        || "-".to_owned(),
        |time| {
            time.to_zoned(jiff::tz::TimeZone::system())
                .strftime("%Y-%m-%d %H:%M")
                .to_string()
        },
    )
}
