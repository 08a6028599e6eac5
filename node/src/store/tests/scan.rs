//! Scans: one bucket in one partition, in order, page by page.

use super::*;
use crate::store::{PageLimit, ScanRange};

fn filled(place: &Place) -> Store {
    let store = place.init();
    let keys = [(1, 0, "x"), (7, 0, "a"), (7, 0, "a\0"), (7, 0, "b"), (7, 0, ""), (7, 1, "a"), (7, u32::MAX, "z"), (8, 0, "a")];
    for (partition, bucket, name) in keys {
        let key = StorageKey::new(PartitionId(partition), BucketId(bucket), name.as_bytes());
        let (_, commit) = store.update(&key, Durability::Synced, count_up).expect("the store takes writes");
        commit.wait().expect("the disk has space");
    }
    store
}

fn range(bucket: u32, after: Option<&[u8]>) -> ScanRange<'_> {
    ScanRange { partition: PartitionId(7), bucket: BucketId(bucket), after }
}

#[test]
fn pages_show_every_key_of_the_bucket_once_and_in_order() {
    let place = Place::new();
    let store = filled(&place);
    for count in 1..6 {
        let mut seen: Vec<bytes::Bytes> = Vec::new();
        loop {
            let limit = PageLimit { count, bytes: 1 << 20 };
            let page = store.scan_keys(&range(0, seen.last().map(|key| &key[..])), limit).expect("the store is readable");
            assert!(page.entries.len() <= count);
            seen.extend(page.entries);
            if !page.more {
                break;
            }
        }
        assert_eq!(seen, ["", "a", "a\0", "b"], "in pages of {count}");
    }
    assert_eq!(store.scan_keys(&range(u32::MAX, None), PageLimit { count: 9, bytes: 9 }).expect("readable").entries, ["z"]);
}

#[test]
fn a_page_ends_at_its_bytes_but_makes_progress() {
    let place = Place::new();
    let store = filled(&place);
    let page = store.scan_records(&range(0, None), PageLimit { count: 100, bytes: 1 }).expect("the store is readable");
    assert_eq!((page.entries.len(), page.more), (1, true));
    assert_eq!(counted(Some(&page.entries[0].1)), 1);
}

#[test]
fn a_partition_is_counted_over_all_its_buckets() {
    let place = Place::new();
    let store = filled(&place);
    let count = |partition| store.partition_count(PartitionId(partition)).expect("the store is readable");
    assert_eq!([0, 1, 7, 8, u16::MAX].map(count), [0, 1, 6, 1, 0]);
}
