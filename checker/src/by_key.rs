//! A history taken apart: the operations and final states of each key.

use crate::history::{Action, FinalState, History, KeyId, Nanos, Operation, Outcome, Seen};

/// The operations and final states of each key, in order of key.
pub(crate) struct ByKey<'h> {
    history: &'h History,
    /// In order of key, then call.
    operations: Vec<u32>,
    /// In order of key.
    finals: Vec<u32>,
}

/// What a history says about one key.
pub(crate) struct KeyHistory<'a> {
    pub(crate) history: &'a History,
    pub(crate) key: KeyId,
    /// In order of call.
    operations: &'a [u32],
    finals: &'a [u32],
}

impl<'h> ByKey<'h> {
    pub(crate) fn new(history: &'h History) -> Self {
        let count = |length: usize| u32::try_from(length).expect("fewer than 2^32 operations fit into memory");
        let mut operations: Vec<u32> = (0..count(history.operations.len())).collect();
        operations.sort_unstable_by_key(|i| {
            let operation = &history.operations[*i as usize];
            (operation.key, operation.call, *i)
        });
        let mut finals: Vec<u32> = (0..count(history.finals.len())).collect();
        finals.sort_by_key(|i| history.finals[*i as usize].key);
        ByKey { history, operations, finals }
    }

    pub(crate) fn for_each(&self, mut visit: impl FnMut(&KeyHistory<'_>)) {
        let (mut operations, mut finals) = (self.operations.as_slice(), self.finals.as_slice());
        let key_of_operation = |i: &u32| self.history.operations[*i as usize].key;
        let key_of_final = |i: &u32| self.history.finals[*i as usize].key;
        while let Some(key) = operations.first().map(key_of_operation).into_iter().chain(finals.first().map(key_of_final)).min() {
            let (mine, rest) = operations.split_at(operations.partition_point(|i| key_of_operation(i) == key));
            let (states, states_rest) = finals.split_at(finals.partition_point(|i| key_of_final(i) == key));
            visit(&KeyHistory { history: self.history, key, operations: mine, finals: states });
            (operations, finals) = (rest, states_rest);
        }
    }
}

impl<'a> KeyHistory<'a> {
    /// The operations with their indices, in order of call.
    pub(crate) fn operations(&self) -> impl Iterator<Item = (usize, &'a Operation)> {
        let history = self.history;
        self.operations.iter().map(move |i| (*i as usize, &history.operations[*i as usize]))
    }

    pub(crate) fn finals(&self) -> impl Iterator<Item = &'a FinalState> {
        let history = self.history;
        self.finals.iter().map(move |i| &history.finals[*i as usize])
    }

    /// The reads that tell the end: called at or after `quiet`, and after every acknowledged change had returned.
    pub(crate) fn last_reads(&self, quiet: Option<Nanos>) -> impl Iterator<Item = (usize, &'a Seen)> {
        let changes =
            self.operations().filter(|(_, operation)| !matches!(operation.action, Action::Read { .. }) && operation.outcome == Outcome::Ok);
        let last = changes.filter_map(|(_, operation)| operation.end).max();
        let late = move |call: Nanos| quiet.is_some_and(|quiet| quiet <= call) && last < Some(call);
        self.operations()
            .filter(move |(_, operation)| late(operation.call))
            .filter_map(|(op, operation)| Some((op, Self::seen(operation)?)))
    }

    /// What an operation saw, if it was a read that returned.
    pub(crate) fn seen(operation: &Operation) -> Option<&Seen> {
        match &operation.action {
            Action::Read { seen } if operation.outcome == Outcome::Ok => seen.as_ref(),
            _ => None,
        }
    }
}
