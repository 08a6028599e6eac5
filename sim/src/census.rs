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
//! | an operation makes one version | there, too, with the rounds that the chosen state was made in |
//! | the eventual view shows versions of chosen states only | when a version of a chain appears in it |
//!
//! **Terms.** A *vote* is a durable acceptance. A state is *chosen* when a majority of the key's homes have voted for its ballot.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use quorate_protocol::chain::{Accepted, Ballot, ChainRecord, ChainState, Token};
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
    Proposed(Accepted, Option<Growth>),
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

/// How a state came to be.
#[derive(Clone, Debug, Default)]
pub(crate) struct Growth {
    /// The ballot of the state that it extends.
    pub(crate) base: Ballot,
    /// The operations that it contains beside those of its base.
    pub(crate) added: Vec<(OpId, Applied)>,
}

/// An operation that changed a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Applied {
    /// The version that it made.
    pub(crate) token: Token,
    /// What its function returned.
    pub(crate) result: Option<Bytes>,
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
    growth: Growth,
    votes: BTreeSet<NodeId>,
    is_chosen: bool,
}

#[derive(Debug, Default)]
struct Chain {
    proposals: BTreeMap<Ballot, Proposal>,
    /// Versions of chosen states, by dot.
    versions: BTreeMap<Dot, Version>,
    /// The operations of chosen states, and those they were made of. A state's own table forgets: in one round a client may go on along its
    /// lane.
    contained: BTreeMap<OpId, Applied>,
    /// The newest chosen state whose operations are among them.
    gathered: Ballot,
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
            Sight::Proposed(proposal, growth) => chain.proposed(proposal, growth),
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

    /// What an operation came to that a chosen state contains, or that is among those it was made of.
    pub(crate) fn contained(&self, key: Key, op: &OpId) -> Option<&Applied> {
        self.chains.get(&key)?.contained.get(op)
    }

    /// States that were chosen.
    pub(crate) fn chosen_count(&self) -> u64 {
        self.chains.values().flat_map(|chain| chain.proposals.values()).filter(|proposal| proposal.is_chosen).count() as u64
    }
}

/// Kinds of violation that are told here.
pub(crate) const KINDS: [&str; 7] =
    [BALLOT_TWICE, WENT_BACK, FORGOTTEN, "chosen-states-diverge", CONTAINED_TWICE, "unchosen-version-shown", "version-with-two-bodies"];

const BALLOT_TWICE: &str = "ballot-used-twice";
const WENT_BACK: &str = "acceptor-went-back";
const FORGOTTEN: &str = "promise-forgotten";
const CONTAINED_TWICE: &str = "operation-contained-twice";

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

    fn proposed(&mut self, Accepted { ballot, state }: Accepted, growth: Option<Growth>) -> Option<Wrong> {
        match self.proposals.get(&ballot) {
            Some(known) if known.state == state => None,
            Some(_) => Some(wrong(BALLOT_TWICE, format!("two states were proposed at ballot {ballot}"))),
            None => {
                let growth = growth.unwrap_or_default();
                self.proposals.insert(ballot, Proposal { state, growth, votes: BTreeSet::new(), is_chosen: false });
                None
            }
        }
    }

    /// Gathers the operations of a chosen state and of all that it was made of.
    fn gather(&mut self, chosen: Ballot) -> Option<Wrong> {
        let mut broken = None;
        let mut at = chosen;
        while at > self.gathered {
            let Some(proposal) = self.proposals.get(&at) else { break };
            for (op, applied) in &proposal.growth.added {
                let known = self.contained.entry(*op).or_insert_with(|| applied.clone());
                if known.token != applied.token {
                    let words = || format!("{op} made version {} and version {}", known.token, applied.token);
                    broken = broken.or_else(|| Some(wrong(CONTAINED_TWICE, words())));
                }
            }
            at = proposal.growth.base;
        }
        self.gathered = self.gathered.max(chosen);
        broken
    }

    fn chosen(&mut self, ballot: Ballot, state: &ChainState) -> Option<Wrong> {
        let is_chosen = |(_, proposal): &(&Ballot, &Proposal)| proposal.is_chosen;
        let before = self.proposals.range(..ballot).rfind(is_chosen);
        let after = self.proposals.range(ballot..).filter(|(other, _)| **other > ballot).find(is_chosen);
        let mut broken = before.and_then(|(other, earlier)| diverge(*other, &earlier.state, ballot, state));
        broken = broken.or_else(|| after.and_then(|(other, later)| diverge(ballot, state, *other, &later.state)));
        broken = broken.or(self.gather(ballot));
        for (dot, version) in state.siblings.live().filter(|(dot, _)| matches!(dot.actor, Actor::Chain(_))) {
            let known = self.versions.entry(dot).or_insert_with(|| version.clone());
            if known != version {
                let words = || format!("{dot} stands for two versions in chosen states");
                broken = broken.or_else(|| Some(wrong("version-with-two-bodies", words())));
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

#[cfg(test)]
mod tests {
    use quorate_protocol::chain::once::{Recorded, Verdict};
    use quorate_protocol::chain::state::{Authorship, Change, Effect, Function};
    use quorate_protocol::hlc::Hlc;
    use quorate_protocol::{BootId, ClientId};
    use quorate_ring::RingEpoch;

    use super::*;

    const KEY: Key = Key(0);

    fn ballot(counter: u64) -> Ballot {
        Ballot { epoch: RingEpoch(1), counter, node: NodeId(1), boot: BootId(1) }
    }

    /// An operation of one client, which has one lane.
    fn op(seq: u64) -> OpId {
        OpId { client: ClientId(1), lane: 0, seq, issued_ms: seq }
    }

    /// A round that increments `base` once for each operation.
    fn round(counter: u64, base: (u64, &ChainState), ops: &[OpId]) -> (Accepted, Growth) {
        let mut growth = Growth { base: if base.0 == 0 { Ballot::ZERO } else { ballot(base.0) }, added: Vec::new() };
        let mut state = base.1.clone();
        for op in ops {
            let author = Authorship { ballot: ballot(counter), hlc: Hlc(1), op: Some(*op) };
            let (next, effect) = state.begun(author.ballot).apply(&Change::Modify(Function::Increment(1)), author);
            let Effect::Applied(result) = effect else { panic!("a number can be incremented: {effect:?}") };
            let (token, recorded) = (next.token(), Recorded::Applied { token: next.token(), result: result.clone() });
            growth.added.push((*op, Applied { token, result }));
            state = next.record(op, recorded, author).expect("room");
        }
        (Accepted { ballot: ballot(counter), state }, growth)
    }

    fn propose(census: &mut Census, (proposal, growth): (Accepted, Growth), voters: &[u64]) {
        let at = proposal.ballot;
        census.note(NodeId(1), KEY, 2, Sight::Proposed(proposal, Some(growth)));
        for voter in voters {
            census.note(NodeId(*voter), KEY, 2, Sight::Voted(at));
        }
    }

    fn result(census: &Census, op: OpId) -> Option<&[u8]> {
        census.contained(KEY, &op).map(|applied| applied.result.as_deref().expect("a number"))
    }

    /// Both operations of a client are in one round: the state's table keeps the last of a lane, and the first was applied all the same.
    /// The round was lost at first, and became part of the chain as what the next one was made of.
    #[test]
    fn operations_that_no_table_names_any_more_are_found_in_the_rounds_of_the_chain() {
        let mut census = Census::default();
        let (nothing, others) = (ChainState::default(), OpId { client: ClientId(2), ..op(1) });
        propose(&mut census, round(1, (0, &nothing), &[op(2), op(1)]), &[3]);
        let adopted = round(2, (0, &nothing), &[op(1), op(2)]);
        let state = adopted.0.state.clone();
        assert!(matches!(state.once.look(&op(1)), Verdict::Superseded), "its table says only that the client has gone on");
        propose(&mut census, adopted, &[1]);
        assert_eq!(census.contained(KEY, &op(1)), None, "nothing is chosen");
        propose(&mut census, round(3, (2, &state), &[others]), &[1, 2]);
        assert_eq!(result(&census, op(1)), Some(&b"1"[..]));
        assert_eq!(result(&census, op(2)), Some(&b"2"[..]));
        assert_eq!(result(&census, others), Some(&b"3"[..]));
        assert_eq!(census.violations, []);
    }

    #[test]
    fn an_operation_that_makes_two_versions_is_found() {
        let mut census = Census::default();
        let first = round(1, (0, &ChainState::default()), &[op(1), op(2)]);
        let state = first.0.state.clone();
        propose(&mut census, first, &[1, 2]);
        propose(&mut census, round(2, (1, &state), &[op(1)]), &[1, 2]);
        assert_eq!(census.violations.iter().map(|violation| violation.kind).collect::<Vec<_>>(), [CONTAINED_TWICE]);
    }
}
