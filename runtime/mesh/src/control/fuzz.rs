//! Hostile bytes for agents: requests, replies, notices, renewals' requests and offers of tethers go through the same codec.

use std::sync::Mutex;

use jarvis_fuzz::fuzz;
use jarvis_types::codec::DECODE_LIMIT_OF_SHORT_BYTES;

use super::*;

/// Remembers what it was told last.
#[derive(Default)]
struct Duties(Mutex<Option<(NodeId, AgentNotice)>>);

impl AgentDuties for Duties {
    fn set_log_level(&self, filter: &str) -> Result<(), String> {
        assert!(filter.len() <= MAX_FILTER_BYTES);
        if filter.is_empty() {
            Err("an empty filter".into())
        } else {
            Ok(())
        }
    }

    fn notice(&self, from: NodeId, notice: AgentNotice) {
        *self.0.lock().expect("one thread") = Some((from, notice));
    }
}

#[test]
fn fuzz_agents() {
    let duties = Arc::new(Duties::default());
    let info = AgentInfo {
        node: NodeId(1),
        name: "attic".parse().expect("a name"),
        version: "0.1.0".into(),
    };
    let agent = Agent {
        info: info.clone(),
        duties: Arc::clone(&duties) as Arc<dyn AgentDuties>,
    };
    fuzz!()
        .seeds([
            encode(&AgentRequest::WhoAreYou),
            encode(&AgentRequest::SetLogLevel("jarvis=debug".into())),
        ])
        .seeds([
            encode(&AgentReply::Iam(info)),
            encode(&AgentReply::Done),
            encode(&AgentReply::Refused("no".into())),
        ])
        .seeds([
            encode(&(NodeId(2), AgentNotice::Draining(true))),
            encode(&(NodeId(300), AgentNotice::Reload)),
        ])
        .memory((DECODE_LIMIT_OF_SHORT_BYTES + 64 * 1024) as u64, 64)
        .run(|bytes| {
            let answer =
                decode_reply(NodeId(1), &agent.answer(bytes)).expect("whatever is asked is answered");
            agent.told(bytes);
            let told = duties.0.lock().expect("one thread").take();
            if let Some(told) = &told {
                assert_eq!(codec::decode(VERSION, &encode(told)).as_ref(), Ok(told));
            }
            let reply = decode_reply(NodeId(1), bytes);
            if let Ok(reply) = &reply {
                assert_eq!(
                    &decode_reply(NodeId(1), &encode(reply)).expect("reads again"),
                    reply
                );
            }
            (std::mem::discriminant(&answer), told.is_some(), reply.is_ok())
        });
}
