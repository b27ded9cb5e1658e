//! `chat`: a conversation in the terminal, or from a pipe.

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use jarvis_client::{Api, ChatClient, ChatEvent, ChatOptions};
use jarvis_host::{Entropy, SystemClock, SystemEntropy, Tasks, new_ulid};
use jarvis_types::ClusterId;
use jarvis_types::chat::ServerFrame;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::mpsc;

use crate::cli::args::ChatArgs;
use crate::cli::output::{Output, complain, line, part, printable};
use crate::fail::Failure;
use crate::target::{Nodes, refused};

/// A conversation of the terminal is over by then.
const TOKEN_TTL: Duration = Duration::from_secs(24 * 3_600);
/// How long to wait for the last answers once stdin has ended.
const LAST_ANSWER_TIMEOUT: Duration = Duration::from_secs(150);
/// Lines that may wait for the conversation.
const LINE_QUEUE_LEN: usize = 256;

/// `jarvis chat`.
///
/// # Errors
/// Where no node answers, or it refuses the conversation.
pub async fn chat(args: &ChatArgs, output: Output) -> Result<(), Failure> {
    let nodes = Nodes::find(&args.target)?;
    let (token, made) = match nodes.shared_token() {
        Some(token) => (token.to_owned(), None),
        None => make_token(&nodes).await.map(|(token, id)| (token, Some(id)))?,
    };
    let endpoints = nodes.apis().iter().map(Api::socket_url).collect();
    let options = ChatOptions {
        endpoints,
        token: Some(token),
        session: args.session.clone(),
        after: 0,
    };
    let tasks = Tasks::new();
    let client = ChatClient::start(options, &tasks).map_err(|e| {
        Failure::new("the conversation did not begin", e)
            .next("check --server")
            .usage()
    })?;
    let interactive = std::io::stdin().is_terminal() && !output.is_json();
    let talk = Talk {
        client,
        output,
        interactive,
        entropy: Arc::new(SystemEntropy::default()),
        open: BTreeSet::new(),
        own: BTreeSet::new(),
        streamed: None,
        place: None,
        answers: Vec::new(),
    };
    let result = talk.run().await;
    tasks.stop(Duration::from_secs(1)).await;
    if let Some(id) = made {
        // It expires by itself if nobody answers any more.
        let path = format!("/api/v1/tokens/{id}");
        let _ = nodes
            .call("", reqwest::Method::DELETE, &path, None, Duration::from_secs(2))
            .await;
    }
    result
}

/// The local credential is good at its own node only; a conversation may have to go to any.
async fn make_token(nodes: &Nodes) -> Result<(String, String), Failure> {
    let what = "the conversation did not begin";
    let body = json!({"label": "jarvis chat", "ttl_s": TOKEN_TTL.as_secs()});
    let made = nodes
        .call(
            what,
            reqwest::Method::POST,
            "/api/v1/tokens",
            Some(body),
            Duration::from_secs(10),
        )
        .await?;
    let field = |name: &str| made.get(name).and_then(Value::as_str).map(str::to_owned);
    match (field("token"), field("id")) {
        (Some(token), Some(id)) => Ok((token, id)),
        _ => {
            let why = "no token was in the answer".to_owned();
            Err(refused(
                what,
                &jarvis_client::ApiError::Malformed {
                    url: "/api/v1/tokens".to_owned(),
                    why,
                },
            ))
        }
    }
}

struct Talk {
    client: ChatClient,
    output: Output,
    interactive: bool,
    entropy: Arc<dyn Entropy>,
    /// Messages without their reply.
    open: BTreeSet<String>,
    /// What was said here, rather than before or elsewhere.
    own: BTreeSet<String>,
    /// The reply that is being written to the terminal, and how many characters of it are there.
    streamed: Option<(String, u64)>,
    /// Session, node, owner, epoch.
    place: Option<(String, String, String, u64)>,
    /// For `--json`.
    answers: Vec<Value>,
}

impl Talk {
    async fn run(mut self) -> Result<(), Failure> {
        let mut lines = read_lines();
        let mut ended = false;
        if self.interactive {
            line("Say something. /status tells where you are, /quit ends it.");
        }
        loop {
            if ended && self.open.is_empty() && self.place.is_some() {
                break;
            }
            let event = tokio::select! {
                event = self.client.next() => event,
                text = lines.recv(), if !ended => {
                    match text {
                        Some(text) if !self.take_line(text.trim())? => break,
                        Some(_) => {}
                        None => ended = true,
                    }
                    continue;
                }
                () = tokio::time::sleep(LAST_ANSWER_TIMEOUT), if ended => {
                    let why = format!("{} messages have no reply yet", self.open.len());
                    return Err(Failure::new("the conversation was given up", why).next(self.resume_hint()));
                }
                _ = tokio::signal::ctrl_c() => break,
            };
            match event {
                Some(event) => self.take_event(event)?,
                None => break,
            }
        }
        let session = self.place.as_ref().map(|(session, ..)| session.clone());
        if self.output.is_json() {
            self.output
                .answer(&json!({"session": session, "messages": self.answers}), |_| {
                    String::new()
                });
        } else if self.interactive {
            line(&format!("\n{}", self.resume_hint()));
        }
        Ok(())
    }

    fn resume_hint(&self) -> String {
        match &self.place {
            Some((session, ..)) => printable(&format!("go on with it: jarvis chat --session {session}")),
            None => "try again: jarvis chat".to_owned(),
        }
    }

    /// False: it is over.
    fn take_line(&mut self, text: &str) -> Result<bool, Failure> {
        match text {
            "" => {}
            "/quit" | "/exit" if self.interactive => return Ok(false),
            "/status" if self.interactive => line(&match &self.place {
                Some((session, node, owner, epoch)) => printable(&format!(
                    "session {session}; connected to {node}; it runs on {owner} in epoch {epoch}"
                )),
                None => "not connected yet".to_owned(),
            }),
            _ => {
                let id = ClusterId(new_ulid(&SystemClock, &*self.entropy)).to_string();
                self.client
                    .say(&id, text)
                    .map_err(|e| Failure::new("the message was not sent", e))?;
                self.own.insert(id.clone());
                self.open.insert(id);
            }
        }
        Ok(true)
    }

    fn take_event(&mut self, event: ChatEvent) -> Result<(), Failure> {
        match event {
            ChatEvent::Frame { frame, .. } => self.take_frame(frame),
            ChatEvent::Reconnecting { why, .. } => self.notice(&format!("[{why}; looking for another node]")),
            ChatEvent::Connected { .. } => {}
            ChatEvent::Failed(error) => {
                let next = "check the token and the session's id; jarvis chat begins a new conversation";
                return Err(Failure::new("the conversation ended", printable(&error.to_string())).next(next));
            }
        }
        Ok(())
    }

    fn take_frame(&mut self, frame: ServerFrame) {
        if self.output.is_json()
            && matches!(frame, ServerFrame::Said { .. } | ServerFrame::Reply { .. })
            && let Ok(entry) = serde_json::to_value(&frame)
        {
            self.answers.push(entry);
        }
        match frame {
            ServerFrame::Welcome {
                session,
                node,
                owner,
                epoch,
                ..
            } => {
                let first = self.place.is_none();
                self.place = Some((session.clone(), node.clone(), owner.clone(), epoch));
                if !first || self.interactive {
                    self.notice(&format!("[{node} answers; the conversation runs on {owner}]"));
                }
            }
            // What was said before stands above; a pipe gets only the answers to its own lines.
            ServerFrame::Said { id, text, .. } if self.interactive && !self.own.contains(&id) => {
                line(&format!("> {}", printable(&text)));
            }
            ServerFrame::Delta {
                reply_to,
                offset,
                text,
            } if self.shows(&reply_to) => {
                self.stream(&reply_to, offset, &text);
            }
            // Said unasked: a pipe reads the answers to its own lines only.
            ServerFrame::Reply {
                reply_to: None, text, ..
            } if self.interactive && !self.output.is_json() => self.unasked(&text),
            ServerFrame::Reply {
                reply_to: Some(reply_to),
                text,
                ..
            } => {
                if self.shows(&reply_to) {
                    self.finish(&reply_to, &text);
                }
                self.open.remove(&reply_to);
            }
            ServerFrame::Moved { owner, epoch } => {
                if let Some(place) = &mut self.place {
                    (place.2, place.3) = (owner.clone(), epoch);
                }
                if self.interactive {
                    self.notice(&format!("[the conversation now runs on {owner}]"));
                }
            }
            ServerFrame::Error {
                code,
                message,
                id,
                retry_after_ms,
            } => {
                if retry_after_ms.is_none()
                    && let Some(id) = id
                {
                    self.open.remove(&id);
                }
                let code = serde_json::to_value(code).unwrap_or_default();
                self.notice(&format!("[{}: {message}]", code.as_str().unwrap_or_default()));
            }
            _ => {}
        }
    }

    fn shows(&self, reply_to: &str) -> bool {
        !self.output.is_json() && (self.interactive || self.own.contains(reply_to))
    }

    /// What is already on the terminal is not written again; what began anew is.
    fn stream(&mut self, reply_to: &str, offset: u64, text: &str) {
        let shown = match &self.streamed {
            Some((id, shown)) if id == reply_to && offset > 0 => *shown,
            Some((id, _)) if id == reply_to => {
                part("\n");
                0
            }
            _ => 0,
        };
        if offset > shown {
            // Something between was missed; the whole reply comes at the end.
            return;
        }
        let fresh: String = text.chars().skip((shown - offset) as usize).collect();
        // Counted as it was sent, shown as it may be.
        part(&printable(&fresh));
        self.streamed = Some((
            reply_to.to_owned(),
            shown.max(offset + text.chars().count() as u64),
        ));
    }

    fn finish(&mut self, reply_to: &str, text: &str) {
        match self.streamed.take() {
            Some((id, shown)) if id == reply_to => {
                line(&printable(&text.chars().skip(shown as usize).collect::<String>()));
            }
            _ => line(&printable(text)),
        }
    }

    /// A reply that is being written is left where it is; its whole text comes again at its end.
    fn unasked(&mut self, text: &str) {
        if self.streamed.take().is_some() {
            part("\n");
        }
        line(&printable(text));
    }

    fn notice(&self, text: &str) {
        if !self.output.is_json() {
            if self.streamed.is_some() {
                part("\n");
            }
            complain(&printable(text));
        }
    }
}

/// The terminal's lines, in a task: reading one cannot be broken off.
fn read_lines() -> mpsc::Receiver<String> {
    let (give, take) = mpsc::channel(LINE_QUEUE_LEN);
    let tasks = Tasks::new();
    tasks.spawn(async move {
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        while let Ok(Some(text)) = lines.next_line().await {
            if give.send(text).await.is_err() {
                return;
            }
        }
    });
    take
}
