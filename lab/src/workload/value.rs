//! Values that prove who wrote them, and for which key.
//!
//! **Promise.** A value that [`Stamp::read`] accepts was made by [`Stamp::to_value`], whole and unchanged: not torn, not mixed from
//! two, not of other data. The stamp says which run, writer, write and key it was, so that a read names its write.
//!
//! ```text
//! | "qb" | writer u16 | run u32 | sequence u64 | key u64 | crc32c u32 | filler ..        all big-endian
//!                                                          over everything else, filler included
//! ```

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use super::KeyNumber;

const MAGIC: [u8; 2] = *b"qb";
const CHECKED_BYTES: usize = 24;

/// Shortest value that holds a stamp.
pub const VALUE_BYTES_MIN: usize = CHECKED_BYTES + 4;

/// The number of a worker within its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Writer(pub u16);

/// Which write made a value. Written `5e1f00c3.7.42`: run, writer, sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// Drawn per run, so that values of different runs differ.
    pub run: u32,
    /// Who wrote it.
    pub writer: Writer,
    /// The writer's how-manieth write, from 1.
    pub sequence: u64,
    /// The key it was written to.
    pub key: KeyNumber,
}

/// The value holds no valid stamp: nobody wrote it like this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a value of {bytes} bytes that no benchmark wrote, or that was changed afterwards")]
pub struct Damaged {
    /// Its length.
    pub bytes: usize,
}

impl Stamp {
    /// The value that this write puts.
    ///
    /// # Panics
    /// If `value_bytes` is below [`VALUE_BYTES_MIN`].
    #[must_use]
    pub fn to_value(&self, value_bytes: usize) -> Bytes {
        assert!(value_bytes >= VALUE_BYTES_MIN, "a value has room for its stamp");
        let mut value = BytesMut::with_capacity(value_bytes);
        value.put_slice(&MAGIC);
        value.put_u16(self.writer.0);
        value.put_u32(self.run);
        value.put_u64(self.sequence);
        value.put_u64(self.key.0);
        value.put_u32(0);
        value.put_bytes(b'.', value_bytes - VALUE_BYTES_MIN);
        let checksum = checksum(&value).to_be_bytes();
        value[CHECKED_BYTES..VALUE_BYTES_MIN].copy_from_slice(&checksum);
        value.freeze()
    }

    /// Which write made this value.
    ///
    /// # Errors
    /// [`Damaged`] if it is not one of ours, unchanged.
    pub fn read(value: &[u8]) -> Result<Self, Damaged> {
        let damaged = Damaged { bytes: value.len() };
        let Some((header, _)) = value.split_first_chunk::<VALUE_BYTES_MIN>() else { return Err(damaged) };
        let written = u32::from_be_bytes(part(header, CHECKED_BYTES));
        if header[..2] != MAGIC || checksum(value) != written {
            return Err(damaged);
        }
        Ok(Self {
            writer: Writer(u16::from_be_bytes(part(header, 2))),
            run: u32::from_be_bytes(part(header, 4)),
            sequence: u64::from_be_bytes(part(header, 8)),
            key: KeyNumber(u64::from_be_bytes(part(header, 16))),
        })
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}.{}.{}", self.run, self.writer.0, self.sequence)
    }
}

fn part<const N: usize>(header: &[u8; VALUE_BYTES_MIN], at: usize) -> [u8; N] {
    let mut part = [0; N];
    part.copy_from_slice(&header[at..at + N]);
    part
}

fn checksum(value: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&value[..CHECKED_BYTES]), &value[VALUE_BYTES_MIN..])
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { run: 0x5e1f_00c3, writer: Writer(7), sequence: 42, key: KeyNumber(9_999) };

    #[test]
    fn a_value_says_which_write_it_was() {
        for bytes in [VALUE_BYTES_MIN, 128, 5_000] {
            let value = STAMP.to_value(bytes);
            assert_eq!((value.len(), Stamp::read(&value)), (bytes, Ok(STAMP)));
        }
        assert_eq!(STAMP.to_string(), "5e1f00c3.7.42");
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let value = STAMP.to_value(48);
        for bit in 0..value.len() * 8 {
            let mut changed = value.to_vec();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Stamp::read(&changed), Err(Damaged { bytes: 48 }), "bit {bit}");
        }
        for length in 0..value.len() {
            assert!(Stamp::read(&value[..length]).is_err(), "cut to {length}");
        }
    }

    #[test]
    fn two_halves_of_different_values_are_no_value() {
        let other = Stamp { sequence: 43, ..STAMP }.to_value(64);
        let torn: Vec<u8> = STAMP.to_value(64)[..20].iter().chain(&other[20..]).copied().collect();
        assert!(Stamp::read(&torn).is_err());
    }
}
