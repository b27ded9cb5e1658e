//! Who is told what, table by table.

use super::*;

const ME: NodeId = NodeId(1);
const PEER: NodeId = NodeId(2);
const S: SessionId = SessionId(77);

fn all_at(owner: NodeId, epoch: u64) -> Vec<PlacementRow> {
    vec![
        PlacementRow {
            owner: Some(owner),
            epoch: Epoch(epoch)
        };
        usize::from(SESSION_PARTITIONS)
    ]
}

fn delta(epoch: u64, to: u64, offset: u64, text: &str) -> Delta {
    let reply_to = format!("m{to}").parse().expect("a valid id");
    Delta {
        session: S,
        epoch: Epoch(epoch),
        to: Seq(to),
        reply_to,
        offset,
        text: text.into(),
    }
}

fn watch(on: bool, epoch: u64) -> Watch {
    Watch {
        on,
        sessions: vec![(S, Epoch(epoch))],
    }
}

fn board(owner: NodeId) -> Board {
    let mut board = Board::new(ME);
    assert_eq!(board.placed(all_at(owner, 1)), []);
    board
}

fn shown(follower: &Follower) -> Option<(u64, String)> {
    follower.take().map(|part| (part.offset, part.text))
}

#[test]
fn the_owner_is_told_and_told_again_when_it_changes_or_comes_back() {
    let mut board = board(PEER);
    let follower = Arc::new(Follower::default());
    assert_eq!(
        board.follow(S, follower.clone()),
        [Letter::Watch(PEER, watch(true, 1))]
    );
    assert_eq!(board.retry(), []);
    assert_eq!(board.reconnected(PEER), [Letter::Watch(PEER, watch(true, 1))]);
    assert_eq!(board.reconnected(NodeId(3)), []);
    assert_eq!(
        board.placed(all_at(NodeId(3), 2)),
        [Letter::Watch(NodeId(3), watch(true, 2))]
    );
    assert!(follower.news().moved);
    board.not_sent(&watch(true, 2));
    assert_eq!(board.retry(), [Letter::Watch(NodeId(3), watch(true, 2))]);
    assert_eq!(board.placed(all_at(NodeId(3), 2)), []);
    assert_eq!(
        board.unfollow(S, &follower),
        [Letter::Watch(NodeId(3), watch(false, 2))]
    );
    assert!(board.followed.is_empty());
}

#[test]
fn a_session_without_owner_is_told_once_it_has_one() {
    let mut board = Board::new(ME);
    assert_eq!(board.follow(S, Arc::default()), []);
    assert_eq!(
        board.placed(all_at(PEER, 1)),
        [Letter::Watch(PEER, watch(true, 1))]
    );
}

#[test]
fn parts_reach_readers_here_and_nodes_that_follow() {
    let mut board = board(ME);
    let follower = Arc::new(Follower::default());
    assert_eq!(board.follow(S, follower.clone()), []);
    assert_eq!(board.watch(PEER, &watch(true, 1)), []);
    assert_eq!(
        board.publish(delta(1, 1, 0, "hé")),
        [Letter::Delta(PEER, delta(1, 1, 0, "hé"))]
    );
    assert_eq!(shown(&follower), Some((0, "hé".into())));
    assert_eq!(board.watch(PEER, &watch(false, 1)), []);
    assert_eq!(board.publish(delta(1, 1, 2, "llo")), []);
    assert_eq!(shown(&follower), Some((2, "llo".into())));
}

#[test]
fn who_comes_in_the_middle_gets_the_text_so_far() {
    let mut board = board(ME);
    board.publish(delta(1, 1, 0, "hé"));
    board.publish(delta(1, 1, 2, "llo"));
    assert_eq!(
        board.watch(PEER, &watch(true, 1)),
        [Letter::Delta(PEER, delta(1, 1, 0, "héllo"))]
    );
    let follower = Arc::new(Follower::default());
    board.follow(S, follower.clone());
    assert_eq!(shown(&follower), Some((0, "héllo".into())));
    board.publish(delta(1, 1, 1, "i"));
    assert_eq!(
        board.watch(NodeId(3), &watch(true, 1)),
        [Letter::Delta(NodeId(3), delta(1, 1, 0, "hi"))]
    );
    board.settled(S);
    assert_eq!(board.watch(NodeId(4), &watch(true, 1)), []);
}

#[test]
fn a_second_reader_here_makes_the_owner_send_the_text_so_far_again() {
    let mut board = board(PEER);
    board.follow(S, Arc::default());
    assert_eq!(
        board.follow(S, Arc::default()),
        [Letter::Watch(PEER, watch(true, 1))]
    );
}

#[test]
fn an_older_owners_parts_are_not_mixed_in() {
    let mut board = board(PEER);
    let follower = Arc::new(Follower::default());
    board.follow(S, follower.clone());
    assert_eq!(board.arrived(PEER, &delta(2, 1, 0, "new")), []);
    assert_eq!(board.arrived(NodeId(3), &delta(1, 1, 0, "old")), []);
    assert_eq!(shown(&follower), Some((0, "new".into())));
}

#[test]
fn parts_that_nobody_reads_are_declined() {
    let mut board = board(PEER);
    assert_eq!(
        board.arrived(PEER, &delta(1, 1, 0, "x")),
        [Letter::Watch(PEER, watch(false, 1))]
    );
}

#[test]
fn followers_of_what_is_owned_no_longer_are_forgotten() {
    let mut board = board(ME);
    board.watch(PEER, &watch(true, 1));
    // One that is ahead of this node's own picture is kept until that catches up.
    board.placed(all_at(PEER, 2));
    assert_eq!(board.publish(delta(1, 1, 0, "x")), []);
    board.watch(PEER, &watch(true, 4));
    board.placed(all_at(NodeId(3), 3));
    board.placed(all_at(ME, 4));
    assert_eq!(board.publish(delta(4, 1, 0, "x")).len(), 1);
    board.removed(PEER);
    assert_eq!(board.publish(delta(4, 1, 1, "y")), []);
}
