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
//! - Dropping the results stops everything: lanes after the record they are at, the reader after the line it is at.

use std::hash::{DefaultHasher, Hash, Hasher};

use tokio::sync::mpsc;

use super::Record;
use super::source::{Place, Placed, Records, SourceError};

/// Records that may wait in one lane: enough that a lane with a slow record does not hold up the others at once.
const QUEUE_MAX: usize = 16;

/// What became of one record.
#[derive(Debug)]
pub struct Done<T> {
    /// Where the record ends in the file.
    pub end: Place,
    /// What the work made of it.
    pub result: T,
}

/// Runs `work` on every record, on `lanes` of them at a time. Ends with the records, or with the first line that is none.
///
/// Must be called within a runtime.
pub fn run<T, W, F>(records: Records, lanes: usize, work: W) -> mpsc::Receiver<Result<Done<T>, SourceError>>
where
    T: Send + 'static,
    W: Fn(Record) -> F + Clone + Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let (results, receiver) = mpsc::channel(lanes.max(1));
    let start_lane = |_| {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        tokio::spawn(lane(waiting, work.clone(), results.clone()));
        queue
    };
    let queues: Vec<mpsc::Sender<Placed>> = (0..lanes.max(1)).map(start_lane).collect();
    tokio::task::spawn_blocking(move || read(records, &queues, &results));
    receiver
}

async fn lane<T, W, F>(mut waiting: mpsc::Receiver<Placed>, work: W, results: mpsc::Sender<Result<Done<T>, SourceError>>)
where
    W: Fn(Record) -> F,
    F: Future<Output = T>,
{
    while let Some(Placed { end, record }) = waiting.recv().await {
        let result = work(record).await;
        if results.send(Ok(Done { end, result })).await.is_err() {
            return;
        }
    }
}

fn read<T>(records: Records, queues: &[mpsc::Sender<Placed>], results: &mpsc::Sender<Result<Done<T>, SourceError>>) {
    for placed in records {
        let sent = match placed {
            Ok(placed) => queues[lane_of(&placed.record, queues.len())].blocking_send(placed).is_ok(),
            Err(error) => {
                let _nobody_listens = results.blocking_send(Err(error));
                return;
            }
        };
        if !sent {
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
        let mut results = run(source.records(Place::default()).expect("opens"), 5, work);
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
        let mut results = run(source.records(Place::default()).expect("opens"), 2, |_| async {});
        let mut errors = 0;
        while let Some(result) = results.recv().await {
            errors += usize::from(result.is_err());
        }
        assert_eq!(errors, 1);
    }
}
