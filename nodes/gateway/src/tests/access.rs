//! Who is let in, and until when.

use std::sync::atomic::Ordering;

use jarvis_machine::rows::{CredentialKind, NodeIntent, UserRow};
use jarvis_types::{NodeId, UserId};

use super::*;
use crate::Backend;

/// What the page's requests carry.
fn from_page(cookie: &str) -> Vec<(&str, &str)> {
    vec![
        ("cookie", cookie),
        ("origin", "http://jarvis.test"),
        ("content-type", "application/json"),
    ]
}

#[tokio::test]
async fn sockets_take_header_cookie_or_hello_token() {
    let rig = rig().await;
    let mut by_header = Client::open(&rig, &[("authorization", &format!("Bearer {ADA}"))]).await;
    assert_eq!(by_header.hello(json!({})).await["type"], "welcome");
    rig.chat(ADA).await;
    rig.chat(LOCAL_ADMIN).await;
    rig.fake
        .give(2, CredentialKind::Login, "jcs_1", START_MS + HOUR_MS);
    let own = format!("http://{}", rig.address());
    let mut by_cookie = Client::open(&rig, &[("cookie", "jarvis_login=jcs_1"), ("origin", &own)]).await;
    assert_eq!(by_cookie.hello(json!({})).await["type"], "welcome");
}

#[tokio::test]
async fn a_token_that_is_wrong_or_expired_or_missing_is_refused() {
    let rig = rig().await;
    rig.fake.give(2, CredentialKind::Bearer, "jat_old", START_MS);
    for token in [
        json!("jat_wrong"),
        json!("jat_old"),
        json!(""),
        json!("x".repeat(9_999)),
        Value::Null,
    ] {
        let mut client = Client::open(&rig, &[]).await;
        client.send(json!({ "type": "hello", "token": token })).await;
        client.is_error("unauthorized").await;
        client.is_closed(4401).await;
    }
    for token in ["jat_wrong", "jat_old"] {
        let header = format!("Bearer {token}");
        assert_eq!(
            Client::try_open(&rig, &[("authorization", &header)]).await.err(),
            Some(401)
        );
        rig.call("GET", "/api/v1/me", token, None)
            .await
            .is_problem(401, "unauthorized");
    }
    assert_eq!(
        Client::try_open(&rig, &[("authorization", "Basic eDp5")])
            .await
            .err(),
        Some(401)
    );
    let expired = rig.call("GET", "/api/v1/me", "jat_old", None).await;
    assert!(expired.body.contains("expired"), "{expired:?}");
    assert_eq!(expired.header("www-authenticate"), "Bearer realm=\"jarvis\"");
}

#[tokio::test]
async fn a_revoked_credential_loses_its_sockets() {
    let rig = rig().await;
    let made = rig
        .call(
            "POST",
            "/api/v1/tokens",
            ADA,
            Some(json!({ "label": "phone", "ttl_s": 60 })),
        )
        .await;
    assert_eq!(made.status, 201, "{made:?}");
    let (token, id) = (made.json()["token"].clone(), made.json()["id"].clone());
    let token = token.as_str().expect("a token");
    assert!(token.starts_with("jat_"), "{token}");
    let (mut client, _) = rig.chat(token).await;
    let (mut other, _) = rig.chat(ADA).await;
    let path = format!("/api/v1/tokens/{}", id.as_str().expect("an id"));
    rig.call("DELETE", &path, BOB, None)
        .await
        .is_problem(404, "not_found");
    assert_eq!(rig.call("DELETE", &path, ADA, None).await.status, 204);
    client.is_error("unauthorized").await;
    client.is_closed(4401).await;
    other.is_quiet().await;
    rig.call("GET", "/api/v1/me", token, None)
        .await
        .is_problem(401, "unauthorized");
}

#[tokio::test]
async fn an_expired_credential_loses_its_sockets() {
    let rig = rig_with(GatewaySettings {
        ping_interval: Duration::from_millis(20),
        ..settings()
    })
    .await;
    rig.fake
        .give(2, CredentialKind::Bearer, "jat_short", START_MS + 50);
    let (mut client, _) = rig.chat("jat_short").await;
    rig.clock.advance_ms(51);
    client.is_error("unauthorized").await;
    client.is_closed(4401).await;
}

#[tokio::test]
async fn a_credential_made_elsewhere_a_moment_ago_is_found() {
    let rig = rig().await;
    let row = Fake::credential_row(2, CredentialKind::Bearer, START_MS + HOUR_MS);
    rig.fake
        .behind
        .lock()
        .expect("not poisoned")
        .push((secret_hash("jat_new"), row));
    assert_eq!(
        rig.call("GET", "/api/v1/me", "jat_new", None).await.json()["user"],
        "ada"
    );
    assert_eq!(rig.fake.catch_ups.load(Ordering::SeqCst), 1);
    rig.set_unavailable(true);
    rig.call("GET", "/api/v1/me", "jat_unknown", None)
        .await
        .is_problem(503, "unavailable");
    let mut client = Client::open(&rig, &[]).await;
    client
        .send(json!({ "type": "hello", "token": "jat_unknown" }))
        .await;
    client.is_error("unavailable").await;
    client.is_closed(1013).await;
    assert_eq!(
        rig.call("GET", "/api/v1/me", ADA, None).await.status,
        200,
        "known ones need nobody"
    );
}

#[tokio::test]
async fn logging_in_by_password_gives_a_cookie() {
    let rig = rig().await;
    let created = json!({ "name": "eve", "password": "correct horse" });
    assert_eq!(
        rig.call("POST", "/api/v1/users", ROOT, Some(created))
            .await
            .status,
        201
    );
    for wrong in [
        json!({ "user": "eve", "password": "correct hors" }),
        json!({ "user": "nobody", "password": "correct horse" }),
        json!({ "user": "ada", "password": "correct horse" }),
    ] {
        let refused = rig.call("POST", "/api/v1/login", "", Some(wrong)).await;
        refused.is_problem(401, "unauthorized");
        assert_eq!(refused.json()["detail"], "user or password is wrong");
        assert_eq!(refused.header("set-cookie"), "");
    }
    for malformed in [
        json!({}),
        json!({ "user": "eve" }),
        json!({ "token": ADA, "user": "eve", "password": "x" }),
    ] {
        rig.call("POST", "/api/v1/login", "", Some(malformed))
            .await
            .is_problem(400, "bad_request");
    }
    let login = rig
        .call(
            "POST",
            "/api/v1/login",
            "",
            Some(json!({"user": "eve", "password": "correct horse"})),
        )
        .await;
    assert_eq!(
        (login.status, &login.json()["user"]),
        (200, &json!("eve")),
        "{login:?}"
    );
    let set = login.header("set-cookie");
    assert!(
        set.starts_with("jarvis_login=jcs_") && set.contains("HttpOnly") && set.contains("SameSite=Strict")
    );
    assert!(set.contains("Path=/") && set.contains("Max-Age="), "{set}");
    let cookie = login.cookie();
    assert_eq!(
        rig.request("GET", "/api/v1/me", &[("cookie", &cookie)], "")
            .await
            .json()["user"],
        "eve"
    );
    let out = rig
        .request("POST", "/api/v1/logout", &from_page(&cookie), "")
        .await;
    assert_eq!(
        (out.status, out.header("set-cookie").contains("Max-Age=0")),
        (204, true)
    );
    rig.request("GET", "/api/v1/me", &[("cookie", &cookie)], "")
        .await
        .is_problem(401, "unauthorized");
}

#[tokio::test]
async fn logging_in_by_token_gives_a_cookie_and_a_page_token_that_ends_with_the_password() {
    let rig = rig().await;
    let login = rig
        .call("POST", "/api/v1/login", "", Some(json!({ "token": ROOT })))
        .await;
    assert_eq!(login.status, 200, "{login:?}");
    let cookie = login.cookie();
    let made = rig
        .request(
            "POST",
            "/api/v1/tokens",
            &from_page(&cookie),
            r#"{"page":true,"ttl_s":43200}"#,
        )
        .await;
    let token = made.json()["token"].as_str().expect("a token").to_owned();
    rig.request(
        "POST",
        "/api/v1/tokens",
        &from_page(&cookie),
        r#"{"page":true,"ttl_s":43201}"#,
    )
    .await
    .is_problem(400, "bad_request");
    let (mut page, _) = rig.chat(&token).await;
    let path = "/api/v1/users/root/password";
    assert_eq!(
        rig.call("PUT", path, ROOT, Some(json!({ "password": "new password" })))
            .await
            .status,
        204
    );
    page.is_error("unauthorized").await;
    rig.request("GET", "/api/v1/me", &[("cookie", &cookie)], "")
        .await
        .is_problem(401, "unauthorized");
    assert_eq!(
        rig.call("GET", "/api/v1/me", ROOT, None).await.status,
        200,
        "bearer tokens stay"
    );
}

#[tokio::test]
async fn no_credential_makes_one_that_outlives_it() {
    let rig = rig().await;
    let ends = START_MS + HOUR_MS;
    for body in [
        None,
        Some(json!({ "ttl_s": 315_360_000 })),
        Some(json!({ "page": true })),
    ] {
        let made = rig.call("POST", "/api/v1/tokens", ADA, body).await;
        assert_eq!(
            (made.status, &made.json()["expires_at_ms"]),
            (201, &json!(ends)),
            "{made:?}"
        );
    }
    let shorter = rig
        .call("POST", "/api/v1/tokens", ADA, Some(json!({ "ttl_s": 60 })))
        .await;
    assert_eq!(shorter.json()["expires_at_ms"], START_MS + 60_000);
    let for_another = json!({ "user": "ada", "ttl_s": 86_400 });
    let made = rig
        .call("POST", "/api/v1/tokens", ROOT, Some(for_another.clone()))
        .await;
    assert_eq!(made.json()["expires_at_ms"], ends);
    let made = rig
        .call("POST", "/api/v1/tokens", LOCAL_ADMIN, Some(for_another))
        .await;
    assert_eq!(
        made.json()["expires_at_ms"],
        START_MS + 86_400_000,
        "the node's own credential does not end"
    );

    let login = rig
        .call("POST", "/api/v1/login", "", Some(json!({ "token": ADA })))
        .await;
    assert_eq!(login.json()["expires_at_ms"], ends);
    assert!(login.header("set-cookie").contains("Max-Age=3600"), "{login:?}");
    let cookie = login.cookie();
    let made = rig
        .request("POST", "/api/v1/tokens", &from_page(&cookie), "{}")
        .await;
    assert_eq!(made.json()["expires_at_ms"], ends);
}

#[tokio::test]
async fn a_user_made_elsewhere_a_moment_ago_may_log_in() {
    let rig = rig().await;
    rig.fake.lagging.store(true, Ordering::SeqCst);
    let created = json!({ "name": "eve", "password": "correct horse" });
    let create = async {
        let made = rig
            .call("POST", "/api/v1/users", ROOT, Some(created.clone()))
            .await;
        (
            made.status,
            rig.call("GET", "/api/v1/users", ROOT, None).await.body,
        )
    };
    let apply = async {
        while rig.fake.behind_users.lock().expect("not poisoned").is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // Time enough for an answer that would not wait.
        tokio::time::sleep(Duration::from_millis(50)).await;
        rig.fake.apply_users();
    };
    let ((status, users), ()) = tokio::join!(create, apply);
    assert_eq!(status, 201);
    assert!(
        users.contains("eve"),
        "this node shows it when it is answered: {users}"
    );

    let (_, eve) = rig.fake.user_by_name("eve").expect("reads").expect("is there");
    let joe = UserRow {
        name: "joe".to_owned(),
        ..eve
    };
    rig.fake
        .behind_users
        .lock()
        .expect("not poisoned")
        .push((UserId(900), joe));
    let before = rig.fake.catch_ups.load(Ordering::SeqCst);
    let login = json!({ "user": "joe", "password": "correct horse" });
    let answer = rig.call("POST", "/api/v1/login", "", Some(login.clone())).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(rig.fake.catch_ups.load(Ordering::SeqCst), before + 1);
    let answer = rig.call("POST", "/api/v1/login", "", Some(login)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        rig.fake.catch_ups.load(Ordering::SeqCst),
        before + 1,
        "what is right here needs nobody"
    );
    rig.set_unavailable(true);
    let wrong = json!({ "user": "joe", "password": "wrong horse" });
    rig.call("POST", "/api/v1/login", "", Some(wrong))
        .await
        .is_problem(503, "unavailable");
}

#[tokio::test]
async fn requests_by_cookie_cannot_be_forged() {
    let rig = rig().await;
    rig.fake
        .give(2, CredentialKind::Login, "jcs_1", START_MS + HOUR_MS);
    let cookie = ("cookie", "jarvis_login=jcs_1");
    let post = |header: Option<(&'static str, &'static str)>| {
        let headers: Vec<_> = [Some(cookie), header].into_iter().flatten().collect();
        let rig = &rig;
        async move { rig.request("POST", "/api/v1/sessions", &headers, "").await }
    };
    post(None).await.is_problem(403, "forbidden");
    post(Some(("origin", "http://evil.test")))
        .await
        .is_problem(403, "forbidden");
    post(Some(("origin", "null"))).await.is_problem(403, "forbidden");
    post(Some(("sec-fetch-site", "cross-site")))
        .await
        .is_problem(403, "forbidden");
    post(Some(("sec-fetch-site", "same-site")))
        .await
        .is_problem(403, "forbidden");
    assert_eq!(post(Some(("origin", "http://jarvis.test"))).await.status, 201);
    assert_eq!(post(Some(("sec-fetch-site", "same-origin"))).await.status, 201);
    assert_eq!(post(Some(("x-jarvis-csrf", "1"))).await.status, 201);
    assert_eq!(
        rig.call("POST", "/api/v1/sessions", ADA, None).await.status,
        201,
        "tokens need none of it"
    );
    let evil = [
        ("origin", "http://evil.test"),
        ("content-type", "application/json"),
    ];
    let login = rig
        .request(
            "POST",
            "/api/v1/login",
            &evil,
            &json!({ "token": ADA }).to_string(),
        )
        .await;
    login.is_problem(403, "forbidden");
}

#[tokio::test]
async fn sockets_by_cookie_come_from_the_own_page_only() {
    let rig = rig().await;
    rig.fake
        .give(2, CredentialKind::Login, "jcs_1", START_MS + HOUR_MS);
    let cookie = ("cookie", "jarvis_login=jcs_1");
    assert_eq!(Client::try_open(&rig, &[cookie]).await.err(), Some(403));
    assert_eq!(
        Client::try_open(&rig, &[cookie, ("origin", "http://evil.test")])
            .await
            .err(),
        Some(403)
    );
    // The page of another member: its cookie does not count, its token does.
    let member = ("origin", "http://10.0.0.2:8007");
    let mut client = Client::open(&rig, &[cookie, member]).await;
    client.send(json!({ "type": "hello" })).await;
    client.is_error("unauthorized").await;
    let mut client = Client::open(&rig, &[cookie, member]).await;
    assert_eq!(client.hello(json!({ "token": ADA })).await["type"], "welcome");
    // A bearer token in the cookie was put there by someone else.
    rig.request(
        "GET",
        "/api/v1/me",
        &[("cookie", &format!("jarvis_login={ADA}"))],
        "",
    )
    .await
    .is_problem(401, "unauthorized");
}

#[tokio::test]
async fn nothing_without_a_credential_but_health_login_and_page() {
    let rig = rig().await;
    for route in crate::http::routes() {
        let path = route.path.replace(['{', '}'], "x");
        for method in route.methods {
            let open = [
                "/",
                "/app.js",
                "/automations.js",
                "/style.css",
                "/favicon.svg",
                "/healthz",
                "/readyz",
                "/ws",
                "/api/v1/login",
                // The id is the secret.
                "/api/webhook/{id}",
            ];
            if !open.contains(&route.path) {
                let answer = rig
                    .request(
                        &method.to_uppercase(),
                        &path,
                        &[("content-type", "application/json")],
                        "{}",
                    )
                    .await;
                answer.is_problem(401, "unauthorized");
            }
        }
    }
    for (method, path) in [
        ("GET", "/api/v1/sessions/%ff/messages"),
        ("POST", "/api/v1/sessions/%ff/messages"),
        ("GET", "/api/v1/sessions/x/messages?after=-1"),
        ("GET", "/api/v1/sessions?limit=x"),
        ("GET", "/api/v1/tokens?user=%ff&user=y"),
        ("DELETE", "/api/v1/tokens/%ff"),
        ("DELETE", "/api/v1/users/%ff"),
        ("PUT", "/api/v1/users/%ff/password"),
        ("POST", "/api/v1/nodes/%ff/drain"),
        ("POST", "/api/v1/nodes/b/drain?timeout_s=x"),
        ("POST", "/api/v1/nodes/%ff/undrain"),
        ("DELETE", "/api/v1/nodes/%ff"),
        ("GET", "/api/v1/why/session/%ff"),
    ] {
        rig.request(method, path, &[], "")
            .await
            .is_problem(401, "unauthorized");
        rig.call(method, path, ROOT, None)
            .await
            .is_problem(400, "bad_request");
    }
    for path in [
        "/nothing",
        "/api/v1/nothing",
        "/api/v1",
        "/../etc/passwd",
        "/app.js.map",
    ] {
        rig.request("GET", path, &[], "")
            .await
            .is_problem(401, "unauthorized");
        rig.call("GET", path, ADA, None)
            .await
            .is_problem(404, "not_found");
    }
    rig.request("DELETE", "/api/v1/cluster", &[], "")
        .await
        .is_problem(401, "unauthorized");
    rig.call("DELETE", "/api/v1/cluster", ADA, None)
        .await
        .is_problem(405, "method_not_allowed");
    rig.request("GET", "/ws", &[], "")
        .await
        .is_problem(426, "upgrade_required");
}

#[tokio::test]
async fn only_administrators_administer() {
    let rig = rig().await;
    let invite = json!({ "role": "worker", "ttl_s": 60 });
    for (method, path, body) in [
        ("GET", "/api/v1/users", None),
        ("POST", "/api/v1/users", Some(json!({ "name": "x" }))),
        ("DELETE", "/api/v1/users/bob", None),
        (
            "PUT",
            "/api/v1/users/bob/password",
            Some(json!({ "password": "12345678" })),
        ),
        ("GET", "/api/v1/tokens?user=bob", None),
        ("POST", "/api/v1/tokens", Some(json!({ "user": "bob" }))),
        ("POST", "/api/v1/invites", Some(invite.clone())),
        ("POST", "/api/v1/nodes/b/drain", None),
        ("POST", "/api/v1/nodes/b/undrain", None),
        ("DELETE", "/api/v1/nodes/b", None),
        ("GET", "/api/v1/why/session/x", None),
    ] {
        rig.call(method, path, ADA, body)
            .await
            .is_problem(403, "forbidden");
    }
    for admin in [ROOT, LOCAL_ADMIN] {
        let invited = rig
            .call("POST", "/api/v1/invites", admin, Some(invite.clone()))
            .await;
        assert_eq!(
            (invited.status, &invited.json()["token"]),
            (201, &json!("Worker"))
        );
    }
    assert_eq!(
        rig.call("POST", "/api/v1/invites", ROOT, None).await.json()["command"],
        "jarvis join Voter"
    );
    for bad in [
        json!({ "role": "king" }),
        json!({ "ttl_s": 0 }),
        json!({ "ttl_s": -1 }),
        json!({ "ttl_s": 1e12 }),
    ] {
        rig.call("POST", "/api/v1/invites", ROOT, Some(bad))
            .await
            .is_problem(400, "bad_request");
    }
    let drained = rig
        .call("POST", "/api/v1/nodes/b/drain?timeout_s=7", ROOT, None)
        .await;
    assert_eq!(drained.json(), json!({ "drained": "b", "timeout_s": 7 }));
    rig.call("POST", "/api/v1/nodes/nobody/undrain", ROOT, None)
        .await
        .is_problem(404, "not_found");
    rig.call("DELETE", "/api/v1/nodes/b", ROOT, None)
        .await
        .is_problem(409, "conflict");
    for force in ["?force", "?force=true"] {
        assert_eq!(
            rig.call("DELETE", &format!("/api/v1/nodes/b{force}"), ROOT, None)
                .await
                .status,
            200
        );
    }
    rig.call("DELETE", "/api/v1/nodes/b?force=perhaps", ROOT, None)
        .await
        .is_problem(400, "bad_request");
    assert_eq!(
        rig.call("GET", "/api/v1/why/session/x", ROOT, None).await.json()["entity"],
        "session/x"
    );
}

#[tokio::test]
async fn users_and_tokens_are_administered() {
    let rig = rig().await;
    for (bad, status, code) in [
        (
            json!({ "name": "eve", "password": "1234567" }),
            400,
            "bad_request",
        ),
        (json!({ "name": "" }), 400, "bad_request"),
        (json!({ "name": "a b" }), 400, "bad_request"),
        (json!({ "name": "ab" }), 400, "bad_request"),
        (json!({ "name": "x".repeat(64) }), 400, "bad_request"),
        (json!({ "name": 7 }), 400, "bad_request"),
        (json!({ "name": "ada" }), 409, "conflict"),
    ] {
        rig.call("POST", "/api/v1/users", ROOT, Some(bad))
            .await
            .is_problem(status, code);
    }
    rig.call("DELETE", "/api/v1/users/root", ROOT, None)
        .await
        .is_problem(409, "conflict");
    rig.call("DELETE", "/api/v1/users/nobody", ROOT, None)
        .await
        .is_problem(404, "not_found");
    let (mut bob, _) = rig.chat(BOB).await;
    assert_eq!(
        rig.call("DELETE", "/api/v1/users/bob", ROOT, None).await.status,
        204
    );
    bob.is_error("unauthorized").await;
    let users = rig.call("GET", "/api/v1/users", ROOT, None).await;
    let names: Vec<_> = users.json()["users"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|u| u["name"].clone())
        .collect();
    assert_eq!(names, ["root", "ada"]);
    assert!(!users.body.contains("argon2"), "hashes stay inside");

    let made = rig
        .call(
            "POST",
            "/api/v1/tokens",
            ROOT,
            Some(json!({ "user": "ada", "label": "tablet" })),
        )
        .await;
    let token = made.json()["token"].as_str().expect("a token").to_owned();
    assert_eq!(
        rig.call("GET", "/api/v1/me", &token, None).await.json()["user"],
        "ada"
    );
    let listed = rig.call("GET", "/api/v1/tokens", ADA, None).await;
    assert!(
        listed.body.contains("tablet") && !listed.body.contains(&token),
        "{listed:?}"
    );
    for bad in [
        json!({ "ttl_s": 0 }),
        json!({ "ttl_s": u64::MAX }),
        json!({ "label": "x".repeat(101) }),
    ] {
        rig.call("POST", "/api/v1/tokens", ADA, Some(bad))
            .await
            .is_problem(400, "bad_request");
    }
    let path = "/api/v1/users/ada/password";
    assert_eq!(
        rig.call("PUT", path, ROOT, Some(json!({ "password": "first password" })))
            .await
            .status,
        204
    );
    let wrong = json!({ "password": "second one", "current": "guess" });
    rig.call("PUT", path, ADA, Some(wrong))
        .await
        .is_problem(403, "forbidden");
    let right = json!({ "password": "second one", "current": "first password" });
    assert_eq!(rig.call("PUT", path, ADA, Some(right)).await.status, 204);
    rig.set_unavailable(true);
    let refused = rig.call("POST", "/api/v1/tokens", ADA, None).await;
    refused.is_problem(503, "unavailable");
    assert!(refused.json()["retry_after_ms"].as_u64().is_some_and(|ms| ms > 0));
}

#[tokio::test]
async fn readiness_says_why_not() {
    let rig = rig().await;
    assert_eq!(
        rig.request("GET", "/healthz", &[], "").await.json(),
        json!({ "status": "ok" })
    );
    assert_eq!(
        rig.request("GET", "/readyz", &[], "").await.json(),
        json!({ "ready": true, "reasons": [] })
    );
    rig.fake.replica(|state| state.caught_up = false);
    rig.fake
        .nodes_mut(|nodes| nodes[0].1.intent = NodeIntent::Drained);
    let answer = rig.request("GET", "/readyz", &[], "").await;
    assert_eq!(
        (answer.status, answer.json()["reasons"].as_array().map(Vec::len)),
        (503, Some(2)),
        "{answer:?}"
    );
    rig.fake.replica(|state| state.leader = Some(NodeId(1)));
    assert!(
        rig.request("GET", "/readyz", &[], "")
            .await
            .body
            .contains("no leader"),
        "it leads alone"
    );
    rig.fake.nodes_mut(Vec::clear);
    assert!(
        rig.request("GET", "/readyz", &[], "")
            .await
            .body
            .contains("not a member")
    );
}

#[tokio::test]
async fn a_node_that_was_removed_says_so_everywhere_and_what_to_do() {
    let rig = rig().await;
    rig.fake.removed_by(NodeId(2));
    let alive = rig.request("GET", "/healthz", &[], "").await;
    assert_eq!(alive.status, 200, "to start it again would not help");
    assert_eq!(alive.json()["status"], "removed");
    let ready = rig.request("GET", "/readyz", &[], "").await;
    assert_eq!(ready.status, 503);
    assert!(ready.body.contains("was removed"), "{ready:?}");
    let cluster = rig.call("GET", "/api/v1/cluster", ADA, None).await.json();
    assert_eq!(cluster["removed_by"], "b");
    let degraded = cluster["degraded"].as_array().expect("a list");
    let told = |entry: &Value, part: &str| entry["what"].as_str().is_some_and(|what| what.contains(part));
    assert!(told(&degraded[0], "was removed"), "{degraded:?}");
    assert!(
        degraded[1..]
            .iter()
            .all(|entry| told(entry, "a drill has put a fault")),
        "advice for members does not help: {degraded:?}"
    );
    for said in [&alive.json()["do"], &degraded[0]["do"]] {
        let said = said.as_str().expect("text");
        assert!(
            said.contains("jarvis join") && said.contains("move its data folder aside"),
            "{said}"
        );
    }
}
