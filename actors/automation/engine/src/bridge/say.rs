//! Saying something in chat sessions that nobody asked for: whom a service means, and doing it once.
//!
//! | service | says it to | data |
//! |---|---|---|
//! | `jarvis.say` | `session`, else `user`, else everybody | `message`, `title` |
//! | `notify.NAME` | the user of that name | `message`, `title` |
//! | `notify.notify`, `persistent_notification.create` | everybody | `message`, `title` |
//!
//! A user is told in the session that was last used, of the newest ones.

use std::time::Duration;

use jarvis_machine::Query;
use jarvis_machine::apply::MAX_TEXT_CHARS;
use jarvis_machine::command::Command;
use jarvis_machine::storage::StoreError;
use jarvis_replica::api::{ProposeError, ProposeOptions, Replica, View};
use jarvis_types::limits::MAX_CLIENT_ID_BYTES;
use jarvis_types::{ClientMessageId, SessionId, UserId};
use serde_json::{Map, Value};
use xxhash_rust::xxh64::xxh64;

use crate::shown::slug;

/// Newest sessions of a user of which the one last used is taken.
const NEWEST: usize = 16;
/// What a hash takes in an id, with the hyphen before it.
const HASH_BYTES: usize = 17;
/// Behind a text that had to be cut.
const CUT: &str = "…";

/// Why nothing was said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SayError {
    /// It never will be, as it is.
    #[error("{0}")]
    Never(String),
    /// No majority in time: it may be tried again under the same id.
    #[error("{0}")]
    NotNow(String),
}

/// The sessions that a service means, and what is to be said there. Errors are sentences.
pub(crate) fn sessions_for(
    view: &View,
    service: &str,
    data: &Map<String, Value>,
) -> Result<(Vec<SessionId>, String), String> {
    let text = message(service, data)?;
    let sessions = whom(service, data)?.sessions(&view.query())?;
    Ok((sessions, text))
}

/// Says something in a session. Under the same id it is said once.
pub(crate) async fn say(
    replica: &Replica,
    session: SessionId,
    id: &str,
    text: &str,
    deadline: Duration,
) -> Result<(), SayError> {
    let id = message_id(id).ok_or_else(|| SayError::Never("what is to be said has no name".to_owned()))?;
    let command = Command::Notify {
        session,
        id,
        text: shortened(text),
    };
    let options = ProposeOptions {
        fence: None,
        request: None,
        deadline,
    };
    match replica.propose(command, options).await {
        Ok(_) => Ok(()),
        Err(error @ (ProposeError::Refused(_) | ProposeError::TooLarge { .. })) => {
            Err(SayError::Never(error.to_string()))
        }
        Err(error) => Err(SayError::NotNow(error.to_string())),
    }
}

/// Who is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Whom {
    Session(SessionId),
    User(String),
    Everybody,
}

fn whom(service: &str, data: &Map<String, Value>) -> Result<Whom, String> {
    match service {
        "persistent_notification.create" | "notify.notify" | "notify.persistent_notification" => {
            Ok(Whom::Everybody)
        }
        "jarvis.say" => match (text_of(data, "session"), text_of(data, "user")) {
            (Some(session), _) => match session.parse() {
                Ok(session) => Ok(Whom::Session(session)),
                Err(_) => Err(format!("jarvis.say: {session:?} is not the id of a chat session")),
            },
            (None, Some(user)) => Ok(Whom::User(user)),
            (None, None) => Ok(Whom::Everybody),
        },
        _ => match service.strip_prefix("notify.") {
            Some(name) if !name.is_empty() => Ok(Whom::User(name.to_owned())),
            _ => Err(format!(
                "{service} does not say anything: write jarvis.say or notify.NAME"
            )),
        },
    }
}

impl Whom {
    fn sessions(self, query: &Query<'_>) -> Result<Vec<SessionId>, String> {
        match self {
            Self::Session(session) => match query.session(session).map_err(read)? {
                Some(_) => Ok(vec![session]),
                None => Err(format!("there is no chat session {session}")),
            },
            Self::User(name) => {
                let (user, known) = user(query, &name)?;
                let session = last_used(query, user).map_err(read)?;
                let session = session.ok_or_else(|| format!("{known} has no chat session yet"))?;
                Ok(vec![session])
            }
            Self::Everybody => {
                let mut sessions = Vec::new();
                for (user, _) in query.users().map_err(read)? {
                    sessions.extend(last_used(query, user).map_err(read)?);
                }
                if sessions.is_empty() {
                    return Err("nobody has a chat session yet".to_owned());
                }
                Ok(sessions)
            }
        }
    }
}

/// The user of a name, as it is or as services are named: `notify.anna_b` is for `Anna.B`.
fn user(query: &Query<'_>, name: &str) -> Result<(UserId, String), String> {
    if let Some((user, row)) = query.user_by_name(name).map_err(read)? {
        return Ok((user, row.name));
    }
    let users = query.users().map_err(read)?;
    let mut alike = users.into_iter().filter(|(_, row)| slug(&row.name) == name);
    match (alike.next(), alike.next()) {
        (Some((user, row)), None) => Ok((user, row.name)),
        (None, _) => Err(format!("there is no user {name:?}; see `jarvis user list`")),
        (Some(_), Some(_)) => Err(format!(
            "{name:?} could be several users: write jarvis.say with `user`"
        )),
    }
}

fn last_used(query: &Query<'_>, user: UserId) -> Result<Option<SessionId>, StoreError> {
    let newest = query.sessions_of(user, NEWEST)?;
    let last = newest.into_iter().max_by_key(|(id, row)| (row.last_at_ms, *id));
    Ok(last.map(|(id, _)| id))
}

fn message(service: &str, data: &Map<String, Value>) -> Result<String, String> {
    let message = text_of(data, "message").ok_or_else(|| format!("{service} needs a `message`"))?;
    Ok(match text_of(data, "title") {
        Some(title) => format!("{title}\n{message}"),
        None => message,
    })
}

/// What stands under a key, as people read it; none where there is nothing.
fn text_of(data: &Map<String, Value>, key: &str) -> Option<String> {
    let text = match data.get(key)? {
        Value::Null => return None,
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    (!text.trim().is_empty()).then_some(text)
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT_CHARS) {
        None => text.to_owned(),
        Some(_) => text
            .chars()
            .take(MAX_TEXT_CHARS - CUT.chars().count())
            .chain(CUT.chars())
            .collect(),
    }
}

/// An id as one of a message: what is too long for one, or written otherwise, ends in its hash.
fn message_id(id: &str) -> Option<ClientMessageId> {
    if id.is_empty() {
        return None;
    }
    id.parse().ok().or_else(|| {
        let plain: String = id
            .chars()
            .map(|c| if c.is_ascii_graphic() { c } else { '_' })
            .take(MAX_CLIENT_ID_BYTES - HASH_BYTES)
            .collect();
        format!("{plain}-{:016x}", xxh64(id.as_bytes(), 0)).parse().ok()
    })
}

fn read(error: StoreError) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use jarvis_machine::command::{NewNode, Proposal};
    use jarvis_machine::rows::NodeRole;
    use jarvis_machine::storage::TableStore;
    use jarvis_machine::{MemoryStore, apply};
    use jarvis_types::{ClusterId, Seq};
    use serde_json::json;

    use super::*;

    /// `ada` (1) has no session, `Bob.B` (2) has 20 and 30, `eve` (3) has 40.
    struct Home(MemoryStore, u64);

    impl Home {
        fn new() -> Self {
            let mut home = Self(MemoryStore::new(), 1);
            home.run(Command::Initialise {
                cluster: ClusterId(1),
                node: NewNode {
                    name: "one".parse().expect("a name"),
                    role: NodeRole::Voter,
                    mesh_address: String::new(),
                    http_url: String::new(),
                    version: String::new(),
                    level: 3,
                },
                admin: "ada".to_owned(),
            });
            for name in ["Bob.B", "eve"] {
                home.run(Command::CreateUser {
                    name: name.to_owned(),
                    password: None,
                    admin: false,
                });
            }
            for (session, user) in [(20, 2), (30, 2), (40, 3)] {
                home.run(Command::CreateSession {
                    session: SessionId(session),
                    user: UserId(user),
                });
            }
            home
        }

        fn run(&mut self, command: Command) {
            self.1 += 1;
            let proposal = Proposal {
                origin: None,
                at_ms: self.1,
                fence: None,
                request: None,
                command,
            };
            let write = self.0.write(false, &mut |tables| {
                let applied = apply(tables, &proposal)?;
                applied.outcome.map(drop).expect("taken");
                Ok(())
            });
            write.expect("written");
        }

        fn sessions(&self, service: &str, data: Value) -> Result<Vec<u128>, String> {
            let read = self.0.read().expect("read");
            let Value::Object(data) = data else {
                panic!("a mapping")
            };
            let sessions = whom(service, &data)?.sessions(&Query(&*read))?;
            Ok(sessions.into_iter().map(|session| session.0).collect())
        }
    }

    #[test]
    fn services_mean_people() {
        let mut home = Home::new();
        assert_eq!(home.sessions("notify.notify", json!({})), Ok(vec![30, 40]));
        assert_eq!(
            home.sessions("persistent_notification.create", json!({})),
            Ok(vec![30, 40])
        );
        assert_eq!(home.sessions("jarvis.say", json!({})), Ok(vec![30, 40]));
        assert_eq!(home.sessions("notify.eve", json!({})), Ok(vec![40]));
        assert_eq!(
            home.sessions("notify.bob_b", json!({})),
            Ok(vec![30]),
            "as services are named"
        );
        assert_eq!(
            home.sessions("jarvis.say", json!({"user": "bob.b"})),
            Ok(vec![30])
        );
        let session = SessionId(20).to_string();
        assert_eq!(
            home.sessions("jarvis.say", json!({"session": session, "user": "eve"})),
            Ok(vec![20])
        );
        // The conversation goes on in the older one.
        home.run(Command::Say {
            session: SessionId(20),
            user: UserId(2),
            id: "m".parse().expect("an id"),
            text: "hi".to_owned(),
        });
        assert_eq!(home.sessions("notify.bob_b", json!({})), Ok(vec![20]));
    }

    #[test]
    fn nobody_is_said_so() {
        let home = Home::new();
        for (service, data, words) in [
            (
                "notify.zoe",
                json!({}),
                "there is no user \"zoe\"; see `jarvis user list`",
            ),
            ("notify.ada", json!({}), "ada has no chat session yet"),
            (
                "notify.",
                json!({}),
                "notify. does not say anything: write jarvis.say or notify.NAME",
            ),
            (
                "tts.speak",
                json!({}),
                "tts.speak does not say anything: write jarvis.say or notify.NAME",
            ),
            (
                "jarvis.say",
                json!({"session": "x"}),
                "jarvis.say: \"x\" is not the id of a chat session",
            ),
            (
                "jarvis.say",
                json!({"session": SessionId(5).to_string()}),
                "there is no chat session 00000000000000000000000005",
            ),
        ] {
            assert_eq!(home.sessions(service, data), Err(words.to_owned()), "{service}");
        }
    }

    #[test]
    fn messages_are_texts() {
        let said = |data: Value| {
            let Value::Object(data) = data else {
                panic!("a mapping")
            };
            message("jarvis.say", &data)
        };
        assert_eq!(said(json!({"message": "It rains."})), Ok("It rains.".to_owned()));
        assert_eq!(
            said(json!({"message": 21.5, "title": "Kitchen"})),
            Ok("Kitchen\n21.5".to_owned())
        );
        for nothing in [json!({}), json!({"message": null}), json!({"message": " "})] {
            assert_eq!(said(nothing), Err("jarvis.say needs a `message`".to_owned()));
        }
        let long = shortened(&"é".repeat(MAX_TEXT_CHARS + 1));
        assert_eq!(long.chars().count(), MAX_TEXT_CHARS);
        assert!(long.ends_with("é…"));
        let fits = "é".repeat(MAX_TEXT_CHARS);
        assert_eq!(shortened(&fits), fits);
    }

    #[test]
    fn ids_fit_whatever_they_are() {
        assert_eq!(message_id("act-1").expect("an id").as_str(), "act-1");
        assert_eq!(message_id(""), None);
        let long = |last: char| format!("{}{last}", "a".repeat(200));
        let (one, other) = (message_id(&long('x')), message_id(&long('y')));
        let (one, other) = (one.expect("an id"), other.expect("an id"));
        assert_eq!((one.as_str().len(), other.as_str().len()), (64, 64));
        assert_ne!(one, other);
        assert_eq!(Some(&one), message_id(&long('x')).as_ref());
        let accents = message_id("volets été/3").expect("an id");
        assert!(accents.as_str().starts_with("volets__t_/3-"), "{accents}");
    }

    #[test]
    fn what_is_told_is_told_once() {
        let mut home = Home::new();
        home.run(Command::RaiseLevel { to: 3 });
        for _ in 0..2 {
            home.run(Command::Notify {
                session: SessionId(40),
                id: message_id(&"long ".repeat(50)).expect("an id"),
                text: "It rains.".to_owned(),
            });
        }
        let read = home.0.read().expect("read");
        let said = Query(&*read).messages(SessionId(40), Seq(0), 9).expect("read");
        assert_eq!(said.len(), 1);
    }
}
