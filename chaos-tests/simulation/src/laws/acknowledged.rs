//! Nothing that a client was shown is lost or changed: it stands in the transcript of what was applied, and one client is
//! shown each entry in its turn.

use super::Entry;
use super::transcript::Transcripts;

/// What clients were shown.
#[derive(Debug, Default)]
pub struct Acknowledged {
    shown: u64,
}

impl Acknowledged {
    /// A client was shown an entry.
    ///
    /// # Errors
    /// Where nobody applied such an entry before.
    pub fn shown(&mut self, session: &str, entry: &Entry, transcripts: &Transcripts) -> Result<(), String> {
        self.shown += 1;
        let kept = transcripts.entry(session, entry.seq);
        if kept == Some(entry) {
            return Ok(());
        }
        Err(format!(
            "{session} was shown {entry:?}; applied there is {kept:?}"
        ))
    }
}
