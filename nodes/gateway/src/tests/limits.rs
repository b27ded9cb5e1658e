//! The rates of the interface.

use super::*;

#[tokio::test]
async fn thirty_messages_a_minute_and_user_on_socket_and_http() {
    let rig = rig_with(GatewaySettings {
        messages_per_minute: 30,
        ..settings()
    })
    .await;
    let (mut client, session) = rig.chat(ADA).await;
    for n in 1..=30 {
        client.say(&format!("m{n}"), "x").await;
        client.is_said(n, &format!("m{n}")).await;
    }
    client.say("m31", "x").await;
    let error = client.is_error("rate_limited").await;
    assert_eq!(error["id"], "m31");
    assert!(
        error["retry_after_ms"]
            .as_u64()
            .is_some_and(|ms| ms > 0 && ms <= 2_001),
        "{error}"
    );
    let path = format!("/api/v1/sessions/{session}/messages");
    let answer = rig
        .call("POST", &path, ADA, Some(json!({ "id": "m32", "text": "x" })))
        .await;
    answer.is_problem(429, "rate_limited");
    assert!(answer.header("retry-after").parse::<u64>().is_ok_and(|s| s >= 1));
    let (mut bob, _) = rig.chat(BOB).await;
    bob.say("m1", "x").await;
    bob.is_said(1, "m1").await;
}

#[tokio::test]
async fn what_was_not_committed_does_not_count() {
    let rig = rig_with(GatewaySettings {
        messages_per_minute: 2,
        ..settings()
    })
    .await;
    let (mut client, _) = rig.chat(ADA).await;
    rig.set_unavailable(true);
    for _ in 0..5 {
        client.say("m1", "x").await;
        client.is_error("unavailable").await;
    }
    rig.set_unavailable(false);
    client.say("m1", "x").await;
    client.is_said(1, "m1").await;
}

#[tokio::test]
async fn ten_new_sockets_a_minute_and_address() {
    let rig = rig_with(GatewaySettings {
        sockets_per_minute: 10,
        ..settings()
    })
    .await;
    let mut open = Vec::new();
    for _ in 0..10 {
        open.push(Client::open(&rig, &[]).await);
    }
    assert_eq!(Client::try_open(&rig, &[]).await.err(), Some(429));
    let headers = [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let refused = rig.request("GET", "/ws", &headers, "").await;
    refused.is_problem(429, "rate_limited");
    assert!(refused.header("retry-after").parse::<u64>().is_ok_and(|s| s >= 1));
}

#[tokio::test]
async fn log_ins_are_limited_by_address_and_user() {
    let rig = rig_with(GatewaySettings {
        logins_per_minute: 3,
        password_workers: 0,
        ..settings()
    })
    .await;
    let wrong = json!({ "user": "nobody", "password": "12345678" });
    for _ in 0..3 {
        rig.call("POST", "/api/v1/login", "", Some(wrong.clone()))
            .await
            .is_problem(401, "unauthorized");
    }
    rig.call("POST", "/api/v1/login", "", Some(wrong))
        .await
        .is_problem(429, "rate_limited");
    let other = json!({ "user": "ada", "password": "12345678" });
    rig.call("POST", "/api/v1/login", "", Some(other))
        .await
        .is_problem(401, "unauthorized");
}

#[tokio::test]
async fn connections_are_bounded() {
    let rig = rig_with(GatewaySettings {
        max_connections: 2,
        ..settings()
    })
    .await;
    let (_a, _) = rig.chat(ADA).await;
    let (_b, _) = rig.chat(ADA).await;
    let mut third = TcpStream::connect(rig.address())
        .await
        .expect("the kernel accepts");
    let mut byte = [0];
    let read = tokio::time::timeout(STEP, third.read(&mut byte))
        .await
        .expect("it is closed at once");
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
}

#[tokio::test]
async fn a_head_that_does_not_come_is_given_up() {
    let rig = rig_with(GatewaySettings {
        header_read_timeout: Duration::from_millis(100),
        ..settings()
    })
    .await;
    let mut slow = TcpStream::connect(rig.address()).await.expect("connects");
    slow.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n")
        .await
        .expect("writes");
    let mut answer = Vec::new();
    let read = tokio::time::timeout(STEP, slow.read_to_end(&mut answer))
        .await
        .expect("it is closed");
    assert!(
        read.is_err() || answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"),
        "{answer:?}"
    );
}
