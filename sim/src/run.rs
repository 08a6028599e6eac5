//! One run: chaos, heal, liveness, durability scan and convergence, judgement.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use quorate_checker::history::{History, Nanos};
use quorate_protocol::chain::Ballot;
use quorate_protocol::notes::Mark;
use quorate_protocol::{Level, Tick};
use quorate_ring::NodeId;

use crate::campaign::Tally;
use crate::client::{Doing, Intent};
use crate::fault::{self, FaultKind};
use crate::judge::{Violation, judge};
use crate::message::Key;
use crate::options::Options;
use crate::world::World;

/// Time for nodes to find each other after their start and after the heal, in microseconds.
const SETTLE_MICROS: u64 = 6_000_000;

/// Longest time for hints to be delivered after the heal, in microseconds.
const DRAIN_MICROS_MAX: u64 = 180_000_000;

/// Age of hints that no run reaches, in milliseconds.
const HINT_AGE_MS_SAFE: u64 = 1_000_000;

/// Time within which every accepted state is decided, in microseconds: the longest wait of a replica, and what it does then.
const FINISH_MICROS: u64 = 12_000_000;

/// How often an operation may fail in a healthy cluster before that counts as broken.
const TRIES: u32 = 6;

/// What a run did and what came of it.
#[derive(Clone, Debug)]
pub struct Report {
    /// What the run was made of.
    pub options: Options,
    /// How often what happened.
    pub tally: Tally,
    /// A digest of the whole trace.
    pub trace_hash: u64,
    /// The trace, if it was kept.
    pub trace: Vec<String>,
    /// What clients saw and replicas held.
    pub history: History,
    /// Operations whose every copy went with a lost disk, as positions in the history: their levels did not promise more.
    pub vanished: BTreeSet<usize>,
    /// Disks that were lost or damaged.
    pub disks_lost: u32,
    /// Writes that were applied twice, by a retry that found no trace of the first try.
    pub repeated: BTreeSet<usize>,
    /// From when on all faults were healed and repairs done, on the history's clock.
    pub quiet: Nanos,
    /// The promises broken, first the gravest.
    pub violations: Vec<Violation>,
}

/// Runs what `options` say, to its end.
#[must_use]
pub fn simulate(options: &Options, keeps_trace: bool) -> Report {
    let mut world = World::new(options.clone(), keeps_trace);
    let mut violations = Vec::new();
    let mut quiet = Nanos::MAX;
    let ended = catch_unwind(AssertUnwindSafe(|| play(&mut world, &mut violations, &mut quiet)));
    if let Err(panic) = ended {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default();
        violations.push(Violation { kind: "invariant-broken", words: format!("invariant-broken: {text}"), operations: Vec::new() });
    }
    violations.append(&mut world.census.violations);
    let mut tally = world.tally;
    for operation in &world.recorder.history.operations {
        *tally.operations.entry(operation.outcome).or_default() += 1;
    }
    tally.virtual_micros = world.now.0;
    Report {
        options: options.clone(),
        tally,
        trace_hash: world.trace.digest(),
        trace: world.trace.take().iter().map(ToString::to_string).collect(),
        vanished: world.recorder.lost,
        disks_lost: world.recorder.disks_lost,
        repeated: world.recorder.repeated,
        quiet,
        history: world.recorder.history,
        violations,
    }
}

fn play(world: &mut World, violations: &mut Vec<Violation>, quiet: &mut Nanos) {
    chaos(world);
    world.heal();
    world.run_until(world.now.after(SETTLE_MICROS));
    violations.extend(drain(world));
    violations.extend(handed_off(world));
    violations.extend(liveness(world));
    violations.extend(drain(world));
    finish(world);
    violations.extend(scan(world));
    world.run_until(world.now.after(SETTLE_MICROS / 2));
    *quiet = world.now.0 * 1_000;
    violations.extend(scan(world));
    world.run_until(world.now.after(SETTLE_MICROS / 2));
    violations.extend(decided(world));
    record_finals(world);
    world.recorder.resolve_increments(&world.census);
    let options = world.options.clone();
    let judged = judge(&options, &mut world.recorder, *quiet);
    (world.tally.keys_decided, world.tally.keys_undecided) = (judged.decided, judged.undecided);
    world.tally.chosen = world.census.chosen_count();
    violations.splice(0..0, judged.violations);
}

fn chaos(world: &mut World) {
    world.run_until(Tick(SETTLE_MICROS / 3));
    let begin = world.now;
    let (chaos_micros, operations) = (world.options.chaos_micros, world.options.operations);
    let nodes: Vec<NodeId> = world.nodes.keys().copied().collect();
    for (at, kind, fault) in fault::schedule(world.options.seed, &nodes, &world.options.faults, chaos_micros) {
        world.plan(begin.after(at), kind, fault);
    }
    let end = begin.after(chaos_micros);
    world.work(operations, end);
    world.run_until(end);
    world.workload = None;
    // Whatever is under way ends by its deadline.
    world.run_until(end.after(world.options.client.deadline_micros));
}

/// The home replicas of a key that still take part.
fn alive(world: &World, key: Key) -> Vec<NodeId> {
    let away = world.away();
    world.homes[usize::from(key.0)].iter().filter(|home| !away.contains(home)).collect()
}

fn keys(world: &World) -> impl Iterator<Item = Key> + use<> {
    (0..world.options.keys.len()).map(|number| Key(u8::try_from(number).expect("few keys")))
}

/// Operations must succeed again once nothing is wrong.
fn liveness(world: &mut World) -> Vec<Violation> {
    let mut violations = Vec::new();
    for key in keys(world) {
        if alive(world, key).len() <= usize::from(world.options.replicas / 2) {
            continue;
        }
        violations.extend(read_and_written(world, key));
    }
    violations
}

/// Reads a key and writes it in place of what was read, until both succeed. A key that is changed by consensus is, here too.
fn read_and_written(world: &mut World, key: Key) -> Option<Violation> {
    let workload = world.options.keys[usize::from(key.0)].workload;
    let level = if workload.is_linearizable() { Level::Linearizable } else { Level::Quorum };
    for _ in 0..TRIES {
        if !try_once(world, Intent { key, level, what: Doing::Read }) {
            continue;
        }
        let scanner = scanner(world);
        let update = world.clients.get_mut(&scanner).expect("clients stay").update(key, workload);
        if try_once(world, update) {
            return None;
        }
    }
    Some(stuck("liveness", key, "read and written", level))
}

/// The client that does what the run itself wants done.
fn scanner(world: &World) -> u8 {
    world.options.clients + 1
}

/// Does one operation; true if it succeeds. Waits a little if not.
fn try_once(world: &mut World, intent: Intent) -> bool {
    let scanner = scanner(world);
    world.done.clear();
    world.begin(scanner, Vec::new(), intent);
    let deadline = world.now.after(world.options.client.deadline_micros + 1);
    while world.done.is_empty() && world.now < deadline {
        world.run_until(world.now.after(10_000).min(deadline));
    }
    let succeeded = world.done.contains(&(scanner, true));
    if !succeeded {
        world.run_until(world.now.after(1_000_000));
    }
    succeeded
}

fn stuck(kind: &'static str, key: Key, what: &str, level: Level) -> Violation {
    let words = format!("{kind}: {key} could not be {what} at {level} in {TRIES} tries although nothing is wrong any more");
    Violation { kind, words, operations: Vec::new() }
}

/// Hints must reach whom they are kept for.
fn drain(world: &mut World) -> Option<Violation> {
    // Whatever may still keep a hint has kept it by its deadline.
    world.run_until(world.now.after(world.options.client.deadline_micros + SETTLE_MICROS / 6));
    let end = world.now.after(DRAIN_MICROS_MAX);
    loop {
        let away = world.away();
        let keepers = world.nodes.values().filter(|node| !away.contains(&node.id));
        let left = keepers.flat_map(|node| node.disk.current().hints.keys()).filter(|(target, _)| !away.contains(target)).count();
        if left == 0 {
            return None;
        }
        if world.now >= end {
            let words = format!("hints-left: {left} hints are still kept {}s after the heal", DRAIN_MICROS_MAX / 1_000_000);
            return Some(Violation { kind: "hints-left", words, operations: Vec::new() });
        }
        world.run_until(world.now.after(500_000));
    }
}

/// Where no process died, no disk was full and no hint was refused or dropped, hints alone bring every home replica up to date.
fn handed_off(world: &World) -> Option<Violation> {
    const MAY_LOSE_HINTS: [FaultKind; 7] = [
        FaultKind::Crash,
        FaultKind::Blackout,
        FaultKind::Restart,
        FaultKind::DiskFull,
        FaultKind::FlippedBits,
        FaultKind::DiskLoss,
        FaultKind::Overload,
    ];
    let refused = world.tally.marks.contains_key(&Mark::HintRefused);
    let expires = world.options.node.hint_age_ms_max < HINT_AGE_MS_SAFE;
    if refused || expires || MAY_LOSE_HINTS.iter().any(|kind| world.options.faults.contains(kind)) {
        return None;
    }
    let record = |home: &NodeId, key: &Key| world.nodes[home].disk.view(*key).eventual;
    // What was chosen is told to replicas once, and found out by the others when they are asked.
    for key in keys(world).filter(|key| !world.options.keys[usize::from(key.0)].workload.is_linearizable()) {
        let homes: Vec<NodeId> = world.homes[usize::from(key.0)].iter().collect();
        if let Some(home) = homes.iter().find(|home| record(home, &key) != record(&homes[0], &key)) {
            let words =
                format!("handoff-incomplete: {home} and {} hold different versions of {key} although every hint was delivered", homes[0]);
            return Some(Violation { kind: "handoff-incomplete", words, operations: Vec::new() });
        }
    }
    None
}

/// Gives nodes the time to decide what they have accepted.
fn finish(world: &mut World) {
    let end = world.now.after(FINISH_MICROS);
    while world.now < end && !decided(world).is_empty() {
        world.run_until(world.now.after(FINISH_MICROS / 24));
    }
}

/// Nothing that a home replica has accepted is undecided any more, and a majority knows the newest state. A replica that heard of
/// none of it may still lag: nobody compares replicas yet.
fn decided(world: &World) -> Vec<Violation> {
    let mut violations = Vec::new();
    for key in keys(world).filter(|key| world.options.keys[usize::from(key.0)].workload.is_linearizable()) {
        let homes = alive(world, key);
        let majority = usize::from(world.options.replicas / 2) + 1;
        let chain = |home: &NodeId| Some(world.nodes[home].disk.view(key).chain);
        let places: Vec<(Ballot, Ballot)> = homes.iter().filter_map(chain).map(|chain| (chain.accepted_at(), chain.decided)).collect();
        let newest = places.iter().map(|(accepted, _)| *accepted).max().unwrap_or_default();
        let is_undecided = places.iter().any(|(accepted, decided)| accepted != decided);
        let is_lonely = !newest.is_zero() && places.iter().filter(|(accepted, _)| *accepted == newest).count() < majority;
        if homes.len() >= majority && (is_undecided || is_lonely) {
            let list: Vec<String> = places.iter().map(|(accepted, decided)| format!("{accepted} and {decided}")).collect();
            let words = format!("undecided: {key}: its replicas have accepted, and know to be chosen, {}", list.join("; "));
            violations.push(Violation { kind: "undecided", words, operations: Vec::new() });
        }
    }
    violations
}

/// Reads every key from every home replica that is left.
fn scan(world: &mut World) -> Vec<Violation> {
    let mut violations = Vec::new();
    for key in keys(world) {
        let homes = alive(world, key).len();
        let level = match u8::try_from(homes).expect("few replicas") {
            0 => continue,
            all if all == world.options.replicas => Level::All,
            some => Level::Counts { r: some, w: 1 },
        };
        if !(0..TRIES).any(|_| try_once(world, Intent { key, level, what: Doing::Read })) {
            violations.push(stuck("scan", key, "read", level));
        }
    }
    violations
}

fn record_finals(world: &mut World) {
    for key in keys(world) {
        for home in alive(world, key) {
            let record = world.nodes[&home].disk.view(key);
            world.recorder.hold(&home.to_string(), key, &record.eventual);
        }
    }
}

#[cfg(test)]
mod tests {
    use quorate_protocol::KeyRecord;
    use quorate_protocol::chain::{Accepted, ChainRecord, ChainState};
    use quorate_ring::RingEpoch;

    use super::*;
    use crate::disk::Change;
    use crate::options::{Limits, Traffic};

    fn ballot(counter: u64) -> Ballot {
        Ballot { epoch: RingEpoch(1), counter, node: NodeId(1), boot: quorate_protocol::BootId(1) }
    }

    /// What is said of a key at rest whose replicas have accepted, and know to be chosen, what was proposed at these counters.
    fn said(places: &[(u64, u64)]) -> Vec<&'static str> {
        let limits = Limits { traffic: Some(Traffic::Linearizable), keys: Some(1), ..Limits::default() };
        let mut world = World::new(Options::draw(1, limits), false);
        let homes = alive(&world, Key(0));
        assert_eq!(homes.len(), places.len(), "seed 1 has three replicas");
        for (home, (accepted, decided)) in homes.into_iter().zip(places).filter(|(_, (accepted, _))| *accepted > 0) {
            let state = ChainState { inc: ballot(1), seq: *accepted, ..ChainState::default() };
            let chain = ChainRecord {
                promised: ballot(*accepted),
                accepted: Some(Accepted { ballot: ballot(*accepted), state }),
                decided: if *decided > 0 { ballot(*decided) } else { Ballot::ZERO },
            };
            let record = KeyRecord { chain, ..KeyRecord::default() };
            world.nodes.get_mut(&home).expect("nodes stay").disk.write_synced(Change::Record(Key(0), Box::new(record)));
        }
        decided(&world).iter().map(|violation| violation.kind).collect()
    }

    #[test]
    fn a_replica_may_lag_at_rest_but_nothing_is_undecided_or_held_by_too_few() {
        assert_eq!(said(&[(0, 0), (0, 0), (0, 0)]), [""; 0]);
        assert_eq!(said(&[(5, 5), (5, 5), (5, 5)]), [""; 0]);
        assert_eq!(said(&[(5, 5), (5, 5), (0, 0)]), [""; 0], "nobody told the third");
        assert_eq!(said(&[(5, 5), (5, 5), (3, 3)]), [""; 0], "nor that something came after");
        assert_eq!(said(&[(5, 5), (5, 5), (5, 3)]), ["undecided"], "one has accepted it and never finds out");
        assert_eq!(said(&[(5, 5), (3, 3), (3, 3)]), ["undecided"], "what one knows to be chosen, no majority has");
        assert_eq!(said(&[(5, 3), (3, 3), (3, 3)]), ["undecided"], "nobody decides it");
    }
}
