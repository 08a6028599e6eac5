//! What is wrong with a line of a script.

use super::WAIT_MICROS_MAX;
use crate::fault::Fault;

/// A command that cannot be done. Unless it is [`Mistake::Endless`], nothing has happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    /// A word is missing.
    #[error("the {what} is missing")]
    Missing {
        /// What it would have said.
        what: &'static str,
    },
    /// A word does not say what it should.
    #[error("{word:?} is no {what}")]
    Malformed {
        /// What was to be said.
        what: &'static str,
        /// What was said.
        word: String,
    },
    /// A word too many.
    #[error("{word:?} says nothing here")]
    Surplus {
        /// The word.
        word: String,
    },
    /// Fewer nodes than a key has replicas.
    #[error("{nodes} nodes cannot hold {replicas} replicas of a key")]
    TooSmall {
        /// Nodes.
        nodes: u8,
        /// Replicas.
        replicas: u8,
    },
    /// A link of a client was to be cut.
    #[error("only links between nodes are cut; hold this one")]
    OnlyNodes,
    /// The first command is another one.
    #[error("a script begins with `cluster`")]
    NoCluster,
    /// Somebody who does not play.
    #[error("there is no {name}")]
    Nobody {
        /// Its name.
        name: String,
    },
    /// A client does one operation at a time.
    #[error("c{client} has not ended its operation yet")]
    Busy {
        /// The client.
        client: u8,
    },
    /// A write was to be made with a context, and its client has none.
    #[error("c{client} has seen nothing yet")]
    NothingSeen {
        /// The client.
        client: u8,
    },
    /// A value was to be written twice.
    #[error("{value} has been written already")]
    WrittenTwice {
        /// The value.
        value: String,
    },
    /// A change of unknown outcome was to be settled, and there is none.
    #[error("c{client} knows the outcome of all its changes")]
    NothingUnknown {
        /// The client.
        client: u8,
    },
    /// A link that is not held cannot deliver.
    #[error("{from} -> {to} is not held")]
    NotHeld {
        /// The sender.
        from: String,
        /// The receiver.
        to: String,
    },
    /// A process is not in the state in which this can happen to it.
    #[error("it cannot be done now: {fault}")]
    NotNow {
        /// What was to be done.
        fault: Fault,
    },
    /// Something did not end, although it was given time.
    #[error("after {}s it has not ended", WAIT_MICROS_MAX / 1_000_000)]
    Endless,
}
