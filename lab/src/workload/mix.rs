//! How many reads, writes and compare-and-sets there are among the operations.

use std::fmt;
use std::str::FromStr;

use super::Operation;

/// Shares of reads, writes and compare-and-sets in percent, together 100. Written `50r50w`, `40r40w20c`, `100r`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mix {
    reads: u8,
    writes: u8,
    cas: u8,
}

/// The text is no mix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a mix; write percentages of reads, writes and compare-and-sets that make 100, as in 50r50w, 40r40w20c, 95r5w or 100w"
)]
pub struct InvalidMix {
    /// What was written.
    pub text: String,
}

impl Mix {
    /// Reads only.
    pub const READS: Self = Self { reads: 100, writes: 0, cas: 0 };
    /// Writes only.
    pub const WRITES: Self = Self { reads: 0, writes: 100, cas: 0 };
    /// Compare-and-sets only.
    pub const CAS: Self = Self { reads: 0, writes: 0, cas: 100 };

    /// What an operation does that drew `percent`, below 100.
    #[must_use]
    pub fn pick(self, percent: u8) -> Operation {
        match percent {
            percent if percent < self.reads => Operation::Get,
            percent if percent < self.reads + self.writes => Operation::Put,
            _ => Operation::Cas,
        }
    }

    /// The operations that occur.
    pub fn operations(self) -> impl Iterator<Item = Operation> {
        self.shares().into_iter().filter(|(share, ..)| *share > 0).map(|(_, operation, _)| operation)
    }

    /// Whether an operation occurs.
    #[must_use]
    pub fn has(self, operation: Operation) -> bool {
        self.operations().any(|other| other == operation)
    }

    fn shares(self) -> [(u8, Operation, char); 3] {
        [(self.reads, Operation::Get, 'r'), (self.writes, Operation::Put, 'w'), (self.cas, Operation::Cas, 'c')]
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shares = self.shares().into_iter().filter(|(share, ..)| *share > 0);
        shares.try_for_each(|(share, _, letter)| write!(f, "{share}{letter}"))
    }
}

impl FromStr for Mix {
    type Err = InvalidMix;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        read(text).ok_or_else(|| InvalidMix { text: text.to_owned() })
    }
}

/// Shares in the order of [`Mix::shares`]; one that is zero may be left out.
fn read(text: &str) -> Option<Mix> {
    let (mut rest, mut shares) = (text, [0u8; 3]);
    for (share, letter) in shares.iter_mut().zip(['r', 'w', 'c']) {
        if let Some((digits, behind)) = rest.split_once(letter) {
            *share = percent(digits)?;
            rest = behind;
        }
    }
    let total: u16 = shares.iter().map(|share| u16::from(*share)).sum();
    let [reads, writes, cas] = shares;
    (rest.is_empty() && total == 100).then_some(Mix { reads, writes, cas })
}

fn percent(digits: &str) -> Option<u8> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_is_percentages_that_make_a_hundred() {
        for text in ["50r50w", "95r5w", "1r99w", "100r", "100w", "40r40w20c", "50r50c", "100c"] {
            assert_eq!(text.parse::<Mix>().expect("a mix").to_string(), text);
        }
        assert_eq!("0r100w".parse(), Ok(Mix::WRITES));
        assert_eq!("100r0w".parse(), Ok(Mix::READS));
        for text in ["", "50r", "50r49w", "50w50r", "r100w", "100", "156r200w", "+50r50w", "50r50w ", "50r50", "50c50r", "40r40w10c", "c"] {
            assert_eq!(text.parse::<Mix>(), Err(InvalidMix { text: text.to_owned() }), "{text:?}");
        }
    }

    #[test]
    fn the_share_decides_which_draws_read() {
        let mix: Mix = "30r70w".parse().expect("a mix");
        let reads = (0..100).filter(|percent| mix.pick(*percent) == Operation::Get).count();
        assert_eq!(reads, 30);
        let mix: Mix = "40r40w20c".parse().expect("a mix");
        let picked = [0, 39, 40, 79, 80, 99].map(|percent| mix.pick(percent));
        assert_eq!(picked, [Operation::Get, Operation::Get, Operation::Put, Operation::Put, Operation::Cas, Operation::Cas]);
        assert_eq!((Mix::READS.pick(99), Mix::WRITES.pick(0)), (Operation::Get, Operation::Put));
    }
}
