//! A story as a report: its schedule at two or three levels, measured like the runs of `compare`, on the same page.

use std::time::{Duration, SystemTime};

use quorate_checker::measure;
use quorate_checker::measure::report::{Level, PlannedFault, Run};
use quorate_lab::compare;
use quorate_lab::story::record;

use super::judgement::{Judged, REPLICAS};

/// The page of the runs.
pub(super) fn render<'a>(judged: impl Iterator<Item = &'a Judged>) -> String {
    let judged: Vec<&Judged> = judged.collect();
    // Nothing but the page is written.
    let levels = judged.iter().map(|judged| Level { history: String::new(), ..judged.measured.clone() }).collect();
    let report = measure::report(env!("CARGO_PKG_VERSION"), run(&judged), levels);
    compare::page::render(&serde_json::to_string(&report).expect("a report has text keys and plain values"))
}

fn run(judged: &[&Judged]) -> Run {
    let longest = judged.iter().map(|judged| judged.run.end - judged.run.begin).max().unwrap_or_default();
    let first = judged.first().map(|judged| &judged.run);
    let faults = first.map(|run| run.faults.iter().map(|fault| planned(fault, run)).collect()).unwrap_or_default();
    let clients = first.map_or(0, |run| run.clients.len());
    Run {
        seed: "0".to_owned(),
        seconds: longest.as_secs_f64(),
        nodes: u32::from(REPLICAS),
        replicas: REPLICAS,
        clients: u32::try_from(clients).expect("a handful"),
        keys: 1,
        rate: None,
        mix: "a story".to_owned(),
        cluster: None,
        started: Some(humantime::format_rfc3339_seconds(SystemTime::now()).to_string()),
        levels: judged.iter().map(|judged| judged.measured.name.clone()).collect(),
        faults,
    }
}

/// A fault as the first level had it: the schedule is the same for all.
fn planned(fault: &record::Fault, run: &record::Run) -> PlannedFault {
    let since = |moment: Duration| moment.saturating_sub(run.begin).as_secs_f64();
    let (from_s, until_s) = (since(fault.begin), since(fault.end.unwrap_or(run.end)));
    PlannedFault { kind: fault.kind.to_owned(), target: fault.target.clone(), from_s, until_s }
}
