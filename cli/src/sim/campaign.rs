//! `quorate sim --seeds N`: many runs, up to the first that breaks a promise.
//!
//! A clean campaign may still fail: when it was long enough and a branch was never taken or a kind of fault never seen
//! ([`Campaign::missing_marks`], [`Campaign::missing_faults`]), or when so few operations succeeded that little was tried.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use quorate_checker::history::Outcome;
use quorate_sim::campaign::{Campaign, ENOUGH_SEEDS, Tally};
use quorate_sim::options::{Limits, Options};
use quorate_sim::run::{Report, simulate};
use serde::Serialize;

use super::failure::{Failure, FailureFields};
use super::quiet::quietly;
use super::story::{Story, StoryFields};
use super::{Sim, parallel};
use crate::error::CliError;
use crate::exit::Exit;
use crate::globals::Output;
use crate::output::{self, Count};
use crate::processor;
use crate::progress::Display;

/// Operations of 1000 that must succeed in a campaign.
const SUCCESS_PERMILLE_MIN: u64 = 500;
/// Runs from which on a campaign must have that many successes: a few seeds may well be all partitions.
const SUCCESS_SEEDS_MIN: u64 = 100;
/// Width of a wrapped list.
const COLUMNS: usize = 100;

/// Which seeds are run, how many at a time, under which limits.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) from: u64,
    pub(super) seeds: u64,
    pub(super) jobs: usize,
    pub(super) limits: Limits,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) campaign: Campaign,
    /// The lowest seed that failed.
    pub(super) failed: Option<Report>,
    pub(super) took: Took,
}

/// How long it took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Took {
    wall: Duration,
    /// Of all threads of this process: on a machine that does other things too, this tells the speed.
    cpu: Duration,
}

impl Plan {
    fn of(command: &Sim) -> Self {
        Self { from: command.from, seeds: command.seeds(), jobs: command.jobs(), limits: command.limits() }
    }

    /// Runs seed after seed until one fails, and those below it to their end.
    pub(super) fn run(&self) -> Done {
        let (begin, cpu_before) = (Instant::now(), processor::time());
        let mut progress = Display::new("seeds", Some(self.seeds));
        let (mut campaign, mut failed): (Campaign, Option<Report>) = (Campaign::default(), None);
        let run = |number| {
            let options = Options::draw(self.from.wrapping_add(number), self.limits.clone());
            quietly(|| simulate(&options, false))
        };
        let mut lowest = u64::MAX;
        parallel::each(self.jobs, self.seeds, run, |number, report| {
            campaign.add(&report);
            progress.at(campaign.seeds, "");
            if !report.violations.is_empty() && number < lowest {
                lowest = number;
                failed = Some(report);
            }
            if failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        progress.end();
        let took = Took { wall: begin.elapsed(), cpu: processor::time().saturating_sub(cpu_before) };
        Done { campaign, failed, took }
    }

    /// Why a clean campaign proves less than it should, one sentence each.
    fn doubts(&self, campaign: &Campaign) -> Vec<String> {
        let mut doubts = Vec::new();
        if campaign.seeds >= ENOUGH_SEEDS && self.limits == Limits::default() {
            doubts.extend(campaign.missing_marks().iter().map(|mark| format!("the branch {mark} was never taken")));
            doubts.extend(campaign.missing_faults().iter().map(|kind| format!("the fault {kind} never took effect")));
        }
        let permille = campaign.success_permille();
        if campaign.seeds >= SUCCESS_SEEDS_MIN && permille < SUCCESS_PERMILLE_MIN {
            doubts.push(format!("only {permille} of 1000 operations succeeded; {SUCCESS_PERMILLE_MIN} are wanted"));
        }
        doubts
    }
}

/// What `--output json` prints.
#[derive(Debug, Serialize)]
struct CampaignFields<'a> {
    outcome: &'static str,
    exit: Exit,
    verdict: Verdict,
    from: u64,
    seeds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    bug: Option<&'static str>,
    #[serde(flatten)]
    tally: TallyFields,
    jobs: usize,
    seconds: f64,
    seeds_per_second: f64,
    seeds_per_cpu_second: f64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    doubts: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<FailureFields<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    script: Option<StoryFields<'a>>,
}

/// A campaign in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// No promise was broken.
    Clean,
    /// One was.
    Violation,
    /// None was broken, but not all was tried that should have been.
    Untested,
    /// A planted bug was not found.
    BugNotFound,
}

impl Verdict {
    fn exit(self) -> Exit {
        match self {
            Self::Clean | Self::BugNotFound => Exit::Ok,
            Self::Violation | Self::Untested => Exit::CheckFailed,
        }
    }
}

pub(super) fn run(command: &Sim, output: Output) -> Result<Exit, CliError> {
    let plan = Plan::of(command);
    let done = plan.run();
    let doubts = if done.failed.is_some() { Vec::new() } else { plan.doubts(&done.campaign) };
    let Done { campaign, failed, took } = done;
    let script = command.told().filter(|_| failed.is_none());
    let story = script.map(|told| Story::play(told, command.out.as_deref())).transpose()?;
    let verdict = match (&failed, plan.limits.defect) {
        (Some(_), _) => Verdict::Violation,
        (None, Some(_)) if story.as_ref().is_some_and(Story::is_violation) => Verdict::Violation,
        (None, Some(_)) => Verdict::BugNotFound,
        (None, None) if doubts.is_empty() => Verdict::Clean,
        (None, None) => Verdict::Untested,
    };
    let failure = failed.map(|report| Failure::examine(report, command)).transpose()?;
    match output {
        Output::Json => {
            let (failure, script) = (failure.as_ref().map(Failure::fields), story.as_ref().map(Story::fields));
            output::print_json(&CampaignFields { failure, script, ..fields(&plan, &campaign, took, verdict, doubts) })?;
        }
        Output::Table | Output::Raw => {
            if plan.seeds > 0 {
                output::print(told(&plan, &campaign, took).trim_end())?;
            }
            match &story {
                Some(story) => output::print(story.told())?,
                None => output::print(conclusion(&plan, verdict, &doubts, failure.as_ref()))?,
            }
        }
    }
    Ok(verdict.exit())
}

fn fields<'a>(plan: &Plan, campaign: &Campaign, took: Took, verdict: Verdict, doubts: Vec<String>) -> CampaignFields<'a> {
    CampaignFields {
        outcome: "ok",
        exit: verdict.exit(),
        verdict,
        from: plan.from,
        seeds: campaign.seeds,
        bug: plan.limits.defect.map(quorate_protocol::Defect::name),
        tally: TallyFields::of(&campaign.tally),
        jobs: plan.jobs,
        seconds: took.wall.as_secs_f64(),
        seeds_per_second: speed(campaign, took.wall),
        seeds_per_cpu_second: speed(campaign, took.cpu),
        doubts,
        failure: None,
        script: None,
    }
}

/// What was tried, in words.
fn told(plan: &Plan, campaign: &Campaign, took: Took) -> String {
    let mut text = String::new();
    let tally = &campaign.tally;
    let mut line = |name: &str, what: &dyn fmt::Display| writeln!(text, "{name:<11}{what}").expect("memory takes text");
    let planted = plan.limits.defect.map_or_else(String::new, |defect| format!(", with the bug {defect}"));
    line("seeds", &format_args!("{} from {}{planted}", campaign.seeds, plan.from));
    line("operations", &format_args!("{}; {} of 1000 succeeded", counts(&tally.operations), campaign.success_permille()));
    line("faults", &listed(&named(&tally.faults)));
    line("branches", &listed(&named(&tally.marks)));
    let Tally { chosen, keys_decided, keys_undecided, .. } = tally;
    line("chains", &format_args!("{chosen} states chosen; {keys_decided} keys judged, {keys_undecided} given up by the search"));
    line("lost", &format_args!("{} in crashes", Count(tally.lost_changes, "unsynced change")));
    let virtual_time = humantime::format_duration(Duration::from_secs(tally.virtual_micros / 1_000_000));
    line("events", &format_args!("{} in {virtual_time} of virtual time", tally.events));
    let (wall, cpu) = (speed(campaign, took.wall), speed(campaign, took.cpu));
    let seconds = took.wall.as_secs_f64();
    line("speed", &format_args!("{seconds:.1}s, {} at a time: {wall:.0} seeds a second, {cpu:.0} a second on one core alone", plan.jobs));
    text
}

fn conclusion(plan: &Plan, verdict: Verdict, doubts: &[String], failure: Option<&Failure>) -> String {
    match (verdict, failure) {
        (_, Some(failure)) => failure.told(),
        (Verdict::BugNotFound, None) => {
            let bug = plan.limits.defect.map_or("", quorate_protocol::Defect::name);
            format!("the bug {bug} was not found in {}", Count(plan.seeds, "seed"))
        }
        (Verdict::Untested, None) => format!("no violation, but not everything was tested:\n  {}", doubts.join("\n  ")),
        (Verdict::Clean | Verdict::Violation, None) => "no violation".to_owned(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a speed for people")]
fn speed(campaign: &Campaign, took: Duration) -> f64 {
    campaign.seeds as f64 / took.as_secs_f64().max(1e-9)
}

/// How often what happened, in JSON.
#[derive(Debug, Serialize)]
pub(super) struct TallyFields {
    operations: Counts,
    faults: BTreeMap<String, u64>,
    branches: BTreeMap<String, u64>,
    states_chosen: u64,
    keys_decided: u64,
    keys_undecided: u64,
    lost_changes: u64,
    events: u64,
    virtual_micros: u64,
}

impl TallyFields {
    pub(super) fn of(tally: &Tally) -> Self {
        let Tally { operations, faults, marks, keys_decided, keys_undecided, chosen, lost_changes, events, virtual_micros } = tally;
        Self {
            operations: counts(operations),
            faults: named(faults),
            branches: named(marks),
            states_chosen: *chosen,
            keys_decided: *keys_decided,
            keys_undecided: *keys_undecided,
            lost_changes: *lost_changes,
            events: *events,
            virtual_micros: *virtual_micros,
        }
    }
}

/// Operations by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Counts {
    ok: u64,
    not_applied: u64,
    unknown: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ok, not_applied, unknown } = self;
        write!(f, "{ok} operations succeeded, {not_applied} not applied, {unknown} unknown")
    }
}

pub(super) fn counts(operations: &BTreeMap<Outcome, u64>) -> Counts {
    let of = |outcome| operations.get(&outcome).copied().unwrap_or(0);
    Counts { ok: of(Outcome::Ok), not_applied: of(Outcome::Fail), unknown: of(Outcome::Unknown) }
}

/// How often what, by its name.
fn named<K: fmt::Display>(counts: &BTreeMap<K, u64>) -> BTreeMap<String, u64> {
    counts.iter().map(|(what, count)| (what.to_string(), *count)).collect()
}

/// Names and numbers in lines of bearable width, most frequent first.
fn listed(counts: &BTreeMap<String, u64>) -> String {
    let mut counts: Vec<(&String, &u64)> = counts.iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let mut lines = vec![String::new()];
    for (number, (name, count)) in counts.iter().enumerate() {
        let comma = if number + 1 == counts.len() { "" } else { ", " };
        let item = format!("{name} {count}{comma}");
        match lines.last_mut().filter(|line| line.len() + item.len() <= COLUMNS) {
            Some(line) => line.push_str(&item),
            None => lines.push(item),
        }
    }
    let lines: Vec<&str> = lines.iter().map(|line| line.trim_end()).collect();
    if counts.is_empty() { "none".to_owned() } else { lines.join("\n           ") }
}

#[cfg(test)]
mod tests {
    use quorate_protocol::Defect;
    use quorate_protocol::notes::Mark;
    use quorate_sim::fault::FaultKind;

    use super::*;

    fn plan(limits: Limits) -> Plan {
        Plan { from: 1, seeds: 60, jobs: 3, limits }
    }

    #[test]
    fn the_lowest_failing_seed_is_reported_however_many_run_at_a_time() {
        let limits = Limits { defect: Some(Defect::RepairOverwrites), operations: Some(100), ..Limits::default() };
        let failed = |jobs| {
            let done = Plan { jobs, ..plan(limits.clone()) }.run();
            assert_eq!(done.campaign.failed > 0, done.failed.is_some());
            let report = done.failed.expect("the bug is found");
            (report.options.seed, report.trace_hash)
        };
        assert_eq!(failed(1), failed(4));
    }

    /// A campaign that tried everything.
    fn full() -> Campaign {
        let (marks, kinds) = (Mark::ALL.iter().map(|mark| (*mark, 1)), FaultKind::ALL.iter().map(|kind| (*kind, 1)));
        let operations = BTreeMap::from([(Outcome::Ok, 9), (Outcome::Fail, 1)]);
        let tally = Tally { operations, marks: marks.collect(), faults: kinds.collect(), ..Tally::default() };
        Campaign { seeds: ENOUGH_SEEDS, failed: 0, tally }
    }

    #[test]
    fn what_was_not_tried_makes_a_long_campaign_fail() {
        let everything = plan(Limits::default());
        assert_eq!(everything.doubts(&full()), Vec::<String>::new());
        let mut poor = full();
        poor.tally.marks.remove(&Mark::HintReplayed);
        poor.tally.faults.remove(&FaultKind::Skew);
        assert_eq!(everything.doubts(&poor), ["the branch HintReplayed was never taken", "the fault skew never took effect"]);
        let few = Campaign { seeds: ENOUGH_SEEDS - 1, ..poor.clone() };
        assert_eq!(everything.doubts(&few), Vec::<String>::new());
        let limited = plan(Limits { without: [FaultKind::Skew].into(), ..Limits::default() });
        assert_eq!(limited.doubts(&poor), Vec::<String>::new());
        assert_eq!(Verdict::Untested.exit(), Exit::CheckFailed);
    }

    #[test]
    fn a_campaign_in_which_little_succeeded_proves_little() {
        let mut idle = full();
        idle.tally.operations = BTreeMap::from([(Outcome::Ok, 1), (Outcome::Unknown, 9)]);
        assert_eq!(plan(Limits::default()).doubts(&idle), ["only 100 of 1000 operations succeeded; 500 are wanted"]);
    }

    #[test]
    fn lists_are_wrapped() {
        let counts: BTreeMap<String, u64> = (0..30).map(|number| (format!("kind-{number:02}"), 100 - number)).collect();
        let text = listed(&counts);
        assert!(text.lines().count() > 2 && text.lines().all(|line| line.trim().len() <= COLUMNS), "{text}");
        assert!(text.starts_with("kind-00 100, kind-01 99,") && text.ends_with("kind-29 71"), "{text}");
        assert_eq!(listed(&BTreeMap::new()), "none");
    }
}
