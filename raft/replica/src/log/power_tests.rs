//! Power cuts at any write of the log's file: what was acknowledged is there, and nothing is there in part.

use jarvis_host::{Entropy, SeededEntropy};

use super::bad_disk::BadDisk;
use super::disk::{LogDisk, LogWrite};
use super::{RedbLog, open_entry};
use crate::types::tests::{entry, log_id};
use crate::types::{Vote, open_record, seal_record};

/// Power cuts in one test.
const CUTS: u64 = 120;

/// What the log said that it had kept.
#[derive(Default)]
struct Acknowledged {
    purged: u64,
    last: u64,
    votes: u64,
}

fn appends(from: u64, count: u64) -> LogWrite {
    let record = |index| {
        let body = vec![index as u8; 64 + (index as usize * 37) % 900];
        (index, seal_record(&entry(1, index, &body)).expect("seals"))
    };
    LogWrite::Append((from..from + count).map(record).collect())
}

/// Writes until the power fails.
fn live(log: &RedbLog, chance: &SeededEntropy, acknowledged: &mut Acknowledged) {
    loop {
        let count = 1 + chance.next_u64() % 40;
        let vote = seal_record(&Vote::new(acknowledged.votes + 1, 1)).expect("seals");
        let mut writes = vec![appends(acknowledged.last + 1, count), LogWrite::Vote(vote)];
        let purge = chance
            .next_u64()
            .is_multiple_of(4)
            .then_some(acknowledged.last / 2);
        if let Some(upto) = purge.filter(|upto| *upto > acknowledged.purged) {
            let marker = seal_record(&log_id(1, upto)).expect("seals");
            writes.push(LogWrite::Purge { upto, marker });
            // What is purged may be gone from the moment on at which it is asked for.
            acknowledged.purged = upto;
        }
        if log.write(&writes, true).is_err() {
            return;
        }
        acknowledged.last += count;
        acknowledged.votes += 1;
        // A hint is not synced, so the next power cut may find it under way.
        let committed = seal_record(&log_id(1, acknowledged.last)).expect("seals");
        if log.write(&[LogWrite::Committed(committed)], false).is_err() {
            return;
        }
    }
}

fn check(log: &RedbLog, acknowledged: &mut Acknowledged, cut: u64) {
    let head = log.head().expect("reads");
    let last = head.last.as_ref().map_or(0, |(index, _)| *index);
    assert!(
        last >= acknowledged.last,
        "cut {cut}: {last} of {} entries are there",
        acknowledged.last
    );
    let found = log.read(0, u64::MAX, usize::MAX).expect("reads");
    let first = found.first().map_or(1, |(index, _)| *index);
    assert!(
        first <= acknowledged.purged + 1,
        "cut {cut}: begins at {first}, purged up to {}",
        acknowledged.purged
    );
    assert!(
        found.iter().map(|(index, _)| *index).eq(first..=last),
        "cut {cut}: there is a gap"
    );
    for (index, record) in &found {
        open_entry(*index, record).expect("whole");
    }
    let voted = head.vote.map_or(0, |vote| {
        open_record::<Vote>("the vote", &vote)
            .expect("whole")
            .leader_id
            .term
    });
    assert!(voted >= acknowledged.votes, "cut {cut}: a vote is forgotten");
    // What was under way when the power failed is there as a whole or not at all.
    assert_eq!(
        voted > acknowledged.votes,
        last > acknowledged.last,
        "cut {cut}: half of a write"
    );
    (acknowledged.last, acknowledged.votes) = (last, voted);
}

#[test]
fn what_was_acknowledged_survives_torn_and_lost_writes() {
    let chance = SeededEntropy::new(7);
    let mut disk = BadDisk::default();
    // A file gets its name when it is whole.
    drop(RedbLog::on(disk.clone()).expect("opens"));
    let mut acknowledged = Acknowledged::default();
    let mut reached = 0;
    for cut in 0..CUTS {
        // Short fuses burn down while the file is being opened and repaired.
        disk.light_fuse(chance.next_u64() % if cut % 3 == 0 { 12 } else { 200 });
        match RedbLog::on(disk.clone()) {
            Ok(log) => {
                check(&log, &mut acknowledged, cut);
                live(&log, &chance, &mut acknowledged);
                reached += 1;
            }
            Err(error) => assert!(disk.is_dead(), "cut {cut}: {error}"),
        }
        disk = disk.after_power_cut(&chance);
    }
    let log = RedbLog::on(disk).expect("opens once the power stays");
    check(&log, &mut acknowledged, CUTS);
    assert!(
        reached > CUTS / 2 && acknowledged.last > 1_000,
        "{reached} lives, {} entries",
        acknowledged.last
    );
}
