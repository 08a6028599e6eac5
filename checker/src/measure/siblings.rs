//! How many siblings were made, and how many reads had to face them.

use std::collections::BTreeSet;

use super::Measured;
use super::outcomes::kind;
use super::report::{Kind, Rate, Siblings};
use crate::by_key::{ByKey, KeyHistory};
use crate::history::ValueId;
use crate::lineage::{Lineage, Writer};

pub(super) fn of(measured: Measured<'_>) -> Siblings {
    let (mut made, mut most) = (0, 0);
    ByKey::new(measured.history).for_each(|key| made += made_on(key));
    let (mut results, mut several) = (0, 0);
    for operation in measured.operations().filter(|operation| kind(operation) == Kind::Read) {
        let Some(seen) = KeyHistory::seen(operation) else { continue };
        let values = seen.values().len() as u64;
        results += 1;
        several += u64::from(values > 1);
        most = most.max(values);
    }
    Siblings { made, reads: Rate::of(several, results), most }
}

/// Values of a key that somebody saw beside one that was called earlier.
fn made_on(key: &KeyHistory<'_>) -> u64 {
    let results = key.operations().filter_map(|(_, operation)| KeyHistory::seen(operation)).map(|seen| seen.values().to_vec());
    let finals = key.finals().map(|state| state.versions.iter().filter_map(|version| version.value).collect());
    let sets: BTreeSet<Vec<ValueId>> = results.chain(finals).filter(|values: &Vec<ValueId>| values.len() > 1).collect();
    if sets.is_empty() {
        return 0;
    }
    let lineage = Lineage::new(key);
    let mut made: BTreeSet<ValueId> = BTreeSet::new();
    for set in sets {
        // Nodes are numbered in order of call. A value that nobody or several wrote comes first: it makes no sibling that could be named.
        let mut by_call: Vec<(Option<u32>, ValueId)> = set.into_iter().map(|value| (node(&lineage, value), value)).collect();
        by_call.sort_unstable();
        made.extend(by_call.into_iter().skip(1).map(|(_, value)| value));
    }
    made.len() as u64
}

fn node(lineage: &Lineage, value: ValueId) -> Option<u32> {
    match lineage.writer(value) {
        Writer::Node(node) => Some(node),
        Writer::Failed(_) | Writer::Many | Writer::Nobody => None,
    }
}
