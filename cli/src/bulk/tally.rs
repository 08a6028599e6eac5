//! What became of a load's records, and whether it is worth going on.

use std::time::{Duration, Instant};

use quorate_protocol::Outcome;

use super::put::{Failed, Retries};
use crate::exit::Exit;
use crate::output::Count;

/// Counts records by what became of them.
#[derive(Debug)]
pub struct Tally {
    /// In the cluster.
    pub stored: u64,
    /// Not in the cluster, and never will be.
    pub not_applied: u64,
    /// Perhaps in the cluster.
    pub unknown: u64,
    /// Stored, but not by the first attempt.
    pub retried: u64,
    /// The first failure of the worst kind.
    pub worst: Option<Failed>,
    /// Why not all records were tried.
    pub stopped: Option<Stopped>,
    last_stored: Instant,
}

/// Why a load ended before its file did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Every record would be refused for the same reason.
    Refused,
    /// A record was tried as long as records are, and meanwhile no other was stored either.
    NothingStored,
    /// A line of the file is no record any more.
    Changed,
    /// A signal, as of Ctrl-C.
    Interrupted,
}

impl Tally {
    /// Nothing has happened at `now`.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { stored: 0, not_applied: 0, unknown: 0, retried: 0, worst: None, stopped: None, last_stored: now }
    }

    /// Counts one record.
    pub fn count(&mut self, now: Instant, result: Result<Retries, Failed>) {
        match result {
            Ok(retries) => {
                self.stored += 1;
                self.retried += u64::from(retries != Retries(0));
                self.last_stored = now;
            }
            Err(failed) => self.count_failed(failed),
        }
    }

    fn count_failed(&mut self, failed: Failed) {
        match failed.outcome {
            Outcome::NotApplied => self.not_applied += 1,
            Outcome::Unknown => self.unknown += 1,
        }
        if self.stopped.is_none() && failed.concerns_all() {
            self.stopped = Some(Stopped::Refused);
        }
        if self.stopped.is_none() && failed.error.is_retryable() && failed.began >= self.last_stored {
            self.stopped = Some(Stopped::NothingStored);
        }
        let is_worse = |worst: &Failed| worst.outcome == Outcome::NotApplied && failed.outcome == Outcome::Unknown;
        if self.worst.as_ref().is_none_or(is_worse) {
            self.worst = Some(failed);
        }
    }

    /// Records that were tried.
    #[must_use]
    pub fn tried(&self) -> u64 {
        self.stored + self.not_applied + self.unknown
    }

    /// True when every record that was tried is stored, and all were tried.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.worst.is_none() && self.stopped.is_none()
    }

    /// How the command ends.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match &self.worst {
            Some(failed) => failed.exit(),
            None if self.stopped.is_some() => Exit::Failure,
            None => Exit::Ok,
        }
    }

    /// What is worth saying while the load goes on.
    #[must_use]
    pub fn remark(&self) -> String {
        match self.not_applied + self.unknown {
            0 => String::new(),
            failed => format!("{failed} failed"),
        }
    }

    /// One line on `records` records, for people.
    #[must_use]
    pub fn summary(&self, records: u64, took: Duration) -> String {
        let Self { stored, not_applied, unknown, retried, .. } = self;
        let retried = if *retried == 0 { String::new() } else { format!(" ({retried} after retries)") };
        let seconds = took.as_secs_f64();
        let stopped = match self.stopped {
            None => String::new(),
            Some(why) => format!("; {} not tried, because {}", Count(records - self.tried(), "record"), why.describe()),
        };
        let records = Count(records, "record");
        format!("{stored} of {records} stored{retried}, {not_applied} not applied, {unknown} unknown, in {seconds:.1}s{stopped}")
    }
}

impl Stopped {
    fn describe(self) -> &'static str {
        match self {
            Self::Refused => "all would be refused alike",
            Self::NothingStored => "nothing could be stored any more",
            Self::Changed => "the file has changed meanwhile",
            Self::Interrupted => "a signal stopped the load",
        }
    }
}

#[cfg(test)]
mod tests {
    use quorate_client::{Error, NodeId, Operation, Reason, Subject, Verb};
    use quorate_protocol::outcome::Failure;

    use super::*;

    fn failed(reason: Reason, outcome: Outcome, began: Instant) -> Result<Retries, Failed> {
        let subject = Subject::Key("a".into());
        let operation = Box::new(Operation { verb: Verb::Put, subject, bucket: None, level: None, op: None });
        let failure = Box::new(Failure { reason, outcome: Outcome::NotApplied, replicas: Vec::new() });
        let error = Error::Failed { operation, coordinator: NodeId(1), failure, outcome: Outcome::NotApplied };
        Err(Failed { outcome, error, began })
    }

    #[test]
    fn every_record_is_counted_once_and_the_worst_decides() {
        let began = Instant::now();
        let later = began + Duration::from_secs(1);
        let mut tally = Tally::new(later);
        tally.count(later, Ok(Retries(0)));
        tally.count(later, Ok(Retries(2)));
        tally.count(later, failed(Reason::Overloaded, Outcome::NotApplied, began));
        assert_eq!(tally.exit(), Exit::Unavailable);
        tally.count(later, failed(Reason::Overloaded, Outcome::Unknown, began));
        tally.count(later, failed(Reason::Overloaded, Outcome::NotApplied, began));
        assert_eq!((tally.tried(), tally.exit(), tally.stopped), (5, Exit::Unknown, None));
        let text = "2 of 5 records stored (1 after retries), 2 not applied, 1 unknown, in 1.5s";
        assert_eq!(tally.summary(5, Duration::from_millis(1_500)), text);
    }

    #[test]
    fn a_refusal_that_all_records_share_stops_the_load() {
        let now = Instant::now();
        let mut tally = Tally::new(now);
        tally.count(now, failed(Reason::UnknownBucket { bucket: "carts".to_owned() }, Outcome::NotApplied, now));
        assert_eq!((tally.stopped, tally.exit()), (Some(Stopped::Refused), Exit::Usage));
        let text = "0 of 3 records stored, 1 not applied, 0 unknown, in 0.0s; 2 records not tried, because all would be refused alike";
        assert_eq!(tally.summary(3, Duration::ZERO), text);
    }

    /// A load whose cluster is gone must not try each of its records for a minute.
    #[test]
    fn a_record_given_up_while_nothing_was_stored_stops_the_load() {
        let start = Instant::now();
        let seconds = |count| start + Duration::from_secs(count);
        let mut tally = Tally::new(start);
        tally.count(seconds(2), Ok(Retries(0)));
        tally.count(seconds(62), failed(Reason::Overloaded, Outcome::NotApplied, seconds(1)));
        assert_eq!(tally.stopped, None, "another record was stored meanwhile");
        tally.count(seconds(63), failed(Reason::Overloaded, Outcome::NotApplied, seconds(3)));
        assert_eq!((tally.stopped, tally.is_complete()), (Some(Stopped::NothingStored), false));
    }

    #[test]
    fn an_interrupted_load_is_a_failure_even_if_all_it_tried_is_stored() {
        let mut tally = Tally::new(Instant::now());
        tally.stopped = Some(Stopped::Interrupted);
        assert_eq!((tally.exit(), tally.is_complete()), (Exit::Failure, false));
    }
}
