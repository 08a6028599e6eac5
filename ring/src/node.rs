//! Who takes part: node ids, zones and the members of a ring.
//!
//! A node keeps its id for life; the id, not the address, decides where its tokens lie, so a node that comes back under
//! another address keeps its copies. A zone is a failure domain (a rack, a room, a provider's availability zone): what
//! shares a zone may fail together.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Longest name of a zone, in bytes: names travel in every ring description and are meant for people.
pub const ZONE_BYTES_MAX: usize = 64;

/// Identifies a node for its whole life. Written `n1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

/// Why a text is not a node id.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NodeIdError {
    /// The text does not begin with `n`.
    #[error("a node id begins with `n`, as in `n1`")]
    Prefix,
    /// What follows the `n` is not a number below 2^64.
    #[error("a node id is `n` and a number, as in `n1`")]
    Number {
        /// What is wrong with the number.
        #[source]
        source: ParseIntError,
    },
    /// The number has a sign or leading zeros, so that one node would have two names.
    #[error("the number of a node id has neither sign nor leading zeros, as in `n1`")]
    NotCanonical,
}

impl FromStr for NodeId {
    type Err = NodeIdError;

    /// Reads exactly what `Display` writes.
    fn from_str(text: &str) -> Result<Self, NodeIdError> {
        let digits = text.strip_prefix('n').ok_or(NodeIdError::Prefix)?;
        let node = NodeId(digits.parse().map_err(|source| NodeIdError::Number { source })?);
        if node.to_string() == text { Ok(node) } else { Err(NodeIdError::NotCanonical) }
    }
}

/// Names a failure domain. One to [`ZONE_BYTES_MAX`] bytes; compared byte by byte.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Zone(String);

impl Zone {
    /// Checks and wraps a zone's name.
    ///
    /// # Errors
    /// [`ZoneError`] if the name is empty or longer than [`ZONE_BYTES_MAX`].
    pub fn new(name: impl Into<String>) -> Result<Self, ZoneError> {
        let name = name.into();
        match name.len() {
            0 => Err(ZoneError::Empty),
            1..=ZONE_BYTES_MAX => Ok(Zone(name)),
            bytes => Err(ZoneError::TooLong { bytes }),
        }
    }

    /// The name as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Zone {
    type Err = ZoneError;

    fn from_str(name: &str) -> Result<Self, ZoneError> {
        Zone::new(name)
    }
}

impl TryFrom<String> for Zone {
    type Error = ZoneError;

    fn try_from(name: String) -> Result<Self, ZoneError> {
        Zone::new(name)
    }
}

impl From<Zone> for String {
    fn from(zone: Zone) -> String {
        zone.0
    }
}

/// Why a text is not a zone's name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ZoneError {
    /// The name is empty. A node without a zone has none, not an empty one.
    #[error("the name of a zone must not be empty")]
    Empty,
    /// The name is longer than [`ZONE_BYTES_MAX`].
    #[error("the name of a zone has at most {ZONE_BYTES_MAX} bytes, not {bytes}")]
    TooLong {
        /// Length of the refused name.
        bytes: usize,
    },
}

/// A node that holds copies of partitions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Member {
    /// The node.
    pub id: NodeId,
    /// Its failure domain. As soon as one member of a ring names a zone, all members without one count as sharing a
    /// zone: nothing says that they fail apart.
    pub zone: Option<Zone>,
}

impl Member {
    /// A member whose failure domain is not known.
    pub fn new(id: NodeId) -> Self {
        Member { id, zone: None }
    }

    /// A member of a zone.
    pub fn in_zone(id: NodeId, zone: Zone) -> Self {
        Member { id, zone: Some(zone) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_id_reads_what_it_writes() {
        for node in [NodeId(0), NodeId(1), NodeId(u64::MAX)] {
            assert_eq!(node.to_string().parse(), Ok(node));
        }
        assert_eq!(NodeId(7).to_string(), "n7");
    }

    #[test]
    fn node_id_has_one_spelling() {
        for text in ["", "1", "N1", "m1"] {
            assert_eq!(text.parse::<NodeId>(), Err(NodeIdError::Prefix), "{text:?}");
        }
        for text in ["n", "nn1", "n-1", "n 1", "n1 ", "n18446744073709551616"] {
            assert!(matches!(text.parse::<NodeId>(), Err(NodeIdError::Number { .. })), "{text:?}");
        }
        for text in ["n01", "n+1", "n00"] {
            assert_eq!(text.parse::<NodeId>(), Err(NodeIdError::NotCanonical), "{text:?}");
        }
    }

    #[test]
    fn node_id_is_a_bare_number_on_the_wire() {
        assert_eq!(serde_json::to_string(&NodeId(3)).expect("serialises"), "3");
        assert_eq!(serde_json::from_str::<NodeId>("3").expect("deserialises"), NodeId(3));
    }

    #[test]
    fn zone_names_are_checked_when_made_and_when_read() {
        assert_eq!(Zone::new(""), Err(ZoneError::Empty));
        assert!(Zone::new("z".repeat(ZONE_BYTES_MAX)).is_ok());
        assert_eq!(Zone::new("z".repeat(ZONE_BYTES_MAX + 1)), Err(ZoneError::TooLong { bytes: ZONE_BYTES_MAX + 1 }));
        assert!(serde_json::from_str::<Zone>("\"\"").is_err());
        assert_eq!(serde_json::from_str::<Zone>("\"east\"").expect("deserialises").as_str(), "east");
    }
}
