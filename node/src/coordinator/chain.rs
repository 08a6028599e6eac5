//! Coordinating linearizable operations: reads by [`ChainRead`], everything that changes a key by the key's proposer on this node.
//!
//! Any node may coordinate; that it is a home replica saves a message, no more. A read drives its own machine, as eventual ones do.
//! Changes of one key share one [`Proposer`](quorate_protocol::chain::proposer::Proposer), so that they queue up for each other rather than
//! compete: [`proposers`] finds it, [`driver`] runs it, behind the back of whoever waits for an answer.
//!
//! ```text
//!   read ───────────> ChainRead ── found ──> answer
//!                         └─ a round is needed ─┐
//!   put, delete, change, settle ────────────────┴─> proposers ──> driver of the key ──> answers, one per operation
//! ```

mod answer;
mod change;
mod driver;
mod outcome;
mod proposers;

use std::sync::Arc;

use bytes::Bytes;
use quorate_config::BucketProperties;
use quorate_protocol::chain::operation::{Done, NotDone, Operation};
use quorate_protocol::chain::read::{ChainRead, Found};
use quorate_protocol::chain::{ChainState, Change};
use quorate_protocol::eventual::read::{ReadFailure, ReadPlan};
use quorate_protocol::machine::{Input, Outbox};
use quorate_protocol::outcome::{Failure, Outcome, Reason, Receipt};
use quorate_protocol::quorum::ReadQuorum;
use quorate_protocol::{Context, Level, Tick};

use super::drive::{Drive, Machine, Subject};
use super::micros;
use crate::node::Node;

pub(crate) use change::change;
pub(super) use change::write;
pub(crate) use outcome::outcome;
pub(crate) use proposers::Proposers;

/// Rounds after which a read gives up on what its session has seen: it is a write at a weaker level, which a majority lacks.
const ROUNDS_MAX: usize = 3;

impl Machine for ChainRead {
    type Answer = Result<Found, ReadFailure>;
    const REPAIRS: bool = true;
    fn step(&mut self, now: Tick, input: Input, out: &mut Outbox<Self::Answer>) {
        Self::step(self, now, input, out);
    }
    fn is_done(&self) -> bool {
        Self::is_done(self)
    }
}

/// A key, and until when an operation on it is of use.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) bucket: Arc<BucketProperties>,
    pub(crate) key: Bytes,
    pub(crate) deadline: Tick,
}

/// The key's newest chosen state: what a linearizable read finds.
pub(crate) async fn state(node: &Arc<Node>, target: Target, seen: Context) -> Result<(ChainState, Receipt), Failure> {
    let begun = node.clock.tick();
    let plan = plan(node, &target, seen.clone())?;
    let Target { bucket, key, deadline } = target.clone();
    let subject = Subject { bucket, key, level: Level::Linearizable, deadline, begin_by: None, value_bytes: 0 };
    match Drive::new(node, subject, ChainRead::new(plan, begun)).answer().await {
        Ok(Found::State { state, receipt }) => Ok((state, receipt)),
        Ok(Found::Round) => by_round(node, &target, &seen, begun).await,
        Err(ReadFailure { reason, replicas }) => Err(Failure { reason, outcome: Outcome::NotApplied, replicas }),
    }
}

/// The state that a round leaves which changes nothing else than to take in what is there.
async fn by_round(node: &Arc<Node>, target: &Target, seen: &Context, begun: Tick) -> Result<(ChainState, Receipt), Failure> {
    let mut replicas = Vec::new();
    for _ in 0..ROUNDS_MAX {
        let identity = Operation { change: Change::Identity, op: None, tainted: false, deadline: target.deadline };
        let done = propose(node, target, identity).await?;
        if done.state.siblings.context().includes(seen) {
            let micros = node.clock.tick().since(begun);
            return Ok((done.state, Receipt { micros, ..done.receipt }));
        }
        replicas = done.receipt.replicas;
    }
    Err(Failure { reason: Reason::Behind, outcome: Outcome::NotApplied, replicas })
}

/// Has an operation decided by the key's proposer on this node.
async fn propose(node: &Arc<Node>, target: &Target, operation: Operation) -> Result<Done, Failure> {
    let tainted = operation.tainted && operation.op.is_some();
    let answer = Proposers::submit(node, target, operation).await;
    answer.map_err(|NotDone { reason, outcome, replicas }| {
        let outcome = if tainted { Outcome::Unknown } else { outcome };
        Failure { reason, outcome, replicas }
    })
}

fn plan(node: &Node, target: &Target, seen: Context) -> Result<ReadPlan, Failure> {
    let place = node.placement.place(&target.bucket, &target.key);
    let quorum = ReadQuorum::of(Level::Linearizable, place.homes.clone(), place.record.epoch, node.options)
        .map_err(|invalid| Failure::refused(Reason::InvalidLevel(invalid)))?;
    Ok(ReadPlan {
        me: node.me(),
        level: Level::Linearizable,
        epoch: place.record.epoch,
        preferred: node.peers.preferred(node.me(), &place.homes),
        down: node.peers.down(&place.homes),
        quorum,
        seen,
        repair_behind: false,
        hedge_after_micros: micros(node.config.coordination.hedge_after),
        deadline: target.deadline,
        options: node.options,
    })
}
