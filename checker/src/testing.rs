//! Histories for tests, written one short line per operation.

use crate::history::{Action, Detail, FinalState, FinalVersion, History, Nanos, Operation, Outcome, Seen, ValueId};

/// Builds a history; every line answers the index of its operation. The key is `k` until [`Script::key`] says otherwise.
#[derive(Clone)]
pub(crate) struct Script {
    pub(crate) history: History,
    key: String,
    level: Option<String>,
}

impl Script {
    pub(crate) fn new() -> Self {
        Script { history: History::default(), key: "k".to_owned(), level: None }
    }

    pub(crate) fn key(&mut self, key: &str) {
        key.clone_into(&mut self.key);
    }

    pub(crate) fn level(&mut self, level: &str) {
        self.level = Some(level.to_owned());
    }

    pub(crate) fn value(&mut self, text: &str) -> ValueId {
        self.history.names.value(text)
    }

    pub(crate) fn values(&mut self, texts: &[&str]) -> Box<[ValueId]> {
        let mut values: Vec<ValueId> = texts.iter().map(|text| self.history.names.value(text)).collect();
        values.sort_unstable();
        values.into()
    }

    fn seen(&mut self, texts: &[&str]) -> Seen {
        match texts {
            [] => Seen::Absent,
            [one] => Seen::One(self.value(one)),
            many => Seen::Many(self.values(many)),
        }
    }

    fn push(&mut self, process: u64, action: Action, covers: Option<&[&str]>, time: (Nanos, Option<Nanos>), outcome: Outcome) -> usize {
        let detail = covers.map(|covers| Box::new(Detail { covers: Some(self.values(covers)), ..Detail::default() }));
        let key = self.history.names.key(&self.key);
        let level = self.level.as_ref().map(|level| self.history.names.word(level));
        self.history.operations.push(Operation { process, key, action, call: time.0, end: time.1, outcome, level, detail });
        self.history.operations.len() - 1
    }

    pub(crate) fn read(&mut self, process: u64, texts: &[&str], call: Nanos, end: Nanos) -> usize {
        let seen = Some(self.seen(texts));
        self.push(process, Action::Read { seen }, None, (call, Some(end)), Outcome::Ok)
    }

    pub(crate) fn write(&mut self, process: u64, text: &str, call: Nanos, end: Nanos) -> usize {
        let value = self.value(text);
        self.push(process, Action::Write { value }, None, (call, Some(end)), Outcome::Ok)
    }

    pub(crate) fn put(&mut self, process: u64, text: &str, covers: &[&str], call: Nanos, end: Nanos) -> usize {
        let value = self.value(text);
        self.push(process, Action::Write { value }, Some(covers), (call, Some(end)), Outcome::Ok)
    }

    pub(crate) fn failed_write(&mut self, process: u64, text: &str, call: Nanos, end: Nanos) -> usize {
        let value = self.value(text);
        self.push(process, Action::Write { value }, None, (call, Some(end)), Outcome::Fail)
    }

    pub(crate) fn unknown_write(&mut self, process: u64, text: &str, call: Nanos) -> usize {
        let value = self.value(text);
        self.push(process, Action::Write { value }, None, (call, None), Outcome::Unknown)
    }

    pub(crate) fn unknown_put(&mut self, process: u64, text: &str, covers: &[&str], call: Nanos) -> usize {
        let value = self.value(text);
        self.push(process, Action::Write { value }, Some(covers), (call, None), Outcome::Unknown)
    }

    pub(crate) fn delete(&mut self, process: u64, covers: Option<&[&str]>, call: Nanos, end: Nanos) -> usize {
        self.push(process, Action::Delete, covers, (call, Some(end)), Outcome::Ok)
    }

    pub(crate) fn unknown_delete(&mut self, process: u64, covers: Option<&[&str]>, call: Nanos) -> usize {
        self.push(process, Action::Delete, covers, (call, None), Outcome::Unknown)
    }

    /// A cas; one that failed observed `observed`.
    pub(crate) fn cas(&mut self, process: u64, expect: Option<&str>, text: &str, call: Nanos, end: Nanos) -> usize {
        let (expect, value) = (expect.map(|text| self.value(text)), self.value(text));
        self.push(process, Action::Cas { expect, value, observed: None }, None, (call, Some(end)), Outcome::Ok)
    }

    pub(crate) fn unknown_cas(&mut self, process: u64, expect: Option<&str>, text: &str, call: Nanos) -> usize {
        let (expect, value) = (expect.map(|text| self.value(text)), self.value(text));
        self.push(process, Action::Cas { expect, value, observed: None }, None, (call, None), Outcome::Unknown)
    }

    pub(crate) fn failed_cas(&mut self, process: u64, expect: Option<&str>, observed: Option<&str>, call: Nanos, end: Nanos) -> usize {
        let (expect, observed) = (expect.map(|text| self.value(text)), observed.map(|text| self.value(text)));
        let value = self.value("never");
        self.push(process, Action::Cas { expect, value, observed: Some(observed) }, None, (call, Some(end)), Outcome::Fail)
    }

    /// The versions that an operation became.
    pub(crate) fn dots(&mut self, index: usize, dots: &[&str]) {
        let dots = dots.iter().map(|dot| self.history.names.word(dot)).collect();
        self.history.operations[index].detail.get_or_insert_with(Box::default).dots = dots;
    }

    /// The version that an operation made or read.
    pub(crate) fn token(&mut self, index: usize, token: &str) {
        let token = Some(self.history.names.word(token));
        self.history.operations[index].detail.get_or_insert_with(Box::default).token = token;
    }

    /// A replica's final state: dots with values, `None` for a tombstone.
    pub(crate) fn holds(&mut self, replica: &str, versions: &[(&str, Option<&str>)]) {
        let (replica, key) = (self.history.names.word(replica), self.history.names.key(&self.key));
        let versions = versions
            .iter()
            .map(|(dot, value)| FinalVersion { dot: self.history.names.word(dot), value: value.map(|text| self.history.names.value(text)) })
            .collect();
        self.history.finals.push(FinalState { replica, key, versions, digest: None });
    }
}

/// A small generator of random numbers for tests that make their own histories (splitmix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// A number below `sides`.
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }
}
