//! Disks in memory.

use quorate_protocol::BootId;
use quorate_ring::NodeId;

use super::{bump, durable_count, queue_bump, small};
use crate::store::{MemoryDisk, Store};

#[test]
fn a_disk_in_memory_keeps_what_was_written_from_one_store_to_the_next() {
    let disk = MemoryDisk::new();
    let (store, first) = Store::open_in_memory(&disk, &small()).expect("an empty disk becomes a node's");
    assert_eq!((bump(&store, "k"), bump(&store, "k")), (1, 2));
    store.put_hint(NodeId(9), "hint".into()).expect("taken").wait().expect("in memory");
    drop(store);
    let (store, second) = Store::open_in_memory(&disk.clone(), &small()).expect("nobody has it open");
    assert_eq!((first.boot, second.boot), (BootId(1), BootId(2)));
    assert_eq!((first.nonce, second.clean), (second.nonce, false), "it was dropped, not closed");
    assert_eq!((durable_count(&store, "k"), store.hint_stats(NodeId(9)).count), (2, 1));
    store.close().expect("in memory");
    drop(store);
    assert!(Store::open_in_memory(&disk, &small()).expect("nobody has it open").1.clean);
}

#[test]
fn writes_are_durable_when_their_call_returns() {
    let (store, _) = Store::open_in_memory(&MemoryDisk::new(), &small()).expect("an empty disk");
    let (_, commit) = queue_bump(&store, "k").expect("taken");
    assert_eq!((durable_count(&store, "k"), store.pending().writes), (1, 0));
    commit.wait().expect("it is there");
}
