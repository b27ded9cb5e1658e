//! What a chat client knows and decides: pure, so that it can be tried with tables.
//!
//! ```text
//!  say() ──────────► unconfirmed ──► frames to send, again after a reconnect
//!  take(frame) ────► cursor moves, what was said is confirmed, endpoints are learned
//!  lost() ─────────► which endpoint next, after how long
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use jarvis_types::chat::{ClientFrame, ErrorCode, ServerFrame};

/// Most messages that wait for their `said`.
pub const MAX_UNCONFIRMED: usize = 1_024;
/// First pause once every endpoint has been tried; doubles up to [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Longest pause between two rounds over the endpoints.
const MAX_PAUSE: Duration = Duration::from_secs(2);
/// Longest wait that a server is granted: whatever it asks for, a person would have given up by then.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// Most endpoints that are kept.
const MAX_ENDPOINTS: usize = 32;

/// A message that was not yet confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unconfirmed {
    /// Its id.
    pub id: String,
    /// Its text.
    pub text: String,
}

/// A conversation, over any number of sockets.
#[derive(Debug, Clone, Default)]
pub struct Conversation {
    token: Option<String>,
    session: Option<String>,
    cursor: u64,
    unconfirmed: VecDeque<Unconfirmed>,
    /// Ids of what was said and has no reply, oldest first; at most [`MAX_UNCONFIRMED`], the oldest are forgotten.
    unanswered: VecDeque<String>,
    given: Vec<String>,
    endpoints: Vec<String>,
    next: usize,
    failures: usize,
    /// Up to here the server replays what was missed: what was said before the loss may be in it.
    replay_until: Option<u64>,
}

/// What follows from a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Nothing to do.
    Go,
    /// All that was missed is there: what is still not confirmed is to be sent again.
    SendUnconfirmed,
    /// The message of this id is to be sent again after a pause.
    SayAgain {
        /// Which.
        id: String,
        /// When.
        after: Duration,
    },
    /// This socket is of no use any more; another endpoint at once, or after a pause.
    Reconnect {
        /// When.
        after: Duration,
    },
    /// No endpoint will do better: the credential or the session is wrong.
    Fatal,
}

impl Conversation {
    /// A conversation over `endpoints`: a new one, or `session` from `after` on.
    pub fn new(endpoints: Vec<String>, token: Option<String>, session: Option<String>, after: u64) -> Self {
        Self {
            token,
            session,
            cursor: after,
            given: endpoints.clone(),
            endpoints,
            ..Self::default()
        }
    }

    /// The session, once it is known.
    pub fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }

    /// Last entry of the transcript that was seen.
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    /// What was not yet confirmed, oldest first.
    pub fn unconfirmed(&self) -> impl Iterator<Item = &Unconfirmed> {
        self.unconfirmed.iter()
    }

    /// Whether something is waited for: a confirmation, or a reply.
    pub fn waits(&self) -> bool {
        !self.unanswered.is_empty()
    }

    /// The endpoint to try.
    pub fn endpoint(&self) -> Option<&str> {
        let index = self.next % self.endpoints.len().max(1);
        self.endpoints.get(index).map(String::as_str)
    }

    /// All the others, in the order in which they would be tried.
    pub fn other_endpoints(&self) -> Vec<String> {
        let mut all = self.endpoints.clone();
        all.rotate_left(self.next % self.endpoints.len().max(1));
        all.split_off(all.len().min(1))
    }

    /// A socket to this endpoint is there: it is the one to stay with.
    pub fn go_to(&mut self, endpoint: &str) {
        if let Some(at) = self.endpoints.iter().position(|known| known == endpoint) {
            self.next = at;
        }
    }

    /// First frame of a socket.
    pub fn hello(&self) -> ClientFrame {
        let after = self.session.as_ref().map(|_| self.cursor);
        ClientFrame::Hello {
            token: self.token.clone(),
            session: self.session.clone(),
            after,
        }
    }

    /// Notes what is said. False: too much waits already.
    pub fn say(&mut self, id: &str, text: &str) -> bool {
        if self.unconfirmed.len() >= MAX_UNCONFIRMED {
            return false;
        }
        if self.unconfirmed.iter().all(|waiting| waiting.id != id) {
            self.unconfirmed.push_back(Unconfirmed {
                id: id.to_owned(),
                text: text.to_owned(),
            });
            self.unanswered.push_back(id.to_owned());
            if self.unanswered.len() > MAX_UNCONFIRMED {
                self.unanswered.pop_front();
            }
        }
        true
    }

    /// Its reply is not waited for any more.
    pub fn cancel(&mut self, id: &str) {
        self.unanswered.retain(|waiting| waiting != id);
    }

    /// The frame that says a waiting message again; none if it was confirmed meanwhile.
    pub fn say_again(&self, id: &str) -> Option<ClientFrame> {
        let waiting = self.unconfirmed.iter().find(|waiting| waiting.id == id)?;
        Some(ClientFrame::Say {
            id: waiting.id.clone(),
            text: waiting.text.clone(),
        })
    }

    /// Takes in a frame.
    pub fn take(&mut self, frame: &ServerFrame) -> Next {
        match frame {
            ServerFrame::Welcome {
                session,
                endpoints,
                last_seq,
                ..
            } => {
                self.session = Some(session.clone());
                self.failures = 0;
                self.learn(endpoints);
                self.replay_until = Some(*last_seq);
                self.replayed()
            }
            ServerFrame::Said { seq, id, .. } => {
                self.cursor = self.cursor.max(*seq);
                self.unconfirmed.retain(|waiting| waiting.id != *id);
                self.replayed()
            }
            ServerFrame::Reply { seq, reply_to, .. } => {
                self.cursor = self.cursor.max(*seq);
                self.unanswered
                    .retain(|waiting| Some(waiting) != reply_to.as_ref());
                self.replayed()
            }
            ServerFrame::Draining { endpoints } => {
                let here = self.endpoint().map(str::to_owned);
                self.learn(endpoints);
                // Where the socket is must not be the first to be tried.
                if self.endpoint() == here.as_deref() {
                    self.next += 1;
                }
                Next::Reconnect {
                    after: Duration::ZERO,
                }
            }
            ServerFrame::Error {
                code,
                id,
                retry_after_ms,
                ..
            } => self.refused(*code, id.as_deref(), retry_after_ms.map(Duration::from_millis)),
            ServerFrame::Delta { .. } | ServerFrame::Moved { .. } | ServerFrame::Pong { .. } => Next::Go,
        }
    }

    /// Once a socket: when its replay is over.
    fn replayed(&mut self) -> Next {
        match self.replay_until {
            Some(until) if self.cursor >= until => {
                self.replay_until = None;
                Next::SendUnconfirmed
            }
            _ => Next::Go,
        }
    }

    fn refused(&mut self, code: ErrorCode, id: Option<&str>, after: Option<Duration>) -> Next {
        let transient = matches!(
            code,
            ErrorCode::Unavailable | ErrorCode::RateLimited | ErrorCode::Internal
        );
        let after = after.map(|after| after.min(LONGEST_WAIT));
        match (id, transient) {
            (Some(id), true) => Next::SayAgain {
                id: id.to_owned(),
                after: after.unwrap_or(FIRST_PAUSE * 4),
            },
            (Some(id), false) => {
                // It will never be taken: saying it again would not end.
                self.unconfirmed.retain(|waiting| waiting.id != id);
                self.cancel(id);
                Next::Go
            }
            (None, true) => {
                self.next += 1;
                Next::Reconnect {
                    after: after.unwrap_or(FIRST_PAUSE * 4),
                }
            }
            (None, false) => Next::Fatal,
        }
    }

    /// The socket is gone, or did not come about: which endpoint is next is decided; this says after how long. All are
    /// tried once without a pause, then again with longer and longer ones.
    pub fn lost(&mut self) -> Duration {
        self.next += 1;
        self.failures += 1;
        let count = self.endpoints.len().max(1);
        if !self.failures.is_multiple_of(count) {
            return Duration::ZERO;
        }
        let round = (self.failures / count).saturating_sub(1).min(10) as u32;
        (FIRST_PAUSE * 2u32.pow(round)).min(MAX_PAUSE)
    }

    /// The endpoints there are: what the server told, first the ones it put first, then what was given at the start.
    /// Where that was TLS, what is told without it is not followed: the token would travel in the clear.
    fn learn(&mut self, told: &[String]) {
        let here = self.endpoint().map(str::to_owned);
        let secured = self.given.iter().any(|endpoint| is_secured(endpoint));
        let told = told.iter().filter(|endpoint| !secured || is_secured(endpoint));
        let mut all: Vec<String> = Vec::with_capacity(self.given.len());
        for endpoint in told.chain(&self.given) {
            if !all.contains(endpoint) && all.len() < MAX_ENDPOINTS {
                all.push(endpoint.clone());
            }
        }
        self.next = here
            .and_then(|here| all.iter().position(|e| *e == here))
            .unwrap_or(0);
        self.endpoints = all;
    }
}

/// Whether an endpoint is spoken to over TLS.
fn is_secured(endpoint: &str) -> bool {
    endpoint
        .split_once("://")
        .is_some_and(|(scheme, _)| scheme.trim().eq_ignore_ascii_case("wss"))
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;
    use jarvis_types::chat::{Limits, Role};

    fn welcome(endpoints: &[&str]) -> ServerFrame {
        ServerFrame::Welcome {
            session: "S".into(),
            node: "a".into(),
            owner: "a".into(),
            epoch: 1,
            last_seq: 0,
            endpoints: endpoints.iter().map(|e| (*e).to_owned()).collect(),
            limits: Limits {
                message_chars: 1,
                messages_per_minute: 1,
                frame_bytes: 1,
            },
        }
    }

    fn said(seq: u64, id: &str) -> ServerFrame {
        ServerFrame::Said {
            seq,
            id: id.into(),
            role: Role::User,
            text: "t".into(),
            at: 0,
        }
    }

    fn error(code: ErrorCode, id: Option<&str>, retry_after_ms: Option<u64>) -> ServerFrame {
        ServerFrame::Error {
            code,
            message: "m".into(),
            id: id.map(str::to_owned),
            retry_after_ms,
        }
    }

    #[test]
    fn a_new_socket_resumes_where_the_last_one_ended() {
        let mut talk = Conversation::new(vec!["ws://a".into()], Some("T".into()), None, 0);
        assert_eq!(
            talk.hello(),
            ClientFrame::Hello {
                token: Some("T".into()),
                session: None,
                after: None
            }
        );
        assert_eq!(talk.take(&welcome(&["ws://a", "ws://b"])), Next::SendUnconfirmed);
        assert!(talk.say("m1", "one") && talk.say("m2", "two") && talk.say("m2", "two"));
        assert_eq!(talk.take(&said(1, "m1")), Next::Go);
        assert_eq!(
            talk.unconfirmed().map(|u| u.id.as_str()).collect::<Vec<_>>(),
            ["m2"]
        );
        let hello = ClientFrame::Hello {
            token: Some("T".into()),
            session: Some("S".into()),
            after: Some(1),
        };
        assert_eq!(talk.hello(), hello);
        assert!(talk.say_again("m1").is_none() && talk.say_again("m2").is_some());
    }

    #[test]
    fn what_a_replay_confirms_is_not_said_again() {
        let mut talk = Conversation::new(vec!["ws://a".into()], None, None, 0);
        talk.take(&welcome(&["ws://a"]));
        talk.say("m1", "one");
        let ServerFrame::Welcome {
            session,
            node,
            owner,
            epoch,
            endpoints,
            limits,
            ..
        } = welcome(&["ws://a"])
        else {
            unreachable!("it is a welcome");
        };
        let resumed = ServerFrame::Welcome {
            session,
            node,
            owner,
            epoch,
            endpoints,
            limits,
            last_seq: 1,
        };
        assert_eq!(talk.take(&resumed), Next::Go);
        assert_eq!(talk.take(&said(1, "m1")), Next::SendUnconfirmed);
        assert_eq!(talk.unconfirmed().count(), 0);
    }

    #[test]
    fn every_endpoint_is_tried_at_once_and_then_with_pauses() {
        let mut talk = Conversation::new(vec!["ws://a".into()], None, None, 0);
        talk.take(&welcome(&["ws://a", "ws://b", "ws://c"]));
        let tried: Vec<_> = (0..7)
            .map(|_| (talk.lost().as_millis(), talk.endpoint().expect("some").to_owned()))
            .collect();
        let expected = [
            (0, "ws://b"),
            (0, "ws://c"),
            (50, "ws://a"),
            (0, "ws://b"),
            (0, "ws://c"),
            (100, "ws://a"),
            (0, "ws://b"),
        ];
        assert_eq!(tried, expected.map(|(ms, e)| (ms, e.to_owned())));
        let longest = (0..1_000).map(|_| talk.lost()).max().expect("some");
        assert_eq!(longest, MAX_PAUSE);
    }

    #[test]
    fn errors_say_whether_to_wait_go_on_or_give_up() {
        let mut talk = Conversation::new(vec!["ws://a".into()], None, None, 0);
        talk.say("m1", "one");
        let again = Next::SayAgain {
            id: "m1".into(),
            after: Duration::from_millis(70),
        };
        assert_eq!(
            talk.take(&error(ErrorCode::Unavailable, Some("m1"), Some(70))),
            again
        );
        assert_eq!(talk.take(&error(ErrorCode::TooLong, Some("m1"), None)), Next::Go);
        assert_eq!(talk.unconfirmed().count(), 0);
        assert_eq!(
            talk.take(&error(ErrorCode::Unauthorized, None, None)),
            Next::Fatal
        );
        let wait = Next::Reconnect {
            after: Duration::from_millis(9),
        };
        assert_eq!(talk.take(&error(ErrorCode::RateLimited, None, Some(9))), wait);
    }

    #[test]
    fn the_others_are_tried_in_their_order_and_the_one_that_answered_is_kept() {
        let mut talk = Conversation::new(vec!["ws://a".into()], None, None, 0);
        assert!(talk.other_endpoints().is_empty());
        talk.take(&welcome(&["ws://a", "ws://b", "ws://c"]));
        talk.go_to("ws://b");
        assert_eq!(talk.endpoint(), Some("ws://b"));
        assert_eq!(talk.other_endpoints(), ["ws://c", "ws://a"]);
        talk.go_to("ws://unknown");
        assert_eq!(talk.endpoint(), Some("ws://b"));
        assert!(
            Conversation::new(Vec::new(), None, None, 0)
                .other_endpoints()
                .is_empty()
        );
    }

    #[test]
    fn it_waits_until_it_is_answered_refused_or_gives_up() {
        let mut talk = Conversation::new(vec!["ws://a".into()], None, None, 0);
        assert!(!talk.waits());
        for id in ["m1", "m2", "m3"] {
            talk.say(id, "one");
        }
        talk.take(&said(1, "m1"));
        talk.take(&error(ErrorCode::TooLong, Some("m2"), None));
        talk.cancel("m3");
        assert!(talk.waits(), "the reply is still to come");
        talk.take(&ServerFrame::Reply {
            seq: 2,
            id: "s-2".into(),
            reply_to: None,
            role: Role::Assistant,
            text: "It rains.".into(),
            at: 0,
            cancelled: false,
        });
        assert!(talk.waits(), "what nobody asked for answers nobody");
        talk.take(&ServerFrame::Reply {
            seq: 3,
            id: "r".into(),
            reply_to: Some("m1".into()),
            role: Role::Assistant,
            text: "t".into(),
            at: 0,
            cancelled: false,
        });
        assert!(!talk.waits());
    }

    #[test]
    fn a_gateway_that_drains_is_left_for_another() {
        let mut talk = Conversation::new(vec!["ws://a".into()], None, None, 0);
        talk.take(&welcome(&["ws://a", "ws://b"]));
        let next = talk.take(&ServerFrame::Draining {
            endpoints: vec!["ws://b".into()],
        });
        assert_eq!(
            (next, talk.endpoint()),
            (
                Next::Reconnect {
                    after: Duration::ZERO
                },
                Some("ws://b")
            )
        );
    }

    #[test]
    fn a_conversation_over_tls_does_not_go_on_without_it() {
        let mut talk = Conversation::new(vec!["wss://a".into()], Some("T".into()), None, 0);
        talk.take(&welcome(&["ws://a", "ws://b", "WSS://c", "wss", "http://d"]));
        let tried = |talk: &mut Conversation| -> Vec<String> {
            (0..4)
                .map(|_| {
                    talk.lost();
                    talk.endpoint().expect("some").to_owned()
                })
                .collect()
        };
        assert_eq!(tried(&mut talk), ["WSS://c", "wss://a", "WSS://c", "wss://a"]);
        talk.take(&ServerFrame::Draining {
            endpoints: vec!["ws://b".into()],
        });
        assert_eq!(tried(&mut talk), ["wss://a"; 4]);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut talk = Conversation::new(Vec::new(), None, None, 0);
        assert!((0..MAX_UNCONFIRMED).all(|n| talk.say(&n.to_string(), "t")));
        assert!(!talk.say("one more", "t"));
        assert_eq!(talk.endpoint(), None);
    }
}
