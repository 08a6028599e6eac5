//! The sizes that the protocol itself promises to keep to, with their motives. They are facts, not settings: every node and
//! client of a cluster must agree on them.

/// Longest key, in bytes. Keys live in every index block and every hint; a kilobyte is already generous.
pub const KEY_BYTES_MAX: usize = 1024;

/// Longest value, in bytes. A value travels whole, several times, through one connection; larger ones belong in pieces.
pub const VALUE_BYTES_MAX: usize = 1024 * 1024;

/// Most live versions of a key that a bucket may be configured to keep.
pub const SIBLINGS_MAX: usize = 128;

/// Most entries (actors and exceptions) of the context of a write. It travels with the write, is stored with it and is sealed for
/// the client. Ordinary ones have an entry per coordinator. They grow by one with each write that is made beside a version its
/// client never read, and shrink again when it reads. A hundred kilobytes, beyond which the write is refused.
pub const CONTEXT_LEN_MAX: usize = 4096;

/// Largest frame, in bytes: the most siblings a replica can be made to send at the default limit of 16, each of the largest
/// size, with their context.
pub const FRAME_BYTES_MAX: usize = 32 * 1024 * 1024;

const _: () = assert!(FRAME_BYTES_MAX > 16 * (VALUE_BYTES_MAX + KEY_BYTES_MAX), "a page of siblings fits into one frame");
