//! The node's own replica: requests of other nodes, and dots for its own writes.

use quorate_protocol::chain::message::{ChainReply, ChainRequest};
use quorate_protocol::machine::{Input, MintRefusal};
use quorate_protocol::notes::{Mark, Notes};
use quorate_protocol::record::{KeyRecord, Role};
use quorate_protocol::replica::{Mint, Minted, Refusal, ReplicaReply, ReplicaRequest, apply, mint, needs_fresh_epoch};
use quorate_protocol::{Actor, Defect, KeyEpoch, Siblings, Tick};

use super::{Action, EPOCH_BLOCK, Env, MintRecord, Node, Waiter, mark, say};
use crate::census::{Place, Sight};
use crate::disk::{Change, NodeRecord};
use crate::message::{Address, Key, Payload, Ticket};

/// A reply, and whether it may leave before what was written so far is durable.
type Served = (ReplicaReply, bool);

impl Node {
    /// A request of another node.
    pub(super) fn replica(&mut self, env: &mut Env<'_>, to: Address, ticket: Ticket, key: Key, deadline: Tick, request: &ReplicaRequest) {
        let refused = |refusal| Payload::Reply { ticket, reply: ReplicaReply::Refused(refusal) };
        if self.is_overloaded {
            return self.send(env, to, refused(Refusal::Overloaded));
        }
        if deadline < env.now {
            return self.send(env, to, refused(Refusal::Expired));
        }
        let (reply, at_once) = self.serve(env, key, request);
        if at_once {
            say(env, key, &reply);
            self.send(env, to, Payload::Reply { ticket, reply });
        } else {
            self.when_durable(env, Waiter::Reply { to, ticket, key, reply });
        }
    }

    /// A request of this node's own coordinator: the answer, unless it has to become durable first.
    pub(super) fn replica_here(&mut self, env: &mut Env<'_>, number: u64, key: Key, request: &ReplicaRequest) -> Option<Input> {
        let (reply, at_once) = self.serve(env, key, request);
        if at_once {
            say(env, key, &reply);
            return Some(Input::Reply { from: self.id, reply });
        }
        self.when_durable(env, Waiter::Here { number, key, reply });
        None
    }

    /// Tells the waiter when all that was written so far is durable, which may be now.
    fn when_durable(&mut self, env: &mut Env<'_>, waiter: Waiter) {
        if let Err(waiter) = self.disk.after_all(waiter) {
            self.settle(env, vec![waiter]);
        }
    }

    fn serve(&mut self, env: &mut Env<'_>, key: Key, request: &ReplicaRequest) -> Served {
        if self.is_quarantined() {
            return (ReplicaReply::Refused(Refusal::Quarantined), true);
        }
        let mut notes = Notes::default();
        let served = match request {
            // What was learnt of the key's chain is shown, and so must survive a crash from now on.
            ReplicaRequest::Read { .. } if !self.disk.held(key).decided.is_zero() => self.change(env, key, request, &mut notes),
            ReplicaRequest::Read { .. } | ReplicaRequest::Chain { request: ChainRequest::Read { .. }, .. } => {
                let shows_unsynced = env.options.has(Defect::UnsyncedStateShown);
                let mut record = if shows_unsynced { self.disk.latest(key) } else { self.disk.view(key) };
                (apply(&mut record, &self.partition(env, key), request, env.options.core, &mut notes), true)
            }
            ReplicaRequest::Replicate { .. } | ReplicaRequest::Chain { .. } => self.change(env, key, request, &mut notes),
        };
        mark(env, notes);
        served
    }

    /// Changes the key's record as it is asked to.
    fn change(&mut self, env: &mut Env<'_>, key: Key, request: &ReplicaRequest, notes: &mut Notes) -> Served {
        let before = self.disk.latest(key);
        let mut record = before.clone();
        if !self.disk.takes_writes() {
            let acknowledges = env.options.has(Defect::FullDiskAcknowledged);
            let reply = |record: &mut _| apply(record, &self.partition(env, key), request, env.options.core, &mut Notes::default());
            return (if acknowledges { reply(&mut record) } else { ReplicaReply::Refused(Refusal::DiskFull) }, true);
        }
        self.observe(env, request);
        let reply = apply(&mut record, &self.partition(env, key), request, env.options.core, notes);
        if reply == ReplicaReply::Refused(Refusal::BallotUsedTwice) {
            env.actions.push(Action::Chain(key, Sight::BallotTwice));
        }
        if let ReplicaRequest::Chain { request: ChainRequest::Learn { ballot, state: None }, .. } = request
            && reply == ReplicaReply::Chain(Box::new(ChainReply::Learned))
            && let Some(learnt) = self.disk.learnt(key, *ballot)
        {
            assert_eq!(learnt, record, "the short way of a Learn leads where the long one does");
        }
        let is_of_chain = matches!(request, ReplicaRequest::Chain { .. });
        if record != before {
            note_change(env, key, &before, &record);
        }
        if !is_of_chain || record != before {
            self.keep(env, key, record, is_of_chain);
            self.watch(env, key);
        }
        let at_once = match &reply {
            ReplicaReply::Stored | ReplicaReply::State { .. } => false,
            ReplicaReply::Chain(reply) => match &**reply {
                ChainReply::Accepted { .. } => false,
                // What it shows is to be durable.
                ChainReply::Promised { .. } => env.options.has(Defect::PromiseNotSynced),
                // Nobody counts on them: whoever lost a promise says no less often, and what is decided can be found out again.
                ChainReply::View(_) | ChainReply::Rejected(_) | ChainReply::Dirty { .. } | ChainReply::Learned => true,
            },
            ReplicaReply::Refused(_) => true,
        };
        (reply, at_once || env.options.has(Defect::UnsyncedWriteAcknowledged))
    }

    /// Writes a changed record, or leaves it to memory if it is of the chain and that is safe.
    fn keep(&mut self, env: &mut Env<'_>, key: Key, record: KeyRecord, is_of_chain: bool) {
        if is_of_chain {
            let promised = record.chain.promised;
            if let Some(ceiling) = self.process.promises.extend(promised) {
                let node = NodeRecord { promise_ceiling: ceiling, ..self.disk.current().node.clone() };
                self.write(env, Change::Node(node), Some(Waiter::Ceiling(ceiling)));
            }
            let ceiling = if env.options.has(Defect::PromiseNotSynced) { promised } else { self.process.promises.durable() };
            if self.disk.hold(key, &record, ceiling) {
                return;
            }
        }
        if *self.disk.current().records.get(&key).unwrap_or(&KeyRecord::default()) != record {
            self.write(env, Change::Record(key, Box::new(record)), None);
        }
    }

    /// Writes what only memory has held of keys for a while.
    pub(super) fn write_back(&mut self, env: &mut Env<'_>, beats: u32) {
        for key in self.disk.held_for(beats) {
            if self.disk.takes_writes() {
                let record = self.disk.latest(key);
                self.write(env, Change::Record(key, Box::new(record)), None);
            }
        }
    }

    /// Follows the clocks of those who wrote what comes.
    fn observe(&mut self, env: &Env<'_>, request: &ReplicaRequest) {
        let wall = self.wall_ms(env.now);
        let versions: &Siblings = match request {
            ReplicaRequest::Replicate { delta, .. } => delta,
            ReplicaRequest::Chain { request: ChainRequest::Accept { proposal, .. }, .. } => &proposal.state.siblings,
            ReplicaRequest::Read { .. } | ReplicaRequest::Chain { .. } => return,
        };
        for (_, version) in versions.live() {
            // A stamp too far ahead is not followed.
            let _ = self.process.clock.observe(version.hlc, wall);
        }
    }

    /// Gives a write its dot. As a home replica, `Stored` from this node follows when it is durable.
    pub(super) fn mint(&mut self, env: &mut Env<'_>, number: u64, key: Key, write: &Mint, role: Role) -> Result<Minted, MintRefusal> {
        let minted = match role {
            Role::Stranger => self.mint_as_fallback(env, key, write)?,
            Role::Home => self.mint_at_home(env, number, key, write)?,
        };
        let covers = minted.delta.context().clone();
        env.actions.push(Action::Minted(MintRecord { key, dot: minted.dot, op: write.op, body: write.body.clone(), covers }));
        Ok(minted)
    }

    fn mint_at_home(&mut self, env: &mut Env<'_>, number: u64, key: Key, write: &Mint) -> Result<Minted, MintRefusal> {
        let drops_silently = !self.disk.takes_writes() && env.options.has(Defect::FullDiskAcknowledged);
        if !self.disk.takes_writes() && !drops_silently {
            return Err(MintRefusal::Store(Refusal::DiskFull));
        }
        let mut record = self.disk.latest(key);
        let minted = self.give_dot(env, &mut record, write)?;
        if !drops_silently {
            self.write(env, Change::Record(key, Box::new(record)), None);
        }
        if drops_silently || env.options.has(Defect::UnsyncedWriteAcknowledged) {
            self.soon(number, Input::Reply { from: self.id, reply: ReplicaReply::Stored });
        } else {
            self.when_durable(env, Waiter::Here { number, key, reply: ReplicaReply::Stored });
        }
        Ok(minted)
    }

    fn give_dot(&mut self, env: &mut Env<'_>, record: &mut KeyRecord, write: &Mint) -> Result<Minted, MintRefusal> {
        let core = env.options.core;
        let floor = self.disk.durable().node.epoch_floor;
        let fresh = if needs_fresh_epoch(record, floor, core) { Some(self.fresh_epoch(env)?) } else { None };
        let mut notes = Notes::default();
        let minted = mint(record, self.id, fresh, write, core, &mut notes);
        mark(env, notes);
        minted
    }

    /// Draws a key epoch that was never used, reserving a further block when this one is used up.
    fn fresh_epoch(&mut self, env: &mut Env<'_>) -> Result<KeyEpoch, MintRefusal> {
        if env.options.has(Defect::KeyEpochFromClock) {
            return Ok(KeyEpoch(self.wall_ms(env.now) / 1_000));
        }
        let epoch = self.process.next_epoch;
        let record = self.disk.current().node.clone();
        if epoch >= record.epochs_reserved {
            if !self.has_room() {
                return Err(MintRefusal::Store(Refusal::DiskFull));
            }
            let epochs_reserved = record.epochs_reserved + EPOCH_BLOCK;
            let told = self.disk.write_synced(Change::Node(NodeRecord { epochs_reserved, ..record }));
            self.settle(env, told);
        }
        self.process.next_epoch += 1;
        Ok(KeyEpoch(epoch))
    }

    /// A fallback keeps no record but, for a few keys, the dots it gave out.
    fn mint_as_fallback(&mut self, env: &mut Env<'_>, key: Key, write: &Mint) -> Result<Minted, MintRefusal> {
        if env.options.has(Defect::FallbackRepeatsDots) {
            return mint(&mut KeyRecord::default(), self.id, Some(KeyEpoch(1)), write, env.options.core, &mut Notes::default());
        }
        let known = self.process.fallback.iter().position(|(known, _)| *known == key);
        let mut record = known.map(|position| self.process.fallback.remove(position).1).unwrap_or_default();
        let minted = self.give_dot(env, &mut record, write);
        if minted.is_ok() {
            env.actions.push(Action::Mark(Mark::FallbackMinted));
        }
        if record != KeyRecord::default() {
            record.eventual = record.eventual.outline();
            self.process.fallback.push((key, record));
            let excess = self.process.fallback.len().saturating_sub(env.options.node.fallback_keys_max);
            self.process.fallback.drain(..excess);
        }
        minted
    }
}

/// Notes how a record changed, as far as its chain is concerned.
fn note_change(env: &mut Env<'_>, key: Key, before: &KeyRecord, after: &KeyRecord) {
    let (from, to) = (Place::of(&before.chain), Place::of(&after.chain));
    if from != to {
        env.actions.push(Action::Chain(key, Sight::Moved { before: from, after: to }));
    }
    let known: Vec<_> = before.eventual.live().map(|(dot, _)| dot).collect();
    let is_new = |dot| matches!(dot, quorate_protocol::Dot { actor: Actor::Chain(_), .. }) && !known.contains(&dot);
    let shown: Vec<_> = after.eventual.live().filter(|(dot, _)| is_new(*dot)).map(|(dot, version)| (dot, version.clone())).collect();
    if !shown.is_empty() {
        env.actions.push(Action::Chain(key, Sight::Shown(shown)));
    }
}
