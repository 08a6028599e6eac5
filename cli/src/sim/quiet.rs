//! Simulating without the noise of panics.
//!
//! An assertion of the protocol that fails in a simulated node ends its run, which becomes a violation with the assertion's text. By
//! then the process's panic hook has printed it as if a thread had died. Here the hook is silent while the thread simulates; any
//! other panic is told as ever.

use std::cell::Cell;
use std::panic;
use std::sync::Once;

static INSTALLED: Once = Once::new();

thread_local! {
    static SIMULATING: Cell<bool> = const { Cell::new(false) };
}

/// Does `work`, which catches its own panics.
pub(super) fn quietly<T>(work: impl FnOnce() -> T) -> T {
    INSTALLED.call_once(|| {
        let tell = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if !SIMULATING.get() {
                tell(panic);
            }
        }));
    });
    let before = SIMULATING.replace(true);
    let done = work();
    SIMULATING.set(before);
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_quiet_only_while_it_simulates() {
        assert!(!SIMULATING.get());
        let caught = quietly(|| {
            assert!(SIMULATING.get());
            panic::catch_unwind(|| panic!("an assertion of a simulated node"))
        });
        assert!(caught.is_err() && !SIMULATING.get());
    }
}
