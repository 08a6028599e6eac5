//! What linearizable operations did, as the history says it.
//!
//! A compare-and-set by version is recorded with the values that were read with the version. An increment is recorded as the
//! compare-and-set it amounts to: from the answer, or, if nobody was answered, from the chain at the end. One that no chosen state ever
//! contained then stands as a read that brought nothing.

use bytes::Bytes;
use quorate_checker::history::{Action, CasSiblings, Outcome, Seen, ValueId};
use quorate_protocol::chain::operation::Decision;
use quorate_protocol::chain::state::Expect;
use quorate_protocol::chain::{ChainState, Change, Token};
use quorate_protocol::{Actor, Body, OpId, Siblings, Tick};

use super::{Given, Index, Recorder};
use crate::census::Census;
use crate::message::{Changed, Key};

impl Recorder {
    /// What a change is in a history, when it begins.
    pub(super) fn action(&mut self, index: Index, key: Key, op: OpId, change: &Change, expected: &[Bytes]) -> Action {
        match change {
            Change::Put(value) => Action::Write { value: self.value(value) },
            Change::Delete => Action::Delete,
            Change::Cas { expect, body: Body::Value(value) } => {
                let value = self.value(value);
                if matches!(expect, Expect::Token(_)) {
                    self.by_version.insert(index);
                }
                let expect = match expect {
                    Expect::Absent => Seen::Absent,
                    Expect::Value(value) => Seen::One(self.value(value)),
                    Expect::Token(_) => Seen::of(expected.iter().map(|value| self.value(value)).collect()),
                };
                cas(expect, value)
            }
            Change::Modify(_) => {
                self.increments.insert(index, (key, op));
                Action::Read { seen: None }
            }
            Change::Cas { .. } | Change::Identity | Change::Fence => Action::Read { seen: None },
        }
    }

    /// A read ended well.
    pub(crate) fn read(&mut self, now: Tick, index: Index, siblings: &Siblings, token: Option<Token>) {
        self.end(now, index, Outcome::Ok);
        let seen = self.seen(siblings);
        if let Action::Read { seen: read } = &mut self.history.operations[index].action {
            *read = Some(seen);
        }
        if let Some(token) = token {
            self.tell_token(index, token);
            self.answered.push((index, siblings.context().clone()));
        }
    }

    /// A change was decided.
    pub(crate) fn changed(&mut self, now: Tick, index: Index, changed: &Changed) {
        match &changed.decision {
            Decision::Applied { token, result } => {
                self.end(now, index, Outcome::Ok);
                self.tell_token(index, *token);
                self.amounts_to(index, result.as_ref());
            }
            Decision::Conflict { token, current, .. } => {
                self.end(now, index, Outcome::Fail);
                self.tell_token(index, *token);
                self.observed(index, current.as_deref());
                // The version may be another and the values the same: the key was deleted twice, or a tombstone came to it.
                let says_nothing = self.by_version.contains(&index) && !self.tells_apart(index);
                if let Some(detail) = &mut self.history.operations[index].detail {
                    detail.refused = says_nothing;
                }
            }
            Decision::Inapplicable { .. }
            | Decision::Fenced
            | Decision::Superseded
            | Decision::TooOld
            | Decision::TooNew
            | Decision::Crowded => unreachable!("these are failures to a client"),
        }
        if !changed.context.is_empty() {
            self.answered.push((index, changed.context.clone()));
        }
    }

    fn tell_token(&mut self, index: Index, token: Token) {
        let token = self.history.names.word(&token.to_string());
        self.history.operations[index].detail.get_or_insert_default().token = Some(token);
    }

    /// A failed compare-and-set met these values.
    fn observed(&mut self, index: Index, current: Option<&[Bytes]>) {
        let Some(current) = current else { return };
        let found = Seen::of(current.iter().map(|value| self.value(value)).collect());
        let action = &mut self.history.operations[index].action;
        match (&mut *action, found) {
            (Action::Cas { observed, .. }, Seen::Absent) => *observed = Some(None),
            (Action::Cas { observed, .. }, Seen::One(value)) => *observed = Some(Some(value)),
            (Action::Cas { expect, value, .. }, many) => {
                *action = Action::CasSiblings(Box::new(CasSiblings { expect: (*expect).into(), value: *value, observed: Some(many) }));
            }
            (Action::CasSiblings(cas), found) => cas.observed = Some(found),
            (Action::Read { .. } | Action::Write { .. } | Action::Delete, _) => {}
        }
    }

    /// Whether a failed compare-and-set met other values than it expected. If it did not, it forgets what it met.
    fn tells_apart(&mut self, index: Index) -> bool {
        match &mut self.history.operations[index].action {
            Action::Cas { expect, observed, .. } => {
                *observed = observed.filter(|observed| observed != expect);
                observed.is_some()
            }
            Action::CasSiblings(cas) => {
                cas.observed = cas.observed.take().filter(|observed| *observed != cas.expect);
                cas.observed.is_some()
            }
            Action::Read { .. } | Action::Write { .. } | Action::Delete => true,
        }
    }

    /// An increment came to this.
    fn amounts_to(&mut self, index: Index, result: Option<&Bytes>) {
        let Some(result) = result.filter(|_| self.increments.remove(&index).is_some()) else { return };
        let text = std::str::from_utf8(result).expect("numbers are text");
        let before = text.parse::<i64>().expect("an increment gives a number") - 1;
        let expect = if before == 0 { Seen::Absent } else { Seen::One(self.history.names.value(&before.to_string())) };
        let value = self.history.names.value(text);
        self.history.operations[index].action = cas(expect, value);
    }

    /// What increments of unknown outcome amounted to, if they were applied.
    pub(crate) fn resolve_increments(&mut self, census: &Census) {
        for (index, (key, op)) in self.increments.clone() {
            if let Some(applied) = census.contained(key, &op) {
                self.amounts_to(index, applied.result.as_ref());
            }
        }
    }

    /// A state was chosen: from now on its version has a name.
    pub(crate) fn chosen(&mut self, key: Key, state: &ChainState) {
        for (dot, version) in state.siblings.live().filter(|(dot, _)| matches!(dot.actor, Actor::Chain(_))) {
            let dots = self.dots.entry(key).or_default();
            if dots.iter().any(|given| given.dot == dot) {
                continue;
            }
            let index = version.op.and_then(|op| self.by_op.get(&op).copied());
            let value = version.value().cloned().map(|value| self.value(&value));
            self.dots.entry(key).or_default().push(Given { dot, value, index, covers: None });
            let word = self.history.names.word(&dot.to_string());
            if let Some(detail) = index.and_then(|index| self.history.operations[index].detail.as_mut()) {
                detail.dots = detail.dots.iter().copied().chain([word]).collect();
            }
        }
    }
}

fn cas(expect: Seen, value: ValueId) -> Action {
    match expect {
        Seen::Absent => Action::Cas { expect: None, value, observed: None },
        Seen::One(expect) => Action::Cas { expect: Some(expect), value, observed: None },
        expect @ Seen::Many(_) => Action::CasSiblings(Box::new(CasSiblings { expect, value, observed: None })),
    }
}
