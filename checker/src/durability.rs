//! What was acknowledged or shown survives, or was replaced.
//!
//! **Promise checked.** Every acknowledged write, and every write that any read has shown, is at the end still held by some replica, or
//! was replaced by a write or delete that may have covered it.
//!
//! **How.** The values held by any replica at the end are roots, and so is every delete that did not fail. What they may cover, directly
//! or through others, is excused (see [`siblings`](crate::siblings) for why an unknown write that left no trace excuses nothing). The
//! rest must be there. A *case* is a write that was acknowledged or shown, on a key whose end is known. Linear in the operations and in
//! what `covers` lists, after sorting.
//!
//! **The end** is what the final states say. If the history has any final states, a key without one is held by nobody. Without any,
//! the reads called at or after `quiet` (and after every acknowledged change of their key) stand in: give a time when all faults were
//! healed and repairs done.
//!
//! **Not here.** That *every* replica holds it: `siblings` and `convergence`. Exempt writes are the caller's to name.

use std::fmt;

use crate::by_key::{ByKey, KeyHistory};
use crate::finding::{Allowances, Evidence, Judgement, op};
use crate::history::{History, KeyId, Nanos, ValueId};
use crate::lineage::Lineage;

/// A write that is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The key.
    pub key: KeyId,
    /// The write.
    pub write: usize,
    /// The first read that showed it, if one did.
    pub shown: Option<usize>,
    /// Whether it was acknowledged.
    pub acknowledged: bool,
}

impl Evidence for Violation {
    fn kind(&self) -> &'static str {
        if self.acknowledged { "acknowledged-write-gone" } else { "shown-write-gone" }
    }

    fn key(&self) -> KeyId {
        self.key
    }

    fn operations(&self) -> Vec<usize> {
        [self.write].into_iter().chain(self.shown).collect()
    }

    fn tell(&self, history: &History, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", op(history, self.write))?;
        if let Some(read) = self.shown {
            write!(f, ", and {}", op(history, read))?;
        }
        write!(f, "; at the end nobody holds it, and nothing that is left replaced it")
    }
}

/// Judges every write that was acknowledged or shown. Without final states, reads called at or after `quiet` tell the end.
#[must_use]
pub fn check(history: &History, quiet: Option<Nanos>, allow: &Allowances<'_>) -> Judgement<Violation> {
    let mut judgement = Judgement::default();
    ByKey::new(history).for_each(|key| {
        if let Some(held) = held(key, quiet) {
            check_key(key, &held, allow, &mut judgement);
        }
    });
    judgement
}

/// The values held by anybody at the end, ascending; `None` if that is not known.
fn held(key: &KeyHistory<'_>, quiet: Option<Nanos>) -> Option<Vec<ValueId>> {
    let mut held: Vec<ValueId> = Vec::new();
    if key.history.finals.is_empty() {
        let mut known = false;
        for (_, seen) in key.last_reads(quiet) {
            known = true;
            held.extend_from_slice(seen.values());
        }
        if !known {
            return None;
        }
    } else {
        held.extend(key.finals().flat_map(|state| &state.versions).filter_map(|version| version.value));
    }
    held.sort_unstable();
    held.dedup();
    Some(held)
}

fn check_key(key: &KeyHistory<'_>, held: &[ValueId], allow: &Allowances<'_>, judgement: &mut Judgement<Violation>) {
    let lineage = Lineage::new(key);
    let (live, opaque) = lineage.resolve(held);
    let replaceable = lineage.replaceable(&live, allow.vanished);
    let mut shown: Vec<Option<usize>> = vec![None; lineage.writes.len()];
    for read in &lineage.reads {
        for node in lineage.shown(read) {
            shown[*node as usize].get_or_insert(read.op);
        }
    }
    for node in lineage.nodes() {
        let (write, shown) = (lineage.node(node), shown[node as usize]);
        if write.value.is_none() || write.twin || (!write.acked && shown.is_none()) || (allow.vanished)(write.op) {
            continue;
        }
        judgement.judged += 1;
        if !opaque && !replaceable[node as usize] && live.binary_search(&node).is_err() {
            judgement.violations.push(Violation { key: key.key, write: write.op, shown, acknowledged: write.acked });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Script;

    fn gone(script: &Script) -> Vec<usize> {
        check(&script.history, None, &Allowances::NONE).violations.iter().map(|violation| violation.write).collect()
    }

    #[test]
    fn replaced_write_is_not_gone() {
        let mut script = Script::new();
        script.put(1, "a", &[], 0, 1);
        script.unknown_put(1, "b", &["a"], 2);
        script.put(1, "c", &["b"], 4, 5);
        script.holds("n1", &[("n1:3", Some("c"))]);
        assert_eq!(gone(&script), [0; 0]);
    }

    #[test]
    fn acknowledged_write_that_nobody_holds_is_gone() {
        let mut script = Script::new();
        let lost = script.put(1, "a", &[], 0, 1);
        script.put(2, "b", &[], 2, 3);
        script.holds("n1", &[("n1:2", Some("b"))]);
        assert_eq!(gone(&script), [lost]);
        let exempt = Allowances { vanished: &|index| index == lost, ..Allowances::NONE };
        assert!(check(&script.history, None, &exempt).is_clean());
    }

    #[test]
    fn unknown_write_binds_only_once_shown() {
        let mut script = Script::new();
        let write = script.unknown_put(1, "a", &[], 0);
        script.holds("n1", &[]);
        assert_eq!(gone(&script), [0; 0]);
        let read = script.read(2, &["a"], 5, 6);
        let judgement = check(&script.history, None, &Allowances::NONE);
        assert_eq!(judgement.violations[0].operations(), [write, read]);
        assert_eq!(judgement.violations[0].kind(), "shown-write-gone");
    }

    #[test]
    fn unknown_write_without_a_trace_replaces_nothing() {
        let mut script = Script::new();
        let lost = script.put(1, "a", &[], 0, 1);
        script.unknown_put(1, "b", &["a"], 2);
        script.holds("n1", &[]);
        assert_eq!(gone(&script), [lost]);
    }

    #[test]
    fn unknown_delete_may_have_removed_it() {
        let mut script = Script::new();
        script.put(1, "a", &[], 0, 1);
        script.unknown_delete(1, Some(&["a"]), 2);
        script.holds("n1", &[]);
        assert_eq!(gone(&script), [0; 0]);
    }

    #[test]
    fn key_without_a_final_state_is_held_by_nobody() {
        let mut script = Script::new();
        let lost = script.write(1, "a", 0, 1);
        script.key("other");
        script.holds("n1", &[]);
        assert_eq!(gone(&script), [lost]);
    }

    #[test]
    fn last_reads_stand_in_for_final_states() {
        let mut script = Script::new();
        script.write(1, "a", 0, 1);
        let lost = script.write(1, "b", 2, 3);
        script.read(1, &["a"], 100, 101);
        assert_eq!(check(&script.history, None, &Allowances::NONE).judged, 0);
        let judgement = check(&script.history, Some(100), &Allowances::NONE);
        assert_eq!(judgement.violations.iter().map(|violation| violation.write).collect::<Vec<_>>(), [lost]);
    }

    #[test]
    fn without_covers_only_a_write_that_began_after_all_others_ended_is_gone() {
        let mut script = Script::new();
        script.write(1, "a", 0, 10);
        script.write(2, "b", 5, 15);
        script.holds("n1", &[("d", Some("a"))]);
        assert_eq!(gone(&script), [0; 0], "a overlaps b and may have replaced it");
    }
}
