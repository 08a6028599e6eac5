//! The check against other people's testers, on small histories in which everybody answered.
//!
//! Theirs know neither unknown outcomes nor values seen by failed cas in our sense, so the histories here have none. Ours must agree
//! on every history, and both verdicts must be common.

use quorate_checker::history::{Action, History, Operation, Outcome, Seen, ValueId};
use quorate_checker::{Limits, Overall, check};
use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};
use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::Action as Moment;
use todc_utils::specifications::Specification;

use crate::random::{Mix, Random, history};

const SEED: u64 = 20_270_401;
const HISTORIES: u64 = 20_000;

type Held = Option<ValueId>;

/// What a register was asked, and what it said.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Request {
    Read,
    Put(Held),
    Cas(Held, ValueId),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Reply {
    Held(Held),
    Done,
    Refused,
}

#[derive(Clone, Debug)]
struct Theirs(Held);

impl SequentialSpec for Theirs {
    type Op = Request;
    type Ret = Reply;

    fn invoke(&mut self, request: &Request) -> Reply {
        let (reply, held) = answer(*request, self.0);
        self.0 = held;
        reply
    }
}

struct Register;

impl Specification for Register {
    type State = Held;
    type Operation = (Request, Option<Reply>);

    fn init() -> Held {
        None
    }

    fn apply((request, reply): &Self::Operation, state: &Held) -> (bool, Held) {
        let (expected, held) = answer(*request, *state);
        (*reply == Some(expected), held)
    }
}

fn answer(request: Request, held: Held) -> (Reply, Held) {
    match request {
        Request::Read => (Reply::Held(held), held),
        Request::Put(value) => (Reply::Done, value),
        Request::Cas(expect, value) if expect == held => (Reply::Done, Some(value)),
        Request::Cas(..) => (Reply::Refused, held),
    }
}

fn exchange(operation: &Operation) -> Option<(Request, Reply)> {
    let refused = operation.detail.as_ref().is_some_and(|detail| detail.refused);
    match (&operation.action, operation.outcome) {
        (_, Outcome::Unknown) => None,
        (Action::Read { seen: Some(Seen::One(value)) }, _) => Some((Request::Read, Reply::Held(Some(*value)))),
        (Action::Read { .. }, _) => Some((Request::Read, Reply::Held(None))),
        (Action::Write { value }, Outcome::Ok) => Some((Request::Put(Some(*value)), Reply::Done)),
        (Action::Delete, Outcome::Ok) => Some((Request::Put(None), Reply::Done)),
        (Action::Cas { expect, value, .. }, Outcome::Ok) => Some((Request::Cas(*expect, *value), Reply::Done)),
        (Action::Cas { expect, value, .. }, Outcome::Fail) if !refused => Some((Request::Cas(*expect, *value), Reply::Refused)),
        (Action::Write { .. } | Action::Delete | Action::Cas { .. }, Outcome::Fail) => None,
        (Action::CasSiblings(_), _) => panic!("not a register's"),
    }
}

/// Calls and returns in the order of time; what touches overlaps.
fn moments(history: &History) -> Vec<(usize, Request, Option<Reply>)> {
    let mut moments = Vec::new();
    for (at, operation) in history.operations.iter().enumerate() {
        if let (Some((request, reply)), Some(end)) = (exchange(operation), operation.end) {
            moments.push(((operation.call, 0), (at, request, None)));
            moments.push(((end, 1), (at, request, Some(reply))));
        }
    }
    moments.sort_by_key(|(time, _)| *time);
    moments.into_iter().map(|(_, moment)| moment).collect()
}

fn stateright_says(moments: &[(usize, Request, Option<Reply>)]) -> bool {
    let mut tester = LinearizabilityTester::new(Theirs(None));
    for (at, request, reply) in moments {
        match reply {
            None => tester.on_invoke(*at, *request).expect("one call each"),
            Some(reply) => tester.on_return(*at, *reply).expect("after its call"),
        };
    }
    tester.is_consistent()
}

fn todc_says(moments: &[(usize, Request, Option<Reply>)]) -> bool {
    let actions = moments.iter().map(|(at, request, reply)| {
        let operation = (*request, *reply);
        (*at, if reply.is_none() { Moment::Call(operation) } else { Moment::Response(operation) })
    });
    WGLChecker::<Register>::is_linearizable(todc_utils::linearizability::history::History::from_actions(actions.collect()))
}

#[test]
fn stateright_and_todc_agree_with_us() {
    println!("seed {SEED}");
    let (mut linearizable, mut violations) = (0_u64, 0_u64);
    for number in 0..HISTORIES {
        let seed = SEED + number;
        let mut random = Random(seed);
        let mix = Mix { unknown: 0, silent: true, ..Mix::any(&mut random) };
        let mut history = history(&mut random, mix);
        for operation in &mut history.operations {
            if let Action::Cas { observed, .. } = &mut operation.action {
                *observed = None;
            }
        }
        let moments = moments(&history);
        if moments.is_empty() {
            continue;
        }
        let ours = check(&history, &Limits::default()).overall();
        let expected = if stateright_says(&moments) { Overall::Linearizable } else { Overall::Violation };
        assert_eq!(ours, expected, "stateright, seed {seed}: {:#?}", history.operations);
        assert_eq!(todc_says(&moments), ours == Overall::Linearizable, "todc, seed {seed}: {:#?}", history.operations);
        *(if ours == Overall::Linearizable { &mut linearizable } else { &mut violations }) += 1;
    }
    println!("{linearizable} linearizable, {violations} violations");
    assert!(linearizable.min(violations) > HISTORIES / 10);
}
