//! Fewer operations that still have no order.
//!
//! A history that is linearizable stays so without operations that none of the others [notices](super::Specification::notices). So if
//! what is left has no order, neither has the whole, and the violation is in what is left.

use std::ops::Range;

use super::{Answer, Budget, Search, Specification, Task};
use crate::history::Nanos;

/// Beyond this many tasks nothing is tried: every trial costs a search.
const TASKS_MAX: usize = 5_000;

/// Tasks that have no order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Evidence {
    /// Their positions, by call.
    pub(crate) tasks: Vec<usize>,
    /// None of them can be left out.
    pub(crate) least: bool,
}

/// Few of the tasks called up to `reached` that have no order by themselves. Costs `budget`; when that ends, the fewest so far.
pub(crate) fn shrink<S>(specification: &S, tasks: &[Task<S::Operation>], reached: Nanos, budget: &mut Budget<'_>) -> Evidence
where
    S: Specification,
    S::Operation: Clone,
{
    let begun = |at: &usize| tasks[*at].call <= reached && !pending_observation(specification, &tasks[*at], reached);
    let mut kept: Vec<usize> = (0..tasks.len()).filter(begun).collect();
    kept.sort_by_key(|&at| (tasks[at].call, at));
    if kept.len() > TASKS_MAX {
        return Evidence { tasks: kept, least: false };
    }
    let mut piece = kept.len().div_ceil(2).max(1);
    loop {
        let mut smaller = false;
        let mut begin = 0;
        while begin < kept.len() {
            let trial = Trial { specification, tasks, reached, kept: &kept };
            match trial.without(begin..(begin + piece).min(kept.len()), budget) {
                Verdict::Smaller(rest) => {
                    kept = rest;
                    smaller = true;
                }
                Verdict::Needed => begin += piece,
                Verdict::OutOfBudget => return Evidence { tasks: kept, least: false },
            }
        }
        if piece == 1 && !smaller {
            return Evidence { tasks: kept, least: true };
        }
        piece = piece.div_ceil(2);
    }
}

enum Verdict {
    /// These still have no order.
    Smaller(Vec<usize>),
    Needed,
    OutOfBudget,
}

struct Trial<'a, S: Specification> {
    specification: &'a S,
    tasks: &'a [Task<S::Operation>],
    reached: Nanos,
    kept: &'a [usize],
}

impl<S: Specification> Trial<'_, S>
where
    S::Operation: Clone,
{
    fn notices(&self, at: usize, missing: &S::Operation) -> bool {
        self.specification.notices(&self.tasks[at].operation, missing)
    }

    /// What stays if all goes that nobody who stays notices, of a range of `kept`.
    fn unnoticed(&self, range: Range<usize>) -> Vec<usize> {
        let (mut missing, mut stays) = (Vec::new(), Vec::new());
        for (position, &at) in self.kept.iter().enumerate() {
            if range.contains(&position) { &mut missing } else { &mut stays }.push(at);
        }
        // Who stays may bring back others, and they yet others.
        let mut asked = 0;
        while let Some(&other) = stays.get(asked) {
            asked += 1;
            let is_noticed = |at: &mut usize| self.notices(other, &self.tasks[*at].operation);
            stays.extend(missing.extract_if(.., is_noticed));
        }
        stays.sort_by_key(|&at| (self.tasks[at].call, at));
        stays
    }

    /// Tries without what nobody notices in a range of `kept`.
    fn without(&self, range: Range<usize>, budget: &mut Budget<'_>) -> Verdict {
        let rest = self.unnoticed(range);
        if rest.len() == self.kept.len() {
            return Verdict::Needed;
        }
        let few: Vec<Task<S::Operation>> = rest.iter().map(|&at| until(&self.tasks[at], self.reached)).collect();
        match Search::new(self.specification, &few).run(budget) {
            Ok(Answer::Violation { .. }) => Verdict::Smaller(rest),
            Ok(Answer::Linearizable { .. } | Answer::Undecided(_)) => Verdict::Needed,
            Err(_) => Verdict::OutOfBudget,
        }
    }
}

/// The task as it stood at a moment: what had not ended then may have taken effect or not.
fn until<O: Clone>(task: &Task<O>, reached: Nanos) -> Task<O> {
    Task { end: task.end.filter(|&end| end <= reached), ..task.clone() }
}

fn pending_observation<S: Specification>(specification: &S, task: &Task<S::Operation>, reached: Nanos) -> bool {
    task.end.is_none_or(|end| end > reached) && specification.observes(&task.operation)
}
