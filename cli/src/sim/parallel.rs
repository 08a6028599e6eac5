//! The same work for many numbers, on several threads.
//!
//! Numbers are handed out in order, and one that was handed out is finished. So whoever stops at a number knows all that came of the
//! lower ones.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;

/// Does `work` for the numbers below `count`, `jobs` at a time, and gives each result to `take`, on this thread and in the order in
/// which they come, until it breaks: then no further number is begun.
pub(super) fn each<R: Send>(jobs: usize, count: u64, work: impl Fn(u64) -> R + Sync, mut take: impl FnMut(u64, R) -> ControlFlow<()>) {
    let next = AtomicU64::new(0);
    let stopped = AtomicBool::new(false);
    let (results, done) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            let results = results.clone();
            let (next, stopped, work) = (&next, &stopped, &work);
            scope.spawn(move || {
                while !stopped.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count || results.send((number, work(number))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(results);
        for (number, result) in done {
            if take(number, result).is_break() {
                stopped.store(true, Ordering::Relaxed);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_number_is_done_once() {
        for jobs in [1, 4] {
            let mut sum = 0;
            each(
                jobs,
                100,
                |number| number,
                |number, result| {
                    assert_eq!(number, result);
                    sum += number;
                    ControlFlow::Continue(())
                },
            );
            assert_eq!(sum, 4_950, "{jobs} jobs");
        }
    }

    #[test]
    fn below_a_number_that_is_done_all_are() {
        let mut seen = BTreeSet::new();
        each(
            4,
            u64::MAX,
            |number| number,
            |number, _| {
                seen.insert(number);
                if number >= 50 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            },
        );
        assert!(seen.iter().copied().eq(0..seen.len() as u64), "{seen:?}");
    }
}
