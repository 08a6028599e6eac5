//! Delivering hints: the driver of `quorate_anti_entropy::handoff`.

use quorate_anti_entropy::{Handoff, HandoffEffect, HandoffInput, HandoffOptions, Hint, HintLimits};
use quorate_protocol::machine::Input;
use quorate_protocol::notes::{Mark, Notes};
use quorate_protocol::record::Role;
use quorate_protocol::replica::{ReplicaReply, ReplicaRequest};
use quorate_protocol::{BucketId, Siblings};
use quorate_ring::NodeId;

use super::{Action, Alarm, Env, Node, Waiter, mark};
use crate::disk::Change;
use crate::message::{Address, Key, Payload, Ticket};
use crate::options::Options;

/// Longest wait for a hint to be acknowledged, in microseconds.
const DELIVERY_MICROS: u64 = 3_000_000;

pub(super) fn fresh(options: &Options) -> Handoff {
    Handoff::new(HandoffOptions {
        batch_max: options.node.hint_batch_max,
        backoff_micros_min: 100_000,
        backoff_micros_max: 5_000_000,
        age_ms_max: options.node.hint_age_ms_max,
        options: options.core,
    })
}

impl Node {
    /// Keeps a hint; `HintKept` follows when it is durable. The input says at once that none can be kept.
    pub(super) fn keep_hint(&mut self, env: &mut Env<'_>, number: u64, key: Key, target: NodeId, delta: Siblings) -> Option<Input> {
        // Only their number is bounded here: all hints of a run are small.
        let limits = HintLimits { count_max: env.options.node.hints_max, bytes_max: u64::MAX };
        if !self.disk.takes_writes() || !limits.admit(self.disk.current().hint_load(target), 0) {
            // Noted here: the operation may be over before it hears.
            env.actions.push(Action::Mark(Mark::HintRefused));
            return Some(Input::HintRefused(target));
        }
        let partition = self.partition(env, key);
        let hint = Hint {
            bucket: BucketId(0),
            key: vec![key.0].into(),
            delta,
            epoch: partition.epoch,
            kept_ms: self.wall_ms(env.now),
            only_copy: partition.role == Role::Stranger,
        };
        let seq = self.disk.number_hint();
        self.write(env, Change::Hint(target, seq, hint), Some(Waiter::Hint { number, target }));
        None
    }

    /// A hint was answered (`reply`), or its answer is given up.
    pub(super) fn hint_answered(&mut self, env: &mut Env<'_>, target: NodeId, seq: u64, reply: Option<&ReplicaReply>) {
        let only_copy = self.disk.current().hints.get(&(target, seq)).is_some_and(|hint| hint.only_copy);
        self.hand_off(env, target, HandoffInput::answered(seq, only_copy, reply));
    }

    pub(super) fn hand_off(&mut self, env: &mut Env<'_>, peer: NodeId, input: HandoffInput) {
        let Some(machine) = self.process.handoffs.get_mut(&peer) else { return };
        let (mut effects, mut notes) = (Vec::new(), Notes::default());
        machine.step(env.now, input, &mut effects, &mut notes);
        mark(env, notes);
        for effect in effects {
            match effect {
                HandoffEffect::Load { count_max } => {
                    let loaded = HandoffInput::Loaded { hints: self.load(peer, count_max), now_ms: self.wall_ms(env.now) };
                    self.hand_off(env, peer, loaded);
                }
                HandoffEffect::Send { seq, hint } => self.deliver(env, peer, seq, hint),
                HandoffEffect::Remove { seqs, .. } => {
                    for seq in seqs {
                        self.process.gone.insert((peer, seq));
                        // On a full disk it stays, and is delivered again after the next start.
                        if self.disk.takes_writes() {
                            self.write(env, Change::HintGone(peer, seq), None);
                        }
                    }
                }
                HandoffEffect::SetTimer(at) => env.actions.push(Action::Alarm(at, Alarm::Handoff(peer))),
            }
        }
    }

    /// The oldest hints that are durable and not delivered.
    fn load(&self, peer: NodeId, count_max: usize) -> Vec<(u64, Hint)> {
        let durable = self.disk.durable().hints.range((peer, 0)..=(peer, u64::MAX));
        let left = durable.filter(|(name, _)| !self.process.gone.contains(*name));
        left.take(count_max).map(|((_, seq), hint)| (*seq, hint.clone())).collect()
    }

    fn deliver(&self, env: &mut Env<'_>, target: NodeId, seq: u64, hint: Hint) {
        let ticket = Ticket::Hint { boot: self.identity().boot, seq };
        let deadline = env.now.after(DELIVERY_MICROS);
        let request = ReplicaRequest::Replicate { strict: None, delta: hint.delta };
        self.send(env, Address::Node(target), Payload::Replica { ticket, key: Key(hint.key[0]), deadline, request });
        env.actions.push(Action::Alarm(deadline, Alarm::HintSilent { target, seq }));
    }
}
