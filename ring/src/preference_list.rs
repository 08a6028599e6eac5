//! Preference lists: the N nodes that are home to a partition.
//!
//! The order is the order of the ring and the same for everybody; the first node is where operations that want one
//! place to meet (linearizable ones) go first. A list never names a node twice: two answers of one node would otherwise
//! count as two of a quorum.
//!
//! Sources: Dynamo §4.3.

use std::fmt;
use std::iter::Copied;
use std::slice;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::node::NodeId;

/// Most copies of a key. Every write goes to all of them, and seven survive three failures; who needs to read in more
/// places needs caches, not voters.
pub const REPLICAS_MAX: u8 = 7;

/// One to [`REPLICAS_MAX`] distinct nodes in ring order. Cheap to clone. Written `[n4 n1 n7]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<NodeId>")]
pub struct PreferenceList(Arc<[NodeId]>);

impl PreferenceList {
    /// Checks and wraps a list of nodes, keeping their order.
    ///
    /// # Errors
    /// [`PreferenceListError`] if the list is empty, longer than [`REPLICAS_MAX`], or names a node twice.
    pub fn new(nodes: impl Into<Arc<[NodeId]>>) -> Result<Self, PreferenceListError> {
        let nodes = nodes.into();
        if nodes.is_empty() {
            return Err(PreferenceListError::Empty);
        }
        if nodes.len() > usize::from(REPLICAS_MAX) {
            return Err(PreferenceListError::TooLong { nodes: nodes.len() });
        }
        match nodes.iter().enumerate().find(|(at, node)| nodes[..*at].contains(node)) {
            Some((_, &node)) => Err(PreferenceListError::Duplicate { node }),
            None => Ok(PreferenceList(nodes)),
        }
    }

    /// The nodes in order.
    pub fn iter(&self) -> Copied<slice::Iter<'_, NodeId>> {
        self.0.iter().copied()
    }

    /// The nodes in order, as a slice.
    pub fn as_slice(&self) -> &[NodeId] {
        &self.0
    }

    /// How many nodes there are: N.
    #[expect(clippy::len_without_is_empty, reason = "a preference list is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The first node in ring order.
    pub fn first(&self) -> NodeId {
        self.0[0]
    }

    /// Whether the node is home to the partition.
    pub fn contains(&self, node: NodeId) -> bool {
        self.0.contains(&node)
    }

    /// The place of a node in the list, from 0; none if the node is not in it.
    pub fn position(&self, node: NodeId) -> Option<usize> {
        self.iter().position(|home| home == node)
    }
}

impl<'a> IntoIterator for &'a PreferenceList {
    type Item = NodeId;
    type IntoIter = Copied<slice::Iter<'a, NodeId>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl TryFrom<Vec<NodeId>> for PreferenceList {
    type Error = PreferenceListError;

    fn try_from(nodes: Vec<NodeId>) -> Result<Self, PreferenceListError> {
        PreferenceList::new(nodes)
    }
}

impl fmt::Display for PreferenceList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}", self.first())?;
        for node in self.iter().skip(1) {
            write!(f, " {node}")?;
        }
        f.write_str("]")
    }
}

/// Why nodes are not a preference list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PreferenceListError {
    /// There is no node.
    #[error("a preference list names at least one node")]
    Empty,
    /// There are more nodes than a partition has copies.
    #[error("a preference list names at most {REPLICAS_MAX} nodes, not {nodes}")]
    TooLong {
        /// How many there were.
        nodes: usize,
    },
    /// A node comes twice.
    #[error("a preference list names {node} twice")]
    Duplicate {
        /// The first node that repeats an earlier one.
        node: NodeId,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(nodes: &[u64]) -> Result<PreferenceList, PreferenceListError> {
        PreferenceList::new(nodes.iter().copied().map(NodeId).collect::<Vec<_>>())
    }

    #[test]
    fn order_is_kept() {
        let list = list(&[4, 1, 7]).expect("distinct");
        assert_eq!(list.to_string(), "[n4 n1 n7]");
        assert_eq!(list.first(), NodeId(4));
        assert_eq!(list.len(), 3);
        assert_eq!(list.position(NodeId(7)), Some(2));
        assert_eq!(list.position(NodeId(2)), None);
        assert!(list.contains(NodeId(1)) && !list.contains(NodeId(2)));
        assert_eq!(list.iter().collect::<Vec<_>>(), [NodeId(4), NodeId(1), NodeId(7)]);
    }

    #[test]
    fn node_never_comes_twice() {
        assert_eq!(list(&[1, 2, 1]), Err(PreferenceListError::Duplicate { node: NodeId(1) }));
        assert_eq!(list(&[3, 3]), Err(PreferenceListError::Duplicate { node: NodeId(3) }));
    }

    #[test]
    fn list_has_one_to_seven_nodes() {
        assert_eq!(list(&[]), Err(PreferenceListError::Empty));
        assert!(list(&[1]).is_ok());
        assert!(list(&[1, 2, 3, 4, 5, 6, 7]).is_ok());
        assert_eq!(list(&[1, 2, 3, 4, 5, 6, 7, 8]), Err(PreferenceListError::TooLong { nodes: 8 }));
    }

    #[test]
    fn what_is_read_is_checked_like_what_is_made() {
        let read = |json| serde_json::from_str::<PreferenceList>(json);
        assert_eq!(read("[4,1,7]").expect("distinct"), list(&[4, 1, 7]).expect("distinct"));
        assert_eq!(serde_json::to_string(&list(&[4, 1, 7]).expect("distinct")).expect("serialises"), "[4,1,7]");
        for json in ["[]", "[1,1]", "[1,2,3,4,5,6,7,8]"] {
            assert!(read(json).is_err(), "{json}");
        }
    }
}
