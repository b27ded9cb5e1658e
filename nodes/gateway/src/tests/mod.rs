//! The gateway from outside: real sockets on loopback, an in-memory backend behind it.
mod access;
mod drill;
pub(crate) mod fake;
mod fuzz;
mod home;
mod http;
mod limits;
mod logs;
mod socket;
mod tether;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use jarvis_host::{Clock, ManualClock, SeededEntropy, Tasks};
use jarvis_machine::rows::CredentialKind;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::{Gateway, GatewayDeps, GatewaySettings, secret_hash};
use fake::{Fake, FakeAdmin, FakeTethers};
use home::FakeHome;

/// The binary's allocator, so that what is measured here is what it will take there.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Longest any single step of a test may take.
const STEP: Duration = Duration::from_secs(4);

const START_MS: u64 = 1_700_000_000_000;
const HOUR_MS: u64 = 3_600_000;

/// This node's own admin credential, and tokens of `root`, `ada` and `bob`.
const LOCAL_ADMIN: &str = "jal_local";
const ROOT: &str = "jat_root";
const ADA: &str = "jat_ada";
const BOB: &str = "jat_bob";

/// A running gateway and what stands behind it.
struct Rig {
    gateway: Gateway,
    fake: Arc<Fake>,
    clock: Arc<ManualClock>,
    tethers: Arc<FakeTethers>,
    home: Arc<FakeHome>,
}

/// Settings without rate limits and with short times.
fn settings() -> GatewaySettings {
    GatewaySettings {
        messages_per_minute: 0,
        sockets_per_minute: 0,
        drain_grace: Duration::from_millis(200),
        say_deadline: Duration::from_millis(300),
        password_workers: 1,
        ..GatewaySettings::default()
    }
}

async fn rig() -> Rig {
    rig_with(settings()).await
}

async fn rig_with(settings: GatewaySettings) -> Rig {
    rig_of(settings, Some(FakeHome::new())).await
}

/// A gateway with automations behind it, or without.
async fn rig_of(settings: GatewaySettings, home: Option<Arc<FakeHome>>) -> Rig {
    let (fake, clock) = (Fake::new(), Arc::new(ManualClock::new(START_MS)));
    for (user, token) in [(1, ROOT), (2, ADA), (3, BOB)] {
        fake.give(user, CredentialKind::Bearer, token, START_MS + HOUR_MS);
    }
    let tethers = Arc::new(FakeTethers::default());
    let deps = GatewayDeps {
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        entropy: Arc::new(SeededEntropy::new(7)),
        tasks: Tasks::new(),
        backend: Arc::clone(&fake) as Arc<dyn crate::Backend>,
        automations: home.clone().map(|home| home as Arc<dyn crate::AutomationBackend>),
        admin: Arc::new(FakeAdmin),
        admin_token_hash: Some(secret_hash(LOCAL_ADMIN)),
        metrics: Arc::new(|| "up 1\n".to_owned()),
        disk_written_per_day_bytes: Arc::new(|| Some(5)),
        tethers: Some(Arc::clone(&tethers) as Arc<dyn crate::TetherKeeper>),
    };
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("loopback has a free port");
    let gateway = Gateway::start(settings, deps, listener).expect("starts");
    Rig {
        gateway,
        fake,
        clock,
        tethers,
        home: home.unwrap_or_else(FakeHome::new),
    }
}

impl Rig {
    fn address(&self) -> SocketAddr {
        self.gateway.address()
    }

    /// A socket of `token`'s that has been welcomed to a new session, and the session's id.
    async fn chat(&self, token: &str) -> (Client, String) {
        let mut client = Client::open(self, &[]).await;
        let welcome = client.hello(json!({ "token": token })).await;
        assert_eq!(welcome["type"], "welcome", "{welcome}");
        let session = welcome["session"].as_str().expect("has a session").to_owned();
        (client, session)
    }

    fn set_unavailable(&self, unavailable: bool) {
        self.fake.unavailable.store(unavailable, Ordering::SeqCst);
    }

    /// One HTTP request with JSON in and out.
    async fn call(&self, method: &str, path: &str, token: &str, body: Option<Value>) -> Answer {
        let bearer = format!("Bearer {token}");
        let mut headers = vec![("content-type", "application/json")];
        if !token.is_empty() {
            headers.push(("authorization", &bearer));
        }
        self.request(
            method,
            path,
            &headers,
            &body.map(|b| b.to_string()).unwrap_or_default(),
        )
        .await
    }

    /// One HTTP request.
    async fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address()).await.expect("connects");
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n",
            body.len()
        );
        if !headers.iter().any(|(name, _)| *name == "host") {
            head.push_str("host: jarvis.test\r\n");
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        stream
            .write_all(format!("{head}\r\n{body}").as_bytes())
            .await
            .expect("writes");
        let mut bytes = Vec::new();
        tokio::time::timeout(STEP, stream.read_to_end(&mut bytes))
            .await
            .expect("answers in time")
            .expect("reads");
        Answer::parse(&String::from_utf8(bytes).expect("is text"))
    }
}

/// An HTTP answer.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").expect("has a head");
        let mut lines = head.lines();
        let status = lines
            .next()
            .and_then(|l| l.split(' ').nth(1))
            .and_then(|s| s.parse().ok())
            .expect("a status");
        let headers = lines
            .filter_map(|l| l.split_once(": "))
            .map(|(n, v)| (n.to_lowercase(), v.to_owned()))
            .collect();
        Self {
            status,
            headers,
            body: body.to_owned(),
        }
    }

    fn header(&self, name: &str) -> &str {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map_or("", |(_, v)| v)
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// Checks that it is a problem of this status and code.
    #[track_caller]
    fn is_problem(&self, status: u16, code: &str) {
        assert_eq!(
            (self.status, self.header("content-type")),
            (status, "application/problem+json"),
            "{self:?}"
        );
        let problem = self.json();
        assert_eq!(
            (&problem["code"], &problem["status"]),
            (&json!(code), &json!(status)),
            "{self:?}"
        );
        assert_eq!(problem["request_id"], self.header("x-request-id"));
        assert!(
            problem["detail"].as_str().is_some_and(|d| !d.is_empty()),
            "{self:?}"
        );
    }

    /// The cookie it sets, as a request sends it back.
    fn cookie(&self) -> String {
        self.header("set-cookie")
            .split(';')
            .next()
            .unwrap_or_default()
            .to_owned()
    }
}

/// A chat client.
struct Client(WebSocketStream<TcpStream>);

impl Client {
    async fn open(rig: &Rig, headers: &[(&'static str, &str)]) -> Self {
        Self::try_open(rig, headers).await.expect("the socket opens")
    }

    /// The error is the status of what was answered instead.
    async fn try_open(rig: &Rig, headers: &[(&'static str, &str)]) -> Result<Self, u16> {
        let mut request = format!("ws://{}/ws", rig.address())
            .into_client_request()
            .expect("a request");
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).expect("a header");
            request.headers_mut().insert(HeaderName::from_static(name), value);
        }
        let stream = TcpStream::connect(rig.address()).await.expect("connects");
        match tokio_tungstenite::client_async(request, stream).await {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(other) => panic!("{other}"),
        }
    }

    async fn send(&mut self, frame: Value) {
        self.send_text(&frame.to_string()).await;
    }

    async fn send_text(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.expect("sends");
    }

    async fn hello(&mut self, mut fields: Value) -> Value {
        fields["type"] = "hello".into();
        self.send(fields).await;
        self.frame().await
    }

    async fn say(&mut self, id: &str, text: &str) {
        self.send(json!({ "type": "say", "id": id, "text": text })).await;
    }

    /// The next frame; panics where the socket ends instead.
    async fn frame(&mut self) -> Value {
        self.next()
            .await
            .unwrap_or_else(|code| panic!("closed with {code:?}"))
    }

    /// The next frame, or the code with which the socket was closed.
    async fn next(&mut self) -> Result<Value, Option<u16>> {
        loop {
            match tokio::time::timeout(STEP, self.0.next())
                .await
                .expect("something comes in time")
            {
                Some(Ok(Message::Text(text))) => {
                    return Ok(serde_json::from_str(&text).expect("frames are JSON"));
                }
                Some(Ok(Message::Close(frame))) => {
                    // The answer to it leaves with the next read.
                    let _ = tokio::time::timeout(STEP, self.0.next()).await;
                    return Err(frame.map(|f| f.code.into()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(None),
            }
        }
    }

    async fn is_error(&mut self, code: &str) -> Value {
        let frame = self.frame().await;
        assert_eq!(
            (&frame["type"], &frame["code"]),
            (&json!("error"), &json!(code)),
            "{frame}"
        );
        assert!(
            frame["message"].as_str().is_some_and(|m| !m.is_empty()),
            "{frame}"
        );
        frame
    }

    async fn is_said(&mut self, seq: u64, id: &str) {
        let frame = self.frame().await;
        assert_eq!(
            (&frame["type"], &frame["seq"], &frame["id"]),
            (&json!("said"), &json!(seq), &json!(id)),
            "{frame}"
        );
    }

    /// That nothing but an answer to a ping comes, which everything before it would precede.
    async fn is_quiet(&mut self) {
        self.send(json!({ "type": "ping", "t": "quiet?" })).await;
        assert_eq!(self.frame().await, json!({ "type": "pong", "t": "quiet?" }));
    }

    async fn is_closed(&mut self, code: u16) {
        assert_eq!(self.next().await, Err(Some(code)));
    }
}
