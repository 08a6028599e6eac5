//! How long a beaten proposer waits.
//!
//! Two proposers on one key can beat each other for ever. Each waits a random time that doubles with every defeat, so that sooner or later
//! one of them has the key to itself for long enough.

/// Longest wait, in microseconds.
pub(super) const BACKOFF_MICROS_MAX: u64 = 50_000;

/// Shortest mean wait, in microseconds. Whoever is rejected by its own replica learns it at once, and must not spin until its deadline.
const BACKOFF_MICROS_MIN: u64 = 100;

/// Microseconds to wait after the `defeats`th defeat in a row: half to one and a half times `base_micros`, doubled for each, at most
/// [`BACKOFF_MICROS_MAX`] and an eighth of what is left, but never below the first wait. `seed` decides where in that range.
pub(super) fn backoff_micros(defeats: u32, base_micros: u64, left_micros: u64, seed: u64) -> u64 {
    let base = base_micros.clamp(BACKOFF_MICROS_MIN, BACKOFF_MICROS_MAX);
    let doubled = base.saturating_mul(1 << defeats.min(20));
    let limit = BACKOFF_MICROS_MAX.min(left_micros / 8).max(base);
    let mean = doubled.min(limit);
    mean / 2 + mix(seed ^ u64::from(defeats)) % mean
}

/// Spreads seeds that are close together (SplitMix64's finalizer, Steele, Lea and Flood 2014).
pub(super) fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_stay_within_their_limits() {
        let spread = |defeats, left| -> (u64, u64) {
            let waits: Vec<u64> = (0..1_000).map(|seed| backoff_micros(defeats, 1_000, left, seed)).collect();
            (*waits.iter().min().expect("some"), *waits.iter().max().expect("some"))
        };
        let (low, high) = spread(1, 1_000_000);
        assert!((1_000..1_100).contains(&low) && (2_800..3_000).contains(&high), "{low} {high}");
        let (_, high) = spread(30, 1_000_000);
        assert!(high < BACKOFF_MICROS_MAX * 3 / 2);
        let (_, high) = spread(30, 8_000);
        assert!(high < 1_500, "an eighth of what is left, and half of that");
        let (low, _) = spread(30, 0);
        assert!(low >= 500, "a rejection that costs nothing does not lead to the next at once");
    }
}
