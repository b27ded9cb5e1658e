//! Where a responder puts its reply, part by part. It counts, and cuts what grows too long.

use jarvis_types::limits::MAX_REPLY_CHARS;
use tokio::sync::mpsc;

/// Parts that wait to be taken; a responder that is faster waits.
const WAITING_PIECES: usize = 64;

/// What comes out of a sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// The next part.
    Text(String),
    /// All parts so far are void: the reply begins anew.
    Restart,
}

/// Why a part was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SinkError {
    /// The reply is as long as one may be; it was cut and is finished.
    Full,
    /// Nobody waits for the reply.
    Closed,
}

/// Where a reply goes.
#[derive(Debug)]
pub struct DeltaSink {
    out: mpsc::Sender<Piece>,
    text: String,
    chars: usize,
    cut_note: &'static str,
    full: bool,
}

impl DeltaSink {
    /// A sink and its outlet. `cut_note` is put behind a reply that had to be cut.
    pub fn new(cut_note: &'static str) -> (Self, mpsc::Receiver<Piece>) {
        let (out, pieces) = mpsc::channel(WAITING_PIECES);
        (
            Self {
                out,
                text: String::new(),
                chars: 0,
                cut_note,
                full: false,
            },
            pieces,
        )
    }

    /// Adds a part.
    ///
    /// # Errors
    /// [`SinkError`]; after `Full` the reply is finished.
    pub async fn push(&mut self, part: &str) -> Result<(), SinkError> {
        if self.full {
            return Err(SinkError::Full);
        }
        if part.is_empty() {
            return Ok(());
        }
        let room = MAX_REPLY_CHARS - self.cut_note.chars().count() - self.chars;
        let (part, cut) = match part.char_indices().nth(room) {
            Some((at, _)) => (format!("{}{}", &part[..at], self.cut_note), true),
            None => (part.to_owned(), false),
        };
        self.text.push_str(&part);
        self.chars += part.chars().count();
        self.full = cut;
        self.out
            .send(Piece::Text(part))
            .await
            .map_err(|_| SinkError::Closed)?;
        if cut { Err(SinkError::Full) } else { Ok(()) }
    }

    /// Takes back all that was written, if anything was.
    ///
    /// # Errors
    /// `Closed`.
    pub async fn restart(&mut self) -> Result<(), SinkError> {
        if self.text.is_empty() {
            return Ok(());
        }
        self.text.clear();
        self.chars = 0;
        self.full = false;
        self.out.send(Piece::Restart).await.map_err(|_| SinkError::Closed)
    }

    /// What was written so far.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The whole reply.
    pub fn into_text(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reply_is_cut_where_it_is_too_long() {
        let (mut sink, mut pieces) = DeltaSink::new("[cut]");
        let reader = async { while pieces.recv().await.is_some() {} };
        let writer = async move {
            let part = "é".repeat(1_000);
            let mut pushed = 0;
            while sink.push(&part).await.is_ok() {
                pushed += 1;
            }
            assert_eq!(pushed, MAX_REPLY_CHARS / 1_000);
            assert_eq!(sink.push("more").await, Err(SinkError::Full));
            assert!(sink.text().ends_with("é[cut]"));
            assert_eq!(sink.text().chars().count(), MAX_REPLY_CHARS);
            sink.restart().await.expect("read");
            assert_eq!((sink.push("new").await, sink.text()), (Ok(()), "new"));
        };
        tokio::join!(reader, writer);
    }

    #[tokio::test]
    async fn nobody_waiting_is_noticed() {
        let (mut sink, pieces) = DeltaSink::new("");
        drop(pieces);
        assert_eq!(sink.push("x").await, Err(SinkError::Closed));
    }
}
