//! A look at the write-ahead log before RocksDB replays it: is its unreadable end a torn write, or damage?
//!
//! **Promise.** A log in which a readable record follows an unreadable one is refused. Every batch is synced before the next
//! is written, so a crash can tear the last batch only, and nothing readable can follow it. RocksDB alone cannot
//! tell: a damaged length, or a type changed to that of a recycled file, makes it take everything from there on as torn, and
//! acknowledged writes would silently be gone.
//!
//! ```text
//! file:    blocks of 32 KiB, the last one shorter; a block ends in less than 7 unused bytes
//! record:  | masked crc32c of all behind the length, u32 LE | length of the payload, u16 LE | type, u8 | payload |
//! ```
//!
//! **What it cannot see.** A log cut off exactly between two records looks like a log that was never longer.
//!
//! Sources: RocksDB, *Write Ahead Log File Format*.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

const BLOCK_BYTES: usize = 32 << 10;
const HEADER_BYTES: usize = 7;

/// Readable records follow an unreadable one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DamagedLog {
    pub(super) file: PathBuf,
    /// Where the unreadable record begins.
    pub(super) offset: u64,
}

/// Checks every log of the database in `directory`; returns the first damage it finds.
pub(super) fn check(directory: &Path) -> io::Result<Option<DamagedLog>> {
    for entry in fs::read_dir(directory)? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "log") {
            if let Some(offset) = damage(File::open(&file)?)? {
                return Ok(Some(DamagedLog { file, offset }));
            }
        }
    }
    Ok(None)
}

/// Where the first unreadable record begins, if a readable one follows it.
fn damage(mut log: impl Read) -> io::Result<Option<u64>> {
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    let mut start = 0;
    let mut unreadable = None;
    loop {
        block.clear();
        log.by_ref().take(BLOCK_BYTES as u64).read_to_end(&mut block)?;
        if block.is_empty() {
            return Ok(None);
        }
        let mut behind = block.as_slice();
        if unreadable.is_none() {
            let offset = first_unreadable(&block);
            unreadable = offset.map(|offset| start + offset as u64);
            behind = offset.map_or(&[], |offset| &block[offset + 1..]);
        }
        if holds_record(behind) {
            return Ok(unreadable);
        }
        start += block.len() as u64;
    }
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

    #[test]
    fn damage_is_found_when_the_readable_record_is_in_a_later_block() {
        let first = BLOCK_BYTES - HEADER_BYTES;
        let (mut bytes, starts) = log(&[first, first, 10]);
        bytes[starts[0] + 5] ^= 0x40;
        assert_eq!(found(&bytes), Some(0));
        let (mut bytes, starts) = log(&[first, first, 10]);
        bytes[starts[1]] ^= 1;
        assert_eq!(found(&bytes), Some(BLOCK_BYTES as u64));
        assert_eq!(found(&bytes[..2 * BLOCK_BYTES]), None, "alone at the end it is a torn record");
    }
}
