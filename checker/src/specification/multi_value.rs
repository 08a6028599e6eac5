//! The live siblings of a key that takes eventual writes too.
//!
//! The state is the set of live values. An operation of the linearizable level treats it as a register does: it replaces
//! all of it, and a cas compares all of it. An eventual put replaces what its context covered and leaves the rest beside it.
//!
//! What a context covered was there before: a value that somebody replaced is never put, or back, afterwards. Unless it was put more than
//! once: a write that was tried again may come back.
//!
//! Real time orders everything, except two eventual writes: neither coordinator need have heard of the other. And an eventual
//! write that was not acknowledged by a strict quorum has no end: nobody knows when, or whether, it arrives.

use crate::history::{Seen, ValueId};
use crate::search::Specification;

/// What was done to a multi-value register, with what was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MultiValueOperation {
    /// Returned all that was live.
    Read(Seen),
    /// Replaced everything; `None` is a delete.
    Put(Option<ValueId>),
    /// Replaced exactly `expect`.
    Cas {
        /// All that was there.
        expect: Seen,
        /// What is there now.
        value: ValueId,
    },
    /// Found something else than exactly this: a failed cas that does not say what.
    Other(Seen),
    /// Replaced what its context covered; `None` is a delete.
    EventualPut {
        /// What is there now beside the rest.
        value: Option<ValueId>,
        /// What it covered, ascending.
        covered: Box<[ValueId]>,
        /// It is one of several tries.
        repeated: bool,
    },
}

/// The live values, and what was covered before it was put.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Siblings {
    /// Ascending.
    live: Vec<ValueId>,
    /// Values that contexts named and that were not put up to now: so they never may be. Ascending.
    gone: Vec<ValueId>,
}

impl Siblings {
    fn replaced_by(&self, value: Option<ValueId>) -> Option<Self> {
        let live: Vec<ValueId> = value.into_iter().collect();
        self.may_put(value).then(|| Self { live, gone: self.gone.clone() })
    }

    fn joined_by(&self, value: Option<ValueId>, covered: &[ValueId]) -> Self {
        let mut after = self.clone();
        after.live.retain(|live| covered.binary_search(live).is_err());
        after.live.extend(value);
        let absent = covered.iter().copied().filter(|value| self.live.binary_search(value).is_err());
        after.gone.extend(absent);
        for values in [&mut after.live, &mut after.gone] {
            values.sort_unstable();
            values.dedup();
        }
        after
    }

    fn may_put(&self, value: Option<ValueId>) -> bool {
        value.is_none_or(|value| self.gone.binary_search(&value).is_err())
    }
}

/// The specification; every key begins with nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct MultiValue;

impl Specification for MultiValue {
    type State = Siblings;
    type Operation = MultiValueOperation;
    /// None is named: a live value stays live beside others.
    type Trait = ();

    fn initial(&self) -> Siblings {
        Siblings::default()
    }

    fn apply(&self, state: &Siblings, operation: &MultiValueOperation) -> Option<Siblings> {
        let held = state.live.as_slice();
        match operation {
            MultiValueOperation::Read(seen) => (held == seen.values()).then(|| state.clone()),
            MultiValueOperation::Put(value) => state.replaced_by(*value),
            MultiValueOperation::Cas { expect, value } if held == expect.values() => state.replaced_by(Some(*value)),
            MultiValueOperation::Cas { .. } => None,
            MultiValueOperation::Other(not) => (held != not.values()).then(|| state.clone()),
            MultiValueOperation::EventualPut { value, covered, repeated } => {
                (*repeated || state.may_put(*value)).then(|| state.joined_by(*value, covered))
            }
        }
    }

    fn observes(&self, operation: &MultiValueOperation) -> bool {
        matches!(operation, MultiValueOperation::Read(_) | MultiValueOperation::Other(_))
    }

    /// Puts whose values nobody names are noticed only by who says what was *not* there. In an order of all, some such value is live
    /// from the first of them until a linearizable put replaces everything, so nobody looks in between.
    fn notices(&self, other: &MultiValueOperation, missing: &MultiValueOperation) -> bool {
        let put = match missing {
            MultiValueOperation::Read(_) | MultiValueOperation::Other(_) => return false,
            MultiValueOperation::Put(value) | MultiValueOperation::EventualPut { value, .. } => *value,
            MultiValueOperation::Cas { value, .. } => Some(*value),
        };
        let Some(put) = put else { return true };
        match other {
            MultiValueOperation::Read(seen) | MultiValueOperation::Cas { expect: seen, .. } => seen.values().contains(&put),
            MultiValueOperation::EventualPut { covered, .. } => covered.contains(&put),
            MultiValueOperation::Put(_) => false,
            MultiValueOperation::Other(_) => true,
        }
    }
}
