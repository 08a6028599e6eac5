//! When the next operation of a worker begins.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::plan::{Pace, Plan};

/// How long the schedule's thread sleeps at least. An operation begins at most about that much after its intended time, which its
/// latency includes.
const NAP: Duration = Duration::from_micros(200);

/// The times of a measurement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// From here on operations are begun.
    pub(super) start: Instant,
    /// From here on they are counted.
    pub(super) counted: Instant,
    /// From here on none is begun.
    pub(super) end: Instant,
}

impl Window {
    pub(super) fn of(plan: &Plan) -> Self {
        let start = Instant::now();
        let counted = start + plan.warm_up;
        Self { start, counted, end: counted + plan.duration }
    }
}

/// Gives every operation its intended time.
#[derive(Debug)]
pub(super) enum Pacer {
    Closed(Window),
    Open(Schedule),
}

impl Pacer {
    pub(super) fn new(pace: Pace, window: Window) -> Self {
        match pace {
            Pace::Closed => Self::Closed(window),
            Pace::Open { rate } => Self::Open(Schedule::start(rate, window)),
        }
    }

    /// Operations that were due and never begun; none in a closed loop.
    pub(super) fn missed(&self) -> u64 {
        match self {
            Self::Closed(_) => 0,
            Self::Open(schedule) => schedule.missed(),
        }
    }

    /// Waits until an operation is due. Returns its intended time; `None` when the measurement is over.
    pub(super) async fn next(&self) -> Option<Instant> {
        match self {
            Self::Closed(window) => Some(Instant::now()).filter(|now| *now < window.end),
            Self::Open(schedule) => schedule.next().await,
        }
    }
}

/// An even schedule, shared by all workers: who is free takes the next operation.
///
/// The runtime's timers are too coarse for it, so a thread of its own says when operations are due, many at once at high rates.
#[derive(Debug)]
pub(super) struct Schedule {
    due: Arc<Semaphore>,
    taken: AtomicU64,
    rate: f64,
    window: Window,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Schedule {
    fn start(rate: f64, window: Window) -> Self {
        let (due, stop) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicBool::new(false)));
        let thread = std::thread::spawn({
            let (due, stop) = (Arc::clone(&due), Arc::clone(&stop));
            move || announce(rate, window, &due, &stop)
        });
        Self { due, taken: AtomicU64::new(0), rate, window, stop, thread: Some(thread) }
    }

    async fn next(&self) -> Option<Instant> {
        match self.due.acquire().await {
            Ok(permit) => permit.forget(),
            Err(_closed) => return None,
        }
        let number = self.taken.fetch_add(1, Ordering::Relaxed);
        Some(intended(self.window.start, self.rate, number))
    }

    fn missed(&self) -> u64 {
        due_by(self.window.start, self.rate, self.window.end) - self.taken.load(Ordering::Relaxed)
    }
}

impl Drop for Schedule {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the schedule's thread does not panic");
        }
    }
}

/// Makes permits of operations as they become due; closes the semaphore when the last one was taken or nobody is left to take it.
fn announce(rate: f64, window: Window, due: &Semaphore, stop: &AtomicBool) {
    let mut announced = 0;
    let total = due_by(window.start, rate, window.end);
    while announced < total && !stop.load(Ordering::Relaxed) {
        let now_due = due_by(window.start, rate, Instant::now()).min(total);
        due.add_permits(usize::try_from(now_due - announced).expect("permits fit into memory"));
        announced = now_due;
        let next = intended(window.start, rate, announced);
        std::thread::sleep(next.saturating_duration_since(Instant::now()).clamp(NAP, Duration::from_millis(10)));
    }
    while due.available_permits() > 0 && Instant::now() < window.end && !stop.load(Ordering::Relaxed) {
        std::thread::sleep(NAP);
    }
    due.close();
}

fn intended(start: Instant, rate: f64, number: u64) -> Instant {
    start + Duration::from_secs_f64(as_f64(number) / rate)
}

/// Operations intended before `now`.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "elapsed times are not negative; the cast saturates above")]
fn due_by(start: Instant, rate: f64, now: Instant) -> u64 {
    (now.saturating_duration_since(start).as_secs_f64() * rate).ceil() as u64
}

#[expect(clippy::cast_precision_loss, reason = "nobody counts to 2^53 operations")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(duration: Duration) -> Window {
        let start = Instant::now();
        Window { start, counted: start, end: start + duration }
    }

    #[tokio::test]
    async fn an_open_schedule_gives_out_every_operation_once_at_even_times() {
        let window = window(Duration::from_millis(100));
        let pacer = Pacer::new(Pace::Open { rate: 1_000.0 }, window);
        let mut times = Vec::new();
        while let Some(intended) = pacer.next().await {
            assert!(Instant::now() >= intended, "not before its time");
            times.push(intended);
        }
        assert_eq!((times.len(), pacer.missed()), (100, 0));
        let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.iter().all(|gap| gap.abs_diff(Duration::from_millis(1)) < Duration::from_micros(1)), "{gaps:?}");
    }

    #[tokio::test]
    async fn a_late_taker_gets_the_time_that_was_intended() {
        let window = window(Duration::from_secs(60));
        let pacer = Pacer::new(Pace::Open { rate: 1_000_000.0 }, window);
        for number in 0..1_000 {
            let intended = pacer.next().await.expect("the window is open");
            assert_eq!(intended, window.start + Duration::from_micros(number));
        }
    }

    #[tokio::test]
    async fn operations_that_nobody_was_free_to_begin_are_missed() {
        let window = window(Duration::from_millis(20));
        let pacer = Pacer::new(Pace::Open { rate: 1_000.0 }, window);
        assert!(pacer.next().await.is_some());
        let Pacer::Open(schedule) = &pacer else { panic!("an open loop") };
        while !schedule.due.is_closed() {
            tokio::task::yield_now().await;
        }
        assert_eq!((pacer.next().await, pacer.missed()), (None, 19));
    }

    #[tokio::test]
    async fn a_closed_loop_never_waits_and_ends_with_the_window() {
        let over = Pacer::new(Pace::Closed, window(Duration::ZERO));
        assert_eq!(over.next().await, None);
        let open = Pacer::new(Pace::Closed, window(Duration::from_secs(60)));
        assert!(open.next().await.is_some());
    }
}
