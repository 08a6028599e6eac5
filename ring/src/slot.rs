//! The slot function: which of 16384 slots a key falls into.
//!
//! It is the function of Redis Cluster, bit for bit, because clients in every language know it: CRC16 in the XMODEM
//! variant (polynomial 0x1021, start value 0, nothing reflected), modulo 16384.
//!
//! Keys that shall live together carry a *tag*: upon a key that contains `{`, and after the first of them a `}`, and
//! between this `{` and the first `}` after it at least one byte, only these bytes are hashed. Every other key is hashed
//! whole. So `{user1000}.following` and `{user1000}.followers` share a slot, while `foo{}{bar}` is hashed whole.
//!
//! Sources: Redis Cluster specification, "Key distribution model" and "Hash tags".

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Number of slots. Fixed for ever: it is part of what clients compute.
pub const SLOTS: u16 = 16384;

const _: () = assert!(SLOTS.is_power_of_two(), "partitions are equal runs of slots only if both are powers of two");

/// One of [`SLOTS`] classes of keys, `0..SLOTS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Slot(u16);

impl Slot {
    /// The slot of this number.
    ///
    /// # Errors
    /// [`SlotError`] if there is no such slot.
    pub fn new(number: u16) -> Result<Self, SlotError> {
        if number < SLOTS { Ok(Slot(number)) } else { Err(SlotError { number }) }
    }

    /// Its number, `0..SLOTS`.
    pub fn number(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<u16> for Slot {
    type Error = SlotError;

    fn try_from(number: u16) -> Result<Self, SlotError> {
        Slot::new(number)
    }
}

impl From<Slot> for u16 {
    fn from(slot: Slot) -> u16 {
        slot.0
    }
}

/// There is no slot of this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("there are {SLOTS} slots, no slot {number}")]
pub struct SlotError {
    /// The refused number.
    pub number: u16,
}

/// Finds the slot of a key: of its tag if it has one, otherwise of the whole key. The empty key has slot 0.
pub fn slot_of(key: &[u8]) -> Slot {
    Slot(crc16::State::<crc16::XMODEM>::calculate(tag(key).unwrap_or(key)) % SLOTS)
}

/// What stands between the first `{` and the first `}` after it, unless that is nothing.
fn tag(key: &[u8]) -> Option<&[u8]> {
    let open = key.iter().position(|&byte| byte == b'{')?;
    let content = &key[open + 1..];
    let close = content.iter().position(|&byte| byte == b'}')?;
    (close > 0).then(|| &content[..close])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// CRC16 by the definition, one bit at a time: the dumb twin of the table-driven library.
    fn crc16_bit_by_bit(bytes: &[u8]) -> u16 {
        let mut crc = 0u16;
        for &byte in bytes {
            crc ^= u16::from(byte) << 8;
            for _ in 0..8 {
                crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            }
        }
        crc
    }

    #[test]
    fn slots_are_those_of_redis_cluster() {
        assert_eq!(slot_of(b"123456789").number(), 0x31C3);
        assert_eq!(slot_of(b"foo").number(), 12182);
        assert_eq!(slot_of(b"bar").number(), 5061);
        assert_eq!(slot_of(b"hello").number(), 866);
        assert_eq!(slot_of(b"").number(), 0);
    }

    #[test]
    fn keys_of_one_tag_share_a_slot() {
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"{user1000}.followers"));
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"user1000"));
        assert_eq!(slot_of(b"before{user1000}"), slot_of(b"user1000"));
    }

    #[test]
    fn tag_runs_from_the_first_brace_to_the_first_closing_one_after_it() {
        assert_eq!(tag(b"foo{{bar}}zap"), Some(&b"{bar"[..]));
        assert_eq!(tag(b"foo{bar}{zap}"), Some(&b"bar"[..]));
        assert_eq!(tag(b"}foo{bar}"), Some(&b"bar"[..]));
        assert_eq!(tag(b"{\0}"), Some(&b"\0"[..]));
    }

    #[test]
    fn key_without_a_proper_tag_is_hashed_whole() {
        for key in [&b"foo{}{bar}"[..], b"{}", b"foo{bar", b"foo}bar", b"}{", b"{", b""] {
            assert_eq!(tag(key), None, "{key:?}");
            assert_eq!(slot_of(key).number(), crc16_bit_by_bit(key) % SLOTS, "{key:?}");
        }
    }

    #[test]
    fn slot_beyond_the_last_is_refused() {
        assert_eq!(Slot::new(SLOTS - 1).map(Slot::number), Ok(SLOTS - 1));
        assert_eq!(Slot::new(SLOTS), Err(SlotError { number: SLOTS }));
        assert!(serde_json::from_str::<Slot>("16384").is_err());
        assert_eq!(serde_json::from_str::<Slot>("16383").expect("deserialises").number(), 16383);
    }

    proptest! {
        #[test]
        fn library_agrees_with_the_definition(key in proptest::collection::vec(any::<u8>(), 0..64)) {
            let hashed = tag(&key).unwrap_or(&key);
            prop_assert_eq!(slot_of(&key).number(), crc16_bit_by_bit(hashed) % SLOTS);
        }

        #[test]
        fn what_surrounds_a_tag_does_not_matter(
            before in "[a-z}]{0,8}", content in "[a-z{]{1,8}", after in "[a-z{}]{0,8}",
        ) {
            let tagged = format!("{before}{{{content}}}{after}");
            prop_assert_eq!(tag(tagged.as_bytes()), Some(content.as_bytes()));
        }
    }
}
