//! A model's server that the tests start themselves and that misbehaves on demand.
#![allow(dead_code, reason = "each test file uses a part")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jarvis_host::Tasks;
use jarvis_session::settings::{ApiKey, Deadlines, EndpointSettings, Protocol};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What the server does next on a connection.
#[derive(Clone)]
pub(crate) enum Step {
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Waits.
    Wait(Duration),
    /// Sends these bytes for as long as somebody takes them.
    Repeat(Vec<u8>),
    /// Keeps the connection open and says nothing more.
    Hang,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) head: String,
    pub(crate) body: Value,
}

/// The server; it ends when this is dropped.
pub(crate) struct ModelServer {
    pub(crate) url: String,
    pub(crate) requests: Arc<Mutex<Vec<Request>>>,
    tasks: Tasks,
}

impl ModelServer {
    /// Serves each connection the next of these scripts, the last one again and again.
    pub(crate) async fn start(scripts: Vec<Vec<Step>>) -> Self {
        Self::start_with(scripts, None).await
    }

    /// The same behind TLS.
    pub(crate) async fn start_tls(scripts: Vec<Vec<Step>>, tls: rustls::ServerConfig) -> Self {
        Self::start_with(scripts, Some(TlsAcceptor::from(Arc::new(tls)))).await
    }

    async fn start_with(scripts: Vec<Vec<Step>>, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let url = if tls.is_some() {
            format!("https://localhost:{port}")
        } else {
            format!("http://127.0.0.1:{port}")
        };
        let (tasks, requests) = (Tasks::new(), Arc::new(Mutex::new(Vec::new())));
        let (inner, seen) = (tasks.clone(), Arc::clone(&requests));
        tasks.spawn_until_cancelled(async move {
            let mut scripts = scripts.into_iter().peekable();
            while let Ok((stream, _)) = listener.accept().await {
                let script = scripts.peek().expect("there is a script").clone();
                if scripts.len() > 1 {
                    scripts.next();
                }
                let (seen, tls) = (Arc::clone(&seen), tls.clone());
                inner.spawn_until_cancelled(async move {
                    // A client that goes away in the middle is part of many tests.
                    let _ = stream.set_nodelay(true);
                    let _ = match tls {
                        None => play(stream, script, &seen).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => play(stream, script, &seen).await,
                            Err(error) => Err(error),
                        },
                    };
                });
            }
        });
        Self { url, requests, tasks }
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("not poisoned").clone()
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        self.tasks.cancel();
    }
}

async fn play(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    script: Vec<Step>,
    seen: &Mutex<Vec<Request>>,
) -> std::io::Result<()> {
    let request = read_request(&mut stream).await?;
    seen.lock().expect("not poisoned").push(request);
    for step in script {
        match step {
            Step::Send(bytes) => stream.write_all(&bytes).await?,
            Step::Wait(pause) => tokio::time::sleep(pause).await,
            Step::Repeat(bytes) => loop {
                stream.write_all(&bytes).await?;
            },
            Step::Hang => std::future::pending().await,
        }
    }
    stream.shutdown().await
}

async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Request> {
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 4_096];
        let read = stream.read(&mut chunk).await?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&chunk[..read]);
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"))
            .and_then(|length| length.trim().parse::<usize>().ok())
            .unwrap_or(0);
        if bytes.len() >= end + 4 + length {
            let body = serde_json::from_slice(&bytes[end + 4..]).unwrap_or(Value::Null);
            return Ok(Request { head, body });
        }
    }
}

pub(crate) fn content_type(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::OpenAi => "text/event-stream",
        Protocol::Ollama => "application/x-ndjson",
    }
}

/// The head of an answer whose body ends with the connection.
pub(crate) fn head(status: &str, more: &str) -> Step {
    Step::Send(format!("HTTP/1.1 {status}\r\nconnection: close\r\n{more}\r\n").into_bytes())
}

pub(crate) fn ok(protocol: Protocol) -> Step {
    head(
        "200 OK",
        &format!("content-type: {}; charset=utf-8\r\n", content_type(protocol)),
    )
}

/// A part of a reply.
pub(crate) fn part(protocol: Protocol, text: &str) -> Vec<u8> {
    match protocol {
        Protocol::OpenAi => format!(
            "data: {}\n\n",
            json!({ "choices": [{ "index": 0, "delta": { "content": text } }] })
        )
        .into_bytes(),
        Protocol::Ollama => format!(
            "{}\n",
            json!({ "message": { "role": "assistant", "content": text }, "done": false })
        )
        .into_bytes(),
    }
}

/// The end of a reply.
pub(crate) fn end(protocol: Protocol) -> Vec<u8> {
    match protocol {
        Protocol::OpenAi => {
            b"data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n".to_vec()
        }
        Protocol::Ollama => {
            b"{\"message\":{\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\"}\n".to_vec()
        }
    }
}

/// A server's whole good answer.
pub(crate) fn good(protocol: Protocol, parts: &[&str]) -> Vec<Step> {
    let mut script = vec![ok(protocol)];
    script.extend(parts.iter().map(|text| Step::Send(part(protocol, text))));
    script.push(Step::Send(end(protocol)));
    script
}

pub(crate) fn endpoint(name: &str, protocol: Protocol, url: &str) -> EndpointSettings {
    EndpointSettings {
        name: name.to_owned(),
        protocol,
        url: url.to_owned(),
        model: "tiny".to_owned(),
        api_key: Some(ApiKey::new("sk-test")),
        deadlines: Deadlines {
            connect: Duration::from_millis(500),
            first_token: Duration::from_millis(300),
            between_tokens: Duration::from_millis(300),
            whole: Duration::from_secs(2),
        },
    }
}
