//! The chat client against servers of the tests' own that break off, refuse and come back.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use jarvis_client::{ChatClient, ChatError, ChatEvent, ChatOptions};
use jarvis_host::Tasks;
use jarvis_types::chat::ServerFrame;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

struct Server {
    listener: TcpListener,
    url: String,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("ws://{}/ws", listener.local_addr().expect("bound"));
        Self { listener, url }
    }

    #[allow(clippy::result_large_err, reason = "the callback's type is the library's")]
    async fn accept(&self) -> Peer {
        let (stream, _) = self.listener.accept().await.expect("a client");
        let socket = accept_hdr_async(stream, |request: &Request, mut response: Response| {
            let offered = request
                .headers()
                .get("sec-websocket-protocol")
                .expect("offers a protocol")
                .clone();
            response.headers_mut().insert("sec-websocket-protocol", offered);
            Ok(response)
        });
        Peer(socket.await.expect("a handshake"))
    }
}

struct Peer(WebSocketStream<TcpStream>);

impl Peer {
    async fn read(&mut self) -> Value {
        loop {
            let message = self.0.next().await.expect("a frame").expect("a whole one");
            if let Message::Text(text) = message {
                let frame: Value = serde_json::from_str(&text).expect("JSON");
                if frame["type"] != "ping" {
                    return frame;
                }
            }
        }
    }

    async fn write(&mut self, frame: Value) {
        self.0.send(Message::text(frame.to_string())).await.expect("sent");
    }

    async fn welcome(&mut self, endpoints: &[&str]) {
        let limits = json!({"message_chars": 4096, "messages_per_minute": 0, "frame_bytes": 65536});
        self.write(
            json!({"type":"welcome","session":"S","node":"a","owner":"a","epoch":1,"last_seq":0,
            "endpoints":endpoints,"limits":limits,"later":"fields are ignored"}),
        )
        .await;
    }

    async fn said(&mut self, seq: u64, id: &str) {
        self.write(json!({"type":"said","seq":seq,"id":id,"role":"user","text":"t","at":1}))
            .await;
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(5), future)
        .await
        .expect("in time")
}

fn client(urls: &[&str], tasks: &Tasks) -> ChatClient {
    let endpoints = urls.iter().map(|url| (*url).to_owned()).collect();
    let options = ChatOptions {
        endpoints,
        token: Some("T".into()),
        session: None,
        after: 0,
    };
    ChatClient::start(options, tasks).expect("endpoints are right")
}

async fn next_said(chat: &mut ChatClient) -> (u64, String) {
    loop {
        let event = chat.next().await.expect("goes on");
        if let ChatEvent::Frame {
            frame: ServerFrame::Said { seq, id, .. },
            ..
        } = event
        {
            return (seq, id);
        }
    }
}

#[tokio::test]
async fn a_broken_socket_is_replaced_and_what_was_not_confirmed_is_said_again() {
    let (a, b, tasks) = (Server::start().await, Server::start().await, Tasks::new());
    let mut chat = client(&[&a.url], &tasks);
    within(async {
        let mut first = a.accept().await;
        assert_eq!(first.read().await, json!({"type":"hello","token":"T"}));
        first.welcome(&[&a.url, &b.url]).await;
        chat.say("m1", "one").expect("taken");
        chat.say("m2", "two").expect("taken");
        assert_eq!(first.read().await["id"], "m1");
        first.said(1, "m1").await;
        assert_eq!(next_said(&mut chat).await, (1, "m1".to_owned()));
        // The node dies with the second message in its hands.
        drop(first);

        let mut second = b.accept().await;
        assert_eq!(
            second.read().await,
            json!({"type":"hello","token":"T","session":"S","after":1})
        );
        second.welcome(&[&b.url, &a.url]).await;
        assert_eq!(second.read().await, json!({"type":"say","id":"m2","text":"two"}));
        second.said(2, "m2").await;
        assert_eq!(next_said(&mut chat).await, (2, "m2".to_owned()));
    })
    .await;
    tasks.stop(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn a_node_that_falls_silent_is_left_for_one_that_answers() {
    let (a, b, tasks) = (Server::start().await, Server::start().await, Tasks::new());
    let mut chat = client(&[&a.url], &tasks);
    within(async {
        let mut first = a.accept().await;
        first.read().await;
        first.welcome(&[&a.url, &b.url]).await;
        chat.say("m1", "one").expect("taken");
        assert_eq!(first.read().await["id"], "m1");
        // Its socket stays open all the time, as one behind a pulled cable does.
        let mut second = b.accept().await;
        assert_eq!(second.read().await["session"], "S");
        second.welcome(&[&b.url, &a.url]).await;
        assert_eq!(second.read().await["id"], "m1");
        second.said(1, "m1").await;
        assert_eq!(next_said(&mut chat).await, (1, "m1".to_owned()));
        drop(first);
    })
    .await;
    tasks.stop(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn a_node_that_is_slow_is_stayed_with_while_no_other_answers() {
    let (a, tasks) = (Server::start().await, Tasks::new());
    // A machine that takes connections and says nothing.
    let mute = Server::start().await;
    let mut chat = client(&[&a.url], &tasks);
    within(async {
        let mut first = a.accept().await;
        first.read().await;
        first.welcome(&[&a.url, &mute.url]).await;
        chat.say("m1", "one").expect("taken");
        assert_eq!(first.read().await["id"], "m1");
        let (held, _) = mute.listener.accept().await.expect("it is sought");
        first.said(1, "m1").await;
        assert_eq!(next_said(&mut chat).await, (1, "m1".to_owned()));
        // The sign of life ended the search; the conversation goes on where it was.
        chat.say("m2", "two").expect("taken");
        assert_eq!(first.read().await["id"], "m2");
        drop(held);
    })
    .await;
    tasks.stop(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn unavailable_is_tried_again_when_the_server_says() {
    let (a, tasks) = (Server::start().await, Tasks::new());
    let mut chat = client(&[&a.url], &tasks);
    within(async {
        let mut peer = a.accept().await;
        peer.read().await;
        peer.welcome(&[&a.url]).await;
        chat.say("m1", "one").expect("taken");
        assert_eq!(peer.read().await["id"], "m1");
        peer.write(json!({"type":"error","code":"unavailable","message":"no majority","id":"m1","retry_after_ms":20}))
            .await;
        assert_eq!(peer.read().await["id"], "m1");
        peer.said(1, "m1").await;
        assert_eq!(next_said(&mut chat).await.0, 1);
    })
    .await;
    tasks.stop(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn a_wrong_token_ends_it_and_a_server_that_is_away_does_not() {
    let (a, tasks) = (Server::start().await, Tasks::new());
    // Nobody listens at the first endpoint.
    let gone = Server::start().await.url;
    let mut chat = client(&[&gone, &a.url], &tasks);
    within(async {
        let mut peer = a.accept().await;
        peer.read().await;
        peer.write(json!({"type":"error","code":"unauthorized","message":"the token has expired"}))
            .await;
        let failed = loop {
            if let ChatEvent::Failed(error) = chat.next().await.expect("says why") {
                break error;
            }
        };
        let message = "the token has expired".to_owned();
        assert_eq!(
            failed,
            ChatError::Refused {
                code: "unauthorized".into(),
                message
            }
        );
        assert!(chat.next().await.is_none());
    })
    .await;
}

#[tokio::test]
async fn addresses_that_are_none_are_refused_before_anything_is_tried() {
    for bad in [vec![], vec!["http://x".to_owned()], vec!["nonsense".to_owned()]] {
        let options = ChatOptions {
            endpoints: bad,
            token: None,
            session: None,
            after: 0,
        };
        assert!(matches!(
            ChatClient::start(options, &Tasks::new()),
            Err(ChatError::BadEndpoint(_))
        ));
    }
}

#[tokio::test]
async fn a_server_without_tls_is_not_taken_for_one_with_it() {
    let (plain, tasks) = (Server::start().await, Tasks::new());
    let mut chat = client(&[&plain.url.replace("ws://", "wss://")], &tasks);
    within(async {
        let (mut stream, _) = plain.listener.accept().await.expect("a client");
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .expect("sent");
        let event = chat.next().await.expect("says why");
        let ChatEvent::Reconnecting { why, .. } = event else {
            panic!("{event:?}")
        };
        assert!(why.contains("wss://"), "{why}");
    })
    .await;
    tasks.stop(Duration::from_secs(1)).await;
}
