//! What a node writes, and who waits until it is durable.

use quorate_anti_entropy::HandoffInput;
use quorate_protocol::Defect;
use quorate_protocol::chain::Ballot;
use quorate_protocol::machine::Input;
use quorate_protocol::notes::Mark;
use quorate_protocol::replica::{Refusal, ReplicaReply};
use quorate_ring::NodeId;

use super::{Action, Alarm, Env, Node, say};
use crate::disk::Change;
use crate::message::{Address, Key, Payload, Ticket};

/// Who waits for the disk.
#[derive(Clone, Debug)]
pub(crate) enum Waiter {
    Reply {
        to: Address,
        ticket: Ticket,
        key: Key,
        reply: ReplicaReply,
    },
    /// An operation of this node's own, for what its own replica has to say.
    Here {
        number: u64,
        key: Key,
        reply: ReplicaReply,
    },
    Hint {
        number: u64,
        target: NodeId,
    },
    /// Promises up to it may be given from memory.
    Ceiling(Ballot),
}

impl Node {
    pub(super) fn schedule_sync(&self, env: &mut Env<'_>) {
        let took = env.random.between(env.options.node.sync_micros_max / 10, env.options.node.sync_micros_max);
        env.actions.push(Action::Alarm(env.now.after(took), Alarm::Synced(self.disk.written())));
    }

    /// Writes a change; the waiter is told when it is durable.
    pub(super) fn write(&mut self, env: &mut Env<'_>, change: Change, waiter: Option<Waiter>) {
        if self.disk.write(change, waiter) {
            self.schedule_sync(env);
        }
    }

    /// Tells those who waited for the disk.
    pub(super) fn settle(&mut self, env: &mut Env<'_>, told: Vec<Waiter>) {
        for waiter in told {
            match waiter {
                Waiter::Reply { to, ticket, key, reply } => {
                    say(env, key, &reply);
                    self.send(env, to, Payload::Reply { ticket, reply });
                }
                Waiter::Here { number, key, reply } => {
                    say(env, key, &reply);
                    self.answered(env, number, Input::Reply { from: self.id, reply });
                }
                Waiter::Hint { number, target } => {
                    self.feed(env, number, Input::HintKept(target));
                    self.hand_off(env, target, HandoffInput::Kept);
                }
                Waiter::Ceiling(ceiling) => self.process.promises.reserved(ceiling),
            }
        }
    }

    /// Tells those who waited for what the disk will never take.
    pub(super) fn renounce(&mut self, env: &mut Env<'_>, told: Vec<Waiter>) {
        if env.options.has(Defect::FullDiskAcknowledged) {
            return self.settle(env, told);
        }
        let reply = ReplicaReply::Refused(Refusal::DiskFull);
        for waiter in told {
            match waiter {
                Waiter::Reply { to, ticket, .. } => self.send(env, to, Payload::Reply { ticket, reply: reply.clone() }),
                Waiter::Here { number, .. } => self.answered(env, number, Input::Reply { from: self.id, reply: reply.clone() }),
                Waiter::Hint { number, target } => {
                    env.actions.push(Action::Mark(Mark::HintRefused));
                    self.feed(env, number, Input::HintRefused(target));
                }
                Waiter::Ceiling(_) => {}
            }
        }
    }
}
