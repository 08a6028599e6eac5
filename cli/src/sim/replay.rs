//! `quorate sim --seed S`: one run, told.

use std::fmt::Write as _;

use quorate_sim::options::Options;
use quorate_sim::run::{Report, simulate};
use serde::Serialize;

use super::campaign::{TallyFields, counts};
use super::failure::{self, drawing};
use super::quiet::quietly;
use super::{Sim, ViolationFields, hash, repeats, violation_fields};
use crate::error::CliError;
use crate::exit::Exit;
use crate::globals::Output;
use crate::output;

/// What `--output json` prints of a run, and what a failing one leaves in `verdict.json`.
#[derive(Debug, Serialize)]
pub(super) struct RunFields<'a> {
    outcome: &'static str,
    exit: Exit,
    seed: u64,
    repeat: String,
    trace_hash: String,
    options: String,
    #[serde(flatten)]
    tally: TallyFields,
    violations: Vec<ViolationFields<'a>>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    trace: &'a [String],
}

pub(super) fn run(command: &Sim, seed: u64, output: Output) -> Result<Exit, CliError> {
    let options = Options::draw(seed, command.limits());
    let keeps_trace = !command.no_trace || command.out.is_some();
    let report = quietly(|| simulate(&options, keeps_trace));
    if let Some(directory) = &command.out {
        failure::write(&report, directory)?;
        output::note(format_args!("written to {}", directory.display()));
    }
    let trace = if command.no_trace { &[] } else { report.trace.as_slice() };
    match output {
        Output::Json => output::print_json(&fields(&report, trace))?,
        Output::Table | Output::Raw => output::print(told(&report, trace).trim_end())?,
    }
    Ok(exit(&report))
}

fn exit(report: &Report) -> Exit {
    if report.violations.is_empty() { Exit::Ok } else { Exit::CheckFailed }
}

pub(super) fn fields<'a>(report: &'a Report, trace: &'a [String]) -> RunFields<'a> {
    RunFields {
        outcome: "ok",
        exit: exit(report),
        seed: report.options.seed,
        repeat: repeats(report),
        trace_hash: hash(report),
        options: report.options.to_string(),
        tally: TallyFields::of(&report.tally),
        violations: violation_fields(&report.violations),
        trace,
    }
}

fn told(report: &Report, trace: &[String]) -> String {
    let mut text = report.options.to_string();
    for line in trace {
        text.push_str(line);
        text.push('\n');
    }
    text.push_str(&verdict(report));
    text
}

/// What came of a run, in words.
pub(super) fn verdict(report: &Report) -> String {
    let mut text = String::new();
    let seconds = report.tally.virtual_micros / 1_000_000;
    let operations = counts(&report.tally.operations);
    writeln!(text, "{operations}; {} events in {seconds} virtual seconds", report.tally.events).expect("memory takes text");
    for violation in &report.violations {
        writeln!(text, "violation: {violation}").expect("memory takes text");
        text.push_str(&drawing(report, violation));
    }
    if report.violations.is_empty() {
        text.push_str("no violation\n");
    }
    writeln!(text, "trace hash {}", hash(report)).expect("memory takes text");
    text
}
