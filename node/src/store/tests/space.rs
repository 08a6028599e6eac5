//! How much disk a typical record takes.

use quorate_protocol::hlc::Hlc;
use quorate_protocol::{Actor, Body, ClientId, Context, Dot, OpId, Siblings, Version};

use super::*;

const RECORDS: u64 = 20_000;

/// What is allowed for one replica of a 24-byte key with a 128-byte value.
const RECORD_BYTES_MAX: u64 = 400;

/// A record as four overwrites through two coordinators leave it, with a client's operation id.
fn typical(index: u64) -> KeyRecord {
    let dot = |node, n| Dot { actor: Actor::Node { node: NodeId(node), epoch: KeyEpoch(100_000 + index) }, n };
    let client = noise(index / 500, 16).try_into().map(u128::from_le_bytes).expect("sixteen bytes");
    let op = OpId { client: ClientId(client), lane: 17, seq: 900_000 + index, issued_ms: 1_780_000_000_000 + index };
    let version = Version { body: Body::Value(noise(index, 128).into()), hlc: Hlc::at_ms(1_780_000_000_000 + index), op: Some(op) };
    let seen = Context::empty().with(dot(1, 1)).with(dot(1, 2)).with(dot(2, 1));
    KeyRecord {
        own: Some(OwnDots { epoch: KeyEpoch(100_000 + index), n: 3 }),
        eventual: Siblings::delta(seen, dot(1, 3), version),
        ..KeyRecord::default()
    }
}

#[test]
fn a_small_record_takes_at_most_400_bytes_of_disk_after_compaction() {
    let place = Place::new();
    let store = place.init();
    let mut commits = Vec::new();
    for index in 0..RECORDS {
        let storage_key = StorageKey::new(PartitionId((index % 256) as u16), BucketId(0), format!("user:{index:019}").as_bytes());
        assert_eq!(storage_key.key().len(), 24);
        let replace = |record: &mut KeyRecord| *record = typical(index);
        commits.push(store.update(&storage_key, Durability::Synced, replace).expect("below the limit").1);
    }
    commits.into_iter().for_each(|commit| commit.wait().expect("the disk has space"));
    store.compact().expect("the disk has space");
    let properties = store.properties();
    let property = |name| properties.iter().find(|(found, _)| *found == name).expect("the property exists").1;
    let per_record = property("live_table_bytes") / RECORDS;
    println!("{per_record} bytes of tables and {} of all files for a record", store.disk_bytes().expect("readable") / RECORDS);
    assert!((128..=RECORD_BYTES_MAX).contains(&per_record), "{per_record} bytes for a record");
    assert_eq!(property("estimated_records"), RECORDS);
}
