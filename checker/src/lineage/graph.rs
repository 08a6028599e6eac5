//! The order of covers as a graph, and the search through it.

use super::Lineage;

/// Steps for one question of causal order. Far more writes than that between two operations of one process, or between a write
/// and a read of its neighbourhood, do not occur in healthy histories.
const WALK_MAX: usize = 5_000;

/// Rows of node numbers, one per node.
#[derive(Debug)]
pub(super) struct Ragged {
    starts: Vec<usize>,
    items: Vec<u32>,
}

impl Ragged {
    pub(super) fn new() -> Self {
        Ragged { starts: vec![0], items: Vec::new() }
    }

    /// Adds the next row.
    pub(super) fn push(&mut self, row: &[u32]) {
        self.items.extend_from_slice(row);
        self.starts.push(self.items.len());
    }

    pub(super) fn row(&self, node: u32) -> &[u32] {
        let node = node as usize;
        &self.items[self.starts[node]..self.starts[node + 1]]
    }

    /// The rows turned round.
    pub(super) fn inverse(&self) -> Ragged {
        let nodes = self.starts.len() - 1;
        let mut starts = vec![0; nodes + 1];
        for item in &self.items {
            starts[*item as usize + 1] += 1;
        }
        for i in 0..nodes {
            starts[i + 1] += starts[i];
        }
        let (mut next, mut items) = (starts.clone(), vec![0; self.items.len()]);
        for node in 0..nodes {
            let node = u32::try_from(node).expect("node numbers fit");
            for item in self.row(node) {
                items[next[*item as usize]] = node;
                next[*item as usize] += 1;
            }
        }
        Ragged { starts, items }
    }
}

/// For each write, the writes known to have covered it.
pub(crate) struct Coverers(pub(super) Ragged);

impl Coverers {
    pub(crate) fn of(&self, node: u32) -> &[u32] {
        self.0.row(node)
    }
}

/// The memory of a search through a lineage, kept from one to the next.
#[derive(Debug, Default)]
pub(crate) struct Walker {
    stamps: Vec<u32>,
    stamp: u32,
    stack: Vec<u32>,
}

impl Walker {
    pub(crate) fn new(lineage: &Lineage) -> Self {
        Walker { stamps: vec![0; lineage.writes.len()], stamp: 0, stack: Vec::new() }
    }

    /// Whether one of `from` covers `target`, directly or through others; yes if it would take too long to know.
    pub(crate) fn reaches(&mut self, lineage: &Lineage, from: &[u32], target: u32) -> bool {
        if from.iter().any(|node| lineage.covers(*node).binary_search(&target).is_ok()) {
            return true;
        }
        self.stamp += 1;
        self.stack.clear();
        self.stack.extend_from_slice(from);
        let (called, mut steps) = (lineage.node(target).call, 0);
        while let Some(node) = self.stack.pop() {
            for below in lineage.covers(node) {
                steps += 1;
                if *below == target || steps > WALK_MAX {
                    return true;
                }
                let stamp = &mut self.stamps[*below as usize];
                // What returned before the target was called cannot have covered it.
                if *stamp != self.stamp && lineage.node(*below).end >= called {
                    *stamp = self.stamp;
                    self.stack.push(*below);
                }
            }
        }
        false
    }
}
