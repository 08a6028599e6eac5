//! What one key's operations say: what was put, what was seen, and which unknown puts must have happened.

use crate::history::{Action, History, Nanos, Outcome, Seen, ValueId};
use crate::specification::register::Held;
use crate::verdict::Rule;

/// When an operation ended whose outcome nobody knows.
pub(super) const NEVER: Nanos = Nanos::MAX;

/// No such position.
pub(super) const NONE: u32 = u32::MAX;
/// More than one.
const SEVERAL: u32 = u32::MAX - 1;

/// When something is. Zero is free for the beginning, [`NEVER`] for what has no end.
pub(super) fn moment(at: Nanos) -> Nanos {
    at.saturating_add(1).min(NEVER - 1)
}

/// A write, delete or cas that took effect or may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Put {
    /// Its position in the history.
    pub(super) operation: u32,
    /// What it put; a delete puts absence.
    pub(super) value: Held,
    /// What a cas replaced; `None` is not a cas.
    pub(super) replaced: Option<Held>,
    pub(super) call: Nanos,
    pub(super) end: Nanos,
    /// It takes part: its outcome is known, or somebody needs what it put.
    pub(super) kept: bool,
}

impl Put {
    pub(super) fn is_known(&self) -> bool {
        self.end != NEVER
    }
}

/// A read, or a failed cas that said what it observed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sight {
    pub(super) operation: u32,
    pub(super) seen: Held,
    pub(super) call: Nanos,
    pub(super) end: Nanos,
}

/// A failed cas: what it found was not `not`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refusal {
    pub(super) operation: u32,
    pub(super) not: Held,
    pub(super) call: Nanos,
    pub(super) end: Nanos,
    /// What it observed is among the sights.
    pub(super) observed: Option<Held>,
}

/// All of one key.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) puts: Vec<Put>,
    pub(super) sights: Vec<Sight>,
    pub(super) refusals: Vec<Refusal>,
    /// A cas that succeeded although it observed something else.
    against: Option<u32>,
}

impl Facts {
    /// Forgets the last key and takes in another's operations; false if one of them saw siblings.
    pub(super) fn collect(&mut self, history: &History, operations: &[u32]) -> bool {
        self.puts.clear();
        self.sights.clear();
        self.refusals.clear();
        self.against = None;
        operations.iter().all(|&operation| self.take(history, operation))
    }

    fn take(&mut self, history: &History, at: u32) -> bool {
        let operation = &history.operations[at as usize];
        let (outcome, call) = (operation.outcome, moment(operation.call));
        let end = operation.end.filter(|_| outcome != Outcome::Unknown).map_or(NEVER, moment);
        let put = |value, replaced| Put { operation: at, value, replaced, call, end, kept: end != NEVER };
        let sight = |seen| Sight { operation: at, seen, call, end };
        match (&operation.action, outcome) {
            (Action::Read { seen: Some(Seen::Many(_)) }, Outcome::Ok) | (Action::CasSiblings(_), _) => return false,
            (Action::Read { seen: Some(Seen::One(value)) }, Outcome::Ok) => self.sights.push(sight(Some(*value))),
            (Action::Read { seen: Some(Seen::Absent) }, Outcome::Ok) => self.sights.push(sight(None)),
            (Action::Read { .. }, _) | (Action::Write { .. } | Action::Delete, Outcome::Fail) => {}
            (Action::Write { value }, _) => self.puts.push(put(Some(*value), None)),
            (Action::Delete, _) => self.puts.push(put(None, None)),
            (Action::Cas { expect, observed, .. }, Outcome::Fail) => {
                if let Some(seen) = *observed {
                    self.sights.push(sight(seen));
                }
                if !operation.detail.as_ref().is_some_and(|detail| detail.refused) {
                    self.refusals.push(Refusal { operation: at, not: *expect, call, end, observed: *observed });
                }
            }
            (Action::Cas { expect, value, observed }, _) => {
                self.puts.push(put(Some(*value), Some(*expect)));
                if outcome == Outcome::Ok && observed.is_some_and(|observed| observed != *expect) {
                    self.against = self.against.or(Some(at));
                }
            }
        }
        true
    }

    /// Whether a cas by itself contradicts what it says.
    pub(super) fn contradictions(&self, writers: &Writers) -> Result<(), Rule> {
        if let Some(cas) = self.against {
            return Err(Rule::CasAgainstObservation { cas: cas as usize });
        }
        let deletes = self.puts.iter().any(|put| put.value.is_none());
        let once = |held: Held| held.map_or(!deletes, |value| writers.of(value).is_some());
        let vain = self.refusals.iter().find(|refusal| refusal.observed == Some(refusal.not) && once(refusal.not));
        vain.map_or(Ok(()), |refusal| Err(Rule::CasFailedInVain { cas: refusal.operation as usize }))
    }

    /// Whether every value that was certainly there has a write; else who met it, and the value.
    pub(super) fn written(&self, writers: &Writers) -> Result<(), (u32, ValueId)> {
        let seen = self.sights.iter().map(|sight| (sight.operation, sight.seen));
        let known = self.puts.iter().filter(|put| put.is_known());
        let replaced = known.filter_map(|put| Some((put.operation, put.replaced?)));
        let mut met = seen.chain(replaced).filter_map(|(operation, held)| Some((operation, held?)));
        met.find(|(_, value)| writers.is_unwritten(*value)).map_or(Ok(()), Err)
    }

    /// Keeps the unknown puts whose value somebody met who takes part. Values are unique.
    pub(super) fn keep_needed(&mut self, writers: &Writers) -> Result<(), (u32, ValueId)> {
        let seen = self.sights.iter().filter_map(|sight| Some((sight.operation, sight.seen?)));
        let known = self.puts.iter().filter(|put| put.kept);
        let mut needed: Vec<(u32, ValueId)> = seen.chain(known.filter_map(|put| Some((put.operation, put.replaced??)))).collect();
        while let Some((by, value)) = needed.pop() {
            let writer = writers.of(value).ok_or((by, value))?;
            let put = &mut self.puts[writer as usize];
            if !put.kept {
                put.kept = true;
                needed.extend(put.replaced.flatten().map(|value| (put.operation, value)));
            }
        }
        Ok(())
    }

    /// Whether every failed cas that does not say what it found surely found something else than it expected, in any
    /// order that explains the rest.
    pub(super) fn others_are_sure(&self, writers: &Writers) -> bool {
        let mut silent = self.refusals.iter().filter(|refusal| refusal.observed.is_none()).peekable();
        if silent.peek().is_none() {
            return true;
        }
        let calls = Calls::of(self);
        silent.all(|refusal| self.expectation_is_later(refusal, writers) || calls.another_within(refusal))
    }

    /// Nobody put what it expected before it was called.
    fn expectation_is_later(&self, refusal: &Refusal, writers: &Writers) -> bool {
        let Some(value) = refusal.not else { return false };
        let put = writers.of(value).map(|writer| &self.puts[writer as usize]);
        put.is_none_or(|put| !put.kept || put.call >= refusal.call)
    }
}

/// What took effect for certain, by call.
struct Calls {
    /// Call, end, and what was there at its moment; before and after it for a cas.
    spans: Vec<(Nanos, Nanos, [Held; 2])>,
}

/// So many operations are looked at for one failed cas.
const WITHIN_MAX: usize = 64;

impl Calls {
    fn of(facts: &Facts) -> Self {
        let sights = facts.sights.iter().map(|sight| (sight.call, sight.end, [sight.seen; 2]));
        let puts = facts.puts.iter().filter(|put| put.is_known());
        let puts = puts.map(|put| (put.call, put.end, [put.replaced.unwrap_or(put.value), put.value]));
        let mut spans: Vec<_> = sights.chain(puts).collect();
        spans.sort_unstable();
        Self { spans }
    }

    /// Somewhere within the failed cas, something else was there.
    fn another_within(&self, refusal: &Refusal) -> bool {
        let begin = self.spans.partition_point(|(call, _, _)| *call < refusal.call);
        let within = self.spans[begin..].iter().take(WITHIN_MAX).take_while(|(call, _, _)| *call <= refusal.end);
        within.into_iter().any(|(_, end, held)| *end <= refusal.end && held.iter().any(|held| *held != refusal.not))
    }
}

/// Who wrote a value.
#[derive(Debug)]
pub(super) struct Writers {
    /// By value: position among the puts.
    positions: Vec<u32>,
    /// Some value has several.
    pub(super) ambiguous: bool,
}

impl Writers {
    pub(super) fn new(values: usize) -> Self {
        Self { positions: vec![NONE; values], ambiguous: false }
    }

    pub(super) fn note(&mut self, puts: &[Put]) {
        self.ambiguous = false;
        for (position, value) in (0..).zip(puts).filter_map(|(position, put)| Some((position, put.value?))) {
            let writer = &mut self.positions[value.0 as usize];
            self.ambiguous |= *writer != NONE;
            *writer = if *writer == NONE { position } else { SEVERAL };
        }
    }

    pub(super) fn forget(&mut self, puts: &[Put]) {
        for value in puts.iter().filter_map(|put| put.value) {
            self.positions[value.0 as usize] = NONE;
        }
    }

    /// The only one who wrote it.
    pub(super) fn of(&self, value: ValueId) -> Option<u32> {
        Some(self.positions[value.0 as usize]).filter(|&writer| writer < SEVERAL)
    }

    fn is_unwritten(&self, value: ValueId) -> bool {
        self.positions[value.0 as usize] == NONE
    }
}
