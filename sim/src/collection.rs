//! Values that are sets or counters: what clients merge when they find siblings.
//!
//! **Shape.** `s:c1.3,c2.4` is a set of elements, each of which only one client adds, once. `n:c1=3,c2=4@c1.17` is a counter in parts: a
//! client only ever raises its own part, and the merge of two takes the higher of each. What stands behind the `@` names the write, so
//! that nobody writes a counter's value again either: after an unknown outcome a client raises its part to the same number once more.
//!
//! Source: Shapiro, Preguiça, Baquero, Zawirski, *A Comprehensive Study of CRDTs* (2011), G-Set and G-Counter.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

/// A set or a counter, by what it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Collection {
    pub(crate) elements: BTreeSet<(u8, u64)>,
    pub(crate) counts: BTreeMap<u8, u64>,
    /// The client and the number of the write that a counter is about to be.
    write: Option<(u8, u64)>,
}

impl Collection {
    /// Reads a value; what is neither set nor counter holds nothing.
    pub(crate) fn of(text: &str) -> Self {
        let mut collection = Self::default();
        let parts = |list: &str, between: char| -> Vec<(u8, u64)> {
            let pairs = list.split(',').filter_map(|part| part.strip_prefix('c')?.split_once(between));
            pairs.filter_map(|(client, number)| Some((client.parse().ok()?, number.parse().ok()?))).collect()
        };
        if let Some(list) = text.strip_prefix("s:") {
            collection.elements.extend(parts(list, '.'));
        }
        if let Some(counter) = text.strip_prefix("n:") {
            let (list, _) = counter.split_once('@').unwrap_or((counter, ""));
            collection.counts.extend(parts(list, '='));
        }
        collection
    }

    /// The merge of several values.
    pub(crate) fn merged<'a>(values: impl IntoIterator<Item = &'a Bytes>) -> Self {
        let texts = values.into_iter().map(|value| std::str::from_utf8(value).unwrap_or_default());
        texts.map(Self::of).fold(Self::default(), Self::merge)
    }

    pub(crate) fn merge(mut self, other: Self) -> Self {
        self.elements.extend(other.elements);
        for (client, count) in other.counts {
            let own = self.counts.entry(client).or_default();
            *own = count.max(*own);
        }
        self
    }

    pub(crate) fn add(&mut self, client: u8, number: u64) {
        self.elements.insert((client, number));
    }

    /// Raises a client's part, in its write of this number.
    pub(crate) fn count(&mut self, client: u8, write: u64) {
        *self.counts.entry(client).or_default() += 1;
        self.write = Some((client, write));
    }

    pub(crate) fn to_value(&self) -> Bytes {
        let text = if self.counts.is_empty() {
            let parts: Vec<String> = self.elements.iter().map(|(client, number)| format!("c{client}.{number}")).collect();
            format!("s:{}", parts.join(","))
        } else {
            let parts: Vec<String> = self.counts.iter().map(|(client, count)| format!("c{client}={count}")).collect();
            let write = self.write.map(|(client, number)| format!("@c{client}.{number}")).unwrap_or_default();
            format!("n:{}{write}", parts.join(","))
        };
        Bytes::from(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_they_are_written_and_merged() {
        let mut set = Collection::default();
        set.add(1, 3);
        set.add(2, 1);
        assert_eq!(set.to_value(), Bytes::from("s:c1.3,c2.1"));
        let mut counter = Collection::default();
        counter.count(4, 7);
        counter.count(4, 9);
        assert_eq!(counter.to_value(), Bytes::from("n:c4=2@c4.9"));
        assert_eq!(Collection::of("n:c4=2@c4.9").counts, counter.counts);
        let merged = Collection::merged([&Bytes::from("n:c4=2,c1=5@c1.6"), &Bytes::from("n:c4=3")]);
        assert_eq!(merged.counts, BTreeMap::from([(4, 3), (1, 5)]));
        assert_eq!(Collection::of("other"), Collection::default());
    }
}
