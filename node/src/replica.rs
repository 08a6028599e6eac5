//! This node's own replica: the driver of `quorate_protocol::replica`.
//!
//! **Promise.** A read shows durable state only. A mutation's answer is given together with the moment from which it is true;
//! whoever passes the answer on waits for that moment first. This file is the one that knows this rule.

use quorate_config::BucketProperties;
use quorate_protocol::chain::{ChainReply, ChainRequest, ChainState};
use quorate_protocol::limits::KEY_BYTES_MAX;
use quorate_protocol::machine::MintRefusal;
use quorate_protocol::notes::Notes;
use quorate_protocol::record::{KeyRecord, Role};
use quorate_protocol::replica::{Mint, Minted, Refusal, ReplicaReply, ReplicaRequest, apply, mint, needs_fresh_epoch};
use quorate_rpc::peer::ReplicaCall;

use crate::coordinator::Subject;
use crate::node::Node;
use crate::store::{Commit, Durability, StorageKey, StoreError};
use crate::topology::Place;

/// An answer, and from when on it is true.
pub(crate) enum Answer {
    /// Now.
    Now(ReplicaReply),
    /// Once this commit has resolved.
    After(Commit, ReplicaReply),
}

impl Answer {
    /// Waits until the answer is true, or has become a refusal.
    pub(crate) async fn settled(self) -> ReplicaReply {
        match self {
            Self::Now(reply) => reply,
            Self::After(commit, reply) => match commit.await {
                Ok(()) => reply,
                Err(error) => ReplicaReply::Refused(refusal(&error)),
            },
        }
    }
}

/// What a store's failure means to a coordinator.
pub(crate) fn refusal(error: &StoreError) -> Refusal {
    match error {
        StoreError::Overloaded { .. } => Refusal::Overloaded,
        StoreError::DiskFull => Refusal::DiskFull,
        StoreError::Closed | StoreError::DamagedRecord { .. } | StoreError::Engine { .. } => Refusal::StoreFailed,
    }
}

fn durability(bucket: &BucketProperties, must_sync: bool) -> Durability {
    if must_sync || bucket.fsync_before_ack { Durability::Synced } else { Durability::Buffered }
}

/// Applies one request, of this node's own coordinator or of another node's. A delivered hint (`is_hint`) is synced in any bucket:
/// its keeper forgets it upon the answer.
pub(crate) fn serve(node: &Node, call: &ReplicaCall, is_hint: bool) -> Answer {
    if let Some(refusal) = node.refusal() {
        return Answer::Now(ReplicaReply::Refused(refusal));
    }
    if call.key.is_empty() || call.key.len() > KEY_BYTES_MAX {
        return Answer::Now(ReplicaReply::Refused(Refusal::Malformed));
    }
    let Some(bucket) = node.placement.bucket(call.bucket) else {
        return Answer::Now(ReplicaReply::Refused(Refusal::Malformed));
    };
    let place = node.placement.place(bucket, &call.key);
    let key = StorageKey::new(place.partition, call.bucket, &call.key);
    let answer = match &call.request {
        ReplicaRequest::Read { .. } => {
            let show = |record: &mut KeyRecord| apply(record, &place.record, &call.request, node.options, &mut Notes::default());
            node.store.read(&key).map(Option::unwrap_or_default).map(|mut durable| {
                let shows_more = node.store.held(&key).shows_more_than(&durable);
                // What was learnt of the key's chain is shown, and so must survive a crash from now on. What cannot be written is not shown.
                match shows_more.then(|| node.store.update(&key, Durability::Synced, show)) {
                    Some(Ok((reply, commit))) => Answer::After(commit, reply),
                    Some(Err(_)) | None => Answer::Now(show(&mut durable)),
                }
            })
        }
        ReplicaRequest::Replicate { strict, delta } => {
            for (_, version) in delta.live() {
                // A stamp too far ahead is not followed; heartbeats tell the operator about it.
                let _ = node.clock.observe(version.hlc);
            }
            let transition = |record: &mut KeyRecord| apply(record, &place.record, &call.request, node.options, &mut Notes::default());
            node.store
                .update(&key, durability(bucket, is_hint || strict.is_some()), transition)
                .map(|(reply, commit)| Answer::After(commit, reply))
        }
        ReplicaRequest::Chain { request, .. } => serve_chain(node, call, request, &place, &key),
    };
    answer.unwrap_or_else(|error| {
        log_failure(&error);
        Answer::Now(ReplicaReply::Refused(refusal(&error)))
    })
}

/// Takes part in a key's chain. Acceptances are synced in every bucket, and so is all that was queued for the key before a promise: what
/// it shows is durable. Promises themselves, and that a state was chosen, are left to memory if that is safe.
fn serve_chain(node: &Node, call: &ReplicaCall, request: &ChainRequest, place: &Place, key: &StorageKey) -> Result<Answer, StoreError> {
    if let ChainRequest::Learn { ballot, state: None } = request
        && place.record.role == Role::Home
        && node.store.learn(key, *ballot)?
    {
        node.undecided.note(key, false, node.clock.tick());
        return Ok(Answer::Now(ReplicaReply::Chain(Box::new(ChainReply::Learned))));
    }
    let act = |record: &mut KeyRecord| apply(record, &place.record, &call.request, node.options, &mut Notes::default());
    let durability = match request {
        ChainRequest::Read { .. } => {
            let mut record = node.store.view(key)?;
            return Ok(Answer::Now(act(&mut record)));
        }
        ChainRequest::Prepare { .. } => Durability::Synced,
        ChainRequest::Accept { proposal, .. } => {
            follow(node, &proposal.state);
            Durability::Synced
        }
        ChainRequest::Learn { state, .. } => {
            state.iter().for_each(|state| follow(node, state));
            Durability::Buffered
        }
    };
    let transition = |record: &mut KeyRecord| (act(record), record.chain.accepted_at(), record.chain.decided);
    let ((reply, accepted, decided), commit) = node.store.update_lightly(key, durability, transition)?;
    if let ReplicaReply::Refused(Refusal::BallotUsedTwice) = &reply {
        node.metrics.ballots_used_twice.inc();
        tracing::error!(bucket = %call.bucket, request = %call.request, "two states came with one ballot: a proposer is broken");
    }
    if place.record.role == Role::Home {
        node.undecided.note(key, accepted > decided, node.clock.tick());
    }
    Ok(Answer::After(commit, reply))
}

/// Follows the clock of a state's newest version.
fn follow(node: &Node, state: &ChainState) {
    if let Some(newest) = state.siblings.live().map(|(_, version)| version.hlc).max() {
        // A stamp too far ahead is not followed; heartbeats tell the operator about it.
        let _ = node.clock.observe(newest);
    }
}

/// Gives a write its dot, in this node's record or, as a stranger, without one.
///
/// A blind write replaces what the record holds when it is loaded, and it must be loaded by `begin_by`: after that its client may have
/// sent it again elsewhere and been answered, and others may have replaced it, which this sending must not replace in turn. So the clock
/// is looked at within the transition, when the record has been loaded and nothing is changed yet. A pause of the process before this
/// look refuses the write; one after it changes nothing, because what the write replaces is settled already. The look must never move
/// ahead of the load.
pub(crate) fn mint_here(node: &Node, subject: &Subject, write: &Mint, role: Role) -> Result<(Minted, Option<Commit>), MintRefusal> {
    let Subject { bucket, key, level, begin_by, .. } = subject;
    let give = |record: &mut KeyRecord| -> Result<Minted, MintRefusal> {
        if begin_by.is_some_and(|begin_by| begin_by < node.clock.tick()) {
            return Err(MintRefusal::Store(Refusal::Expired));
        }
        let fresh = if needs_fresh_epoch(record, node.epoch_floor, node.options) {
            Some(node.store.next_key_epoch().map_err(|error| MintRefusal::Store(refusal(&error)))?)
        } else {
            None
        };
        mint(record, node.me(), fresh, write, node.options, &mut Notes::default())
    };
    if role == Role::Stranger {
        return node.fallback.with(bucket.id, key, give).map(|minted| (minted, None));
    }
    let place = node.placement.place(bucket, key);
    let key = StorageKey::new(place.partition, bucket.id, key);
    match node.store.update(&key, durability(bucket, level.is_strict()), give) {
        Ok((minted, commit)) => Ok((minted?, Some(commit))),
        Err(error) => {
            log_failure(&error);
            Err(MintRefusal::Store(refusal(&error)))
        }
    }
}

fn log_failure(error: &StoreError) {
    if matches!(error, StoreError::DamagedRecord { .. } | StoreError::Engine { .. }) {
        tracing::error!(%error, "store failed");
    }
}
