//! Within a session `seq` runs 1, 2, 3 … without gap or repeat; a client's id is one message; a message has one reply. The
//! oracle keeps its own transcripts from what is applied.

use std::collections::BTreeMap;

use jarvis_machine::command::{Command, Proposal};
use jarvis_machine::reply::{Outcome, Reply};

use super::Entry;

/// All transcripts.
#[derive(Debug, Default)]
pub struct Transcripts {
    sessions: BTreeMap<String, Vec<Entry>>,
}

impl Transcripts {
    /// How many entries there are in all.
    pub fn len(&self) -> u64 {
        self.sessions.values().map(|entries| entries.len() as u64).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// An entry of a session.
    pub fn entry(&self, session: &str, seq: u64) -> Option<&Entry> {
        self.sessions
            .get(session)?
            .get(usize::try_from(seq.checked_sub(1)?).ok()?)
    }

    /// An entry of the log was applied for the first time.
    ///
    /// # Errors
    /// Where the transcript's law is broken.
    pub fn applied(&mut self, index: u64, proposal: &Proposal, outcome: &Outcome) -> Result<(), String> {
        let Ok(Reply::Appended { seq, repeated, .. }) = outcome else {
            return Ok(());
        };
        let (session, about, reply, text) = match &proposal.command {
            Command::Say {
                session, id, text, ..
            } => (session.to_string(), id.to_string(), false, text.clone()),
            Command::Answer {
                session, to, text, ..
            } => {
                let session = session.to_string();
                let about = self
                    .entry(&session, to.0)
                    .filter(|entry| !entry.reply)
                    .map(|entry| entry.about.clone());
                let about = about
                    .ok_or_else(|| format!("entry {index} answers {session}/{to}, which was never said"))?;
                (session, about, true, text.clone())
            }
            _ => return Ok(()),
        };
        let entries = self.sessions.entry(session.clone()).or_default();
        let known = entries
            .iter()
            .find(|entry| entry.reply == reply && entry.about == about);
        let what = if reply { "the reply to" } else { "message" };
        match known {
            // The machine may also have remembered the outcome itself.
            Some(known) if known.seq == seq.0 => Ok(()),
            Some(known) => Err(format!(
                "{what} {about} of {session} stands at {} and, by entry {index}, at {seq}",
                known.seq
            )),
            None if *repeated => Err(format!(
                "{what} {about} of {session} is said to stand at {seq} already, but does not"
            )),
            None if seq.0 != entries.len() as u64 + 1 => Err(format!(
                "entry {index} has seq {seq} in {session}, after {}",
                entries.len()
            )),
            None => {
                entries.push(Entry {
                    seq: seq.0,
                    about,
                    reply,
                    text,
                });
                Ok(())
            }
        }
    }

    /// At the end every message has its reply.
    ///
    /// # Errors
    /// Names one that has none.
    pub fn check_answered(&self) -> Result<(), String> {
        for (session, entries) in &self.sessions {
            for said in entries.iter().filter(|entry| !entry.reply) {
                if !entries
                    .iter()
                    .any(|entry| entry.reply && entry.about == said.about)
                {
                    return Err(format!("{} of {session} has no reply", said.about));
                }
            }
        }
        Ok(())
    }
}
