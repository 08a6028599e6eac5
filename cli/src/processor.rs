//! How long this process has computed, on all cores together: what work costs, also on a machine that does other things.

use std::time::Duration;

use nix::time::ClockId;

/// Processor time used so far; zero where the system does not tell.
#[must_use]
pub fn time() -> Duration {
    ClockId::CLOCK_PROCESS_CPUTIME_ID.now().map_or(Duration::ZERO, Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn computing_takes_time() {
        let before = time();
        let mut number = 1_u64;
        while time() == before {
            number = std::hint::black_box(number.wrapping_mul(3));
        }
        assert!(time() > before);
    }
}
