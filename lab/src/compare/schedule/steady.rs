//! Filling a window with faults, one after another.
//!
//! ```text
//!  calm | fault | calm | fault | calm | fault | calm | .. | fault | calm
//! begin   <------------- round ------------->   <------ round ------>  end
//! ```
//!
//! A round has every fault that was asked for once, in an order of its own. There are as many rounds as the window holds when each
//! fault has its least useful length and each calm is as long as mending takes; what is left over is given to all alike, in seeded
//! shares between the fault and the calm behind it. Nodes take turns: none is hit again by a request before all others were.

use std::collections::BTreeSet;
use std::time::Duration;

use quorate_ring::NodeId;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use super::request::{DELAY_USUAL, FaultRequest, SKEW_USUAL_MS, Wish};
use super::target::{FaultKind, Target};
use super::{Planned, ScheduleError};

/// Calm before the first fault: there is something to compare with.
const CALM_FIRST: Duration = Duration::from_millis(500);

/// What is left over is given away in such pieces: times remain readable.
const STEP: Duration = Duration::from_millis(50);

/// The least useful length of a fault. Silence is noticed after the heartbeat's time-out of 1.5 s at the next heartbeat, 0.5 s later at
/// most; what follows from it has to show, too. All else shows at once, or with the next heartbeat.
fn least(kind: FaultKind) -> Duration {
    Duration::from_millis(match kind {
        FaultKind::Pause | FaultKind::Partition | FaultKind::OneWay => 2_800,
        FaultKind::Kill | FaultKind::Slow | FaultKind::Skew => 1_200,
    })
}

/// The least calm after a fault: one that was killed is back, and the nodes see each other again. A heartbeat that was lost in the last
/// moment of a cut is given up after 1.5 s, and the next one follows within 0.5 s.
fn calm_after(kind: FaultKind) -> Duration {
    Duration::from_millis(match kind {
        FaultKind::Pause | FaultKind::Partition | FaultKind::OneWay => 2_000,
        FaultKind::Kill => 1_500,
        FaultKind::Slow | FaultKind::Skew => 700,
    })
}

/// Fills the window.
///
/// # Errors
/// [`ScheduleError::TooShort`] if not even one round fits.
pub(super) fn fill(requests: &[&FaultRequest], nodes: &[NodeId], window: Duration, seed: u64) -> Result<Vec<Planned>, ScheduleError> {
    if requests.is_empty() {
        return Ok(Vec::new());
    }
    let round: Duration = requests.iter().map(|request| request.wish.kind()).map(|kind| least(kind) + calm_after(kind)).sum();
    let room = window.saturating_sub(CALM_FIRST);
    let rounds = u32::try_from(room.as_nanos() / round.as_nanos()).unwrap_or(u32::MAX);
    if rounds == 0 {
        return Err(ScheduleError::TooShort { window, window_min: CALM_FIRST + round });
    }
    let mut random = StdRng::seed_from_u64(seed);
    let mut turns: Vec<Turns> = requests.iter().map(|_| Turns::new(nodes, &mut random)).collect();
    let mut order: Vec<usize> = (0..requests.len()).collect();
    let count = rounds.saturating_mul(u32::try_from(requests.len()).unwrap_or(u32::MAX));
    let spare = (room - round * rounds) / count;
    let steps = u32::try_from(spare.as_nanos() / STEP.as_nanos()).unwrap_or(u32::MAX);
    let mut from = CALM_FIRST;
    let mut planned = Vec::new();
    for _ in 0..rounds {
        order.shuffle(&mut random);
        for index in &order {
            let target = turns[*index].target(&requests[*index].wish, &mut random);
            let kind = target.kind();
            let longer = STEP * random.random_range(0..=steps);
            planned.push(Planned { target, from, until: from + least(kind) + longer });
            from += least(kind) + calm_after(kind) + STEP * steps;
        }
    }
    Ok(planned)
}

/// Nodes in the order in which they are hit, over and over.
pub(super) struct Turns {
    order: Vec<NodeId>,
    next: usize,
}

impl Turns {
    pub(super) fn new(nodes: &[NodeId], random: &mut StdRng) -> Self {
        let mut order = nodes.to_vec();
        order.shuffle(random);
        Self { order, next: 0 }
    }

    fn node(&mut self) -> NodeId {
        let node = self.order[self.next % self.order.len()];
        self.next += 1;
        node
    }

    /// What is asked for, done to those whose turn it is.
    pub(super) fn target(&mut self, wish: &Wish, random: &mut StdRng) -> Target {
        match wish {
            Wish::To(target) => target.clone(),
            Wish::Any(FaultKind::Kill) => Target::Kill(self.node()),
            Wish::Any(FaultKind::Pause) => Target::Pause(self.node()),
            Wish::Any(FaultKind::Partition) => Target::Partition(self.sides(random)),
            Wish::Any(FaultKind::OneWay) => Target::OneWay { from: self.node(), to: self.node() },
            Wish::Any(FaultKind::Slow) => Target::Slow { node: self.node(), delay: DELAY_USUAL },
            Wish::Any(FaultKind::Skew) => Target::Skew { node: self.node(), skew_ms: SKEW_USUAL_MS },
        }
    }

    /// A minority, and all others; of two nodes, each alone.
    fn sides(&mut self, random: &mut StdRng) -> Vec<BTreeSet<NodeId>> {
        let most = ((self.order.len() - 1) / 2).max(1);
        let few: BTreeSet<NodeId> = (0..random.random_range(1..=most)).map(|_| self.node()).collect();
        let others = self.order.iter().filter(|node| !few.contains(node)).copied().collect();
        vec![few, others]
    }
}
