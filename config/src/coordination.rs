//! `[coordination]`: how this node treats the requests it coordinates.

use std::time::Duration;

use crate::reader::{Decoder, Subtable};

/// The conduct of coordinated requests. Section `[coordination]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Coordination {
    /// `coordination.hedge_after`: how long a read waits for the replicas it asked before it asks a further one. Default 30ms,
    /// less than `deadline_max`. Choose a little more than the usual slowest answer (p99): less asks twice without need, more
    /// lets one slow replica be felt.
    pub hedge_after: Duration,
    /// `coordination.background_repair_chance`: the share of reads below all replicas that also compare the others behind the
    /// answer and repair what is stale, 0 to 1. Default 0.1. Higher heals sooner and costs reads; strict levels always repair
    /// what they saw.
    pub background_repair_chance: f64,
    /// `coordination.hint_after`: how long a write waits for the acknowledgement of a home replica before it keeps a hint for
    /// it. Default 1s, less than `deadline_max`. Replicas known to be down get their hint at once.
    pub hint_after: Duration,
    /// `coordination.deadline_max`: the longest deadline a client may ask for; longer ones are shortened to it. Default 30s.
    /// It bounds how long a stuck request can hold its place.
    pub deadline_max: Duration,
}

impl Default for Coordination {
    fn default() -> Self {
        Self {
            hedge_after: Duration::from_millis(30),
            background_repair_chance: 0.1,
            hint_after: Duration::from_secs(1),
            deadline_max: Duration::from_secs(30),
        }
    }
}

impl Coordination {
    pub(crate) fn read(decoder: &mut Decoder, subtable: Subtable) -> Self {
        const SHORTEST: Duration = Duration::from_millis(1);
        const LONGEST: Duration = Duration::from_secs(10 * 60);
        let default = Self::default();
        let mut table = decoder.table("coordination", "[coordination]", subtable);
        let coordination = Self {
            hedge_after: table.key("hedge_after").within(SHORTEST, LONGEST).or(default.hedge_after),
            background_repair_chance: table.key("background_repair_chance").within(0.0, 1.0).or(default.background_repair_chance),
            hint_after: table.key("hint_after").within(SHORTEST, LONGEST).or(default.hint_after),
            deadline_max: table.key("deadline_max").within(SHORTEST, LONGEST).or(default.deadline_max),
        };
        table.finish();
        let deadline = ("coordination.deadline_max", &coordination.deadline_max);
        decoder.ordered(("coordination.hedge_after", &coordination.hedge_after), deadline, true);
        decoder.ordered(("coordination.hint_after", &coordination.hint_after), deadline, true);
        coordination
    }
}
