//! What is asked for in a chat session comes there unasked, whoever dies meanwhile.

use serde_json::{Value, json};

use crate::common::eventually;
use crate::home::{Home, document};

/// Says something over a node and gives the reply.
fn ask(home: &Home, index: usize, session: &str, id: &str, text: &str) -> Value {
    let path = format!("/api/v1/sessions/{session}/messages?wait=reply");
    let (status, body) = home.post(index, &path, json!({"id": id, "text": text}));
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).expect("JSON")
}

#[test]
fn a_reminder_comes_once_though_the_node_that_keeps_it_dies() {
    let mut home = Home::of(&["voter", "voter"]);
    home.until(0, "all of it may be used", |status| {
        status["level"] == jarvis_machine::LEVEL && status["degraded"] == json!([])
    });
    let (status, body) = home.post(0, "/api/v1/sessions", json!({}));
    assert!((200..300).contains(&status), "{body}");
    let session: Value = serde_json::from_str(&body).expect("JSON");
    let session = session["id"].as_str().expect("an id").to_owned();

    let none = ask(&home, 0, &session, "m1", "quels sont mes rappels ?");
    assert_eq!(none["text"], "Vous n'avez aucun rappel.");
    let set = ask(&home, 0, &session, "m2", "remind me in 3 seconds to drink");
    let text = set["text"].as_str().expect("a text");
    assert!(
        text.starts_with("I will remind you at ") && text.ends_with(": drink."),
        "{text}"
    );

    let bridge = document(&["why", "bridge/home", "--json", "--data", home.data(0)]);
    let keeper = bridge["owner"].as_str().expect("a name").to_owned();
    let of = |name: &str| home.members.iter().position(|member| member.name == name);
    let keeper = of(&keeper).expect("a member");
    let survivor = usize::from(keeper == 0);
    home.kill(keeper);

    let path = format!("/api/v1/sessions/{session}/messages?after=4");
    let told = eventually("the reminder", || {
        let (status, body) = home.get(survivor, &path);
        let page: Value = serde_json::from_str(&body).ok()?;
        let told = page["messages"].as_array()?.first()?.clone();
        (status == 200).then_some(told)
    });
    assert_eq!(
        (&told["type"], &told["seq"], &told["role"], &told["text"]),
        (
            &json!("reply"),
            &json!(5),
            &json!("assistant"),
            &json!("Reminder: drink")
        )
    );
    assert_eq!(told["id"], json!(format!("{session}-5")));
    assert!(told.get("reply_to").is_none(), "it answers nobody: {told}");

    let none = ask(&home, survivor, &session, "m3", "what reminders do I have?");
    assert_eq!(none["text"], "You have no reminders.");
    let texts = home.texts(survivor, &session);
    assert_eq!(
        texts.iter().filter(|text| *text == "Reminder: drink").count(),
        1,
        "{texts:?}"
    );
}
