//! What a coordinator and a home replica say to each other about a key's chain.
//!
//! A state travels only where it is needed: it carries the table of operations, which makes it larger than the value. A reader asks one
//! replica for the state and the others for its ballot; a proposer says which state it has already.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::acceptor::{Accepted, Rejected};
use super::ballot::Ballot;
use super::state::ChainState;
use crate::context::Dot;
use crate::siblings::Siblings;

/// What a coordinator asks of a home replica.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ChainRequest {
    /// Say what was accepted. Changes nothing.
    Read {
        /// Send the state, too.
        full: bool,
    },
    /// Promise to take part in nothing below `ballot`, and say what was accepted.
    Prepare {
        /// The proposal's ballot.
        ballot: Ballot,
        /// The proposer has the state of this ballot: it need not be sent.
        known: Ballot,
    },
    /// Accept a state.
    Accept {
        /// The state and its ballot.
        proposal: Accepted,
        /// Promise this ballot with it, for the same proposer's next state.
        next: Option<Ballot>,
        /// Only if every live eventual version here has been seen by the state.
        clean: bool,
    },
    /// What was accepted at `ballot` is chosen.
    Learn {
        /// The ballot.
        ballot: Ballot,
        /// The state, for replicas that may not have accepted it.
        state: Option<ChainState>,
    },
}

/// What a home replica answers. All that it says is durable there.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ChainReply {
    /// To `Read`.
    View(View),
    /// To `Prepare`.
    Promised {
        /// The ballot promised.
        ballot: Ballot,
        /// What was accepted.
        promise: Promise,
    },
    /// To `Prepare` and `Accept`: something higher was promised.
    Rejected(Rejected),
    /// To `Accept`: accepted at this ballot.
    Accepted {
        /// The ballot.
        ballot: Ballot,
    },
    /// To a clean `Accept`: not accepted, an eventual version here has not been seen by the state.
    Dirty {
        /// The ballot.
        ballot: Ballot,
    },
    /// To `Learn`.
    Learned,
}

/// What one replica holds, as far as a reader needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct View {
    /// The ballot of what it accepted last, zero if nothing.
    pub accepted: Ballot,
    /// The highest ballot it knows to be chosen.
    pub decided: Ballot,
    /// The live dots of its eventual view.
    pub live: Vec<Dot>,
    /// What it accepted last, if that was asked for.
    pub state: Option<ChainState>,
}

/// What one replica holds, as far as a proposer needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Promise {
    /// The ballot of what it accepted last, zero if nothing.
    pub accepted: Ballot,
    /// The highest ballot it knows to be chosen.
    pub decided: Ballot,
    /// What it accepted last; absent if nothing, or if the proposer has it.
    pub state: Option<ChainState>,
    /// Its eventual view; absent if it holds nothing but what the accepted state holds.
    pub eventual: Option<Siblings>,
}

impl ChainRequest {
    /// True for requests that change a record.
    #[must_use]
    pub fn is_mutation(&self) -> bool {
        !matches!(self, Self::Read { .. })
    }

    /// Roughly how many bytes it takes on the wire.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Read { .. } | Self::Prepare { .. } => 0,
            Self::Accept { proposal, .. } => proposal.state.bytes(),
            Self::Learn { state, .. } => state.as_ref().map_or(0, ChainState::bytes),
        }
    }
}

impl ChainReply {
    /// Roughly how many bytes it takes on the wire.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let state = |state: &Option<ChainState>| state.as_ref().map_or(0, ChainState::bytes);
        match self {
            Self::View(view) => state(&view.state) + view.live.len() * 24,
            Self::Promised { promise, .. } => state(&promise.state) + promise.eventual.as_ref().map_or(0, Siblings::bytes),
            Self::Rejected(_) | Self::Accepted { .. } | Self::Dirty { .. } | Self::Learned => 0,
        }
    }
}

impl fmt::Display for ChainRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { full } => write!(f, "ChainRead{}", if *full { " full" } else { "" }),
            Self::Prepare { ballot, .. } => write!(f, "Prepare {ballot}"),
            Self::Accept { proposal, next, .. } => {
                write!(f, "Accept {} {}", proposal.ballot, proposal.state.token())?;
                next.map_or(Ok(()), |next| write!(f, " next {next}"))
            }
            Self::Learn { ballot, .. } => write!(f, "Learn {ballot}"),
        }
    }
}

impl fmt::Display for ChainReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::View(view) => write!(f, "View accepted {} decided {}", view.accepted, view.decided),
            Self::Promised { ballot, promise } => write!(f, "Promised {ballot} accepted {}", promise.accepted),
            Self::Rejected(rejected) => write!(f, "Rejected {} below {}", rejected.ballot, rejected.limit),
            Self::Accepted { ballot } => write!(f, "Accepted {ballot}"),
            Self::Dirty { ballot } => write!(f, "Dirty {ballot}"),
            Self::Learned => f.write_str("Learned"),
        }
    }
}
