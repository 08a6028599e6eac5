//! What operations have learned of a node: how fast it answers, and whether to avoid it for now.
//!
//! Lock-free, because every operation reads and writes it; a lost update costs an estimate, nothing else.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use quorate_protocol::Tick;

use crate::routing::Standing;

/// How long a node is passed over after it could not do what it was asked, in microseconds.
const AVOID_MICROS: u64 = 1_000_000;

/// An answer moves the estimate by one part in so many.
const INERTIA: u64 = 8;

/// One node's record.
#[derive(Debug, Default)]
pub(crate) struct Health {
    /// Moving average; zero while unknown.
    latency_micros: AtomicU64,
    /// It is silent or cannot be reached, until it shows otherwise.
    suspected: AtomicBool,
    /// It answers, but cannot help until then.
    avoid_until: AtomicU64,
}

impl Health {
    pub(crate) fn standing(&self, now: Tick) -> Standing {
        if self.is_suspected() || self.avoid_until.load(Ordering::Relaxed) > now.0 {
            Standing::Failing
        } else {
            Standing::Answers { micros: self.latency_micros.load(Ordering::Relaxed) }
        }
    }

    pub(crate) fn is_suspected(&self) -> bool {
        self.suspected.load(Ordering::Relaxed)
    }

    /// It did what it was asked, after so long.
    pub(crate) fn succeeded(&self, micros: u64) {
        let before = self.latency_micros.load(Ordering::Relaxed);
        let after = if before == 0 { micros } else { (before * (INERTIA - 1) + micros) / INERTIA };
        self.latency_micros.store(after.max(1), Ordering::Relaxed);
        self.trust();
    }

    /// It answers, but could not do it.
    pub(crate) fn avoid(&self, now: Tick) {
        self.avoid_until.store(now.after(AVOID_MICROS).0, Ordering::Relaxed);
        self.trust();
    }

    /// It answers.
    pub(crate) fn trust(&self) {
        if self.is_suspected() {
            self.suspected.store(false, Ordering::Relaxed);
        }
    }

    /// It does not answer.
    pub(crate) fn suspect(&self) {
        self.suspected.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_follows_answers_slowly() {
        let health = Health::default();
        assert_eq!(health.standing(Tick(0)), Standing::Answers { micros: 0 });
        health.succeeded(800);
        health.succeeded(1_600);
        assert_eq!(health.standing(Tick(0)), Standing::Answers { micros: 900 });
    }

    #[test]
    fn a_suspected_node_fails_until_it_answers() {
        let health = Health::default();
        health.suspect();
        assert_eq!(health.standing(Tick(u64::MAX)), Standing::Failing);
        health.succeeded(10);
        assert_eq!(health.standing(Tick(0)), Standing::Answers { micros: 10 });
    }

    #[test]
    fn a_node_that_could_not_help_is_avoided_for_a_while() {
        let health = Health::default();
        health.avoid(Tick(5));
        assert_eq!(health.standing(Tick(4 + AVOID_MICROS)), Standing::Failing);
        assert_eq!(health.standing(Tick(5 + AVOID_MICROS)), Standing::Answers { micros: 0 });
    }
}
