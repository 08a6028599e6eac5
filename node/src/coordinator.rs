//! Coordinating client operations: checks, then a machine of `quorate_protocol`, then the answer.
//!
//! A request is checked completely before any replica is asked. The machine's driver ([`drive`]) is the same for reads and
//! writes, and goes on behind the answer until the machine is done.

mod chain;
mod drive;
mod list;
mod read;
mod repairs;
mod write;

use std::time::Duration;

use quorate_config::BucketProperties;
use quorate_protocol::limits::KEY_BYTES_MAX;
use quorate_protocol::outcome::{Failure, Reason, Sized};
use quorate_protocol::{Context, SealedContext, Tick};

pub(crate) use chain::{Proposers, Target, change, outcome, state};
pub(crate) use drive::{BACKGROUND_BYTES_MAX, Subject};
pub(crate) use list::{keys_here, list};
pub(crate) use read::read;
pub(crate) use write::{forwarded, write};

use crate::node::Node;

/// Refuses keys that are empty or too long.
fn check_key(key: &[u8]) -> Result<(), Failure> {
    match key.len() {
        0 => Err(Failure::refused(Reason::InvalidKey { bytes_max: KEY_BYTES_MAX as u32 })),
        bytes if bytes > KEY_BYTES_MAX => Err(Failure::refused(too_large(Sized::Key, bytes, KEY_BYTES_MAX))),
        _ => Ok(()),
    }
}

fn too_large(what: Sized, bytes: usize, bytes_max: usize) -> Reason {
    Reason::TooLarge { what, bytes: bytes as u64, bytes_max: bytes_max as u64 }
}

/// Opens a context that a client sent back.
fn open(node: &Node, bucket: &BucketProperties, key: &[u8], sealed: &SealedContext) -> Result<Context, Failure> {
    node.seal.open(bucket.id, key, sealed).map_err(|_invalid| Failure::refused(Reason::InvalidContext))
}

/// The tick by which a request must be answered.
fn deadline(node: &Node, now: Tick, micros_left: u64) -> Tick {
    now.after(micros_left.min(micros(node.config.coordination.deadline_max)))
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
