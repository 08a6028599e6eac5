//! Histograms of times from microseconds to seconds, fine enough to draw a distribution again from what was scraped.

use prometheus_client::metrics::histogram::Histogram;

/// Ten bounds a decade, evenly on a logarithmic scale, in nanoseconds of the first decade. Reports draw latencies with the same ones.
const MANTISSAS: [u32; 10] = [1_000, 1_259, 1_585, 1_995, 2_512, 3_162, 3_981, 5_012, 6_310, 7_943];

/// Decades from 1 us to 10 s.
const DECADES: u32 = 7;

/// A histogram of seconds: ten buckets a decade from 1 us on to 10 s, one below and one above.
pub(crate) fn histogram() -> Histogram {
    Histogram::new(bounds())
}

fn bounds() -> impl Iterator<Item = f64> {
    let below = (0..DECADES).flat_map(|decade| MANTISSAS.map(|mantissa| f64::from(mantissa) * f64::from(10_u32.pow(decade))));
    // Whole nanoseconds are divided once, so that bounds are written as short as they are above.
    below.chain([1e10]).map(|nanos| nanos / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_grow_by_a_tenth_of_a_decade_and_are_short_to_write() {
        let bounds: Vec<f64> = bounds().collect();
        assert_eq!((bounds.len(), bounds.first(), bounds.last()), (71, Some(&0.000_001), Some(&10.0)));
        for pair in bounds.windows(2) {
            assert!((pair[1] / pair[0] - 10_f64.powf(0.1)).abs() < 0.001, "{pair:?}");
        }
        assert!(bounds.iter().all(|bound| bound.to_string().trim_start_matches(['0', '.']).len() <= 5), "{bounds:?}");
    }
}
