//! What only the simulator sees of every key's chain: who proposed, promised and accepted what.
//!
//! **Promise.** The invariants of the chain are looked at directly, at every step of every node, and not only by what clients are told
//! of them. Nothing here is known to any node.
//!
//! | invariant | looked at |
//! |---|---|
//! | one state per ballot | upon every proposal that is sent, whoever sends it |
//! | a replica's promise and what it accepted only grow, the promise ahead | upon every change of its record, and when it starts again |
//! | chosen states are one chain: versions, contexts and operations only grow | when a majority has durably accepted a state |
//! | an operation is contained once | there, too |
//! | the eventual view shows versions of chosen states only | when a version of a chain appears in it |
//!
//! **Terms.** A *vote* is a durable acceptance. A state is *chosen* when a majority of the key's homes have voted for its ballot.

use std::collections::{BTreeMap, BTreeSet};

use quorate_protocol::chain::once::{Recorded, Verdict};
use quorate_protocol::chain::{Accepted, Ballot, ChainRecord, ChainState};
use quorate_protocol::{Actor, Dot, OpId, Version};
use quorate_ring::NodeId;

use crate::judge::Violation;
use crate::message::Key;

/// Violations kept of a run: one is enough, a broken rule shows itself thousands of times.
const VIOLATIONS_MAX: usize = 16;

/// Something that happened to a key's chain.
#[derive(Clone, Debug)]
pub(crate) enum Sight {
    /// A state was sent to be accepted.
    Proposed(Accepted),
    /// This node's acceptance is durable, and it says so.
    Voted(Ballot),
    /// This node says what it has promised.
    Promised(Ballot),
    /// This node's part in the chain changed.
    Moved { before: Place, after: Place },
    /// Versions of the chain appeared in this node's eventual view.
    Shown(Vec<(Dot, Version)>),
    /// A process starts and finds this.
    Found(Box<ChainRecord>),
    /// Two states came to this node with one ballot.
    BallotTwice,
}

/// Where a replica stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) promised: Ballot,
    pub(crate) accepted: Ballot,
    pub(crate) decided: Ballot,
}

impl Place {
    pub(crate) fn of(record: &ChainRecord) -> Self {
        Self { promised: record.promised, accepted: record.accepted_at(), decided: record.decided }
    }

    fn is_before(self, after: Self) -> bool {
        self.promised <= after.promised && self.accepted <= after.accepted && self.decided <= after.decided
    }
}

/// One proposal.
#[derive(Debug)]
struct Proposal {
    state: ChainState,
    votes: BTreeSet<NodeId>,
    is_chosen: bool,
}

#[derive(Debug, Default)]
struct Chain {
    proposals: BTreeMap<Ballot, Proposal>,
    /// Versions of chosen states, by dot.
    versions: BTreeMap<Dot, Version>,
    /// What every node has said to be durable.
    said: BTreeMap<NodeId, Ballot>,
}

/// All chains.
#[derive(Debug, Default)]
pub(crate) struct Census {
    chains: BTreeMap<Key, Chain>,
    pub(crate) violations: Vec<Violation>,
}

impl Census {
    /// Notes what happened at a node, and returns the state that was chosen by it.
    pub(crate) fn note(&mut self, node: NodeId, key: Key, majority: usize, sight: Sight) -> Option<ChainState> {
        let chain = self.chains.entry(key).or_default();
        let broken = match sight {
            Sight::Proposed(proposal) => chain.proposed(&proposal),
            Sight::Voted(ballot) => return self.voted(node, key, majority, ballot),
            Sight::Promised(ballot) => {
                chain.say(node, ballot);
                None
            }
            Sight::Moved { before, after } if before.is_before(after) && after.accepted <= after.promised => None,
            Sight::Moved { before, after } => Some(wrong(WENT_BACK, format!("{node} went from {before:?} to {after:?}"))),
            Sight::Shown(versions) => chain.shown(node, &versions),
            Sight::Found(record) => return self.found(node, key, majority, &record),
            Sight::BallotTwice => Some(wrong(BALLOT_TWICE, format!("{node} was sent two states at one ballot"))),
        };
        self.blame(key, broken);
        None
    }

    /// A disk was lost: what its node had said is known to nobody there.
    pub(crate) fn forget(&mut self, node: NodeId) {
        for chain in self.chains.values_mut() {
            chain.said.remove(&node);
        }
    }

    fn blame(&mut self, key: Key, wrong: Option<Wrong>) {
        if let Some(Wrong { kind, words }) = wrong.filter(|_| self.violations.len() < VIOLATIONS_MAX) {
            self.violations.push(Violation { kind, words: format!("{kind}: key {key}: {words}"), operations: Vec::new() });
        }
    }

    fn voted(&mut self, node: NodeId, key: Key, majority: usize, ballot: Ballot) -> Option<ChainState> {
        let chain = self.chains.entry(key).or_default();
        chain.say(node, ballot);
        let proposal = chain.proposals.get_mut(&ballot)?;
        proposal.votes.insert(node);
        if proposal.is_chosen || proposal.votes.len() < majority {
            return None;
        }
        proposal.is_chosen = true;
        let state = proposal.state.clone();
        let broken = chain.chosen(ballot, &state);
        self.blame(key, broken);
        Some(state)
    }

    /// A process starts. Nothing that it said before may be missing.
    fn found(&mut self, node: NodeId, key: Key, majority: usize, record: &ChainRecord) -> Option<ChainState> {
        let chain = self.chains.entry(key).or_default();
        let said = chain.said.get(&node).copied().unwrap_or_default();
        let forgot = said > record.promised;
        let words = || format!("{node} had promised or accepted {said}, and starts with {}", record.promised);
        let broken = forgot.then(|| wrong(FORGOTTEN, words()));
        self.blame(key, broken);
        let accepted = record.accepted.as_ref()?;
        self.voted(node, key, majority, accepted.ballot)
    }

    /// What an operation was answered where it is contained; `None` if no chain of chosen states can contain it. It may have been applied
    /// differently in states that lost: those are left out as far as that can be told.
    pub(crate) fn contained(&self, key: Key, op: &OpId) -> Option<Recorded> {
        let chain = self.chains.get(&key)?;
        let mut records = chain.proposals.values().rev().filter_map(|proposal| match proposal.state.once.look(op) {
            Verdict::Known(recorded) => Some((proposal.is_chosen, recorded)),
            Verdict::New | Verdict::Superseded | Verdict::TooOld => None,
        });
        let is_other = |recorded: &Recorded| match recorded {
            Recorded::Applied { token, .. } => {
                let version = chain.versions.get(&Dot { actor: Actor::Chain(token.inc), n: token.seq });
                version.is_some_and(|version| version.op != Some(*op))
            }
            Recorded::CasFailed { .. } | Recorded::Inapplicable(_) | Recorded::Fenced => false,
        };
        let all: Vec<(bool, Recorded)> = records.by_ref().collect();
        let chosen = all.iter().find(|(is_chosen, _)| *is_chosen);
        chosen.or_else(|| all.iter().find(|(_, recorded)| !is_other(recorded))).map(|(_, recorded)| recorded.clone())
    }

    /// States that were chosen.
    pub(crate) fn chosen_count(&self) -> u64 {
        self.chains.values().flat_map(|chain| chain.proposals.values()).filter(|proposal| proposal.is_chosen).count() as u64
    }
}

/// Kinds of violation that are told here.
pub(crate) const KINDS: [&str; 7] = [
    BALLOT_TWICE,
    WENT_BACK,
    FORGOTTEN,
    "chosen-states-diverge",
    "operation-contained-twice",
    "unchosen-version-shown",
    "version-with-two-bodies",
];

const BALLOT_TWICE: &str = "ballot-used-twice";
const WENT_BACK: &str = "acceptor-went-back";
const FORGOTTEN: &str = "promise-forgotten";

/// An invariant that does not hold.
struct Wrong {
    kind: &'static str,
    words: String,
}

fn wrong(kind: &'static str, words: String) -> Wrong {
    debug_assert!(KINDS.contains(&kind), "kinds are listed");
    Wrong { kind, words }
}

impl Chain {
    fn say(&mut self, node: NodeId, ballot: Ballot) {
        let said = self.said.entry(node).or_default();
        *said = ballot.max(*said);
    }

    fn proposed(&mut self, proposal: &Accepted) -> Option<Wrong> {
        let Accepted { ballot, state } = proposal;
        match self.proposals.get(ballot) {
            Some(known) if known.state == *state => None,
            Some(_) => Some(wrong(BALLOT_TWICE, format!("two states were proposed at ballot {ballot}"))),
            None => {
                self.proposals.insert(*ballot, Proposal { state: state.clone(), votes: BTreeSet::new(), is_chosen: false });
                None
            }
        }
    }

    fn chosen(&mut self, ballot: Ballot, state: &ChainState) -> Option<Wrong> {
        let is_chosen = |(_, proposal): &(&Ballot, &Proposal)| proposal.is_chosen;
        let before = self.proposals.range(..ballot).rfind(is_chosen);
        let after = self.proposals.range(ballot..).filter(|(other, _)| **other > ballot).find(is_chosen);
        let mut broken = before.and_then(|(other, earlier)| diverge(*other, &earlier.state, ballot, state));
        broken = broken.or_else(|| after.and_then(|(other, later)| diverge(ballot, state, *other, &later.state)));
        let mut of_operations = BTreeMap::new();
        for (dot, version) in state.siblings.live().filter(|(dot, _)| matches!(dot.actor, Actor::Chain(_))) {
            let known = self.versions.entry(dot).or_insert_with(|| version.clone());
            if known != version {
                let words = || format!("{dot} stands for two versions in chosen states");
                broken = broken.or_else(|| Some(wrong("version-with-two-bodies", words())));
            }
        }
        for (dot, version) in &self.versions {
            if let Some(op) = version.op
                && let Some(other) = of_operations.insert(op, *dot)
            {
                let words = || format!("{op} was applied as {other} and as {dot}");
                broken = broken.or_else(|| Some(wrong("operation-contained-twice", words())));
            }
        }
        broken
    }

    fn shown(&self, node: NodeId, versions: &[(Dot, Version)]) -> Option<Wrong> {
        let unchosen = versions.iter().find(|(dot, version)| self.versions.get(dot) != Some(version));
        let words = |dot| format!("{node} shows {dot}, which no chosen state has, to eventual reads");
        unchosen.map(|(dot, _)| wrong("unchosen-version-shown", words(dot)))
    }
}

/// Whether two chosen states are not one chain.
fn diverge(lower: Ballot, earlier: &ChainState, higher: Ballot, later: &ChainState) -> Option<Wrong> {
    let grows = earlier.token() <= later.token() && later.siblings.context().includes(earlier.siblings.context());
    (!grows).then(|| wrong("chosen-states-diverge", format!("what was chosen at {higher} has not seen what was chosen at {lower}")))
}
