//! The four session guarantees, per level and per process.
//!
//! **Promises checked**, for each process and key (Terry et al. 1994):
//! - *Read your writes*: a read after the process's own acknowledged write shows it, or what replaced it.
//! - *Monotonic reads*: a read after another shows all that the other showed, or what replaced it.
//! - *Monotonic writes*: who shows a process's write also shows, or has had replaced, the write that it made before.
//! - *Writes follow reads*: who shows a process's write also shows, or has had replaced, what that process had read before.
//!
//! **Evidence.** Only proof counts; in doubt there is no violation.
//! - *Hidden*: a value that must be there is not, and nothing in the result, and no delete called before the read ended, may have covered
//!   it. Where writes say what they covered this follows the causal order; otherwise the real-time order: all that the read shows had
//!   returned before the hidden write was called.
//! - *Back*: a value is there although a write or delete that must be in effect covered it.
//!
//! Each read is compared with the process's latest own write and its latest read, not with all of them: a violation that only an earlier
//! one could show is not counted. The last two guarantees speak about the order of writes *inside* one result. A result of one value
//! shows no order, so they are judged only on keys where writes say what they covered; elsewhere nothing is judged.
//!
//! **Registers** (keys on which nobody saw siblings and nobody says what was covered): a delete counts as a write of absence.
//!
//! A *case* is a read and what it is compared with; it counts for the level of that read. O(n log n), plus the writes between a read and
//! what it is compared with.
//!
//! Source: Terry et al., Session Guarantees for Weakly Consistent Replicated Data (PDIS 1994).

use std::collections::BTreeMap;
use std::fmt;

use crate::by_key::ByKey;
use crate::finding::{Allowances, Evidence, op};
use crate::history::{History, KeyId, WordId};
use crate::lineage::{Lineage, Model, Reading, Walker};

/// One of the four.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guarantee {
    /// Read your writes.
    ReadYourWrites,
    /// Monotonic reads.
    MonotonicReads,
    /// Monotonic writes.
    MonotonicWrites,
    /// Writes follow reads.
    WritesFollowReads,
}

impl Guarantee {
    /// All of them.
    pub const ALL: [Guarantee; 4] =
        [Guarantee::ReadYourWrites, Guarantee::MonotonicReads, Guarantee::MonotonicWrites, Guarantee::WritesFollowReads];
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Guarantee::ReadYourWrites => "read your writes",
            Guarantee::MonotonicReads => "monotonic reads",
            Guarantee::MonotonicWrites => "monotonic writes",
            Guarantee::WritesFollowReads => "writes follow reads",
        })
    }
}

/// A read that broke a guarantee.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub guarantee: Guarantee,
    /// The key.
    pub key: KeyId,
    /// The read.
    pub read: usize,
    /// The process whose guarantee it was: the reader, or for the last two the writer.
    pub process: u64,
    /// What the process did before: its write, or its read.
    pub earlier: usize,
    /// For the last two: the process's write after that, which the read shows.
    pub follower: Option<usize>,
    /// The write that the read should show, or should show no more.
    pub write: usize,
    /// If it should show it no more: the write or delete that covered it.
    pub by: Option<usize>,
}

impl Evidence for Violation {
    fn kind(&self) -> &'static str {
        match self.guarantee {
            Guarantee::ReadYourWrites => "read-your-writes",
            Guarantee::MonotonicReads => "monotonic-reads",
            Guarantee::MonotonicWrites => "monotonic-writes",
            Guarantee::WritesFollowReads => "writes-follow-reads",
        }
    }

    fn key(&self) -> KeyId {
        self.key
    }

    fn operations(&self) -> Vec<usize> {
        let mut operations = vec![self.write];
        for other in [Some(self.earlier), self.by, self.follower, Some(self.read)].into_iter().flatten() {
            if !operations.contains(&other) {
                operations.push(other);
            }
        }
        operations
    }

    fn tell(&self, history: &History, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", op(history, self.earlier))?;
        if let Some(follower) = self.follower {
            write!(f, "; then {}", op(history, follower))?;
        }
        write!(f, "; yet {}", op(history, self.read))?;
        match self.by {
            None if self.write == self.earlier => write!(f, ", which has neither that nor anything that replaced it"),
            None => write!(f, ", which has neither what {} nor anything that replaced it", op(history, self.write)),
            Some(by) => write!(f, ", which has what {}, though {} replaced it", op(history, self.write), op(history, by)),
        }
    }
}

/// Cases and violations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// How often the guarantee could be judged.
    pub judged: u64,
    /// How often it was broken.
    pub violations: u64,
}

impl Rate {
    /// Violations per case; `None` without cases.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a rate for reports")]
    pub fn fraction(self) -> Option<f64> {
        (self.judged > 0).then(|| self.violations as f64 / self.judged as f64)
    }
}

/// What became of the guarantees in a history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// By guarantee and the level of the read; `None` where no level is said.
    pub by_level: BTreeMap<(Guarantee, Option<WordId>), Rate>,
    /// By guarantee and the process whose guarantee it was.
    pub by_process: BTreeMap<(Guarantee, u64), Rate>,
    /// The violations, in order of key and of the read's call.
    pub violations: Vec<Violation>,
}

/// Judges every read of every process.
#[must_use]
pub fn check(history: &History, allow: &Allowances<'_>) -> Report {
    check_reads(history, allow, &|_| true)
}

/// Judges the reads with the indices that are `wanted`, each against all that its process did before.
#[must_use]
pub fn check_reads(history: &History, allow: &Allowances<'_>, wanted: &dyn Fn(usize) -> bool) -> Report {
    let mut report = Report::default();
    ByKey::new(history).for_each(|key| {
        let lineage = Lineage::new(key);
        let order = Order::new(history, &lineage);
        let mut judge = Judge { history, lineage: &lineage, walker: Walker::new(&lineage), allow, report: &mut report };
        for (number, read) in lineage.reads.iter().enumerate().filter(|(_, read)| !read.opaque && wanted(read.op)) {
            judge.own_writes(read, order.write_before_read[number]);
            judge.own_reads(read, order.read_before_read[number]);
            if lineage.model == Model::Listed {
                judge.others(read, &order);
            }
        }
    });
    report
}

/// What each process had done last on this key before each of its operations.
struct Order {
    write_before_read: Vec<Option<u32>>,
    read_before_read: Vec<Option<usize>>,
    write_before_write: Vec<Option<u32>>,
    read_before_write: Vec<Option<usize>>,
}

#[derive(Clone, Copy)]
enum Step {
    Read(usize),
    Write(u32),
}

impl Order {
    fn new(history: &History, lineage: &Lineage) -> Self {
        let mut steps: Vec<(u64, u64, usize, Step)> = Vec::with_capacity(lineage.reads.len() + lineage.writes.len());
        let mut push = |op: usize, step: Step| steps.push((history.operations[op].process, history.operations[op].call, op, step));
        lineage.reads.iter().enumerate().for_each(|(number, read)| push(read.op, Step::Read(number)));
        lineage.nodes().for_each(|node| push(lineage.node(node).op, Step::Write(node)));
        steps.sort_unstable_by_key(|step| (step.0, step.1, step.2));
        let mut order = Order {
            write_before_read: vec![None; lineage.reads.len()],
            read_before_read: vec![None; lineage.reads.len()],
            write_before_write: vec![None; lineage.writes.len()],
            read_before_write: vec![None; lineage.writes.len()],
        };
        for process in steps.chunk_by(|a, b| a.0 == b.0) {
            order.follow(lineage, process.iter().map(|step| step.3));
        }
        order
    }

    /// Follows one process. Operations that overlap, or whose outcome is unknown, are not "before".
    fn follow(&mut self, lineage: &Lineage, steps: impl Iterator<Item = Step>) {
        let (mut write, mut read) = (None, None);
        for step in steps {
            let call = match step {
                Step::Read(number) => lineage.reads[number].call,
                Step::Write(node) => lineage.node(node).call,
            };
            let write_before = write.filter(|node| lineage.node(*node).end < call);
            let read_before = read.filter(|number: &usize| lineage.reads[*number].end < call);
            match step {
                Step::Read(number) => {
                    self.write_before_read[number] = write_before;
                    self.read_before_read[number] = read_before;
                    if !lineage.reads[number].opaque {
                        read = Some(number);
                    }
                }
                Step::Write(node) => {
                    self.write_before_write[node as usize] = write_before;
                    self.read_before_write[node as usize] = read_before;
                    if lineage.node(node).acked {
                        write = Some(node);
                    }
                }
            }
        }
    }
}

struct Judge<'a, 'r> {
    history: &'a History,
    lineage: &'a Lineage,
    walker: Walker,
    allow: &'a Allowances<'a>,
    report: &'r mut Report,
}

/// What is wrong with a result: a write hidden, or back although another covered it.
struct Wrong {
    write: u32,
    by: Option<u32>,
}

impl Judge<'_, '_> {
    fn own_writes(&mut self, read: &Reading, write: Option<u32>) {
        let Some(node) = write.filter(|node| self.binds(*node)) else { return };
        let wrong = if self.lineage.node(node).value.is_none() && self.lineage.model == Model::Register {
            let shows_older = !self.lineage.shown(read).is_empty() && !self.lineage.excused(&mut self.walker, read, node);
            shows_older.then_some(Wrong { write: node, by: None })
        } else {
            self.wrong(read, &[node])
        };
        let process = self.history.operations[read.op].process;
        self.count(Guarantee::ReadYourWrites, process, read, self.lineage.node(node).op, None, wrong);
    }

    fn own_reads(&mut self, read: &Reading, earlier: Option<usize>) {
        let lineage = self.lineage;
        let Some(earlier) = earlier.map(|number| &lineage.reads[number]).filter(|earlier| !lineage.shown(earlier).is_empty()) else {
            return;
        };
        let wrong = self.wrong(read, lineage.shown(earlier));
        let process = self.history.operations[read.op].process;
        self.count(Guarantee::MonotonicReads, process, read, earlier.op, None, wrong);
    }

    /// For each write in the result, what its writer had done before.
    fn others(&mut self, read: &Reading, order: &Order) {
        let lineage = self.lineage;
        for follower in lineage.shown(read).iter().copied() {
            if !self.binds(follower) {
                continue;
            }
            let process = self.history.operations[lineage.node(follower).op].process;
            let op = Some(lineage.node(follower).op);
            if let Some(node) = order.write_before_write[follower as usize].filter(|node| self.binds(*node)) {
                let wrong = self.wrong(read, &[node]).or_else(|| self.beside(read, &[node], follower));
                self.count(Guarantee::MonotonicWrites, process, read, lineage.node(node).op, op, wrong);
            }
            let earlier = order.read_before_write[follower as usize].map(|number| &lineage.reads[number]);
            if let Some(earlier) = earlier.filter(|earlier| !lineage.shown(earlier).is_empty()) {
                let seen = lineage.shown(earlier);
                let wrong = self.wrong(read, seen).or_else(|| self.beside(read, seen, follower));
                self.count(Guarantee::WritesFollowReads, process, read, earlier.op, op, wrong);
            }
        }
    }

    /// Whether anything may be expected of a write.
    fn binds(&self, node: u32) -> bool {
        !self.lineage.node(node).twin && !(self.allow.vanished)(self.lineage.node(node).op)
    }

    /// One of the writes `due` hidden, or one that they covered back.
    fn wrong(&mut self, read: &Reading, due: &[u32]) -> Option<Wrong> {
        let lineage = self.lineage;
        for node in due.iter().copied() {
            if !self.binds(node) {
                continue;
            }
            if lineage.node(node).value.is_some() && !lineage.excused(&mut self.walker, read, node) {
                return Some(Wrong { write: node, by: None });
            }
            let back = lineage.covers(node).iter().find_map(|below| self.beside(read, &[*below], node));
            if back.is_some() {
                return back;
            }
        }
        None
    }

    /// One of the writes `older` in the result although `newer` covered it.
    fn beside(&self, read: &Reading, older: &[u32], newer: u32) -> Option<Wrong> {
        let lineage = self.lineage;
        let repeated = |node: u32| lineage.node(node).twin || (self.allow.repeated)(lineage.node(node).op);
        let back = |node: &&u32| {
            let covered = lineage.covers(newer).binary_search(*node).is_ok();
            covered && lineage.shown(read).binary_search(*node).is_ok() && !repeated(**node)
        };
        if repeated(newer) {
            return None;
        }
        older.iter().find(back).map(|node| Wrong { write: *node, by: Some(newer) })
    }

    fn count(&mut self, guarantee: Guarantee, process: u64, read: &Reading, earlier: usize, follower: Option<usize>, wrong: Option<Wrong>) {
        let level = self.history.operations[read.op].level;
        let by_level = self.report.by_level.entry((guarantee, level)).or_default();
        by_level.judged += 1;
        by_level.violations += u64::from(wrong.is_some());
        let by_process = self.report.by_process.entry((guarantee, process)).or_default();
        by_process.judged += 1;
        by_process.violations += u64::from(wrong.is_some());
        if let Some(Wrong { write, by }) = wrong {
            let (key, op) = (self.lineage.key, |node: u32| self.lineage.node(node).op);
            let (write, by) = (op(write), by.map(op));
            self.report.violations.push(Violation { guarantee, key, read: read.op, process, earlier, follower, write, by });
        }
    }
}

#[cfg(test)]
mod tests;
