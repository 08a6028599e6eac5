//! When each client's operations are due: at random, as of callers who know nothing of each other, and whatever became of the earlier ones.
//!
//! **Promise.** The times follow from the seed: as many as the rate says, anywhere in the window, so that operations meet by chance as they
//! do in a Poisson process. Every client has its own schedule. One that is held up makes up for it as fast as it can, and one that fails fast takes no
//! work from the others: the shares of what succeeded are those that callers would have seen.
//!
//! The runtime's timers are too coarse to begin an operation of less than a millisecond on time, so a thread says when one is due.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
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

/// Operation `k` of all is due `offsets[k]` after the begin, and belongs to client `k` modulo their number.
#[derive(Clone, Debug)]
struct Rhythm {
    begin: Instant,
    /// Ascending.
    offsets: Arc<[Duration]>,
    clients: usize,
}

/// When operations are due, from the begin on.
#[derive(Clone, Debug)]
pub(super) struct Times(Arc<[Duration]>);

impl Times {
    /// As many as `rate` a second makes in the window. Many take a while: drawn before the window begins, they make nobody late.
    pub(super) fn draw(window: Duration, rate: f64, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut offsets: Vec<Duration> = (0..count(window.as_secs_f64() * rate)).map(|_| window.mul_f64(random.random::<f64>())).collect();
        offsets.sort_unstable();
        Self(offsets.into())
    }
}

/// One client's part of the schedule.
#[derive(Debug)]
pub(super) struct Turns {
    due: Arc<Semaphore>,
    rhythm: Rhythm,
    next: usize,
}

impl Beats {
    /// Operations of all `clients` together, from `begin` on.
    pub(super) fn start(begin: Instant, Times(offsets): Times, clients: u16) -> Self {
        let rhythm = Rhythm { begin, offsets, clients: usize::from(clients) };
        let due: Vec<Arc<Semaphore>> = (0..clients).map(|_| Arc::new(Semaphore::new(0))).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (rhythm, due, stop) = (rhythm.clone(), due.clone(), Arc::clone(&stop));
            move || rhythm.announce(&due, &stop)
        });
        Self { due, rhythm, stop, thread: Some(thread) }
    }

    /// Operations that are due in the whole window.
    pub(super) fn total(&self) -> u64 {
        self.rhythm.offsets.len() as u64
    }

    /// The schedules of the clients, in order.
    pub(super) fn turns(&self) -> impl Iterator<Item = Turns> {
        self.due.iter().zip(0..).map(|(due, next)| Turns { due: Arc::clone(due), rhythm: self.rhythm.clone(), next })
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
        let due = self.rhythm.begin + *self.rhythm.offsets.get(self.next)?;
        self.due.acquire().await.expect("nobody closes it").forget();
        self.next += self.rhythm.clients;
        Some(due)
    }
}

impl Rhythm {
    fn announce(&self, due: &[Arc<Semaphore>], stop: &AtomicBool) {
        for (offset, client) in self.offsets.iter().zip((0..due.len()).cycle()) {
            let at = self.begin + *offset;
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
fn count(operations: f64) -> usize {
    operations as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_client_gets_every_operation_that_is_its_own_and_in_time() {
        let (begin, window) = (Instant::now(), Duration::from_millis(50));
        let beats = Beats::start(begin, Times::draw(window, 1000.0, 7), 4);
        assert_eq!(beats.total(), 50);
        let mut all = Vec::new();
        for mut turns in beats.turns() {
            while let Some(due) = turns.next().await {
                assert!(Instant::now() >= due && due >= begin && due < begin + window);
                all.push(due - begin);
            }
        }
        all.sort_unstable();
        assert_eq!(all, beats.rhythm.offsets.to_vec());
        let gaps: Vec<Duration> = all.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(
            gaps.iter().any(|gap| *gap < Duration::from_micros(300)) && gaps.iter().any(|gap| *gap > Duration::from_millis(2)),
            "{gaps:?}"
        );
        let again = Beats::start(begin, Times::draw(window, 1000.0, 7), 4);
        assert_eq!(again.rhythm.offsets, beats.rhythm.offsets, "the seed decides");
    }

    #[tokio::test]
    async fn a_schedule_that_is_dropped_ends_its_thread_at_once() {
        let beats = Beats::start(Instant::now() + Duration::from_secs(3_600), Times::draw(Duration::from_secs(1), 10.0, 7), 1);
        let begin = Instant::now();
        drop(beats);
        assert!(begin.elapsed() < Duration::from_secs(10));
    }
}
