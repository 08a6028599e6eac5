//! When each client's operations are due: evenly, and whatever became of the earlier ones.
//!
//! **Promise.** Every client has its own schedule. One that is held up makes up for it as fast as it can, and one that fails fast takes no
//! work from the others: the shares of what succeeded are those that callers would have seen.
//!
//! The runtime's timers are too coarse to begin an operation of less than a millisecond on time, so a thread says when one is due.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

/// How long the thread sleeps at least: an operation begins at most about that much late, which its latency includes.
const NAP: Duration = Duration::from_micros(200);

/// The schedule of all clients.
#[derive(Debug)]
pub(super) struct Beats {
    due: Vec<Arc<Semaphore>>,
    rhythm: Rhythm,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Operation `k` of all is due `k / rate` seconds after the begin, and belongs to client `k` modulo their number.
#[derive(Clone, Copy, Debug)]
struct Rhythm {
    begin: Instant,
    rate: f64,
    total: u64,
    clients: u64,
}

/// One client's part of the schedule.
#[derive(Debug)]
pub(super) struct Turns {
    due: Arc<Semaphore>,
    rhythm: Rhythm,
    next: u64,
}

impl Beats {
    /// Operations at `rate` a second of all `clients` together, from `begin` on for the length of the window.
    pub(super) fn start(begin: Instant, window: Duration, rate: f64, clients: u16) -> Self {
        let rhythm = Rhythm { begin, rate, total: count(window.as_secs_f64() * rate), clients: u64::from(clients) };
        let due: Vec<Arc<Semaphore>> = (0..clients).map(|_| Arc::new(Semaphore::new(0))).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (due, stop) = (due.clone(), Arc::clone(&stop));
            move || rhythm.announce(&due, &stop)
        });
        Self { due, rhythm, stop, thread: Some(thread) }
    }

    /// Operations that are due in the whole window.
    pub(super) fn total(&self) -> u64 {
        self.rhythm.total
    }

    /// The schedules of the clients, in order.
    pub(super) fn turns(&self) -> impl Iterator<Item = Turns> {
        self.due.iter().zip(0..).map(|(due, next)| Turns { due: Arc::clone(due), rhythm: self.rhythm, next })
    }
}

impl Drop for Beats {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the schedule's thread does not panic");
        }
    }
}

impl Turns {
    /// Waits until the next operation is due, and says since when; `None` when there is no further one.
    pub(super) async fn next(&mut self) -> Option<Instant> {
        if self.next >= self.rhythm.total {
            return None;
        }
        self.due.acquire().await.expect("nobody closes it").forget();
        let due = self.rhythm.due(self.next);
        self.next += self.rhythm.clients;
        Some(due)
    }
}

impl Rhythm {
    fn due(self, number: u64) -> Instant {
        self.begin + Duration::from_secs_f64(ratio(number) / self.rate)
    }

    fn announce(self, due: &[Arc<Semaphore>], stop: &AtomicBool) {
        for (number, client) in (0..self.total).zip((0..due.len()).cycle()) {
            let at = self.due(number);
            while let Some(left) = at.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                // In short pieces, so that nobody waits long for the thread's end.
                std::thread::sleep(left.clamp(NAP, Duration::from_millis(50)));
            }
            due[client].add_permits(1);
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate and a window are positive, and their product far below 2^53"
)]
fn count(operations: f64) -> u64 {
    operations as u64
}

#[expect(clippy::cast_precision_loss, reason = "operations of a run are far below 2^53")]
fn ratio(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_client_gets_every_operation_that_is_its_own_and_in_time() {
        let begin = Instant::now();
        let beats = Beats::start(begin, Duration::from_millis(50), 1000.0, 4);
        assert_eq!(beats.total(), 50);
        let mut all = Vec::new();
        for mut turns in beats.turns() {
            let mut last = None;
            while let Some(due) = turns.next().await {
                assert!(Instant::now() >= due && last.is_none_or(|last| due - last >= Duration::from_micros(3_900)));
                last = Some(due);
                all.push(due);
            }
        }
        all.sort_unstable();
        assert_eq!((all.len(), all[0]), (50, begin));
        assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "no operation is due twice");
    }

    #[tokio::test]
    async fn a_schedule_that_is_dropped_ends_its_thread_at_once() {
        let beats = Beats::start(Instant::now() + Duration::from_secs(3_600), Duration::from_secs(1), 10.0, 1);
        let begin = Instant::now();
        drop(beats);
        assert!(begin.elapsed() < Duration::from_secs(10));
    }
}
