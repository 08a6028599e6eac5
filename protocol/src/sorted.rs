//! Maps of a few entries, kept as one sorted run of memory.
//!
//! Contexts, sibling sets and tables of operations mostly hold one to three entries and are made, copied and compared with every
//! message: a tree would take a kilobyte or two for the first entry. Their postcard bytes are those of any map.

use std::fmt;
use std::marker::PhantomData;

use litemap::LiteMap;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

/// Most entries that are made room for before they were seen: bytes may claim any number.
const ROOM_MAX: usize = 64;

/// Decodes a map whose keys must come in order, each once: there is one encoding of each map.
pub(crate) fn map<'de, D, K, V>(deserializer: D) -> Result<LiteMap<K, V>, D::Error>
where
    D: Deserializer<'de>,
    K: Deserialize<'de> + Ord,
    V: Deserialize<'de>,
{
    deserializer.deserialize_map(Entries(PhantomData))
}

struct Entries<K, V>(PhantomData<fn() -> (K, V)>);

impl<'de, K: Deserialize<'de> + Ord, V: Deserialize<'de>> Visitor<'de> for Entries<K, V> {
    type Value = LiteMap<K, V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map in the order of its keys")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut map = LiteMap::with_capacity(entries.size_hint().unwrap_or(0).min(ROOM_MAX));
        while let Some((key, value)) = entries.next_entry()? {
            if map.try_append(key, value).is_some() {
                return Err(A::Error::custom("a map is not in the order of its keys"));
            }
        }
        Ok(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
    struct Map(#[serde(deserialize_with = "map")] LiteMap<u32, u8>);

    #[test]
    fn a_map_is_encoded_as_a_tree_is_and_read_back() {
        let entries: Vec<(u32, u8)> = (0..200).map(|n| (n, 7)).collect();
        let map = Map(entries.iter().copied().collect());
        let bytes = postcard::to_stdvec(&map).expect("encodes");
        let tree: std::collections::BTreeMap<u32, u8> = entries.into_iter().collect();
        assert_eq!(bytes, postcard::to_stdvec(&tree).expect("encodes"));
        assert_eq!(postcard::from_bytes::<Map>(&bytes), Ok(map));
    }

    #[test]
    fn entries_out_of_order_or_twice_do_not_decode() {
        for entries in [vec![(2_u32, 7_u8), (1, 7)], vec![(1, 7), (1, 7)]] {
            let bytes = postcard::to_stdvec(&entries).expect("encodes");
            assert!(postcard::from_bytes::<Map>(&bytes).is_err(), "{entries:?}");
        }
    }

    #[test]
    fn a_claim_of_many_entries_takes_no_memory() {
        let bytes = postcard::to_stdvec(&(u64::MAX, 1_u8)).expect("encodes");
        assert!(postcard::from_bytes::<Map>(&bytes).is_err());
    }
}
