//! What a replica does, and what each broken rule would let through.

use bytes::Bytes;
use quorate_ring::NodeId;

use super::*;
use crate::chain::Ballot;

const HOME: PartitionRecord =
    PartitionRecord { epoch: RingEpoch(3), role: Role::Home, write_mode: WriteMode::Mixed, promise_floor: Ballot::ZERO };

fn put(seen: Seen, value: &'static str) -> Mint {
    let body = Body::Value(Bytes::from_static(value.as_bytes()));
    Mint { seen, body, op: None, hlc: Hlc(1), siblings_max: 3 }
}

fn minted(record: &mut KeyRecord, fresh: Option<u64>, write: &Mint) -> Minted {
    mint(record, NodeId(1), fresh.map(KeyEpoch), write, Options::default(), &mut Notes::default()).expect("below the limit")
}

#[test]
fn a_blind_put_replaces_what_its_coordinator_has_seen() {
    let mut record = KeyRecord::default();
    minted(&mut record, Some(1), &put(Seen::Blind, "a"));
    let second = minted(&mut record, None, &put(Seen::Blind, "b"));
    assert_eq!((second.dot.n, second.live), (2, 1));
}

#[test]
fn a_concurrent_put_replaces_nothing_and_stops_at_the_limit() {
    let mut record = KeyRecord::default();
    minted(&mut record, Some(1), &put(Seen::Nothing, "a"));
    minted(&mut record, None, &put(Seen::Nothing, "b"));
    assert_eq!(minted(&mut record, None, &put(Seen::Nothing, "c")).live, 3);
    let before = record.clone();
    let refused = mint(&mut record, NodeId(1), None, &put(Seen::Nothing, "d"), Options::default(), &mut Notes::default())
        .expect_err("the fourth is refused");
    assert_eq!(record, before);
    let MintRefusal::TooManySiblings(refused) = refused else { panic!("refused for another reason") };
    assert_eq!(minted(&mut record, None, &put(Seen::Context(refused.context), "merged")).live, 1);
}

/// A node that dropped its record and coordinates again must not repeat a dot: others would discard the new write as seen.
#[test]
fn a_forgotten_record_gives_dots_of_a_fresh_epoch() {
    let mut record = KeyRecord::default();
    let first = minted(&mut record, Some(1), &put(Seen::Blind, "a"));
    let mut forgotten = KeyRecord::default();
    assert!(needs_fresh_epoch(&forgotten, KeyEpoch(1), Options::default()));
    let second = minted(&mut forgotten, Some(2), &put(Seen::Blind, "b"));
    assert_ne!(first.dot, second.dot);
    assert_eq!(first.delta.merged(&second.delta).live_count(), 2, "both writes survive");
}

/// The floor rises when a process did not stop cleanly: its last dots may have left it without becoming durable.
#[test]
fn an_epoch_below_the_floor_is_not_continued() {
    let mut record = KeyRecord::default();
    minted(&mut record, Some(4), &put(Seen::Blind, "a"));
    assert!(!needs_fresh_epoch(&record, KeyEpoch(4), Options::default()));
    assert!(needs_fresh_epoch(&record, KeyEpoch(5), Options::default()));
    let next = minted(&mut record, Some(9), &put(Seen::Blind, "b"));
    assert_eq!(next.dot.actor, Actor::Node { node: NodeId(1), epoch: KeyEpoch(9) });
}

#[test]
fn another_epoch_and_a_stranger_refuse_without_effect() {
    let mut record = KeyRecord::default();
    let delta = minted(&mut KeyRecord::default(), Some(1), &put(Seen::Blind, "a")).delta;
    let request = ReplicaRequest::Replicate { strict: Some(RingEpoch(2)), delta: delta.clone() };
    let reply = apply(&mut record, &HOME, &request, Options::default(), &mut Notes::default());
    assert_eq!(reply, ReplicaReply::Refused(Refusal::OtherEpoch { here: RingEpoch(3) }));
    let stranger = PartitionRecord { role: Role::Stranger, ..HOME };
    let request = ReplicaRequest::Replicate { strict: None, delta };
    assert_eq!(
        apply(&mut record, &stranger, &request, Options::default(), &mut Notes::default()),
        ReplicaReply::Refused(Refusal::Stranger)
    );
    assert_eq!(record, KeyRecord::default());
}

#[test]
fn replicate_is_idempotent() {
    let mut record = KeyRecord::default();
    let delta = minted(&mut KeyRecord::default(), Some(1), &put(Seen::Blind, "a")).delta;
    let request = ReplicaRequest::Replicate { strict: None, delta };
    assert_eq!(apply(&mut record, &HOME, &request, Options::default(), &mut Notes::default()), ReplicaReply::Stored);
    let once = record.clone();
    assert_eq!(apply(&mut record, &HOME, &request, Options::default(), &mut Notes::default()), ReplicaReply::Stored);
    assert_eq!(record, once);
}

fn broken(defect: Defect) -> Options {
    Options { defect: Some(defect), ..Options::default() }
}

fn replicate(record: &mut KeyRecord, delta: &Siblings, options: Options) {
    let request = ReplicaRequest::Replicate { strict: None, delta: delta.clone() };
    assert_eq!(apply(record, &HOME, &request, options, &mut Notes::default()), ReplicaReply::Stored);
}

/// A write of a node of its own that has seen `seen`.
fn written(node: u64, seen: &Siblings, body: Body) -> Siblings {
    let write = Mint { body, ..put(Seen::Context(seen.context().clone()), "") };
    let minted = mint(&mut KeyRecord::default(), NodeId(node), Some(KeyEpoch(1)), &write, Options::default(), &mut Notes::default());
    minted.expect("below the limit").delta
}

fn value(text: &'static str) -> Body {
    Body::Value(Bytes::from_static(text.as_bytes()))
}

/// A client that never reads writes again and again beside a version that it has not seen.
#[test]
fn a_context_that_grew_too_long_is_refused_until_its_client_reads_again() {
    let actor = Actor::Node { node: NodeId(2), epoch: KeyEpoch(1) };
    let last = u64::try_from(CONTEXT_LEN_MAX).expect("a few thousand") + 1;
    let unread = (2..=last).fold(Context::empty(), |context, n| context.with(Dot { actor, n }));
    assert_eq!(unread.len(), CONTEXT_LEN_MAX);
    let mut record = KeyRecord::default();
    let write = put(Seen::Context(unread.clone()), "a");
    let refused = mint(&mut record, NodeId(1), Some(KeyEpoch(1)), &write, Options::default(), &mut Notes::default());
    assert_eq!((refused, &record), (Err(MintRefusal::ContextTooLong), &KeyRecord::default()));
    let read = unread.with(Dot { actor, n: 1 });
    assert_eq!(minted(&mut record, Some(1), &put(Seen::Context(read), "a")).context.len(), 2);
}

#[test]
fn counting_on_below_the_floor_is_the_bug_dot_reused_after_crash() {
    let mut record = KeyRecord::default();
    minted(&mut record, Some(4), &put(Seen::Blind, "a"));
    assert!(!needs_fresh_epoch(&record, KeyEpoch(5), broken(Defect::DotReusedAfterCrash)));
    assert!(needs_fresh_epoch(&KeyRecord::default(), KeyEpoch(5), broken(Defect::DotReusedAfterCrash)));
}

/// The story of `riak_kv#679`: a node forgets a key's record, writes again, and the others discard the write as already seen.
#[test]
fn a_number_derived_from_the_context_is_the_bug_dot_from_context() {
    let options = broken(Defect::DotFromContext);
    let write_from_nothing = |text| {
        let mut record = KeyRecord::default();
        assert!(!needs_fresh_epoch(&record, KeyEpoch(0), options));
        mint(&mut record, NodeId(1), None, &put(Seen::Blind, text), options, &mut Notes::default()).expect("below the limit")
    };
    let (first, second) = (write_from_nothing("a"), write_from_nothing("b"));
    assert_eq!(first.dot, second.dot);
    assert_eq!(first.delta.clone().merged(&second.delta), first.delta, "the second write is lost");
}

#[test]
fn storing_in_place_of_merging_is_the_bug_repair_overwrites() {
    let (mine, theirs) = (written(1, &Siblings::empty(), value("mine")), written(2, &Siblings::empty(), value("theirs")));
    for (options, live) in [(Options::default(), 2), (broken(Defect::RepairOverwrites), 1)] {
        let mut record = KeyRecord { own: None, eventual: mine.clone(), ..KeyRecord::default() };
        replicate(&mut record, &theirs, options);
        assert_eq!(record.eventual.live_count(), live);
    }
}

/// The write that was replaced reaches the replica after the one that replaced it.
#[test]
fn a_replaced_version_comes_back_with_the_bug_merge_drops_actor() {
    let old = written(1, &Siblings::empty(), value("old"));
    let new = written(2, &old, value("new"));
    for (options, live) in [(Options::default(), 1), (broken(Defect::MergeDropsActor), 2)] {
        let mut record = KeyRecord::default();
        replicate(&mut record, &new, options);
        replicate(&mut record, &old, options);
        assert_eq!(record.eventual.live_count(), live);
    }
}

/// The late write of the coordinator's neighbour is in the blind put's context although nobody here has seen it.
#[test]
fn a_write_nobody_saw_is_replaced_with_the_bug_blind_put_covers_unseen() {
    let mut neighbour = KeyRecord::default();
    let early = minted(&mut neighbour, Some(1), &put(Seen::Nothing, "early")).delta;
    let late = minted(&mut neighbour, None, &put(Seen::Nothing, "late")).delta;
    for (options, kept) in [(Options::default(), true), (broken(Defect::BlindPutCoversUnseen), false)] {
        let mut record = KeyRecord { own: None, eventual: early.clone(), ..KeyRecord::default() };
        let blind = mint(&mut record, NodeId(2), Some(KeyEpoch(1)), &put(Seen::Blind, "mine"), options, &mut Notes::default());
        let blind = blind.expect("below the limit").delta;
        assert_eq!(late.clone().merged(&blind).live_count() == 2, kept);
    }
}

#[test]
fn an_unseen_sibling_is_in_the_context_with_the_bug_write_context_covers_unseen() {
    let theirs = written(2, &Siblings::empty(), value("theirs"));
    for (options, covered) in [(Options::default(), false), (broken(Defect::WriteContextCoversUnseen), true)] {
        let mut record = KeyRecord { own: None, eventual: theirs.clone(), ..KeyRecord::default() };
        let mine = mint(&mut record, NodeId(1), Some(KeyEpoch(1)), &put(Seen::Nothing, "mine"), options, &mut Notes::default());
        assert_eq!(mine.expect("below the limit").context.includes(theirs.context()), covered);
    }
}

/// A copy of the deleted version is still on its way.
#[test]
fn a_deleted_version_comes_back_with_the_bug_tombstone_dropped_early() {
    let old = written(1, &Siblings::empty(), value("old"));
    let deleted = written(2, &old, Body::Tombstone);
    for (options, shown) in [(Options::default(), 0), (broken(Defect::TombstoneDroppedEarly), 1)] {
        let mut record = KeyRecord { own: None, eventual: old.clone(), ..KeyRecord::default() };
        replicate(&mut record, &deleted, options);
        replicate(&mut record, &old, options);
        assert_eq!(record.eventual.visible().len(), shown);
    }
}
