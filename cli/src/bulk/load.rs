//! `quorate load`: puts every record of a file.
//!
//! **Promise.** Every record is counted once, under what became of it: stored, not applied, or unknown. The command succeeds
//! only if all were stored.
//!
//! **Rules.**
//! - *Upon a file with a line that is no record*: refuse it by line number, before anything is sent.
//! - *Upon a failure that may pass* (a node that is down, a full queue): put the record again until `--give-up-after`. Once an
//!   outcome is unknown the record keeps its operation id, so that a retry finds the earlier write instead of making another.
//! - *Upon a refusal that every record would meet* (no such bucket, an impossible level): stop.
//! - *Upon a record with siblings*: the first value replaces what is there, the others are put beside it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use quorate_client::{Bucket, Client, Error, OpId};
use quorate_config::BucketName;
use quorate_protocol::outcome::Reason;
use quorate_protocol::{Level, Outcome};
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::progress::Display;
use super::resume::{Progress, Watermark};
use super::source::{Place, Source, progress_path};
use super::{Format, Record, lanes};
use crate::error::{CliError, exit_of};
use crate::exit::Exit;
use crate::globals::{Globals, Output, connect};
use crate::output;

/// How often progress is shown and saved.
const TICK: Duration = Duration::from_millis(200);

const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// Puts every record of a file.
#[derive(Clone, Debug, Args)]
pub struct Load {
    /// The file: FILE.tsv (key, tab, value; \t \n \\ escaped) or FILE.jsonl (as `dump --format jsonl` prints).
    file: PathBuf,

    /// How the file is written [default: what its name ends in].
    #[arg(long, value_enum)]
    format: Option<Format>,

    /// The bucket of records that name none.
    #[arg(long, value_name = "BUCKET", default_value_t = BucketName::default_bucket())]
    bucket: BucketName,

    /// How many replicas must store each record [default: the bucket's own level].
    #[arg(long, value_name = "LEVEL", long_help = crate::kv::level_help())]
    level: Option<Level>,

    /// Records that are put at a time.
    #[arg(long, value_name = "COUNT", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4096))]
    concurrency: u16,

    /// How long a record that fails is put again.
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = humantime::parse_duration)]
    give_up_after: Duration,

    /// Keep FILE.progress, and go on from it if it is there.
    #[arg(long)]
    resume: bool,
}

/// What became of the records.
#[derive(Debug, Default)]
struct Tally {
    stored: u64,
    not_applied: u64,
    unknown: u64,
    /// Stored, but not by the first call.
    retried: u64,
    /// The first failure of the worst kind.
    worst: Option<Failed>,
    /// True once every other record would fail too.
    hopeless: bool,
}

/// A record that could not be stored.
#[derive(Debug)]
struct Failed {
    /// What is known of all attempts together; the error speaks of the last.
    outcome: Outcome,
    error: Error,
}

/// How often a record that was stored had to be put again.
#[derive(Clone, Copy, Debug, Default)]
struct Retries(u32);

/// Puts records.
#[derive(Clone, Debug)]
struct Putter {
    client: Client,
    bucket: Arc<str>,
    level: Option<Level>,
    give_up_after: Duration,
}

#[derive(Serialize)]
struct LoadFields {
    outcome: &'static str,
    exit: Exit,
    file: String,
    records: u64,
    stored: u64,
    not_applied: u64,
    unknown: u64,
    retried: u64,
    seconds: f64,
    error: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// Exit 2 for a file that is none of records, 6 if no node answers. Failures of single records are counted, and end in the
/// exit code of the worst of them.
pub async fn run(command: Load, globals: &Globals) -> Result<Exit, CliError> {
    let started = Instant::now();
    let source = command.source()?;
    let end = check(source.clone()).await?;
    let progress = command.resume.then(|| Progress::new(progress_path(&source.path), end));
    let start = progress.as_ref().map_or(Ok(Place::default()), Progress::start).map_err(CliError::usage)?;
    let putter = Putter {
        client: connect(globals).await?,
        bucket: Arc::from(command.bucket.as_str()),
        level: command.level,
        give_up_after: command.give_up_after,
    };
    let records = source.records(start).map_err(CliError::usage)?;
    let results = lanes::run(records, command.concurrency.into(), move |record| {
        let putter = putter.clone();
        async move { putter.store(&record).await }
    });
    let tally = collect(results, start, end, progress.as_ref()).await?;
    report(&tally, &source, end.lines - start.lines, started.elapsed(), globals.output)
}

impl Load {
    fn source(&self) -> Result<Source, CliError> {
        let format = self.format.map_or_else(|| Format::of(&self.file), Ok).map_err(CliError::usage)?;
        Ok(Source { path: self.file.clone(), format })
    }
}

/// Reads the file to its end, beside the runtime.
async fn check(source: Source) -> Result<Place, CliError> {
    let checked = tokio::task::spawn_blocking(move || source.check()).await;
    checked.expect("checking a file does not panic").map_err(CliError::usage)
}

async fn collect(
    mut results: tokio::sync::mpsc::Receiver<Result<lanes::Done<Result<Retries, Failed>>, super::source::SourceError>>,
    start: Place,
    end: Place,
    progress: Option<&Progress>,
) -> Result<Tally, CliError> {
    let failure = |error| CliError::new(Exit::Failure, error);
    let mut tally = Tally::default();
    let mut watermark = Watermark::new(start);
    let mut display = Display::new("records", Some(end.lines));
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut saved = start;
    while !tally.hopeless {
        tokio::select! {
            result = results.recv() => {
                let Some(result) = result else { break };
                let done = result.map_err(|error| CliError::new(Exit::Failure, error))?;
                if done.result.is_ok() {
                    watermark.stored(done.end);
                }
                tally.count(done.result);
            }
            _ = tick.tick() => {
                display.at(start.lines + tally.records(), &tally.remark());
                if let Some(progress) = progress.filter(|_| watermark.place() != saved) {
                    saved = watermark.place();
                    progress.save(saved).map_err(failure)?;
                }
            }
        }
    }
    display.end();
    match progress {
        Some(progress) if tally.worst.is_none() => progress.clear().map_err(failure)?,
        Some(progress) => progress.save(watermark.place()).map_err(failure)?,
        None => {}
    }
    Ok(tally)
}

impl Putter {
    /// Puts all values of a record.
    async fn store(&self, record: &Record) -> Result<Retries, Failed> {
        let mut bucket = self.client.bucket(record.bucket.as_deref().unwrap_or(&self.bucket));
        if let Some(level) = self.level {
            bucket = bucket.level(level);
        }
        let mut retries = Retries::default();
        for index in 0..record.values.len() {
            retries.0 += self.put(&bucket, record, index).await?.0;
        }
        Ok(retries)
    }

    /// Puts one value, until it is stored or it is time to give up.
    async fn put(&self, bucket: &Bucket, record: &Record, index: usize) -> Result<Retries, Failed> {
        let give_up = Instant::now() + self.give_up_after;
        let mut retries = Retries::default();
        let mut unknown: Option<OpId> = None;
        loop {
            let mut put = bucket.put(&record.key, record.values[index].clone());
            if index > 0 {
                put = put.concurrent();
            }
            if let Some(op) = unknown {
                put = put.op_id(op);
            }
            let error = match put.await {
                Ok(_) => return Ok(retries),
                Err(error) => error,
            };
            if error.outcome() == Outcome::Unknown {
                unknown = unknown.or(error.op());
            }
            let wait = backoff(retries);
            if !error.is_retryable() || Instant::now() + wait >= give_up {
                let outcome = if unknown.is_some() { Outcome::Unknown } else { error.outcome() };
                return Err(Failed { outcome, error });
            }
            retries.0 += 1;
            sleep(wait).await;
        }
    }
}

/// Doubles with every retry.
fn backoff(retries: Retries) -> Duration {
    BACKOFF_MIN.saturating_mul(1 << retries.0.min(16)).min(BACKOFF_MAX)
}

impl Failed {
    fn exit(&self) -> Exit {
        match self.outcome {
            Outcome::Unknown => Exit::Unknown,
            Outcome::NotApplied => exit_of(&self.error),
        }
    }

    /// True when the refusal is not about this record, so that all others will meet it too.
    fn is_hopeless(&self) -> bool {
        matches!(self.error.reason(), Some(Reason::UnknownBucket { .. } | Reason::BlindWriteRefused { .. } | Reason::InvalidLevel(_)))
    }
}

impl Tally {
    fn count(&mut self, result: Result<Retries, Failed>) {
        match result {
            Ok(retries) => {
                self.stored += 1;
                self.retried += u64::from(retries.0 > 0);
            }
            Err(failed) => {
                match failed.outcome {
                    Outcome::NotApplied => self.not_applied += 1,
                    Outcome::Unknown => self.unknown += 1,
                }
                self.hopeless |= failed.is_hopeless();
                let is_worse = |worst: &Failed| worst.outcome == Outcome::NotApplied && failed.outcome == Outcome::Unknown;
                if self.worst.as_ref().is_none_or(is_worse) {
                    self.worst = Some(failed);
                }
            }
        }
    }

    fn records(&self) -> u64 {
        self.stored + self.not_applied + self.unknown
    }

    fn remark(&self) -> String {
        match self.not_applied + self.unknown {
            0 => String::new(),
            failed => format!("{failed} failed"),
        }
    }

    fn exit(&self) -> Exit {
        self.worst.as_ref().map_or(Exit::Ok, Failed::exit)
    }
}

fn report(tally: &Tally, source: &Source, records: u64, took: Duration, output: Output) -> Result<Exit, CliError> {
    let exit = tally.exit();
    let seconds = took.as_secs_f64();
    let error = tally.worst.as_ref().map(|failed| failed.error.to_string());
    if output == Output::Json {
        output::print_json(&LoadFields {
            outcome: tally.worst.as_ref().map_or("ok", |failed| crate::json::outcome(failed.outcome)),
            exit,
            file: source.path.display().to_string(),
            records,
            stored: tally.stored,
            not_applied: tally.not_applied,
            unknown: tally.unknown,
            retried: tally.retried,
            seconds,
            error,
        })?;
        return Ok(exit);
    }
    output::print(summary(tally, records, seconds))?;
    if let Some(error) = error {
        output::error(error);
    }
    Ok(exit)
}

fn summary(tally: &Tally, records: u64, seconds: f64) -> String {
    let Tally { stored, not_applied, unknown, retried, .. } = tally;
    let retried = if *retried == 0 { String::new() } else { format!(" ({retried} after retries)") };
    let stopped = if tally.hopeless { "; stopped, because every record would be refused" } else { "" };
    format!("{stored} of {records} records stored{retried}, {not_applied} not applied, {unknown} unknown, in {seconds:.1}s{stopped}")
}

#[cfg(test)]
mod tests {
    use quorate_client::{Operation, Subject, Verb};
    use quorate_protocol::outcome::Failure;
    use quorate_ring::NodeId;

    use super::*;

    fn failed(reason: Reason, outcome: Outcome) -> Failed {
        let subject = Subject::Key("a".into());
        let operation = Box::new(Operation { verb: Verb::Put, subject, bucket: None, level: None, op: None });
        let failure = Box::new(Failure { reason, outcome: Outcome::NotApplied, replicas: Vec::new() });
        Failed { outcome, error: Error::Failed { operation, coordinator: NodeId(1), failure, outcome: Outcome::NotApplied } }
    }

    #[test]
    fn every_record_is_counted_once_and_the_worst_decides() {
        let mut tally = Tally::default();
        for result in [Ok(Retries(0)), Ok(Retries(2)), Err(failed(Reason::Overloaded, Outcome::NotApplied))] {
            tally.count(result);
        }
        assert_eq!(tally.exit(), Exit::Unavailable);
        tally.count(Err(failed(Reason::Overloaded, Outcome::Unknown)));
        tally.count(Err(failed(Reason::Overloaded, Outcome::NotApplied)));
        assert_eq!((tally.records(), tally.exit(), tally.hopeless), (5, Exit::Unknown, false));
        let text = "2 of 9 records stored (1 after retries), 2 not applied, 1 unknown, in 1.5s";
        assert_eq!(summary(&tally, 9, 1.5), text);
    }

    #[test]
    fn a_refusal_that_all_records_share_stops_the_load() {
        let mut tally = Tally::default();
        tally.count(Err(failed(Reason::UnknownBucket { bucket: "carts".to_owned() }, Outcome::NotApplied)));
        assert_eq!((tally.hopeless, tally.exit()), (true, Exit::Usage));
    }

    #[test]
    fn waits_between_retries_grow_and_end() {
        assert_eq!(backoff(Retries(0)), BACKOFF_MIN);
        assert_eq!(backoff(Retries(2)), BACKOFF_MIN * 4);
        assert_eq!(backoff(Retries(u32::MAX)), BACKOFF_MAX);
    }
}
