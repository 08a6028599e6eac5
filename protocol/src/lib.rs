//! What a replica, a coordinator and a client decide, without clock, network or disk.
//!
//! Everything here is a pure core: the same state, tick and input give the same effects, under tokio, under virtual time
//! and inside a model checker. Two shapes cover it all:
//!
//! - *operation machines* (`step(now, input, out)`): [`eventual::write`], [`eventual::read`], [`session`];
//! - *replica transitions* (`apply(record, ..) -> reply`): [`replica`].
//!
//! Read in this order: [`context`] and [`siblings`] (what a key holds), [`level`] and [`quorum`] (who must take part),
//! [`replica`] (what one node does), [`eventual`] (what a coordinator does), [`session`] (what a client does),
//! [`outcome`] (what everybody may conclude). [`options`] and [`defect`] say how tests make the cores awkward or wrong.

pub mod chain;
pub mod context;
pub mod defect;
pub mod eventual;
pub mod hlc;
pub mod ids;
pub mod level;
pub mod limits;
pub mod machine;
pub mod notes;
pub mod options;
pub mod outcome;
pub mod quorum;
pub mod record;
pub mod replica;
pub mod sealed;
pub mod session;
pub mod siblings;
mod sorted;
pub mod tally;

pub use context::{Actor, Context, Dot};
pub use defect::Defect;
pub use ids::{Attempt, BootId, BucketId, ClientId, KeyEpoch, OpId, OpIdTextError, Tick};
pub use level::{Access, InvalidLevel, Level};
pub use options::{Awkward, Options};
pub use outcome::Outcome;
pub use record::KeyRecord;
pub use sealed::SealedContext;
pub use siblings::{Body, Siblings, Version};
