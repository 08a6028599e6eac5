//! Boots, key epochs, the clock's bound and peers across clean and unclean stops.

use std::collections::BTreeSet;
use std::thread;

use quorate_protocol::BootId;
use quorate_protocol::hlc::Hlc;

use super::*;
use crate::store::{Nonce, PeerError, PeerRefused};

fn epoch(store: &Store) -> KeyEpoch {
    store.next_key_epoch().expect("epochs are reserved ahead")
}

#[test]
fn after_a_clean_stop_everything_goes_on_where_it_was() {
    let place = Place::new();
    let (store, first) = place.open(Init::Fresh).expect("an empty directory becomes a node");
    assert_eq!((first.boot, first.clean, first.epoch_floor), (BootId(1), true, KeyEpoch(1)));
    assert_eq!([epoch(&store), epoch(&store)], [KeyEpoch(1), KeyEpoch(2)]);
    store.reserve_hlc(Hlc(900)).expect("the store takes writes").wait().expect("the disk has space");
    store.close().expect("the disk has space");
    drop(store);
    let (store, second) = place.reopen();
    assert_eq!((second.boot, second.clean, second.epoch_floor), (BootId(2), true, KeyEpoch(1)));
    assert_eq!((second.nonce, second.hlc), (first.nonce, Hlc(900)));
    assert_eq!(epoch(&store), KeyEpoch(3));
}

#[test]
fn after_a_kill_the_boot_is_higher_and_the_floor_above_every_epoch_given_out() {
    let place = Place::new();
    let store = place.init();
    let given = [epoch(&store), epoch(&store)];
    let killed = place.as_killed();
    let (store, opened) = killed.reopen();
    assert_eq!((opened.boot, opened.clean), (BootId(2), false));
    assert!(given.iter().all(|given| *given < opened.epoch_floor));
    assert!(epoch(&store) >= opened.epoch_floor);
    store.close().expect("the disk has space");
    drop(store);
    assert_eq!(killed.reopen().1.epoch_floor, opened.epoch_floor, "a clean stop does not lower it");
}

/// A dropped store has written what was queued, but nobody vouches for a clean stop.
#[test]
fn a_store_dropped_without_closing_did_not_stop_cleanly() {
    let place = Place::new();
    let store = place.init();
    let (_, commit) = queue_bump(&store, "a").expect("the store takes writes");
    drop(store);
    commit.wait().expect("what was queued was written");
    let (store, opened) = place.reopen();
    assert!(!opened.clean);
    assert_eq!(durable_count(&store, "a"), 1);
}

#[test]
fn epochs_are_unique_across_threads_blocks_and_a_kill() {
    let place = Place::new();
    let store = place.init();
    let draw = || -> Vec<KeyEpoch> {
        let mut drawn = Vec::new();
        // More than one block; a refused draw waits for the reservation by committing something.
        while drawn.len() < 40_000 {
            match store.next_key_epoch() {
                Ok(epoch) => drawn.push(epoch),
                Err(StoreError::Overloaded { .. }) => drop(bump(&store, "a")),
                Err(error) => panic!("{error}"),
            }
        }
        drawn
    };
    let drawn: Vec<KeyEpoch> = thread::scope(|scope| {
        let threads = [scope.spawn(draw), scope.spawn(draw), scope.spawn(draw)];
        threads.into_iter().flat_map(|thread| thread.join().expect("no thread panics")).collect()
    });
    let distinct: BTreeSet<KeyEpoch> = drawn.iter().copied().collect();
    assert_eq!(distinct.len(), 120_000);
    let killed = place.as_killed();
    let (_store, opened) = killed.reopen();
    assert!(distinct.last().expect("many were drawn") < &opened.epoch_floor);
}

#[test]
fn epochs_run_out_rather_than_outrun_their_reservation() {
    let place = Place::new();
    let store = stalled(&place, &small());
    let drawn = std::iter::from_fn(|| store.next_key_epoch().ok()).take(1_000_000).count();
    assert_eq!(drawn, 65_536);
    store.begin().expect("a thread can be started");
    bump(&store, "behind the reservation");
    assert_eq!(epoch(&store), KeyEpoch(65_537));
}

#[test]
fn the_clock_bound_is_never_lowered() {
    let place = Place::new();
    let store = place.init();
    for bound in [50, 90, 70] {
        store.reserve_hlc(Hlc(bound)).expect("the store takes writes").wait().expect("the disk has space");
    }
    assert_eq!(place.as_killed().reopen().1.hlc, Hlc(90));
}

#[test]
fn a_new_directory_is_not_vouched_for_and_stays_so_until_it_is_marked() {
    let place = Place::new();
    let (store, opened) = place.open(Init::Fresh).expect("an empty directory becomes a node");
    assert!(!opened.vouched);
    store.close().expect("the disk has space");
    drop(store);
    let (store, opened) = place.reopen();
    assert!(!opened.vouched, "a restart vouches for nothing");
    store.mark_vouched().expect("the store takes writes").wait().expect("the disk has space");
    assert!(place.as_killed().reopen().1.vouched, "it survives a kill");
    store.close().expect("the disk has space");
    drop(store);
    assert!(place.reopen().1.vouched, "and a clean stop");
}

#[test]
fn a_peer_with_another_nonce_or_a_lower_boot_is_refused_for_ever() {
    let place = Place::new();
    let store = place.init();
    let (peer, nonce) = (NodeId(9), Nonce(77));
    let meet = |store: &Store, nonce, boot| store.remember_peer(peer, nonce, BootId(boot));
    meet(&store, nonce, 4).expect("a new peer").wait().expect("the disk has space");
    assert!(meet(&store, nonce, 4).expect("the same again").is_durable());
    meet(&store, nonce, 6).expect("it was restarted").wait().expect("the disk has space");
    let killed = place.as_killed();
    let (after, _) = killed.reopen();
    for store in [&store, &after] {
        let lower = meet(store, nonce, 5).expect_err("it went back in time");
        let known = BootId(6);
        assert!(matches!(lower, PeerError::Refused(PeerRefused::LowerBoot { known: k, .. }) if k == known));
        let other = meet(store, Nonce(78), 7).expect_err("it lost its disk");
        assert!(matches!(other, PeerError::Refused(PeerRefused::OtherNonce { known, .. }) if known == nonce));
        meet(store, nonce, 6).expect("it is still itself").wait().expect("the disk has space");
    }
}

/// A second hello of the same start must not be trusted before the first one's memory is durable.
#[test]
fn a_peer_met_twice_is_trusted_when_it_is_remembered() {
    let place = Place::new();
    let store = stalled(&place, &small());
    let meet = || store.remember_peer(NodeId(9), Nonce(1), BootId(1)).expect("the store takes writes");
    let (first, second) = (meet(), meet());
    assert!(!second.is_durable());
    assert_eq!(store.pending().writes, 1);
    store.begin().expect("a thread can be started");
    second.wait().expect("the disk has space");
    first.wait().expect("the disk has space");
}
