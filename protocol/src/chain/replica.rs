//! One home replica's side of the chain: requests in, the key's record changed, replies out.
//!
//! **Promise.** [`apply`] is a function of the record and the request alone. The driver makes the record durable before the reply leaves;
//! only a `Learn` may wait, since whoever accepted a state can find out again that it was chosen.
//!
//! The rules are those of [`super::acceptor`]; this module puts them into messages and leaves out what the asker has already.

use super::acceptor::{Accepted, BallotUsedTwice};
use super::ballot::Ballot;
use super::message::{ChainReply, ChainRequest, Promise, View};
use super::state::ChainState;
use crate::context::Dot;
use crate::defect::Defect;
use crate::notes::{Mark, Notes};
use crate::options::Options;
use crate::record::KeyRecord;

/// Applies one request to one key's record. Up to `floor` this replica may have promised before it started, for any key.
///
/// # Errors
/// [`BallotUsedTwice`], with the record unchanged.
pub fn apply(
    record: &mut KeyRecord,
    floor: Ballot,
    request: &ChainRequest,
    options: Options,
    notes: &mut Notes,
) -> Result<ChainReply, BallotUsedTwice> {
    match request {
        ChainRequest::Read { full } => Ok(ChainReply::View(view(record, *full, options))),
        ChainRequest::Prepare { ballot, known } => Ok(match record.chain.prepare(*ballot, floor) {
            Ok(()) => ChainReply::Promised { ballot: *ballot, promise: promise(record, *known) },
            Err(rejected) => {
                notes.sometimes(Mark::PrepareRejected);
                ChainReply::Rejected(rejected)
            }
        }),
        ChainRequest::Accept { proposal, next, clean } => accept(record, floor, proposal, (*next, *clean), options, notes),
        ChainRequest::Learn { ballot, state } => learn(record, *ballot, state.as_ref()),
    }
}

fn accept(
    record: &mut KeyRecord,
    floor: Ballot,
    proposal: &Accepted,
    (next, clean): (Option<Ballot>, bool),
    options: Options,
    notes: &mut Notes,
) -> Result<ChainReply, BallotUsedTwice> {
    let is_new = record.chain.accepted_at() != proposal.ballot;
    if clean && is_new && proposal.ballot >= record.chain.promised && proposal.ballot > floor && proposal.state.lacks(&record.eventual) {
        notes.sometimes(Mark::AcceptDirty);
        return Ok(ChainReply::Dirty { ballot: proposal.ballot });
    }
    Ok(match record.chain.accept(proposal, next, floor, options)? {
        Ok(()) => {
            if options.has(Defect::UndecidedShown) {
                record.eventual.merge(&proposal.state.siblings);
            }
            ChainReply::Accepted { ballot: proposal.ballot }
        }
        Err(rejected) => {
            notes.sometimes(Mark::AcceptRejected);
            ChainReply::Rejected(rejected)
        }
    })
}

fn learn(record: &mut KeyRecord, ballot: Ballot, state: Option<&ChainState>) -> Result<ChainReply, BallotUsedTwice> {
    let held = || record.chain.accepted.as_ref().filter(|accepted| accepted.ballot == ballot).map(|accepted| accepted.state.clone());
    // Without the state, and with something else accepted meanwhile, there is nothing to learn from.
    if let Some(state) = state.cloned().or_else(held) {
        record.chain.learn(&Accepted { ballot, state }, &mut record.eventual)?;
    }
    Ok(ChainReply::Learned)
}

fn view(record: &KeyRecord, full: bool, options: Options) -> View {
    let accepted = record.chain.accepted.as_ref();
    let seen = |dot: &Dot| accepted.is_some_and(|accepted| accepted.state.siblings.context().covers(*dot));
    let misjudged = |dot: &Dot| options.has(Defect::CleanJudgedByReplier) && seen(dot);
    View {
        accepted: record.chain.accepted_at(),
        decided: record.chain.decided,
        live: record.eventual.live().map(|(dot, _)| dot).filter(|dot| !misjudged(dot)).collect(),
        state: accepted.filter(|_| full).map(|accepted| accepted.state.clone()),
    }
}

fn promise(record: &KeyRecord, known: Ballot) -> Promise {
    let accepted = record.chain.accepted.as_ref();
    let is_same = match accepted {
        Some(accepted) => record.eventual == accepted.state.siblings,
        None => record.eventual.is_empty(),
    };
    Promise {
        accepted: record.chain.accepted_at(),
        decided: record.chain.decided,
        state: accepted.filter(|accepted| accepted.ballot != known).map(|accepted| accepted.state.clone()),
        eventual: (!is_same).then(|| record.eventual.clone()),
    }
}
