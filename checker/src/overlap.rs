//! Where reads and writes must meet: X + Y > N, and reads that never go back.
//!
//! **Promise checked.** A read that asks Y replicas, begun after a write was acknowledged by X of the N, shows that write, or one that
//! replaced it, or both as siblings, whenever X + Y > N. And among levels that promise monotonic reads across clients, a read begun after
//! another returned shows all that the other showed, or what replaced it.
//!
//! **Rules.** Upon the end of a write acknowledged by X: later reads that meet X *owe* it. Upon the end of a monotonic read: later
//! monotonic reads owe every value that it showed. What a write covered (directly or through others) is *replaced* for whoever owes that
//! write: a debt on the newer one includes the older. For each read:
//! - *Missed* (or *WentBack*, if only a read owed it): a value owed and not replaced is not in the result, and is not excused, that is:
//!   no value in the result and no delete called before the read ended may cover it (`lineage`).
//! - *ShowsReplaced* (or *WentBack*): the result has a value that was replaced.
//!
//! Why: of the replicas asked, one has the write in its context. Merged results show every version of that context that is not covered,
//! and none that is.
//!
//! Of each kind at most one violation per read is reported, for the newest write. A *case* is a read that could owe something. Every
//! debt is a bit per least number of copies, so that weak and strong levels can be mixed on one key.
//!
//! **Complexity.** O(n log n), plus for each read the unreplaced writes (few, where siblings get merged) and the writes in flight.
//!
//! **Without `covers`** a read misses a write only if all that it shows, and every delete, returned before that write was called.

use std::collections::BTreeSet;
use std::fmt;

use crate::by_key::ByKey;
use crate::finding::{Allowances, Evidence, Judgement, op};
use crate::history::{History, KeyId, Nanos, Operation};
use crate::lineage::{Lineage, Model, Reading, Walker};

/// What an operation's level promises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Promise {
    /// Replicas that hold an acknowledged write (X), or that a read asks (Y); 0 promises nothing.
    pub copies: u32,
    /// For reads: whether they are monotonic across clients, among those that say so.
    pub monotonic: bool,
}

/// A read that did not meet a write or a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// The read was owed this write.
    Missed {
        /// The key.
        key: KeyId,
        /// The write, acknowledged before the read was called.
        write: usize,
        /// The read.
        read: usize,
    },
    /// The read showed a value that had been replaced.
    ShowsReplaced {
        /// The key.
        key: KeyId,
        /// The write of the value.
        write: usize,
        /// What covered it: it, or one that replaced it, was acknowledged before the read was called.
        by: usize,
        /// The read.
        read: usize,
    },
    /// An earlier read was ahead of this one.
    WentBack {
        /// The key.
        key: KeyId,
        /// The write whose value disappeared or came back.
        write: usize,
        /// If it came back: what had covered it.
        by: Option<usize>,
        /// The read that was ahead; it returned before the other was called.
        ahead: usize,
        /// The read that went back.
        read: usize,
    },
}

impl Evidence for Violation {
    fn kind(&self) -> &'static str {
        match self {
            Violation::Missed { .. } => "acknowledged-write-missed",
            Violation::ShowsReplaced { .. } => "replaced-value-shown",
            Violation::WentBack { .. } => "read-went-back",
        }
    }

    fn key(&self) -> KeyId {
        match self {
            Violation::Missed { key, .. } | Violation::ShowsReplaced { key, .. } | Violation::WentBack { key, .. } => *key,
        }
    }

    fn operations(&self) -> Vec<usize> {
        match self {
            Violation::Missed { write, read, .. } => vec![*write, *read],
            Violation::ShowsReplaced { write, by, read, .. } => vec![*write, *by, *read],
            Violation::WentBack { write, by, ahead, read, .. } => [*write].into_iter().chain(*by).chain([*ahead, *read]).collect(),
        }
    }

    fn tell(&self, history: &History, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::Missed { write, read, .. } => {
                write!(f, "{}; then {}, which has neither it nor anything that replaced it", op(history, *write), op(history, *read))
            }
            Violation::ShowsReplaced { write, by, read, .. } => {
                write!(f, "{}; {} replaced it; then {}", op(history, *write), op(history, *by), op(history, *read))
            }
            Violation::WentBack { write, by: None, ahead, read, .. } => {
                write!(f, "{}; {}; then {}, which has it no more", op(history, *write), op(history, *ahead), op(history, *read))
            }
            Violation::WentBack { write, by: Some(by), ahead, read, .. } => {
                write!(f, "{}; {} replaced it; {} after that; then ", op(history, *write), op(history, *by), op(history, *ahead))?;
                write!(f, "{}", op(history, *read))
            }
        }
    }
}

/// Judges every read against the writes and reads that it had to meet. `replicas` is N (at most 62); `promise` says what the operation
/// with this index promises.
///
/// # Panics
/// If `replicas` is above 62, or a promise has more copies than that.
#[must_use]
pub fn check(
    history: &History,
    replicas: u32,
    promise: &dyn Fn(usize, &Operation) -> Promise,
    allow: &Allowances<'_>,
) -> Judgement<Violation> {
    assert!(replicas <= COPIES_MAX, "a debt has a bit for each number of copies");
    let mut judgement = Judgement::default();
    ByKey::new(history).for_each(|key| {
        let lineage = Lineage::new(key);
        let promise_of = |index: usize| promise(index, &history.operations[index]);
        Sweep::new(&lineage, allow).run(replicas, &promise_of, &mut judgement);
    });
    judgement
}

const COPIES_MAX: u32 = 62;

/// A set of debts: bit `i` is owed by reads that meet any `i + 1` copies, the last bit by monotonic reads.
type Debts = u64;

const MONOTONIC: Debts = 1 << 63;

fn owed_by_copies(copies: u32) -> Debts {
    assert!(copies <= COPIES_MAX, "a debt has a bit for each number of copies");
    (1 << copies) - 1
}

/// The debts that a read must pay.
fn debts(promise: Promise, replicas: u32) -> Debts {
    let met = if promise.copies == 0 { 0 } else { 1 << replicas.saturating_sub(promise.copies) };
    met | if promise.monotonic { MONOTONIC } else { 0 }
}

/// Something became owed: a write was acknowledged, or a read showed values.
enum Cause {
    Acknowledged { node: u32, debts: Debts },
    Shown { read: usize },
}

/// What is owed about one write.
#[derive(Clone, Copy, Default)]
struct Due {
    owed: Debts,
    replaced: Debts,
    /// The first monotonic read that showed it.
    shown: Option<usize>,
    /// What covered it, when it was acknowledged or shown (or something that replaced that).
    covered: Option<u32>,
    /// The same, when it was shown by a monotonic read; and that read.
    covered_shown: Option<(u32, usize)>,
}

struct Sweep<'a> {
    lineage: &'a Lineage,
    allow: &'a Allowances<'a>,
    walker: Walker,
    dues: Vec<Due>,
    /// Values with a debt that was not replaced; numbers are in order of call.
    open: BTreeSet<u32>,
}

impl<'a> Sweep<'a> {
    fn new(lineage: &'a Lineage, allow: &'a Allowances<'a>) -> Self {
        let dues = vec![Due::default(); lineage.writes.len()];
        Sweep { lineage, allow, walker: Walker::new(lineage), dues, open: BTreeSet::new() }
    }

    fn run(mut self, replicas: u32, promise: &dyn Fn(usize) -> Promise, judgement: &mut Judgement<Violation>) {
        let lineage = self.lineage;
        let mut causes: Vec<(Nanos, Cause)> = Vec::new();
        for node in lineage.nodes().filter(|node| lineage.node(*node).acked) {
            let debts = owed_by_copies(promise(lineage.node(node).op).copies);
            causes.push((lineage.node(node).end, Cause::Acknowledged { node, debts }));
        }
        for (number, read) in lineage.reads.iter().enumerate() {
            if promise(read.op).monotonic {
                causes.push((read.end, Cause::Shown { read: number }));
            }
        }
        causes.sort_by_key(|cause| cause.0);
        let mut causes = causes.into_iter().peekable();
        for read in &lineage.reads {
            while let Some((_, cause)) = causes.next_if(|cause| cause.0 < read.call) {
                self.take(&cause);
            }
            let debts = debts(promise(read.op), replicas);
            if debts != 0 && !read.opaque {
                judgement.judged += 1;
                judgement.violations.extend(self.came_back(read, debts));
                judgement.violations.extend(self.missed(read, debts));
            }
        }
    }

    fn take(&mut self, cause: &Cause) {
        match cause {
            Cause::Acknowledged { node, debts } => self.owe(*node, *debts, None),
            Cause::Shown { read } => {
                let read = &self.lineage.reads[*read];
                for node in self.lineage.shown(read) {
                    self.dues[*node as usize].shown.get_or_insert(read.op);
                    self.owe(*node, MONOTONIC, Some(read.op));
                }
            }
        }
    }

    fn owe(&mut self, node: u32, debts: Debts, shown: Option<usize>) {
        let write = self.lineage.node(node);
        let due = &mut self.dues[node as usize];
        if debts & !due.owed == 0 || write.twin || (self.allow.vanished)(write.op) {
            return;
        }
        due.owed |= debts;
        self.keep(node);
        self.replace_below(node, debts, shown);
    }

    /// Keeps or drops a write among the open ones.
    fn keep(&mut self, node: u32) {
        let due = &self.dues[node as usize];
        if due.owed & !due.replaced != 0 && self.lineage.node(node).value.is_some() {
            self.open.insert(node);
        } else {
            self.open.remove(&node);
        }
    }

    /// Whoever owes `node` sees what it covered as replaced.
    fn replace_below(&mut self, node: u32, debts: Debts, shown: Option<usize>) {
        let lineage = self.lineage;
        let mut stack = vec![(node, debts)];
        while let Some((node, debts)) = stack.pop() {
            if lineage.node(node).twin || (self.allow.repeated)(lineage.node(node).op) {
                continue; // what it covered is not certain
            }
            for below in lineage.covers(node) {
                let due = &mut self.dues[*below as usize];
                let new = debts & !due.replaced;
                if new == 0 {
                    continue;
                }
                due.replaced |= new;
                match shown {
                    None => _ = due.covered.get_or_insert(node),
                    Some(read) => _ = due.covered_shown.get_or_insert((node, read)),
                }
                self.keep(*below);
                stack.push((*below, new));
            }
        }
    }

    /// A value in the result that was replaced.
    fn came_back(&self, read: &Reading, debts: Debts) -> Option<Violation> {
        let lineage = self.lineage;
        let back = |node: &&u32| {
            let write = lineage.node(**node);
            self.dues[**node as usize].replaced & debts != 0 && !write.twin && !(self.allow.repeated)(write.op)
        };
        let node = *lineage.shown(read).iter().rev().find(back)?;
        let (due, key, write) = (&self.dues[node as usize], lineage.key, lineage.node(node).op);
        if due.replaced & debts & !MONOTONIC != 0 {
            let by = lineage.node(due.covered.expect("an acknowledgement replaced it")).op;
            return Some(Violation::ShowsReplaced { key, write, by, read: read.op });
        }
        let (by, ahead) = due.covered_shown.expect("a read replaced it");
        Some(Violation::WentBack { key, write, by: Some(lineage.node(by).op), ahead, read: read.op })
    }

    /// A value owed that the result has not.
    fn missed(&mut self, read: &Reading, debts: Debts) -> Option<Violation> {
        let lineage = self.lineage;
        let horizon = if lineage.model == Model::Listed { None } else { lineage.horizon(read) };
        for node in self.open.iter().rev().copied() {
            let (due, write) = (&self.dues[node as usize], lineage.node(node));
            if Some(write.call) <= horizon {
                return None; // and so are all that were called earlier
            }
            let owed = due.owed & !due.replaced & debts;
            if owed == 0 || lineage.excused(&mut self.walker, read, node) {
                continue;
            }
            let (key, write) = (lineage.key, write.op);
            if owed & !MONOTONIC != 0 {
                return Some(Violation::Missed { key, write, read: read.op });
            }
            let ahead = due.shown.expect("a read owes it");
            return Some(Violation::WentBack { key, write, by: None, ahead, read: read.op });
        }
        None
    }
}

#[cfg(test)]
mod tests;
