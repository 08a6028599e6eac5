//! The services of `quorate_rpc`, as this node provides them.

mod admin;
mod kv;
mod peer;
mod unsent;

pub(crate) use admin::AdminService;
pub(crate) use kv::KvService;
pub(crate) use peer::PeerService;
#[cfg(test)]
pub(crate) use unsent::UNSENT_BYTES_MAX;
pub(crate) use unsent::{Bounded, Unsent};
