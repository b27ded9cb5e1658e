//! HTTP beside access: transcripts, headers, the page, the document of it all.

use super::*;

#[tokio::test]
async fn a_conversation_without_a_socket() {
    let rig = rig().await;
    let made = rig.call("POST", "/api/v1/sessions", ADA, None).await;
    let session = made.json()["id"].as_str().expect("an id").to_owned();
    let path = format!("/api/v1/sessions/{session}/messages");
    for n in 1..=3u64 {
        let said = rig
            .call(
                "POST",
                &path,
                ADA,
                Some(json!({ "id": format!("m{n}"), "text": "hi" })),
            )
            .await;
        assert_eq!(
            said.json(),
            json!({"type": "said", "seq": n, "id": format!("m{n}"), "role": "user", "text": "hi", "at": 1})
        );
    }
    let again = rig
        .call("POST", &path, ADA, Some(json!({ "id": "m2", "text": "other" })))
        .await;
    assert_eq!(
        json!([again.json()["seq"], again.json()["text"]]),
        json!([2, "hi"])
    );
    let page = rig
        .call("GET", &format!("{path}?after=1&limit=1"), ADA, None)
        .await
        .json();
    assert_eq!(
        (&page["messages"][0]["id"], &page["last_seq"]),
        (&json!("m2"), &json!(3))
    );
    assert_eq!(page["messages"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        rig.call("GET", &format!("{path}?limit=9999"), ADA, None)
            .await
            .status,
        200
    );
    for bad in ["after=-1", "after=x", "limit=0", "limit=x", "limit=-5"] {
        rig.call("GET", &format!("{path}?{bad}"), ADA, None)
            .await
            .is_problem(400, "bad_request");
    }
    rig.call("GET", &path, BOB, None)
        .await
        .is_problem(404, "not_found");
    rig.call("POST", &path, BOB, Some(json!({ "id": "m9", "text": "x" })))
        .await
        .is_problem(404, "not_found");
    rig.call("GET", "/api/v1/sessions/nonsense/messages", ADA, None)
        .await
        .is_problem(404, "not_found");
    let listed = rig.call("GET", "/api/v1/sessions", ADA, None).await.json();
    assert_eq!(
        (&listed["sessions"][0]["id"], &listed["sessions"][0]["owner"]),
        (&json!(session), &json!("b"))
    );
    assert_eq!(
        rig.call("GET", "/api/v1/sessions", BOB, None).await.json(),
        json!({ "sessions": [], "more": false })
    );
}

#[tokio::test]
async fn sessions_are_listed_as_many_as_asked_for() {
    let rig = rig().await;
    for _ in 0..3 {
        assert_eq!(rig.call("POST", "/api/v1/sessions", ADA, None).await.status, 201);
    }
    for (query, count, more) in [
        ("", 3, false),
        ("?limit=2", 2, true),
        ("?limit=3", 3, false),
        ("?limit=9999", 3, false),
    ] {
        let path = format!("/api/v1/sessions{query}");
        let listed = rig.call("GET", &path, ADA, None).await.json();
        assert_eq!(
            (listed["sessions"].as_array().map(Vec::len), &listed["more"]),
            (Some(count), &json!(more)),
            "{query}"
        );
    }
    for bad in ["limit=0", "limit=-1", "limit=x"] {
        rig.call("GET", &format!("/api/v1/sessions?{bad}"), ADA, None)
            .await
            .is_problem(400, "bad_request");
    }
}

#[tokio::test]
async fn waiting_for_the_reply() {
    let rig = rig_with(GatewaySettings {
        reply_deadline: Duration::from_millis(300),
        ..settings()
    })
    .await;
    let (mut watcher, session) = rig.chat(ADA).await;
    let path = format!("/api/v1/sessions/{session}/messages?wait=reply");
    let ask = rig.call("POST", &path, ADA, Some(json!({ "id": "m1", "text": "hi" })));
    let answer = async {
        watcher.is_said(1, "m1").await;
        rig.fake.answer(rig.fake.session_ids()[0], 1, "good day");
    };
    let (reply, ()) = tokio::join!(ask, answer);
    assert_eq!(
        json!([reply.json()["type"], reply.json()["reply_to"]]),
        json!(["reply", "m1"]),
        "{reply:?}"
    );
    let late = rig
        .call("POST", &path, ADA, Some(json!({ "id": "m2", "text": "hi" })))
        .await;
    late.is_problem(504, "unavailable");
    rig.call(
        "POST",
        &format!("{path}x"),
        ADA,
        Some(json!({ "id": "m3", "text": "x" })),
    )
    .await
    .is_problem(400, "bad_request");
}

#[tokio::test]
async fn bad_bodies_are_refused() {
    let rig = rig().await;
    let (_client, session) = rig.chat(ADA).await;
    let path = format!("/api/v1/sessions/{session}/messages");
    let bearer = format!("Bearer {ADA}");
    let post = |content_type: &'static str, body: String| {
        let (rig, path, bearer) = (&rig, &path, &bearer);
        async move {
            rig.request(
                "POST",
                path,
                &[("authorization", bearer), ("content-type", content_type)],
                &body,
            )
            .await
        }
    };
    let good = r#"{"id":"m1","text":"x"}"#.to_owned();
    for (content_type, body, status, code) in [
        ("text/plain", good.clone(), 415, "bad_request"),
        ("application/json", "{".to_owned(), 400, "bad_request"),
        ("application/json", String::new(), 400, "bad_request"),
        (
            "application/json",
            r#"{"id":"m1"}"#.to_owned(),
            400,
            "bad_request",
        ),
        (
            "application/json",
            r#"{"id":"m 1","text":"x"}"#.to_owned(),
            400,
            "bad_request",
        ),
        (
            "application/json",
            r#"{"id":"m1","text":" "}"#.to_owned(),
            400,
            "bad_request",
        ),
        (
            "application/json",
            json!({ "id": "m1", "text": "x".repeat(4_097) }).to_string(),
            413,
            "too_long",
        ),
        (
            "application/json",
            json!({ "id": "m1", "text": "x".repeat(300_000) }).to_string(),
            413,
            "too_long",
        ),
    ] {
        post(content_type, body).await.is_problem(status, code);
    }
    assert_eq!(
        post("application/json; charset=utf-8", good.clone()).await.status,
        200
    );
    rig.set_unavailable(true);
    let refused = post("application/json", good.clone()).await;
    refused.is_problem(503, "unavailable");
    assert_eq!(refused.json()["retry_after_ms"], fake::RETRY_MS);
    rig.set_unavailable(false);
    rig.fake.broken.store(true, Ordering::SeqCst);
    let failed = post("application/json", good).await;
    failed.is_problem(500, "internal");
    assert!(!failed.body.contains("fire"));
}

#[tokio::test]
async fn request_ids_are_taken_where_they_can_be_or_made() {
    let rig = rig().await;
    let with = |id: &'static str| {
        let rig = &rig;
        async move {
            rig.request("GET", "/healthz", &[("x-request-id", id)], "")
                .await
                .header("x-request-id")
                .to_owned()
        }
    };
    assert_eq!(with("from-a-proxy").await, "from-a-proxy");
    for bad in [
        "has space",
        "\"quoted\"",
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    ] {
        let made = with(bad).await;
        assert!(made.len() == 26 && made != bad, "{made}");
    }
    let refused = rig
        .request("GET", "/api/v1/me", &[("x-request-id", "r1")], "")
        .await;
    refused.is_problem(401, "unauthorized");
    assert_eq!(refused.json()["request_id"], "r1");
}

#[tokio::test]
async fn the_page_is_served_with_its_headers() {
    let rig = rig().await;
    let page = rig.request("GET", "/", &[("host", "pi.lan:8007")], "").await;
    assert_eq!(
        (page.status, page.header("content-type")),
        (200, "text/html; charset=utf-8")
    );
    let policy = page.header("content-security-policy");
    for part in [
        "default-src 'none'",
        "script-src 'self';",
        "style-src 'self';",
        "frame-ancestors 'none'",
        "ws://pi.lan:8007",
        "ws://10.0.0.3:8007 http://10.0.0.3:8007",
    ] {
        assert!(policy.contains(part), "{part}: {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(
        (
            page.header("x-content-type-options"),
            page.header("x-frame-options")
        ),
        ("nosniff", "DENY")
    );
    assert_eq!(page.header("access-control-allow-origin"), "");
    for id in [
        "log", "input", "send", "banner", "serving", "owner", "nodes", "login", "user", "password", "stop",
    ] {
        assert!(page.body.contains(&format!("id=\"{id}\"")), "#{id}");
    }
    assert!(
        !page.body.contains("<style") && !page.body.contains("style=") && !page.body.contains(" on"),
        "nothing inline"
    );
    for (path, kind) in [
        ("/app.js", "text/javascript"),
        ("/automations.js", "text/javascript"),
        ("/style.css", "text/css"),
        ("/favicon.svg", "image/svg+xml"),
        ("/", "text/html"),
    ] {
        let file = rig.request("GET", path, &[], "").await;
        assert!(
            file.status == 200 && file.header("content-type").starts_with(kind),
            "{path}"
        );
        let again = rig
            .request("GET", path, &[("if-none-match", file.header("etag"))], "")
            .await;
        assert_eq!((again.status, again.body.as_str()), (304, ""), "{path}");
    }
    let mut script = rig.request("GET", "/app.js", &[], "").await.body;
    script += &rig.request("GET", "/automations.js", &[], "").await.body;
    for unsafe_way in [
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
    ] {
        assert!(!script.contains(unsafe_way), "{unsafe_way}");
    }
}

#[tokio::test]
async fn only_members_pages_may_read_the_cluster_from_elsewhere() {
    let rig = rig().await;
    let bearer = format!("Bearer {ADA}");
    let get = |origin: &'static str| {
        let (rig, bearer) = (&rig, &bearer);
        async move {
            rig.request(
                "GET",
                "/api/v1/cluster",
                &[("authorization", bearer), ("origin", origin)],
                "",
            )
            .await
        }
    };
    let member = get("http://10.0.0.2:8007").await;
    assert_eq!(
        member.header("access-control-allow-origin"),
        "http://10.0.0.2:8007"
    );
    assert_eq!(
        json!([member.json()["from_node"], member.json()["leader"]]),
        json!(["a", "b"])
    );
    assert_eq!(
        get("http://evil.test")
            .await
            .header("access-control-allow-origin"),
        ""
    );
    let ask = |origin: &'static str| {
        let rig = &rig;
        async move {
            rig.request("OPTIONS", "/api/v1/cluster", &[("origin", origin)], "")
                .await
        }
    };
    assert_eq!(
        ask("http://10.0.0.2:8007")
            .await
            .header("access-control-allow-headers"),
        "authorization"
    );
    ask("http://evil.test").await.is_problem(401, "unauthorized");
}

#[tokio::test]
async fn metrics_are_for_callers_with_a_credential() {
    let rig = rig().await;
    rig.request("GET", "/metrics", &[], "")
        .await
        .is_problem(401, "unauthorized");
    let metrics = rig.call("GET", "/metrics", ADA, None).await;
    assert_eq!(
        (metrics.body.as_str(), metrics.header("content-type")),
        ("up 1\n", "text/plain; version=0.0.4; charset=utf-8")
    );
}

#[tokio::test]
async fn the_openapi_document_has_every_route_and_no_other() {
    let rig = rig().await;
    let document = rig.call("GET", "/api/v1/openapi.json", ADA, None).await.json();
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().expect("has paths");
    let routes = crate::http::routes();
    assert_eq!(paths.len(), routes.len());
    for route in routes {
        let path = paths
            .get(route.path)
            .unwrap_or_else(|| panic!("{} is missing", route.path));
        let methods: std::collections::BTreeSet<_> =
            path.as_object().expect("methods").keys().cloned().collect();
        assert_eq!(
            methods,
            route.methods.iter().map(|m| (*m).to_owned()).collect(),
            "{}",
            route.path
        );
    }
    let text = document.to_string();
    for (at, _) in text.match_indices("#/components/schemas/") {
        let name: String = text[at + 21..]
            .chars()
            .take_while(|c| c.is_alphanumeric())
            .collect();
        assert!(document["components"]["schemas"].get(&name).is_some(), "{name}");
    }
}
