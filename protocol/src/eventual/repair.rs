//! Read repair as a decision: given what replicas answered, who is stale and what each should be sent.
//!
//! **Promise.** What is sent is the merge of everything seen, so a replica that stores it holds at least what any replier
//! held; it is never an older or partial version of it. A replica whose answer equals the merge is left alone.

use std::collections::BTreeMap;

use quorate_ring::NodeId;

use crate::siblings::Siblings;

/// What a set of replies calls for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Repair {
    /// Everything any replier holds.
    pub merged: Siblings,
    /// Repliers that hold exactly that.
    pub fresh: Vec<NodeId>,
    /// Repliers that lack some of it and should be sent `merged`.
    pub stale: Vec<NodeId>,
    /// Different states among the replies.
    pub versions: usize,
}

impl Repair {
    /// Compares replies.
    #[must_use]
    pub fn decide(replies: &BTreeMap<NodeId, Siblings>) -> Self {
        let mut distinct: Vec<&Siblings> = Vec::new();
        for siblings in replies.values() {
            if !distinct.contains(&siblings) {
                distinct.push(siblings);
            }
        }
        let mut merged = distinct.first().map(|first| (*first).clone()).unwrap_or_default();
        for siblings in distinct.iter().skip(1) {
            merged.merge(siblings);
        }
        let (fresh, stale) = replies.keys().partition(|node| replies[node] == merged);
        Self { merged, fresh, stale, versions: distinct.len() }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::context::{Actor, Context, Dot};
    use crate::hlc::Hlc;
    use crate::ids::KeyEpoch;
    use crate::siblings::{Body, Version};

    fn written(node: u64, context: &Context) -> Siblings {
        let dot = Dot { actor: Actor::Node { node: NodeId(node), epoch: KeyEpoch(1) }, n: 1 };
        Siblings::delta(context.clone(), dot, Version { body: Body::Value(Bytes::from_static(b"v")), hlc: Hlc(1), op: None })
    }

    #[test]
    fn replies_that_agree_call_for_nothing() {
        let state = written(1, &Context::empty());
        let repair = Repair::decide(&BTreeMap::from([(NodeId(1), state.clone()), (NodeId(2), state)]));
        assert_eq!((repair.stale.len(), repair.fresh.len(), repair.versions), (0, 2, 1));
    }

    #[test]
    fn two_concurrent_states_make_both_repliers_stale() {
        let (left, right) = (written(1, &Context::empty()), written(2, &Context::empty()));
        let repair = Repair::decide(&BTreeMap::from([(NodeId(1), left), (NodeId(2), right)]));
        assert_eq!((repair.stale.len(), repair.fresh.len(), repair.merged.live_count()), (2, 0, 2));
    }

    /// The values may agree while one replica has not learned that an older version was replaced.
    #[test]
    fn a_smaller_context_is_stale_too() {
        let first = written(1, &Context::empty());
        let second = written(2, first.context());
        let partial = written(2, &Context::empty());
        let repair = Repair::decide(&BTreeMap::from([(NodeId(1), second), (NodeId(2), partial)]));
        assert_eq!(repair.stale, vec![NodeId(2)]);
    }
}
