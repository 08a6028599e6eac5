//! The worlds as a model for stateright, and how one is explored.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use quorate_protocol::notes::Mark;
use stateright::{Checker, HasDiscoveries, Model, Property};

use crate::coordinator::Move;
use crate::ledger::Rule;
use crate::scenario::{Cue, Scenario};
use crate::shared::Shared;
use crate::world::{Envelope, Origin, Stage, Step, World};

/// A scenario to explore.
#[derive(Clone)]
pub(crate) struct Chain {
    scenario: Scenario,
    /// One bit for each mark that was made anywhere.
    marks: Arc<AtomicU64>,
    /// One bit for each operation that was answered anywhere.
    answered: Arc<AtomicU64>,
    /// Asked more often than anything else.
    vain: Arc<Mutex<Vain>>,
}

/// Whether a message comes in vain to a record and its answer to a machine, by their ranks.
type Vain = BTreeMap<(u64, u64, u64), bool>;

/// What an exploration came to.
#[derive(Debug)]
pub(crate) struct Explored {
    pub(crate) states: usize,
    pub(crate) depth: usize,
    pub(crate) broken: Option<(Rule, Vec<Step>)>,
    /// The operations that were answered in some run.
    pub(crate) answered: BTreeSet<usize>,
    pub(crate) marks: BTreeSet<Mark>,
}

impl Model for Chain {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        let cues = self.scenario.prelude.iter();
        let world = cues.fold(World::new(&self.scenario), |world, cue| {
            let step = self.cued(&world, *cue);
            self.next_state(&world, step).unwrap_or_else(|| panic!("{cue:?} changes nothing"))
        });
        vec![world]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        world.steps(&self.scenario, steps);
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        if let Step::Arrive { message, answered } = &step
            && self.is_in_vain(world, message, *answered)
        {
            return None;
        }
        let mut taken = Move { world: world.clone(), scenario: &self.scenario, marks: Vec::new() };
        if !taken.take(step) {
            return None;
        }
        let made = taken.marks.iter().fold(0, |made, mark| made | 1 << *mark as u64);
        if made != 0 {
            self.marks.fetch_or(made, Ordering::Relaxed);
        }
        let over = taken.world.operations.iter().enumerate().filter(|(_, operation)| operation.stage == Stage::Over);
        self.answered.fetch_or(over.fold(0, |set, (at, _)| set | 1 << at), Ordering::Relaxed);
        taken.world.sweep(&self.scenario);
        (taken.world != *world).then_some(taken.world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(KEPT, |_, world: &World| world.broken.is_none()),
            Property::sometimes(ANSWERED, |_, world: &World| world.operations.iter().any(|operation| operation.stage == Stage::Over)),
        ]
    }
}

impl Chain {
    fn of(scenario: &Scenario) -> Self {
        Self { scenario: scenario.clone(), marks: Arc::default(), answered: Arc::default(), vain: Arc::default() }
    }

    fn is_in_vain(&self, world: &World, message: &Shared<Envelope>, answered: bool) -> bool {
        if !answered {
            return world.is_spent(message);
        }
        let key = (message.rank(), world.records[message.to].rank(), world.machine_rank(message.from));
        let mut known = self.vain.lock().expect("nobody panics while holding it");
        *known.entry(key).or_insert_with(|| world.is_in_vain(&self.scenario, message))
    }

    fn cued(&self, world: &World, cue: Cue) -> Step {
        let (from, to, kind) = match cue {
            Cue::Begin(at) => return Step::Begin(at),
            Cue::SendAgain(at) => return Step::SendAgain(at),
            Cue::Prepare(at, to) => (Origin::Proposer(at), to, "Prepare"),
            Cue::Accept(at, to) => (Origin::Proposer(at), to, "Accept"),
            Cue::Ask(at, to) => (Origin::Operation(at), to, ""),
        };
        let is_it = |message: &&Shared<Envelope>| {
            message.from == from
                && message.to == to
                && message.request.to_string().starts_with(kind)
                && world.waits_for_answer(&self.scenario, message)
        };
        let message = world.network.iter().find(is_it).unwrap_or_else(|| panic!("nothing there for {cue:?}"));
        Step::Arrive { message: message.clone(), answered: true }
    }
}

const KEPT: &str = "every rule is kept";
const ANSWERED: &str = "an operation is answered";

/// Explores every state.
pub(crate) fn explore(scenario: &Scenario) -> Explored {
    let model = Chain::of(scenario);
    let seen = model.clone();
    explored(&model.checker().finish_when(HasDiscoveries::AnyFailures).spawn_dfs().join(), &seen)
}

/// Explores states in the order of their distance, until a rule is broken.
pub(crate) fn shortest(scenario: &Scenario) -> Explored {
    let model = Chain::of(scenario);
    let seen = model.clone();
    explored(&model.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join(), &seen)
}

fn explored(checker: &impl Checker<Chain>, seen: &Chain) -> Explored {
    let broken = checker.discovery(KEPT).map(|path| {
        let rule = path.last_state().broken.expect("the property says so");
        (rule, path.into_actions())
    });
    let (marks, answered) = (seen.marks.load(Ordering::Relaxed), seen.answered.load(Ordering::Relaxed));
    Explored {
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        broken,
        answered: (0..64).filter(|at| answered >> at & 1 == 1).collect(),
        marks: Mark::ALL.iter().copied().filter(|mark| marks >> *mark as u64 & 1 == 1).collect(),
    }
}
