//! Many records at a time, and yet those of one key in the order of the file.
//!
//! ```text
//!                    +-> lane 0: one record after the other -+
//!   records, read ---+-> lane 1                              +-> results, in the order in which they are done
//!   by one thread    +-> ..                                  |
//!                    +-> lane n                             -+
//!                a key always goes to the same lane
//! ```
//!
//! **Invariants**
//! - At most one record per lane is at work, and [`QUEUE_MAX`] wait: a slow cluster slows the reading, not the memory.
//! - Upon [`Stop`], records that are not at work yet are dropped; those at work end and are told. Nothing is cut off half done,
//!   because of a put that is cut off nobody can say whether it was applied.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;

use super::Record;
use super::source::{Place, Placed, Records, SourceError};

/// Records that may wait in one lane: enough that a lane with a slow record does not hold up the others at once.
const QUEUE_MAX: usize = 16;

/// Tells everybody who works on a file to come to an end.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

/// What became of one record.
#[derive(Debug)]
pub struct Done<T> {
    /// Where the record ends in the file.
    pub end: Place,
    /// What the work made of it.
    pub result: T,
}

/// What became of the records, one by one.
pub type Results<T> = mpsc::Receiver<Result<Done<T>, SourceError>>;

impl Stop {
    /// Comes to an end.
    pub fn now(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// True once the end was called for.
    #[must_use]
    pub fn is_called(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Runs `work` on every record, on `lanes` of them at a time. The results end with the records, with the first line that is
/// none, or soon after `stop`.
///
/// Must be called within a runtime.
pub fn run<T, W, F>(records: Records, lanes: usize, stop: &Stop, work: W) -> Results<T>
where
    T: Send + 'static,
    W: Fn(Record) -> F + Clone + Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let (results, receiver) = mpsc::channel(lanes.max(1));
    let start_lane = |_| {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        tokio::spawn(lane(waiting, stop.clone(), work.clone(), results.clone()));
        queue
    };
    let queues: Vec<mpsc::Sender<Placed>> = (0..lanes.max(1)).map(start_lane).collect();
    let stop = stop.clone();
    tokio::task::spawn_blocking(move || read(records, &queues, &stop, &results));
    receiver
}

async fn lane<T, W, F>(mut waiting: mpsc::Receiver<Placed>, stop: Stop, work: W, results: mpsc::Sender<Result<Done<T>, SourceError>>)
where
    W: Fn(Record) -> F,
    F: Future<Output = T>,
{
    while let Some(Placed { end, record }) = waiting.recv().await {
        if stop.is_called() {
            return;
        }
        let result = work(record).await;
        if results.send(Ok(Done { end, result })).await.is_err() {
            return;
        }
    }
}

fn read<T>(records: Records, queues: &[mpsc::Sender<Placed>], stop: &Stop, results: &mpsc::Sender<Result<Done<T>, SourceError>>) {
    for placed in records {
        let sent = match placed {
            Ok(placed) => queues[lane_of(&placed.record, queues.len())].blocking_send(placed).is_ok(),
            Err(error) => {
                let _nobody_listens = results.blocking_send(Err(error));
                return;
            }
        };
        if !sent || stop.is_called() {
            return;
        }
    }
}

fn lane_of(record: &Record, lanes: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    (&record.bucket, &record.key).hash(&mut hasher);
    let lane = hasher.finish() % lanes as u64;
    usize::try_from(lane).expect("less than the number of lanes")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use tempfile::NamedTempFile;

    use super::super::Format;
    use super::super::source::Source;
    use super::*;

    fn source(text: &str) -> (NamedTempFile, Source) {
        let mut file = NamedTempFile::new().expect("a temporary file");
        file.write_all(text.as_bytes()).expect("written");
        let source = Source { path: file.path().to_owned(), format: Format::Tsv };
        (file, source)
    }

    /// Records of one key must not overtake each other, or an older value would replace a newer one.
    #[tokio::test(flavor = "multi_thread")]
    async fn records_of_one_key_stay_in_order() {
        let lines: String = (0..400).map(|line| format!("key{}\t{line}\n", line % 7)).collect();
        let (_file, source) = source(&lines);
        let seen: Arc<Mutex<BTreeMap<bytes::Bytes, Vec<u32>>>> = Arc::default();
        let work = {
            let seen = Arc::clone(&seen);
            move |record: Record| {
                let seen = Arc::clone(&seen);
                async move {
                    tokio::task::yield_now().await;
                    let value = String::from_utf8_lossy(&record.values[0]).parse().expect("a number");
                    seen.lock().expect("no panic").entry(record.key).or_default().push(value);
                }
            }
        };
        let mut results = run(source.records(Place::default()).expect("opens"), 5, &Stop::default(), work);
        let mut count = 0;
        while let Some(done) = results.recv().await {
            assert!(done.expect("every line is a record").end.lines <= 400);
            count += 1;
        }
        let seen = seen.lock().expect("no panic");
        assert_eq!((count, seen.len()), (400, 7));
        assert!(seen.values().all(|values| values.is_sorted()), "{seen:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_line_that_is_no_record_ends_the_work_with_an_error() {
        let (_file, source) = source("a\t1\nb\n");
        let mut results = run(source.records(Place::default()).expect("opens"), 2, &Stop::default(), |_| async {});
        let mut errors = 0;
        while let Some(result) = results.recv().await {
            errors += usize::from(result.is_err());
        }
        assert_eq!(errors, 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn stopping_drops_what_waits_and_tells_what_is_at_work() {
        let lines: String = (0..10_000).map(|line| format!("key{line}\t{line}\n")).collect();
        let (_file, source) = source(&lines);
        let begun: Arc<Mutex<usize>> = Arc::default();
        let stop = Stop::default();
        let work = {
            let (begun, stop) = (Arc::clone(&begun), stop.clone());
            move |_| {
                *begun.lock().expect("no panic") += 1;
                stop.now();
                tokio::task::yield_now()
            }
        };
        let mut results = run(source.records(Place::default()).expect("opens"), 4, &stop, work);
        let mut told = 0;
        while results.recv().await.is_some() {
            told += 1;
        }
        let begun = *begun.lock().expect("no panic");
        assert!(begun == told && (1..=4).contains(&told), "{told} of {begun}");
    }
}
