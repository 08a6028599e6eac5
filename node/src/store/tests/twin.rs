//! The store against a dumb twin: two maps, one of what was applied and one of what is durable.

use std::collections::BTreeMap;
use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::store::commit::commit;

const NAMES: [&str; 3] = ["a", "b", "c"];

#[derive(Clone, Debug)]
enum Step {
    /// Count a key up.
    Change(usize),
    /// Run a transition that changes nothing.
    Look(usize),
    /// Reset a key to the default.
    Clear(usize),
    /// Take one batch of at most `BATCH` writes to the disk.
    Commit,
}

const BATCH: usize = 2;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = 0..NAMES.len();
    let step = prop_oneof![
        4 => name.clone().prop_map(Step::Change),
        2 => name.clone().prop_map(Step::Look),
        1 => name.prop_map(Step::Clear),
        3 => Just(Step::Commit),
    ];
    prop::collection::vec(step, 1..60)
}

#[derive(Default)]
struct Twin {
    applied: BTreeMap<usize, u64>,
    durable: BTreeMap<usize, u64>,
    queued: Vec<(usize, u64)>,
}

impl Twin {
    fn applied(&self, name: usize) -> u64 {
        self.applied.get(&name).copied().unwrap_or(0)
    }

    /// Applies a new count; returns whether it is durable at once.
    fn apply(&mut self, name: usize, count: u64) -> bool {
        if self.applied(name) != count {
            self.applied.insert(name, count);
            self.queued.push((name, count));
        }
        self.queued.iter().all(|(queued, _)| *queued != name)
    }

    fn commit(&mut self) {
        let count = self.queued.len().min(BATCH);
        self.durable.extend(self.queued.drain(..count));
    }
}

fn check(steps: &[Step]) -> Result<(), TestCaseError> {
    let place = Place::new();
    let store = stalled(&place, &StoreOptions { batch_writes_max: BATCH, ..small() });
    let mut twin = Twin::default();
    for step in steps {
        let (name, count, update) = match step {
            Step::Change(name) => (*name, twin.applied(*name) + 1, queue_bump(&store, NAMES[*name])),
            Step::Look(name) => {
                let look = store.update(&key(NAMES[*name]), Durability::Synced, |record| counted(Some(record)));
                (*name, twin.applied(*name), look)
            }
            Step::Clear(name) => {
                let clear = |record: &mut KeyRecord| {
                    *record = KeyRecord::default();
                    counted(Some(record))
                };
                (*name, 0, store.update(&key(NAMES[*name]), Durability::Synced, clear))
            }
            Step::Commit => {
                if !twin.queued.is_empty() {
                    commit(&store.shared, store.shared.queue.take_batch(Instant::now()).expect("the queue is open"));
                }
                twin.commit();
                continue;
            }
        };
        let (seen, commit) = update.expect("below every limit");
        prop_assert_eq!(seen, count);
        prop_assert_eq!(commit.is_durable(), twin.apply(name, count), "{:?}", step);
        for (index, name) in NAMES.iter().enumerate() {
            prop_assert_eq!(durable_count(&store, name), twin.durable.get(&index).copied().unwrap_or(0));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_store_shows_what_is_durable_and_changes_what_is_applied(steps in steps()) {
        check(&steps)?;
    }
}
