//! What a chain agrees on, and how operations change it.
//!
//! **Promise.** Every function here is pure: a state, an operation and a ballot give the next state. The context of a state only grows
//! along the chain, so what was replaced is never live again; the token only grows, so it can serve as a fencing token.
//!
//! **Rules.**
//! - *Absorb*: eventual versions that a majority of replicas hold enter the state before the operation is applied, which then has seen
//!   them. The sequence number grows exactly if that changed anything.
//! - *Put, delete*: the one live version is the new one; all others were seen, and are replaced.
//! - *Compare-and-set*: as a put, if what it expects holds; tombstones do not count as live values.
//! - *A function*: as a put of what it makes of the one live value, or of none.
//!
//! The first state of a chain takes the ballot it was made at as its *incarnation*. A chain that begins again, after everything about the
//! key was forgotten, is another incarnation, higher than the one before, and its dots are others.
//!
//! Sources: *CASPaxos* §2.2 (change functions); Burrows, *Chubby* (OSDI'06) §2.4 (sequencers, here tokens).

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::ballot::Ballot;
use super::once::{OnceTable, Recorded};
use crate::context::{Actor, Dot};
use crate::hlc::Hlc;
use crate::ids::OpId;
use crate::siblings::{Body, Siblings, Version};

/// A chain state's version. Grows with every change of the key, also across delete and re-creation: a fencing token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Token {
    /// The ballot at which the chain began.
    pub inc: Ballot,
    /// Changes since then.
    pub seq: u64,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.inc, self.seq)
    }
}

/// What a compare-and-set expects.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Expect {
    /// The key has this version: nothing was ordered since.
    Token(Token),
    /// No value is live.
    Absent,
    /// Exactly one value is live, and it is this.
    Value(Bytes),
}

/// A read-modify-write that every node knows and computes alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Function {
    /// Adds to a decimal number; no value counts as 0.
    Increment(i64),
    /// Appends bytes; no value counts as empty. Its result is the new length in bytes.
    Append(Bytes),
    /// Puts a decimal number if it is greater than the value, or there is none.
    SetIfGreater(i64),
}

/// What a linearizable operation does to the key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Change {
    /// Nothing: brings undecided and eventual versions into the chain.
    Identity,
    /// Puts a value.
    Put(Bytes),
    /// Makes the key absent.
    Delete,
    /// Puts a value, or deletes, if an expectation holds.
    Cas {
        /// What must hold.
        expect: Expect,
        /// What is put.
        body: Body,
    },
    /// Puts what a function makes of the value.
    Modify(Function),
    /// Nothing, and its operation will never be applied if it is not contained yet.
    Fence,
}

/// What an operation came to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// It changed the state, or had nothing to change; a function's result with it.
    Applied(Option<Bytes>),
    /// Its expectation did not hold.
    CasFailed,
    /// The function does not apply to what is there (several siblings, not a number, out of range). Nothing was changed.
    Inapplicable(Inapplicable),
}

/// Why a function does not apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum Inapplicable {
    /// The key has siblings.
    #[error("the key has siblings; read it, merge them and compare-and-set with the token")]
    Siblings,
    /// The value is no decimal number that fits into 64 bits, or the result would not.
    #[error("the value is not a number that fits, or the result would not be")]
    NotANumber,
    /// The result would be longer than a value may be.
    #[error("the result would be longer than a value may be")]
    TooLong,
}

/// One state of a key's chain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ChainState {
    /// The ballot at which this chain began; zero before its first state.
    pub inc: Ballot,
    /// Changes since then.
    pub seq: u64,
    /// The versions; at most one of them was made by this chain.
    pub siblings: Siblings,
    /// The operations it contains.
    pub once: OnceTable,
}

/// Who writes, when, under which ballot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Authorship {
    /// The ballot of the proposal.
    pub ballot: Ballot,
    /// The coordinator's clock, for display order.
    pub hlc: Hlc,
    /// The client's operation.
    pub op: Option<OpId>,
}

impl ChainState {
    /// The version of this state.
    #[must_use]
    pub fn token(&self) -> Token {
        Token { inc: self.inc, seq: self.seq }
    }

    /// Roughly how many bytes it takes on disk and wire.
    #[must_use]
    pub fn bytes(&self) -> usize {
        /// A lane, a sequence number, two times and a token.
        const LANE_BYTES: usize = 72;
        self.siblings.bytes() + self.once.len() * LANE_BYTES
    }

    /// True before the first state of a chain.
    #[must_use]
    pub fn is_initial(&self) -> bool {
        self.inc.is_zero()
    }

    /// The values that are live, in the order of their dots.
    pub fn values(&self) -> impl Iterator<Item = &Bytes> {
        self.siblings.live().filter_map(|(_, version)| version.value())
    }

    /// Whether a replica's eventual view holds a live version that this state has not seen.
    #[must_use]
    pub fn lacks(&self, eventual: &Siblings) -> bool {
        eventual.concurrent_with(self.siblings.context()) > 0
    }

    /// Takes eventual versions in. The next operation then has seen them.
    #[must_use]
    pub fn absorb(&self, eventual: &Siblings, ballot: Ballot) -> Self {
        let mut next = self.clone();
        if next.siblings.merge(eventual) {
            next.grow(ballot);
        }
        next
    }

    /// Applies an operation to a state that has absorbed what there was to absorb.
    #[must_use]
    pub fn apply(&self, change: &Change, author: Authorship) -> (Self, Effect) {
        let put = |value: &Bytes, result| (self.with(Body::Value(value.clone()), author), Effect::Applied(result));
        match change {
            Change::Identity | Change::Fence => (self.clone(), Effect::Applied(None)),
            Change::Put(value) => put(value, None),
            Change::Delete => (self.with(Body::Tombstone, author), Effect::Applied(None)),
            Change::Cas { expect, body } if self.meets(expect) => (self.with(body.clone(), author), Effect::Applied(None)),
            Change::Cas { .. } => (self.clone(), Effect::CasFailed),
            Change::Modify(function) => match self.compute(function) {
                Ok(Some(value)) => put(&value, Some(function.result(&value))),
                Ok(None) => (self.clone(), Effect::Applied(self.values().next().cloned())),
                Err(inapplicable) => (self.clone(), Effect::Inapplicable(inapplicable)),
            },
        }
    }

    /// The same state, at the beginning of a chain if none has begun.
    #[must_use]
    pub fn begun(&self, ballot: Ballot) -> Self {
        let inc = if self.is_initial() { ballot } else { self.inc };
        Self { inc, ..self.clone() }
    }

    /// Records what an operation was answered. The first state of a chain takes its incarnation, whatever the operation.
    ///
    /// # Errors
    /// [`TableFull`](super::once::TableFull) if the table has no room; the state is not to be proposed.
    pub fn record(mut self, op: &OpId, recorded: Recorded, author: Authorship) -> Result<Self, super::once::TableFull> {
        if self.is_initial() {
            self.inc = author.ballot;
        }
        self.once.record(op, recorded, author.hlc.ms())?;
        Ok(self)
    }

    /// Whether what a compare-and-set expects holds.
    #[must_use]
    pub fn meets(&self, expect: &Expect) -> bool {
        match expect {
            // Before the first change there is no version to know: a chain may have begun meanwhile, to remember a failure.
            Expect::Token(token) => *token == self.token() || (*token == Token::default() && self.seq == 0),
            Expect::Absent => self.values().next().is_none(),
            Expect::Value(value) => {
                let mut values = self.values();
                values.next() == Some(value) && values.next().is_none()
            }
        }
    }

    /// The next version. Its dot is in the context whether or not a version bears it, so that the chain's dots stay contiguous.
    fn grow(&mut self, ballot: Ballot) {
        if self.is_initial() {
            self.inc = ballot;
        }
        self.seq += 1;
        self.siblings.cover(Dot { actor: Actor::Chain(self.inc), n: self.seq });
    }

    /// One new version in place of all that is there.
    fn with(&self, body: Body, author: Authorship) -> Self {
        let inc = if self.is_initial() { author.ballot } else { self.inc };
        let seq = self.seq + 1;
        let version = Version { body, hlc: author.hlc, op: author.op };
        let siblings = Siblings::delta(self.siblings.context().clone(), Dot { actor: Actor::Chain(inc), n: seq }, version);
        Self { inc, seq, siblings, once: self.once.clone() }
    }

    /// What a function makes of the value; `None` if it leaves it.
    fn compute(&self, function: &Function) -> Result<Option<Bytes>, Inapplicable> {
        let mut values = self.values();
        let value = values.next();
        if values.next().is_some() {
            return Err(Inapplicable::Siblings);
        }
        let number = || value.map_or(Ok(None), |value| number(value).map(Some));
        match function {
            Function::Increment(by) => {
                let sum = number()?.unwrap_or(0).checked_add(*by).ok_or(Inapplicable::NotANumber)?;
                Ok(Some(Bytes::from(sum.to_string())))
            }
            Function::SetIfGreater(than) => {
                let stays = number()?.is_some_and(|current| current >= *than);
                Ok((!stays).then(|| Bytes::from(than.to_string())))
            }
            Function::Append(tail) => {
                let head = value.map_or(&[][..], |value| value);
                if head.len() + tail.len() > crate::limits::VALUE_BYTES_MAX {
                    return Err(Inapplicable::TooLong);
                }
                Ok(Some(Bytes::from([head, tail].concat())))
            }
        }
    }
}

impl Function {
    /// What the caller is told when the function has made `value`: short, because it is remembered for retries.
    fn result(&self, value: &Bytes) -> Bytes {
        match self {
            Self::Increment(_) | Self::SetIfGreater(_) => value.clone(),
            Self::Append(_) => Bytes::from(value.len().to_string()),
        }
    }
}

fn number(value: &Bytes) -> Result<i64, Inapplicable> {
    let text = std::str::from_utf8(value).ok();
    text.and_then(|text| text.parse().ok()).ok_or(Inapplicable::NotANumber)
}

#[cfg(test)]
mod tests {
    use quorate_ring::{NodeId, RingEpoch};

    use super::*;
    use crate::context::Context;
    use crate::ids::{BootId, KeyEpoch};

    fn author(counter: u64) -> Authorship {
        let ballot = Ballot { epoch: RingEpoch(1), counter, node: NodeId(1), boot: BootId(1) };
        Authorship { ballot, hlc: Hlc::at_ms(counter), op: None }
    }

    fn bytes(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    fn applied(state: &ChainState, change: &Change, counter: u64) -> ChainState {
        let (next, effect) = state.apply(change, author(counter));
        assert!(matches!(effect, Effect::Applied(_)), "{effect:?}");
        next
    }

    fn eventual(n: u64, value: &'static str) -> Siblings {
        let dot = Dot { actor: Actor::Node { node: NodeId(2), epoch: KeyEpoch(1) }, n };
        let version = Version { body: Body::Value(bytes(value)), hlc: Hlc(1), op: None };
        Siblings::delta(Context::empty(), dot, version)
    }

    fn shown(state: &ChainState) -> Vec<&[u8]> {
        state.values().map(|value| value.as_ref()).collect()
    }

    #[test]
    fn the_first_change_begins_an_incarnation_and_tokens_grow_through_a_delete() {
        let first = applied(&ChainState::default(), &Change::Put(bytes("a")), 3);
        assert_eq!(first.token(), Token { inc: author(3).ballot, seq: 1 });
        let deleted = applied(&first, &Change::Delete, 4);
        let again = applied(&deleted, &Change::Cas { expect: Expect::Absent, body: Body::Value(bytes("b")) }, 5);
        assert!(first.token() < deleted.token() && deleted.token() < again.token());
        assert_eq!((shown(&deleted), shown(&again)), (vec![], vec![&b"b"[..]]));
    }

    #[test]
    fn compare_and_set_by_token_by_value_and_by_absence() {
        let state = applied(&ChainState::default(), &Change::Put(bytes("a")), 1);
        let cas = |expect| state.apply(&Change::Cas { expect, body: Body::Value(bytes("b")) }, author(2)).1;
        assert_eq!(cas(Expect::Token(state.token())), Effect::Applied(None));
        assert_eq!(cas(Expect::Token(Token::default())), Effect::CasFailed);
        assert_eq!(cas(Expect::Value(bytes("a"))), Effect::Applied(None));
        assert_eq!(cas(Expect::Value(bytes("x"))), Effect::CasFailed);
        assert_eq!(cas(Expect::Absent), Effect::CasFailed);
    }

    /// T36: an eventual write beside a chain version makes siblings; the old token fails, the new one resolves them.
    #[test]
    fn absorbed_versions_change_the_token_and_are_replaced_by_what_comes_after() {
        let first = applied(&ChainState::default(), &Change::Put(bytes("a")), 1);
        assert!(first.lacks(&eventual(1, "e")));
        let both = first.absorb(&eventual(1, "e"), author(2).ballot);
        assert_eq!(shown(&both).len(), 2);
        assert!(!both.lacks(&eventual(1, "e")) && !both.meets(&Expect::Token(first.token())));
        assert!(!both.meets(&Expect::Value(bytes("a"))), "not the only one");
        let resolved = applied(&both, &Change::Cas { expect: Expect::Token(both.token()), body: Body::Value(bytes("m")) }, 3);
        assert_eq!(shown(&resolved), vec![&b"m"[..]]);
        assert_eq!(resolved.absorb(&eventual(1, "e"), author(4).ballot), resolved, "a version that was replaced does not come back");
    }

    /// However often eventual versions come in between, a context has one entry for the chain.
    #[test]
    fn the_dots_of_a_chain_are_contiguous() {
        let first = applied(&ChainState::default(), &Change::Put(bytes("a")), 1);
        let both = first.absorb(&eventual(1, "e"), author(2).ballot);
        let last = applied(&both, &Change::Put(bytes("b")), 3);
        assert_eq!((last.seq, last.siblings.context().len()), (3, 2), "{}", last.siblings.context());
    }

    #[test]
    fn absorbing_nothing_new_changes_nothing() {
        let state = applied(&ChainState::default(), &Change::Put(bytes("a")), 1);
        assert_eq!(state.absorb(&Siblings::empty(), author(2).ballot), state);
        assert_eq!(state.apply(&Change::Identity, author(2)).0, state);
    }

    #[test]
    fn functions_compute_or_say_why_not() {
        let modify = |state: &ChainState, function| state.apply(&Change::Modify(function), author(9));
        let (one, effect) = modify(&ChainState::default(), Function::Increment(1));
        assert_eq!((shown(&one), effect), (vec![&b"1"[..]], Effect::Applied(Some(bytes("1")))));
        assert_eq!(shown(&modify(&one, Function::Increment(-3)).0), vec![&b"-2"[..]]);
        assert_eq!(modify(&one, Function::Increment(i64::MAX)).1, Effect::Inapplicable(Inapplicable::NotANumber));
        assert_eq!(shown(&modify(&one, Function::Append(bytes("x"))).0), vec![&b"1x"[..]]);
        assert_eq!(shown(&modify(&one, Function::SetIfGreater(5)).0), vec![&b"5"[..]]);
        assert_eq!(modify(&one, Function::SetIfGreater(1)), (one.clone(), Effect::Applied(Some(bytes("1")))));
        let both = one.absorb(&eventual(1, "e"), author(2).ballot);
        assert_eq!(modify(&both, Function::Increment(1)), (both.clone(), Effect::Inapplicable(Inapplicable::Siblings)));
    }
}
