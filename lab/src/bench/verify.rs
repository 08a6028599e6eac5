//! Checking what reads return, while the load runs.
//!
//! **Promise.** A [`Violation`] is never a false alarm; what cannot be judged is let pass.
//!
//! - *Upon every read*: each value is whole, was written to this very key, and by a write that had been sent. Values of other runs
//!   are held to the first two.
//! - *Upon a read that began after a write to its key was acknowledged*, where the level promises overlap or a session promises that
//!   its own writes are read: the answer is not the absence of the key, nor only values that are certainly older. Those are earlier
//!   writes of the same writer, and writes of writers that were finished before.
//! - *Upon a write whose outcome is unknown*: the second rule is not applied to its key any more. It may take effect at any time,
//!   and then replaces newer values, as a write that has read nothing does.
//!
//! A value of any other writer is let pass: it may have replaced the acknowledged one. Full judgement needs the history and a
//! checker; this is what can be had for one atomic word per key.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::plan::BenchLevel;
use crate::workload::{Damaged, KeyNumber, Stamp, Writer};

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A value that nobody wrote.
    #[error("key {} holds {damaged}", key.0)]
    Damaged {
        /// The key.
        key: KeyNumber,
        /// What is wrong with the value.
        damaged: Damaged,
    },
    /// A value that was written to another key.
    #[error("key {} holds {stamp}, which was written to key {}", key.0, stamp.key.0)]
    OtherKey {
        /// The key that was read.
        key: KeyNumber,
        /// What it held.
        stamp: Stamp,
    },
    /// A value whose write had not been sent.
    #[error("key {} holds {stamp}, which was never sent", key.0)]
    NeverSent {
        /// The key.
        key: KeyNumber,
        /// What it held.
        stamp: Stamp,
    },
    /// An acknowledged write is missing, and nothing can have replaced it.
    #[error("key {} lacks {acknowledged}, which was acknowledged before the read began; it holds {}", key.0, list(found))]
    Lost {
        /// The key.
        key: KeyNumber,
        /// What was acknowledged.
        acknowledged: Stamp,
        /// What was read instead.
        found: Vec<Stamp>,
    },
}

fn list(stamps: &[Stamp]) -> String {
    if stamps.is_empty() {
        return "nothing".to_owned();
    }
    stamps.iter().map(Stamp::to_string).collect::<Vec<_>>().join(" and ")
}

/// What all workers of a run have sent and had acknowledged.
#[derive(Debug)]
pub struct Ledger {
    run: u32,
    /// Writers below this were finished before the others began.
    first_active: u16,
    /// Per writer, the sequence of its last write.
    sent: Vec<AtomicU64>,
    /// Per key, a write that was acknowledged; see [`Acknowledged`].
    acknowledged: Vec<AtomicU64>,
}

/// A writer and a sequence in one word, so that they change together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Acknowledged(u64);

impl Acknowledged {
    const NONE: u64 = 0;
    const UNJUDGED: u64 = u64::MAX;
    const SEQUENCE_BITS: u32 = 48;

    fn word(writer: Writer, sequence: u64) -> u64 {
        assert!(sequence < 1 << Self::SEQUENCE_BITS, "nobody writes that often");
        (u64::from(writer.0) << Self::SEQUENCE_BITS) | sequence
    }

    fn stamp(self, run: u32, key: KeyNumber) -> Option<Stamp> {
        if self.0 == Self::NONE || self.0 == Self::UNJUDGED {
            return None;
        }
        let writer = u16::try_from(self.0 >> Self::SEQUENCE_BITS).expect("16 bits are left");
        Some(Stamp { run, writer: Writer(writer), sequence: self.0 & ((1 << Self::SEQUENCE_BITS) - 1), key })
    }
}

impl Ledger {
    /// A new run. Writers `0..finished` load the keys and are finished before writers `finished..writers` begin.
    ///
    /// # Panics
    /// If there are more keys than memory can address.
    #[must_use]
    pub fn new(run: u32, keys: u64, finished: u16, writers: u16) -> Self {
        let keys = usize::try_from(keys).expect("each key has a word of memory");
        let zeros = |count: usize| std::iter::repeat_with(AtomicU64::default).take(count).collect();
        Self { run, first_active: finished, sent: zeros(usize::from(writers)), acknowledged: zeros(keys) }
    }

    /// The run that these writes belong to.
    #[must_use]
    pub fn run(&self) -> u32 {
        self.run
    }

    /// The number of an active worker.
    pub(super) fn active(&self, index: usize) -> Writer {
        Writer(self.first_active + u16::try_from(index).expect("fewer workers than writers"))
    }

    /// The next write of a writer; only the writer itself calls this, before it sends.
    pub(super) fn next(&self, writer: Writer, key: KeyNumber) -> Stamp {
        let sequence = self.sent[usize::from(writer.0)].fetch_add(1, Ordering::AcqRel) + 1;
        Stamp { run: self.run, writer, sequence, key }
    }

    /// A write was acknowledged.
    pub(super) fn acknowledge(&self, stamp: &Stamp) {
        let word = Acknowledged::word(stamp.writer, stamp.sequence);
        let judged = |old| (old != Acknowledged::UNJUDGED).then_some(word);
        // An error means that the key is not judged any more.
        let _ = self.word(stamp.key).fetch_update(Ordering::AcqRel, Ordering::Acquire, judged);
    }

    /// A write may or may not take effect, at any time.
    pub(super) fn doubt(&self, stamp: &Stamp) {
        self.word(stamp.key).store(Acknowledged::UNJUDGED, Ordering::Release);
    }

    /// Some write to the key that is acknowledged now, if the key can be judged.
    fn acknowledged(&self, key: KeyNumber) -> Option<Stamp> {
        Acknowledged(self.word(key).load(Ordering::Acquire)).stamp(self.run, key)
    }

    fn word(&self, key: KeyNumber) -> &AtomicU64 {
        &self.acknowledged[usize::try_from(key.0).expect("keys are in memory")]
    }

    fn was_sent(&self, stamp: &Stamp) -> bool {
        let sent = self.sent.get(usize::from(stamp.writer.0));
        stamp.run != self.run || sent.is_some_and(|last| stamp.sequence <= last.load(Ordering::Acquire))
    }

    /// Whether `found` was certainly there before `acknowledged`, and cannot have replaced it.
    fn is_older(&self, found: &Stamp, acknowledged: &Stamp) -> bool {
        let same_writer = found.writer == acknowledged.writer && found.sequence < acknowledged.sequence;
        let finished = found.writer.0 < self.first_active && acknowledged.writer.0 >= self.first_active;
        found.run == self.run && (same_writer || finished)
    }
}

/// What one worker's reads are held to.
#[derive(Debug)]
pub(super) struct Judge {
    overlaps: bool,
    /// Per key, the worker's own last acknowledged write; kept only with a session.
    own: Option<HashMap<KeyNumber, Stamp>>,
}

/// What a read of one key must show, fixed when it begins.
#[derive(Debug)]
pub(super) struct Expectation {
    key: KeyNumber,
    acknowledged: [Option<Stamp>; 2],
}

impl Judge {
    pub(super) fn new(level: BenchLevel, replicas: u8) -> Self {
        Self { overlaps: level.overlaps(replicas), own: level.session.then(HashMap::new) }
    }

    pub(super) fn expect(&self, ledger: &Ledger, key: KeyNumber) -> Expectation {
        let by_anybody = if self.overlaps { ledger.acknowledged(key) } else { None };
        let by_itself = self.own.as_ref().and_then(|own| own.get(&key).copied());
        Expectation { key, acknowledged: [by_anybody, by_itself] }
    }

    pub(super) fn acknowledged(&mut self, ledger: &Ledger, stamp: &Stamp) {
        ledger.acknowledge(stamp);
        if let Some(own) = &mut self.own {
            own.insert(stamp.key, *stamp);
        }
    }

    pub(super) fn doubted(&mut self, ledger: &Ledger, stamp: &Stamp) {
        ledger.doubt(stamp);
        if let Some(own) = &mut self.own {
            own.remove(&stamp.key);
        }
    }
}

impl Expectation {
    /// Checks what a read returned.
    pub(super) fn check(&self, ledger: &Ledger, values: &[Bytes]) -> Result<(), Violation> {
        let key = self.key;
        let mut found = Vec::with_capacity(values.len());
        for value in values {
            let stamp = Stamp::read(value).map_err(|damaged| Violation::Damaged { key, damaged })?;
            if stamp.key != key {
                return Err(Violation::OtherKey { key, stamp });
            }
            if !ledger.was_sent(&stamp) {
                return Err(Violation::NeverSent { key, stamp });
            }
            found.push(stamp);
        }
        for acknowledged in self.acknowledged.into_iter().flatten() {
            let lost = found.iter().all(|stamp| ledger.is_older(stamp, &acknowledged));
            // A key that fell into doubt while the read was on its way is not judged.
            if lost && ledger.acknowledged(key).is_some() {
                return Err(Violation::Lost { key, acknowledged, found });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: KeyNumber = KeyNumber(3);
    const LOADER: Writer = Writer(0);
    const A: Writer = Writer(1);
    const B: Writer = Writer(2);

    fn ledger() -> Ledger {
        Ledger::new(9, 10, 1, 3)
    }

    fn judge(level: &str) -> Judge {
        Judge::new(level.parse().expect("a level"), 3)
    }

    fn check(judge: &Judge, ledger: &Ledger, stamps: &[Stamp]) -> Result<(), Violation> {
        let values: Vec<Bytes> = stamps.iter().map(|stamp| stamp.to_value(64)).collect();
        judge.expect(ledger, KEY).check(ledger, &values)
    }

    #[test]
    fn values_of_nobody_of_another_key_and_of_the_future_are_violations() {
        let (ledger, judge) = (ledger(), judge("one"));
        let sent = ledger.next(A, KEY);
        assert_eq!(check(&judge, &ledger, &[sent]), Ok(()));
        let expectation = judge.expect(&ledger, KEY);
        let damaged = expectation.check(&ledger, &[Bytes::from_static(b"hello")]);
        assert!(matches!(damaged, Err(Violation::Damaged { key: KEY, .. })));
        let elsewhere = Stamp { key: KeyNumber(4), ..sent };
        assert_eq!(check(&judge, &ledger, &[elsewhere]), Err(Violation::OtherKey { key: KEY, stamp: elsewhere }));
        let future = Stamp { sequence: 2, ..sent };
        assert_eq!(check(&judge, &ledger, &[future]), Err(Violation::NeverSent { key: KEY, stamp: future }));
        let stranger = Stamp { writer: Writer(77), ..sent };
        assert_eq!(check(&judge, &ledger, &[stranger]), Err(Violation::NeverSent { key: KEY, stamp: stranger }));
        assert_eq!(check(&judge, &ledger, &[Stamp { run: 8, ..stranger }]), Ok(()), "another run cannot be judged");
    }

    #[test]
    fn an_acknowledged_write_is_not_lost_at_overlapping_levels() {
        let (ledger, mut strict, weak) = (ledger(), judge("quorum"), judge("one"));
        let loaded = ledger.next(LOADER, KEY);
        strict.acknowledged(&ledger, &loaded);
        let (first, second) = (ledger.next(A, KEY), ledger.next(A, KEY));
        strict.acknowledged(&ledger, &first);
        strict.acknowledged(&ledger, &second);
        let lost = |found: &[Stamp]| Err(Violation::Lost { key: KEY, acknowledged: second, found: found.to_vec() });
        for old in [&[][..], &[first], &[loaded], &[loaded, first]] {
            assert_eq!(check(&strict, &ledger, old), lost(old));
            assert_eq!(check(&weak, &ledger, old), Ok(()), "level one promises nothing of the kind");
        }
        let other = ledger.next(B, KEY);
        for fine in [&[second][..], &[first, second], &[other], &[first, other]] {
            assert_eq!(check(&strict, &ledger, fine), Ok(()), "{fine:?}");
        }
        assert_eq!(check(&strict, &ledger, &[Stamp { run: 8, ..first }]), Ok(()), "another run may write at the same time");
    }

    #[test]
    fn what_is_acknowledged_after_the_read_began_is_not_expected() {
        let (ledger, mut judge) = (ledger(), judge("quorum"));
        let first = ledger.next(A, KEY);
        judge.acknowledged(&ledger, &first);
        let expectation = judge.expect(&ledger, KEY);
        let second = ledger.next(A, KEY);
        judge.acknowledged(&ledger, &second);
        assert_eq!(expectation.check(&ledger, &[first.to_value(64)]), Ok(()));
    }

    #[test]
    fn an_unknown_write_ends_the_judgement_of_its_key_for_good() {
        let (ledger, mut judge) = (ledger(), judge("quorum"));
        let first = ledger.next(A, KEY);
        judge.acknowledged(&ledger, &first);
        let running = judge.expect(&ledger, KEY);
        let second = ledger.next(A, KEY);
        judge.doubted(&ledger, &second);
        assert_eq!(running.check(&ledger, &[]), Ok(()), "doubt came while the read ran");
        let third = ledger.next(A, KEY);
        judge.acknowledged(&ledger, &third);
        assert_eq!(check(&judge, &ledger, &[second]), Ok(()), "it may have come late and replaced the third");
    }

    #[test]
    fn a_session_is_held_to_its_own_writes_only() {
        let (ledger, mut own, other) = (ledger(), judge("one+session"), judge("one+session"));
        let (first, second) = (ledger.next(A, KEY), ledger.next(A, KEY));
        own.acknowledged(&ledger, &first);
        own.acknowledged(&ledger, &second);
        assert!(matches!(check(&own, &ledger, &[first]), Err(Violation::Lost { .. })));
        assert!(matches!(check(&own, &ledger, &[]), Err(Violation::Lost { .. })));
        assert_eq!(check(&other, &ledger, &[first]), Ok(()));
    }
}
