//! The making of a lineage: which writes take part, what they covered, and so how much can be proved.

use super::graph::Ragged;
use super::{Model, NEVER, Node, Writer};
use crate::by_key::KeyHistory;
use crate::history::{Action, Operation, Outcome, Seen, ValueId};

/// The values of a key and who wrote them, ascending, while a lineage is built.
pub(super) struct Writers {
    pub(super) entries: Vec<Entry>,
}

pub(super) struct Entry {
    pub(super) value: ValueId,
    pub(super) writer: Writer,
    shown: bool,
}

impl Writers {
    pub(super) fn collect(key: &KeyHistory<'_>) -> Self {
        let mut all: Vec<(ValueId, bool, usize)> = key
            .operations()
            .filter_map(|(op, operation)| Some((operation.action.written()?, operation.outcome == Outcome::Fail, op)))
            .collect();
        all.sort_unstable();
        let mut entries: Vec<Entry> = Vec::with_capacity(all.len());
        for same in all.chunk_by(|a, b| a.0 == b.0) {
            let writer = match same {
                [(_, true, op), ..] => Writer::Failed(*op),
                [(_, false, _), (_, false, _), ..] => Writer::Many,
                _ => Writer::Nobody, // until its node is made
            };
            entries.push(Entry { value: same[0].0, writer, shown: false });
        }
        Writers { entries }
    }

    fn place(&self, value: ValueId) -> Option<usize> {
        self.entries.binary_search_by_key(&value, |entry| entry.value).ok()
    }

    fn mark(&mut self, value: ValueId) {
        if let Some(place) = self.place(value) {
            self.entries[place].shown = true;
        }
    }

    /// Marks the values that show up somewhere else than in the operation that wrote them.
    pub(super) fn mark_shown(&mut self, key: &KeyHistory<'_>) {
        for (_, operation) in key.operations() {
            match &operation.action {
                Action::Read { seen } => seen.iter().flat_map(Seen::values).for_each(|value| self.mark(*value)),
                Action::Cas { expect, observed, .. } => expect.iter().chain(observed.iter().flatten()).for_each(|value| self.mark(*value)),
                Action::CasSiblings(cas) => {
                    let sets = std::iter::once(&cas.expect).chain(&cas.observed);
                    sets.flat_map(Seen::values).for_each(|value| self.mark(*value));
                }
                Action::Write { .. } | Action::Delete => {}
            }
            let own = operation.action.written();
            for value in listed(operation).into_iter().flatten().filter(|value| Some(**value) != own) {
                self.mark(*value);
            }
        }
        for version in key.finals().flat_map(|state| &state.versions) {
            version.value.into_iter().for_each(|value| self.mark(value));
        }
    }
}

pub(super) fn nodes(key: &KeyHistory<'_>, writers: &mut Writers) -> Vec<Node> {
    let mut writes = Vec::new();
    for (op, operation) in key.operations() {
        if operation.outcome == Outcome::Fail || matches!(operation.action, Action::Read { .. }) {
            continue;
        }
        let acked = operation.outcome == Outcome::Ok;
        let value = operation.action.written();
        let mut twin = false;
        if let Some(place) = value.and_then(|value| writers.place(value)) {
            let entry = &mut writers.entries[place];
            twin = entry.writer == Writer::Many;
            if !acked && !entry.shown {
                continue;
            }
            if !twin {
                entry.writer = Writer::Node(u32::try_from(writes.len()).expect("node numbers fit"));
            }
        }
        let end = if acked { operation.end.unwrap_or(NEVER) } else { NEVER };
        writes.push(Node { op, call: operation.call, end, value, acked, twin });
    }
    writes
}

pub(super) fn model(key: &KeyHistory<'_>, writes: &[Node]) -> Model {
    let operation = |node: &Node| &key.history.operations[node.op];
    if writes.iter().all(|node| listed(operation(node)).is_some()) && !writes.is_empty() {
        return Model::Listed;
    }
    let many = key.operations().any(|(_, operation)| {
        matches!(KeyHistory::seen(operation), Some(Seen::Many(_))) || matches!(operation.action, Action::CasSiblings(_))
    });
    let many = many || key.finals().any(|state| state.versions.iter().filter(|version| version.value.is_some()).count() > 1);
    if many || writes.iter().any(|node| listed(operation(node)).is_some()) { Model::Open } else { Model::Register }
}

pub(super) fn edges(key: &KeyHistory<'_>, writes: &[Node], writers: &Writers) -> Ragged {
    let mut ragged = Ragged::new();
    let mut row: Vec<u32> = Vec::new();
    let mut twins: Vec<(ValueId, u32)> = Vec::new();
    for (number, node) in (0_u32..).zip(writes) {
        twins.extend(node.value.filter(|_| node.twin).map(|value| (value, number)));
    }
    twins.sort_unstable();
    for (number, node) in (0_u32..).zip(writes) {
        let operation = &key.history.operations[node.op];
        let expected = match &operation.action {
            Action::Cas { expect, .. } => expect.as_slice(),
            Action::CasSiblings(cas) => cas.expect.values(),
            Action::Read { .. } | Action::Write { .. } | Action::Delete => &[],
        };
        row.clear();
        for value in listed(operation).into_iter().flatten().chain(expected) {
            match writers.place(*value).map(|place| writers.entries[place].writer) {
                Some(Writer::Node(covered)) => row.push(covered),
                Some(Writer::Many) => {
                    let first = twins.partition_point(|twin| twin.0 < *value);
                    row.extend(twins[first..].iter().take_while(|twin| twin.0 == *value).map(|twin| twin.1));
                }
                Some(Writer::Failed(_) | Writer::Nobody) | None => {}
            }
        }
        row.retain(|covered| *covered != number);
        row.sort_unstable();
        row.dedup();
        ragged.push(&row);
    }
    ragged
}

fn listed(operation: &Operation) -> Option<&[ValueId]> {
    operation.detail.as_ref().and_then(|detail| detail.covers.as_deref())
}
