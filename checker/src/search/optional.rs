//! Tasks that may never have taken effect: which of them need not be tried.
//!
//! A search tries optional tasks in every combination, so a few dozen that nobody saw, or that are all alike, would cost more than all the rest.
//!
//! - *Unnoticed*: nobody who took effect can have answered as he did because of it. Whatever can be explained with it can be without.
//! - *Alike*: of equal tasks the one that was called first does wherever another does, and asks for less.

use super::{Specification, Task};

/// For an equal task so many optional ones before are looked at.
const ELDERS_MAX: usize = 64;

/// For every optional task, an equal one that was called earlier. `optional` are in order of call.
pub(super) fn elders<O: PartialEq>(tasks: &[Task<O>], optional: &[u32]) -> Vec<Option<u32>> {
    let mut elders = vec![None; tasks.len()];
    for (position, &at) in optional.iter().enumerate() {
        let task = &tasks[at as usize];
        let equals = |other: &&u32| {
            let other = &tasks[**other as usize];
            other.operation == task.operation && other.unordered == task.unordered
        };
        elders[at as usize] = optional[position.saturating_sub(ELDERS_MAX)..position].iter().rev().find(equals).copied();
    }
    elders
}

/// Positions of the tasks that somebody could miss: those with an end, and whatever these notice, directly or through others
/// ([`Specification::notices`]).
pub(crate) fn noticed<S: Specification>(specification: &S, tasks: &[Task<S::Operation>]) -> Vec<usize> {
    let (mut stays, mut others): (Vec<usize>, Vec<usize>) = (0..tasks.len()).partition(|&at| tasks[at].end.is_some());
    let mut asked = 0;
    while let Some(&other) = stays.get(asked) {
        asked += 1;
        stays.extend(others.extract_if(.., |at| specification.notices(&tasks[other].operation, &tasks[*at].operation)));
    }
    stays.sort_unstable();
    stays
}
