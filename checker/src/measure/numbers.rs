//! Shares, quantiles and their bounds.

use super::report::{Quantiles, Rate};

impl Rate {
    /// So often in so many cases.
    #[must_use]
    pub fn of(count: u64, judged: u64) -> Self {
        Self { judged, count, percent: percent(count, judged) }
    }
}

/// A share in per cent; `None` of nothing.
pub(super) fn percent(count: u64, total: u64) -> Option<f64> {
    quotient(count.saturating_mul(100), total)
}

/// A quotient; `None` by 0.
#[expect(clippy::cast_precision_loss, reason = "a number for reports")]
pub(super) fn quotient(count: u64, total: u64) -> Option<f64> {
    (total > 0).then(|| count as f64 / total as f64)
}

/// The least value that so many of a thousand of the sorted values do not exceed; `None` of nothing.
pub(super) fn quantile(sorted: &[u64], per_mille: usize) -> Option<u64> {
    let last = sorted.len().checked_sub(1)?;
    let place = (sorted.len() * per_mille).div_ceil(1_000);
    Some(sorted[place.saturating_sub(1).min(last)])
}

/// Sorts the values.
pub(super) fn quantiles(values: &mut [u64]) -> Quantiles {
    values.sort_unstable();
    Quantiles { p50: quantile(values, 500), p99: quantile(values, 990), max: values.last().copied() }
}

/// Between which shares, in per cent, the true one lies with 95 % confidence (Wilson's interval).
#[expect(clippy::cast_precision_loss, reason = "a number for reports")]
pub(super) fn wilson(count: u64, judged: u64) -> (f64, f64) {
    /// The 97.5 % quantile of the normal distribution.
    const Z: f64 = 1.959_963_984_540_054;
    let (n, p) = (judged as f64, count as f64 / judged as f64);
    let centre = p + Z * Z / (2.0 * n);
    let spread = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let bound = |end: f64| (100.0 * end / (1.0 + Z * Z / n)).clamp(0.0, 100.0);
    // Rounding must not exclude what was observed.
    (bound(centre - spread).min(100.0 * p), bound(centre + spread).max(100.0 * p))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantiles_are_values_that_occurred() {
        assert_eq!(quantiles(&mut []), Quantiles { p50: None, p99: None, max: None });
        assert_eq!(quantiles(&mut [7]), Quantiles { p50: Some(7), p99: Some(7), max: Some(7) });
        let mut hundred: Vec<u64> = (1..=100).rev().collect();
        assert_eq!(quantiles(&mut hundred), Quantiles { p50: Some(50), p99: Some(99), max: Some(100) });
        assert_eq!((quantile(&hundred, 999), quantile(&hundred, 0)), (Some(100), Some(1)));
    }

    /// 8 of 10: the interval of Wilson (1927) is 49.0 % to 94.3 %.
    #[test]
    fn interval_is_wilsons() {
        let (low, high) = wilson(8, 10);
        assert!((low - 49.016).abs() < 0.01 && (high - 94.332).abs() < 0.01, "{low} {high}");
    }

    proptest! {
        #[test]
        fn interval_holds_the_share_and_stays_within_bounds(judged in 1_u64..100_000, part in 0.0_f64..=1.0) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a part of a small number")]
            let count = (judged as f64 * part) as u64;
            let ((low, high), share) = (wilson(count, judged), percent(count, judged).expect("cases"));
            prop_assert!(0.0 <= low && low <= share && share <= high && high <= 100.0, "{} {} {}", low, share, high);
        }
    }
}
