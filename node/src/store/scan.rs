//! Walking over the records of one bucket in one partition, page by page.
//!
//! **Promise.** A page shows durable state only. Pages taken one behind the other show every key that was there all the time
//! exactly once, in byte order; keys that come or go meanwhile may or may not be shown.

use bytes::Bytes;
use quorate_protocol::{BucketId, KeyRecord};
use quorate_ring::PartitionId;

use super::engine::Engine;
use super::error::StoreError;
use super::key::{PREFIX_BYTES, after_prefix, prefix};
use super::record;

/// Which keys a page shows.
#[derive(Clone, Copy, Debug)]
pub struct ScanRange<'a> {
    /// The partition.
    pub partition: PartitionId,
    /// The bucket within it.
    pub bucket: BucketId,
    /// The last key of the page before, or `None` for the first page.
    pub after: Option<&'a [u8]>,
}

/// How large a page may become. It ends with the entry that reaches a limit, so it always makes progress.
#[derive(Clone, Copy, Debug)]
pub struct PageLimit {
    /// Entries.
    pub count: usize,
    /// Bytes of keys, and of records where they are shown.
    pub bytes: usize,
}

/// Part of a scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// In key order.
    pub entries: Vec<T>,
    /// Whether entries follow behind the last one.
    pub more: bool,
}

/// Builds a page of what `show` makes of each stored key and value.
pub(super) fn page<T>(
    engine: &Engine,
    range: &ScanRange<'_>,
    limit: PageLimit,
    mut show: impl FnMut(&[u8], &[u8]) -> Result<(T, usize), StoreError>,
) -> Result<Page<T>, StoreError> {
    let prefix = prefix(range.partition, range.bucket);
    let mut from = prefix.to_vec();
    if let Some(after) = range.after {
        // The least byte string above a key is the key with a zero byte behind it.
        from.extend_from_slice(after);
        from.push(0);
    }
    let mut walk = engine.records_between(&from, after_prefix(&prefix));
    let mut page = Page { entries: Vec::new(), more: false };
    let mut bytes = 0;
    while let Some((key, value)) = walk.item() {
        if page.entries.len() >= limit.count || bytes >= limit.bytes {
            page.more = true;
            break;
        }
        let (entry, entry_bytes) = show(&key[PREFIX_BYTES..], value)?;
        page.entries.push(entry);
        bytes += entry_bytes;
        walk.next();
    }
    walk.status()?;
    Ok(page)
}

/// A page entry that is the key alone.
pub(super) fn key_only(key: &[u8], _value: &[u8]) -> Result<(Bytes, usize), StoreError> {
    Ok((Bytes::copy_from_slice(key), key.len()))
}

/// A page entry that is the key with its record.
pub(super) fn with_record(key: &[u8], value: &[u8]) -> Result<((Bytes, KeyRecord), usize), StoreError> {
    Ok(((Bytes::copy_from_slice(key), record::decode(value)?), key.len() + value.len()))
}

/// Number of keys in a partition, all buckets together.
pub(super) fn count(engine: &Engine, partition: PartitionId) -> Result<u64, StoreError> {
    let prefix = partition.0.to_be_bytes();
    let mut walk = engine.records_between(&prefix, after_prefix(&prefix));
    let mut count = 0;
    while walk.valid() {
        count += 1;
        walk.next();
    }
    walk.status()?;
    Ok(count)
}
