//! `quorate load`: puts every record of a file.
//!
//! **Promise.** Every record is counted once, under what became of it: stored, not applied, unknown, or not tried. The command
//! succeeds only if all were stored.
//!
//! **Rules.**
//! - *Upon a file with a line that is no record*: refuse it by line number, before anything is sent.
//! - *Upon a failure*: put the record again, until `--give-up-after` ([`super::put`]).
//! - *Upon a refusal that every record would meet* (no such bucket, an impossible level), *upon a record that was given up while
//!   no other was stored, upon a line that is no record any more, and upon SIGINT, SIGTERM or SIGHUP*: begin no further record, end
//!   those at work, and stop. The counts are told in any case.
//! - *While it goes on*: how far it has come is kept in `FILE.progress` ([`super::resume`]), so that `--resume` can go on from there
//!   whether or not this load was resumed itself. Without `--resume` a load begins at the beginning. When the progress cannot be
//!   kept, `--resume` is refused at once, and another load goes on without and says so.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use quorate_config::BucketName;
use quorate_lab::stop::StopSignals;
use quorate_protocol::{Access, Level, Outcome};
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval};

use super::Format;
use super::lanes::{self, Done, Results, Stop};
use super::put::{Failed, Putter, Retries};
use super::resume::{Progress, ResumeError, Watermark};
use super::source::{Place, Source, SourceError, progress_path};
use super::tally::{Stopped, Tally};
use crate::error::CliError;
use crate::exit::Exit;
use crate::globals::{Globals, Output, connect};
use crate::progress::Display;
use crate::{json, level, output};

/// How often progress is shown and saved.
const TICK: Duration = Duration::from_millis(200);

/// Puts every record of a file.
///
/// Until all are stored, FILE.progress says how far it has come: stopped by a signal or killed, the load goes on with --resume.
/// A signal ends the records at work, prints the counts, and the exit code is 1, or that of the worst failure.
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
    #[arg(long, value_name = "LEVEL", long_help = level::help())]
    level: Option<Level>,

    /// Records that are put at a time.
    #[arg(long, value_name = "COUNT", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4096))]
    concurrency: u16,

    /// How long a record that fails is put again.
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = humantime::parse_duration)]
    give_up_after: Duration,

    /// Go on from where FILE.progress says that an earlier load of this file stopped.
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
    /// The line from which `--resume` goes on; none if all is stored, or the progress could not be kept.
    resume_line: Option<u64>,
    error: Option<String>,
}

/// Gathers what became of the records, shows it and keeps it.
struct Collector {
    tally: Tally,
    start: Place,
    end: Place,
    watermark: Watermark,
    display: Display,
    progress: Option<Progress>,
    saved: Place,
    was_unsaved: bool,
    broken: Option<SourceError>,
}

/// A load that can begin: nothing has been sent.
struct Begun {
    putter: Putter,
    start: Place,
    end: Place,
    progress: Option<Progress>,
}

/// What a load came to.
struct Summary {
    tally: Tally,
    /// Records that there were to put.
    records: u64,
    /// Where another load can go on; none if all is stored, or the progress could not be kept.
    resume_line: Option<u64>,
    /// The file was sound when the load began, and is no more.
    broken: Option<SourceError>,
}

/// The signals that stop a load cannot be heard.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for signals")]
struct Deaf {
    source: io::Error,
}

/// Runs the command.
///
/// # Errors
/// Exit 2 for a file that is none of records, 6 if no node answers, 1 for a signal before anything was sent. Failures of single
/// records are counted, and end in the exit code of the worst of them.
pub async fn run(command: Load, globals: &Globals) -> Result<Exit, CliError> {
    let started = Instant::now();
    let mut signals = StopSignals::take().map_err(|source| CliError::new(Exit::Failure, Deaf { source }))?;
    let source = command.source()?;
    let Begun { putter, start, end, progress } = tokio::select! {
        begun = command.begin(&source, globals) => begun?,
        _ = signals.next() => return Err(CliError::Interrupted),
    };
    let records = source.records(start).map_err(CliError::usage)?;
    let stop = putter.stop.clone();
    let results = lanes::run(records, command.concurrency.into(), &stop, move |record| {
        let putter = putter.clone();
        async move { putter.store(&record).await }
    });
    let summary = Collector::new(start, end, progress).run(results, &stop, &mut signals).await;
    report(&summary, &source, started.elapsed(), globals.output)
}

impl Load {
    fn source(&self) -> Result<Source, CliError> {
        let format = self.format.map_or_else(|| Format::of(&self.file), Ok).map_err(CliError::usage)?;
        Ok(Source { path: self.file.clone(), format })
    }

    /// Checks all that can be checked, connects, and begins to keep the progress.
    async fn begin(&self, source: &Source, globals: &Globals) -> Result<Begun, CliError> {
        let end = check(source.clone()).await?;
        let progress = Progress::new(progress_path(&source.path), end);
        let start = if self.resume { progress.start().map_err(CliError::usage)? } else { Place::default() };
        let putter = Putter {
            client: connect(globals, Access::Write).await?,
            bucket: Arc::from(self.bucket.as_str()),
            level: self.level,
            give_up_after: self.give_up_after,
            stop: Stop::default(),
        };
        let progress = match progress.save(start) {
            Ok(()) => Some(progress),
            Err(error) if self.resume => return Err(CliError::usage(error)),
            Err(error) => {
                note_unsaved(&error);
                None
            }
        };
        Ok(Begun { putter, start, end, progress })
    }
}

fn note_unsaved(error: &ResumeError) {
    output::note(format_args!("if this load is stopped, --resume cannot go on from there: {}", WithCause(error)));
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
            end,
            watermark: Watermark::new(start),
            display: Display::new("records", Some(end.lines)),
            progress,
            saved: start,
            was_unsaved: false,
            broken: None,
        }
    }

    /// Gathers results to their end, which comes early if it is no use to go on.
    async fn run(mut self, mut results: Results<Result<Retries, Failed>>, stop: &Stop, signals: &mut StopSignals) -> Summary {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                result = results.recv() => match result {
                    None => break,
                    Some(Ok(done)) => self.done(done),
                    Some(Err(error)) => self.broke(error),
                },
                _ = tick.tick() => self.show_and_save(),
                _ = signals.next(), if !stop.is_called() => self.tally.stopped = Some(Stopped::Interrupted),
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

    fn broke(&mut self, error: SourceError) {
        self.broken = Some(error);
        self.tally.stopped = Some(Stopped::Changed);
    }

    fn show_and_save(&mut self) {
        self.display.at(self.start.lines + self.tally.tried(), &self.tally.remark());
        self.save();
    }

    /// Keeps the progress. That it cannot be kept is no reason to stop; it is said once.
    fn save(&mut self) {
        let place = self.watermark.place();
        let Some(progress) = self.progress.as_ref().filter(|_| place != self.saved) else { return };
        match progress.save(place) {
            Ok(()) => self.saved = place,
            Err(error) if !self.was_unsaved => {
                note_unsaved(&error);
                self.was_unsaved = true;
            }
            Err(_said_before) => {}
        }
    }

    fn end(mut self) -> Summary {
        let records = self.end.lines - self.start.lines;
        if self.tally.stored == records {
            self.tally.stopped = None; // it came too late to stop anything
        }
        if self.tally.is_complete() {
            self.forget();
        } else {
            self.save();
        }
        self.display.end();
        let resume_line = self.progress.filter(|_| !self.tally.is_complete()).map(|_| self.saved.lines + 1);
        Summary { tally: self.tally, records, resume_line, broken: self.broken }
    }

    fn forget(&self) {
        if let Some(Err(error)) = self.progress.as_ref().map(Progress::clear) {
            output::note(format_args!("all is stored, and the progress is of no use any more: {}", WithCause(&error)));
        }
    }
}

/// An error with what the operating system said.
struct WithCause<'a>(&'a ResumeError);

impl fmt::Display for WithCause<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)?;
        self.0.source().map_or(Ok(()), |source| write!(f, ": {source}"))
    }
}

fn report(summary: &Summary, source: &Source, took: Duration, output: Output) -> Result<Exit, CliError> {
    let Summary { tally, records, resume_line, broken } = summary;
    let exit = tally.exit();
    let worst = tally.worst.as_ref().map(|failed| failed.error.to_string());
    let error = broken.as_ref().map(ToString::to_string).or(worst);
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
            records: *records,
            stored: tally.stored,
            not_applied: tally.not_applied,
            unknown: tally.unknown,
            not_tried: records - tally.tried(),
            retried: tally.retried,
            seconds: took.as_secs_f64(),
            resume_line: *resume_line,
            error,
        })?;
        return Ok(exit);
    }
    output::print(tally.summary(*records, took))?;
    if let Some(error) = error {
        output::error(error);
    }
    if let Some(line) = resume_line {
        output::note(format_args!("the same command with --resume goes on from line {line}"));
    }
    Ok(exit)
}
