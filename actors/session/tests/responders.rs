//! The chain of responders against servers that are slow, stop, refuse, or send what is no reply.

mod support;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jarvis_session::logic::intents::{Facts, NodeFact};
use jarvis_session::responder::{
    Chain, DeltaSink, Finished, Line, Model, Piece, Prompt, Responder, ResponderError,
};
use jarvis_session::settings::{EndpointSettings, Protocol, ResponderSettings};
use jarvis_types::limits::MAX_REPLY_CHARS;
use jarvis_types::{Seq, SessionId};
use jiff::tz::TimeZone;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use serde_json::json;
use tokio::time::Instant;

use support::{ModelServer, Step, end, endpoint, good, head, ok, part};

const BOTH: [Protocol; 2] = [Protocol::OpenAi, Protocol::Ollama];

fn prompt(text: &str) -> Prompt {
    Prompt {
        session: SessionId(7),
        seq: Seq(3),
        text: text.to_owned(),
        history: vec![
            Line {
                by_jarvis: false,
                text: "before".into(),
            },
            Line {
                by_jarvis: true,
                text: "answer".into(),
            },
        ],
        facts: Facts {
            now_ms: 0,
            time_zone: TimeZone::UTC,
            owner: "a".into(),
            gateway: None,
            leader: Some("a".into()),
            nodes: vec![NodeFact {
                name: "a".into(),
                up: true,
            }],
            said_before: None,
        },
    }
}

fn chain(endpoints: Vec<EndpointSettings>) -> Chain {
    let settings = ResponderSettings {
        endpoints,
        system_prompt: "Be brief.".into(),
        ..ResponderSettings::default()
    };
    Chain::from_settings(&settings).expect("sound settings")
}

struct Told {
    result: Result<Finished, ResponderError>,
    text: String,
    restarts: usize,
}

async fn ask(chain: &Chain, text: &str) -> Told {
    let (mut sink, mut pieces) = DeltaSink::new("[cut]");
    let reading = async {
        let (mut text, mut restarts) = (String::new(), 0);
        while let Some(piece) = pieces.recv().await {
            match piece {
                Piece::Text(part) => text.push_str(&part),
                Piece::Restart => {
                    text.clear();
                    restarts += 1;
                }
            }
        }
        (text, restarts)
    };
    let prompt = prompt(text);
    let writing = async move {
        let result = chain.respond(&prompt, &mut sink).await;
        (result, sink.into_text())
    };
    let ((result, whole), (text, restarts)) = tokio::join!(writing, reading);
    assert_eq!(text, whole, "the pieces make the whole");
    Told {
        result,
        text,
        restarts,
    }
}

/// Has a server with `script` be asked first and a sound one second; the second one must answer.
#[track_caller]
fn falls_back(protocol: Protocol, script: Vec<Step>, restarts: usize) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let bad = ModelServer::start(vec![script]).await;
        let sound = ModelServer::start(vec![good(protocol, &["sound ", "reply"])]).await;
        let chain = chain(vec![
            endpoint("bad", protocol, &bad.url),
            endpoint("sound", protocol, &sound.url),
        ]);
        let began = Instant::now();
        let told = ask(&chain, "tell me a story").await;
        assert_eq!(told.text, "sound reply", "{caller} {protocol:?}");
        assert_eq!(
            told.result,
            Ok(Finished {
                responder: "sound".into()
            }),
            "{caller}"
        );
        assert_eq!(told.restarts, restarts, "{caller} {protocol:?}");
        assert!(began.elapsed() < Duration::from_secs(4), "{caller}");
        // The failed one is left alone for a while.
        let told = ask(&chain, "another story").await;
        assert_eq!(told.text, "sound reply", "{caller}");
        assert_eq!(bad.requests().len(), 1, "{caller}");
    }
}

#[tokio::test]
async fn a_sound_server_is_asked_as_its_protocol_says() {
    for (protocol, path) in [
        (Protocol::OpenAi, "post /v1/chat/completions "),
        (Protocol::Ollama, "post /api/chat "),
    ] {
        let server = ModelServer::start(vec![good(protocol, &["Il était", " une fois…"])]).await;
        let chain = chain(vec![endpoint("model", protocol, &server.url)]);
        let told = ask(&chain, "raconte une histoire").await;
        assert_eq!(told.text, "Il était une fois…");
        assert_eq!(
            told.result,
            Ok(Finished {
                responder: "model".into()
            })
        );
        let request = server.requests().remove(0);
        assert!(request.head.starts_with(path), "{}", request.head);
        assert!(
            request.head.contains("authorization: bearer sk-test"),
            "{}",
            request.head
        );
        assert_eq!(
            request.body,
            json!({ "model": "tiny", "stream": true, "messages": [
                { "role": "system", "content": "Be brief." },
                { "role": "user", "content": "before" },
                { "role": "assistant", "content": "answer" },
                { "role": "user", "content": "raconte une histoire" },
            ] })
        );
    }
}

#[tokio::test]
async fn what_the_built_in_responder_knows_is_not_asked_of_a_model() {
    let server = ModelServer::start(vec![good(Protocol::OpenAi, &["the model"])]).await;
    let chain = chain(vec![endpoint("model", Protocol::OpenAi, &server.url)]);
    assert_eq!(
        ask(&chain, "who is the leader?").await.text,
        "Node a is the leader."
    );
    assert_eq!(ask(&chain, "combien font 6 fois 7 ?").await.text, "6 × 7 = 42");
    assert!(server.requests().is_empty());
    assert_eq!(ask(&chain, "hello").await.text, "the model");
}

#[tokio::test]
async fn utf8_may_be_split_anywhere() {
    for protocol in BOTH {
        let mut script = vec![ok(protocol)];
        let bytes = [part(protocol, "é🙂漢"), part(protocol, "ß"), end(protocol)].concat();
        for byte in bytes {
            script.push(Step::Send(vec![byte]));
        }
        let server = ModelServer::start(vec![script]).await;
        let chain = chain(vec![endpoint("model", protocol, &server.url)]);
        assert_eq!(ask(&chain, "a story").await.text, "é🙂漢ß");
    }
}

#[tokio::test]
async fn a_slow_first_byte_or_part() {
    for protocol in BOTH {
        falls_back(protocol, vec![Step::Hang], 0).await;
        falls_back(protocol, vec![ok(protocol), Step::Hang], 0).await;
    }
    // Signs of life without text do not put off the first part.
    let alive = vec![
        Step::Send(b": wait\n\n".to_vec()),
        Step::Wait(Duration::from_millis(50)),
    ];
    let script = [
        vec![ok(Protocol::OpenAi)],
        vec![alive; 20].concat(),
        vec![Step::Hang],
    ]
    .concat();
    falls_back(Protocol::OpenAi, script, 0).await;
}

#[tokio::test]
async fn a_stream_that_stops_or_ends_in_the_middle_begins_again_elsewhere() {
    for protocol in BOTH {
        let begun = vec![ok(protocol), Step::Send(part(protocol, "once upon"))];
        falls_back(protocol, [begun.clone(), vec![Step::Hang]].concat(), 1).await;
        falls_back(protocol, begun, 1).await;
    }
}

#[tokio::test]
async fn refusals() {
    for protocol in BOTH {
        falls_back(
            protocol,
            vec![head("500 Internal Server Error", "content-length: 0\r\n")],
            0,
        )
        .await;
        falls_back(
            protocol,
            vec![head("401 Unauthorized", "content-length: 0\r\n")],
            0,
        )
        .await;
        falls_back(
            protocol,
            vec![head(
                "302 Found",
                "location: http://127.0.0.1:9/\r\ncontent-length: 0\r\n",
            )],
            0,
        )
        .await;
        let html = vec![
            head("200 OK", "content-type: text/html\r\n"),
            Step::Send(b"<html>".to_vec()),
        ];
        falls_back(protocol, html, 0).await;
        falls_back(protocol, vec![Step::Send(b"garbage\r\n\r\n".to_vec())], 0).await;
        falls_back(protocol, good(protocol, &[]), 0).await;
    }
}

#[tokio::test]
async fn broken_streams() {
    for protocol in BOTH {
        let with = |bytes: Vec<u8>| {
            vec![
                ok(protocol),
                Step::Send(part(protocol, "once upon")),
                Step::Send(bytes),
                Step::Hang,
            ]
        };
        let half = part(protocol, "half of it");
        let half = [&half[..half.len() / 2], b"\n\n"].concat();
        falls_back(protocol, with(half), 1).await;
        falls_back(protocol, with(b"data: \xff\xfe\n\n".to_vec()), 1).await;
        falls_back(protocol, with(vec![b'x'; 300 * 1024]), 1).await;
        let reported = match protocol {
            Protocol::OpenAi => &b"data: {\"error\":{\"message\":\"overloaded\"}}\n\n"[..],
            Protocol::Ollama => b"{\"error\":\"overloaded\"}\n",
        };
        falls_back(protocol, with(reported.to_vec()), 1).await;
    }
}

#[tokio::test]
async fn a_server_that_asks_for_a_pause_gets_it() {
    let busy = vec![head(
        "429 Too Many Requests",
        "retry-after: 120\r\ncontent-length: 0\r\n",
    )];
    let server = ModelServer::start(vec![busy, good(Protocol::OpenAi, &["back"])]).await;
    let chain = chain(vec![endpoint("busy", Protocol::OpenAi, &server.url)]);
    assert!(ask(&chain, "a story").await.text.contains("cannot be reached"));
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(119)).await;
    assert!(ask(&chain, "a story").await.text.contains("cannot be reached"));
    assert_eq!(server.requests().len(), 1);
    tokio::time::advance(Duration::from_secs(2)).await;
    tokio::time::resume();
    assert_eq!(ask(&chain, "a story").await.text, "back");
}

#[tokio::test]
async fn a_reply_without_end_is_cut() {
    for protocol in BOTH {
        let text = part(protocol, &"é".repeat(500));
        let server = ModelServer::start(vec![vec![ok(protocol), Step::Repeat(text)]]).await;
        let mut settings = endpoint("endless", protocol, &server.url);
        settings.deadlines.whole = Duration::from_secs(20);
        let told = ask(&chain(vec![settings]), "a story").await;
        assert_eq!(
            told.result,
            Ok(Finished {
                responder: "endless".into()
            })
        );
        assert_eq!(told.text.chars().count(), MAX_REPLY_CHARS);
        assert!(told.text.ends_with("é[cut]"));
    }
}

#[tokio::test]
async fn a_reply_that_drips_for_ever_meets_the_whole_deadline() {
    let drip = vec![
        Step::Send(part(Protocol::Ollama, "x")),
        Step::Wait(Duration::from_millis(50)),
    ];
    let script = [vec![ok(Protocol::Ollama)], vec![drip; 100].concat()].concat();
    let server = ModelServer::start(vec![script]).await;
    let mut endpoint = endpoint("drip", Protocol::Ollama, &server.url);
    endpoint.deadlines.whole = Duration::from_millis(500);
    let told = ask(&chain(vec![endpoint]), "a story").await;
    assert_eq!(told.restarts, 1);
    assert!(told.text.contains("cannot be reached"), "{}", told.text);
}

#[tokio::test]
async fn with_no_model_in_reach_the_built_in_responder_says_so() {
    let closed = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        format!("http://{}", listener.local_addr().expect("bound"))
    };
    let chain = chain(vec![endpoint("closed", Protocol::OpenAi, &closed)]);
    let told = ask(&chain, "tell me a story").await;
    assert_eq!(
        told.result,
        Ok(Finished {
            responder: "built-in".into()
        })
    );
    assert!(
        told.text.starts_with("The language model cannot be reached"),
        "{}",
        told.text
    );
    let told = ask(&chain, "raconte-moi une histoire").await;
    assert!(
        told.text.starts_with("Le modèle de langue est injoignable"),
        "{}",
        told.text
    );
    assert_eq!(ask(&chain, "2+2").await.text, "2 + 2 = 4");
}

#[tokio::test]
async fn https_is_refused_where_the_other_side_speaks_plainly() {
    let server = ModelServer::start(vec![good(Protocol::OpenAi, &["plain"])]).await;
    let url = server.url.replace("http:", "https:");
    let chain = chain(vec![endpoint("tls", Protocol::OpenAi, &url)]);
    assert!(ask(&chain, "a story").await.text.contains("cannot be reached"));
}

#[tokio::test]
async fn https_asks_only_servers_whose_certificate_is_believed() {
    let provider = || Arc::new(rustls::crypto::ring::default_provider());
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let (certificate, key) = (made.cert.der().clone(), made.signing_key.serialize_der());
    let server = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("supported")
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.clone()],
            PrivateKeyDer::try_from(key).expect("a key"),
        )
        .expect("they belong together");
    let server = ModelServer::start_tls(vec![good(Protocol::OpenAi, &["in private"])], server).await;
    let client = |roots| {
        let builder = ClientConfig::builder_with_provider(provider());
        let builder = builder.with_safe_default_protocol_versions().expect("supported");
        builder.with_root_certificates(roots).with_no_client_auth()
    };
    let mut roots = RootCertStore::empty();
    let model = |roots| {
        let settings = endpoint("tls", Protocol::OpenAi, &server.url);
        Arc::new(Model::new(settings, String::new(), &client(roots)).expect("sound settings"))
    };
    let stranger = Chain::new(vec![model(roots.clone())]);
    assert!(ask(&stranger, "a story").await.text.contains("cannot be reached"));
    assert!(server.requests().is_empty(), "nothing was told to a stranger");
    roots.add(certificate).expect("a certificate");
    assert_eq!(
        ask(&Chain::new(vec![model(roots)]), "a story").await.text,
        "in private"
    );
}

#[test]
fn settings_that_cannot_work_are_named() {
    let mut settings = ResponderSettings::default();
    settings
        .endpoints
        .push(endpoint("odd", Protocol::OpenAi, "nas:11434"));
    let error = Chain::from_settings(&settings).err().expect("refused");
    assert_eq!(error.name, "odd");
    assert!(!format!("{settings:?}").contains("sk-test"));
}

/// Answers what begins with its word, fails where that is all, and passes on the rest.
struct Ordered(&'static str);

#[async_trait]
impl Responder for Ordered {
    fn name(&self) -> &str {
        self.0
    }

    async fn respond(&self, prompt: &Prompt, sink: &mut DeltaSink) -> Result<Finished, ResponderError> {
        let rest = prompt.text.strip_prefix(self.0).ok_or(ResponderError::Passed)?;
        let reply = format!("{} of {}/{}:{rest}", self.0, prompt.session.0, prompt.seq);
        sink.push(&reply).await.map_err(|_| ResponderError::Unwanted)?;
        match rest {
            "" => Err(ResponderError::Empty),
            _ => Ok(Finished {
                responder: self.0.to_owned(),
            }),
        }
    }
}

#[tokio::test]
async fn those_that_do_things_are_asked_first_and_may_pass() {
    let chain = chain(Vec::new())
        .asking_first(Arc::new(Ordered("light")))
        .asking_first(Arc::new(Ordered("1")));
    for (text, reply) in [
        ("light on", "light of 7/3: on"),
        ("1+1", "1 of 7/3:+1"),
        ("2+2", "2 + 2 = 4"),
    ] {
        assert_eq!(ask(&chain, text).await.text, reply, "{text}");
    }
    let told = ask(&chain, "light").await;
    assert!(told.text.contains("did not understand"), "{}", told.text);
    assert_eq!(told.restarts, 1, "what was half said is taken back");
}
