//! Which keys are popular.
//!
//! Zipfian popularity is drawn by inverting an approximation of its distribution function, which costs one power per draw and a sum
//! over all keys once. The most popular key is number 0; where keys lie in the ring is decided by a hash of their bytes, so
//! neighbours in number are no neighbours in the cluster.
//!
//! Sources: Gray et al., *Quickly Generating Billion-Record Synthetic Databases* (SIGMOD'94) §3; Cooper et al., *Benchmarking Cloud
//! Serving Systems with YCSB* (SoCC'10) §4.1, whose exponent is used here.

use std::fmt;
use std::str::FromStr;

/// The exponent of YCSB: the most popular of 10,000 keys gets a tenth of all requests.
const THETA: f64 = 0.99;

/// How requests spread over the keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Distribution {
    /// Every key is as popular as any other.
    #[default]
    Uniform,
    /// The key of rank r is drawn in proportion to r^-0.99.
    Zipfian,
}

/// The text names no distribution.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a distribution of keys; write uniform or zipfian")]
pub struct InvalidDistribution {
    /// What was written.
    pub text: String,
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uniform => "uniform",
            Self::Zipfian => "zipfian",
        })
    }
}

impl FromStr for Distribution {
    type Err = InvalidDistribution;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "uniform" => Ok(Self::Uniform),
            "zipfian" => Ok(Self::Zipfian),
            _ => Err(InvalidDistribution { text: text.to_owned() }),
        }
    }
}

/// Turns a uniform draw into the number of a key.
#[derive(Clone, Debug)]
pub struct Popularity {
    keys: u64,
    zipf: Option<Zipf>,
}

/// The constants of the inverted distribution function, named as Gray et al. name them.
#[derive(Clone, Copy, Debug)]
struct Zipf {
    zeta_n: f64,
    alpha: f64,
    eta: f64,
}

impl Popularity {
    /// Prepares draws from `keys` keys; for a zipfian distribution this takes time in proportion to them.
    #[must_use]
    pub fn new(distribution: Distribution, keys: u64) -> Self {
        let zipf = match distribution {
            Distribution::Uniform => None,
            Distribution::Zipfian => Some(Zipf::new(keys)),
        };
        Self { keys, zipf }
    }

    /// The key of a draw from `0..1`: a number below that of keys.
    #[must_use]
    pub fn pick(&self, draw: f64) -> u64 {
        let key = match &self.zipf {
            None => floor(draw * as_f64(self.keys)),
            Some(zipf) => zipf.rank(draw, self.keys),
        };
        key.min(self.keys - 1)
    }
}

impl Zipf {
    fn new(keys: u64) -> Self {
        let zeta = |n: u64| (1..=n).map(|rank| as_f64(rank).powf(-THETA)).sum::<f64>();
        let (zeta_2, zeta_n) = (zeta(2), zeta(keys));
        let eta = (1.0 - (2.0 / as_f64(keys)).powf(1.0 - THETA)) / (1.0 - zeta_2 / zeta_n);
        Self { zeta_n, alpha: 1.0 / (1.0 - THETA), eta }
    }

    fn rank(&self, draw: f64, keys: u64) -> u64 {
        let scaled = draw * self.zeta_n;
        if scaled < 1.0 {
            return 0;
        }
        if scaled < 1.0 + 0.5f64.powf(THETA) {
            return 1;
        }
        floor(as_f64(keys) * (self.eta * draw - self.eta + 1.0).powf(self.alpha))
    }
}

#[expect(clippy::cast_precision_loss, reason = "numbers of keys are far below 2^53")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "draws are at least 0; the cast saturates above")]
fn floor(number: f64) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    const KEYS: u64 = 10_000;
    const DRAWS: u32 = 200_000;

    fn counts(distribution: Distribution) -> Vec<u32> {
        let popularity = Popularity::new(distribution, KEYS);
        let mut random = StdRng::seed_from_u64(1);
        let mut counts = vec![0; usize::try_from(KEYS).expect("small")];
        for _ in 0..DRAWS {
            counts[usize::try_from(popularity.pick(random.random())).expect("small")] += 1;
        }
        counts
    }

    /// The shape is held against the definition: rank r has the share r^-theta / zeta(n).
    #[test]
    fn zipfian_shares_follow_the_definition() {
        let counts = counts(Distribution::Zipfian);
        let zeta: f64 = (1..=KEYS).map(|rank| as_f64(rank).powf(-THETA)).sum();
        let share_up_to = |ranks: u64| (1..=ranks).map(|rank| as_f64(rank).powf(-THETA)).sum::<f64>() / zeta;
        for ranks in [1, 2, 10, 100, 1_000, 5_000] {
            let drawn: u32 = counts.iter().take(usize::try_from(ranks).expect("small")).sum();
            let (share, expected) = (f64::from(drawn) / f64::from(DRAWS), share_up_to(ranks));
            assert!((share - expected).abs() < 0.02, "the first {ranks}: {share} instead of {expected}");
        }
    }

    #[test]
    fn uniform_keys_are_equally_popular() {
        let counts = counts(Distribution::Uniform);
        let mean = f64::from(DRAWS) / as_f64(KEYS);
        assert!(counts.iter().all(|count| f64::from(*count) < mean * 3.0));
        let chi_squared: f64 = counts.iter().map(|count| (f64::from(*count) - mean).powi(2) / mean).sum();
        let (expected, deviation) = (as_f64(KEYS), (2.0 * as_f64(KEYS)).sqrt());
        assert!((chi_squared - expected).abs() < 5.0 * deviation, "{chi_squared}");
    }

    #[test]
    fn every_draw_is_a_key() {
        for distribution in [Distribution::Uniform, Distribution::Zipfian] {
            for keys in [1, 2, 3, 1000] {
                let popularity = Popularity::new(distribution, keys);
                for draw in [0.0, 0.3, 0.5, 0.999_999_999, 1.0 - f64::EPSILON] {
                    assert!(popularity.pick(draw) < keys, "{distribution} {keys} {draw}");
                }
                assert_eq!(popularity.pick(0.0), 0);
            }
        }
    }

    #[test]
    fn distributions_are_spelled_one_way() {
        for text in ["uniform", "zipfian"] {
            assert_eq!(text.parse::<Distribution>().expect("a distribution").to_string(), text);
        }
        assert!("zipf".parse::<Distribution>().is_err());
    }
}
