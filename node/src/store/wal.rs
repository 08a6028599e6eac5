//! A look at the write-ahead log and the manifest before RocksDB replays them: is an unreadable end a torn write, or damage?
//!
//! **Promise.** A file passes only if all of it is readable up to an end that a crash can leave. Every batch is synced before
//! the next is written, so a crash tears the last record only, and a torn record is a prefix of what was written. Whatever
//! else is unreadable is damage, and what lies behind it may have been acknowledged.
//!
//! RocksDB alone does not keep this promise, even with the strictest recovery mode that forgives a torn end: one flipped bit
//! in a length near the end of a file makes it take all that follows as torn and open without it, and one in a type can make
//! it search for the end of the file for ever.
//!
//! ```text
//! file:    blocks of 32 KiB, the last one shorter; a block ends in less than 7 unused bytes
//! record:  | masked crc32c of all behind the length, u32 LE | length of the payload, u16 LE | type, u8 | payload |
//! ```
//!
//! **Torn** is an end of less than a header, a record whose length leads beyond the end of the file, or zeros up to the end
//! (space that was allocated and not written). A readable record behind it makes it damage after all.
//!
//! **What it cannot see.** A file cut off between two records looks like one that was never longer, and a damaged length in
//! the very last record looks like a torn write.
//!
//! Sources: RocksDB, *Write Ahead Log File Format*.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

const BLOCK_BYTES: usize = 32 << 10;
const HEADER_BYTES: usize = 7;

/// Types of records that this store's files hold: whole, first, middle and last part, and what precedes a log.
const TYPES: [u8; 5] = [1, 2, 3, 4, 130];

/// A file holds an unreadable record that no crash leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DamagedLog {
    pub(super) file: PathBuf,
    /// Where the unreadable record begins.
    pub(super) offset: u64,
}

/// Checks every log and manifest of the database in `directory`; returns the first damage it finds.
pub(super) fn check(directory: &Path) -> io::Result<Option<DamagedLog>> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let (file, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if !name.ends_with(".log") && !name.starts_with("MANIFEST-") {
            continue;
        }
        if let Some(offset) = damage(File::open(&file)?)? {
            return Ok(Some(DamagedLog { file, offset }));
        }
    }
    Ok(None)
}

/// Where the first unreadable record begins, unless it is a torn end.
fn damage(mut log: impl Read) -> io::Result<Option<u64>> {
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    let mut start = 0;
    loop {
        block.clear();
        log.by_ref().take(BLOCK_BYTES as u64).read_to_end(&mut block)?;
        if block.is_empty() {
            return Ok(None);
        }
        if let Some(offset) = first_unreadable(&block) {
            let mut end = block.split_off(offset);
            log.read_to_end(&mut end)?;
            return Ok((!is_torn(&end)).then_some(start + offset as u64));
        }
        start += block.len() as u64;
    }
}

/// Whether a crash may have left `end`, which begins with an unreadable record.
fn is_torn(end: &[u8]) -> bool {
    let Some(([.., l0, l1, kind], rest)) = end.split_first_chunk::<HEADER_BYTES>() else {
        return true;
    };
    if end.iter().all(|byte| *byte == 0) {
        return true;
    }
    let cut_off = TYPES.contains(kind) && rest.len() < usize::from(u16::from_le_bytes([*l0, *l1]));
    cut_off && !holds_record(rest)
}

/// Offset in the block of the first record that is cut off or fails its checksum.
fn first_unreadable(block: &[u8]) -> Option<usize> {
    let mut offset = 0;
    while BLOCK_BYTES - offset >= HEADER_BYTES && offset < block.len() {
        match record_bytes(&block[offset..]) {
            Some(bytes) => offset += bytes,
            None => return Some(offset),
        }
    }
    None
}

/// Whether a readable record begins anywhere in `bytes`.
fn holds_record(bytes: &[u8]) -> bool {
    (0..bytes.len()).any(|offset| record_bytes(&bytes[offset..]).is_some())
}

/// Length of the record, header included, that `bytes` begin with; `None` if it is not all there or fails its checksum.
fn record_bytes(bytes: &[u8]) -> Option<usize> {
    let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    let [c0, c1, c2, c3, l0, l1, kind] = *header;
    let payload = rest.get(..usize::from(u16::from_le_bytes([l0, l1])))?;
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&[kind]), payload);
    (u32::from_le_bytes([c0, c1, c2, c3]) == masked(checksum)).then_some(HEADER_BYTES + payload.len())
}

/// RocksDB masks the checksums it stores, so that the checksum of bytes that contain checksums stays a good one.
fn masked(checksum: u32) -> u32 {
    checksum.rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log of records with payloads of the given lengths, and where each record begins.
    fn log(lengths: &[usize]) -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut starts) = (Vec::new(), Vec::new());
        for (index, length) in lengths.iter().enumerate() {
            starts.push(bytes.len());
            let payload = vec![index as u8; *length];
            let checksum = crc32c::crc32c_append(crc32c::crc32c(&[1]), &payload);
            bytes.extend(masked(checksum).to_le_bytes());
            bytes.extend((*length as u16).to_le_bytes());
            bytes.push(1);
            bytes.extend(payload);
        }
        (bytes, starts)
    }

    fn found(bytes: &[u8]) -> Option<u64> {
        damage(bytes).expect("memory can be read")
    }

    #[test]
    fn a_whole_log_and_a_torn_one_pass() {
        let (bytes, _) = log(&[100, 0, 50]);
        for end in 0..=bytes.len() {
            assert_eq!(found(&bytes[..end]), None, "torn after {end} bytes");
        }
        assert_eq!(found(&[bytes.as_slice(), &[0; 2 * BLOCK_BYTES]].concat()), None, "allocated and not written");
    }

    #[test]
    fn any_flipped_bit_before_the_last_record_is_damage_at_its_record() {
        let (bytes, starts) = log(&[60, 0, 50, 9]);
        for position in 0..starts[3] {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[position] ^= 1 << bit;
                let record = starts.iter().rev().find(|start| **start <= position).expect("the first is at 0");
                assert_eq!(found(&flipped), Some(*record as u64), "bit {bit} of byte {position}");
            }
        }
    }

    /// RocksDB takes the types of recycled files for records of another log and never finds the end.
    #[test]
    fn a_flipped_bit_in_the_last_record_is_damage_unless_it_makes_the_record_longer() {
        let (bytes, starts) = log(&[60, 9]);
        for position in starts[1]..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[position] ^= 1 << bit;
                let length = u16::from_le_bytes([flipped[starts[1] + 4], flipped[starts[1] + 5]]);
                let expected = (length <= 9).then_some(starts[1] as u64);
                assert_eq!(found(&flipped), expected, "bit {bit} of byte {position}");
            }
        }
    }

    #[test]
    fn damage_is_found_when_the_readable_record_is_in_a_later_block() {
        let first = BLOCK_BYTES - HEADER_BYTES;
        let (mut bytes, starts) = log(&[first, first, 10]);
        bytes[starts[1] + 5] ^= 0x80;
        assert_eq!(found(&bytes), Some(BLOCK_BYTES as u64));
        assert_eq!(found(&bytes[..2 * BLOCK_BYTES]), None, "alone at the end it is a torn record");
    }
}
