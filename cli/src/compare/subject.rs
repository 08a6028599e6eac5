//! What a run is, in the checker's words.

use quorate_checker::measure::report::{Fault, PlannedFault, Window};
use quorate_checker::measure::{LevelName, Samples, Subject};
use quorate_checker::prediction::TRIALS;
use quorate_checker::verdict::Limits;
use quorate_lab::compare::{ComparedLevel, Counted, Planned, Ran};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// States to visit for a key that needs a search to be held to what its level does not promise. Less than `check` visits: most keys that
/// need as many are those of levels that promise no order at all, and there are many.
const STATES: u64 = 200_000;

/// The level's name.
pub(super) fn name(level: ComparedLevel) -> LevelName {
    LevelName { read: level.read.to_string(), write: level.write.to_string(), session: level.session }
}

/// A run as the checker measures it. One in which fewer than a tenth of the operations were answered shows nothing.
pub(super) fn of(ran: Ran, level: LevelName, seed: u64) -> Subject {
    let (begin_ns, end_ns) = ran.window;
    let Counted { messages, fsyncs, .. } = ran.counted;
    Subject {
        level,
        window: Window { begin_ns, end_ns },
        replicas: ran.replicas,
        faults: ran.faults.into_iter().map(fault).collect(),
        delays: samples(&ran.counted, seed),
        seed,
        trials: TRIALS,
        messages,
        fsyncs,
        ok_min: (ran.due / 10).max(1),
        invalid: ran.flaws,
        limits: Limits { states: STATES, ..Limits::default() },
    }
}

/// An acknowledgement comes after the replica has made the write durable: every way back is put together with one such time, by chance.
fn samples(counted: &Counted, seed: u64) -> Samples {
    let Counted { out, back, commits, .. } = counted;
    let mut random = StdRng::seed_from_u64(seed);
    let ack = back.iter().filter_map(|back| Some(back + commits.get(random.random_range(0..commits.len().max(1)))?));
    Samples { write: out.clone(), ack: ack.collect(), read: out.clone(), reply: back.clone() }
}

fn fault(fault: quorate_lab::compare::Fault) -> Fault {
    let quorate_lab::compare::Fault { planned, begin, end, took_effect, effect } = fault;
    let kind = planned.kind().to_string();
    Fault { kind, target: planned.target.to_string(), begin_ns: begin, end_ns: end, took_effect, effect }
}

/// A fault of the schedule.
pub(super) fn planned(fault: &Planned) -> PlannedFault {
    PlannedFault {
        kind: fault.kind().to_string(),
        target: fault.target.to_string(),
        from_s: fault.from.as_secs_f64(),
        until_s: fault.until.as_secs_f64(),
    }
}
