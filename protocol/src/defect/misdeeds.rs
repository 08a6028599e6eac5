//! The wrong deeds of those defects that take more than a line.

use quorate_ring::NodeId;

use crate::context::{Actor, Context, Dot};
use crate::ids::KeyEpoch;
use crate::record::{KeyRecord, OwnDots};
use crate::siblings::Siblings;

/// [`super::Defect::DotFromContext`]: the number after the highest one seen of this node, in one run of dots for ever.
pub(crate) fn own_from_context(record: &KeyRecord, node: NodeId) -> OwnDots {
    let epoch = KeyEpoch(0);
    let n = record.eventual.context().highest(Actor::Node { node, epoch }) + 1;
    OwnDots { epoch, n }
}

/// [`super::Defect::BlindPutCoversUnseen`]: one more dot of every actor but `own`.
pub(crate) fn cover_unseen(seen: &Context, own: Actor) -> Context {
    let others = seen.actors().into_iter().filter(|actor| *actor != own);
    others.fold(seen.clone(), |context, actor| {
        let n = context.highest(actor) + 1;
        context.with(Dot { actor, n })
    })
}

/// [`super::Defect::MergeDropsActor`]: `delta` without an actor that only its context knows and that has nothing live in it.
pub(crate) fn forget_an_actor(delta: &Siblings, known: &Context) -> Siblings {
    let known = known.actors();
    let is_live = |actor: Actor| delta.live().any(|(dot, _)| dot.actor == actor);
    match delta.context().actors().into_iter().find(|actor| !known.contains(actor) && !is_live(*actor)) {
        Some(actor) => delta.forgetting(actor),
        None => delta.clone(),
    }
}

/// [`super::Defect::TombstoneDroppedEarly`]: nothing is kept of a key whose only live version is a tombstone.
pub(crate) fn drop_lone_tombstone(siblings: &mut Siblings) {
    if siblings.live_count() == 1 && siblings.live().all(|(_, version)| version.value().is_none()) {
        *siblings = Siblings::empty();
    }
}
