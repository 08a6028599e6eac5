//! Whom a node hears, and whom it takes for the node it remembers.

use std::collections::BTreeSet;

use quorate_anti_entropy::HandoffInput;
use quorate_protocol::machine::Input;
use quorate_protocol::{Defect, Tick};
use quorate_ring::{NodeId, PreferenceList};

use super::forward::NoAnswer;
use super::{Action, Alarm, BEAT_MICROS, Env, HELD_BEATS, Node, SILENT_MICROS};
use crate::disk::Change;
use crate::message::{Address, Identity, Payload};

#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    pub(super) heard: Tick,
    /// It was heard lately, and says that it has heard this node.
    pub(super) up: bool,
}

impl Node {
    /// Whether the sender is the node that is remembered under its name. Remembers a higher boot.
    pub(super) fn vouches(&mut self, env: &mut Env<'_>, identity: Identity) -> bool {
        let record = &self.disk.current().node;
        match record.known.get(&identity.node) {
            Some((nonce, _)) if *nonce != identity.nonce => {
                // A node that does not remember its peers takes an empty one for the one that lost its disk.
                env.options.has(Defect::DotReusedAfterDiskLoss)
            }
            Some((_, boot)) if identity.boot < *boot => false,
            Some((_, boot)) if identity.boot == *boot => true,
            // It acknowledges no write, so it may go on without this memory.
            Some(_) | None if !self.has_room() => true,
            Some(_) | None => {
                let mut record = record.clone();
                record.known.insert(identity.node, (identity.nonce, identity.boot));
                let told = self.disk.write_synced(Change::Node(record));
                self.settle(env, told);
                true
            }
        }
    }

    pub(super) fn heard(&mut self, env: &mut Env<'_>, from: NodeId, payload: &Payload) {
        let Some(peer) = self.process.peers.get_mut(&from) else { return };
        let was_up = peer.up;
        match payload {
            Payload::Broken => peer.up = false,
            Payload::Beat { hears_you } => *peer = Peer { heard: env.now, up: *hears_you },
            // Whoever answers has heard this node.
            Payload::Reply { .. } | Payload::Answer { .. } => *peer = Peer { heard: env.now, up: true },
            Payload::Call { .. }
            | Payload::NobodyThere { .. }
            | Payload::CallLost { .. }
            | Payload::Replica { .. }
            | Payload::NotYou { .. } => peer.heard = env.now,
        }
        let is_up = peer.up;
        if was_up != is_up || *payload == Payload::Broken {
            self.peer_changed(env, from, is_up);
        }
    }

    pub(super) fn peer_changed(&mut self, env: &mut Env<'_>, peer: NodeId, is_up: bool) {
        self.hand_off(env, peer, if is_up { HandoffInput::PeerUp } else { HandoffInput::PeerDown });
        if is_up {
            return;
        }
        let waiting: Vec<u64> = self.process.operations.iter().filter(|(_, op)| op.waits_for(peer)).map(|(number, _)| *number).collect();
        for number in waiting {
            self.answered(env, number, Input::PeerDown(peer));
        }
        let forwarded: Vec<u64> = self.process.forwarded.iter().filter(|(_, call)| call.to == peer).map(|(number, _)| *number).collect();
        for number in forwarded {
            self.forward_ended(env, number, Err(NoAnswer::Broken));
        }
    }

    pub(super) fn beat(&mut self, env: &mut Env<'_>) {
        self.write_back(env, HELD_BEATS);
        let silent = |peer: &Peer| env.now.since(peer.heard) > SILENT_MICROS;
        let gone: Vec<NodeId> = self.process.peers.iter().filter(|(_, peer)| peer.up && silent(peer)).map(|(node, _)| *node).collect();
        let beats: Vec<(NodeId, bool)> = self.process.peers.iter().map(|(node, peer)| (*node, !silent(peer))).collect();
        for node in gone {
            if let Some(peer) = self.process.peers.get_mut(&node) {
                peer.up = false;
            }
            self.peer_changed(env, node, false);
        }
        for (node, hears_you) in beats {
            self.send(env, Address::Node(node), Payload::Beat { hears_you });
        }
        let jitter = env.random.below(BEAT_MICROS / 10);
        env.actions.push(Action::Alarm(env.now.after(BEAT_MICROS + jitter), Alarm::Beat));
    }

    pub(super) fn is_up(&self, node: NodeId) -> bool {
        node == self.id || self.process.peers.get(&node).is_some_and(|peer| peer.up)
    }

    /// The home replicas that cannot be reached.
    pub(super) fn down(&self, homes: &PreferenceList) -> BTreeSet<NodeId> {
        homes.iter().filter(|node| !self.is_up(*node)).collect()
    }
}
