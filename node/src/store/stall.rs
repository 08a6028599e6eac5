//! Writes that RocksDB does not take for the moment, and the disk on which it never will again.
//!
//! RocksDB stops taking writes when its memtables are full and not yet table files. That is over soon, unless the table files cannot
//! be written because the disk is full: then a write that waits, waits until somebody makes room. So the committing thread never
//! waits within RocksDB for that, but here.
//!
//! - *Upon a table file that could not be written while we wait*: there is no room.
//! - *Upon one that could not be written earlier*: it may have been written since, so there is no room only if the wait gets long.
//! - *Upon neither*: the disk is slow, and we wait.

use std::thread;
use std::time::{Duration, Instant};

use super::engine::Engine;

/// How often the database is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// Longest that one memtable takes to become a table file on a disk that is slow but not full.
const STALL_MAX: Duration = Duration::from_secs(10);

/// Memtables are full, and the disk too full for them to become table files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the memtables are full and there is no disk space for another table file")]
pub(super) struct NoRoom;

/// Waits until the database takes writes again.
///
/// # Errors
/// [`NoRoom`] when that will not be soon. The database may take writes again at any time later.
pub(super) fn wait_out(engine: &Engine) -> Result<(), NoRoom> {
    let (began, failures_before) = (Instant::now(), engine.background_errors());
    while engine.is_stopped() {
        let failures = engine.background_errors();
        if failures > failures_before || (failures > 0 && began.elapsed() >= STALL_MAX) {
            return Err(NoRoom);
        }
        thread::sleep(LOOK_EVERY);
    }
    Ok(())
}
