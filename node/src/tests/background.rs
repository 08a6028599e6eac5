//! What goes on behind an answer, and what if there is too much of it.

use std::sync::Arc;

use quorate_protocol::Level;

use super::{N1, N2, N3, TestCluster, TestNode, put};
use crate::coordinator::{BACKGROUND_BYTES_MAX, write};

/// n1 of three, which takes the others for up; they never answer.
async fn among_the_silent() -> TestNode {
    let mut cluster = TestCluster::of(3, &["coordination.hint_after=10s"]).await;
    let n1 = cluster.start(N1);
    for peer in [N2, N3] {
        n1.node.peers.peer(peer).expect("a member").came_up();
    }
    n1
}

fn hints(n1: &TestNode) -> (usize, usize) {
    let kept_for = |peer| n1.node.store.hint_stats(peer).count;
    (kept_for(N2), kept_for(N3))
}

#[tokio::test]
async fn a_write_waits_for_silent_replicas_behind_its_answer() {
    let n1 = among_the_silent().await;
    write(&n1.node, put("k", "v", Level::One)).await.expect("n1 has it");
    assert_eq!((n1.node.background.len(), hints(&n1)), (1, (0, 0)));
    assert!(n1.node.background_room.available_permits() < BACKGROUND_BYTES_MAX, "it is counted");
}

#[tokio::test]
async fn a_write_that_finds_no_room_behind_its_answer_keeps_its_hints_at_once() {
    let n1 = among_the_silent().await;
    let all = u32::try_from(BACKGROUND_BYTES_MAX).expect("a limit of 32 bits");
    let _taken = Arc::clone(&n1.node.background_room).try_acquire_many_owned(all).expect("nothing goes on yet");
    write(&n1.node, put("k", "v", Level::One)).await.expect("n1 has it");
    assert_eq!((n1.node.background.len(), hints(&n1)), (0, (1, 1)));
    assert_eq!(n1.node.metrics.cut_short.get(), 1);
}

/// Heartbeats that came more often than hints were looked for once put off the looking for ever.
#[tokio::test]
async fn a_sign_of_life_that_changes_nothing_wakes_nobody() {
    let n1 = among_the_silent().await;
    let peer = n1.node.peers.peer(N2).expect("a member");
    let mut watch = peer.watch();
    assert!(*watch.borrow_and_update());
    peer.came_up();
    assert!(!watch.has_changed().expect("it is there"));
}
