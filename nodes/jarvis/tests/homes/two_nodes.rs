//! Two nodes without a witness: one votes, the other only reads when it is alone.

use std::time::Duration;

use jarvis_client::{ChatClient, ChatEvent, ChatOptions};
use jarvis_host::Tasks;
use jarvis_types::chat::ServerFrame;
use serde_json::Value;

use crate::common::{eventually, jarvis, stdout};
use crate::home::{Home, block_on, degraded, refused};

/// What a socket of the survivor brings: the transcript, then the answer to a message.
async fn over_a_socket(options: ChatOptions) -> (usize, Option<String>) {
    let tasks = Tasks::new();
    let mut chat = ChatClient::start(options, &tasks).expect("an address");
    let (mut read, mut refused) = (0, None);
    let both = async {
        let mut said = false;
        while let Some(event) = chat.next().await {
            let ChatEvent::Frame { frame, .. } = event else {
                continue;
            };
            match frame {
                ServerFrame::Said { .. } | ServerFrame::Reply { .. } => read += 1,
                ServerFrame::Error { code, .. } => {
                    refused = Some(format!("{code:?}").to_lowercase());
                    return;
                }
                _ => {}
            }
            if read == 2 && !said {
                said = true;
                chat.say("late", "is anybody there?").expect("taken");
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(15), both).await;
    tasks.cancel();
    (read, refused)
}

#[test]
fn the_survivor_reads_and_says_unavailable_for_the_rest() {
    let mut home = Home::of(&["voter"]);
    let status = home.until(1, "both know that one votes", |status| {
        degraded(status).contains("only one votes: while it is away two can be read")
    });
    let told = degraded(&status);
    assert!(told.contains("jarvis invite --role witness"), "{told}");
    let session = home.chat(0, None, "what is 6 times 7?");
    eventually("the other has it", || {
        (home.texts(1, &session).len() == 2).then_some(())
    });

    // Without the one that votes the other could never decide anything again.
    let (_, why) = refused(&["remove", "one", "--force", "--data", home.data(1)]);
    assert!(
        why.contains("only one votes") && why.contains("jarvis invite"),
        "{why}"
    );

    home.kill(0);
    let status = home.until(1, "nobody leads", |status| status["leader"].is_null());
    let told = degraded(&status);
    for part in [
        "no leader: nothing can be committed",
        "can still be read here",
        "jarvis recover",
    ] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
    let shown = stdout(&jarvis(&["status", "--data", home.data(1)]));
    assert!(
        shown.contains("no majority answers; nothing can be committed"),
        "{shown}"
    );

    // Over HTTP.
    assert_eq!(home.texts(1, &session).len(), 2);
    let (status, body) = home.say(1, &session, "late-1");
    let problem: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((status, &problem["code"]), (503, &"unavailable".into()), "{body}");
    assert!(problem["retry_after_ms"].is_u64(), "{body}");
    // Over a socket.
    let options = ChatOptions {
        endpoints: vec![home.members[1].url.replace("http", "ws") + "/ws"],
        token: Some(home.token(1)),
        session: Some(session.clone()),
        after: 0,
    };
    let (read, refused) = block_on(over_a_socket(options));
    assert_eq!((read, refused.as_deref()), (2, Some("unavailable")));

    // The voter comes back: the other had promised nothing it could not keep.
    home.start(0);
    home.until(1, "somebody leads", |status| status["leader"] == "one");
    home.chat(1, Some(&session), "what is 2 plus 3?");
    eventually("all of it is at both", || {
        let (here, there) = (home.texts(0, &session), home.texts(1, &session));
        (here == there && here.len() >= 4).then_some(())
    });
}
