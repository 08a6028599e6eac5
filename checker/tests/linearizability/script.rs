//! Histories written down by hand.

use quorate_checker::history::{Action, CasSiblings, Detail, History, Nanos, Operation, Outcome, Seen, ValueId};

/// A history of one key, operation by operation. The empty text is absence.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) history: History,
}

impl Script {
    pub(crate) fn value(&mut self, text: &str) -> ValueId {
        self.history.names.value(text)
    }

    fn or_absent(&mut self, text: &str) -> Option<ValueId> {
        (!text.is_empty()).then(|| self.value(text))
    }

    pub(crate) fn push(&mut self, process: u64, action: Action, call: Nanos, end: Option<Nanos>, outcome: Outcome) -> &mut Self {
        let key = self.history.names.key("k");
        self.history.operations.push(Operation { process, key, action, call, end, outcome, level: None, detail: None });
        self
    }

    fn answered(&mut self, process: u64, action: Action, call: Nanos, end: Nanos) -> &mut Self {
        self.push(process, action, call, Some(end), Outcome::Ok)
    }

    pub(crate) fn write(&mut self, process: u64, value: &str, call: Nanos, end: Nanos) -> &mut Self {
        let value = self.value(value);
        self.answered(process, Action::Write { value }, call, end)
    }

    pub(crate) fn delete(&mut self, process: u64, call: Nanos, end: Nanos) -> &mut Self {
        self.answered(process, Action::Delete, call, end)
    }

    pub(crate) fn cas(&mut self, process: u64, expect: &str, value: &str, call: Nanos, end: Nanos) -> &mut Self {
        let action = Action::Cas { expect: self.or_absent(expect), value: self.value(value), observed: None };
        self.answered(process, action, call, end)
    }

    /// Several values are joined by blanks.
    pub(crate) fn read(&mut self, process: u64, values: &str, call: Nanos, end: Nanos) -> &mut Self {
        let seen = self.seen(values);
        self.answered(process, Action::Read { seen: Some(seen) }, call, end)
    }

    fn seen(&mut self, values: &str) -> Seen {
        Seen::of(values.split_whitespace().map(|value| self.value(value)).collect())
    }

    /// A cas that may expect siblings, joined by blanks.
    pub(crate) fn resolve(&mut self, process: u64, expect: &str, value: &str, call: Nanos, end: Nanos) -> &mut Self {
        let cas = CasSiblings { expect: self.seen(expect), value: self.value(value), observed: None };
        self.answered(process, Action::CasSiblings(Box::new(cas)), call, end)
    }

    /// The last operation's outcome is unknown.
    pub(crate) fn unknown(&mut self) -> &mut Self {
        let last = self.last();
        (last.outcome, last.end) = (Outcome::Unknown, None);
        self
    }

    /// The last operation failed.
    pub(crate) fn failed(&mut self) -> &mut Self {
        self.last().outcome = Outcome::Fail;
        self
    }

    /// The last operation, a cas, says what it found.
    pub(crate) fn found(&mut self, value: &str) -> &mut Self {
        let found = self.or_absent(value);
        let Action::Cas { observed, .. } = &mut self.last().action else { panic!("a cas") };
        *observed = Some(found);
        self
    }

    /// The last operation's context covered these, joined by blanks.
    pub(crate) fn covers(&mut self, values: &str) -> &mut Self {
        let mut covers: Vec<ValueId> = values.split_whitespace().map(|value| self.value(value)).collect();
        covers.sort_unstable();
        self.detail().covers = Some(covers.into());
        self
    }

    /// The last operation was made with the context of an answer that showed these, joined by blanks.
    pub(crate) fn after(&mut self, values: &str) -> &mut Self {
        let mut shown: Vec<ValueId> = values.split_whitespace().map(|value| self.value(value)).collect();
        shown.sort_unstable();
        self.detail().shown = Some(shown.into());
        self
    }

    /// The last operation became these versions, joined by blanks.
    pub(crate) fn dots(&mut self, dots: &str) -> &mut Self {
        let dots = dots.split_whitespace().map(|dot| self.history.names.word(dot)).collect();
        self.detail().dots = dots;
        self
    }

    /// The last operation was sent again so often.
    pub(crate) fn again(&mut self, attempts: u32) -> &mut Self {
        self.detail().attempts = Some(attempts);
        self
    }

    /// The last operation was refused.
    pub(crate) fn refused(&mut self) -> &mut Self {
        self.failed().detail().refused = true;
        self
    }

    /// The last operation's level.
    pub(crate) fn at(&mut self, level: &str) -> &mut Self {
        let level = self.history.names.word(level);
        self.last().level = Some(level);
        self
    }

    fn detail(&mut self) -> &mut Detail {
        self.last().detail.get_or_insert_with(Box::default)
    }

    fn last(&mut self) -> &mut Operation {
        self.history.operations.last_mut().expect("an operation")
    }
}
