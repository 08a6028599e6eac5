//! `quorate dump`: prints every record.
//!
//! **Promise.** Every key that has been there all along and can be read at the level is printed; for the others the command
//! says how many and why, and fails. Keys written or deleted meanwhile may be printed or not. Records come in no useful order.
//!
//! Records go to stdout and nothing else does; what there is to say about them goes to stderr.
//!
//! - *Upon a key that cannot be read*: go on, count it.
//! - *Upon a partition whose keys cannot be listed*: go on, count it; how many keys that leaves out nobody knows. After
//!   [`UNLISTED_IN_A_ROW_MAX`] of them without a record in between, give up: the cluster is not there.
//! - *Upon a record that TSV has no way to write* (different siblings, bytes that are not UTF-8, another bucket than the first
//!   with records): leave it out, count it under the first of these causes that it has, and recommend JSON lines.

use std::io::{self, BufWriter, IsTerminal, Write};

use bytes::Bytes;
use clap::Args;
use quorate_client::{Client, Error, Items, Read, Verb};
use quorate_config::BucketName;
use quorate_protocol::{Access, Level};
use serde::Serialize;

use super::{Format, Record, jsonl, tsv};
use crate::error::{CliError, exit_of};
use crate::exit::Exit;
use crate::globals::{Globals, Output, connect};
use crate::level;
use crate::output::{self, Count};
use crate::progress::Display;

/// Keys per page of the lists: a page of the longest keys is then a quarter of a megabyte.
const PAGE_KEYS: u32 = 256;

/// Partitions in a row that cannot be listed before the rest is not even tried.
const UNLISTED_IN_A_ROW_MAX: u32 = 8;

/// Prints every record.
#[derive(Clone, Debug, Args)]
pub struct Dump {
    /// Only this bucket.
    #[arg(long, value_name = "BUCKET")]
    bucket: Option<BucketName>,

    /// How many replicas each list and each record is read from [default: the bucket's own level].
    #[arg(long, value_name = "LEVEL", long_help = level::help())]
    level: Option<Level>,

    /// How records are written; JSON lines carry siblings, bucket names and any bytes [default: tsv, or jsonl with --output json].
    #[arg(long, value_enum)]
    format: Option<Format>,

    /// Records that are read at a time.
    #[arg(long, value_name = "COUNT", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: u16,
}

/// What became of the records.
#[derive(Debug, Default)]
struct Tally {
    printed: u64,
    unread_keys: u64,
    unlisted_partitions: u64,
    unprintable: Unprintables,
    first_error: Option<Error>,
    unlisted_in_a_row: u32,
}

/// Why TSV has no way to write a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unprintable {
    /// It has several different values.
    Siblings,
    /// Its key or value is not UTF-8.
    Bytes,
    /// It is in another bucket than the first record.
    OtherBucket,
}

/// How many records were left out, by cause.
#[derive(Clone, Copy, Debug, Default)]
struct Unprintables {
    siblings: u64,
    bytes: u64,
    other_bucket: u64,
}

/// Writes records in a format.
struct Printer<W> {
    out: W,
    format: Format,
    /// The bucket that a file without bucket names is about: that of its first record.
    only_bucket: Option<String>,
    line: String,
}

/// The summary that `--output json` puts on stderr.
#[derive(Serialize)]
struct DumpFields {
    outcome: &'static str,
    exit: Exit,
    printed: u64,
    unread_keys: u64,
    unlisted_partitions: u64,
    unprintable: u64,
    unprintable_siblings: u64,
    unprintable_bytes: u64,
    unprintable_buckets: u64,
    gave_up: bool,
    error: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// Exit 6 if no node answers; [`CliError::Stdout`]. Records that could not be read or printed end in an exit code that is not 0.
pub async fn run(command: Dump, globals: &Globals) -> Result<Exit, CliError> {
    let client = connect(globals, Access::Read).await?;
    let buckets = match &command.bucket {
        Some(name) => vec![name.to_string()],
        None => client.topology().buckets.iter().map(|bucket| bucket.name.clone()).collect(),
    };
    let format = command.format.unwrap_or(if globals.output == Output::Json { Format::Jsonl } else { Format::Tsv });
    let mut printer = Printer { out: BufWriter::new(io::stdout()), format, only_bucket: None, line: String::new() };
    let mut display = (!io::stdout().is_terminal()).then(|| Display::new("records", None));
    let mut tally = Tally::default();
    for bucket in buckets {
        let reads = scan(&command, &client, &bucket);
        dump(&bucket, reads, &mut printer, &mut tally, &mut display).await?;
    }
    printer.out.flush().map_err(|source| CliError::Stdout { source })?;
    if let Some(display) = display {
        display.end();
    }
    report(&tally, globals.output);
    Ok(tally.exit())
}

fn scan(command: &Dump, client: &Client, bucket: &str) -> Items<Read> {
    let scan = client.bucket(bucket).scan().page_keys(PAGE_KEYS).concurrency(command.concurrency.into());
    match command.level {
        Some(level) => scan.level(level).stream(),
        None => scan.stream(),
    }
}

async fn dump<W: Write>(
    bucket: &str,
    mut reads: Items<Read>,
    printer: &mut Printer<W>,
    tally: &mut Tally,
    display: &mut Option<Display>,
) -> Result<(), CliError> {
    while !tally.gave_up()
        && let Some(read) = reads.next().await
    {
        match read {
            Ok(read) => {
                let values = read.values().cloned().collect();
                let record = Record { bucket: Some(bucket.to_owned()), key: read.key().clone(), values };
                let left_out = printer.print(record).map_err(|source| CliError::Stdout { source })?;
                tally.read(left_out);
            }
            Err(error) => tally.failed(error),
        }
        if let Some(display) = display {
            display.at(tally.printed, &tally.remark());
        }
    }
    Ok(())
}

impl<W: Write> Printer<W> {
    /// Writes one record; returns why not if the format has no way to.
    fn print(&mut self, record: Record) -> io::Result<Option<Unprintable>> {
        self.line.clear();
        let encoded = match self.format {
            Format::Jsonl => {
                jsonl::encode(&record, &mut self.line);
                Ok(())
            }
            Format::Tsv => self.encode_tsv(record),
        };
        if encoded.is_ok() {
            self.out.write_all(self.line.as_bytes())?;
        }
        Ok(encoded.err())
    }

    fn encode_tsv(&mut self, record: Record) -> Result<(), Unprintable> {
        let value = single(&record.values).ok_or(Unprintable::Siblings)?;
        let (Ok(key), Ok(value)) = (std::str::from_utf8(&record.key), std::str::from_utf8(value)) else { return Err(Unprintable::Bytes) };
        if self.only_bucket.is_some() && self.only_bucket != record.bucket {
            return Err(Unprintable::OtherBucket);
        }
        tsv::encode(key, value, &mut self.line);
        self.only_bucket = record.bucket;
        Ok(())
    }
}

/// The value, if there is one or all are the same.
fn single(values: &[Bytes]) -> Option<&[u8]> {
    let (first, others) = values.split_first()?;
    others.iter().all(|value| value == first).then_some(first)
}

impl Unprintables {
    fn count(&mut self, why: Unprintable) {
        match why {
            Unprintable::Siblings => self.siblings += 1,
            Unprintable::Bytes => self.bytes += 1,
            Unprintable::OtherBucket => self.other_bucket += 1,
        }
    }

    fn total(self) -> u64 {
        self.siblings + self.bytes + self.other_bucket
    }

    /// The causes that there are, each with its number.
    fn describe(self) -> String {
        let causes = [
            (self.siblings, "with siblings"),
            (self.bytes, "with bytes that are not UTF-8"),
            (self.other_bucket, "of another bucket than the first record's"),
        ];
        let told: Vec<String> = causes.iter().filter(|(count, _)| *count > 0).map(|(count, cause)| format!("{count} {cause}")).collect();
        told.join(", ")
    }
}

impl Tally {
    fn read(&mut self, left_out: Option<Unprintable>) {
        match left_out {
            None => self.printed += 1,
            Some(why) => self.unprintable.count(why),
        }
        self.unlisted_in_a_row = 0;
    }

    fn failed(&mut self, error: Error) {
        if error.operation().verb == Verb::List {
            self.unlisted_partitions += 1;
            self.unlisted_in_a_row += 1;
        } else {
            self.unread_keys += 1;
        }
        self.first_error.get_or_insert(error);
    }

    fn gave_up(&self) -> bool {
        self.unlisted_in_a_row >= UNLISTED_IN_A_ROW_MAX
    }

    fn exit(&self) -> Exit {
        match &self.first_error {
            Some(error) => exit_of(error),
            None if self.unprintable.total() > 0 => Exit::Failure,
            None => Exit::Ok,
        }
    }

    fn remark(&self) -> String {
        match self.unread_keys + self.unlisted_partitions {
            0 => String::new(),
            failed => Count(failed, "failure").to_string(),
        }
    }
}

fn report(tally: &Tally, output: Output) {
    let Tally { printed, unread_keys, unlisted_partitions, unprintable, first_error, .. } = tally;
    let error = first_error.as_ref().map(ToString::to_string);
    if output == Output::Json {
        let fields = DumpFields {
            outcome: if tally.exit() == Exit::Ok { "ok" } else { "not_applied" },
            exit: tally.exit(),
            printed: *printed,
            unread_keys: *unread_keys,
            unlisted_partitions: *unlisted_partitions,
            unprintable: unprintable.total(),
            unprintable_siblings: unprintable.siblings,
            unprintable_bytes: unprintable.bytes,
            unprintable_buckets: unprintable.other_bucket,
            gave_up: tally.gave_up(),
            error,
        };
        return output::note(serde_json::to_string(&fields).expect("plain fields serialise"));
    }
    output::note(format_args!("{} printed", Count(*printed, "record")));
    if *unread_keys > 0 {
        output::error(format_args!("{} could not be read at the level", Count(*unread_keys, "key")));
    }
    if *unlisted_partitions > 0 {
        let rest = if tally.gave_up() { "; the rest was not tried" } else { "" };
        output::error(format_args!("the keys of {} could not be listed{rest}", Count(*unlisted_partitions, "partition")));
    }
    if let Some(error) = error {
        output::note(format_args!("  the first reason: {error}"));
    }
    if unprintable.total() > 0 {
        let (count, causes) = (Count(unprintable.total(), "record"), unprintable.describe());
        output::error(format_args!("{count} left out, which TSV has no way to write: {causes}; use --format jsonl"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printer(format: Format) -> Printer<Vec<u8>> {
        Printer { out: Vec::new(), format, only_bucket: None, line: String::new() }
    }

    fn record(bucket: &str, key: &'static [u8], values: &[&'static [u8]]) -> Record {
        Record {
            bucket: Some(bucket.to_owned()),
            key: Bytes::from_static(key),
            values: values.iter().map(|value| Bytes::from_static(value)).collect(),
        }
    }

    #[test]
    fn tsv_leaves_out_what_it_cannot_carry() {
        let mut printer = printer(Format::Tsv);
        let records = [
            (record("default", b"\xff", &[b"1"]), Some(Unprintable::Bytes)),
            (record("carts", b"a\tb", &[b"1"]), None),
            (record("carts", b"b", &[b"1", b"2"]), Some(Unprintable::Siblings)),
            (record("carts", b"c", &[b"same", b"same"]), None),
            (record("carts", b"d", &[b"\xff"]), Some(Unprintable::Bytes)),
            (record("default", b"e", &[b"1"]), Some(Unprintable::OtherBucket)),
        ];
        let mut tally = Tally::default();
        for (record, left_out) in records {
            assert_eq!(printer.print(record.clone()).expect("a Vec takes all"), left_out, "{record:?}");
            tally.read(left_out);
        }
        assert_eq!(printer.out, b"a\\tb\t1\nc\tsame\n");
        assert_eq!((tally.printed, tally.unprintable.total()), (2, 4));
        let causes = "1 with siblings, 2 with bytes that are not UTF-8, 1 of another bucket than the first record's";
        assert_eq!(tally.unprintable.describe(), causes);
    }

    #[test]
    fn json_lines_carry_everything() {
        let mut printer = printer(Format::Jsonl);
        let all = record("carts", b"\xff", &[b"1", b"\xfe"]);
        assert_eq!(printer.print(all.clone()).expect("a Vec takes all"), None);
        let line = printer.out.strip_suffix(b"\n").expect("a line ends");
        assert_eq!(jsonl::decode(line).expect("a record"), all);
    }

    #[test]
    fn what_was_left_out_is_a_failure() {
        let tally = Tally { printed: 7, unprintable: Unprintables { bytes: 1, ..Unprintables::default() }, ..Tally::default() };
        assert_eq!((tally.exit(), Tally { printed: 7, ..Tally::default() }.exit()), (Exit::Failure, Exit::Ok));
    }
}
