//! Runs a responder and gathers what it writes into parts of a size that suits the mesh.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{DeltaSink, Piece, Prompt, Responder, ResponderError};

/// How long a part waits for more to go with it: shorter than an eye notices.
const GATHER: Duration = Duration::from_millis(25);

/// A part of this many characters does not wait.
const GATHER_CHARS: u64 = 256;

/// Has `responder` answer `prompt`; calls `part` with offset and text of each part, and gives the whole reply.
pub(crate) async fn pump(
    responder: &dyn Responder,
    prompt: &Prompt,
    cut_note: &'static str,
    mut part: impl FnMut(u64, String),
) -> Result<String, ResponderError> {
    let (mut sink, mut pieces) = DeltaSink::new(cut_note);
    let work = async move {
        let result = responder.respond(prompt, &mut sink).await;
        result.map(|_| sink.into_text())
    };
    tokio::pin!(work);
    let mut result = None;
    let mut batch = Batch::default();
    // The first part does not wait: the sooner something shows the better.
    let mut due = Instant::now();
    loop {
        tokio::select! {
            biased;
            piece = pieces.recv() => match piece {
                Some(Piece::Text(text)) => batch.add(&text),
                Some(Piece::Restart) => batch = Batch::default(),
                None => break,
            },
            done = &mut work, if result.is_none() => result = Some(done),
            () = sleep_until(due), if batch.chars > 0 => {}
        }
        if batch.chars >= GATHER_CHARS || (batch.chars > 0 && Instant::now() >= due) {
            let (offset, text) = batch.take();
            part(offset, text);
            due = Instant::now() + GATHER;
        }
    }
    if batch.chars > 0 {
        let (offset, text) = batch.take();
        part(offset, text);
    }
    match result {
        Some(result) => result,
        None => work.await,
    }
}

#[derive(Default)]
struct Batch {
    offset: u64,
    chars: u64,
    text: String,
}

impl Batch {
    fn add(&mut self, text: &str) {
        self.text.push_str(text);
        self.chars += text.chars().count() as u64;
    }

    fn take(&mut self) -> (u64, String) {
        let offset = self.offset;
        self.offset += std::mem::take(&mut self.chars);
        (offset, std::mem::take(&mut self.text))
    }
}
