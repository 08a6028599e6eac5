//! Texts and their numbers, for tens of millions of look-ups.
//!
//! Numbers are given in the order in which texts first come, so the same history has the same numbers in every process. The index
//! is an open table of numbers, found by a hash that is fixed for ever; nobody can iterate over it.
//!
//! All texts stand behind one another in one string, so a text costs its bytes and sixteen more.

use xxhash_rust::xxh3::xxh3_64;

/// An empty place of the index.
const EMPTY: u32 = u32::MAX;
const SLOTS_MIN: usize = 16;

/// Texts of one kind.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    /// All texts, one behind the other.
    bytes: String,
    /// Where each text ends in `bytes`.
    ends: Vec<usize>,
    /// Numbers of texts, placed by their hash; a power of two, at most half full.
    slots: Vec<u32>,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn text(&self, number: u32) -> &str {
        let number = number as usize;
        let begin = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[begin..self.ends[number]]
    }

    /// The number of a text, a new one if it has none.
    pub(super) fn intern(&mut self, text: &str) -> u32 {
        if self.slots.len() < 2 * (self.len() + 1) {
            self.grow();
        }
        let slot = self.slot(text);
        if self.slots[slot] == EMPTY {
            self.slots[slot] = u32::try_from(self.len()).ok().filter(|&number| number != EMPTY).expect("fewer than 2^32 names");
            self.bytes.push_str(text);
            self.ends.push(self.bytes.len());
        }
        self.slots[slot]
    }

    /// Where the text's number stands, or would.
    fn slot(&self, text: &str) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = home(text, mask);
        while self.slots[slot] != EMPTY && self.text(self.slots[slot]) != text {
            slot = (slot + 1) & mask;
        }
        slot
    }

    fn grow(&mut self) {
        let size = (2 * self.slots.len()).max(SLOTS_MIN);
        let mut slots = vec![EMPTY; size];
        for number in 0..self.len() {
            let number = u32::try_from(number).expect("fewer than 2^32 names");
            let mut slot = home(self.text(number), size - 1);
            while slots[slot] != EMPTY {
                slot = (slot + 1) & (size - 1);
            }
            slots[slot] = number;
        }
        self.slots = slots;
    }
}

/// Where the search for a text begins.
fn home(text: &str, mask: usize) -> usize {
    let hash = xxh3_64(text.as_bytes());
    usize::try_from(hash & mask as u64).expect("not above the mask")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn equal_numbers_mean_equal_texts() {
        let mut table = Table::default();
        let mut twin = BTreeMap::new();
        for at in 0..10_000_u32 {
            let text = format!("{}", at.wrapping_mul(2_654_435_761) % 3_000);
            let next = u32::try_from(twin.len()).expect("small");
            let number = *twin.entry(text.clone()).or_insert(next);
            assert_eq!(table.intern(&text), number);
            assert_eq!(table.text(number), text);
        }
        assert_eq!(table.len(), twin.len());
        assert_eq!(table.intern(""), u32::try_from(twin.len()).expect("small"));
        assert_eq!(table.text(u32::try_from(twin.len()).expect("small")), "");
    }
}
