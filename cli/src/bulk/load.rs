//! `quorate load`: puts every record of a file.
//!
//! **Promise.** Every record is counted once, under what became of it: stored, not applied, unknown, or not tried. The command
//! succeeds only if all were stored.
//!
//! **Rules.**
//! - *Upon a file with a line that is no record*: refuse it by line number, before anything is sent.
//! - *Upon a failure*: put the record again, until `--give-up-after` ([`super::put`]).
//! - *Upon a refusal that every record would meet* (no such bucket, an impossible level), *upon a record that was given up while
//!   no other was stored, and upon Ctrl-C*: begin no further record, end those at work, and stop.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use quorate_config::BucketName;
use quorate_protocol::{Level, Outcome};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use super::Format;
use super::lanes::{self, Done, Results, Stop};
use super::progress::Display;
use super::put::{Failed, Putter, Retries};
use super::resume::{Progress, Watermark};
use super::source::{Place, Source, progress_path};
use super::tally::{Stopped, Tally};
use crate::error::CliError;
use crate::exit::Exit;
use crate::globals::{Globals, Output, connect};
use crate::{json, output};

/// How often progress is shown and saved.
const TICK: Duration = Duration::from_millis(200);

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

#[derive(Serialize)]
struct LoadFields {
    outcome: &'static str,
    exit: Exit,
    file: String,
    records: u64,
    stored: u64,
    not_applied: u64,
    unknown: u64,
    not_tried: u64,
    retried: u64,
    seconds: f64,
    error: Option<String>,
}

/// Gathers what became of the records, shows it and keeps it.
struct Collector {
    tally: Tally,
    start: Place,
    watermark: Watermark,
    display: Display,
    progress: Option<Progress>,
    saved: Place,
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
    let stop = Stop::default();
    let putter = Putter {
        client: connect(globals).await?,
        bucket: Arc::from(command.bucket.as_str()),
        level: command.level,
        give_up_after: command.give_up_after,
        stop: stop.clone(),
    };
    let records = source.records(start).map_err(CliError::usage)?;
    let results = lanes::run(records, command.concurrency.into(), &stop, move |record| {
        let putter = putter.clone();
        async move { putter.store(&record).await }
    });
    let tally = Collector::new(start, end, progress).run(results, &stop).await?;
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

impl Collector {
    fn new(start: Place, end: Place, progress: Option<Progress>) -> Self {
        Self {
            tally: Tally::new(Instant::now()),
            start,
            watermark: Watermark::new(start),
            display: Display::new("records", Some(end.lines)),
            progress,
            saved: start,
        }
    }

    /// Gathers results to their end, which comes early if it is no use to go on.
    async fn run(mut self, mut results: Results<Result<Retries, Failed>>, stop: &Stop) -> Result<Tally, CliError> {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failure)?;
        loop {
            tokio::select! {
                result = results.recv() => {
                    let Some(result) = result else { break };
                    self.done(result.map_err(failure)?);
                }
                _ = tick.tick() => self.show_and_save()?,
                _ = interrupt.recv(), if !stop.is_called() => self.tally.stopped = Some(Stopped::Interrupted),
            }
            if self.tally.stopped.is_some() {
                stop.now();
            }
        }
        self.end()
    }

    fn done(&mut self, done: Done<Result<Retries, Failed>>) {
        if done.result.is_ok() {
            self.watermark.stored(done.end);
        }
        self.tally.count(Instant::now(), done.result);
    }

    fn show_and_save(&mut self) -> Result<(), CliError> {
        self.display.at(self.start.lines + self.tally.tried(), &self.tally.remark());
        let place = self.watermark.place();
        if let Some(progress) = self.progress.as_ref().filter(|_| place != self.saved) {
            progress.save(place).map_err(failure)?;
            self.saved = place;
        }
        Ok(())
    }

    fn end(self) -> Result<Tally, CliError> {
        self.display.end();
        match &self.progress {
            Some(progress) if self.tally.is_complete() => progress.clear().map_err(failure)?,
            Some(progress) => progress.save(self.watermark.place()).map_err(failure)?,
            None => {}
        }
        Ok(self.tally)
    }
}

fn failure(error: impl std::error::Error + Send + Sync + 'static) -> CliError {
    CliError::new(Exit::Failure, error)
}

fn report(tally: &Tally, source: &Source, records: u64, took: Duration, output: Output) -> Result<Exit, CliError> {
    let exit = tally.exit();
    let error = tally.worst.as_ref().map(|failed| failed.error.to_string());
    if output == Output::Json {
        let outcome = match &tally.worst {
            Some(failed) => json::outcome(failed.outcome),
            None if tally.is_complete() => "ok",
            None => json::outcome(Outcome::NotApplied),
        };
        output::print_json(&LoadFields {
            outcome,
            exit,
            file: source.path.display().to_string(),
            records,
            stored: tally.stored,
            not_applied: tally.not_applied,
            unknown: tally.unknown,
            not_tried: records - tally.tried(),
            retried: tally.retried,
            seconds: took.as_secs_f64(),
            error,
        })?;
        return Ok(exit);
    }
    output::print(tally.summary(records, took))?;
    if let Some(error) = error {
        output::error(error);
    }
    Ok(exit)
}
