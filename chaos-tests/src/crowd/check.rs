//! What members were told against what the nodes hold in the end.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::ledger::Ledger;
use crate::cluster::{Cluster, NodeProcess};
use crate::history::{Entry, History};
use crate::laws::{Broken, answered_once, same_everywhere, sequence};
use crate::storm::transcript;

/// Transcripts that are read at once.
const AT_ONCE: usize = 16;
/// What a member was told that cannot be.
const TOLD: &str = "seq runs without gap or repeat, and entries stay as they were told";
const LOST: &str = "nothing acknowledged is lost";

/// Checks all on the first node, and the first `sample` on every node.
pub(super) async fn all(cluster: &Cluster, ledgers: Vec<Ledger>, sample: usize) -> Result<Vec<Broken>> {
    let (first, others) = cluster.nodes.split_first().context("there are nodes")?;
    let checks = ledgers.iter().enumerate().map(|(n, ledger)| {
        let others = if n < sample { others } else { &[] };
        one(cluster, ledger, first, others)
    });
    let broken: Vec<Vec<Broken>> = stream::iter(checks)
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    Ok(broken.into_iter().flatten().collect())
}

async fn one(
    cluster: &Cluster,
    ledger: &Ledger,
    first: &NodeProcess,
    others: &[NodeProcess],
) -> Result<Vec<Broken>> {
    let entries = transcript(cluster, first, &ledger.session).await?;
    let mut broken = judge(ledger, &entries);
    let mut by_node = vec![(first.name.clone(), entries)];
    for node in others {
        by_node.push((
            node.name.clone(),
            transcript(cluster, node, &ledger.session).await?,
        ));
    }
    broken.extend(same_everywhere::check(&ledger.session, &by_node));
    Ok(broken)
}

/// One transcript.
fn judge(ledger: &Ledger, entries: &[Entry]) -> Vec<Broken> {
    let of = |law: &'static str| {
        move |what: String| Broken {
            law,
            session: ledger.session.clone(),
            what,
        }
    };
    let mut broken: Vec<Broken> = ledger.wrong.iter().cloned().map(of(TOLD)).collect();
    if ledger.digest_of(entries) != ledger.digest {
        let (told, kept) = (ledger.last_seq, entries.len());
        broken.push(of(LOST)(format!(
            "what it was told up to seq {told} is not what is kept ({kept} entries)"
        )));
    }
    let sent: BTreeMap<_, _> = (0..ledger.sent)
        .map(|n| Ledger::message(ledger.number, n))
        .collect();
    let history = History {
        session: ledger.session.clone(),
        sent,
        ..History::default()
    };
    broken.extend(sequence::check_entries(&ledger.session, entries));
    broken.extend(answered_once::check(&history, entries));
    broken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(seq: u64, number: u64) -> [Entry; 2] {
        let (about, text) = Ledger::message(3, number);
        let entry = |seq, reply, text: &str| Entry {
            seq,
            about: about.clone(),
            reply,
            text: text.into(),
        };
        [entry(seq, false, &text), entry(seq + 1, true, "an answer")]
    }

    #[test]
    fn loss_change_and_repetition_are_found() {
        let good = [pair(1, 0), pair(3, 1)].concat();
        let mut ledger = Ledger::of(3);
        ledger.sent = 2;
        for entry in &good {
            ledger.take(entry);
        }
        assert!(judge(&ledger, &good).is_empty());
        let lost = &good[..2];
        let mut changed = good.clone();
        changed[1].text = "another".into();
        let twice = [
            &good[..],
            &[Entry {
                seq: 5,
                ..good[3].clone()
            }],
        ]
        .concat();
        let strange = [&good[..], &pair(5, 9)[..]].concat();
        for bad in [lost, &changed, &twice, &strange] {
            assert!(!judge(&ledger, bad).is_empty(), "{bad:?}");
        }
    }
}
