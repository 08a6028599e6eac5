//! Tokens only ever grow: what makes them usable as fencing tokens.
//!
//! **Promise checked.** A token ([`Detail::token`](crate::history::Detail::token)) is the version of a key that a linearizable operation
//! made or met. A third party that refuses everything below the greatest token it has seen must never refuse who is right:
//! - *Never back*: of two operations, one of which had returned before the other was called, the later has no lesser token.
//! - *A change has its own*: no two changes share a token, and a change has a greater one than every change that had returned before it
//!   was called.
//!
//! **Who takes part.** Operations that promise linearizability, took effect, and say a token; of failed cas those that say what they
//! found. A *case* is such an operation. Changes are writes, deletes and cas.
//!
//! **How.** A token is whole numbers joined by dots (`9.2.1`), compared number by number; a shorter one that agrees so far is less. One pass
//! over the calls in order, with the greatest token of what has returned by then: O(n log n).
//!
//! - *Upon a token of another form*: it cannot be compared; its operation is no case.
//! - *Upon touching ends and calls*: concurrent, as everywhere.
//!
//! **Missing.** Whether one token always stands for one state.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use crate::finding::{Evidence, Judgement, op};
use crate::history::{Action, History, KeyId, Nanos, Operation, Outcome, WordId};
use crate::level::Promise;

/// Whole numbers joined by dots.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Token(Vec<u64>);

impl Token {
    /// Reads a token; `None` if it has another form.
    fn of(text: &str) -> Option<Self> {
        let number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok()).flatten();
        text.split('.').map(number).collect::<Option<Vec<u64>>>().map(Self)
    }
}

/// A token that did not grow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// An operation has a lesser token than one that had returned before it was called.
    Backwards {
        /// The key.
        key: KeyId,
        /// The one that returned first.
        earlier: usize,
        /// The one that was called afterwards.
        later: usize,
    },
    /// Two changes have one token.
    Shared {
        /// The key.
        key: KeyId,
        /// The changes, by call.
        changes: [usize; 2],
    },
}

impl Evidence for Violation {
    fn kind(&self) -> &'static str {
        match self {
            Violation::Backwards { .. } => "token-backwards",
            Violation::Shared { .. } => "token-shared",
        }
    }

    fn key(&self) -> KeyId {
        match self {
            Violation::Backwards { key, .. } | Violation::Shared { key, .. } => *key,
        }
    }

    fn operations(&self) -> Vec<usize> {
        match self {
            Violation::Backwards { earlier, later, .. } => vec![*earlier, *later],
            Violation::Shared { changes, .. } => changes.to_vec(),
        }
    }

    fn tell(&self, history: &History, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = |index: usize| {
            let token = word(&history.operations[index]);
            token.map_or("none", |token| history.names.word_text(token))
        };
        match *self {
            Violation::Backwards { earlier, later, .. } => {
                let (before, after) = (token(earlier), token(later));
                write!(f, "{} has token {after}, after {} had {before}", op(history, later), op(history, earlier))
            }
            Violation::Shared { changes: [first, second], .. } => {
                write!(f, "{} and {} both have token {}", op(history, first), op(history, second), token(first))
            }
        }
    }
}

/// An operation with a token.
struct Case {
    operation: usize,
    call: Nanos,
    end: Nanos,
    token: Token,
    changes: bool,
}

/// Judges the tokens of all keys.
#[must_use]
pub fn check(history: &History) -> Judgement<Violation> {
    let mut keys: BTreeMap<KeyId, Vec<Case>> = BTreeMap::new();
    for (index, operation) in history.operations.iter().enumerate() {
        if let Some(case) = case(history, index, operation) {
            keys.entry(operation.key).or_default().push(case);
        }
    }
    let mut judgement = Judgement::default();
    for (key, mut cases) in keys {
        judgement.judged += cases.len() as u64;
        cases.sort_by_key(|case| (case.call, case.operation));
        judgement.violations.extend(backwards(key, &cases));
        judgement.violations.extend(shared(key, &cases));
    }
    judgement
}

fn word(operation: &Operation) -> Option<WordId> {
    operation.detail.as_ref()?.token
}

fn case(history: &History, index: usize, operation: &Operation) -> Option<Case> {
    let token = Token::of(history.names.word_text(word(operation)?))?;
    let end = operation.end.filter(|_| Promise::of(history, operation) == Promise::Linearizable)?;
    let changes = match (&operation.action, operation.outcome) {
        (_, Outcome::Unknown) | (Action::Read { .. } | Action::Write { .. } | Action::Delete, Outcome::Fail) => return None,
        (Action::Cas { observed: None, .. }, Outcome::Fail) => return None,
        (Action::CasSiblings(cas), Outcome::Fail) if cas.observed.is_none() => return None,
        (Action::Cas { .. } | Action::CasSiblings(_), Outcome::Fail) | (Action::Read { .. }, Outcome::Ok) => false,
        (Action::Write { .. } | Action::Delete | Action::Cas { .. } | Action::CasSiblings(_), Outcome::Ok) => true,
    };
    Some(Case { operation: index, call: operation.call, end, token, changes })
}

/// Cases with a lesser token than one that had returned before their call.
fn backwards(key: KeyId, by_call: &[Case]) -> Vec<Violation> {
    let mut by_end: Vec<&Case> = by_call.iter().collect();
    by_end.sort_by_key(|case| (case.end, case.operation));
    let mut returned = by_end.into_iter().peekable();
    let mut greatest: Option<&Case> = None;
    let mut violations = Vec::new();
    for later in by_call {
        while let Some(case) = returned.next_if(|case| case.end < later.call) {
            if greatest.is_none_or(|greatest| greatest.token < case.token) {
                greatest = Some(case);
            }
        }
        if let Some(earlier) = greatest.filter(|greatest| later.token.cmp(&greatest.token) == Ordering::Less) {
            violations.push(Violation::Backwards { key, earlier: earlier.operation, later: later.operation });
        }
    }
    violations
}

/// Changes that share a token, each with the one before it in order of calls.
fn shared(key: KeyId, by_call: &[Case]) -> Vec<Violation> {
    let mut changes: Vec<&Case> = by_call.iter().filter(|case| case.changes).collect();
    changes.sort_by(|a, b| a.token.cmp(&b.token));
    let same = changes.windows(2).filter(|pair| pair[0].token == pair[1].token);
    same.map(|pair| Violation::Shared { key, changes: [pair[0].operation, pair[1].operation] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Dice, Script};

    #[test]
    fn tokens_are_compared_number_by_number() {
        let ordered = ["0", "0.0", "1.9", "1.10", "1.10.1", "2", "10.0.0"];
        let tokens: Vec<Token> = ordered.iter().map(|text| Token::of(text).expect("numbers")).collect();
        assert!(tokens.is_sorted() && tokens.windows(2).all(|pair| pair[0] != pair[1]), "{tokens:?}");
        for text in ["", "1.", "a", "1.-2", "1 .2", "+1", "18446744073709551616"] {
            assert_eq!(Token::of(text), None, "{text:?}");
        }
    }

    #[test]
    fn growing_tokens_are_clean_and_concurrent_operations_are_free() {
        let mut script = Script::new();
        let [write, read] = [script.write(1, "a", 0, 10), script.read(2, &["a"], 11, 20)];
        let cas = script.cas(1, Some("a"), "b", 15, 30);
        let old = script.read(3, &["a"], 20, 40);
        let lost = script.failed_cas(2, Some("x"), Some("b"), 50, 60);
        for (operation, token) in [(write, "1.9"), (read, "1.9"), (cas, "1.10"), (old, "1.9"), (lost, "1.10")] {
            script.token(operation, token);
        }
        let judgement = check(&script.history);
        assert_eq!((judgement.judged, judgement.violations), (5, Vec::new()));
    }

    #[test]
    fn a_lesser_token_afterwards_is_found_with_the_greatest_before_it() {
        let mut script = Script::new();
        let [low, high] = [script.write(1, "a", 0, 1), script.write(2, "b", 2, 3)];
        let read = script.read(3, &["a"], 4, 5);
        for (operation, token) in [(low, "2.1"), (high, "2.10"), (read, "2.9")] {
            script.token(operation, token);
        }
        let judgement = check(&script.history);
        let [violation] = &judgement.violations[..] else { panic!("one: {judgement:?}") };
        assert_eq!((violation.kind(), violation.operations()), ("token-backwards", vec![high, read]));
        let words = violation.in_words(&script.history).to_string();
        assert_eq!(
            words,
            "token-backwards: key k: process 3 read a (#2, 4..5 ns) has token 2.9, after process 2 wrote b (#1, 2..3 ns) had 2.10"
        );
    }

    #[test]
    fn two_changes_never_share_a_token_but_a_read_has_that_of_its_write() {
        let mut script = Script::new();
        let [one, other] = [script.write(1, "a", 0, 10), script.delete(2, None, 0, 10)];
        script.token(one, "1.1");
        script.token(other, "1.1");
        let judgement = check(&script.history);
        assert_eq!(judgement.violations.iter().map(Evidence::kind).collect::<Vec<_>>(), ["token-shared"]);
        script.key("other");
        let [write, read] = [script.write(1, "b", 20, 30), script.read(1, &["b"], 40, 50)];
        script.token(write, "1.1");
        script.token(read, "1.1");
        assert_eq!(check(&script.history).violations.len(), 1, "keys are apart");
    }

    #[test]
    fn weak_unknown_and_foreign_tokens_are_no_case() {
        let mut script = Script::new();
        let [first, unknown] = [script.write(1, "a", 0, 1), script.unknown_write(2, "b", 2)];
        script.level("quorum");
        let weak = script.read(3, &["a"], 4, 5);
        script.level("linearizable");
        let foreign = script.read(3, &["a"], 6, 7);
        for (operation, token) in [(first, "5"), (unknown, "1"), (weak, "1"), (foreign, "v1")] {
            script.token(operation, token);
        }
        let judgement = check(&script.history);
        assert_eq!((judgement.judged, judgement.violations), (1, Vec::new()));
    }

    /// Against the definition, pair by pair.
    #[test]
    fn the_pass_finds_what_some_pair_breaks() {
        let (mut clean, mut broken) = (0, 0);
        for seed in 0..5_000 {
            println!("seed {seed}");
            let mut dice = Dice(seed);
            let mut script = Script::new();
            let count = 2 + dice.roll(4);
            for number in 0..count {
                let call = 10 * number + dice.roll(10);
                let end = call + dice.roll(25);
                let change = dice.roll(2) == 0;
                let at = if change { script.write(number, "v", call, end) } else { script.read(number, &["v"], call, end) };
                let token = format!("1.{}", if change { 2 * number } else { dice.roll(2 * count) });
                script.token(at, &token);
            }
            let cases: Vec<Case> = (0..).zip(&script.history.operations).filter_map(|(at, of)| case(&script.history, at, of)).collect();
            let breaks = |a: &Case, b: &Case| {
                let after = a.end < b.call && b.token < a.token;
                after || (a.operation != b.operation && a.changes && b.changes && a.token == b.token)
            };
            let expected = cases.iter().any(|a| cases.iter().any(|b| breaks(a, b)));
            assert_eq!(!check(&script.history).is_clean(), expected, "{:?}", script.history.operations);
            *(if expected { &mut broken } else { &mut clean }) += 1;
        }
        assert!(clean > 500 && broken > 500, "{clean} clean, {broken} broken");
    }
}
