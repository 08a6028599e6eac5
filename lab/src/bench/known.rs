//! What a worker knows of a key: what its next compare-and-set expects.

use bytes::Bytes;
use quorate_client::{Expect, Token};

use super::target::Answer;

/// A key as some answer told it. What is known by default is that there is nothing, which is at worst a conflict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    value: Option<Bytes>,
    token: Option<Token>,
}

impl Known {
    /// What a read returned, or a conflict told. Of several values nothing is known: a history names one that was expected.
    pub(super) fn told(answer: &Answer) -> Option<Self> {
        match answer.values.as_slice() {
            _ if answer.untold => None,
            [] => Some(Self { value: None, token: answer.token }),
            [only] => Some(Self { value: Some(only.clone()), token: answer.token }),
            [_, _, ..] => None,
        }
    }

    /// What was written.
    pub(super) fn written(answer: &Answer, value: Bytes) -> Option<Self> {
        Some(Self { value: Some(value), token: answer.token })
    }

    /// The value that is expected; none if the key is expected to be absent.
    pub(super) fn value(&self) -> Option<&Bytes> {
        self.value.as_ref()
    }

    /// By token and by value in turn.
    pub(super) fn expect(&self, turn: u64) -> Expect {
        match (&self.value, self.token) {
            (Some(_), Some(token)) if turn.is_multiple_of(2) => Expect::Token(token),
            (Some(value), _) => Expect::Value(value.clone()),
            (None, _) => Expect::Absent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::target::Ending;
    use super::*;

    fn answer(values: &[&'static str], untold: bool) -> Answer {
        let values = values.iter().map(|value| Bytes::from_static(value.as_bytes())).collect();
        Answer { ending: Ending::Ok, values, untold, token: "1.2.3.4.5".parse().ok(), evidence: None }
    }

    #[test]
    fn one_value_is_expected_by_token_and_by_value_in_turn() {
        let known = Known::told(&answer(&["a"], false)).expect("one value");
        assert_eq!(known.expect(0), Expect::Token("1.2.3.4.5".parse().expect("a token")));
        assert_eq!(known.expect(1), Expect::value("a"));
        assert_eq!(Known::told(&answer(&[], false)).expect("none").expect(0), Expect::Absent);
    }

    #[test]
    fn nothing_is_known_of_siblings_and_of_what_was_not_told() {
        assert_eq!((Known::told(&answer(&["a", "b"], false)), Known::told(&answer(&[], true))), (None, None));
    }
}
