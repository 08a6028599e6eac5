//! Who could never be placed any more if a state were left.
//!
//! A task that is not placed and needs a trait of the state is stranded when the state loses it and no task that is left provides
//! it. With unique values this says at once that a value must not be overwritten while it has readers left; without it the
//! search would find out only after everything that could come in between.

use super::{Specification, Task};
use crate::history::Nanos;

const NONE: u32 = u32::MAX;

/// Counts what is needed and what is provided by tasks that are not placed.
#[derive(Debug)]
pub(super) struct Stranded<T> {
    /// All traits that somebody needs, ascending.
    traits: Vec<T>,
    /// For every trait: who needs it and has an end, by end; and how many of them are not placed.
    needed_by: Vec<Vec<(Nanos, u32)>>,
    needed: Vec<u32>,
    /// For every trait: how many tasks provide it that are not placed.
    provided: Vec<u32>,
    /// For every task, its trait in `traits`; [`NONE`] if nobody needs it, or, for its own need, if it has no end.
    need: Vec<u32>,
    provides: Vec<u32>,
    is_placed: Vec<bool>,
}

impl<T: Ord> Stranded<T> {
    pub(super) fn new<S: Specification<Trait = T>>(specification: &S, tasks: &[Task<S::Operation>]) -> Self {
        let mut traits: Vec<T> = tasks.iter().filter_map(|task| specification.need(&task.operation)).collect();
        traits.sort_unstable();
        traits.dedup();
        let number = |of: Option<T>| {
            let found = of.and_then(|of| traits.binary_search(&of).ok());
            found.map_or(NONE, |found| u32::try_from(found).expect("not more traits than tasks"))
        };
        let required = tasks.iter().map(|task| task.end.and_then(|_| specification.need(&task.operation)));
        let need: Vec<u32> = required.map(number).collect();
        let provides: Vec<u32> = tasks.iter().map(|task| number(specification.provides(&task.operation))).collect();
        let mut needed_by = vec![Vec::new(); traits.len()];
        for (at, (task, &need)) in (0..).zip(tasks.iter().zip(&need)) {
            if let (Some(end), Some(needed_by)) = (task.end, needed_by.get_mut(need as usize)) {
                needed_by.push((end, at));
            }
        }
        needed_by.iter_mut().for_each(|tasks| tasks.sort_unstable());
        let count = |tasks: &Vec<(Nanos, u32)>| u32::try_from(tasks.len()).expect("fewer than 2^32 operations on a key");
        let needed = needed_by.iter().map(count).collect();
        let mut provided = vec![0; traits.len()];
        provides.iter().filter(|number| **number != NONE).for_each(|number| provided[*number as usize] += 1);
        Self { traits, needed_by, needed, provided, need, provides, is_placed: vec![false; tasks.len()] }
    }

    pub(super) fn place(&mut self, at: u32) {
        self.is_placed[at as usize] = true;
        if let Some(provided) = self.provided.get_mut(self.provides[at as usize] as usize) {
            *provided -= 1;
        }
        if let Some(needed) = self.needed.get_mut(self.need[at as usize] as usize) {
            *needed -= 1;
        }
    }

    pub(super) fn take_back(&mut self, at: u32) {
        self.is_placed[at as usize] = false;
        if let Some(provided) = self.provided.get_mut(self.provides[at as usize] as usize) {
            *provided += 1;
        }
        if let Some(needed) = self.needed.get_mut(self.need[at as usize] as usize) {
            *needed += 1;
        }
    }

    /// The least end of those that are stranded if no state has this trait any more; `None` if nobody is.
    pub(super) fn by_leaving(&self, left: &T) -> Option<Nanos> {
        let number = self.traits.binary_search(left).ok()?;
        if self.needed[number] == 0 || self.provided[number] > 0 {
            return None;
        }
        self.needed_by[number].iter().find(|(_, at)| !self.is_placed[*at as usize]).map(|(end, _)| *end)
    }
}
