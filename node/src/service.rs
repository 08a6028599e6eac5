//! The services of `quorate_rpc`, as this node provides them.

mod admin;
mod kv;
mod peer;

pub(crate) use admin::AdminService;
pub(crate) use kv::KvService;
pub(crate) use peer::PeerService;
