//! How replicas that missed something get it later, without clock, network or disk.
//!
//! - [`hint`]: what is kept for a replica that did not acknowledge a write, and how much of it;
//! - [`handoff`]: delivering it once the replica is back.
//!
//! Hash trees and tombstone collection belong here too.

pub mod handoff;
pub mod hint;

pub use handoff::{Handoff, HandoffEffect, HandoffInput, HandoffOptions};
pub use hint::{Hint, HintLimits, HintLoad};
