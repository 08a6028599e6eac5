//! Linearizability against any sequential specification, by memoised search.
//!
//! **Promise.** Says [`Answer::Linearizable`] only with an order in hand, [`Answer::Violation`] only when no order exists, and
//! [`Answer::Undecided`] when the caller's [`Budget`] ended first. The last is never a pass.
//!
//! **How.** Depth first: of the operations that nothing unplaced has to precede, one is placed, the specification says what state
//! it leaves, and so on until all are placed; where none fits, back up. A configuration (which operations are placed, which state
//! they left) is visited once: how it was reached does not matter for what can follow.
//!
//! ```text
//!           lo                      the first that is not placed, in order of calls
//!  ----------|--x--.--x-----|.....
//!   placed     ^ some placed |  none can be placed before something left of the line is
//! ```
//!
//! A configuration is therefore small, however long the history: `lo`, the few that are placed behind it, the optional ones
//! that are placed, and the state. Time and memory grow with the length of the history and exponentially with the number of
//! operations that are in flight at once.
//!
//! Some rules keep it from trying what cannot succeed, or what was tried already:
//! - An observation (an operation that leaves the state as it is) is placed at once wherever it fits: whatever can follow without it can
//!   follow with it.
//! - What would leave a required task without the state that it needs is not placed ([`stranded`]).
//! - An optional task is not placed where it changes nothing, nor before an equal one that was called earlier: that one would do as well,
//!   and the later one may still come.
//!
//! **Order.** `a` has to precede `b` if `a` ended before `b` was called. Touching is concurrent. Between two tasks that are both
//! [`Task::unordered`] nothing is required. An *optional* task (no end) may be placed anywhere after its call, or never.
//!
//! **Deviation from the sources.** Lowe keeps bit sets of the whole history; the window above keeps only what differs.
//!
//! Sources: Wing & Gong, *Testing and Verifying Concurrent Objects* (1993); Lowe, *Testing for Linearizability* (2017).

mod optional;
mod shrink;
mod stranded;

use std::collections::BTreeSet;

use self::optional::elders;
pub(crate) use self::optional::noticed;
pub(crate) use self::shrink::shrink;
use self::stranded::Stranded;
use crate::history::Nanos;

/// What a sequence of operations may do.
pub trait Specification {
    /// What the object remembers.
    type State: Clone + Ord;
    /// An operation with its answer.
    type Operation: PartialEq;
    /// What an operation may need of a state, and another provide.
    type Trait: Ord;

    /// The state before everything.
    fn initial(&self) -> Self::State;

    /// The state after `operation`, or `None` if it cannot have answered so in `state`.
    fn apply(&self, state: &Self::State, operation: &Self::Operation) -> Option<Self::State>;

    /// Whether the operation leaves every state as it is.
    fn observes(&self, operation: &Self::Operation) -> bool;

    /// What a state must have for the operation to be possible, if that is known.
    fn need(&self, operation: &Self::Operation) -> Option<Self::Trait> {
        let _ = operation;
        None
    }

    /// What every state after the operation has that may be needed. Whatever has a trait that is needed, some operation provided, or
    /// it was there in the beginning.
    fn provides(&self, operation: &Self::Operation) -> Option<Self::Trait> {
        let _ = operation;
        None
    }

    /// What a state has that may be needed.
    fn has(&self, state: &Self::State) -> Option<Self::Trait> {
        let _ = state;
        None
    }

    /// Whether `other` may have answered as it did only because `missing` took effect. A history that is linearizable must stay so
    /// without any set of operations that none of the others notices; for observations that holds by itself.
    fn notices(&self, other: &Self::Operation, missing: &Self::Operation) -> bool {
        let _ = other;
        !self.observes(missing)
    }
}

/// An operation in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task<O> {
    /// What.
    pub operation: O,
    /// When it was called.
    pub call: Nanos,
    /// When it had taken effect at the latest; `None`: it may take effect any time after the call, or never.
    pub end: Option<Nanos>,
    /// Real time does not order it against others that say so too.
    pub unordered: bool,
}

/// How much may be tried.
#[expect(missing_debug_implementations, reason = "it holds the caller's closure")]
pub struct Budget<'a> {
    /// Configurations that may still be visited. Each costs some hundred bytes while its history is searched.
    pub states: u64,
    /// Asked from time to time; false ends the search. The checker reads no clock, its caller may.
    pub keep_going: &'a mut dyn FnMut() -> bool,
}

/// `keep_going` is asked once in so many configurations.
const STATES_PER_QUESTION: u64 = 1024;

impl Budget<'_> {
    /// Takes one configuration out of the budget.
    fn spend(&mut self) -> Result<(), Exhausted> {
        if self.states == 0 {
            return Err(Exhausted::States);
        }
        if self.states.is_multiple_of(STATES_PER_QUESTION) && !(self.keep_going)() {
            return Err(Exhausted::Stopped);
        }
        self.states -= 1;
        Ok(())
    }
}

/// Why a search gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exhausted {
    /// The configurations ran out.
    States,
    /// `keep_going` said no.
    Stopped,
}

/// What a search found. Numbers are positions in the list of tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// This order explains everything. Optional tasks that are not in it never took effect.
    Linearizable {
        /// The order.
        order: Vec<usize>,
    },
    /// Nothing explains everything.
    Violation {
        /// The search never got beyond this moment: tasks that were called later play no part in the violation.
        reached: Nanos,
    },
    /// Nobody knows.
    Undecided(Exhausted),
}

/// Looks for an order of `tasks` that `specification` allows.
pub fn search<S: Specification>(specification: &S, tasks: &[Task<S::Operation>], budget: &mut Budget<'_>) -> Answer {
    match Search::new(specification, tasks).run(budget) {
        Ok(answer) => answer,
        Err(exhausted) => Answer::Undecided(exhausted),
    }
}

/// One choice that was made, with what else could have been chosen.
struct Frame<State> {
    /// Before the choice.
    state: State,
    lo: usize,
    placed: usize,
    /// What may be chosen is `choices[begin..]`, up to the next frame's; taken from the end.
    begin: usize,
}

/// A configuration that was visited.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Visited<State> {
    lo: usize,
    /// Required tasks behind `lo`, then optional ones, that are placed.
    placed: Box<[u32]>,
    state: State,
}

struct Search<'a, S: Specification> {
    specification: &'a S,
    tasks: &'a [Task<S::Operation>],
    /// Tasks with an end, by call.
    required: Vec<u32>,
    /// Tasks without, by call.
    optional: Vec<u32>,
    /// For every task that is optional, an equal one that was called earlier, if there is any.
    elder: Vec<Option<u32>>,
    is_placed: Vec<bool>,
    /// In the order of placing.
    order: Vec<u32>,
    /// Required tasks before this position are all placed.
    lo: usize,
    state: S::State,
    /// Optional tasks that are placed, ascending by position in `optional`.
    spent: Vec<u32>,
    frames: Vec<Frame<S::State>>,
    choices: Vec<u32>,
    visited: BTreeSet<Visited<S::State>>,
    stranded: Stranded<S::Trait>,
    reached: Nanos,
}

impl<'a, S: Specification> Search<'a, S> {
    fn new(specification: &'a S, tasks: &'a [Task<S::Operation>]) -> Self {
        let count = u32::try_from(tasks.len()).expect("fewer than 2^32 operations on a key");
        let mut all: Vec<u32> = (0..count).collect();
        all.sort_by_key(|&at| (tasks[at as usize].call, at));
        let (required, optional): (Vec<u32>, Vec<u32>) = all.into_iter().partition(|&at| tasks[at as usize].end.is_some());
        let elder = elders(tasks, &optional);
        let is_placed = vec![false; tasks.len()];
        let state = specification.initial();
        let stranded = Stranded::new(specification, tasks);
        Self {
            specification,
            tasks,
            required,
            optional,
            elder,
            is_placed,
            order: Vec::new(),
            lo: 0,
            state,
            spent: Vec::new(),
            frames: Vec::new(),
            choices: Vec::new(),
            visited: BTreeSet::new(),
            stranded,
            reached: 0,
        }
    }

    fn run(mut self, budget: &mut Budget<'_>) -> Result<Answer, Exhausted> {
        loop {
            let window = self.observe();
            if self.lo == self.required.len() {
                return Ok(Answer::Linearizable { order: self.order.iter().map(|&at| at as usize).collect() });
            }
            budget.spend()?;
            self.reached = self.reached.max(window.until);
            if self.visited.insert(self.configuration(&window)) {
                self.open(&window);
            }
            if !self.advance() {
                return Ok(Answer::Violation { reached: self.reached });
            }
        }
    }

    /// Places every observation that fits, until none does.
    fn observe(&mut self) -> Window {
        loop {
            let window = self.window();
            let fits = |&at: &u32| {
                let operation = &self.tasks[at as usize].operation;
                self.specification.observes(operation) && self.specification.apply(&self.state, operation).is_some()
            };
            let Some(&at) = window.ready.iter().find(|at| fits(at)) else {
                return window;
            };
            self.place(at);
        }
    }

    /// The required tasks that can be placed now.
    fn window(&mut self) -> Window {
        while self.required.get(self.lo).is_some_and(|&at| self.is_placed[at as usize]) {
            self.lo += 1;
        }
        let mut window = Window { ready: Vec::new(), beyond: Vec::new(), until: Nanos::MAX, until_unordered: Nanos::MAX };
        for &at in &self.required[self.lo..] {
            let task = &self.tasks[at as usize];
            if task.call > window.until_unordered {
                break;
            }
            if self.is_placed[at as usize] {
                window.beyond.push(at);
                continue;
            }
            if task.call <= window.until(task.unordered) {
                window.ready.push(at);
            }
            let end = task.end.expect("required tasks have an end");
            window.until = window.until.min(end);
            if !task.unordered {
                window.until_unordered = window.until_unordered.min(end);
            }
        }
        window
    }

    fn configuration(&self, window: &Window) -> Visited<S::State> {
        let placed = window.beyond.iter().chain(&self.spent).copied().collect();
        Visited { lo: self.lo, placed, state: self.state.clone() }
    }

    /// Notes what can be chosen here: the required task that ends first is tried first, optional ones last.
    fn open(&mut self, window: &Window) {
        let begin = self.choices.len();
        let open = |task: &Task<S::Operation>| task.call <= window.until(task.unordered);
        let optional = self.optional.iter().take_while(|&&at| self.tasks[at as usize].call <= window.until_unordered);
        let is_next = |at: usize| !self.is_placed[at] && self.elder[at].is_none_or(|elder| self.is_placed[elder as usize]);
        self.choices.extend(optional.filter(|&&at| is_next(at as usize) && open(&self.tasks[at as usize])));
        let required = self.choices.len();
        self.choices.extend(&window.ready);
        self.choices[required..].sort_by_key(|&at| std::cmp::Reverse(self.tasks[at as usize].end));
        self.frames.push(Frame { state: self.state.clone(), lo: self.lo, placed: self.order.len(), begin });
    }

    /// Makes the next choice that fits, backing up as far as needed; false if there is none.
    fn advance(&mut self) -> bool {
        while let Some(frame) = self.frames.last() {
            let (begin, placed) = (frame.begin, frame.placed);
            if self.order.len() > placed {
                self.state = frame.state.clone();
                self.lo = frame.lo;
                self.undo(placed);
            }
            while self.choices.len() > begin {
                let at = self.choices.pop().expect("longer than its beginning");
                if self.place(at) {
                    return true;
                }
            }
            self.frames.pop();
        }
        false
    }

    /// Places a task if the state allows it, and nobody is stranded by it.
    fn place(&mut self, at: u32) -> bool {
        let task = &self.tasks[at as usize];
        let Some(state) = self.specification.apply(&self.state, &task.operation) else {
            return false;
        };
        if task.end.is_none() && state == self.state {
            return false;
        }
        self.stranded.place(at);
        if state != self.state
            && let Some(left) = self.specification.has(&self.state)
            && self.specification.has(&state).as_ref() != Some(&left)
            && let Some(end) = self.stranded.by_leaving(&left)
        {
            self.stranded.take_back(at);
            self.reached = self.reached.max(end);
            return false;
        }
        self.state = state;
        self.is_placed[at as usize] = true;
        self.order.push(at);
        if task.end.is_none() {
            let position = self.spent.partition_point(|&spent| spent < at);
            self.spent.insert(position, at);
        }
        true
    }

    /// Takes back all but the first `placed`. The state is the caller's business.
    fn undo(&mut self, placed: usize) {
        for at in self.order.drain(placed..) {
            self.is_placed[at as usize] = false;
            self.stranded.take_back(at);
            if self.tasks[at as usize].end.is_none() {
                self.spent.retain(|&spent| spent != at);
            }
        }
    }
}

/// The required tasks that matter in a configuration.
struct Window {
    /// Not placed, and nothing has to precede them that is not placed.
    ready: Vec<u32>,
    /// Placed, although something called earlier is not.
    beyond: Vec<u32>,
    /// The least end of what is not placed: tasks called later have to wait for it.
    until: Nanos,
    /// The same for unordered tasks.
    until_unordered: Nanos,
}

impl Window {
    fn until(&self, unordered: bool) -> Nanos {
        if unordered { self.until_unordered } else { self.until }
    }
}

#[cfg(test)]
mod tests;
