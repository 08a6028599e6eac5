//! One value or none: read, write, delete, cas.

use crate::history::ValueId;
use crate::search::Specification;

/// A value, or `None` for absence.
pub type Held = Option<ValueId>;

/// What was done to a register, with what was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterOperation {
    /// Returned this. A failed cas that says what it observed is such a read.
    Read(Held),
    /// Put this; absence is a delete.
    Write(Held),
    /// Replaced `expect` by `value`.
    Cas {
        /// What was there.
        expect: Held,
        /// What is there now.
        value: Held,
    },
    /// Found something else than this: a failed cas that does not say what.
    Other(Held),
}

/// The specification; every key begins absent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Register;

impl Specification for Register {
    type State = Held;
    type Operation = RegisterOperation;
    type Trait = Held;

    fn initial(&self) -> Held {
        None
    }

    fn apply(&self, state: &Held, operation: &RegisterOperation) -> Option<Held> {
        match *operation {
            RegisterOperation::Read(seen) => (*state == seen).then_some(*state),
            RegisterOperation::Write(value) => Some(value),
            RegisterOperation::Cas { expect, value } => (*state == expect).then_some(value),
            RegisterOperation::Other(not) => (*state != not).then_some(*state),
        }
    }

    fn observes(&self, operation: &RegisterOperation) -> bool {
        matches!(operation, RegisterOperation::Read(_) | RegisterOperation::Other(_))
    }

    fn need(&self, operation: &RegisterOperation) -> Option<Held> {
        match *operation {
            RegisterOperation::Read(seen) | RegisterOperation::Cas { expect: seen, .. } => Some(seen),
            RegisterOperation::Write(_) | RegisterOperation::Other(_) => None,
        }
    }

    fn provides(&self, operation: &RegisterOperation) -> Option<Held> {
        match *operation {
            RegisterOperation::Write(value) | RegisterOperation::Cas { value, .. } => Some(value),
            RegisterOperation::Read(_) | RegisterOperation::Other(_) => None,
        }
    }

    fn has(&self, state: &Held) -> Option<Held> {
        Some(*state)
    }

    /// Nobody notices a write that nobody sees, except who only says what was *not* there: without the write, an older value stays,
    /// and may be just that.
    fn notices(&self, other: &RegisterOperation, missing: &RegisterOperation) -> bool {
        let (RegisterOperation::Write(written) | RegisterOperation::Cas { value: written, .. }) = *missing else {
            return false;
        };
        match *other {
            RegisterOperation::Read(seen) | RegisterOperation::Cas { expect: seen, .. } => seen == written,
            RegisterOperation::Write(_) => false,
            RegisterOperation::Other(not) => written != not,
        }
    }
}
