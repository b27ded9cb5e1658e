//! Hostile hubs of other nodes: parts of replies and watches in any order, decoded from hostile bytes. A reader here sees
//! only what follows on what it saw.

use jarvis_fuzz::fuzz;

use super::*;
use crate::message::{decode, encode};

const ME: NodeId = NodeId(1);
const PEER: NodeId = NodeId(2);
const S: SessionId = SessionId(77);

/// `length (1) | a part or a watch`, again and again.
fn letter(bytes: &[u8]) -> Vec<u8> {
    [&[bytes.len() as u8], bytes].concat()
}

fn part(epoch: u64, to: u64, offset: u64, text: &str) -> Vec<u8> {
    let delta = Delta {
        session: S,
        epoch: Epoch(epoch),
        to: Seq(to),
        reply_to: format!("m{to}").parse().expect("a valid id"),
        offset,
        text: text.into(),
    };
    letter(&encode(&delta).expect("encodes"))
}

fn watch(on: bool) -> Vec<u8> {
    let sessions = vec![(S, Epoch(1)), (SessionId(78), Epoch(2))];
    letter(&encode(&Watch { on, sessions }).expect("encodes"))
}

#[test]
fn fuzz_letters_of_other_hubs() {
    fuzz!()
        .seed([part(1, 1, 0, "héllo"), part(1, 1, 5, " you"), part(1, 1, 9, "!")].concat())
        .seed([part(1, 1, 0, "one"), part(2, 1, 0, "two"), part(1, 1, 3, "late")].concat())
        .seed([watch(true), part(1, 3, 0, "x"), watch(false)].concat())
        .seed(
            [
                part(1, 1, u64::MAX, "x"),
                part(u64::MAX, u64::MAX, 0, ""),
                watch(true),
            ]
            .concat(),
        )
        .memory(2 * 1024 * 1024, 256)
        .run(|bytes| {
            let mut board = Board::new(ME);
            let all = PlacementRow {
                owner: Some(PEER),
                epoch: Epoch(1),
            };
            board.placed(vec![all; usize::from(SESSION_PARTITIONS)]);
            let follower = Arc::new(Follower::default());
            board.follow(S, Arc::clone(&follower));
            let (mut rest, mut letters, mut shown) = (bytes, 0, 0);
            let (mut to, mut next) = (Seq(0), 0);
            while let Some((&length, behind)) = rest.split_first() {
                let (letter, behind) = behind.split_at(usize::from(length).min(behind.len()));
                rest = behind;
                if let Ok(delta) = decode::<Delta>(letter) {
                    letters += board.arrived(PEER, &delta).len();
                    // What this node writes itself takes the same way, and offsets of a reply begin again after a failover.
                    letters += board.publish(delta).len();
                } else if let Ok(watch) = decode::<Watch>(letter) {
                    letters += board.watch(PEER, &watch).len();
                }
                if let Some(part) = follower.take() {
                    shown += 1;
                    assert!(
                        part.offset == 0 || (part.to, part.offset) == (to, next),
                        "no gap is shown"
                    );
                    (to, next) = (part.to, part.offset + part.text.chars().count() as u64);
                }
            }
            (letters.min(3), shown.min(3))
        });
}
