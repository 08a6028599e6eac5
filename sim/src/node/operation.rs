//! An operation under way at its coordinator.

use std::collections::{BTreeMap, VecDeque};

use quorate_protocol::chain::operation::{Answer, Ticket as Place};
use quorate_protocol::chain::proposer::Proposer;
use quorate_protocol::chain::read::{ChainRead, Found};
use quorate_protocol::eventual::read::{Read, ReadAnswer, ReadFailure};
use quorate_protocol::eventual::write::{Write, WriteFailure, Written};
use quorate_protocol::machine::{Input, Outbox};
use quorate_protocol::{Context, Tick};
use quorate_ring::{NodeId, RingEpoch};

use super::chain::Basis;
use crate::message::{Call, Key};

/// The machine of one operation, or of all operations that change a key's chain.
#[derive(Debug)]
pub(super) enum Machine {
    Read(Box<Read>, Outbox<Result<ReadAnswer, ReadFailure>>),
    Write(Box<Write>, Outbox<Result<Written, WriteFailure>>),
    ChainRead(Box<ChainRead>, Outbox<Result<Found, ReadFailure>>),
    Propose(Box<Proposer>, Outbox<Answer>, BTreeMap<Place, Asker>, Box<Basis>),
}

/// Who wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// Whoever called, about a change, and whether somebody may have sent it before.
    Change(Call, bool),
    /// Whoever called, about what there is, having seen this.
    Look(Call, Context),
    /// This node itself wants something to be decided.
    Finisher,
}

/// What an operation is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject {
    pub(super) key: Key,
    pub(super) deadline: Tick,
    /// The ring epoch that it acts under.
    pub(super) epoch: RingEpoch,
    /// When a blind write must have begun.
    pub(super) begin_by: Option<Tick>,
}

/// One operation under way at its coordinator.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) machine: Machine,
    pub(super) subject: Subject,
    pub(super) asker: Asker,
    /// Requests that are out, by replica.
    pub(super) out: BTreeMap<NodeId, u32>,
    /// Inputs that are there already.
    pub(super) ready: VecDeque<Input>,
}

impl Operation {
    pub(super) fn waits_for(&self, node: NodeId) -> bool {
        self.out.contains_key(&node)
    }

    pub(super) fn new(machine: Machine, subject: Subject, asker: Asker) -> Self {
        Self { machine, subject, asker, out: BTreeMap::new(), ready: VecDeque::new() }
    }

    /// Whether nothing can come of it any more.
    pub(super) fn is_done(&self) -> bool {
        self.ready.is_empty()
            && match &self.machine {
                Machine::Read(read, _) => read.is_done(),
                Machine::Write(write, _) => write.is_done(),
                Machine::ChainRead(read, _) => read.is_done(),
                Machine::Propose(proposer, ..) => proposer.is_idle(),
            }
    }

    /// Whether somebody waits for it.
    pub(super) fn is_busy(&self) -> bool {
        match &self.machine {
            Machine::Propose(proposer, ..) => !proposer.is_idle(),
            Machine::Read(..) | Machine::Write(..) | Machine::ChainRead(..) => true,
        }
    }
}
