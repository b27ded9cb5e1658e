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
async fn log_ins_are_limited_by_address_whatever_names_are_tried() {
    let rig = rig_with(GatewaySettings {
        logins_per_minute: 1,
        password_workers: 0,
        ..settings()
    })
    .await;
    let created = json!({ "name": "eve", "password": "correct horse" });
    let made = rig
        .call("POST", "/api/v1/users", ROOT, Some(created.clone()))
        .await;
    assert_eq!(made.status, 201);
    let log_in = |user: String, password: &'static str| {
        let (rig, body) = (&rig, json!({ "user": user, "password": password }));
        async move { rig.call("POST", "/api/v1/login", "", Some(body)).await }
    };
    // Names that no user has are not remembered, and cost nobody an attempt.
    for n in 0..20 {
        log_in(format!("{n}{}", "x".repeat(63)), "12345678")
            .await
            .is_problem(401, "unauthorized");
    }
    // Neither does what succeeds.
    for _ in 0..2 {
        assert_eq!(log_in("eve".to_owned(), "correct horse").await.status, 200);
    }
    // One name has one attempt; a refused second takes none from the address.
    for (attempt, status) in [(1, 401), (2, 429), (3, 429)] {
        let answer = log_in("ada".to_owned(), "12345678").await;
        assert_eq!(answer.status, status, "{attempt}");
    }
    // Six names' worth in all.
    for n in 0..5 {
        log_in(format!("name-{n}"), "12345678")
            .await
            .is_problem(401, "unauthorized");
    }
    log_in("another".to_owned(), "12345678")
        .await
        .is_problem(429, "rate_limited");
    log_in("eve".to_owned(), "correct horse")
        .await
        .is_problem(429, "rate_limited");
}

#[tokio::test]
async fn what_stood_there_already_does_not_count() {
    let rig = rig_with(GatewaySettings {
        messages_per_minute: 2,
        ..settings()
    })
    .await;
    let (mut client, session) = rig.chat(ADA).await;
    client.say("m1", "x").await;
    client.is_said(1, "m1").await;
    let path = format!("/api/v1/sessions/{session}/messages");
    for _ in 0..5 {
        client.say("m1", "x").await;
        client.is_said(1, "m1").await;
        let again = rig
            .call("POST", &path, ADA, Some(json!({ "id": "m1", "text": "x" })))
            .await;
        assert_eq!(again.status, 200, "{again:?}");
    }
    client.say("m2", "x").await;
    client.is_said(2, "m2").await;
    client.say("m3", "x").await;
    client.is_error("rate_limited").await;
}

#[tokio::test]
async fn as_many_sessions_as_there_may_be_are_no_fault() {
    let rig = rig().await;
    rig.fake.full.store(true, Ordering::SeqCst);
    let refused = rig.call("POST", "/api/v1/sessions", ADA, None).await;
    refused.is_problem(409, "conflict");
    assert!(refused.body.contains("go on in one of those"), "{refused:?}");
    let mut client = Client::open(&rig, &[]).await;
    client.send(json!({ "type": "hello", "token": ADA })).await;
    let error = client.is_error("forbidden").await;
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|m| m.contains("go on in one of those"))
    );
    rig.fake.full.store(false, Ordering::SeqCst);
    assert_eq!(client.hello(json!({ "token": ADA })).await["type"], "welcome");
}

#[tokio::test]
async fn without_a_limit_of_characters_what_can_be_stored_and_framed_is_taken() {
    for message_chars in [0, 1_000_000] {
        let rig = rig_with(GatewaySettings {
            message_chars,
            ..settings()
        })
        .await;
        let mut client = Client::open(&rig, &[]).await;
        let welcome = client.hello(json!({ "token": ADA })).await;
        let most = welcome["limits"]["message_chars"].as_u64().expect("told");
        assert!((60_000..65_536).contains(&most), "{welcome}");
        client.say(&"i".repeat(64), &"x".repeat(most as usize)).await;
        client.is_said(1, &"i".repeat(64)).await;
        let session = welcome["session"].as_str().expect("an id");
        let path = format!("/api/v1/sessions/{session}/messages");
        let say = |id: &'static str, chars: u64| {
            let text = "😀".repeat(chars as usize);
            rig.call("POST", &path, ADA, Some(json!({ "id": id, "text": text })))
        };
        say("long", most + 1).await.is_problem(413, "too_long");
        assert_eq!(say("fits", most).await.status, 200);
    }
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
