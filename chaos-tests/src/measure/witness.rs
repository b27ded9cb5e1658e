//! A client of a node that is cut off: says something again and again, and writes down what it is told.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::chat::Chat;
use crate::laws::minority::Attempt;

/// Between two messages.
const EVERY: Duration = Duration::from_millis(200);
/// How long it listens for news of one message.
const LISTEN: Duration = Duration::from_secs(4);

/// One socket with a session of its own.
pub(super) struct Witness {
    chat: Chat,
    session: String,
}

impl Witness {
    /// Opens it while all is well.
    pub(super) async fn open(url: &str, token: &str) -> Result<Self> {
        let (mut chat, welcome) = Chat::hello(url, token, None, None).await?;
        chat.say("before", "1 + 1").await?;
        chat.next_of("reply", LISTEN).await?;
        let session = welcome["session"].as_str().unwrap_or_default().to_owned();
        Ok(Self { chat, session })
    }

    /// Asks from then until then; stops early only where the socket is closed.
    pub(super) async fn ask(mut self, from: Instant, to: Instant) -> Vec<Attempt> {
        let mut attempts: Vec<Attempt> = Vec::new();
        sleep_until(from).await;
        while Instant::now() < to {
            let sent = Instant::now();
            let number = attempts.len();
            if self.chat.say(&name(number), "2 + 2").await.is_err() {
                break;
            }
            attempts.push(Attempt {
                session: self.session.clone(),
                sent,
                refused: None,
                served: None,
            });
            let until = (sent + LISTEN).min(to);
            loop {
                match timeout_at(until, self.chat.next()).await {
                    Ok(Ok(frame)) => {
                        if note(&mut attempts, &frame, Instant::now()) == Some(number) {
                            break;
                        }
                    }
                    Ok(Err(_)) => return attempts,
                    Err(_) => break,
                }
            }
            sleep_until((sent + EVERY).min(to)).await;
        }
        attempts
    }
}

fn name(number: usize) -> String {
    format!("asked-{number}")
}

/// Writes down what a frame says about a message: which one it was.
fn note(attempts: &mut [Attempt], frame: &Value, at: Instant) -> Option<usize> {
    let about = frame["reply_to"].as_str().or(frame["id"].as_str())?;
    let number: usize = about.strip_prefix("asked-")?.parse().ok()?;
    let attempt = attempts.get_mut(number)?;
    match frame["type"].as_str()? {
        "said" | "reply" => {
            attempt.served.get_or_insert(at);
        }
        "error" => {
            let hint = frame["retry_after_ms"].as_u64().is_some_and(|ms| ms > 0);
            let honest = frame["code"] == "unavailable" && hint;
            attempt.refused.get_or_insert((at, honest));
        }
        _ => return None,
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[tokio::test(start_paused = true)]
    async fn frames_are_written_down_with_their_message() {
        let at = Instant::now();
        let attempt = Attempt {
            session: "s".into(),
            sent: at,
            refused: None,
            served: None,
        };
        let mut attempts = vec![attempt; 3];
        let error = json!({"type": "error", "id": "asked-0", "code": "unavailable", "retry_after_ms": 100});
        assert_eq!(note(&mut attempts, &error, at), Some(0));
        let mute = json!({"type": "error", "id": "asked-1", "code": "unavailable"});
        note(&mut attempts, &mute, at);
        note(
            &mut attempts,
            &json!({"type": "reply", "id": "r", "reply_to": "asked-2"}),
            at,
        );
        assert_eq!(
            note(
                &mut attempts,
                &json!({"type": "delta", "reply_to": "asked-2"}),
                at
            ),
            None
        );
        let seen: Vec<_> = attempts
            .iter()
            .map(|a| (a.refused.map(|(_, hint)| hint), a.served.is_some()))
            .collect();
        assert_eq!(seen, [(Some(true), false), (Some(false), false), (None, true)]);
    }
}
