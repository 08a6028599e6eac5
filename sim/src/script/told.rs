//! Planted bugs that chance comes to too seldom, each with the script that tells how it happens: several operations must meet within a
//! few messages, in one order of many.

use quorate_protocol::Defect;

use super::Transcript;

/// A planted bug, and the script that shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// The bug.
    pub bug: Defect,
    /// The script's path below `sim/tests/scripts/`.
    pub name: &'static str,
    /// The script, as it is written down.
    pub script: &'static str,
}

macro_rules! told {
    ($bug:ident, $name:literal) => {
        Told { bug: Defect::$bug, name: $name, script: include_str!(concat!("../../tests/scripts/", $name)) }
    };
}

/// All of them.
pub const TOLD: [Told; 2] = [
    told!(CleanJudgedByReplier, "linearizable/judging_by_what_the_replier_has_accepted_is_caught"),
    told!(BallotReusedAfterRestart, "linearizable/counting_ballots_from_the_start_again_is_caught"),
];

impl Told {
    /// The script of a bug, if it has one here.
    #[must_use]
    pub fn of(bug: Defect) -> Option<&'static Self> {
        TOLD.iter().find(|told| told.bug == bug)
    }

    /// Performs the script.
    ///
    /// # Panics
    /// It cannot be performed: a test of this crate performs every script.
    #[must_use]
    pub fn play(&self) -> Transcript {
        Transcript::perform(self.script).expect("a script that is written down has been performed")
    }
}
