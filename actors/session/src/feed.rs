//! A session as it goes on, read from this node's own tables: so order and completeness hold by construction, whoever
//! owns the session and whatever is lost on the way.
//!
//! ```text
//!  rows > cursor ──► said, reply        (tables of this node)
//!  follower      ──► delta              (from the owner; only for a message that was shown and is not answered yet)
//!  placement     ──► moved
//! ```

use std::collections::VecDeque;
use std::sync::Arc;

use jarvis_machine::rows::{MessageBody, MessageRow};
use jarvis_replica::api::ReadError;
use jarvis_types::chat::{Role, ServerFrame};
use jarvis_types::{ClientMessageId, Epoch, NodeId, Seq, SessionId};

use crate::api::FeedEvent;
use crate::hub::{Follower, Hub, Part};

/// Rows that are read at a time: a long transcript does not have to be in memory at once.
const READ_ROWS: usize = 64;

/// A session as it goes on. Small: there are ten thousand of them on a node.
pub struct Feed {
    hub: Hub,
    follower: Arc<Follower>,
    session: SessionId,
    /// Last entry that was read from the tables.
    cursor: Seq,
    /// The owner that was last told.
    told: (Option<NodeId>, Epoch),
    /// The last message whose reply was shown.
    answered: Seq,
    /// The message whose reply is known to be open, and whose parts are shown.
    open: Seq,
    /// Whether there may be rows behind the cursor.
    more: bool,
    /// Read and not yet shown; without memory of its own while empty.
    ready: VecDeque<Ready>,
}

struct Ready {
    frame: ServerFrame,
    /// The message that this answers, if it does.
    answers: Option<Seq>,
}

impl Feed {
    pub(crate) fn new(hub: Hub, session: SessionId, after: Seq) -> Self {
        let follower = Arc::new(Follower::default());
        let told = hub.owner(session);
        hub.follow(session, Arc::clone(&follower));
        Self {
            hub,
            follower,
            session,
            cursor: after,
            told,
            answered: Seq(0),
            open: Seq(0),
            // Whatever stands there already is read on the first call.
            more: true,
            ready: VecDeque::new(),
        }
    }

    /// The next event. Safe to drop while it waits.
    pub async fn next(&mut self) -> FeedEvent {
        loop {
            if let Some(event) = self.poll() {
                return event;
            }
            self.follower.changed().await;
        }
    }

    /// The next event, if there is one.
    fn poll(&mut self) -> Option<FeedEvent> {
        let news = self.follower.news();
        self.more |= news.grown;
        if self.more && self.ready.is_empty() {
            self.read();
        }
        if news.moved
            && let Some(moved) = self.moved()
        {
            return Some(moved);
        }
        if let Some(Ready { frame, answers }) = self.ready.pop_front() {
            if let Some(to) = answers {
                self.answered = self.answered.max(to);
            }
            if self.ready.is_empty() {
                self.ready = VecDeque::new();
            }
            return Some(FeedEvent::Frame(frame));
        }
        self.delta().map(FeedEvent::Frame)
    }

    /// Reads further rows.
    fn read(&mut self) {
        self.more = false;
        let rows = self.hub.replica().local().and_then(|view| {
            view.query()
                .messages(self.session, self.cursor, READ_ROWS)
                .map_err(ReadError::from)
        });
        match rows {
            Ok(rows) => {
                self.more = rows.len() == READ_ROWS;
                if let Some((last, _)) = rows.last() {
                    self.cursor = *last;
                }
                self.ready.extend(rows.into_iter().map(|(seq, row)| {
                    let answers = match &row.body {
                        MessageBody::Reply { to, .. } => Some(*to),
                        MessageBody::Said { .. } | MessageBody::Told { .. } => None,
                    };
                    Ready {
                        frame: frame(self.session, seq, row),
                        answers,
                    }
                }));
            }
            // The store that fails a read fails the node soon after; the next change reads again.
            Err(error) => {
                tracing::error!(session = %self.session, %error, "the transcript could not be read")
            }
        }
    }

    fn moved(&mut self) -> Option<FeedEvent> {
        let (owner, epoch) = self.hub.owner(self.session);
        if self.told == (owner, epoch) {
            return None;
        }
        self.told = (owner, epoch);
        owner.map(|owner| FeedEvent::Moved { owner, epoch })
    }

    /// The waiting part, if its message was shown and its reply was not.
    fn delta(&mut self) -> Option<ServerFrame> {
        let to = self.follower.pending()?;
        if to > self.cursor {
            // It outran its message; the message's arrival comes back here.
            return None;
        }
        if to > self.answered && to != self.open {
            // A reply at or before the cursor may have been shown before this feed began.
            let row = self
                .hub
                .replica()
                .local()
                .ok()?
                .query()
                .message(self.session, to)
                .ok()??;
            match row.body {
                MessageBody::Said {
                    reply: Some(reply), ..
                } if reply <= self.cursor => self.answered = to,
                _ => self.open = to,
            }
        }
        let Part {
            to,
            reply_to,
            offset,
            text,
        } = *self.follower.take()?;
        let reply_to = reply_to.as_str().to_owned();
        (to > self.answered).then_some(ServerFrame::Delta {
            reply_to,
            offset,
            text,
        })
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.hub.unfollow(self.session, &self.follower);
    }
}

/// An entry of a transcript as the socket shows it: the same on every node.
pub(crate) fn frame(session: SessionId, seq: Seq, row: MessageRow) -> ServerFrame {
    let MessageRow {
        body,
        text,
        at_ms: at,
    } = row;
    let reply = |reply_to: Option<&ClientMessageId>, cancelled, text| ServerFrame::Reply {
        seq: seq.0,
        id: format!("{session}-{seq}"),
        reply_to: reply_to.map(|id| id.as_str().to_owned()),
        role: Role::Assistant,
        text,
        at,
        cancelled,
    };
    match body {
        MessageBody::Said { id, .. } => ServerFrame::Said {
            seq: seq.0,
            id: id.as_str().to_owned(),
            role: Role::User,
            text,
            at,
        },
        MessageBody::Reply { to_id, cancelled, .. } => reply(Some(&to_id), cancelled, text),
        // Its id is of the transcript, like a reply's: what names it within the cluster is nobody's business.
        MessageBody::Told { .. } => reply(None, false, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feed_is_small() {
        let bytes = size_of::<Feed>() + size_of::<Follower>();
        assert!(bytes <= 384, "{bytes}");
    }

    #[test]
    fn rows_become_frames() {
        let id = || "m1".parse().expect("a valid id");
        let row = |body| MessageRow {
            body,
            text: "t".into(),
            at_ms: 9,
        };
        let session = SessionId(1);
        let said = frame(
            session,
            Seq(1),
            row(MessageBody::Said {
                id: id(),
                reply: None,
            }),
        );
        assert_eq!(
            said,
            ServerFrame::Said {
                seq: 1,
                id: "m1".into(),
                role: Role::User,
                text: "t".into(),
                at: 9
            }
        );
        let reply = frame(
            session,
            Seq(2),
            row(MessageBody::Reply {
                to: Seq(1),
                to_id: id(),
                cancelled: true,
            }),
        );
        let ServerFrame::Reply {
            id,
            reply_to,
            cancelled,
            ..
        } = reply
        else {
            panic!("a reply")
        };
        assert_eq!(
            (id.as_str(), reply_to.as_deref(), cancelled),
            ("00000000000000000000000001-2", Some("m1"), true)
        );
        let told = frame(
            session,
            Seq(3),
            row(MessageBody::Told {
                id: "reminder".parse().expect("a valid id"),
            }),
        );
        let ServerFrame::Reply { id, reply_to, .. } = told else {
            panic!("a reply")
        };
        assert_eq!((id.as_str(), reply_to), ("00000000000000000000000001-3", None));
    }
}
