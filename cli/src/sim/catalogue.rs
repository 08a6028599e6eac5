//! `quorate sim --catalogue FILE`: how soon each planted bug is found, and by which check.
//!
//! - First a clean campaign: checks that cry wolf would find every bug. If it fails, nothing is written.
//! - Then, for every bug, trials in ranges of seeds of their own, each up to the first seed that fails, under the workload that shows it.
//! - *Upon a bug that chance comes to too seldom*: no trials; its script is played, and the table names it.
//! - *Upon a bug that no trial found, and no script*: the table says so, and the exit is 9.
//!
//! The table depends on the code and the arguments alone: whoever runs the command again gets the same file.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use quorate_protocol::Defect;
use quorate_sim::options::{Limits, Options, Traffic};
use quorate_sim::run::simulate;
use quorate_sim::script::{TOLD, Told};
use serde::Serialize;

use super::campaign::Plan;
use super::failure::Failure;
use super::quiet::quietly;
use super::story::SCRIPTS;
use super::{CATALOGUE_SEEDS_DEFAULT, Sim, parallel};
use crate::error::CliError;
use crate::exit::Exit;
use crate::globals::Output;
use crate::output::{self, Count};
use crate::progress::Display;

/// One search for one bug: after how many seeds it was found, and by which check.
type Trial = Option<(u64, &'static str)>;

/// All that is known of one bug.
#[derive(Debug)]
struct Entry {
    defect: Defect,
    evidence: Evidence,
}

/// What shows a bug.
#[derive(Debug)]
enum Evidence {
    Searched(Vec<Trial>),
    /// A script, and the check that saw it there.
    Told(&'static Told, Option<&'static str>),
}

/// What was searched.
#[derive(Clone, Copy, Debug)]
struct Search {
    from: u64,
    /// In each trial at most.
    seeds: u64,
    trials: u64,
    jobs: usize,
}

/// What `--output json` prints.
#[derive(Debug, Serialize)]
struct CatalogueFields<'a> {
    outcome: &'static str,
    exit: Exit,
    file: &'a Path,
    clean_seeds: u64,
    trials: u64,
    seeds: u64,
    bugs: Vec<BugFields>,
}

#[derive(Debug, Serialize)]
struct BugFields {
    bug: &'static str,
    /// Of trials that found it.
    found: usize,
    /// Of all trials; null if it is more than was tried.
    seeds_median: Option<u64>,
    seeds_max: Option<u64>,
    checks: BTreeMap<&'static str, usize>,
    /// What was played instead of a search.
    #[serde(skip_serializing_if = "Option::is_none")]
    script: Option<&'static str>,
}

pub(super) fn run(command: &Sim, file: &Path, output: Output) -> Result<Exit, CliError> {
    let seeds = command.seeds.unwrap_or(CATALOGUE_SEEDS_DEFAULT);
    let search = Search { from: command.from, seeds, trials: command.trials, jobs: command.jobs() };
    // Better to learn now than after minutes that the file cannot be written.
    let unwritable = |source| CliError::Unwritable { path: file.to_owned(), source };
    fs::OpenOptions::new().create(true).append(true).open(file).map_err(unwritable)?;
    let clean = Plan { from: search.from, seeds, jobs: search.jobs, limits: Limits::default() }.run();
    if let Some(report) = clean.failed {
        let failure = Failure::examine(report, command)?;
        output::note("without any bug a promise is broken; no catalogue was written");
        match output {
            Output::Json => output::print_json(&failure.fields())?,
            Output::Table | Output::Raw => output::print(failure.told())?,
        }
        return Ok(Exit::CheckFailed);
    }
    let entries = search.run();
    fs::write(file, search.page(&entries)).map_err(unwritable)?;
    let missed: Vec<&str> = entries.iter().filter(|entry| entry.checks().is_empty()).map(|entry| entry.defect.name()).collect();
    let exit = if missed.is_empty() { Exit::Ok } else { Exit::CheckFailed };
    let bugs = entries.iter().map(Entry::fields).collect();
    let Search { trials, .. } = search;
    match output {
        Output::Json => output::print_json(&CatalogueFields { outcome: "ok", exit, file, clean_seeds: seeds, trials, seeds, bugs })?,
        Output::Table | Output::Raw => {
            let found = entries.len() - missed.len();
            output::print(format_args!("{found} of {} found; written to {}", Count(entries.len() as u64, "bug"), file.display()))?;
        }
    }
    if !missed.is_empty() {
        output::note(format_args!("never found: {}", missed.join(", ")));
    }
    Ok(exit)
}

impl Search {
    fn run(&self) -> Vec<Entry> {
        let searched: Vec<Defect> = Defect::ALL.iter().copied().filter(|bug| Told::of(*bug).is_none()).collect();
        let (trials, all) = (self.trials, self.trials * searched.len() as u64);
        let mut progress = Display::new("searches", Some(all));
        let mut results: BTreeMap<u64, Trial> = BTreeMap::new();
        let defect = |number: u64| searched[usize::try_from(number / trials).expect("a few dozen bugs")];
        let work = |number: u64| self.trial(defect(number), number % trials);
        parallel::each(self.jobs, all, work, |number, trial| {
            results.insert(number, trial);
            progress.at(results.len() as u64, "");
            ControlFlow::Continue(())
        });
        progress.end();
        let mut found: BTreeMap<Defect, Vec<Trial>> = BTreeMap::new();
        for (number, trial) in results {
            found.entry(defect(number)).or_default().push(trial);
        }
        let entry = |defect: &Defect| {
            let told = Told::of(*defect).map(|told| Evidence::Told(told, told.play().violations.first().map(|violation| violation.kind)));
            let searched = || Evidence::Searched(found.remove(defect).unwrap_or_default());
            Entry { defect: *defect, evidence: told.unwrap_or_else(searched) }
        };
        Defect::ALL.iter().map(entry).collect()
    }

    /// Searches for a bug in a range of seeds of its own.
    fn trial(&self, defect: Defect, trial: u64) -> Trial {
        let first = self.from.wrapping_add(trial * self.seeds);
        let limits = Limits { defect: Some(defect), traffic: Traffic::showing(defect), ..Limits::default() };
        (0..self.seeds).find_map(|number| {
            let options = Options::draw(first.wrapping_add(number), limits.clone());
            let report = quietly(|| simulate(&options, false));
            report.violations.first().map(|violation| (number + 1, violation.kind))
        })
    }

    /// The page that is written.
    fn page(&self, entries: &[Entry]) -> String {
        let Self { from, seeds, trials, .. } = self;
        let last = from + seeds - 1;
        let from_argument = if *from == 1 { String::new() } else { format!(" --from {from}") };
        let mut page = format!(
            "# Planted bugs\n\n\
             A checker that never found a bug proves nothing. Each row is a rule of the protocol that a simulated cluster was told to break,\n\
             and how many seeds it took until a check saw it. The table was written by\n\n\
             ```sh\n\
             quorate sim --catalogue docs/bug-catalogue.md --trials {trials} --seeds {seeds}{from_argument}\n\
             ```\n\n\
             which gives the same table whenever it is run on the same code. Each bug was searched for {trials} times, in seeds of its own each\n\
             time: from {from} on, from {} on, and so on, up to the first seed that failed or for {seeds} seeds. *Median* and *most* count\n\
             these seeds; *found by* says which check told it first, and in how many searches. Bugs of the eventual levels were searched for\n\
             under `--workload eventual`, those of consensus under all workloads in turn. To see one:\n\n\
             ```sh\n\
             quorate sim --bug {} --seeds {seeds}    # exit 9, and prints the command that repeats the run it found\n\
             ```\n\n\
             A bug that shows only when several operations meet within a few messages, in one order of many, was not searched for. It has a\n\
             *script* instead, which tells message by message how it happens: `quorate sim --bug {}` plays it, exit 9, and\n\
             so does the test `linearizable` in `sim/tests/scripts.rs`.\n\n\
             **Without a bug** the same checks found nothing in the seeds {from} to {last}, so fewer than one run in {} cries wolf or fails\n\
             (no failure in n trials: below 3/n with 95 % confidence). `quorate sim --seeds N` adds to n.\n\n\
             | bug | what it does | found by | median | most | found |\n\
             |---|---|---|---:|---:|---:|\n",
            from + seeds,
            Defect::ALL[0],
            TOLD[0].bug,
            seeds / 3,
        );
        for entry in entries {
            entry.row(*seeds, &mut page);
        }
        page
    }
}

impl Entry {
    fn trials(&self) -> &[Trial] {
        match &self.evidence {
            Evidence::Searched(trials) => trials,
            Evidence::Told(..) => &[],
        }
    }

    fn found(&self) -> usize {
        self.trials().iter().flatten().count()
    }

    /// The middle of the trials' seeds, trials that found nothing being the longest; `None` if that is one of them.
    fn median(&self) -> Option<u64> {
        let mut seeds: Vec<u64> = self.trials().iter().map(|trial| trial.map_or(u64::MAX, |(seeds, _)| seeds)).collect();
        seeds.sort_unstable();
        let middle = seeds.len().checked_sub(1)? / 2;
        Some(seeds[middle]).filter(|seeds| *seeds != u64::MAX)
    }

    fn most(&self) -> Option<u64> {
        let all: Option<Vec<u64>> = self.trials().iter().map(|trial| trial.map(|(seeds, _)| seeds)).collect();
        all.and_then(|seeds| seeds.into_iter().max())
    }

    /// How often which check told it first.
    fn checks(&self) -> BTreeMap<&'static str, usize> {
        let mut checks = BTreeMap::new();
        let told = if let Evidence::Told(_, kind) = self.evidence { kind } else { None };
        for kind in self.trials().iter().flatten().map(|(_, kind)| *kind).chain(told) {
            *checks.entry(kind).or_default() += 1;
        }
        checks
    }

    fn row(&self, seeds: u64, page: &mut String) {
        let mut checks: Vec<(&str, usize)> = self.checks().into_iter().collect();
        checks.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let checks: Vec<String> = checks.iter().map(|(kind, count)| format!("{kind} ({count})")).collect();
        let number = |seeds_found: Option<u64>| seeds_found.map_or_else(|| format!("over {seeds}"), |seeds| seeds.to_string());
        let how = match &self.evidence {
            Evidence::Searched(trials) => {
                format!("{} | {} | {} of {}", number(self.median()), number(self.most()), self.found(), trials.len())
            }
            Evidence::Told(told, _) => format!("– | – | [script](../{SCRIPTS}/{})", told.name),
        };
        let (defect, summary, checks) = (self.defect, self.defect.summary(), checks.join(", "));
        writeln!(page, "| `{defect}` | {summary} | {checks} | {how} |").expect("memory takes text");
    }

    fn fields(&self) -> BugFields {
        let (found, seeds_median, seeds_max) = (self.found(), self.median(), self.most());
        let script = if let Evidence::Told(told, _) = self.evidence { Some(told.name) } else { None };
        BugFields { bug: self.defect.name(), found, seeds_median, seeds_max, checks: self.checks(), script }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(trials: &[Trial]) -> Entry {
        Entry { defect: Defect::RepairOverwrites, evidence: Evidence::Searched(trials.to_vec()) }
    }

    #[test]
    fn a_search_without_a_find_counts_as_the_longest() {
        let found = |seeds| Some((seeds, "lost-update"));
        assert_eq!((entry(&[found(9), found(2), None]).median(), entry(&[found(9), found(2), None]).most()), (Some(9), None));
        assert_eq!((entry(&[None, found(2), None]).median(), entry(&[found(9), found(2)]).most()), (None, Some(9)));
        assert_eq!((entry(&[]).median(), entry(&[None]).found()), (None, 0));
    }

    #[test]
    fn a_row_says_what_found_the_bug_and_how_soon() {
        let mut page = String::new();
        entry(&[Some((4, "b")), Some((2, "a")), Some((8, "b"))]).row(100, &mut page);
        let summary = Defect::RepairOverwrites.summary();
        assert_eq!(page, format!("| `repair-overwrites` | {summary} | b (2), a (1) | 4 | 8 | 3 of 3 |\n"));
        entry(&[None]).row(100, &mut page);
        assert!(page.ends_with("|  | over 100 | over 100 | 0 of 1 |\n"), "{page}");
        let told = &TOLD[0];
        Entry { defect: told.bug, evidence: Evidence::Told(told, Some("a")) }.row(100, &mut page);
        assert!(page.ends_with(&format!("| a (1) | – | – | [script](../sim/tests/scripts/{}) |\n", told.name)), "{page}");
    }

    #[test]
    fn a_trial_finds_the_same_again() {
        let search = Search { from: 1, seeds: 50, trials: 2, jobs: 2 };
        let trial = search.trial(Defect::RepairOverwrites, 1);
        assert!(trial.is_some_and(|(seeds, _)| seeds <= 50), "{trial:?}");
        assert_eq!(trial, search.trial(Defect::RepairOverwrites, 1));
    }

    /// The published table has every bug there is, and says that it was found.
    #[test]
    fn the_catalogue_has_a_row_for_every_bug() {
        let page = include_str!("../../../docs/bug-catalogue.md");
        let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
        assert_eq!(rows.len(), Defect::ALL.len());
        for (defect, row) in Defect::ALL.iter().zip(rows) {
            assert!(row.starts_with(&format!("| `{defect}` | {} | ", defect.summary())), "write it anew: {row}");
            assert!(!row.contains(" | 0 of "), "{row}");
            assert!(Told::of(*defect).is_none_or(|told| row.ends_with(&format!(" | [script](../{SCRIPTS}/{}) |", told.name))), "{row}");
        }
    }
}
