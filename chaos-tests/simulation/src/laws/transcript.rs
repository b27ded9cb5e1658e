//! Within a session `seq` runs 1, 2, 3 … without gap or repeat; a client's id is one message; a message has one reply; what is
//! told unasked is told once. The oracle keeps its own transcripts from what is applied.

use std::collections::BTreeMap;

use jarvis_machine::command::{Command, Proposal};
use jarvis_machine::reply::{Outcome, Reply};

use super::Entry;

/// All transcripts.
#[derive(Debug, Default)]
pub struct Transcripts {
    sessions: BTreeMap<String, Vec<Entry>>,
    /// Places of what was told unasked, by session and id.
    told: BTreeMap<(String, String), u64>,
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
            Command::Notify { session, id, text } => {
                let session = session.to_string();
                return self.told(index, (session, id.to_string()), seq.0, *repeated, text);
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

    fn told(
        &mut self,
        index: u64,
        (session, id): (String, String),
        seq: u64,
        repeated: bool,
        text: &str,
    ) -> Result<(), String> {
        let entries = self.sessions.entry(session.clone()).or_default();
        match self.told.get(&(session.clone(), id.clone())) {
            Some(known) if *known == seq => Ok(()),
            Some(known) => Err(format!(
                "{id} was told in {session} at {known} and, by entry {index}, at {seq}"
            )),
            None if repeated => Err(format!(
                "{id} is said to have been told in {session} at {seq} already, but was not"
            )),
            None if seq != entries.len() as u64 + 1 => Err(format!(
                "entry {index} has seq {seq} in {session}, after {}",
                entries.len()
            )),
            None => {
                entries.push(Entry {
                    seq,
                    about: String::new(),
                    reply: true,
                    text: text.to_owned(),
                });
                self.told.insert((session, id), seq);
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

#[cfg(test)]
mod tests {
    use jarvis_types::{Seq, SessionId};

    use super::*;

    fn applied(transcripts: &mut Transcripts, id: &str, seq: u64, repeated: bool) -> Result<(), String> {
        let command = Command::Notify {
            session: SessionId(1),
            id: id.parse().expect("a valid id"),
            text: "it rains".to_owned(),
        };
        let proposal = Proposal {
            origin: None,
            at_ms: 1,
            fence: None,
            request: None,
            command,
        };
        let (seq, at_ms) = (Seq(seq), 1);
        transcripts.applied(1, &proposal, &Ok(Reply::Appended { seq, at_ms, repeated }))
    }

    #[test]
    fn what_is_told_unasked_is_told_once_and_answers_nobody() {
        let mut transcripts = Transcripts::default();
        assert!(applied(&mut transcripts, "a", 1, true).is_err());
        assert_eq!(applied(&mut transcripts, "a", 1, false), Ok(()));
        assert_eq!(applied(&mut transcripts, "a", 1, true), Ok(()));
        assert_eq!(applied(&mut transcripts, "b", 2, false), Ok(()));
        assert!(applied(&mut transcripts, "a", 3, false).is_err());
        assert!(applied(&mut transcripts, "c", 4, false).is_err());
        assert_eq!((transcripts.len(), transcripts.check_answered()), (2, Ok(())));
    }
}
