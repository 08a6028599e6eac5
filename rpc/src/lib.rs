//! The wire contract: how a connection begins, how messages are framed and encoded, and which calls there are.
//!
//! **Promise.** Bytes that are not this protocol, another version of it, or another cluster are refused with a typed answer
//! before anything else is read. After that both sides speak one of three services:
//!
//! | class of connection | service | who calls |
//! |---|---|---|
//! | `Client` | [`kv::KeyValue`] | clients |
//! | `Peer`, `Bulk` | [`peer::Peer`] | other nodes; bulk traffic has a connection of its own |
//! | `Admin` | [`admin::Admin`] | tests and demonstrations, where the node allows it |
//!
//! ```text
//! hello -> | "QRTE" | version u16 | length u16 | Hello, postcard      |
//!       <- | "QRTE" | version u16 | length u16 | HelloReply, postcard |  between nodes perhaps once more, see [`hello`]
//! then     | length u32 | tarpc message, postcard | ...
//! ```
//!
//! postcard is positional: methods and variants are added at the end only, everything else raises
//! [`hello::PROTOCOL_VERSION`]. Golden tests hold the bytes.

pub mod admin;
pub mod clock;
pub mod codec;
pub mod delay;
pub mod frame;
pub mod hello;
pub mod kv;
pub mod net;
pub mod peer;
pub mod proof;
pub mod shared_flush;
pub mod transport;

pub use tarpc;
