//! Hostile requests, as bytes on a connection to the whole gateway: HTTP, the socket's handshake and its frames, bodies,
//! headers, cookies, paths and queries. Nothing panics on the way, nothing is answered as a fault of the server's, and
//! nothing is left without an answer that deserves one.

use std::cell::Cell;

use jarvis_fuzz_engine::fuzz;

use super::*;

/// A request of `ada`'s, or of `root`'s where it takes an administrator.
fn request(method: &str, path: &str, headers: &[&str], body: &str) -> Vec<u8> {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let admin = [
        "users",
        "invites",
        "nodes",
        "why",
        "drill",
        "automations",
        "services",
        "events",
    ]
    .iter()
    .any(|part| path.contains(part));
    let token = if admin { ROOT } else { ADA };
    format!(
        "{method} {path} HTTP/1.1\r\nhost: jarvis.test\r\nauthorization: Bearer {token}\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A text frame as a client sends it, masked by zeros.
fn frame(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len())
        .ok()
        .filter(|length| *length < 126)
        .expect("a short frame");
    [&[0x81, 0x80 | length, 0, 0, 0, 0], text.as_bytes()].concat()
}

fn socket(frames: &[&str]) -> Vec<u8> {
    let head = format!(
        "GET /ws HTTP/1.1\r\nhost: jarvis.test\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: jarvis.v1\r\nauthorization: Bearer {ADA}\r\n\r\n"
    );
    let frames: Vec<u8> = frames.iter().flat_map(|text| frame(text)).collect();
    [head.into_bytes(), frames, vec![0x88, 0x80, 0, 0, 0, 0]].concat()
}

fn seeds(session: &str) -> Vec<Vec<u8>> {
    let json = "content-type: application/json";
    let messages = format!("/api/v1/sessions/{session}/messages");
    vec![
        request(
            "GET",
            &format!("{messages}?after=0&limit=10"),
            &["connection: close"],
            "",
        ),
        request("POST", &messages, &[json], r#"{"id":"m1","text":"bonjour é"}"#),
        request(
            "POST",
            &format!("{messages}?wait=reply"),
            &[json],
            r#"{"id":"m2","text":"x"}"#,
        ),
        request("POST", "/api/v1/sessions", &["x-request-id: r-1"], ""),
        request("GET", "/api/v1/sessions?limit=5", &["accept-encoding: gzip"], ""),
        request(
            "POST",
            "/api/v1/login",
            &[json],
            r#"{"name":"ada","password":"wrong"}"#,
        ),
        request(
            "POST",
            "/api/v1/logout",
            &[
                "cookie: a=b; jarvis_login=jcs_1; c=d",
                "origin: http://jarvis.test",
            ],
            "",
        ),
        request(
            "POST",
            "/api/v1/users",
            &[json],
            r#"{"name":"eve","password":"a long one","admin":false}"#,
        ),
        request(
            "POST",
            "/api/v1/tokens",
            &[json],
            r#"{"label":"phone","ttl_s":60}"#,
        ),
        request(
            "POST",
            "/api/v1/invites",
            &[json],
            r#"{"role":"voter","ttl_s":900}"#,
        ),
        request("POST", "/api/v1/nodes/attic/drain?timeout_s=30", &[], ""),
        request("GET", "/api/v1/cluster", &["if-none-match: \"x\""], ""),
        request("GET", "/api/v1/why/session/01J0000000000000000000000A", &[], ""),
        request(
            "POST",
            "/api/v1/automations?check=true",
            &[json],
            r#"{"files":[{"name":"a.yaml","text":"- alias: x\n  triggers: []\n"}]}"#,
        ),
        request(
            "POST",
            "/api/v1/automations/night/trigger?wait=true&timeout_s=0",
            &[json],
            r#"{"variables":{"x":1},"skip_conditions":true}"#,
        ),
        request(
            "POST",
            "/api/v1/services/light/turn_on",
            &[json, "idempotency-key: k1"],
            r#"{"entity_id":"light.hall","target":{"area_id":"hall"}}"#,
        ),
        request("POST", "/api/v1/events/bell", &[json], r#"{"n":1}"#),
        request(
            "PUT",
            "/api/webhook/s3cret?a=1&b=%C3%A9",
            &[
                "content-type: application/x-www-form-urlencoded",
                "forwarded: for=x",
            ],
            "c=3+4&d",
        ),
        request("GET", "/healthz", &[], ""),
        request("GET", "/", &["range: bytes=0-1"], ""),
        socket(&[
            r#"{"type":"hello"}"#,
            r#"{"type":"say","id":"m3","text":"hi"}"#,
            r#"{"type":"ping","t":1}"#,
        ]),
        socket(&[r#"{"type":"say","id":"m4","text":"no hello"}"#]),
    ]
}

/// Sends `bytes`, says that there are no more, and reads all that comes.
async fn exchange(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.expect("connects");
    let mut answer = Vec::new();
    // The gateway may close while it is being written to.
    let talk = async {
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        let _ = stream.read_to_end(&mut answer).await;
    };
    tokio::time::timeout(STEP, talk)
        .await
        .expect("the gateway answers or closes in time");
    answer
}

#[test]
fn fuzz_requests() {
    // One thread, so that a panic in a task of the gateway's is seen.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let (rig, session) = runtime.block_on(async {
        let rig = rig().await;
        let made = rig.call("POST", "/api/v1/sessions", ADA, None).await.json();
        (rig, made["id"].as_str().expect("an id").to_owned())
    });
    let (address, answered) = (rig.address(), Cell::new(0u64));
    fuzz!()
        .seeds(seeds(&session))
        .words([
            "\r\n",
            "\r\n\r\n",
            "%00",
            "%ff",
            "../",
            "?",
            "&",
            "chunked",
            "transfer-encoding: chunked\r\n",
            "expect: 100-continue\r\n",
        ])
        .words([
            "content-length: 99999999\r\n",
            "HTTP/1.0",
            "HTTP/2.0",
            "OPTIONS",
            "jarvis_login=",
            "Bearer ",
            "Basic ",
            "\u{0}",
        ])
        .words([
            [0x82, 0x80, 0, 0, 0, 0],
            [0x81, 0xff, 0xff, 0xff, 0xff, 0xff],
            [0x09, 0x80, 0, 0, 0, 0],
            [0x80, 0x80, 0, 0, 0, 0],
        ])
        .runs(400)
        .run(|bytes| {
            let answer = runtime.block_on(exchange(address, bytes));
            let text = String::from_utf8_lossy(&answer);
            let status = text
                .strip_prefix("HTTP/1.1 ")
                .or_else(|| text.strip_prefix("HTTP/1.0 "))
                .map(|rest| rest[..3].to_owned());
            assert!(answer.is_empty() || status.is_some(), "{text}");
            assert_ne!(status.as_deref(), Some("500"), "{text}");
            answered.set(answered.get() + u64::from(status.is_some()));
            status.map(|status| {
                status
                    .bytes()
                    .map(|digit| char::from(b'a' + digit - b'0'))
                    .collect::<String>()
            })
        });
    assert!(answered.get() > 100, "{answered:?} requests were answered");
    runtime.block_on(async {
        rig.call("GET", "/healthz", "", None).await;
    });
}
