//! Delivering the hints kept for one replica.
//!
//! **Promise.** A hint is removed only after the replica has acknowledged it durably, or because its age allows it. Delivery
//! is in the order in which the hints were kept, a bounded number at a time, and backs off while the replica does not take
//! them; so a replica that comes back overloaded is not buried.
//!
//! **Rules.**
//! - *Upon the replica being up, or a hint being kept for it while it is*: load a batch, send it.
//! - *Upon every hint of a batch having been answered*: remove what was stored, load the next batch.
//! - *Upon a refusal or a lost answer*: the hint stays; after the batch wait, twice as long every time.
//! - *Upon a refusal for good* (the replica is no home of the key any more, or can never take the write): the hint is given up,
//!   unless it may be the only copy.
//! - *Upon the replica going down*: stop. What was in flight stays kept; delivering it again changes nothing.
//!
//! ```text
//!            up            batch                 all answered
//!   Down ---------> Idle ---------> Delivering ---------------> Idle
//!     ^              | nothing left      | some not taken
//!     |              v                   v
//!     +----------- Empty <-- kept -- BackingOff --- timer ----> Idle
//! ```
//!
//! Source: Dynamo (SOSP'07) §4.6.

use std::collections::{BTreeMap, BTreeSet};

use quorate_protocol::notes::{Mark, Notes};
use quorate_protocol::replica::{Refusal, ReplicaReply};
use quorate_protocol::{Defect, Options, Tick};

use crate::hint::Hint;

/// How hints are delivered to one replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HandoffOptions {
    /// Hints in flight at a time. Larger ones deliver faster and disturb the replica more.
    pub batch_max: usize,
    /// First wait after a batch that was not taken whole, in microseconds.
    pub backoff_micros_min: u64,
    /// Longest wait, in microseconds.
    pub backoff_micros_max: u64,
    /// Age beyond which a hint is dropped instead, in milliseconds.
    pub age_ms_max: u64,
    /// How to behave.
    pub options: Options,
}

/// What happens to a handoff.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HandoffInput {
    /// The replica answers.
    PeerUp,
    /// The replica does not answer.
    PeerDown,
    /// A hint for it was kept.
    Kept,
    /// To `Load`: the oldest hints with their numbers, empty when there are none.
    Loaded {
        /// In the order in which they were kept.
        hints: Vec<(u64, Hint)>,
        /// Wall clock, in milliseconds since 1970.
        now_ms: u64,
    },
    /// The replica holds the hint of this number, or will never take it.
    Delivered(u64),
    /// The replica did not take the hint of this number, or no answer came.
    NotTaken(u64),
    /// The timer went off.
    Timer,
}

impl HandoffInput {
    /// What an answer, or the lack of one, means for the hint `seq`.
    ///
    /// A hint that the replica will never take is given up, unless no other copy may exist: it would hold up all that come
    /// after it.
    #[must_use]
    pub fn answered(seq: u64, only_copy: bool, reply: Option<&ReplicaReply>) -> Self {
        match reply {
            Some(ReplicaReply::Stored) => Self::Delivered(seq),
            Some(ReplicaReply::Refused(refusal)) if !only_copy && is_for_good(refusal) => Self::Delivered(seq),
            Some(ReplicaReply::Refused(_) | ReplicaReply::State { .. } | ReplicaReply::Chain(_)) | None => Self::NotTaken(seq),
        }
    }
}

/// True when asking again will be refused again.
fn is_for_good(refusal: &Refusal) -> bool {
    match refusal {
        Refusal::Stranger | Refusal::Malformed | Refusal::TooLarge | Refusal::LinOnly => true,
        Refusal::OtherEpoch { .. }
        | Refusal::Overloaded
        | Refusal::Expired
        | Refusal::DiskFull
        | Refusal::StoreFailed
        | Refusal::Quarantined
        | Refusal::NotVouched
        | Refusal::BallotUsedTwice => false,
    }
}

/// What a handoff asks of its driver.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HandoffEffect {
    /// Load the oldest hints kept for the replica.
    Load {
        /// How many at most.
        count_max: usize,
    },
    /// Send a hint's write to the replica; answer `Delivered` or `NotTaken`.
    Send {
        /// The hint's number.
        seq: u64,
        /// The hint.
        hint: Hint,
    },
    /// Forget hints.
    Remove {
        /// Their numbers.
        seqs: Vec<u64>,
        /// How many of them were dropped for their age rather than delivered.
        expired: usize,
    },
    /// Give `Timer` at this tick.
    SetTimer(Tick),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Down,
    /// Up, and nothing is known to be kept.
    Empty,
    Loading,
    Delivering {
        waiting: BTreeSet<u64>,
        delivered: Vec<u64>,
        failed: bool,
    },
    BackingOff,
}

/// The machine that delivers one replica's hints.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Handoff {
    options: HandoffOptions,
    phase: Phase,
    failures: u32,
}

impl Handoff {
    /// A handoff to a replica that is down.
    #[must_use]
    pub fn new(options: HandoffOptions) -> Self {
        Self { options, phase: Phase::Down, failures: 0 }
    }

    /// Advances the handoff by one input; effects are appended to `out`.
    pub fn step(&mut self, now: Tick, input: HandoffInput, out: &mut Vec<HandoffEffect>, notes: &mut Notes) {
        match (input, &mut self.phase) {
            (HandoffInput::PeerUp, Phase::Down) => {
                self.failures = 0;
                self.load(out);
            }
            (HandoffInput::Kept, Phase::Empty) => self.load(out),
            (HandoffInput::PeerDown, phase) => {
                if let Phase::Delivering { delivered, waiting, .. } = phase {
                    if self.options.options.has(Defect::OnlyCopyGivenUp) {
                        delivered.extend(waiting.iter());
                    }
                    remove(std::mem::take(delivered), 0, out);
                }
                self.phase = Phase::Down;
            }
            (HandoffInput::Loaded { hints, now_ms }, Phase::Loading) => self.loaded(hints, now_ms, out, notes),
            (HandoffInput::Delivered(seq), Phase::Delivering { waiting, delivered, .. }) => {
                if waiting.remove(&seq) {
                    notes.sometimes(Mark::HintReplayed);
                    if !self.options.options.has(Defect::HintDeletedBeforeAck) {
                        delivered.push(seq);
                    }
                }
                self.conclude(now, out, notes);
            }
            (HandoffInput::NotTaken(seq), Phase::Delivering { waiting, failed, delivered }) => {
                *failed |= waiting.remove(&seq);
                if self.options.options.has(Defect::OnlyCopyGivenUp) {
                    delivered.push(seq);
                }
                self.conclude(now, out, notes);
            }
            (HandoffInput::Timer, Phase::BackingOff) => self.load(out),
            // A timer, an answer or a page that belongs to a phase already left.
            (
                HandoffInput::PeerUp
                | HandoffInput::Kept
                | HandoffInput::Loaded { .. }
                | HandoffInput::Delivered(_)
                | HandoffInput::NotTaken(_)
                | HandoffInput::Timer,
                _,
            ) => {}
        }
    }

    fn load(&mut self, out: &mut Vec<HandoffEffect>) {
        self.phase = Phase::Loading;
        out.push(HandoffEffect::Load { count_max: self.options.batch_max });
    }

    fn loaded(&mut self, hints: Vec<(u64, Hint)>, now_ms: u64, out: &mut Vec<HandoffEffect>, notes: &mut Notes) {
        if hints.is_empty() {
            self.phase = Phase::Empty;
            return;
        }
        let (expired, due): (BTreeMap<_, _>, BTreeMap<_, _>) =
            hints.into_iter().partition(|(_, hint)| hint.is_expired(now_ms, self.options.age_ms_max, self.options.options));
        let count = expired.len();
        if count > 0 {
            notes.sometimes(Mark::HintExpired);
        }
        remove(expired.into_keys().collect(), count, out);
        if due.is_empty() {
            return self.load(out);
        }
        if self.options.options.has(Defect::HintDeletedBeforeAck) {
            remove(due.keys().copied().collect(), 0, out);
        }
        self.phase = Phase::Delivering { waiting: due.keys().copied().collect(), delivered: Vec::new(), failed: false };
        out.extend(due.into_iter().map(|(seq, hint)| HandoffEffect::Send { seq, hint }));
    }

    fn conclude(&mut self, now: Tick, out: &mut Vec<HandoffEffect>, notes: &mut Notes) {
        let Phase::Delivering { waiting, delivered, failed } = &mut self.phase else { return };
        if !waiting.is_empty() {
            return;
        }
        remove(std::mem::take(delivered), 0, out);
        if *failed {
            notes.sometimes(Mark::HintBackedOff);
            let doubled = self.options.backoff_micros_min.saturating_mul(1 << self.failures.min(20));
            self.failures += 1;
            self.phase = Phase::BackingOff;
            out.push(HandoffEffect::SetTimer(now.after(doubled.min(self.options.backoff_micros_max))));
        } else {
            self.failures = 0;
            self.load(out);
        }
    }
}

fn remove(seqs: Vec<u64>, expired: usize, out: &mut Vec<HandoffEffect>) {
    if !seqs.is_empty() {
        out.push(HandoffEffect::Remove { seqs, expired });
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use quorate_protocol::{BucketId, Siblings};
    use quorate_ring::RingEpoch;

    use super::*;

    const BATCH_MAX: usize = 3;

    fn with(options: Options) -> HandoffOptions {
        HandoffOptions { batch_max: BATCH_MAX, backoff_micros_min: 100, backoff_micros_max: 350, age_ms_max: 1_000, options }
    }

    fn hint(kept_ms: u64, only_copy: bool) -> Hint {
        let key = Bytes::from_static(b"k");
        Hint { bucket: BucketId(0), key, delta: Siblings::empty(), epoch: RingEpoch(1), kept_ms, only_copy }
    }

    struct Keeper {
        machine: Handoff,
        kept: BTreeMap<u64, Hint>,
        in_flight: Vec<u64>,
        loads: usize,
        timers: Vec<Tick>,
        expired: usize,
    }

    impl Keeper {
        fn new(hints: u64) -> Self {
            let kept = (1..=hints).map(|seq| (seq, hint(0, true))).collect();
            Self { machine: Handoff::new(with(Options::default())), kept, in_flight: Vec::new(), loads: 0, timers: Vec::new(), expired: 0 }
        }

        /// Steps the machine and carries out everything that takes no time; `Load` answers at once.
        fn step(&mut self, input: HandoffInput) {
            let mut inputs = vec![input];
            while let Some(input) = inputs.pop() {
                let mut out = Vec::new();
                self.machine.step(Tick(0), input, &mut out, &mut Notes::default());
                for effect in out {
                    match effect {
                        HandoffEffect::Load { count_max } => {
                            self.loads += 1;
                            let hints = self.kept.iter().take(count_max).map(|(seq, hint)| (*seq, hint.clone())).collect();
                            inputs.push(HandoffInput::Loaded { hints, now_ms: 5_000 });
                        }
                        HandoffEffect::Send { seq, .. } => self.in_flight.push(seq),
                        HandoffEffect::Remove { seqs, expired } => {
                            self.expired += expired;
                            for seq in seqs {
                                assert!(self.kept.remove(&seq).is_some(), "a hint is removed once");
                            }
                        }
                        HandoffEffect::SetTimer(at) => self.timers.push(at),
                    }
                }
            }
        }
    }

    #[test]
    fn all_hints_are_delivered_in_order_and_removed() {
        let mut keeper = Keeper::new(7);
        keeper.step(HandoffInput::PeerUp);
        let mut order = Vec::new();
        while !keeper.in_flight.is_empty() {
            assert!(keeper.in_flight.len() <= BATCH_MAX);
            let seq = keeper.in_flight.remove(0);
            order.push(seq);
            keeper.step(HandoffInput::Delivered(seq));
        }
        assert_eq!(order, (1..=7).collect::<Vec<_>>());
        assert!(keeper.kept.is_empty());
        keeper.kept.insert(8, hint(0, true));
        keeper.step(HandoffInput::Kept);
        assert_eq!(keeper.in_flight, [8], "a hint kept later is delivered too");
    }

    #[test]
    fn hints_not_taken_stay_and_the_wait_doubles_up_to_its_bound() {
        let mut keeper = Keeper::new(1);
        keeper.step(HandoffInput::PeerUp);
        for _ in 0..4 {
            assert_eq!(keeper.in_flight.split_off(0), [1]);
            keeper.step(HandoffInput::NotTaken(1));
            keeper.step(HandoffInput::Timer);
        }
        assert_eq!(keeper.timers, [Tick(100), Tick(200), Tick(350), Tick(350)]);
        assert_eq!(keeper.kept.len(), 1);
    }

    #[test]
    fn old_hints_are_dropped_unless_they_are_the_only_copy() {
        let mut keeper = Keeper::new(0);
        keeper.kept = BTreeMap::from([(1, hint(0, false)), (2, hint(0, true)), (3, hint(4_500, false))]);
        keeper.step(HandoffInput::PeerUp);
        assert_eq!((keeper.in_flight.as_slice(), keeper.expired), ([2, 3].as_slice(), 1));
    }

    #[test]
    fn only_a_refusal_for_good_gives_up_a_hint_and_never_the_only_copy() {
        let refused = |refusal| Some(ReplicaReply::Refused(refusal));
        let stories = [
            (Some(ReplicaReply::Stored), true, true),
            (refused(Refusal::Malformed), true, false),
            (refused(Refusal::Overloaded), false, false),
            (None, false, false),
        ];
        for (reply, gone, gone_as_only_copy) in stories {
            for (only_copy, gone) in [(false, gone), (true, gone_as_only_copy)] {
                let expected = if gone { HandoffInput::Delivered(7) } else { HandoffInput::NotTaken(7) };
                assert_eq!(HandoffInput::answered(7, only_copy, reply.as_ref()), expected, "{reply:?}");
            }
        }
    }

    #[test]
    fn a_hint_not_taken_is_lost_with_the_bugs_that_say_so() {
        for (defect, kept) in [(None, 1), (Some(Defect::HintDeletedBeforeAck), 0), (Some(Defect::OnlyCopyGivenUp), 0)] {
            let mut keeper = Keeper::new(1);
            keeper.machine = Handoff::new(with(Options { defect, ..Options::default() }));
            keeper.step(HandoffInput::PeerUp);
            keeper.step(HandoffInput::NotTaken(1));
            assert_eq!(keeper.kept.len(), kept);
        }
    }

    proptest! {
        /// Whatever goes wrong on the way, no hint is lost without having been delivered, and a healthy replica gets all of them.
        #[test]
        fn no_hint_is_removed_undelivered(choices in prop::collection::vec((any::<u8>(), 0..10u8), 0..120)) {
            let mut keeper = Keeper::new(12);
            let mut delivered = BTreeSet::new();
            keeper.step(HandoffInput::PeerUp);
            for (choice, kind) in choices {
                match kind {
                    0 => { keeper.in_flight.clear(); keeper.step(HandoffInput::PeerDown); }
                    1 => keeper.step(HandoffInput::PeerUp),
                    2 => keeper.step(HandoffInput::Timer),
                    _ if keeper.in_flight.is_empty() => {}
                    _ => {
                        let index = usize::from(choice) % keeper.in_flight.len();
                        let seq = keeper.in_flight.swap_remove(index);
                        if kind < 8 {
                            delivered.insert(seq);
                            keeper.step(HandoffInput::Delivered(seq));
                        } else {
                            keeper.step(HandoffInput::NotTaken(seq));
                        }
                    }
                }
                prop_assert!((1..=12).all(|seq| keeper.kept.contains_key(&seq) || delivered.contains(&seq)));
            }
            keeper.in_flight.clear();
            keeper.step(HandoffInput::PeerDown);
            keeper.step(HandoffInput::PeerUp);
            while let Some(seq) = keeper.in_flight.pop() {
                keeper.step(HandoffInput::Delivered(seq));
            }
            prop_assert!(keeper.kept.is_empty());
        }
    }
}
