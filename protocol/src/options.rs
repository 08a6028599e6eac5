//! How a core may be told to behave otherwise than it does in a node: awkward but legal, or wrong on purpose.
//!
//! **Promise.** With [`Options::default`], which is what a node passes that was not told otherwise, every core keeps all its promises. With any
//! [`Awkward`] choice it still does, only along paths that are rare otherwise. With a [`Defect`] it breaks exactly one rule,
//! so that a checker can show that it would notice.
//!
//! Options are values, passed with a plan or a call. There are no globals, and nothing is compiled in or out: a simulated
//! cluster and a real one run the same code.

use crate::defect::Defect;

/// What a core is told about how to behave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Options {
    /// The one rule to break.
    pub defect: Option<Defect>,
    /// Rare choices to make always.
    pub awkward: Awkward,
}

impl Options {
    /// True when this rule is to be broken.
    #[must_use]
    pub fn has(self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }
}

/// Choices that the protocol allows and that a healthy cluster seldom makes. All off by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Awkward {
    /// A write is sent to no more replicas than its level needs, its coordinator included; another one is tried only when one
    /// of them fails, and the rest get a hint when the hint timer goes off, at the latest at the deadline.
    pub spread_minimal: bool,
    /// A strict read asks every home replica at once.
    pub ask_all_at_once: bool,
    /// A strict read does so, and waits for every repair it has sent rather than for as many as its
    /// level needs.
    pub repair_all_first: bool,
}
