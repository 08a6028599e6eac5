//! Waiting for what will be: look again and again, until a deadline.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How long anything may take. Far above what it takes, since other programs may keep the machine busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What a machine that is busy with other things may add to whatever is timed. Limits that are to show something lie far above it.
pub(crate) const BUSY: Duration = Duration::from_secs(3);

/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Looks until it sees what it looks for. A look that does not says what it saw instead.
///
/// # Panics
/// After [`PATIENCE`], with what the last look saw.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, look: impl AsyncFnMut() -> Result<T, String>) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    waiting(what.to_owned(), caller, look)
}

async fn waiting<T>(what: String, caller: &std::panic::Location<'_>, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) if Instant::now() >= until => panic!("{caller}: waited {PATIENCE:?} until {what}; last seen: {seen}"),
            // waits for: what the look looks for
            Err(_) => sleep(LOOK_EVERY).await,
        }
    }
}

/// `Ok` if it is true, else what was seen.
pub(crate) fn seen(is_so: bool, state: impl std::fmt::Debug) -> Result<(), String> {
    if is_so { Ok(()) } else { Err(format!("{state:?}")) }
}
