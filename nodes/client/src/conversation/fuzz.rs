//! Hostile servers: any frames in any order, one a line. A client keeps its bounds, its cursor never goes back, its token
//! never leaves TLS, and it never waits longer than a person would.

use jarvis_fuzz::fuzz;

use super::*;

#[test]
fn fuzz_frames_of_servers() {
    fuzz!()
        .text()
        .seed(
            "{\"type\":\"welcome\",\"session\":\"s\",\"node\":\"a\",\"owner\":\"b\",\"epoch\":1,\"last_seq\":2,\"endpoints\":\
             [\"wss://a\",\"ws://b\"],\"limits\":{\"message_chars\":1,\"messages_per_minute\":2,\"frame_bytes\":3}}\n\
             {\"type\":\"said\",\"seq\":1,\"id\":\"m1\",\"role\":\"user\",\"text\":\"hi\",\"at\":5}\n\
             {\"type\":\"reply\",\"seq\":2,\"id\":\"b\",\"reply_to\":\"m1\",\"role\":\"assistant\",\"text\":\"x\",\"at\":6}\n\
             {\"type\":\"reply\",\"seq\":3,\"id\":\"c\",\"role\":\"assistant\",\"text\":\"unasked\",\"at\":7}\n",
        )
        .seed(
            "{\"type\":\"error\",\"code\":\"unavailable\",\"message\":\"m\",\"id\":\"m2\",\"retry_after_ms\":250}\n\
             {\"type\":\"error\",\"code\":\"rate_limited\",\"message\":\"m\",\"retry_after_ms\":18446744073709551615}\n\
             {\"type\":\"draining\",\"endpoints\":[\"wss://b\",\"WSS://c\"]}\n",
        )
        .words(["\n", "\"wss://d\"", "\"ws://d\"", "\"last_seq\":18446744073709551615", "\"id\":\"m1\"", "\"seq\":0"])
        .run(|bytes| {
            let text = std::str::from_utf8(bytes).expect("only text is handed in");
            let mut talk = Conversation::new(vec!["wss://a".into()], Some("T".into()), None, 0);
            assert!(talk.say("m1", "one") && talk.say("m2", "two"));
            let mut followed = Vec::new();
            for frame in text.lines().filter_map(|line| serde_json::from_str::<ServerFrame>(line).ok()) {
                let cursor = talk.cursor();
                let next = talk.take(&frame);
                assert!(talk.cursor() >= cursor);
                if let Next::SayAgain { after, .. } | Next::Reconnect { after } = &next {
                    assert!(*after <= LONGEST_WAIT, "{after:?}");
                }
                assert!(talk.lost() <= MAX_PAUSE);
                assert!(talk.endpoints.len() <= MAX_ENDPOINTS);
                assert!(talk.endpoint().is_none_or(is_secured), "{:?}", talk.endpoint());
                followed.push(std::mem::discriminant(&next));
            }
            followed.truncate(4);
            (followed, talk.unconfirmed().count())
        });
}

/// What was found once: a wait of half a billion years, which overflows what a clock can hold on some machines.
#[test]
fn a_server_cannot_ask_for_any_wait() {
    let mut talk = Conversation::new(vec!["ws://a".into()], None, None, 0);
    talk.say("m1", "one");
    for id in [None, Some("m1".to_owned())] {
        let next = talk.take(&ServerFrame::Error {
            code: ErrorCode::RateLimited,
            message: "m".into(),
            id,
            retry_after_ms: Some(u64::MAX),
        });
        assert!(
            matches!(next, Next::SayAgain { after, .. } | Next::Reconnect { after } if after == LONGEST_WAIT),
            "{next:?}"
        );
    }
}
